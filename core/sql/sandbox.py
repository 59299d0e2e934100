"""Run typed SQL in isolation: it cannot block the app, and can only read the warehouse.

Each query gets its own process, which is this file run as a program, on a copy of the warehouse file, and leaves only one
table behind. One request goes to its stdin; its stdout is a line of JSON, followed by an Arrow stream unless that line
reports an error. It writes only the file copy. A gate lets a single SELECT through, whose functions read only their
arguments. The copy is shared by all queries until the next write.
"""

from __future__ import annotations

import atexit
import contextlib
import glob
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import QueryError, Sentence, WorkdimError, from_record, to_record
from core.files import beyond_limit, python_path
from core.warehouse import schema
from core.warehouse.connection import CONFIG, Connection, copy_snapshot, first_column
from core.warehouse.schema import quoted
from core.warehouse.warehouse import Warehouse

MEMORY_MB = 512
MAX_RUNNING = 2
"""Most queries at a time in one app, over all its readers: each takes a core and up to MEMORY_MB."""
MAX_CHARACTERS = 100_000
MAX_ROWS = 1_000_000
MAX_SECONDS = 600.0
# Time to start the process and copy the file, in addition to the query's own time.
_START_SECONDS = 60.0
_POLL_SECONDS = 0.01
_processes: list[subprocess.Popen] = []
_starting = threading.Lock()


@dataclass(frozen=True)
class SqlResult:
    """The rows of one query."""

    frame: pl.DataFrame
    truncated: bool
    """Whether there are more rows than the limit allows."""
    seconds: float
    """Time spent in the query itself."""


@dataclass(frozen=True)
class RunningQuery:
    """A query running in its own process. It ends with this object: no one waits for rows of a closed session."""

    sql: str
    process: subprocess.Popen
    answer: IO[bytes]
    timeout: float
    """Seconds to wait for an answer."""
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        weakref.finalize(self, self.process.kill)

    def is_done(self) -> bool:
        return self.process.poll() is not None or self.elapsed() > self.timeout

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def cancel(self) -> None:
        """End the process at once and discard its answer."""
        self.process.kill()
        self.process.wait()
        self.answer.close()

    def result(self) -> SqlResult:
        """Wait for the rows. Raises QueryError, in one line, if there are none. Ctrl-C ends the process."""
        try:
            while not self.is_done():
                time.sleep(_POLL_SECONDS)
            if self.process.poll() is None:
                raise QueryError(_too_much(f"{self.timeout:g} s"))
            self.answer.seek(0)
            header, _, table = self.answer.read().partition(b"\n")
        finally:
            self.cancel()
        if self.process.returncode != 0 or not header:
            raise QueryError(
                "The query ended its process ({code}): nested too deeply, or out of memory.",
                code=self.process.returncode,
            )
        answer = json.loads(header)
        if "error" in answer:
            raise QueryError(from_record(answer["error"]))
        return SqlResult(pl.read_ipc_stream(io.BytesIO(table)), answer["truncated"], answer["seconds"])


def run_query(warehouse: Warehouse, sql: str, limit: int = 10_000, seconds: float = 10.0) -> SqlResult:
    """Run one SELECT (or EXPLAIN, DESCRIBE, SUMMARIZE) statement. Raises QueryError, in one line, if it cannot run."""
    return start_query(warehouse, sql, limit, seconds).result()


