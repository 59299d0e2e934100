"""A backup is whole or none; a restore looks first, loses nothing that was measured, and keeps what was there."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections import namedtuple
from dataclasses import replace

import duckdb
import pytest

from core.errors import InputError, ResourceError, WarehouseError, WarehouseLocked
from core.warehouse import backup, copying, ingest, mirror, pilots, restoring
from core.warehouse.backup import MANIFEST, back_up, backups
from core.warehouse.care import annotate
from core.warehouse.integrity import examine
from core.warehouse.rebuilding import rebuild
from core.warehouse.warehouse import Warehouse, wal
from tests.conftest import run_core
from tests.profiles import make_profile
from tests.warehouse.test_migrations import from_the_future, older
from tests.warehouse.test_mirror import fill, import_scores
from tests.warehouse.test_parcels import RUN_IDS, cut_a_table
from tests.warehouse.test_pilots import PILOT
from tests.warehouse.test_rebuilding import content, full, same

__all__ = ["full"]  # the fixture


def restore(warehouse, file):
    reports: list[str] = []
    with restoring.staged(warehouse, file) as found:
        done = restoring.put_in_place(warehouse, found, reports.append)
    assert not list(warehouse.path.parent.glob(".workdim-*"))
    return done, reports


def is_clean(warehouse):
    return [finding.line for finding in examine(warehouse).findings if finding.is_damage] == []


def test_a_backup_comes_back_on_an_empty_machine(full, tmp_path):
    before = content(full)
    made = back_up(full)
    assert made.file.parent == full.backups and made.n_runs == 3
    assert [one.file for one in backups(full)] == [made.file] and backups(full)[0].n_runs == 3
    elsewhere = Warehouse(tmp_path / "new machine" / "w.duckdb")
    done, reports = restore(elsewhere, made.file)
    assert (done.kept, done.kept_mirror, done.n_parcels, reports) == (None, None, 3, [])
    assert same(before, content(elsewhere)) and is_clean(elsewhere)
    assert not list(full.backups.glob("*.part")) and not list(full.path.parent.glob(".workdim-*"))


def test_a_damaged_warehouse_is_not_backed_up(full):
    with full.path.open("r+b") as handle:
        handle.truncate(full.path.stat().st_size // 2)
    with pytest.raises(WarehouseError, match="is damaged.*ingest --rebuild"):
        back_up(full)
    assert not backups(full) and not list(full.backups.iterdir())


def test_what_was_measured_since_is_not_lost(full, add_parcel):
    made = back_up(full)
    before = content(full)
    late = replace(PILOT, name="Later")
    pilots.register(full, late)
    pilots.add_runs(full, late.pilot_id, [RUN_IDS[3]])
    ingest.ingest(full, add_parcel(make_profile(RUN_IDS[3], pilot_id=late.pilot_id)))
    import_scores(full, "c" * 64)
    at_last = content(full)
    shutil.rmtree(full.parcels / RUN_IDS[0])
    cut_a_table(full.parcels / RUN_IDS[1])
    done, reports = restore(full, made.file)
    assert done.n_parcels == 2 and reports == []
    assert ingest.ingest_waiting(full) == [RUN_IDS[3]]
    now = content(full)
    for table in now:
        expected = before if table in ("scores", "score_files", "score_samples") else at_last
        assert now[table].equals(expected[table]), table
    assert is_clean(full)
    aside = Warehouse(full.path.with_name("aside.duckdb"))
    shutil.copyfile(done.kept, aside.path)
    assert aside.read("SELECT 1 FROM score_files WHERE file_sha256 = ?", ["c" * 64]).height == 1
    assert any(done.kept_mirror.rglob("c" * 64 + "*"))
    assert [folder.name for folder in (full.path.parent / "trash").iterdir()] == [f"{RUN_IDS[1]}.damaged"]


def test_a_run_of_which_only_the_old_file_has_rows_is_taken_over(full, add_parcel):
    made = back_up(full)
    folder = add_parcel(make_profile(RUN_IDS[3]))
    ingest.ingest(full, folder)
    at_last = content(full)
    shutil.rmtree(folder)
    _, reports = restore(full, made.file)
    assert len(reports) == 1 and RUN_IDS[3] in reports[0]
    assert same(at_last, content(full))


@pytest.mark.parametrize("state", ["lost", "ruined", "newer"])
def test_a_restore_needs_no_usable_file(full, state):
    before = content(full)
    made = back_up(full)
    if state == "newer":
        from_the_future(full)
    else:
        full.path.unlink() if state == "lost" else full.path.write_bytes(b"ruined" * 1000)
        wal(full.path).write_bytes(b"a log that is left alone beside no file")
    done, _ = restore(full, made.file)
    assert (done.kept is None) == (state == "lost")
    assert same(before, content(full)) and is_clean(full)


def test_a_copy_from_before_a_migration_is_restored_too(tmp_path):
    warehouse = older("step_8", tmp_path)
    warehouse.prepare()
    (copy,) = copying.step_copies(warehouse.path, warehouse.backups)
    before = content(warehouse)
    from_the_future(warehouse)
    _, reports = restore(warehouse, copy.file)
    assert reports == [] and same(before, content(warehouse))
    assert [one.step for one in backups(warehouse)] == [8]


def test_a_backup_is_one_moment_while_others_write(full, add_parcel):
    def meanwhile(done, total):
        if done == 1:
            ingest.ingest(full, add_parcel(make_profile(RUN_IDS[3])))
            import_scores(full, "c" * 64)
            shutil.rmtree(full.parcels / RUN_IDS[2])

    made = back_up(full, progress=meanwhile)
    elsewhere = Warehouse(full.path.parent / "elsewhere" / "w.duckdb")
    restore(elsewhere, made.file)
    assert elsewhere.read("SELECT run_id FROM runs ORDER BY ALL")["run_id"].to_list() == RUN_IDS[:3]
    assert is_clean(elsewhere)


def packed_again(file, change):
    """The backup with changed files; `change` gets and returns name -> content, the manifest's as the others."""
    with zipfile.ZipFile(file) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    changed = file.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in change(files).items():
            packed.writestr(name, data)
    return changed


