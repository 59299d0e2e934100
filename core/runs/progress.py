"""What a running job reports into its folder: progress with the time left, and the log."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict

from core import errors
from core.errors import ResourceError, Sentence
from core.files import write_json
from core.records import PLAN_PHASES, SCORING, Progress, ProgressCallback, RunConfig
from core.registry.protocols import find_protocol
from core.runs.jobs import Job

LOG_TAIL_BYTES = 65_536
WRITE_INTERVAL = 0.2
"""Seconds between two writes of progress within a phase."""
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
                write_json(self._job.folder / "progress.json", asdict(step) | self._timing(step, now))
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