def start_query(warehouse: Warehouse, sql: str, limit: int = 10_000, seconds: float = 10.0) -> RunningQuery:
    """Like `run_query`, without waiting for the rows."""
    check_request(sql, limit, seconds)
    if not has_copy(warehouse):
        warehouse.read("SELECT 1")  # makes or updates the file; raises the right error if it is unusable
    request = Request(str(warehouse.path), sql, limit, seconds, MEMORY_MB, warehouse.wait)
    # A temporary file instead of a pipe on both sides: no one has to fill or drain it meanwhile.
    with tempfile.TemporaryFile() as asked, _starting:
        asked.write(json.dumps(asdict(request)).encode())
        asked.seek(0)
        _processes[:] = [process for process in _processes if process.poll() is None]
        if len(_processes) >= MAX_RUNNING:
            raise QueryError(
                "{most_at_once} queries are running. Wait for one, or cancel one.", most_at_once=MAX_RUNNING
            )
        answer = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `cancel`, and so by `result`)
        process = subprocess.Popen(
            [sys.executable, "-m", "core.sql.sandbox"],
            stdin=asked,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        _processes.append(process)
    return RunningQuery(sql, process, answer, seconds + warehouse.wait + _START_SECONDS)


def check_request(sql: str, limit: int = 10_000, seconds: float = 10.0) -> None:
    """Raises QueryError for a statement that is too long, and for limits beyond what is allowed."""
    if len(sql) > MAX_CHARACTERS:
        raise beyond_limit(Sentence("The statement"), len(sql), MAX_CHARACTERS, Sentence("characters"), QueryError)
    for asked, most, unit in ((limit, MAX_ROWS, Sentence("rows")), (seconds, MAX_SECONDS, "s")):
        if not 0 < asked <= most:
            raise QueryError("Ask for 1 to {most:,} {unit}, not {asked:,}.", most=most, unit=unit, asked=asked)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": python_path(), "POLARS_MAX_THREADS": "1"}


# --- the process -----------------------------------------------------------------------------------------------------

MAX_RESULT_BYTES = 64 * 2**20
_COPIES_OF_A_RESULT = 4
MAX_CELL_BYTES = 2**20
MAX_CELL_ITEMS = 100_000
MAX_COLUMNS = 500
# Types that Arrow and polars carry unchanged; all others (intervals, structs, maps, blobs, times of day, ...) become text.
_PLAIN = re.compile(
    r"(BOOLEAN|U?(TINY|SMALL|BIG)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*?\)|VARCHAR|DATE|"
    r"TIMESTAMP(_S|_MS|_NS)?|TIMESTAMP WITH TIME ZONE|\"NULL\")(\[\])*"
)


@dataclass(frozen=True)
class Request:
    """What `start_query` asks the process for."""

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


def _rows(connection: Connection, request: Request) -> bytes:
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


def _bind_saved_queries(connection: Connection, statement: duckdb.Statement) -> None:
    """Make views of the saved queries that a statement reads by name, each checked as the statement itself is.

    Raises QueryError, which names the saved query that cannot be one.
    """
    saved = {
        name.lower(): (name, sql) for name, sql in connection.execute("SELECT name, sql FROM saved_queries").fetchall()
    }
    there = "SELECT lower(table_name) FROM duckdb_tables() UNION ALL SELECT lower(view_name) FROM duckdb_views()"
    known = set(first_column(connection, there))

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
        column, target = quoted(name), "DECIMAL(38, 0)" if dtype == "HUGEINT" else "VARCHAR"
        columns.append(column if _PLAIN.fullmatch(dtype) else f"CAST({column} AS {target}) AS {column}")
    return relation.project(", ".join(columns))


def _fetch(reader: pa.RecordBatchReader) -> tuple[list[pa.RecordBatch], pa.Schema]:
    batches, size = [], 0
    for batch in reader:
        size += batch.nbytes
        if size > MAX_RESULT_BYTES:
            raise QueryError(_too_much(f"{MAX_RESULT_BYTES // 2**20} MB"))  # how much more there is was not read
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
    """Raises QueryError for infinite dates and years beyond 9999: only the engine can represent them."""
    if pa.types.is_list(column.type):
        _refuse_unrepresentable_times(name, pc.list_flatten(column))
    elif pa.types.is_temporal(column.type):
        try:
            pc.min_max(column).as_py()
        except OverflowError as error:
            raise QueryError("Column {name} is out of range. Cast it to VARCHAR.", name=_brief(name)) from error


def _brief(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:60]}..."


def _open_copy(warehouse: Warehouse, request: Request) -> Connection:
    config = CONFIG | {
        "enable_external_access": "false",
        "allow_community_extensions": "false",
        "max_execution_time": str(max(1, int(request.seconds * 1000))),  # 0 would be no limit
        "memory_limit": f"{request.memory_mb}MB",
        "threads": "1",
        "temp_directory": "",
    }
    for is_last in (False, False, True):
        try:
            connection = duckdb.connect(current_copy(warehouse), read_only=True, config=config)
            break
        except duckdb.IOException:  # a query on a newer version has just removed this copy
            if is_last:
                raise
    connection.execute("SET TimeZone = 'UTC'; SET lock_configuration = true")
    return connection


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


def _too_much(limit: str) -> Sentence:
    return Sentence("The query exceeded {limit}. Filter earlier, or aggregate.", limit=limit)


_REFUSED_MESSAGES = (
    "read-only mode",
    "configuration has been locked",
    "needs an extension",
    "required extension",
    "try installing",
)


def _clear_message(error: Exception, request: Request) -> Sentence:
    text = str(error)
    if isinstance(error, duckdb.InterruptException) or "Query exceeded maximum execution time" in text:
        return _too_slow(request.seconds)
    if isinstance(error, (duckdb.OutOfMemoryException, MemoryError)) or "Out of Memory" in text:
        return _too_much(f"{request.memory_mb} MB")
    if isinstance(error, duckdb.PermissionException) or any(part in text.lower() for part in _REFUSED_MESSAGES):
        return refused(Sentence("This statement"))
    if "to DECIMAL(38,0)" in text:  # a cast of ours
        return Sentence("A whole number has more than 38 digits. Cast it to DOUBLE or VARCHAR.")
    if isinstance(error, OSError):
        return Sentence("The query failed: {message}", message=error.strerror or error)
    return worded_error(error)


