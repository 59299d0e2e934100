"""From a text to a token sample: disjoint windows that start at the same characters for every model."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np

from core.errors import CorpusError, InputError, ModelError, Sentence, sentences
from core.limits import opening
from core.records import RunConfig
from core.registry.estimators import require_on_request
from core.registry.protocols import Protocol, find_protocol
from core.texts.corpora import BETWEEN, Conversation, Corpus, Message, join_contents, open_corpus
from core.texts.windows import (
    COVERED_PER_TOKEN,
    COVERED_PER_TOKEN_CJK,
    FEWEST_OF_PLAN,
    FEWEST_PASSAGES,
    LOSSES_ALONE,
    SHORTEST_OF_PLAN,
    Encoded,
    Window,
    WordSet,
    blocks_of_passages,
    characters_for_tokens,
    choose_words,
    encode_text,
    group_near_copies,
    is_wide,
    join_neighbours,
    merge_pieces,
    opening_token,
    place_windows,
    place_words,
    plan_chat_windows,
    read_offsets,
    require_windows,
    spare_chat_windows,
    spare_windows,
    special_tokens,
    unknown_token,
    window_text,
    word_span,
)

MIN_TYPES = 300
"""Least number of token types of a cloud: d2 of a few hundred directions depends mostly on which they are."""


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
    bytes_scored: np.ndarray
    """UTF-8 bytes of the tokens 1..T-1 of each sequence, those of a chat template left out; (n_sequences,)"""
    unknown_share: float
    """Share of the tokens that are the tokenizer's unknown token."""
    windows: tuple[Window, ...]
    """Where each sequence starts in the merged documents; the same for every model that fills all windows."""
    offsets: np.ndarray
    """First character of each token and one past the last, from the start of its window; -1 for tokens that cover none
    (special ones) and if the tokenizer gives no offsets; (n_sequences, n_tokens, 2) int32"""
    words: WordSet
    """The occurrences that the cloud `one_per_word` draws from."""
    word_rows: np.ndarray
    """Row (sequence * n_tokens + position) of the token that represents each occurrence, or -1; (n_occurrences,)"""
    template: np.ndarray
    """Tokens that the chat template adds around the messages, special ones among them; the model reads them, and nothing
    is measured on them; (n_sequences, n_tokens) bool"""
    chat_template_hash: str | None
    """Hash of the chat template; None for plain text."""
    n_lengthened: int = 0
    """Number of windows with too few tokens that were continued past the end of their document."""
    n_redrawn: int = 0
    """Number of windows with too few tokens that were replaced by others of the same text."""
    opening_token: str | None = None
    """The token (BOS) that the tokenizer opens each window with, if any."""
    passages: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """The first sequence of which each one is a near copy, in most cases itself; (n_sequences,)"""
    copied_share: float = 0.0
    """Share of the windows that are near copies of another."""

    @property
    def is_text(self) -> np.ndarray:
        """Tokens of the text itself, or of the messages' contents; (n_sequences, n_tokens) bool"""
        return ~(self.special | self.template)

    @property
    def n_blocks(self) -> int:
        return int(self.blocks.max()) + 1

    @property
    def n_bytes_scored(self) -> int:
        return int(self.bytes_scored.sum())

    @property
    def digest(self) -> str:
        """SHA-256 over everything that decides which states are measured and how they are used."""
        arrays = (self.ids, self.special, self.template, self.blocks, self.word_rows)
        content = [np.ascontiguousarray(array).tobytes() for array in arrays]
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
    """The tokens of `protocol.n_sequences` windows of a text by a transformers tokenizer.

    `model` is the name of its model in errors. `companions` are the tokenizers of the models that this one is to be
    compared with: its words are then those that all of them place. Windows are the same with and without companions. If
    not `opened`, plain text is read without the tokenizer's opening token.

    Raises CorpusError, with the counts, if the text is too short or has too few token types; ModelError for chat messages
    and a model without a chat template.
    """
    source, complete, n_lengthened, n_redrawn = _read_corpus(corpus, tokenizer, protocol, seed, model, opened)
    wide = is_wide(corpus.beginning)
    windows, contents, encoded = ([getattr(one, name) for one in complete] for name in ("window", "content", "encoded"))
    ids, template, offsets = (
        np.stack([getattr(one, name) for one in encoded]) for name in ("ids", "template", "offsets")
    )
    special, documents = _special(encoded, tokenizer), np.array([window.document for window in windows])
    words = choose_words(
        [source.text(content) for content in contents],
        [source.word_span(content, wide) for content in contents],
        _token_spans(source, contents, encoded, tokenizer, companions) if companions else [],
    )
    passages = group_near_copies(ids, ~(special | template))
    n_passages, n_windows = len(np.unique(passages)), len(passages)
    if n_passages < FEWEST_PASSAGES:
        passages = np.arange(n_windows)
    sample = TokenSample(
        ids,
        special,
        documents,
        blocks_of_passages(documents, passages, protocol.n_blocks),
        sum(window.n_characters for window in encoded),
        np.array([window.n_bytes for window in encoded]),
        0.0 if (unknown := unknown_token(tokenizer)) is None else float((ids == unknown)[~template].mean()),
        tuple(windows),
        offsets,
        words,
        place_words(words, offsets, special),
        template,
        template_hash(read_template(tokenizer, model)) if corpus.conversations else None,
        n_lengthened,
        n_redrawn,
        opening_token(tokenizer) if opened and not corpus.conversations else None,
        passages,
        1 - n_passages / n_windows,
    )
    n_types = len(np.unique(ids[:, 1:][sample.is_text[:, 1:]]))
    if n_types < MIN_TYPES:
        remedy = Sentence("Choose a more varied text, or a model that reads words of its language.")
        raise too_few_types(corpus, n_types, sentences(remedy, LOSSES_ALONE))
    return sample


