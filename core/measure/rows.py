"""From what was measured to the rows that are stored."""

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

KEPT_REPLICATES = {specification.key for specification in SPECIFICATIONS}
"""What claims are judged by."""
# Fixed bins let layers and runs be laid side by side; logarithmic where a quantity has no upper end.
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
class Measured:
    """Everything that one pass found, before it becomes rows."""

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
    """Layer -> change of log d2 where the norm rule is left out; empty where it dropped nothing."""

    @property
    def protocol(self) -> Protocol:
        return self.setup.protocol

    @property
    def model(self) -> OpenModel:
        """Without its weights."""
        return self.setup.blueprint.weightless

    @property
    def n_points(self) -> int | None:
        """Of the cloud `one_per_type`; None without it."""
        return self.plan.draws[0].n_points if self.plan.draws else None

    @property
    def words_lost_share(self) -> float | None:
        """None where no words are measured."""
        return self.words.lost_share if PASSES[self.config.pass_].has_words and self.plan.word_draws else None

    @property
    def labelled(self) -> Iterator[tuple[int, str, LayerResult]]:
        for (layer, state), result in zip(self.states.labels, self.layers, strict=True):
            yield layer, state, result


def as_profile(m: Measured, checks: list[RunCheckRow], clock: Clock) -> Profile:
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
            if (e.cloud, e.transform, e.estimator, e.n1) in KEPT_REPLICATES and e.blocks
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
                _stored(p.value),
                _stored(p.std_error),
                p.n_points,
                _stored(p.null_value),
                _stored(p.null_spread),
            )
            for p in m.pairs
        ],
        distributions=[row for at in _distributions(m) for row in _histogram(m.run_id, *at)],
        windows=window_rows(m.run_id, m.sample, m.mask, m.states, _largest_inner(m)),
        tokens=[row for at in _distributions(m) for row in _token_rows(m, *at)] if m.config.keep_tokens else [],
    )


def _run_row(m: Measured, clock: Clock) -> RunRow:
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


def _execution(m: Measured) -> dict[str, Any]:
    """By what the run was computed, and how it found room in the memory."""
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


def _estimate_row(m: Measured, layer: int, state: str, found: CloudEstimate) -> LayerEstimateRow:
    e = found.estimate
    equivalent, equivalent_lower, equivalent_upper = map(_stored, found.gaussian_equivalent)
    return LayerEstimateRow(
        m.run_id,
        layer,
        state,
        m.model.stack,
        found.cloud,
        found.estimator,
        found.n1,
        found.n2,
        found.transform,
        _stored(e.scale),
        _stored(e.value),
        _stored(e.std_error),
        _stored(e.lower),
        _stored(e.upper),
        equivalent,
        e.n_points,
        e.n_dropped,
        e.notes or None,
        equivalent_lower,
        equivalent_upper,
    )


def _correlator_rows(m: Measured) -> Iterator[LayerCorrelatorRow]:
    for layer, state, result in m.labelled:
        for c in result.correlators:
            yield LayerCorrelatorRow(
                m.run_id, layer, state, c.cloud, c.correlator, _stored(c.value), _stored(c.std_error), c.n_points
            )


def _sink_rows(m: Measured) -> Iterator[LayerCorrelatorRow]:
    """Tokens of large norm at each layer, before masking: how many, how large, and how many open their sequence."""
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
            yield LayerCorrelatorRow(m.run_id, layer, "residual", "unmasked", name, _stored(value), None, len(norms))


FEWEST_IN_WINDOW = 64
"""Tokens without which a window has no dimension of its own."""
N_STRETCHES = 8
"""Of neighbouring tokens, that are left out of a window in turn for its errors."""


def window_rows(
    run_id: str, sample: TokenSample, mask: TokenMask, states: HiddenStates, inner: int | None
) -> list[RunWindowRow]:
    """Loss and dimension of each window, of a causal model: of the first tokens that the mask keeps, as many in each.

    `inner` is the layer of the largest inner dimension. Windows of which the mask keeps less than half stand without
    rows; all do where that leaves too few tokens.
    """
    if states.nats is None:
        return []
    n_windows, n_tokens = sample.ids.shape
    kept = np.bincount(mask.sequences, minlength=n_windows)
    used = np.flatnonzero(2 * kept >= n_tokens)
    n = int(kept[used].min()) if len(used) else 0
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
            loss=_stored(loss),
            loss_std_error=_stored(loss_error),
            inner_layer=inner,
            inner_d2=_stored(at_inner),
            inner_d2_std_error=_stored(inner_error),
            final_d2=_stored(at_end),
            final_d2_std_error=_stored(end_error),
        )
        for window, of_window, (loss, loss_error), (at_inner, inner_error), (at_end, end_error) in measured
    ]


def _largest_inner(m: Measured) -> int | None:
    """Where d2 of the first cloud that has one is largest, of the layers 1 to L - 1; None where it has none there."""
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
    """Mean and standard error of the losses of a window's targets (n_tokens,), by stretches of neighbours."""
    known = nats[np.isfinite(nats)].astype(np.float64)
    if len(known) < FEWEST_IN_WINDOW:
        return math.nan, math.nan
    stretches = np.arange(len(known)) * N_STRETCHES // len(known)
    without = [known[stretches != number].mean() for number in range(N_STRETCHES)]
    return float(known.mean()), _jackknife_error(np.array(without))


def _jackknife_error(without: np.ndarray) -> float:
    """Standard error from the values without each of its parts in turn."""
    n = len(without)
    return math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))


def _distributions(m: Measured) -> Iterator[tuple[int, Distribution]]:
    for layer, state, result in m.labelled:
        if state == "residual":
            for distribution in result.distributions:
                yield layer, distribution


def _histogram(run_id: str, layer: int, found: Distribution) -> Iterator[LayerDistributionRow]:
    """Counts in fixed bins; values beyond the ends are counted in the outermost bins."""
    edges = BINS[found.quantity]
    values = _in_bin_units(found)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    for lower, upper, count in zip(edges[:-1], edges[1:], counts, strict=True):
        yield LayerDistributionRow(run_id, layer, found.quantity, float(lower), float(upper), int(count))


def _in_bin_units(found: Distribution) -> np.ndarray:
    """Distances are relative to the layer's median, because the stream's norm grows a hundredfold through a model."""
    if found.quantity == "distance_to_mean" and len(found.values):
        return found.values / max(float(np.median(found.values)), 1e-30)
    return found.values


def _token_rows(m: Measured, layer: int, found: Distribution) -> Iterator[TokenResultRow]:
    position_of = np.flatnonzero(m.mask.keep) % m.sample.ids.shape[1]
    for row, value in zip(found.rows.tolist(), _in_bin_units(found).tolist(), strict=False):
        yield TokenResultRow(
            m.run_id, layer, int(m.mask.sequences[row]), int(position_of[row]), found.quantity, _stored(value)
        )


def _stored(value: float) -> float | None:
    """NaN means undefined, which a table says with NULL."""
    return value if math.isfinite(value) else None
