"""Checks of whether a run's results can be trusted, computed from the run itself: pass, warn or veto."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from core.geometry import clouds, second_order
from core.geometry.layer import CloudPlan
from core.geometry.results import LayerResult, jackknife_error, none_if_nan
from core.geometry.stability import Dependence, SequencePair, Shift, dependence, sequence_pairs
from core.measure.capture import HiddenStates
from core.measure.plan import TokenMask, token_order
from core.measure.rows import Measurement, peak_layer
from core.records import Profile
from core.registry.checks import CHECKS
from core.registry.protocols import Protocol
from core.tables import RunCheckRow
from core.texts.sample import TokenSample


def run_checks(measurement: Measurement) -> list[RunCheckRow]:
    """All checks of a run."""
    rows = [
        _judge(measurement.run_id, "norm_dropped_share", None, measurement.mask.norm_dropped_share),
        _judge(measurement.run_id, "unknown_token_share", None, measurement.sample.unknown_share),
        _judge(measurement.run_id, "near_copies", None, measurement.sample.copied_share),
        _judge(measurement.run_id, "tokens_per_character", None, measurement.sample.tokens_per_character),
    ]
    if measurement.n_points is not None:
        rows.append(RunCheckRow(measurement.run_id, "token_types", None, float(measurement.n_points), None, "pass"))
    if measurement.words_lost_share is not None:
        rows.append(_judge(measurement.run_id, "words_lost_share", None, measurement.words_lost_share))
    for layer, state, result in measurement.labelled:
        # Without context equal tokens have equal embeddings, so duplicates at layer 0 mean nothing.
        if state == "residual" and layer > 0 and math.isfinite(result.duplicate_share):
            rows.append(_judge(measurement.run_id, "duplicates", layer, result.duplicate_share))
    for layer, layer_dependence in measurement.dependence.items():
        rows += _dependence_rows(measurement.run_id, layer, layer_dependence)
    # For information: the effect of the norm rule on the value.
    rows += [
        RunCheckRow(measurement.run_id, "d2_without_norm_rule", layer, none_if_nan(change), None, "pass")
        for layer, change in measurement.norm_rule.items()
    ]
    return rows


def check_second_draw(first: Profile, later: Profile) -> RunCheckRow | None:
    """Change of the largest inner d2 from the first draw of the text to a later one; None if one of them has none.

    Judged by its size, like other changes of d2, and not by its significance: a value that changes by a fifth between
    draws cannot be used to compare models, even if its error is as large. The error is stored beside it. Both values are
    taken at the layer that each run has chosen.
    """
    first_maximum, later_maximum = _inner_maximum(first), _inner_maximum(later)
    if first_maximum is None or later_maximum is None:
        return None
    (first_log, first_error), (later_log, later_error) = first_maximum, later_maximum
    return _judge(later.run.run_id, "second_draw", None, later_log - first_log, math.hypot(first_error, later_error))


def _inner_maximum(profile: Profile) -> tuple[float, float] | None:
    """Log of the largest inner dimension, and its standard error."""
    for row in profile.summaries:
        if row.cloud == "one_per_type" and row.inner_max and row.inner_max_layer is not None:
            key = (row.inner_max_layer, "residual", row.cloud, row.estimator, "centred")
            blocks = next(
                r.blocks for r in profile.replicates if (r.layer, r.state, r.cloud, r.estimator, r.transform) == key
            )
            return math.log(row.inner_max), jackknife_error(np.log(blocks))
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
    """A check's outcome by the limits in its record; an undefined value is vetoed."""
    check = CHECKS[name]
    size = abs(value) if math.isfinite(value) else math.inf
    outcome = "veto" if size > check.veto else "warn" if size > check.warn else "pass"
    threshold = check.veto if outcome == "veto" else check.warn
    return RunCheckRow(run_id, name, layer, none_if_nan(value), threshold, outcome, std_error)


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
    _, first_occurrences = np.unique(ids[order], return_index=True)
    tokens = order[np.sort(first_occurrences)[:limit]]
    sequences = torch.from_numpy(sample.passages[tokens // sample.ids.shape[1]])
    rows = (np.cumsum(keep) - 1)[tokens]
    cloud = plan.draws[0]
    drawn_rows = cloud.rows[cloud.members[0]]
    drawn_sequences = torch.from_numpy(cloud.sequences[cloud.members[0]])
    changes = {}
    for layer in layers:
        without_rule = second_order.d2(states.points(layer, keep)[torch.from_numpy(rows)], sequences)[0]
        with_rule = second_order.d2(states.points(layer, mask.keep)[torch.from_numpy(drawn_rows)], drawn_sequences)[0]
        changes[layer] = float(np.log(without_rule) - np.log(with_rule))
    return changes


def check_dependence(
    states: HiddenStates, mask: TokenMask, plan: CloudPlan, layers: list[LayerResult], protocol: Protocol, seed: int
) -> dict[int, Dependence]:
    """Dependence on the number of sequences and points at the embedding, the peak of d2 and the final layer."""
    if not plan.draws:
        return {}
    order, pairs = token_order(mask, seed, 0), window_pairs(mask, plan, protocol, seed)
    half = plan.draws[0].n_points // 2
    tokens = clouds.Tokens(mask.types, mask.passages, np.zeros(len(order), dtype=np.int64), 0)
    first_types = clouds.one_per_type(order, tokens, half).rows
    return {
        layer: dependence(states.points(layer, mask.keep), mask.passages, pairs, plan.draws[0], first_types, seed)
        for layer in layers_of_claims(layers, states.n_layers)
    }


def layers_of_claims(layers: list[LayerResult], n_layers: int) -> list[int]:
    """The embedding, the inner layer of the largest d2, and the last layer."""
    return sorted({0, peak_layer(layers, n_layers, ("one_per_type",)) or 0, n_layers})


def window_pairs(mask: TokenMask, plan: CloudPlan, protocol: Protocol, seed: int) -> list[SequencePair]:
    """The same types from half of the windows and from all of them, for four half-splits."""
    order = token_order(mask, seed, 0)
    return sequence_pairs(order, mask.types, mask.passages, plan.halves[:4], protocol.max_types)
