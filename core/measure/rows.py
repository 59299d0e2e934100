"""Convert a finished measurement into the rows that are stored."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from core.analysis.intervals import mean_difference, windows_to_units
from core.geometry.clouds import CloudEstimate, Distribution, jackknife_error, none_if_nan
from core.geometry.second_order import d2_of_windows
from core.measure.capture import HiddenStates, choose_targets
from core.measure.checkpoint import Clock, code_version, library_versions
from core.measure.checks import Measurement, peak_layer
from core.measure.plan import TokenMask
from core.records import Profile, without_places
from core.registry.protocols import PASSES, SPECIFICATIONS
from core.tables import (
    LayerCorrelatorRow,
    LayerDistributionRow,
    LayerEstimateRow,
    LayerReplicateRow,
    RunCheckRow,
    RunRow,
    RunWindowRow,
    TokenResultRow,
)
from core.texts.sample import TokenSample

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
            *readable_rows(measurement.run_id, measurement.sample, measurement.states, measurement.protocol.n_readable),
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
        finished_at=datetime.now(UTC).replace(tzinfo=None),
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


def readable_rows(
    run_id: str, sample: TokenSample, states: HiddenStates, n_targets: int
) -> Iterator[LayerCorrelatorRow]:
    """What the head reads of the next token at each layer; nothing where that was not read."""
    if states.readable is None or states.nats is None:
        return
    windows = choose_targets(sample, states.nats, n_targets)[:, 0]
    units = windows_to_units(sample.documents)[windows]
    for layer, losses in enumerate(states.readable):
        found = mean_difference(losses.astype(np.float64), np.ones(len(losses)), units)
        error = none_if_nan(found.std_error)
        yield LayerCorrelatorRow(
            run_id, layer, "residual", "predicted", "readable_loss", found.value, error, len(losses)
        )


FEWEST_IN_WINDOW = 64
"""Least number of tokens for the dimension of a single window."""
N_STRETCHES = 8
"""Jackknife blocks of neighbouring tokens within a window."""


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
    types, inner, final = _geometry_of_windows(mask, states, usable, n_points, inner_layer)
    rows = []
    for window, nats in enumerate(states.nats):
        loss, loss_error = _mean_loss(nats)
        inner_d2, inner_error = inner.get(window, (math.nan, math.nan))
        final_d2, final_error = final.get(window, (math.nan, math.nan))
        rows.append(
            RunWindowRow(
                run_id=run_id,
                sequence=window,
                document=int(sample.documents[window]),
                n_points=n_points if window in types else 0,
                n_types=types.get(window, 0),
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


_ByWindow = dict[int, tuple[float, float]]


def _geometry_of_windows(
    mask: TokenMask, states: HiddenStates, usable: np.ndarray, n_points: int, inner_layer: int | None
) -> tuple[dict[int, int], _ByWindow, _ByWindow]:
    """By window of `usable`: distinct types, and d2 with its standard error at the inner layer and after the last block."""
    if not n_points:
        return {}, {}, {}
    starts = np.searchsorted(mask.sequences, usable)
    rows = starts[:, None] + np.arange(n_points)  # in the table of kept tokens; (n_usable, n_points)
    types = torch.from_numpy(mask.types[rows])
    stretches = torch.arange(n_points) * N_STRETCHES // n_points

    def d2_at(layer: int | None) -> _ByWindow:
        if layer is None:
            return {}
        points = states.points(layer, mask.keep)[rows.flatten()].reshape(*rows.shape, -1)
        values = d2_of_windows(points, types, stretches)
        read = ((row[0], row[0] * jackknife_error(np.log(row[1:]))) for row in values)
        return dict(zip(usable.tolist(), read, strict=True))

    n_types = {window: len(np.unique(of)) for window, of in zip(usable.tolist(), mask.types[rows], strict=True)}
    return n_types, d2_at(inner_layer), d2_at(states.n_layers)


def _mean_loss(nats: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of the losses of a window's targets (n_tokens,), by a jackknife over stretches."""
    losses = nats[np.isfinite(nats)].astype(np.float64)
    if len(losses) < FEWEST_IN_WINDOW:
        return math.nan, math.nan
    stretches = np.arange(len(losses)) * N_STRETCHES // len(losses)
    leave_one_out = [losses[stretches != index].mean() for index in range(N_STRETCHES)]
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
