"""From a text to a token sample: disjoint windows that start at the same characters for every model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import CorpusError
from core.geometry.resampling import contiguous_blocks
from core.measure.corpora import Corpus
from core.measure.protocol import MIN_TYPES
from core.measure.words import WordSet, choose_words, place_words, read_offsets
from core.records import Protocol

SMALL_VOCABULARY = 350
"""A tokenizer of fewer types knows little more than the 256 bytes, or the letters."""
# Characters reserved for a token. Generous for the script, so that windows stay disjoint under any tokenizer.
CHARACTERS_PER_TOKEN = 5.5
CHARACTERS_PER_TOKEN_CJK = 2.2


@dataclass(frozen=True)
class Window:
    document: int
    start: int
    """Offset in characters within the document."""


@dataclass(frozen=True)
class TokenSample:
    """The tokens of one run, the same positions at every layer."""

    ids: np.ndarray
    """(n_sequences, n_tokens) int64"""
    special: np.ndarray
    """(n_sequences, n_tokens) bool: special ids, which the mask drops"""
    documents: np.ndarray
    """Document of each sequence; (n_sequences,)"""
    blocks: np.ndarray
    """Jackknife block of each sequence; (n_sequences,)"""
    n_characters: int
    """Characters that the tokens cover."""
    n_bytes_scored: int
    """UTF-8 bytes of the tokens 1..T-1 of every sequence."""
    unknown_share: float
    """Share of the tokens that are the tokenizer's unknown token."""
    windows: tuple[Window, ...]
    """Where each sequence starts, in the merged documents; the same for every model."""
    offsets: np.ndarray
    """Characters of each token from the start of its window, first and one past the last; -1 for tokens that
    cover none (special ones) and where the tokenizer does not tell; (n_sequences, n_tokens, 2) int32"""
    words: WordSet
    """The occurrences that the cloud `one_per_word` draws from."""
    word_rows: np.ndarray
    """Row (sequence * n_tokens + position) of the token that stands for each occurrence, or -1; (n_occurrences,)"""

    @property
    def tokens_per_character(self) -> float:
        return int((~self.special).sum()) / self.n_characters


def reserve(text_sample: str, n_tokens: int) -> int:
    """Characters that a window may need, judged by the script of the text alone."""
    return math.ceil(n_tokens * (CHARACTERS_PER_TOKEN_CJK if is_wide(text_sample) else CHARACTERS_PER_TOKEN))


def is_wide(text_sample: str) -> bool:
    """Whether the text is written in Chinese, Japanese or Korean, where a character is nearly a token."""
    letters = [c for c in text_sample[:20_000] if not c.isspace()]
    return sum("぀" <= c <= "鿿" or "가" <= c <= "힣" for c in letters) > 0.3 * len(letters)


def merge_pieces(pieces: list[str], length: int) -> list[str]:
    """Documents of at least `length` characters: short neighbouring pieces joined; a short rest joins the last."""
    documents, open_pieces, open_length = [], [], 0
    for piece in pieces:
        open_pieces.append(piece)
        open_length += len(piece) + 2
        if open_length - 2 >= length:
            documents.append("\n\n".join(open_pieces))
            open_pieces, open_length = [], 0
    if open_pieces and documents:
        documents[-1] = "\n\n".join([documents[-1], *open_pieces])
    return documents


def place_windows(corpus: Corpus, n_windows: int, length: int, seed: int) -> tuple[list[str], list[Window]]:
    """Documents and their windows; pieces are merged further where single windows leave too much of a text unused."""
    for windows_per_document in (1, 4):
        documents = merge_pieces(corpus.pieces, windows_per_document * length)
        windows = plan_windows(documents, n_windows, length, corpus.row.sha256, seed)
        if len(windows) >= n_windows:
            break
    return documents, windows


