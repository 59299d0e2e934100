"""The process behind `sandbox.start_query`: one request on stdin, one answer on stdout; it writes only the file copy.

The answer is a line of JSON, followed by an Arrow stream unless that line reports an error.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import QueryError, Sentence, WorkdimError, to_record
from core.files import beyond_limit
from core.sql.copy import current_copy
from core.sql.gate import refused, require_single_select, table_names, worded_error
from core.warehouse.schema import quoted
from core.warehouse.warehouse import Warehouse

MAX_RESULT_BYTES = 64 * 2**20
_COPIES_OF_A_RESULT = 4
MAX_CELL_BYTES = 2**20
MAX_CELL_ITEMS = 100_000
MAX_COLUMNS = 500
_FIRST_DAY, _LAST_DAY = (day.toordinal() - date(1970, 1, 1).toordinal() for day in (date.min, date.max))
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# Types that Arrow and polars carry unchanged; all others (intervals, structs, maps, blobs, ...) become text.
_PLAIN = re.compile(
    r"(BOOLEAN|U?(TINY|SMALL|BIG)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*?\)|VARCHAR|DATE|TIME|"
    r"TIMESTAMP(_S|_MS|_NS)?|TIMESTAMP WITH TIME ZONE|\"NULL\")(\[\])*"
)


@dataclass(frozen=True)
class Request:
    """What `sandbox.start_query` asks for."""

    path: str
    """Of the warehouse."""
    sql: str
    limit: int
    """Most rows."""
    seconds: float
    memory_mb: int
    wait: float
    """Seconds to wait for a locked file."""


def main() -> None:
    """Answer one request."""
    request = Request(**json.load(sys.stdin.buffer))
    sys.stdout.buffer.write(answer(request, _exit_on_timeout, _cap_memory))


def answer(
    request: Request, on_timeout: Callable[[float], object], on_open: Callable[[int], object] = lambda megabytes: None
) -> bytes:
    """The rows as bytes, or one line with the reason why there are none.

    `on_timeout` is called from a watchdog thread, because DuckDB's own time limit does not interrupt every function
    (for example sleep_ms). `on_open` is called with the megabytes that the query may take, once the file is open.
    """
    try:
        with contextlib.closing(_open_copy(Warehouse(Path(request.path), request.wait), request)) as connection:
            watchdog = threading.Timer(request.seconds + 1.0, on_timeout, [request.seconds])
            watchdog.daemon = True
            watchdog.start()
            on_open(request.memory_mb)
            try:
                return _rows(connection, request)
            finally:
                watchdog.cancel()
    except WorkdimError as error:
        return _error_answer(str(error))
    except (duckdb.Error, OSError, ValueError, MemoryError, pa.ArrowException) as error:
        return _error_answer(_clear_message(error, request))


def _rows(connection: duckdb.DuckDBPyConnection, request: Request) -> bytes:
    statement = require_single_select(connection, request.sql)
    _bind_saved_queries(connection, statement)
    started = time.perf_counter()
    rows = connection.sql(statement).limit(request.limit + 1)  # also makes equal column names distinct
    if len(rows.columns) > MAX_COLUMNS:
        raise beyond_limit(Sentence("The result"), len(rows.columns), MAX_COLUMNS, Sentence("columns"), QueryError)
    batches = _fetch(_as_plain_types(rows).to_arrow_reader(2048))
    seconds = time.perf_counter() - started
    table = pa.Table.from_batches(*batches)
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table.slice(0, request.limit))
    header = {"truncated": table.num_rows > request.limit, "seconds": seconds}
    return json.dumps(header).encode() + b"\n" + stream.getvalue()


def _bind_saved_queries(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> None:
    """Make views of the saved queries that a statement reads by name, each checked as the statement itself is.

    Raises QueryError, which names the saved query that cannot be one.
    """
    saved = {
        name.lower(): (name, sql) for name, sql in connection.execute("SELECT name, sql FROM saved_queries").fetchall()
    }
    there = "SELECT lower(table_name) FROM duckdb_tables() UNION ALL SELECT lower(view_name) FROM duckdb_views()"
    known = {name for (name,) in connection.execute(there).fetchall()}

    def bind(read: duckdb.Statement) -> None:
        for wanted in sorted({name.lower() for name in table_names(connection, read)} - known):
            if wanted not in saved:
                continue
            known.add(wanted)
            name, sql = saved[wanted]
            try:
                inner = require_single_select(connection, sql)
                bind(inner)
                connection.execute(f"CREATE TEMP VIEW {quoted(name)} AS {inner.query}")
            except (QueryError, duckdb.Error) as error:
                reason = error.message if isinstance(error, QueryError) else worded_error(error)
                raise QueryError(
                    "The saved query {name} cannot be read: {reason}", name=_brief(name), reason=reason
                ) from error

    bind(statement)


def _as_plain_types(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    columns = []
    for name, dtype in zip(relation.columns, map(str, relation.types), strict=True):
        quoted = '"' + name.replace('"', '""') + '"'
        target = "DECIMAL(38, 0)" if dtype == "HUGEINT" else "VARCHAR"
        columns.append(quoted if _PLAIN.fullmatch(dtype) else f"CAST({quoted} AS {target}) AS {quoted}")
    return relation.project(", ".join(columns))


def _fetch(reader: pa.RecordBatchReader) -> tuple[list[pa.RecordBatch], pa.Schema]:
    batches, size = [], 0
    for batch in reader:
        size += batch.nbytes
        if size > MAX_RESULT_BYTES:
            raise QueryError(_too_much(MAX_RESULT_BYTES // 2**20))  # how much more there is was not read
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            _refuse_huge_cells(name, column)
            _refuse_unrepresentable_times(name, column)
        batches.append(batch)
    return batches, reader.schema


def _refuse_huge_cells(name: str, column: pa.Array) -> None:
    """Raises QueryError for huge cells: a single cell of megabytes would freeze a browser's table."""
    if pa.types.is_string(column.type):
        largest, limit, unit = pc.max(pc.binary_length(column)).as_py() or 0, MAX_CELL_BYTES, Sentence("bytes")
    elif pa.types.is_list(column.type):
        largest, limit, unit = pc.max(pc.list_value_length(column)).as_py() or 0, MAX_CELL_ITEMS, Sentence("items")
    else:
        return
    if largest > limit:
        raise beyond_limit(Sentence("A cell of {name}", name=_brief(name)), largest, limit, unit, QueryError)


