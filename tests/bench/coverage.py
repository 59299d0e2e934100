"""How often 95 percent intervals hold the truth, on simulated clouds of clustered tokens: d2, others, and ratios.

`python -m tests.bench.coverage --draws 1000 --only unequal` prints the lines of d2 whose text holds the words, with
`--others` those of the other estimators and of ratios of two layers.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core.analysis.claims import LogProfile, evaluate_claim, scale_to_interval
from core.geometry import clouds
from core.geometry.clouds import CloudEstimate, estimates_of_sets, half_splits, place
from core.geometry.layer import (
    CloudPlan,
    estimates_of_readings,
    measure_draws,
    scan_with_neighbours,
    second_order_estimates,
)
from core.geometry.neighbours import GRIDE_READ_AT, differing_readings
from core.geometry.second_order import scan_cloud
from core.records import Estimate

TABLES = Path(__file__).resolve().parents[2] / "docs" / "accuracy"
TOKENS_PER_SEQUENCE = 20
SHORTEST, LONGEST = 5, 100
"""Tokens of a sequence where lengths are unequal: spread evenly on the log scale."""
SHARES = (0.05, 0.2, 0.36)
SPECTRA = {
    "30 equal variances": np.ones(30),
    "50 equal variances": np.ones(50),
    "100 variances 1/k": 1 / np.arange(1, 101),
    "one of 50 holds half": np.r_[49, np.ones(49)],
    "one of 50 holds 90 %": np.r_[9 * 49, np.ones(49)],
}
FAR = 30.0
"""Standard deviations that the far tokens of `Case.far` lie away along the first direction."""


@dataclass(frozen=True)
class Case:
    """Gaussian points, a `share` of whose variance is common to all tokens of a sequence."""

    spectrum: str
    n_sequences: int
    share: float
    unequal: bool = False
    """Whether lengths of sequences differ twentyfold."""
    own: float | None = None
    """The share in the first direction, where it has its own."""
    far: float = 0.0
    """Share of tokens that lie far out along the first direction."""

    @property
    def variances(self) -> np.ndarray:
        return SPECTRA[self.spectrum]

    @property
    def name(self) -> str:
        parts = [self.spectrum]
        if self.own is not None:
            parts.append(f"share there {self.own:g}")
        if self.far:
            parts.append(f"{100 * self.far:.0f} % of the tokens far out along one direction")
        return ", ".join([*parts, *(["unequal lengths"] if self.unequal else [])])


ORDINARY = tuple(Case(spectrum, n, share) for spectrum in tuple(SPECTRA)[:3] for n in (32, 64) for share in SHARES)
HARD = (
    *(Case(spectrum, 32, share) for spectrum in tuple(SPECTRA)[3:] for share in SHARES),
    *(Case(spectrum, 16, share) for spectrum in tuple(SPECTRA)[1:4] for share in SHARES),
    *(Case(spectrum, 32, share, unequal=True) for spectrum in tuple(SPECTRA)[1:4] for share in SHARES),
    Case("one of 50 holds half", 16, 0.1, own=0.5),
    Case("one of 50 holds half", 32, 0.1, own=0.9),
    Case("50 equal variances", 32, 0.2, far=0.05),
)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The lines of a CSV file."""
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows((head, *rows))
    return lines.getvalue()


def rows_of(lines: str) -> list[list[str]]:
    """Of a `table`, its head first."""
    return list(csv.reader(io.StringIO(lines)))


def keep(name: str, lines: str) -> None:
    """A table that docs/accuracy.md links to."""
    (TABLES / f"{name}.csv").write_text(lines, encoding="utf-8", newline="\n")
    print(name, lines, sep="\n", flush=True)


