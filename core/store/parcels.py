"""A run parcel: one finished measurement as a folder of Parquet files and run.json.

run.json is written last and names the other files with their hashes: a folder without it is not a result, and one
that does not agree with it is damaged. Tags and note, which people change later, stand beside it (annotation.py).
A parcel holds counts and hashes of a text, never the text.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import re
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import InputError, ResourceError, WarehouseError
from core.files import make_folder, move, read_json, sync_folder, write_through
from core.records import PROFILE_TABLES, Profile
from core.store import annotation
from core.store.folder import Folder
from core.tables import ADDED_TABLES, LONG_TABLES, TABLES, Table, TokenResultRow, frame

FORMAT = 3
"""1 lacks the columns that came with controls and words, 2 those of chat templates; they are read as NULL."""
RUN_FILE = "run.json"
DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    pa.ArrowException,
)
"""What reading a file raises that was cut off, altered, or made to look like one of ours."""
SINGLE_TABLES = {"models": "model", "corpora": "corpus", "runs": "run"}
"""Tables of which a parcel holds one row, kept in run.json under these keys, and fields of Profile."""
PARCEL_FILES = (RUN_FILE, annotation.FILE, *(f"{table}.parquet" for table in (*LONG_TABLES, "tokens")))
"""All that a parcel may hold; whatever else lies in its folder is not ours and goes nowhere."""
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOST_LAYERS = 10_000
LARGEST_RUN_FILE = 4 * 2**20
_LIMITS = {"SMALLINT": 2**15, "INTEGER": 2**31, "FLOAT": 2**128}
"""Types of the DuckDB file that are narrower than those of parcels, and the first number that is too large."""


@dataclass(frozen=True)
class Head:
    """What run.json and annotations.json say, checked."""

    parcel: Path
    rows: dict[str, dict[str, Any]]
    """The row of models, corpora and runs, the latter with what people said since."""
    files: dict[str, str]
    """Table -> hash of its Parquet file; without the tables that it is too old to have."""

    @property
    def run_id(self) -> str:
        return self.parcel.name


def write_parcel(folder: Path, profile: Profile) -> None:
    """Write a finished measurement into `folder`: the tables first, then run.json, each forced to the disk."""
    try:
        make_folder(folder)
        tables = {table: TABLES[table].frame(getattr(profile, field)) for table, field in PROFILE_TABLES.items()}
        if profile.tokens:  # on request only, and never ingested: it follows single tokens through a text
            tables["tokens"] = frame(profile.tokens, TokenResultRow)
        files = {}
        for table, rows in tables.items():
            content = io.BytesIO()
            rows.write_parquet(content, compression="zstd")
            files[table] = hashlib.sha256(content.getvalue()).hexdigest()
            write_through(folder / f"{table}.parquet", content.getvalue())
        single = {
            key: TABLES[table].frame([getattr(profile, key)]).row(0, named=True) for table, key in SINGLE_TABLES.items()
        }
        told = {"format": FORMAT, **single, "files": files}
        text = json.dumps(told, indent=1, ensure_ascii=False, default=datetime.isoformat)
        write_through(folder / RUN_FILE, text.encode())
    except OSError as error:
        raise ResourceError(
            "The result cannot be written to {folder}: {reason}.", folder=folder, reason=error.strerror or error
        ) from error


def is_parcel(folder: Path) -> bool:
    """Whether the folder holds a finished result."""
    return (folder / RUN_FILE).is_file()


def _check_annotations(tags: list[str], note: str | None) -> None:
    """What could not be written beside the parcel must not stand in it, or the next remark would damage it."""
    try:
        for tag in tags:
            if tag not in annotation.OWN_TAGS:
                annotation.checked_tag(tag)
        annotation.checked_note(note or "")
    except InputError as error:
        raise ValueError(f"{RUN_FILE}: {error}") from error


def read_versioned(file: Path, largest: int, newest: int) -> dict[str, Any]:
    """A JSON file of the store, whose `format` this version reads. Raises WarehouseError for a newer one, ValueError
    and its like (`DAMAGE`) for one that is too large or none of ours."""
    if file.stat().st_size > largest:
        raise ValueError(f"{file.name} has {file.stat().st_size / 1e6:.0f} MB")
    content = read_json(file)
    if not isinstance(content["format"], int) or content["format"] < 1:
        raise ValueError(f"the format {str(content['format'])[:20]} is none")
    if content["format"] > newest:
        raise WarehouseError("{file} was written by a newer Workdim: update Workdim to read it.", file=file)
    return content


def read_table(file: Path, sha256: str, table: Table) -> pl.DataFrame:
    """The rows of a Parquet file of the store, by its hash and the declared table; columns that an older version
    did not know are NULL. Raises ValueError and its like (`DAMAGE`)."""
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{file.name} has changed since it was written")
    rows, types = pl.read_parquet(io.BytesIO(content)), table.schema
    added = [name for name in types if name not in rows.columns and name in table.optional]
    rows = rows.with_columns(pl.lit(None, types[name]).alias(name) for name in added)
    if dict(rows.schema) != types:
        raise ValueError(f"{file.name} has other columns than {table.name}")
    if missing := [name for name in types if name not in table.optional and rows[name].null_count()]:
        raise ValueError(f"{file.name} lacks values of {', '.join(missing)}")
    return rows.select(list(types))


def read_head(parcel: Path) -> Head:
    """The three single rows of a parcel, checked. Raises WarehouseError, one line, for what is no parcel of ours."""
    try:
        content = read_versioned(parcel / RUN_FILE, LARGEST_RUN_FILE, FORMAT)
        rows = {table: _row(content[key], TABLES[table]) for table, key in SINGLE_TABLES.items()}
        n_layers, tags = rows["models"]["n_layers"], rows["runs"]["tags"]
        if not 0 <= n_layers <= MOST_LAYERS:
            raise ValueError(f"a model of {n_layers} blocks")
        if len(tags) > annotation.MOST_TAGS + len(annotation.OWN_TAGS):
            raise ValueError(f"{len(tags)} tags")
        _check_annotations(tags, rows["runs"]["note"])
        rows["runs"] |= annotation.columns(parcel, tags) or {}
        told = content["files"]
        there = [table for table in LONG_TABLES if table in told or table not in ADDED_TABLES]
        head = Head(parcel, rows, {table: str(told[table]) for table in there})
    except WarehouseError:
        raise
    except DAMAGE as error:
        raise damaged(parcel, error) from error
    run = rows["runs"]
    is_one = run["model_id"] == rows["models"]["model_id"] and run["corpus_id"] == rows["corpora"]["corpus_id"]
    if not is_one or run["run_id"] != parcel.name:
        raise _mixed(parcel, RUN_FILE)
    return head


def check_files(head: Head) -> None:
    """Hashes and footers of all Parquet files, without reading their rows: columns, types, one run, layers, no gaps.

    Raises WarehouseError. That no row is there twice is left to whoever reads the rows.
    """
    try:
        for table in head.files:
            content = (head.parcel / f"{table}.parquet").read_bytes()
            if hashlib.sha256(content).hexdigest() != head.files[table]:
                raise ValueError(f"{table}.parquet has changed since it was written")
            if not _check_footer(head, table, pq.read_metadata(io.BytesIO(content))):
                read_parcel(head.parcel)  # a file without statistics: row by row
                return
    except WarehouseError:
        raise
    except DAMAGE as error:
        raise damaged(head.parcel, error) from error


def read_parcel(folder: Path) -> dict[str, pl.DataFrame]:
    """The tables of a parcel, checked: complete, unaltered, typed, and about one run of one model on one corpus."""
    head = read_head(folder)
    try:
        tables = {table: pl.DataFrame([head.rows[table]], schema=TABLES[table].schema) for table in SINGLE_TABLES}
        tables |= {
            table: read_table(folder / f"{table}.parquet", head.files[table], TABLES[table])
            if table in head.files
            else TABLES[table].frame([])
            for table in LONG_TABLES
        }
    except DAMAGE as error:
        raise damaged(folder, error) from error
    check_keys(folder, tables)
    return tables


def damaged(parcel: Path, error: BaseException) -> WarehouseError:
    """One line for people."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return WarehouseError(
        "The parcel {parcel} is damaged ({reason}); it was left where it is.", parcel=parcel, reason=reason
    )


