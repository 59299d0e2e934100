"""A run parcel: one finished measurement as a folder of Parquet files and run.json.

run.json is written last and names the other files with their hashes: a folder without it is not a result, and one
that does not agree with it is damaged. Tags and note, which people change later, stand beside it (annotation.py).
A parcel holds counts and hashes of a text, never the text.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import ResourceError, WarehouseError
from core.files import make_folder, move, sync_folder, write_through
from core.records import PROFILE_TABLES, Profile
from core.store import annotation
from core.store.folder import Folder
from core.tables import LONG_TABLES, TABLES, Table, TokenResultRow, frame

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
)
"""What reading a file raises that was cut off, altered, or made to look like one of ours."""
_SINGLE = {"models": "model", "corpora": "corpus", "runs": "run"}
"""Tables of which a parcel holds one row, kept in run.json under these keys."""
MANY_TABLES = tuple(PROFILE_TABLES)
PARCEL_FILES = (RUN_FILE, annotation.FILE, *(f"{table}.parquet" for table in (*PROFILE_TABLES, "tokens")))
"""All that a parcel may hold; whatever else lies in its folder is not ours and goes nowhere."""
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ROWS_OF_RUN = {
    "models": "SELECT * FROM models WHERE model_id = (SELECT model_id FROM runs WHERE run_id = ?)",
    "corpora": "SELECT * FROM corpora WHERE corpus_id = (SELECT corpus_id FROM runs WHERE run_id = ?)",
} | {table: f"SELECT * FROM {table} WHERE run_id = ?" for table in ("runs", *MANY_TABLES)}
"""Table -> how a warehouse is asked for what a parcel of one run would hold."""


def write_parcel(folder: Path, profile: Profile) -> None:
    """Write a finished measurement into `folder`: the tables first, then run.json, each forced to the disk."""
    try:
        make_folder(folder)
        files = {}
        for table, attribute in PROFILE_TABLES.items():
            content = io.BytesIO()
            TABLES[table].frame(getattr(profile, attribute)).write_parquet(content, compression="zstd")
            files[table] = hashlib.sha256(content.getvalue()).hexdigest()
            write_through(folder / f"{table}.parquet", content.getvalue())
        if profile.tokens:  # on request only, and never ingested: it follows single tokens through a text
            content = io.BytesIO()
            frame(profile.tokens, TokenResultRow).write_parquet(content, compression="zstd")
            files["tokens"] = hashlib.sha256(content.getvalue()).hexdigest()
            write_through(folder / "tokens.parquet", content.getvalue())
        rows = {key: TABLES[table].frame([getattr(profile, key)]).row(0, named=True) for table, key in _SINGLE.items()}
        text = json.dumps({"format": FORMAT, **rows, "files": files}, indent=1, ensure_ascii=False, default=_iso)
        write_through(folder / RUN_FILE, text.encode())
    except OSError as error:
        raise ResourceError(f"The result cannot be written to {folder}: {error.strerror or error}.") from error


def read_parcel(folder: Path) -> dict[str, pl.DataFrame]:
    """The tables of a parcel, checked: complete, unaltered, typed, and about one run of one model on one corpus."""
    try:
        content = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        if content["format"] > FORMAT:
            raise WarehouseError(f"The parcel {folder} was written by a newer Workdim: update Workdim to read it.")
        older = content["format"] < FORMAT
        tables = {
            table: _single(_filled(content[key], TABLES[table], older), TABLES[table]) for table, key in _SINGLE.items()
        }
        tables |= {
            table: _many(folder / f"{table}.parquet", content["files"][table], table, older) for table in PROFILE_TABLES
        }
        tables["runs"] = annotation.applied(folder, tables["runs"])
    except WarehouseError:
        raise
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WarehouseError(f"The parcel {folder} is damaged ({reason}); it was left where it is.") from error
    check_keys(folder, tables)
    return tables


def is_parcel(folder: Path) -> bool:
    """Whether the folder holds a finished result."""
    return (folder / RUN_FILE).is_file()


def _filled(values: dict[str, Any], table: Table, older: bool) -> dict[str, Any]:
    """An older parcel lacks columns that were added since: they are NULL."""
    missing = table.optional - values.keys() if older else set()
    return {name: values.get(name) for name in table.names} if missing else values


def _single(values: dict[str, Any], table: Table) -> pl.DataFrame:
    types = table.schema
    if values.keys() != types.keys():
        raise ValueError(f"{RUN_FILE} has other columns than {table.row.__name__}")
    parsed = {
        name: datetime.fromisoformat(value) if types[name] == pl.Datetime("us") and value is not None else value
        for name, value in values.items()
    }
    return _complete(pl.DataFrame([parsed], schema=types), table, RUN_FILE)


def _many(file: Path, sha256: str, table: str, older: bool) -> pl.DataFrame:
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{file.name} has changed since it was written")
    rows = pl.read_parquet(io.BytesIO(content))
    if older:
        types = TABLES[table].schema
        added = [name for name in types if name not in rows.columns and name in TABLES[table].optional]
        rows = rows.with_columns(pl.lit(None, types[name]).alias(name) for name in added)
    if rows.schema != TABLES[table].schema:
        raise ValueError(f"{file.name} has other columns than {table}")
    return _complete(rows, TABLES[table], file.name)


def _complete(rows: pl.DataFrame, table: Table, file_name: str) -> pl.DataFrame:
    """The rows, if no value is missing that the table must have."""
    missing = [name for name in rows.columns if name not in table.optional and rows[name].null_count()]
    if missing:
        raise ValueError(f"{file_name} lacks values of {', '.join(missing)}")
    return rows


def _iso(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in {RUN_FILE}")


def check_keys(folder: Path, tables: dict[str, pl.DataFrame]) -> None:
    """Raises WarehouseError, one line, where the rows are not those of one run, one model and one corpus, each once."""
    _check_one_run(folder, tables)
    n_layers = tables["models"]["n_layers"][0]
    for table in LONG_TABLES:
        columns = TABLES[table].layer_columns
        layers = tables[table].select(lowest=pl.min_horizontal(columns).min(), highest=pl.max_horizontal(columns).max())
        lowest, highest = layers.row(0)
        if lowest is not None and (lowest < 0 or highest > n_layers):
            raise WarehouseError(
                f"The parcel {folder} has a row of layer {lowest if lowest < 0 else highest} in {table}, and its model "
                f"has {n_layers} blocks; it was left where it is."
            )
    for table in LONG_TABLES:
        keys = tables[table].select(TABLES[table].key)
        if keys.n_unique() != keys.height:
            twice = keys.filter(keys.is_duplicated()).row(0, named=True)
            named = ", ".join(f"{name} {value}" for name, value in list(twice.items())[1:] if value is not None)
            raise WarehouseError(
                f"The parcel {folder} holds one row of {table} twice ({named}); it was left where it is."
            )


def _check_one_run(folder: Path, tables: dict[str, pl.DataFrame]) -> None:
    run = tables["runs"].row(0, named=True)
    model, corpus = tables["models"]["model_id"][0], tables["corpora"]["corpus_id"][0]
    strangers = [table for table in LONG_TABLES if (tables[table]["run_id"] != run["run_id"]).any()]
    if strangers or run["model_id"] != model or run["corpus_id"] != corpus or run["run_id"] != folder.name:
        where = ", ".join(strangers) or "run.json"
        raise WarehouseError(f"The parcel {folder} mixes several runs, models or corpora ({where}); it was left there.")


def finish(folder: Folder, job_folder: Path) -> Path:
    """Make a job's complete folder a parcel, by one rename. Doing it twice is no error."""
    parcels = folder.parcels
    target = parcels / job_folder.name
    if not job_folder.exists() and is_parcel(target):
        return target
    if not is_parcel(job_folder):
        raise WarehouseError(f"The job {job_folder} has not finished: it has no {RUN_FILE}.")
    if is_parcel(target):
        if (target / RUN_FILE).read_bytes() != (job_folder / RUN_FILE).read_bytes():
            raise WarehouseError(f"There is another result under {target}: {job_folder} was left where it is.")
        shutil.rmtree(job_folder)
        return target
    make_folder(parcels)
    move(job_folder, target)
    for parent in (parcels, job_folder.parent):
        sync_folder(parent)
    return target
