"""A job: a measurement with its control passes, a scoring or a layer plan, as a folder of readable files.

    jobs/<job_id>/job.json          the request
                  progress.json     its progress, replaced all the time
                  worker.json       the process that runs it, or did
                  error.json        why it failed
                  finished.json     the resulting run, scores or plan
                  log.txt           its messages
                  <run_id>/         a pass that is being written; finished, it becomes a parcel by one rename
                  kept-<run_id>/    the checkpoint of a pass: states and layers, answers, steps
    jobs/<job_id>.lock              held by the process that runs it

The job's id is the run id of its text pass. Of a finished job only the small files stay, for a week or until they are
removed. The lock tells whether a process is alive, because the operating system releases it however the process ends;
process ids are reused, and start times move with the clock.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import psutil
from filelock import FileLock, Timeout

from core import errors
from core.errors import InputError, ResourceError, Sentence, WorkdimError
from core.files import folders_in, make_folder, refuse_where_read_only
from core.records import PLAN_PHASES, SCORING, Estimate, PlanConfig, Progress, ProgressCallback, RunConfig, ScoreConfig
from core.registry.protocols import find_protocol
from core.runs.requests import job_config, job_kind
from core.warehouse.warehouse import Warehouse

START_TOLERANCE = 30.0
"""Seconds by which two processes may disagree on the start time of a third: it is derived from the boot time, which moves
when the clock is corrected."""
LOCK_PROBE = 0.02
"""Seconds of trying until a lock counts as held."""


def lock_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def release_lock(lock: FileLock) -> None:
    with suppress(OSError):  # Windows refuses while a waiting process has it open, which then removes it
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a process runs the job, checked without disturbing it.

    Another process that checks holds the lock for less than a millisecond: hence more than one try.
    """
    path = lock_path(folder)
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=LOCK_PROBE, poll_interval=LOCK_PROBE / 4)
    except Timeout:
        return True
    release_lock(lock)  # this check may have recreated the file after its owner removed it
    return False


def worker_record(pid: int) -> dict[str, Any]:
    created = 0.0
    with suppress(psutil.Error):
        created = psutil.Process(pid).create_time()
    return {"pid": pid, "created": created, "host": socket.gethostname(), "at": time.time()}


def find_process(worker: dict[str, Any]) -> psutil.Process | None:
    """The worker's process on this machine; None if it is gone, even if its id is reused."""
    with suppress(psutil.Error, KeyError):
        process = psutil.Process(worker["pid"])
        if abs(process.create_time() - worker["created"]) < START_TOLERANCE:
            return process
    return None


CANCEL_FILE = "cancel"
"""In a job's folder: the job is to be stopped and removed."""
START_TIMEOUT = 20.0
"""Seconds after which a started process that does not hold its job's lock counts as dead."""


STATES = {
    "queued": Sentence("queued"),
    "running": Sentence("running"),
    "interrupted": Sentence("interrupted"),
    "failed": Sentence("failed"),
    "finished": Sentence("finished"),
    "cancelled": Sentence("cancelled"),
}
"""State of a job -> its name in a sentence."""

JobConfig = RunConfig | ScoreConfig | PlanConfig
ConfigT = TypeVar("ConfigT", RunConfig, ScoreConfig, PlanConfig)


@dataclass(frozen=True)
class Job(Generic[ConfigT]):
    folder: Path
    config: ConfigT
    submitted_at: float
    """Seconds since 1970."""
    pilot_id: str | None = None
    again: bool = False
    """Measure again what the warehouse has already."""

    @property
    def job_id(self) -> str:
        return self.folder.name

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def log_tail(self, n_lines: int) -> list[str]:
        """The last lines of the log, empty if there is none; our own messages as Sentences, to be translated."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(max(0, self.log.stat().st_size - 65_536))
                return list(map(_parse_log_line, stream.read().decode("utf-8", "replace").splitlines()[-n_lines:]))
        except OSError:
            return []

    def control_id(self, pass_: str, number: int) -> str:
        """Run id of a control pass: the same whenever the job is resumed, with the job's time."""
        digest = hashlib.sha256(f"{self.job_id}/{pass_}/{number}".encode()).digest()
        return _uuid7(self.submitted_at, int.from_bytes(digest[:8], "big"))

    def checkpoint_folder(self, run_id: str) -> Path:
        return self.folder / f"kept-{run_id}"

    def finished_layers(self) -> list[Estimate]:
        """d2 of each finished layer of the text pass, from the embedding on, before any checks and controls."""
        found: list[Estimate] = []
        while one := _layer_d2(self.checkpoint_folder(self.job_id) / f"layer-{len(found):04d}.json"):
            found.append(one)
        return found


