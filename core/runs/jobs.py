"""A job: one measurement with its control passes, one model scored on a task or planned, as a folder that people can read.

    jobs/<job_id>/job.json          what was asked, and the run ids that its passes will have
                  progress.json     where it stands, replaced every moment
                  worker.json       which process works on it, or did
                  error.json        why it failed
                  finished.json     the run, the scores or the plan that came of it
                  log.txt           what it said
                  <run_id>/         a pass that is being written; finished, it becomes a parcel by one rename
                  kept-<run_id>/    what a pass has finished so far: states and layers, answers, steps
    jobs/<job_id>.lock              held by the process that works on it

The job's id is the run id of its text pass. Of a finished job only the small files stay, for a week or until they are
cleared away. Whether a process is alive is told by the lock, which the operating system drops with it however it ends:
process ids and start times, which are used again and move with the clock, are not asked.
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
from core.runs.requests import kind_of, request_of
from core.warehouse.warehouse import Warehouse

SAME_START = 30.0
"""Seconds by which two processes may differ about when a third was started: each takes it from the time at which the
machine was started, which moves with a clock that is being set right."""
LOOK = 0.02
"""Seconds of looking until a lock counts as held."""


def lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def release(lock: FileLock) -> None:
    with suppress(OSError):  # Windows refuses while a waiting process has it open; that one removes it
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process works on the job, told without disturbing it.

    Who else looks at this moment has the lock too, for less than a millisecond: hence more than one look.
    """
    path = lock_of(folder)
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=LOOK, poll_interval=LOOK / 4)
    except Timeout:
        return True
    release(lock)  # the look may have made the file anew, after its owner removed it
    return False


def worker(pid: int) -> dict[str, Any]:
    created = 0.0
    with suppress(psutil.Error):
        created = psutil.Process(pid).create_time()
    return {"pid": pid, "created": created, "host": socket.gethostname(), "at": time.time()}


def process_of(worker: dict[str, Any]) -> psutil.Process | None:
    """The worker's process on this machine; None where it is gone, and its number perhaps another's."""
    with suppress(psutil.Error, KeyError):
        process = psutil.Process(worker["pid"])
        if abs(process.create_time() - worker["created"]) < SAME_START:
            return process
    return None


CANCEL_FILE = "cancel"
"""In a job's folder: it is to end, and nothing of it to stay."""
STARTING = 20.0
"""Seconds after which a process that was started and does not hold its job's lock is taken for dead."""


STATES = {
    "queued": Sentence("queued"),
    "running": Sentence("running"),
    "interrupted": Sentence("interrupted"),
    "failed": Sentence("failed"),
    "finished": Sentence("finished"),
    "cancelled": Sentence("cancelled"),
}
"""What a job's state is called in a sentence."""

Requested = RunConfig | ScoreConfig | PlanConfig
Asked = TypeVar("Asked", RunConfig, ScoreConfig, PlanConfig)


@dataclass(frozen=True)
class Job(Generic[Asked]):
    folder: Path
    config: Asked
    submitted_at: float
    """Seconds since 1970."""
    pilot_id: str | None = None
    again: bool = False
    """Measure even what the warehouse has already."""

    @property
    def job_id(self) -> str:
        return self.folder.name

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def log_tail(self, n_lines: int) -> list[str]:
        """The last lines of the log; none where there is no log. Sentences of ours can be worded by whoever reads them."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(max(0, self.log.stat().st_size - 16_384))
                return list(map(_line_of_log, stream.read().decode("utf-8", "replace").splitlines()[-n_lines:]))
        except OSError:
            return []

    def control_id(self, pass_: str, number: int) -> str:
        """Run id of a control pass: the same whenever the job is taken up again, and as old as the job."""
        digest = hashlib.sha256(f"{self.job_id}/{pass_}/{number}".encode()).digest()
        return _uuid7(self.submitted_at, int.from_bytes(digest[:10], "big"))

    def kept(self, run_id: str) -> Path:
        return self.folder / f"kept-{run_id}"

    def layers_so_far(self) -> list[Estimate]:
        """d2 of each layer of the text that its pass has finished by now, from the embedding on: what it comes to before
        anything is checked or held against controls."""
        found: list[Estimate] = []
        while one := _d2_of_layer(self.kept(self.job_id) / f"layer-{len(found):04d}.json"):
            found.append(one)
        return found


@lru_cache(maxsize=512)
def _d2_of_finished(layer: Path, _changed_at: int) -> Estimate | None:
    for one in (read_json(layer) or {})["estimates"]:
        if (one["estimator"], one["cloud"], one["transform"]) == ("d2", "one_per_type", "centred"):
            return Estimate(**one["estimate"])
    return None


def _d2_of_layer(layer: Path) -> Estimate | None:
    """None where the layer is not finished, or its protocol has no such estimate. A file is written once, and read once."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return _d2_of_finished(layer, layer.stat().st_mtime_ns)
    return None


