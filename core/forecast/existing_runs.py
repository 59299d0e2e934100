"""Finds what the warehouse already has of a planned measurement: the same run, its controls, and comparable runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from core.analysis.ranking import GROUP_KEYS, N_TOLERANCE, WORD_KEYS
from core.errors import Sentence
from core.measure.plan import Identity, Setup
from core.models.hub import with_content_id
from core.models.weights import Weights
from core.records import RunConfig
from core.tables import ModelRow, ids_of
from core.texts.sample import TokenSample
from core.warehouse import queries
from core.warehouse.connection import exists
from core.warehouse.runs import ControlPass, control_passes, find_same_run
from core.warehouse.warehouse import Warehouse


def find_existing_runs(
    warehouse: Warehouse, config: RunConfig, setup: Setup, sample: TokenSample | None, n_points: int | None
) -> tuple[dict[str, Any], list[ControlPass]]:
    """What a card says of the runs that relate to a planned measurement, and its control passes. Raises WarehouseError.

    `sample` and `n_points` are None if the tokenizer is not known. A missing warehouse is not created.
    """
    has_warehouse = exists(warehouse.path)
    runs = queries.ranking(warehouse) if has_warehouse else None
    protocol, row = setup.protocol, setup.blueprint.weightless.row
    identity = Identity(
        _model_id(row, setup.blueprint.weights, runs),
        row.configuration_hash,
        row.tokenizer_hash,
        setup.corpus.row.corpus_id,
        protocol.hash(config.seed),
        config.dtype,
        setup.blueprint.stack,
        sample.chat_template_hash if sample else None,
    )
    has_bos = bool(sample and sample.opening_token)
    controls = control_passes(config, protocol, asdict(identity), has_bos, warehouse if has_warehouse else None)
    if runs is None:
        return {"comparison": Sentence("The warehouse is empty: there is nothing to compare with yet.")}, controls
    same_protocol = {"corpus_id": identity.corpus_id, "protocol_hash": identity.protocol_hash}
    same_kind = {**same_protocol, "kind": row.kind, "stack": identity.stack}
    by_types, by_words = [], []
    other_models = runs.filter(pl.col("model_id") != identity.model_id)
    if sample:
        by_types = _comparable_runs(
            other_models, GROUP_KEYS, {**same_kind, "tokenizer_hash": identity.tokenizer_hash}, n_points
        )
        words = _comparable_runs(other_models, WORD_KEYS, {**same_kind, "words_hash": sample.words.hash}, None)
        by_words = [run for run in words if run not in by_types]
    known = {
        "measured_run": find_same_run(warehouse, config, protocol, asdict(identity), setup.shares_words)
        if sample
        else None,
        "comparable_runs": tuple(by_types),
        "comparable_by_words": tuple(by_words),
        "comparison": _comparison(other_models, same_protocol, same_kind, by_types, by_words),
    }
    return known, controls


def _comparable_runs(
    runs: pl.DataFrame, keys: Sequence[str], values: dict[str, Any], n_points: int | None
) -> list[str]:
    """Ids of the runs of a comparison group; with `n_points`, only those within `N_TOLERANCE` of that size."""
    matches = runs.filter(**{key: values[key] for key in keys})
    if n_points:
        smaller = pl.min_horizontal(pl.col("n_points"), pl.lit(n_points))
        larger = pl.max_horizontal(pl.col("n_points"), pl.lit(n_points))
        matches = matches.filter(smaller >= (1 - N_TOLERANCE) * larger)
    return ids_of(matches)


def _model_id(row: ModelRow, weights: Weights, runs: pl.DataFrame | None) -> str:
    """The model's id. That of a local model contains a hash of its content, computed only if the warehouse may have it."""
    if weights.revision or runs is None or runs.filter(reference=row.reference).is_empty():
        return row.model_id
    return row.model_id.replace(f"{row.reference}@", f"{row.reference}@{with_content_id(weights).revision}", 1)


def _comparison(
    other_models: pl.DataFrame,
    same_protocol: dict[str, Any],
    same_kind: dict[str, Any],
    by_types: list[str],
    by_words: list[str],
) -> str:
    if by_types or by_words:
        return Sentence(
            "Runs that compare: {n} on token types, {n_by_words} more on words.",
            n=len(by_types),
            n_by_words=len(by_words),
        )
    same_text = other_models.filter(corpus_id=same_protocol["corpus_id"])
    if other_models.is_empty():
        return Sentence("The warehouse has no other model to compare with yet.")
    if same_text.is_empty():
        return Sentence("No other model was measured on this text.")
    if same_text.filter(**same_protocol).is_empty():
        return Sentence("Others on this text have another protocol or seed, and do not compare.")
    if same_text.filter(**same_kind).is_empty():
        return Sentence("Models of another kind were measured like this; they do not compare.")
    return Sentence(
        "Similar models have another tokenizer, other words or another N. Measure all that you compare together."
    )
