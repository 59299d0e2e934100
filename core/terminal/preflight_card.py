"""The card shown before a measurement, as lines of text: cost, results, and any reason for refusal."""

from __future__ import annotations

from collections.abc import Iterator

from core import wording
from core.errors import Sentence
from core.ids import SHORT_ID
from core.locale import _, worded
from core.records import PassEstimate, Preflight
from core.terminal.output import LABEL, WIDTH, join, pad, wrap
from core.wording.labels import kind_text
from core.wording.numbers import amount, duration


def card_lines(card: Preflight) -> list[str]:
    """Lines of at most `WIDTH` columns; what is not known yet is marked so."""
    lines = []
    for label, text in _entries(card):
        if text:
            lines += wrap(text, WIDTH, " " * LABEL, pad(f"  {label} ", LABEL)) if label else wrap(text, WIDTH)
    return lines


def _entries(card: Preflight) -> Iterator[tuple[str, str]]:
    head = _("{model} on {text}, {protocol} protocol, seed {seed}")
    yield "", head.format(model=card.model, text=card.corpus, protocol=card.protocol, seed=card.seed)
    for reason in card.refusals:
        yield _("refused"), worded(reason)
    if card.where is not None:  # the model exists
        yield _("model"), _model(card)
        measured = _("measured in {dtype}").format(dtype=card.dtype)
        weights = (card.stored_format, card.stored_dtype or _("number format unknown"), measured)
        licence = _("licence: {name}").format(name=card.licence or _("unknown"))
        yield _("weights"), _("; ").join([join(filter(None, weights)), licence])
        yield _("disk"), _disk(card)
        yield _("memory"), _memory(card)
        if not card.refusals:
            yield _("reads"), _reads(card)
            yield _("time"), _time(card)
        for estimate in card.passes:
            yield (f"  {_('text') if estimate.name == 'text' else wording.phase_name(estimate.name)}", _pass(estimate))
        again = _("Measured already (run {run}).").format(run=card.measured_run[:SHORT_ID]) if card.measured_run else ""
        yield _("compares"), wording.joined_sentences([again, worded(card.comparison)])
    for note in card.notes:
        yield _("note"), worded(note)


def _model(card: Preflight) -> str:
    if card.architecture is None:
        return ""
    text = Sentence(
        "{architecture} ({family}), {kind}, {parameters:,} parameters, {n} block, hidden size {hidden_size}",
        "{architecture} ({family}), {kind}, {parameters:,} parameters, {n} blocks, hidden size {hidden_size}",
        architecture=card.architecture,
        family=card.family,
        kind=kind_text(card.kind or "", card.stack or "main"),
        parameters=card.parameters or 0,
        n=card.n_layers,
        hidden_size=card.hidden_size,
    )
    return worded(text)


def _disk(card: Preflight) -> str:
    fetched = _("nothing to download")
    if card.download_bytes is None:
        fetched = _("a download of unknown size")
    elif card.download_bytes:
        fetched = _("{size} to download").format(size=amount(card.download_bytes))
    meanwhile = _("weights {weights}, hidden states {states} meanwhile")
    weights, states = amount(card.weight_bytes), amount(card.scratch_bytes)
    return _("; ").join([fetched, meanwhile.format(weights=weights, states=states)])


def _memory(card: Preflight) -> str:
    most = amount(card.memory_bytes)
    parts = [most if card.streamed is None else _("{size} at most").format(size=most)]
    if card.gpu_memory_bytes:
        parts.append(_("{size} of {device}").format(size=amount(card.gpu_memory_bytes), device=card.device))
    if card.streamed is None:
        return join(parts)
    how = _("weights read block by block") if card.streamed else _("all weights at once")
    batch = Sentence(
        "{n} window at a time, on {device}", "{n} windows at a time, on {device}", n=card.batch, device=card.device
    )
    return _("; ").join([join(parts), join([how, worded(batch)])])


def _reads(card: Preflight) -> str:
    if card.n_tokens is None:
        return ""
    windows = worded(Sentence("{n:,} window", "{n:,} windows", n=card.n_sequences))
    types = _("{n:,} token types").format(n=card.n_points) if card.n_points else ""
    return join(filter(None, [windows, _("{n:,} tokens").format(n=card.n_tokens), types]))


def _time(card: Preflight) -> str:
    if card.seconds is None:
        return _("unknown")
    time = _("about {time}").format(time=duration(card.seconds))
    return time if card.download_bytes == 0 else join([time, _("and the download")])


def _pass(estimate: PassEstimate) -> str:
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
