"""Figures of what was judged: a choice of models, claims under each specification, relations and orders over several tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import polars as pl

from core.analysis import claims as claim_analysis
from core.analysis.criteria import Cost, CriterionValue, ResolvedCriterion
from core.analysis.decision import AMOUNTS, Decision
from core.analysis.relation import Relation
from core.figures.chart import (
    Axis,
    Bar,
    Bars,
    Chart,
    Guide,
    Mark,
    Point,
    Series,
    interval_chart,
    kinds_series,
    log_axis,
    marked_series,
    round_axis,
    row_chart,
    told_drawn,
    whole_step,
    x_ends,
    y_ends,
)
from core.figures.text import wrap_text
from core.locale import _
from core.pilots.saved import Assumptions
from core.questions.generality import OrderTable, OverTasks, PooledRelation, ShrunkCoefficient
from core.sources import counted, shown, stated
from core.tables import RunClaimRow, ids_of
from core.tables.sourced import rows_of
from core.wording import decisions as decision_wording
from core.wording import labels
from core.wording.answers import coefficient_text
from core.wording.labels import distinguishing_names, share_text, shortened_name
from core.wording.verdicts import specification_of

LONGEST_NAME = 30
_BYTES = 1e9


# --- the front -------------------------------------------------------------------------------------------------


def front_chart(decision: Decision, x: int, y: int, n_points: tuple[int, int], assumed: Assumptions) -> Chart:
    """Models by two criteria of a decision, by index: filled on the front, open where possibly dominated, grey where certainly.

    Models that lack one of them are left out. The front of these two is drawn where no other criterion has weight.
    `n_points`: smallest and largest point cloud.
    """
    names = distinguishing_names([candidate.name for candidate in decision.candidates])
    questions = [decision.criteria[k] for k in (x, y)]
    kinds: dict[str, tuple[str, Mark, int | None]] = {
        "front": (_("on the front"), "circle", 0),
        "perhaps": (_("perhaps dominated"), "open", 0),
        "dominated": (_("dominated for sure"), "plus", None),
        "chosen": (_("first by the weighted mean"), "diamond", 1),
    }
    drawn: list[tuple[str, Point]] = []
    for name, candidate, standing in zip(names, decision.candidates, decision.pareto, strict=True):
        readings = [reading for reading in (candidate.values[x], candidate.values[y]) if reading is not None]
        if len(readings) < 2:
            continue
        is_chosen = decision.chosen is not None and candidate.run_id == decision.chosen.run_id
        told = [
            f"{decision_wording.criterion_name(question, assumed.bits)}: "
            f"{decision_wording.interval_text(question.criterion.of, reading, assumed)}"
            for question, reading in zip(questions, readings, strict=True)
        ]
        summary = decision_wording.pareto_text(standing, decision)
        (left, middle, right), (lower, height, upper) = map(scaled, questions, readings)
        point = Point(
            middle,
            height,
            lower,
            upper,
            left,
            right,
            shortened_name(name, LONGEST_NAME) if is_chosen or standing.status == "front" else "",
            "\n".join((name, *reversed(told), summary)),
            is_first=is_chosen,
        )
        drawn.append(("chosen" if is_chosen else standing.status, point))
    points = [point for _kind, point in drawn]
    weighing = {k for k, criterion in enumerate(decision.criteria) if criterion.share > 0}
    steps = _front_steps(points, *questions) if weighing == {x, y} else []
    series = [Series(_("front"), tuple(steps), None, is_named=False)] if len(steps) > 1 else []
    series += kinds_series(kinds, drawn)

    def axis(k: int, values: Sequence[float], ends: Sequence[float | None]) -> Axis:
        """Amounts that differ much stand on a logarithmic one."""
        question = decision.criteria[k]
        name = decision_wording.measured_criterion_name(question, n_points, assumed.bits)
        is_log = question.criterion.of in AMOUNTS and bool(values) and min(values) > 0 and max(values) > 3 * min(values)
        return (log_axis if is_log else round_axis)(criterion_title(question, assumed, name, k in weighing), ends)

    across = axis(x, [point.x for point in points], x_ends(series))
    up = axis(y, [point.y for point in points], y_ends(series))
    return Chart(across, up, tuple(series), "" if points else _("No model has both."))


def _front_steps(points: Sequence[Point], x: ResolvedCriterion, y: ResolvedCriterion) -> list[Point]:
    """A staircase along the models that no other model equals or beats in both criteria."""
    sign_x, sign_y = (1 if question.higher_is_better else -1 for question in (x, y))
    steps: list[Point] = []
    for point in sorted(points, key=lambda point: (-sign_x * point.x, -sign_y * point.y)):
        if not steps or sign_y * point.y > sign_y * steps[-1].y:
            corner = [(point.x, steps[-1].y)] if steps else []
            steps += [Point(*at, note=_("front")) for at in (*corner, (point.x, point.y))]
    return steps


def scaled(question: ResolvedCriterion, reading: CriterionValue) -> tuple[float | None, float, float | None]:
    by = {"memory": _BYTES, "parameters": 1e6}.get(question.criterion.of, 1.0)
    lower, upper = (None if end is None else end / by for end in (reading.lower, reading.upper))
    return lower, reading.value / by, upper


def criterion_title(question: ResolvedCriterion, assumed: Assumptions, name: str, weighs: bool = True) -> str:
    """The name of a criterion with its unit and, where it has weight, the wanted direction."""
    units = {"memory": "GB", "parameters": _("millions"), "speed": _("tokens/s"), "price": assumed.currency}
    unit = units.get(question.criterion.of)
    title = f"{name} [{unit}]" if unit else name
    if not weighs:
        return title
    line = _("{name} (higher is wanted)") if question.higher_is_better else _("{name} (lower is wanted)")
    return line.format(name=title)


# --- weights and cost -------------------------------------------------------------------------------------------


def weight_bars(decision: Decision, bits: float) -> Bars:
    """Which model is chosen at each weight of one criterion, from 0 to 1; its current weight is marked."""
    candidates = decision.candidates
    names = dict(
        zip(
            (candidate.run_id for candidate in candidates),
            distinguishing_names([candidate.name for candidate in candidates]),
            strict=True,
        )
    )
    parts: dict[str, list[Bar]] = {}
    for row, sensitivity in enumerate(decision.sensitivities):
        for segment in sensitivity.segments:
            model, wide = names[segment.run_id], segment.end - segment.start
            reach = f"{share_text(segment.start)} – {share_text(segment.end)}"
            text = shortened_name(model, max(6, int(110 * wide))) if wide > 0.09 else ""
            parts.setdefault(model, []).append(Bar(row, segment.start, segment.end, f"{model}: {reach}", text))
    return Bars(
        _("Weight of this criterion, others in proportion"),
        tuple(
            decision_wording.criterion_name(decision.criteria[sensitivity.criterion], bits)
            for sensitivity in decision.sensitivities
        ),
        parts,
        tuple(sensitivity.share for sensitivity in decision.sensitivities),
        is_share=True,
    )


MOST_BARS = 30


def cost_bars(runs: pl.DataFrame, cost: Mapping[str, Cost], assumed: Assumptions) -> Bars:
    """Memory of each model for weights, cache and overhead; smallest first, at most MOST_BARS."""
    names = dict(zip(ids_of(runs), distinguishing_names(runs["name"].to_list()), strict=True))
    parameters = dict(runs.select("run_id", "parameters").rows())
    weights = {run_id: parameters[run_id] * assumed.bits / 8 for run_id in cost}
    smallest = sorted(cost, key=lambda run_id: (weights[run_id] + cost[run_id].cache_bytes, names[run_id]))[:MOST_BARS]
    parts: dict[str, list[Bar]] = {_("weights"): [], _("key-value cache"): [], _("on top"): []}
    for row, run_id in enumerate(smallest):
        ends = [0.0, weights[run_id], weights[run_id] + cost[run_id].cache_bytes, cost[run_id].memory_bytes]
        for (name, bars), (low, high) in zip(parts.items(), pairwise(ends), strict=True):
            bars.append(Bar(row, low / _BYTES, high / _BYTES, f"{name}: {(high - low) / _BYTES:.3g} GB"))
    title = _("Memory at {bits} bits, {n} tokens of context [GB]")
    title = title.format(bits=f"{assumed.bits:g}", n=f"{assumed.context_tokens:,}")
    return Bars(title, tuple(names[run_id] for run_id in smallest), parts)


MOST_ROWS = 9
"""Models in one chart of their values."""


def first_chart(decision: Decision) -> Chart | None:
    """How often each model is first as values vary within their errors, the best on top; where no value has an error, their
    weighted means. None without any model."""
    names = _names_as_in_texts(decision)
    values: list[tuple[float, str]] = [(total, shown(total, ".2f")) for total in decision.totals]
    x = Axis(_("Weighted mean (1: best in all criteria)"), 0, 1, 0.25, 2)
    if decision.shares_first:
        values = [(100 * share, share_text(share)) for share in decision.shares_first]
        x = Axis(_("How often each is first (%)"), 0, 100, 25)
    points = [Point(value, 0, name=name, told=told) for name, (value, told) in zip(names, values, strict=True)]
    return _first_rows(x, points) if points else None


def _first_rows(x: str | Axis, points: Sequence[Point], **more: Any) -> Chart:
    return told_drawn(row_chart(x, points[:MOST_ROWS], **more), counted(len(points), "rule_choices"), "rule_choices")


def _names_as_in_texts(decision: Decision) -> list[str]:
    """Whole, as the title calls them, unless one is too long for a row: then what tells them apart."""
    names = [one.name for one in decision.candidates]
    if max(map(len, names), default=0) > LONGEST_NAME:
        names = [shortened_name(name, LONGEST_NAME) for name in distinguishing_names(names)]
    return names


def criterion_chart(decision: Decision, k: int, assumed: Assumptions, name: str) -> Chart | None:
    """The values of one criterion, called `name`, with their intervals, best on top; None without."""
    question = decision.criteria[k]
    found = [
        (model, value)
        for model, one in zip(_names_as_in_texts(decision), decision.candidates, strict=True)
        if (value := one.values[k])
    ]
    points = []
    for model, value in sorted(found, key=lambda row: row[1].value, reverse=question.higher_is_better):
        lower, middle, upper = scaled(question, value)
        ends = (None, None) if lower == upper else (lower, upper)
        told = decision_wording.interval_text(question.criterion.of, value, assumed)
        points.append(Point(middle, 0, None, None, *ends, model, told))
    title = criterion_title(question, assumed, name)
    return _first_rows(title, points, is_reversed=not question.higher_is_better) if points else None


# --- the rise by each method ------------------------------------------------------------------------------------

RATIO = stated(round(math.exp(claim_analysis.MARGIN), 3), "MARGIN")
"""From here on a ratio counts as a rise or a fall."""


def _method_name(row: RunClaimRow, axis: str, headline: str) -> str:
    """What differs from the headline's method, which is called `headline`: `nearest neighbours`."""
    if row.estimator == "participation_ratio":
        return _("participation ratio")
    if row.transform != "centred":
        return labels.name("transform", row.transform)
    return labels.name("axis", axis) if axis else headline


