"""What the process of a job does, from its request to the warehouse, so that it is stored whole or can be resumed: a
measurement, the scoring of a model on a task, or a layer plan.

A pass of a measurement is written into its job's folder (core/runs/jobs.py). When finished it becomes a parcel by one
rename and is ingested in one short transaction. Answers of a scoring and steps of a plan are kept in the job's folder as
well; the scores or the plan are then written as one file, whole or not at all. If the warehouse cannot be written, the
next process that opens it takes them in.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from core.analysis.shape import judge_profile
from core.errors import InputError, ResourceError, Sentence, WarehouseError, WarehouseLocked
from core.limits import OPENING_BYTES, anonymous_memory, free_bytes, limit_memory
from core.records import (
    LayerPlan,
    PlanConfig,
    Profile,
    Progress,
    ProgressCallback,
    RunConfig,
    ScoreConfig,
    without_places,
)
from core.registry.protocols import Protocol
from core.runs.jobs import Job, JobConfig, JobStatus, finish_job, hold_job, record_failure
from core.runs.processes import wait_for_turn
from core.runs.progress import ProgressReporter, log_warnings, write_log
from core.runs.recovery import publish_finished_passes
from core.store import parcels
from core.store.parcels import is_parcel
from core.texts.tasks import read_task
from core.warehouse import layer_plans, score_imports
from core.warehouse.runs import find_same_runs, ingest_parcel, read_profile, seeds_of_runs
from core.warehouse.warehouse import Warehouse

if TYPE_CHECKING:  # torch: only where something is measured
    from core.measure.layer_workers import LayerWorkers
    from core.measure.setup import Setup

MEMORY_ALLOWANCE = OPENING_BYTES
"""Bytes that a job may take beyond its memory budget, which is for weights, passes and pairs of layers."""
DISK_FULL_ERRNOS = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
PhaseForecast = Callable[[RunConfig, Warehouse, "Setup"], Mapping[str, float]]
"""Expected seconds of each phase of a measurement."""


@dataclass(frozen=True)
class JobResult:
    """Base of what the kinds of jobs return."""

    def record(self) -> dict[str, Any]:
        """What the job's folder keeps of it, as finished.json."""
        return asdict(self)


@dataclass(frozen=True)
class MeasurementResult(JobResult):
    run_id: str
    profile: Profile
    waits: str = ""
    """Why the parcel could not be ingested yet (the warehouse is locked or full); empty if it was."""
    controls: tuple[Profile, ...] = ()
    failed: tuple[str, ...] = ()
    """One line for each control pass that could not be measured."""
    was_known: bool = False
    """The warehouse had this run already; nothing was measured."""

    def record(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "waits": self.waits, "failed": self.failed, "was_known": self.was_known}


@dataclass(frozen=True)
class ScoringResult(JobResult):
    file_sha256: str
    waits: str = ""
    """Why its rows could not be stored yet; empty if they were."""
    was_known: bool = False
    """The warehouse had these scores already; nothing was scored."""


@dataclass(frozen=True)
class PlanResult(JobResult):
    plan_id: str
    waits: str = ""
    """Why its rows could not be stored yet; empty if they were."""


ResultT = TypeVar("ResultT", bound=JobResult)


def run_submitted(
    job: Job, warehouse: Warehouse, progress: ProgressCallback, forecast: PhaseForecast | None = None
) -> JobResult:
    """Do what a submitted job asks for; raises as `run_job`."""
    if isinstance(job.config, ScoreConfig):
        return run_scoring(job, warehouse, progress)
    if isinstance(job.config, PlanConfig):
        return run_plan(job, warehouse, progress)
    return run_measurement(job, warehouse, progress, forecast)


