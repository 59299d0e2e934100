"""What was measured of some runs, and what is asked of it alone: which model reads a text best and whether dimensions may be
compared, and whether dimension goes with loss within one model.

Of several models the loss comes first: bits per byte are in one unit whatever the tokenizer. Heights of dimensions compare
on one point per type with one tokenizer, on one per word with several. Encoders have no loss: their shape is the answer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import polars as pl

from core.analysis.differences import TextLoss, comparability, control_ids, text_loss
from core.analysis.ranking import on_one_text, with_text_marks
from core.analysis.relation import WindowRelation, relate_windows, shuffled_windows
from core.errors import InputError
from core.ids import matching_ids, only_id
from core.questions.ranking_question import BY_TYPE
from core.questions.record import Fields, Rows, same
from core.records import LOCAL
from core.tables import Run, RunSummaryRow, ids_of, records, value_of
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


def ask_selection(warehouse: Warehouse, run_ids: Sequence[str]) -> Selection:
    """All that is stored of these runs."""
    with warehouse.open() as opened:
        return load_selection(opened, run_ids, queries.run_list(opened))


# --- dimension and loss within one model, window by window -------------------------------------------------------


@dataclass(frozen=True)
class WindowsAnswer:
    """The windows of one run, with those of its newest control with shuffled tokens."""

    run: Run
    windows: pl.DataFrame
    """Rows of run_windows."""
    shuffled: pl.DataFrame | None

    @property
    def lacks(self) -> Literal["loss", "windows"] | None:
        """Why there is no relation: only decoders have a loss, and not every protocol keeps windows."""
        if self.run.kind != "decoder":
            return "loss"
        return "windows" if self.windows.is_empty() else None

    def relation(self, place: str) -> WindowRelation:
        """The relation at one of `analysis.relation.PLACES`."""
        return relate_windows(self.windows, place, self.shuffled)


def answer_of_windows(run: Run, runs: pl.DataFrame, windows: pl.DataFrame) -> WindowsAnswer:
    """`windows` are rows of run_windows of the run and of its controls, which stand in `runs`."""
    return WindowsAnswer(run, windows.filter(run_id=run.run_id), shuffled_windows(run, runs, windows))


def ask_windows(warehouse: Warehouse, run_id: str) -> WindowsAnswer:
    with warehouse.open() as opened:
        listed = queries.run_list(opened)
        chosen = listed.filter(run_id=run_id)
        ids = [run_id, *control_ids(chosen, listed)]
        runs, windows = named_texts(opened, queries.runs(opened, ids)), queries.rows(opened, "run_windows", ids)
    (run,) = records(runs.filter(run_id=run_id), Run)
    return answer_of_windows(run, runs, windows)


# --- models compared on a text -----------------------------------------------------------------------------------

_LOSS_CONDITIONS = ("pass", "corpus_id", "protocol_hash")
"""What two runs share whose losses compare: what was read. Tokenizers may differ, as losses are per byte."""


@dataclass(frozen=True)
class ComparedModel:
    run: Run
    loss: TextLoss | None
    """None for an encoder; without an interval where the run holds no losses of single windows."""
    dimension: RunSummaryRow | None
    """The row of its summary for d2 on the points of the comparison."""


@dataclass(frozen=True)
class LossDifference:
    """Bits per byte of a model less those of another."""

    base: ComparedModel
    other: ComparedModel
    loss: TextLoss


@dataclass(frozen=True)
class Compares:
    """Whether one thing of a model may be held against that of another, and what stands against it."""

    base: ComparedModel
    other: ComparedModel
    what: Literal["bits_per_byte", "dimension"]
    may: bool
    points: str | None
    """The points on which dimensions compare; None for a loss, and where they do not."""
    reasons: tuple[str, ...]
    """Keys of `core.wording.runs.CONDITIONS`, or `no_loss`."""


@dataclass(frozen=True)
class Comparison:
    models: tuple[ComparedModel, ...]
    differences: tuple[LossDifference, ...]
    """From the first model whose loss compares with another's to each such other."""
    compares: tuple[Compares, ...]
    points: str | None
    """The points on which all of them compare; None where their heights do not."""

    @property
    def difference(self) -> LossDifference | None:
        """Of the first two whose losses compare."""
        return next(iter(self.differences), None)

    @property
    def text(self) -> str | None:
        """The text that all of them read; None where they read several."""
        names = {model.run.corpus_id: model.run.corpus_name for model in self.models}
        return next(iter(names.values())) if len(names) == 1 else None

    @property
    def points_with_first(self) -> dict[str, str | None]:
        """Run id of each other model -> the points on which its dimensions compare with those of the first."""
        return {one.other.run.run_id: one.points for one in self.compares if one.what == "dimension"}

    @property
    def by_loss(self) -> tuple[ComparedModel, ...]:
        """Those whose losses compare, the best first."""
        known = [*(one.base for one in self.differences[:1]), *(one.other for one in self.differences)]
        return tuple(sorted(known, key=lambda model: model.loss.value if model.loss else 0.0))


