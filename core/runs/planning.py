"""One layer plan, from its request to the warehouse: a job like a measurement.

What it has finished so far lies in the job's folder, step by step; the plan becomes one file, whole or not at all, and
rows follow that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.records import LayerPlan, PlanConfig, ProgressCallback
from core.runs.execution import carry_out, short_of_room
from core.runs.jobs import Job, JobStatus, Reporter
from core.texts.tasks import read_task
from core.warehouse import saved
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class Planned:
    plan_id: str
    waits: str = ""
    """Why its rows wait to be taken in; empty where they do not."""

    def result(self) -> dict[str, Any]:
        return {"plan_id": self.plan_id, "waits": self.waits}


def request(config: PlanConfig) -> PlanConfig:
    """With what its task asks; raises InputError for a task file that is no good."""
    return config if config.task is None else replace(config, task_sha256=read_task(Path(config.task)).sha256)


def plan(job: Job[PlanConfig], warehouse: Warehouse, progress: ProgressCallback) -> Planned:
    """Bring a submitted plan to its end. Raises InputError for what the user can mend, ResourceError where memory or disk
    ran out: the job can then go on."""
    return carry_out(job, warehouse, progress, lambda report: _plan(job, warehouse, report))


def _plan(job: Job[PlanConfig], warehouse: Warehouse, report: Reporter) -> Planned:
    from core.plans.plan import make_plan

    if saved.has_plan(warehouse, job.job_id):  # finished by an earlier process
        return Planned(job.job_id)
    scratch = job.kept(job.job_id)
    with short_of_room(job.config, scratch):
        found = make_plan(job.config, job.job_id, scratch, report)
    return Planned(job.job_id, saved.keep_plan(warehouse, found))


def outcome(standing: JobStatus, warehouse: Warehouse) -> LayerPlan:
    """The plan that a job has brought; raises KeyError where it was deleted since."""
    found = saved.stored_plan(warehouse, standing.result["plan_id"])
    if found is None:
        raise KeyError(standing.result["plan_id"])
    return found
