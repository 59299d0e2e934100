"""`python -m tests.ladder.seeds`: five recipes from two more starts each, to see whether they vary as the base recipe does.

They are no members of the population that was registered: they were trained after its answer was known, and only
their numbers are kept, in data/reference/ladder/seeds.csv. What is there is not trained again, and what another process
is at is left to it.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from filelock import FileLock

from core.analysis.shape import judge_profile
from core.files import write_atomic
from core.measure.profile import measure_profile
from core.records import RunConfig
from core.registry.protocols import REFERENCE
from core.runs.jobs import new_run_id
from tests.ladder.__main__ import LOGS, OUT, give_way
from tests.ladder.measuring import PROTOCOL, TEXTS
from tests.ladder.recipes import STEPS, Recipe, all_runs
from tests.ladder.run import finish, log_of

EXTREME = ("128-lr-6e-3", "128-lr-6e-4", "128-shuffled-all", "128-dropout-30", "128-lr-1e-3-decay-1")
"""Those whose first start lies farthest from the base recipe in dimension, over both directions."""
SEEDS = (1, 2)
FILE = LOGS / "seeds.csv"


@dataclass(frozen=True)
class Start:
    """A recipe from one start: its final model on code."""

    recipe: str
    seed: int
    inner_max: float
    bits_per_byte: float
    weights_sha256: str


def starts(file: Path = FILE) -> list[Start]:
    """What was trained; none before."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        return [
            Start(
                row["recipe"],
                int(row["seed"]),
                float(row["inner_max"]),
                float(row["bits_per_byte"]),
                row["weights_sha256"],
            )
            for row in csv.DictReader(lines)
        ]


def wanted() -> Iterator[Recipe]:
    """Recipes by start, so that all have equally many whenever it is stopped."""
    runs = all_runs()
    for seed in SEEDS:
        for name in EXTREME:
            yield replace(runs[name], name=f"{name}-seed-{seed}", seed=seed, order=seed, checkpoints=(STEPS,))


def keep(start: Start, file: Path = FILE) -> None:
    """Beside what is there by now, from other processes too; the file is written whole or not at all."""
    with FileLock(OUT / "seeds.lock"):
        known = {(one.recipe, one.seed): one for one in [*starts(file), start]}
        content = io.StringIO()
        writer = csv.writer(content, lineterminator="\n")
        writer.writerow([one.name for one in fields(Start)])
        writer.writerows(astuple(one) for one in known.values())
        write_atomic(file, content.getvalue().encode())


def train_and_measure(recipe: Recipe, out: Path) -> Start | None:
    """None where another process is at it; ValueError where text, tokenizer or questions are not those of the population."""
    logs = out / "seeds"
    if not finish(recipe, out, logs):
        return None
    log, first = (
        json.loads(file.read_text(encoding="utf-8")) for file in (log_of(recipe.name, logs), log_of("128-base", LOGS))
    )
    if log["sha256"] != first["sha256"]:
        raise ValueError(f"{recipe.name} read another text than the population: train with the Python of that one.")
    config = RunConfig(str(out / recipe.name / recipe.folder_of(STEPS)), TEXTS[0], PROTOCOL)
    with tempfile.TemporaryDirectory(prefix="ladder-") as scratch:
        profile = judge_profile(measure_profile(config, new_run_id(), Path(scratch), lambda step: None))
    main = (REFERENCE.cloud, REFERENCE.estimator)
    (inner_max,) = [one.inner_max for one in profile.summaries if (one.cloud, one.estimator) == main]
    last = log["checkpoints"][-1]
    name = recipe.name.removesuffix(f"-seed-{recipe.seed}")
    bits = last["bits_per_byte"]["code"]["value"]
    return Start(name, recipe.seed, round(inner_max or float("nan"), 4), bits, last["weights_sha256"])


def main() -> None:
    give_way()
    for recipe in wanted():
        if (recipe.name.rpartition("-seed-")[0], recipe.seed) in {(one.recipe, one.seed) for one in starts()}:
            continue
        if start := train_and_measure(recipe, OUT):
            keep(start)
            print(start, flush=True)


if __name__ == "__main__":
    main()
