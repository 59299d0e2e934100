"""What people write or import, one file each: pilots with their runs and own scores, score imports, aliases, queries,
selection rules, recipes of reports.

    people/pilots/<pilot_id>.json      what was decided, which runs are its results, the user's own scores
    people/scores/<file_sha256>/       one imported file: file.json, scores.parquet, samples.parquet
    people/aliases/<id>.json           a name that score files use, and the model that is meant
    people/plans/<plan_id>.json        a layer plan with all its prices
    people/queries/<id>.json           a saved query
    people/rules/<rule_id>.json        a rule for choosing between models, with what it chose each time
    people/recipes/<recipe_id>.json    how a report is made, with its numbers and its company template

A file holds rows of the tables of the warehouse and nothing else, so that reading and writing are the same for all
kinds: `tables` maps a table's name to a typed frame. Each file is written whole or not at all. File names are ids: what
a person typed is hashed (`id_of`). Whoever changes a file does so within `Warehouse.changing`, which brings the rows in.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import InputError, ResourceError, WarehouseError
from core.files import make_folder, names_in, sync_folder, workplace, write_through
from core.store.folder import Folder
from core.store.parcels import DAMAGE, read_table, read_versioned
from core.tables import PILOT_SOURCE, TABLES

FORMAT = 1
IMPORT_FILE = "file.json"
HASH_LENGTH = 32
"""Hex digits of an id that is a hash."""
LARGEST_JSON = 16 * 2**20
_ID = re.compile(r"[^\W_][\w.-]{0,199}")


@dataclass(frozen=True)
class Kind:
    """One kind of people's files."""

    folder: str
    tables: tuple[str, ...]
    """The tables that its files hold rows of; the first one has exactly one row, which names it."""
    key: str
    """Column of the first table that the id is, or is made of."""
    is_hashed: bool = False
    """Whether the id is a hash of what a person typed."""
    is_import: bool = False
    """Whether it is a folder with a Parquet file for each table but the first."""


KINDS = {
    "pilot": Kind("pilots", ("pilots", "pilot_runs", "scores"), "pilot_id"),
    "scores": Kind("scores", ("score_files", "scores", "score_samples"), "file_sha256", is_import=True),
    "alias": Kind("aliases", ("model_aliases",), "alias", is_hashed=True),
    "plan": Kind("plans", ("plans", "plan_outcomes"), "plan_id"),
    "query": Kind("queries", ("saved_queries",), "name", is_hashed=True),
    "rule": Kind("rules", ("rules", "rule_choices"), "rule_id"),
    "recipe": Kind("recipes", ("recipes", "recipe_numbers"), "recipe_id"),
}
_PARQUET = {"scores": "scores.parquet", "score_samples": "samples.parquet"}


def id_of(text: str) -> str:
    """The id that stands for a name that a person typed."""
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def path_of(folder: Folder, kind: str, one: str) -> Path:
    """The file, or for an import the folder, of this kind and id. Raises ValueError for what is no id."""
    if not _ID.fullmatch(one):
        raise ValueError(f"{one[:80]!r} is no id")
    declared = KINDS[kind]
    return folder.people / declared.folder / (one if declared.is_import else f"{one}.json")


def is_there(folder: Folder, kind: str, one: str) -> bool:
    """Whether there is such a file; an import without its file.json is none."""
    path = path_of(folder, kind, one)
    return (path / IMPORT_FILE if KINDS[kind].is_import else path).is_file()


def ids(folder: Folder, kind: str) -> list[str]:
    """The ids of all files of a kind, sorted."""
    declared = KINDS[kind]
    names = names_in(folder.people / declared.folder)
    stems = names if declared.is_import else {name[:-5] for name in names if name.endswith(".json")}
    return sorted(one for one in stems if _ID.fullmatch(one) and is_there(folder, kind, one))


def write(
    folder: Folder, kind: str, one: str, tables: Mapping[str, pl.DataFrame], attached: bytes | None = None
) -> None:
    """Write a file, whole or not at all, in the place of the one that is there; its tombstone goes.

    `attached` is what lies in it beside the rows (of a recipe its template). Raises InputError where it is larger than
    is read, ResourceError where it cannot be written: nothing was changed then.
    """
    path, declared = path_of(folder, kind, one), KINDS[kind]
    try:
        make_folder(path.parent)
        if declared.is_import:
            if not is_there(folder, kind, one):  # the same file has the same content: an import never changes
                _write_import(folder, path, tables)
        else:
            more = {"attached": base64.b64encode(attached).decode()} if attached else {}
            content = _json(kind, {table: tables[table] for table in declared.tables if table in tables}, **more)
            if len(content) > LARGEST_JSON:
                raise InputError(
                    "{path} would have {n:.1f} MB; at most {largest} MB are kept. Nothing was changed.",
                    path=path.name,
                    n=len(content) / 2**20,
                    largest=LARGEST_JSON // 2**20,
                )
            write_through(path, content)
        sync_folder(path.parent)
        _tombstone(folder, kind, one).unlink(missing_ok=True)
    except OSError as error:
        raise ResourceError(
            "{path} cannot be written: {reason}. Nothing was changed.", path=path, reason=error.strerror or error
        ) from error


