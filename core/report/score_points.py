"""A scatter of dimension against published score within one comparison group, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from core.analysis.ranking import RankingGroup, on_benchmark
from core.locale import translator
from core.report.labels import run_labels

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
