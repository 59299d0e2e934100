"""Queries that people keep by a name, in the warehouse and in its mirror."""

from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime

from core.errors import InputError, unknown_name
from core.tables import SavedQueryRow
from core.warehouse.warehouse import Warehouse

MAX_NAME = 80
_TABLE = ("saved_queries",)


def all_saved(warehouse: Warehouse) -> list[SavedQueryRow]:
    """Every saved query, by name."""
    rows = warehouse.read("SELECT name, sql, note, created_at FROM saved_queries ORDER BY lower(name), name")
    return [SavedQueryRow(**row) for row in rows.to_dicts()]


def find(warehouse: Warehouse, name: str) -> SavedQueryRow:
    """The query of this name; InputError names those that are there."""
    saved = {row.name: row for row in all_saved(warehouse)}
    if name in saved:
        return saved[name]
    if not saved:
        raise InputError(f"There is no saved query '{name}': none has been saved yet.")
    raise InputError(unknown_name("saved query", name, saved))


def save(warehouse: Warehouse, name: str, sql: str, note: str | None = None, replace: bool = False) -> SavedQueryRow:
    """Keep a statement under a name; InputError where the name is taken and `replace` was not asked for."""
    row = SavedQueryRow(_fit(name), sql.strip(), (note or "").strip() or None, datetime.now(UTC).replace(tzinfo=None))
    if not row.sql:
        raise InputError("There is no statement to save.")
    with warehouse.write(mirrored=_TABLE) as connection:
        taken = connection.execute("SELECT 1 FROM saved_queries WHERE name = ?", [row.name]).fetchall()
        if taken and not replace:
            raise InputError(
                f"A query '{row.name}' is saved already. Choose another name, or ask for it to be replaced (--replace)."
            )
        connection.execute("INSERT OR REPLACE INTO saved_queries VALUES (?, ?, ?, ?)", list(astuple(row)))
    return row


def delete(warehouse: Warehouse, name: str) -> None:
    """Forget a saved query; InputError where there is none of this name."""
    find(warehouse, name)
    with warehouse.write(mirrored=_TABLE) as connection:
        connection.execute("DELETE FROM saved_queries WHERE name = ?", [name])


def _fit(name: str) -> str:
    fit = name.strip()
    if not fit:
        raise InputError("A saved query needs a name.")
    if len(fit) > MAX_NAME:
        raise InputError(f"The name of a saved query has up to {MAX_NAME} characters; this one has {len(fit)}.")
    if not fit.isprintable():
        raise InputError("The name of a saved query holds letters, digits and signs that can be seen, on one line.")
    return fit
