"""Tasks of a user's own: one JSON text a line, all questions with choices or all texts.

    {"prompt": "The capital of France is", "choices": [" Paris", " Rome"], "answer": 0}
    {"text": "A text whose bits per byte are asked for."}

`answer` counts the choices from 0. Prompt and choice are joined as they stand: the space between them is the file's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, Strict
from pydantic.dataclasses import dataclass as declared

from core.errors import InputError, Sentence
from core.validation import DECLARED, Whole, checked

MAX_BYTES = 256 * 2**20
MOST_ROWS = 100_000
_Any = Annotated[str, Strict(), Field(description=Sentence("a text, which may be empty"))]
_Filled = Annotated[str, Strict(), Field(min_length=1, description=Sentence("a text that is not empty"))]


@declared(frozen=True, config=DECLARED)
class Question:
    prompt: _Any
    choices: Annotated[tuple[_Any, ...], Field(description=Sentence("a list of texts"))]
    answer: Whole = Field(description=Sentence("the number of the right choice, from 0"))

    @property
    def asked(self) -> Any:
        """What makes two questions one, whichever choice is called right."""
        return [self.prompt, sorted(self.choices)]

    @property
    def content(self) -> Any:
        return [self.prompt, list(self.choices), self.answer]


@declared(frozen=True, config=DECLARED)
class Text:
    text: _Filled

    @property
    def asked(self) -> Any:
        return self.text

    @property
    def content(self) -> Any:
        return self.text


@dataclass(frozen=True)
class Task:
    name: str
    """The file's name without its ending."""
    questions: tuple[Question, ...] = ()
    texts: tuple[Text, ...] = ()
    """Of the two, one is empty."""

    @property
    def rows(self) -> tuple[Question | Text, ...]:
        return self.questions or self.texts

    @cached_property
    def sha256(self) -> str:
        """Of all that is asked, in its order; not of how the file is written."""
        return _hash([row.content for row in self.rows])

    @cached_property
    def hashes(self) -> list[str]:
        """Of each row: equal where two models answered the same."""
        return [_hash(row.content) for row in self.rows]


def read_task(file: Path) -> Task:
    """Raises InputError, in one line, for the first thing that is wrong."""
    rows: list[Question | Text] = []
    seen: dict[str, int] = {}
    for number, content in _lines(file):
        place = Sentence("{file}, line {number}", file=file.name, number=number)
        is_text = isinstance(content, dict) and "text" in content and "choices" not in content
        row = checked(Text, content, place) if is_text else checked(Question, content, place)
        if rows and isinstance(rows[0], Text) != is_text:
            if is_text:
                raise InputError(
                    "{place}: a text among questions. A task is of one kind: make two files of it.", place=place
                )
            raise InputError(
                "{place}: a question among texts. A task is of one kind: make two files of it.", place=place
            )
        _check(row, place)
        earlier = seen.setdefault(_hash(row.asked), number)
        if earlier != number:
            raise InputError(
                "{place}: the same as line {earlier}. Leave one of them out: each counts once.",
                place=place,
                earlier=earlier,
            )
        rows.append(row)
        if len(rows) > MOST_ROWS:
            raise InputError(
                "{file} has more than {most_rows:,} lines. Split it into tasks of fewer.",
                file=file.name,
                most_rows=MOST_ROWS,
            )
    if not rows:
        raise InputError(
            "{file} is empty. A line is a question, with prompt, choices and answer, or a text, as JSON.",
            file=file.name,
        )
    questions = tuple(row for row in rows if isinstance(row, Question))
    texts = tuple(row for row in rows if isinstance(row, Text))
    return Task(file.name.removesuffix(file.suffix) or file.name, questions, texts)


def _lines(file: Path) -> Iterator[tuple[int, Any]]:
    """Line number and content of every line that is not blank."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InputError(
                "The task file {file} is larger than {limit} MiB. Split it into smaller tasks.",
                file=file,
                limit=MAX_BYTES // 2**20,
            )
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError("There is no task file {file}. Check the path.", file=file) from error
    except UnicodeDecodeError as error:
        raise InputError("{file} is not utf-8. Save the task file as UTF-8 and try again.", file=file.name) from error
    except OSError as error:
        raise InputError("The task file {file} cannot be read: {reason}.", file=file, reason=error.strerror) from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _parsed(line, Sentence("{file}, line {number}", file=file.name, number=number))


def _parsed(line: str, place: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            raise InputError("{place}: a key stands there twice.", place=place)
        return made

    try:
        content = json.loads(line, object_pairs_hook=once)
        json.dumps(content, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise InputError(
            "{place} is no JSON (character {column}: {reason}).", place=place, column=error.colno, reason=error.msg
        ) from error
    except UnicodeEncodeError as error:
        raise InputError(
            "{place}: half of a character (a lone surrogate) has no UTF-8 form. Write it whole.", place=place
        ) from error
    except (RecursionError, ValueError) as error:
        raise InputError("{place} is nested too deeply, or has too long a number.", place=place) from error
    return content


def _check(row: Question | Text, place: str) -> None:
    if isinstance(row, Text):
        return
    if len(row.choices) < 2:
        raise InputError(
            "{place}: choices are {n_choices}; a question has two or more.", place=place, n_choices=len(row.choices)
        )
    if "" in row.choices:
        raise InputError(
            "{place}: choices[{index}] is empty, so it has no likelihood.", place=place, index=row.choices.index("")
        )
    if row.answer >= len(row.choices):
        raise InputError(
            "{place}: answer is {answer}, but the {n_choices} choices are counted from 0 to {last}.",
            place=place,
            answer=row.answer,
            n_choices=len(row.choices),
            last=len(row.choices) - 1,
        )
    if len({*row.choices}) < len(row.choices):
        raise InputError(
            "{place}: two of the choices are the same, so none of them can be the right one alone.", place=place
        )


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()
