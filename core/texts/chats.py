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

from core.errors import CorpusError, ModelError, Sentence
from core.texts.messages import BETWEEN, Conversation, Message, join_contents
from core.texts.words import CHARACTERS_PER_TOKEN, CHARACTERS_PER_TOKEN_CJK, Encoded, read_offsets

TOKENS_PER_CONVERSATION = 24
"""What a template may write before the first message, a system prompt of its own for example."""
TOKENS_PER_MESSAGE = 7
"""What a template may write around each message. Both only decide how far words are looked for: a template that writes
more loses some of them, which is counted."""


@dataclass(frozen=True)
class Turns:
    """Messages of one conversation in a row, from its start or from a user's message on."""

    conversation: int
    """Its number in the file, from 1."""
    first: int
    """The number of its first message here, from 1."""
    messages: tuple[Message, ...]

    def named(self, corpus: str) -> str:
        """As messages to people call it."""
        later = f" from message {self.first} on" if self.first > 1 else ""
        return f"conversation {self.conversation} of {corpus}{later}"


@dataclass(frozen=True)
class ChatWindow:
    """What one sequence reads, until it has its tokens: turns of a conversation, and of the next ones where short."""

    turns: tuple[Turns, ...]

    @property
    def messages(self) -> list[Message]:
        return [message for turns in self.turns for message in turns.messages]

    @property
    def text(self) -> str:
        """The contents alone, the same for every model; words and offsets are counted in it."""
        return join_contents(self.messages)


def cut_conversations(conversations: Sequence[Conversation], length: int) -> list[list[ChatWindow]]:
    """Documents, each as the windows that it has room for, of at least `length` characters of content.

    Short neighbouring conversations are one document together: a window goes through one after the other, each rendered
    for itself, so that nothing is padded. A long conversation holds several windows. All but its first start at a
    user's message, where every template can start; the system's message stands in the first alone.
    """
    documents = []
    for first, end in _join_neighbours([len(join_contents(messages)) for messages in conversations], length):
        turns = [turns for number in range(first, end) for turns in _turns(number + 1, conversations[number])]
        runs = _join_neighbours([len(join_contents(one.messages)) for one in turns], length)
        documents.append([ChatWindow(_merge_turns(turns[start:stop])) for start, stop in runs])
    return documents


def join_windows(windows: Sequence[ChatWindow]) -> ChatWindow:
    """Neighbouring windows as one that reads on."""
    return ChatWindow(_merge_turns([turns for window in windows for turns in window.turns]))


def encode_chat(window: ChatWindow, tokenizer: Any, n_tokens: int, model: str, name: str) -> Encoded:
    """The window as the model reads it. `name` is that of the text, for messages.

    A token is content where all that it covers, white space aside, is content: " Hello" is, whether or not the template
    wrote the space. Offsets are those in `window.text`, -1 for tokens of the template.

    Raises ModelError for a model without a chat template, CorpusError where the template cannot be followed.
    """
    template = read_template(tokenizer, model)
    text, places = "", []
    for turns in window.turns:
        found = render(turns.messages, template, tokenizer, model, turns.named(name))
        places += [len(text) + start for start in found.starts]
        text += found.text
    text = text[: 40 * n_tokens]  # any tokenizer finds its tokens in that
    # A template writes the special tokens itself.
    encoding = tokenizer(
        text, add_special_tokens=False, truncation=True, max_length=n_tokens, return_offsets_mapping=True, verbose=False
    )
    offsets = _in_contents(read_offsets(encoding, n_tokens), text, places, window.messages)
    covered = _covered_characters(offsets, len(window.text))
    targets = _covered_characters(offsets[1:], len(window.text))
    if not covered.any():
        raise CorpusError(
            "The chat template of {model} takes all {n_tokens} tokens of a window of {name}, and leaves none for "
            "the messages. Choose a protocol with longer windows.",
            model=model,
            n_tokens=n_tokens,
            name=name,
        )
    target_text = "".join(character for character, wanted in zip(window.text, targets, strict=True) if wanted)
    ids = list(encoding["input_ids"])
    outside = (offsets[:, 0] < 0) & (np.arange(n_tokens) < len(ids))
    return Encoded(ids, int(covered.sum()), len(target_text.encode()), offsets, outside)


