"""Jobs as processes of this machine, which outlive the process that started them; and what each reports into its folder.

They run one at a time in the order of their ids, which is that of submission; `WORKDIM_JOBS_AT_ONCE` raises the number.
A turn is a file lock, which is released when its process dies. A job reports its progress, with the time left, and its log.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import psutil

from core import errors
from core.errors import InputError, ResourceError, Sentence
from core.files import (
    PROJECT,
    is_locked,
    lock_path,
    make_folder,
    max_parallel_jobs,
    python_path,
    refuse_where_read_only,
    try_lock,
    write_json,
)
from core.records import SCORING, Progress, ProgressCallback, RunConfig
from core.registry.protocols import find_protocol
from core.runs.jobs import (
    CANCEL_FILE,
    CHECKPOINT_PREFIX,
    Job,
    JobStatus,
    find_process,
    job_status,
    list_jobs,
    remove_job,
    worker_record,
)
from core.warehouse.warehouse import Warehouse

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


def run_jobs(
    jobs: Sequence[Job], warehouse: Warehouse, at_once: int, on_status: Callable[[JobStatus], None]
) -> Iterator[JobStatus]:
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
                ended = process.poll() is not None
                status = job_status(job)
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
    if status.state in ("queued", "running"):
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
