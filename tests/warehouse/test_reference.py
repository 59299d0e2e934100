"""The profiles that come with Workdim: in at once, in once, and out where people took them out."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import replace

import pytest

from core.records import SHIPPED
from core.store import parcels
from core.warehouse import queries, reference, runs
from core.warehouse.runs import delete_runs, empty_trash
from core.warehouse.warehouse import Warehouse
from tests.plans.made import layer_plan
from tests.profiles import make_controls, make_model, make_profile, with_controls

IDS = [f"01900000-0000-7000-8000-0000000000{n:02d}" for n in (1, 2, 3)]


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Three shipped profiles: of two models, and a control that the first was judged with."""
    folder = tmp_path / "shipped"
    monkeypatch.setattr(reference, "PROFILES", folder)
    first, second = (make_profile(one, model=make_model(f"local:{one[-1]}@1")) for one in IDS[:2])
    control = make_controls(first, 51)[0]
    for profile in (with_controls(first, [control]), second, control):
        ship(folder, profile)
    return folder


def ship(folder, profile):
    tagged = replace(profile, run=replace(profile.run, tags=[SHIPPED]))
    parcels.write_parcel(folder / profile.run.run_id, tagged)


def packed(folder, *names):
    """These parcels in a bundle instead."""
    bundle = folder / "small.tar.xz"
    with tarfile.open(bundle, "w:xz") as members:
        for name in names:
            members.add(folder / name, arcname=name)
            shutil.rmtree(folder / name)
    return bundle


def ids(warehouse):
    return sorted(queries.runs(warehouse)["run_id"])


def test_what_is_shipped_comes_in_once_and_stays_out_where_it_was_taken_out(warehouse, shipped):
    every = sorted(reference.shipped_run_ids())
    assert len(every) == 3
    assert sorted(reference.add_profiles(warehouse, pytest.fail)) == ids(warehouse) == every
    assert set(queries.runs(warehouse)["tags"].explode()) == {SHIPPED}
    assert reference.add_profiles(warehouse, pytest.fail) == []

    delete_runs(warehouse, [IDS[1]])
    assert reference.add_profiles(warehouse, pytest.fail) == [] and IDS[1] not in ids(warehouse)
    empty_trash(warehouse)
    assert reference.add_profiles(warehouse, pytest.fail) == [] and IDS[1] not in ids(warehouse)

    ship(shipped, make_profile(IDS[2]))  # a later version brings one more
    assert reference.add_profiles(warehouse, pytest.fail) == [IDS[2]]
    assert reference.add_profiles(warehouse, pytest.fail, with_removed=True) == [IDS[1]]

    own = make_profile("01900000-0000-7000-8000-0000000000aa")
    parcels.write_parcel(warehouse.parcels / own.run.run_id, own)
    assert reference.remove_profiles(warehouse) == (4, 0) and ids(warehouse) == [own.run.run_id]
    assert reference.add_profiles(warehouse, pytest.fail) == []
    assert len(reference.add_profiles(warehouse, pytest.fail, with_removed=True)) == 4


def test_those_that_ship_packed_are_like_the_others(tmp_path, warehouse, shipped):
    every = reference.shipped_run_ids()
    bundle = packed(shipped, *IDS[:2])
    assert reference.shipped_run_ids() == every and len(reference.shipped_parcels()) == 1
    assert {*reference.add_profiles(warehouse, pytest.fail)} == {*ids(warehouse)} == every
    delete_runs(warehouse, [IDS[1]])
    assert reference.add_profiles(warehouse, pytest.fail) == [] and IDS[1] not in ids(warehouse)
    ship(shipped, make_profile(IDS[2]))
    reference.unpack(bundle, shipped)
    packed(shipped, *IDS)  # a later version brings one more
    assert reference.add_profiles(warehouse, pytest.fail) == [IDS[2]]
    assert reference.add_profiles(warehouse, pytest.fail, with_removed=True) == [IDS[1]]
    assert reference.remove_profiles(warehouse) == (4, 0)
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[: len(whole) // 2])
    new, told = Warehouse(tmp_path / "new" / "w.duckdb"), []
    reference.add_profiles(new, told.append)
    assert "small.tar.xz is damaged" in told[0] and {*ids(new)} < every
    bundle.write_bytes(whole)
    reference.add_profiles(new, pytest.fail)
    assert {*ids(new)} >= every


def test_a_new_warehouse_begins_with_them_and_a_damaged_one_is_told(tmp_path, shipped):
    (shipped / IDS[1] / "layer_estimates.parquet").write_bytes(b"PAR1")
    new, told = Warehouse(tmp_path / "new" / "w.duckdb"), []
    assert len(reference.add_profiles(new, told.append)) == 2
    assert len(told) == 1 and "is damaged" in told[0] and not (new.parcels / IDS[1]).exists()
    assert ids(new) == ids(Warehouse(new.path)) and new.try_apply_pending().damaged == []


def test_taken_out_before_they_ever_came_they_do_not_come(warehouse, shipped):
    assert reference.remove_profiles(warehouse) == (0, 0)
    assert reference.add_profiles(warehouse, pytest.fail) == [] == ids(warehouse)


def test_a_list_that_is_damaged_or_gone_offers_them_again(warehouse, shipped):
    reference.add_profiles(warehouse, pytest.fail)
    delete_runs(warehouse, [IDS[1]])
    warehouse.folder.offered_profiles.write_text("{", encoding="utf-8")
    assert reference.add_profiles(warehouse, pytest.fail) == [IDS[1]]
    shutil.rmtree(shipped)
    assert reference.add_profiles(warehouse, pytest.fail) == []


def test_shipped_plans_are_added_once_and_stay_away_after_they_were_removed(warehouse, shipped):
    own, foreign = layer_plan("0199-own"), layer_plan("0199-shipped", note=SHIPPED)
    for table, frame in foreign.frames().items():
        frame.write_parquet(shipped.parent / f"{table}.parquet")
    reference.add_profiles(warehouse, pytest.fail)
    runs.save_plan(warehouse, own)
    assert runs.load_plan(warehouse, "0199-shipped") == foreign
    assert runs.list_plans(warehouse).height == 2
    assert runs.cheapest_verified_plan(warehouse).plan.plan_id == "0199-own"  # what was planned here comes first

    warehouse.delete("plan", "0199-own")
    assert runs.cheapest_verified_plan(warehouse).plan.plan_id == "0199-shipped"
    assert runs.cheapest_verified_plan(warehouse, with_reference=False) is None
    assert reference.remove_profiles(warehouse) == (3, 1)
    assert reference.add_profiles(warehouse, pytest.fail) == [] and runs.list_plans(warehouse).is_empty()
    reference.add_profiles(warehouse, pytest.fail, with_removed=True)
    assert runs.list_plans(warehouse)["plan_id"].to_list() == ["0199-shipped"]