@dataclass(frozen=True)
class JobStatus:
    """A job as it stands now."""

    job: Job
    state: str
    """`queued`, `running`, `interrupted` (its process is gone; it can go on), `failed` or `finished`; or `cancelled`:
    it is there no more."""
    progress: Progress | None = None
    reason: str = ""
    """Why it failed."""
    exit_code: int = 0
    """Of whoever ran it: 2 where its user can mend the failure."""
    result: dict[str, Any] = field(default_factory=dict)
    """Of a finished measurement: run_id; waits and failed, as in Finished; was_known. Of a scoring: file_sha256, waits
    and was_known, as in Scored. Of a plan: plan_id and waits, as in Planned."""
    told: dict[str, Any] = field(default_factory=dict)
    """All of its progress file: tokens_per_second and seconds_left, where they are known, too."""
    worker: dict[str, Any] = field(default_factory=dict)


def submit(config: Asked, warehouse: Warehouse, pilot_id: str | None = None, again: bool = False) -> Job[Asked]:
    """A job, written down and not yet started: a new one, or the one of the same request that was stopped.

    Raises InputError where the same request waits or is measured at this moment.
    """
    refuse_where_read_only()
    config = _anchored(config)
    for standing in all_jobs(warehouse):
        if standing.state == "finished" or not same_request(standing.job.config, config):
            continue
        own = pilot_id and standing.job.pilot_id == pilot_id and not standing.worker  # the pilot has not come to it yet
        if standing.state in ("queued", "running") and not own:
            text, how = config.what
            raise InputError(
                "{model} on {text} ({how}) is {state} already, as the job {job}. `workdim jobs` shows how far "
                "it is; `jobs cancel` stops it.",
                model=config.model,
                text=text,
                how=how,
                state=STATES[standing.state],
                job=standing.job.job_id,
            )
        job = replace(standing.job, config=config, pilot_id=pilot_id or standing.job.pilot_id, again=again)
        write_json(job.folder / "job.json", as_request(job))
        return job
    job = Job(warehouse.jobs / new_run_id(), config, time.time(), pilot_id, again)
    return write_job(warehouse, job.job_id, as_request(job))


def _anchored(config: Asked) -> Asked:
    """With whole paths: a job's process does not start where its request was made."""
    whole: dict[str, Any] = {"model": _whole(config.model)}
    if isinstance(config, RunConfig):
        whole |= {"corpus": _whole(config.corpus), "companions": tuple(map(_whole, config.companions))}
    elif isinstance(config, ScoreConfig):
        whole |= {"task": _whole(config.task)}
    else:
        whole |= {"corpus": _whole(config.corpus), "task": config.task and _whole(config.task)}
        whole |= {"save_model": config.save_model and str(Path(config.save_model).expanduser().absolute())}
    return replace(config, **whole)


def _whole(reference: str) -> str:
    path = Path(os.path.expanduser(reference))
    return str(path.absolute()) if path.is_dir() or path.is_file() else reference


def as_request(job: Job) -> dict[str, Any]:
    """The content of job.json."""
    return {name: value for name, value in asdict(job).items() if name != "folder"} | {"kind": kind_of(job.config)}


def write_job(warehouse: Warehouse, job_id: str, request: dict[str, Any]) -> Job:
    """A job folder with its request; one that is there is left as it is."""
    folder = warehouse.jobs / job_id
    if not folder.exists():
        beside = warehouse.jobs / f".{job_id}"
        make_folder(beside)
        write_json(beside / "job.json", request)
        os.replace(beside, folder)  # a job without its request is never seen
    job = read_job(folder)
    if job is None:
        raise ResourceError("The request in {folder} cannot be read.", folder=folder)
    return job


