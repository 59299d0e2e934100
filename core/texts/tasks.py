"""A user's own tasks, and their tokens. A task file is JSON lines, either all questions with choices or all texts.

    {"prompt": "The capital of France is", "choices": [" Paris", " Rome"], "answer": 0}
    {"text": "A text whose bits per byte are asked for."}

`answer` counts the choices from 0; `group` names what rows have in common, as a passage. Prompt and choice are joined unchanged: the
space between them is part of the file. A .txt file holds texts, a paragraph each, unless it begins as JSON does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, Strict
from pydantic.dataclasses import dataclass as declared

from core.errors import InputError, Sentence
from core.files import beyond_limit, mend, not_utf8, read_whole
from core.texts.corpora import paragraphs
from core.texts.windows import unknown_token
from core.validation import MODEL_CONFIG, Whole, validate

MAX_BYTES = 256 * 2**20
MOST_ROWS = 100_000
WINDOW = 1024
"""Largest number of tokens of a text that are read at once. A longer text is read in windows: each repeats the last half
of the one before it and is scored on its new half."""
_AnyText = Annotated[str, Strict(), Field(description=Sentence("a text"))]
_Group = Annotated[str | None, Field(description=Sentence("a text"))]
_NonEmptyText = Annotated[str, Strict(), Field(min_length=1, description=Sentence("a text, not empty"))]


@declared(frozen=True, config=MODEL_CONFIG)
class Question:
    """A question with choices."""

    prompt: _AnyText
    choices: Annotated[tuple[_AnyText, ...], Field(description=Sentence("a list of texts"))]
    answer: Whole
    group: _Group = None
    """Questions of one group, as on one passage, count as one where errors are told."""

    @property
    def asked(self) -> Any:
        """Identifies a question, whichever choice is marked as right."""
        return [self.prompt, sorted(self.choices)]

    @property
    def content(self) -> Any:
        """What the hash of the row covers."""
        return [self.prompt, list(self.choices), self.answer]


@declared(frozen=True, config=MODEL_CONFIG)
class Text:
    """A text whose loss is measured."""

    text: _NonEmptyText
    group: _Group = None

    @property
    def asked(self) -> Any:
        return self.text

    content = asked


@dataclass(frozen=True)
class Task:
    """The content of a task file."""

    name: str
    """The file's name without its ending."""
    questions: tuple[Question, ...] = ()
    texts: tuple[Text, ...] = ()
    """Exactly one of `questions` and `texts` is filled."""

    @property
    def rows(self) -> tuple[Question | Text, ...]:
        return self.questions or self.texts

    @cached_property
    def sha256(self) -> str:
        """Hash of the rows in their order, independent of the formatting of the file."""
        groups = [row.group for row in self.rows]
        return _hash([*(row.content for row in self.rows), *([groups] if any(groups) else [])])

    @cached_property
    def groups(self) -> np.ndarray:
        """Number of the group of each row, (n_rows,); a row without one, or with an empty one, is its own."""
        numbers: dict[Any, int] = {}
        names = (row.group or n for n, row in enumerate(self.rows))
        return np.array([numbers.setdefault(name, len(numbers)) for name in names])

    @property
    def group_ids(self) -> list[str | None]:
        """What is stored of the name of each row's group: a hash, as of the row itself."""
        return [_hash(row.group) if row.group else None for row in self.rows]

    @cached_property
    def hashes(self) -> list[str]:
        """Hash of each row: pairs the answers of two models."""
        return [_hash(row.content) for row in self.rows]


def read_task(file: Path) -> Task:
    """Read and validate a task file. Raises InputError for the first problem."""
    rows: list[Question | Text] = []
    line_numbers: dict[str, int] = {}
    for number, content in _lines(file):
        location = Sentence("{file}, line {number}", file=file.name, number=number)
        is_text = isinstance(content, dict) and "text" in content and "choices" not in content
        row = validate(Text, content, location) if is_text else validate(Question, content, location)
        if rows and isinstance(rows[0], Text) != is_text:
            raise mend(location, Sentence("texts and questions are mixed"))
        if isinstance(row, Question):
            if len(row.choices) < 2 or "" in row.choices or len({*row.choices}) < len(row.choices):
                raise mend(location, Sentence("a question has two choices or more, all different, none empty"))
            if row.answer >= len(row.choices):
                outside = Sentence(
                    "answer {answer} of choices 0 to {last}", answer=row.answer, last=len(row.choices) - 1
                )
                raise mend(location, outside)
        first_line = line_numbers.setdefault(_hash(row.asked), number)
        if first_line != number:
            raise mend(location, Sentence("the same as line {earlier}", earlier=first_line))
        rows.append(row)
        if len(rows) > MOST_ROWS:
            raise beyond_limit(file.name, len(rows), MOST_ROWS, Sentence("lines"))
    if not rows:
        raise InputError(
            "{file} is empty. Write one JSON question (prompt, choices, answer) or text per line.", file=file.name
        )
    questions = tuple(row for row in rows if isinstance(row, Question))
    texts = tuple(row for row in rows if isinstance(row, Text))
    return Task(file.name.removesuffix(file.suffix) or file.name, questions, texts)


