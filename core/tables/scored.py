"""What others say of models: benchmark scores, the files that they came in, and the names that models go by there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

SCORE_KEYS = ("benchmark", "metric", "filter", "n_shot", "suite")
"""What two scores must share to be compared: metrics and numbers of shots are never mixed."""

NOT_STATED = "not stated"
"""Stands for a metric, filter, suite, unit or licence that the source does not name."""


@dataclass(frozen=True)
class ScoreRow:
    repository: str
    revision: str | None
    benchmark: str
    metric: str
    filter: str
    n_shot: int | None
    suite: str
    value: float
    std_error: float | None
    unit: str
    """`percent` (0 to 100) or `fraction`, or the unit's own name."""
    higher_is_better: bool | None
    n_samples: int | None
    is_partial: bool
    is_group: bool
    source: str
    licence: str
    as_of: str | None
    flags: str
    file_sha256: str
    dtype: str | None = None
    """Number type of the weights that were scored."""
    chat_template: bool | None = None
    """Whether the questions went through the model's chat template."""
    task_version: str | None = None
    """Of the benchmark's definition in the harness that ran it."""
    source_row: str | None = None
    """The row's own id in the file, where one model has several."""


@dataclass(frozen=True)
class ScoreFileRow:
    """One imported file. Taking it out again removes all rows with its hash."""

    file_sha256: str
    file_name: str
    format: str
    """Key of the reader that understood it, for example `lm_eval`, `leaderboard_v2_csv`, `csv`."""
    n_taken: int
    """Scores that were stored."""
    n_skipped: int
    """Rows of the file that were not, each for a reason that the preview names."""
    imported_at: datetime


@dataclass(frozen=True)
class ModelAliasRow:
    """A name that score files use for a model, and the repository or reference that is meant."""

    alias: str
    reference: str
    """What scores under this name are joined on: a hub repository, or a reference as measured."""
    created_at: datetime


@dataclass(frozen=True)
class ScoreSampleRow:
    """One question of one benchmark as one model answered it; neither question nor answer is stored, only a hash."""

    file_sha256: str
    repository: str
    revision: str | None
    benchmark: str
    metric: str
    filter: str
    doc_hash: str
    """Two models answered the same question where this is equal."""
    doc_id: int | None
    value: float


@dataclass(frozen=True)
class SavedQueryRow:
    """A typed query that somebody wants to ask again."""

    name: str
    sql: str
    note: str | None
    created_at: datetime
