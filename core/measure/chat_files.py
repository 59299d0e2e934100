"""Where a file holds its chat messages: a column of a .jsonl, .json or .parquet file, or whole lines of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import CorpusError, unknown_name
from core.measure.messages import SHAPES, is_chat

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
        rows = json.loads(text) if whole else [json.loads(line) for line in text.split("\n") if line.strip()]
    except json.JSONDecodeError as error:
        if not whole:
            return None  # whoever reads it as a table of texts says what is wrong
        raise CorpusError(f"{path.name} cannot be read as json: {error}. Check the file.") from error
    rows = rows if isinstance(rows, list) else []
    if any(map(is_chat, rows)):
        return rows
    tables = [row for row in rows if isinstance(row, dict)]
    found = {name: None for row in tables for name, value in row.items() if is_chat(value)}
    has_text = any(isinstance(row.get("text"), str) for row in tables)
    chosen = _choose(path, list(found), column, has_text)
    if chosen:
        return [row.get(chosen) if isinstance(row, dict) else None for row in rows]
    if whole and found and column:
        raise CorpusError(unknown_name(f"column of {path.name} with chat messages", column, found))
    if whole:
        raise CorpusError(f"{path.name} is no list of conversations with their messages. Save plain texts as .jsonl.")
    return None


def parquet_chats(path: Path, column: str | None) -> list[Any] | None:
    """As `json_chats`. A file that cannot be read has none: whoever reads it as a table of texts says why."""
    try:
        schema = pl.read_parquet_schema(path)
        found = [name for name, dtype in schema.items() if _holds_messages(dtype)]
        chosen = _choose(path, found, column, schema.get("text") == pl.String)
        return pl.read_parquet(path, columns=[chosen])[chosen].to_list() if chosen else None
    except (pl.exceptions.PolarsError, OSError):
        return None


def _holds_messages(dtype: Any) -> bool:
    if not isinstance(dtype, pl.List) or not isinstance(dtype.inner, pl.Struct):
        return False
    names = {field.name for field in dtype.inner.fields}
    return any(names >= set(keys) for keys in SHAPES)


def _choose(path: Path, found: list[str], column: str | None, has_text: bool) -> str | None:
    if column is not None:
        return column if column in found else None
    usual = [name for name in USUAL if name in found][:1] or found
    if not usual:
        return None
    if has_text or len(usual) > 1:
        raise CorpusError(
            f"Which column of {path.name} is to be measured? {' and '.join(sorted(found))} "
            f"{'hold' if len(found) > 1 else 'holds'} chat messages{', text holds text' if has_text else ''}. "
            "Name one with --column."
        )
    return usual[0]
