"""Figures of what was judged: a choice of models, claims under each specification, relations and orders over several tasks."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product, zip_longest
from typing import Any

import polars as pl

from core.analysis import claims as claim_analysis
from core.analysis.criteria import Candidate, Cost, CriterionValue, ResolvedCriterion
from core.analysis.decision import AMOUNTS, Decision
from core.figures.chart import (
    Axis,
    Bar,
    Bars,
    Chart,
    Guide,
    Mark,
    Point,
    Series,
    in_rows,
    interval_chart,
    log_axis,
    round_axis,
    whole_step,
    x_ends,
    y_ends,
)
from core.figures.svg import LIGHT, SMALL, Drawing, Theme
from core.figures.text import shorten_to_width, text_width, wrap_text
from core.locale import _
from core.pilots.saved import Assumptions
from core.questions.generality import OrderTable, OverTasks
from core.registry.protocols import CLAIMS, SPECIFICATIONS
from core.sources import shown, stated
from core.tables import RunClaimRow, ids_of, records
from core.tables.sourced import rows_of
from core.wording import decisions as decision_wording
from core.wording import labels
from core.wording.answers import coefficient_text
from core.wording.labels import distinct_short_names, distinguishing_names, run_labels, share_text, shortened_name
from core.wording.verdicts import (
    claim_name,
    claim_outcome_text,
    outcome_legend_text,
    outcome_mark,
    outcome_of,
    ratio_text,
    specification_name,
)

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
    groups: dict[str, list[Point]] = {kind: [] for kind in kinds}
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
        groups["chosen" if is_chosen else standing.status].append(point)
    points = [point for group in groups.values() for point in group]
    weighing = {k for k, criterion in enumerate(decision.criteria) if criterion.share > 0}
    steps = _front_steps(points, *questions) if weighing == {x, y} else []
    series = [Series(_("front"), tuple(steps), None, is_named=False)] if len(steps) > 1 else []
    series += [
        Series(name, tuple(groups[kind]), colour, False, mark, is_named=False)
        for kind, (name, mark, colour) in kinds.items()
        if groups[kind]
    ]
    titles = [
        _axis_title(question, n_points, assumed, k in weighing) for k, question in zip((x, y), questions, strict=True)
    ]
    return Chart(
        _front_axis(titles[0], questions[0], [p.x for p in points], x_ends(series)),
        _front_axis(titles[1], questions[1], [p.y for p in points], y_ends(series)),
        tuple(series),
        "" if points else _("No model has both."),
    )


def _front_steps(points: Sequence[Point], x: ResolvedCriterion, y: ResolvedCriterion) -> list[Point]:
    """A staircase along the models that no other model equals or beats in both criteria."""
    sign_x, sign_y = (1 if question.higher_is_better else -1 for question in (x, y))
    best, front = -math.inf, []
    for point in sorted(points, key=lambda point: (-sign_x * point.x, -sign_y * point.y)):
        if sign_y * point.y > best:
            best = sign_y * point.y
            front.append((point.x, point.y))
    front.sort()
    corners = [(a[0], b[1]) if sign_x == sign_y else (b[0], a[1]) for a, b in pairwise(front)]
    stairs = [step for pair in zip_longest(front, corners) for step in pair if step]
    return [Point(across, up, note=_("front")) for across, up in stairs]


def _front_axis(title: str, question: ResolvedCriterion, values: Sequence[float], ends: Sequence[float | None]) -> Axis:
    """Amounts that differ much stand on a logarithmic axis."""
    is_log = question.criterion.of in AMOUNTS and bool(values) and min(values) > 0 and max(values) > 3 * min(values)
    return (log_axis if is_log else round_axis)(title, ends)


def scaled(question: ResolvedCriterion, reading: CriterionValue) -> tuple[float | None, float, float | None]:
    by = {"memory": _BYTES, "parameters": 1e6}.get(question.criterion.of, 1.0)
    lower, upper = (None if end is None else end / by for end in (reading.lower, reading.upper))
    return lower, reading.value / by, upper


def _axis_title(question: ResolvedCriterion, n_points: tuple[int, int], assumed: Assumptions, weighs: bool) -> str:
    """The name of a criterion with its unit and, where it has weight, the wanted direction."""
    title = decision_wording.measured_criterion_name(question, n_points, assumed.bits)
    return criterion_title(question, assumed, title) if weighs else _with_unit(question, assumed, title)


def criterion_title(question: ResolvedCriterion, assumed: Assumptions, name: str = "") -> str:
    """The name of a criterion, or this one, with its unit and the wanted direction."""
    title = _with_unit(question, assumed, name or decision_wording.criterion_name(question, assumed.bits))
    line = _("{name} (higher is wanted)") if question.higher_is_better else _("{name} (lower is wanted)")
    return line.format(name=title)


def _with_unit(question: ResolvedCriterion, assumed: Assumptions, name: str) -> str:
    units = {"memory": "GB", "parameters": _("millions"), "speed": _("tokens/s"), "price": assumed.currency}
    unit = units.get(question.criterion.of)
    return f"{name} [{unit}]" if unit else name


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


def cost_bars(runs: pl.DataFrame, cost: Mapping[str, Cost], assumed: Assumptions) -> tuple[Bars, Bars]:
    """Memory of each model for weights, cache and overhead, and its price per month where one is known; smallest first, at most
    MOST_BARS."""
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
    priced = sorted((price, names[run_id]) for run_id in smallest if (price := cost[run_id].price) is not None)
    return (
        Bars(title, tuple(names[run_id] for run_id in smallest), parts),
        Bars(
            _("Cost per month [{currency}]").format(currency=assumed.currency),
            tuple(name for _price, name in priced),
            {"": [Bar(row, 0.0, price, f"{price:,.4g}") for row, (price, _name) in enumerate(priced)]},
        ),
    )


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
    return interval_chart([in_rows(points[:MOST_ROWS], x.title)], x) if points else None


def _names_as_in_texts(decision: Decision) -> list[str]:
    """Whole, as the title calls them, unless one is too long for a row: then what tells them apart."""
    names = [one.name for one in decision.candidates]
    if max(map(len, names), default=0) > LONGEST_NAME:
        names = [shortened_name(name, LONGEST_NAME) for name in distinguishing_names(names)]
    return names


def criterion_chart(decision: Decision, k: int, assumed: Assumptions, name: str) -> tuple[Chart, Candidate] | None:
    """The values of one criterion, called `name`, with their intervals, best on top, and whose the best is; None without."""
    question = decision.criteria[k]
    title = criterion_title(question, assumed, name)
    names = _names_as_in_texts(decision)
    found = [
        (model, one, value) for model, one in zip(names, decision.candidates, strict=True) if (value := one.values[k])
    ]
    found.sort(key=lambda row: row[2].value, reverse=question.higher_is_better)
    points = []
    for model, _one, value in found[:MOST_ROWS]:
        lower, middle, upper = scaled(question, value)
        ends = (None, None) if lower == upper else (lower, upper)
        told = decision_wording.interval_text(question.criterion.of, value, assumed)
        points.append(Point(middle, 0, None, None, *ends, model, told))
    if not points:
        return None
    line = in_rows(points, title)
    x = replace(round_axis(title, x_ends([line])), is_reversed=not question.higher_is_better)
    return interval_chart([line], x), found[0][1]


# --- claims: the outcome of each under each specification, which shows on which choices a verdict depends ----------

HEADS, LINE, GAP = 40.0, 14.0, 9.0
"""Pixels above the rows of a grid, of a line of a name, and between rows."""
NARROWEST, WIDEST = 38.0, 90.0
"""Pixels of a column."""
_AXES = list(dict.fromkeys(specification.axis for specification in SPECIFICATIONS))
_AXIS_OF = {one.key: one.axis for one in sorted(SPECIFICATIONS, key=lambda one: _AXES.index(one.axis))}
"""Specification -> what it changes against the reference; those that change the same follow each other."""


RATIO = stated(round(math.exp(claim_analysis.MARGIN), 3), "MARGIN")
"""From here on a ratio counts as a rise or a fall."""


@dataclass(frozen=True)
class ClaimGrid:
    """Rows are specifications, grouped by what they change against the reference; for each run a column for each claim."""

    runs: Mapping[str, str]
    """run_id -> its label."""
    rows: Mapping[tuple[Any, ...], Sequence[RunClaimRow]]
    """Cloud, transform, estimator and n1 of a specification -> its rows of run_claims."""


def claim_grid(claims: pl.DataFrame, runs: pl.DataFrame) -> ClaimGrid | None:
    """`claims` are rows of run_claims; control runs and those without claims are left out; None without any."""
    texts = runs.filter(pl.col("pass") == "text").join(claims, on="run_id", how="semi", maintain_order="left")
    found: dict[tuple[Any, ...], list[RunClaimRow]] = {}
    for row in records(claims.join(texts, on="run_id", how="semi", maintain_order="left"), RunClaimRow):
        found.setdefault((row.cloud, row.transform, row.estimator, row.n1), []).append(row)
    if not found:
        return None
    labels, order = run_labels(runs), [*_AXIS_OF, *(key for key in found if key not in _AXIS_OF)]
    return ClaimGrid({one: labels[one] for one in ids_of(texts)}, {key: found[key] for key in order if key in found})


def grid_svg(grid: ClaimGrid, theme: Theme = LIGHT, size: tuple[float, float] = (960.0, 0.0)) -> str:
    """The grid in this width, specifications of the core in bold; its height is that of its rows. Runs for whose columns
    there is no room stand in a further grid below."""
    drawing = Drawing(*size, theme)
    names = [(specification_name(rows[0]), bool(rows[0].is_core)) for rows in grid.rows.values()]
    left = 10 + min(max(text_width(name, SMALL, is_core) for name, is_core in names), 0.46 * size[0])
    lines = [wrap_text(name, SMALL, left - 10, is_core) for name, is_core in names]
    together = max(1, int((size[0] - left) // (NARROWEST * len(CLAIMS))))
    ids, drawing.height = list(grid.runs), 0.0
    for start in range(0, len(ids), together):
        _draw_grid(drawing, grid, ids[start : start + together], lines, left)
    return drawing.svg(_("Read in other ways"), outcome_legend_text())


def _draw_grid(
    drawing: Drawing, grid: ClaimGrid, run_ids: Sequence[str], lines: Sequence[Sequence[str]], left: float
) -> None:
    """Draws the columns of some runs below what is drawn already, with the names of the specifications on their left."""
    theme, top = drawing.theme, drawing.height
    step = min((drawing.width - left) / (len(run_ids) * len(CLAIMS)), WIDEST)
    columns = {key: left + step * (n + 0.5) for n, key in enumerate(product(run_ids, CLAIMS))}
    room = step * len(CLAIMS) - 8
    short = distinct_short_names(
        [grid.runs[run] for run in run_ids], lambda name: shorten_to_width(name, SMALL, room, bold=True)
    )
    for n, name in enumerate(short):
        drawing.text((left + step * (n + 0.5) * len(CLAIMS), top + 13), name, SMALL, anchor="middle", bold=True)
    for (_run, claim), x in columns.items():
        drawing.text((x, top + 30), claim_name(claim), SMALL, theme.quiet, "middle")
    y = top + HEADS
    axes = [_AXIS_OF.get(key) for key in grid.rows]
    ends = [*(before != after for before, after in pairwise(axes)), False]
    for rows, told, is_last in zip(grid.rows.values(), lines, ends, strict=True):
        height = LINE * len(told) + GAP
        for n, line in enumerate(told):
            drawing.text((0, y + LINE * (n + 1)), line, SMALL, bold=bool(rows[0].is_core))
        for row in rows:
            if (row.run_id, row.claim) in columns:
                _draw_outcome(drawing, row, (columns[row.run_id, row.claim], y + height / 2), step, height)
        y += height
        if is_last:
            drawing.line([(0, y), (left + step * len(columns), y)], theme.grid, 1.5)
    drawing.height = y + 12


def _draw_outcome(drawing: Drawing, row: RunClaimRow, middle: tuple[float, float], width: float, height: float) -> None:
    """The sign distinguishes an outcome, its colour only repeats that; a pointer over it tells ratio and interval."""
    (x, y), outcome = middle, outcome_of(row)
    colours = {"yes": drawing.theme.curves[0], "opposite": drawing.theme.curves[1]}
    drawing.text((x, y + 6), outcome_mark(outcome), 17, colours.get(outcome or "", drawing.theme.quiet), "middle")
    told = html.escape(f"{specification_name(row)}\n{ratio_text(row)}: {claim_outcome_text(row)}", quote=False)
    drawing.parts.append(
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill-opacity="0"><title>{told}</title></rect>'
    )


def _axis(row: RunClaimRow) -> str:
    return _AXIS_OF.get((row.cloud, row.transform, row.estimator, row.n1), "")


def _method_name(row: RunClaimRow, headline: str) -> str:
    """What differs from the headline's method, which is called `headline`: `nearest neighbours`."""
    if row.estimator == "participation_ratio":
        return _("participation ratio")
    if row.transform != "centred":
        return labels.name("transform", row.transform)
    axis = _axis(row)
    return labels.name("axis", axis) if axis else headline


