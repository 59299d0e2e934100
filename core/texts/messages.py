"""Chat messages as data sets write them: parsed into conversations, or refused with the number of the message."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import CorpusError, Sentence, unknown_name
from core.files import beyond_limit, mend, parse_json

SHAPES = (("role", "content"), ("from", "value"))
"""Keys of a message: those of chat APIs and those of ShareGPT."""
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}

UNMEASURED = [
    *("tool_calls", "tool_call_id", "tools", "function_call", "functions", "reasoning_content", "reasoning"),
    *("reasoning_details", "thinking", "thinking_blocks", "thought", "thoughts", "image", "images", "audio"),
    *("audios", "video", "videos"),
]
"""Keys that templates render beside the content. Other keys of a message (its number, its rating) are ignored."""


@dataclass(frozen=True)
class Message:
    role: str
    """`system`, `user` or `assistant`."""
    content: str
    """Stripped of white space: most templates strip it, and all models must read the same."""


Conversation = tuple[Message, ...]
BETWEEN = "\n\n"
"""Separates joined contents and pieces, as paragraphs."""


def is_chat(value: Any) -> bool:
    """Whether a value of a table is a list of messages."""
    return isinstance(value, list) and any(
        isinstance(message, dict) and any(keys[0] in message and keys[1] in message for keys in SHAPES)
        for message in value
    )


def read_conversations(values: Sequence[Any], name: str) -> tuple[Conversation, ...]:
    """One conversation per value. Raises CorpusError, with its number, for the first value that is none."""
    return tuple(
        _conversation(value, Sentence("Conversation {number} of {name}", number=number, name=name))
        for number, value in enumerate(values, 1)
    )


def conversations_hash(conversations: Sequence[Conversation]) -> str:
    """SHA-256 over roles and contents; differs from that of the same words as plain text."""
    content = ["chat", [[[message.role, message.content] for message in messages] for messages in conversations]]
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()


def join_contents(messages: Sequence[Message]) -> str:
    """The contents as paragraphs."""
    return BETWEEN.join(message.content for message in messages)


def _conversation(value: Any, location: str) -> Conversation:
    """Parse one conversation. Raises CorpusError."""
    if not isinstance(value, list) or not value:
        raise mend(location, Sentence("no messages"), CorpusError)
    return tuple(
        _message(message, Sentence("{where}, message {number}", where=location, number=number))
        for number, message in enumerate(value, 1)
    )


def _message(value: Any, location: str) -> Message:
    """Parse one message. Raises CorpusError, also for content that is not text."""
    keys = next((keys for keys in SHAPES if isinstance(value, dict) and keys[0] in value), None)
    if keys is None:
        raise mend(location, Sentence("no role and content, or from and value"), CorpusError)
    # A rendered tool call or chain of thought is neither content nor template.
    unmeasured = sorted(key for key in UNMEASURED if value.get(key) not in (None, "", [], {}))
    if unmeasured:
        raise mend(location, Sentence("{more} beside {keys} is not measured", more=unmeasured, keys=keys), CorpusError)
    role = ROLES.get(str(value[keys[0]]).lower())
    if role is None:
        raise CorpusError(unknown_name(Sentence("role in {where}", where=location), str(value[keys[0]]), ROLES))
    content = _text(value.get(keys[1]), location).strip()
    if not content:
        raise mend(location, Sentence("an empty message"), CorpusError)
    return Message(role, content)


def _text(content: Any, location: str) -> str:
    """A text, or a list of parts that are all text."""
    if isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in content
    ):
        content = "".join(part["text"] for part in content)
    if content is None:
        return ""
    if not isinstance(content, str):
        raise mend(location, Sentence("more than text"), CorpusError)
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise mend(location, Sentence("half a character"), CorpusError) from error
    return content


USUAL = ("messages", "conversations")
"""Preferred names if several columns hold messages: preference data have `chosen` and `rejected` as well."""


def json_chats(text: str, path: Path, column: str | None) -> list[Any] | None:
    """The conversations of a .jsonl or .json file, one value per row; None if a .jsonl file has none.

    Raises CorpusError for a .json file without messages, and if the column is ambiguous.
    """
    is_json = path.suffix.lower() == ".json"
    if not is_json and not any(f'"{keys[0]}"' in text for keys in SHAPES):
        return None
    try:
        rows = parse_json(text) if is_json else [parse_json(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        if not is_json:
            return None  # the reader of text tables reports what is wrong
        raise CorpusError(
            "{path} cannot be read as {kind}: {first}. Check the file.", path=path.name, kind="json", first=error
        ) from error
    rows = rows if isinstance(rows, list) else []
    if any(map(is_chat, rows)):
        return rows
    records = [row for row in rows if isinstance(row, dict)]
    chat_columns = {name: None for row in records for name, value in row.items() if is_chat(value)}
    has_text = any(isinstance(row.get("text"), str) for row in records)
    chosen_column = _choose_chat_column(path, list(chat_columns), column, has_text)
    if chosen_column:
        return [row.get(chosen_column) if isinstance(row, dict) else None for row in rows]
    if is_json and chat_columns and column:
        raise CorpusError(unknown_name(Sentence("chat column of {path}", path=path.name), column, chat_columns))
    if is_json:
        raise CorpusError("{path} holds no conversations. Save plain texts as .jsonl.", path=path.name)
    return None


MAX_VALUES = 10**6
"""Largest number of texts or messages of a table: a protocol reads some thousand windows, and each text takes memory."""
MAX_TABLE_BYTES = 2**31
"""Largest size of a table of text."""
MAX_UNPACKED_BYTES = 2**28
"""Largest size of a Parquet column in memory: compressed, and with values written once for many rows, it takes a file of
two kilobytes."""


def read_parquet_column(path: Path, column: str) -> pl.Series:
    """One column of a Parquet file. Raises CorpusError for more than the limits.

    Before reading, by the file's own account of the column; a value that is stored once for many rows is counted
    afterwards, since polars keeps it once as well until it is copied. Other columns are not read.
    """
    _require_column_within_limits(path, column)
    values = pl.read_parquet(path, columns=[column])[column]
    require_values_within_limits(path, len(values), values.estimated_size(), MAX_UNPACKED_BYTES)
    return values


def _require_column_within_limits(path: Path, column: str) -> None:
    """Raises CorpusError for a column that exceeds the limits by the file's footer."""
    try:
        footer = pq.read_metadata(path)
    except (pa.ArrowException, OSError):  # the reader of the file reports what is wrong
        return
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    own = [chunk for chunk in chunks if chunk.path_in_schema == column or chunk.path_in_schema.startswith(f"{column}.")]
    # A list in a row counts as many values as it has.
    n_values = Counter[str]()
    for chunk in own:
        n_values[chunk.path_in_schema] += chunk.num_values
    n_bytes = sum(chunk.total_uncompressed_size for chunk in own)
    require_values_within_limits(path, max([footer.num_rows, *n_values.values()]), n_bytes, MAX_UNPACKED_BYTES)