def same_request(one: Requested, other: Requested) -> bool:
    """Whether both ask for the same numbers; where and in how much memory they are computed may differ."""
    return replace(one, device="", memory_budget=None) == replace(other, device="", memory_budget=None)


def read_job(folder: Path) -> Job | None:
    """None for a folder that holds no request."""
    found = read_json(folder / "job.json")
    if not found:
        return None
    try:
        config = request_of(found.pop("kind", "measure"), found.pop("config"))
        found.pop("control_ids", None)  # jobs of an earlier version listed them
        return Job(folder, config, **found)
    except (TypeError, KeyError):  # of another version
        return None


def all_jobs(warehouse: Warehouse) -> list[JobStatus]:
    """Every job, the oldest first; of the finished ones those that were not cleared away."""
    found = [stand(job) for job in map(read_job, job_folders(warehouse)) if job]
    return [one for one in found if one.state != "cancelled"]  # one may go while it is looked at


def job_folders(warehouse: Warehouse) -> list[Path]:
    return [folder for folder in folders_in(warehouse.jobs) if not folder.name.startswith(".")]


def find_job(warehouse: Warehouse, start: str) -> JobStatus:
    """The job whose id begins with `start`; raises InputError where that is none or several."""
    found = [standing for standing in all_jobs(warehouse) if standing.job.job_id.startswith(start)]
    if len(found) != 1:
        raise InputError(
            "{n_found} jobs begin with '{start}'. `workdim jobs` lists them.", n_found=len(found), start=start
        )
    return found[0]


def stand(job: Job) -> JobStatus:
    told = read_json(job.folder / "progress.json") or {}
    worker = read_json(job.folder / "worker.json") or {}
    progress = Progress(told["phase"], told["done"], told["total"]) if "phase" in told else None
    error = read_json(job.folder / "error.json") or {}
    result = read_json(job.folder / "finished.json") or {}
    is_called_off = (job.folder / CANCEL_FILE).exists() and not is_held(job.folder)
    if is_called_off or not job.folder.exists():
        state = "cancelled"
    elif result:
        state = "finished"
    elif is_held(job.folder):
        state = "queued" if progress is None or progress.phase == "queued" else "running"
    elif _is_starting(worker) or (not worker and _waits_for_pilot(job)):
        state = "queued"
    else:
        state = "failed" if error else "interrupted"
    return JobStatus(
        job,
        state,
        progress,
        errors.read(error.get("told", error.get("reason", ""))),
        error.get("exit_code", 0),
        result,
        told,
        worker,
    )


def pilot_folder(jobs: Path, pilot_id: str) -> Path:
    """There is no such folder; its lock is held while the pilot is at work."""
    return jobs / f".pilot-{pilot_id}"


def _waits_for_pilot(job: Job) -> bool:
    return bool(job.pilot_id) and is_held(pilot_folder(job.folder.parent, str(job.pilot_id)))


def _is_starting(worker: dict[str, Any]) -> bool:
    """A process that was started a moment ago and has not come to its lock yet."""
    if worker.get("holds") or abs(time.time() - worker.get("at", 0)) > STARTING:
        return False
    process = process_of(worker)
    with suppress(psutil.Error):
        return process is not None and process.status() != psutil.STATUS_ZOMBIE
    return False


@contextmanager
def held(job: Job, engine: str = "local") -> Iterator[None]:
    """Work on the job as its only process; raises InputError where another one does."""
    lock = FileLock(lock_of(job.folder))
    try:
        lock.acquire(timeout=2)  # who only looks whether it is held has it for a moment
    except Timeout as error:
        raise InputError("The job {job} is at work in another process already.", job=job.job_id) from error
    try:
        write_json(job.folder / "worker.json", worker(os.getpid()) | {"holds": True, "engine": engine})
        (job.folder / "error.json").unlink(missing_ok=True)
        yield
    finally:
        release(lock)


