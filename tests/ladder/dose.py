"""`python -m tests.ladder.dose`: the dimension of one layer is set on purpose, and what the model loses by it is measured.

Every seed (of weights and order of the data) is a block that gets every arm: the base recipe as it is (`free`), the base
recipe with a penalty that takes d2 after block 3 to a target (`dose`), and the same with a push of equal size that takes
the mean of those states to a set length and leaves their d2 (`placebo`). What was decided beforehand:
data/pilots/dose.md. Arms of a block come in random order, a placebo after its dose; what is finished is in
data/reference/dose.csv and passed over, and a run that was stopped goes on: start this command as often as there are
processors to spare. Blocks are compiled, which needs a C++ compiler.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch._functorch import config as functorch
from transformers import LlamaForCausalLM

from core.analysis.shape import judge_profile
from core.files import write_atomic
from core.geometry.neighbours import GRIDE_READ_AT
from core.measure.profile import measure_profile
from core.records import Profile, RunConfig
from core.registry.protocols import REFERENCE
from core.runs.jobs import new_run_id
from tests.ladder import questions, scoring, text, training
from tests.ladder.__main__ import DATA, OUT, give_way
from tests.ladder.measuring import PROTOCOL, TEXTS
from tests.ladder.recipes import STEPS, Recipe

LAYER = 3
"""The state after so many blocks is the one that is pushed."""
TARGETS, EXTREMES = (28, 70), (15, 95)
"""d2 that the penalty aims at, in all blocks and in the first few."""
N_SEEDS, N_EXTREME = 12, 4
STRENGTH = 1.0
"""lambda of the penalty lambda * (log mean squared cosine + log target)^2."""
BEGIN = 300
"""Steps that all arms of a seed have in common; then the push begins."""
LARGEST = training.CLIP
"""Norm that the gradient of a penalty is cut to, as that of the language loss is."""
SHARES = (0.2, 0.06)
"""What a placebo takes |mean|^2 / mean squared norm to: up in even seeds, down in odd ones."""
PRECISION = "medium"
"""Of products while training, for torch: factors are rounded to bfloat16, sums are of float32."""
N_STATES = 512
"""States of a batch that the push looks at: one of each token type, at most so many."""
FREE, DOSE, PLACEBO = "free", "dose", "placebo"
SIZES = "sizes.json"
"""Of a dosed run: the norm of the penalty's gradient at every step."""
RESULTS = DATA / "reference" / "dose.csv"
REGISTRATION = DATA / "pilots" / "dose.md"
OTHERS = {"participation_ratio": None, "gride": GRIDE_READ_AT, "two_nn": 1}
"""Methods that the manipulation is looked at with, beside d2, and the rank of their inner neighbour."""
OPEN = "**Open**"
"""What the registration says where a decision is yet to be written into it."""


@dataclass(frozen=True)
class Arm:
    kind: str
    target: int | None
    seed: int

    @property
    def name(self) -> str:
        return f"dosed-{self.seed}-{self.kind}" + (f"-{self.target}" if self.target else "")

    @property
    def dosed(self) -> Arm:
        """Whose push a placebo is as large as."""
        return replace(self, kind=DOSE)

    @property
    def recipe(self) -> Recipe:
        return Recipe(self.name, seed=self.seed, order=self.seed, checkpoints=(STEPS,))


def block(seed: int) -> list[Arm]:
    """The arms of a seed in their random order, a placebo after its dose."""
    targets = [*TARGETS, *(EXTREMES if seed < N_EXTREME else ())]
    arms = [Arm(FREE, None, seed), *(Arm(DOSE, one, seed) for one in targets)]
    arms += [Arm(PLACEBO, one, seed) for one in TARGETS]
    order = [arms[at] for at in np.random.default_rng([2503, seed]).permutation(len(arms))]
    for at, one in enumerate(order):
        if one.kind == PLACEBO and (dose := order.index(one.dosed)) > at:
            order[at], order[dose] = order[dose], one
    return order


def arms() -> Iterator[Arm]:
    for seed in range(N_SEEDS):
        yield from block(seed)


