"""What the process of a job does, from its request to the warehouse, so that it is stored whole or can be resumed: a
measurement, the scoring of a model on a task, or a layer plan.

A pass of a measurement is written into its job's folder (core/runs/jobs.py). When finished it becomes a parcel by one
rename and is ingested in one short transaction. Answers of a scoring and steps of a plan are kept in the job's folder as
well; the scores or the plan are then written as one file, whole or not at all. If the warehouse cannot be written, the
next process that opens it takes them in.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from core.analysis.shape import judge_profile
from core.errors import InputError, ResourceError, Sentence, WarehouseError, WarehouseLocked
from core.limits import OPENING_BYTES, anonymous_memory, free_bytes, limit_memory
from core.records import LayerPlan, PlanConfig, Profile, Progress, ProgressCallback, RunConfig, ScoreConfig
from core.runs.jobs import (
    Job,
    JobConfig,
    JobStatus,
    ProgressReporter,
    finish_job,
    hold_job,
    log_warnings,
    record_failure,
    wait_for_turn,
    write_log,
)
from core.store import parcels
from core.store.parcels import is_parcel
from core.texts.tasks import read_task
from core.warehouse import runs, stored_scores
from core.warehouse.runs import ControlPass, control_passes, find_same_run, ingest_parcel, read_profile, seeds_of_runs
from core.warehouse.warehouse import Warehouse

if TYPE_CHECKING:  # torch: only where something is measured
    from core.measure.layers import LayerWorkers
    from core.measure.plan import Setup

MEMORY_ALLOWANCE = OPENING_BYTES
"""Bytes that a job may take beyond its memory budget, which is for weights, passes and pairs of layers."""
DISK_FULL_ERRNOS = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def run_submitted(job: Job, warehouse: Warehouse, progress: ProgressCallback) -> dict[str, Any]:
    """Do what a job asks for as its only process, after the jobs queued before it, and record the outcome in its folder.

    Returns what finished.json keeps: `run_id`, `file_sha256` or `plan_id`; `waits`, why it could not be taken into the
    warehouse yet, empty if it was; `was_known`, whether the warehouse had it already; of a measurement also `failed`, one
    line for each control pass that could not be measured.

    Raises InputError for what the user can fix, ResourceError if memory or disk ran out; the job can then be resumed.
    """
    with hold_job(job), log_warnings(job):
        try:
            report = ProgressReporter(job, progress)
            with wait_for_turn(job, warehouse, lambda n_before: report(Progress("queued", 0, n_before))):
                report(Progress("load", 0, 1))
                parcels.publish_finished(warehouse.folder, job.folder)
                warehouse.try_apply_pending()
                if isinstance(job.config, ScoreConfig):
                    result = _score(job, warehouse, report)
                elif isinstance(job.config, PlanConfig):
                    result = _plan(job, warehouse, report)
                else:
                    result = _measure(job, warehouse, report)
        except Exception as error:
            write_log(job, str(error))
            record_failure(job, error)
            raise
        finish_job(job, result)
    return result


@contextmanager
def resource_errors(config: JobConfig, scratch: Path) -> Iterator[None]:
    """Translate errors of a full disk or memory into ResourceError, and limit the memory of a job's own process."""
    from core.models.model import choose_device
    from core.models.stacks import is_out_of_memory  # torch: only where a model is at work

    most, budget = anonymous_memory() + free_bytes(), config.memory_budget
    # On another device a budget is for the memory of that one; a model that is saved is in memory twice.
    is_saved = isinstance(config, PlanConfig) and config.save_model
    if budget is not None and not is_saved and choose_device(config.device).type == "cpu":
        most = min(most, budget + MEMORY_ALLOWANCE)
    reason = Sentence(
        "{model} exceeded its {size:.2f} GB of memory and was stopped. Free some, raise --memory-budget, or choose --dtype bfloat16 or a smaller model.",
        model=config.model,
        size=most / 1e9,
    )
    try:
        with limit_memory(most, reason):
            yield
    except OSError as error:
        if error.errno not in DISK_FULL_ERRNOS:
            raise
        raise ResourceError(
            "No disk space in {parent}. Free some, and ask for {model} again: finished parts are kept.",
            parent=scratch.parent,
            model=config.model,
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            "Not enough memory for {model} on '{device}'. Try --dtype bfloat16, --device cpu, a smaller "
            "--memory-budget or model.",
            model=config.model,
            device=config.device,
        ) from error


# --- a measurement ---------------------------------------------------------------------------------------------------


