"""The card before a measurement as lines of text: what it takes, what it gives, and why it is refused."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from core import wording
from core.records import SHORT_ID, PassEstimate, Preflight
from core.wording.numbers import amount, duration

WIDTH = 100
LABEL = 14


def card_lines(card: Preflight) -> list[str]:
    """In English, at most 100 columns wide; what is not known before says so."""
    return [line for label, text in _entries(card) if text for line in _wrapped(label, text)]


def _entries(card: Preflight) -> Iterator[tuple[str, str]]:
    yield "", f"{card.model} on {card.corpus}, {card.protocol} protocol, seed {card.seed}"
    if card.where is not None:  # there is such a model
        yield "  model", _model(card)
        yield "  weights", _weights(card)
        yield "  disk", _disk(card)
        yield "  memory", _memory(card)
        yield "  reads", _reads(card)
        yield "  time", _time(card)
        for one in card.passes:
            yield f"    {one.label}", _pass(one)
        yield "  compares", _compares(card)
    for note in card.notes:
        yield "  note", note
    for reason in card.refusals:
        yield "  refused", reason


def _model(card: Preflight) -> str:
    if card.architecture is None:
        return ""
    kind = wording.name("kind", card.kind, "en") if card.kind else ""
    stack = f", its {card.stack}" if card.stack in ("encoder", "decoder") else ""
    return (
        f"{card.architecture} ({card.family}), {kind}{stack}, {card.parameters or 0:,} parameters, {card.n_layers} "
        f"blocks, hidden size {card.hidden_size}"
    )


def _weights(card: Preflight) -> str:
    parts = [card.stored_format or "", card.stored_dtype or "number format unknown", f"measured in {card.dtype}"]
    return f"{', '.join(part for part in parts if part)}; licence {card.licence or 'unknown'}"


def _disk(card: Preflight) -> str:
    known = (
        "a download of unknown size" if card.download_bytes is None else f"{amount(card.download_bytes)} to download"
    )
    fetched = "nothing to download" if card.download_bytes == 0 else known
    return f"{fetched}; weights {amount(card.weight_bytes)}, hidden states {amount(card.scratch_bytes)} meanwhile"


def _memory(card: Preflight) -> str:
    gpu = f", {amount(card.gpu_memory_bytes)} of {card.device}" if card.gpu_memory_bytes else ""
    if card.streamed is None:
        return f"{amount(card.memory_bytes)}{gpu}"
    how = "weights read block by block" if card.streamed else "all weights at once"
    return f"{amount(card.memory_bytes)} at most{gpu}; {how}, {card.batch} windows at a time, on {card.device}"


def _reads(card: Preflight) -> str:
    if card.n_tokens is None:
        return ""
    types = f", {card.n_points:,} token types" if card.n_points else ""
    return f"{card.n_sequences:,} windows, {card.n_tokens:,} tokens{types}"


def _time(card: Preflight) -> str:
    if card.seconds is None:
        return "unknown"
    download = "" if card.download_bytes == 0 else ", and the download"
    return f"about {duration(card.seconds)}{download}"


def _pass(one: PassEstimate) -> str:
    if one.known_run:
        return f"in the warehouse already (run {one.known_run[:SHORT_ID]})"
    if not one.seconds:
        return "unknown"
    phases = ", ".join(f"{phase} {duration(seconds)}" for phase, seconds in one.seconds.items() if seconds >= 0.5)
    return f"{duration(sum(one.seconds.values()))}" + (f" ({phases})" if phases else "")


def _compares(card: Preflight) -> str:
    again = f"Measured already (run {card.measured_run[:SHORT_ID]}). " if card.measured_run else ""
    return again + card.comparison


def _wrapped(label: str, text: str) -> list[str]:
    if not label:
        return textwrap.wrap(text, WIDTH, break_on_hyphens=False)
    head = label.ljust(LABEL) if len(label) < LABEL else f"{label} "
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * LABEL, break_on_hyphens=False)
