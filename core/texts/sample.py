"""From a text to a token sample: disjoint windows that start at the same characters for every model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.errors import CorpusError, InputError
from core.geometry.clouds import contiguous_blocks
from core.registry.protocols import Protocol
from core.texts.chats import chat_word_span, cut_conversations, encode_chat, join_windows, read_template, template_hash
from core.texts.corpora import Corpus
from core.texts.windows import (
    Window,
    characters_for_tokens,
    is_wide,
    place_windows,
    plan_chat_windows,
    spare_chat_windows,
    spare_windows,
    window_text,
)
from core.texts.words import (
    Encoded,
    WordSet,
    choose_words,
    encode_text,
    opening_token,
    place_words,
    special_tokens,
    word_span,
)

MIN_TYPES = 300
"""Fewer token types than this do not make a cloud: d2 of a few hundred directions is mostly their choice."""
SMALL_VOCABULARY = 350
"""A tokenizer of fewer types knows little more than the 256 bytes, or the letters."""


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
    """Where each sequence starts, in the merged documents; the same for every model that leaves none short."""
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
    n_lengthened: int = 0
    """Windows that the tokenizer left short, and that read on past the end of their document."""
    n_redrawn: int = 0
    """Windows that the tokenizer left short, and that others of the same text stand in for."""
    opening_token: str | None = None
    """The token that the tokenizer has opened each window with (BOS); None where it opens none so."""

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


def draw_sample(
    corpus: Corpus,
    tokenizer,
    protocol: Protocol,
    seed: int,
    model: str = "this model",
    companions: Sequence[Any] = (),
    *,
    opened: bool = True,
) -> TokenSample:
    """Tokens of `protocol.n_sequences` windows by a transformers tokenizer; messages call its model `model`.

    `companions` are the tokenizers of the models that this one is to be compared with: its words are then those that
    all of them place. Windows are the same with and without them. A text that is not `opened` is read without the
    token that the tokenizer opens it with; chat messages always are as their template writes them.

    Raises CorpusError, with the counts, where the text is too short or the tokenizer leaves too few token types; and
    ModelError where chat messages meet a model without a chat template.
    """
    source, reads = _read_corpus(corpus, tokenizer, protocol, seed, model, opened)
    wide = is_wide(_beginning(corpus))
    windows, pieces = [read.window for read in reads.whole], [read.piece for read in reads.whole]
    encoded = [read.encoded for read in reads.whole]
    ids = np.array([window.ids for window in encoded])
    special, template = _special(encoded, tokenizer), np.stack([window.template for window in encoded])
    origin = np.array([window.document for window in windows])
    offsets = np.stack([window.offsets for window in encoded])
    placed = _words_placed_by_all(source, pieces, encoded, tokenizer, companions) if companions else []
    words = choose_words([source.text(p) for p in pieces], [source.word_span(p, wide) for p in pieces], placed)
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
        reads.n_lengthened,
        reads.n_redrawn,
        opening_token(tokenizer) if opened and not corpus.conversations else None,
    )
    n_types = len(np.unique(ids[:, 1:][sample.is_text[:, 1:]]))
    if n_types < MIN_TYPES and len(tokenizer) < SMALL_VOCABULARY:
        raise CorpusError(
            "The vocabulary of {model} has {n_tokenizer} types, of which {corpus} uses {n_types}; a cloud needs "
            "{min_types}. Models that read bytes or characters are not measured: choose one that reads words.",
            model=model,
            n_tokenizer=len(tokenizer),
            corpus=corpus.row.name,
            n_types=n_types,
            min_types=MIN_TYPES,
        )
    if n_types < MIN_TYPES:
        raise CorpusError(
            "The tokenizer of {model} leaves {n_types} token types in {n_tokens} tokens of {corpus} "
            "({tokens_per_character:.2f} tokens per character, {unknown_share:.0%} unknown); a cloud needs "
            "{min_types}. It does not fit this language: choose another text or another model.",
            model=model,
            n_types=n_types,
            n_tokens=ids.size,
            corpus=corpus.row.name,
            tokens_per_character=sample.tokens_per_character,
            unknown_share=sample.unknown_share,
            min_types=MIN_TYPES,
        )
    return sample


@dataclass(frozen=True)
class TokenWindows:
    """Windows of a text as a model reads them, of which nothing but the loss is asked."""

    ids: np.ndarray
    """(n_sequences, n_tokens) int64"""
    scored: np.ndarray
    """Which of them count as targets; (n_sequences, n_tokens) bool"""
    documents: np.ndarray
    """Document of each sequence; (n_sequences,)"""
    n_bytes: int = 0
    """UTF-8 bytes of the tokens that count as targets."""


def draw_windows(
    corpus: Corpus, tokenizer: Any, n_sequences: int, n_tokens: int, seed: int, purpose: str, model: str = "this model"
) -> TokenWindows:
    """Disjoint windows of a text, placed and read as those of a sample; messages say that they are for `purpose`.

    Raises CorpusError where the text is too short, ModelError where chat messages meet a model without a template.
    """
    protocol = Protocol(purpose, version=1, n_sequences=n_sequences, n_tokens=n_tokens, max_types=0)
    _, reads = _read_corpus(corpus, tokenizer, protocol, seed, model, True)
    encoded = [read.encoded for read in reads.whole]
    scored = ~np.stack([window.template for window in encoded])
    scored[:, 0] = False  # nothing comes before it
    return TokenWindows(
        np.array([window.ids for window in encoded]),
        scored,
        np.array([read.window.document for read in reads.whole]),
        sum(window.n_bytes for window in encoded),
    )


def _beginning(corpus: Corpus) -> str:
    """What a text's script is judged by."""
    return "".join(corpus.pieces[:200])


