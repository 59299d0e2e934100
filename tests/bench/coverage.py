"""How often 95 percent intervals of d2 hold the truth, on simulated clouds of clustered tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from core.geometry import clouds
from core.geometry.clouds import half_splits
from core.geometry.estimators import ESTIMATORS
from core.geometry.layer import LayerPlan, measure_draws
from core.records import Estimate

TOKENS_PER_SEQUENCE = 20
SHARES = (0.05, 0.2, 0.36)
SPECTRA = {
    "30 equal variances": np.ones(30),
    "50 equal variances": np.ones(50),
    "100 variances 1/k": 1 / np.arange(1, 101),
}


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def clustered(n_sequences: int, variances: np.ndarray, share: float, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Gaussian points, a `share` of whose variance is common to all tokens of a sequence; and their sequences."""
    generator = np.random.default_rng([seed, n_sequences, len(variances), round(100 * share)])
    sequences = np.repeat(np.arange(n_sequences), TOKENS_PER_SEQUENCE)
    effect = generator.normal(size=(n_sequences, len(variances)))[sequences]
    points = math.sqrt(share) * effect + math.sqrt(1 - share) * generator.normal(size=effect.shape)
    return torch.tensor(points * np.sqrt(variances), dtype=torch.float32), sequences


def population_d2(variances: np.ndarray) -> float:
    """1 / E cos^2 of two independent Gaussian points: the dimension if all variances are equal."""
    if np.ptp(variances) == 0:
        return len(variances)
    generator, n = torch.Generator().manual_seed(0), 400_000
    points = torch.randn(n, len(variances), generator=generator) * torch.tensor(variances, dtype=torch.float32).sqrt()
    directions = torch.nn.functional.normalize(points, dim=1)
    return n * (n - 1) / (float((directions.T @ directions).square().sum()) - n)


def of_clouds(n_sequences: int, spectrum: str, share: float, n_draws: int) -> list[str]:
    """One line of the coverage table: how often 95 percent intervals hold the truth, and errors against the spread."""
    variances = SPECTRA[spectrum]
    truth = population_d2(variances)
    drawn = [clustered(n_sequences, variances, share, seed) for seed in range(n_draws)]
    estimates = [ESTIMATORS["d2"](*cloud) for cloud in drawn]
    plain = np.mean([ESTIMATORS["d2_all_pairs"](*cloud, n_blocks=0).value for cloud in drawn])
    values = np.array([e.value for e in estimates])
    held = np.mean([e.lower <= truth <= e.upper for e in estimates])
    spread = values.std(ddof=1)
    ratio = np.mean([e.std_error for e in estimates]) / spread
    return [
        spectrum,
        str(n_sequences),
        f"{share:.2f}",
        f"{truth:.2f}",
        f"{values.mean():.2f}",
        f"{plain:.2f}",
        f"{100 * spread / truth:.2f} %",
        f"{ratio:.2f}",
        f"{100 * held:.1f} %",
    ]


def tokens_of_sequences(
    n_sequences: int, variances: np.ndarray, share: float, seed: int
) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """States of 96 tokens per sequence, their types, as unequal as words are, and their sequences."""
    generator = np.random.default_rng(seed)
    sequences = np.repeat(np.arange(n_sequences), 96)
    types = generator.zipf(1.3, size=len(sequences)) % 3000
    effect = generator.normal(size=(n_sequences, len(variances)))[sequences]
    points = math.sqrt(share) * effect + math.sqrt(1 - share) * generator.normal(size=effect.shape)
    return torch.tensor(points * np.sqrt(variances), dtype=torch.float32), types, sequences


def reported_d2(states: torch.Tensor, types: np.ndarray, sequences: np.ndarray) -> Estimate:
    """d2 as a run reports it: one token per type, five draws, at most 400 types, drawn again without each block."""
    n_sequences = int(sequences.max()) + 1
    tokens = clouds.Tokens(types, sequences, sequences * 16 // n_sequences, 16)
    orders = [np.random.default_rng([7, draw]).permutation(len(types)) for draw in range(5)]
    draws = [clouds.one_per_type(order, tokens, 400) for order in orders]
    plan = LayerPlan(draws, [], [], half_splits(n_sequences, 2, 0), blocks=tokens.blocks)
    return measure_draws(states, plan, draws)[3].estimate


def of_reports(n_sequences: int, spectrum: str, share: float, n_draws: int) -> list[str]:
    """One line of the second coverage table."""
    variances = SPECTRA[spectrum]
    truth = population_d2(variances)
    estimates = [reported_d2(*tokens_of_sequences(n_sequences, variances, share, seed)) for seed in range(n_draws)]
    values = np.array([e.value for e in estimates])
    held = np.mean([e.lower <= truth <= e.upper for e in estimates])
    spread = values.std(ddof=1)
    ratio = np.mean([e.std_error for e in estimates]) / spread
    return [
        spectrum,
        str(n_sequences),
        f"{share:.2f}",
        f"{truth:.2f}",
        f"{values.mean():.2f}",
        f"{100 * spread / truth:.2f} %",
        f"{ratio:.2f}",
        f"{100 * held:.1f} %",
    ]


def table_of_reports(n_draws: int) -> str:
    torch.set_num_threads(1)
    rows = [of_reports(s, "100 variances 1/k", share, n_draws) for s in (32, 64) for share in SHARES]
    head = [
        "cloud",
        "sequences",
        "share",
        "truth",
        "mean d2",
        "true spread of d2",
        "mean error / true spread",
        "95 % intervals that hold the truth",
    ]
    return table(head, rows)


def table_of_clouds(n_draws: int) -> str:
    torch.set_num_threads(1)  # small products: a second thread only waits
    rows = [of_clouds(s, spectrum, share, n_draws) for spectrum in SPECTRA for s in (32, 64) for share in SHARES]
    head = [
        "cloud",
        "sequences",
        "share",
        "truth",
        "mean d2",
        "mean d2_all_pairs",
        "true spread of d2",
        "mean error / true spread",
        "95 % intervals that hold the truth",
    ]
    return table(head, rows)


def verdict(lines: str) -> str:
    """What the coverage table shows, whichever way it went."""
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines.splitlines()[2:]]
    held = [float(c[-1].removesuffix(" %")) for c in cells]
    ratio = [float(c[-2]) for c in cells]
    inside = sum(90 <= h <= 99 for h in held)
    lying = f"All {len(held)} lines lie" if inside == len(held) else f"{inside} of the {len(held)} lines lie"
    return (
        f"{lying} between 90 and 99 %: the lowest is {min(held):.1f} %, the highest {max(held):.1f} %. Errors are "
        f"{min(ratio):.2f} to {max(ratio):.2f} times the true spread."
    )