def read(folder: Folder, kind: str, one: str) -> dict[str, pl.DataFrame]:
    """The tables of a file, checked: typed, complete, and about this id alone.

    Raises WarehouseError, one line, for a file that was edited into nonsense, FileNotFoundError where there is none.
    """
    path, declared = path_of(folder, kind, one), KINDS[kind]
    file = path / IMPORT_FILE if declared.is_import else path
    try:
        content = read_versioned(file, LARGEST_JSON, FORMAT)
        tables = {table: _typed(table, content["tables"].get(table, [])) for table in declared.tables}
        if unknown := content["tables"].keys() - tables.keys():
            raise ValueError(f"it holds a table {sorted(unknown)[0]!r}")
        if declared.is_import:
            tables |= {
                table: read_table(path / name, content["files"][name], TABLES[table])
                for table, name in _PARQUET.items()
            }
        _check_own(declared, one, tables)
    except WarehouseError:
        raise
    except FileNotFoundError as error:
        if not is_there(folder, kind, one):
            raise
        missing = Path(error.filename).name
        raise WarehouseError(
            "{path} is damaged ({missing} is missing); it was left where it is.", path=path, missing=missing
        ) from error
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WarehouseError(
            "{file} is damaged ({reason}); it was left where it is.", file=file, reason=reason
        ) from error
    return tables


def attached(folder: Folder, kind: str, one: str) -> bytes | None:
    """What lies in a file beside its rows, if anything. Raises WarehouseError, FileNotFoundError as `read`."""
    path = path_of(folder, kind, one)
    try:
        content = read_versioned(path, LARGEST_JSON, FORMAT).get("attached")
        return None if content is None else base64.b64decode(content, validate=True)
    except WarehouseError:
        raise
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise WarehouseError("{path} is damaged; it was left where it is.", path=path) from error


def bury(folder: Folder, kind: str, one: str) -> None:
    """Delete a file: first a tombstone, which says that its rows are to go, then the file. Twice is no error."""
    path, grave = path_of(folder, kind, one), _tombstone(folder, kind, one)
    try:
        make_folder(grave.parent)
        told = {"kind": kind, "id": one, "deleted_at": datetime.now(UTC).isoformat(timespec="seconds")}
        write_through(grave, json.dumps(told, indent=1).encode())
        if KINDS[kind].is_import:
            if path.exists():
                with workplace("deleted", folder.root) as place:
                    os.replace(path, place / path.name)
        else:
            path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise ResourceError("{path} cannot be removed: {reason}.", path=path, reason=error.strerror or error) from error


def is_buried(folder: Folder, kind: str, one: str) -> bool:
    """Whether a tombstone says that this was deleted, and no file of it is there."""
    return _tombstone(folder, kind, one).is_file() and not is_there(folder, kind, one)


def _tombstone(folder: Folder, kind: str, one: str) -> Path:
    return folder.trash / "people" / f"{kind}-{one}.json"


def _json(kind: str, tables: Mapping[str, pl.DataFrame], **more: Any) -> bytes:
    told = {"format": FORMAT, "kind": kind, "tables": {table: rows.to_dicts() for table, rows in tables.items()}}
    return json.dumps(told | more, indent=1, ensure_ascii=False, default=datetime.isoformat).encode()


def _write_import(folder: Folder, path: Path, tables: Mapping[str, pl.DataFrame]) -> None:
    """A folder of its own, in place by one rename: a kill leaves all of an import or nothing."""
    with workplace("import", folder.root) as place:
        new = place / path.name
        make_folder(new)
        hashes = {}
        for table, name in _PARQUET.items():
            content = io.BytesIO()
            tables[table].write_parquet(content, compression="zstd")
            hashes[name] = hashlib.sha256(content.getvalue()).hexdigest()
            write_through(new / name, content.getvalue())
        write_through(new / IMPORT_FILE, _json("scores", {"score_files": tables["score_files"]}, files=hashes))
        if path.exists():
            os.replace(path, place / "before")
        os.replace(new, path)


def _typed(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows of a JSON file as a typed frame; a column that the file lacks is NULL where it may be."""
    types, optional = TABLES[table].schema, TABLES[table].optional
    for row in rows:
        if unknown := row.keys() - types.keys():
            raise ValueError(f"{table} has no column {sorted(unknown)[0]!r}")
        if missing := [name for name in types if row.get(name) is None and name not in optional]:
            raise ValueError(f"a row of {table} lacks {', '.join(missing)}")
    parsed = [{name: _value(types[name], row.get(name)) for name in types} for row in rows]
    return pl.DataFrame(parsed, schema=types, orient="row", strict=True)


def _value(kind: pl.DataType, value: Any) -> Any:
    if kind == pl.Datetime("us") and value is not None:
        return datetime.fromisoformat(value).replace(tzinfo=None)
    return value


def _check_own(declared: Kind, one: str, tables: dict[str, pl.DataFrame]) -> None:
    """The first table has one row, of this id, and all other rows belong to it."""
    first, *others = declared.tables
    names = tables[first][declared.key].to_list()
    if len(names) != 1 or (id_of(names[0]) if declared.is_hashed else names[0]) != one:
        raise ValueError(f"it is not about {one}")
    for table in others:
        rows = tables[table]
        owner = rows[declared.key] if declared.key in rows.columns else rows["source"]
        if (owner != (one if declared.key in rows.columns else PILOT_SOURCE + one)).any():
            raise ValueError(f"{table} has rows of something else")
    if "pilot_runs" in tables and tables["pilot_runs"]["run_id"].is_duplicated().any():
        raise ValueError("it names one run twice")


def remove_leftovers(folder: Folder) -> None:
    """Half of an import that a kill left without its file.json; nobody can use it."""
    for name in names_in(folder.people / "scores"):
        path = folder.people / "scores" / name
        if path.is_dir() and not (path / IMPORT_FILE).is_file():
            shutil.rmtree(path, ignore_errors=True)
