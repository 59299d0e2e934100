"""A measurement on its way to the warehouse: whole or not at all, and once."""

import hashlib
import json
import os
import shutil
from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from core.errors import ResourceError, WarehouseError, WarehouseLocked
from core.store import parcels
from core.tables import TABLES
from core.warehouse import sync
from core.warehouse.runs import ingest_parcel
from core.warehouse.warehouse import PendingResult
from tests.profiles import make_corpus, make_model, make_profile

pytestmark = pytest.mark.slow

RUN_IDS = [f"01900000-0000-7000-8000-00000000000{n}" for n in range(1, 5)]


def rows(warehouse, table):
    return warehouse.read(f"SELECT * FROM {table}")


def assert_close(warehouse, table, told):
    """Long tables of the DuckDB file keep seven digits of what is measured, no end of an interval, and an order of
    their own."""
    key = list(TABLES[table].key)
    stored, told = (frame.sort(key) for frame in (rows(warehouse, table), TABLES[table].frame(told)))
    assert_frame_equal(stored, told, check_dtypes=False, rel_tol=1e-6)


def test_what_goes_in_comes_out(warehouse, add_parcel):
    profile = make_profile()
    assert ingest_parcel(warehouse, add_parcel(profile))
    assert_close(warehouse, "layer_estimates", profile.estimates)
    assert_close(warehouse, "layer_replicates", profile.replicates)
    assert rows(warehouse, "run_summaries").equals(TABLES["run_summaries"].frame(profile.summaries))
    assert rows(warehouse, "runs").equals(TABLES["runs"].frame([profile.run]))
    assert rows(warehouse, "models").equals(TABLES["models"].frame([profile.model]))


def test_an_undefined_number_becomes_null(warehouse, add_parcel):
    ingest_parcel(warehouse, add_parcel(make_profile(max_norm_ratio=float("nan"))))
    d2 = warehouse.read("SELECT mean_distance FROM layer_estimates WHERE estimator = 'd2'")
    assert d2["mean_distance"].null_count() == d2.height > 0
    assert rows(warehouse, "runs")["max_norm_ratio"].to_list() == [None]


def test_the_same_parcel_is_taken_in_once(warehouse, add_parcel):
    folder = add_parcel(make_profile())
    assert [ingest_parcel(warehouse, folder) for _ in range(3)] == [True, False, False]
    assert warehouse.apply_pending() == []
    assert rows(warehouse, "runs").height == 1


def test_waiting_parcels_come_in_oldest_first_and_share_model_and_corpus(warehouse, add_parcel):
    for run_id in reversed(RUN_IDS):
        add_parcel(make_profile(run_id))
    assert list(warehouse.pending_changes().run_ids) == RUN_IDS
    assert warehouse.apply_pending() == RUN_IDS
    assert (rows(warehouse, "models").height, rows(warehouse, "corpora").height) == (1, 1)


def test_the_same_profile_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        parcels.write_parcel(tmp_path / name, make_profile())
    first, second = ({f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("a", "b"))
    assert first == second


def test_a_half_written_job_is_not_a_result(warehouse):
    job = warehouse.jobs / RUN_IDS[0]
    parcels.write_parcel(job, make_profile(RUN_IDS[0]))
    (job / "run.json").unlink()
    with pytest.raises(WarehouseError, match="has not finished"):
        parcels.publish_parcel(warehouse.folder, job)
    half = warehouse.parcels / RUN_IDS[0]
    half.parent.mkdir()
    job.rename(half)
    assert warehouse.apply_pending() == []


def test_finishing_twice_is_no_error_but_never_replaces_another_result(warehouse, add_parcel):
    folder = add_parcel(make_profile(RUN_IDS[0]))
    job = warehouse.jobs / RUN_IDS[0]
    assert parcels.publish_parcel(warehouse.folder, job) == folder
    parcels.write_parcel(job, make_profile(RUN_IDS[0]))
    assert parcels.publish_parcel(warehouse.folder, job) == folder
    assert not job.exists()
    parcels.write_parcel(job, make_profile(RUN_IDS[0], peak=50.0))
    with pytest.raises(WarehouseError, match="another result"):
        parcels.publish_parcel(warehouse.folder, job)
    assert job.exists()


def cut_a_table(folder):
    file = folder / "layer_estimates.parquet"
    file.write_bytes(file.read_bytes()[:-100])


def lose_a_table(folder):
    (folder / "run_checks.parquet").unlink()


def garble_run_file(folder):
    (folder / "run.json").write_text('{"format": 1, "model"', encoding="utf-8")


def drop_a_column(folder):
    content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    del content["run"]["seed"]
    (folder / "run.json").write_text(json.dumps(content), encoding="utf-8")


def lose_a_value(folder):
    """A row without what its column must hold, in a file that is otherwise whole."""
    file = folder / "run_checks.parquet"
    pl.read_parquet(file).with_columns(outcome=pl.lit(None, pl.String)).write_parquet(file)
    sign_again(folder, file)


def sign_again(folder, file):
    content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    content["files"][file.stem] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "run.json").write_text(json.dumps(content), encoding="utf-8")


