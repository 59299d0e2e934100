"""What was measured: all that is stored of some runs, for the screens that show or compare them and for reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from core.analysis.differences import control_ids
from core.analysis.ranking import with_text_marks
from core.tables import ids_of
from core.warehouse import queries
from core.warehouse.connection import Readable
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class Selection:
    """All that is stored of the chosen runs, and of the control passes of those on text."""

    runs: pl.DataFrame
    """In the order of choice; unknown ids are left out."""
    controls: pl.DataFrame
    estimates: pl.DataFrame
    """Of the runs and their controls, as correlators, checks, summaries and windows."""
    correlators: pl.DataFrame
    checks: pl.DataFrame
    summaries: pl.DataFrame
    pairs: pl.DataFrame
    """Of the runs alone, as everything below but the windows."""
    distributions: pl.DataFrame
    records: pl.DataFrame
    """Every stored field, in the order of the runs."""
    scores: pl.DataFrame
    claims: pl.DataFrame
    extrema: pl.DataFrame
    against_controls: pl.DataFrame
    """What each control says about its run on text: rows of run_controls."""
    windows: pl.DataFrame
    """Rows of run_windows."""
    seeds: pl.DataFrame
    """d2 of each draw of the controls: rows of layer_seeds."""

    @cached_property
    def with_controls(self) -> pl.DataFrame:
        return pl.concat([self.runs, self.controls])

    @cached_property
    def judged(self) -> pl.DataFrame:
        """The runs on unchanged text that have points of one per type, on which verdicts rest."""
        return self.runs.filter(pl.col("pass") == "text", pl.col("n_points").is_not_null())

    def of_runs(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows of a table without those of the controls."""
        return rows.filter(pl.col("run_id").is_in(ids_of(self.runs)))


def load_selection(warehouse: Readable, run_ids: Sequence[str], listed: pl.DataFrame) -> Selection:
    """`listed` are rows of `queries.run_list`: the controls are looked for there."""
    controls = control_ids(in_order(listed, run_ids), listed)
    ids, all_ids = list(run_ids), [*run_ids, *controls]
    stored = load_runs(warehouse, all_ids)
    runs = in_order(stored, ids)
    return Selection(
        runs=runs,
        controls=in_order(stored, controls),
        estimates=queries.rows(warehouse, "layer_estimates", all_ids),
        correlators=queries.rows(warehouse, "layer_correlators", all_ids),
        checks=queries.rows(warehouse, "run_checks", all_ids),
        summaries=queries.rows(warehouse, "run_summaries", all_ids),
        pairs=queries.rows(warehouse, "layer_pairs", ids),
        distributions=queries.rows(warehouse, "layer_distributions", ids),
        records=queries.run_records(warehouse, ids),
        scores=queries.scores(warehouse, repositories(runs)),
        claims=queries.rows(warehouse, "run_claims", ids),
        extrema=queries.rows(warehouse, "run_extrema", ids),
        against_controls=queries.rows(warehouse, "run_controls", ids),
        windows=queries.rows(warehouse, "run_windows", all_ids),
        seeds=queries.rows(warehouse, "layer_seeds", controls),
    )


def load_runs(warehouse: Readable, run_ids: Sequence[str]) -> pl.DataFrame:
    """Rows of `queries.runs` in this order, their texts named as among all texts; unknown ids are left out."""
    return in_order(named_texts(warehouse, queries.runs(warehouse, run_ids)), run_ids)


def named_texts(warehouse: Readable, runs: pl.DataFrame) -> pl.DataFrame:
    """The runs with the names by which their texts are distinguished among all texts of the warehouse: a text has one
    name, whichever runs are looked at."""
    names = with_text_marks(queries.texts(warehouse))
    joined = runs.drop("corpus_name").join(names, on="corpus_id", how="left", maintain_order="left")
    return joined.select(runs.columns)


def repositories(runs: pl.DataFrame) -> list[str]:
    """The names that scores of these runs can be stored under: hub repositories of the models and of their base models,
    and references, which own scores use."""
    columns = (runs[column].drop_nulls() for column in ("repository", "base_repository", "reference"))
    return sorted({name for names in columns for name in names})


def in_order(runs: pl.DataFrame, run_ids: Sequence[str]) -> pl.DataFrame:
    """These runs in this order; unknown ids are left out."""
    order = pl.DataFrame({"run_id": list(run_ids)}, schema={"run_id": pl.String})
    return order.join(runs, on="run_id", how="inner", maintain_order="left")


def ask(warehouse: Warehouse, run_ids: Sequence[str]) -> Selection:
    """All that is stored of these runs."""
    with warehouse.open() as opened:
        return load_selection(opened, run_ids, queries.run_list(opened))