# --- what pushes -----------------------------------------------------------------------------------------------


def mean_squared_cosine(states: torch.Tensor, sequences: torch.Tensor) -> torch.Tensor:
    """Of centred directions, over pairs of different sequences; states (n, width), sequences (n,). One over it is d2."""
    directions = torch.nn.functional.normalize(states - states.mean(0), dim=1)
    differ = sequences[:, None] != sequences[None, :]
    return (directions @ directions.T).square()[differ].mean()


def translation(states: torch.Tensor) -> torch.Tensor:
    """log(|m|^2 / s^2), m the mean of the states and s^2 their mean squared norm, held fixed: it grows as all states move
    along their mean, which leaves centred directions as they are."""
    return states.mean(0).square().sum().log() - states.detach().square().sum(1).mean().log()


def one_of_each_type(ids: torch.Tensor, seed: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Places of up to `N_STATES` tokens of different types in the flattened ids (n_sequences, n_tokens), and their sequences."""
    order = np.random.default_rng([seed, step]).permutation(ids.numel())
    first = np.unique(ids.flatten().numpy()[order], return_index=True)[1]
    places = torch.from_numpy(order[np.sort(first)][:N_STATES])
    return places, places // ids.shape[1]


class _Watching:
    def watch(self, model: LlamaForCausalLM) -> None:
        def keep(_module: torch.nn.Module, _given: Any, output: Any) -> None:
            self.states = output[0] if isinstance(output, tuple) else output

        model.model.layers[LAYER - 1].register_forward_hook(keep)


class Dose(_Watching):
    """lambda * (log mean squared cosine + log target)^2, its gradient cut to `LARGEST`; keeps the size at every step for the
    placebo."""

    def __init__(self, target: float, seed: int, strength: float = STRENGTH) -> None:
        self.target, self.seed, self.strength = target, seed, strength
        self.sizes: list[float] = []

    def gradients(self, model: LlamaForCausalLM, ids: torch.Tensor, step: int) -> list[torch.Tensor | None]:
        places, sequences = one_of_each_type(ids, self.seed, step)
        mean = mean_squared_cosine(self.states.flatten(0, 1)[places], sequences)
        found = gradients_of(self.strength * (mean.log() + math.log(self.target)).square(), model)
        whole = size(found)
        self.sizes.append(min(whole, LARGEST))
        return scaled(found, self.sizes[-1] / max(whole, 1e-12))

    def state(self) -> dict[str, Any]:
        return {"sizes": self.sizes}

    def resume(self, state: dict[str, Any]) -> None:
        self.sizes = list(state["sizes"])


class Placebo(_Watching):
    """(translation - log share)^2, its gradient cut to the size that the dose of that seed had at that step."""

    def __init__(
        self, sizes: Sequence[float], seed: int, shares: tuple[float, float] = SHARES, begin: int = BEGIN
    ) -> None:
        self.sizes, self.seed, self.share, self.begin = sizes, seed, shares[seed % 2], begin

    def gradients(self, model: LlamaForCausalLM, ids: torch.Tensor, step: int) -> list[torch.Tensor | None]:
        places, _ = one_of_each_type(ids, self.seed, step)
        away = translation(self.states.flatten(0, 1)[places]) - math.log(self.share)
        found = gradients_of(away.square(), model)
        return scaled(found, min(1.0, self.sizes[step - self.begin] / max(size(found), 1e-12)))

    def state(self) -> dict[str, Any]:
        return {}

    def resume(self, state: dict[str, Any]) -> None:
        pass


def gradients_of(loss: torch.Tensor, model: LlamaForCausalLM) -> list[torch.Tensor | None]:
    return list(torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, allow_unused=True))


def scaled(gradients: Sequence[torch.Tensor | None], factor: float) -> list[torch.Tensor | None]:
    return [None if one is None else one * factor for one in gradients]


def size(gradients: Sequence[torch.Tensor | None]) -> float:
    return math.sqrt(sum(float(one.square().sum()) for one in gradients if one is not None))


# --- one run ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """A finished run. `before`, `after`: d2 of the neighbouring layers; the methods after them are of the pushed layer."""

    arm: str
    target: int | None
    seed: int
    bits_per_byte: float
    prose: float
    d2_layer: float
    d2_layer_lower: float
    d2_layer_upper: float
    d2_before: float
    d2_after: float
    inner_max: float
    participation_ratio: float
    gride: float
    two_nn: float
    brackets: float
    copying: float
    identifier: float
    indentation: float
    config_hash: str
    weights_sha256: str
    registration: str
    cpu_seconds: float


def run(arm: Arm, out: Path) -> Result:
    """Train, score and measure."""
    torch.set_num_threads(1)
    folder, recipe = out / arm.name, arm.recipe
    push: training.Push | None = None
    if arm.kind == DOSE:
        assert arm.target is not None
        push = Dose(arm.target, arm.seed)
    elif arm.kind == PLACEBO:
        push = Placebo(_sizes(arm.dosed, out), arm.seed)
    trained = _train(arm, out, push)
    saved = folder / recipe.folder_of(STEPS)
    model = training.load(saved)
    bits = {kind: scoring.bits_per_byte(model, text.held_out(kind))["value"] for kind in ("code", "prose")}
    tasks = scoring.accuracies(scoring.answers(model, questions.all_questions()))
    dimensions = _measured(saved) if math.isfinite(bits["code"]) else UNMEASURED
    return Result(
        arm.kind,
        arm.target,
        arm.seed,
        bits["code"],
        bits["prose"],
        **dimensions,
        **{name: one["value"] for name, one in tasks.items()},
        config_hash=config_hash(arm),
        weights_sha256=training.weights_digest(saved),
        registration=registered(),
        cpu_seconds=trained["cpu_seconds"],
    )


def _train(arm: Arm, out: Path, push: training.Push | None) -> dict[str, Any]:
    rows, folder = text.windows(arm.recipe, text.training_documents()), out / arm.name
    folder.mkdir(parents=True, exist_ok=True)  # of a dose that was lost
    common = replace(arm.recipe, name=f"dosed-{arm.seed}", checkpoints=())
    usual = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(PRECISION)
    try:
        with FileLock(out / f"{common.name}.lock"):
            training.train(common, rows, out / common.name, _say, until=BEGIN, make=quick_model)
        if not (folder / training.STATE).exists():
            write_atomic(folder / training.STATE, (out / common.name / training.STATE).read_bytes())
        trained = training.train(arm.recipe, rows, folder, _say, push=push, make=quick_model)
    finally:
        torch.set_float32_matmul_precision(usual)
    if isinstance(push, Dose):
        write_atomic(folder / SIZES, json.dumps(push.sizes).encode())
    return trained


def quick_model(recipe: Recipe) -> LlamaForCausalLM:
    """With blocks that are compiled each by itself, as a push goes back through the first of them only."""
    functorch.donated_buffer = False  # the graph is gone through twice, for the push and for the loss
    model = training.new_model(recipe)
    model.set_attn_implementation("eager")
    for one in model.model.layers:
        one.compile()
    return model


def _sizes(dosed: Arm, out: Path) -> list[float]:
    """Of the push of a dosed run at every step; where its folder was lost since, it is trained once more, to the same bits."""
    file = out / dosed.name / SIZES
    if not file.exists():
        assert dosed.target is not None
        _train(dosed, out, Dose(dosed.target, dosed.seed))
    return list(json.loads(file.read_text(encoding="utf-8")))


UNMEASURED = dict.fromkeys(
    ("d2_layer", "d2_layer_lower", "d2_layer_upper", "d2_before", "d2_after", "inner_max", *OTHERS), math.nan
)
"""Of a model whose loss is not finite: its states are no numbers."""


def _measured(saved: Path) -> dict[str, float]:
    config = RunConfig(str(saved), TEXTS[0], PROTOCOL)
    with tempfile.TemporaryDirectory(prefix="dose-") as scratch:
        return dimensions(judge_profile(measure_profile(config, new_run_id(), Path(scratch), lambda step: None)))


def dimensions(profile: Profile) -> dict[str, float]:
    def of(layer: int, estimator: str, n1: int | None = None) -> Any:
        wanted = (layer, REFERENCE.cloud, REFERENCE.transform, estimator, n1)
        (found,) = [
            one
            for one in profile.estimates
            if (one.layer, one.cloud, one.transform, one.estimator, one.n1) == wanted and one.state == "residual"
        ]
        return found

    layer = of(LAYER, "d2")
    main = (REFERENCE.cloud, REFERENCE.estimator)
    (inner_max,) = [one.inner_max for one in profile.summaries if (one.cloud, one.estimator) == main]
    found = {
        "d2_layer": layer.value,
        "d2_layer_lower": layer.lower,
        "d2_layer_upper": layer.upper,
        "d2_before": of(LAYER - 1, "d2").value,
        "d2_after": of(LAYER + 1, "d2").value,
        "inner_max": inner_max,
        **{name: of(LAYER, name, n1).value for name, n1 in OTHERS.items()},
    }
    return {name: round(float("nan") if value is None else float(value), 4) for name, value in found.items()}


_SHARED = {
    "layer": LAYER, "begin": BEGIN, "strength": STRENGTH, "largest": LARGEST, "shares": SHARES, "n_states": N_STATES, "precision": PRECISION,
}  # fmt: skip


def config_hash(arm: Arm) -> str:
    """Of everything that the run is made of apart from text and code."""
    told = asdict(arm) | asdict(arm.recipe) | _SHARED
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def registered() -> str:
    """The commit that wrote the registration down; RuntimeError where it was not committed as it is, or leaves something open."""
    if OPEN in REGISTRATION.read_text(encoding="utf-8"):
        raise RuntimeError(f"{REGISTRATION} leaves something open: what is counted is decided first.")
    told = _git("log", "-1", "--format=%H")
    if not told or _git("status", "--porcelain"):
        raise RuntimeError(f"{REGISTRATION} is not committed: what is counted is written down first.")
    return told


def _git(*asked: str) -> str:
    command = ["git", *asked, "--", str(REGISTRATION)]
    return subprocess.run(command, cwd=DATA, capture_output=True, text=True, check=False).stdout.strip()


def is_known(arm: Arm, file: Path = RESULTS) -> bool:
    wanted = (arm.kind, str(arm.target or ""), str(arm.seed))
    return any((one["arm"], one["target"], one["seed"]) == wanted for one in results(file))


def results(file: Path = RESULTS) -> list[dict[str, str]]:
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def add(result: Any, file: Path = RESULTS) -> None:
    """One line more, whole or not at all, whichever process writes it."""
    with FileLock(OUT / "dose.lock"):
        is_new = not file.exists()
        with file.open("a", encoding="utf-8", newline="") as lines:
            writer = csv.writer(lines, lineterminator="\n")
            if is_new:
                writer.writerow([one.name for one in fields(result)])
            writer.writerow(["" if value is None else value for value in asdict(result).values()])


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT / "dose", metavar="FOLDER", help="of weights")
    parser.add_argument("--seeds", type=int, default=N_SEEDS, help="the first so many blocks")
    options = parser.parse_args()
    give_way()
    registered()
    for arm in arms():
        if arm.seed >= options.seeds or is_known(arm):
            continue
        folder = options.out / arm.name
        folder.mkdir(parents=True, exist_ok=True)
        if arm.kind == PLACEBO and not is_known(arm.dosed):
            _say(f"{arm.name}: its dose is not trained yet; start this command again when it is")
            continue
        try:
            with FileLock(folder / "lock", timeout=0):
                if is_known(arm):  # since, by another process
                    continue
                result = run(arm, options.out)
                add(result)
                _say(f"{arm.name}: {result.bits_per_byte:.4f} bits per byte, d2 {result.d2_layer:.1f}")
        except Timeout:
            continue


if __name__ == "__main__":
    main()
