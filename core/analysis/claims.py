"""Two claims about a profile, tested under every declared specification.

`rise`: the largest inner dimension exceeds that at layer 0. `fall`: it exceeds that after the last block. Each claim
has one result per specification (`evaluate_claim`). All tests work on logarithms, with the delete-one-block jackknife.

The layer of the maximum is chosen on the data, so the limits are simultaneous over layers: their critical value is that
of the largest studentised deviation over layers under random sign flips of the blocks' pseudo-values, studentised again
in each flip. With 16 blocks this covers; a multivariate t from the joint covariance of so few blocks does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special

from core.records import Estimate, Profile
from core.registry.protocols import REFERENCE, SPECIFICATIONS, Specification
from core.tables import LayerEstimateRow, LayerReplicateRow, RunClaimRow

MARGIN = math.log(1.1)
"""A rise or fall of less than 10 percent does not count as one."""
LEVEL = 0.05
N_FLIPS = 4096
END = {"rise": 0, "fall": -1}
"""The layer that a claim holds the largest inner dimension against."""
FEWEST_BLOCKS = 6
"""Fewer blocks have too few sign patterns for 95 percent limits."""


@dataclass(frozen=True)
class LogProfile:
    """The logarithm of a dimension at every layer: on all data, without each block, and on each half."""

    whole: np.ndarray
    """(n_states,)"""
    blocks: np.ndarray
    """(n_states, n_blocks)"""
    halves: np.ndarray
    """(n_states, n_splits, 2); n_splits is 0 where the run has no half-splits."""

    @property
    def quantile(self) -> float:
        return float(special.stdtrit(self.blocks.shape[1] - 1, 1 - LEVEL / 2))

    @property
    def peak(self) -> int:
        """The inner layer of the largest dimension."""
        return 1 + int(np.argmax(self.whole[1:-1]))


def jackknife_error(without: np.ndarray) -> np.ndarray:
    """Delete-one-block error of statistics (..., n_blocks): (...)."""
    return np.asarray(np.sqrt((without.shape[-1] - 1) * without.var(axis=-1)))


def log_profile(profile: Profile, specification: Specification, state: str = "residual") -> LogProfile | None:
    """None where a layer is missing or has an undefined value, and with too few blocks."""
    n_states = profile.model.n_layers + 1 if state == "residual" else 1

    def is_selected(row: LayerEstimateRow | LayerReplicateRow) -> bool:
        return (row.cloud, row.transform, row.estimator, row.n1) == specification.key and row.state == state

    estimates = {r.layer: r for r in profile.estimates if is_selected(r)}
    rows = sorted((r for r in profile.replicates if is_selected(r) and r.layer in estimates), key=lambda r: r.layer)
    values = np.array([estimates[row.layer].value or math.nan for row in rows], dtype=float)
    if len(rows) != n_states or not (values > 0).all():
        return None
    blocks = np.array([row.blocks for row in rows], dtype=float)
    halves = np.array([row.halves for row in rows], dtype=float).reshape(n_states, -1, 2)
    if blocks.ndim != 2 or blocks.shape[1] < FEWEST_BLOCKS or not ((blocks > 0).all() and (halves > 0).all()):
        return None
    log_blocks = [scale_to_interval(logs, estimates[row.layer]) for logs, row in zip(np.log(blocks), rows, strict=True)]
    return LogProfile(np.log(values), np.stack(log_blocks), np.log(halves))


def scale_to_interval(blocks: np.ndarray, estimate: LayerEstimateRow | Estimate) -> np.ndarray:
    """Log values without each block (n_blocks,), rescaled so that Student's interval from them equals the estimate's.

    The estimate's interval corrects known errors of the jackknife (docs/accuracy.md): interactions of blocks are
    counted more than once, and samples that read too high get too small an error. Ratios of layers inherit the correction.
    """
    error = float(jackknife_error(blocks))
    if not estimate.value or not estimate.upper or not estimate.upper > estimate.value or not error:
        return blocks
    half_width = math.log(estimate.upper / estimate.value) / float(special.stdtrit(len(blocks) - 1, 1 - LEVEL / 2))
    return blocks.mean() + (blocks - blocks.mean()) * (half_width / error)


# --- limits that hold for all layers at once -------------------------------------------------------------------


@dataclass(frozen=True)
class SimultaneousLimits:
    """Statistics of several layers with simultaneous 95 percent limits."""

    values: np.ndarray
    """(n,)"""
    errors: np.ndarray
    """(n,) standard errors"""
    largest: np.ndarray
    """(n_flips,) the largest studentised deviation over layers under each sign flip of the blocks; ascending."""

    @property
    def critical(self) -> float:
        """Standard errors from a value to its limit: `largest` exceeds it with probability `LEVEL`."""
        return float(np.quantile(self.largest, 1 - LEVEL, method="higher"))

    @property
    def lower(self) -> np.ndarray:
        return self.values - self.critical * self.errors

    @property
    def upper(self) -> np.ndarray:
        return self.values + self.critical * self.errors

    def p_value(self, studentised: float) -> float:
        """Two-sided p of a studentised deviation as large as this at any layer."""
        return (1 + float((self.largest >= studentised).sum())) / (1 + len(self.largest))


def simultaneous_limits(values: np.ndarray, blocks: np.ndarray) -> SimultaneousLimits:
    """Limits from values (n,) and the same values without each block (n, n_blocks)."""
    b = blocks.shape[1]
    unit, errors = _unit_deviations(blocks)
    largest = np.zeros(N_FLIPS)
    flips = _sign_flips(b)
    for part in np.array_split(unit, max(1, math.ceil(len(unit) / 64))):  # bounds memory for pairs of many layers
        means = flips @ part.T / b  # (n_flips, n)
        largest = np.maximum(largest, np.abs(means, out=means).max(1, initial=0))
    # Of flipped values with mean square 1, the studentised mean grows with the mean: the largest mean has the largest.
    return SimultaneousLimits(values, errors, np.sort(_studentised(largest, b)))


def flipped_deviations(blocks: np.ndarray) -> np.ndarray:
    """Deviations of values (n,) under each sign flip of the blocks, the same for all of them; (n_flips, n)."""
    unit, errors = _unit_deviations(blocks)
    return np.asarray(errors * _studentised(_sign_flips(blocks.shape[1]) @ unit.T / blocks.shape[1], blocks.shape[1]))


def _unit_deviations(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Deviations of the pseudo-values with mean square 1, (n, n_blocks), and the standard errors of their means, (n,)."""
    b = blocks.shape[1]
    pseudo = (1 - b) * (blocks - blocks.mean(1, keepdims=True))
    scale = np.sqrt((pseudo**2).mean(1))
    unit = np.divide(pseudo, scale[:, None], out=np.zeros_like(pseudo), where=scale[:, None] > 0)
    return unit, scale / math.sqrt(b - 1)


