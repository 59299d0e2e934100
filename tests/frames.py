"""Frames as core.warehouse.queries returns them, made from the records: models that were never measured.

The curves rise from the embedding to a peak and fall to the final state; every number is chosen, none is real.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
import polars as pl

from core.questions.runs import Selection
from core.registry.protocols import CLAIMS, SPECIFICATIONS
from core.tables import (
    TABLES,
    LayerCorrelatorRow,
    LayerEstimateRow,
    RunClaimRow,
    RunControlRow,
    RunExtremumRow,
    RunSummaryRow,
    ScoreRow,
    columns,
)
from core.tables.columns import attributes

WORDS_READ = 1.1
"""d2 on one point per word over d2 on one per type, in these frames."""

LISTS = ("qualifiers", "reasons_rise", "reasons_fall", "tags", "control_run_ids", "vetoed_by")

T = TypeVar("T")


@dataclass(frozen=True)
class Model:
    """A model as a test wants it; `final_post_norm` None = an encoder without a final norm."""

    name: str
    run_id: str = ""
    repository: str | None = None
    revision: str = "r1"
    requested_revision: str | None = None
    base_repository: str | None = None
    base_relation: str | None = None
    kind: str = "decoder"
    tokenizer_hash: str = "tok1"
    n_layers: int = 10
    pass_: str = "text"
    seed: int = 0
    corpus: str = "python-docs"
    protocol_hash: str = "abc123def456"
    dtype: str = "float32"
    embedding: float = 44.0
    peak: float = 106.0
    final: float = 21.7
    final_post_norm: float | None = 18.0
    rise: str | None = "depends"
    fall: str | None = "untested"
    reasons_rise: tuple[str, ...] = ("axis_dominant_directions",)
    reasons_fall: tuple[str, ...] = ("no_control",)
    qualifiers: tuple[str, ...] = ()
    has_peak: bool = True
    n_points: int = 800
    worst_check: str = "pass"
    words_hash: str | None = "w1"
    parent_run_id: str | None = None
    model_seed: int | None = None
    control_run_ids: tuple[str, ...] | None = None

    @property
    def id(self) -> str:
        return self.run_id or f"01940000-0000-7000-8000-{abs(hash_of(self)):012d}"

    def values(self) -> list[float]:
        """Straight up to the peak at 30 percent of the layers, straight down, and a drop at the last block."""
        top = max(1, round(0.3 * self.n_layers))
        up = [self.embedding + (self.peak - self.embedding) * i / top for i in range(top)]
        slope = range(top, self.n_layers)
        down = [self.peak - 0.25 * self.peak * (i - top) / max(1, self.n_layers - top) for i in slope]
        return [*up, *down, self.final]


def hash_of(model: Model) -> int:
    """The same on every machine: Python's own hash of strings is not."""
    text = f"{model.name}{model.pass_}{model.seed}{model.corpus}{model.dtype}{model.revision}"
    return sum((i + 1) * ord(letter) for i, letter in enumerate(text))


def made(record: type[T], **columns: Any) -> T:
    """A record with these columns and what is default, as a read that leaves out the others."""
    one, named = object.__new__(record), attributes(record)
    vars(one).update({field.name: field.default for field in fields(record) if field.default is not MISSING})
    vars(one).update({named[name]: value for name, value in columns.items()})
    return one