def with_manifest(files, change):
    told = json.loads(files[MANIFEST])
    change(told["files"])
    return files | {MANIFEST: json.dumps(told).encode()}


def slip(name):
    def change(files):
        import hashlib

        entry = {"sha256": hashlib.sha256(b"evil").hexdigest(), "bytes": 4}
        return with_manifest(files | {name: b"evil"}, lambda told: told.update({name: entry}))

    return change


def bomb(files):
    """A megabyte where the manifest names a hundred bytes."""
    name = next(name for name in files if name.endswith("runs.parquet") or name.startswith("mirror/"))
    files = with_manifest(files, lambda told: told[name].update(bytes=100))
    return files | {name: b"\0" * 2**20}


DAMAGES = {
    "a file is missing": lambda files: {n: c for n, c in files.items() if "layer_pairs" not in n},
    "a byte is wrong": lambda files: {n: c[:-1] + b"x" if n == "warehouse.duckdb" else c for n, c in files.items()},
    "a stranger": lambda files: files | {"notes.txt": b"hello"},
    "no manifest": lambda files: {n: c for n, c in files.items() if n != MANIFEST},
    "no JSON": lambda files: files | {MANIFEST: b"{"},
    "another JSON": lambda files: files | {MANIFEST: b"[1, 2]"},
    "no hashes": lambda files: with_manifest(files, lambda told: told["warehouse.duckdb"].clear()),
    "a size below zero": lambda files: with_manifest(files, lambda told: told["warehouse.duckdb"].update(bytes=-5)),
    "dots": slip("../evil.txt"),
    "dots inside": slip("parcels/../../evil.txt"),
    "an absolute name": slip("/tmp/evil.txt"),
    "a drive": slip("parcels/C:/evil.txt"),
    "backslashes": slip("parcels\\..\\evil.txt"),
    "a hidden name": slip("parcels/.evil/run.json"),
    "a bomb": bomb,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_hostile_backup_changes_nothing(full, damage):
    bad = packed_again(back_up(full).file, DAMAGES[damage])
    before = content(full), sorted(full.path.parent.parent.rglob("*"))
    with pytest.raises(WarehouseError, match="damaged or none of Workdim's") as caught:
        restore(full, bad)
    assert "\n" not in str(caught.value) and str(bad) in str(caught.value)
    assert same(before[0], content(full)) and sorted(full.path.parent.parent.rglob("*")) == before[1]


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def garble(file):
    content = bytearray(file.read_bytes())
    content[1000:1100] = b"garbage..." * 10
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, garble])
def test_a_zip_that_is_cut_or_garbled_changes_nothing(full, damage):
    file = back_up(full).file
    damage(file)
    before = content(full)
    with pytest.raises(WarehouseError):
        restore(full, file)
    assert same(before, content(full))
    assert [one.file for one in backups(full)] == [file]  # listed, so that it can be removed


