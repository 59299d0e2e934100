"""Where a job stands, for whoever looks from outside: its progress file, replaced every moment, and its log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict

from core.errors import ResourceError
from core.records import Progress, ProgressCallback
from core.registry.protocols import find_protocol
from core.runs.jobs import Job, write_json

_EVERY = 0.2
"""Seconds between two writes of the same phase."""
PRIOR = 0.2
"""How much the expected time counts against the time that has passed, as a share of the whole."""


class Reporter:
    """Passes progress on and leaves it in the job's folder, with the speed of the forward pass and the time left."""

    def __init__(self, job: Job, progress: ProgressCallback) -> None:
        self._job, self._progress = job, progress
        self._phase, self._phase_started, self._written = "", 0.0, 0.0
        self._started = time.time()
        self._expected: Mapping[str, float] = {}
        self._passed = 0.0
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
            self._phase, self._phase_started = step.phase, now
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
        total = sum(self._expected.values())
        if step.phase in self._expected and total > 0:
            done = min(total, self._passed + share * self._expected[step.phase])
            # As fast as until now, and as expected while there is little to go by.
            speed = (now - self._started + PRIOR * total) / (done + PRIOR * total)
            told |= {"share": done / total, "seconds_left": (total - done) * speed}
        return told


def log(job: Job, line: str) -> None:
    with suppress(OSError), job.log.open("a", encoding="utf-8") as stream:
        stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")


@contextmanager
def logged(job: Job) -> Iterator[None]:
    """Warnings go into the job's log, too."""

    class IntoLog(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log(job, record.getMessage())

    handler, logger = IntoLog(), logging.getLogger("workdim")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