# --- the gate: a single SELECT over tables, with functions that read only their arguments ----------------------------
#
# The engine itself is locked down (no files, no network, no settings, read-only). This gate adds what engine options
# cannot: one statement at a time, and no functions and views that reveal the path of the file or how it was opened.

MOST_CHARACTERS = 600
"""Characters of DuckDB's own message that are shown."""

TABLE_FUNCTIONS = {
    *("range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree", "summary"),
    *("duckdb_tables", "duckdb_columns", "duckdb_views", "duckdb_constraints", "duckdb_indexes", "duckdb_schemas"),
    *("duckdb_types", "duckdb_functions", "duckdb_keywords", "pragma_table_info", "pragma_show", "pragma_version"),
    *("pragma_collations", "icu_calendar_names", "pg_timezone_names"),
}
"""Allowed table functions; all others are refused, including those of later engines."""
_REFUSED_FUNCTIONS = {
    "current_setting",
    "getenv",
    "getvariable",
    "write_log",
    "nextval",
    "currval",
    "setval",
    "setseed",
    "json_serialize_plan",  # plans a statement given as text, and evaluates its constants
}
_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?(\([^()]*\)\s*)?", re.IGNORECASE)
_READS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)


def require_single_select(connection: Connection, sql: str) -> duckdb.Statement:
    """The statement to run. Raises QueryError if it is refused."""
    if re.search("[\0\ud800-\udfff]", sql):
        raise QueryError("The statement holds a broken character. Paste it again.")
    statements = connection.extract_statements(sql)
    kinds = [_kind(statement) for statement in statements]
    if "MULTI" in kinds:
        raise QueryError("Name the columns: PIVOT table ON column IN ('a', 'b') USING sum(value).")
    if len(statements) != 1:
        raise QueryError("Type one SELECT statement, not {n}.", n=len(statements))
    if statements[0].type not in _READS:
        raise QueryError(refused(kinds[0]))
    _refuse_engine_names(connection, statements[0])
    return statements[0]


def check_statement(sql: str) -> None:
    """Raises QueryError for a statement that could never run, whatever tables exist. Used before a query is saved."""
    try:
        with duckdb.connect() as connection:
            require_single_select(connection, sql)
    except duckdb.Error as error:
        raise QueryError(worded_error(error)) from error


def _kind(statement: duckdb.Statement) -> str:
    try:
        return statement.type.name.replace("_", " ")
    except ValueError as error:  # a kind that the engine knows and its Python API does not
        raise QueryError(refused(Sentence("This statement"))) from error


def table_names(connection: Connection, statement: duckdb.Statement) -> set[str]:
    """The names that a statement reads tables, views or its own WITH clauses by. Raises QueryError if there is no SELECT."""
    return {name for kind, name in _names(_parse_tree(connection, statement)) if kind == "table_name"}


def _parse_tree(connection: Connection, statement: duckdb.Statement) -> str:
    """The engine's own parse tree, as JSON. Raises QueryError if there is no SELECT."""
    select = statement.query
    if statement.type == duckdb.StatementType.EXPLAIN:
        select = _EXPLAIN.sub("", _without_comments(select), count=1)
    tree = str(connection.execute("SELECT json_serialize_sql(?)", [select]).fetchall()[0][0])
    if tree.startswith('{"error":true'):
        if statement.type == duckdb.StatementType.SELECT:
            raise QueryError(worded_error(duckdb.ParserException(json.loads(tree)["error_message"])))
        raise QueryError(refused(f"EXPLAIN {select.split(None, 1)[0][:20].upper()}"))
    return tree


def _refuse_engine_names(connection: Connection, statement: duckdb.Statement) -> None:
    """Check names in the engine's own parse tree, which no spelling can evade."""
    banned = {
        "function_name": refused_functions(connection),
        "table_function": _names_of(connection, _MACROS),
        "table_name": _names_of(connection, _VIEWS),
        "setting": _names_of(connection, _SETTINGS),
    }
    for kind, name in _names(_parse_tree(connection, statement)):
        plain = name.strip('"').lower()
        if plain in banned[kind]:
            raise QueryError(refused(plain))


def refused_functions(connection: Connection) -> set[str]:
    """The functions that a typed statement may not call."""
    return _names_of(connection, _FUNCTIONS) | _REFUSED_FUNCTIONS


def _names_of(connection: Connection, query: str) -> set[str]:
    return set(first_column(connection, query)) - TABLE_FUNCTIONS


