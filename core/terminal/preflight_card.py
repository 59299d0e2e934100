"""The card shown before a measurement, as lines of text: cost, results, and any reason for refusal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len

from core import wording
from core.ids import SHORT_ID
from core.locale import _, worded
from core.records import PassEstimate, Preflight
from core.terminal.output import WIDTH, join, pad, wrap
from core.wording.labels import duration
from core.wording.runs import cost_facts, network_text


def card_lines(card: Preflight) -> list[str]:
    """Lines of at most `WIDTH` columns; what is not known yet is marked so."""
    head = _("{model} on {text}, {protocol} protocol, seed {seed}")
    lines = wrap(head.format(model=card.model, text=card.corpus, protocol=card.protocol, seed=card.seed), WIDTH)
    entries = list(_entries(card))
    room = max((cell_len(label) for label, _text in entries), default=0) + 4
    for label, text in entries:
        lines += wrap(text, WIDTH, " " * room, pad(f"  {label}", room))
    return lines


def _entries(card: Preflight) -> Iterator[tuple[str, str]]:
    for reason in card.refusals:
        yield _("Refused"), worded(reason)
    if card.where is not None:  # the model exists
        yield _("Model"), network_text(card)
        yield from cost_facts(card).items()
        for estimate in card.passes:
            yield _("Text") if estimate.name == "text" else wording.phase_name(estimate.name), _pass(estimate)
        again = _("Measured already (run {run}).").format(run=card.measured_run[:SHORT_ID]) if card.measured_run else ""
        yield _("Comparison"), wording.joined_sentences([again, worded(card.comparison)])
    for note in card.notes:
        yield _("Remark"), worded(note)


def _pass(estimate: PassEstimate) -> str:
    """`3 s (loading 1 s, reading text 1 s, measuring layers 1 s)`."""
    if estimate.known_run:
        return _("in the warehouse already (run {run})").format(run=estimate.known_run[:SHORT_ID])
    if not estimate.seconds:
        return _("unknown")
    phases = join(
        f"{wording.name('phase', phase)} {duration(seconds)}"
        for phase, seconds in estimate.seconds.items()
        if seconds >= 0.5
    )
    return duration(sum(estimate.seconds.values())) + (f" ({phases})" if phases else "")