def rise_chart(claims: pl.DataFrame, headline: str) -> Chart | None:
    """The ratio of the rise by each core method, first the headline's, called `headline`, with its interval and the ratio from
    which it counts. `claims` are rows of one run; None without them."""
    rows = rows_of(claims.filter(claim="rise", is_core=True).drop_nulls("ratio"), RunClaimRow)
    methods = [(one.axis if (one := specification_of(row)) else "", row) for row in rows]
    points = [
        Point(row.ratio or 0.0, 0, left=row.lower, right=row.upper, name=_method_name(row, axis, headline))
        for axis, row in sorted(methods, key=lambda method: bool(method[0]))
    ]
    needed = Guide(_("counts from {ratio}", ratio=shown(RATIO, "g")), RATIO)
    title = _("Largest inner dimension over that at layer 0")
    return row_chart(title, points, guides=[needed], beside=[1.0, RATIO]) if points else None


# --- several tasks -----------------------------------------------------------------------------------------------------


def task_chart(over_tasks: OverTasks) -> Chart:
    """Spearman's rho of dimension and score: a row for each task that has a coefficient, alone and drawn towards the other
    tasks; their mean last."""
    pooled = over_tasks.pooled
    alone, drawn, mean = [], [], []
    tasks = [task for task in over_tasks.tasks if task.answer.relation.rho is not None]
    for row, task in enumerate(tasks):
        name = decision_wording.task_name(task.benchmark)
        alone.append(_rho_point(row, name, task.answer.relation))
        if pooled and task.key in pooled.tasks:
            drawn.append(_rho_point(row + 0.2, name, pooled.tasks[task.key]))
    if pooled and pooled.n_tasks > 1:
        mean.append(_rho_point(len(tasks), _("mean over tasks"), pooled))
    series = (
        marked_series(_("this task alone"), alone, 0, "circle"),
        marked_series(_("drawn towards the other tasks"), drawn, 1, "diamond"),
        marked_series(_("all tasks"), mean, 2, "square"),
    )
    x = Axis(_("Spearman's rho of dimension and score (95 % intervals)"), -1, 1, 0.5, 1)
    return interval_chart(series, x, (Guide("", 0.0),), nothing=_("No task with five scores: no coefficient."))


