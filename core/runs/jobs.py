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
removed. The lock tells whether a process is alive: process ids are reused, and start times move with the clock.

Jobs are processes of this machine, which outlive the process that started them. They run one at a time in the order of
their ids, which is that of submission; `WORKDIM_JOBS_AT_ONCE` raises the number. A turn is a file lock, which is released
when its process dies. A job reports its progress, with the time left, and its log.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

import psutil

from core import errors
from core.errors import InputError, ResourceError, Sentence, WorkdimError
from core.files import (
    PROJECT,
    folders_in,
    is_locked,
    lock_path,
    make_folder,
    max_parallel_jobs,
    python_path,
    read_json_or_none,
    refuse_where_read_only,
    try_lock,
    write_json,
)
from core.ids import only_id
from core.records import (
    PLACES,
    SCORING,
    TEXT_FILES,
    Estimate,
    PlanConfig,
    Progress,
    ProgressCallback,
    RunConfig,
    ScoreConfig,
    from_json,
)
from core.registry.protocols import find_protocol
from core.warehouse.warehouse import Warehouse

JobConfig = RunConfig | ScoreConfig | PlanConfig
KINDS: dict[str, type[JobConfig]] = {"measure": RunConfig, "score": ScoreConfig, "plan": PlanConfig}
"""Kind of a job -> the class of its request."""
CANCEL_FILE = "cancel"
"""In a job's folder: the job is to be stopped and removed."""
ERROR_FILE = "error.json"
LAYER_PREFIX = "step-layer-"
"""Of the file of a finished layer in the folder of a pass (core/measure/profile.py)."""
CHECKPOINT_PREFIX = "kept-"
GONE_PREFIX = ".gone-"
"""Of the folder of a job that is being removed."""
START_TIMEOUT = 20.0
"""Seconds after which a started process that does not hold its job's lock counts as dead."""
START_TOLERANCE = 30.0
"""Seconds by which two processes may disagree on the start time of a third: it is derived from the boot time, which moves
when the clock is corrected."""
STATES = {
    str(state): state
    for state in (
        Sentence("queued"),
        Sentence("running"),
        Sentence("interrupted"),
        Sentence("failed"),
        Sentence("finished"),
        Sentence("cancelled"),
    )
}
"""State of a job -> its name in a sentence."""
ConfigT = TypeVar("ConfigT", RunConfig, ScoreConfig, PlanConfig)


@dataclass(frozen=True)
class Job(Generic[ConfigT]):
    """A submitted request and its folder."""

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

    def control_id(self, pass_: str) -> str:
        """Run id of a control pass: the same whenever the job is resumed, with the millisecond of submission; the fractions of
        it are drawn, so that controls of a job differ in the beginnings that people type (`SHORT_ID`)."""
        drawn = int(hashlib.sha256(f"{self.job_id}/{pass_}".encode()).hexdigest(), 16)
        return _uuid7(int(self.submitted_at * 1000) << 12 | drawn & 0xFFF, drawn)

    def checkpoint_folder(self, run_id: str) -> Path:
        return self.folder / f"{CHECKPOINT_PREFIX}{run_id}"

    def finished_layers(self) -> dict[int, Estimate]:
        """d2 of each finished layer of the text pass, before any checks and controls. Layers that are measured side by side
        leave gaps; a layer that is being written, or whose protocol has no such estimate, is none."""
        found = {}
        for file in sorted(self.checkpoint_folder(self.job_id).glob(f"{LAYER_PREFIX}*.json")):
            with suppress(OSError, ValueError, KeyError, TypeError):  # gone since, or of another version
                if d2 := _read_d2(file, file.stat().st_mtime_ns):
                    found[int(file.stem.removeprefix(LAYER_PREFIX))] = d2
        return found


@lru_cache(maxsize=512)  # a layer's file has megabytes, and a page that shows a job looks every second
def _read_d2(layer_file: Path, _modified_ns: int) -> Estimate | None:
    for record in (read_json_or_none(layer_file) or {})["fields"]["estimates"]:
        found = record["fields"]
        if (found["estimator"], found["cloud"], found["transform"]) == ("d2", "one_per_type", "centred"):
            return Estimate(**found["estimate"]["fields"])
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
    """Of a finished job: what `run_submitted` returned."""
    progress_record: dict[str, Any] = field(default_factory=dict)
    """The whole progress file, with tokens_per_second and seconds_left if known."""
    worker: dict[str, Any] = field(default_factory=dict)
    """The process that runs it, or did: pid, created, host, at, holds, engine."""

    @property
    def is_active(self) -> bool:
        """Whether it is at work, or waits for its turn."""
        return self.state in ("queued", "running")


