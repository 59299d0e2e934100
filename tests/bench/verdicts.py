"""`python -m tests.bench.verdicts [--draws N] [--refresh]`: how often a claim is wrongly said to hold or to hold mostly, and
whether intervals hold the truth where windows are near copies or few; `--refresh` writes it into docs/accuracy.

Of verdicts: eight methods, nine layers, 16 blocks; half of the variance of a layer's errors is common to all methods; a control is
exceeded. Wrong is *holds* where one method does not exceed 1.1, and *mostly holds* where one does not exceed 1 or two not 1.1.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from core.analysis import claims
from core.analysis.claims import LogProfile, claim_rows
from core.geometry import clouds
from core.geometry.clouds import estimates_of_sets, place
from core.geometry.second_order import scan_cloud
from core.records import Estimate
from core.registry.protocols import SPECIFICATIONS
from core.tables import RunControlRow
from core.texts.windows import blocks_of_passages
from tests.bench.coverage import N_BLOCKS, SPECTRA, Covered, covered, keep, population_d2, table

CORE = [specification for specification in SPECIFICATIONS if specification.is_core]
N_LAYERS = 9
INNER = (1.3, 1.5, 1.6, 1.5, 1.4, 1.3, 1.2)
"""A rise that is there: inner layers over layer 0. The methods that it is not true of read 1 or 1.1 at every layer."""
EXCEEDED = RunControlRow("run", "control", "rise", 1.5, 1.2, 2.0, 0.9, "exceeded")
TOLD = ("holds", "mostly_holds", "depends", "unclear")


def logs_of(inner: Sequence[float], generator: np.random.Generator, noise: float, shared: np.ndarray) -> LogProfile:
    """A log profile with errors of its own at each layer, and `shared` ones (n_layers, n_blocks) of all methods."""
    truth = np.log([1.0, *inner, 0.8])
    errors = generator.normal(0, noise * np.sqrt(N_BLOCKS), (N_LAYERS, N_BLOCKS)) + shared
    without = (errors.sum(1, keepdims=True) - errors) / (N_BLOCKS - 1)
    return LogProfile(truth + errors.mean(1), truth[:, None] + without, np.empty((N_LAYERS, 0, 2)))


def words_of(others: Sequence[float], noise: float, n_draws: int) -> tuple[Counter[str], float]:
    """Verdicts where these methods read a ratio of their own at every inner layer; and how often joint p is at most .05."""
    words: Counter[str] = Counter()
    small = 0
    for seed in range(n_draws):
        generator = np.random.default_rng([seed, len(others), round(1000 * noise)])
        shared = generator.normal(0, noise * np.sqrt(N_BLOCKS), (N_LAYERS, N_BLOCKS))
        inner = [INNER] * (len(CORE) - len(others)) + [[ratio] * len(INNER) for ratio in others]
        read = [(at, logs_of(one, generator, noise, shared)) for at, one in zip(CORE, inner, strict=True)]
        words[claims.decide_verdict(list(claim_rows("run", 0, "rise", read)), [EXCEEDED], is_vetoed=False).word] += 1
        small += claims.joint_test("rise", [logs for _, logs in read])[0] <= 0.05
    return words, small / n_draws


CASES = (
    ("all rise", ()),
    ("one reads 1.15", (1.15,)),
    ("one reads 1.1", (1.1,)),
    ("one reads 1", (1.0,)),
    ("two read 1.1", (1.1, 1.1)),
    ("one reads 1, one 1.1", (1.0, 1.1)),
    ("all read 1.1", (1.1,) * len(CORE)),
)


def table_of_words(n_draws: int) -> str:
    rows = []
    for name, others in CASES:
        for noise in (0.02, 0.05):
            words, joint = words_of(others, noise, n_draws)
            shares = [f"{100 * words[word] / n_draws:.1f} %" for word in TOLD]
            rows.append([name, f"{100 * noise:.0f} %", *shares, f"{100 * joint:.1f} %"])
    return table(["methods", "error", "holds", "mostly holds", "depends", "unclear", "joint p at most .05"], rows)


def d2_of(points: torch.Tensor, sequences: np.ndarray, passages: np.ndarray) -> Estimate:
    """d2 where sequences count as one passage with those that they copy."""
    blocks = blocks_of_passages(np.arange(len(passages)), passages, N_BLOCKS)
    numbers = np.arange(len(sequences))
    members = np.stack([blocks[sequences] != left_out for left_out in range(-1, blocks.max() + 1)])
    placed = place(points, clouds.Cloud("one_per_type", numbers, members, passages[sequences], numbers))
    scanned = scan_cloud(placed)
    return estimates_of_sets(placed.cloud, "d2", scanned.d2, without_two=scanned.without_two).estimate


def of_copies(spectrum: str, share: float, n_sequences: int, copied: float, n_draws: int) -> tuple[Covered, Covered]:
    """Of intervals that take copies for passages of their own, and of those that count them as one. A copy has the common
    effect of its original, and tokens of its own."""
    variances, apart, grouped = SPECTRA[spectrum], [], []
    for seed in range(n_draws):
        generator = np.random.default_rng([seed, n_sequences, round(100 * share), round(100 * copied)])
        sequences = np.repeat(np.arange(n_sequences), 20)
        effects, passages = generator.normal(size=(n_sequences, len(variances))), np.arange(n_sequences)
        copies, originals = np.split(generator.permutation(n_sequences), [round(copied * n_sequences)])
        passages[copies] = generator.choice(originals, len(copies))
        noise = generator.normal(size=(len(sequences), len(variances)))
        values = np.sqrt(share) * effects[passages][sequences] + np.sqrt(1 - share) * noise
        points = torch.tensor(values * np.sqrt(variances), dtype=torch.float32)
        apart.append(d2_of(points, sequences, np.arange(n_sequences)))
        grouped.append(d2_of(points, sequences, passages))
    truth = population_d2(variances)
    return covered(apart, truth), covered(grouped, truth)


def table_of_copies(n_draws: int) -> str:
    torch.set_num_threads(1)
    rows = []
    for spectrum in ("50 equal variances", "100 variances 1/k"):
        for share in (0.2, 0.6):
            for n_sequences, copied in ((32, 0.25), (32, 0.5)):
                found = of_copies(spectrum, share, n_sequences, copied, n_draws)
                cells = [cell for one in found for cell in (one.cells[2], one.cells[-1])]
                rows.append([spectrum, str(n_sequences), f"{share:.1f}", f"{100 * copied:.0f} %", *cells])
    head = ["cloud", "sequences", "share", "copies", "bias, apart", "hold the truth, apart", "bias", "hold the truth"]
    return table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--refresh", action="store_true")
    options = parser.parse_args()
    for name, lines in (("verdicts", table_of_words(options.draws)), ("near_copies", table_of_copies(options.draws))):
        (keep if options.refresh else print)(name, lines)


if __name__ == "__main__":
    main()
