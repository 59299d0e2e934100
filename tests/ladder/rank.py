"""`python -m tests.ladder.rank`: networks of known rank, for the question which estimators read it.

The base recipe with a linear bottleneck after block 3: the stream x becomes U V x + b, where V has r rows. Whatever the network
learns, its states there lie in r dimensions, which therefore bounds every dimension from above. Ranks of 4 to 64, two seeds
each. What is finished is in data/reference/rank.csv and passed over, and a run that was stopped goes on: start this command
as often as there are processors to spare. `python -m tests.ladder.rank_score` scores estimators on what is finished.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from tests.ladder import scoring, text, training
from tests.ladder.__main__ import DATA, OUT, give_way
from tests.ladder.dose import add, results
from tests.ladder.recipes import STEPS, Recipe

LAYER = 3
"""The state after so many blocks passes through the bottleneck."""
RANKS, N_SEEDS = (4, 8, 16, 32, 64), 2
WEIGHTS = OUT / "rank"
RESULTS = DATA / "reference" / "rank.csv"


class Narrowed(LlamaForCausalLM):
    """A Llama whose stream after block `LAYER` becomes U V x + b. It begins as the projection onto r random directions."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.down = nn.Linear(config.hidden_size, config.bottleneck, bias=False)  # V: (r, hidden_size)
        self.up = nn.Linear(config.bottleneck, config.hidden_size)  # U: (hidden_size, r), and b
        nn.init.orthogonal_(self.down.weight)
        with torch.no_grad():
            self.up.weight.copy_(self.down.weight.T)
            self.up.bias.zero_()
        self.model.layers[LAYER - 1].register_forward_hook(self._narrow)

    def _narrow(self, _block: nn.Module, _given: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return self.up(self.down(output[0])), *output[1:]
        return self.up(self.down(output))


@dataclass(frozen=True)
class Network:
    rank: int
    seed: int
    steps: int = STEPS

    @property
    def recipe(self) -> Recipe:
        name = f"rank-{self.rank}-seed-{self.seed}"
        return Recipe(name, seed=self.seed, order=self.seed, steps=self.steps, checkpoints=(self.steps,))

    def saved(self, out: Path) -> Path:
        return out / self.recipe.name / self.recipe.folder_of(self.steps)

    def new_model(self, recipe: Recipe) -> Narrowed:
        """The seed's weights as every recipe has them at the start, and after them those of the bottleneck."""
        config = training.configuration(recipe)
        config.bottleneck = self.rank
        torch.manual_seed(recipe.seed)
        return Narrowed(config)


@dataclass(frozen=True)
class Result:
    rank: int
    seed: int
    steps: int
    bits_per_byte: float
    prose: float
    config_hash: str
    weights_sha256: str
    cpu_seconds: float


def networks(steps: int = STEPS) -> Iterator[Network]:
    """All ranks of a seed before the next seed, so that whenever training stops there is an order to look at."""
    for seed in range(N_SEEDS):
        for rank in RANKS:
            yield Network(rank, seed, steps)


def load(saved: Path) -> Narrowed:
    """As it is scored: rounded weights, computed with in float32."""
    return Narrowed.from_pretrained(saved, dtype=torch.float32).eval()


def run(network: Network, out: Path) -> Result:
    torch.set_num_threads(1)
    recipe = network.recipe
    rows = text.windows(recipe, text.training_documents())
    trained = training.train(recipe, rows, out / recipe.name, _say, make=network.new_model)
    model = load(network.saved(out))
    bits = {kind: scoring.bits_per_byte(model, text.held_out(kind))["value"] for kind in ("code", "prose")}
    return Result(
        network.rank,
        network.seed,
        network.steps,
        round(bits["code"], 5),
        round(bits["prose"], 5),
        config_hash(network),
        training.weights_digest(network.saved(out)),
        trained["cpu_seconds"],
    )


def config_hash(network: Network) -> str:
    """Of everything that the run is made of apart from text and code."""
    told = asdict(network) | asdict(network.recipe) | {"layer": LAYER}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def is_known(network: Network, file: Path) -> bool:
    return any(one["config_hash"] == config_hash(network) for one in results(file))


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=WEIGHTS, metavar="FOLDER", help="of weights")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="what is finished")
    parser.add_argument(
        "--steps", type=int, default=STEPS, help="of a trial, which goes to a folder and file of its own"
    )
    options = parser.parse_args()
    give_way()
    for network in networks(options.steps):
        folder = options.out / network.recipe.name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / "lock", timeout=0):
                if not is_known(network, options.results):
                    result = run(network, options.out)
                    add(result, options.results)
                    _say(f"{network.recipe.name}: {result.bits_per_byte:.4f} bits per byte")
        except Timeout:
            continue


if __name__ == "__main__":
    main()
