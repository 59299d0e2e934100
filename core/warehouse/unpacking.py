"""An export that arrives as a zip file, unpacked so that it can write nowhere else and fill no disk."""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from core.errors import WarehouseError
from core.files import make_folder
from core.store.parcels import PARCEL_FILES
from core.warehouse.exchange import MANIFEST, SCORE_TABLES

MOST_MEMBERS = 500_000
LARGEST = 512 * 2**20
"""Bytes of one file: a parcel's largest holds a few megabytes."""
MOST_BYTES = 50 * 2**30
_WANTED = {MANIFEST, *PARCEL_FILES, *(f"{table}.parquet" for table in SCORE_TABLES)}
_HOSTILE = re.compile(r"[\\:\x00-\x1f]|^/|(^|/)\.\.(/|$)")


def unpack(file: Path, into: Path) -> None:
    """Write what an import reads of the zip file below `into`; the other files are left in it.

    Raises WarehouseError, and leaves nothing, for a file that is no zip file, is damaged or encrypted, or holds names
    that lead out of it, links, one name twice, or more than fits.
    """
    try:
        with zipfile.ZipFile(file) as packed:
            members = [member for member in packed.infolist() if not member.is_dir()]
            _check(file, members, shutil.disk_usage(into.parent).free)
            for member in members:
                if _is_wanted(member.filename):
                    _write(packed, member, into)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        shutil.rmtree(into, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise WarehouseError(f"{file} cannot be unpacked ({reason}). Copy it again.") from error
    except WarehouseError:
        shutil.rmtree(into, ignore_errors=True)
        raise


def _check(file: Path, members: list[zipfile.ZipInfo], free: int) -> None:
    names = [member.filename for member in members]
    hostile = next((name for name in names if _HOSTILE.search(name)), None)
    if hostile is not None:
        raise WarehouseError(f"{file} was refused: the name {hostile[:80]!r} leads out of it.")
    if any(stat.S_ISLNK(member.external_attr >> 16) for member in members):
        raise WarehouseError(f"{file} was refused: it holds links.")
    if len(set(names)) < len(names):
        raise WarehouseError(f"{file} was refused: it holds one name twice.")
    if any(member.flag_bits & 1 for member in members):
        raise WarehouseError(f"{file} is encrypted. Unpack it first, and name the folder.")
    wanted = [member.file_size for member in members if _is_wanted(member.filename)]
    if len(names) > MOST_MEMBERS or max(wanted, default=0) > LARGEST or sum(wanted) > MOST_BYTES:
        raise WarehouseError(f"{file} was refused: unpacked it is larger than any export.")
    if sum(wanted) > free:
        raise WarehouseError(f"{file} needs {sum(wanted) / 1e9:.1f} GB unpacked, and the disk has less.")


def _is_wanted(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name in _WANTED and len(path.parts) <= 4


def _write(packed: zipfile.ZipFile, member: zipfile.ZipInfo, into: Path) -> None:
    """No more than the table of contents says: zipfile stops there, however much comes."""
    target = into / member.filename
    make_folder(target.parent)
    with packed.open(member) as source, target.open("wb") as handle:
        shutil.copyfileobj(source, handle, 1 << 20)
