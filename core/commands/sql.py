"""The verb sql: run typed queries, save queries, and list examples, tables and columns."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl

from core import exports
from core.commands.context import existing_warehouse, warn, write_out
from core.errors import InputError, Sentence, unknown_name
from core.locale import in_language, worded
from core.sql.examples import EXAMPLES
from core.sql.sandbox import check_statement, run_query
from core.terminal.output import escape_controls, heads, tell, width
from core.warehouse import people, schema

WRITERS = {"csv": exports.csv, "excel": exports.excel_csv, "json": exports.as_json, "parquet": exports.parquet}
"""Format -> what writes it, but for the table."""
_HEADS = {str(head): head for head in heads("name", "note", "question", "table", "rows", "column", "meaning")}
_HEADS["sql"] = Sentence("SQL")
"""Column of a listing -> its heading in a terminal."""
_LONGEST_CELL = 240
"""Characters: enough to show the meaning of every table and column in full."""


def sql(options: argparse.Namespace) -> None:
    named = (options.saved, options.example, options.delete, options.schema)
    names_something = options.list or options.examples or any(value is not None for value in named)
    if (options.statement is None) == (options.save is not None or not names_something):
        raise InputError(
            'Give one statement (`workdim sql "SELECT * FROM runs"`), or one of --saved, --example, --list, --examples and --schema.'
        )
    form = _format(options)
    warehouse = existing_warehouse(options)
    if options.save is not None:
        typed = _read_statement(options.statement)
        check_statement(typed)
        row = people.save_query(warehouse, options.save, typed, options.note, options.replace)
        tell('Saved. `workdim sql --saved "{name}"` runs it.', name=row.name)
    elif options.delete is not None:
        people.delete_query(warehouse, options.delete)
        tell("Deleted.")
    elif options.list or options.examples or options.schema is not None:
        listing = _listing(options, warehouse, worded if form == "table" else str)
        if form == "table":
            listing = listing.drop("sql" if options.examples else "type", strict=False)  # `DESCRIBE runs` tells types
            listing.columns = [worded(_HEADS[name]) for name in listing.columns]
        _write(listing, form, options.out)
    else:
        result = run_query(warehouse, _statement(options, warehouse), options.limit, options.seconds)
        _write(result.frame, form, options.out)
        if result.truncated:
            warn(
                "Only the first {n:,} row is shown: add a WHERE, or raise --limit.",
                "Only the first {n:,} rows are shown: add a WHERE, or raise --limit.",
                n=len(result.frame),
            )


def _statement(options: argparse.Namespace, warehouse) -> str:
    if options.saved is not None:
        return people.find_query(warehouse, options.saved).sql
    if options.example is None:
        return _read_statement(options.statement)
    if options.example not in EXAMPLES:
        raise InputError(unknown_name("example", options.example, EXAMPLES))
    return EXAMPLES[options.example].statement()


def _read_statement(statement: str) -> str:
    """The statement from the options or from standard input, read as UTF-8 whatever the terminal's encoding."""
    if statement != "-":
        return statement
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("The statement on standard input is not UTF-8.") from error


def _listing(options: argparse.Namespace, warehouse, worded: Callable[[str], str]) -> pl.DataFrame:
    """A listing, in the reader's language for people and in English for programs."""
    rows: list[tuple]
    if options.list:
        head = ("name", "note", "sql")
        rows = [(row.name, row.note, row.sql) for row in people.list_queries(warehouse)]
    elif options.examples:
        head = ("name", "question", "sql")
        rows = [(name, worded(Sentence(one.title)), in_language("en", one.statement)) for name, one in EXAMPLES.items()]
    elif options.schema:
        head = ("column", "type", "meaning")
        columns = schema.find_table(warehouse, options.schema).columns
        rows = [(item.name, item.type, worded(item.comment)) for item in columns]
    else:
        head = ("table", "rows", "meaning")
        rows = [(item.name, item.n_rows, worded(item.comment)) for item in schema.list_tables(warehouse)]
    types = {name: pl.Int64 if name == "rows" else pl.String for name in head}
    return pl.DataFrame(rows, schema=types, orient="row")


def _format(options: argparse.Namespace) -> str:
    if options.out is not None and options.out.suffix.lower() in (".xlsx", ".xls"):
        raise InputError("Workbooks are not written: --format excel --out FILE.csv makes a CSV that Excel reads.")
    ending = options.out.suffix.lower()[1:] if options.out else ""
    form = options.format or (ending if ending in WRITERS else "table")
    if form == "parquet" and options.out is None and sys.stdout.isatty():
        raise InputError("Parquet needs --out FILE.parquet.")
    return form


def _write(frame: pl.DataFrame, form: str, out: Path | None) -> None:
    content = _table(frame, width() if out is None else 200) if form == "table" else WRITERS[form](frame)
    if out is None and form != "parquet" and sys.stdout.isatty():
        # A program gets the exact bytes, a terminal gets text; a table is in the terminal's own encoding.
        print(content.decode((sys.stdout.encoding or "utf-8") if form == "table" else "utf-8-sig"))
        return
    if out is None:
        sys.stdout.buffer.write(content if form != "json" else content + b"\n")
        sys.stdout.buffer.flush()
        return
    write_out(out, content)
    tell("{file}: {n:,} row", "{file}: {n:,} rows", file=out, n=frame.height)


def _table(frame: pl.DataFrame, columns: int) -> bytes:
    """A table as text, with control characters in cells and headings escaped for the terminal, of so many columns."""
    seen: dict[str, int] = {}
    names = []
    for name in map(_cell, frame.columns):
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    safe = frame.with_columns(
        pl.Series(name, [value and _cell(value) for value in frame[name]], dtype=pl.String) for name in texts
    )
    safe.columns = names
    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        fmt_str_lengths=_LONGEST_CELL,
        tbl_width_chars=columns,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        text = f"{safe}\n"
    return text.encode(sys.stdout.encoding or "utf-8", "replace")


def _cell(text: str) -> str:
    """A cell may keep its line breaks, but not tabs."""
    return escape_controls(text).replace("\t", "\\t")
