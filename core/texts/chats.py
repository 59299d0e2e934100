"""Windows of chat messages: the same messages for every model, rendered by each model's own template."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from core.errors import CorpusError, InputError, ModelError, Sentence
from core.texts.messages import BETWEEN, Conversation, Message, join_contents
from core.texts.windows import join_neighbours
from core.texts.words import CHARACTERS_PER_TOKEN, CHARACTERS_PER_TOKEN_CJK, Encoded, read_offsets

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
    first: int
    """Number of the first of these messages in the conversation, from 1."""
    messages: tuple[Message, ...]

    def named(self, corpus: str) -> str:
        """Its name in errors."""
        later = f" from message {self.first} on" if self.first > 1 else ""
        return f"conversation {self.conversation} of {corpus}{later}"


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
        rendered, starts = render(turns.messages, template, tokenizer, model, turns.named(name))
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
    per_token = CHARACTERS_PER_TOKEN_CJK if wide else CHARACTERS_PER_TOKEN
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
        yield Turns(conversation, start + 1, messages[start:stop])


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
        raise _no_template(
            model,
            Sentence(
                "it changes {messages} of {name}", messages=_first_difference(messages, segments[1::2]), name=name
            ),
        )
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


def _first_difference(messages: Sequence[Message], rendered: Sequence[str]) -> str:
    """The first message that was rendered otherwise than it is written."""
    for number, message in enumerate(messages, 1):
        if number > len(rendered) or rendered[number - 1] != message.content:
            return Sentence("message {number} ({role})", number=number, role=message.role)
    return Sentence("the text between messages")


def _pinned_date() -> str:
    """A macro that replaces the function `strftime_now` of templates by the pinned date."""
    directives = {f"%{letter}": TODAY.strftime(f"%{letter}") for letter in "aAbBdHIjmMpSwyY"}
    directives |= {f"%-{letter}": directives[f"%{letter}"].lstrip("0") or "0" for letter in "dHIjmMS"}
    replaced = "".join(f" | replace('{directive}', '{value}')" for directive, value in directives.items())
    # The line end after the macro is not rendered.
    return "{% macro strftime_now(format) %}{{ format" + replaced + " }}{% endmacro %}\n"
