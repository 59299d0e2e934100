"""Figures of scores: against dimension, over models and over the windows of one text, two models on the same questions, and
what would become of imported files."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.analysis.answer import Answer
from core.analysis.paired import Paired
from core.analysis.ranks import NORMAL_95, quantile
from core.figures.pictures import Caption, Dot, scatter_picture
from core.figures.style import COLOURS, QUIET, TEXT, THIN, bars, empty, frame, name_rows, shown
from core.figures.svg import LIGHT, Theme, text_width
from core.locale import translator
from core.registry.names import NOT_STATED
from core.wording.answers import benchmark
from core.wording.labels import distinct, run_labels
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
    """As in `ranking.with_scores`; `base` is drawn apart."""
    place: str = "top center"
    """Of its name; empty where there is no room, so that only a pointer over it tells it."""
    is_pinned: bool = False


@dataclass(frozen=True)
class RankingData:
    """A scatter within one comparison group."""

    dimension: str
    """A key of `answer.DIMENSIONS`."""
    cloud: str
    benchmark: str
    """With metric and shots, as a reader sees it."""
    unit: str
    n_points: tuple[int, int]
    points: list[ScoredPoint]
    without_score: list[str]
    """Names of the models that have no score here."""


def ranking_points(
    found: Answer,
    language: str = "en",
    pinned: Collection[str] = (),
    plot: tuple[float, float] = (960.0, 340.0),
    corners: bool = True,
) -> RankingData:
    """Dimension and score of the models of an answer, smallest dimension first; `pinned` are run ids, `plot` what the
    axes span about where letters take 11, `corners` whether names may stand aslant of their points."""
    rows = found.population.rows
    labels = run_labels(rows, language)
    names = dict(zip(labels, distinct(list(labels.values())), strict=True))
    partial = set(rows.filter(pl.col("score_is_partial").fill_null(False))["run_id"])
    points = [
        ScoredPoint(
            one.run_id,
            _marked(names[one.run_id], one.run_id in partial, language),
            one.dimension,
            one.lower,
            one.upper,
            one.score,
            one.score_std_error,
            one.match,
            is_pinned=one.run_id in pinned,
        )
        for one in reversed(found.models)
        if one.dimension is not None and one.score is not None
    ]
    shown = {point.run_id for point in points}
    units = rows["unit"].drop_nulls().to_list()
    return RankingData(
        found.population.asked.dimension,
        found.population.asked.cloud,
        benchmark(found, language),
        units[0] if units else "",
        found.group.n_points if found.group else (0, 0),
        placed(points, plot, corners),
        [labels[one.run_id] for one in found.models if one.run_id not in shown],
    )


def _marked(name: str, is_partial: bool, language: str) -> str:
    _ = translator(language)
    return _("{name} (partial run)").format(name=name) if is_partial else name


LETTERS = 11.0
PLACES = {
    "top center": (-0.5, -1.5),
    "bottom center": (-0.5, 1.5),
    "middle right": (0.0, 0.0),
    "middle left": (-1.0, 0.0),
    "top right": (0.0, -1.2),
    "bottom right": (0.0, 1.2),
    "top left": (-1.0, -1.2),
    "bottom left": (-1.0, 1.2),
}
"""Where a name may stand: how far left of its point, in its own widths, and how far below, in line heights."""
N_STRAIGHT = 4
"""Of them, those that charts of slides know."""


def placed(points: Sequence[ScoredPoint], plot: tuple[float, float], corners: bool = True) -> list[ScoredPoint]:
    """The points with their names where they cover no point and no other name; the pinned ones choose first."""
    if not points:
        return []
    at = {point.run_id: (x, y) for point, x, y in zip(points, *_pixels(points, plot), strict=True)}
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in at.values()]
    found: dict[str, str] = {}
    for point in sorted(points, key=lambda one: not one.is_pinned):
        width, (x, y) = text_width(point.name, LETTERS), at[point.run_id]
        for place, (left, down) in list(PLACES.items())[: None if corners else N_STRAIGHT]:
            aside = 10 * (left == 0.0) - 10 * (left == -1.0)
            box = (
                x + left * width + aside,
                y + down * LETTERS - 6,
                x + (1 + left) * width + aside,
                y + down * LETTERS + 6,
            )
            is_inside = box[0] > -20 and box[2] < plot[0] + 20
            if is_inside and not any(_overlap(box, other) for other in taken):
                found[point.run_id] = place
                taken.append(box)
                break
    return [replace(point, place=found.get(point.run_id, "")) for point in points]


def _pixels(points: Sequence[ScoredPoint], plot: tuple[float, float]) -> tuple[list[float], list[float]]:
    """Places on the plot, downwards positive as on a screen; axes reach over the error bars."""
    across = [value for p in points for value in (p.dimension, p.lower, p.upper) if value is not None]
    reach = [NORMAL_95 * (p.score_std_error or 0) for p in points]
    up = [p.score + sign * r for p, r in zip(points, reach, strict=True) for sign in (-1, 1)]

    def scale(values: list[float], ends: list[float], length: float) -> list[float]:
        low, high = min(ends), max(ends)
        return [length * ((value - low) / (high - low) if high > low else 0.5) for value in values]

    x = scale([p.dimension for p in points], across, plot[0])
    return x, [plot[1] - value for value in scale([p.score for p in points], up, plot[1])]


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def dimension_axis(data: RankingData, language: str) -> str:
    """`Largest inner dimension, estimated (d2, one per type, N=800)`."""
    _ = translator(language)
    names = {
        "inner_max": _("Largest inner dimension, estimated (d2, {cloud}, N={n})"),
        "working": _("Working dimension, estimated (d2, {cloud}, N={n})"),
        "final": _("Final dimension before the norm, estimated (d2, {cloud}, N={n})"),
        "final_post_norm": _("Final dimension after the norm, estimated (d2, {cloud}, N={n})"),
        "embedding": _("Embedding dimension, estimated (d2, {cloud}, N={n})"),
    }
    cloud = wording.name("cloud", data.cloud, language)
    return names[data.dimension].format(cloud=cloud, n=wording.size_range(data.n_points))


def score_axis(data: RankingData) -> str:
    unit = {"percent": "%"}.get(data.unit, data.unit)
    return f"{data.benchmark} [{unit}]" if unit else data.benchmark


def match_names(language: str) -> dict[str, str]:
    """Whose score a point stands for, as legends name it; keys as in `ranking.with_scores`."""
    _ = translator(language)
    return {
        "own": _("own score of the user"),
        "exact": _("score of this model"),
        "revision_not_stated": _("score of this model, revision not stated"),
        "mapped": _("score under a name that an alias maps to this model"),
        "base": _("score of the base model"),
    }


def ranking_figure(data: RankingData, language: str) -> go.Figure:
    """Dimension against score within one group, each with its 95 percent interval. Scores of a base model are open
    markers."""
    _ = translator(language)
    figure = frame(dimension_axis(data, language), score_axis(data))
    if not data.points:
        return empty(figure, _("No model here has this score."))
    symbols = {"own": "square", "revision_not_stated": "circle-dot", "mapped": "diamond", "base": "circle-open"}
    for match, name in match_names(language).items():
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
            text=[shown(point.name) if point.place else "" for point in points],
            textposition=[point.place or "top center" for point in points],
            textfont={"size": LETTERS},
            hovertext=[shown(point.name) for point in points],
            name=name,
            marker={"size": 9, "symbol": symbol, "color": colours, "line": {"width": 2, "color": colours}},
            error_x=bars(
                [None if point.upper is None else point.upper - point.dimension for point in points],
                [None if point.lower is None else point.dimension - point.lower for point in points],
            )
            | THIN,
            error_y=bars(reach, reach) | THIN,
        )
    if len(figure.data) == 1:  # one kind of score, which the table names
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
    """`arc_easy, acc`: with the filter where it is one."""
    parts = [key["benchmark"], key["metric"], key["filter"] if key["filter"] not in ("none", NOT_STATED) else ""]
    return ", ".join(part for part in parts if part)


def paired_points(model_a: str, model_b: str, found: Sequence[tuple[dict[str, str], Paired]]) -> PairedData:
    """`found` comes from `analysis.paired.all_paired`."""
    return PairedData(
        model_a,
        model_b,
        [
            Difference(benchmark_label(key), one.difference, one.lower, one.upper, one.is_told_apart, one.n_common)
            for key, one in found
        ],
    )


def paired_figure(data: PairedData, language: str) -> go.Figure:
    """One line per benchmark; filled where the models can be told apart, open where they cannot."""
    _ = translator(language)
    title = _("{a} minus {b}:<br>difference of means, 95 % interval")
    title = title.format(a=shown(_last(data.model_a)), b=shown(_last(data.model_b)))
    figure = frame(title, "", height=170 + 36 * len(data.differences))
    figure.add_vline(x=0, line={"color": TEXT, "width": 1})
    for told, name, symbol, colour in (
        (True, _("told apart"), "circle", COLOURS[0]),
        (False, _("cannot be told apart"), "circle-open", QUIET),
    ):
        chosen = [(place, one) for place, one in enumerate(data.differences) if one.is_told_apart == told]
        if not chosen:
            continue
        figure.add_scatter(
            x=[one.value for _place, one in chosen],
            y=[place for place, _one in chosen],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2, "color": colour}},
            error_x=bars(
                [None if one.upper is None else one.upper - one.value for _place, one in chosen],
                [None if one.lower is None else one.value - one.lower for _place, one in chosen],
            ),
            hovertext=[f"{shown(one.name)}: {number(one.value)} (n={one.n:,})" for _place, one in chosen],
            hoverinfo="text",
        )
    name_rows(figure, [one.name for one in data.differences])
    return figure


def _last(model: str) -> str:
    """Without its owner or folders, so that two names have room below a narrow picture."""
    return model.rsplit("/", 1)[-1]


_COLOURS = dict(zip(KINDS, (COLOURS[0], COLOURS[2], COLOURS[3], COLOURS[1], QUIET), strict=True))
_PATTERNS = dict(zip(KINDS, ("", "/", ".", "x", "-"), strict=True))


FEW = 10
"""Values below which plotly would mark halves of one."""


@dataclass(frozen=True)
class ImportData:
    files: list[str]
    """Names, in the order handed over."""
    counts: dict[str, list[int]]
    """Kind of value (`KINDS`) -> how many each file has; each value counts once."""


def import_points(files: Sequence[tuple[str, pl.DataFrame]]) -> ImportData:
    """`files`: name and rows of a preview, with `kind` (`with_kind`)."""
    counts = {kind: [rows.filter(kind=kind).height for _, rows in files] for kind in KINDS}
    return ImportData([name for name, _ in files], counts)


def with_kind(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a preview with `kind`: skipped, else conflict or duplicate, else mapped or taken."""
    is_skipped = pl.col("fate") == "skipped"
    return rows.with_columns(kind=pl.when(is_skipped).then("fate").otherwise(pl.coalesce("known", "fate")))


