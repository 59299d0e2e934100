"""Figures of scores: against dimension over models and over windows of one text, two models on the same questions, and the
preview of an import."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.analysis.paired import PairedComparison
from core.analysis.ranks import NORMAL_95, quantile
from core.figures.chart import Point
from core.figures.style import (
    COLOURS,
    LABEL_SIZE,
    QUIET,
    TEXT,
    THIN_BARS,
    axes_figure,
    error_bars,
    escape_label,
    label_rows,
    place_labels,
    with_message,
)
from core.figures.svg import LIGHT, Caption, Theme, scatter_svg
from core.locale import _
from core.questions.ranking_answer import Answer
from core.registry.names import NOT_STATED
from core.wording.answers import benchmark_name
from core.wording.labels import distinguishing_names, run_labels
from core.wording.numbers import number
from core.wording.score_files import KINDS, kind_name


@dataclass(frozen=True)
class ScoredPoint:
    """One model in a scatter of dimension against score."""

    run_id: str
    name: str
    dimension: float
    lower: float | None
    upper: float | None
    score: float
    score_std_error: float | None
    match: str
    """As in `ranking.with_scores`."""
    place: str = "top center"
    """Position of its name; empty where there is no room, so that only hovering shows it."""
    is_pinned: bool = False


@dataclass(frozen=True)
class RankingData:
    """A scatter within one comparison group."""

    dimension: str
    """A key of `answer.DIMENSIONS`."""
    cloud: str
    benchmark: str
    """With metric and shots, as a reader sees it."""
    metric: str
    """As its source calls it; empty without scores."""
    unit: str
    n_points: tuple[int, int]
    points: list[ScoredPoint]
    without_score: list[str]
    """Names of the models that have no score here."""
    higher_is_better: bool | None


def ranking_points(
    answer: Answer, pinned: Collection[str] = (), plot: tuple[float, float] = (960.0, 340.0)
) -> RankingData:
    """Dimension and score of the models of an answer, smallest dimension first.

    `pinned` are run ids, `plot` is the approximate size of the axes in pixels at LABEL_SIZE.
    """
    rows = answer.population.rows
    labels = run_labels(rows)
    names = dict(zip(labels, distinguishing_names(list(labels.values())), strict=True))
    partial = set(rows.filter(pl.col("score_is_partial").fill_null(False))["run_id"])
    points = [
        ScoredPoint(
            model.run_id,
            _with_partial_mark(names[model.run_id], model.run_id in partial),
            model.dimension,
            model.lower,
            model.upper,
            model.score,
            model.score_std_error,
            model.match,
            is_pinned=model.run_id in pinned,
        )
        for model in reversed(answer.models)
        if model.dimension is not None and model.score is not None
    ]
    places = place_labels([_as_drawn(point) for point in points], plot)
    drawn_ids = {point.run_id for point in points}
    units = rows["unit"].drop_nulls().to_list()
    return RankingData(
        answer.population.asked.dimension,
        answer.population.asked.cloud,
        benchmark_name(answer),
        answer.population.benchmark["metric"] if answer.population.benchmark else "",
        units[0] if units else "",
        answer.group.n_points if answer.group else (0, 0),
        [replace(point, place=place) for point, place in zip(points, places, strict=True)],
        [labels[model.run_id] for model in answer.models if model.run_id not in drawn_ids],
        answer.population.higher_is_better,
    )


def _with_partial_mark(name: str, is_partial: bool) -> str:
    return _("{name} (partial run)").format(name=name) if is_partial else name


def _as_drawn(point: ScoredPoint) -> Point:
    reach = NORMAL_95 * (point.score_std_error or 0)
    low, high = (point.score - reach, point.score + reach) if reach else (None, None)
    return Point(point.dimension, point.score, low, high, point.lower, point.upper, point.name, point.is_pinned)


def dimension_axis(data: RankingData) -> str:
    """`Largest inner dimension, estimated (d2, one per type, N=800)`."""
    names = {
        "inner_max": _("Largest inner dimension, estimated (d2, {cloud}, N={n})"),
        "working": _("Working dimension, estimated (d2, {cloud}, N={n})"),
        "final": _("Final dimension before the norm, estimated (d2, {cloud}, N={n})"),
        "final_post_norm": _("Final dimension after the norm, estimated (d2, {cloud}, N={n})"),
        "embedding": _("Embedding dimension, estimated (d2, {cloud}, N={n})"),
    }
    cloud = wording.name("cloud", data.cloud)
    return names[data.dimension].format(cloud=cloud, n=wording.size_range(data.n_points))


def score_axis(data: RankingData) -> str:
    """`arc_easy (acc, 0-shot) [%]`, without the unit where the metric is called like it; says when lower is better."""
    unit = "%" if data.unit == "percent" else wording.unit_name(data.unit)
    is_new = unit and unit != wording.metric_name(data.metric)
    title = f"{data.benchmark} [{unit}]" if is_new else data.benchmark
    return _("{title} (lower is better)").format(title=title) if data.higher_is_better is False else title


def match_names() -> dict[str, str]:
    """Legend names of how a score matches the model; keys as in `ranking.with_scores`."""
    return {
        "own": _("own score of the user"),
        "exact": _("score of this model"),
        "revision_not_stated": _("score of this model, revision not stated"),
        "mapped": _("score under a name that an alias maps to this model"),
        "base": _("score of the base model"),
    }


def ranking_figure(data: RankingData) -> go.Figure:
    """Dimension against score within one group with 95 percent intervals. Scores of a base model are open markers."""
    figure = axes_figure(dimension_axis(data), score_axis(data))
    if not data.points:
        return with_message(figure, _("No model here has this score."))
    symbols = {"own": "square", "revision_not_stated": "circle-dot", "mapped": "diamond", "base": "circle-open"}
    for match, name in match_names().items():
        symbol = symbols.get(match, "circle")
        points = [point for point in data.points if point.match == match]
        if not points:
            continue
        reach = [NORMAL_95 * point.score_std_error if point.score_std_error else None for point in points]
        colours = [COLOURS[1] if point.is_pinned else COLOURS[0] for point in points]
        figure.add_scatter(
            x=[point.dimension for point in points],
            y=[point.score for point in points],
            mode="markers+text",
            text=[escape_label(point.name) if point.place else "" for point in points],
            textposition=[point.place or "top center" for point in points],
            textfont={"size": LABEL_SIZE},
            hovertext=[escape_label(point.name) for point in points],
            name=name,
            marker={"size": 9, "symbol": symbol, "color": colours, "line": {"width": 2, "color": colours}},
            error_x=error_bars(
                [None if point.upper is None else point.upper - point.dimension for point in points],
                [None if point.lower is None else point.dimension - point.lower for point in points],
            )
            | THIN_BARS,
            error_y=error_bars(reach, reach) | THIN_BARS,
        )
    if len(figure.data) == 1:  # one kind of score needs no legend
        figure.update_layout(showlegend=False, margin={"t": 20}, height=430)
    return figure


@dataclass(frozen=True)
class Difference:
    name: str
    """Benchmark, metric and, where there is one, filter."""
    value: float
    lower: float | None
    upper: float | None
    is_told_apart: bool
    n: int


@dataclass(frozen=True)
class PairedData:
    model_a: str
    model_b: str
    differences: list[Difference]


def benchmark_label(key: dict[str, str]) -> str:
    """`arc_easy, acc`, and the filter if there is one."""
    parts = [
        key["benchmark"],
        wording.metric_name(key["metric"]),
        key["filter"] if key["filter"] not in ("none", NOT_STATED) else "",
    ]
    return ", ".join(part for part in parts if part)


def paired_points(
    model_a: str, model_b: str, comparisons: Sequence[tuple[dict[str, str], PairedComparison]]
) -> PairedData:
    """`comparisons` come from `analysis.paired.compare_all_answers`."""
    return PairedData(
        model_a,
        model_b,
        [
            Difference(
                benchmark_label(key),
                comparison.difference,
                comparison.lower,
                comparison.upper,
                comparison.is_told_apart,
                comparison.n_common,
            )
            for key, comparison in comparisons
        ],
    )


def paired_figure(data: PairedData) -> go.Figure:
    """One line per benchmark; filled where the models can be told apart, open where they cannot."""
    title = _("{a} minus {b}:<br>difference of means, 95 % interval")
    title = title.format(
        a=escape_label(_short_model_name(data.model_a)), b=escape_label(_short_model_name(data.model_b))
    )
    figure = axes_figure(title, "", height=170 + 36 * len(data.differences))
    figure.add_vline(x=0, line={"color": TEXT, "width": 1})
    for is_told_apart, name, symbol, colour in (
        (True, _("told apart"), "circle", COLOURS[0]),
        (False, _("cannot be told apart"), "circle-open", QUIET),
    ):
        differences = [
            (place, difference)
            for place, difference in enumerate(data.differences)
            if difference.is_told_apart == is_told_apart
        ]
        if not differences:
            continue
        figure.add_scatter(
            x=[difference.value for _place, difference in differences],
            y=[place for place, _one in differences],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2, "color": colour}},
            error_x=error_bars(
                [
                    None if difference.upper is None else difference.upper - difference.value
                    for _place, difference in differences
                ],
                [
                    None if difference.lower is None else difference.value - difference.lower
                    for _place, difference in differences
                ],
            ),
            hovertext=[
                f"{escape_label(difference.name)}: {number(difference.value)} (n={difference.n:,})"
                for _place, difference in differences
            ],
            hoverinfo="text",
        )
    label_rows(figure, [difference.name for difference in data.differences])
    return figure


def _short_model_name(model: str) -> str:
    """Without owner or folders, so that two names fit below a narrow figure."""
    return model.rsplit("/", 1)[-1]


_COLOURS = dict(zip(KINDS, (COLOURS[0], COLOURS[2], COLOURS[3], COLOURS[1], QUIET), strict=True))
_PATTERNS = dict(zip(KINDS, ("", "/", ".", "x", "-"), strict=True))


FEW_VALUES = 10
"""Below this number of values plotly would put ticks at halves."""


@dataclass(frozen=True)
class ImportData:
    files: list[str]
    """File names in the given order."""
    counts: dict[str, list[int]]
    """Kind of value (`KINDS`) -> count in each file; each value counts once."""


def import_points(files: Sequence[tuple[str, pl.DataFrame]]) -> ImportData:
    """`files`: name and rows of a preview, with `kind` (`with_kind`)."""
    counts = {kind: [rows.filter(kind=kind).height for _, rows in files] for kind in KINDS}
    return ImportData([name for name, _ in files], counts)


def with_kind(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a preview with `kind`: skipped; else conflict or duplicate; else mapped or taken."""
    is_skipped = pl.col("fate") == "skipped"
    return rows.with_columns(kind=pl.when(is_skipped).then("fate").otherwise(pl.coalesce("known", "fate")))


