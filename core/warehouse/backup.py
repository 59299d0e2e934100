"""A backup: one zip with the warehouse file, its parcels and its mirror, and a manifest with the hash of each file.

It is made while others read and write: the file is copied in one moment, and since parcels come first, those of all
its runs are there already. What is measured during the backup may be in it as a parcel alone, which a restore takes in.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from core import files
from core.errors import InputError, ResourceError, WarehouseError
from core.files import folders_in, make_folder
from core.store.parcels import PARCEL_FILES, RUN_ID, is_parcel
from core.warehouse import copying, migrations, mirror
from core.warehouse.integrity import read_all
from core.warehouse.warehouse import Warehouse, clear_errors, connect

FORMAT = 1
MANIFEST = "manifest.json"
FILE = "warehouse.duckdb"
"""Name of the warehouse file in a backup, whatever it is called outside."""
MOST_OF_MANIFEST = 256 * 2**20
"""Bytes: a million files take 150 MB."""
_CHUNK = 2**20


@dataclass(frozen=True)
class Backup:
    """A file that a warehouse can be restored from."""

    file: Path
    made_at: datetime
    n_bytes: int
    step: int | None
    """Last step of its schema; None where the file does not tell."""
    n_runs: int | None = None
    """None for a copy from before a migration."""


def back_up(
    warehouse: Warehouse, out: Path | None = None, progress: Callable[[int, int], None] = lambda done, total: None
) -> Backup:
    """Write a backup to `out`, or to `backups/` beside the warehouse: complete, or not there at all.

    `progress` hears of parcels done and in all. Raises InputError where `out` exists or has no folder, ResourceError
    where there is no room, WarehouseError where the warehouse cannot be read.
    """
    if out is None:
        make_folder(warehouse.backups)
        out = files.unused(warehouse.backups / f"{warehouse.path.stem}-{files.time_now()}.zip")
    if out.exists():
        raise InputError(f"{out} is there already. Name another file with --out.")
    if not out.parent.is_dir():
        raise InputError(f"There is no folder {out.parent}. Make it, or name another file with --out.")
    try:
        with files.workplace("backup", out.parent) as folder:
            copy, part = folder / FILE, folder / "part.zip"
            copying.snapshot(warehouse.path, copy, warehouse.wait)
            step, n_runs = step_and_runs(copy)
            _refuse_damaged(warehouse.path, copy)
            now = datetime.now(UTC)
            told = {"format": FORMAT, "made_at": now.isoformat(), "step": step, "n_runs": n_runs}
            with part.open("wb") as handle:
                _pack(handle, warehouse, copy, told, progress)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(part, out)
    except OSError as error:
        raise ResourceError(
            f"The backup {out} cannot be written: {error.strerror or error}. Free some space, or name "
            "a file elsewhere with --out; the warehouse was not touched."
        ) from error
    return Backup(out, now, out.stat().st_size, step, n_runs)


def step_and_runs(path: Path) -> tuple[int, int]:
    """The last schema step and the number of runs of a file; raises WarehouseError for one that is not of Workdim."""
    with clear_errors(path), contextlib.closing(connect(path, read_only=True, wait=1.0)) as connection:
        applied = migrations.MIGRATIONS.keys() - set(migrations.pending(connection))
        if not applied:
            raise WarehouseError(f"{path} is an empty DuckDB file and no warehouse.")
        return max(applied), connection.execute("SELECT count(*) FROM runs").fetchall()[0][0]


def backups(warehouse: Warehouse) -> list[Backup]:
    """The backups beside the warehouse and the copies from before migrations, newest first."""
    found = [
        Backup(copy.file, _time_of(copy.file), copy.file.stat().st_size, copy.step)
        for copy in copying.step_copies(warehouse.path, warehouse.backups)
    ]
    for file in warehouse.backups.glob("*.zip"):
        told: dict[str, Any] = {}
        with contextlib.suppress(WarehouseError, OSError), zipfile_of(file) as packed:
            told = manifest(file, packed)
        step, n_runs = told.get("step"), told.get("n_runs")
        found.append(Backup(file, _time_of(file), file.stat().st_size, step, n_runs))
    return sorted(found, key=lambda backup: backup.made_at, reverse=True)


@contextlib.contextmanager
def zipfile_of(file: Path) -> Iterator[zipfile.ZipFile]:
    """A backup opened; whatever zip or compression find wrong with it is one WarehouseError."""
    try:
        with zipfile.ZipFile(file) as packed:
            yield packed
    except FileNotFoundError as error:
        raise InputError(f"There is no file {file}. `python -m core backup --list` lists what is there.") from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise damaged(file, str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def manifest(file: Path, packed: zipfile.ZipFile) -> dict[str, Any]:
    """What a backup says of itself, its types checked as far as a restore relies on them."""
    try:
        info = packed.getinfo(MANIFEST)
        if info.file_size > MOST_OF_MANIFEST:
            raise ValueError("its manifest is too large")
        with packed.open(info) as read:
            told = json.loads(read.read(MOST_OF_MANIFEST + 1))
        if told["format"] > FORMAT:
            raise WarehouseError(f"The backup {file} was written by a newer Workdim: update Workdim to restore it.")
        if not all(isinstance(of["sha256"], str) and int(of["bytes"]) >= 0 for of in told["files"].values()):
            raise ValueError("it gives no hashes and sizes")
        return told
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise damaged(file, f"it has no readable {MANIFEST}: {error}") from error


def _refuse_damaged(path: Path, copy: Path) -> None:
    """A backup that no restore would take is found out now, while the parcels can still help."""
    with clear_errors(copy), contextlib.closing(connect(copy, read_only=True, wait=1.0)) as connection:
        unreadable = read_all(connection)[1]
    if unreadable:
        raise WarehouseError(
            f"{path} is damaged, and a backup of it could not be restored. `python -m core ingest --rebuild` makes it "
            "anew from the parcels; then back up."
        )


def damaged(file: Path, reason: str) -> WarehouseError:
    return WarehouseError(f"The backup {file} is damaged or none of Workdim's ({reason}); nothing was changed.")


def _pack(
    handle: IO[bytes], warehouse: Warehouse, copy: Path, told: dict[str, Any], progress: Callable[[int, int], None]
) -> None:
    files: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(handle, "w") as packed:
        with copy.open("rb") as content:
            files[FILE] = _add(packed, FILE, content, zipfile.ZIP_DEFLATED)
        # Of folders that were copied by hand, or what a file browser leaves in one, nothing could be restored.
        parcels = [one for one in folders_in(warehouse.parcels) if RUN_ID.fullmatch(one.name) and is_parcel(one)]
        for number, folder in enumerate(parcels, start=1):
            for file, content_of in _all_of(folder).items():
                name = f"parcels/{folder.name}/{file}"
                files[name] = _add(packed, name, io.BytesIO(content_of), zipfile.ZIP_STORED)
            progress(number, len(parcels))
        for table in mirror.TABLES:
            for path in mirror.files(warehouse.mirror, table):
                name = f"mirror/{path.relative_to(warehouse.mirror).as_posix()}"
                with contextlib.suppress(FileNotFoundError):  # taken out since
                    files[name] = _add(packed, name, io.BytesIO(path.read_bytes()), zipfile.ZIP_STORED)
        packed.writestr(MANIFEST, json.dumps(told | {"files": files}, indent=0), zipfile.ZIP_DEFLATED)


def _all_of(folder: Path) -> dict[str, bytes]:
    """The files of a parcel, read before any is packed: a parcel that is deleted meanwhile is left out whole."""
    try:
        return {name: (folder / name).read_bytes() for name in PARCEL_FILES if (folder / name).is_file()}
    except FileNotFoundError:
        return {}


def _add(packed: zipfile.ZipFile, name: str, content: IO[bytes], how: int) -> dict[str, Any]:
    info = zipfile.ZipInfo(name, datetime.now(UTC).timetuple()[:6])
    info.compress_type, info.external_attr = how, 0o600 << 16
    sha256, n_bytes = hashlib.sha256(), 0
    with packed.open(info, "w", force_zip64=True) as write:
        while chunk := content.read(_CHUNK):
            sha256.update(chunk)
            n_bytes += len(chunk)
            write.write(chunk)
    return {"sha256": sha256.hexdigest(), "bytes": n_bytes}


def _time_of(file: Path) -> datetime:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC)
