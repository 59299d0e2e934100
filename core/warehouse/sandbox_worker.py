"""The process behind sandbox.query: one request on stdin, one answer on stdout, no other traces but the file copy.

The answer is a line of JSON, and after it, unless that line reports an error, an Arrow stream. The copy is keyed by
the version of the warehouse file and shared by all queries until the next write; it lies beside the warehouse.
Copying is done here and not in the app because closing a plain file handle would drop the app's own DuckDB locks.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from core.errors import QueryError, WorkdimError
from core.warehouse.store import Warehouse, connect, wal

MAX_RESULT_BYTES = 64 * 2**20
COPIES = "query-copies"
_STALE_PART_SECONDS = 600.0
_READS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
# Types that Arrow and polars carry unchanged; everything else (intervals, maps, ...) arrives as text.
_PLAIN = re.compile(
    r"(BOOLEAN|U?(TINY|SMALL|BIG)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*?\)|VARCHAR|BLOB|DATE|TIME|"
    r"TIMESTAMP(_S|_MS|_NS)?|TIMESTAMP WITH TIME ZONE|\"NULL\")(\[\])*"
)


def main() -> None:
    """Answer the one request."""
    request = json.load(sys.stdin.buffer)
    _cap_memory()
    sys.stdout.buffer.write(answer(request, _give_up))


def answer(request: dict[str, Any], on_timeout: Callable[[float], object]) -> bytes:
    """The rows, or the one line that says why there are none.

    `on_timeout` is called from a watchdog thread: DuckDB's own time limit does not reach into every function
    (sleep_ms).
    """
    try:
        with contextlib.closing(_open_copy(Warehouse(Path(request["path"]), request["wait"]), request)) as connection:
            watchdog = threading.Timer(request["seconds"] + 1.0, on_timeout, [request["seconds"]])
            watchdog.daemon = True
            watchdog.start()
            try:
                return _rows(connection, request)
            finally:
                watchdog.cancel()
    except WorkdimError as error:
        return _refusal(str(error))
    except (duckdb.Error, OSError, ValueError, MemoryError, pa.ArrowException) as error:
        return _refusal(_clear(error, request))


def _rows(connection: duckdb.DuckDBPyConnection, request: dict[str, Any]) -> bytes:
    statement = _only_statement(connection, request["sql"])
    started = time.perf_counter()
    rows = connection.sql(statement).limit(request["limit"] + 1)  # also gives equal column names different ones
    batches = _fetch(_as_plain_types(rows).to_arrow_reader(2048))
    seconds = time.perf_counter() - started
    table = pa.Table.from_batches(*batches)
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table.slice(0, request["limit"]))
    header = {"truncated": table.num_rows > request["limit"], "seconds": seconds}
    return json.dumps(header).encode() + b"\n" + stream.getvalue()


def _only_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    statements = connection.extract_statements(sql)
    if not statements:
        raise QueryError("There is no statement to run. Type one SELECT statement.")
    if len(statements) > 1:
        raise QueryError(f"There are {len(statements)} statements. Type one SELECT statement at a time.")
    if statements[0].type not in _READS:
        kind = statements[0].type.name.replace("_", " ")
        raise QueryError(f"A {kind} statement is refused: the warehouse is only read here. Type one SELECT statement.")
    return statements[0]


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
            raise QueryError(
                f"The result is larger than {MAX_RESULT_BYTES // 2**20} MB. Select fewer columns or rows, or aggregate."
            )
        batches.append(batch)
    return batches, reader.schema


def _open_copy(warehouse: Warehouse, request: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    config = {
        "enable_external_access": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "python_enable_replacements": "false",
        "max_execution_time": str(int(request["seconds"] * 1000)),
        "memory_limit": f"{request['memory_mb']}MB",
        "threads": "1",
        "temp_directory": "",
    }
    for attempt in range(3):
        copy = _current_copy(warehouse)
        try:
            connection = connect(copy, read_only=True, wait=0.0, config=config)
        except duckdb.IOException:
            # A query on a newer version has just cleared this copy away.
            if attempt == 2:
                raise
        else:
            connection.execute("SET TimeZone = 'UTC'; SET lock_configuration = true")
            return connection
    raise AssertionError("unreachable")


def _current_copy(warehouse: Warehouse) -> Path:
    """The copy of the file as it stands now, made if need be."""
    folder = _folder_for_copies(warehouse)
    # Reading holds writers off until the copy is complete.
    with connect(warehouse.path, read_only=True, wait=warehouse.wait, config={"threads": "1"}):
        key = hashlib.sha256(repr(warehouse.version()).encode()).hexdigest()[:16]
        copy = folder / f"{warehouse.path.name}-{key}.duckdb"
        if copy.exists():
            return copy
        part = folder / f"{warehouse.path.name}-{key}.{os.getpid()}.part"
        # The log first: closing our handle of the main file drops the lock on it.
        if wal(warehouse.path).exists():
            shutil.copyfile(wal(warehouse.path), wal(part))
        shutil.copyfile(warehouse.path, part)
    duckdb.connect(part).close()  # folds the log in
    os.replace(part, copy)
    _clear_away(folder, warehouse.path.name, copy)
    return copy


def _folder_for_copies(warehouse: Warehouse) -> Path:
    """Beside the warehouse; where nothing can be written there, a private folder that goes with this process."""
    beside = warehouse.path.parent / COPIES
    with contextlib.suppress(OSError):
        beside.mkdir(mode=0o700, exist_ok=True)
        if os.access(beside, os.W_OK):
            return beside
    private = Path(tempfile.mkdtemp(prefix="workdim-"))
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    return private


def _clear_away(folder: Path, name: str, current: Path) -> None:
    for file in folder.glob(f"{name}-*"):
        if file == current:
            continue
        # Windows refuses while another query still uses the old copy; the next query clears it.
        with contextlib.suppress(OSError):
            if ".part" not in file.name or time.time() - file.stat().st_mtime > _STALE_PART_SECONDS:
                file.unlink()


def _cap_memory() -> None:
    """A hard ceiling on address space, for what DuckDB's own limit does not count. POSIX only."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))


