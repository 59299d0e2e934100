"""Checks of whether a run's results can be trusted, computed from the run itself: pass, warn or veto."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from core.geometry import clouds, second_order
from core.geometry.layer import CloudPlan
from core.geometry.results import LayerResult, jackknife_error
from core.geometry.stability import Dependence, Shift, dependence, sequence_pairs
from core.measure.capture import HiddenStates
from core.measure.plan import TokenMask, token_order
from core.measure.rows import Measurement
from core.records import Profile
from core.registry.checks import CHECKS
from core.registry.protocols import Protocol
from core.tables import RunCheckRow
from core.texts.sample import TokenSample


def run_checks(m: Measurement) -> list[RunCheckRow]:
    """All checks of a run."""
    rows = [
        _judge(m.run_id, "norm_dropped_share", None, m.mask.norm_dropped_share),
        _judge(m.run_id, "unknown_token_share", None, m.sample.unknown_share),
        _judge(m.run_id, "tokens_per_character", None, m.sample.tokens_per_character),
    ]
    if m.n_points is not None:
        rows.append(RunCheckRow(m.run_id, "token_types", None, float(m.n_points), None, "pass"))
    if m.words_lost_share is not None:
        rows.append(_judge(m.run_id, "words_lost_share", None, m.words_lost_share))
    for layer, state, result in m.labelled:
        # Without context equal tokens have equal embeddings, so duplicates at layer 0 mean nothing.
        if state == "residual" and layer > 0 and math.isfinite(result.duplicate_share):
            rows.append(_judge(m.run_id, "duplicates", layer, result.duplicate_share))
    for layer, found in m.dependence.items():
        rows += _dependence_rows(m.run_id, layer, found)
    # For information: the effect of the norm rule on the value.
    rows += [
        RunCheckRow(m.run_id, "d2_without_norm_rule", at, _none_if_nan(v), None, "pass")
        for at, v in m.norm_rule.items()
    ]
    return rows


def check_second_draw(first: Profile, later: Profile) -> RunCheckRow | None:
    """Change of the largest inner d2 from the first draw of the text to a later one; None if one of them has none.

    Judged by its size, like other changes of d2, and not by its significance: a value that changes by a fifth between
    draws cannot be used to compare models, even if its error is as large. The error is stored beside it. Both values are
    taken at the layer that each run has chosen.
    """
    before, after = _inner_maximum(first), _inner_maximum(later)
    if before is None or after is None:
        return None
    return _judge(later.run.run_id, "second_draw", None, after[0] - before[0], math.hypot(before[1], after[1]))


def _inner_maximum(profile: Profile) -> tuple[float, float] | None:
    """Log of the largest inner dimension, and its standard error."""
    for row in profile.summaries:
        if row.cloud == "one_per_type" and row.inner_max and row.inner_max_layer is not None:
            at = (row.inner_max_layer, "residual", row.cloud, row.estimator, "centred")
            found = (
                r.blocks for r in profile.replicates if (r.layer, r.state, r.cloud, r.estimator, r.transform) == at
            )
            return math.log(row.inner_max), jackknife_error(np.log(next(found)))
    return None


def _dependence_rows(run_id: str, layer: int, dependence: Dependence) -> Iterator[RunCheckRow]:
    yield _judge_shift(run_id, "sequence_invariance", layer, dependence.d2)
    yield _judge_shift(run_id, "sequence_invariance_all_pairs", layer, dependence.d2_all_pairs)
    yield _judge(run_id, "sequence_share", layer, dependence.share)
    yield _judge_shift(run_id, "n_invariance", layer, dependence.points)
    # For information: shows why values are compared at equal N only.
    yield RunCheckRow(run_id, "vocabulary_shift", layer, dependence.vocabulary, None, "pass")


def _judge_shift(run_id: str, name: str, layer: int, shift: Shift) -> RunCheckRow:
    return _judge(run_id, name, layer, shift.value, shift.std_error)


def _judge(run_id: str, name: str, layer: int | None, value: float, std_error: float | None = None) -> RunCheckRow:
    check = CHECKS[name]
    # An undefined value does not pass.
    size = abs(value) if math.isfinite(value) else math.inf
    outcome = "veto" if size > check.veto else "warn" if size > check.warn else "pass"
    threshold = check.veto if outcome == "veto" else check.warn
    return RunCheckRow(run_id, name, layer, value if math.isfinite(value) else None, threshold, outcome, std_error)


def _none_if_nan(value: float) -> float | None:
    return value if math.isfinite(value) else None


def change_without_norm_rule(
    states: HiddenStates, sample: TokenSample, mask: TokenMask, plan: CloudPlan, layers: list[int], limit: int
) -> dict[int, float]:
    """Change of log d2 of the first draw at each layer if tokens of large norm (beyond position 0) were kept.

    Uses the same permutation of all tokens, so that a type keeps its token unless one of large norm comes first. At most
    `limit` types. Empty if the rule dropped nothing.
    """
    if not plan.draws or not mask.large.any():
        return {}
    keep = mask.keep | mask.large
    order = np.random.default_rng([plan.seed, 1, 0]).permutation(len(keep))
    order = order[keep[order]]
    ids = sample.ids.flatten()
    _, first = np.unique(ids[order], return_index=True)
    chosen = order[np.sort(first)[:limit]]
    sequences = torch.from_numpy(chosen // sample.ids.shape[1])
    rows = (np.cumsum(keep) - 1)[chosen]
    cloud = plan.draws[0]
    own = cloud.rows[cloud.members[0]]
    own_sequences = torch.from_numpy(cloud.sequences[cloud.members[0]])
    changes = {}
    for layer in layers:
        unruled = second_order.d2(states.points(layer, keep)[torch.from_numpy(rows)], sequences)[0]
        ruled = second_order.d2(states.points(layer, mask.keep)[torch.from_numpy(own)], own_sequences)[0]
        changes[layer] = float(np.log(unruled) - np.log(ruled))
    return changes


def check_dependence(
    states: HiddenStates, mask: TokenMask, plan: CloudPlan, layers: list[LayerResult], protocol: Protocol, seed: int
) -> dict[int, Dependence]:
    """Dependence on the number of sequences and points at the embedding, the peak of d2 and the final layer."""
    if not plan.draws:
        return {}
    order = token_order(mask, seed, 0)
    pairs = sequence_pairs(order, mask.types, mask.sequences, plan.halves[:4], protocol.max_types)
    half = plan.draws[0].n_points // 2
    tokens = clouds.Tokens(mask.types, mask.sequences, np.zeros(len(order), dtype=np.int64), 0)
    first_types = clouds.one_per_type(order, tokens, half).rows
    inner = [result.value("one_per_type", "d2") for result in layers[1 : states.n_layers]]
    peak = 1 + int(np.nanargmax(inner)) if any(map(math.isfinite, inner)) else 0
    return {
        layer: dependence(states.points(layer, mask.keep), mask.sequences, pairs, plan.draws[0], first_types, seed)
        for layer in sorted({0, peak, states.n_layers})
    }