def _studentised(means: np.ndarray, n_blocks: int) -> np.ndarray:
    """Means of flipped values with mean square 1, over their standard errors."""
    return np.asarray(means / np.sqrt(np.maximum(1 - means**2, 1e-12) / (n_blocks - 1)))


@cache
def _sign_flips(n_blocks: int) -> np.ndarray:
    return np.random.default_rng(n_blocks).integers(0, 2, (N_FLIPS, n_blocks)) * 2.0 - 1


# --- one claim under one specification -------------------------------------------------------------------------


@dataclass(frozen=True)
class ClaimResult:
    """One claim under one specification: the log ratio of the largest inner dimension to that at one end, and p-values."""

    ratio: float
    lower: float
    upper: float
    layer: int
    """The layer of the largest inner dimension."""
    p_yes: float
    p_no: float
    p_opposite: float

    @property
    def outcome(self) -> str:
        return self.outcome_at(LEVEL)

    def outcome_at(self, level: float) -> str:
        """`yes`: above 1.1; `opposite`: below 1/1.1; `no`: not above 1.1; else `cannot_tell`."""
        if self.p_yes <= level:
            return "yes"
        if self.p_opposite <= level:
            return "opposite"
        return "no" if self.p_no <= level else "cannot_tell"


def log_ratio_to_end(logs: LogProfile, claim: str) -> tuple[np.ndarray, np.ndarray]:
    """Log ratio of each inner layer to the end of the claim: (L-1,), and without each block (L-1, B)."""
    end = END[claim]
    return logs.whole[1:-1] - logs.whole[end], logs.blocks[1:-1] - logs.blocks[end]


def evaluate_claim(logs: LogProfile, claim: str) -> ClaimResult:
    """Test a claim on the log profile of one specification; needs at least one inner layer."""
    limits = simultaneous_limits(*log_ratio_to_end(logs, claim))
    errors = np.maximum(limits.errors, 1e-12)

    def p_above(limit: float) -> float:
        """p of the null hypothesis that no layer exceeds the limit."""
        return limits.p_value(float(((limits.values - limit) / errors).max()))

    def p_below(limit: float) -> float:
        """p of the null hypothesis that some layer reaches the limit."""
        return limits.p_value(float(((limit - limits.values) / errors).min()))

    return ClaimResult(
        float(limits.values.max()),
        float(limits.lower.max()),
        float(limits.upper.max()),
        1 + int(np.argmax(limits.values)),
        p_above(MARGIN),
        p_below(MARGIN),
        p_below(-MARGIN),
    )


def holm_outcomes(results: Sequence[ClaimResult | None]) -> list[str]:
    """Outcomes with the family-wise error rate controlled over all results (Holm 1979); a missing result cannot tell."""
    p_values = [min(c.p_yes, c.p_no, c.p_opposite) if c else 1.0 for c in results]
    outcomes = ["cannot_tell"] * len(results)
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        level = LEVEL / (len(results) - rank)
        result = results[index]
        if result is None or p_values[index] > level:
            break
        outcomes[index] = result.outcome_at(level)
    return outcomes


def read_specifications(profile: Profile) -> list[tuple[Specification, LogProfile | None]]:
    """The log profile under every declared specification, None where it was not measured.

    Empty without inner layers, and for a protocol without the cloud of the reference specification.
    """
    if profile.model.n_layers < 2 or all(row.cloud != REFERENCE.cloud for row in profile.estimates):
        return []
    return [(specification, log_profile(profile, specification)) for specification in SPECIFICATIONS]


def claim_rows(
    run_id: str, seed: int, claim: str, log_profiles: Sequence[tuple[Specification, LogProfile | None]]
) -> Iterable[RunClaimRow]:
    """The rows of one claim, from the log profile under each specification (None where it was not measured)."""
    results = [(specification, evaluate_claim(logs, claim) if logs else None) for specification, logs in log_profiles]
    corrected = iter(holm_outcomes([result for specification, result in results if specification.is_core]))
    for specification, result in results:
        outcome_holm = next(corrected) if specification.is_core else None
        if result or specification.is_core:
            yield RunClaimRow(
                run_id=run_id,
                claim=claim,
                cloud=specification.cloud,
                estimator=specification.estimator,
                transform=specification.transform,
                n1=specification.n1,
                n2=specification.n2,
                seed=seed,
                is_core=specification.is_core,
                ratio=math.exp(result.ratio) if result else None,
                lower=math.exp(result.lower) if result else None,
                upper=math.exp(result.upper) if result else None,
                outcome=result.outcome if result else "cannot_tell",
                outcome_holm=outcome_holm,
                layer=result.layer if result else None,
            )
