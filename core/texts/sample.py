"""From a text to a token sample: disjoint windows that start at the same characters for every model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.errors import CorpusError, InputError
from core.geometry.clouds import contiguous_blocks
from core.registry.protocols import Protocol
from core.texts.chats import chat_word_span, cut_documents, encode_chat, read_template, template_hash
from core.texts.corpora import Corpus
from core.texts.words import Encoded, WordSet, choose_words, encode_text, place_words, special_tokens, word_span

MIN_TYPES = 300
"""Fewer token types than this do not make a cloud: d2 of a few hundred directions is mostly their choice."""
SMALL_VOCABULARY = 350
"""A tokenizer of fewer types knows little more than the 256 bytes, or the letters."""
# Characters reserved for a token. Generous for the script, so that windows stay disjoint under any tokenizer.
CHARACTERS_PER_TOKEN = 5.5
CHARACTERS_PER_TOKEN_CJK = 2.2


@dataclass(frozen=True)
class Window:
    document: int
    start: int
    """Offset in characters within the document; of chat messages, the number of the window in it."""


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
    """UTF-8 bytes of the tokens 1..T-1 of every sequence, those of a chat template left out."""
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
    template: np.ndarray
    """Tokens that the chat template has written around the messages, special ones among them; the model reads them,
    and nothing is measured on them; (n_sequences, n_tokens) bool"""
    chat_template_hash: str | None
    """Of the chat template; None for plain text."""

    @property
    def is_text(self) -> np.ndarray:
        """Tokens of the text itself, or of the messages' contents; (n_sequences, n_tokens) bool"""
        return ~(self.special | self.template)

    @property
    def digest(self) -> str:
        """Of all that decides which states are measured and what becomes of them."""
        parts = (self.ids, self.special, self.template, self.blocks, self.word_rows)
        content = [np.ascontiguousarray(part).tobytes() for part in parts]
        return hashlib.sha256(b"".join([*content, self.words.hash.encode()])).hexdigest()

    @property
    def tokens_per_character(self) -> float:
        return int(self.is_text.sum()) / self.n_characters


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


def plan_chat_windows(room: list[int], n_windows: int, corpus_hash: str, seed: int) -> list[Window]:
    """Windows out of documents of so many each, in the order of the text; the same for every model.

    With enough documents each window is the start of its own: what a chat model reads is the start of a conversation.
    Otherwise they are shared out by room. Returns fewer windows when there is no room.
    """
    generator = np.random.default_rng([int(corpus_hash[:8], 16), seed])
    if len(room) >= n_windows:
        return [Window(int(index), 0) for index in np.sort(generator.choice(len(room), n_windows, replace=False))]
    counts = _share_out(np.array(room, dtype=np.int64), n_windows)
    return [
        Window(index, int(number))
        for index, count in enumerate(counts.tolist())
        for number in np.sort(generator.choice(room[index], count, replace=False))
    ]


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

    Raises CorpusError, with the counts, where the text is too short or the tokenizer leaves too few token types; and
    ModelError where chat messages meet a model without a chat template.
    """
    beginning = "".join(corpus.pieces[:200])
    length = reserve(beginning, protocol.n_tokens)
    source = (_chat_windows if corpus.conversations else _text_windows)(corpus, protocol, length, seed)
    windows = source.windows
    if len(windows) < protocol.n_sequences:
        raise _too_short(corpus, protocol, tokenizer, len(windows))
    encoded = source.encode(tokenizer, model)
    if any(len(window.ids) < protocol.n_tokens for window in encoded):
        whole = sum(len(window.ids) == protocol.n_tokens for window in encoded)
        raise _too_short(corpus, protocol, tokenizer, whole)
    ids = np.array([window.ids for window in encoded])
    special, template = _special(encoded, tokenizer), np.stack([window.template for window in encoded])
    origin = np.array([window.document for window in windows])
    offsets = np.stack([window.offsets for window in encoded])
    placed = _placed_by_all(source, encoded, tokenizer, companions) if companions else []
    words = choose_words(source.texts, source.word_spans(is_wide(beginning)), placed)
    sample = TokenSample(
        ids,
        special,
        origin,
        contiguous_blocks(origin, protocol.n_blocks),
        sum(window.n_characters for window in encoded),
        sum(window.n_bytes for window in encoded),
        float((ids == tokenizer.unk_token_id)[~template].mean()) if _has_unknown(tokenizer) else 0.0,
        tuple(windows),
        offsets,
        words,
        place_words(words, offsets, special),
        template,
        template_hash(read_template(tokenizer, model)) if corpus.conversations else None,
    )
    n_types = len(np.unique(ids[:, 1:][sample.is_text[:, 1:]]))
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


@dataclass(frozen=True)
class _Source:
    """The windows of a text before any tokenizer has read them."""

    windows: list[Window]
    texts: list[str]
    """What stands in each window, chat templates left out; more than its tokens will reach."""
    encode: Callable[[Any, str], list[Encoded]]
    """All windows by a tokenizer; messages call its model by the name given."""
    word_spans: Callable[[bool], list[int]]
    """Characters of each window that words are taken from; given whether the script is wide."""


def _text_windows(corpus: Corpus, protocol: Protocol, length: int, seed: int) -> _Source:
    documents, windows = place_windows(corpus, protocol.n_sequences, length, seed)
    texts = [_window_text(documents, windows, i, protocol.n_tokens) for i in range(len(windows))]
    return _Source(
        windows,
        texts,
        lambda tokenizer, _model: [encode_text(text, tokenizer, protocol.n_tokens) for text in texts],
        lambda wide: [word_span(protocol.n_tokens, wide)] * len(texts),
    )


def _chat_windows(corpus: Corpus, protocol: Protocol, length: int, seed: int) -> _Source:
    documents = cut_documents(corpus.conversations, length)
    windows = plan_chat_windows(list(map(len, documents)), protocol.n_sequences, corpus.row.sha256, seed)
    chats = [documents[window.document][window.start] for window in windows]
    n, name = protocol.n_tokens, corpus.row.name
    return _Source(
        windows,
        [chat.text for chat in chats],
        lambda tokenizer, model: [encode_chat(chat, tokenizer, n, model, name) for chat in chats],
        lambda wide: [chat_word_span(chat, n, wide) for chat in chats],
    )


def _special(encoded: list[Encoded], tokenizer: Any) -> np.ndarray:
    return np.stack([special_tokens(window, tokenizer) for window in encoded])


def _placed_by_all(
    source: _Source, own: list[Encoded], tokenizer: Any, companions: Sequence[Any]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Offsets and special tokens by each tokenizer that words are chosen for.

    A companion that cannot read the text takes no words from the others: it is told why when its own turn comes.
    """
    found = [(own, tokenizer)] if tokenizer.is_fast else []
    for companion in companions:
        with suppress(InputError):
            if companion.is_fast:
                found.append((source.encode(companion, "a companion"), companion))
    return [(np.stack([window.offsets for window in encoded]), _special(encoded, t)) for encoded, t in found]


