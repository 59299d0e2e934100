"""Warehouses for the tests of the screens: empty, and filled with made-up profiles (named as such)."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from core.records import Profile
from core.store import parcels
from core.warehouse import ingest
from core.warehouse.warehouse import Warehouse
from tests.profiles import make_controls, make_corpus, make_model, make_profile, with_controls

ROOT = Path(__file__).resolve().parents[1]
PAGES = [path.name for path in sorted((ROOT / "pages").glob("*.py"))]
RUN_IDS = [f"01900000-0000-7000-8000-0000000000{n:02d}" for n in (1, 2, 3, 4)]


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
    ingest.ingest(warehouse, folder)


def without_later_rows(profile: Profile) -> Profile:
    """As an earlier version measured it: no words, no layer pairs, no distributions, no norms, d2 as it is."""
    return replace(
        profile,
        run=replace(profile.run, stack=None, words_hash=None, n_words=None, n_words_lost=None),
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