def plan_windows(documents: list[str], n_windows: int, length: int, corpus_hash: str, seed: int) -> list[Window]:
    """Disjoint windows of `length` characters, in the order of the text; the same for every model.

    With enough documents each window comes from its own; otherwise they are shared out by room, and each document
    is cut into equal slots with one window somewhere in each. Returns fewer windows when there is no room.
    """
    generator = np.random.default_rng([int(corpus_hash[:8], 16), seed])
    room = np.array([len(document) // length for document in documents], dtype=np.int64)
    if len(documents) >= n_windows:
        counts = np.zeros(len(documents), dtype=np.int64)
        counts[generator.choice(len(documents), n_windows, replace=False)] = 1
    else:
        counts = _share_out(room, n_windows)
    windows = []
    for index in np.flatnonzero(counts):
        slot = len(documents[index]) // int(counts[index])
        for number in range(int(counts[index])):
            start = number * slot + int(generator.integers(0, slot - length + 1))
            windows.append(Window(int(index), _word_start(documents[index], start, number * slot)))
    return windows


def _share_out(room: np.ndarray, n_windows: int) -> np.ndarray:
    """Windows per document: at least one where there is room, then to whoever has the most room per window."""
    counts = np.minimum(room, 1)
    while counts.sum() < min(n_windows, room.sum()):
        counts[np.argmax(np.where(counts < room, room / (counts + 1), -1))] += 1
    return counts


def _word_start(document: str, start: int, floor: int) -> int:
    """The start of the word or line that `start` falls into, not before `floor` and at most 40 characters back."""
    for position in range(start, max(floor, start - 40), -1):
        if document[position - 1].isspace() or document[position - 1] in "。、，．":
            return position
    return start


def draw_sample(
    corpus: Corpus, tokenizer, protocol: Protocol, seed: int, model: str = "this model", companions: Sequence[Any] = ()
) -> TokenSample:
    """Tokens of `protocol.n_sequences` windows by a transformers tokenizer; messages call its model `model`.

    `companions` are the tokenizers of the models that this one is to be compared with: its words are then those that
    all of them place. Windows are the same with and without them.

    Raises CorpusError, with the counts, where the text is too short or the tokenizer leaves too few token types.
    """
    beginning = "".join(corpus.pieces[:200])
    length = reserve(beginning, protocol.n_tokens)
    documents, windows = place_windows(corpus, protocol.n_sequences, length, seed)
    if len(windows) < protocol.n_sequences:
        raise _too_short(corpus, protocol, tokenizer, len(windows))
    texts = [_window_text(documents, windows, i, protocol.n_tokens) for i in range(len(windows))]
    encoded = [_encode(text, tokenizer, protocol.n_tokens) for text in texts]
    if any(len(window.ids) < protocol.n_tokens for window in encoded):
        whole = sum(len(window.ids) == protocol.n_tokens for window in encoded)
        raise _too_short(corpus, protocol, tokenizer, whole)
    ids = np.array([window.ids for window in encoded])
    special = np.isin(ids, np.array(tokenizer.all_special_ids, dtype=np.int64))
    origin = np.array([window.document for window in windows])
    offsets = np.stack([window.offsets for window in encoded])
    words = choose_words(texts, protocol.n_tokens, is_wide(beginning), [tokenizer, *companions] if companions else [])
    sample = TokenSample(
        ids, special, origin, contiguous_blocks(origin, protocol.n_blocks),
        sum(window.n_characters for window in encoded), sum(window.n_bytes for window in encoded),
        float((ids == tokenizer.unk_token_id).mean()) if _has_unknown(tokenizer) else 0.0,
        tuple(windows), offsets, words, place_words(words, offsets, special),
    )  # fmt: skip
    n_types = len(np.unique(ids[:, 1:][~special[:, 1:]]))
    if n_types < MIN_TYPES and len(tokenizer) < SMALL_VOCABULARY:
        raise CorpusError(
            f"The vocabulary of {model} has {len(tokenizer)} types, of which {corpus.row.name} uses {n_types}; a cloud "
            f"needs {MIN_TYPES}. Models that read bytes or characters are not measured: choose one that reads words."
        )
    if n_types < MIN_TYPES:
        raise CorpusError(
            f"The tokenizer of {model} leaves {n_types} token types in {ids.size} tokens of {corpus.row.name} "
            f"({sample.tokens_per_character:.2f} tokens per character, {sample.unknown_share:.0%} unknown); a cloud "
            f"needs {MIN_TYPES}. It does not fit this language: choose another text or another model."
        )
    return sample


def _has_unknown(tokenizer) -> bool:
    """Byte-level tokenizers name an unknown token that they can never produce, often one that also ends texts."""
    return tokenizer.unk_token_id is not None and tokenizer.unk_token_id not in (
        tokenizer.bos_token_id, tokenizer.eos_token_id)  # fmt: skip


@dataclass(frozen=True)
class _Encoded:
    ids: list[int]
    n_characters: int
    n_bytes: int
    offsets: np.ndarray
    """(n_tokens, 2) int32"""


def _window_text(documents: list[str], windows: list[Window], index: int, n_tokens: int) -> str:
    """Text from the start of a window that any tokenizer finds `n_tokens` tokens in, not into the next window."""
    window, document = windows[index], documents[windows[index].document]
    following = windows[index + 1] if index + 1 < len(windows) else None
    end = following.start if following and following.document == window.document else len(document)
    return document[window.start : min(end, window.start + 40 * n_tokens)]


def _encode(text: str, tokenizer, n_tokens: int) -> _Encoded:
    encoding = tokenizer(text, truncation=True, max_length=n_tokens, return_offsets_mapping=tokenizer.is_fast,
                         verbose=False)  # fmt: skip
    ids = list(encoding["input_ids"])
    offsets = read_offsets(encoding, n_tokens)
    if not tokenizer.is_fast:
        covered = tokenizer.decode(ids, skip_special_tokens=True)
        target = tokenizer.decode(ids[1:], skip_special_tokens=True)
        return _Encoded(ids, max(len(covered), 1), len(target.encode()), offsets)
    spans = [span for span in encoding["offset_mapping"] if span[1] > span[0]]
    targets = [span for span in encoding["offset_mapping"][1:] if span[1] > span[0]]
    n_bytes = len(text[targets[0][0] : targets[-1][1]].encode("utf-8", "surrogatepass")) if targets else 0
    return _Encoded(ids, (spans[-1][1] - spans[0][0]) if spans else 1, n_bytes, offsets)


def _too_short(corpus: Corpus, protocol: Protocol, tokenizer, n_whole: int) -> CorpusError:
    text = "\n\n".join(corpus.pieces)[:400_000]
    there = len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    needed = protocol.n_sequences * protocol.n_tokens
    return CorpusError(
        f"The text {corpus.row.name} is too short for the {protocol.name} protocol: it needs {protocol.n_sequences} "
        f"disjoint windows of {protocol.n_tokens} tokens ({needed:,} tokens and some room between them); there "
        f"{'are' if there != 1 else 'is'} {there:,} tokens, which give {n_whole} windows. Add text."
    )