def _has_unknown(tokenizer) -> bool:
    """Byte-level tokenizers name an unknown token that they can never produce, often one that also ends texts."""
    return tokenizer.unk_token_id is not None and tokenizer.unk_token_id not in (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
    )


def _window_text(documents: list[str], windows: list[Window], index: int, n_tokens: int) -> str:
    """Text from the start of a window that any tokenizer finds `n_tokens` tokens in, not into the next window."""
    window, document = windows[index], documents[windows[index].document]
    following = windows[index + 1] if index + 1 < len(windows) else None
    end = following.start if following and following.document == window.document else len(document)
    return document[window.start : min(end, window.start + 40 * n_tokens)]


def _too_short(corpus: Corpus, protocol: Protocol, tokenizer, n_whole: int) -> CorpusError:
    if corpus.conversations:
        return CorpusError(
            f"The chat messages of {corpus.row.name} are too few for the {protocol.name} protocol: it needs "
            f"{protocol.n_sequences} windows of {protocol.n_tokens} tokens, each from the start of a conversation or "
            f"from a user's message on; its {corpus.row.n_documents:,} conversations of {corpus.row.n_characters:,} "
            f"characters give {n_whole}. Add conversations."
        )
    text = "\n\n".join(corpus.pieces)[:400_000]
    there = len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    needed = protocol.n_sequences * protocol.n_tokens
    return CorpusError(
        f"The text {corpus.row.name} is too short for the {protocol.name} protocol: it needs {protocol.n_sequences} "
        f"disjoint windows of {protocol.n_tokens} tokens ({needed:,} tokens and some room between them); there "
        f"{'are' if there != 1 else 'is'} {there:,} tokens, which give {n_whole} windows. Add text."
    )


def shuffled(sample: TokenSample, seed: int) -> TokenSample:
    """Tokens of each sequence in a seeded order; position 0, special tokens and chat templates stay in their places.

    What is left of a profile then comes from the vocabulary and the weights, not from what the text says. Words have no
    places any more, so there is no cloud of them.
    """
    generator = np.random.default_rng([seed, 6])
    ids = sample.ids.copy()
    for row, is_text in zip(ids, sample.is_text, strict=True):
        movable = np.flatnonzero(is_text)
        movable = movable[movable > 0]
        row[movable] = row[generator.permutation(movable)]
    return replace(sample, ids=ids, word_rows=np.full(len(sample.word_rows), -1))
