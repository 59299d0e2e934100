"""Chat messages as data sets write them: what a conversation is, and what is refused with its number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import CorpusError, Sentence, unknown_name
from core.files import parse_json

SHAPES = (("role", "content"), ("from", "value"))
"""Keys of a message: as chat programs send it, and as ShareGPT writes it."""
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}

UNMEASURED = (
    "tool_calls",
    "tool_call_id",
    "tools",
    "function_call",
    "functions",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "thinking",
    "thinking_blocks",
    "thought",
    "thoughts",
    "image",
    "images",
    "audio",
    "audios",
    "video",
    "videos",
)
"""What templates render beside the content. All else beside a message (its number, its rating) is none of theirs."""


@dataclass(frozen=True)
class Message:
    role: str
    """`system`, `user` or `assistant`."""
    content: str
    """Without white space around it: most templates strip it, and all models must read the same."""


Conversation = tuple[Message, ...]
BETWEEN = "\n\n"
"""Stands between contents that are joined: they are paragraphs then."""


def is_chat(value: Any) -> bool:
    """Whether a value of a table is a list of messages."""
    return isinstance(value, list) and any(
        isinstance(message, dict) and any(keys[0] in message and keys[1] in message for keys in SHAPES)
        for message in value
    )


def read_conversations(values: Sequence[Any], name: str) -> tuple[Conversation, ...]:
    """One conversation per value; raises CorpusError with the number of the first one that is none."""
    return tuple(
        _conversation(value, Sentence("Conversation {number} of {name}", number=number, name=name))
        for number, value in enumerate(values, 1)
    )


def conversations_hash(conversations: Sequence[Conversation]) -> str:
    """SHA-256 over roles and contents, and that they are messages: the same words as plain text are another text."""
    content = ["chat", [[[m.role, m.content] for m in messages] for messages in conversations]]
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()


def join_contents(messages: Sequence[Message]) -> str:
    """The contents alone, a paragraph each."""
    return BETWEEN.join(message.content for message in messages)


def _conversation(value: Any, where: str) -> Conversation:
    if not isinstance(value, list) or not value:
        raise CorpusError("{where} holds no messages. Remove it from the file.", where=where)
    return tuple(
        _message(message, Sentence("{where}, message {number},", where=where, number=number))
        for number, message in enumerate(value, 1)
    )


def _message(value: Any, where: str) -> Message:
    keys = next((keys for keys in SHAPES if isinstance(value, dict) and keys[0] in value), None)
    if keys is None:
        raise CorpusError("{where} has no role. Each message needs role and content, or from and value.", where=where)
    # What a template would make of a tool call or a chain of thought is neither content nor template.
    more = sorted(key for key in UNMEASURED if value.get(key) not in (None, "", [], {}))
    if more:
        raise CorpusError(
            "{where} has {more} beside {key} and {other_key}, which are not measured. Remove them from the file.",
            where=where,
            more=more,
            key=keys[0],
            other_key=keys[1],
        )
    role = ROLES.get(str(value[keys[0]]).lower())
    if role is None:
        raise CorpusError(
            "{where} has the role '{role}'. Known: {roles}.", where=where, role=value[keys[0]], roles=ROLES
        )
    content = _text(value.get(keys[1]), where).strip()
    if not content:
        raise CorpusError(
            "{where} from {role} is empty. Remove the message or the conversation.", where=where, role=value[keys[0]]
        )
    return Message(role, content)


def _text(content: Any, where: str) -> str:
    """A text, or a list of parts that are all text."""
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        content = "".join(part["text"] for part in content)
    if content is None:
        return ""
    if not isinstance(content, str):
        raise CorpusError("{where} holds more than text, which is not measured. Remove it from the file.", where=where)
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise CorpusError("{where} holds half a character. Mend the file.", where=where) from error
    return content


USUAL = ("messages", "conversations")
"""Columns that are taken where several hold messages; preference data have `chosen` and `rejected` beside them."""


def json_chats(text: str, path: Path, column: str | None) -> list[Any] | None:
    """The values that hold messages, one per row of a .jsonl or .json file; None where a .jsonl holds none.

    Raises CorpusError for a .json file without messages, and where the column is not clear.
    """
    whole = path.suffix.lower() == ".json"
    if not whole and not any(f'"{keys[0]}"' in text for keys in SHAPES):
        return None
    try:
        rows = parse_json(text) if whole else [parse_json(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        if not whole:
            return None  # whoever reads it as a table of texts says what is wrong
        raise CorpusError(
            "{path} cannot be read as json: {error}. Check the file.", path=path.name, error=error
        ) from error
    rows = rows if isinstance(rows, list) else []
    if any(map(is_chat, rows)):
        return rows
    tables = [row for row in rows if isinstance(row, dict)]
    found = {name: None for row in tables for name, value in row.items() if is_chat(value)}
    has_text = any(isinstance(row.get("text"), str) for row in tables)
    chosen = _choose_chat_column(path, list(found), column, has_text)
    if chosen:
        return [row.get(chosen) if isinstance(row, dict) else None for row in rows]
    if whole and found and column:
        raise CorpusError(unknown_name(Sentence("column of {path} with chat messages", path=path.name), column, found))
    if whole:
        raise CorpusError(
            "{path} is no list of conversations with their messages. Save plain texts as .jsonl.", path=path.name
        )
    return None


MAX_VALUES = 10**6
"""Texts of a table, or messages: a protocol reads some thousand windows, and each text takes memory of its own."""
MAX_TABLE_BYTES = 2**31
"""Of a table when it is unpacked: repeated values take nothing in the file."""


def require_file_within_limits(path: Path) -> None:
    """Raises CorpusError for a Parquet file whose footer tells of more than is read into memory.

    A value that a file writes once for many rows shows its size only when it is read: that is looked at after it.
    """
    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowException, OSError):  # whoever reads the file says what is wrong
        return
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    # A list in a row counts as many values as it has.
    of_columns = [sum(group.column(n).num_values for group in groups) for n in range(footer.num_columns)]
    n_values = max([footer.num_rows, *of_columns])
    n_bytes = sum(group.total_byte_size for group in groups)
    require_values_within_limits(path, n_values, n_bytes)


def require_values_within_limits(path: Path, n_values: int, n_bytes: float) -> None:
    if n_values > MAX_VALUES or n_bytes > MAX_TABLE_BYTES:
        raise CorpusError(
            "{path} holds {n_values:,} texts of {n_bytes:,.0f} MB; a table of at most {max_values:,} texts and "
            "{most_mb:,.0f} MB is read. Save a part of it.",
            path=path.name,
            n_values=n_values,
            n_bytes=n_bytes / 1e6,
            max_values=MAX_VALUES,
            most_mb=MAX_TABLE_BYTES / 1e6,
        )


def parquet_chats(path: Path, column: str | None) -> list[Any] | None:
    """As `json_chats`. A file that cannot be read has none: whoever reads it as a table of texts says why."""
    require_file_within_limits(path)
    try:
        schema = pl.read_parquet_schema(path)
        found = [name for name, dtype in schema.items() if _holds_messages(dtype)]
        chosen = _choose_chat_column(path, found, column, schema.get("text") == pl.String)
        if not chosen:
            return None
        values = pl.read_parquet(path, columns=[chosen])[chosen]
        require_values_within_limits(path, len(values), values.estimated_size())
        return values.to_list()
    except (pl.exceptions.PolarsError, OSError):
        return None


def _holds_messages(dtype: Any) -> bool:
    if not isinstance(dtype, pl.List) or not isinstance(dtype.inner, pl.Struct):
        return False
    names = {field.name for field in dtype.inner.fields}
    return any(names >= set(keys) for keys in SHAPES)


def _choose_chat_column(path: Path, found: list[str], column: str | None, has_text: bool) -> str | None:
    if column is not None:
        return column if column in found else None
    usual = [name for name in USUAL if name in found][:1] or found
    if not usual:
        return None
    if has_text or len(usual) > 1:
        raise CorpusError(
            "Which column of {path} is to be measured? Columns of chat messages: {found}; of text: {text}. "
            "Name one with --column.",
            path=path.name,
            found=sorted(found),
            text=["text"] if has_text else [],
        )
    return usual[0]