def import_figure(data: ImportData) -> go.Figure:
    """One horizontal bar per file, with its kinds of values in different colours and patterns."""
    figure = axes_figure(_("Values"), "", height=150 + 34 * len(data.files))
    places = list(range(len(data.files)))
    for kind, numbers in data.counts.items():
        if any(numbers):
            figure.add_bar(
                y=places,
                x=numbers,
                name=kind_name(kind),
                orientation="h",
                text=[n or "" for n in numbers],
                marker={
                    "color": _COLOURS[kind],
                    "pattern": {"shape": _PATTERNS[kind], "fgcolor": "white", "size": 5, "fillmode": "overlay"},
                },
                textposition="inside",
                insidetextanchor="middle",
            )
    figure.update_layout(barmode="stack", bargap=0.35, legend={"traceorder": "normal"})
    if max((sum(of_file) for of_file in zip(*data.counts.values(), strict=True)), default=0) < FEW_VALUES:
        figure.update_xaxes(dtick=1)
    label_rows(figure, data.files)
    return figure


def windows_svg(windows: pl.DataFrame, run: Mapping[str, Any], place: str, theme: Theme = LIGHT) -> str:
    """Dimension against loss, a dot for each window with both 95 percent intervals; `place`: `inner` or `final`.

    `windows` are the rows of run_windows of the run; `run` is a row of `queries.runs`.
    """
    t = quantile(0.975, WINDOW_FREEDOM)
    columns = ("loss", "loss_std_error", f"{place}_d2", f"{place}_d2_std_error")
    points = []
    for loss, error, value, spread in windows.drop_nulls(columns).select(columns).iter_rows():
        reach = math.exp(t * spread / value)
        across, up = (value / reach, value * reach), (loss - t * error, loss + t * error)
        points.append(Point(value, loss, *up, *across))
    passed = "" if run["pass"] == "text" else wording.control_name(run["pass"], run["model_seed"])
    titles = [run["name"], _("dimension and loss, window by window"), passed]
    details = _("Text {text}, protocol {protocol}, {n} windows of equal length. Bars: 95 % intervals.")
    caption = Caption(
        _(", ").join(filter(None, titles)),
        details.format(text=run["corpus_name"], protocol=run["protocol"], n=len(points)),
        _("Workdim, run {run}").format(run=run["run_id"][:8]),
    )
    axes = {
        "inner": _("Directions that the tokens of a window use (d2, inner maximum)"),
        "final": _("Directions that the tokens of a window use (d2, after the last block)"),
    }
    return scatter_svg([("", points)], caption, axes[place], _("Loss (nats per token)"), theme, (960, 460))


WINDOW_FREEDOM = 7
"""Degrees of freedom of the standard errors of one window: its stretches minus one."""
