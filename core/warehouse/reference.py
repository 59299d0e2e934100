"""The profiles and layer plans that ship with Workdim: added to a warehouse once, and not again if somebody removed them.

They are parcels and plans like any other, with the tag or note `reference`. The file offered.json lists those that were
added: one that is listed and no longer there was removed by people, and returns only on request.

Profiles of downloadable models ship as folders. Their controls, and the many small models that were trained or damaged for
Workdim, ship as bundles: their tables are alike, and compressed together they take a third of the room.
"""

from __future__ import annotations

import hashlib
import lzma
import shutil
import tarfile
from collections.abc import Collection
from pathlib import Path

import polars as pl

from core.errors import Sentence
from core.files import (
    REFERENCE,
    make_folder,
    move,
    names_in,
    read_json,
    refuse_where_read_only,
    temporary_folder,
    write_json,
    writing,
)
from core.records import SHIPPED, LayerPlan
from core.store.parcels import is_parcel
from core.tables import ids_of
from core.warehouse import runs
from core.warehouse.runs import delete_runs
from core.warehouse.sync import Report
from core.warehouse.warehouse import Warehouse

PROFILES = REFERENCE / "profiles"


def shipped_parcels() -> list[Path]:
    """The shipped folders, oldest first."""
    return [PROFILES / name for name in sorted(names_in(PROFILES)) if is_parcel(PROFILES / name)]


def shipped_bundles() -> list[Path]:
    """The shipped files of many parcels each."""
    return sorted(PROFILES.glob("*.tar.xz"))


def shipped_run_ids() -> set[str]:
    """The ids of all shipped profiles; listing the bundles takes a second."""
    run_ids = {parcel.name for parcel in shipped_parcels()}
    for bundle in shipped_bundles():
        with tarfile.open(bundle) as members:
            run_ids |= {name.partition("/")[0] for name in members.getnames()}
    return run_ids


def shipped_plans() -> list[LayerPlan]:
    """The shipped layer plans, in the order of the file."""
    plan_ids = shipped_plan_ids()
    frames = {name: pl.read_parquet(_plan_file(name)) for name in ("plans", "plan_outcomes") if plan_ids}
    return [
        LayerPlan.from_frames({name: frame.filter(plan_id=plan_id) for name, frame in frames.items()})
        for plan_id in plan_ids
    ]


def shipped_plan_ids() -> list[str]:
    path = _plan_file("plans")
    return pl.read_parquet(path, columns=["plan_id"])["plan_id"].to_list() if path.exists() else []


def _plan_file(table: str) -> Path:
    return PROFILES.parent / f"{table}.parquet"


def unpack(bundle: Path, folder: Path) -> None:
    """Unpack a bundle into the folder. Raises TarError, LZMAError or EOFError if it is damaged, OSError without room."""
    with tarfile.open(bundle) as members:
        members.extractall(folder, filter="data")


def remove_profiles(warehouse: Warehouse) -> tuple[int, int]:
    """Move all shipped profiles to the trash and delete the shipped plans; returns how many of each there were.

    Neither is added again by `add_profiles`. Raises InputError, as `delete_runs` does, if a run was judged with one
    of the profiles.
    """
    plan_ids = shipped_plan_ids()
    _write_offered(warehouse, {*shipped_run_ids(), *map(_bundle_key, shipped_bundles()), *plan_ids})
    profiles = warehouse.read(f"SELECT run_id FROM runs WHERE list_contains(tags, '{SHIPPED}') ORDER BY run_id")
    delete_runs(warehouse, ids_of(profiles))
    plan_ids = [plan_id for plan_id in plan_ids if runs.has_plan(warehouse, plan_id)]
    if plan_ids:
        warehouse.delete("plan", *plan_ids)
    return profiles.height, len(plan_ids)


def add_profiles(warehouse: Warehouse, report: Report, with_removed: bool = False) -> list[str]:
    """Add the shipped profiles and plans that were never in this folder, usually none, or also those that were removed.

    All are copied, and then ingested in one transaction, which is ten times as fast. Returns the ids of the added runs. Raises
    ResourceError if the folder cannot be written to, WarehouseLocked if another process holds the warehouse: then they wait
    among the parcels.
    """
    known = set() if with_removed else _read_offered(warehouse)
    parcels = [parcel for parcel in shipped_parcels() if parcel.name not in known]
    packed = [bundle for bundle in shipped_bundles() if _bundle_key(bundle) not in known]
    new_plans = set(shipped_plan_ids()) - known
    if not parcels and not packed and not new_plans:
        return []
    refuse_where_read_only()
    warehouse.prepare()
    target = warehouse.parcels
    make_folder(target)
    with temporary_folder("reference", warehouse.folder.root) as place:
        with writing(target):
            unpacked = [bundle for bundle in packed if _unpack_whole(bundle, place, report)]
            for parcel in parcels:
                shutil.copytree(parcel, place / parcel.name)
        offered = [name for name in sorted(names_in(place)) if is_parcel(place / name)]
        copied = [name for name in offered if name not in known and not is_parcel(target / name)]
        for name in copied:
            move(place / name, target / name)
    warehouse.apply_pending(lambda line: report(Sentence("{text}", text=line).replaced(str(target), str(PROFILES))))
    damaged = set(copied) & set(warehouse.pending_changes().run_ids)
    for name in damaged:  # the shipped parcel itself is damaged: its copy is useless
        shutil.rmtree(target / name, ignore_errors=True)
    absent = {plan_id for plan_id in new_plans if not runs.has_plan(warehouse, plan_id)}
    if absent:
        runs.save_plan(warehouse, *(plan for plan in shipped_plans() if plan.plan.plan_id in absent))
    _write_offered(warehouse, {*offered, *map(_bundle_key, unpacked), *new_plans} - damaged)
    return [run_id for run_id in copied if run_id not in damaged]


def _unpack_whole(bundle: Path, place: Path, report: Report) -> bool:
    """Unpack a bundle; False if it is damaged. Profiles before the damage are added, and it is tried again next time."""
    try:
        unpack(bundle, place)
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        report(Sentence("{file} is damaged ({reason}); it was left where it is.", file=bundle, reason=error))
        return False
    return True


def _bundle_key(bundle: Path) -> str:
    """The entry of a bundle in offered.json, with a hash: the bundle of the next version has the same name."""
    return f"{bundle.name} {hashlib.sha256(bundle.read_bytes()).hexdigest()[:12]}"


def _read_offered(warehouse: Warehouse) -> set[str]:
    try:
        return set(map(str, read_json(warehouse.folder.offered_profiles)))
    except (OSError, ValueError, TypeError):  # missing or damaged: add them once more
        return set()


def _write_offered(warehouse: Warehouse, run_ids: Collection[str]) -> None:
    write_json(warehouse.folder.offered_profiles, sorted(_read_offered(warehouse) | set(run_ids)))
