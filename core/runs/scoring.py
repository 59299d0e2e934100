"""Scoring a model on a user's own task, as a job: the request, the run and the result.

Answers are kept in the job's folder; the scores are then written as one file, whole or not at all, and its rows are
synced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import InputError
from core.records import ProgressCallback, ScoreConfig
from core.runs.execution import JobResult, resource_errors, run_job
from core.runs.jobs import Job, JobStatus
from core.runs.progress import ProgressReporter
from core.texts.tasks import read_task
from core.warehouse import score_imports
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class ScoringResult(JobResult):
    file_sha256: str
    waits: str = ""
    """Why its rows could not be stored yet; empty if they were."""
    was_known: bool = False
    """The warehouse had these scores already; nothing was scored."""


def scoring_requests(models: Sequence[str], task: Path, **settings: Any) -> list[ScoreConfig]:
    """One request for each distinct model. Raises InputError for an invalid task file."""
    sha256 = read_task(task).sha256
    return [ScoreConfig(model, str(task), sha256, **settings) for model in dict.fromkeys(models)]


def run_scoring(job: Job[ScoreConfig], warehouse: Warehouse, progress: ProgressCallback) -> ScoringResult:
    """Run a submitted scoring; raises as `run_job`, also if the task was changed since."""
    return run_job(job, warehouse, progress, lambda report: _score(job, warehouse, report))


def _score(job: Job[ScoreConfig], warehouse: Warehouse, report: ProgressReporter) -> ScoringResult:
    from core.measure.score import identity, open_scored, score_task

    config = job.config
    task = read_task(Path(config.task))
    if task.sha256 != config.task_sha256:
        raise InputError(
            "{task} has changed since its scoring was asked for. Cancel this job and ask again.", task=config.task
        )
    blueprint = open_scored(config)
    sha256 = identity(blueprint, task)
    if score_imports.read_import(warehouse, sha256):
        return ScoringResult(sha256, was_known=True)
    scratch = job.checkpoint_folder(job.job_id)
    with resource_errors(config, scratch):
        scored = score_task(config, task, blueprint, scratch, report)
    waits = score_imports.store_own_scores(
        warehouse, sha256, Path(config.task).name, scored.scores, scored.samples, scored.n_left_out
    )
    return ScoringResult(sha256, waits)


def load_result(status: JobStatus, warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    """The rows of a finished scoring, by table. Raises KeyError if they were removed since."""
    tables = score_imports.read_import(warehouse, status.result["file_sha256"])
    if tables is None:
        raise KeyError(status.result["file_sha256"])
    return tables
