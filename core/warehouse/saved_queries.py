"""Saved queries in the warehouse, each a file of its own."""

from __future__ import annotations

from datetime import UTC, datetime

from core.errors import InputError, unknown_name
from core.store import user_files
from core.tables import SavedQueryRow, records
from core.warehouse.connection import Readable
from core.warehouse.warehouse import Warehouse

_KIND = "query"


def list_queries(warehouse: Readable) -> list[SavedQueryRow]:
    """Every saved query, by name."""
    return records(warehouse.read("FROM saved_queries ORDER BY lower(name), name"), SavedQueryRow)


def find_query(warehouse: Warehouse, name: str) -> SavedQueryRow:
    """The query of this name. Raises InputError, which lists the existing ones."""
    saved = {row.name: row for row in list_queries(warehouse)}
    if name in saved:
        return saved[name]
    raise InputError(unknown_name("saved query", name, saved))


def save_query(
    warehouse: Warehouse, name: str, sql: str, note: str | None = None, replace: bool = False
) -> SavedQueryRow:
    """Save a statement under a name. Raises InputError if the name is taken and not to be replaced."""
    row = SavedQueryRow(
        user_files.typed_name(name), sql.strip(), (note or "").strip() or None, datetime.now(UTC).replace(tzinfo=None)
    )
    if not row.sql:
        raise InputError("Type one SELECT statement, not {n}.", n=0)
    if any("\ud800" <= letter <= "\udfff" for letter in row.sql + (row.note or "")):
        raise InputError("The statement holds a broken character. Paste it again.")
    query_id = user_files.hash_name(row.name)
    with warehouse.update(_KIND, query_id):
        if user_files.exists(warehouse.folder, _KIND, query_id) and not replace:
            raise InputError(
                "A query '{name}' exists. Choose another name, or replace it with --replace.", name=row.name
            )
        user_files.write(warehouse.folder, _KIND, query_id, {"saved_queries": [row]})
    return row


def delete_query(warehouse: Warehouse, name: str) -> None:
    """Delete a saved query. Raises InputError for an unknown name."""
    find_query(warehouse, name)
    warehouse.delete(_KIND, user_files.hash_name(name))
