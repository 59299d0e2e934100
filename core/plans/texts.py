"""What a plan reads: two halves of a text that share no document, the text made harder, probes of generation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.errors import CorpusError
from core.models.model import OpenModel
from core.texts.corpora import Corpus
from core.texts.sample import TokenWindows, draw_windows
from core.texts.windows import merge_pieces, reserve

PURPOSE = "layer plan"
WINDOW_LENGTHS = (256, 128, 64)
"""Tokens of a window: the longest of these that the text has enough of, and that the model reads."""
VERIFICATION_WINDOWS = 32
SEARCH_WINDOWS = 16
"""Of the selection text: what candidates are compared on."""
SUBLAYER_WINDOWS = 4
"""Of these, what each attention and each MLP alone is priced on."""
RANDOM_WINDOWS = 8
"""Of the held-out text: what random sets are priced on."""
OTHER_WINDOWS = 16
"""Of each harder text; and of the held-out text, what ranks of projections are priced on."""
FIT_TOKENS = 8192
"""Tokens of the selection text, at least: what a healing matrix is fitted to."""
SELECTION, HELD_OUT, TYPOS = "selection", "held_out", "typos"
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
            "The text {corpus} has no two documents of {length:,} characters: a plan is chosen on some documents and "
            "verified on others. Part its texts with blank lines, give a file with a row for each, or add text.",
            corpus=corpus.row.name,
            length=length,
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


def hold_out(corpus: Corpus, model: OpenModel, seed: int, n_fit: int) -> HeldOut:
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
    raise CorpusError("Half of the text is held out to verify the plan. {error}", error=error) from error


def _lengths(model: OpenModel) -> Iterator[int]:
    longest = model.context or WINDOW_LENGTHS[0]
    yield from (n for n in WINDOW_LENGTHS if n <= longest) if longest >= WINDOW_LENGTHS[-1] else (longest,)


def _held_out(corpus: Corpus, model: OpenModel, seed: int, n_tokens: int, n_selection: int) -> HeldOut:
    length = reserve("".join(corpus.pieces[:200]), n_tokens)
    chosen, held_out = halves(corpus, length)
    name, tokenizer = model.row.name, model.tokenizer
    return HeldOut(
        draw_windows(chosen, tokenizer, n_selection, n_tokens, seed, PURPOSE, name),
        draw_windows(held_out, tokenizer, VERIFICATION_WINDOWS, n_tokens, seed, PURPOSE, name),
        held_out,
    )


def first_windows(windows: TokenWindows, n: int) -> TokenWindows:
    """n of the windows, spread evenly over the text."""
    chosen = np.unique(np.linspace(0, len(windows.ids) - 1, min(n, len(windows.ids))).round().astype(int))
    return TokenWindows(windows.ids[chosen], windows.scored[chosen], windows.documents[chosen])


def harder_texts(corpus: Corpus) -> dict[str, str | None]:
    """Name -> built-in text of another domain, of another language than this one; None: this one with typing errors."""
    own, language = corpus.row.name, corpus.row.language
    if language == "ja":
        return {TYPOS: None, "other_language": "english-business"}
    domain = "python-docs" if own in ("english-business", "ladder-code", "python-source") else "english-business"
    return {TYPOS: None, "other_domain": domain, "other_language": "japanese-business"}


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


# --- probes of generation --------------------------------------------------------------------------------------------
#
# What breaks first and a mean loss hides: copying, closing brackets, sums of digits, as exact answers. An answer counts
# where greedy generation would write it to its end, line break included. It would exactly where the likeliest token
# after the prompt, and after each further token of the answer, is the answer's own: so one pass over prompt and answer
# tells it, without generating.

PROBES = ("copying", "brackets", "digit_sums")
QUESTIONS = 40
EXAMPLES = 4
"""Solved lines before the one that is asked."""
ROOM = 0.2
"""Share that the whole model must answer for a fall to be seen."""
WORDS = [
    "river",
    "stone",
    "lamp",
    "garden",
    "window",
    "bread",
    "paper",
    "night",
    "summer",
    "bridge",
    "clock",
    "silver",
    "forest",
    "letter",
    "table",
    "cloud",
    "horse",
    "market",
    "winter",
    "island",
    "button",
    "candle",
    "mirror",
    "pocket",
    "ladder",
    "engine",
    "basket",
    "carpet",
    "harbour",
    "meadow",
    "pencil",
    "saddle",
    "tunnel",
    "velvet",
    "village",
    "whistle",
    "orange",
    "kettle",
    "copper",
    "blanket",
    "anchor",
    "barrel",
    "cotton",
    "dragon",
    "feather",
    "hammer",
    "jacket",
    "lemon",
    "needle",
    "parrot",
]
OPENING = {"(": ")", "[": "]", "{": "}", "<": ">"}


def probe(kind: str, tokenizer: Any, seed: int, longest: int | None = None) -> TokenWindows | None:
    """Lines of one kind, the last one asked; None where the model reads too few tokens."""
    generator = np.random.default_rng([seed, 17, PROBES.index(kind)])
    found = []
    for _ in range(QUESTIONS):
        lines = [_probe_line(kind, generator) for _ in range(EXAMPLES + 1)]
        *solved, (asked, answer) = lines
        prompt = "".join(f"{question}{solution}\n" for question, solution in solved) + asked
        found.append(_encoded_answer(prompt, f"{answer}\n", tokenizer))
    windows = padded(found)
    return None if longest is not None and windows.ids.shape[1] > longest else windows


def padded(readings: Sequence[tuple[Sequence[int] | np.ndarray, int]]) -> TokenWindows:
    """Tokens and the first of them that counts, row by row, filled up to one length.

    Filled at the end, which no earlier token of a decoder sees.
    """
    length = max(len(ids) for ids, _ in readings)
    ids, scored = np.zeros((len(readings), length), dtype=np.int64), np.zeros((len(readings), length), dtype=bool)
    for row, (tokens, first) in enumerate(readings):
        ids[row, : len(tokens)] = tokens
        scored[row, first : len(tokens)] = True
    return TokenWindows(ids, scored, np.arange(len(readings)))


def _probe_line(kind: str, generator: Any) -> tuple[str, str]:
    """A question and its answer, which begins with a space."""
    if kind == "copying":
        words = " ".join(generator.choice(WORDS, 4, replace=False))
        return f"{words} =>", f" {words}"
    if kind == "brackets":
        opened = generator.choice(list(OPENING), 4).tolist()
        return f"{' '.join(opened)} =>", " " + " ".join(OPENING[one] for one in reversed(opened))
    a, b = (int(n) for n in generator.integers(2, 10, 2))
    return f"{a} + {b} =", f" {a + b}"


def _encoded_answer(prompt: str, answer: str, tokenizer: Any) -> tuple[list[int], int]:
    """The tokens of both together, and how many of them lie within the prompt."""
    whole = tokenizer(prompt + answer, return_offsets_mapping=tokenizer.is_fast, verbose=False)
    ids = list(whole["input_ids"])
    if tokenizer.is_fast:
        covering = [i for i, (_, end) in enumerate(whole["offset_mapping"]) if end > len(prompt)]
        last = [i for i in covering if ids[i] not in tokenizer.all_special_ids]
        return ids[: last[-1] + 1], last[0]
    before = list(tokenizer(prompt, verbose=False)["input_ids"])
    n_same = next((i for i, (a, b) in enumerate(zip(ids, before, strict=False)) if a != b), min(len(ids), len(before)))
    return ids, n_same