def run_row(model: Model) -> dict:
    top = max(1, round(0.3 * model.n_layers))
    spread = {"lower": 0.93, "upper": 1.07}
    row = {
        "run_id": model.id,
        "parent_run_id": model.parent_run_id,
        "pass": model.pass_,
        "seed": model.seed,
        "model_id": f"hub:{model.name}@{model.revision}",
        "corpus_id": f"{model.corpus}@0123456789ab",
        "pilot_id": None,
        "protocol": "quick",
        "protocol_hash": model.protocol_hash,
        "status": "finished",
        "tags": [],
        "note": None,
        "started_at": datetime(2026, 11, 25, 9, 0, tzinfo=UTC),
        "finished_at": datetime(2026, 11, 25, 9, 1, tzinfo=UTC),
        "dtype": model.dtype,
        "device": "cpu",
        "code_version": "0.1.0",
        "library_versions": '{"torch": "2.13.0", "transformers": "5.24.0", "numpy": "2.3.0"}',
        "config": "{}",
        "n_sequences": 32,
        "n_tokens": 4096,
        "n_tokens_used": 3950,
        "n_types": 1050,
        "name": model.name,
        "repository": model.repository,
        "reference": f"hub:{model.name}",
        "revision": model.revision,
        "requested_revision": model.requested_revision,
        "base_repository": model.base_repository,
        "base_relation": model.base_relation,
        "kind": model.kind,
        "architecture": "LlamaForCausalLM",
        "family": "llama",
        "parameters": 135_000_000,
        "hidden_size": 576,
        "key_value_size": None,
        "n_layers": model.n_layers,
        "tokenizer_hash": model.tokenizer_hash,
        "licence": "apache-2.0",
        "corpus_name": model.corpus,
        "corpus_language": "en",
        "corpus_domain": "technical reference",
        "worst_check": model.worst_check,
        "vetoed_by": ["sequence_share"] if model.worst_check == "veto" else [],
        "stack": "main",
        "configuration_hash": f"configuration of {model.id}",
        "chat_template_hash": None,
        "model_seed": model.model_seed,
        "words_hash": model.words_hash,
        "n_words": 800,
        "n_words_lost": 12,
        "control_run_ids": None if model.control_run_ids is None else list(model.control_run_ids),
        "estimator": "d2",
        "cloud": "one_per_type",
        "inner_max_layer": top,
        "lowest_layer": model.n_layers,
        "lowest_dimension": model.final,
        "working_layer": top if model.has_peak else None,
        "working_layer_first": max(1, top - 1) if model.has_peak else None,
        "working_layer_last": top + 1 if model.has_peak else None,
        "relative_depth": top / model.n_layers if model.has_peak else None,
        "expansion_ratio": model.peak / model.embedding,
        "contraction_ratio": model.peak / model.final,
        "verdict_rise": model.rise,
        "verdict_fall": model.fall,
        "reasons_rise": list(model.reasons_rise),
        "reasons_fall": list(model.reasons_fall),
        "qualifiers": list(model.qualifiers),
        "bits_per_byte": 1.02 if model.kind == "decoder" else None,
        "n_points": model.n_points,
    }
    for column, value in (
        ("inner_max", model.peak),
        ("working_dimension", model.peak if model.has_peak else None),
        ("embedding_dimension", model.embedding),
        ("final_dimension_pre_norm", model.final),
        ("final_dimension_post_norm", model.final_post_norm),
    ):
        row[column] = value
        row |= {f"{column}_{end}": None if value is None else value * by for end, by in spread.items()}
    for ratio in ("expansion_ratio", "contraction_ratio"):
        row |= {f"{ratio}_{end}": row[ratio] * by for end, by in spread.items()}
    return row


def of_runs(*models: Model, scored: Sequence[ScoreRow] = (), with_words: bool = False, **changed) -> Selection:
    """Everything that a deck of these models is made from; `changed` are frames of other contents."""
    nothing = pl.DataFrame()
    made = Selection(
        runs=runs(*models),
        controls=nothing,
        pairs=nothing,
        distributions=nothing,
        records=nothing,
        windows=TABLES["run_windows"].frame([]),
        seeds=nothing,
        estimates=estimates(*models),
        correlators=correlators(*models),
        checks=checks(),
        summaries=summaries(*models) if with_words else summaries(),
        scores=scores(*scored),
        claims=claims(*models),
        extrema=extrema(*models),
        against_controls=against_controls(*models),
    )
    made = replace(made, **changed)
    return replace(made, controls=made.runs.clear())


def runs(*models: Model) -> pl.DataFrame:
    if not models:
        return runs(Model("x")).clear()
    frame = pl.DataFrame([run_row(model) for model in models], infer_schema_length=None)
    nulls = [column for column, kind in frame.schema.items() if kind == pl.Null]
    as_text = (
        "repository",
        "base_repository",
        "base_relation",
        "note",
        "parent_run_id",
        "pilot_id",
        "words_hash",
        "chat_template_hash",
        "requested_revision",
    )
    lists = [column for column in frame.columns if column in LISTS]
    return frame.with_columns(
        pl.col(column).cast(pl.String if column in as_text else pl.Float64) for column in nulls if column not in lists
    ).with_columns(pl.col(lists).cast(pl.List(pl.String)), pl.col("model_seed").cast(pl.Int64))


def summaries(*models: Model) -> pl.DataFrame:
    """On one point per type, as in `runs`, and on one per word: a little fewer points, a little higher."""
    if not models:
        return summaries(Model("x")).clear()
    own = [column for column in columns(RunSummaryRow) if column in runs(models[0]).columns]
    of_types = runs(*models).select(own)
    of_words = of_types.with_columns(
        cloud=pl.lit("one_per_word"),
        n_points=(pl.col("n_points") * 0.95).cast(pl.Int64),
        working_dimension=WORDS_READ * pl.col("working_dimension"),
    ).with_columns(pl.col("inner_max", "inner_max_lower", "inner_max_upper") * WORDS_READ)
    return pl.concat([of_types, of_words])


def claims(*models: Model) -> pl.DataFrame:
    """Every core specification says yes to the fall; without three components the rise is the opposite."""
    rows = [
        RunClaimRow(
            model.id,
            claim,
            one.cloud,
            one.estimator,
            one.transform,
            one.n1,
            one.n2,
            model.seed,
            one.is_core,
            0.6 if (opposite := claim == "rise" and one.transform == "abtt3") else 2.4,
            0.5 if opposite else 2.1,
            0.7 if opposite else 2.8,
            "opposite" if opposite else "yes",
            None,
            3,
        )
        for model in models
        if model.pass_ == "text"
        for one in SPECIFICATIONS
        for claim in CLAIMS
    ]
    return TABLES["run_claims"].frame(rows)