def rise_chart(claims: pl.DataFrame, headline: str) -> Chart | None:
    """The ratio of the rise by each core method, first the headline's, called `headline`, with its interval and the ratio from
    which it counts. `claims` are rows of one run; None without them."""
    title = _("Largest inner dimension over that at layer 0")
    rows = rows_of(claims.filter(claim="rise", is_core=True), RunClaimRow)
    points = (
        Point(row.ratio, 0, left=row.lower, right=row.upper, name=_method_name(row, headline))
        for row in sorted(rows, key=lambda row: bool(_axis(row)))
        if row.ratio is not None
    )
    line = in_rows(points, title)
    needed = Guide(_("counts from {ratio}").format(ratio=shown(RATIO, "g")), RATIO)
    x = round_axis(title, [*x_ends([line]), 1.0, RATIO])
    return interval_chart([line], x, [needed]) if line.points else None


# --- several tasks -----------------------------------------------------------------------------------------------------


def task_chart(over_tasks: OverTasks) -> Chart:
    """Spearman's rho of dimension and score: a row for each task that has a coefficient, alone and drawn towards the other
    tasks; their mean last."""
    pooled = over_tasks.pooled
    shrunk = pooled.tasks if pooled else {}
    kinds: dict[str, tuple[str, Mark, list[Point]]] = {
        "alone": (_("this task alone"), "circle", []),
        "pooled": (_("drawn towards the other tasks"), "diamond", []),
        "mean": (_("all tasks"), "square", []),
    }

    def add(kind: str, row: int, name: str, rho: float, lower: float | None, upper: float | None) -> None:
        note = f"{name}: {coefficient_text(rho, lower, upper)}"
        kinds[kind][2].append(
            Point(rho, row + (0.2 if kind == "pooled" else 0), left=lower, right=upper, name=name, note=note)
        )

    tasks = [task for task in over_tasks.tasks if task.answer.relation.rho is not None]
    for row, task in enumerate(tasks):
        name, relation = decision_wording.task_name(task.benchmark), task.answer.relation
        add("alone", row, name, relation.rho or 0.0, relation.lower, relation.upper)
        if task.key in shrunk:
            add("pooled", row, name, shrunk[task.key].rho, shrunk[task.key].lower, shrunk[task.key].upper)
    if pooled and pooled.n_tasks > 1:
        add("mean", len(tasks), _("mean over tasks"), pooled.rho, pooled.lower, pooled.upper)
    series = (
        Series(name, tuple(points), colour, False, mark, is_named=False)
        for colour, (name, mark, points) in enumerate(kinds.values())
    )
    x = Axis(_("Spearman's rho of dimension and score (95 % intervals)"), -1, 1, 0.5, 1)
    return interval_chart(series, x, (Guide("", 0.0),), nothing=_("No task with five scores: no coefficient."))


# --- orders of models over tasks and texts ----------------------------------------------------------------------------------------------------


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
    labels = tuple((k, _wrap_column(column)) for k, column in enumerate(columns))
    return Chart(
        Axis("", 0, last, 1, labels=labels),
        Axis(title, 0.4, n + 0.6, whole_step(n), is_reversed=True),
        tuple(series),
        title,
    )


def _wrap_column(name: str) -> str:
    """Puts text in brackets on lines of its own."""
    bracket = next((i for i, letter in enumerate(name) if letter in "(（"), len(name))
    lines = [line for part in (name[:bracket].strip(), name[bracket:]) for line in wrap_text(part, 13, COLUMN_WIDTH)]
    return "\n".join(shortened_name(line, 26) for line in lines)
