"""A parcel from elsewhere, copied to a private place and looked at there before any of its tables is read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import polars as pl

from core.errors import WarehouseError
from core.files import make_folder, write_through
from core.store import annotation
from core.store.parcels import PARCEL_FILES, RUN_FILE, RUN_ID
from core.warehouse.unpacking import LARGEST

LARGEST_RUN_FILE = 4 * 2**20
MOST_ROWS = 20_000_000
"""Rows of one table of one run; a model of a hundred layers has 100,000 rows of layer pairs."""


def staged_copy(parcel: Path, told: dict[str, str], workplace: Path) -> tuple[str, Path]:
    """The run id and the copy, in a folder of `workplace` that is named by it: nobody can change that meanwhile.

    `told` are the hashes of its files by a manifest; empty where there is none. Raises WarehouseError for files that no
    parcel has.
    """
    copies = workplace / "parcel"
    shutil.rmtree(copies, ignore_errors=True)
    make_folder(copies)
    for name in PARCEL_FILES:
        file = parcel / name
        if file.is_symlink():
            raise WarehouseError(f"{file} is a link: parcels hold none.")
        if not file.is_file():
            continue
        if file.stat().st_size > (LARGEST_RUN_FILE if name in (RUN_FILE, annotation.FILE) else LARGEST):
            raise WarehouseError(f"{file} has {file.stat().st_size / 1e6:.0f} MB: no parcel has such a file.")
        content = file.read_bytes()
        if told and hashlib.sha256(content).hexdigest() != told.get(name):
            raise WarehouseError(f"{file} is not as the export's manifest has it.")
        write_through(copies / name, content)
        if name.endswith(".parquet"):
            _check_rows(file, copies / name)
    run_id = _named(parcel, copies)
    staged = workplace / run_id
    shutil.rmtree(staged, ignore_errors=True)
    os.replace(copies, staged)
    return run_id, staged


def _named(parcel: Path, copies: Path) -> str:
    """The run's own id: a parcel's folder may have been given another name on its way."""
    try:
        run_id = json.loads((copies / RUN_FILE).read_text(encoding="utf-8"))["run"]["run_id"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WarehouseError(f"The parcel {parcel} is damaged: its {RUN_FILE} cannot be read.") from error
    if not isinstance(run_id, str) or not RUN_ID.fullmatch(run_id):
        raise WarehouseError(f"The parcel {parcel} is damaged: it names no run.")
    return run_id


def _check_rows(file: Path, copy: Path) -> None:
    """Before anything is read: a small file may unfold to any size."""
    try:
        n_rows = pl.scan_parquet(copy).select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise WarehouseError(f"{file} is damaged: it is no Parquet file.") from error
    if n_rows > MOST_ROWS:
        raise WarehouseError(f"{file} has {n_rows:,} rows: no parcel has such a file.")


def check_tokens(staged: Path) -> None:
    """The results of single tokens, which no ingest reads; raises WarehouseError where they have changed."""
    told = json.loads((staged / RUN_FILE).read_text(encoding="utf-8"))["files"].get("tokens")
    file = staged / "tokens.parquet"
    if told is None:
        file.unlink(missing_ok=True)
    elif not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != told:
        raise WarehouseError(f"{file.name} of run {staged.name} has changed since it was written, or is missing.")
