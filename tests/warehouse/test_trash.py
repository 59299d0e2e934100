"""Deleting is a move to the trash first: whatever is killed in between, a run is there or it is not."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import duckdb
import pytest

from core.errors import InputError, ResourceError, WarehouseError
from core.store import parcels
from core.store.folder import Folder
from core.store.parcels import is_parcel
from core.tables import LONG_TABLES
from core.warehouse import people, queries, sync
from core.warehouse.runs import delete_runs, empty_trash, ingest_parcel, restore_run
from tests.profiles import make_controls, make_corpus, make_model, make_profile
from tests.warehouse.test_pilots import PILOT

pytestmark = pytest.mark.slow

RUN = "01900000-0000-7000-8000-000000000001"
OTHER = "01900000-0000-7000-8000-000000000002"


@pytest.fixture
def runs(warehouse, add_parcel):
    """A run that was judged with three controls, and one of another model."""
    first = make_profile(RUN)
    controls = make_controls(first, 51)
    ids = [control.run.run_id for control in controls]
    judged = replace(first, summaries=[replace(row, control_run_ids=ids) for row in first.summaries])
    other = make_profile(OTHER, model=make_model("made-up/other@1"), corpus=make_corpus("other-0123456789ab"))
    for profile in (*controls, judged, other):
        ingest_parcel(warehouse, add_parcel(profile))
    return [RUN, *ids]


def everything(warehouse) -> dict[str, int]:
    """Rows by table, of the tables that hold measurements."""
    tables = ("models", "corpora", "runs", *LONG_TABLES, "pilot_runs")
    return {table: warehouse.read(f"SELECT count(*) AS n FROM {table}")["n"][0] for table in tables}


def test_a_deleted_run_comes_back_as_it_was(warehouse, runs):
    before, told = everything(warehouse), queries.runs(warehouse)
    delete_runs(warehouse, [OTHER])
    assert OTHER not in queries.runs(warehouse)["run_id"].to_list()
    assert not is_parcel(warehouse.parcels / OTHER)
    assert "made-up/other@1" not in warehouse.read("SELECT model_id FROM models")["model_id"].to_list()
    (one,) = parcels.list_trashed(warehouse.folder)
    assert (one.run_id, one.model_id, one.pass_) == (OTHER, "made-up/other@1", "text")
    assert one.deleted_at and one.n_bytes > 10_000
    assert restore_run(warehouse, OTHER) == [OTHER]
    assert everything(warehouse) == before and queries.runs(warehouse).equals(told)
    assert not parcels.list_trashed(warehouse.folder) and not list((warehouse.path.parent / "trash").iterdir())


def test_a_rebuilt_warehouse_does_not_bring_deleted_runs_back(warehouse, runs):
    delete_runs(warehouse, [OTHER])
    after = everything(warehouse)
    warehouse.rebuild()
    assert everything(warehouse) == after


def test_a_control_that_a_verdict_names_stays_with_it(warehouse, runs):
    before = everything(warehouse)
    with pytest.raises(InputError, match=f"Verdicts of other runs rest on it: {RUN[:18]}"):
        delete_runs(warehouse, [runs[1]])
    assert everything(warehouse) == before and not parcels.list_trashed(warehouse.folder)
    delete_runs(warehouse, runs)
    assert queries.runs(warehouse)["run_id"].to_list() == [OTHER]
    assert set(restore_run(warehouse, RUN)) == set(runs)  # a verdict comes back with what it was judged with
    assert everything(warehouse) == before


def test_nothing_is_deleted_where_one_run_is_not_there(warehouse, runs):
    before = everything(warehouse)
    with pytest.raises(InputError, match="There is no run nothing"):
        delete_runs(warehouse, [OTHER, "nothing"])
    assert everything(warehouse) == before and not parcels.list_trashed(warehouse.folder)


@pytest.mark.parametrize("step", ["before the rename", "after the rename", "within the transaction"])
def test_a_killed_deletion_is_whole_or_none(warehouse, runs, python, step):
    """SIGKILL in another process, at each step between the two."""
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    code = f"""
import os, signal, sys
from core.store import parcels as store
from core.warehouse import sync
from core.warehouse.runs import delete_runs
from core.warehouse.warehouse import Warehouse
def dies(*_, **__): {kill}
step = sys.argv[3]
if step == "before the rename":
    store.move = dies
elif step == "after the rename":
    sync.remove_runs = dies
else:
    sync._DELETE_UNUSED = [""]
    class Dying(list):
        def __iter__(self):
            yield "layer_estimates"
            dies()
    sync.LONG_TABLES = Dying()
