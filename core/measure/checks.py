"""Checks of whether a run's results can be trusted, computed from the run itself: pass, warn or veto.

Whether d2 depends on the number of sequences: in a randomly initialised model uniform attention averages each prefix, so
late states have one direction per sequence: d2 of all pairs then counts sequences (26 for 32 of them) and most of the
variance lies between them. A trained model is barely affected. Both values use the same token types, so that vocabulary
has no effect.

Dependence on the number of points is tested on random halves of the types; a biased estimator would fail. The half of
the types that a permutation meets first differs: these types are frequent, and smaller vocabularies have lower values.
That shift is reported but not judged; because of it, values are compared only at equal N.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from core.geometry import clouds, second_order
from core.geometry.clouds import Cloud, LayerResult, jackknife_error, none_if_nan
from core.geometry.layer import CloudPlan
from core.measure.capture import HiddenStates
from core.measure.plan import Setup, TokenMask, UsableWords, token_order
from core.models.model import OpenModel
from core.records import Profile, RunConfig
from core.registry.checks import CHECKS
from core.registry.protocols import PASSES, Protocol
from core.tables import LayerPairRow, RunCheckRow
from core.texts.sample import TokenSample


@dataclass(frozen=True)
class SequencePair:
    """Rows of the same token types, drawn from half of the sequences and from all of them."""

    few: np.ndarray
    many: np.ndarray


@dataclass(frozen=True)
class Shift:
    """Mean of log(d2 from all / d2 from half) over halves, with the error from the difference of the two halves."""

    value: float
    std_error: float


@dataclass(frozen=True)
class Dependence:
    d2: Shift
    """Shift from half of the sequences to all, same types; pairs within a sequence excluded."""
    d2_all_pairs: Shift
    """The same for d2 of all pairs; a random model fails this check."""
    share: float
    """Share of the variance of token directions between sequences, as omega squared; expectation 0 without effect."""
    points: Shift
    """Shift from a random half of the types to all."""
    vocabulary: float
    """Shift from the half of the types that the text meets first to all."""


@dataclass(frozen=True)
class Measurement:
    """All results of one pass, before they become rows."""

    config: RunConfig
    run_id: str
    setup: Setup
    sample: TokenSample
    states: HiddenStates
    mask: TokenMask
    words: UsableWords
    plan: CloudPlan
    layers: list[LayerResult]
    pairs: list[LayerPairRow]
    dependence: dict[int, Dependence]
    norm_rule: dict[int, float]
    """Layer -> change of log d2 without the norm rule; empty if the rule dropped nothing."""

    @property
    def protocol(self) -> Protocol:
        return self.setup.protocol

    @property
    def model(self) -> OpenModel:
        """The model without its weights."""
        return self.setup.blueprint.weightless

    @property
    def n_points(self) -> int | None:
        """Size of the cloud `one_per_type`; None without it."""
        return self.plan.draws[0].n_points if self.plan.draws else None

    @property
    def words_lost_share(self) -> float | None:
        """Share of word occurrences lost; None if no words are measured."""
        return self.words.lost_share if PASSES[self.config.pass_].has_words and self.plan.word_draws else None

    @property
    def labelled(self) -> list[tuple[int, str, LayerResult]]:
        """(layer, state, result) of every layer."""
        labels = zip(self.states.labels, self.layers, strict=True)
        return [(layer, state, result) for (layer, state), result in labels]


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


def peak_layer(layers: Sequence[LayerResult], n_layers: int, cloud_names: Sequence[str]) -> int | None:
    """The inner layer (1 to L - 1) of the largest d2 of the first cloud that has one; None if no cloud does."""
    for cloud in cloud_names:
        inner = [layer.value(cloud, "d2") for layer in layers[1:n_layers]]
        if any(map(math.isfinite, inner)):
            return 1 + int(np.nanargmax(inner))
    return None


def layers_of_claims(layers: list[LayerResult], n_layers: int) -> list[int]:
    """The embedding, the inner layer of the largest d2, and the last layer."""
    return sorted({0, peak_layer(layers, n_layers, ("one_per_type",)) or 0, n_layers})


def window_pairs(mask: TokenMask, plan: CloudPlan, protocol: Protocol, seed: int) -> list[SequencePair]:
    """The same types from half of the windows and from all of them, for four half-splits."""
    order = token_order(mask, seed, 0)
    return sequence_pairs(order, mask.types, mask.passages, plan.halves[:4], protocol.max_types)


# --- whether d2 depends on the number of sequences or of points -----------------------------------------------------


def sequence_pairs(
    order: np.ndarray, types: np.ndarray, sequences: np.ndarray, halves: np.ndarray, limit: int
) -> list[SequencePair]:
    """One pair for each side of each half-split; at most `limit` types, in order of the permutation `order`."""
    _, first = np.unique(types[order], return_index=True)
    representative = dict(zip(types[order[first]].tolist(), order[first].tolist(), strict=True))
    pairs = []
    for side in np.concatenate([halves, ~halves]):
        candidates = order[side[sequences[order]]]
        _, where = np.unique(types[candidates], return_index=True)
        few = candidates[np.sort(where)[:limit]]
        pairs.append(SequencePair(few, np.array([representative[t] for t in types[few].tolist()])))
    return pairs


def dependence(
    states: Tensor, sequences: np.ndarray, pairs: list[SequencePair], cloud: Cloud, first_types: np.ndarray, seed: int
) -> Dependence:
    """Compute all shifts of one layer.

    states (n_tokens, hidden_size) fp32; sequences (n_tokens,); first_types: rows of the types met first.
    """
    labels = torch.from_numpy(sequences).to(states.device)
    d2 = partial(_log_d2, states, labels)
    shifts = window_shifts(states, sequences, pairs)
    rows = cloud.rows[cloud.members[0]]
    whole = d2(rows)[0]
    generator = np.random.default_rng([seed, 4])
    halves = [half for _ in range(len(pairs) // 2) for half in np.array_split(generator.permutation(rows), 2)]
    of_points = np.array([whole - d2(half)[0] for half in halves]).reshape(-1, 2).T.flatten()  # A sides, then B sides
    index = torch.from_numpy(rows).to(states.device)
    return Dependence(
        _shift(shifts[:, 0]),
        _shift(shifts[:, 1]),
        between_share(states[index], labels[index]),
        _shift(of_points),
        float(whole - d2(first_types)[0]),
    )


def _log_d2(states: Tensor, labels: Tensor, rows: np.ndarray) -> np.ndarray:
    """log d2, and log d2 of all pairs, of these rows."""
    index = torch.from_numpy(rows).to(states.device)
    return np.log(second_order.d2(states[index], labels[index]))


def window_shifts(states: Tensor, sequences: np.ndarray, pairs: list[SequencePair]) -> np.ndarray:
    """Changes of log d2, and of log d2 of all pairs, from half of the sequences to all; (2 n_splits, 2)."""
    d2 = partial(_log_d2, states, torch.from_numpy(sequences).to(states.device))
    return np.array([d2(pair.many) - d2(pair.few) for pair in pairs])


def _shift(values: np.ndarray) -> Shift:
    """Mean and error of values (2 n_splits,): A sides of all splits, then the B sides, each disjoint from its A."""
    a, b = values.reshape(2, -1)
    return Shift(float(values.mean()), float(np.sqrt(np.mean(((a - b) / 2) ** 2))))


def between_share(points: Tensor, sequences: Tensor) -> float:
    """Omega squared of the directions of centred points: (SSB - (S-1) MSW) / (SST + MSW)."""
    directions = torch.nn.functional.normalize(points - points.mean(0), dim=1)
    directions = directions - directions.mean(0)
    _, labels = torch.unique(sequences, return_inverse=True)
    counts = torch.bincount(labels).to(points.dtype)
    n, n_sequences = len(points), len(counts)
    if n <= n_sequences:
        return math.nan
    sums = points.new_zeros(n_sequences, points.shape[1]).index_add_(0, labels, directions)
    total = float(directions.square().sum())
    between = float((sums.square().sum(1) / counts).sum())
    within_mean = (total - between) / (n - n_sequences)
    if not total:  # all points are equal
        return math.nan
    return (between - (n_sequences - 1) * within_mean) / (total + within_mean)