def lose_the_seed(folder):
    content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    content["run"]["seed"] = None
    (folder / "run.json").write_text(json.dumps(content), encoding="utf-8")


def begin_at_no_time(folder):
    content = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    content["run"]["started_at"] = 0
    (folder / "run.json").write_text(json.dumps(content), encoding="utf-8")


def come_from_the_future(folder):
    (folder / "run.json").write_text('{"format": 99}', encoding="utf-8")


DAMAGES = [
    cut_a_table,
    lose_a_table,
    garble_run_file,
    drop_a_column,
    come_from_the_future,
    lose_a_value,
    lose_the_seed,
    begin_at_no_time,
]


def test_damaged_parcels_are_reported_and_do_not_stop_the_others(warehouse, add_parcel):
    folders = [add_parcel(make_profile(f"{RUN_IDS[0][:-2]}{number:02}")) for number in range(len(DAMAGES) + 2)]
    for folder, damage in zip(folders[1:], DAMAGES, strict=False):
        damage(folder)
    reports: list[str] = []
    assert warehouse.apply_pending(reports.append) == [folders[0].name, folders[-1].name]
    for folder, report in zip(folders[1:-1], reports, strict=True):
        assert str(folder) in report and "\n" not in report
    assert set(rows(warehouse, "layer_estimates")["run_id"]) == {folders[0].name, folders[-1].name}


def with_row(profile, table, **changes):
    rows = getattr(profile, table)
    return replace(profile, **{table: [*rows, replace(rows[0], **changes)]})


WRONG = (
    (lambda p: replace(p, run=replace(p.run, model_id="pypi:other@1")), "mixes several"),
    (lambda p: replace(p, run=replace(p.run, corpus_id="other-0")), "mixes several"),
    (lambda p: replace(p, checks=make_profile(RUN_IDS[1]).checks), "mixes several"),
    (lambda p: with_row(p, "estimates", layer=5), "layer 5 of 4 in layer_estimates"),
    (lambda p: with_row(p, "distributions", layer=-1), "layer -1 of 4 in layer_distributions"),
    (lambda p: with_row(p, "pairs", layer_b=9), "layer 9 of 4 in layer_pairs"),
    (lambda p: with_row(p, "summaries", cloud="other", working_layer_last=7), "layer 7 of 4 in run_summaries"),
    (lambda p: with_row(p, "estimates", value=3.0), "a row of layer_estimates twice"),
    (lambda p: with_row(p, "summaries", verdict_rise="no"), "a row of run_summaries twice"),
)


def test_rows_that_cannot_be_of_this_run_are_refused_in_one_line(warehouse, add_parcel):
    for wrong, message in WRONG:
        folder = add_parcel(wrong(make_profile(RUN_IDS[0])))
        with pytest.raises(WarehouseError, match=message) as caught:
            parcels.read_parcel(folder)
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
        if wrong is not WRONG[-1][0]:
            shutil.rmtree(folder)
    with pytest.raises(WarehouseError, match=message):
        ingest_parcel(warehouse, folder)
    assert rows(warehouse, "runs").is_empty() and rows(warehouse, "layer_estimates").is_empty()


