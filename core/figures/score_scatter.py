"""A scatter of dimension against published score within one comparison group, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go
import polars as pl

from core import wording
from core.analysis.ranking import RankingGroup, on_benchmark
from core.figures.style import COLOURS, bars, empty, frame, shown
from core.locale import translator
from core.wording.labels import run_labels

DIMENSIONS = {
    "working": "working_dimension",
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
    dimension: str = "working",
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
        "working": _("Working dimension, estimated (d2, {cloud}, N={n})"),
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
