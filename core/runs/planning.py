"""Making a layer plan, as a job: the request, the run and the result.

Finished steps are kept in the job's folder; the plan is then written as one file, whole or not at all, and its rows are
synced.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from core.records import LayerPlan, PlanConfig, ProgressCallback
from core.runs.execution import JobResult, resource_errors, run_job
from core.runs.jobs import Job, JobStatus
from core.runs.progress import ProgressReporter
from core.texts.tasks import read_task
from core.warehouse import layer_plans
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class PlanResult(JobResult):
    plan_id: str
    waits: str = ""
    """Why its rows could not be stored yet; empty if they were."""


def with_task_hash(config: PlanConfig) -> PlanConfig:
    """The request with the hash of its task. Raises InputError for an invalid task file."""
    return config if config.task is None else replace(config, task_sha256=read_task(Path(config.task)).sha256)


def run_plan(job: Job[PlanConfig], warehouse: Warehouse, progress: ProgressCallback) -> PlanResult:
    """Run a submitted plan; raises as `run_job`."""
    return run_job(job, warehouse, progress, lambda report: _plan(job, warehouse, report))


def _plan(job: Job[PlanConfig], warehouse: Warehouse, report: ProgressReporter) -> PlanResult:
    from core.plans.plan import make_plan

    if layer_plans.has_plan(warehouse, job.job_id):  # finished by an earlier process
        return PlanResult(job.job_id)
    scratch = job.checkpoint_folder(job.job_id)
    with resource_errors(job.config, scratch):
        plan = make_plan(job.config, job.job_id, scratch, report)
    return PlanResult(job.job_id, layer_plans.save_plan(warehouse, plan))


def load_result(status: JobStatus, warehouse: Warehouse) -> LayerPlan:
    """The plan of a finished job. Raises KeyError if it was deleted since."""
    plan = layer_plans.load_plan(warehouse, status.result["plan_id"])
    if plan is None:
        raise KeyError(status.result["plan_id"])
    return plan
