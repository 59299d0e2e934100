"""`python -m tests.ladder.dose_answer`: what the dosed runs say, by the rules of data/pilots/dose.md. With `--write` they become
data/reference/dose.parquet, which docs/evidence.md is built from: once all are there, as the answer is read once."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import polars as pl
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tests.ladder.__main__ import DATA
from tests.ladder.dose import DOSE, FREE, PLACEBO, RESULTS, TARGETS, Result, arms, is_known

PARQUET = DATA / "reference" / "dose.parquet"
MARGIN = 0.02
"""Bits per byte: a smaller effect is none."""
PLACEBO_MOVES, TARGET_MISSED = 0.10, 0.15
"""Largest relative change of d2 of a placebo beside the free run, and of a dose beside its target, for a pair to count."""
FEWEST = 8
"""Pairs that an answer needs."""
LEVEL = 0.05
LOWER, HIGHER, NONE, UNKNOWN = "lower loss", "higher loss", "no effect", "cannot tell"


@dataclass(frozen=True)
class Effect:
    """Dose less another arm, for one target, in bits per byte of held-out code, paired by seed."""

    target: int
    beside: str
    n: int
    left_out: tuple[int, ...]
    """Seeds whose placebo moved d2, whose dose missed its target, or of which a run has no finite loss."""
    effect: float
    lower: float
    upper: float
    """90 % interval (Student's t), which equivalence is read from."""
    p: float
    corrected_p: float
    word: str


def sign_flips(differences: Sequence[float]) -> float:
    """Two-sided p of a mean: all signs of the differences are as likely if there is no effect."""
    means = np.abs(_signs(len(differences)) @ np.asarray(differences, dtype=float))
    return float((means >= means[0] - 1e-12).mean())


@cache
def _signs(n: int) -> np.ndarray:
    """(2^n, n), the observed ones first."""
    return np.array(list(product((1.0, -1.0), repeat=n)))


def read(file: Path = RESULTS) -> pl.DataFrame:
    """The runs that are finished, a row each: `Result`'s fields as columns, by seed, arm and target."""
    kinds = {str: pl.String, int: pl.Int64, int | None: pl.Int64, float: pl.Float64}
    schema = {name: kinds[kind] for name, kind in get_type_hints(Result).items()}
    return pl.read_csv(file, schema=schema).sort("seed", "arm", "target")


def effects(rows: Sequence[Mapping[str, Any]], beside: str = PLACEBO) -> list[Effect]:
    """Of each primary target, beside the placebo or the free run of its seed, over the same seeds; rows as `read` gives
    them."""
    of = {(row["arm"], row["target"], row["seed"]): row for row in rows}
    paired = []
    for target in TARGETS:
        differences, left_out = [], []
        for seed in sorted({row["seed"] for row in rows}):
            keys = ((DOSE, target), (PLACEBO, target), (FREE, None))
            if any((*key, seed) not in of for key in keys):
                continue
            dose, placebo, free = (of[*key, seed] for key in keys)
            moved = abs(placebo["d2_layer"] / free["d2_layer"] - 1)
            missed = abs(dose["d2_layer"] / target - 1)
            bits = {one["arm"]: one["bits_per_byte"] for one in (dose, placebo, free)}
            if moved <= PLACEBO_MOVES and missed <= TARGET_MISSED and all(map(math.isfinite, bits.values())):
                differences.append(bits[DOSE] - bits[beside])
            else:  # also where one of them is no number
                left_out.append(seed)
        paired.append((target, differences, tuple(left_out)))
    p_values = [sign_flips(values) if len(values) >= 2 else 1.0 for _, values, _ in paired]
    corrected = multipletests(p_values, method="holm")[1]
    return [
        _effect(target, beside, values, left_out, p, float(p_corrected))
        for (target, values, left_out), p, p_corrected in zip(paired, p_values, corrected, strict=True)
    ]


def _effect(
    target: int, beside: str, values: Sequence[float], left_out: tuple[int, ...], p: float, corrected: float
) -> Effect:
    n = len(values)
    if n < 2:
        return Effect(target, beside, n, left_out, *[float("nan")] * 3, p, corrected, UNKNOWN)
    effect, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(n))
    reach = float(stats.t.ppf(0.95, n - 1)) * error
    lower, upper = effect - reach, effect + reach
    word = UNKNOWN
    if n >= FEWEST and lower > -MARGIN and upper < MARGIN:
        word = NONE
    elif n >= FEWEST and corrected <= LEVEL:
        word = LOWER if effect < 0 else HIGHER
    return Effect(target, beside, n, left_out, effect, lower, upper, p, corrected, word)


def words(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of each primary target, what stands beside the placebo as well as beside the free run."""
    both = zip(effects(rows), effects(rows, FREE), strict=True)
    return [one.word if one.word == other.word else UNKNOWN for one, other in both]


def answer(rows: Sequence[Mapping[str, Any]]) -> str:
    """One word for both targets, the one below what the base recipe reads and the one above."""
    low, high = words(rows)
    if (low, high) == (HIGHER, HIGHER):
        return "a middle is best"
    if (low, high) == (NONE, NONE):
        return "neither"
    if low == LOWER and high in (HIGHER, NONE):
        return "smaller is better"
    if high == LOWER and low in (HIGHER, NONE):
        return "larger is better"
    return UNKNOWN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="data/reference/dose.parquet")
    options = parser.parse_args()
    missing = sum(not is_known(arm) for arm in arms())
    if missing:
        print(f"Not finished: {missing} of {len(list(arms()))} runs are missing. What follows is no answer yet.")
    found = read()
    rows = found.to_dicts()
    for one in (*effects(rows), *effects(rows, FREE)):
        print(
            f"d* = {one.target} beside {one.beside}: {one.effect:+.4f} bits per byte [{one.lower:+.4f}, {one.upper:+.4f}], n = {one.n}, "
            f"p = {one.p:.4f}, Holm {one.corrected_p:.4f}: {one.word}; left out: {one.left_out or 'none'}"
        )
    print(answer(rows))
    if options.write and missing:
        parser.error("nothing is written before all runs are there.")
    if options.write:
        found.write_parquet(PARQUET)


if __name__ == "__main__":
    main()