def _read_corpus(
    corpus: Corpus, tokenizer: Any, protocol: Protocol, seed: int, model: str, opened: bool
) -> tuple[_Source, _Reads]:
    """All windows of a protocol, whole. Raises CorpusError, with the counts, where the text is too short."""
    length = characters_for_tokens(_beginning(corpus), protocol.n_tokens)
    if corpus.conversations:
        source = _chat_windows(corpus, protocol, length, seed)
    else:
        source = _text_windows(corpus, protocol, length, seed, opened)
    if len(source.windows) < protocol.n_sequences:
        raise _too_short_error(corpus, protocol, tokenizer, len(source.windows))
    reads = _read_windows(source, tokenizer, model, protocol.n_tokens)
    if len(reads.whole) < protocol.n_sequences:
        raise _too_short_error(corpus, protocol, tokenizer, len(reads.whole))
    return source, reads


@dataclass(frozen=True)
class _Source:
    """The windows of a text before any tokenizer has read them.

    A place is counted in characters of the whole text, or in windows of chat messages.
    """

    windows: list[Window]
    pieces: list[Any]
    """What stands in each window: text, or a chat window; more than its tokens will reach."""
    encode: Callable[[Any, Any, str], Encoded]
    """A piece by a tokenizer; messages call its model by the name given."""
    text: Callable[[Any], str]
    """Of a piece, chat templates left out."""
    word_span: Callable[[Any, bool], int]
    """Characters of a piece that words are taken from; given whether the script is wide."""
    place: Callable[[Window], int]
    end: int
    """The place where the text ends."""
    furthest: int
    """Places after the start of a window in which any tokenizer finds its tokens."""
    between: Callable[[int, int], Any]
    """The piece between two places."""
    reach: Callable[[int, int, Encoded], int]
    """The place where a window ends that has read so much of what stands between two places."""
    spare: Callable[[], list[Window]]
    """Further windows in the room that is left, in the order in which they are used."""


@dataclass(frozen=True)
class _Read:
    """A window as a tokenizer has read it."""

    window: Window
    place: int
    end: int
    piece: Any
    encoded: Encoded


@dataclass(frozen=True)
class _Reads:
    whole: list[_Read]
    """Those that have all their tokens, in the order of the text."""
    n_lengthened: int
    n_redrawn: int


def _read_windows(source: _Source, tokenizer: Any, model: str, n_tokens: int) -> _Reads:
    """All windows by a tokenizer, as whole as the text allows.

    A window that its tokenizer leaves short reads on, into the next document too, up to the next window. Where that is
    not enough, spare windows stand in for it. Windows that are whole stay as they are, so that a tokenizer that leaves
    none short reads what it always did.
    """

    def read(window: Window, piece: Any, stop: int) -> _Read:
        encoded, place = source.encode(piece, tokenizer, model), source.place(window)
        return _Read(window, place, source.reach(place, stop, encoded), piece, encoded)

    def up_to(window: Window, stop: int) -> _Read:
        place = source.place(window)
        stop = min(stop, place + source.furthest)
        return read(window, source.between(place, stop), stop)

    def is_whole(found: _Read) -> bool:
        return len(found.encoded.ids) == n_tokens

    planned = [read(w, p, source.place(w) + 1) for w, p in zip(source.windows, source.pieces, strict=True)]
    following = [*(found.place for found in planned[1:]), source.end]
    tried = [
        found if is_whole(found) else up_to(found.window, stop) for found, stop in zip(planned, following, strict=True)
    ]
    whole = [found for found in tried if is_whole(found)]
    n_missing, n_lengthened = len(planned) - len(whole), len(whole) - sum(map(is_whole, planned))
    for window in source.spare() if n_missing else ():
        place = source.place(window)
        if len(whole) == len(planned):
            break
        if any(found.place <= place < found.end for found in whole):
            continue
        candidate = up_to(window, min((found.place for found in whole if found.place > place), default=source.end))
        if is_whole(candidate):
            whole.append(candidate)
    n_redrawn = n_missing - (len(planned) - len(whole))
    return _Reads(sorted(whole, key=lambda found: found.place), n_lengthened, n_redrawn)


