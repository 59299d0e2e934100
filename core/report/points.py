"""What the pictures show, as plain data: the app draws it with plotly, the deck as native charts."""

from __future__ import annotations

import json
from dataclasses import dataclass

import polars as pl
from scipy.special import stdtrit

from core.analysis.ranking import RankingGroup, on_benchmark
from core.report.labels import run_labels

PRIMARY = ("d2", "one_per_type")
"""The estimator and cloud that working band, summaries and verdict belong to."""

DIMENSIONS = {
    "working": "working_dimension",
    "final_pre_norm": "final_dimension_pre_norm",
    "final_post_norm": "final_dimension_post_norm",
}
"""What a scatter may stand on -> column of the runs frame."""

GRIDE_RANK = 8
"""The neighbour rank that gride is read at: below it, spelling variants of one word are the neighbours."""

USUAL_BLOCKS = 16
"""Blocks of the jackknife where a run's configuration does not say how many."""


@dataclass(frozen=True)
class Mark:
    """One value with its 95 percent interval; limits are None where no error is known."""

    layer: int
    depth: float
    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Curve:
    """One quantity of one run over the layers of the residual stream."""

    run_id: str
    name: str
    marks: list[Mark]
    """Layer 0 (embedding output) to the last block, before the final norm."""
    post_norm: Mark | None
    """The final state after the norm, as the language-model head sees it: never part of the curve."""
    band: tuple[int, int] | None
    """First and last layer of the working band; None for other estimators and clouds."""

    @property
    def final(self) -> Mark | None:
        """The final state before the norm."""
        return self.marks[-1] if self.marks else None

    @property
    def in_band(self) -> list[Mark]:
        if self.band is None:
            return []
        return [mark for mark in self.marks if self.band[0] <= mark.layer <= self.band[1]]


@dataclass(frozen=True)
class ProfileData:
    """The layer profiles of several runs for one estimator on one cloud."""

    estimator: str
    cloud: str
    n1: int | None
    curves: list[Curve]
    n_points: tuple[int, int]
    """Smallest and largest cloud among all values; (0, 0) without any."""
    same_depth: bool
    """True if all models have the same number of layers, so that layer numbers may be compared."""


@dataclass(frozen=True)
class CorrelatorData:
    """The layer profiles of several runs for one correlator on one cloud."""

    correlator: str
    cloud: str
    curves: list[Curve]
    n_points: tuple[int, int]
    same_depth: bool


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
    benchmark: str
    metric: str
    n_shot: int | None
    unit: str
    n_points: tuple[int, int]
    points: list[ScoredPoint]
    without_score: list[str]
    """Names of the runs of the group that have no score here."""


def profile_points(
    estimates: pl.DataFrame, runs: pl.DataFrame, estimator: str, cloud: str, n1: int | None = None
) -> ProfileData:
    """The curves of the chosen runs, in the order of `runs`; runs without such estimates are left out."""
    if estimator == "gride" and n1 is None:
        n1 = GRIDE_RANK
    rows = estimates.filter(
        pl.col("run_id").is_in(runs["run_id"].to_list())
        & (pl.col("estimator") == estimator)
        & (pl.col("cloud") == cloud)
        & (pl.col("transform") == "centred")
        & (pl.col("stack") == "main")
        & pl.col("value").is_finite()
    )
    if n1 is not None:
        rows = rows.filter(pl.col("n1") == n1)
    banded = (estimator, cloud) == PRIMARY
    curves = _curves(rows, runs, banded)
    return ProfileData(estimator, cloud, n1, curves, _sizes(rows), _same_depth(runs, curves))


def correlator_points(correlators: pl.DataFrame, runs: pl.DataFrame, correlator: str, cloud: str) -> CorrelatorData:
    """As `profile_points`; the interval is the value with `t_95` standard errors of its run on each side."""
    reach = [t_95(blocks_of(config)) for config in runs["config"]]
    rows = correlators.filter(
        pl.col("run_id").is_in(runs["run_id"].to_list())
        & (pl.col("correlator") == correlator)
        & (pl.col("cloud") == cloud)
        & pl.col("value").is_finite()
    )
    of_run = pl.DataFrame({"run_id": runs["run_id"], "t": pl.Series(reach, dtype=pl.Float64)})
    rows = rows.join(of_run, on="run_id", maintain_order="left").with_columns(
        lower=pl.col("value") - pl.col("t") * pl.col("std_error"),
        upper=pl.col("value") + pl.col("t") * pl.col("std_error"),
    )
    curves = _curves(rows, runs, banded=False)
    return CorrelatorData(correlator, cloud, curves, _sizes(rows), _same_depth(runs, curves))


def t_95(n_blocks: int) -> float:
    """Student's t, 97.5 percent, for a jackknife over `n_blocks` blocks."""
    return float(stdtrit(max(n_blocks - 1, 1), 0.975))


def blocks_of(config: str | None) -> int:
    """How many blocks a run's jackknife had, from its configuration."""
    try:
        return int(json.loads(config or "{}")["protocol"]["n_blocks"])
    except (ValueError, KeyError, TypeError):
        return USUAL_BLOCKS


def ranking_points(
    group: RankingGroup, scored: pl.DataFrame, benchmark: dict[str, object], dimension: str = "working"
) -> RankingData:
    """Dimension and score of the runs of a group; `scored` comes from `with_scores`, `benchmark` from `benchmarks`."""
    column = DIMENSIONS[dimension]
    labels = run_labels(group.rows)
    rows = on_benchmark(scored, benchmark).filter(pl.col("run_id").is_in(list(labels)) & pl.col(column).is_not_null())
    points = [
        ScoredPoint(
            run_id=row["run_id"],
            name=labels[row["run_id"]],
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
        benchmark=str(benchmark["benchmark"]),
        metric=str(benchmark["metric"] or ""),
        n_shot=shots if isinstance(shots := benchmark["n_shot"], int) else None,
        unit=rows["unit"][0] if len(rows) else "",
        n_points=group.n_points,
        points=points,
        without_score=[label for run_id, label in labels.items() if run_id not in shown],
    )


def _curves(rows: pl.DataFrame, runs: pl.DataFrame, banded: bool) -> list[Curve]:
    labels = run_labels(runs)
    curves = []
    for run in runs.iter_rows(named=True):
        own = rows.filter(pl.col("run_id") == run["run_id"]).sort("layer")
        marks = [_mark(row, run["n_layers"]) for row in own.filter(pl.col("state") == "residual").to_dicts()]
        after = [_mark(row, run["n_layers"]) for row in own.filter(pl.col("state") == "post_norm").to_dicts()]
        band = _band(run) if banded else None
        if marks:
            curves.append(Curve(run["run_id"], labels[run["run_id"]], marks, after[-1] if after else None, band))
    return curves


def _mark(row: dict, n_layers: int) -> Mark:
    return Mark(row["layer"], row["layer"] / max(n_layers, 1), row["value"], row["lower"], row["upper"])


def _band(run: dict) -> tuple[int, int] | None:
    first, last = run["working_layer_first"], run["working_layer_last"]
    return None if first is None or last is None else (first, last)


def _sizes(rows: pl.DataFrame) -> tuple[int, int]:
    sizes = rows["n_points"].drop_nulls().to_list()
    return (min(sizes), max(sizes)) if sizes else (0, 0)


def _same_depth(runs: pl.DataFrame, curves: list[Curve]) -> bool:
    shown = [curve.run_id for curve in curves]
    return runs.filter(pl.col("run_id").is_in(shown))["n_layers"].n_unique() <= 1 if shown else True
