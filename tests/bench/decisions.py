"""The thresholds behind the verdicts, read from the code that applies them."""

from __future__ import annotations

import math

from core.analysis import claims, intervals, ranking, relation, resampling, shape, units
from core.geometry import correlators, neighbours
from core.registry import estimators
from core.registry.checks import CHECKS, Check
from core.registry.protocols import PROTOCOLS, SPECIFICATIONS, Protocol
from core.texts import sample


def decisions() -> list[tuple[str, str]]:
    """Every threshold as the code has it, after the part that it belongs to."""
    return [(part, item) for part, items in _groups().items() for item in items]


def _groups() -> dict[str, list[str]]:
    return {
        "checks of a run: warn above, veto above (core/registry/checks.py)": [
            *[_check(check) for check in CHECKS.values() if check.is_judged],
            "dependence on sequences and points is judged at the embedding, at the layer of the largest d2 and at the "
            "last one, on token types; the verdict on words rests on the same checks",
            "d2 is unbiased in the number of points by construction: n_invariance guards that and says nothing about "
            "the text. What moves with N is the choice of types: vocabulary_shift tells it, and nothing is judged by "
            "it",
        ],
        "shape (core/analysis/shape.py, ranking.py)": [
            f"a rise or fall counts from {_percent(claims.MARGIN)} on, under limits that hold for all inner layers at "
            f"once; a peak or valley too, under limits that hold for all pairs of layers",
            f"a cloud below {100 * shape.FEW_TYPES:.0f} % of its protocol's size says that it has few types",
            f"models are compared where their clouds differ in size by at most {100 * ranking.N_TOLERANCE:.0f} %",
            f"a text that gives fewer than {sample.MIN_TYPES} token types is not measured",
        ],
        "claims and controls (core/analysis/claims.py, core/registry/protocols.py)": [
            f"core specifications: {'; '.join(' / '.join(map(str, at.key)) for at in SPECIFICATIONS if at.is_core)}",
            f"a control says something where it would have shown the text's ratio with a probability of {claims.POWER:g}",
            "errors of ratios and of the largest inner dimension are those of the layers' blocks, spread as widely as the "
            "intervals of the layers; an error from the linearised estimate is not computed beside them",
        ],
        "relations and ranks (core/analysis/relation.py, intervals.py)": [
            f"related: two-sided permutation p of Spearman's rho at most {claims.LEVEL:g}, from {units.FEWEST_TEST} models on; "
            "a hint: the same where nobody registered it, with p corrected for all that can be looked at and no 0 in the interval of rho; "
            f"below {units.FEWEST_EXPLORATORY} no coefficient, below {units.FEWEST_TEST} exploratory",
            f"not related: 90 % interval of rho within {relation.MARGIN:g}, which unrelated models reach in 80 % from "
            f"{relation.fewest_for_unrelated()} on",
            f"every order up to {resampling.LARGEST_EXACT} models, {resampling.N_PERMUTATIONS:,} random ones beyond; {resampling.N_BOOTSTRAP:,} "
            f"bootstrap samples of models; closed forms above {resampling.LARGEST_RESAMPLED} models",
            f"models of one size stratum have at least 1/{relation.SIZE_FACTOR:g} of the parameters of its largest",
            f"ranks at {100 * (1 - claims.LEVEL):.0f} % for all models at once; signs of blocks flipped up to {intervals.MAX_SIGN_FLIP_UNITS} models, "
            f"Bonferroni's t beyond",
        ],
        "estimators (core/geometry/neighbours.py, correlators.py)": [
            f"GRIDE at n1 = {', '.join(map(str, neighbours.GRIDE_SCALES))} with n2 = 2 n1, up to an eighth of the points, "
            f"read at n1 = {neighbours.GRIDE_READ_AT}; flat where two successive doublings change log d by less than "
            f"{estimators.PLATEAU}",
            f"MLE at {neighbours.MLE_NEIGHBOURS} neighbours; censored and linear TwoNN without the largest "
            f"{100 * neighbours.DISCARDED:.0f} % of ratios",
            f"local d2 at {' and '.join(map(str, correlators.KS))} neighbours of all points; at "
            f"{', '.join(map(str, correlators.WIDE_KS))} of {correlators.WIDE_CENTRES} points, up to half of N",
        ],
        "protocols (core/registry/protocols.py)": [_protocol(p) for p in PROTOCOLS.values()],
    }


def _check(check: Check) -> str:
    warn, veto = (_percent(limit) if check.is_log_change else f"{limit:g}" for limit in (check.warn, check.veto))
    above = f"{warn}, {veto}" if math.isfinite(check.veto) else f"{warn}, never vetoed"
    return f"{check.key}, {check.formula}: {above}"


def _protocol(p: Protocol) -> str:
    core = f"; {' and '.join(p.core_only)} for verdicts alone, no local d2 beyond 50 neighbours" if p.core_only else ""
    passes = f"; control passes {', '.join(p.passes)}" if p.passes else ""
    return (
        f"{p.name}: {p.n_sequences} windows of {p.n_tokens} tokens; at most {p.max_types} types and {p.max_tokens} "
        f"tokens; tokens above {p.norm_factor:g} times the median norm left out; d2 over {p.n_draws} draws; "
        f"{p.n_blocks} blocks; {p.n_half_splits} half-splits{core}{passes}"
    )


def _percent(log_change: float) -> str:
    return f"{100 * math.expm1(log_change):.0f} %"
