"""One model on one task of a user's own, from its request to the warehouse: a job like a measurement.

What it has answered so far lies in the job's folder; finished, it becomes one small file, whole or not at all, and rows
follow that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import InputError
from core.records import ProgressCallback, ScoreConfig
from core.runs.execution import carry_out, short_of_room
from core.runs.jobs import Job, JobStatus, Reporter
from core.texts.tasks import read_task
from core.warehouse import score_imports
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class Scored:
    file_sha256: str
    waits: str = ""
    """Why its rows wait to be taken in; empty where they do not."""
    was_known: bool = False
    """Nothing was scored: these scores are there already."""

    def result(self) -> dict[str, Any]:
        return {"file_sha256": self.file_sha256, "waits": self.waits, "was_known": self.was_known}


def requests(models: Sequence[str], task: Path, **asked: Any) -> list[ScoreConfig]:
    """One request for each model. Raises InputError for a task file that is no good."""
    sha256 = read_task(task).sha256
    return [ScoreConfig(model, str(task), sha256, **asked) for model in dict.fromkeys(models)]


def score(job: Job[ScoreConfig], warehouse: Warehouse, progress: ProgressCallback) -> Scored:
    """Bring a submitted scoring to its end. Raises InputError for what the user can mend, ResourceError where memory or
    disk ran out: the job can then go on."""
    return carry_out(job, warehouse, progress, lambda report: _score(job, warehouse, report))


def _score(job: Job[ScoreConfig], warehouse: Warehouse, report: Reporter) -> Scored:
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
        return Scored(sha256, was_known=True)
    scratch = job.kept(job.job_id)
    with short_of_room(config, scratch):
        found = score_task(config, task, blueprint, scratch, report)
    waits = score_imports.store_own_scores(
        warehouse, sha256, Path(config.task).name, found.scores, found.samples, found.n_left_out
    )
    return Scored(sha256, waits)


def outcome(standing: JobStatus, warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    """The rows, by table, of a scoring that has ended; raises KeyError where they were taken out since."""
    found = score_imports.read_import(warehouse, standing.result["file_sha256"])
    if found is None:
        raise KeyError(standing.result["file_sha256"])
    return found