def run_job(
    job: Job, warehouse: Warehouse, progress: ProgressCallback, work: Callable[[ProgressReporter], ResultT]
) -> ResultT:
    """Do a job's work as its only process, after the jobs queued before it, and record the outcome in its folder.

    Raises InputError for what the user can fix, ResourceError if memory or disk ran out; the job can then be resumed.
    """
    with hold_job(job), log_warnings(job):
        try:
            report = ProgressReporter(job, progress)
            with wait_for_turn(job, warehouse, lambda n_before: report(Progress("queued", 0, n_before))):
                report(Progress("load", 0, 1))
                publish_finished_passes(job.folder, warehouse)
                warehouse.try_apply_pending()
                result = work(report)
        except Exception as error:
            write_log(job, str(error))
            record_failure(job, error)
            raise
        finish_job(job, result.record())
    return result


@contextmanager
def resource_errors(config: JobConfig, scratch: Path) -> Iterator[None]:
    """Translate errors of a full disk or memory into ResourceError, and limit the memory of a job's own process."""
    from core.models.model import choose_device, is_out_of_memory  # torch: only where a model is at work

    most, budget = anonymous_memory() + free_bytes(), config.memory_budget
    # On another device a budget is for the memory of that one; a model that is saved is in memory twice.
    is_saved = isinstance(config, PlanConfig) and config.save_model
    if budget is not None and not is_saved and choose_device(config.device).type == "cpu":
        most = min(most, budget + MEMORY_ALLOWANCE)
    reason = Sentence(
        "{model} took more than {size:.2f} GB of memory, the most that it may take here, and was stopped. Free some, raise "
        "--memory-budget, or choose --dtype bfloat16, quick or a smaller model.",
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
            "The disk has no more room in {parent}: free some. What is finished of {model} is kept: the same "
            "request goes on with it.",
            parent=scratch.parent,
            model=config.model,
        ) from error
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            "There is not enough memory to measure {model} on device '{device}'. Try --dtype bfloat16, --device "
            "cpu, a smaller --memory-budget or a smaller model.",
            model=config.model,
            device=config.device,
        ) from error


# --- a measurement ---------------------------------------------------------------------------------------------------


def run_measurement(
    job: Job, warehouse: Warehouse, progress: ProgressCallback, forecast: PhaseForecast | None = None
) -> MeasurementResult:
    """Run a submitted measurement; raises as `run_job`.

    `forecast` is asked for the seconds of each phase once it is the job's turn and its model is available.

    Control passes come first and are runs of their own: the verdict on the text needs them, and a resumed measurement
    finds them again. A control that is in the warehouse already is not measured again.
    """
    return run_job(job, warehouse, progress, lambda report: _measure(job, warehouse, report, forecast))


def _measure(
    job: Job, warehouse: Warehouse, report: ProgressReporter, forecast: PhaseForecast | None
) -> MeasurementResult:
    from core.measure.layer_workers import LayerWorkers
    from core.measure.setup import open_setup

    if is_parcel(warehouse.parcels / job.job_id):  # finished by an earlier process
        return load_measurement(JobStatus(job, "finished", result={"run_id": job.job_id}), warehouse)
    setup = open_setup(job.config)
    report.expect(_expected_seconds(job, warehouse, forecast, setup) if forecast else {})
    control_passes, first_draw, same_run = find_stored_runs(job, warehouse, setup)
    if same_run:
        stored_controls = tuple(control.stored for control in control_passes if control.stored)
        return MeasurementResult(same_run.run.run_id, same_run, controls=stored_controls, was_known=True)
    with LayerWorkers() as workers:
        controls, failed = _measure_controls(job, warehouse, control_passes, setup, workers, report)
        profile, waits = _measure_pass(
            job,
            job.config,
            job.job_id,
            warehouse,
            setup,
            workers,
            report,
            controls,
            tuple(failed),
            first_draw=first_draw,
        )
    return MeasurementResult(job.job_id, profile, waits, tuple(controls), tuple(failed.values()))


def _expected_seconds(job: Job, warehouse: Warehouse, forecast: PhaseForecast, setup: Setup) -> Mapping[str, float]:
    """The expected seconds of each phase; empty if the forecast fails, which must not stop a measurement."""
    try:
        return forecast(job.config, warehouse, setup)
    except Exception as error:
        write_log(job, f"The time that is left cannot be told: {type(error).__name__}: {error}")
        return {}


