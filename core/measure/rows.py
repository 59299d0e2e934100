"""Convert a finished measurement into the rows that are stored."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from core.geometry.layer import CloudPlan
from core.geometry.layer_pairs import PairValue
from core.geometry.results import CloudEstimate, Distribution, LayerResult
from core.geometry.second_order import d2_of_windows
from core.geometry.stability import Dependence
from core.measure.capture import HiddenStates
from core.measure.plan import TokenMask, UsableWords
from core.measure.provenance import Clock, code_version, library_versions
from core.measure.setup import Setup
from core.models.model import OpenModel
from core.records import Profile, RunConfig
from core.registry.passes import PASSES
from core.registry.protocols import Protocol
from core.registry.specifications import SPECIFICATIONS
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
    "cosine": np.linspace(-1, 1, 41),
}


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
    pairs: list[PairValue]
    dependence: dict[int, Dependence]
    norm_rule: dict[int, float]
    """Layer -> change of log d2 without the norm rule; empty if the rule dropped nothing."""

    @property
    def protocol(self) -> Protocol:
        return self.setup.protocol

    @property
    def model(self) -> OpenModel:
        """Without its weights."""
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
    def labelled(self) -> Iterator[tuple[int, str, LayerResult]]:
        for (layer, state), result in zip(self.states.labels, self.layers, strict=True):
            yield layer, state, result


def build_profile(m: Measurement, checks: list[RunCheckRow], clock: Clock) -> Profile:
    """The rows of a finished measurement."""
    return Profile(
        model=m.model.row,
        corpus=m.setup.corpus.row,
        run=_run_row(m, clock),
        estimates=[_estimate_row(m, layer, state, e) for layer, state, result in m.labelled for e in result.estimates],
        correlators=[*_correlator_rows(m), *_sink_rows(m)],
        replicates=[
            LayerReplicateRow(m.run_id, layer, state, e.cloud, e.estimator, e.n1, e.transform, e.blocks, e.halves)
            for layer, state, result in m.labelled
            for e in result.estimates
            if (e.cloud, e.transform, e.estimator, e.n1) in STORED_REPLICATES and e.blocks
        ],
        checks=checks,
        pairs=[
            LayerPairRow(
                m.run_id,
                p.measure,
                "one_per_type",
                p.k,
                p.layer_a,
                p.layer_b,
                _none_if_nan(p.value),
                _none_if_nan(p.std_error),
                p.n_points,
                _none_if_nan(p.null_value),
                _none_if_nan(p.null_spread),
            )
            for p in m.pairs
        ],
        distributions=[row for at in _distributions(m) for row in _histogram(m.run_id, *at)],
        windows=window_rows(m.run_id, m.sample, m.mask, m.states, _peak_layer(m)),
        tokens=[row for at in _distributions(m) for row in _token_rows(m, *at)] if m.config.keep_tokens else [],
    )


def _run_row(m: Measurement, clock: Clock) -> RunRow:
    has_words = bool(m.plan.word_draws)
    return RunRow(
        run_id=m.run_id,
        parent_run_id=None,
        pass_=m.config.pass_,
        seed=m.config.seed,
        model_id=m.model.row.model_id,
        corpus_id=m.setup.corpus.row.corpus_id,
        pilot_id=None,
        protocol=m.protocol.name,
        protocol_hash=m.protocol.hash(m.config.seed),
        status="finished",
        tags=[],
        note=None,
        started_at=clock.started_at,
        finished_at=datetime.now(UTC).replace(tzinfo=None),
        dtype=m.config.dtype,
        device=m.model.device.type,
        code_version=code_version(),
        library_versions=json.dumps({"python": platform.python_version(), **library_versions()}),
        config=json.dumps({"run": asdict(m.config), "protocol": asdict(m.protocol)}, sort_keys=True),
        n_sequences=m.sample.ids.shape[0],
        n_tokens=m.sample.ids.size,
        n_tokens_used=int(m.mask.keep.sum()),
        n_types=m.mask.n_types,
        n_dropped_position=m.mask.n_dropped_position,
        n_dropped_special=m.mask.n_dropped_special,
        n_dropped_norm=m.mask.n_dropped_norm,
        n_dropped_template=m.mask.n_dropped_template if m.sample.chat_template_hash else None,
        chat_template_hash=m.sample.chat_template_hash,
        opening_token=m.sample.opening_token,
        max_norm_ratio=m.mask.max_norm_ratio,
        n_bytes_scored=m.sample.n_bytes_scored if m.model.is_causal else None,
        peak_memory_bytes=clock.peak_memory,
        phase_seconds=json.dumps({name: round(seconds, 2) for name, seconds in clock.seconds.items()}),
        stack=m.model.stack,
        model_seed=m.config.model_seed if PASSES[m.config.pass_].has_model_seed else None,
        words_hash=m.sample.words.hash if has_words else None,
        n_words=m.sample.words.n_words if has_words else None,
        n_words_lost=m.words.n_lost if has_words else None,
        bits_per_byte=m.states.bits_per_byte,
        n_windows_lengthened=m.sample.n_lengthened,
        n_windows_redrawn=m.sample.n_redrawn,
        execution=json.dumps(_execution(m)),
    )


def _execution(m: Measurement) -> dict[str, Any]:
    """The hardware of the run, and how it fitted into memory."""
    device = m.model.device.type
    is_cuda = device == "cuda"
    return {
        "device_name": torch.cuda.get_device_name(m.model.device) if is_cuda else platform.machine(),
        "threads": torch.get_num_threads(),
        "streamed": m.states.streamed,
        "batch": m.states.batch,
        "batch_planned": m.states.batch_planned,
        "layers_on_cpu": sum(layer.device != device for layer in m.layers),
    }


def _estimate_row(m: Measurement, layer: int, state: str, estimate: CloudEstimate) -> LayerEstimateRow:
    e = estimate.estimate
    equivalent, equivalent_lower, equivalent_upper = map(_none_if_nan, estimate.gaussian_equivalent)
    return LayerEstimateRow(
        m.run_id,
        layer,
        state,
        m.model.stack,
        estimate.cloud,
        estimate.estimator,
        estimate.n1,
        estimate.n2,
        estimate.transform,
        _none_if_nan(e.scale),
        _none_if_nan(e.value),
        _none_if_nan(e.std_error),
        _none_if_nan(e.lower),
        _none_if_nan(e.upper),
        equivalent,
        e.n_points,
        e.n_dropped,
        e.notes or None,
        equivalent_lower,
        equivalent_upper,
    )


def _correlator_rows(m: Measurement) -> Iterator[LayerCorrelatorRow]:
    for layer, state, result in m.labelled:
        for c in result.correlators:
            yield LayerCorrelatorRow(
                m.run_id,
                layer,
                state,
                c.cloud,
                c.correlator,
                _none_if_nan(c.value),
                _none_if_nan(c.std_error),
                c.n_points,
            )


def _sink_rows(m: Measurement) -> Iterator[LayerCorrelatorRow]:
    """Tokens of large norm at each layer, before masking: how many, how large, and their share at position 0."""
    at_start = np.tile(np.arange(m.sample.ids.shape[1]) == 0, len(m.sample.ids))
    for layer, norms in enumerate(m.states.norms[: m.states.n_layers + 1]):
        ratio = norms / max(float(np.median(norms[~m.sample.template.flatten()])), 1e-30)
        large = ratio > m.protocol.norm_factor
        share = float(at_start[large].mean()) if large.any() else math.nan
        for name, value in (
            ("large_norm_tokens", float(large.sum())),
            ("large_norm_ratio", float(ratio.max())),
            ("large_norm_at_start", share),
        ):
            yield LayerCorrelatorRow(
                m.run_id, layer, "residual", "unmasked", name, _none_if_nan(value), None, len(norms)
            )


FEWEST_IN_WINDOW = 64
"""Fewest tokens for the dimension of a single window."""
N_STRETCHES = 8
"""Jackknife blocks of neighbouring tokens within a window."""


def window_rows(
    run_id: str, sample: TokenSample, mask: TokenMask, states: HiddenStates, inner: int | None
) -> list[RunWindowRow]:
    """Loss and dimension of each window of a causal model, over the same number of kept tokens in each.

    `inner`: the layer of the largest inner dimension. Windows of which the mask keeps less than half get no row; none do
    if that leaves too few tokens.
    """
    if states.nats is None:
        return []
    n_windows, n_tokens = sample.ids.shape
    n_kept = np.bincount(mask.sequences, minlength=n_windows)
    used = np.flatnonzero(2 * n_kept >= n_tokens)
    n = int(n_kept[used].min()) if len(used) else 0
    if n < FEWEST_IN_WINDOW:
        return []
    starts = np.searchsorted(mask.sequences, used)
    rows = starts[:, None] + np.arange(n)  # of the kept tokens; (n_used, n)
    types = torch.from_numpy(mask.types[rows])
    stretches = torch.arange(n) * N_STRETCHES // n

    def d2_at(layer: int | None) -> list[tuple[float, float]]:
        if layer is None:
            return [(math.nan, math.nan)] * len(used)
        points = states.points(layer, mask.keep)[rows.flatten()].reshape(*rows.shape, -1)
        found = d2_of_windows(points, types, stretches)
        return [(one[0], one[0] * _jackknife_error(np.log(one[1:]))) for one in found]

    losses = [_loss_of(nats) for nats in states.nats[used]]
    measured = zip(used.tolist(), mask.types[rows], losses, d2_at(inner), d2_at(states.n_layers), strict=True)
    return [
        RunWindowRow(
            run_id=run_id,
            sequence=window,
            document=int(sample.documents[window]),
            n_points=n,
            n_types=len(np.unique(of_window)),
            loss=_none_if_nan(loss),
            loss_std_error=_none_if_nan(loss_error),
            inner_layer=inner,
            inner_d2=_none_if_nan(at_inner),
            inner_d2_std_error=_none_if_nan(inner_error),
            final_d2=_none_if_nan(at_end),
            final_d2_std_error=_none_if_nan(end_error),
        )
        for window, of_window, (loss, loss_error), (at_inner, inner_error), (at_end, end_error) in measured
    ]


def _peak_layer(m: Measurement) -> int | None:
    """The inner layer (1 to L - 1) of the largest d2 of the first cloud that has one; None if no cloud does."""
    for cloud in m.protocol.clouds:
        values = {
            layer: e.estimate.value
            for layer, state, result in m.labelled
            for e in result.estimates
            if (e.cloud, e.estimator, e.transform, state) == (cloud, "d2", "centred", "residual")
            and 0 < layer < m.states.n_layers
            and math.isfinite(e.estimate.value)
        }
        if values:
            return max(values, key=values.__getitem__)
    return None


def _loss_of(nats: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of the losses of a window's targets (n_tokens,), by a jackknife over stretches."""
    known = nats[np.isfinite(nats)].astype(np.float64)
    if len(known) < FEWEST_IN_WINDOW:
        return math.nan, math.nan
    stretches = np.arange(len(known)) * N_STRETCHES // len(known)
    without = [known[stretches != number].mean() for number in range(N_STRETCHES)]
    return float(known.mean()), _jackknife_error(np.array(without))


def _jackknife_error(without: np.ndarray) -> float:
    """Jackknife standard error from leave-one-out values."""
    n = len(without)
    return math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))


def _distributions(m: Measurement) -> Iterator[tuple[int, Distribution]]:
    for layer, state, result in m.labelled:
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


def _token_rows(m: Measurement, layer: int, distribution: Distribution) -> Iterator[TokenResultRow]:
    position_of = np.flatnonzero(m.mask.keep) % m.sample.ids.shape[1]
    for row, value in zip(distribution.rows.tolist(), _in_bin_units(distribution).tolist(), strict=False):
        yield TokenResultRow(
            m.run_id,
            layer,
            int(m.mask.sequences[row]),
            int(position_of[row]),
            distribution.quantity,
            _none_if_nan(value),
        )


def _none_if_nan(value: float) -> float | None:
    """NULL for an undefined value."""
    return value if math.isfinite(value) else None
