"""Check typed statements: only a single SELECT over tables is allowed, with functions that read only their arguments.

The engine itself is locked down (no files, no network, no settings, read-only). This gate adds what engine options
cannot: one statement at a time, and no functions and views that reveal the path of the file or how it was opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import duckdb

from core.errors import QueryError, Sentence

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


def require_single_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """The statement to run. Raises QueryError if it is refused."""
    if "\0" in sql:
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


def table_names(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> set[str]:
    """The names that a statement reads tables, views or its own WITH clauses by. Raises QueryError if there is no SELECT."""
    return {name for kind, name in _names(_parse_tree(connection, statement)) if kind == "table_name"}


def _parse_tree(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> str:
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


def _refuse_engine_names(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement) -> None:
    """Check names in the engine's own parse tree, which no spelling can evade."""
    tree = _parse_tree(connection, statement)
    settings, views, macros = (_names_of(connection, names) for names in (_SETTINGS, _VIEWS, _MACROS))
    functions = refused_functions(connection)
    for kind, name in _names(tree):
        plain = name.strip('"').lower()
        if (kind == "function_name" and plain in functions) or (kind == "table_function" and plain in macros):
            raise QueryError(refused(plain))
        if kind == "table_name" and plain in views:
            raise QueryError(refused(plain))
        if kind == "setting" and plain in settings:
            raise QueryError(refused(plain))


def refused_functions(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """The functions that a typed statement may not call."""
    return _names_of(connection, _FUNCTIONS) | _REFUSED_FUNCTIONS


def _names_of(connection: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    return {name for (name,) in connection.execute(query).fetchall()} - TABLE_FUNCTIONS


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