def test_a_size_that_no_disk_has_is_refused_before_unpacking(full):
    bad = packed_again(
        back_up(full).file,
        lambda files: with_manifest(files, lambda told: told["warehouse.duckdb"].update(bytes=10**18)),
    )
    with pytest.raises(ResourceError, match="MB unpacked"):
        restore(full, bad)


def test_a_backup_of_a_newer_version_or_of_nothing_is_refused(full, tmp_path):
    file = back_up(full).file
    newer = packed_again(file, lambda files: files | {MANIFEST: b'{"format": 99}'})
    with pytest.raises(WarehouseError, match="newer Workdim"):
        restore(full, newer)
    theirs = tmp_path / "theirs.duckdb"
    with duckdb.connect(theirs) as connection:
        connection.execute("CREATE TABLE invoices (a INT)")
    for wrong, message in (
        (theirs, "another program"),
        (full.path, "warehouse itself"),
        (tmp_path / "none.zip", "There is no file"),
    ):
        with pytest.raises(InputError, match=message):
            restore(full, wrong)
    copy = tmp_path / "newer.duckdb"
    shutil.copyfile(full.path, copy)
    from_the_future(Warehouse(copy))
    with pytest.raises(WarehouseError, match="newer Workdim"):
        restore(full, copy)


def test_a_warehouse_that_others_hold_is_left_alone(full, python):
    file = back_up(full).file
    import_scores(full, "c" * 64)
    before = content(full)
    holder = python(
        "import sys, duckdb\nc = duckdb.connect(sys.argv[1], read_only=True)\nprint(flush=True)\ninput()", full.path
    )
    holder.stdout.readline()
    with pytest.raises(WarehouseLocked):
        restore(replace(full, wait=0.2), file)
    holder.communicate("\n")
    assert same(before, content(full)) and is_clean(full)


def test_a_full_disk_leaves_no_half_backup(full, monkeypatch):
    really = backup._add

    def full_at_the_mirror(packed, name, content, how):
        if name.startswith("mirror/"):
            raise OSError(28, "No space left on device")
        return really(packed, name, content, how)

    monkeypatch.setattr(backup, "_add", full_at_the_mirror)
    with pytest.raises(ResourceError, match=r"No space left .* not touched"):
        back_up(full)
    assert not list(full.backups.iterdir())