def _rho_point(row: float, name: str, found: Relation | ShrunkCoefficient | PooledRelation) -> Point:
    note = f"{name}: {coefficient_text(found.rho, found.lower, found.upper)}"
    return Point(found.rho or 0.0, row, left=found.lower, right=found.upper, name=name, note=note)


# --- orders of models over tasks and texts -----------------------------------------------------------------------


COLUMN_WIDTH = 165.0
"""Most pixels of a column's name."""


def order_chart(
    order: OrderTable, columns: Sequence[str], names: Mapping[str, str], title: str, selected: str = ""
) -> Chart:
    """A line for each model through its ranks, 1 for the largest value, equal values sharing their mean rank: where lines
    cross, the order changes.

    `columns`: names of the order's columns; `names`: run id -> model; `title` says what rank 1 is; `selected`: the model to
    highlight.
    """
    table = pl.DataFrame({str(k): [row[k] for row in order.values] for k in range(len(order.columns))})
    all_ranks = table.select(pl.all().rank("average", descending=True)).rows()
    models = [names[run_id] for run_id in order.run_ids]
    short, n, last = distinguishing_names(models), len(models), len(columns) - 1
    series = []
    for number in sorted(range(n), key=lambda number: models[number] == selected):  # drawn last, on top
        name, ranks = short[number], all_ranks[number]
        points = tuple(
            Point(x, rank, note=f"{name}: {columns[x]}, {rank:g}") for x, rank in enumerate(ranks) if rank is not None
        )
        end = "" if ranks[last] is None else f"{ranks[last]:g}  {shortened_name(name, 24)}"
        colour, dash = (0, "") if models[number] == selected else (None, "solid")
        series.append(Series(name, points, colour, mark="circle", dash=dash, group="models", end=end))
    labels = tuple((k, "\n".join(wrap_text(column, 13, COLUMN_WIDTH))) for k, column in enumerate(columns))
    return Chart(
        Axis("", 0, last, 1, labels=labels),
        Axis(title, 0.4, n + 0.6, whole_step(n), is_reversed=True),
        tuple(series),
        title,
    )
