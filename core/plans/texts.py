"""Which text chooses a plan and which verifies it: two halves that share no document, and the same text made harder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.errors import CorpusError
from core.models.model import OpenModel
from core.texts.corpora import Corpus
from core.texts.sample import TokenWindows, draw_windows
from core.texts.windows import merge_pieces, reserve

WINDOW_LENGTHS = (256, 128, 64)
"""Tokens of a window: the longest of these that the text has enough of, and that the model reads."""
VERIFICATION_WINDOWS = 32
FIT_TOKENS = 8192
"""Tokens of the selection text, at least: what a healing matrix is fitted to."""
STRETCHES = 8
"""The text is cut into so many stretches of neighbouring documents, which go to the two halves by turns."""
TYPO_SHARE = 0.1
"""Share of the words that get a typing error."""


@dataclass(frozen=True)
class HeldOut:
    """Windows of both halves of a text."""

    selection: TokenWindows
    verification: TokenWindows
    verification_corpus: Corpus

    @property
    def n_tokens(self) -> int:
        return self.selection.ids.shape[1]


def halves(corpus: Corpus, length: int) -> tuple[Corpus, Corpus]:
    """Two texts of about the same size that share no document, each at least `length` characters long.

    Documents are the pieces of the corpus; short neighbours are one. Raises CorpusError for a text of one document.
    """
    n = len(merge_pieces(corpus.pieces, length))
    if n < 2:
        raise CorpusError(
            f"The text {corpus.row.name} has {n or 'not even one'} document of {length:,} characters: a plan is chosen "
            "on some documents and verified on others. Part its texts with blank lines, give a file with a row for "
            "each, or add text."
        )
    ends = np.cumsum([len(piece) for piece in corpus.pieces])
    number = np.minimum(ends * min(STRETCHES, 2 * (n // 2)) // (ends[-1] + 1), STRETCHES - 1)
    both = [np.flatnonzero(number % 2 == half) for half in (0, 1)]
    return tuple(  # type: ignore[return-value]
        replace(
            corpus,
            pieces=[corpus.pieces[i] for i in half],
            conversations=tuple(corpus.conversations[i] for i in half) if corpus.conversations else (),
        )
        for half in both
    )


def hold_out(corpus: Corpus, model: OpenModel, seed: int, n_fit: int = FIT_TOKENS) -> HeldOut:
    """Windows for choosing (at least `n_fit` tokens) and for verifying; raises CorpusError for a text too short."""
    error = None
    for n_tokens in _lengths(model):
        try:
            return _held_out(corpus, model, seed, n_tokens, max(VERIFICATION_WINDOWS, -(-n_fit // n_tokens)))
        except CorpusError as found:
            error = error or found
    # Without room for fitting, a plan can still be chosen and verified.
    for n_tokens in _lengths(model):
        try:
            return _held_out(corpus, model, seed, n_tokens, VERIFICATION_WINDOWS)
        except CorpusError:
            continue
    assert error is not None
    raise CorpusError(f"Half of the text is held out to verify the plan. {error}") from error


def _lengths(model: OpenModel) -> Iterator[int]:
    longest = model.context or WINDOW_LENGTHS[0]
    yield from (n for n in WINDOW_LENGTHS if n <= longest) if longest >= WINDOW_LENGTHS[-1] else (longest,)


def _held_out(corpus: Corpus, model: OpenModel, seed: int, n_tokens: int, n_selection: int) -> HeldOut:
    length = reserve("".join(corpus.pieces[:200]), n_tokens)
    chosen, held_out = halves(corpus, length)
    name, tokenizer = model.row.name, model.tokenizer
    return HeldOut(
        draw_windows(chosen, tokenizer, n_selection, n_tokens, seed, "layer plan", name),
        draw_windows(held_out, tokenizer, VERIFICATION_WINDOWS, n_tokens, seed, "layer plan", name),
        held_out,
    )


def first_windows(windows: TokenWindows, n: int) -> TokenWindows:
    """n of the windows, spread evenly over the text."""
    chosen = np.unique(np.linspace(0, len(windows.ids) - 1, min(n, len(windows.ids))).round().astype(int))
    return TokenWindows(windows.ids[chosen], windows.scored[chosen], windows.documents[chosen])


def with_typos(corpus: Corpus, seed: int) -> Corpus:
    """A tenth of the words have two neighbouring letters exchanged; lengths stay, and so do the windows."""
    generator = np.random.default_rng([seed, 14])
    return replace(corpus, pieces=[_mistyped(piece, generator) for piece in corpus.pieces], conversations=())


def _mistyped(text: str, generator: Any) -> str:
    letters = list(text)
    starts = [i for i in range(len(text) - 2) if text[i : i + 3].isalpha() and (i == 0 or not text[i - 1].isalpha())]
    for start in starts:
        if generator.random() < TYPO_SHARE:
            end = start
            while end < len(text) and text[end].isalpha():
                end += 1
            at = int(generator.integers(start, end - 1))
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return "".join(letters)
