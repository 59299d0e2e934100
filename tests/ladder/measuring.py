"""Profiles of finished runs as reference parcels: final checkpoints whole, earlier ones without what takes most room."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.api import measure_model
from core.errors import InputError
from core.registry.protocols import PROTOCOLS
from core.store.parcels import RUN_FILE, write_parcel
from tests.ladder.recipes import all_runs
from tests.ladder.run import log_of

TEXTS = ("ladder-code", "ladder-prose")
PROTOCOL = "quick"


def measure(out: Path, parcels: Path, names: Sequence[str] = (), final_only: bool = False) -> None:
    """Measure the checkpoints of finished runs (all, or those of `names`) on both texts; none a second time."""
    runs = all_runs()
    if unknown := set(names) - set(runs):
        raise InputError(f"No such run: {', '.join(sorted(unknown))}. `python -m tests.ladder --list` names them.")
    known = _measured(parcels)
    for name, recipe in runs.items():
        if (names and name not in names) or not log_of(name).exists():
            continue
        for step in reversed(recipe.checkpoints[-1:] if final_only else recipe.checkpoints):
            model = recipe.folder_of(step)
            for text in TEXTS:
                if (model, text) not in known:
                    _measure(out / name / model, text, step == recipe.steps, parcels)


def _measure(folder: Path, text: str, whole: bool, parcels: Path) -> None:
    profile = measure_model(folder, text, PROTOCOL).profile
    profile = replace(profile, run=replace(profile.run, tags=["reference"]))
    if not whole:
        profile = replace(profile, pairs=[], distributions=[])
    target = parcels / profile.run.run_id
    write_parcel(target, profile)
    size = sum(file.stat().st_size for file in target.iterdir()) / 1e3
    print(f"{folder.name} on {text}: {size:.0f} kB", flush=True)


def _measured(parcels: Path) -> set[tuple[str, str]]:
    """Model and text of the parcels that have today's protocol hash."""
    wanted = PROTOCOLS[PROTOCOL].hash(0)
    told = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(parcels.glob(f"*/{RUN_FILE}"))]
    return {(one["model"]["name"], one["corpus"]["name"]) for one in told if one["run"]["protocol_hash"] == wanted}
