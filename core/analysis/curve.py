"""A claim under all its core specifications at once: how many say yes, their median, and one joint test.

The specifications read the same text, so their results are no independent witnesses: the test flips the signs of whole
blocks of text in all of them together, and the effective number says how many witnesses they amount to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from core.analysis.claims import MARGIN, LogProfile, flipped_deviations, log_ratio_to_end
from core.tables import RunClaimRow


@dataclass(frozen=True)
class ClaimCounts:
    """What the core specifications of a run say of one claim; a column `{field}_{claim}` of run_summaries each."""

    methods: int
    """Core specifications that have a result."""
    yes: int
    no: int
    """Surely not above 1.1, nor the other way round."""
    reversed: int
    """Below 1/1.1."""
    median_ratio: float | None = None
    joint_p: float | None = None
    """One-sided p of the median over specifications; None without blocks."""
    effective_methods: float | None = None

    @classmethod
    def of(cls, run: Mapping[str, Any], claim: str) -> ClaimCounts | None:
        """From a row of run_summaries or `queries.runs`; None where nothing was counted."""
        found: dict[str, Any] = {name: run.get(f"{name}_{claim}") for name in cls.__dataclass_fields__}
        return cls(**found) if found["methods"] else None

    def columns(self, claim: str) -> dict[str, Any]:
        return {f"{name}_{claim}": value for name, value in asdict(self).items()}


def count_claim(rows: Iterable[RunClaimRow], claim: str, logs: Sequence[LogProfile]) -> ClaimCounts:
    """The counts of a claim from its rows, and the joint test from the log profiles of the core that have blocks."""
    core = [row for row in rows if row.claim == claim and row.is_core and row.ratio is not None]
    outcomes = [row.outcome for row in core]
    middle = median(row.ratio for row in core if row.ratio is not None) if core else None
    p, effective = joint_test(claim, logs) if len(logs) > 1 else (None, None)
    yes, no, reverse = (outcomes.count(one) for one in ("yes", "no", "opposite"))
    return ClaimCounts(len(core), yes, no, reverse, middle, p, effective)


def joint_test(claim: str, logs: Sequence[LogProfile]) -> tuple[float, float]:
    """One-sided p that the median ratio over specifications exceeds 1.1, and their effective number.

    The statistic is the median over specifications of the largest log ratio over layers (specification curve; Simonsohn,
    Simmons and Nelson 2020). Under the null hypothesis every layer of every specification stands at 1.1; the signs of the
    blocks' pseudo-values are flipped together in all of them, so that what they share stays shared.

    The effective number is S over the largest eigenvalue of the correlations (S x S) of their log ratios over all layers
    and blocks: 1 if all curves are one curve up to its scale, S if they have nothing in common.
    """
    ratios, nulls, curves = [], [], []
    for one in logs:
        values, blocks = log_ratio_to_end(one, claim)
        ratios.append(float(values.max()))
        nulls.append(flipped_deviations(blocks).max(1))
        curves.append(blocks.ravel())
    null = np.median(nulls, axis=0)  # (n_flips,)
    p = (1 + float((null >= median(ratios) - MARGIN).sum())) / (1 + len(null))
    correlations = np.nan_to_num(np.corrcoef(np.stack(curves)))
    return p, len(logs) / float(np.linalg.eigvalsh(correlations)[-1])


def is_small(row: RunClaimRow) -> bool:
    """Whether a ratio exceeds one beyond its error, and reaches 1.1 without surely exceeding it: too small to count."""
    limits = row.lower, row.upper
    return row.outcome == "cannot_tell" and None not in limits and 1 < (row.lower or 0) <= math.exp(MARGIN)
