"""`python -m tests.bench.layer`: one layer's geometry, as ratios to bare work on the same cloud in the same run.

Unit t1: a fp32 product in tiles of 512 rows with the 64 nearest selected, over the same cloud with the same threads.
Machines are shared and noisy, so everything is timed in turn, five times, and medians are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import skdim
import torch

from core.geometry import clouds, resampling
from core.geometry.layer import LayerPlan, measure_layer


def points_like_tokens(n_tokens: int, n_dims: int, seed: int = 0) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Clustered points with an offset and a decaying spectrum; types as unequal as words are; 128 tokens a sequence."""
    generator = np.random.default_rng(seed)
    types = generator.zipf(1.25, size=n_tokens) % 3000
    spectrum = np.arange(1, n_dims + 1) ** -0.5
    centres = generator.normal(size=(3000, n_dims)) * spectrum
    points = centres[types] + 0.3 * generator.normal(size=(n_tokens, n_dims)) * spectrum + 3 * spectrum
    return torch.tensor(points, dtype=torch.float32), types, np.arange(n_tokens) // 128


def plan_for(types: np.ndarray, sequences: np.ndarray) -> LayerPlan:
    blocks = sequences * 16 // (int(sequences.max()) + 1)
    orders = [np.random.default_rng(draw).permutation(len(types)) for draw in range(5)]
    return LayerPlan(
        [clouds.one_per_type(order, types, blocks, sequences, 16, 800) for order in orders],
        clouds.all_tokens(orders[0], blocks, sequences, 16, len(types)),
        resampling.half_splits(int(sequences.max()) + 1, 20, 0),
    )


def tiled_top_64(points: torch.Tensor) -> None:
    norms = points.square().sum(1)
    for rows in points.split(512):
        (norms - 2 * rows @ points.T).topk(64, largest=False)


def bare_product(points: torch.Tensor) -> None:
    points @ points.T


def scikit_dimension(points: torch.Tensor) -> None:
    cloud = points.numpy()
    skdim.id.TwoNN().fit(cloud)
    skdim.id.MLE().fit(cloud, n_neighbors=20, comb="mle")
    skdim.id.CorrInt().fit(cloud)


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
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    points, types, sequences = points_like_tokens(options.tokens, options.dims)
    plan = plan_for(types, sequences)
    found = medians(
        {
            "bare N x N product": lambda: bare_product(points),
            "t1: tiled product, nearest 64": lambda: tiled_top_64(points),
            "scikit-dimension TwoNN + MLE + CorrInt, no errors": lambda: scikit_dimension(points),
            "one layer: both clouds, all estimates, 16-block jackknife": lambda: measure_layer(points, plan),
        },
        options.rounds,
    )
    unit = found["t1: tiled product, nearest 64"]
    print(f"N={options.tokens}, D={options.dims}, {torch.get_num_threads()} threads, medians of {options.rounds}")
    for name, seconds in found.items():
        print(f"{seconds:8.3f} s  {seconds / unit:6.2f} t1  {name}")


if __name__ == "__main__":
    main()
