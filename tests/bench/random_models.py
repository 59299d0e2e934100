"""`python -m tests.bench.random_models`: networks that have learned nothing are one more draw of `matched_blocks`.

Each is held against 19 draws of its own control, as a text is: first networks as their architectures initialise them, then
some whose embedding has structure (clusters and a falling spectrum), as training gives it, under blocks that were drawn.
The table says for each claim how often it exceeds its control, whether its ranks are uniform, and how often it would
exceed it had its inner layers 1.2, 1.5 and 2 times the dimension. `--write` puts it, and the simulated power of a control,
into docs/accuracy (networks, controls). Exits with 1 where one in twenty is exceeded beyond chance.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from core.analysis.claims import LEVEL, MARGIN, Against, LogProfile, draws_of, hold_against
from core.measure.checkpoint import Checkpoint, Clock
from core.measure.layers import LayerMeasurer, LayerWorkers
from core.measure.plan import open_setup
from core.measure.profile import SeedMeasurer
from core.models.model import load_network
from core.models.random_weights import seeded_control
from core.records import RunConfig
from core.registry.protocols import CLAIMS, PROTOCOLS, Protocol
from tests.bench.coverage import keep, table
from tests.profiles import make_model, make_profile
from tests.tiny import save_tiny_model

ARCHITECTURES = ("llama", "qwen3", "gemma3_text", "gpt2", "gpt_neox", "opt", "bert")
SHAPES = ((64, 5), (96, 7))
"""Hidden size and blocks: of even and of odd seeds."""
EFFECTS = (1.2, 1.5, 2.0)
PROTOCOL = Protocol(
    "networks", 1, n_sequences=32, n_tokens=48, max_types=250, n_draws=1, clouds=("one_per_type",), n_control_seeds=19
)


def sizes(family: str, seed: int) -> dict[str, int]:
    width, n_layers = SHAPES[seed % 2]
    names = ("n_embd", "n_layer") if family == "gpt2" else ("hidden_size", "num_hidden_layers")
    return dict(zip(names, (width, n_layers), strict=True))


def give_structure(embedding: torch.Tensor, seed: int) -> None:
    """Clusters of tokens with shared directions, and a spectrum that falls as 1 / rank; the mean square stays."""
    generator = torch.Generator().manual_seed(seed)
    n, width = embedding.shape
    scales = torch.arange(1, width + 1) ** -0.5
    centres = torch.randn(40, width, generator=generator)
    cluster = torch.randint(40, (n,), generator=generator)
    made = (torch.randn(n, width, generator=generator) + centres[cluster]) * scales
    embedding.copy_(made * (embedding.square().mean() / made.square().mean()).sqrt())


def networks(folder: Path, family: str, seed: int, is_structured: bool) -> tuple[LogProfile, list[LogProfile], int]:
    """The profile of a network, those of its draws, and its hidden size."""
    reference = save_tiny_model(folder / "model", family, seed=seed, **sizes(family, seed))
    PROTOCOLS[PROTOCOL.name] = PROTOCOL
    config = RunConfig(str(reference), "english-business", PROTOCOL.name, device="cpu", pass_="matched_blocks")
    setup = open_setup(config)
    opened = load_network(setup.blueprint)
    if is_structured:
        give_structure(opened.module.get_input_embeddings().weight.data, seed)
    scratch = folder / "scratch"
    scratch.mkdir()
    with LayerWorkers() as workers, torch.no_grad():
        layers = LayerMeasurer(opened.device, workers, 10**9)
        measurer = SeedMeasurer(
            config, "run", setup, setup.sample, Checkpoint(scratch, 0), scratch, Clock(lambda _: None), layers
        )
        control = seeded_control(opened, "matched", setup.sample.ids)
        rows = [measurer._measure_seed(control.trained(), 0, scratch, 0)]
        ratios = control.ratios
        for seed_ in range(1, 1 + PROTOCOL.n_control_seeds):
            rows.append(measurer._measure_seed(control.drawn(seed_, ratios), seed_, scratch, 0))
    profile = make_profile(model=make_model(n_layers=opened.n_layers))
    first = rows[0]
    like = LogProfile(
        np.zeros(len(first)), np.zeros((len(first), 16)), np.zeros((len(first), len(first[0].halves) // 2, 2))
    )
    text, *draws = draws_of(replace(profile, seeds=[row for of_one in rows for row in of_one]), like)
    return text, draws, opened.hidden_size


def with_effect(text: LogProfile, effect: float) -> LogProfile:
    """The profile with all inner layers this many times as high."""
    parts = [part.copy() for part in (text.whole, text.blocks, text.halves)]
    for part in parts:
        part[1:-1] += math.log(effect)
    return LogProfile(*parts)


def held(count: int, is_structured: bool) -> Iterator[dict[tuple[str, float], Against]]:
    for number in range(count):
        family, seed = ARCHITECTURES[number % len(ARCHITECTURES)], number // len(ARCHITECTURES)
        with tempfile.TemporaryDirectory() as folder:
            text, draws, width = networks(Path(folder), family, seed, is_structured)
        found = {
            (claim, effect): hold_against(with_effect(text, effect), draws, claim, width)
            for claim in CLAIMS
            for effect in (1.0, *EFFECTS)
        }
        told = [f"{claim} {effect} {one.p:.2f} {one.outcome}" for (claim, effect), one in found.items()]
        print(f"{'structured' if is_structured else 'untrained'} {family} {seed}: {', '.join(told)}", file=sys.stderr)
        yield found


def power(spread: float, error: float, effect: float, n_draws: int, n: int = 4000) -> float:
    """How often a network exceeds its draws whose log ratio lies log(effect) above theirs.

    `spread`: standard deviation of the log ratio over draws; `error`: that of reading the ratio of two networks on one
    text, known from 16 blocks.
    """
    generator = np.random.default_rng(0)
    of_network = math.hypot(spread, error / math.sqrt(2))
    draws = generator.normal(0, of_network, (n, n_draws))
    text = math.log(effect) + generator.normal(0, of_network, n)
    value = text - np.median(draws, axis=1)
    errors = error * np.sqrt(generator.chisquare(15, n) / 15)
    reach = stats.t.ppf(0.975, 15) * np.hypot(errors, math.sqrt(math.pi / 2 / n_draws) * draws.std(1, ddof=1))
    p = (1 + (draws >= text[:, None]).sum(1)) / (n_draws + 1)
    return float(((p <= LEVEL) & (value - reach > MARGIN)).mean())


HEADS = [f"x {effect}" for effect in EFFECTS]


def power_table() -> str:
    """Simulated power, by the number of draws and by errors."""
    rows = [
        (n_draws, spread, error, *(f"{power(spread, error, effect, n_draws):.2f}" for effect in (1.0, *EFFECTS)))
        for n_draws in (19, 39)
        for spread, error in ((0.02, 0.06), (0.1, 0.06), (0.2, 0.06))
    ]
    return table(["draws", "spread", "error", "x 1.0", *HEADS], rows)


def network_rows(name: str, found: Sequence[Mapping[tuple[str, float], Against]]) -> Iterator[tuple[tuple, bool]]:
    """A row for each claim, and whether more than one in twenty has the highest rank, beyond chance."""
    for claim in CLAIMS if found else ():
        ranks = [round(one[claim, 1.0].p * (1 + PROTOCOL.n_control_seeds)) for one in found]
        quarters = np.bincount(np.digitize(ranks, (6, 11, 16)), minlength=4)  # of the 20 ranks
        exceeded, *shares = (
            np.mean([one[claim, effect].outcome == "exceeded" for one in found]) for effect in (1.0, *EFFECTS)
        )
        lowest = ranks.count(1)
        row = (
            *(name, len(found), claim, f"{exceeded:.3f}", f"{lowest / len(ranks):.3f}"),
            *(f"{stats.chisquare(quarters).pvalue:.2f}", *(f"{share:.2f}" for share in shares)),
        )
        yield row, stats.binomtest(lowest, len(ranks), 0.05, "greater").pvalue < 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--untrained", type=int, default=200)
    parser.add_argument("--structured", type=int, default=60)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/accuracy")
    options = parser.parse_args()
    counts = {"untrained": options.untrained, "structured": options.structured}
    rows = [row for name, n in counts.items() for row in network_rows(name, list(held(n, name == "structured")))]
    heads = ["networks", "n", "claim", "exceeded", "p = .05", "ranks uniform, p", *HEADS]
    for name, lines in (("networks", table(heads, [row for row, _ in rows])), ("controls", power_table())):
        (keep if options.write else print)(name, lines)
    sys.exit(any(is_wrong for _, is_wrong in rows))


if __name__ == "__main__":
    main()