def require_values_within_limits(path: Path, n_values: int, n_bytes: float, max_bytes: int = MAX_TABLE_BYTES) -> None:
    """Raises CorpusError for a table of more values or bytes than are read."""
    if n_values > MAX_VALUES:
        raise beyond_limit(path.name, n_values, MAX_VALUES, Sentence("texts"), CorpusError)
    if n_bytes > max_bytes:
        raise beyond_limit(path.name, n_bytes / 1e6, max_bytes / 1e6, "MB", CorpusError)


def parquet_chats(path: Path, column: str | None) -> list[Any] | None:
    """As `json_chats`, for a Parquet file; None if it cannot be read, which the reader of text tables reports."""
    try:
        schema = pl.read_parquet_schema(path)
        chat_columns = [name for name, dtype in schema.items() if _holds_messages(dtype)]
        chosen_column = _choose_chat_column(path, chat_columns, column, schema.get("text") == pl.String)
        if not chosen_column:
            return None
        return read_parquet_column(path, chosen_column).to_list()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return None


def _holds_messages(dtype: Any) -> bool:
    if not isinstance(dtype, pl.List) or not isinstance(dtype.inner, pl.Struct):
        return False
    names = {field.name for field in dtype.inner.fields}
    return any(names >= set(keys) for keys in SHAPES)


def which_column(path: Path, columns: Iterable[str]) -> CorpusError:
    return CorpusError(
        "Which column of {path}? It has {columns}. Name one with --column.", path=path.name, columns=columns
    )


def _choose_chat_column(path: Path, chat_columns: list[str], column: str | None, has_text: bool) -> str | None:
    """The column of messages to read; None if there is none. Raises CorpusError if several are possible."""
    if column is not None:
        return column if column in chat_columns else None
    candidates = [name for name in USUAL if name in chat_columns][:1] or chat_columns
    if not candidates:
        return None
    if has_text or len(candidates) > 1:
        raise which_column(path, [*sorted(chat_columns), *["text"] * has_text])
    return candidates[0]
