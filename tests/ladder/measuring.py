"""Profiles of finished runs as reference parcels: all final checkpoints whole, on code; those of width 128 on prose too, and
what the registered tests along training need, both without what takes most room: 14 MB in all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.api import measure_model
from core.errors import InputError
from core.registry.protocols import PROTOCOLS
from core.store.parcels import RUN_FILE, write_parcel
from tests.ladder.recipes import Recipe, all_runs
from tests.ladder.run import log_of

TEXTS = ("ladder-code", "ladder-prose")
PROTOCOL = "quick"


def measure(out: Path, logs: Path, parcels: Path, names: Sequence[str] = (), final_only: bool = False) -> None:
    """Measure the checkpoints of finished runs (all, or those of `names`); none a second time."""
    runs = all_runs()
    if unknown := set(names) - set(runs):
        raise InputError(f"No such run: {', '.join(sorted(unknown))}. `python -m tests.ladder --list` names them.")
    known = _measured(parcels)
    for name in names or runs:
        if not log_of(name, logs).exists():
            continue
        for step, text in _wanted(runs[name], final_only):
            model = runs[name].folder_of(step)
            if (model, text) not in known:
                _measure(out / name / model, text, (step, text) == (runs[name].steps, TEXTS[0]), parcels)


def _wanted(recipe: Recipe, final_only: bool) -> list[tuple[int, str]]:
    """Step and text; earlier checkpoints are those of the 18 recipes."""
    code, prose = TEXTS
    wanted = [(recipe.steps, code)]
    if recipe.width == Recipe.width:
        wanted.append((recipe.steps, prose))
        if recipe.seed == recipe.order == 0 and not final_only:
            wanted += [(step, code) for step in recipe.checkpoints[:-1]]
    return wanted


def _measure(folder: Path, text: str, is_whole: bool, parcels: Path) -> None:
    profile = measure_model(folder, text, PROTOCOL).profile
    profile = replace(profile, run=replace(profile.run, tags=["reference"]))
    if not is_whole:
        profile = replace(profile, pairs=[], distributions=[], replicates=[])
    target = parcels / profile.run.run_id
    write_parcel(target, profile)
    size = sum(file.stat().st_size for file in target.iterdir()) / 1e3
    print(f"{folder.name} on {text}: {size:.0f} kB", flush=True)


def _measured(parcels: Path) -> set[tuple[str, str]]:
    """Model and text of the parcels that have today's protocol hash."""
    wanted = PROTOCOLS[PROTOCOL].hash(0)
    told = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(parcels.glob(f"*/{RUN_FILE}"))]
    return {(one["model"]["name"], one["corpus"]["name"]) for one in told if one["run"]["protocol_hash"] == wanted}