def extrema(*models: Model) -> pl.DataFrame:
    ends = ("start", 0), ("peak", 3), ("end", 10)
    return TABLES["run_extrema"].frame(
        [RunExtremumRow(m.id, "one_per_type", kind, layer, 50.0, 45.0, 55.0) for m in models for kind, layer in ends]
    )


def against_controls(*models: Model) -> pl.DataFrame:
    """Shuffled text is the same in its largest dimension; other controls have no power for the rise."""
    rows = []
    for text in models:
        for control in models:
            if text.pass_ != "text" or control.id not in (text.control_run_ids or ()):
                continue
            claim, power, outcome = (
                ("inner_max", None, "same") if control.pass_ == "shuffled" else ("rise", 0.1, "no_power")
            )
            rows.append(RunControlRow(text.id, control.id, claim, 1.05, 0.99, 1.11, power, outcome))
    return TABLES["run_controls"].frame(rows)


def estimates(*models: Model) -> pl.DataFrame:
    rows = [row for model in models for row in _estimate_rows(model)]
    schema = columns(LayerEstimateRow)
    if not rows:
        return pl.DataFrame([asdict(row) for row in _estimate_rows(Model("x"))], infer_schema_length=None).clear()
    return pl.DataFrame([asdict(row) for row in rows], infer_schema_length=None).select(schema)


def _estimate_rows(model: Model) -> list[LayerEstimateRow]:
    states = [(layer, "residual", value) for layer, value in enumerate(model.values())]
    if model.final_post_norm is not None:
        states.append((model.n_layers, "post_norm", model.final_post_norm))
    return [_estimate(model, layer, state, "d2", None, value) for layer, state, value in states] + [
        _estimate(model, layer, state, "gride", n1, value / 4 + n1) for layer, state, value in states for n1 in (1, 8)
    ]


def _estimate(model: Model, layer: int, state: str, estimator: str, n1: int | None, value: float) -> LayerEstimateRow:
    return LayerEstimateRow(
        run_id=model.id,
        layer=layer,
        state=state,
        stack="main",
        cloud="one_per_type",
        estimator=estimator,
        n1=n1,
        n2=None if n1 is None else 2 * n1,
        transform="centred",
        mean_distance=1.0,
        value=value,
        std_error=0.03 * value,
        lower=0.93 * value,
        upper=1.07 * value,
        gaussian_equivalent=None,
        n_points=model.n_points,
        n_dropped=0,
    )


def correlators(*models: Model) -> pl.DataFrame:
    rows = [
        LayerCorrelatorRow(model.id, layer, "residual", "one_per_type", "E1", 0.1 + 0.01 * layer, 0.01, 800)
        for model in models or (Model("x"),)
        for layer in range(model.n_layers + 1)
    ]
    frame = pl.DataFrame([asdict(row) for row in rows])
    return frame if models else frame.clear()


def checks(*rows: tuple[Model, str, str]) -> pl.DataFrame:
    schema = {
        "run_id": pl.String,
        "check_name": pl.String,
        "layer": pl.Int64,
        "value": pl.Float64,
        "threshold": pl.Float64,
        "outcome": pl.String,
    }
    found = [(model.id, name, None, 0.1, 0.05, outcome) for model, name, outcome in rows]
    return pl.DataFrame(found, schema=schema, orient="row")


def score(repository: str, value: float, revision: str | None = None, benchmark: str = "arc_easy", **more) -> ScoreRow:
    fields = {
        "metric": "acc",
        "filter": "none",
        "n_shot": 0,
        "suite": "suite1",
        "std_error": None,
        "unit": "percent",
        "higher_is_better": True,
        "n_samples": None,
        "is_partial": False,
        "is_group": False,
        "source": "a table",
        "licence": "Apache-2.0",
        "as_of": "2025-01-01",
        "flags": "",
        "file_sha256": "00",
    } | more
    return ScoreRow(repository=repository, revision=revision, benchmark=benchmark, value=value, **fields)


def scores(*rows: ScoreRow) -> pl.DataFrame:
    """Rows of `queries.scores`, by the names that their files have."""
    types = {"revision": pl.String, "std_error": pl.Float64, "n_samples": pl.Int64, "n_shot": pl.Int64}
    frame = pl.DataFrame([asdict(row) for row in rows or (score("x", 1.0),)], schema_overrides=types)
    return (frame if rows else frame.clear()).with_columns(name_in_source="repository")


def units(n: int, rho: float = 0.0, seed: int = 0, **more: Sequence) -> pl.DataFrame:
    """Rows that `relation.relate` counts: models whose log dimension and score have this correlation; further columns by
    name."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=n)
    y = rho * x + math.sqrt(1 - rho * rho) * generator.normal(size=n)
    frame = pl.DataFrame({"unit": [f"model-{i}" for i in range(n)], "dimension": 30 * np.exp(x), "performance": y})
    return frame.with_columns(**{name: pl.Series(values) for name, values in more.items()})


def of_units(frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Their dimensions and scores."""
    return frame["dimension"].to_numpy(), frame["performance"].to_numpy()
