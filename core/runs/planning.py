"""One layer plan, from what it will take over its request to the warehouse: a job like a measurement.

What it has finished so far lies in the job's folder, step by step; the plan becomes one file, whole or not at all, and
rows follow that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import InputError, WorkdimError
from core.records import LayerPlan, PlanConfig, PlanEstimate, ProgressCallback
from core.runs.execution import carry_out, short_of_room
from core.runs.jobs import Job, JobStatus, Reporter
from core.texts.tasks import read_task
from core.warehouse import layer_plans
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


def estimate(config: PlanConfig) -> PlanEstimate:
    """What the plan will take, from configuration, tokenizer and text alone; nothing is fetched but small files of the hub.

    Raises InputError (and its kinds) for what the plan would be refused for.
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


def plan(job: Job[PlanConfig], warehouse: Warehouse, progress: ProgressCallback) -> Planned:
    """Bring a submitted plan to its end. Raises InputError for what the user can mend, ResourceError where memory or disk
    ran out: the job can then go on."""
    return carry_out(job, warehouse, progress, lambda report: _plan(job, warehouse, report))


def _plan(job: Job[PlanConfig], warehouse: Warehouse, report: Reporter) -> Planned:
    from core.plans.plan import make_plan

    if layer_plans.has_plan(warehouse, job.job_id):  # finished by an earlier process
        return Planned(job.job_id)
    scratch = job.kept(job.job_id)
    with short_of_room(job.config, scratch):
        found = make_plan(job.config, job.job_id, scratch, report)
    return Planned(job.job_id, layer_plans.save_plan(warehouse, found))


def outcome(standing: JobStatus, warehouse: Warehouse) -> LayerPlan:
    """The plan that a job has brought; raises KeyError where it was deleted since."""
    found = layer_plans.load_plan(warehouse, standing.result["plan_id"])
    if found is None:
        raise KeyError(standing.result["plan_id"])
    return found