_DIFFERENCE = {
    "of": "base.run.model_id",
    "from": "other.run.model_id",
    **same("value", "lower", "upper", "unit", "n", of="loss"),
}
RECORD: Fields = {
    "text": "text",
    "models": Rows(
        "models",
        {
            "run_id": "run.run_id",
            "model": "run.model_id",
            "name": "run.name",
            "bits_per_byte": "loss.value",
            **same("lower", "upper", of="loss"),
            "dimension": Rows(
                "dimension",
                {"value": "inner_max", "lower": "inner_max_lower", "upper": "inner_max_upper", "n_points": "n_points"},
            ),
        },
    ),
    "difference": Rows("difference", _DIFFERENCE),
    "differences": Rows("differences", _DIFFERENCE),
    "points": "points",
    "compares": Rows(
        "compares",
        {"of": "base.run.model_id", "model": "other.run.model_id", **same("what", "may", "points", "reasons")},
    ),
}


def find_runs(warehouse: Warehouse, named: Sequence[str]) -> list[str]:
    """Runs by the beginning or ending of their ids, and of models by name or reference the newest on a text that all models
    named so have read, by one protocol where they can. Raises InputError for what is not there."""
    listed = queries.run_list(warehouse)
    by_model: dict[str, pl.DataFrame] = {}
    found: dict[str, str | None] = {}
    for name in dict.fromkeys(named):
        is_run = bool(matching_ids(ids_of(listed), name))
        found[name] = only_id(ids_of(listed), name, "run", "runs") if is_run else None
        if not is_run:
            is_named = pl.any_horizontal(pl.col("name", "reference", "model_id").is_in([name, *of_folder(name)]))
            by_model[name] = listed.filter(is_named, pl.col("pass") == "text")
    if missing := [name for name, runs in by_model.items() if runs.is_empty()]:
        raise InputError(
            "No run or measured model is called {names}: see `workdim runs`. `workdim compare` measures with --text FILE.",
            names=missing,
        )
    if by_model:
        asked = pl.concat([runs.with_columns(asked=pl.lit(name)) for name, runs in by_model.items()])
        alike = on_one_text(asked.sort("started_at", descending=True, maintain_order=True), "asked")
        if alike.is_empty():
            raise InputError("These models share no text. Measure them on one: add --text FILE.")
        found |= dict(alike.unique("asked", keep="first").select("asked", "run_id").rows())
    return list(dict.fromkeys(run_id for run_id in found.values() if run_id))


def of_folder(name: str) -> list[str]:
    """The reference of a model that is measured from a path."""
    place = Path(os.path.expanduser(name))
    if not name or not os.path.exists(place):  # unlike those of Path, these fail for no name
        return []
    return [f"{LOCAL}{(place if place.is_dir() else place.with_suffix('')).resolve().name}"]


def ask_comparison(warehouse: Warehouse, run_ids: Sequence[str]) -> Comparison:
    """Compare runs: dimensions of the first with each other one's, losses from the first that compares. Raises InputError for fewer than two."""
    with warehouse.open() as opened:
        windows, summaries = (queries.rows(opened, table, run_ids) for table in ("run_windows", "run_summaries"))
        return compare(load_runs(opened, run_ids), windows, summaries)


def compare(runs: pl.DataFrame, windows: pl.DataFrame, summaries: pl.DataFrame) -> Comparison:
    """`runs` are rows of `queries.runs` in the order of comparison, the other frames rows of their tables."""
    if runs.height < 2:
        raise InputError("Two runs or more are compared: name two models or runs.")
    rows = records(runs, Run)
    points = comparability(*rows).points
    d2 = summaries.filter(estimator="d2", cloud=points or BY_TYPE)
    models = tuple(
        ComparedModel(
            row,
            _loss(row, windows.filter(run_id=row.run_id)),
            next(iter(records(d2.filter(run_id=row.run_id), RunSummaryRow)), None),
        )
        for row in rows
    )
    first, *others = models
    compares, differences = [], []
    known = [one for one in models if one.loss is not None] or [first]
    base = next((one for one in known if any(not _against(one, two) for two in models if two is not one)), known[0])
    for other in models:
        if other is base:
            continue
        against = _against(base, other)
        compares.append(Compares(base, other, "bits_per_byte", not against, None, against))
        if not against and base.loss and other.loss:
            one, two = (windows.filter(run_id=model.run.run_id) for model in (base, other))
            unsure = TextLoss(base.loss.value - other.loss.value, None, None, "document", 0)
            differences.append(LossDifference(base, other, text_loss(one, two) or unsure))
    for other in others:
        dimensions = comparability(first.run, other.run)
        on = dimensions.points
        compares.append(Compares(first, other, "dimension", on is not None, on, dimensions.reasons))
    return Comparison(models, tuple(differences), tuple(compares), points)


def _against(one: ComparedModel, other: ComparedModel) -> tuple[str, ...]:
    """What stands against holding the loss of one model against that of another."""
    if one.loss is None or other.loss is None:
        return ("no_loss",)
    return tuple(name for name in _LOSS_CONDITIONS if value_of(one.run, name) != value_of(other.run, name))


def _loss(run: Run, windows: pl.DataFrame) -> TextLoss | None:
    value = run.bits_per_byte
    if value is None:
        return None
    return text_loss(windows) or TextLoss(value, None, None, "document", 0)