def import_figure(data: ImportData, language: str) -> go.Figure:
    """One horizontal bar per file, its parts told apart by colour and pattern."""
    _ = translator(language)
    figure = frame(_("Values"), "", height=150 + 34 * len(data.files))
    places = list(range(len(data.files)))
    for kind, numbers in data.counts.items():
        if any(numbers):
            figure.add_bar(
                y=places,
                x=numbers,
                name=kind_name(kind, language),
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
    if max((sum(of_file) for of_file in zip(*data.counts.values(), strict=True)), default=0) < FEW:
        figure.update_xaxes(dtick=1)
    name_rows(figure, data.files)
    return figure


def windows_picture(
    windows: pl.DataFrame,
    run: Mapping[str, Any],
    place: str,
    language: str,
    theme: Theme = LIGHT,
    size: tuple[float, float] = (960, 460),
) -> str:
    """Dimension against loss, a dot for each window with 95 percent of both errors; `place`: `inner` or `final`.

    windows: rows of run_windows of the run, as `queries.runs` gives it.
    """
    _ = translator(language)
    t = quantile(0.975, WINDOW_FREEDOM)
    columns = ("loss", "loss_std_error", f"{place}_d2", f"{place}_d2_std_error")
    dots = []
    for at, loss, error, value, spread in windows.drop_nulls(columns).select("sequence", *columns).iter_rows():
        reach = math.exp(t * spread / value)
        across, up = (value / reach, value * reach), (loss - t * error, loss + t * error)
        dots.append(Dot(str(at), value, loss, across, up, is_named=False))
    passed = "" if run["pass"] == "text" else wording.control_name(run["pass"], run["model_seed"], language)
    titles = [run["name"], _("dimension and loss, window by window"), passed]
    told = _("Text {text}, protocol {protocol}, {n} windows of equal length. Bars: 95 % intervals.")
    caption = Caption(
        _(", ").join(filter(None, titles)),
        told.format(text=run["corpus_name"], protocol=run["protocol"], n=len(dots)),
        _("Workdim, run {run}").format(run=run["run_id"][:8]),
    )
    axes = {
        "inner": _("Directions that the tokens of a window use (d2, inner maximum)"),
        "final": _("Directions that the tokens of a window use (d2, after the last block)"),
    }
    return scatter_picture(dots, caption, axes[place], _("Loss (nats per token)"), (), language, theme, size)


WINDOW_FREEDOM = 7
"""Degrees of freedom of the errors of one window: its stretches less one."""
