"""An archive is whole or not there; nothing of one from elsewhere is read before its size is known and allowed."""

from __future__ import annotations

import errno
import json
import shutil
import zipfile
from collections import namedtuple
from pathlib import Path

import polars as pl
import pytest

from core.errors import InputError, ResourceError, WarehouseError
from core.store import archive

pytestmark = pytest.mark.slow

RUN = "01900000-0000-7000-8000-000000000001"
NAMES = (
    f"parcels/{RUN}/run.json",
    "people/pilots/Prüfung-試験-1.json",
    "people/tables/0.parquet",
    "people/scores/a/file.json",
)


def made(target: Path, about: dict | None = None) -> Path:
    with archive.create_archive(target, about or {"kind": "backup"}) as writer:
        for name in NAMES:
            writer.add(name, name.encode())
    return target


def zip_of(path: Path, members: dict[str, bytes], **attributes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, held in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in attributes.items():
                setattr(info, key, value)
            packed.writestr(info, held)
    return path


def taken(path: Path, into: Path) -> dict[str, bytes]:
    with archive.open_archive(path, into.parent) as packed:
        packed.unpack(into)
    return {file.relative_to(into).as_posix(): file.read_bytes() for file in into.rglob("*") if file.is_file()}


def test_what_goes_in_comes_out(tmp_path):
    assert taken(made(tmp_path / "a.zip"), tmp_path / "out") == {name: name.encode() for name in NAMES}
    with archive.open_archive(tmp_path / "a.zip", tmp_path) as packed:
        assert packed.manifest["kind"] == "backup" and packed.manifest["made_by"] == "Workdim"
    with pytest.raises(InputError, match="is there already"):
        made(tmp_path / "a.zip")
    with pytest.raises(InputError, match=r"no \.zip file"):
        made(tmp_path / "a")
    assert not list(tmp_path.glob(".workdim-*"))


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive.ArchiveWriter, "add_manifest", full)
    with pytest.raises(ResourceError, match="No space left .*Free some space"):
        made(tmp_path / "a.zip")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["../x.json", "/tmp/escaped", "parcels/../../x", "C:/x", "a\\..\\x", "parcels/x/\nrun.json"]
)
def test_no_name_leads_out(tmp_path, name):
    with (
        pytest.raises(WarehouseError, match="leads out of it"),
        archive.open_archive(zip_of(tmp_path / "a.zip", {name: b"{}"}), tmp_path),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_links_and_doubled_names_and_other_files_are_refused(tmp_path):
    link = zip_of(tmp_path / "link.zip", {"parcels/x/run.json": b"/etc/passwd"}, external_attr=0o120777 << 16)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(tmp_path / "twice.zip", "w") as packed:
        packed.writestr("run.json", "{}")
        packed.writestr("run.json", "[]")
    (tmp_path / "none.zip").write_bytes(b"PK\x03\x04 and no more")
    for file, reason in (
        (link, "holds links, one name twice"),
        (tmp_path / "twice.zip", "one name twice"),
        (tmp_path / "none.zip", "no zip file"),
    ):
        with pytest.raises(WarehouseError, match=reason), archive.open_archive(file, tmp_path):
            pass


def test_a_small_zip_file_does_not_unfold_to_gigabytes(tmp_path, monkeypatch):
    """By the table of contents alone, before a byte is written."""
    monkeypatch.setattr(archive, "_RATIO_ALLOWANCE", 2**20)
    bomb = zip_of(tmp_path / "bomb.zip", {f"parcels/{n}/run_checks.parquet": b"\0" * 2_000_000 for n in range(4)})
    with pytest.raises(WarehouseError, match="would unfold to 8 MB"), archive.open_archive(bomb, tmp_path):
        pass


def test_a_file_that_is_larger_than_any_of_ours_is_refused(tmp_path):
    parcel = tmp_path / RUN
    parcel.mkdir()
    (parcel / "run.json").write_text("{}")
    with (parcel / "run_checks.parquet").open("wb") as handle:
        handle.truncate(archive.MAX_FILE_BYTES[".parquet"] + 1)
    with archive.open_archive(parcel, tmp_path) as packed, pytest.raises(WarehouseError, match="has such a file"):
        packed.extract(f"parcels/{RUN}/run_checks.parquet", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_small_table_does_not_unfold_to_millions_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_CELLS", 100_000)
    parcel = tmp_path / RUN
    parcel.mkdir()
    (parcel / "run.json").write_text("{}")
    pl.DataFrame({"text": ["x"] * 200_000}).write_parquet(parcel / "run_checks.parquet")
    with archive.open_archive(parcel, tmp_path) as packed, pytest.raises(WarehouseError, match="200,000 rows"):
        packed.extract(f"parcels/{RUN}/run_checks.parquet", tmp_path / "out.parquet")


def repacked(file: Path, change) -> Path:
    with zipfile.ZipFile(file) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    return zip_of(file.with_name("changed.zip"), change(files))


def with_manifest(change):
    def changed(files):
        about = json.loads(files["manifest.json"])
        about = change(about) or about
        return files | {"manifest.json": json.dumps(about).encode()}

    return changed


DAMAGES = {
    "a file is missing": lambda files: {n: c for n, c in files.items() if n != NAMES[0]},
    "a byte is wrong": lambda files: files | {NAMES[2]: b"x" + files[NAMES[2]][1:]},
    "a stranger": lambda files: files | {"notes.txt": b"hello"},
    "a hidden name": lambda files: files | {"parcels/.evil/run.json": b"{}"},
    "no manifest": lambda files: {n: c for n, c in files.items() if n != "manifest.json"},
    "no JSON": lambda files: files | {"manifest.json": b"{"},
    "another JSON": lambda files: files | {"manifest.json": b"[1, 2]"},
    "nested beyond reason": lambda files: files | {"manifest.json": b"[" * 200_000},
    "no hashes": with_manifest(lambda about: about["files"][NAMES[0]].clear()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_changed_is_refused(tmp_path, damage):
    bad = repacked(made(tmp_path / "a.zip"), DAMAGES[damage])
    with pytest.raises(WarehouseError, match="damaged, or no archive of Workdim|not as the manifest") as caught:
        taken(bad, tmp_path / "out")
    assert "\n" not in str(caught.value) and str(bad) in str(caught.value)


def test_a_newer_one_is_told_as_that(tmp_path):
    newer = repacked(made(tmp_path / "a.zip"), with_manifest(lambda about: about.update(format=99)))
    with pytest.raises(WarehouseError, match="newer Workdim"):
        taken(newer, tmp_path / "out")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_zip_file_that_is_cut_off_is_refused(tmp_path, share):
    whole = made(tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WarehouseError):
        taken(tmp_path / "a.zip", tmp_path / "out")


def test_what_does_not_fit_on_the_disk_is_refused_before_unpacking(tmp_path, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10, 10, 10))
    with pytest.raises(ResourceError, match="is free. Nothing was changed"):
        taken(made(tmp_path / "a.zip"), tmp_path / "out")


def test_a_manifest_larger_than_its_files_allow_is_not_read(tmp_path):
    bad = zip_of(tmp_path / "a.zip", {"parcels/x/run.json": b"{}", "manifest.json": b"[],".ljust(9_000_000)})
    with pytest.raises(WarehouseError, match=r"manifest\.json is too large"), archive.open_archive(bad, tmp_path):
        pass
