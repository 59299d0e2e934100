"""Rows that the named reads join: a run with its model, its text, its summary and the outcome of its checks."""

from __future__ import annotations

from dataclasses import dataclass

from core.tables.judged import RunSummaryRow
from core.tables.measured import ModelRow, RunRow


@dataclass(frozen=True, kw_only=True, eq=False)
class Run(RunRow, ModelRow, RunSummaryRow):
    """A row of `warehouse.queries.runs`, and of what is chosen or joined from it.

    A narrower read leaves its columns out: asking for one of them raises AttributeError. The summary (d2, one point per
    type) is None throughout for a run without one, as `n_points` tells.
    """

    n_points: int | None  # type: ignore[assignment]
    requested_revision: str | None
    """The branch, tag or version that was asked for; `revision` is what it resolved to."""
    corpus_name: str
    corpus_language: str
    corpus_domain: str
    corpus_sha256: str
    worst_check: str | None
    """`pass`, `warn` or `veto`; None without checks."""
    vetoed_by: list[str] | None
    """Names of the checks that veto it."""
    bits_per_byte_lower: float | None
    bits_per_byte_upper: float | None
    """95 % interval: only a choice has it, which derives it from the windows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredRun(Run):
    """A run with one of its scores: a row of `analysis.ranking.with_scores`."""

    benchmark: str
    metric: str
    unit: str
    score: float | None
    score_std_error: float | None
    score_match: str
    """Whose score it is: `own`, `mapped`, `base` or `none`."""
    score_repository: str | None
    score_name_in_source: str | None
    score_source: str | None
    score_is_partial: bool | None
    score_n_samples: int | None
    score_dtype: str | None
    score_chat_template: bool | None
    score_sources: int
    """How many sources state it, in `score_variants` settings, from `score_lowest` to `score_highest`."""
    score_variants: int
    score_lowest: float | None
    score_highest: float | None


@dataclass(frozen=True)
class Sibling:
    """A smaller model of the same family that read the same text: a row of `layer_plans.smaller_sibling`."""

    name: str
    parameters: int
    bits_per_byte: float
    own_bits_per_byte: float
    """Of the model itself under the same protocol."""
