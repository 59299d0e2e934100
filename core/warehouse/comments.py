"""What each table and column holds: shown to people who write SQL."""

from __future__ import annotations

from core.tables import TABLES

COMMENTS: dict[str, tuple[str, dict[str, str]]] = {
    "schema_migrations": (
        "Schema steps that this file has been through.",
        {"version": "Number of the step.", "name": "Name of the step.", "applied_at": "UTC."},
    )
} | {name: (table.comment, table.comments) for name, table in TABLES.items()}