def chat_word_span(window: ChatWindow, n_tokens: int, wide: bool) -> int:
    """Characters of `window.text` that words are taken from: what is left of the tokens beside any usual template."""
    per_token = CHARACTERS_PER_TOKEN_CJK if wide else CHARACTERS_PER_TOKEN
    room, reached = float(n_tokens), 0
    for turns in window.turns:
        room -= TOKENS_PER_CONVERSATION
        for message in turns.messages:
            room -= TOKENS_PER_MESSAGE
            taken = min(len(message.content), max(0, math.floor(room * per_token)))
            if taken < len(message.content):
                return reached + taken
            room -= taken / per_token
            reached += taken + len(BETWEEN)
    return reached


def _in_contents(offsets: np.ndarray, text: str, places: list[int], messages: list[Message]) -> np.ndarray:
    """Offsets in the rendered text as offsets in the contents joined; -1 for tokens of the template."""
    place = np.full(len(text), -1)  # of each rendered character in the contents
    reached = 0
    for start, message in zip(places, messages, strict=True):
        shown = place[start : start + len(message.content)]
        shown[:] = reached + np.arange(len(shown))
        reached += len(message.content) + len(BETWEEN)
    foreign = (place < 0) & ~np.array([character.isspace() for character in text])
    found = np.full_like(offsets, -1)
    for token in np.flatnonzero(offsets[:, 0] >= 0):
        covers = slice(*offsets[token])
        inside = place[covers][place[covers] >= 0]
        if len(inside) and not foreign[covers].any():
            found[token] = inside[0], inside[-1] + 1
    return found


def _covered_characters(offsets: np.ndarray, n_characters: int) -> np.ndarray:
    """Which characters the tokens cover; (n_characters,) bool"""
    covered = np.zeros(n_characters, dtype=bool)
    for start, end in offsets[offsets[:, 0] >= 0]:
        covered[start:end] = True
    return covered


def _join_neighbours(lengths: Sequence[int], at_least: int) -> list[tuple[int, int]]:
    """First and one past the last of runs of neighbours that are so long joined; a short rest joins the last."""
    runs, start, total = list[tuple[int, int]](), 0, 0
    for index, length in enumerate(lengths):
        total += length + (len(BETWEEN) if total else 0)
        if total >= at_least:
            runs.append((start, index + 1))
            start, total = index + 1, 0
    if runs and start < len(lengths):
        runs[-1] = (runs[-1][0], len(lengths))
    return runs


def _turns(number: int, messages: Conversation) -> Iterator[Turns]:
    """A conversation cut before each of the user's messages but the first."""
    users = [index for index, message in enumerate(messages) if message.role == "user"]
    cuts = [0, *users[1:], len(messages)]
    for start, end in itertools.pairwise(cuts):
        yield Turns(number, start + 1, messages[start:end])


def _merge_turns(turns: Sequence[Turns]) -> tuple[Turns, ...]:
    """Turns of the same conversation joined again."""
    found = list[Turns]()
    for one in turns:
        if found and found[-1].conversation == one.conversation:
            found[-1] = replace(found[-1], messages=found[-1].messages + one.messages)
        else:
            found.append(one)
    return tuple(found)


TODAY = datetime(2024, 7, 26, 12)
"""What templates take for today: those that write the date would else render other tokens every day."""
MARK = "\U0010fffd"
"""Stands around each content in a rendering of its own: a private sign that neither files nor templates write."""
WAY_OUT = Sentence("measure the contents without a template, by --chat plain")


@dataclass(frozen=True)
class Rendered:
    text: str
    starts: list[int]
    """First character of each message's content in `text`."""