def test_a_full_disk_while_restoring_changes_nothing(full, monkeypatch):
    file = back_up(full).file
    import_scores(full, "c" * 64)
    pilots.register(full, replace(PILOT, name="Later"))  # which a restore keeps, and so has to write into the mirror
    shutil.rmtree(full.parcels / RUN_IDS[0])
    before = content(full)
    Usage = namedtuple("Usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(restoring.shutil, "disk_usage", lambda place: Usage(10**9, 10**9, 1000))
        with pytest.raises(ResourceError, match="MB unpacked"):
            restore(full, file)

    def no_room(*_):
        raise ResourceError("No space left on device.")

    with monkeypatch.context() as patch:
        patch.setattr(mirror, "_replace", no_room)
        with pytest.raises(ResourceError, match="No space"):
            restore(full, file)
    assert same(before, content(full)) and not examine(full).is_damaged
    assert not (full.parcels / RUN_IDS[0]).exists()


@pytest.mark.parametrize("left", ["parcels/.DS_Store", "a parcel (copy)", ".DS_Store", "note of mine (1).txt"])
def test_what_else_lies_among_the_parcels_keeps_no_backup_from_being_restored(full, tmp_path, left):
    """What a file browser leaves, and what somebody copied by hand."""
    if left.startswith("a parcel"):
        shutil.copytree(full.parcels / RUN_IDS[0], full.parcels / left)
    else:
        (full.path.parent / left if "/" in left else full.parcels / RUN_IDS[0] / left).write_bytes(b"x")
    before, made = content(full), back_up(full)
    elsewhere = Warehouse(tmp_path / "new machine" / "w.duckdb")
    assert restore(elsewhere, made.file)[0].n_parcels == 3
    assert same(before, content(elsewhere)) and is_clean(elsewhere)


def test_tags_and_notes_that_were_given_since_stand(full):
    annotate(full, RUN_IDS[0], lambda said: said.tagged("before").noted("first"))
    made = back_up(full)
    annotate(full, RUN_IDS[0], lambda said: said.tagged("after").noted("second"))
    restore(full, made.file)
    row = full.read("SELECT tags, note FROM runs WHERE run_id = ?", [RUN_IDS[0]]).row(0)
    assert row == (["before", "after"], "second")
    rebuild(full)
    assert full.read("SELECT tags, note FROM runs WHERE run_id = ?", [RUN_IDS[0]]).row(0) == row


def test_where_a_backup_goes(full, tmp_path):
    made = back_up(full, tmp_path / "mine.zip")
    assert made.file == tmp_path / "mine.zip"
    with pytest.raises(InputError, match="is there already"):
        back_up(full, tmp_path / "mine.zip")
    with pytest.raises(InputError, match="There is no folder"):
        back_up(full, tmp_path / "nowhere" / "mine.zip")
    assert {back_up(full).file.name for _ in range(2)} == {file.name for file in full.backups.iterdir()}
    assert len(list(full.backups.iterdir())) == 2


def test_the_verbs(warehouse):
    fill(warehouse)
    made = json.loads(run_core("backup", "--json", warehouse=warehouse.path).stdout)
    listed = json.loads(run_core("backup", "--list", "--json", warehouse=warehouse.path).stdout)
    assert [one["file"] for one in listed] == [made["file"]]
    refused = run_core("restore", made["file"], warehouse=warehouse.path)
    assert refused.returncode == 2 and "--yes" in refused.stderr
    os.unlink(warehouse.path)
    done = run_core("restore", made["file"], "--yes", warehouse=warehouse.path)
    assert done.returncode == 0 and "0 later parcels" in done.stdout, done.stderr
    assert warehouse.read("SELECT 1 FROM saved_queries").height == 1


def test_a_person_is_asked(full, monkeypatch, capsys):
    from core.commands import main

    file = back_up(full).file
    import_scores(full, "c" * 64)
    before = content(full)

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    arguments = ["restore", str(file), "--warehouse", str(full.path)]
    monkeypatch.setattr("sys.stdin", Terminal("\n"))
    assert main.main(arguments) == 0
    assert "[y/N]" in capsys.readouterr().out and same(before, content(full))
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert main.main(arguments) == 0
    assert "before-restore" in capsys.readouterr().out and not same(before, content(full))