def _measure(job: Job[RunConfig], warehouse: Warehouse, report: ProgressReporter) -> dict[str, Any]:
    """Control passes come first and are runs of their own: the verdict on the text needs them, and a resumed measurement
    finds them again. A control that is in the warehouse already is not measured again.
    """
    from core.measure.layers import LayerWorkers
    from core.measure.plan import open_setup

    result = {"run_id": job.job_id, "waits": "", "failed": (), "was_known": False}
    if is_parcel(warehouse.parcels / job.job_id):  # finished by an earlier process
        return result
    setup = open_setup(job.config)
    # Read before the first pass, because a warehouse that is locked between two passes must not end hours of measuring.
    stored_controls = _stored_controls(job.config, warehouse, setup)
    identity = asdict(setup.identity)
    known_run = (
        None if job.again else find_same_run(warehouse, job.config, setup.protocol, identity, setup.shares_words)
    )
    if known_run:
        return result | {"run_id": known_run, "was_known": True}
    first_draw = _first_draw(job.config, warehouse, setup)
    missing = [control.name for control, profile in stored_controls.items() if profile is None]
    try:
        report.expect(_expected_seconds(job.config, warehouse, setup, missing))
    except Exception as error:  # what only tells the time left must not stop a measurement
        write_log(job, f"The time that is left cannot be told: {type(error).__name__}: {error}")
    with LayerWorkers() as workers:
        passes = _Passes(job, warehouse, setup, workers, report)
        controls, failed = passes.measure_controls(stored_controls)
        _, waits = passes.measure(job.config, job.job_id, report, controls, tuple(failed), first_draw)
    return result | {"waits": waits, "failed": tuple(failed.values())}


def _expected_seconds(
    config: RunConfig, warehouse: Warehouse, setup: Setup, controls: Sequence[str]
) -> dict[str, float]:
    """Phase, as named in progress reports -> expected seconds; empty where they are not known. Controls come first."""
    from core.forecast.times import known_costs, outline_of, pace_of, pass_seconds
    from core.measure.plan import extra_estimators

    pace = pace_of(known_costs(warehouse), str(setup.blueprint.device))
    if pace is None:
        return {}
    model, protocol = outline_of(setup.blueprint.weightless.row), setup.protocol
    return {
        phase if name == "text" else f"{name}: {phase}": seconds
        for name in (*controls, "text")
        for phase, seconds in pass_seconds(
            model, protocol, name, pace, extra_estimators(config, protocol, name)
        ).items()
    }


@dataclass(frozen=True)
class _Passes:
    """The passes of a measurement, each measured and stored. Raises ResourceError if memory runs out: the next model may
    still fit."""

    job: Job[RunConfig]
    warehouse: Warehouse
    setup: Setup
    workers: LayerWorkers
    progress: ProgressCallback

    def measure_controls(self, stored: Mapping[ControlPass, Profile | None]) -> tuple[list[Profile], dict[str, str]]:
        """Load or measure the control passes; also returns, by name, why those failed that could not be measured.

        Some architectures cannot be drawn at random, or not in this memory: that must not stop the measurement. An
        unusable warehouse does: the text pass would be lost as well.
        """
        profiles, failed = list[Profile](), dict[str, str]()
        for control, profile in stored.items():
            run_id = self.job.control_id(control.name)

            def report(step: Progress, label: str = control.name) -> None:
                self.progress(replace(step, phase=f"{label}: {step.phase}"))

            if profile is None and is_parcel(self.warehouse.parcels / run_id):  # it waits while the warehouse is locked
                profile = read_profile(self.warehouse, run_id)
            if profile is None:
                config = replace(
                    self.job.config,
                    pass_=control.name,
                    model_seed=self.job.config.seed,
                    keep_tokens=False,
                    controls=False,
                    estimators=(),
                )
                try:
                    profile, _ = self.measure(config, run_id, report)
                except WarehouseError:
                    raise
                except InputError as error:
                    failed[control.name] = Sentence(
                        "The control pass {name} could not be measured: {reason}", name=control.name, reason=error
                    )
            profiles += [profile] if profile else []
        return profiles, failed

    def measure(
        self,
        config: RunConfig,
        run_id: str,
        progress: ProgressCallback,
        controls: Sequence[Profile] = (),
        failed: Sequence[str] = (),
        first_draw: Profile | None = None,
    ) -> tuple[Profile, str]:
        """Measure and store a pass: its profile with verdicts, and why it could not be ingested yet, empty if it was.

        Of the text pass, `controls` are those that were measured, `failed` the names of the others, and `first_draw` is the
        first run on another draw of the same text.
        """
        from core.measure.profile import measure_profile
        from core.measure.rows import check_second_draw

        # Not in the folder of the pass: hidden states of a user's text must not travel in a parcel.
        checkpoint_folder, made = self.job.checkpoint_folder(run_id), self.job.folder / run_id
        with resource_errors(config, checkpoint_folder):
            profile = measure_profile(config, run_id, checkpoint_folder, progress, self.setup, self.workers)
        parent = None if run_id == self.job.job_id else self.job.job_id
        profile = replace(profile, run=replace(profile.run, parent_run_id=parent, pilot_id=self.job.pilot_id))
        # Only if both draws have a largest inner dimension.
        if first_draw and (check := check_second_draw(first_draw, judge_profile(profile))):
            profile = replace(profile, checks=[*profile.checks, check])
        profile = judge_profile(profile, controls, failed)
        parcels.write_places(made, asdict(config))
        parcels.write_parcel(made, profile)
        folder = parcels.publish_parcel(self.warehouse.folder, made)
        shutil.rmtree(checkpoint_folder, ignore_errors=True)
        return profile, ingest_or_wait(self.warehouse, folder)


