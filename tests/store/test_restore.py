"""A restore that is killed at any of its renames is finished by whoever comes next."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from core.errors import InputError, ResourceError
from core.store import archive, user_files
from core.store.folder import Folder
from core.store.parcels import write_parcel
from core.tables import TABLES
from tests.profiles import make_model, make_profile

pytestmark = pytest.mark.slow

RUNS = [f"01900000-0000-7000-8000-00000000000{n}" for n in range(3)]


class Killed(BaseException):
    pass


def alias(folder: Folder, name: str, reference: str) -> None:
    row = {"alias": name, "reference": reference, "created_at": None}
    rows = pl.DataFrame([row], schema=TABLES["model_aliases"].schema).with_columns(
        created_at=pl.datetime(2026, 1, 1, time_unit="us")
    )
    user_files.write(folder, "alias", user_files.hash_name(name), {"model_aliases": rows})


def content(folder: Folder) -> dict[str, bytes]:
    """All files of truth."""
    return {
        file.relative_to(folder.root).as_posix(): file.read_bytes()
        for place in (folder.parcels, folder.people)
        for file in place.rglob("*")
        if file.is_file()
    }


@pytest.fixture
def present(tmp_path) -> Folder:
    """Three runs, one of them damaged, and an alias that the backup does not have."""
    folder = Folder(tmp_path / "present")
    for run_id in RUNS:
        write_parcel(folder.parcels / run_id, make_profile(run_id, model=make_model(n_layers=2)))
    alias(folder, "since", "no")
    return folder


@pytest.fixture
def unpacked(present, tmp_path) -> Path:
    place = tmp_path / "present" / ".workdim-x" / "restore"
    shutil.copytree(present.parcels, place / "parcels")
    alias(Folder(place), "from the backup", "yes")
    table = present.parcels / RUNS[0] / "run_checks.parquet"
    table.write_bytes(table.read_bytes()[:-1])
    shutil.rmtree(present.parcels / RUNS[1])
    return place


def test_damaged_and_missing_parcels_come_from_the_backup(present, unpacked):
    whole = {
        f"parcels/{file.relative_to(unpacked / 'parcels')}": file.read_bytes() for file in unpacked.rglob("*.parquet")
    }
    begun, n_parcels = archive.begin_restore(present, unpacked, [], print)
    assert n_parcels == 2
    archive.exchange_files(present, begun)
    now = content(present)
    assert whole.items() <= now.items()
    assert user_files.list_ids(present, "alias") == [user_files.hash_name("from the backup")]
    assert [file.stem for file in archive.previous_files(present, begun).rglob("*.json")] == [
        user_files.hash_name("since")
    ]
    assert [one.name for one in present.trash.iterdir()] == [f"{RUNS[0]}.damaged"]
    archive.finish_restore(present, begun)
    assert present.pending_restores() == [] and not list(present.pending.iterdir())


def test_a_kill_at_any_rename_leaves_nothing_half_done(present, unpacked, tmp_path, monkeypatch):
    really = os.replace
    template = tmp_path / "template"
    shutil.copytree(present.root, template)

    def attempt(folder: Folder, kill_at: int) -> bool:
        """Whether the restore came to its end."""
        left = [kill_at]

        def replace(*arguments):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            really(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            try:
                begun, _ = archive.begin_restore(folder, folder.root / ".workdim-x" / "restore", [], print)
                archive.exchange_files(folder, begun)
                archive.finish_restore(folder, begun)
            except Killed:
                return False
        return True

    ends = []
    for kill_at in range(100):
        folder = Folder(tmp_path / f"killed-{kill_at}")
        shutil.copytree(template, folder.root)
        before = content(folder)
        is_done = attempt(folder, kill_at)
        begun = folder.pending_restores()
        for one in begun:
            archive.exchange_files(folder, one)
            archive.exchange_files(folder, one)
            archive.finish_restore(folder, one)
        assert len(list(folder.root.glob("people*"))) == (1 if content(folder) == before else 2)
        ends.append(content(folder))
        assert folder.pending_restores() == []
        if is_done:
            break
    assert kill_at > 6, "all renames were tried"
    assert all(end in (before, ends[-1]) for end in ends) and ends[0] == before


def test_a_full_disk_changes_nothing(present, unpacked, monkeypatch):
    before = content(present)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ResourceError, match="No space"):
        archive.begin_restore(present, unpacked, [], print)
    assert content(present) == before and present.pending_restores() == []


def test_what_would_be_too_large_to_read_leaves_the_good_file(tmp_path, monkeypatch):
    folder = Folder(tmp_path)
    alias(folder, "a", "org/model")
    before = content(folder)
    monkeypatch.setattr(user_files, "MAX_JSON_BYTES", 400)
    with pytest.raises(InputError, match="Nothing was changed"):
        alias(folder, "a", "org/" + 400 * "m")
    assert before and content(folder) == before