def remove(job: Job) -> None:
    """All at once for whoever looks."""
    gone = job.folder.with_name(f".gone-{job.job_id}")
    with suppress(OSError):
        os.replace(job.folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
    shutil.rmtree(job.folder, ignore_errors=True)


def fail(job: Job, error: Exception) -> None:
    """Write down why the job has failed, as well as that can be."""
    reason, code = str(error), getattr(error, "exit_code", 1)
    if not isinstance(error, WorkdimError):
        reason = Sentence("A failure of Workdim's own, {kind}: {text}", kind=type(error).__name__, text=str(error))
    with suppress(ResourceError):
        told = {"reason": reason, "told": errors.recorded(reason), "exit_code": code, "at": time.time()}
        write_json(job.folder / "error.json", told)


def finish(job: Job, result: dict[str, Any]) -> None:
    """Leave nothing of the job but what it was and which run came of it."""
    write_json(job.folder / "finished.json", result)
    for folder in folders_in(job.folder):
        shutil.rmtree(folder, ignore_errors=True)


def new_run_id() -> str:
    """A UUID version 7: ids that sort by time keep the rows of one run together in the warehouse."""
    return _uuid7(time.time(), secrets.randbits(80))


def _uuid7(at: float, bits: int) -> str:
    value = (int(at * 1000) << 80) | bits
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62))


def read_json(path: Path) -> dict[str, Any] | None:
    """None where the file is missing, or was never finished."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Beside, then replaced: a reader never sees half of it."""
    beside = path.with_name(path.name + ".new")
    try:
        beside.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise ResourceError("{path} cannot be written: {reason}.", path=path, reason=error.strerror or error) from error


_EVERY = 0.2
"""Seconds between two writes of the same phase."""
PRIOR = 0.2
"""How much the expected time counts against the time that has passed, as a share of the whole."""


class Reporter:
    """Passes progress on and leaves it in the job's folder, with the speed of the forward pass and the time left.

    The steps of scoring and planning are tokens: their time left follows from their pace alone, what an earlier process did left out.
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
        """What each phase that is to come will take, in their order, from now on."""
        self._expected, self._started = seconds, time.time()

    def __call__(self, step: Progress) -> None:
        now = time.time()
        is_new = step.phase != self._phase
        if is_new:
            self._passed += self._expected.get(self._phase, 0.0)
            self._phase, self._phase_started, self._done_before = step.phase, now, step.done
            if step.phase != "queued":
                log(self._job, step.phase)
        if is_new or now - self._written > _EVERY or step.done == step.total:
            self._written = now
            with suppress(ResourceError):  # a reader may hold the file, or the disk be full for it; the work goes on
                write_json(self._job.folder / "progress.json", asdict(step) | self._times(step, now))
        self._progress(step)

    def _times(self, step: Progress, now: float) -> dict[str, float]:
        share = step.done / max(step.total, 1)
        told = {"at": now, "started_at": self._started}
        passed = now - self._phase_started
        if step.phase.endswith("forward") and step.done and passed > 0:
            told["tokens_per_second"] = self._n_tokens * share / passed
        fresh = step.done - self._done_before
        if step.phase in (SCORING, *PLAN_PHASES) and fresh > 0 and passed > 0:
            left = (step.total - step.done) * passed / fresh
            return told | {"tokens_per_second": fresh / passed, "share": share, "seconds_left": left}
        total = sum(self._expected.values())
        if step.phase in self._expected and total > 0:
            done = min(total, self._passed + share * self._expected[step.phase])
            # As fast as until now, and as expected while there is little to go by.
            speed = (now - self._started + PRIOR * total) / (done + PRIOR * total)
            told |= {"share": done / total, "seconds_left": (total - done) * speed}
        return told


def log(job: Job, line: str) -> None:
    """Adds a line with its time. Behind a sentence of ours stands what it is made of, so that it can be worded anew."""
    parts = f"\t{json.dumps(errors.recorded(line))}" if isinstance(line, Sentence) else ""
    with suppress(OSError), job.log.open("a", encoding="utf-8") as stream:
        stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}{parts}\n")


def _line_of_log(line: str) -> str:
    said, tab, parts = line.partition("\t{")
    with suppress(ValueError):
        if tab and isinstance(sentence := errors.read(json.loads("{" + parts)), Sentence):
            return Sentence("{at}  {line}", at=said[:19], line=sentence)
    return line


@contextmanager
def logged(job: Job) -> Iterator[None]:
    """Warnings go into the job's log, too; and not twice, where standard error is that file."""

    class IntoLog(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log(job, record.msg if isinstance(record.msg, Sentence) else record.getMessage())

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
