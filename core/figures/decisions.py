"""Figures of a decision: the Pareto front, sensitivity to the weights, and cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, zip_longest

import polars as pl

from core.analysis.criteria import Candidate, Cost, CriterionValue, ResolvedCriterion
from core.analysis.decision import AMOUNTS, Decision
from core.figures.chart import (
    Axis,
    Bar,
    Bars,
    Chart,
    Mark,
    Point,
    Series,
    in_rows,
    interval_chart,
    log_axis,
    round_axis,
    x_ends,
    y_ends,
)
from core.locale import _
from core.pilots.saved import Assumptions
from core.sources import shown
from core.tables import ids_of
from core.wording import decisions as decision_wording
from core.wording.labels import distinguishing_names, share_text, shortened_name

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
    names = distinguishing_names([one.name for one in decision.candidates])
    values: list[tuple[float, str]] = [(total, shown(total, ".2f")) for total in decision.totals]
    x = Axis(_("Weighted mean (1: best in all criteria)"), 0, 1, 0.25, 2)
    if decision.shares_first:
        values = [(100 * share, share_text(share)) for share in decision.shares_first]
        x = Axis(_("How often each is first (%)"), 0, 100, 25)
    points = [
        Point(value, 0, name=shortened_name(name, LONGEST_NAME), told=told)
        for name, (value, told) in zip(names, values, strict=True)
    ]
    return interval_chart([in_rows(points[:MOST_ROWS], x.title)], x) if points else None


def criterion_chart(decision: Decision, k: int, assumed: Assumptions, name: str) -> tuple[Chart, Candidate] | None:
    """The values of one criterion, called `name`, with their intervals, best on top, and whose the best is; None without."""
    question = decision.criteria[k]
    title = criterion_title(question, assumed, name)
    names = distinguishing_names([one.name for one in decision.candidates])
    found = [
        (model, one, value) for model, one in zip(names, decision.candidates, strict=True) if (value := one.values[k])
    ]
    found.sort(key=lambda row: row[2].value, reverse=question.higher_is_better)
    points = []
    for model, _one, value in found[:MOST_ROWS]:
        lower, middle, upper = scaled(question, value)
        ends = (None, None) if lower == upper else (lower, upper)
        told = decision_wording.interval_text(question.criterion.of, value, assumed)
        points.append(Point(middle, 0, None, None, *ends, shortened_name(model, LONGEST_NAME), told))
    if not points:
        return None
    line = in_rows(points, title)
    x = replace(round_axis(title, x_ends([line])), is_reversed=not question.higher_is_better)
    return interval_chart([line], x), found[0][1]
