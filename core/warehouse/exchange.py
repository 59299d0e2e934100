"""A selection of runs as files that anybody can read, and that another Workdim can take in (arrivals.py).

manifest.json           what was asked for, the runs, and the hash of every other file
dictionary.csv, .md     what each column of each table is
tables/<table>.parquet  and .csv: the rows of the selection, the scores of its models, and the files that these came in
parcels/<run_id>/       the measurements as they were finished, with tags and notes
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from core.errors import InputError, ResourceError
from core.exports import excel_csv
from core.files import make_folder, workplace
from core.store.parcels import MANY_TABLES, PARCEL_FILES
from core.warehouse.care import whole_parcel
from core.warehouse.dictionary import as_markdown, dictionary
from core.warehouse.warehouse import Warehouse

FORMAT = 1
MANIFEST = "manifest.json"
FORMATS = ("parquet", "csv", "both")
SCORE_TABLES = ("score_files", "scores", "score_samples")
_CHOSEN = "run_id IN (SELECT unnest($ids))"
_OF_RUNS = f"(SELECT {{key}} FROM runs WHERE {_CHOSEN})"
_SCORED = f"""
    SELECT unnest([repository, reference, base_repository]) FROM models
    WHERE model_id IN {_OF_RUNS.format(key="model_id")}
"""
_FILES = f"""
    SELECT file_sha256 FROM scores JOIN score_files USING (file_sha256) WHERE repository IN ({_SCORED})
    UNION SELECT file_sha256 FROM score_samples WHERE repository IN ({_SCORED})
"""
_TABLES = {
    "models": f"SELECT * FROM models WHERE model_id IN {_OF_RUNS.format(key='model_id')} ORDER BY model_id",
    "corpora": f"SELECT * FROM corpora WHERE corpus_id IN {_OF_RUNS.format(key='corpus_id')} ORDER BY corpus_id",
    **{table: f"SELECT * FROM {table} WHERE {_CHOSEN} ORDER BY run_id" for table in ("runs", *MANY_TABLES)},
    "scores": f"SELECT * FROM scores WHERE repository IN ({_SCORED}) OR file_sha256 IN ({_FILES}) ORDER BY ALL",
    "score_files": f"SELECT * FROM score_files WHERE file_sha256 IN ({_FILES}) ORDER BY file_sha256",
    "score_samples": f"SELECT * FROM score_samples WHERE file_sha256 IN ({_FILES}) ORDER BY ALL",
}
"""Of the scores, those of the chosen models, and imported files as a whole: half of one would be taken for all."""
_ABOUT = """# What this export holds

Measurements of Workdim: how many dimensions language models use, layer by layer. `tables/` holds the rows as Parquet
and CSV, `parcels/` the measurements as they were finished, `manifest.json` the hash of every file. It holds no text
and no weights. Take it in with `python -m core import`.

"""


@dataclass(frozen=True)
class Exported:
    path: Path
    n_runs: int
    n_bytes: int


def export(
    warehouse: Warehouse,
    run_ids: Sequence[str],
    target: Path,
    formats: str = "both",
    asked: dict[str, Any] | None = None,
) -> Exported:
    """Write these runs to a new folder, or to a file where `target` ends in .zip; whole or not at all.

    `asked` is the selection in its asker's words, for the manifest. Raises InputError where there is nothing to write
    or something in the way, ResourceError where it cannot be written.
    """
    if not run_ids:
        raise InputError("No run is chosen for the export. `python -m core runs` lists what is there.")
    is_zip = target.suffix.lower() == ".zip"
    if target.exists():
        if is_zip or not target.is_dir() or any(target.iterdir()):
            raise InputError(f"{target} is there already. Name a new folder or a .zip file with --out.")
        target.rmdir()
    make_folder(target.parent)
    try:
        with workplace("export", target.parent) as place:
            filled, packed = place / "export", place / "export.zip"
            make_folder(filled)
            _fill(filled, warehouse, list(run_ids), formats, asked or {})
            n_bytes = sum(path.stat().st_size for path in _files(filled))
            if is_zip:
                _pack(filled, packed)
            os.replace(packed if is_zip else filled, target)
    except OSError as error:
        raise ResourceError(f"{target} cannot be written: {error.strerror or error}.") from error
    return Exported(target, len(run_ids), n_bytes)


def as_zip(warehouse: Warehouse, run_ids: Sequence[str], folder: Path) -> bytes:
    """The content of an export as one zip file, made in the temporary `folder`."""
    target = folder / "workdim_export.zip"
    export(warehouse, run_ids, target)
    return target.read_bytes()


def _fill(folder: Path, warehouse: Warehouse, run_ids: list[str], formats: str, asked: dict[str, Any]) -> None:
    tables = {name: rows for name, rows in _read(warehouse, run_ids) if rows.height or name not in SCORE_TABLES}
    make_folder(folder / "tables")
    for name, rows in tables.items():
        if formats in ("parquet", "both"):
            rows.write_parquet(folder / "tables" / f"{name}.parquet", compression="zstd")
        if formats in ("csv", "both"):
            (folder / "tables" / f"{name}.csv").write_bytes(excel_csv(rows))
    for run_id in run_ids:
        parcel, copy = whole_parcel(warehouse, run_id), folder / "parcels" / run_id
        make_folder(copy)
        for file in PARCEL_FILES:
            if (parcel / file).is_file():
                shutil.copyfile(parcel / file, copy / file)
    (folder / "dictionary.csv").write_bytes(excel_csv(dictionary(list(tables))))
    (folder / "dictionary.md").write_text(_ABOUT + as_markdown(list(tables)), encoding="utf-8")
    files = {path.relative_to(folder).as_posix(): _fingerprint(path) for path in sorted(_files(folder))}
    manifest = {
        "format": FORMAT,
        "made_by": "Workdim",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "asked": asked,
        "runs": run_ids,
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")


def _read(warehouse: Warehouse, run_ids: list[str]) -> Iterator[tuple[str, pl.DataFrame]]:
    for table, sql in _TABLES.items():
        yield table, warehouse.read(sql, {"ids": run_ids})


def _pack(folder: Path, into: Path) -> None:
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(_files(folder)):
            packed.write(path, path.relative_to(folder).as_posix())


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _fingerprint(path: Path) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