def read_template(tokenizer: Any, model: str) -> str:
    """The chat template, with the date pinned; raises ModelError where a model has none that can be followed."""
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:
        named = tokenizer.chat_template
        if isinstance(named, dict) and named:
            raise ModelError(
                "{model} has chat templates for special uses only ({named}), and no default one. Choose another "
                "model, or {way_out}.",
                model=model,
                named=sorted(named),
                way_out=WAY_OUT,
            ) from error
        raise ModelError(
            "{model} has no chat template, and the text is chat messages. Measure a chat model, or {way_out}.",
            model=model,
            way_out=WAY_OUT,
        ) from error
    if not tokenizer.is_fast:
        raise ModelError(
            "The tokenizer of {model} does not tell which characters its tokens cover, so that its chat template "
            "cannot be masked. Choose another model, or {way_out}.",
            model=model,
            way_out=WAY_OUT,
        )
    return (_pinned_date() if "strftime_now" in template else "") + template


def template_hash(template: str) -> str:
    """Twelve hex digits that models share which render chat messages alike."""
    return hashlib.sha256(template.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def render(messages: Sequence[Message], template: str, tokenizer: Any, model: str, name: str) -> Rendered:
    """The messages of a conversation as the model reads them, and where each content stands.

    The contents are looked for by rendering them once more between marks: whatever a template writes, even the same
    words, is then told from them. `name` says in messages which conversation it is.

    Raises CorpusError where the template refuses the messages, leaves one out, rearranges or rewrites them.
    """
    text = _apply([(m.role, m.content) for m in messages], template, tokenizer, model, name)
    marked = _apply([(m.role, MARK + m.content + MARK) for m in messages], template, tokenizer, model, name)
    pieces = marked.split(MARK)  # around, content, around, content, ..., around
    contents = [message.content for message in messages]
    if pieces[1::2] != contents or len(pieces) != 2 * len(contents) + 1 or "".join(pieces) != text:
        raise CorpusError(
            "The chat template of {model} does not show {name} message by message as it is written: it leaves "
            "out, moves or changes {messages}. Remove it from the file, or {way_out}.",
            model=model,
            name=name,
            messages=_first_difference(messages, pieces[1::2]),
            way_out=WAY_OUT,
        )
    starts, position = [], 0
    for around, content in zip(pieces[::2], contents, strict=False):
        starts.append(position + len(around))
        position += len(around) + len(content)
    return Rendered(text, starts)


def _apply(messages: list[tuple[str, str]], template: str, tokenizer: Any, model: str, name: str) -> str:
    try:
        return tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in messages], chat_template=template, tokenize=False
        )
    except Exception as error:  # a template is a program, and fails as it likes
        reason = " ".join(str(error).split())[:160].rstrip(".")
        raise CorpusError(
            "The chat template of {model} refuses {name}: {reason}. Remove it from the file, or {way_out}.",
            model=model,
            name=name,
            reason=reason,
            way_out=WAY_OUT,
        ) from error


def _first_difference(messages: Sequence[Message], shown: Sequence[str]) -> str:
    for number, message in enumerate(messages, 1):
        if number > len(shown) or shown[number - 1] != message.content:
            return Sentence("message {number} ({role})", number=number, role=message.role)
    return Sentence("what stands around the contents")


def _pinned_date() -> str:
    """A macro in place of the function that tells templates the time."""
    directives = {f"%{letter}": TODAY.strftime(f"%{letter}") for letter in "aAbBdHIjmMpSwyY"}
    directives |= {f"%-{letter}": directives[f"%{letter}"].lstrip("0") or "0" for letter in "dHIjmMS"}
    replaced = "".join(f" | replace('{directive}', '{value}')" for directive, value in directives.items())
    # The line end after the macro is not rendered.
    return "{% macro strftime_now(format) %}{{ format" + replaced + " }}{% endmacro %}\n"
