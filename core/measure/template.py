"""A model's own chat template: messages rendered by it, and where their contents stand in what it renders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import CorpusError, ModelError
from core.measure.messages import Message

TODAY = datetime(2024, 7, 26, 12)
"""What templates take for today: those that write the date would else render other tokens every day."""
MARK = "\U0010fffd"
"""Stands around each content in a rendering of its own: a private sign that neither files nor templates write."""
WAY_OUT = "measure the contents without a template, by --chat plain"


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
                f"{model} has chat templates for special uses only ({', '.join(sorted(named))}), and no default one. "
                f"Choose another model, or {WAY_OUT}."
            ) from error
        raise ModelError(
            f"{model} has no chat template, and the text is chat messages. Measure a chat model, or {WAY_OUT}."
        ) from error
    if not tokenizer.is_fast:
        raise ModelError(
            f"The tokenizer of {model} does not tell which characters its tokens cover, so that its chat template "
            f"cannot be masked. Choose another model, or {WAY_OUT}."
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
            f"The chat template of {model} does not show {name} message by message as it is written: it leaves out, "
            f"moves or changes {_first_other(messages, pieces[1::2])}. Remove it from the file, or {WAY_OUT}."
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
            f"The chat template of {model} refuses {name}: {reason}. Remove it from the file, or {WAY_OUT}."
        ) from error


def _first_other(messages: Sequence[Message], shown: Sequence[str]) -> str:
    for number, message in enumerate(messages, 1):
        if number > len(shown) or shown[number - 1] != message.content:
            return f"message {number} ({message.role})"
    return "what stands around the contents"


def _pinned_date() -> str:
    """A macro in place of the function that tells templates the time."""
    directives = {f"%{letter}": TODAY.strftime(f"%{letter}") for letter in "aAbBdHIjmMpSwyY"}
    directives |= {f"%-{letter}": directives[f"%{letter}"].lstrip("0") or "0" for letter in "dHIjmMS"}
    replaced = "".join(f" | replace('{directive}', '{value}')" for directive, value in directives.items())
    # The line end after the macro is not rendered.
    return "{% macro strftime_now(format) %}{{ format" + replaced + " }}{% endmacro %}\n"