def too_few_types(corpus: Corpus, n_types: int, remedy: str) -> CorpusError:
    """The error for a text whose tokens are too few kinds for a cloud."""
    return CorpusError(
        "{corpus} gives {n_types} token types; a cloud needs {min_types}. {remedy}",
        corpus=corpus.row.name,
        n_types=n_types,
        min_types=MIN_TYPES,
        remedy=remedy,
    )


@dataclass(frozen=True)
class TokenWindows:
    """Windows of a text in tokens, for measuring a loss."""

    ids: np.ndarray
    """(n_sequences, n_tokens) int64"""
    scored: np.ndarray
    """Which tokens count as targets; (n_sequences, n_tokens) bool"""
    documents: np.ndarray
    """Document of each sequence; (n_sequences,)"""
    n_bytes: int = 0
    """UTF-8 bytes of the tokens that count as targets."""


def draw_windows(
    corpus: Corpus, tokenizer: Any, n_sequences: int, n_tokens: int, seed: int, purpose: str, model: str = "this model"
) -> TokenWindows:
    """Disjoint windows of a text, placed and tokenised as those of a sample; `purpose` names them in errors.

    Raises CorpusError if the text is too short, ModelError for chat messages and a model without a chat template.
    """
    protocol = _window_protocol(purpose, n_sequences, n_tokens)
    with opening(model):
        _, complete, *_ = _read_corpus(corpus, tokenizer, protocol, seed, model, True)
    encoded = [window.encoded for window in complete]
    scored = ~np.stack([window.template for window in encoded])
    scored[:, 0] = False  # nothing comes before it
    return TokenWindows(
        np.array([window.ids for window in encoded]),
        scored,
        np.array([window.window.document for window in complete]),
        sum(window.n_bytes for window in encoded),
    )


def _read_corpus(
    corpus: Corpus, tokenizer: Any, protocol: Protocol, seed: int, model: str, opened: bool
) -> tuple[_Source, list[_TokenizedWindow], int, int]:
    """All windows of a protocol, each complete, and how many were lengthened and redrawn for it.

    Raises CorpusError, with the counts, if the text is too short.
    """
    source = _plan_source(corpus, protocol, seed, opened)
    complete, n_lengthened, n_redrawn = _tokenize_windows(source, tokenizer, model, protocol.n_tokens)
    require_windows(corpus, protocol, len(complete))
    return source, complete, n_lengthened, n_redrawn