def _row(values: dict[str, Any], table: Table) -> dict[str, Any]:
    """A row of run.json with the types of its table; columns that an older parcel lacks are NULL."""
    types, optional = table.schema, table.optional
    if values.keys() - types.keys() or types.keys() - values.keys() - optional:
        raise ValueError(f"{RUN_FILE} has other columns than {table.row.__name__}")
    parsed = {
        name: datetime.fromisoformat(values[name])
        if kind == pl.Datetime("us") and values.get(name) is not None
        else values.get(name)
        for name, kind in types.items()
    }
    if missing := [name for name, value in parsed.items() if value is None and name not in optional]:
        raise ValueError(f"{RUN_FILE} lacks values of {', '.join(missing)}")
    return pl.DataFrame([parsed], schema=types).row(0, named=True)


@dataclass(frozen=True)
class _Expected:
    """What the footer of a table's Parquet file is compared with."""

    types: dict[str, str]
    optional: set[str]
    layers: tuple[str, ...]
    limits: dict[str, int]


@functools.cache
def _expected(table: str) -> _Expected:
    declared = TABLES[table]
    types = {field.name: _plain(str(field.type)) for field in declared.frame([]).to_arrow().schema}
    limits = {one.name: _LIMITS[one.sql_type] for one in declared.columns if one.sql_type in _LIMITS}
    return _Expected(types, declared.optional, declared.layer_columns, limits)