@lru_cache(maxsize=512)
def _read_d2(layer: Path, _changed_at: int) -> Estimate | None:
    for one in (read_json(layer) or {})["estimates"]:
        if (one["estimator"], one["cloud"], one["transform"]) == ("d2", "one_per_type", "centred"):
            return Estimate(**one["estimate"])
    return None


def _layer_d2(layer: Path) -> Estimate | None:
    """None if the layer is not finished or its protocol has no such estimate. Cached, because files never change."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return _read_d2(layer, layer.stat().st_mtime_ns)
    return None


@dataclass(frozen=True)
class JobStatus:
    """The present status of a job."""

    job: Job
    state: str
    """`queued`, `running`, `interrupted` (its process is gone; it can be resumed), `failed`, `finished`, or `cancelled`
    (it no longer exists)."""
    progress: Progress | None = None
    reason: str = ""
    """Why it failed."""
    exit_code: int = 0
    """Exit code of its process: 2 if the user can fix the failure."""
    result: dict[str, Any] = field(default_factory=dict)
    """Of a finished job: `result()` of MeasurementResult, ScoringResult or PlanResult."""
    progress_record: dict[str, Any] = field(default_factory=dict)
    """The whole progress file, with tokens_per_second and seconds_left if known."""
    worker: dict[str, Any] = field(default_factory=dict)


def submit(config: ConfigT, warehouse: Warehouse, pilot_id: str | None = None, again: bool = False) -> Job[ConfigT]:
    """Create a job, to be started later, or reuse the stopped job of the same request.

    Raises InputError if the same request is queued or running.
    """
    refuse_where_read_only()
    config = _with_absolute_paths(config)
    for status in list_jobs(warehouse):
        if status.state == "finished" or not same_request(status.job.config, config):
            continue
        is_pilots_own = (
            pilot_id and status.job.pilot_id == pilot_id and not status.worker
        )  # the pilot has not come to it yet
        if status.state in ("queued", "running") and not is_pilots_own:
            text, how = config.what
            raise InputError(
                "{model} on {text} ({how}) is {state} already, as the job {job}. `workdim jobs` shows how far "
                "it is; `jobs cancel` stops it.",
                model=config.model,
                text=text,
                how=how,
                state=STATES[status.state],
                job=status.job.job_id,
            )
        job = replace(status.job, config=config, pilot_id=pilot_id or status.job.pilot_id, again=again)
        write_json(job.folder / "job.json", to_request(job))
        return job
    job = Job(warehouse.jobs / new_run_id(), config, time.time(), pilot_id, again)
    return create_job(warehouse, job.job_id, to_request(job))


def _with_absolute_paths(config: ConfigT) -> ConfigT:
    """The request with absolute paths: a job's process has another working folder."""
    paths: dict[str, Any] = {"model": _absolute(config.model)}
    if isinstance(config, RunConfig):
        paths |= {"corpus": _absolute(config.corpus), "companions": tuple(map(_absolute, config.companions))}
    elif isinstance(config, ScoreConfig):
        paths |= {"task": _absolute(config.task)}
    else:
        paths |= {"corpus": _absolute(config.corpus), "task": config.task and _absolute(config.task)}
        paths |= {"save_model": config.save_model and str(Path(config.save_model).expanduser().absolute())}
    return replace(config, **paths)


def _absolute(reference: str) -> str:
    path = Path(os.path.expanduser(reference))
    return str(path.absolute()) if path.is_dir() or path.is_file() else reference


def to_request(job: Job) -> dict[str, Any]:
    """The content of job.json."""
    return {name: value for name, value in asdict(job).items() if name != "folder"} | {"kind": job_kind(job.config)}


def create_job(warehouse: Warehouse, job_id: str, request: dict[str, Any]) -> Job:
    """Create a job folder with its request, unless it exists."""
    folder = warehouse.jobs / job_id
    if not folder.exists():
        beside = warehouse.jobs / f".{job_id}"
        make_folder(beside)
        write_json(beside / "job.json", request)
        os.replace(beside, folder)  # no other process sees a job without its request
    job = read_job(folder)
    if job is None:
        raise ResourceError("The request in {folder} cannot be read.", folder=folder)
    return job


def same_request(one: JobConfig, other: JobConfig) -> bool:
    """Whether both ask for the same numbers; device and memory may differ."""
    return replace(one, device="", memory_budget=None) == replace(other, device="", memory_budget=None)


def read_job(folder: Path) -> Job | None:
    """None for a folder without a readable request."""
    found = read_json(folder / "job.json")
    if not found:
        return None
    try:
        config = job_config(found.pop("kind", "measure"), found.pop("config"))
        found.pop("control_ids", None)  # jobs of an earlier version listed them
        return Job(folder, config, **found)
    except (TypeError, KeyError):  # of another version
        return None


