"""Where a job stands, for whoever looks from outside: its progress file, replaced every moment, and its log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict

from core.errors import ResourceError
from core.measure.protocol import find_protocol
from core.records import Progress, ProgressCallback
from core.runs.jobs import Job, write_json

_EVERY = 0.2
"""Seconds between two writes of the same phase."""


class Reporter:
    """Passes progress on and leaves it in the job's folder, with the speed of the forward pass and the time left."""

    def __init__(self, job: Job, progress: ProgressCallback) -> None:
        self._job, self._progress = job, progress
        self._phase, self._phase_started, self._written = "", 0.0, 0.0
        self._started = time.time()
        protocol = find_protocol(job.config.protocol)
        self._n_tokens = protocol.n_sequences * protocol.n_tokens

    def __call__(self, step: Progress) -> None:
        now = time.time()
        is_new = step.phase != self._phase
        if is_new:
            self._phase, self._phase_started = step.phase, now
            if step.phase != "queued":
                log(self._job, step.phase)
        if is_new or now - self._written > _EVERY or step.done == step.total:
            self._written = now
            with suppress(ResourceError):  # a reader may hold the file, or the disk be full for it; the work goes on
                write_json(self._job.folder / "progress.json", asdict(step) | self._times(step, now))
        self._progress(step)

    def _times(self, step: Progress, now: float) -> dict[str, float | None]:
        told: dict[str, float | None] = {"at": now, "started_at": self._started}
        passed = now - self._phase_started
        if step.phase.endswith("forward") and step.done and passed > 0:
            told["tokens_per_second"] = self._n_tokens * step.done / step.total / passed
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
