"""Warehouses for the tests of the screens: empty, and filled with made-up profiles (named as such)."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

from core.pilots.pilot import Benchmark, OwnScore, OwnTask, Pilot, PilotModel, PilotText
from core.records import Profile
from core.store import parcels
from core.warehouse import people, reference, runs
from core.warehouse.runs import ingest_parcel
from core.warehouse.warehouse import Warehouse
from tests.bench.warehouses import Maker, fill
from tests.plans.made import layer_plan
from tests.profiles import make_controls, make_corpus, make_model, make_profile, with_controls
from tests.warehouse.filling import fill as write_files_of_people

ROOT = Path(__file__).resolve().parents[1]
PAGES = [path.name for path in sorted((ROOT / "pages").glob("*.py"))]
RUN_IDS = [f"01900000-0000-7000-8000-0000000000{n:02d}" for n in (1, 2, 3, 4)]
VETOED = "01900000-0000-7000-8000-000000000071"


def filled_warehouse(folder: Path) -> Path:
    """Two decoders on one text, an encoder, and one decoder on another text: three comparison groups.

    `made-up-big` has control passes on the first text. Filled once for all tests of a process, and copied from there.
    """
    shutil.copytree(_filled(), folder, dirs_exist_ok=True)
    return folder / "workdim.duckdb"


@cache
def _filled() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="filled-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    warehouse = Warehouse(folder / "workdim.duckdb")
    big = make_model("made-up/big@1", name="made-up-big", repository="HuggingFaceTB/SmolLM2-135M", revision="main")
    small = make_model("made-up/small@1", name="made-up-small", base_repository="HuggingFaceTB/SmolLM2-135M")
    encoder = make_model("made-up/encoder@1", kind="encoder", name="made-up-encoder", n_layers=6)
    profiles = [
        make_profile(RUN_IDS[0], model=big),
        make_profile(RUN_IDS[1], model=small, peak=80.0, outcome="warn"),
        make_profile(RUN_IDS[2], model=encoder, peak=120.0),
        make_profile(RUN_IDS[3], model=big, corpus=make_corpus("made-up-other-0123456789ab"), peak=90.0),
    ]
    controls = make_controls(profiles[0], 51)
    for profile in [with_controls(profiles[0], controls), *profiles[1:], *controls]:
        add_run(warehouse.path, profile)
    return folder


def add_run(path: Path, profile: Profile) -> None:
    """One more run in a warehouse."""
    warehouse = Warehouse(path)
    folder = warehouse.parcels / profile.run.run_id
    parcels.write_parcel(folder, profile)
    ingest_parcel(warehouse, folder)


def as_shipped_small(profile: Profile) -> Profile:
    """As a profile that ships without most of its rows: no words, layer pairs, distributions and norms, d2 as it is."""
    return replace(
        profile,
        run=replace(profile.run, words_hash=None, n_words=None, n_words_lost=None),
        estimates=[row for row in profile.estimates if row.cloud != "one_per_word" and row.transform == "centred"],
        correlators=[row for row in profile.correlators if row.cloud not in ("one_per_word", "unmasked")],
        summaries=[row for row in profile.summaries if row.cloud != "one_per_word"],
        pairs=[],
        distributions=[],
        windows=[],
    )


def last_token_run(profile: Profile) -> Profile:
    """As the protocol last-token leaves it: neighbour estimates of one cloud, no summary, no verdict."""
    kept = [row for row in profile.estimates if row.cloud == "one_per_type" and row.estimator in ("gride", "two_nn")]
    return replace(
        profile,
        run=replace(profile.run, protocol="last-token", words_hash=None, n_words=None, n_words_lost=None),
        estimates=[replace(row, cloud="last_token") for row in kept],
        correlators=[],
        replicates=[],
        summaries=[],
        pairs=[],
        distributions=[],
        windows=[],
    )


def empty_warehouse(folder: Path) -> Path:
    return folder / "workdim.duckdb"


def first_start(folder: Path) -> Path:
    """What whoever starts the app for the first time has: the profiles that come with Workdim."""
    warehouse = Warehouse(folder / "workdim.duckdb")
    reference.add_profiles(warehouse, lambda _line: None)
    return warehouse.path


def worked_with(folder: Path) -> Path:
    """The filled warehouse with a vetoed run, a pilot, layer plans, and a file of every kind that people write."""
    warehouse = Warehouse(filled_warehouse(folder))
    long = make_model("made-up/a-model-with-a-name-that-goes-on-and-on-1.7B-instruct@1", name="made-up-vetoed")
    add_run(warehouse.path, make_profile(VETOED, model=long, outcome="veto"))
    write_files_of_people(warehouse)
    big, small = (PilotModel(f"made-up/{name}") for name in ("big", "small"))
    benchmark = Benchmark("hellaswag", "not stated", "Smaller goes with better.", date(2026, 1, 1), True, n_shot=0)
    pilot = Pilot(
        "Tickets",
        "Which model may answer first?",
        "general",
        (replace(big, score=OwnScore(71.5, 2.4)), small),
        (PilotText("made-up"),),
        benchmark,
        task=OwnTask("tickets answered right", "percent", True),
    )
    people.register_pilot(warehouse, pilot)
    people.add_runs(warehouse, pilot.pilot_id, RUN_IDS[:2])
    plan = {"model_id": "made-up/big@1", "reference": "made-up/big", "name": "made-up-big"}
    runs.save_plan(warehouse, layer_plan("0199-healed", **plan, is_healed=True))
    runs.save_plan(warehouse, layer_plan("0200-other", **plan | {"name": "made-up-small"}, blocks=[1]))
    return warehouse.path


def full_warehouse(folder: Path) -> Path:
    """Months of work: besides all that, the shipped profiles and made-up ones of many models."""
    path = worked_with(folder)
    fill(path, 64, Maker("real"))
    reference.add_profiles(Warehouse(path), lambda _line: None)
    return path


WAREHOUSES = {"empty": empty_warehouse, "first": first_start, "full": full_warehouse}