def load_measurement(status: JobStatus, warehouse: Warehouse) -> MeasurementResult:
    """The result of a job that ended in another process. Raises KeyError if its run was deleted since."""
    result = status.result
    profile = read_profile(warehouse, result["run_id"])
    control_ids = (profile.summaries[0].control_run_ids if profile.summaries else None) or []
    controls = tuple(read_profile(warehouse, run_id) for run_id in control_ids)
    return MeasurementResult(
        result["run_id"],
        profile,
        result.get("waits", ""),
        controls,
        tuple(result.get("failed", ())),
        result.get("was_known", False),
    )


def _measure_controls(
    job: Job,
    warehouse: Warehouse,
    control_passes: list[ControlRun],
    setup: Setup,
    workers: LayerWorkers,
    progress: ProgressCallback,
) -> tuple[list[Profile], dict[str, str]]:
    """Load or measure the control passes; also returns, by name, why those failed that could not be measured.

    Some architectures cannot be drawn at random, or not in this memory: that must not stop the measurement. An unusable
    warehouse does: the text pass would be lost as well.
    """
    profiles, failed = list[Profile](), dict[str, str]()
    for control in control_passes:

        def report(step: Progress, label: str = control.label) -> None:
            progress(replace(step, phase=f"{label}: {step.phase}"))

        if control.stored:
            profiles.append(control.stored)
        elif is_parcel(warehouse.parcels / control.run_id):  # it waits while the warehouse is locked
            profiles.append(read_profile(warehouse, control.run_id))
        elif control.name not in failed:
            config = replace(
                job.config,
                pass_=control.name,
                model_seed=control.seed,
                keep_tokens=False,
                controls=False,
                estimators=(),
            )
            try:
                profile, _ = _measure_pass(
                    job, config, control.run_id, warehouse, setup, workers, report, parent_run_id=job.job_id
                )
                profiles.append(profile)
            except WarehouseError:
                raise
            except InputError as error:
                failed[control.name] = Sentence(
                    "The control pass {name} could not be measured: {reason}", name=control.name, reason=error
                )
    return profiles, failed


def _measure_pass(
    job: Job,
    config: RunConfig,
    run_id: str,
    warehouse: Warehouse,
    setup: Setup,
    workers: LayerWorkers,
    progress: ProgressCallback,
    controls: Sequence[Profile] = (),
    failed: Sequence[str] = (),
    parent_run_id: str | None = None,
    first_draw: Profile | None = None,
) -> tuple[Profile, str]:
    """Measure one pass and store it; also returns why it could not be ingested yet, empty if it was.

    `failed` are names of control passes, `first_draw` is the first run on another draw of the same text. Raises
    ResourceError if memory runs out: the next model may still fit.
    """
    from core.measure.profile import measure_profile

    # Not in the folder of the pass: hidden states of a user's text must not travel in a parcel.
    checkpoint_folder = job.checkpoint_folder(run_id)
    with resource_errors(config, checkpoint_folder):
        profile = measure_profile(config, run_id, checkpoint_folder, progress, setup, workers)
    profile = replace(profile, run=replace(profile.run, parent_run_id=parent_run_id, pilot_id=job.pilot_id))
    profile = _add_second_draw_check(profile, first_draw)
    profile = judge_profile(profile, controls, failed)
    parcels.write_places(job.folder / run_id, asdict(config))
    parcels.write_parcel(job.folder / run_id, profile)
    folder = parcels.publish_parcel(warehouse.folder, job.folder / run_id)
    shutil.rmtree(checkpoint_folder, ignore_errors=True)
    try:
        ingest_parcel(warehouse, folder)
    except (WarehouseLocked, ResourceError) as error:  # the measurement is finished all the same
        return profile, str(error)
    return profile, ""


def _add_second_draw_check(profile: Profile, first_draw: Profile | None) -> Profile:
    """Add a check if the text was drawn before and both draws have a largest inner dimension."""
    from core.measure.checks import check_second_draw

    check = check_second_draw(first_draw, judge_profile(profile)) if first_draw else None
    return replace(profile, checks=[*profile.checks, check]) if check else profile