StatusCallback = Callable[[JobStatus], None]


def submit(config: ConfigT, warehouse: Warehouse, pilot_id: str | None = None, again: bool = False) -> Job[ConfigT]:
    """Create a job, to be started later, or reuse the stopped job of the same request.

    Raises InputError if the same request is queued or running.
    """
    refuse_where_read_only()
    config = _with_absolute_paths(config)
    for status in list_jobs(warehouse):
        if status.state == "finished" or not same_request(status.job.config, config):
            continue
        # A pilot that is run again submits its jobs again, also those that it has not started yet.
        waits_for_this_pilot = pilot_id and status.job.pilot_id == pilot_id and not status.worker
        if status.is_active and not waits_for_this_pilot:
            text, how = config.what
            raise InputError(
                "{model} on {text} ({how}) is {state} already as job {job}: see `workdim jobs`.",
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
    """The request with absolute paths: a job's process has another working folder. A text that is no file of texts is a built-in
    one, whatever else has its name here."""
    paths: dict[str, Any] = {}
    for name in PLACES:
        value = getattr(config, name, None)
        if isinstance(value, tuple):
            paths[name] = tuple(map(_absolute, value))
        elif value and (name != "corpus" or Path(value).suffix.lower() in TEXT_FILES):
            paths[name] = _absolute(value, is_path=name == "save_model")
    return replace(config, **paths)


def _absolute(reference: str, is_path: bool = False) -> str:
    path = Path(os.path.expanduser(reference))
    return str(path.absolute()) if is_path or path.is_dir() or path.is_file() else reference


def to_request(job: Job) -> dict[str, Any]:
    """The content of job.json."""
    (kind,) = (kind for kind, config_class in KINDS.items() if isinstance(job.config, config_class))
    return {name: value for name, value in asdict(job).items() if name != "folder"} | {"kind": kind}


def create_job(warehouse: Warehouse, job_id: str, request: dict[str, Any]) -> Job:
    """Create a job folder with its request, unless it exists."""
    folder = warehouse.jobs / job_id
    if not folder.exists():
        temporary = warehouse.jobs / f".{job_id}"
        make_folder(temporary)
        try:
            write_json(temporary / "job.json", request)
            os.replace(temporary, folder)  # no other process sees a job without its request
        except (OSError, ResourceError):
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    job = read_job(folder)
    if job is None:
        raise ResourceError("The request in {folder} cannot be read.", folder=folder)
    return job


def same_request(a: JobConfig, b: JobConfig) -> bool:
    """Whether both ask for the same numbers; device and memory may differ."""
    return replace(a, device="", memory_budget=None) == replace(b, device="", memory_budget=None)


def read_job(folder: Path) -> Job | None:
    """The job of a folder; None if it has no request that this version can read."""
    request = read_json_or_none(folder / "job.json")
    if not request:
        return None
    try:
        config = from_json(KINDS[request.pop("kind")], request.pop("config"))
        return Job(folder, config, **request)
    except (TypeError, KeyError):  # of another version
        return None


def list_jobs(warehouse: Warehouse) -> list[JobStatus]:
    """Every job that was not removed, oldest first."""
    statuses = [job_status(job) for job in map(read_job, job_folders(warehouse)) if job]
    return [status for status in statuses if status.state != "cancelled"]  # a job may be removed meanwhile


def job_folders(warehouse: Warehouse) -> list[Path]:
    """The folders of all jobs, oldest first."""
    return [folder for folder in folders_in(warehouse.jobs) if not folder.name.startswith(".")]


def find_job(warehouse: Warehouse, start: str) -> JobStatus:
    """The job whose id begins or ends with `start`. Raises InputError if none or several do."""
    by_id = {status.job.job_id: status for status in list_jobs(warehouse)}
    return by_id[only_id(by_id, start, "job", "jobs")]


def job_status(job: Job) -> JobStatus:
    """The present status of a job, from its files and its lock."""
    progress_record = read_json_or_none(job.folder / "progress.json") or {}
    worker = read_json_or_none(job.folder / "worker.json") or {}
    progress = (
        Progress(progress_record["phase"], progress_record["done"], progress_record["total"])
        if "phase" in progress_record
        else None
    )
    error = read_json_or_none(job.folder / ERROR_FILE) or {}
    result = errors.from_record(read_json_or_none(job.folder / "finished.json") or {})
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
        errors.from_record(error.get("told", "")),
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


def worker_record(pid: int) -> dict[str, Any]:
    """The content of worker.json for a process of this machine."""
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


@contextmanager
def hold_job(job: Job, engine: str = "local") -> Iterator[None]:
    """Hold the job as its only process. Raises InputError if another process runs it."""
    with try_lock(lock_path(job.folder), timeout=2) as is_held:  # `is_locked` elsewhere holds it for a moment
        if not is_held:
            raise InputError("The job {job} is at work in another process already.", job=job.job_id)
        write_json(job.folder / "worker.json", worker_record(os.getpid()) | {"holds": True, "engine": engine})
        (job.folder / ERROR_FILE).unlink(missing_ok=True)
        yield


def remove_job(job: Job) -> None:
    """Remove the job's folder, by a rename first, so that no other process finds half of it."""
    renamed = job.folder.with_name(f"{GONE_PREFIX}{job.job_id}")
    with suppress(OSError):
        os.replace(job.folder, renamed)
    shutil.rmtree(renamed, ignore_errors=True)
    shutil.rmtree(job.folder, ignore_errors=True)


def record_failure(job: Job, error: Exception) -> None:
    """Record why the job failed, if that can be written."""
    reason, exit_code = str(error), getattr(error, "exit_code", 1)
    if not isinstance(error, WorkdimError):
        reason = Sentence("A failure of Workdim's own, {kind}: {text}", kind=type(error).__name__, text=str(error))
    record = {"told": errors.to_record(reason), "exit_code": exit_code}
    with suppress(ResourceError):
        write_json(job.folder / ERROR_FILE, record)


def finish_job(job: Job, result: dict[str, Any]) -> None:
    """Record the result and remove everything but the small files."""
    write_json(job.folder / "finished.json", errors.to_record(result))
    for folder in folders_in(job.folder):
        shutil.rmtree(folder, ignore_errors=True)


def new_run_id() -> str:
    """A UUID version 7: ids that sort by time keep the rows of one run together in the warehouse."""
    return _uuid7(int(time.time() * 4096000), secrets.randbits(62))


def _uuid7(ticks: int, bits: int) -> str:
    """UUID version 7 of a time since 1970, in 1/4096 ms (12 bits after the version are these fractions), and 62 bits.

    Jobs take their turn in the order of their ids, and two are easily submitted within one millisecond. RFC 9562, 6.2,
    method 3.
    """
    return str(uuid.UUID(int=ticks >> 12 << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64 | 0x2 << 62 | bits & (1 << 62) - 1))


# --- processes of this machine ---------------------------------------------------------------------------------------

COMMAND = (sys.executable, "-m", "core")
POLL_INTERVAL = 0.2
TURN_POLL_INTERVAL = 0.3
TERMINATE_SECONDS = 0.8
"""Seconds for a process to terminate before it is killed: cancelling takes two seconds at most."""
CANCEL_TIMEOUT = 30.0
"""Seconds for the process that submitted a job to a cluster to notice that it is cancelled."""


def start_job(job: Job, warehouse: Warehouse) -> subprocess.Popen[bytes]:
    """Start the job's process, which waits for its turn; its output goes into the job's log."""
    refuse_where_read_only()
    with job.log.open("ab") as log:
        process = _start_process(warehouse, log, "jobs", "resume", job.job_id, "--here")
    if not is_locked(job.folder):  # it may have been quick
        write_json(job.folder / "worker.json", worker_record(process.pid))
    return process


def start_verb(warehouse: Warehouse, log_file: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Run a verb of the command line in a process that outlives this one; its output replaces the log file."""
    refuse_where_read_only()
    make_folder(log_file.parent)
    with log_file.open("wb") as log:
        return _start_process(warehouse, log, *arguments)


def _start_process(warehouse: Warehouse, log: BinaryIO, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=PROJECT,
        env=environment(warehouse),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def environment(warehouse: Warehouse) -> dict[str, str]:
    """Environment variables of a process that runs a verb on this warehouse, in whatever folder."""
    own = {"WORKDIM_WAREHOUSE": str(warehouse.path), "PYTHONPATH": python_path(), "PYTHONUTF8": "1"}
    return waiting_policy() | os.environ | own


def waiting_policy() -> dict[str, str]:
    """How long OpenMP threads spin for each other before they sleep; empty if the user has set it.

    The default, some 300,000 turns, burns cores that other processes need. In two runs of `tests/bench/waiting.py`, 1,000
    turns took 0.98 and 1.03 times as long as the default on a calm machine; beside busy processes 1.45 and 1.62 times the
    calm time, against 1.48 and 1.99 for the default. Sleeping at once costs 16 percent when calm; 10,000 turns gain nothing.
    """
    is_set = any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"))
    return {} if is_set else {"GOMP_SPINCOUNT": "1000"}


def run_jobs(jobs: Sequence[Job], warehouse: Warehouse, at_once: int, on_status: StatusCallback) -> Iterator[JobStatus]:
    """Start the jobs in order, `at_once` at a time, and yield each as it ends.

    `on_status` is called with the status of each several times a second. Closing the iterator (Ctrl-C) cancels running
    jobs.
    """
    waiting, running = list(jobs), dict[str, tuple[Job, subprocess.Popen[bytes]]]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                if not job.folder.exists():  # cancelled before its start
                    yield job_status(job)
                    continue
                running[job.job_id] = job, start_job(job, warehouse)
            time.sleep(POLL_INTERVAL)
            for job, process in list(running.values()):
                ended, status = process.poll() is not None, job_status(job)
                if not ended:
                    on_status(status)
                    continue
                del running[job.job_id]
                yield status
    finally:
        for job, _ in running.values():
            cancel_job(job)
        for job in waiting:  # jobs without a checkpoint are removed; what an earlier process has finished stays
            if not any(job.folder.glob(f"{CHECKPOINT_PREFIX}*")):
                remove_job(job)


def cancel_job(job: Job) -> None:
    """Stop the job and remove it with its checkpoints.

    Raises InputError if its process is on another machine, ResourceError if it cannot be called back from a cluster.
    """
    refuse_where_read_only()
    status = job_status(job)
    if status.is_active:
        host = status.worker.get("host")
        if host not in (None, socket.gethostname()):
            raise InputError(
                "The job {job} is at work on the machine {host}: cancel it there.", job=job.job_id, host=host
            )
        with suppress(OSError):  # so that whoever waits for its process sees why it ended
            (job.folder / CANCEL_FILE).touch()
        if status.worker.get("engine") == "ray":
            _wait_for_cancel(job)
        else:
            _stop_process(status)
    remove_job(job)
    with suppress(OSError):
        lock_path(job.folder).unlink(missing_ok=True)


def _wait_for_cancel(job: Job) -> None:
    """Wait until the process that submitted the job to a cluster has removed it, usually in less than two seconds.

    Raises ResourceError if it does not respond.
    """
    deadline = time.monotonic() + CANCEL_TIMEOUT
    while job.folder.exists() and is_locked(job.folder):
        if time.monotonic() > deadline:
            raise ResourceError(
                "The process that sent job {job} to a cluster does not answer. Stop it.", job=job.job_id
            )
        time.sleep(POLL_INTERVAL / 2)


def _stop_process(status: JobStatus) -> None:
    """Terminate the job's process and its children; kill those that do not end in time."""
    process = find_process(status.worker)
    if process is None:  # not started yet, or just gone
        return
    with suppress(psutil.Error):
        tree = [*process.children(recursive=True), process]
        for member in tree:
            with suppress(psutil.Error):
                member.terminate()
        _, alive = psutil.wait_procs(tree, timeout=TERMINATE_SECONDS)
        for member in alive:
            with suppress(psutil.Error):
                member.kill()
        psutil.wait_procs(alive, timeout=TERMINATE_SECONDS)


@contextmanager
def wait_for_turn(job: Job, warehouse: Warehouse, on_wait: Callable[[int], None]) -> Iterator[None]:
    """Wait until the job may start; `on_wait` is called repeatedly with the number of jobs before it."""
    slots = [warehouse.jobs / f".turn-{number}.lock" for number in range(max_parallel_jobs())]
    while True:
        n_before = _count_jobs_before(job, warehouse)
        with ExitStack() as held:
            if not n_before and any(held.enter_context(try_lock(slot)) for slot in slots):
                yield
                return
        on_wait(max(n_before, 1))
        time.sleep(TURN_POLL_INTERVAL)


def _count_jobs_before(job: Job, warehouse: Warehouse) -> int:
    """Number of older jobs that wait for a turn, without those that a pilot has not started and those on a cluster."""
    waiting = (s for s in list_jobs(warehouse) if s.state == "queued" and s.worker.get("engine", "local") == "local")
    return sum(bool(s.worker) and s.job.job_id < job.job_id for s in waiting)


# --- what a running job reports ----------------------------------------------------------------------------------------


LOG_TAIL_BYTES = 65_536
WRITE_INTERVAL = 0.2
"""Seconds between two writes of progress within a phase."""
PLAN_PHASES = ("choose", "verify", "heal", "save", "directions")
"""Phases of a plan. Their steps are tokens through the whole network, counted over all phases."""
PRIOR_WEIGHT = 0.2
"""Weight of the expected time against the elapsed time, as a share of the whole."""


class ProgressReporter:
    """Passes progress on and writes it to the job's folder, with the speed of the forward pass and the time left.

    The steps of scoring and planning are tokens: their time left follows from the speed of this process alone.
    """

    def __init__(self, job: Job, progress: ProgressCallback) -> None:
        self._job, self._progress = job, progress
        self._phase, self._phase_started, self._written = "", 0.0, 0.0
        self._done_at_phase_start = 0
        self._started = time.time()
        self._expected: Mapping[str, float] = {}
        self._expected_so_far = 0.0
        """Expected seconds of the phases that have ended."""
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
            self._expected_so_far += self._expected.get(self._phase, 0.0)
            self._phase, self._phase_started, self._done_at_phase_start = step.phase, now, step.done
            if step.phase != "queued":
                write_log(self._job, step.phase)
        if is_new or now - self._written > WRITE_INTERVAL or step.done == step.total:
            self._written = now
            with suppress(ResourceError):  # a reader may hold the file, or the disk is full; the work goes on
                write_json(self._job.folder / "progress.json", asdict(step) | self._timing(step, now), is_synced=False)
        self._progress(step)

    def _timing(self, step: Progress, now: float) -> dict[str, float]:
        """Speed, share of the whole and seconds left, as far as they are known."""
        share = step.done / max(step.total, 1)
        timing = {"at": now, "started_at": self._started}
        elapsed = now - self._phase_started
        if step.phase.endswith("forward") and step.done and elapsed > 0:
            timing["tokens_per_second"] = self._n_tokens * share / elapsed
        n_new = step.done - self._done_at_phase_start
        if step.phase in (SCORING, *PLAN_PHASES) and n_new > 0 and elapsed > 0:
            seconds_left = (step.total - step.done) * elapsed / n_new
            return timing | {"tokens_per_second": n_new / elapsed, "share": share, "seconds_left": seconds_left}
        total = sum(self._expected.values())
        if step.phase in self._expected and total > 0:
            done = min(total, self._expected_so_far + share * self._expected[step.phase])
            # Elapsed over expected time, drawn towards 1 while little has been done.
            ratio = (now - self._started + PRIOR_WEIGHT * total) / (done + PRIOR_WEIGHT * total)
            timing |= {"share": done / total, "seconds_left": (total - done) * ratio}
        return timing


def write_log(job: Job, line: str) -> None:
    """Append a line with its time; a Sentence with its template and parts, so that it can be translated later."""
    text = line
    if isinstance(line, Sentence):  # on one line, also where a part quotes several
        text = f"{' '.join(line.splitlines())}\t{json.dumps(errors.to_record(line))}"
    with suppress(OSError), job.log.open("a", encoding="utf-8") as stream:
        stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}\n")


def read_log(job: Job, n_lines: int) -> list[str]:
    """The last lines of the log, empty if there is none; messages of Workdim as Sentences, to be translated."""
    try:
        with job.log.open("rb") as stream:
            stream.seek(max(0, job.log.stat().st_size - LOG_TAIL_BYTES))
            return list(map(_parse_log_line, stream.read().decode("utf-8", "replace").splitlines()[-n_lines:]))
    except OSError:
        return []


def _parse_log_line(line: str) -> str:
    text, separator, record = line.partition("\t{")
    with suppress(ValueError):
        if separator and isinstance(sentence := errors.from_record(json.loads("{" + record)), Sentence):
            return Sentence("{at}  {line}", at=text[:19], line=sentence)
    return line


@contextmanager
def log_warnings(job: Job) -> Iterator[None]:
    """Copy warnings into the job's log, but not twice if standard error is that file."""

    class JobLogHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            write_log(job, record.msg if isinstance(record.msg, Sentence) else record.getMessage())

    handler, logger = JobLogHandler(), logging.getLogger("workdim")
    propagates = logger.propagate
    logger.addHandler(handler)
    with suppress(OSError):
        logger.propagate = propagates and not os.path.samestat(os.fstat(2), job.log.stat())
    try:
        yield
    finally:
        logger.propagate = propagates
        logger.removeHandler(handler)
