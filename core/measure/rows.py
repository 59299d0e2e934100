"""A finished measurement, judged by its checks and converted into the rows that are stored."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.analysis.intervals import mean_difference, windows_to_units
from core.files import utc_now
from core.geometry import clouds, second_order
from core.geometry.clouds import Cloud, CloudEstimate, Distribution, LayerResult, jackknife_error, none_if_nan
from core.geometry.layer import CloudPlan
from core.geometry.second_order import d2_of_windows
from core.measure.checkpoint import Clock, code_version, library_versions
from core.measure.plan import HiddenStates, Setup, TokenMask, UsableWords, choose_targets, token_order
from core.models.model import OpenModel
from core.records import Profile, RunConfig, without_places
from core.registry.checks import CHECKS
from core.registry.protocols import PASSES, SPECIFICATIONS, WINDOW_STRETCHES, Protocol
from core.tables import (
    LayerCorrelatorRow,
    LayerDistributionRow,
    LayerEstimateRow,
    LayerPairRow,
    LayerReplicateRow,
    RunCheckRow,
    RunRow,
    RunWindowRow,
    TokenResultRow,
)
from core.texts.sample import TokenSample

# --- checks of whether a run's results can be trusted: pass, warn or veto --------------------------------------------

# Whether d2 depends on the number of sequences: in a randomly initialised model uniform attention averages each prefix, so
# late states have one direction per sequence: d2 of all pairs then counts sequences (26 for 32 of them) and most of the
# variance lies between them. A trained model is barely affected. Both values use the same token types, so that vocabulary
# has no effect.
# Dependence on the number of points is tested on random halves of the types; a biased estimator would fail. The half of
# the types that a permutation meets first differs: these types are frequent, and smaller vocabularies have lower values.
# That shift is reported but not judged; because of it, values are compared only at equal N.


Found = dict[str, tuple[float, float | None]]
"""Check -> value and, where it has one, its error."""
Pair = tuple[np.ndarray, np.ndarray]
"""Rows of the same token types, drawn from half of the sequences and from all of them."""


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
    dependence: dict[int, Found]
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
    run_id, sample = measurement.run_id, measurement.sample
    of_run: dict[str, float | None] = {
        "norm_dropped_share": measurement.mask.norm_dropped_share,
        "unknown_token_share": sample.unknown_share,
        "near_copies": sample.copied_share,
        "tokens_per_character": sample.tokens_per_character,
        "token_types": measurement.n_points,
        "words_lost_share": measurement.words_lost_share,
    }
    rows = [_judge(run_id, name, None, float(value)) for name, value in of_run.items() if value is not None]
    rows += [
        _judge(run_id, "duplicates", layer, result.duplicate_share)
        for layer, state, result in measurement.labelled
        # Without context equal tokens have equal embeddings, so duplicates at layer 0 mean nothing.
        if state == "residual" and layer > 0 and math.isfinite(result.duplicate_share)
    ]
    for layer, found in measurement.dependence.items():
        rows += [_judge(run_id, name, layer, *values) for name, values in found.items()]
    return rows + [_judge(run_id, "d2_without_norm_rule", layer, of) for layer, of in measurement.norm_rule.items()]


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


def _judge(run_id: str, name: str, layer: int | None, value: float, std_error: float | None = None) -> RunCheckRow:
    """A check's outcome by the limits in its record; an undefined value is vetoed, and what is for information passes."""
    check = CHECKS[name]
    size = abs(value) if math.isfinite(value) else math.inf
    outcome = "veto" if size > check.veto else "warn" if size > check.warn else "pass"
    threshold = check.veto if outcome == "veto" else check.warn  # infinite where a value is not judged
    return RunCheckRow(run_id, name, layer, none_if_nan(value), none_if_nan(threshold), outcome, std_error)


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
    order = token_order(replace(mask, keep=keep), plan.seed, 0)
    _, first_occurrences = np.unique(sample.ids.flatten()[keep][order], return_index=True)
    rows = order[np.sort(first_occurrences)[:limit]]
    sequences = torch.from_numpy(sample.passages[np.flatnonzero(keep)[rows] // sample.ids.shape[1]])
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
    states: HiddenStates, mask: TokenMask, plan: CloudPlan, layers: list[LayerResult], limit: int
) -> dict[int, Found]:
    """Dependence on the number of sequences and points at the embedding, the peak of d2 and the final layer; at most `limit`
    types."""
    if not plan.draws:
        return {}
    order, pairs = token_order(mask, plan.seed, 0), window_pairs(mask, plan, limit)
    half = plan.draws[0].n_points // 2
    tokens = clouds.Tokens(mask.types, mask.passages, np.zeros(len(order), dtype=np.int64), 0)
    first_types = clouds.one_per_type(order, tokens, half).rows
    return {
        layer: dependence(states.points(layer, mask.keep), mask.passages, pairs, plan.draws[0], first_types, plan.seed)
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


def window_pairs(mask: TokenMask, plan: CloudPlan, limit: int) -> list[Pair]:
    """At most `limit` types, the same from half of the windows and from all of them, for four half-splits."""
    order = token_order(mask, plan.seed, 0)
    return sequence_pairs(order, mask.types, mask.passages, plan.halves[:4], limit)


# --- whether d2 depends on the number of sequences or of points -----------------------------------------------------


def sequence_pairs(
    order: np.ndarray, types: np.ndarray, sequences: np.ndarray, halves: np.ndarray, limit: int
) -> list[Pair]:
    """One pair for each side of each half-split; at most `limit` types, in order of the permutation `order`."""
    _, first = np.unique(types[order], return_index=True)
    representative = dict(zip(types[order[first]].tolist(), order[first].tolist(), strict=True))
    pairs = []
    for side in np.concatenate([halves, ~halves]):
        candidates = order[side[sequences[order]]]
        _, where = np.unique(types[candidates], return_index=True)
        few = candidates[np.sort(where)[:limit]]
        pairs.append((few, np.array([representative[t] for t in types[few].tolist()])))
    return pairs


def dependence(
    states: Tensor, sequences: np.ndarray, pairs: list[Pair], cloud: Cloud, first_types: np.ndarray, seed: int
) -> Found:
    """Shifts of log d2 at one layer: from half of the sequences to all, of the same types; from half of the points to all;
    and the share of the variance of token directions between sequences.

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
    return {
        "sequence_invariance": _shift(shifts[:, 0]),
        "sequence_invariance_all_pairs": _shift(shifts[:, 1]),
        "sequence_share": (between_share(states[index], labels[index]), None),
        "n_invariance": _shift(of_points),
        "vocabulary_shift": (float(whole - d2(first_types)[0]), None),
    }


def _log_d2(states: Tensor, labels: Tensor, rows: np.ndarray) -> np.ndarray:
    """log d2, and log d2 of all pairs, of these rows."""
    index = torch.from_numpy(rows).to(states.device)
    return np.log(second_order.d2(states[index], labels[index]))


def window_shifts(states: Tensor, sequences: np.ndarray, pairs: list[Pair]) -> np.ndarray:
    """Changes of log d2, and of log d2 of all pairs, from half of the sequences to all; (2 n_splits, 2)."""
    d2 = partial(_log_d2, states, torch.from_numpy(sequences).to(states.device))
    return np.array([d2(many) - d2(few) for few, many in pairs])


def _shift(values: np.ndarray) -> tuple[float, float]:
    """Mean and error of values (2 n_splits,): A sides of all splits, then the B sides, each disjoint from its A."""
    a, b = values.reshape(2, -1)
    return float(values.mean()), float(np.sqrt(np.mean(((a - b) / 2) ** 2)))


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


# --- rows ------------------------------------------------------------------------------------------------------------

STORED_REPLICATES = {specification.key for specification in SPECIFICATIONS}
"""Replicates are stored for the specifications that claims are tested under."""
# Fixed bins make layers and runs comparable; logarithmic for quantities without an upper bound.
BINS = {
    "local_d2": np.geomspace(1, 1000, 31),
    "distance_to_mean": np.geomspace(0.1, 10, 33),
    "variance_share": np.geomspace(0.01, 100, 33),
    "cosine_to_mean": np.linspace(-1, 1, 41),
    "neighbours_kept": np.linspace(0, 1, 11),
    "displacement": np.linspace(0, 2.4, 25),
    "block_share": np.geomspace(0.01, 10, 31),
    "cosine": np.linspace(-1, 1, 41),
}


def build_profile(measurement: Measurement, checks: list[RunCheckRow], clock: Clock) -> Profile:
    """The rows of a finished measurement."""
    return Profile(
        model=measurement.model.row,
        corpus=measurement.setup.corpus.row,
        run=_run_row(measurement, clock),
        estimates=[
            _estimate_row(measurement, layer, state, estimate)
            for layer, state, result in measurement.labelled
            for estimate in result.estimates
        ],
        correlators=[
            *_correlator_rows(measurement),
            *_sink_rows(measurement),
            *readable_rows(measurement.run_id, measurement.sample, measurement.states),
        ],
        replicates=[
            LayerReplicateRow(
                measurement.run_id, layer, state, e.cloud, e.estimator, e.n1, e.transform, e.blocks, e.halves
            )
            for layer, state, result in measurement.labelled
            for e in result.estimates
            if (e.cloud, e.transform, e.estimator, e.n1) in STORED_REPLICATES and e.blocks
        ],
        checks=checks,
        pairs=measurement.pairs,
        distributions=[row for item in _distributions(measurement) for row in _histogram(measurement.run_id, *item)],
        windows=window_rows(
            measurement.run_id,
            measurement.sample,
            measurement.mask,
            measurement.states,
            peak_layer(measurement.layers, measurement.states.n_layers, measurement.protocol.clouds),
        )
        if PASSES[measurement.config.pass_].has_windows
        else [],
        tokens=[row for item in _distributions(measurement) for row in _token_rows(measurement, *item)]
        if measurement.config.keep_tokens
        else [],
    )


def _run_row(measurement: Measurement, clock: Clock) -> RunRow:
    config, model, protocol = measurement.config, measurement.model, measurement.protocol
    sample, mask, states = measurement.sample, measurement.mask, measurement.states
    has_words = bool(measurement.plan.word_draws)
    return RunRow(
        run_id=measurement.run_id,
        parent_run_id=None,
        pass_=config.pass_,
        seed=config.seed,
        model_id=model.row.model_id,
        corpus_id=measurement.setup.corpus.row.corpus_id,
        pilot_id=None,
        protocol=protocol.name,
        protocol_hash=protocol.hash(config.seed),
        status="finished",
        tags=[],
        note=None,
        started_at=clock.started_at,
        finished_at=utc_now(),
        dtype=config.dtype,
        device=model.device.type,
        code_version=code_version(),
        library_versions=json.dumps({"python": platform.python_version(), **library_versions()}),
        config=json.dumps(
            # Parcels are shared: where model and text lie on this machine stands in a file that is no part of them.
            {"run": without_places(asdict(config)), "protocol": asdict(protocol)},
            sort_keys=True,
        ),
        n_sequences=sample.ids.shape[0],
        n_tokens=sample.ids.size,
        n_tokens_used=int(mask.keep.sum()),
        n_types=mask.n_types,
        n_dropped_position=mask.n_dropped_position,
        n_dropped_special=mask.n_dropped_special,
        n_dropped_norm=mask.n_dropped_norm,
        n_dropped_template=mask.n_dropped_template if sample.chat_template_hash else None,
        chat_template_hash=sample.chat_template_hash,
        opening_token=sample.opening_token,
        max_norm_ratio=mask.max_norm_ratio,
        n_bytes_scored=sample.n_bytes_scored if model.is_causal else None,
        peak_memory_bytes=clock.peak_memory,
        phase_seconds=json.dumps({name: round(seconds, 2) for name, seconds in clock.seconds.items()}),
        stack=model.stack,
        model_seed=config.model_seed if PASSES[config.pass_].has_model_seed else None,
        words_hash=sample.words.hash if has_words else None,
        n_words=sample.words.n_words if has_words else None,
        n_words_lost=measurement.words.n_lost if has_words else None,
        bits_per_byte=states.bits_per_byte,
        n_windows_lengthened=sample.n_lengthened,
        n_windows_redrawn=sample.n_redrawn,
        execution=json.dumps(_execution(measurement, clock)),
    )


def _execution(measurement: Measurement, clock: Clock) -> dict[str, Any]:
    """The hardware of the run, and how it fitted into memory."""
    device = measurement.model.device.type
    is_cuda = device == "cuda"
    return {
        "device_name": torch.cuda.get_device_name(measurement.model.device) if is_cuda else platform.machine(),
        "threads": torch.get_num_threads(),
        "processor_seconds": round(clock.processor_seconds, 2),
        "streamed": measurement.states.streamed,
        "batch": measurement.states.batch,
        "batch_planned": measurement.states.batch_planned,
        "layers_on_cpu": sum(layer.device != device for layer in measurement.layers),
    }


def _estimate_row(measurement: Measurement, layer: int, state: str, estimate: CloudEstimate) -> LayerEstimateRow:
    result = estimate.estimate
    equivalent, equivalent_lower, equivalent_upper = map(none_if_nan, estimate.gaussian_equivalent)
    return LayerEstimateRow(
        measurement.run_id,
        layer,
        state,
        measurement.model.stack,
        estimate.cloud,
        estimate.estimator,
        estimate.n1,
        estimate.n2,
        estimate.transform,
        none_if_nan(result.scale),
        none_if_nan(result.value),
        none_if_nan(result.std_error),
        none_if_nan(result.lower),
        none_if_nan(result.upper),
        equivalent,
        result.n_points,
        result.n_dropped,
        result.notes or None,
        equivalent_lower,
        equivalent_upper,
    )


def _correlator_rows(measurement: Measurement) -> Iterator[LayerCorrelatorRow]:
    for layer, state, result in measurement.labelled:
        for correlator in result.correlators:
            yield LayerCorrelatorRow(
                measurement.run_id,
                layer,
                state,
                correlator.cloud,
                correlator.correlator,
                none_if_nan(correlator.value),
                none_if_nan(correlator.std_error),
                correlator.n_points,
            )


def _sink_rows(measurement: Measurement) -> Iterator[LayerCorrelatorRow]:
    """Tokens of large norm at each layer, before masking: how many, how large, and their share at position 0."""
    at_start = np.tile(np.arange(measurement.sample.ids.shape[1]) == 0, len(measurement.sample.ids))
    for layer, norms in enumerate(measurement.states.norms[: measurement.states.n_layers + 1]):
        ratio = norms / max(float(np.median(norms[~measurement.sample.template.flatten()])), 1e-30)
        large = ratio > measurement.protocol.norm_factor
        share = float(at_start[large].mean()) if large.any() else math.nan
        for name, value in (
            ("large_norm_tokens", float(large.sum())),
            ("large_norm_ratio", float(ratio.max())),
            ("large_norm_at_start", share),
        ):
            yield LayerCorrelatorRow(
                measurement.run_id, layer, "residual", "unmasked", name, none_if_nan(value), None, len(norms)
            )


def readable_rows(run_id: str, sample: TokenSample, states: HiddenStates) -> Iterator[LayerCorrelatorRow]:
    """What the head reads of the next token at each layer, NULL where it cannot be read so; nothing where that was not tried."""
    if states.readable is None or states.nats is None:
        return
    windows = choose_targets(sample, states.nats, states.readable.shape[1])[:, 0]
    units = windows_to_units(sample.documents)[windows]
    for layer, losses in enumerate(states.readable):
        found = mean_difference(losses.astype(np.float64), np.ones(len(losses)), units)
        error = none_if_nan(found.std_error)
        yield LayerCorrelatorRow(
            run_id, layer, "residual", "predicted", "readable_loss", none_if_nan(found.value), error, len(losses)
        )


FEWEST_IN_WINDOW = 64
"""Least number of tokens for the dimension of a single window."""
NO_VALUE = [math.nan, math.nan]


def window_rows(
    run_id: str, sample: TokenSample, mask: TokenMask, states: HiddenStates, inner_layer: int | None
) -> list[RunWindowRow]:
    """Loss and dimension of each window of a causal model, over the same number of kept tokens in each.

    `inner_layer`: the layer of the largest inner dimension. Windows of which the mask keeps less than half have a loss and no
    dimension; there are no rows of windows that are too short for a dimension.
    """
    n_windows, n_tokens = sample.ids.shape
    if states.nats is None or n_tokens < FEWEST_IN_WINDOW:
        return []
    n_kept = np.bincount(mask.sequences, minlength=n_windows)
    usable = np.flatnonzero(2 * n_kept >= n_tokens)
    n_points = int(np.min(n_kept[usable])) if len(usable) else 0
    if n_points < FEWEST_IN_WINDOW:
        usable, n_points = usable[:0], 0
    found = _geometry_of_windows(mask, states, usable, n_points, inner_layer)
    rows = []
    for window, nats in enumerate(states.nats):
        loss, loss_error = _mean_loss(nats)
        n_types, (inner_d2, inner_error), (final_d2, final_error) = found.get(window, (0, NO_VALUE, NO_VALUE))
        rows.append(
            RunWindowRow(
                run_id=run_id,
                sequence=window,
                document=int(sample.documents[window]),
                n_points=n_points if window in found else 0,
                n_types=n_types,
                loss=none_if_nan(loss),
                loss_std_error=none_if_nan(loss_error),
                inner_layer=inner_layer,
                inner_d2=none_if_nan(inner_d2),
                inner_d2_std_error=none_if_nan(inner_error),
                final_d2=none_if_nan(final_d2),
                final_d2_std_error=none_if_nan(final_error),
                bits=float(np.nansum(nats, dtype=np.float64)) / math.log(2),
                n_bytes=int(sample.bytes_scored[window]),
            )
        )
    return rows


def _geometry_of_windows(
    mask: TokenMask, states: HiddenStates, usable: np.ndarray, n_points: int, inner_layer: int | None
) -> dict[int, tuple[int, list[float], list[float]]]:
    """By window of `usable`: distinct types, and d2 with its standard error at the inner layer and after the last block."""
    if not n_points:
        return {}
    starts = np.searchsorted(mask.sequences, usable)
    rows = starts[:, None] + np.arange(n_points)  # in the table of kept tokens; (n_usable, n_points)
    types = torch.from_numpy(mask.types[rows])
    stretches = torch.arange(n_points) * WINDOW_STRETCHES // n_points

    def d2_at(layer: int | None) -> list[list[float]]:
        if layer is None:
            return [NO_VALUE] * len(usable)
        points = states.points(layer, mask.keep)[rows.flatten()].reshape(*rows.shape, -1)
        values = d2_of_windows(points, types, stretches)
        return [[row[0], row[0] * jackknife_error(np.log(row[1:]))] for row in values]

    n_types = (len(np.unique(of)) for of in mask.types[rows])
    found = zip(n_types, d2_at(inner_layer), d2_at(states.n_layers), strict=True)
    return dict(zip(usable.tolist(), found, strict=True))


def _mean_loss(nats: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of the losses of a window's targets (n_tokens,), by a jackknife over stretches."""
    losses = nats[np.isfinite(nats)].astype(np.float64)
    if len(losses) < FEWEST_IN_WINDOW:
        return math.nan, math.nan
    stretches = np.arange(len(losses)) * WINDOW_STRETCHES // len(losses)
    leave_one_out = [losses[stretches != index].mean() for index in range(WINDOW_STRETCHES)]
    return float(losses.mean()), jackknife_error(np.array(leave_one_out))


def _distributions(measurement: Measurement) -> Iterator[tuple[int, Distribution]]:
    """(layer, distribution) of the residual stream."""
    for layer, state, result in measurement.labelled:
        if state == "residual":
            for distribution in result.distributions:
                yield layer, distribution


def _histogram(run_id: str, layer: int, distribution: Distribution) -> Iterator[LayerDistributionRow]:
    """Counts in fixed bins; values beyond the ends fall into the outermost bins."""
    edges = BINS[distribution.quantity]
    values = _in_bin_units(distribution)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    for lower, upper, count in zip(edges[:-1], edges[1:], counts, strict=True):
        yield LayerDistributionRow(run_id, layer, distribution.quantity, float(lower), float(upper), int(count))


def _in_bin_units(distribution: Distribution) -> np.ndarray:
    """Distances relative to the layer's median, because norms grow a hundredfold through a model; other values unchanged."""
    if distribution.quantity == "distance_to_mean" and len(distribution.values):
        return distribution.values / max(float(np.median(distribution.values)), 1e-30)
    return distribution.values


def _token_rows(measurement: Measurement, layer: int, distribution: Distribution) -> Iterator[TokenResultRow]:
    positions = np.flatnonzero(measurement.mask.keep) % measurement.sample.ids.shape[1]
    for row, value in zip(distribution.rows.tolist(), _in_bin_units(distribution).tolist(), strict=False):
        yield TokenResultRow(
            measurement.run_id,
            layer,
            int(measurement.mask.sequences[row]),
            int(positions[row]),
            distribution.quantity,
            none_if_nan(value),
        )
