"""The verb sql: run typed queries, save queries, and list examples, tables and columns."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from core.commands.context import existing_warehouse, warn, write_out
from core.errors import InputError, Sentence, unknown_name
from core.locale import in_language, worded
from core.terminal.output import escape_controls, heads, say, width

if TYPE_CHECKING:
    import polars as pl

FORMATS = ("table", "csv", "excel", "json", "parquet")
_BY_ENDING = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
_HEADS = dict(
    zip(
        ("name", "note", "question", "table", "rows", "column", "type", "meaning", "sql"),
        heads("name", "note", "question", "table", "rows", "column", "data type", "meaning", "SQL"),
        strict=True,
    )
)
"""Column of a listing -> its heading in a terminal."""
_LONGEST_CELL = 240
"""Characters: enough to show the meaning of every table and column in full."""


def sql(options: argparse.Namespace) -> int:
    from core.warehouse import saved_queries

    if (options.statement is None) == (options.save is not None or not _names_something(options)):
        raise InputError(
            'Give one statement, as in `workdim sql "SELECT * FROM runs"`, or one of --saved, --example, '
            "--list, --examples and --schema. --save NAME goes with a statement."
        )
    form = _format(options)
    warehouse = existing_warehouse(options)
    if options.save is not None:
        from core.sql.gate import check_statement

        typed = _read_statement(options.statement)
        check_statement(typed)
        row = saved_queries.save_query(warehouse, options.save, typed, options.note, options.replace)
        say(Sentence('Saved. `workdim sql --saved "{name}"` runs it.', name=row.name))
    elif options.delete is not None:
        saved_queries.delete_query(warehouse, options.delete)
        say(Sentence("Deleted."))
    elif options.list or options.examples or options.schema is not None:
        listing = _listing(options, warehouse, worded if form == "table" else str)
        if form == "table":
            listing = listing.drop("sql") if options.examples else listing
            listing.columns = [worded(_HEADS[name]) for name in listing.columns]
        _write(listing, form, options.out)
    else:
        _run_query(options, warehouse, form)
    return 0


def _names_something(options: argparse.Namespace) -> bool:
    options_with_name = (options.saved, options.example, options.delete, options.schema)
    return options.list or options.examples or any(value is not None for value in options_with_name)


def _run_query(options: argparse.Namespace, warehouse, form: str) -> None:
    from core.sql.examples import EXAMPLES
    from core.sql.sandbox import run_query
    from core.warehouse import saved_queries

    if options.saved is not None:
        statement = saved_queries.find_query(warehouse, options.saved).sql
    elif options.example is not None:
        if options.example not in EXAMPLES:
            raise InputError(unknown_name("example", options.example, EXAMPLES))
        statement = EXAMPLES[options.example].statement()
    else:
        statement = _read_statement(options.statement)
    result = run_query(warehouse, statement, options.limit, options.seconds)
    _write(result.frame, form, options.out)
    if result.truncated:
        warn(
            Sentence(
                "Only the first {n:,} row is shown: add a WHERE or a LIMIT, or raise --limit.",
                "Only the first {n:,} rows are shown: add a WHERE or a LIMIT, or raise --limit.",
                n=len(result.frame),
            )
        )


def _read_statement(statement: str) -> str:
    """The statement from the options or from standard input, read as UTF-8 whatever the terminal's encoding."""
    if statement != "-":
        return statement
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("The statement on standard input is not UTF-8. Convert it, and try again.") from error


def _listing(options: argparse.Namespace, warehouse, worded: Callable[[str], str]) -> pl.DataFrame:
    """A listing, in the reader's language for people and in English for programs."""
    import polars as pl

    from core.sql.examples import EXAMPLES
    from core.warehouse import saved_queries, schema

    if options.list:
        rows = [(row.name, row.note, row.sql) for row in saved_queries.list_queries(warehouse)]
        return pl.DataFrame(rows, schema={"name": pl.String, "note": pl.String, "sql": pl.String}, orient="row")
    if options.examples:
        rows = [(name, worded(Sentence(one.title)), in_language("en", one.statement)) for name, one in EXAMPLES.items()]
        return pl.DataFrame(rows, schema=["name", "question", "sql"], orient="row")
    if options.schema:
        columns = schema.find_table(warehouse, options.schema).columns
        return pl.DataFrame(
            [(item.name, item.type, worded(item.comment)) for item in columns],
            schema=["column", "type", "meaning"],
            orient="row",
        )
    tables = schema.list_tables(warehouse)
    return pl.DataFrame(
        [(item.name, item.n_rows, worded(item.comment)) for item in tables],
        schema=["table", "rows", "meaning"],
        orient="row",
    )


def _format(options: argparse.Namespace) -> str:
    if options.out is not None and options.out.suffix.lower() in (".xlsx", ".xls"):
        raise InputError("Workbooks are not written: --format excel --out FILE.csv makes a CSV that Excel reads.")
    form = options.format or (_BY_ENDING.get(options.out.suffix.lower(), "table") if options.out else "table")
    if form == "parquet" and options.out is None and sys.stdout.isatty():
        raise InputError("Parquet is not for a terminal: add --out FILE.parquet to the command.")
    return form


def _write(frame: pl.DataFrame, form: str, out: Path | None) -> None:
    from core import exports

    writers = {"csv": exports.csv, "excel": exports.excel_csv, "json": exports.as_json, "parquet": exports.parquet}
    content = _table(frame, width() if out is None else None) if form == "table" else writers[form](frame)
    if out is None and form != "parquet" and sys.stdout.isatty():
        print(content.decode("utf-8-sig"))  # a program gets the exact bytes, a terminal gets text
        return
    if out is None:
        sys.stdout.buffer.write(content if form != "json" else content + b"\n")
        sys.stdout.buffer.flush()
        return
    write_out(out, content)
    say(Sentence("{file}: {n:,} row", "{file}: {n:,} rows", file=out, n=frame.height))


def _table(frame: pl.DataFrame, columns: int | None) -> bytes:
    """A table as text, with control characters in cells and headings escaped for the terminal, of so many columns."""
    import polars as pl

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
        tbl_width_chars=columns or 200,
        tbl_hide_dataframe_shape=True,
    ):
        text = f"{safe}\n"
    return text.encode(sys.stdout.encoding or "utf-8", "replace")


def _cell(text: str) -> str:
    """A cell may keep its line breaks, but not tabs."""
    return escape_controls(text).replace("\t", "\\t")
