"""Made-up profiles for tests: every type and every row kind of a real one, but the numbers are invented."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from core.records import PROFILE_TABLES, Profile
from core.registry.protocols import CLAIMS, SPECIFICATIONS
from core.tables import (
    CorpusRow,
    LayerCorrelatorRow,
    LayerDistributionRow,
    LayerEstimateRow,
    LayerPairRow,
    LayerReplicateRow,
    ModelRow,
    RunCheckRow,
    RunClaimRow,
    RunControlRow,
    RunExtremumRow,
    RunRow,
    RunSummaryRow,
    RunWindowRow,
)

CLOUDS = ("one_per_type", "one_per_word", "all_tokens")
N_BLOCKS = 16
N_HALVES = 20


def make_model(model_id: str = "pypi:made-up@1.0", kind: str = "decoder", n_layers: int = 4, **changes) -> ModelRow:
    """A model row; `changes` are fields of ModelRow."""
    reference, _, revision = model_id.partition("@")
    row = ModelRow(
        model_id=model_id,
        reference=reference,
        name=reference.split(":")[-1],
        repository=None,
        revision=revision or "1.0",
        base_repository=None,
        base_relation=None,
        kind=kind,
        architecture="MadeUpForCausalLM" if kind == "decoder" else "MadeUpModel",
        family="made-up",
        parameters=134_515_008,
        hidden_size=576,
        n_layers=n_layers,
        vocabulary_size=49_152,
        tokenizer_hash="tokenizer-of-" + kind,
        weight_format="safetensors",
        weight_bytes=269_000_000,
        weights_sha256="0" * 64,
        licence="Apache-2.0",
        configuration_hash="configuration-of-" + model_id,
    )
    return replace(row, **changes)


def make_corpus(corpus_id: str = "made-up-0123456789ab", **changes) -> CorpusRow:
    """A corpus row; `changes` are fields of CorpusRow."""
    name, _, digest = corpus_id.rpartition("-")
    row = CorpusRow(
        corpus_id=corpus_id,
        name=name,
        language="en",
        domain="reference",
        licence="PSF-2.0",
        sha256=digest.ljust(64, "0"),
        n_documents=10,
        n_characters=100_000,
        source="built-in",
    )
    return replace(row, **changes)


def make_profile(
    run_id: str = "01900000-0000-7000-8000-000000000001",
    *,
    model: ModelRow | None = None,
    corpus: CorpusRow | None = None,
    peak: float = 100.0,
    outcome: str = "pass",
    seed: int = 0,
    qualifiers: tuple[str, ...] = (),
    **run_changes,
) -> Profile:
    """A whole profile: rises from `peak` / 2 to `peak` and falls to `peak` / 5; `run_changes` are fields of RunRow.

    `outcome` is that of one check of the whole run; the others pass.
    """
    model = model or make_model()
    corpus = corpus or make_corpus()
    states = [(layer, "residual") for layer in range(model.n_layers + 1)]
    if model.kind == "decoder":
        states.append((model.n_layers, "post_norm"))
    noise = random.Random(f"{run_id} {seed}")
    return Profile(
        model=model,
        corpus=corpus,
        run=_run(run_id, model, corpus, seed, run_changes),
        estimates=[row for at in states for row in _estimates(run_id, at, _height(at, model.n_layers, peak), noise)],
        correlators=[row for at in states for row in _correlators(run_id, at, model.n_layers, noise)],
        replicates=[row for at in states for row in _replicates(run_id, at, _height(at, model.n_layers, peak), noise)],
        checks=list(_checks(run_id, model.n_layers, outcome)),
        pairs=list(_pairs(run_id, model.n_layers)),
        distributions=[row for layer in range(model.n_layers + 1) for row in _distributions(run_id, layer, noise)],
        claims=list(_claims(run_id, seed, model)),
        extrema=list(_extrema(run_id, model, peak)),
        summaries=[
            _summary(run_id, estimator, cloud, model, peak, qualifiers)
            for estimator in ("d2", "gride")
            for cloud in CLOUDS
        ],
        windows=_windows(run_id, model, peak) if model.kind == "decoder" else [],
    )


def _windows(run_id: str, model: ModelRow, peak: float) -> list[RunWindowRow]:
    """Sixteen windows of eight documents, whose loss has nothing to do with their dimension."""
    noise = random.Random(f"{run_id} windows")
    inner = max(1, model.n_layers // 2)
    return [
        RunWindowRow(
            run_id=run_id,
            sequence=number,
            document=number // 2,
            n_points=120,
            n_types=noise.randint(50, 90),
            loss=noise.uniform(2, 4),
            loss_std_error=0.2,
            inner_layer=inner,
            inner_d2=peak / 3 * noise.uniform(0.8, 1.25),
            inner_d2_std_error=peak / 30,
            final_d2=peak / 5 * noise.uniform(0.8, 1.25),
            final_d2_std_error=peak / 50,
            bits=(1.1 + 0.05 * (number % 4) - 0.075) * 500,
            n_bytes=500,
        )
        for number in range(16)
    ]


def _run(run_id: str, model: ModelRow, corpus: CorpusRow, seed: int, changes: dict) -> RunRow:
    started = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=int(run_id[-6:], 16))
    row = RunRow(
        run_id=run_id,
        parent_run_id=None,
        pass_="text",
        seed=seed,
        model_id=model.model_id,
        corpus_id=corpus.corpus_id,
        pilot_id=None,
        protocol="quick",
        protocol_hash="0123456789ab",
        status="finished",
        tags=[],
        note=None,
        started_at=started,
        finished_at=started + timedelta(seconds=70),
        dtype="float32",
        device="cpu",
        code_version="0.1.0",
        library_versions='{"torch": "2.13.0"}',
        config='{"model": "made-up"}',
        n_sequences=32,
        n_tokens=4096,
        n_tokens_used=4000,
        n_types=1050,
        n_dropped_position=32,
        n_dropped_special=0,
        n_dropped_norm=64,
        max_norm_ratio=140.0,
        n_bytes_scored=8_000 if model.kind == "decoder" else None,
        peak_memory_bytes=1_500_000_000,
        phase_seconds='{"states": 20.0, "geometry": 40.0}',
        stack="main",
        words_hash="words-of-" + corpus.corpus_id,
        n_words=900,
        n_words_lost=12,
        bits_per_byte=1.1 if model.kind == "decoder" else None,
    )
    return replace(row, **changes)


def make_controls(of: Profile, first_number: int) -> list[Profile]:
    """Control passes of a run: shuffled text, and two seeds of random weights, whose d2 only falls."""
    stem = of.run.run_id[:-2]
    common = {"protocol": of.run.protocol, "protocol_hash": of.run.protocol_hash}
    ids = [f"{stem}{first_number + i:02d}" for i in range(3)]
    parent = of.run.run_id
    shuffled = make_profile(
        ids[0], model=of.model, corpus=of.corpus, peak=95.0, pass_="shuffled", parent_run_id=parent, **common
    )
    randoms = [
        make_profile(
            run_id, model=of.model, corpus=of.corpus, seed=number, pass_="random_init", model_seed=number, **common
        )
        for number, run_id in enumerate(ids[1:])
    ]
    return [shuffled, *(replace(one, estimates=[_falling(row, one.model) for row in one.estimates]) for one in randoms)]


def _falling(row: LayerEstimateRow, model: ModelRow) -> LayerEstimateRow:
    value = model.hidden_size * 0.02 ** (row.layer / model.n_layers)
    return replace(row, value=value, std_error=0.04 * value, lower=0.92 * value, upper=1.08 * value)


def _height(at: tuple[int, str], n_layers: int, peak: float) -> float:
    """Up over the first third, then down to a fifth."""
    layer, state = at
    depth = layer / n_layers
    rise = peak * (0.5 + 1.5 * depth) if depth < 1 / 3 else peak * (1 - 0.8 * (depth - 1 / 3) * 1.5)
    return rise * (0.85 if state == "post_norm" else 1.0)


def _estimates(run_id: str, at: tuple[int, str], height: float, noise: random.Random) -> list[LayerEstimateRow]:
    rows = []
    for cloud in CLOUDS:
        for estimator, n1, n2, transform in [*_USUAL, *(_MORE if cloud == "one_per_type" else [])]:
            share = {"d2": 1.0, "local_d2": (n2 or 0) / 500}.get(estimator, 0.3)
            share *= {"abtt3": 1.6, "zscore": 2.4, "gaussian_surrogate": 2.2}.get(transform, 1.0)
            value = height * noise.uniform(0.97, 1.03) * share
            error = 0.04 * value
            has_equivalent = estimator in ("gride", "two_nn", "mle") and transform == "centred" and value < 25
            rows.append(
                LayerEstimateRow(
                    run_id=run_id,
                    layer=at[0],
                    state=at[1],
                    stack="main",
                    cloud=cloud,
                    estimator=estimator,
                    n1=n1,
                    n2=n2,
                    transform=transform,
                    mean_distance=float("nan") if n2 is None else 9.5,
                    value=value,
                    std_error=error,
                    lower=value - 2 * error,
                    upper=value + 2 * error,
                    gaussian_equivalent=1.4 * value if has_equivalent else None,
                    n_points=4000 if cloud == "all_tokens" else 800,
                    n_dropped=0,
                )
            )
    return rows


_RANKS = (1, 2, 4, 8, 16, 32)
_USUAL: list[tuple[str, int | None, int | None, str]] = [
    ("d2", None, None, "centred"),
    ("participation_ratio", None, None, "centred"),
    ("two_nn", 1, 2, "centred"),
    ("mle", None, 20, "centred"),
    *(("gride", n, 2 * n, "centred") for n in _RANKS),
    *(("local_d2", None, k, "centred") for k in (20, 50, 100, 200, 400)),
]
_MORE: list[tuple[str, int | None, int | None, str]] = [
    ("d2", None, None, "abtt3"),
    ("d2", None, None, "zscore"),
    ("effective_rank", None, None, "centred"),
    ("stable_rank", None, None, "centred"),
    ("two_nn_censored", 1, 2, "centred"),
    ("two_nn_linear", 1, 2, "centred"),
    ("correlation_integral", 10, 20, "centred"),
    ("two_nn", 1, 2, "gaussian_surrogate"),
    *(("gride", n, 2 * n, "gaussian_surrogate") for n in _RANKS),
]
"""Estimator, n1, n2, transform: what only `one_per_type` is measured by."""


def _correlators(run_id: str, at: tuple[int, str], n_layers: int, noise: random.Random) -> list[LayerCorrelatorRow]:
    layer, state = at
    usual = ("E1", "mean_cosine", "C2", "cosine_kurtosis")
    rows = [
        LayerCorrelatorRow(run_id, layer, state, cloud, name, noise.uniform(0.01, 0.3), 0.01, 800)
        for cloud in CLOUDS
        for name in (*usual, *(("nonlinearity_ratio_8",) if cloud == "one_per_type" else ()))
    ]
    inner = 0 < layer < n_layers
    sinks = {
        "large_norm_tokens": 60.0 if inner else 0.0,
        "large_norm_ratio": 140.0 if inner else 2.1,
        "large_norm_at_start": 0.6 if inner else math.nan,
    }
    return rows + [LayerCorrelatorRow(run_id, *at, "unmasked", name, x, math.nan, 4096) for name, x in sinks.items()]


def _checks(run_id: str, n_layers: int, outcome: str) -> Iterator[RunCheckRow]:
    yield RunCheckRow(run_id, "norm_dropped_share", None, 0.01, 0.05, outcome)
    yield RunCheckRow(run_id, "unknown_token_share", None, 0.0, 0.01, "pass")
    yield RunCheckRow(run_id, "tokens_per_character", None, 0.25, 1.0, "pass")
    yield RunCheckRow(run_id, "token_types", None, 1050.0, None, "pass")
    yield RunCheckRow(run_id, "words_lost_share", None, 0.01, 0.05, "pass")
    for layer in range(1, n_layers + 1):
        yield RunCheckRow(run_id, "duplicates", layer, 0.0, 0.005, "pass")
    for layer in (0, 1, n_layers):
        for name in ("sequence_invariance", "sequence_invariance_all_pairs", "n_invariance"):
            yield RunCheckRow(run_id, name, layer, 0.031, 0.0953, "pass", 0.012)
        yield RunCheckRow(run_id, "sequence_share", layer, 0.08, 0.2, "pass")
        yield RunCheckRow(run_id, "vocabulary_shift", layer, 0.27, None, "pass")


def _pairs(run_id: str, n_layers: int) -> Iterator[LayerPairRow]:
    """Layers resemble each other less with their distance; the embedding resembles none."""
    for a in range(n_layers + 1):
        for b in range(n_layers + 1):
            cosine = 1.0 if a == b else 0.03 if 0 in (a, b) else 0.8 ** abs(a - b)
            imbalance = 2 / 800 if a == b else min(1.0, 0.05 * abs(a - b) * (1.0 if a < b else 1.5))
            for measure, k, value, null, spread in (
                ("autocorrelation", None, cosine, None, None),
                ("autocorrelation_raw", None, 0.5 + cosine / 2, None, None),
                ("displacement", None, 2 - 2 * cosine, None, None),
                ("neighbour_overlap", 8, cosine, 8 / 799, None),
                ("information_imbalance", 1, imbalance, 1.0, None),
                ("cka", None, cosine, 0.0, 0.0018),
            ):
                yield LayerPairRow(run_id, measure, "one_per_type", k, a, b, value, 0.01, 800, null, spread)
            yield from _common(run_id, n_layers, a, b, cosine)
    yield LayerPairRow(run_id, "displacement_exponent", "one_per_type", None, 1, n_layers - 1, 0.61, 0.03, 800)


def _common(run_id: str, n_layers: int, a: int, b: int, cosine: float) -> Iterator[LayerPairRow]:
    """Every layer has 50 dimensions, of which two share as many as their cosine says."""
    if a > b:
        return
    for measure, value, null, spread in (
        ("common_correlator", cosine / 50, 0.0, 2e-4),
        ("common_dimension", 50 / cosine, None, None),
        ("kept", 50 * cosine, 0.01, 0.5),
    ):
        yield LayerPairRow(run_id, measure, "one_per_type", None, a, b, value, 0.04 * value, 800, null, spread)
    if b == a + 1 or (a < b and (a == 0 or b == n_layers)):
        for measure in ("removed", "added"):
            yield LayerPairRow(run_id, measure, "one_per_type", None, a, b, 50 - 50 * cosine, 2.0, 800)


def _distributions(run_id: str, layer: int, noise: random.Random) -> list[LayerDistributionRow]:
    """Ten bins each; those of local_d2 move from layer to layer."""
    ranges = {
        "local_d2": (5.0 + layer, 25.0 + layer),
        "distance_to_mean": (0.5, 1.5),
        "variance_share": (0.5, 2.0),
        "cosine_to_mean": (-0.2, 0.9),
        "neighbours_kept": (0.0, 1.0),
        "displacement": (0.0, 1.2),
        "block_share": (0.02, 0.6),
        "cosine": (-0.5, 0.7),
    }
    return [
        LayerDistributionRow(
            run_id,
            layer,
            quantity,
            low + i * (high - low) / 10,
            low + (i + 1) * (high - low) / 10,
            round(100 * math.exp(-((i - 4.5) ** 2) / 8) + noise.randrange(3)),
        )
        for quantity, (low, high) in ranges.items()
        for i in range(10)
    ]


def _claims(run_id: str, seed: int, model: ModelRow) -> Iterator[RunClaimRow]:
    """As of a profile whose rise goes with dominant directions and whose fall holds."""
    layer = max(1, model.n_layers // 3)
    for one in SPECIFICATIONS:
        if model.n_layers < 2:
            return
        for claim in CLAIMS:
            if claim == "fall":
                ratio, outcome = 4.0, "yes"
            elif one.axis == "neighbours":
                ratio, outcome = 1.1, "cannot_tell"
            elif one.transform == "abtt3":
                ratio, outcome = 0.6, "opposite"
            elif one.transform == "abtt1":
                ratio, outcome = 1.0, "no"
            else:
                ratio, outcome = 2.0, "yes"
            reach = 1.3 if outcome == "cannot_tell" else 1.05
            yield RunClaimRow(
                run_id,
                claim,
                one.cloud,
                one.estimator,
                one.transform,
                one.n1,
                one.n2,
                seed,
                one.is_core,
                ratio,
                ratio / reach,
                ratio * reach,
                outcome,
                outcome if one.is_core else None,
                layer,
            )


def _extrema(run_id: str, model: ModelRow, peak: float) -> Iterator[RunExtremumRow]:
    heights = [("start", 0, peak / 2), ("peak", max(1, model.n_layers // 3), peak), ("end", model.n_layers, peak / 5)]
    for kind, layer, value in heights:
        yield RunExtremumRow(run_id, "one_per_type", kind, layer, value, 0.9 * value, 1.1 * value)


def _against(of: RunRow, control: RunRow) -> Iterator[RunControlRow]:
    """Shuffled text is the same in its largest dimension and differs at the end; random weights have no power."""
    found: list[tuple[str, float, float | None, str]] = (
        [("inner_max", 1.05, None, "same"), ("final", 2.5, None, "differs")]
        if control.pass_ == "shuffled"
        else [("rise", 2.1, 0.05, "no_power"), ("fall", 1.4, 0.97, "exceeded")]
    )
    for claim, ratio, power, outcome in found:
        yield RunControlRow(of.run_id, control.run_id, claim, ratio, ratio / 1.04, ratio * 1.04, power, outcome)


def with_controls(of: Profile, controls: Sequence[Profile]) -> Profile:
    """The profile with what these controls say about it."""
    return replace(of, controls=[row for control in controls for row in _against(of.run, control.run)])


def _replicates(run_id: str, at: tuple[int, str], height: float, noise: random.Random) -> list[LayerReplicateRow]:
    def draws(n: int) -> list[float]:
        return [height * noise.uniform(0.98, 1.02) for _ in range(n)]

    ranks = (("d2", None), ("gride", 8), ("two_nn", 1), ("mle", None), ("participation_ratio", None))
    return [
        LayerReplicateRow(
            run_id,
            *at,
            cloud,
            estimator,
            n1,
            "centred",
            draws(N_BLOCKS),
            draws(2 * N_HALVES) if (estimator, cloud) == ("d2", "one_per_type") else [],
        )
        for cloud in CLOUDS
        for estimator, n1 in ranks
    ]


def _summary(
    run_id: str, estimator: str, cloud: str, model: ModelRow, peak: float, qualifiers: tuple[str, ...]
) -> RunSummaryRow:
    is_decoder = model.kind == "decoder"
    band = max(1, model.n_layers // 3)
    peak = 1.05 * peak if cloud == "one_per_word" else peak
    return RunSummaryRow(
        run_id=run_id,
        estimator=estimator,
        cloud=cloud,
        inner_max=peak,
        inner_max_lower=peak * 0.9,
        inner_max_upper=peak * 1.1,
        inner_max_layer=band,
        lowest_layer=model.n_layers,
        lowest_dimension=peak / 5,
        verdict_rise="depends",
        verdict_fall="holds",
        reasons_rise=["axis_dominant_directions"],
        reasons_fall=[],
        working_dimension=peak,
        working_dimension_lower=peak * 0.9,
        working_dimension_upper=peak * 1.1,
        working_layer=band,
        working_layer_first=band,
        working_layer_last=min(band + 1, model.n_layers),
        relative_depth=band / model.n_layers,
        embedding_dimension=peak / 2,
        embedding_dimension_lower=peak * 0.45,
        embedding_dimension_upper=peak * 0.55,
        final_dimension_pre_norm=peak / 5,
        final_dimension_pre_norm_lower=peak * 0.18,
        final_dimension_pre_norm_upper=peak * 0.22,
        final_dimension_post_norm=peak * 0.17 if is_decoder else None,
        final_dimension_post_norm_lower=peak * 0.15 if is_decoder else None,
        final_dimension_post_norm_upper=peak * 0.19 if is_decoder else None,
        expansion_ratio=2.0,
        expansion_ratio_lower=1.7,
        expansion_ratio_upper=2.3,
        contraction_ratio=5.0,
        contraction_ratio_lower=4.5,
        contraction_ratio_upper=5.5,
        contraction_ratio_post_norm=5.9 if is_decoder else None,
        qualifiers=[*qualifiers, *(() if is_decoder else ("no_final_norm",))],
        bits_per_byte=1.1 if is_decoder else None,
        n_points=800,
    )


def under(profile: Profile, run_id: str) -> Profile:
    """The same profile as another run."""
    many = {name: [replace(row, run_id=run_id) for row in getattr(profile, name)] for name in PROFILE_TABLES.values()}
    return replace(profile, run=replace(profile.run, run_id=run_id, tags=[]), **many)
