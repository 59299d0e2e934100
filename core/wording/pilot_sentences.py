"""What pages and slides say about a pilot: its use class, its one benchmark, and the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from core import wording
from core.analysis.ranking import list_benchmarks
from core.locale import translator
from core.pilots.pilot import Benchmark, Pilot


@dataclass(frozen=True)
class Evidence:
    """Number of models with a score on the pre-registered benchmark, by what the score belongs to."""

    own: int
    """For this very model: own scores, and published ones that name its revision."""
    unsure: int
    """Published for the model, without a revision."""
    base: int
    """Published for its base model only."""

    @property
    def total(self) -> int:
        return self.own + self.unsure + self.base


def evidence(scored: pl.DataFrame, benchmark: Benchmark) -> Evidence:
    """Count the models with a score; `scored` is `ranking.with_scores` of the runs on text."""
    rows = registered_rows(scored, benchmark)
    matches = {"own": ("own", "exact"), "unsure": ("revision_not_stated", "mapped"), "base": ("base",)}
    models = {key: set(rows.filter(pl.col("score_match").is_in(names))["model_id"]) for key, names in matches.items()}
    return Evidence(
        len(models["own"]),
        len(models["unsure"] - models["own"]),
        len(models["base"] - models["own"] - models["unsure"]),
    )


def registered_rows(scored: pl.DataFrame, benchmark: Benchmark) -> pl.DataFrame:
    """The rows of `ranking.with_scores` with a score on the pre-registered benchmark."""
    with_score = scored.filter(pl.col("score_match") != "none")
    return with_score.filter([benchmark.is_met_by(row) for row in with_score.iter_rows(named=True)])


def default_benchmark(scored: pl.DataFrame, pilot: Pilot | None) -> dict[str, Any] | None:
    """The benchmark to show first: the pre-registered one if there are scores, else the one that most models have."""
    offered = list_benchmarks(scored).to_dicts()
    registered = (row for row in offered if pilot and pilot.benchmark.is_met_by(row))
    return next(registered, offered[0] if offered else None)


def is_exploratory(benchmark: Mapping[str, Any], pilot: Pilot | None) -> bool:
    """Whether the benchmark shown is not the one that the pilot named beforehand."""
    return pilot is not None and not pilot.benchmark.is_met_by(benchmark)


def use_class_name(use_class: str, language: str) -> str:
    return wording.name("use_class", use_class, language)


def caution_text(pilot: Pilot | None, language: str) -> str | None:
    """A caution for each slide that compares models or states a verdict; None if the use class needs none."""
    _ = translator(language)
    told = {
        "scarce_data": _(
            "Scarce data: a dimension never supports a recommendation by itself; decide on evidence from the task."
        ),
        "safety_critical": _(
            "Safety-critical use: a dimension never supports a recommendation by itself; "
            "decide on tests of the task and of its failures."
        ),
    }
    return told.get(pilot.use_class) if pilot else None


def benchmark_text(benchmark: Benchmark, language: str) -> str:
    """`lambada_openai (acc, 0-shot); a higher score is the better one`."""
    _ = translator(language)
    name = wording.benchmark_name(benchmark.name, benchmark.metric, benchmark.n_shot, language, benchmark.filter)
    direction = (
        _("a higher score is the better one") if benchmark.higher_is_better else _("a lower score is the better one")
    )
    return _("; ").join([name, direction])