delete_runs(Warehouse(sys.argv[1]), [sys.argv[2]])
"""
    before = everything(warehouse)
    process = python(code, warehouse.path, OTHER, step)
    process.communicate(timeout=60)
    assert process.returncode == -9
    everything(warehouse)
    assert not warehouse.folder.pending_changes()  # whoever came next has finished it
    if step == "before the rename":
        assert is_parcel(warehouse.parcels / OTHER) and OTHER in queries.runs(warehouse)["run_id"].to_list()
        return
    assert OTHER not in queries.runs(warehouse)["run_id"].to_list()
    restore_run(warehouse, OTHER)
    assert everything(warehouse) == before


def test_who_comes_too_late_to_delete_takes_nothing_from_the_trash(warehouse, runs, monkeypatch):
    """Two browsers delete one run: the second one finds that it is gone, and its parcel stays in the trash."""
    ready, go = threading.Event(), threading.Event()
    move = parcels.move_to_trash

    def slow(*arguments):
        move(*arguments)
        ready.set()
        assert go.wait(20)

    monkeypatch.setattr(parcels, "move_to_trash", slow)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(delete_runs, warehouse, [OTHER])
        assert ready.wait(20)
        monkeypatch.setattr(parcels, "move_to_trash", move)
        second = pool.submit(delete_runs, warehouse, [OTHER])
        time.sleep(0.1)
        go.set()
        first.result(20)
        with pytest.raises(InputError, match="There is no run"):
            second.result(20)
    assert restore_run(warehouse, OTHER) == [OTHER]


def test_what_no_longer_fits_stays_in_the_trash(warehouse, runs, add_parcel):
    delete_runs(warehouse, [OTHER])
    changed = make_model("made-up/other@1", weights_sha256="1" * 64)
    ingest_parcel(warehouse, add_parcel(make_profile(OTHER[:-1] + "9", model=changed)))
    with pytest.raises(WarehouseError, match="is in the warehouse with other content"):
        restore_run(warehouse, OTHER)
    assert [one.run_id for one in parcels.list_trashed(warehouse.folder)] == [OTHER]
    assert not warehouse.pending_changes().run_ids


def test_the_emptied_trash_is_gone_for_good(warehouse, runs):
    delete_runs(warehouse, [OTHER])
    assert empty_trash(warehouse) == 1
    assert not parcels.list_trashed(warehouse.folder) and empty_trash(warehouse) == 0
    with pytest.raises(InputError, match="There is no run .* --deleted"):
        restore_run(warehouse, OTHER)
    assert not list(warehouse.path.parent.glob(".workdim-*"))


def test_the_pilots_of_a_run_come_back_with_it(warehouse, runs):
    people.register_pilot(warehouse, PILOT)
    people.add_runs(warehouse, PILOT.pilot_id, [OTHER])
    delete_runs(warehouse, [OTHER])
    assert queries.pilot_run_ids(warehouse, PILOT.pilot_id) == []
    restore_run(warehouse, OTHER)
    assert queries.pilot_run_ids(warehouse, PILOT.pilot_id) == [OTHER]


def test_a_deletion_on_a_full_disk_says_what_happened(warehouse, runs, monkeypatch):
    """The parcels are moved, which needs no room; the rows follow when there is some."""

    def full(*_):
        raise duckdb.IOException('IO Error: Could not write file "x": No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(sync, "remove_runs", full)
        with pytest.raises(
            ResourceError, match="The files are changed; the warehouse follows with the next command.*No disk space"
        ):
            delete_runs(warehouse, [OTHER])
    assert is_parcel(warehouse.folder.trash / OTHER)
    assert OTHER not in queries.runs(warehouse)["run_id"].to_list()


def test_a_parcel_that_cannot_be_moved_stays_and_is_named(warehouse, runs, monkeypatch):
    before = everything(warehouse)

    def refuse(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(parcels, "move", refuse)
        with pytest.raises(ResourceError, match="No space left on device"):
            delete_runs(warehouse, [OTHER])
    assert everything(warehouse) == before and not warehouse.folder.pending_changes()


def test_a_run_that_another_process_has_deleted_meanwhile_is_named(warehouse, runs, monkeypatch):
    monkeypatch.setattr(Folder, "mark", lambda folder, *_: parcels.move_to_trash(folder, OTHER))
    with pytest.raises(InputError, match=OTHER[:8]):
        delete_runs(warehouse, [OTHER])
