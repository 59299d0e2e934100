"""`python -m tests.bench.layer`: the geometry of one cloud and of one layer, as ratios to bare work in the same run.

Unit t1: a fp32 product in tiles of 512 rows with the 64 nearest selected, over the same cloud; all on one thread, as layers are
measured. Machines are shared and noisy, so everything is timed in turn, several times, and medians are compared.

`--workers 1 2 4` measures many such layers instead, side by side in as many workers, as ratios to the same layers one after
the other on all of torch's threads.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import skdim
import torch

from core.geometry import clouds, layer
from core.geometry.clouds import place
from core.geometry.correlators import local_readings
from core.geometry.layer import CloudPlan, measure_layer, scan_with_neighbours
from core.measure.layers import LayerWorkers


def points_like_tokens(n_tokens: int, n_dims: int, seed: int = 0) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Clustered points with an offset and a decaying spectrum; types as unequal as words are; 128 tokens a sequence."""
    generator = np.random.default_rng(seed)
    types = generator.zipf(1.25, size=n_tokens) % 3000
    spectrum = np.arange(1, n_dims + 1) ** -0.5
    centres = generator.normal(size=(3000, n_dims)) * spectrum
    points = centres[types] + 0.3 * generator.normal(size=(n_tokens, n_dims)) * spectrum + 3 * spectrum
    return torch.tensor(points, dtype=torch.float32), types, np.arange(n_tokens) // 128


def plan_for(types: np.ndarray, sequences: np.ndarray, max_types: int = 800) -> CloudPlan:
    tokens = clouds.Tokens(types, sequences, sequences * 16 // (int(sequences.max()) + 1), 16)
    orders = [np.random.default_rng(draw).permutation(len(types)) for draw in range(5)]
    return CloudPlan(
        [clouds.one_per_type(order, tokens, max_types) for order in orders],
        [clouds.one_per_word(order, types, np.arange(len(types)), tokens, max_types) for order in orders],
        [clouds.all_tokens(orders[0], tokens, 4096)],
        clouds.half_splits(int(sequences.max()) + 1, 20, 0),
        blocks=tokens.blocks,
    )


def tiled_top_64(points: torch.Tensor) -> None:
    norms = points.square().sum(1)
    for rows in points.split(512):
        (norms - 2 * rows @ points.T).topk(64, largest=False)


def bare_product(points: torch.Tensor) -> None:
    points @ points.T


def local(points: torch.Tensor, plan: CloudPlan) -> None:
    """The local d2 of all tokens at 20 and 50 neighbours, which the protocols compute on one token per type only."""
    placed = place(points, plan.others[0])
    scanned, distinct = scan_with_neighbours(placed)
    local_readings(placed, scanned.table, distinct, seed=0)


def grid(points: torch.Tensor, plan: CloudPlan) -> Callable[[], object]:
    """What the specifications of claims take beside the reference: transforms, and neighbours of other sequences."""
    placed = [place(points, cloud) for cloud in (plan.draws[0], *plan.word_draws[:1], *plan.others)]
    scanned = [(one, *scan_with_neighbours(one)) for one in placed]
    return lambda: [
        (layer._d2_of_transforms(one, plan) if one.cloud.name != "all_tokens" else [])
        + layer._estimates_with_differing_labels(one, scan, distinct, plan)
        for one, scan, distinct in scanned
    ]


def scikit_dimension(points: torch.Tensor) -> None:
    cloud = points.numpy()
    skdim.id.TwoNN().fit(cloud)
    skdim.id.MLE().fit(cloud, n_neighbors=20, comb="mle")
    skdim.id.CorrInt().fit(cloud)


def side_by_side(points: torch.Tensor, plan: CloudPlan, numbers: list[int], n_layers: int, rounds: int) -> None:
    """Seconds per layer with each number of workers, which are started before."""
    with tempfile.TemporaryDirectory() as folder, LayerWorkers() as workers:
        file, keep = Path(folder) / "states.npy", np.ones(len(points), bool)
        np.save(file, np.stack([points.numpy()] * n_layers))

        def in_workers(n: int) -> list[object]:
            return list(workers.measure(n, file, keep, plan, range(n_layers)))

        works: dict[str, Callable[[], object]] = {
            "one after the other, all threads": lambda: [layer._measure_layer(points, plan) for _ in range(n_layers)]
        }
        for n in numbers:
            works[f"workers: {n}"] = partial(in_workers, n)
        found = medians(works, rounds)
    unit = found["one after the other, all threads"]
    for name, seconds in found.items():
        print(f"{seconds / n_layers:8.3f} s a layer  {seconds / unit:6.2f}  {name}")


def medians(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if number:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--dims", type=int, default=576)
    parser.add_argument(
        "--types", type=int, default=800, help="points of one per type; 2000 of 16384 tokens is standard"
    )
    parser.add_argument("--workers", type=int, nargs="+", help="measure --layers layers in so many workers")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    points, types, sequences = points_like_tokens(options.tokens, options.dims)
    plan = plan_for(types, sequences, options.types)
    if options.workers:
        return side_by_side(points, plan, options.workers, options.layers, options.rounds)
    torch.set_num_threads(1)
    cloud = replace(plan, draws=[], word_draws=[])
    found = medians(
        {
            "bare N x N product": lambda: bare_product(points),
            "t1: tiled product, nearest 64": lambda: tiled_top_64(points),
            "one cloud: all default estimates and correlators, 16-block jackknife": lambda: measure_layer(
                points, cloud
            ),
            "the pass over pairs alone": lambda: scan_with_neighbours(place(points, cloud.others[0])),
            "pass and local d2 at 20 and 50 neighbours, with errors": lambda: local(points, plan),
            "one layer: five draws of types and of words, all tokens, surrogates": lambda: measure_layer(points, plan),
            "of that, the grid of claims: transforms, neighbours of other windows": grid(points, plan),
            "scikit-dimension TwoNN + MLE + CorrInt, no errors": lambda: scikit_dimension(points),
        },
        options.rounds,
    )
    unit = found["t1: tiled product, nearest 64"]
    print(f"N={options.tokens}, D={options.dims}, {torch.get_num_threads()} threads, medians of {options.rounds}")
    for name, seconds in found.items():
        print(f"{seconds:8.3f} s  {seconds / unit:6.2f} t1  {name}")


if __name__ == "__main__":
    main()
