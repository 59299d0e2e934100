"""Figures of scores: against dimension, two models on the same questions, and what would become of imported files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.analysis.paired import Paired
from core.analysis.ranking import RankingGroup, on_benchmark
from core.figures.style import COLOURS, QUIET, TEXT, bars, empty, frame, shown
from core.locale import translator
from core.registry.names import NOT_STATED
from core.wording.labels import run_labels
from core.wording.numbers import number
from core.wording.score_files import KINDS, kind_name

DIMENSIONS = {
    "inner_max": "inner_max",
    "final_pre_norm": "final_dimension_pre_norm",
    "final_post_norm": "final_dimension_post_norm",
}
"""What a scatter may stand on -> column of the runs frame."""


@dataclass(frozen=True)
class ScoredPoint:
    """One run in a scatter of dimension against score."""

    run_id: str
    name: str
    dimension: float
    lower: float | None
    upper: float | None
    score: float
    score_std_error: float | None
    match: str
    """As in `ranking.with_scores`; `base` is drawn apart."""
    score_repository: str


@dataclass(frozen=True)
class RankingData:
    """A scatter within one comparison group."""

    dimension: str
    """A key of DIMENSIONS."""
    cloud: str
    benchmark: str
    metric: str
    filter: str
    n_shot: int | None
    unit: str
    n_points: tuple[int, int]
    points: list[ScoredPoint]
    without_score: list[str]
    """Names of the runs of the group that have no score here."""


def ranking_points(
    group: RankingGroup,
    scored: pl.DataFrame,
    benchmark: dict[str, object],
    dimension: str = "inner_max",
    cloud: str = "one_per_type",
    language: str = "en",
) -> RankingData:
    """Dimension and score of the runs of a group; `scored` comes from `with_scores`, `benchmark` from `benchmarks`."""
    column = DIMENSIONS[dimension]
    labels = run_labels(group.rows, language)
    rows = on_benchmark(scored, benchmark).filter(pl.col("run_id").is_in(list(labels)) & pl.col(column).is_not_null())
    rows = rows.filter(pl.col("unit") == pl.col("unit").mode().sort().first())  # one axis has one unit
    points = [
        ScoredPoint(
            run_id=row["run_id"],
            name=_marked(labels[row["run_id"]], row["score_is_partial"], language),
            dimension=row[column],
            lower=row[f"{column}_lower"],
            upper=row[f"{column}_upper"],
            score=row["score"],
            score_std_error=row["score_std_error"],
            match=row["score_match"],
            score_repository=row["score_repository"],
        )
        for row in rows.sort(column, "run_id").iter_rows(named=True)
    ]
    shown = {point.run_id for point in points}
    return RankingData(
        dimension=dimension,
        cloud=cloud,
        benchmark=str(benchmark["benchmark"]),
        metric=str(benchmark["metric"] or ""),
        filter=str(benchmark["filter"] or ""),
        n_shot=shots if isinstance(shots := benchmark["n_shot"], int) else None,
        unit=rows["unit"][0] if len(rows) else "",
        n_points=group.n_points,
        points=points,
        without_score=[label for run_id, label in labels.items() if run_id not in shown],
    )


def _marked(name: str, is_partial: bool, language: str) -> str:
    _ = translator(language)
    return _("{name} (partial run)").format(name=name) if is_partial else name


def ranking_figure(data: RankingData, language: str) -> go.Figure:
    """Dimension against score within one group. Scores of a base model are open markers."""
    _ = translator(language)
    names = {
        "inner_max": _("Largest inner dimension, estimated (d2, {cloud}, N={n})"),
        "final_pre_norm": _("Final dimension before the norm, estimated (d2, {cloud}, N={n})"),
        "final_post_norm": _("Final dimension after the norm, estimated (d2, {cloud}, N={n})"),
    }
    score = wording.benchmark_name(data.benchmark, data.metric, data.n_shot, language, data.filter)
    unit = {"percent": "%"}.get(data.unit, data.unit)
    details = {"cloud": wording.name("cloud", data.cloud, language), "n": wording.size_range(data.n_points)}
    figure = frame(names[data.dimension].format(**details), f"{score} [{unit}]" if unit else score)
    if not data.points:
        return empty(figure, _("No run of this group has this score."))
    for match, name, symbol in (
        ("own", _("own score of the user"), "square"),
        ("exact", _("score of this model"), "circle"),
        ("revision_not_stated", _("score of this model, revision not stated"), "circle-dot"),
        ("mapped", _("score under a name that an alias maps to this model"), "diamond"),
        ("base", _("score of the base model"), "circle-open"),
    ):
        points = [point for point in data.points if point.match == match]
        if not points:
            continue
        figure.add_scatter(
            x=[point.dimension for point in points],
            y=[point.score for point in points],
            mode="markers+text",
            text=[shown(point.name) for point in points],
            textposition="top center",
            name=name,
            marker={"size": 11, "symbol": symbol, "color": COLOURS[0], "line": {"width": 2, "color": COLOURS[0]}},
            error_x=bars(
                [None if point.upper is None else point.upper - point.dimension for point in points],
                [None if point.lower is None else point.dimension - point.lower for point in points],
            ),
            error_y={"type": "data", "array": [point.score_std_error or 0 for point in points], "thickness": 1},
        )
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
    figure.update_yaxes(
        tickvals=list(range(len(data.differences))),
        ticktext=[shown(one.name) for one in data.differences],
        autorange="reversed",
        automargin=True,
        ticks="",
    )
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
                marker={"color": _COLOURS[kind], "pattern": {"shape": _PATTERNS[kind], "fgcolor": "white", "size": 5}},
                textposition="inside",
                insidetextanchor="middle",
            )
    figure.update_layout(barmode="stack", bargap=0.35, legend={"traceorder": "normal"})
    if max((sum(of_file) for of_file in zip(*data.counts.values(), strict=True)), default=0) < FEW:
        figure.update_xaxes(dtick=1)
    names = [shown(name if len(name) <= 40 else name[:39] + "…") for name in data.files]
    figure.update_yaxes(tickvals=places, ticktext=names, autorange="reversed", automargin=True, ticks="")
    return figure
