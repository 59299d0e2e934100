"""Figures of a decision: the Pareto front, sensitivity to the weights, and cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import plotly.graph_objects as go
import polars as pl

from core.analysis.criteria import Cost, CriterionValue, ResolvedCriterion
from core.analysis.decision import AMOUNTS, Decision
from core.figures.chart import Point
from core.figures.style import (
    COLOURS,
    QUIET,
    TEXT,
    THIN_BARS,
    axes_figure,
    error_bars,
    escape_label,
    label_rows,
    place_labels,
    text_colour_on,
    with_message,
)
from core.locale import _
from core.pilots.rule import Assumptions
from core.wording import decisions as decision_wording
from core.wording.labels import distinguishing_names, shortened_name

LONGEST_NAME = 30
PLOT_SIZE = (450.0, 250.0)
"""Approximate size in pixels of what the front draws, for placing labels: in a window of 1,000 pixels."""
_BYTES = 1e9


# --- the front -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FrontPoint:
    run_id: str
    name: str
    x: CriterionValue
    y: CriterionValue
    standing: str
    """As in `decision.ParetoStatus`."""
    is_chosen: bool
    summary: str
    """Its standing in words."""
    place: str = ""
    """Position of its label; empty: only on hover."""


@dataclass(frozen=True)
class FrontData:
    x: ResolvedCriterion
    y: ResolvedCriterion
    points: list[FrontPoint]
    steps: list[tuple[float, float]]
    """The front of these two criteria; empty where other criteria have weight too."""
    has_others: bool
    n_points: tuple[int, int]
    """Of the point clouds of dimensions."""
    x_weighs: bool = True
    y_weighs: bool = True


def front_points(decision: Decision, x: int, y: int, n_points: tuple[int, int]) -> FrontData:
    """Two criteria of a decision, by index; models that lack one of them are left out. `n_points`: smallest and largest point
    cloud."""
    names = distinguishing_names([candidate.name for candidate in decision.candidates])
    points, chosen = [], decision.chosen
    for number, (candidate, standing) in enumerate(zip(decision.candidates, decision.pareto, strict=True)):
        across, up = candidate.values[x], candidate.values[y]
        if across is not None and up is not None:
            summary = decision_wording.pareto_text(standing, decision)
            is_chosen = chosen is not None and candidate.run_id == chosen.run_id
            points.append(FrontPoint(candidate.run_id, names[number], across, up, standing.status, is_chosen, summary))
    x_question, y_question = (decision.criteria[k] for k in (x, y))
    weighing = {k for k, criterion in enumerate(decision.criteria) if criterion.share > 0}
    steps = _front_steps(points, x_question, y_question) if weighing == {x, y} else []
    return FrontData(
        x_question,
        y_question,
        _label_points(points, x_question, y_question),
        steps,
        bool(weighing - {x, y}),
        n_points,
        x in weighing,
        y in weighing,
    )


def _front_steps(points: Sequence[FrontPoint], x: ResolvedCriterion, y: ResolvedCriterion) -> list[tuple[float, float]]:
    """Models that no other model equals or beats in both criteria, along the x axis."""
    sign_x, sign_y = (1 if question.higher_is_better else -1 for question in (x, y))
    best, steps = -math.inf, []
    for point in sorted(points, key=lambda point: (-sign_x * point.x.value, -sign_y * point.y.value)):
        if sign_y * point.y.value > best:
            best = sign_y * point.y.value
            steps.append((point.x.value, point.y.value))
    return sorted(steps)


def _label_points(points: list[FrontPoint], x: ResolvedCriterion, y: ResolvedCriterion) -> list[FrontPoint]:
    """Labels points on the front where the labels overlap nothing."""
    x_is_log, y_is_log = _is_log(x, [point.x for point in points]), _is_log(y, [point.y for point in points])
    drawn = []
    for point in points:
        name = shortened_name(point.name, LONGEST_NAME) if point.standing == "front" or point.is_chosen else ""
        (x_value, x_limits), (y_value, y_limits) = _on_axis(point.x, x_is_log), _on_axis(point.y, y_is_log)
        drawn.append(Point(x_value, y_value, *y_limits, *x_limits, name, is_first=point.is_chosen))
    places = place_labels(drawn, PLOT_SIZE)
    return [replace(point, place=place) for point, place in zip(points, places, strict=True)]


def _on_axis(reading: CriterionValue, is_log: bool) -> tuple[float, tuple[float | None, float | None]]:
    """Value and limits where the axis puts them; no limits where one is not known."""
    if reading.lower is None or reading.upper is None or (is_log and reading.lower <= 0):
        return (math.log10(reading.value) if is_log else reading.value), (None, None)
    if not is_log:
        return reading.value, (reading.lower, reading.upper)
    return math.log10(reading.value), (math.log10(reading.lower), math.log10(reading.upper))


def _is_log(question: ResolvedCriterion, readings: Sequence[CriterionValue]) -> bool:
    values = [reading.value for reading in readings]
    return question.criterion.of in AMOUNTS and bool(values) and min(values) > 0 and max(values) > 3 * min(values)


def front_figure(data: FrontData, assumed: Assumptions) -> go.Figure:
    """Models by two criteria: filled on the front, open where possibly dominated, grey where certainly dominated."""
    x_title, y_title = (
        _axis_title(question, data.n_points, assumed, weighs)
        for question, weighs in ((data.x, data.x_weighs), (data.y, data.y_weighs))
    )
    figure = axes_figure(x_title, y_title, height=440)
    if not data.points:
        return with_message(figure, _("No model has both."))
    if data.steps:
        x, y = zip(*data.steps, strict=True)
        shape = "vh" if data.y.higher_is_better == data.x.higher_is_better else "hv"
        figure.add_scatter(x=_scaled(x, data.x), y=_scaled(y, data.y), mode="lines", line={"color": QUIET, "width": 1.5, "dash": "dot", "shape": shape},
                           name=_("front"), hoverinfo="skip")  # fmt: skip
    for key, name, symbol, colour in (
        ("front", _("on the front"), "circle", COLOURS[0]),
        ("perhaps", _("perhaps dominated"), "circle-open", COLOURS[0]),
        ("dominated", _("dominated for sure"), "x-thin-open", QUIET),
    ):
        _add_points(
            figure,
            data,
            [p for p in data.points if p.standing == key and not p.is_chosen],
            name,
            symbol,
            colour,
            assumed,
        )
    _add_points(
        figure,
        data,
        [p for p in data.points if p.is_chosen],
        _("first by the weighted mean"),
        "star",
        COLOURS[1],
        assumed,
    )
    for axis, question, readings in (
        (figure.update_xaxes, data.x, [p.x for p in data.points]),
        (figure.update_yaxes, data.y, [p.y for p in data.points]),
    ):
        if _is_log(question, readings):
            is_narrow = max(r.value for r in readings) < 100 * min(r.value for r in readings)
            axis(type="log", dtick="D2" if is_narrow else 1, tickformat=",")
    return figure


def _axis_title(question: ResolvedCriterion, n_points: tuple[int, int], assumed: Assumptions, weighs: bool) -> str:
    """The name of a criterion with its unit and, where it has weight, the wanted direction."""
    units = {"memory": "GB", "parameters": _("millions"), "speed": _("tokens/s"), "price": assumed.currency}
    unit = units.get(question.criterion.of)
    name = decision_wording.measured_criterion_name(question, n_points, assumed.bits)
    title = f"{name} [{unit}]" if unit else name
    if not weighs:
        return title
    line = _("{name} (higher is wanted)") if question.higher_is_better else _("{name} (lower is wanted)")
    return line.format(name=title)


def _scaled(values: Sequence[float], question: ResolvedCriterion) -> list[float]:
    by = {"memory": _BYTES, "parameters": 1e6}.get(question.criterion.of, 1.0)
    return [value / by for value in values]


def _add_points(
    figure: go.Figure,
    data: FrontData,
    points: Sequence[FrontPoint],
    name: str,
    symbol: str,
    colour: str,
    assumed: Assumptions,
) -> None:
    if not points:
        return

    def reach(readings: Sequence[CriterionValue], question: ResolvedCriterion) -> dict:
        above = [None if r.upper is None else r.upper - r.value for r in readings]
        below = [None if r.lower is None else r.value - r.lower for r in readings]
        return (
            error_bars(
                *[[None if v is None else _scaled([v], question)[0] for v in limits] for limits in (above, below)]
            )
            | THIN_BARS
        )

    def hover_text(point: FrontPoint) -> str:
        x, y = (
            f"{decision_wording.criterion_name(question, assumed.bits)}: {decision_wording.interval_text(question.criterion.of, reading, assumed)}"
            for question, reading in ((data.x, point.x), (data.y, point.y))
        )
        return "<br>".join(map(escape_label, (point.name, y, x, point.summary)))

    figure.add_scatter(
        x=_scaled([p.x.value for p in points], data.x),
        y=_scaled([p.y.value for p in points], data.y),
        mode="markers+text",
        text=[escape_label(shortened_name(p.name, LONGEST_NAME)) if p.place else "" for p in points],
        textposition=[p.place or "top center" for p in points],
        textfont={"size": 11},
        name=name,
        marker={
            "size": 17 if symbol == "star" else 10,
            "symbol": symbol,
            "color": colour,
            "line": {"width": 2, "color": colour},
        },
        error_x=reach([p.x for p in points], data.x),
        error_y=reach([p.y for p in points], data.y),
        hovertext=[hover_text(p) for p in points],
        hoverinfo="text",
    )


# --- weights ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WeightBar:
    """Which model is chosen at each weight of one criterion."""

    name: str
    share: float
    segments: list[tuple[float, float, str]]
    """From, to, model."""


def weight_bars(decision: Decision, bits: float) -> list[WeightBar]:
    names = dict(
        zip(
            (sensitivity.run_id for sensitivity in decision.candidates),
            distinguishing_names([sensitivity.name for sensitivity in decision.candidates]),
            strict=True,
        )
    )
    return [
        WeightBar(
            decision_wording.criterion_name(decision.criteria[sensitivity.criterion], bits),
            sensitivity.share,
            [(segment.start, segment.end, names[segment.run_id]) for segment in sensitivity.segments],
        )
        for sensitivity in decision.sensitivities
    ]


def weight_figure(weight_bars: Sequence[WeightBar]) -> go.Figure:
    """A bar for each criterion from weight 0 to 1; a line marks its current weight."""
    figure = axes_figure(
        _("Weight of this criterion, as a share of all (the others keep their proportions)"),
        "",
        height=130 + 46 * len(weight_bars),
    )
    models = list(dict.fromkeys(model for weight_bar in weight_bars for *_ends, model in weight_bar.segments))
    in_legend: set[str] = set()
    for row, weight_bar in enumerate(weight_bars):
        for start, end, model in weight_bar.segments:
            index = models.index(model)
            colour = COLOURS[index] if index < len(COLOURS) else QUIET
            figure.add_bar(
                y=[row], x=[end - start], base=[start], orientation="h", width=0.62, name=escape_label(model),
                legendgroup=model, showlegend=model not in in_legend,
                marker={"color": colour, "line": {"color": "white", "width": 1}},
                text=escape_label(shortened_name(model, max(6, int(110 * (end - start))))) if end - start > 0.09 else "",
                textposition="inside", insidetextanchor="middle", textfont={"color": text_colour_on(colour), "size": 11}, textangle=0,
                hovertext=f"{escape_label(model)}: {decision_wording.share_text(start)} – {decision_wording.share_text(end)}", hoverinfo="text",
            )  # fmt: skip
            in_legend.add(model)
        figure.add_shape(
            type="line",
            x0=weight_bar.share,
            x1=weight_bar.share,
            y0=row - 0.42,
            y1=row + 0.42,
            line={"color": TEXT, "width": 3},
        )
    figure.update_layout(barmode="overlay", margin={"l": 10, "t": 60, "b": 50})
    figure.update_xaxes(range=[-0.005, 1.005], tickformat=".0%")
    label_rows(figure, [weight_bar.name for weight_bar in weight_bars], 44)
    return figure


# --- cost ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CostBar:
    name: str
    weights: float
    """Bytes at the assumed precision."""
    cache: float
    overhead: float
    price: float | None


MOST_BARS = 30


def cost_bars(runs: pl.DataFrame, cost: Mapping[str, Cost], assumed: Assumptions) -> list[CostBar]:
    """Memory and price of each model, smallest memory first, at most MOST_BARS."""
    names = dict(zip(runs["run_id"], distinguishing_names(runs["name"].to_list()), strict=True))
    parameters = dict(runs.select("run_id", "parameters").rows())
    cost_bars = [
        CostBar(
            names[run_id],
            weights := parameters[run_id] * assumed.bits / 8,
            bar.cache_bytes,
            bar.memory_bytes - weights - bar.cache_bytes,
            bar.price,
        )
        for run_id, bar in cost.items()
    ]
    return sorted(cost_bars, key=lambda bar: (bar.weights + bar.cache, bar.name))[:MOST_BARS]


def cost_figure(cost_bars: Sequence[CostBar], assumed: Assumptions) -> go.Figure:
    """Memory for weights, cache and overhead, one bar per model."""
    places = list(range(len(cost_bars)))
    title = _("Memory at {bits} bits per weight and {n} tokens of context [GB]")
    figure = axes_figure(
        title.format(bits=f"{assumed.bits:g}", n=f"{assumed.context_tokens:,}"), "", height=140 + 22 * len(cost_bars)
    )
    for name, values, colour, pattern in (
        (_("weights"), [bar.weights for bar in cost_bars], COLOURS[0], ""),
        (_("key-value cache"), [bar.cache for bar in cost_bars], COLOURS[1], "/"),
        (_("on top"), [bar.overhead for bar in cost_bars], QUIET, "."),
    ):
        figure.add_bar(
            y=places, x=[value / _BYTES for value in values], orientation="h", name=name,
            marker={"color": colour, "pattern": {"shape": pattern, "fgcolor": "white", "size": 5, "fillmode": "overlay"}},
            hovertemplate="%{x:.3g} GB",
        )  # fmt: skip
    figure.update_layout(barmode="stack", bargap=0.3, legend={"traceorder": "normal"}, margin={"l": 10})
    label_rows(figure, [bar.name for bar in cost_bars], LONGEST_NAME)
    return figure


def price_figure(cost_bars: Sequence[CostBar], assumed: Assumptions) -> go.Figure | None:
    """Price per month; None where no price is known."""
    priced = sorted((bar for bar in cost_bars if bar.price is not None), key=lambda bar: bar.price or 0)
    if not priced:
        return None
    places = list(range(len(priced)))
    figure = axes_figure(
        _("Price per month [{currency}]").format(currency=assumed.currency), "", height=140 + 22 * len(priced)
    )
    figure.add_bar(y=places, x=[bar.price for bar in priced], orientation="h", marker={"color": COLOURS[2]}, showlegend=False,
                   hovertemplate="%{x:,.4g}<extra></extra>")  # fmt: skip
    figure.update_layout(bargap=0.3, margin={"l": 10, "t": 20})
    label_rows(figure, [bar.name for bar in priced], LONGEST_NAME)
    return figure