def _lines(file: Path) -> Iterator[tuple[int, Any]]:
    """Line number and content of every line that is not blank; of plain text, number and text of each distinct paragraph."""
    try:
        text = read_whole(file, Sentence("task file"), MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(file) from error
    if file.suffix.lower() in (".txt", ".md") and not text.lstrip().startswith("{"):  # JSON lines saved as .txt
        yield from enumerate(({"text": paragraph} for paragraph in dict.fromkeys(paragraphs(text))), 1)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _parse_line(line, Sentence("{file}, line {number}", file=file.name, number=number))


def _parse_line(line: str, location: str) -> Any:
    """The JSON of one line. Raises InputError, also for repeated keys."""

    def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        unique = dict(pairs)
        if len(unique) < len(pairs):
            raise mend(location, Sentence("one key twice"))
        return unique

    try:
        content = json.loads(line, object_pairs_hook=unique_keys)
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise mend(location, Sentence("half a character")) from error
    except (RecursionError, ValueError) as error:
        raise mend(location, Sentence("no JSON: {reason}", reason=error)) from error
    return content


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


# --- tokens ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoredTokens:
    """A token sequence of which the tokens from `first` on are scored."""

    ids: np.ndarray
    """(n_tokens,) int32; Python ints would take nine times the memory, and a task may have millions of tokens."""
    first: int


@dataclass(frozen=True)
class TokenizedRow:
    """One row of a task in tokens."""

    sequences: tuple[ScoredTokens, ...]
    """One for each choice, or for each window of a text; empty if the row does not fit the model's context."""
    is_cut: bool = False
    """Whether the beginning of the prompt was cut off."""
    is_windowed: bool = False
    has_unknown: bool = False


def tokenize_task(task: Task, tokenizer: Any, context: int | None) -> list[TokenizedRow]:
    """Tokenise each row of a task; `context` is the most tokens that the model reads at once (None: no limit).

    Prompt and choice are tokenised as one text. All choices of a question are scored from the same token on: the first at
    which one of them differs from the tokens of the prompt alone. So a token that spans the end of the prompt is scored
    for every choice.
    """
    opening, starter, unknown = _opening_tokens(tokenizer), starting_token(tokenizer), unknown_token(tokenizer)
    if task.questions:
        texts = (question.prompt + choice for question in task.questions for choice in ("", *question.choices))
        encoded = _encode(tokenizer, texts)
        rows = []
        for question in task.questions:
            prompt, *choices = (next(encoded) for _ in range(1 + len(question.choices)))
            rows.append(_tokenized_question(prompt, choices, opening, starter, context, unknown))
        return rows
    window = min(WINDOW, context or WINDOW)
    ids = _encode(tokenizer, (row.text for row in task.texts))
    return [_tokenized_text(text_ids, opening or starter, window, unknown) for text_ids in ids]


def starting_token(tokenizer: Any) -> list[int]:
    """The token to put before a text whose first token is scored: BOS, else EOS; empty if there is neither."""
    return [token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None][:1]


def _encode(tokenizer: Any, texts: Iterable[str]) -> Iterator[np.ndarray]:
    """The tokens of each text without special tokens; (n_tokens,) each"""
    remaining = iter(texts)
    while batch := list(islice(remaining, 512)):
        for ids in tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]:
            yield np.array(ids, dtype=np.int32)


def _opening_tokens(tokenizer: Any) -> list[int]:
    """The special tokens that the tokenizer puts before every text."""
    without_special, with_special = (
        list(tokenizer("a", add_special_tokens=add_special, verbose=False)["input_ids"])
        for add_special in (False, True)
    )
    positions = range(len(with_special) - len(without_special) + 1)
    n = len(without_special)
    return with_special[: next((i for i in positions if with_special[i : i + n] == without_special), 0)]


def _tokenized_question(
    prompt: np.ndarray,
    choices: list[np.ndarray],
    opening: list[int],
    starter: list[int],
    context: int | None,
    unknown: int | None,
) -> TokenizedRow:
    """A question in tokens; `choices` are the tokens of prompt and choice together.

    The beginning of the prompt is cut off if the longest choice does not fit into the context.
    """
    n_shared = min(_common_prefix(prompt, ids) for ids in choices)
    n_shared = min(n_shared, *(len(ids) - 1 for ids in choices))  # a normaliser may leave nothing of a choice
    if n_shared < 0:
        return TokenizedRow(())
    prefix = opening or (starter if n_shared == 0 else [])
    max_length = len(prefix) + max(map(len, choices)) - 1  # the last token is a target only
    excess = max(0, max_length - context) if context else 0
    if excess and (excess > n_shared or len(prefix) + n_shared - excess == 0):
        return TokenizedRow(())
    start = len(prefix) + n_shared - excess
    sequences = [ScoredTokens(_with_prefix(prefix, ids[excess:]), start) for ids in choices]
    has_unknown = any(_contains(ids[n_shared:], unknown) for ids in choices)
    return TokenizedRow(tuple(sequences), excess > 0, has_unknown=has_unknown)


def _tokenized_text(ids: np.ndarray, prefix: list[int], window: int, unknown: int | None) -> TokenizedRow:
    """All tokens of a text, each scored once: in windows, of which all but the first score only their last half."""
    if not len(ids):
        return TokenizedRow(())
    tokens = _with_prefix(prefix, ids)
    stop = min(len(tokens), window + 1)  # the last token is a target only
    sequences = [ScoredTokens(tokens[:stop], len(prefix))]
    while stop < len(tokens):
        start, stop = stop, min(len(tokens), stop + max(1, window // 2))
        window_start = max(0, stop - window - 1)
        sequences.append(ScoredTokens(tokens[window_start:stop], start - window_start))
    return TokenizedRow(tuple(sequences), False, len(sequences) > 1, _contains(ids, unknown))


def _common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """Length of the common prefix of two token sequences."""
    n = min(len(a), len(b))
    differing = np.flatnonzero(a[:n] != b[:n])
    return int(differing[0]) if len(differing) else n


def _with_prefix(prefix: list[int], ids: np.ndarray) -> np.ndarray:
    return np.concatenate([np.array(prefix, dtype=np.int32), ids])


def _contains(ids: np.ndarray, token: int | None) -> bool:
    return token is not None and bool((ids == token).any())