def require_length(corpus: Corpus, n_sequences: int, n_tokens: int, seed: int, purpose: str) -> None:
    """Raises CorpusError for a text that has no room for so many windows under any tokenizer, so that no model has to be
    downloaded to find it; `purpose` names the windows."""
    _plan_source(corpus, _window_protocol(purpose, n_sequences, n_tokens), seed, True)


def open_text(config: RunConfig) -> tuple[Protocol, Corpus]:
    """Protocol and text of a measurement, before a model is fetched for them. Raises InputError for an unknown protocol or
    a text that cannot be read, CorpusError for one that is too short for any model."""
    protocol = find_protocol(config.protocol)
    require_on_request(config.estimators, protocol.name, protocol.clouds)
    corpus = open_corpus(config.corpus, config.column, config.encoding, config.chat)
    require_length(corpus, protocol.n_sequences, protocol.n_tokens, config.seed, protocol.name)
    return protocol, corpus


def _window_protocol(purpose: str, n_sequences: int, n_tokens: int) -> Protocol:
    return Protocol(purpose, version=1, n_sequences=n_sequences, n_tokens=n_tokens, max_types=0)


def _plan_source(corpus: Corpus, protocol: Protocol, seed: int, opened: bool) -> _Source:
    """The windows of a text, placed by its characters alone. Raises CorpusError if there is no room for all of them."""
    length = characters_for_tokens(corpus.beginning, protocol.n_tokens)
    if corpus.conversations:
        source = _chat_windows(corpus, protocol, length, seed)
    else:
        source = _text_windows(corpus, protocol, length, seed, opened)
    require_windows(corpus, protocol, len(source.windows))
    return source


@dataclass(frozen=True)
class _Source:
    """The windows of a text before tokenisation.

    Positions are counted in characters of the whole text, or in windows of chat messages.
    """

    windows: list[Window]
    contents: list[Any]
    """Content of each window, text or a chat window; more than its tokens will cover."""
    encode: Callable[[Any, Any, str], Encoded]
    """(content, tokenizer, name of its model for errors) -> tokens."""
    text: Callable[[Any], str]
    """The text of a content, without chat templates."""
    word_span: Callable[[Any, bool], int]
    """(content, whether the script is wide) -> number of characters that words are taken from."""
    starts: list[int]
    """Position of each document."""
    end: int
    """Position of the end of the text."""
    max_length: int
    """Length after the start of a window in which any tokenizer finds its tokens."""
    content_between: Callable[[int, int], Any]
    """The content between two positions."""
    end_of: Callable[[int, int, Encoded], int]
    """(start, stop, tokens) -> position where a window ends whose tokens were found between start and stop."""
    spare_windows: Callable[[], list[Window]]
    """Further windows in the room that is left, in the order in which they are used."""

    def position(self, window: Window) -> int:
        return self.starts[window.document] + window.start


@dataclass(frozen=True)
class _TokenizedWindow:
    window: Window
    start: int
    end: int
    content: Any
    encoded: Encoded


def _tokenize_windows(
    source: _Source, tokenizer: Any, model: str, n_tokens: int
) -> tuple[list[_TokenizedWindow], int, int]:
    """The windows that have all their tokens, in the order of the text, and how many were lengthened and redrawn for it.

    A window with too few tokens is continued, into the next document too, up to the next window. If that is not enough,
    a spare window replaces it. Complete windows stay as they are, so that a tokenizer that fills all windows reads the
    same text whether or not others do.
    """

    def tokenize(window: Window, stop: int, content: Any = None) -> _TokenizedWindow:
        """The planned content of a window, or if none is given all up to `stop`."""
        start = source.position(window)
        if content is None:
            stop = min(stop, start + source.max_length)
            content = source.content_between(start, stop)
        encoded = source.encode(content, tokenizer, model)
        return _TokenizedWindow(window, start, source.end_of(start, stop, encoded), content, encoded)

    def is_complete(tokenized: _TokenizedWindow) -> bool:
        return len(tokenized.encoded.ids) == n_tokens

    planned = [
        tokenize(window, source.position(window) + 1, content)
        for window, content in zip(source.windows, source.contents, strict=True)
    ]
    next_starts = [*(tokenized.start for tokenized in planned[1:]), source.end]
    lengthened = [
        tokenized if is_complete(tokenized) else tokenize(tokenized.window, stop)
        for tokenized, stop in zip(planned, next_starts, strict=True)
    ]
    complete = [tokenized for tokenized in lengthened if is_complete(tokenized)]
    n_missing, n_lengthened = len(planned) - len(complete), len(complete) - sum(map(is_complete, planned))
    for window in source.spare_windows() if n_missing else ():
        start = source.position(window)
        if len(complete) == len(planned):
            break
        if any(tokenized.start <= start < tokenized.end for tokenized in complete):
            continue
        next_start = min((tokenized.start for tokenized in complete if tokenized.start > start), default=source.end)
        candidate = tokenize(window, next_start)
        if is_complete(candidate):
            complete.append(candidate)
    n_redrawn = n_missing - (len(planned) - len(complete))
    return sorted(complete, key=lambda tokenized: tokenized.start), n_lengthened, n_redrawn