@functools.cache
def _plain(kind: str) -> str:
    """The name of a type, whichever of two layouts its strings and lists have."""
    return re.sub(r"large_|: |item|element| not null|_view", "", kind)


def _check_footer(head: Head, table: str, footer: pq.FileMetaData) -> bool:
    """Raises ValueError or WarehouseError; False where the file has no statistics to be checked by."""
    name, expected = f"{table}.parquet", _expected(table)
    types = expected.types
    found = {field.name: _plain(str(field.type)) for field in footer.schema.to_arrow_schema()}
    if types.keys() - found.keys() - expected.optional or any(types.get(one) != kind for one, kind in found.items()):
        raise ValueError(f"{name} has other columns than {table}")
    most = head.rows["models"]["n_layers"]
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            path = column.path_in_schema
            limit, is_layer, is_needed = (
                expected.limits.get(path),
                path in expected.layers,
                path not in expected.optional,
            )
            if path not in types or not (limit or is_layer or is_needed):  # elements of lists, and what may be anything
                continue
            told = column.statistics
            if told is None or told.null_count is None or (path == "run_id" and not told.has_min_max):
                return False
            if told.null_count and is_needed:
                raise ValueError(f"{name} lacks values of {path}")
            if path == "run_id" and {told.min, told.max} != {head.run_id}:
                raise _mixed(head.parcel, table)
            if not (limit or is_layer) or not told.has_min_max:
                continue
            low, high = told.min, told.max
            if is_layer and (low < 0 or high > most):
                raise _stray_layer(head.parcel, table, low if low < 0 else high, most)
            if limit and not (-limit <= low and high < limit):
                raise ValueError(f"{name} has a value of {path} beyond any that is measured")
    return True


def check_keys(folder: Path, tables: dict[str, pl.DataFrame]) -> None:
    """Raises WarehouseError, one line, where the rows are not those of one run, one model and one corpus, each once.

    The tables have neither foreign nor unique keys, because an index on long tables slows every ingest. That a run
    names a parent, a control or a pilot that is not here is no fault of its parcel: controls come first, and a parcel
    may come from elsewhere.
    """
    n_layers = tables["models"]["n_layers"][0]
    for table in LONG_TABLES:
        rows, declared = tables[table], TABLES[table]
        if (rows["run_id"] != folder.name).any():
            raise _mixed(folder, table)
        layers = [layer for name in declared.layer_columns for layer in (rows[name].min(), rows[name].max())]
        strays = [layer for layer in layers if isinstance(layer, int) and not 0 <= layer <= n_layers]
        if strays:
            raise _stray_layer(folder, table, strays[0], n_layers)
        keys = rows.select(declared.key)
        if keys.n_unique() != keys.height:
            twice = keys.filter(keys.is_duplicated()).row(0, named=True)
            named = ", ".join(f"{name} {value}" for name, value in list(twice.items())[1:] if value is not None)
            raise WarehouseError(
                "The parcel {folder} holds one row of {table} twice ({named}); it was left where it is.",
                folder=folder,
                table=table,
                named=named,
            )


def _mixed(parcel: Path, where: str) -> WarehouseError:
    return WarehouseError(
        "The parcel {parcel} mixes several runs, models or corpora ({where}); it was left there.",
        parcel=parcel,
        where=where,
    )


def _stray_layer(parcel: Path, table: str, layer: int, n_layers: int) -> WarehouseError:
    return WarehouseError(
        "The parcel {parcel} has a row of layer {layer} in {table}, and its model has {n_layers} blocks; it "
        "was left where it is.",
        parcel=parcel,
        layer=layer,
        table=table,
        n_layers=n_layers,
    )


def finish(folder: Folder, job_folder: Path) -> Path:
    """Make a job's complete folder a parcel, by one rename. Doing it twice is no error."""
    parcels = folder.parcels
    target = parcels / job_folder.name
    if not job_folder.exists() and is_parcel(target):
        return target
    if not is_parcel(job_folder):
        raise WarehouseError(
            "The job {job_folder} has not finished: it has no {run_file}.", job_folder=job_folder, run_file=RUN_FILE
        )
    if is_parcel(target):
        if (target / RUN_FILE).read_bytes() != (job_folder / RUN_FILE).read_bytes():
            raise WarehouseError(
                "There is another result under {target}: {job_folder} was left where it is.",
                target=target,
                job_folder=job_folder,
            )
        shutil.rmtree(job_folder)
        return target
    make_folder(parcels)
    move(job_folder, target)
    for parent in (parcels, job_folder.parent):
        sync_folder(parent)
    return target
