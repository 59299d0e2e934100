"""Figures of a decision: the front, what each weight would change, and what models cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import plotly.graph_objects as go
import polars as pl

from core.analysis.criteria import Cost, Question, Reading
from core.analysis.decision import AMOUNTS, Decision
from core.figures.scores import ScoredPoint, placed
from core.figures.style import COLOURS, QUIET, TEXT, THIN, bars, empty, frame, ink, name_rows, shown
from core.locale import translator
from core.pilots.rule import Assumptions
from core.wording import decisions as words
from core.wording.labels import distinct, shortened

LONGEST_NAME = 30
PLOT = (820.0, 270.0)
"""About how many pixels the axes of the front span, for placing names."""
_BYTES = 1e9


# --- the front -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FrontPoint:
    run_id: str
    name: str
    x: Reading
    y: Reading
    standing: str
    """As in `decision.Standing`."""
    is_chosen: bool
    told: str
    """Where it stands, in words."""
    place: str = ""
    """Where its name stands beside it; empty: only on hover."""


@dataclass(frozen=True)
class FrontData:
    x: Question
    y: Question
    points: list[FrontPoint]
    steps: list[tuple[float, float]]
    """The front of these two criteria, from one end to the other; empty where others weigh too, which bend it."""
    has_others: bool
    n_points: tuple[int, int]
    """Of the clouds that dimensions were read on."""
    x_weighs: bool = True
    y_weighs: bool = True


def front_points(decision: Decision, x: int, y: int, n_points: tuple[int, int], language: str) -> FrontData:
    """Two criteria of a decision, by their number; models that lack one of the two are not drawn. `n_points`: the fewest
    and most points of their clouds."""
    names = distinct([one.name for one in decision.candidates])
    points = []
    for number, (one, standing) in enumerate(zip(decision.candidates, decision.standings, strict=True)):
        across, up = one.readings[x], one.readings[y]
        if across is not None and up is not None:
            told = words.standing(standing, decision, language)
            points.append(FrontPoint(one.run_id, names[number], across, up, standing.standing, not number, told))
    asked_x, asked_y = (decision.weighed[k].question for k in (x, y))
    weighing = {k for k, one in enumerate(decision.weighed) if one.share > 0}
    steps = _steps(points, asked_x, asked_y) if weighing == {x, y} else []
    return FrontData(
        asked_x,
        asked_y,
        _placed(points, asked_x, asked_y),
        steps,
        bool(weighing - {x, y}),
        n_points,
        x in weighing,
        y in weighing,
    )


def _steps(points: Sequence[FrontPoint], x: Question, y: Question) -> list[tuple[float, float]]:
    """The models that no other is as good as in both, along the horizontal axis."""
    sign_x, sign_y = (1 if one.higher_is_better else -1 for one in (x, y))
    best, found = -math.inf, []
    for point in sorted(points, key=lambda one: (-sign_x * one.x.value, -sign_y * one.y.value)):
        if sign_y * point.y.value > best:
            best = sign_y * point.y.value
            found.append((point.x.value, point.y.value))
    return sorted(found)


def _placed(points: list[FrontPoint], x: Question, y: Question) -> list[FrontPoint]:
    """Names beside what is on the front, where they cover nothing."""

    def on_axis(value: float, asked: Question) -> float:
        return math.log10(value) if _is_log(asked, [getattr(p, "x" if asked is x else "y") for p in points]) else value

    plotted = [
        ScoredPoint(
            p.run_id,
            shortened(p.name, LONGEST_NAME) if p.standing == "front" or p.is_chosen else "",
            on_axis(p.x.value, x), None, None, on_axis(p.y.value, y), None, "own", is_pinned=p.is_chosen,
        )
        for p in points
    ]  # fmt: skip
    places = {one.run_id: one.place for one in placed(plotted, PLOT) if one.name}
    return [replace(p, place=places.get(p.run_id, "")) for p in points]


def _is_log(asked: Question, readings: Sequence[Reading]) -> bool:
    values = [one.value for one in readings]
    return asked.criterion.of in AMOUNTS and bool(values) and min(values) > 0 and max(values) > 3 * min(values)


def front_figure(data: FrontData, language: str, assumed: Assumptions) -> go.Figure:
    """Models by two criteria: filled on the front, open where perhaps dominated, grey where dominated for sure."""
    _ = translator(language)
    x_title, y_title = (
        _axis(asked, data.n_points, language, assumed, weighs)
        for asked, weighs in ((data.x, data.x_weighs), (data.y, data.y_weighs))
    )
    figure = frame(x_title, y_title, height=440)
    if not data.points:
        return empty(figure, _("No model has both."))
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
        _add(
            figure,
            data,
            [p for p in data.points if p.standing == key and not p.is_chosen],
            name,
            symbol,
            colour,
            language,
            assumed,
        )
    _add(figure, data, [p for p in data.points if p.is_chosen], _("the choice"), "star", COLOURS[1], language, assumed)
    for axis, asked, readings in (
        (figure.update_xaxes, data.x, [p.x for p in data.points]),
        (figure.update_yaxes, data.y, [p.y for p in data.points]),
    ):
        if _is_log(asked, readings):
            is_narrow = max(r.value for r in readings) < 100 * min(r.value for r in readings)
            axis(type="log", dtick="D2" if is_narrow else 1, tickformat=",")
    return figure


def _axis(asked: Question, n_points: tuple[int, int], language: str, assumed: Assumptions, weighs: bool) -> str:
    """The name of a criterion with its unit and, where it weighs, the end that is wanted."""
    _ = translator(language)
    units = {"memory": "GB", "parameters": _("millions"), "speed": _("tokens/s"), "price": assumed.currency}
    unit = units.get(asked.criterion.of)
    name = words.measured_name(asked, n_points, language, assumed.bits)
    told = f"{name} [{unit}]" if unit else name
    if not weighs:
        return told
    wanted = _("{name} (higher is wanted)") if asked.higher_is_better else _("{name} (lower is wanted)")
    return wanted.format(name=told)


def _scaled(values: Sequence[float], asked: Question) -> list[float]:
    by = {"memory": _BYTES, "parameters": 1e6}.get(asked.criterion.of, 1.0)
    return [value / by for value in values]


def _add(
    figure: go.Figure,
    data: FrontData,
    points: Sequence[FrontPoint],
    name: str,
    symbol: str,
    colour: str,
    language: str,
    assumed: Assumptions,
) -> None:
    if not points:
        return

    def reach(readings: Sequence[Reading], asked: Question) -> dict:
        above = [None if r.upper is None else r.upper - r.value for r in readings]
        below = [None if r.lower is None else r.value - r.lower for r in readings]
        return bars(*[[None if v is None else _scaled([v], asked)[0] for v in ends] for ends in (above, below)]) | THIN

    def told(point: FrontPoint) -> str:
        x, y = (
            f"{words.criterion_name(asked, language, assumed.bits)}: {words.reading(asked.criterion.of, reading, language, assumed)}"
            for asked, reading in ((data.x, point.x), (data.y, point.y))
        )
        return "<br>".join(map(shown, (point.name, y, x, point.told)))

    figure.add_scatter(
        x=_scaled([p.x.value for p in points], data.x),
        y=_scaled([p.y.value for p in points], data.y),
        mode="markers+text",
        text=[shown(shortened(p.name, LONGEST_NAME)) if p.place else "" for p in points],
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
        hovertext=[told(p) for p in points],
        hoverinfo="text",
    )


# --- weights ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WeightBar:
    """One criterion: what is chosen at each weight of it."""

    name: str
    share: float
    segments: list[tuple[float, float, str]]
    """From, to, model."""


def weight_bars(decision: Decision, language: str, bits: float) -> list[WeightBar]:
    names = dict(
        zip(
            (one.run_id for one in decision.candidates),
            distinct([one.name for one in decision.candidates]),
            strict=True,
        )
    )
    return [
        WeightBar(
            words.criterion_name(decision.weighed[one.criterion].question, language, bits),
            one.share,
            [(each.start, each.end, names[each.run_id]) for each in one.segments],
        )
        for one in decision.sensitivities
    ]


def weight_figure(found: Sequence[WeightBar], language: str) -> go.Figure:
    """A bar for each criterion from no weight to all of it; a line marks the weight as it is."""
    _ = translator(language)
    figure = frame(
        _("Weight of this criterion, as a share of all (the others keep their proportions)"),
        "",
        height=130 + 46 * len(found),
    )
    models = list(dict.fromkeys(model for one in found for *_ends, model in one.segments))
    drawn: set[str] = set()
    for row, one in enumerate(found):
        for start, end, model in one.segments:
            at = models.index(model)
            colour = COLOURS[at] if at < len(COLOURS) else QUIET
            figure.add_bar(
                y=[row], x=[end - start], base=[start], orientation="h", width=0.62, name=shown(model),
                legendgroup=model, showlegend=model not in drawn,
                marker={"color": colour, "line": {"color": "white", "width": 1}},
                text=shown(shortened(model, max(6, int(110 * (end - start))))) if end - start > 0.09 else "",
                textposition="inside", insidetextanchor="middle", textfont={"color": ink(colour), "size": 11}, textangle=0,
                hovertext=f"{shown(model)}: {words.share(start, language)} – {words.share(end, language)}", hoverinfo="text",
            )  # fmt: skip
            drawn.add(model)
        figure.add_shape(
            type="line", x0=one.share, x1=one.share, y0=row - 0.42, y1=row + 0.42, line={"color": TEXT, "width": 3}
        )
    figure.update_layout(barmode="overlay", margin={"l": 10, "t": 60, "b": 50})
    figure.update_xaxes(range=[-0.005, 1.005], tickformat=".0%")
    name_rows(figure, [one.name for one in found], 44)
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
    """Memory of each model, the smallest first; of very many the smallest ones."""
    names = dict(zip(runs["run_id"], distinct(runs["name"].to_list()), strict=True))
    parameters = dict(runs.select("run_id", "parameters").rows())
    found = [
        CostBar(
            names[run_id],
            weights := parameters[run_id] * assumed.bits / 8,
            one.cache_bytes,
            one.memory_bytes - weights - one.cache_bytes,
            one.price,
        )
        for run_id, one in cost.items()
    ]
    return sorted(found, key=lambda one: (one.weights + one.cache, one.name))[:MOST_BARS]


def cost_figure(found: Sequence[CostBar], language: str, assumed: Assumptions) -> go.Figure:
    """Weights, cache and what is on top, one bar a model."""
    _ = translator(language)
    places = list(range(len(found)))
    title = _("Memory at {bits} bits per weight and {n} tokens of context [GB]")
    figure = frame(
        title.format(bits=f"{assumed.bits:g}", n=f"{assumed.context_tokens:,}"), "", height=140 + 22 * len(found)
    )
    for name, values, colour, pattern in (
        (_("weights"), [one.weights for one in found], COLOURS[0], ""),
        (_("key-value cache"), [one.cache for one in found], COLOURS[1], "/"),
        (_("on top"), [one.overhead for one in found], QUIET, "."),
    ):
        figure.add_bar(
            y=places, x=[value / _BYTES for value in values], orientation="h", name=name,
            marker={"color": colour, "pattern": {"shape": pattern, "fgcolor": "white", "size": 5, "fillmode": "overlay"}},
            hovertemplate="%{x:.3g} GB",
        )  # fmt: skip
    figure.update_layout(barmode="stack", bargap=0.3, legend={"traceorder": "normal"}, margin={"l": 10})
    name_rows(figure, [one.name for one in found], LONGEST_NAME)
    return figure


def price_figure(found: Sequence[CostBar], language: str, assumed: Assumptions) -> go.Figure | None:
    """What a month costs; None where no price is known."""
    _ = translator(language)
    known = sorted((one for one in found if one.price is not None), key=lambda one: one.price or 0)
    if not known:
        return None
    places = list(range(len(known)))
    figure = frame(
        _("Price per month [{currency}]").format(currency=assumed.currency), "", height=140 + 22 * len(known)
    )
    figure.add_bar(y=places, x=[one.price for one in known], orientation="h", marker={"color": COLOURS[2]}, showlegend=False,
                   hovertemplate="%{x:,.4g}<extra></extra>")  # fmt: skip
    figure.update_layout(bargap=0.3, margin={"l": 10, "t": 20})
    name_rows(figure, [one.name for one in known], LONGEST_NAME)
    return figure