def _text_windows(corpus: Corpus, protocol: Protocol, length: int, seed: int, opened: bool) -> _Source:
    n_tokens = protocol.n_tokens
    documents, windows = place_windows(corpus, protocol.n_sequences, length, seed)
    joined = BETWEEN.join(documents)
    return _Source(
        windows,
        contents=[window_text(documents, windows, index, n_tokens) for index in range(len(windows))],
        encode=lambda text, tokenizer, model: encode_text(text, tokenizer, n_tokens, opened, model),
        text=str,
        word_span=lambda _text, wide: word_span(n_tokens, wide),
        starts=np.cumsum([0, *(len(document) + len(BETWEEN) for document in documents)]).tolist(),
        end=len(joined),
        max_length=400 * n_tokens,
        content_between=lambda start, stop: joined[start:stop],
        end_of=lambda start, _stop, encoded: start + max(encoded.n_characters, int(encoded.offsets.max())),
        spare_windows=lambda: spare_windows(documents, windows, length, corpus.row.sha256, seed),
    )


def _chat_windows(corpus: Corpus, protocol: Protocol, length: int, seed: int) -> _Source:
    documents = cut_conversations(corpus.conversations, length)
    windows_per_document = [len(document) for document in documents]
    windows = plan_chat_windows(windows_per_document, protocol.n_sequences, corpus.row.sha256, seed)
    all_windows = [chat for document in documents for chat in document]
    starts = np.cumsum([0, *windows_per_document]).tolist()
    n_tokens, name = protocol.n_tokens, corpus.row.name
    return _Source(
        windows,
        contents=[all_windows[starts[window.document] + window.start] for window in windows],
        encode=lambda chat, tokenizer, model: encode_chat(chat, tokenizer, n_tokens, model, name),
        text=lambda chat: chat.text,
        word_span=lambda chat, wide: chat_word_span(chat, n_tokens, wide),
        starts=starts,
        end=len(all_windows),
        max_length=8,
        content_between=lambda start, stop: join_windows(all_windows[start:stop]),
        end_of=lambda _start, stop, _encoded: stop,
        spare_windows=lambda: spare_chat_windows(windows_per_document, windows, corpus.row.sha256, seed),
    )


def _special(encoded: list[Encoded], tokenizer: Any) -> np.ndarray:
    """Which tokens have a special id; (n_sequences, n_tokens) bool"""
    return np.stack([special_tokens(window, tokenizer) for window in encoded])


