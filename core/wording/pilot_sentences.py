"""What pages and slides say of a pilot: its use class, its one benchmark, and what is known of it."""

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
    """How many models have a score of the pre-registered benchmark, by whose score it is."""

    own: int
    """Of the very model: own scores, and published ones that name its revision."""
    unsure: int
    """Published for the model without a revision."""
    base: int
    """Published for its base model only."""

    @property
    def total(self) -> int:
        return self.own + self.unsure + self.base


def evidence(scored: pl.DataFrame, benchmark: Benchmark) -> Evidence:
    """`scored` is `ranking.with_scores` of the runs on text."""
    rows = registered_rows(scored, benchmark)
    matches = {"own": ("own", "exact"), "unsure": ("revision_not_stated", "mapped"), "base": ("base",)}
    models = {key: set(rows.filter(pl.col("score_match").is_in(names))["model_id"]) for key, names in matches.items()}
    return Evidence(
        len(models["own"]),
        len(models["unsure"] - models["own"]),
        len(models["base"] - models["own"] - models["unsure"]),
    )


def registered_rows(scored: pl.DataFrame, benchmark: Benchmark) -> pl.DataFrame:
    """The rows of `ranking.with_scores` that are scores of the pre-registered benchmark."""
    with_score = scored.filter(pl.col("score_match") != "none")
    return with_score.filter([benchmark.is_met_by(row) for row in with_score.iter_rows(named=True)])


def shown_first(scored: pl.DataFrame, pilot: Pilot | None) -> dict[str, Any] | None:
    """The benchmark to show: the pre-registered one where anything has a score of it, else what most models have."""
    offered = list_benchmarks(scored).to_dicts()
    registered = (row for row in offered if pilot and pilot.benchmark.is_met_by(row))
    return next(registered, offered[0] if offered else None)


def is_exploratory(benchmark: Mapping[str, Any], pilot: Pilot | None) -> bool:
    """Whether a pilot is looked at by another benchmark than the one that it named beforehand."""
    return pilot is not None and not pilot.benchmark.is_met_by(benchmark)


def use_class_name(use_class: str, language: str) -> str:
    return wording.name("use_class", use_class, language)


def caution(pilot: Pilot | None, language: str) -> str | None:
    """For every slide that compares models or states a verdict; None where the use class asks for none."""
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


def benchmark_line(benchmark: Benchmark, language: str) -> str:
    """`lambada_openai (acc, 0-shot); a higher score is the better one`."""
    _ = translator(language)
    name = wording.benchmark_name(benchmark.name, benchmark.metric, benchmark.n_shot, language, benchmark.filter)
    direction = (
        _("a higher score is the better one") if benchmark.higher_is_better else _("a lower score is the better one")
    )
    return _("; ").join([name, direction])