def clustered(case: Case, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Points of a case, and their sequences."""
    generator = np.random.default_rng([seed, case.n_sequences, len(case.variances), round(100 * case.share)])
    lengths = np.full(case.n_sequences, TOKENS_PER_SEQUENCE)
    if case.unequal:
        lengths = generator.permutation(np.rint(np.geomspace(SHORTEST, LONGEST, case.n_sequences)).astype(int))
    sequences = np.repeat(np.arange(case.n_sequences), lengths)
    shares = np.full(len(case.variances), case.share)
    if case.own is not None:
        shares[0] = case.own
    effect = generator.normal(size=(case.n_sequences, len(shares)))[sequences]
    points = np.sqrt(shares) * effect + np.sqrt(1 - shares) * generator.normal(size=effect.shape)
    points[:, 0] += FAR * (generator.random(len(points)) < case.far)
    return torch.tensor(points * np.sqrt(case.variances), dtype=torch.float32), sequences


def population_d2(variances: np.ndarray, far: float = 0.0) -> float:
    """1 / E cos^2 of two independent points: the dimension if all variances are equal."""
    if np.ptp(variances) == 0 and not far:
        return len(variances)
    generator, n = torch.Generator().manual_seed(0), 400_000
    points = torch.randn(n, len(variances), generator=generator)
    points[:, 0] += FAR * ((torch.rand(n, generator=generator) < far).float() - far)
    directions = torch.nn.functional.normalize(points * torch.tensor(variances, dtype=torch.float32).sqrt(), dim=1)
    return n * (n - 1) / (float((directions.T @ directions).square().sum()) - n)


@dataclass(frozen=True)
class Covered:
    """What intervals of many draws came to."""

    truth: float
    mean: float
    spread: float
    """Standard deviation of the values, as a share of the truth."""
    ratio: float
    """Mean error over the spread."""
    held: float
    """Share of intervals that hold the truth."""
    n_draws: int

    @property
    def cells(self) -> list[str]:
        uncertain = math.sqrt(self.held * (1 - self.held) / self.n_draws)
        return [
            f"{self.truth:.2f}",
            f"{self.mean:.2f}",
            f"{100 * (self.mean / self.truth - 1):+.1f} %",
            f"{100 * self.spread:.2f} %",
            f"{self.ratio:.2f}",
            f"{100 * self.held:.1f} ± {100 * uncertain:.1f} %",
        ]


HEAD = ["truth", "mean d2", "bias", "true spread", "mean error / true spread", "95 % intervals that hold the truth"]


def covered(estimates: Sequence[Estimate], truth: float) -> Covered:
    values = np.array([e.value for e in estimates])
    held = float(np.mean([e.lower <= truth <= e.upper for e in estimates]))
    spread = float(values.std(ddof=1))
    ratio = float(np.mean([e.std_error for e in estimates])) / spread
    return Covered(truth, float(values.mean()), spread / truth, ratio, held, len(values))


N_BLOCKS = 16


def cloud_of(sequences: np.ndarray) -> clouds.Cloud:
    """All points, in blocks of neighbouring sequences."""
    blocks = sequences * N_BLOCKS // (sequences.max() + 1)
    numbers = np.arange(len(sequences))
    members = np.stack([blocks != left_out for left_out in range(-1, N_BLOCKS)])
    return clouds.Cloud("one_per_type", numbers, members, sequences, numbers)


def d2_of(points: torch.Tensor, sequences: np.ndarray) -> Estimate:
    """d2 of points as a run reads it: blocks of neighbouring sequences left out, one and two at a time."""
    placed = place(points, cloud_of(sequences))
    scanned = scan_cloud(placed)
    return estimates_of_sets(placed.cloud, "d2", scanned.d2, without_two=scanned.without_two).estimate


def of_case(case: Case, n_draws: int) -> Covered:
    estimates = [d2_of(*clustered(case, seed)) for seed in range(n_draws)]
    return covered(estimates, population_d2(case.variances, case.far))


# --- other estimators, and ratios of two layers ------------------------------------------------------------------

OTHERS = (
    Case("50 equal variances", 32, 0.2),
    Case("100 variances 1/k", 32, 0.2),
    Case("100 variances 1/k", 16, 0.36),
    Case("100 variances 1/k", 32, 0.36, unequal=True),
    Case("one of 50 holds half", 32, 0.36),
    Case("one of 50 holds half", 16, 0.36),
    Case("one of 50 holds half", 32, 0.36, unequal=True),
    Case("one of 50 holds half", 16, 0.1, own=0.5),
)
STRETCHED = 7.0
"""How much longer the first coordinate is at the second layer, of which the first one is compared."""


def layer_of(points: torch.Tensor, sequences: np.ndarray, neighbours: bool = True) -> dict[str, CloudEstimate]:
    """Estimates of one layer as a run reads them, by name."""
    placed = place(points, cloud_of(sequences))
    found: list[CloudEstimate] = []
    if neighbours:
        scanned, distinct = scan_with_neighbours(placed)
        of = [torch.from_numpy(sequences)]
        readings = differing_readings(scanned.table, distinct, of, "between", [GRIDE_READ_AT], with_mle=True)
        found += estimates_of_readings(placed, distinct, readings)
    else:
        scanned = scan_cloud(placed, ratio=True)
    found.append(estimates_of_sets(placed.cloud, "d2", scanned.d2, without_two=scanned.without_two))
    return {e.estimator: e for e in [*found, *second_order_estimates(placed, scanned)]}


def _fall(upper: CloudEstimate, lower: CloudEstimate) -> tuple[float, float, float]:
    """What a claim says of the ratio of one layer to the next: its logarithm and its limits."""
    read = [upper, upper, lower]
    blocks = np.stack([scale_to_interval(np.log(e.blocks), e.estimate) for e in read])
    found = evaluate_claim(LogProfile(np.log([e.estimate.value for e in read]), blocks, np.empty((3, 0, 2))), "fall")
    return found.ratio, found.lower, found.upper


def of_others(case: Case, n_draws: int) -> dict[str, tuple[float, float]]:
    """Share of intervals that hold the truth, and mean error over the true spread, by quantity.

    The truth of a neighbour estimate, which depends on the number of points, is its own mean.
    """
    stretched = case.variances.astype(float)
    stretched[0] *= STRETCHED**2
    truths = {"participation_ratio": [v.sum() ** 2 / (v**2).sum() for v in (case.variances, stretched)]}
    truths["d2"] = [population_d2(v) for v in (case.variances, stretched)]
    readings: dict[str, list[tuple[float, float, float, float]]] = {}
    for seed in range(n_draws):
        points, sequences = clustered(case, seed)
        layer = layer_of(points, sequences)
        points[:, 0] *= STRETCHED
        other = layer_of(points, sequences, neighbours=False)
        for name, found in layer.items():
            e = found.estimate
            if name in ("participation_ratio", "gride_between", "mle_between"):
                readings.setdefault(name, []).append((e.value, e.lower, e.upper, e.std_error))
        for name in truths:
            value, lower, upper = _fall(layer[name], other[name])
            quantile = LogProfile(np.empty(0), np.empty((0, N_BLOCKS)), np.empty(0)).quantile
            error = (upper - lower) / 2 / quantile * math.exp(value)
            readings.setdefault(f"ratio of {name}", []).append((*map(math.exp, (value, lower, upper)), error))
    result = {}
    for name, rows in readings.items():
        values, lowers, uppers, errors = np.array(rows).T
        of = name.removeprefix("ratio of ")
        truth = float(values.mean()) if of not in truths else truths[of][0] / (truths[of][1] if of != name else 1)
        held = float(np.mean((lowers <= truth) & (truth <= uppers)))
        result[name] = held, float(np.mean(errors / values) / np.log(values).std(ddof=1))
    return result


def table_of_others(cases: Sequence[Case], n_draws: int) -> str:
    torch.set_num_threads(1)
    rows, names = [], []
    for case in cases:
        found = of_others(case, n_draws)
        names = list(found)
        cells = [f"{100 * held:.1f} % ({ratio:.2f})" for held, ratio in found.values()]
        rows.append([case.name, str(case.n_sequences), f"{case.share:.2f}", *cells])
    return table(["cloud", "sequences", "share", *names], rows)


def verdict_of_others(lines: str) -> str:
    """How many cells lie where they should, and which do not."""
    head, *rows = rows_of(lines)
    found = [
        (float(cell.split()[0]), f"{name}, {row[0]}, {row[1]} sequences")
        for row in rows
        for name, cell in zip(head[3:], row[3:], strict=True)
    ]
    outside = [f"{held:.1f} % ({where})" for held, where in found if not 92.5 <= held <= 97.5]
    told = f" The others: {'; '.join(outside)}." if outside else ""
    return f"{len(found) - len(outside)} of {len(found)} cells lie between 92.5 and 97.5 %.{told}"


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
    plan = CloudPlan(draws, [], [], half_splits(n_sequences, 2, 0), blocks=tokens.blocks)
    return measure_draws(states, plan, draws)[3].estimate


def of_reports(n_sequences: int, spectrum: str, share: float, n_draws: int) -> Covered:
    """Of estimates as a run reports them."""
    variances = SPECTRA[spectrum]
    estimates = [reported_d2(*tokens_of_sequences(n_sequences, variances, share, seed)) for seed in range(n_draws)]
    return covered(estimates, population_d2(variances))


def table_of_reports(n_draws: int) -> str:
    torch.set_num_threads(1)
    rows = [
        [spectrum, str(n), f"{share:.2f}", *of_reports(n, spectrum, share, n_draws).cells]
        for spectrum, n in (("50 equal variances", 32), *(("100 variances 1/k", n) for n in (16, 32, 64)))
        for share in SHARES[1:]
    ]
    return table(["cloud", "sequences", "share", *HEAD], rows)


def table_of_clouds(cases: Sequence[Case], n_draws: int, only: str = "") -> str:
    torch.set_num_threads(1)  # small products: a second thread only waits
    rows = [
        [case.name, str(case.n_sequences), f"{case.share:.2f}", *of_case(case, n_draws).cells]
        for case in cases
        if only in f"{case.name}, {case.n_sequences} sequences"
    ]
    return table(["cloud", "sequences", "share", *HEAD], rows)


def verdict(lines: str) -> str:
    """What a coverage table shows, whichever way it went."""
    cells = rows_of(lines)[1:]
    held = [float(c[-1].split()[0]) for c in cells]
    ratio = [float(c[-2]) for c in cells]
    bias = [float(c[-4].split()[0]) for c in cells]
    inside = sum(92.5 <= h <= 97.5 for h in held)
    lying = f"All {len(held)} lines lie" if inside == len(held) else f"{inside} of the {len(held)} lines lie"
    return (
        f"{lying} between 92.5 and 97.5 %: the lowest is {min(held):.1f} %, the highest {max(held):.1f} %. Errors are "
        f"{min(ratio):.2f} to {max(ratio):.2f} times the true spread, biases {min(bias):+.1f} to {max(bias):+.1f} %."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--only", default="", help="lines whose cloud and number of sequences hold these words")
    parser.add_argument("--case", type=int, help="with --others: this line alone")
    parser.add_argument("--others", action="store_true", help="other estimators, and ratios of two layers")
    options = parser.parse_args()
    if options.others:
        chosen = OTHERS if options.case is None else OTHERS[options.case : options.case + 1]
        print(table_of_others(chosen, options.draws))
        return
    lines = table_of_clouds((*ORDINARY, *HARD), options.draws, options.only)
    print(lines, verdict(lines), sep="\n\n")


if __name__ == "__main__":
    main()
