"""Before a measurement its card: cost, results, any reason for refusal. Meanwhile one bar for all phases, with the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from core import wording
from core.ids import SHORT_ID
from core.locale import _, worded
from core.records import PassEstimate, Preflight, Progress
from core.terminal.output import one_line, pad, progress_stream
from core.wording.labels import duration, listed
from core.wording.runs import cost_facts, network_text

if TYPE_CHECKING:
    from rich.progress import Progress as Drawn


def card_lines(card: Preflight) -> list[str]:
    """What is not known yet is marked so."""
    entries = [(label, text) for label, text in _entries(card) if text]
    room = max((cell_len(label) for label, _text in entries), default=0) + 2
    return [
        _(
            "{model} on {text}, {protocol} protocol, seed {seed}",
            model=card.model,
            text=card.corpus,
            protocol=card.protocol,
            seed=card.seed,
        ),
        *(f"  {pad(label, room)}{text}" for label, text in entries),
    ]


def _entries(card: Preflight) -> Iterator[tuple[str, str]]:
    for reason in card.refusals:
        yield _("Refused"), worded(reason)
    if card.where is not None:  # the model exists
        yield _("Model"), network_text(card)
        yield from cost_facts(card).items()
        for estimate in card.passes:
            yield _("Text") if estimate.name == "text" else wording.phase_name(estimate.name), _pass(estimate)
        again = _("Measured already (run {run}).", run=card.measured_run[:SHORT_ID]) if card.measured_run else ""
        yield _("Comparison"), wording.joined_sentences([again, worded(card.comparison)])
    for note in card.notes:
        yield _("Remark"), worded(note)


def _pass(estimate: PassEstimate) -> str:
    """`3 s (loading 1 s, reading text 1 s, measuring layers 1 s)`."""
    if estimate.known_run:
        return _("in the warehouse already (run {run})", run=estimate.known_run[:SHORT_ID])
    if not estimate.seconds:
        return _("unknown")
    phases = listed(
        f"{wording.name('phase', phase)} {duration(seconds)}"
        for phase, seconds in estimate.seconds.items()
        if seconds >= 0.5
    )
    return duration(sum(estimate.seconds.values())) + (f" ({phases})" if phases else "")


# --- the bar, only on a terminal ----------------------------------------------------------------------------------------

FORECAST_SHARE = 0.02
"""Share of the whole after which the pace of several jobs gives a forecast."""


class ProgressBar:
    """A bar for `n` jobs, or for one phase of this name that reports itself. Draws nothing in the first `delay` seconds."""

    def __init__(self, name: str = "", n: int = 1, delay: float = 0.0) -> None:
        self._name, self._n, self._delay = name, n, delay
        self._begun = time.monotonic()
        self._shares: dict[str, float] = {}
        self._n_ended = 0
        self._waiting: set[str] = set()
        self._bar: Drawn | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def follow(self, progress: Any) -> None:
        """Show the status of a job (core.runs.jobs.JobStatus): its model, its share of all phases, its own forecast if known."""
        self._name = progress.job.config.model
        step, share = progress.progress, progress.progress_record.get("share")
        if share is not None:
            self._shares[progress.job.job_id] = share
        waits = step is not None and step.phase == "queued"
        if waits and progress.job.job_id not in self._waiting and not progress_stream().isatty():
            self._waiting.add(progress.job.job_id)
            print(f"{self._name}: {_('waiting for its turn')}", file=progress_stream(), flush=True)
        if step is not None:
            seconds_left = progress.progress_record.get("seconds_left") if self._n == 1 else None
            self._draw(wording.phase_name(step.phase), self._total(), seconds_left)

    def report(self, step: Progress) -> None:
        """Show a step of a phase that is the whole work."""
        self._draw(wording.phase_name(step.phase), step.done / max(step.total, 1), None)

    def ended(self) -> None:
        """Count one job as ended, and clear the bar for a line about it."""
        self._n_ended += 1
        if self._shares:
            self._shares.pop(max(self._shares, key=self._shares.__getitem__))
        self.clear()

    def clear(self) -> None:
        """Remove the bar to make room for a line; the next report draws it again."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = None

    def _total(self) -> float | None:
        known = self._n_ended + sum(self._shares.values())
        return known / self._n if known else None

    def _draw(self, phase: str, share: float | None, seconds_left: float | None) -> None:
        stream = progress_stream()
        passed = time.monotonic() - self._begun
        if passed < self._delay or not stream.isatty():
            return
        if self._bar is None:
            self._bar = _bar(stream)
            self._bar.add_task("", total=1.0, phase="", left="")
            self._bar.start()
        if seconds_left is None and share is not None and share > FORECAST_SHARE:
            seconds_left = passed * (1 - share) / share
        (task,) = self._bar.task_ids
        # A total of None makes the bar run to and fro.
        self._bar.update(
            task,
            description=one_line(self._name),
            total=None if share is None else 1.0,
            completed=share or 0.0,
            phase=("" if share is None else f"{share:4.0%} ") + phase,
            left="" if seconds_left is None else _("{time} left", time=duration(seconds_left)),
        )
        self._bar.refresh()


@contextmanager
def counting_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for counted work that usually takes less than two seconds, and is then not drawn."""
    with ProgressBar(text, delay=2.0) as shown:
        yield lambda done, total: shown.report(Progress("", done, total))


def _bar(stream: Any) -> Drawn:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    # No refresh thread, because it would write into our lines; guarded streams are not redirected.
    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        TextColumn("{task.fields[phase]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=Console(file=stream),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