def _text_windows(corpus: Corpus, protocol: Protocol, length: int, seed: int, opened: bool) -> _Source:
    n_tokens = protocol.n_tokens
    documents, windows = place_windows(corpus, protocol.n_sequences, length, seed)
    joined = "\n\n".join(documents)
    starts = np.cumsum([0, *(len(document) + 2 for document in documents)]).tolist()

    def place(window: Window) -> int:
        return starts[window.document] + window.start

    return _Source(
        windows,
        [window_text(documents, windows, i, n_tokens) for i in range(len(windows))],
        lambda text, tokenizer, _model: encode_text(text, tokenizer, n_tokens, opened),
        str,
        lambda _text, wide: word_span(n_tokens, wide),
        place,
        len(joined),
        400 * n_tokens,
        lambda start, stop: joined[start:stop],
        lambda start, _stop, encoded: start + max(encoded.n_characters, int(encoded.offsets.max())),
        lambda: spare_windows(documents, windows, length, corpus.row.sha256, seed),
    )


def _chat_windows(corpus: Corpus, protocol: Protocol, length: int, seed: int) -> _Source:
    documents = cut_conversations(corpus.conversations, length)
    room = [len(document) for document in documents]
    windows = plan_chat_windows(room, protocol.n_sequences, corpus.row.sha256, seed)
    everything = [chat for document in documents for chat in document]
    starts = np.cumsum([0, *room]).tolist()
    n, name = protocol.n_tokens, corpus.row.name

    def place(window: Window) -> int:
        return starts[window.document] + window.start

    return _Source(
        windows,
        [everything[place(window)] for window in windows],
        lambda chat, tokenizer, model: encode_chat(chat, tokenizer, n, model, name),
        lambda chat: chat.text,
        lambda chat, wide: chat_word_span(chat, n, wide),
        place,
        len(everything),
        8,
        lambda start, stop: join_windows(everything[start:stop]),
        lambda _start, stop, _encoded: stop,
        lambda: spare_chat_windows(room, windows, corpus.row.sha256, seed),
    )


def _special(encoded: list[Encoded], tokenizer: Any) -> np.ndarray:
    return np.stack([special_tokens(window, tokenizer) for window in encoded])


def _words_placed_by_all(
    source: _Source, pieces: list[Any], own: list[Encoded], tokenizer: Any, companions: Sequence[Any]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Offsets and special tokens by each tokenizer that words are chosen for.

    A companion that cannot read the text takes no words from the others: it is told why when its own turn comes.
    """
    found = [(own, tokenizer)] if tokenizer.is_fast else []
    for companion in companions:
        with suppress(InputError):
            if companion.is_fast:
                found.append(([source.encode(piece, companion, "a companion") for piece in pieces], companion))
    return [(np.stack([window.offsets for window in encoded]), _special(encoded, t)) for encoded, t in found]


def _has_unknown(tokenizer) -> bool:
    """Byte-level tokenizers name an unknown token that they can never produce, often one that also ends texts."""
    return tokenizer.unk_token_id is not None and tokenizer.unk_token_id not in (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
    )


def _too_short_error(corpus: Corpus, protocol: Protocol, tokenizer, n_whole: int) -> CorpusError:
    if corpus.conversations:
        return CorpusError(
            "The chat messages of {corpus} are too few for the {protocol} protocol: it needs {n_sequences} "
            "windows of {n_tokens} tokens, each from the start of a conversation or from a user's message on; "
            "its {n_documents:,} conversations of {n_characters:,} characters give {n_whole}. Add conversations.",
            corpus=corpus.row.name,
            protocol=protocol.name,
            n_sequences=protocol.n_sequences,
            n_tokens=protocol.n_tokens,
            n_documents=corpus.row.n_documents,
            n_characters=corpus.row.n_characters,
            n_whole=n_whole,
        )
    text = "\n\n".join(corpus.pieces)[:400_000]
    there = len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    needed = protocol.n_sequences * protocol.n_tokens
    return CorpusError(
        "The text {corpus} is too short for the {protocol} protocol: it needs {n_sequences} disjoint windows "
        "of {n_tokens} tokens ({needed:,} tokens and some room between them); this text has {there:,}, "
        "which give {n_whole} windows. Add text.",
        corpus=corpus.row.name,
        protocol=protocol.name,
        n_sequences=protocol.n_sequences,
        n_tokens=protocol.n_tokens,
        needed=needed,
        there=there,
        n_whole=n_whole,
    )


def shuffle_tokens(sample: TokenSample, seed: int) -> TokenSample:
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