def list_jobs(warehouse: Warehouse) -> list[JobStatus]:
    """Every job that was not removed, oldest first."""
    found = [job_status(job) for job in map(read_job, job_folders(warehouse)) if job]
    return [one for one in found if one.state != "cancelled"]  # a job may be removed meanwhile


def job_folders(warehouse: Warehouse) -> list[Path]:
    return [folder for folder in folders_in(warehouse.jobs) if not folder.name.startswith(".")]


def find_job(warehouse: Warehouse, start: str) -> JobStatus:
    """The job whose id begins with `start`. Raises InputError if none or several do."""
    found = [standing for standing in list_jobs(warehouse) if standing.job.job_id.startswith(start)]
    if len(found) != 1:
        raise InputError(
            "{n_found} jobs begin with '{start}'. `workdim jobs` lists them.", n_found=len(found), start=start
        )
    return found[0]


def job_status(job: Job) -> JobStatus:
    progress_record = read_json(job.folder / "progress.json") or {}
    worker = read_json(job.folder / "worker.json") or {}
    progress = (
        Progress(progress_record["phase"], progress_record["done"], progress_record["total"])
        if "phase" in progress_record
        else None
    )
    error = read_json(job.folder / "error.json") or {}
    result = read_json(job.folder / "finished.json") or {}
    is_cancelled = (job.folder / CANCEL_FILE).exists() and not is_locked(job.folder)
    if is_cancelled or not job.folder.exists():
        state = "cancelled"
    elif result:
        state = "finished"
    elif is_locked(job.folder):
        state = "queued" if progress is None or progress.phase == "queued" else "running"
    elif _is_starting(worker) or (not worker and _waits_for_pilot(job)):
        state = "queued"
    else:
        state = "failed" if error else "interrupted"
    return JobStatus(
        job,
        state,
        progress,
        errors.from_record(error.get("told", error.get("reason", ""))),
        error.get("exit_code", 0),
        result,
        progress_record,
        worker,
    )


def pilot_folder(jobs: Path, pilot_id: str) -> Path:
    """A folder that does not exist: its lock is held while the pilot is running."""
    return jobs / f".pilot-{pilot_id}"


def _waits_for_pilot(job: Job) -> bool:
    return bool(job.pilot_id) and is_locked(pilot_folder(job.folder.parent, str(job.pilot_id)))


def _is_starting(worker: dict[str, Any]) -> bool:
    """Whether the process was started a moment ago and does not hold its lock yet."""
    if worker.get("holds") or abs(time.time() - worker.get("at", 0)) > START_TIMEOUT:
        return False
    process = find_process(worker)
    with suppress(psutil.Error):
        return process is not None and process.status() != psutil.STATUS_ZOMBIE
    return False


@contextmanager
def hold_job(job: Job, engine: str = "local") -> Iterator[None]:
    """Hold the job as its only process. Raises InputError if another process runs it."""
    lock = FileLock(lock_path(job.folder))
    try:
        lock.acquire(timeout=2)  # `is_locked` of another process holds it for a moment
    except Timeout as error:
        raise InputError("The job {job} is at work in another process already.", job=job.job_id) from error
    try:
        write_json(job.folder / "worker.json", worker_record(os.getpid()) | {"holds": True, "engine": engine})
        (job.folder / "error.json").unlink(missing_ok=True)
        yield
    finally:
        release_lock(lock)


