"""Placing windows in a text: disjoint, and starting at the same characters for every model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import CorpusError, Sentence
from core.registry.protocols import PROTOCOLS, Protocol
from core.texts.corpora import Corpus
from core.texts.messages import BETWEEN

# Characters reserved per token: generous for the script, so that windows are disjoint under any tokenizer.
CHARACTERS_PER_TOKEN = 5.5
CHARACTERS_PER_TOKEN_CJK = 2.2
TOKENS_PER_PAGE = 409
"""Of a page as people know it: 2,250 characters, or 900 of Chinese, Japanese or Korean."""


@dataclass(frozen=True)
class Window:
    """The start of a window."""

    document: int
    start: int
    """Offset in characters within the document; for chat messages, index of the window in it."""


def characters_for_tokens(text_sample: str, n_tokens: int) -> int:
    """Number of characters reserved for a window, by the script of the text alone."""
    return math.ceil(n_tokens * (CHARACTERS_PER_TOKEN_CJK if is_wide(text_sample) else CHARACTERS_PER_TOKEN))


def needed_characters(text_sample: str, protocol: Protocol) -> int:
    """How many characters the windows of a protocol need, by the script of the text alone."""
    return characters_for_tokens(text_sample, protocol.n_tokens) * protocol.n_sequences


def count_pages(text_sample: str, n_characters: int) -> int:
    """About how many pages so many characters fill, by the script of the text."""
    return max(1, round(n_characters / characters_for_tokens(text_sample, TOKENS_PER_PAGE)))


def is_wide(text_sample: str) -> bool:
    """Whether the text is written in Chinese, Japanese or Korean, where a character is nearly a token."""
    characters = [c for c in text_sample[:20_000] if not c.isspace()]
    return sum("぀" <= c <= "鿿" or "가" <= c <= "힣" for c in characters) > 0.3 * len(characters)


def merge_pieces(pieces: list[str], length: int) -> list[str]:
    """Documents of at least `length` characters: short neighbouring pieces joined; a short rest joins the last."""
    return [BETWEEN.join(pieces[start:stop]) for start, stop in join_neighbours(list(map(len, pieces)), length)]


def join_neighbours(lengths: Sequence[int], min_length: int) -> list[tuple[int, int]]:
    """Bounds of runs of neighbours that are at least `min_length` long when joined; a short rest joins the last run."""
    runs, start, total = list[tuple[int, int]](), 0, 0
    for index, length in enumerate(lengths):
        total += length + (len(BETWEEN) if index > start else 0)
        if total >= min_length:
            runs.append((start, index + 1))
            start, total = index + 1, 0
    if runs and start < len(lengths):
        runs[-1] = (runs[-1][0], len(lengths))
    return runs


def place_windows(corpus: Corpus, n_windows: int, length: int, seed: int) -> tuple[list[str], list[Window]]:
    """Documents and their windows; pieces are merged into longer documents if one window each leaves too much unused."""
    documents, windows = list[str](), list[Window]()
    for windows_per_document in (1, 4):
        merged = merge_pieces(corpus.pieces, windows_per_document * length)
        planned = plan_windows(merged, n_windows, length, corpus.row.sha256, seed)
        if len(planned) > len(windows):
            documents, windows = merged, planned
        if len(windows) >= n_windows:
            break
    return documents, windows


def require_windows(corpus: Corpus, protocol: Protocol, n_windows: int) -> None:
    """Raises CorpusError for fewer windows than the protocol has: what the text has, what is needed, and what to do."""
    if n_windows >= protocol.n_sequences:
        return
    if corpus.conversations:  # which have room for windows where users speak, however many characters there are
        raise CorpusError(
            "{corpus} is too short for {protocol}: its conversations give {n_windows} of {n_sequences} windows of {n_tokens} "
            "tokens, each from a user's message on. Add conversations.",
            corpus=corpus.row.name,
            protocol=protocol.name,
            n_windows=n_windows,
            n_sequences=protocol.n_sequences,
            n_tokens=protocol.n_tokens,
        )
    needed = needed_characters(corpus.beginning, protocol)
    # Where pieces or tokens give fewer windows: as much again for each as so far.
    if corpus.row.n_characters >= needed:
        needed = corpus.row.n_characters * protocol.n_sequences // max(1, n_windows)
    smaller = _smaller_protocol(corpus, protocol)
    if smaller:
        remedy = Sentence("Add text, or choose the protocol {name}.", name=smaller)
    elif protocol.name in PROTOCOLS:
        remedy = Sentence("Add text: comparing losses needs as much.")
    else:
        remedy = Sentence("Add text.")
    raise CorpusError(
        "{corpus} is too short for {protocol}: {n_characters:,} of some {needed:,} characters (about {pages} pages). {remedy}",
        corpus=corpus.row.name,
        protocol=protocol.name,
        n_characters=corpus.row.n_characters,
        needed=needed,
        pages=count_pages(corpus.beginning, needed),
        remedy=remedy,
    )


def _smaller_protocol(corpus: Corpus, protocol: Protocol) -> str | None:
    """The first protocol of the same use that asks for less text and has room in this one."""
    for name, other in PROTOCOLS.items():
        length = characters_for_tokens(corpus.beginning, other.n_tokens)
        asks_less = (
            protocol.name in PROTOCOLS and other.n_sequences * other.n_tokens < protocol.n_sequences * protocol.n_tokens
        )
        if asks_less and other.source == protocol.source == "":
            _documents, windows = place_windows(corpus, other.n_sequences, length, 0)
            if len(windows) >= other.n_sequences:
                return name
    return None


def plan_windows(documents: list[str], n_windows: int, length: int, corpus_hash: str, seed: int) -> list[Window]:
    """Disjoint windows of `length` characters, in the order of the text; the same for every model.

    With enough documents each window comes from a document of its own; otherwise they are distributed by room, and each
    document is cut into equal slots with one window at random in each. Returns fewer windows if there is no room.
    """
    generator = _generator(corpus_hash, seed)
    counts = _distribute_windows([len(document) // length for document in documents], n_windows, generator)
    windows = []
    for index in np.flatnonzero(counts):
        slot = len(documents[index]) // int(counts[index])
        for number in range(int(counts[index])):
            start = number * slot + int(generator.integers(0, slot - length + 1))
            windows.append(Window(int(index), _word_start(documents[index], start, number * slot)))
    return windows


def _generator(corpus_hash: str, *seed: int) -> np.random.Generator:
    return np.random.default_rng([int(corpus_hash[:8], 16), *seed])


def _distribute_windows(room: list[int], n_windows: int, generator: np.random.Generator) -> np.ndarray:
    """Number of windows per document: with enough documents one in each of some; otherwise one if there is room, then more
    where there is most room per window."""
    if len(room) >= n_windows:
        counts = np.zeros(len(room), dtype=np.int64)
        counts[generator.choice(len(room), n_windows, replace=False)] = 1
        return counts
    rooms = np.array(room, dtype=np.int64)
    counts = np.minimum(rooms, 1)
    while int(counts.sum()) < min(n_windows, int(rooms.sum())):
        counts[np.argmax(np.where(counts < rooms, rooms / (counts + 1), -1))] += 1
    return counts


def plan_chat_windows(room: list[int], n_windows: int, corpus_hash: str, seed: int) -> list[Window]:
    """Windows of chat messages, in the order of the text; the same for every model. `room`: windows in each document.

    With enough documents each window is the first of its document: chat models read conversations from the start.
    Otherwise they are distributed by room. Returns fewer windows if there is no room.
    """
    generator = _generator(corpus_hash, seed)
    counts = _distribute_windows(room, n_windows, generator)
    if len(room) >= n_windows:
        return [Window(int(index), 0) for index in np.flatnonzero(counts)]
    return [
        Window(index, int(number))
        for index, count in enumerate(counts.tolist())
        for number in np.sort(generator.choice(room[index], count, replace=False))
    ]


def spare_windows(
    documents: list[str], windows: list[Window], length: int, corpus_hash: str, seed: int
) -> list[Window]:
    """Further disjoint windows in the gaps between the planned `windows`, in the order in which they are used.

    The same for every model; how many are needed depends on its tokenizer.
    """
    starts_by_document: dict[int, list[int]] = {}
    for window in windows:
        starts_by_document.setdefault(window.document, []).append(window.start)
    spares = []
    for index, document in enumerate(documents):
        starts = starts_by_document.get(index, [])
        for gap_start, gap_end in zip(
            [0, *(start + length for start in starts)], [*starts, len(document)], strict=True
        ):
            for slot in range(gap_start, gap_end - length + 1, length):
                spares.append(Window(index, _word_start(document, slot, gap_start)))
    return [spares[i] for i in _generator(corpus_hash, seed, 1).permutation(len(spares))]


def spare_chat_windows(room: list[int], windows: list[Window], corpus_hash: str, seed: int) -> list[Window]:
    """The windows of chat messages that are not planned, in the order in which they are used."""
    planned = set(windows)
    spares = [w for index, count in enumerate(room) for n in range(count) if (w := Window(index, n)) not in planned]
    return [spares[i] for i in _generator(corpus_hash, seed, 1).permutation(len(spares))]


def _word_start(document: str, start: int, floor: int) -> int:
    """The start of the word or line that contains `start`, not before `floor` and at most 40 characters back."""
    for position in range(start, max(floor, start - 40), -1):
        if document[position - 1].isspace() or document[position - 1] in "。、，．":
            return position
    return start


def window_text(documents: list[str], windows: list[Window], index: int, n_tokens: int) -> str:
    """Text from the start of a window, long enough for `n_tokens` tokens of any tokenizer, at most to the next window."""
    window, document = windows[index], documents[windows[index].document]
    next_window = windows[index + 1] if index + 1 < len(windows) else None
    stop = next_window.start if next_window and next_window.document == window.document else len(document)
    return document[window.start : min(stop, window.start + 40 * n_tokens)]


# --- near copies -------------------------------------------------------------------------------------------------

COPY_LENGTH = 8
"""Tokens in a row that count as copied where two windows have them. Prose, code and documentation of this project's own
share less than a seventh of such rows between any two windows, licence headers included; true copies more than 0.4."""
COPY_SHARE = 0.3
"""Share of the rows of the poorer window that makes two windows near copies."""
FEWEST_PASSAGES = 6
"""With fewer passages windows stay apart: there would be no interval, and the check vetoes the run."""


def group_near_copies(ids: np.ndarray, is_text: np.ndarray) -> np.ndarray:
    """The first window of which each one is a near copy, or of which a near copy is one; (n_windows,)

    Both arguments are (n_windows, n_tokens); rows of tokens with one that is not of the text do not count.
    """
    n_windows = len(ids)
    itself = np.arange(n_windows)
    if ids.shape[1] < COPY_LENGTH:
        return itself
    rows = np.lib.stride_tricks.sliding_window_view(ids, COPY_LENGTH, axis=1)
    windows, starts = np.nonzero(np.lib.stride_tricks.sliding_window_view(is_text, COPY_LENGTH, axis=1).all(-1))
    codes = np.unique(rows[windows, starts], axis=0, return_inverse=True)[1].ravel()
    windows, codes = np.unique(np.stack([windows, codes]), axis=1)
    is_shared = np.bincount(codes)[codes] > 1
    if not is_shared.any():
        return itself
    _, columns = np.unique(codes[is_shared], return_inverse=True)
    holds = np.zeros((n_windows, int(np.max(columns)) + 1), dtype=np.float32)
    holds[windows[is_shared], columns] = 1
    n_rows = np.maximum(np.bincount(windows, minlength=n_windows), 1)
    is_copy = holds @ holds.T >= COPY_SHARE * np.minimum(n_rows[:, None], n_rows)
    np.fill_diagonal(is_copy, val=True)
    first: np.ndarray = itself
    before: np.ndarray = np.zeros(0)
    while not np.array_equal(first, before):
        first, before = np.min(np.where(is_copy, first, n_windows), 1), first
    return first


def blocks_of_passages(documents: np.ndarray, passages: np.ndarray, n_blocks: int) -> np.ndarray:
    """The jackknife block of each window: near copies are in that of the first, and no block is empty; (n_windows,)"""
    from core.geometry.clouds import contiguous_blocks  # loads torch, which a screen that judges a text does not

    blocks = contiguous_blocks(documents, n_blocks)
    return np.unique(blocks[passages], return_inverse=True)[1]