def _token_spans(
    source: _Source, contents: list[Any], encoded_windows: list[Encoded], tokenizer: Any, companions: Sequence[Any]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Offsets and special tokens of each tokenizer that words are chosen for.

    A companion that cannot read the text is left out: its own measurement will report why.
    """
    readings = [(encoded_windows, tokenizer)] if tokenizer.is_fast else []
    for companion in companions:
        with suppress(InputError):
            if companion.is_fast:
                readings.append(([source.encode(content, companion, "a companion") for content in contents], companion))
    return [
        (np.stack([window.offsets for window in encoded]), _special(encoded, reader)) for encoded, reader in readings
    ]


def shuffle_tokens(sample: TokenSample, seed: int) -> TokenSample:
    """Shuffle the tokens within each sequence; position 0, special tokens and chat templates stay in place.

    What remains of a profile comes from the vocabulary and the weights, not from the order of the text. Words are lost,
    so there is no cloud of them.
    """
    generator = np.random.default_rng([seed, 6])
    ids = sample.ids.copy()
    for row, is_text in zip(ids, sample.is_text, strict=True):
        movable = np.flatnonzero(is_text)
        movable = movable[movable > 0]
        row[movable] = row[generator.permutation(movable)]
    return replace(sample, ids=ids, word_rows=np.full(len(sample.word_rows), -1))


# --- the two halves of a layer plan ----------------------------------------------------------------------------------

LAYER_PLAN = "layer plan"
STRETCHES = 8
"""The text is cut into so many stretches of neighbouring documents, which go to the two halves alternately."""
MOST_OF_HALF = 0.75
"""Share of the text that the second half may have at most: a document belongs to the stretch where it ends."""


def split_in_halves(corpus: Corpus, length: int) -> tuple[Corpus, Corpus]:
    """Two texts of about the same size that share no document, each at least `length` characters long.

    Documents are the pieces of the corpus; short neighbours count as one. Raises CorpusError for a text of one document.
    """
    n_documents = len(merge_pieces(corpus.pieces, length))
    if n_documents < 2:
        raise CorpusError(
            "{corpus} needs two documents of {length:,} characters, to choose and to verify. Separate them by blank lines, or add text.",
            corpus=corpus.row.name,
            length=length,
        )
    lengths = np.array([len(piece) for piece in corpus.pieces])
    ends, n = np.cumsum(lengths), min(STRETCHES, 2 * (n_documents // 2))
    is_second = ends * n // (ends[-1] + 1) % 2 == 1
    if lengths[is_second].sum() > MOST_OF_HALF * ends[-1]:  # of a long document, where its middle is
        is_second = (ends - lengths / 2) * n // (ends[-1] + 1) % 2 == 1
    halves = [np.flatnonzero(is_second == half) for half in (False, True)]
    return tuple(  # type: ignore[return-value]
        replace(
            corpus,
            row=replace(corpus.row, n_characters=int(lengths[half].sum())),
            pieces=[corpus.pieces[i] for i in half],
            conversations=tuple(corpus.conversations[i] for i in half) if corpus.conversations else (),
        )
        for half in halves
    )


def require_halves(corpus: Corpus, seed: int) -> None:
    """Raises CorpusError for a text that is too short to choose and verify a plan on, whatever the model."""
    try:
        for half in split_in_halves(corpus, characters_for_tokens(corpus.beginning, SHORTEST_OF_PLAN)):
            require_length(half, FEWEST_OF_PLAN, SHORTEST_OF_PLAN, seed, LAYER_PLAN)
    except CorpusError as error:
        raise half_too_short(error) from error


def half_too_short(error: CorpusError) -> CorpusError:
    return CorpusError("Half of the text is held out to verify the plan. {error}", error=error)


# --- chat messages, the same for every model, rendered by its own template ------------------------------------------

TOKENS_PER_CONVERSATION = 24
"""Tokens that a template may add before the first message, such as a system prompt of its own."""
TOKENS_PER_MESSAGE = 7
"""Tokens that a template may add around each message. Both only decide how far words are searched: with a template that
adds more, some words are lost, which is counted."""


@dataclass(frozen=True)
class Turns:
    """Consecutive messages of one conversation, from its start or from a user's message on."""

    conversation: int
    """Number of the conversation in the file, from 1."""
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class ChatWindow:
    """The content of one sequence: turns of a conversation, and of the next ones if it is short."""

    turns: tuple[Turns, ...]

    @property
    def messages(self) -> list[Message]:
        return [message for turns in self.turns for message in turns.messages]

    @property
    def text(self) -> str:
        """The contents without a template, the same for every model; offsets of words count in it."""
        return join_contents(self.messages)


def cut_conversations(conversations: Sequence[Conversation], length: int) -> list[list[ChatWindow]]:
    """Documents, each as a list of windows of at least `length` characters of content.

    Short neighbouring conversations form one document: its window contains several of them, each rendered separately, so
    that nothing is padded. A long conversation gives several windows. All but the first start at a user's message, where
    every template can start; the system message is in the first only.
    """
    documents = []
    for start, stop in join_neighbours([len(join_contents(messages)) for messages in conversations], length):
        turns = [turns for number in range(start, stop) for turns in _turns(number + 1, conversations[number])]
        runs = join_neighbours([len(join_contents(turn.messages)) for turn in turns], length)
        documents.append([ChatWindow(_merge_turns(turns[first_turn:end_turn])) for first_turn, end_turn in runs])
    return documents


def join_windows(windows: Sequence[ChatWindow]) -> ChatWindow:
    """Neighbouring windows as one."""
    return ChatWindow(_merge_turns([turns for window in windows for turns in window.turns]))


def encode_chat(window: ChatWindow, tokenizer: Any, n_tokens: int, model: str, name: str) -> Encoded:
    """The window in tokens, as the model reads it. `name` is that of the text, for errors.

    A token is content if everything that it covers, white space aside, is content: " Hello" is, whether or not the
    template wrote the space. Offsets are those in `window.text`, -1 for tokens of the template.

    Raises ModelError for a model without a chat template, CorpusError if the template changes or refuses the messages.
    """
    template = read_template(tokenizer, model)
    text, content_starts = "", []
    for turns in window.turns:
        conversation = f"conversation {turns.conversation} of {name}"
        rendered, starts = render(turns.messages, template, tokenizer, model, conversation)
        content_starts += [len(text) + start for start in starts]
        text += rendered
    text = text[: 40 * n_tokens]  # any tokenizer finds its tokens in that
    # A template writes the special tokens itself.
    encoding = tokenizer(
        text, add_special_tokens=False, truncation=True, max_length=n_tokens, return_offsets_mapping=True, verbose=False
    )
    offsets = _in_contents(read_offsets(encoding, n_tokens), text, content_starts, window.messages)
    covered = _covered_characters(offsets, len(window.text))
    targets = _covered_characters(offsets[1:], len(window.text))
    if not covered.any():
        raise _no_template(model, Sentence("it fills a window of {n_tokens} tokens", n_tokens=n_tokens))
    target_text = "".join(character for character, is_target in zip(window.text, targets, strict=True) if is_target)
    ids = list(encoding["input_ids"])
    is_template = (offsets[:, 0] < 0) & (np.arange(n_tokens) < len(ids))
    return Encoded(ids, int(covered.sum()), len(target_text.encode()), offsets, is_template)


def chat_word_span(window: ChatWindow, n_tokens: int, wide: bool) -> int:
    """Number of characters of `window.text` that words are taken from, after the tokens of a usual template.

    `wide` for Chinese, Japanese and Korean.
    """
    per_token = COVERED_PER_TOKEN_CJK if wide else COVERED_PER_TOKEN
    tokens_left, n_characters = float(n_tokens), 0
    for turns in window.turns:
        tokens_left -= TOKENS_PER_CONVERSATION
        for message in turns.messages:
            tokens_left -= TOKENS_PER_MESSAGE
            n_taken = min(len(message.content), max(0, math.floor(tokens_left * per_token)))
            if n_taken < len(message.content):
                return n_characters + n_taken
            tokens_left -= n_taken / per_token
            n_characters += n_taken + len(BETWEEN)
    return n_characters


def _in_contents(offsets: np.ndarray, text: str, content_starts: list[int], messages: list[Message]) -> np.ndarray:
    """Offsets in the rendered text converted to offsets in the joined contents; -1 for tokens of the template."""
    content_position = np.full(len(text), -1)  # position of each rendered character in the joined contents
    joined_length = 0
    for start, message in zip(content_starts, messages, strict=True):
        positions = content_position[start : start + len(message.content)]
        positions[:] = joined_length + np.arange(len(positions))
        joined_length += len(message.content) + len(BETWEEN)
    is_template = (content_position < 0) & ~np.array([character.isspace() for character in text])
    content_offsets = np.full_like(offsets, -1)
    for token in np.flatnonzero(offsets[:, 0] >= 0):
        span = slice(*offsets[token])
        covered = content_position[span][content_position[span] >= 0]
        if len(covered) and not is_template[span].any():
            content_offsets[token] = covered[0], covered[-1] + 1
    return content_offsets


def _covered_characters(offsets: np.ndarray, n_characters: int) -> np.ndarray:
    """Which characters the tokens cover; (n_characters,) bool"""
    covered = np.zeros(n_characters, dtype=bool)
    for start, stop in offsets[offsets[:, 0] >= 0]:
        covered[start:stop] = True
    return covered


def _turns(conversation: int, messages: Conversation) -> Iterator[Turns]:
    """The conversation cut before each user's message but the first."""
    users = [index for index, message in enumerate(messages) if message.role == "user"]
    cuts = [0, *users[1:], len(messages)]
    for start, stop in itertools.pairwise(cuts):
        yield Turns(conversation, messages[start:stop])


def _merge_turns(turns: Sequence[Turns]) -> tuple[Turns, ...]:
    """Neighbouring turns of the same conversation joined."""
    merged = list[Turns]()
    for turn in turns:
        if merged and merged[-1].conversation == turn.conversation:
            merged[-1] = replace(merged[-1], messages=merged[-1].messages + turn.messages)
        else:
            merged.append(turn)
    return tuple(merged)


TODAY = datetime(2024, 7, 26, 12)
"""The date that templates get: those that write the date would otherwise render other tokens every day."""
MARK = "\U0010fffd"
"""Marks the contents in a second rendering: a private-use character that neither files nor templates contain."""


def _no_template(model: str, reason: str, kind: type[InputError] = CorpusError) -> InputError:
    message = Sentence(
        "The chat template of {model} cannot be used: {reason}. Choose another model, or --chat plain.",
        model=model,
        reason=reason,
    )
    return kind(message)


def read_template(tokenizer: Any, model: str) -> str:
    """The chat template, with the date pinned. Raises ModelError if the model has none, or one that cannot be masked."""
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:
        raise _no_template(model, Sentence("there is none for this chat"), ModelError) from error
    if not tokenizer.is_fast:
        raise _no_template(model, Sentence("its tokenizer gives no positions of tokens"), ModelError)
    return (_pinned_date() if "strftime_now" in template else "") + template


def template_hash(template: str) -> str:
    """Twelve hex digits, equal for models with the same chat template."""
    return hashlib.sha256(template.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def render(messages: Sequence[Message], template: str, tokenizer: Any, model: str, name: str) -> tuple[str, list[int]]:
    """The messages of a conversation as the model reads them, and the position of each content in that text.

    The contents are found by rendering them once more between marks, which tells them from the same words written by the
    template. `name` is that of the conversation, for errors.

    Raises CorpusError if the template refuses, omits, reorders or changes messages.
    """
    text = _apply([(m.role, m.content) for m in messages], template, tokenizer, model, name)
    marked = _apply([(m.role, MARK + m.content + MARK) for m in messages], template, tokenizer, model, name)
    segments = marked.split(MARK)  # surrounding, content, surrounding, content, ..., surrounding
    contents = [message.content for message in messages]
    if segments[1::2] != contents or len(segments) != 2 * len(contents) + 1 or "".join(segments) != text:
        raise _no_template(model, Sentence("it changes messages, or the text between them, of {name}", name=name))
    starts, position = [], 0
    for surrounding, content in zip(segments[::2], contents, strict=False):
        starts.append(position + len(surrounding))
        position += len(surrounding) + len(content)
    return text, starts


def _apply(messages: list[tuple[str, str]], template: str, tokenizer: Any, model: str, name: str) -> str:
    try:
        return tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in messages], chat_template=template, tokenize=False
        )
    except Exception as error:  # a template is a program that may raise anything
        reason = " ".join(str(error).split())[:160].rstrip(".")
        raise _no_template(model, f"{name}: {reason}") from error


def _pinned_date() -> str:
    """A macro that replaces the function `strftime_now` of templates by the pinned date."""
    directives = {f"%{letter}": TODAY.strftime(f"%{letter}") for letter in "aAbBdHIjmMpSwyY"}
    directives |= {f"%-{letter}": directives[f"%{letter}"].lstrip("0") or "0" for letter in "dHIjmMS"}
    replaced = "".join(f" | replace('{directive}', '{value}')" for directive, value in directives.items())
    # The line end after the macro is not rendered.
    return "{% macro strftime_now(format) %}{{ format" + replaced + " }}{% endmacro %}\n"
