"""Made-up profiles for tests: every type and every row kind of a real one, but the numbers are invented."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from core.records import Profile
from core.tables import (
    CorpusRow,
    LayerCorrelatorRow,
    LayerDistributionRow,
    LayerEstimateRow,
    LayerPairRow,
    LayerReplicateRow,
    ModelRow,
    RunCheckRow,
    RunRow,
    RunSummaryRow,
)

CLOUDS = ("one_per_type", "all_tokens")
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
    **run_changes,
) -> Profile:
    """A whole profile: rises from `peak` / 2 to `peak` and falls to `peak` / 5; `run_changes` are fields of RunRow."""
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
        correlators=[
            LayerCorrelatorRow(run_id, layer, state, cloud, name, noise.uniform(0.01, 0.3), 0.01, 800)
            for layer, state in states
            for cloud in CLOUDS
            for name in ("E1", "mean_cosine", "C2")
        ],
        replicates=[row for at in states for row in _replicates(run_id, at, _height(at, model.n_layers, peak), noise)],
        checks=[
            RunCheckRow(run_id, "norm_dropped_share", None, 0.01, 0.05, outcome),
            *(RunCheckRow(run_id, "duplicates", layer, 0.0, 0.1, "pass") for layer in range(model.n_layers + 1)),
            RunCheckRow(run_id, "unknown_token_share", None, 0.0, 0.01, "pass"),
            RunCheckRow(run_id, "tokens_per_character", None, 0.25, 1.0, "pass"),
            RunCheckRow(run_id, "token_types", None, 1050.0, 300.0, "pass"),
        ],
        bits_per_byte=1.1 if model.kind == "decoder" else None,
        pairs=[
            LayerPairRow(run_id, "neighbourhood_overlap", "one_per_type", 10, layer, layer + 1, 0.8, 0.01, 800)
            for layer in range(model.n_layers)
        ],
        distributions=[LayerDistributionRow(run_id, 0, "norm_ratio", 0.0, 0.5, 1200)],
        summaries=[
            _summary(run_id, estimator, cloud, model, peak) for estimator in ("d2", "gride") for cloud in CLOUDS
        ],
    )


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
        n_bytes_scored=15_000 if model.kind == "decoder" else None,
        peak_memory_bytes=1_500_000_000,
        phase_seconds='{"states": 20.0, "geometry": 40.0}',
    )
    return replace(row, **changes)


def _height(at: tuple[int, str], n_layers: int, peak: float) -> float:
    """Up over the first third, then down to a fifth."""
    layer, state = at
    depth = layer / n_layers
    rise = peak * (0.5 + 1.5 * depth) if depth < 1 / 3 else peak * (1 - 0.8 * (depth - 1 / 3) * 1.5)
    return rise * (0.85 if state == "post_norm" else 1.0)


def _estimates(run_id: str, at: tuple[int, str], height: float, noise: random.Random) -> list[LayerEstimateRow]:
    ranks: list[tuple[str, int | None, int | None]] = [
        ("d2", None, None),
        *(("gride", n, 2 * n) for n in (1, 2, 4, 8, 16, 32)),
        ("two_nn", 1, 2),
        ("mle", None, 20),
        ("participation_ratio", None, None),
    ]
    rows = []
    for cloud in CLOUDS:
        for estimator, n1, n2 in ranks:
            value = height * noise.uniform(0.97, 1.03) * (1.0 if estimator == "d2" else 0.3)
            error = 0.04 * value
            scale = float("nan") if n2 is None else 9.5
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
                    transform="centred",
                    mean_distance=scale,
                    value=value,
                    std_error=error,
                    lower=value - 2 * error,
                    upper=value + 2 * error,
                    gaussian_equivalent=None,
                    n_points=800 if cloud == "one_per_type" else 4000,
                    n_dropped=0,
                )
            )
    return rows


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
            draws(N_BLOCKS),
            draws(2 * N_HALVES) if (estimator, cloud) == ("d2", "one_per_type") else [],
        )
        for cloud in CLOUDS
        for estimator, n1 in ranks
    ]


def _summary(run_id: str, estimator: str, cloud: str, model: ModelRow, peak: float) -> RunSummaryRow:
    is_decoder = model.kind == "decoder"
    band = max(1, model.n_layers // 3)
    return RunSummaryRow(
        run_id=run_id,
        estimator=estimator,
        cloud=cloud,
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
        verdict="found",
        qualifiers=["no_random_init"] if is_decoder else ["no_random_init", "no_final_norm"],
        bits_per_byte=1.1 if is_decoder else None,
        n_points=800,
    )