_SETTINGS = "SELECT name FROM duckdb_settings()"
_FUNCTIONS = """
    SELECT DISTINCT function_name FROM duckdb_functions()
    WHERE function_type = 'table' OR function_type = 'table_macro' AND starts_with(function_name, 'duckdb_')
"""
_MACROS = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE internal AND function_type = 'table_macro'"
"""Macros that stand where a table does: they take the name of any table or view as an argument, where it is no table of
the statement. Some share their name with an aggregate (`histogram`), which is harmless."""
_VIEWS = """
    SELECT view_name FROM duckdb_views()
    WHERE internal AND regexp_matches(view_name, '^(duckdb|pragma|pg)_')
"""
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}:,]')


def _names(tree: str) -> Iterator[tuple[str, str]]:
    """Every name of a function or table in the parse tree, every setting in SHOW, every function in the place of a table.

    The tree is read token by token, as a statement may be nested more deeply than a parser of JSON goes.
    """
    types: list[str] = []
    """The types of the objects around this place."""
    key = last = ""
    for token in _JSON_TOKEN.findall(tree):
        if token == ",":
            token = ""
        elif token == "{":
            types.append("")
        elif token == "}":
            types.pop()
        elif token == ":":
            key, last = last, ""
            continue
        elif key == '"type"':
            types[-1] = token
        elif key == '"table_name"':
            yield ("setting" if types[-1] == '"SHOW_REF"' else "table_name"), json.loads(token)
        elif key == '"function_name"':
            yield "function_name", json.loads(token)
            if types[-2:-1] == ['"TABLE_FUNCTION"']:
                yield "table_function", json.loads(token)
        key, last = "", token


def _without_comments(sql: str) -> str:
    """The statement without leading comments, which would hide EXPLAIN."""
    return re.sub(r"\A(\s+|--[^\n]*\n|/\*.*?\*/)*", "", sql, flags=re.DOTALL)


def refused(what: str) -> Sentence:
    return Sentence("{what} is refused: a query reads tables, no files, networks or settings.", what=what)


def worded_error(error: Exception) -> Sentence:
    """DuckDB's own message in one line, without the excerpt of the statement."""
    text = str(error)
    lines = text.split("\n\nLINE ")[0].splitlines()
    message = re.sub(r"^[A-Za-z ]+ Error: ", "", " ".join(line.strip() for line in lines if line.strip()))
    if len(message) > MOST_CHARACTERS:  # it repeats what was typed, however long that is
        message = f"{message[:MOST_CHARACTERS]}..."
    return Sentence("The query failed: {message}", message=message or type(error).__name__)


# --- one copy for each version of the file, shared until the next write ----------------------------------------------
#
# Writers wait while the copy is made, and for no query.

_STALE_PART_SECONDS = 600.0


def current_copy(warehouse: Warehouse) -> Path:
    """The copy of the current file, made if necessary. Raises as `copy_snapshot`."""
    folder = _copies_folder(warehouse)
    copy = _copy_path(warehouse, folder)
    if copy.exists():
        return copy
    part = folder / f"{copy.stem}.{os.getpid()}.part"
    try:
        copy_snapshot(warehouse.path, part, warehouse.wait)
        with duckdb.connect(part, read_only=True) as connection:
            schema.is_current(connection)
        os.replace(part, copy)
    finally:
        for left in folder.glob(f"{glob.escape(part.name)}*"):
            with contextlib.suppress(OSError):
                left.unlink()
    _remove_old_copies(folder, warehouse.path.name, copy)
    return copy


def has_copy(warehouse: Warehouse) -> bool:
    """Whether the current file has a copy, which is then usable and up to date."""
    return _copy_path(warehouse, warehouse.query_copies).exists()


def _copy_path(warehouse: Warehouse, folder: Path) -> Path:
    # A newer Workdim makes its own copy; for that it opens the file, which brings it up to date.
    known = (warehouse.version(), schema.fingerprint())
    key = hashlib.sha256(repr(known).encode()).hexdigest()[:16]
    return folder / f"{warehouse.path.name}-{key}.duckdb"


def _copies_folder(warehouse: Warehouse) -> Path:
    """The folder beside the warehouse; if that is not writable, a private folder that is removed with this process."""
    beside = warehouse.query_copies
    with contextlib.suppress(OSError):
        beside.mkdir(mode=0o700, exist_ok=True)
        if os.access(beside, os.W_OK):
            return beside
    private = Path(tempfile.mkdtemp(prefix="workdim-"))
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    return private


def _remove_old_copies(folder: Path, name: str, current: Path) -> None:
    for file in folder.glob(f"{glob.escape(name)}-*"):
        if file == current:
            continue
        # Windows refuses while another query still uses the old copy; the next query clears it.
        with contextlib.suppress(OSError):
            if ".part" not in file.name or time.time() - file.stat().st_mtime > _STALE_PART_SECONDS:
                file.unlink()


if __name__ == "__main__":
    main()