def remove_job(job: Job) -> None:
    """Remove the job's folder, by a rename first."""
    gone = job.folder.with_name(f".gone-{job.job_id}")
    with suppress(OSError):
        os.replace(job.folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
    shutil.rmtree(job.folder, ignore_errors=True)


def record_failure(job: Job, error: Exception) -> None:
    """Record why the job failed, if that can be written."""
    reason, code = str(error), getattr(error, "exit_code", 1)
    if not isinstance(error, WorkdimError):
        reason = Sentence("A failure of Workdim's own, {kind}: {text}", kind=type(error).__name__, text=str(error))
    with suppress(ResourceError):
        record = {"reason": reason, "told": errors.to_record(reason), "exit_code": code, "at": time.time()}
        write_json(job.folder / "error.json", record)


def finish_job(job: Job, result: dict[str, Any]) -> None:
    """Record the result and remove everything but the small files."""
    write_json(job.folder / "finished.json", result)
    for folder in folders_in(job.folder):
        shutil.rmtree(folder, ignore_errors=True)


def new_run_id() -> str:
    """A UUID version 7: ids that sort by time keep the rows of one run together in the warehouse."""
    return _uuid7(time.time(), secrets.randbits(62))


def _uuid7(at: float, bits: int) -> str:
    """Of a time and 62 bits (RFC 9562, 6.2, method 3: the 12 bits after the version are fractions of a millisecond).

    Jobs take their turn in the order of their ids, and two are easily submitted within one millisecond.
    """
    ticks = int(at * 1000 * 4096)
    return str(uuid.UUID(int=ticks >> 12 << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64 | 0x2 << 62 | bits & (1 << 62) - 1))


def read_json(path: Path) -> dict[str, Any] | None:
    """None if the file is missing or invalid."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file atomically. Raises ResourceError."""
    beside = path.with_name(path.name + ".new")
    try:
        beside.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise ResourceError("{path} cannot be written: {reason}.", path=path, reason=error.strerror or error) from error


_WRITE_INTERVAL = 0.2
"""Seconds between two writes of the same phase."""
PRIOR_WEIGHT = 0.2
"""Weight of the expected time against the elapsed time, as a share of the whole."""


class ProgressReporter:
    """Passes progress on and writes it to the job's folder, with the speed of the forward pass and the time left.

    The steps of scoring and planning are tokens: their time left follows from the speed of this process alone.
    """

    def __init__(self, job: Job, progress: ProgressCallback) -> None:
        self._job, self._progress = job, progress
        self._phase, self._phase_started, self._written = "", 0.0, 0.0
        self._done_before = 0
        self._started = time.time()
        self._expected: Mapping[str, float] = {}
        self._passed = 0.0
        self._n_tokens = 0
        if isinstance(job.config, RunConfig):
            protocol = find_protocol(job.config.protocol)
            self._n_tokens = protocol.n_sequences * protocol.n_tokens

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Set the expected seconds of each coming phase, in order, counted from now."""
        self._expected, self._started = seconds, time.time()

    def __call__(self, step: Progress) -> None:
        now = time.time()
        is_new = step.phase != self._phase
        if is_new:
            self._passed += self._expected.get(self._phase, 0.0)
            self._phase, self._phase_started, self._done_before = step.phase, now, step.done
            if step.phase != "queued":
                write_log(self._job, step.phase)
        if is_new or now - self._written > _WRITE_INTERVAL or step.done == step.total:
            self._written = now
            with suppress(ResourceError):  # a reader may hold the file, or the disk is full; the work goes on
                write_json(self._job.folder / "progress.json", asdict(step) | self._timing(step, now))
        self._progress(step)

    def _timing(self, step: Progress, now: float) -> dict[str, float]:
        share = step.done / max(step.total, 1)
        timing = {"at": now, "started_at": self._started}
        passed = now - self._phase_started
        if step.phase.endswith("forward") and step.done and passed > 0:
            timing["tokens_per_second"] = self._n_tokens * share / passed
        n_new = step.done - self._done_before
        if step.phase in (SCORING, *PLAN_PHASES) and n_new > 0 and passed > 0:
            left = (step.total - step.done) * passed / n_new
            return timing | {"tokens_per_second": n_new / passed, "share": share, "seconds_left": left}
        total = sum(self._expected.values())
        if step.phase in self._expected and total > 0:
            done = min(total, self._passed + share * self._expected[step.phase])
            # The speed so far, weighted with the expected one while little has been done.
            speed = (now - self._started + PRIOR_WEIGHT * total) / (done + PRIOR_WEIGHT * total)
            timing |= {"share": done / total, "seconds_left": (total - done) * speed}
        return timing


def write_log(job: Job, line: str) -> None:
    """Append a line with its time; a Sentence with its template and parts, so that it can be translated later."""
    text = line
    if isinstance(line, Sentence):  # on one line, also where a part quotes several
        text = f"{' '.join(line.splitlines())}\t{json.dumps(errors.to_record(line))}"
    with suppress(OSError), job.log.open("a", encoding="utf-8") as stream:
        stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")


def _parse_log_line(line: str) -> str:
    said, tab, parts = line.partition("\t{")
    with suppress(ValueError):
        if tab and isinstance(sentence := errors.from_record(json.loads("{" + parts)), Sentence):
            return Sentence("{at}  {line}", at=said[:19], line=sentence)
    return line


@contextmanager
def log_warnings(job: Job) -> Iterator[None]:
    """Copy warnings into the job's log, but not twice if standard error is that file."""

    class IntoLog(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            write_log(job, record.msg if isinstance(record.msg, Sentence) else record.getMessage())

    handler, logger = IntoLog(), logging.getLogger("workdim")
    propagates = logger.propagate
    logger.addHandler(handler)
    with suppress(OSError):
        logger.propagate = propagates and not os.path.samestat(os.fstat(2), job.log.stat())
    try:
        yield
    finally:
        logger.propagate = propagates
        logger.removeHandler(handler)