def ingest_or_wait(warehouse: Warehouse, parcel: Path) -> str:
    """Ingest a parcel; returns why that must wait, empty if it need not: the measurement is finished all the same."""
    try:
        ingest_parcel(warehouse, parcel)
    except (WarehouseLocked, ResourceError) as error:
        return str(error)
    return ""


def _stored_controls(config: RunConfig, warehouse: Warehouse, setup: Setup) -> dict[ControlPass, Profile | None]:
    """The control passes of the protocol, and any others that are stored, each with its profile if it is."""
    passes = control_passes(config, setup.protocol, asdict(setup.identity), bool(setup.sample.opening_token), warehouse)
    return {one: read_profile(warehouse, one.run_id) if one.run_id else None for one in passes}


def _first_draw(config: RunConfig, warehouse: Warehouse, setup: Setup) -> Profile | None:
    """The first run on another draw of the text. Measured again, the first draw is still the first."""
    names = ("model_id", "corpus_id", "dtype", "stack")
    for run_id, seed, protocol_hash in seeds_of_runs(
        warehouse, **{name: getattr(setup.identity, name) for name in names}
    ):
        if protocol_hash == setup.protocol.hash(seed):
            return read_profile(warehouse, run_id) if seed != config.seed else None
    return None


# --- scoring a model on a user's own task ------------------------------------------------------------------------------


def _score(job: Job[ScoreConfig], warehouse: Warehouse, report: ProgressReporter) -> dict[str, Any]:
    from core.measure.score import identity, open_scored, score_task

    config = job.config
    task = read_task(Path(config.task))
    if task.sha256 != config.task_sha256:
        raise InputError("{file} has changed since. Cancel this job and start anew.", file=config.task)
    blueprint = open_scored(config)
    sha256 = identity(blueprint, task)
    if stored_scores.read_import(warehouse, sha256):
        return {"file_sha256": sha256, "waits": "", "was_known": True}
    scratch = job.checkpoint_folder(job.job_id)
    with resource_errors(config, scratch):
        scored = score_task(config, task, blueprint, scratch, report)
    waits = stored_scores.store_own_scores(
        warehouse, sha256, Path(config.task).name, scored.scores, scored.samples, scored.n_left_out
    )
    return {"file_sha256": sha256, "waits": waits, "was_known": False}


def load_scores(status: JobStatus, warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    """The rows of a finished scoring, by table. Raises KeyError if they were removed since."""
    tables = stored_scores.read_import(warehouse, status.result["file_sha256"])
    if tables is None:
        raise KeyError(status.result["file_sha256"])
    return tables


# --- a layer plan ------------------------------------------------------------------------------------------------------


def _plan(job: Job[PlanConfig], warehouse: Warehouse, report: ProgressReporter) -> dict[str, Any]:
    from core.plans.plan import make_plan

    if runs.has_plan(warehouse, job.job_id):  # finished by an earlier process
        return {"plan_id": job.job_id, "waits": ""}
    scratch = job.checkpoint_folder(job.job_id)
    with resource_errors(job.config, scratch):
        plan = make_plan(job.config, job.job_id, scratch, report)
    return {"plan_id": job.job_id, "waits": runs.save_plan(warehouse, plan)}


def load_layer_plan(status: JobStatus, warehouse: Warehouse) -> LayerPlan:
    """The plan of a finished job. Raises KeyError if it was deleted since."""
    plan = runs.load_plan(warehouse, status.result["plan_id"])
    if plan is None:
        raise KeyError(status.result["plan_id"])
    return plan
