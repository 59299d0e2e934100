"""What people write or import, one file each: pilots with their runs and own scores, score imports, aliases, queries,
selection rules, recipes of reports.

    people/pilots/<pilot_id>.json      what was decided, which runs are its results, the user's own scores
    people/scores/<file_sha256>/       one imported file: file.json, scores.parquet, score_samples.parquet
    people/aliases/<id>.json           a name that score files use, and the model it stands for
    people/plans/<plan_id>.json        a layer plan with all its prices
    people/queries/<id>.json           a saved query
    people/rules/<rule_id>.json        a rule for choosing between models, with its past choices
    people/recipes/<recipe_id>.json    how a report is made, with its numbers and its company template

Tables that people made in the DuckDB file lie beside them, in people/tables (core.warehouse.sync).

A file holds rows of warehouse tables and nothing else, so that all kinds are read and written alike: `tables` maps a
table's name to a typed frame. Each file is written whole or not at all. File names are ids: a name that a person typed is
hashed (`hash_name`). Files are changed inside `Warehouse.update`, which syncs the rows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import InputError, WarehouseError
from core.files import (
    NOTHING_CHANGED,
    make_folder,
    names_in,
    parse_json,
    sync_folder,
    temporary_folder,
    write_atomic,
    writing,
)
from core.records import BUDGET_UNITS, LayerPlan
from core.store.folder import Folder
from core.store.parcels import MAX_LAYERS, naming_damage, parse_rows, read_table, read_versioned, write_tables
from core.tables import PILOT_SOURCE, TABLES

FORMAT = 1
_FILE = "file.json"
"""In the folder of a kind with Parquet files: all its other rows, and the hashes of these."""
HASH_LENGTH = 32
"""Hex digits of a hashed name."""
MAX_JSON_BYTES = 16 * 2**20
_ID = re.compile(r"[^\W_][\w.-]{0,199}")
Rows = pl.DataFrame | Sequence[Any]


@dataclass(frozen=True)
class FileKind:
    """One kind of user files."""

    folder: str
    tables: tuple[str, ...]
    """The tables that its files hold rows of; the first has exactly one row, which identifies the file."""
    key: str
    """Column of the first table that holds the id, or the name it is hashed from."""
    is_hashed: bool = False
    """Whether the id is the hash of a name."""
    parquet: tuple[str, ...] = ()
    """Tables with many rows, each a Parquet file of its name: such a kind is a folder, and its files never change."""

    @property
    def files(self) -> tuple[str, ...]:
        """The files in the folder of one with Parquet files."""
        return (_FILE, *(f"{table}.parquet" for table in self.parquet))


KINDS = {
    "pilot": FileKind("pilots", ("pilots", "pilot_runs", "scores"), "pilot_id"),
    "scores": FileKind(
        "scores", ("score_files", "scores", "score_samples"), "file_sha256", parquet=("scores", "score_samples")
    ),
    "alias": FileKind("aliases", ("model_aliases",), "alias", is_hashed=True),
    "plan": FileKind("plans", ("plans", "plan_outcomes"), "plan_id"),
    "query": FileKind("queries", ("saved_queries",), "name", is_hashed=True),
    "rule": FileKind("rules", ("rules", "rule_choices"), "rule_id"),
    "recipe": FileKind("recipes", ("recipes", "recipe_numbers"), "recipe_id"),
}


def hash_name(text: str) -> str:
    """The id for a name that a person typed."""
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def path_of(folder: Folder, kind: str, file_id: str) -> Path:
    """The file, or the folder, of this kind and id. Raises ValueError for an invalid id."""
    if not _ID.fullmatch(file_id):
        raise ValueError(f"{file_id[:80]!r} is no id")
    declared = KINDS[kind]
    return folder.people / declared.folder / (file_id if declared.parquet else f"{file_id}.json")


def exists(folder: Folder, kind: str, file_id: str) -> bool:
    """Whether there is such a file; a folder without its file.json does not count."""
    path = path_of(folder, kind, file_id)
    return (path / _FILE if KINDS[kind].parquet else path).is_file()


def list_ids(folder: Folder, kind: str) -> list[str]:
    """The ids of all files of a kind, sorted."""
    declared = KINDS[kind]
    names = names_in(folder.people / declared.folder)
    stems = names if declared.parquet else {name[:-5] for name in names if name.endswith(".json")}
    return sorted(one for one in stems if _ID.fullmatch(one) and exists(folder, kind, one))


def write(folder: Folder, kind: str, file_id: str, tables: Mapping[str, Rows], attachment: bytes | None = None) -> None:
    """Write or replace a file, whole or not at all.

    `tables` holds frames, or records of their row class. `attachment` is stored beside the rows (the template of a recipe).
    Raises InputError if the file is too large, ResourceError if it cannot be written; nothing is changed then.
    """
    path, declared = path_of(folder, kind, file_id), KINDS[kind]
    frames = {
        table: rows if isinstance(rows, pl.DataFrame) else TABLES[table].frame(rows)
        for table in declared.tables
        if (rows := tables.get(table)) is not None
    }
    with writing(path, NOTHING_CHANGED):
        make_folder(path.parent)
        if declared.parquet:
            if not exists(folder, kind, file_id):  # the same file has the same content
                _write_folder(folder, kind, path, frames)
        else:
            extra = {"attached": base64.b64encode(attachment).decode()} if attachment else {}
            content = _to_json(kind, frames, **extra)
            if len(content) > MAX_JSON_BYTES:
                raise InputError(
                    "{path} would have {n:.1f} MB; at most {largest} MB are kept. Nothing was changed.",
                    path=path.name,
                    n=len(content) / 2**20,
                    largest=MAX_JSON_BYTES // 2**20,
                )
            write_atomic(path, content)
        sync_folder(path.parent)


def read(folder: Folder, kind: str, file_id: str) -> dict[str, pl.DataFrame] | None:
    """The tables of a file, checked: typed, complete, and only about this id; None if there is none.

    Raises WarehouseError for an invalid file.
    """
    path, declared = path_of(folder, kind, file_id), KINDS[kind]
    content = _read_json(path, declared)
    if content is None:
        return None
    try:
        with naming_damage(path):
            said = content["tables"]
            if unknown := said.keys() - set(declared.tables):
                raise ValueError(f"it holds a table {min(unknown)!r}")
            tables = {
                table: read_table(path / f"{table}.parquet", content["files"][table], TABLES[table])
                if table in declared.parquet
                else parse_rows(table, said.get(table, []))
                for table in declared.tables
            }
            _check_ownership(declared, file_id, tables)
            _check_meaning(kind, tables)
            return tables
    except WarehouseError:
        if exists(folder, kind, file_id):
            raise
        return None  # deleted while it was read, which is no damage


def read_attachment(folder: Folder, kind: str, file_id: str) -> bytes | None:
    """The attachment of a file, if there is one. Raises as `read`."""
    path = path_of(folder, kind, file_id)
    with naming_damage(path):
        content = (_read_json(path, KINDS[kind]) or {}).get("attached")
        return None if content is None else base64.b64decode(content, validate=True)


def _read_json(path: Path, declared: FileKind) -> dict[str, Any] | None:
    file = path / _FILE if declared.parquet else path
    with naming_damage(file):
        try:
            return read_versioned(file, MAX_JSON_BYTES, FORMAT)
        except FileNotFoundError:
            return None


def delete(folder: Folder, kind: str, file_id: str) -> None:
    """Delete a file. Idempotent."""
    path = path_of(folder, kind, file_id)
    with writing(path):
        if KINDS[kind].parquet:
            if path.exists():
                with temporary_folder("deleted", folder.root) as place:
                    os.replace(path, place / path.name)
        else:
            path.unlink(missing_ok=True)
        sync_folder(path.parent)


def _to_json(kind: str, tables: Mapping[str, pl.DataFrame], **extra: Any) -> bytes:
    content = {"format": FORMAT, "kind": kind, "tables": {table: rows.to_dicts() for table, rows in tables.items()}}
    return json.dumps(content | extra, indent=1, ensure_ascii=False, default=datetime.isoformat).encode()


def _write_folder(folder: Folder, kind: str, path: Path, tables: Mapping[str, pl.DataFrame]) -> None:
    """Build the folder aside and rename it: a killed process leaves all of it or nothing."""
    declared = KINDS[kind]
    with temporary_folder("import", folder.root) as place:
        new = place / path.name
        make_folder(new)
        hashes = write_tables(new, {table: tables[table] for table in declared.parquet})
        others = {table: tables[table] for table in declared.tables if table not in declared.parquet}
        write_atomic(new / _FILE, _to_json(kind, others, files=hashes))
        if path.exists():
            os.replace(path, place / "before")
        os.replace(new, path)


def _check_ownership(declared: FileKind, file_id: str, tables: dict[str, pl.DataFrame]) -> None:
    """Raises ValueError unless the first table has one row, of this id, and all other rows belong to it."""
    first, *others = declared.tables
    names = tables[first][declared.key].to_list()
    if len(names) != 1 or (hash_name(names[0]) if declared.is_hashed else names[0]) != file_id:
        raise ValueError(f"it is not about {file_id}")
    for table in others:
        rows = tables[table]
        owner = rows[declared.key] if declared.key in rows.columns else rows["source"]
        if (owner != (file_id if declared.key in rows.columns else PILOT_SOURCE + file_id)).any():
            raise ValueError(f"{table} has rows of something else")
    if "pilot_runs" in tables and tables["pilot_runs"]["run_id"].is_duplicated().any():
        raise ValueError("it names one run twice")


def _check_meaning(kind: str, tables: dict[str, pl.DataFrame]) -> None:
    """Raises ValueError or InputError for rows of the right types that nothing which reads them could understand."""
    if kind == "plan":
        _check_plan(LayerPlan.from_frames(tables))
    elif kind in ("pilot", "recipe", "rule"):
        # Loads the library that checks what people write, which a measurement does not need.
        from core.pilots import pilot, saved

        table = KINDS[kind].tables[0]
        row = TABLES[table].rows(tables[table].head(1))[0]
        if kind == "pilot":
            pilot.pilot_from_config(row.config)
        elif kind == "rule":
            saved.rule_from_config(row.config)
            outcomes = set(tables["rule_choices"]["outcome"].drop_nulls())
            if unknown := outcomes - {*saved.OUTCOMES}:
                raise ValueError(f"the outcome {min(unknown)[:20]!r} is none of {', '.join(saved.OUTCOMES)}")
        else:
            saved.recipe_from_row(row)


def _check_plan(layer_plan: LayerPlan) -> None:
    """Raises ValueError for a plan that no search could have come out with."""
    plan, config = layer_plan.plan, parse_json(layer_plan.plan.config)
    is_within = all(0 <= block < plan.n_layers for block in plan.blocks)
    prices = [layer_plan.own_price(is_healed) for is_healed in {False, plan.is_healed}]
    wrong = {
        "blocks": not plan.blocks or not is_within or not len(set(plan.blocks)) < plan.n_layers <= MAX_LAYERS,
        "budget": plan.budget_unit not in BUDGET_UNITS or not 0 <= plan.budget < math.inf,
        "parameters_before": plan.parameters_before < 1,
        "config": not isinstance(config, dict) or not isinstance(config.get("model"), str),
        "blocks of a price": any(not row.blocks for row in layer_plan.outcomes),
        "price": any(price is None or price.difference is None for price in prices),
    }
    if any(wrong.values()):
        raise ValueError(f"no plan has such {', '.join(name for name, is_wrong in wrong.items() if is_wrong)}")
