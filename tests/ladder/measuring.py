"""Profiles of finished runs as reference parcels: all final checkpoints whole, on code; those of width 128 on prose too, what
the registered tests along training need, and the run that is shipped at all its checkpoints, these without what takes most
room."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from core.analysis.shape import judge_profile
from core.errors import InputError
from core.files import move
from core.measure.plan import Setup, open_setup
from core.measure.profile import measure_profile
from core.records import EARLIER, PROFILE_TABLES, SHIPPED, Profile, RunConfig
from core.registry.protocols import PROTOCOLS
from core.runs.jobs import new_run_id
from core.store.parcels import RUN_FILE, write_parcel
from tests.ladder.recipes import PHASES, Recipe, all_runs
from tests.ladder.run import log_of
from tests.ladder.shipping import ALONG, LICENCE

TEXTS = ("ladder-code", "ladder-prose")
PROTOCOL = "quick"
HEAVY = ("layer_pairs", "layer_distributions", "layer_replicates")
"""Tables that take most of a parcel's room."""


def measure(out: Path, logs: Path, parcels: Path, names: Sequence[str] = (), final_only: bool = False) -> None:
    """Measure the checkpoints of finished runs (all, or those of `names`) that lie in `out`; none a second time."""
    runs = all_runs()
    if unknown := set(names) - set(runs):
        raise InputError(f"No such run: {', '.join(sorted(unknown))}. `python -m tests.ladder --list` names them.")
    known = measured(parcels)
    finished = [runs[name] for name in names or runs if log_of(name, logs).exists()]
    for recipe, step, text in _wanted(finished, final_only):
        model = recipe.folder_of(step)
        if (f"local:{model}", text) not in known and (out / recipe.name / model).is_dir():
            config = RunConfig(str(out / recipe.name / model), text, PROTOCOL)
            is_whole = (step, text) == (recipe.steps, TEXTS[0])
            tags = () if step == recipe.steps else (EARLIER,)
            publish(config, f"local:{model}", parcels, () if is_whole else HEAVY, tags=tags, licence=LICENCE)


def _wanted(finished: Iterable[Recipe], final_only: bool) -> list[tuple[Recipe, int, str]]:
    """Run, step and text; the primary hypothesis first, then prose, and last what is said along training."""
    finished = list(finished)
    code, prose = TEXTS
    of_width = [one for one in finished if one.width == Recipe.width]
    wanted = [(one, one.steps, code) for one in finished] + [(one, one.steps, prose) for one in of_width]
    if final_only:
        return wanted
    along = [one for one in of_width if one.seed == 0] + [one for one in finished if one.name == ALONG]
    starts = [(one, step, code) for one in of_width if one.seed for step in PHASES[:-1]]
    return wanted + starts + [(one, step, code) for one in along for step in one.checkpoints[:-1]]


def publish(
    config: RunConfig,
    reference: str,
    parcels: Path,
    left_out: Sequence[str] = (),
    setup: Setup | None = None,
    tags: Sequence[str] = (),
    licence: str | None = None,
) -> Profile:
    """Measure, and write the profile as a reference parcel without the tables `left_out`; what was there of this model,
    text and protocol name goes. The record says `reference` for the model, not where it lay on this machine."""
    setup = setup or open_setup(config)
    with tempfile.TemporaryDirectory(prefix="ladder-") as scratch:
        named = replace(config, model=reference)
        profile = judge_profile(measure_profile(named, new_run_id(), Path(scratch), lambda step: None, setup))
    model = replace(profile.model, licence=licence or profile.model.licence)
    profile = replace(profile, model=model, run=replace(profile.run, tags=[SHIPPED, *tags]))
    lighter = replace(profile, **{PROFILE_TABLES[table]: [] for table in left_out})
    new = parcels / f".{profile.run.run_id}"
    write_parcel(new, lighter)
    for old in _folders(parcels, profile):
        shutil.rmtree(old)
    move(new, parcels / profile.run.run_id)
    size = sum(file.stat().st_size for file in (parcels / profile.run.run_id).iterdir()) / 1e3
    print(f"{profile.model.name} on {config.corpus}: {size:.0f} kB", flush=True)
    return profile


def measured(parcels: Path) -> set[tuple[str, str]]:
    """Model reference and text of the parcels that have today's protocol hash."""
    wanted = PROTOCOLS[PROTOCOL].hash(0)
    told = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(parcels.glob(f"[!.]*/{RUN_FILE}"))]
    return {(one["model"]["reference"], one["corpus"]["name"]) for one in told if one["run"]["protocol_hash"] == wanted}


def _folders(parcels: Path, profile: Profile) -> list[Path]:
    """Parcels of the same model, text and protocol."""
    wanted = (profile.model.model_id, profile.corpus.corpus_id, profile.run.protocol, profile.run.pass_)
    found = []
    for file in sorted(parcels.glob(f"[!.]*/{RUN_FILE}")):
        told = json.loads(file.read_text(encoding="utf-8"))
        run = told["run"]
        if (run["model_id"], run["corpus_id"], run["protocol"], run["pass"]) == wanted:
            found.append(file.parent)
    return found