def _refuse_unrepresentable_times(name: str, column: pa.Array) -> None:
    """Raises QueryError for infinite dates, years beyond 9999 and hour 24: only the engine can represent them."""
    kind = column.type
    if pa.types.is_list(kind):
        _refuse_unrepresentable_times(name, pc.list_flatten(column))
        return
    if pa.types.is_date32(kind):
        plain, first, last = column.cast(pa.int32()), _FIRST_DAY, _LAST_DAY
    elif pa.types.is_timestamp(kind):
        per_day = 86_400 * _PER_SECOND[kind.unit]
        plain, first, last = column.cast(pa.int64()), _FIRST_DAY * per_day, (_LAST_DAY + 1) * per_day - 1
    elif pa.types.is_time(kind):
        plain, first, last = column.cast(pa.int64()), 0, 86_400 * _PER_SECOND[kind.unit] - 1
    else:
        return
    found = pc.min_max(plain).as_py()
    if found["min"] is not None and not first <= found["min"] <= found["max"] <= last:
        raise QueryError("Column {name} is out of range. Cast it to VARCHAR.", name=_brief(name))


def _brief(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:60]}..."


def _open_copy(warehouse: Warehouse, request: Request) -> duckdb.DuckDBPyConnection:
    config: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "python_enable_replacements": "false",
        "max_execution_time": str(max(1, int(request.seconds * 1000))),  # 0 would be no limit
        "memory_limit": f"{request.memory_mb}MB",
        "threads": "1",
        "temp_directory": "",
    }
    for attempt in range(3):
        copy = current_copy(warehouse)
        try:
            connection = duckdb.connect(copy, read_only=True, config=config)
        except duckdb.IOException:
            # A query on a newer version has just removed this copy.
            if attempt == 2:
                raise
        else:
            connection.execute("SET TimeZone = 'UTC'; SET lock_configuration = true")
            return connection
    raise AssertionError("unreachable")


def _cap_memory(megabytes: int) -> None:
    """Limit what this process may take beyond what it has, as DuckDB's own limit does not count every allocation: so many
    megabytes, and room for the copies of a result on its way out. Only Linux tells what a process has and keeps the limit."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + megabytes * 2**20 + _COPIES_OF_A_RESULT * MAX_RESULT_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _exit_on_timeout(seconds: float) -> None:
    sys.stdout.buffer.write(_error_answer(_too_slow(seconds)))
    sys.stdout.buffer.flush()
    os._exit(0)


def _error_answer(line: str) -> bytes:
    return json.dumps({"error": to_record(line)}).encode() + b"\n"


def _too_slow(seconds: float) -> Sentence:
    return Sentence(
        "The query exceeded {seconds:g} seconds. Filter earlier, aggregate, or allow more time.", seconds=seconds
    )


def _too_much(megabytes: int) -> Sentence:
    return Sentence("The query exceeded {limit}. Filter earlier, or aggregate.", limit=f"{megabytes} MB")


def _clear_message(error: Exception, request: Request) -> Sentence:
    text = str(error)
    if isinstance(error, duckdb.InterruptException) or "Query exceeded maximum execution time" in text:
        return _too_slow(request.seconds)
    if isinstance(error, (duckdb.OutOfMemoryException, MemoryError)) or "Out of Memory" in text:
        return _too_much(request.memory_mb)
    needs_extension = "needs an extension" in text or "required extension" in text.lower()
    is_change = "read-only mode" in text or "configuration has been locked" in text
    if (
        isinstance(error, duckdb.PermissionException)
        or is_change
        or needs_extension
        or "try installing" in text.lower()
    ):
        return refused(Sentence("This statement"))
    if "to DECIMAL(38,0)" in text:  # a cast of ours
        return Sentence("A whole number has more than 38 digits. Cast it to DOUBLE or VARCHAR.")
    if isinstance(error, OSError):
        return Sentence("The query failed: {message}", message=error.strerror or error)
    return worded_error(error)


if __name__ == "__main__":
    main()