def _give_up(seconds: float) -> None:
    sys.stdout.buffer.write(_refusal(_too_slow(seconds)))
    sys.stdout.buffer.flush()
    os._exit(0)


def _refusal(line: str) -> bytes:
    return json.dumps({"error": line}).encode() + b"\n"


def _too_slow(seconds: float) -> str:
    return f"The query took longer than {seconds:g} seconds and was stopped. Filter earlier or aggregate."


def _clear(error: Exception, request: dict[str, Any]) -> str:
    """DuckDB's message in one line, without the picture of the statement."""
    text = str(error)
    if isinstance(error, duckdb.InterruptException) or "Query exceeded maximum execution time" in text:
        return _too_slow(request["seconds"])
    if isinstance(error, (duckdb.OutOfMemoryException, MemoryError)) or "Out of Memory" in text:
        return f"The query needs more than {request['memory_mb']} MB of memory. Filter earlier or aggregate."
    if isinstance(error, duckdb.PermissionException):
        return "The query was refused: it sees the tables of the warehouse and no files, folders or networks."
    if "read-only mode" in text:
        return "The query was refused: the warehouse is only read here."
    if "expression depth limit" in text:
        return "The statement is nested too deeply (more than 1,000 levels)."
    if isinstance(error, duckdb.ParserException):
        return f"{text.splitlines()[0].removeprefix('Parser Error: ')}. Type one SELECT statement."
    sentences = text.split("\n\nLINE ")[0].splitlines()
    return " ".join(line.strip() for line in sentences if line.strip()) or type(error).__name__


if __name__ == "__main__":
    main()
