"""Windows of chat messages: the same messages for every model, rendered by each model's own template."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.errors import CorpusError
from core.measure.encoding import Encoded
from core.measure.messages import BETWEEN, Conversation, Message, joined
from core.measure.template import read_template, render
from core.measure.words import CHARACTERS_PER_TOKEN, CHARACTERS_PER_TOKEN_CJK, read_offsets

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
        return joined(self.messages)


def cut_documents(conversations: Sequence[Conversation], length: int) -> list[list[ChatWindow]]:
    """Documents, each as the windows that it has room for, of at least `length` characters of content.

    Short neighbouring conversations are one document together: a window goes through one after the other, each rendered
    for itself, so that nothing is padded. A long conversation holds several windows. All but its first start at a
    user's message, where every template can start; the system's message stands in the first alone.
    """
    documents = []
    for first, end in _runs([len(joined(messages)) for messages in conversations], length):
        turns = [turns for number in range(first, end) for turns in _turns(number + 1, conversations[number])]
        runs = _runs([len(joined(one.messages)) for one in turns], length)
        documents.append([ChatWindow(_together(turns[start:stop])) for start, stop in runs])
    return documents


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
    covered = _covered(offsets, len(window.text))
    targets = _covered(offsets[1:], len(window.text))
    if not covered.any():
        raise CorpusError(
            f"The chat template of {model} takes all {n_tokens} tokens of a window of {name}, and leaves none for the "
            "messages. Choose a protocol with longer windows."
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


def _covered(offsets: np.ndarray, n_characters: int) -> np.ndarray:
    """Which characters the tokens cover; (n_characters,) bool"""
    covered = np.zeros(n_characters, dtype=bool)
    for start, end in offsets[offsets[:, 0] >= 0]:
        covered[start:end] = True
    return covered


def _runs(lengths: Sequence[int], at_least: int) -> list[tuple[int, int]]:
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


def _together(turns: Sequence[Turns]) -> tuple[Turns, ...]:
    """Turns of the same conversation joined again."""
    found = list[Turns]()
    for one in turns:
        if found and found[-1].conversation == one.conversation:
            found[-1] = replace(found[-1], messages=found[-1].messages + one.messages)
        else:
            found.append(one)
    return tuple(found)
