"""Warehouses for the tests of the screens: empty, and filled with made-up profiles (named as such)."""

from __future__ import annotations

from pathlib import Path

from core.warehouse import parcels
from core.warehouse.store import Warehouse
from tests.profiles import make_controls, make_corpus, make_model, make_profile

ROOT = Path(__file__).resolve().parents[1]
PAGES = [path.name for path in sorted((ROOT / "pages").glob("*.py"))]
RUN_IDS = [f"01900000-0000-7000-8000-0000000000{n:02d}" for n in (1, 2, 3, 4)]


def filled_warehouse(folder: Path) -> Path:
    """Two decoders on one text, an encoder, and one decoder on another text: three comparison groups.

    `made-up-big` has control passes on the first text.
    """
    warehouse = Warehouse(folder / "workdim.duckdb")
    big = make_model("made-up/big@1", name="made-up-big", repository="HuggingFaceTB/SmolLM2-135M", revision="main")
    small = make_model("made-up/small@1", name="made-up-small", base_repository="HuggingFaceTB/SmolLM2-135M")
    encoder = make_model("made-up/encoder@1", kind="encoder", name="made-up-encoder", n_layers=6)
    profiles = [
        make_profile(RUN_IDS[0], model=big, qualifiers=("random_init_differs", "shuffled_same")),
        make_profile(RUN_IDS[1], model=small, peak=80.0, outcome="warn"),
        make_profile(RUN_IDS[2], model=encoder, peak=120.0),
        make_profile(RUN_IDS[3], model=big, corpus=make_corpus("made-up-other-0123456789ab"), peak=90.0),
    ]
    for profile in [*profiles, *make_controls(profiles[0], 51)]:
        folder_of_run = warehouse.parcels / profile.run.run_id
        parcels.write_parcel(folder_of_run, profile)
        parcels.ingest(warehouse, folder_of_run)
    return warehouse.path


def empty_warehouse(folder: Path) -> Path:
    return folder / "workdim.duckdb"
