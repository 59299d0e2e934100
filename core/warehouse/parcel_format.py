"""What a run parcel looks like: one finished measurement as a folder of Parquet files and run.json.

run.json is written last and names the other files with their hashes: a folder without it is not a result, and one
that does not agree with it is damaged. Tags and note, which people change later, stand beside it (annotation.py).
A parcel holds counts and hashes of a text, never the text.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import ResourceError, WarehouseError
from core.records import Profile
from core.tables import TABLES, Table, TokenResultRow, frame
from core.warehouse import annotation
from core.warehouse.durable import write_through
from core.warehouse.parcel_keys import check_keys
from core.warehouse.store import make_folder

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
_MANY = {
    "layer_estimates": "estimates",
    "layer_correlators": "correlators",
    "layer_pairs": "pairs",
    "layer_replicates": "replicates",
    "layer_distributions": "distributions",
    "run_checks": "checks",
    "run_summaries": "summaries",
}
"""Tables in a Parquet file each, and the field of Profile that they come from."""
MANY_TABLES = tuple(_MANY)
PARCEL_FILES = (RUN_FILE, annotation.FILE, *(f"{table}.parquet" for table in (*_MANY, "tokens")))
"""All that a parcel may hold; whatever else lies in its folder is not ours and goes nowhere."""
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ROWS_OF_RUN = {
    "models": "SELECT * FROM models WHERE model_id = (SELECT model_id FROM runs WHERE run_id = ?)",
    "corpora": "SELECT * FROM corpora WHERE corpus_id = (SELECT corpus_id FROM runs WHERE run_id = ?)",
} | {table: f"SELECT * FROM {table} WHERE run_id = ?" for table in ("runs", *MANY_TABLES)}
"""Table -> how a warehouse is asked for what a parcel of one run would hold."""
PROFILE_FIELDS = dict(_MANY)
"""Table -> field of Profile, for tables of many rows."""


def write_parcel(folder: Path, profile: Profile) -> None:
    """Write a finished measurement into `folder`: the tables first, then run.json, each forced to the disk."""
    try:
        make_folder(folder)
        files = {}
        for table, attribute in _MANY.items():
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
        tables |= {table: _many(folder / f"{table}.parquet", content["files"][table], table, older) for table in _MANY}
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