@dataclass(frozen=True)
class ControlRun:
    """A control pass of a measurement, with its profile if it is stored."""

    name: str
    label: str
    seed: int
    run_id: str
    """The id that it gets if it is measured now."""
    stored: Profile | None
    """Its profile, if the warehouse has it."""


def find_stored_runs(
    job: Job, warehouse: Warehouse, setup: Setup
) -> tuple[list[ControlRun], Profile | None, Profile | None]:
    """What the warehouse has for this measurement.

    Returns its control passes (those of the protocol and any others that are stored), the first run on another draw of
    the text, and a run that covers the request, unless it is to be measured again.

    Read before the first pass, because a warehouse that is locked between two passes must not end hours of measuring.
    """
    from core.forecast.existing_runs import control_passes

    config, protocol, identity = job.config, setup.protocol, setup.identity
    controls = [
        ControlRun(
            control.name,
            control.label,
            control.seed,
            job.control_id(control.name, control.number),
            read_profile(warehouse, control.run_id) if control.run_id else None,
        )
        for control in control_passes(config, protocol, identity, bool(setup.sample.opening_token), warehouse)
    ]
    same_run = None if job.again else _find_same_run(config, protocol, asdict(identity), warehouse)
    draws = [
        (run_id, seed)
        for run_id, seed, protocol_hash in seeds_of_runs(
            warehouse,
            model_id=identity.model_id,
            corpus_id=identity.corpus_id,
            dtype=identity.dtype,
            stack=identity.stack,
        )
        if protocol_hash == protocol.hash(seed)
    ]
    first_id, first_seed = draws[0] if draws else (None, None)
    # Measured again, the first draw is still the first.
    first_draw = read_profile(warehouse, first_id) if first_id and first_seed != config.seed else None
    return controls, first_draw, same_run


def _find_same_run(
    config: RunConfig, protocol: Protocol, identity: dict[str, str], warehouse: Warehouse
) -> Profile | None:
    """The newest run of this model and text that covers the request."""
    for run_id, stored_config in find_same_runs(warehouse, **identity):
        try:
            stored = json.loads(stored_config)
            covers = _covers(stored["run"], without_places(asdict(config))) and _protocol_covers(
                stored["protocol"], asdict(protocol)
            )
        except (ValueError, KeyError, TypeError):  # of another version, with other fields
            continue
        if covers:
            return read_profile(warehouse, run_id)
    return None


def _covers(run: dict[str, Any], request: dict[str, Any]) -> bool:
    """Whether a run has all that is requested. Its companions must be the same, because words depend on them."""
    return (
        {*run["companions"]} == {*request["companions"]}
        and {*run["estimators"]} >= {*request["estimators"]}
        and run["keep_tokens"] >= request["keep_tokens"]
        and run["controls"] >= request["controls"]
    )


def _protocol_covers(run: dict[str, Any], request: dict[str, Any]) -> bool:
    """Whether a protocol of the same hash has all the passes and estimators requested, which the hash leaves out."""
    return all(run[name] >= request[name] for name in ("n_surrogates", "n_random_models")) and all(
        {*run[name]} >= {*request[name]} for name in ("passes", "more_estimators")
    )


# --- scoring a model on a user's own task ------------------------------------------------------------------------------


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


def load_scores(status: JobStatus, warehouse: Warehouse) -> dict[str, pl.DataFrame]:
    """The rows of a finished scoring, by table. Raises KeyError if they were removed since."""
    tables = score_imports.read_import(warehouse, status.result["file_sha256"])
    if tables is None:
        raise KeyError(status.result["file_sha256"])
    return tables


# --- a layer plan ------------------------------------------------------------------------------------------------------


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


def load_layer_plan(status: JobStatus, warehouse: Warehouse) -> LayerPlan:
    """The plan of a finished job. Raises KeyError if it was deleted since."""
    plan = layer_plans.load_plan(warehouse, status.result["plan_id"])
    if plan is None:
        raise KeyError(status.result["plan_id"])
    return plan
