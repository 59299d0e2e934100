"""Layer plans as jobs: the estimate, the request, the run and the result.

Finished steps are kept in the job's folder; the plan is then written as one file, whole or not at all, and its rows are
synced.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import InputError, WorkdimError
from core.records import LayerPlan, PlanConfig, PlanEstimate, ProgressCallback
from core.runs.execution import resource_errors, run_job
from core.runs.jobs import Job, JobStatus, ProgressReporter
from core.texts.tasks import read_task
from core.warehouse import layer_plans
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class PlanResult:
    plan_id: str
    waits: str = ""
    """Why its rows could not be stored yet; empty if they were."""

    def result(self) -> dict[str, Any]:
        return {"plan_id": self.plan_id, "waits": self.waits}


def with_task_hash(config: PlanConfig) -> PlanConfig:
    """The request with the hash of its task. Raises InputError for an invalid task file."""
    return config if config.task is None else replace(config, task_sha256=read_task(Path(config.task)).sha256)


def estimate_plan(config: PlanConfig) -> PlanEstimate:
    """What the plan will take, from config, tokenizer and text alone; downloads only small files of the hub.

    Raises InputError (and its kinds) for a plan that would be refused.
    """
    from core.forecast.cost import READ, start_seconds, token_seconds
    from core.forecast.speed import speed_of
    from core.models.model import read_blueprint
    from core.models.model_metadata import find_model
    from core.plans.setup import check_plan
    from core.texts.corpora import open_corpus

    corpus = open_corpus(config.corpus, config.column, config.encoding, config.chat)
    with find_model(config.model) as place:
        unknown = PlanEstimate(config.model, config.corpus, download_bytes=place.download_bytes, notes=place.notes)
        if place.weights is None:
            return unknown
        blueprint = read_blueprint(place.weights, config.dtype, config.device, None, place.has_tokenizer)
        setup = check_plan(config, corpus, blueprint)
        if not place.has_tokenizer:
            return unknown
        memory, n_searched, n_tokens = setup.memory, setup.search_windows.ids.size, sum(setup.costs().values())
        weight_bytes = setup.blueprint.weightless.row.weight_bytes
        readings = setup.count_weight_reads(memory.batch) if memory.on_demand else None
        known = replace(
            unknown, passes=n_tokens / n_searched, n_searched=n_searched, weight_bytes=weight_bytes, readings=readings
        )
        try:
            speed = speed_of(config.dtype, blueprint.device)
        except InputError:
            raise
        except WorkdimError as error:  # a machine that cannot be tested can still plan
            return replace(known, notes=(*known.notes, error.message))
        passing = n_tokens * token_seconds(speed, blueprint.shape, setup.n_blocks, setup.held_out.n_tokens)
        is_gguf = place.weights.gguf_file is not None
        started = start_seconds(speed, weight_bytes, is_gguf, blueprint.weightless.vocabulary_size)
        return replace(known, seconds=started + passing + (readings or 0) * weight_bytes * READ)


def run_plan(job: Job[PlanConfig], warehouse: Warehouse, progress: ProgressCallback) -> PlanResult:
    """Run a submitted plan. Raises InputError for what the user can fix, ResourceError if memory or disk ran out; the job
    can then be resumed."""
    return run_job(job, warehouse, progress, lambda report: _plan(job, warehouse, report))


def _plan(job: Job[PlanConfig], warehouse: Warehouse, report: ProgressReporter) -> PlanResult:
    from core.plans.plan import make_plan

    if layer_plans.has_plan(warehouse, job.job_id):  # finished by an earlier process
        return PlanResult(job.job_id)
    scratch = job.checkpoint_folder(job.job_id)
    with resource_errors(job.config, scratch):
        found = make_plan(job.config, job.job_id, scratch, report)
    return PlanResult(job.job_id, layer_plans.save_plan(warehouse, found))


def load_result(status: JobStatus, warehouse: Warehouse) -> LayerPlan:
    """The plan of a finished job. Raises KeyError if it was deleted since."""
    found = layer_plans.load_plan(warehouse, status.result["plan_id"])
    if found is None:
        raise KeyError(status.result["plan_id"])
    return found