def test_a_parent_a_control_and_a_pilot_may_come_later(warehouse, add_parcel):
    profile = make_profile(RUN_IDS[0], parent_run_id=RUN_IDS[3], pilot_id="later")
    summaries = [replace(row, control_run_ids=[RUN_IDS[2]]) for row in profile.summaries]
    assert ingest_parcel(warehouse, add_parcel(replace(profile, summaries=summaries)))


@pytest.mark.parametrize(
    "other", [{"model": make_model(weights_sha256="f" * 64)}, {"corpus": make_corpus(sha256="f" * 64)}]
)
def test_one_id_never_stands_for_two_contents(warehouse, add_parcel, other):
    ingest_parcel(warehouse, add_parcel(make_profile(RUN_IDS[0])))
    with pytest.raises(WarehouseError, match="is in the warehouse with other content"):
        ingest_parcel(warehouse, add_parcel(make_profile(RUN_IDS[1], **other)))
    assert rows(warehouse, "runs")["run_id"].to_list() == [RUN_IDS[0]]


INGEST = """
import sys
from pathlib import Path
from core.store import parcels
from core.warehouse.runs import ingest_parcel
from core.warehouse.warehouse import Warehouse
sys.stdin.readline()
print(len(Warehouse(Path(sys.argv[1])).apply_pending()))
"""


def test_processes_that_take_in_the_same_parcels_at_once_double_nothing(warehouse, add_parcel, python):
    for run_id in RUN_IDS:
        add_parcel(make_profile(run_id))
    processes = [python(INGEST, warehouse.path) for _ in range(3)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60) for process in processes]
    assert sum(int(out) for out, _ in answers) == 4, answers
    assert rows(warehouse, "runs").height == 4
    assert rows(warehouse, "layer_estimates").height == 4 * len(make_profile().estimates)


READ = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
print("held", flush=True)
sys.stdin.readline()
"""


def test_who_only_reads_is_not_stopped_by_a_parcel_that_cannot_be_written(warehouse, add_parcel, python):
    add_parcel(make_profile(RUN_IDS[0]))
    garble_run_file(add_parcel(make_profile(RUN_IDS[1])))
    reader = python(READ, warehouse.path)
    reader.stdout.readline()
    just_measured = warehouse.try_apply_pending()
    assert (just_measured.n_waiting, just_measured.messages) == (2, [])
    for run_id in RUN_IDS[:2]:
        os.utime(warehouse.parcels / run_id / "run.json", (0, 0))
    late = warehouse.try_apply_pending()
    assert (late.run_ids, late.n_waiting) == ([], 2)
    assert late.messages[0].startswith("2 finished measurements wait: ") and str(reader.pid) in late.messages[0]
    with pytest.raises(WarehouseLocked):
        replace(warehouse, wait=0.1).apply_pending()
    reader.kill()
    reader.wait()
    taken = warehouse.try_apply_pending()
    assert (taken.run_ids, taken.n_waiting) == ([RUN_IDS[0]], 0)
    assert len(taken.messages) == 1 and "is damaged" in taken.messages[0]


def test_a_full_or_read_only_disk_does_not_stop_who_only_reads(warehouse, add_parcel, monkeypatch):
    for run_id in RUN_IDS[:2]:
        add_parcel(make_profile(run_id))
    really = sync.sync_rows

    def full_after_one(connection, folder, kind, ids, *report):
        if list(ids) != RUN_IDS[:1]:
            raise ResourceError("The disk has no room.")
        return really(connection, folder, kind, ids, *report)

    monkeypatch.setattr(sync, "BATCH", 1)
    monkeypatch.setattr(sync, "sync_rows", full_after_one)
    assert warehouse.try_apply_pending() == PendingResult(
        [RUN_IDS[0]], 1, waiting="1 finished measurement waits: The disk has no room."
    )
