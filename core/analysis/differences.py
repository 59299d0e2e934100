"""Which control runs belong to which run on text, and how two runs and their profiles differ.

A control belongs to the run it was measured for, to runs whose verdicts used it, and to every run that would use it if
measured now, by the rule of `warehouse.runs.control_passes`: same configuration, tokenizer, chat template, text and
protocol, and the same weights where the pass needs them (`core.registry.protocols`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import special

from core.analysis.claims import LEVEL, simultaneous_limits
from core.analysis.ranking import N_TOLERANCE
from core.analysis.ranks import NORMAL_95, common_blocks
from core.registry.protocols import PASSES, SHARED
from core.tables import Run, ids_of, records, value_of

_SHARED_FIELDS = ("stack", "configuration_hash", "tokenizer_hash", "corpus_id", "protocol_hash", "dtype")


def controls_of(run: Run, runs: pl.DataFrame) -> pl.DataFrame:
    """The control runs of one run on text among `runs`, sorted by pass and seed."""
    judged_with = run.control_run_ids or []
    belongs = pl.col("run_id").is_in(judged_with) | pl.col("parent_run_id").eq_missing(pl.lit(run.run_id))
    alike = [pl.col(name) == getattr(run, name) for name in _SHARED_FIELDS]
    alike.append(pl.col("chat_template_hash").eq_missing(pl.lit(run.chat_template_hash)))
    its_weights = pl.col("pass").is_in(SHARED) | (pl.col("model_id") == run.model_id)
    belongs |= pl.all_horizontal(its_weights, *alike)
    controls = runs.filter(pl.col("pass") != "text", belongs)
    order = pl.col("pass").replace_strict({key: n for n, key in enumerate(PASSES)}, default=None)
    return controls.sort([order, "model_seed", "run_id"], nulls_last=True)


def control_links(texts: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """text_run_id with run_id, pass, seed and model_seed of each of its controls among `runs`."""
    columns = ["run_id", "pass", "seed", "model_seed"]
    links = [
        controls_of(run, runs).select(pl.lit(run.run_id).alias("text_run_id"), *columns)
        for run in records(texts.filter(pl.col("pass") == "text"), Run)
    ]
    return pl.concat(links) if links else runs.clear().select(pl.lit("").alias("text_run_id"), *columns)


def control_ids(chosen: pl.DataFrame, runs: pl.DataFrame) -> list[str]:
    """Ids of the controls among `runs` of the chosen runs on text, without those chosen themselves."""
    run_ids = control_links(chosen, runs)["run_id"].unique(maintain_order=True).to_list()
    return [run_id for run_id in run_ids if run_id not in set(ids_of(chosen))]


def with_controls(chosen: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """The chosen runs followed by the controls among `runs` of those on text."""
    texts = chosen.filter(pl.col("pass") == "text")
    controls = [controls_of(run, runs) for run in records(texts, Run)]
    return pl.concat([chosen, *controls]).unique("run_id", keep="first", maintain_order=True)


JSON_FIELDS = ("library_versions", "config", "phase_seconds", "execution")
"""Columns that hold a JSON object; a part of it is a field of its own: `library_versions.torch`."""
INCIDENTAL_FIELDS = (
    *("run_id", "parent_run_id", "started_at", "finished_at"),
    *("phase_seconds", "execution.processor_seconds", "peak_memory_bytes"),
)
"""Fields that differ between any two runs and have no effect on their results."""
_COMPARABLE_FIELDS = ("pass", "kind", "stack", "corpus_id", "protocol_hash", "dtype")


@dataclass(frozen=True)
class Difference:
    """A field in which two runs differ; None for a missing value."""

    field: str
    """Column name, with the path into its JSON: `config.run.seed`."""
    one: Any
    other: Any


@dataclass(frozen=True)
class Comparability:
    """Whether the results of two runs are comparable."""

    by_types: bool
    """On one point per token type."""
    by_words: bool
    """On one point per word of the text: across tokenizers."""
    reasons: tuple[str, ...]
    """Fields that prevent one or both; `n_points` if cloud sizes differ by more than 10 percent."""


def flatten(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a run with JSON objects flattened; empty lists, NULL and empty texts become None."""
    fields: dict[str, Any] = {}
    for name, value in record.items():
        if name in JSON_FIELDS:
            fields |= _flatten_json(name, value and json.loads(value))
        else:
            fields[name] = _none_if_empty(value)
    return fields


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    """The fields that differ, in the order of the records; a missing field counts as None."""
    fields, other_fields = flatten(one), flatten(other)
    names = dict.fromkeys([*fields, *other_fields])
    return [
        Difference(name, fields.get(name), other_fields.get(name))
        for name in names
        if fields.get(name) != other_fields.get(name)
    ]


def without_incidental(fields: list[Difference]) -> list[Difference]:
    """Without the `INCIDENTAL_FIELDS`."""
    return [one for one in fields if not {one.field, one.field.partition(".")[0]} & set(INCIDENTAL_FIELDS)]


def comparability(one: Run, other: Run) -> Comparability:
    """By the rules of `ranking.groups` and `ranking.across_tokenizers`."""
    reasons = [name for name in _COMPARABLE_FIELDS if value_of(one, name) != value_of(other, name)]
    by_words = not reasons and bool(one.words_hash) and one.words_hash == other.words_hash
    if one.tokenizer_hash != other.tokenizer_hash:
        reasons += ["tokenizer_hash"] if reasons or by_words else ["tokenizer_hash", "words_hash"]
    elif _differs_in_size(one.n_points, other.n_points):
        reasons.append("n_points")
    return Comparability(not reasons, by_words, tuple(reasons))


def _differs_in_size(one: int | None, other: int | None) -> bool:
    if one is None or other is None:
        return one != other
    return min(one, other) < (1 - N_TOLERANCE) * max(one, other)


def _flatten_json(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            key: part for inner, held in value.items() for key, part in _flatten_json(f"{name}.{inner}", held).items()
        }
    return {name: _none_if_empty(value)}


def _none_if_empty(value: Any) -> Any:
    return None if value is None or value in ("", [], {}) else value


# --- profiles ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerDifference:
    """Relative difference of the dimensions of two runs at one layer: 0.1 is 10 percent more."""

    layer: int
    share: float
    lower: float | None
    upper: float | None
    """95 percent limits, for all layers at once."""


def layer_differences(one: pl.DataFrame, other: pl.DataFrame) -> tuple[list[LayerDifference], bool]:
    """Differences of run `one` from run `other`, layer by layer, and whether their blocks are paired.

    Columns of both frames: layer, value, lower, upper, and blocks (the value without block 0, 1, ... of the text; may be
    null). Blocks are paired if both runs have the same number at every layer: their common effect cancels, and the limits
    are those of `claims.simultaneous_limits` on logarithms. Otherwise errors count as independent, with Bonferroni limits
    over the layers that have errors. Layers that only one run has are left out.
    """
    both = (
        one.join(other, on="layer", suffix="_other")
        .filter(pl.col("value") > 0, pl.col("value_other") > 0)
        .sort("layer")
    )
    logs = np.log(both["value"].to_numpy()) - np.log(both["value_other"].to_numpy())
    blocks, other_blocks = (common_blocks(both[name]) for name in ("blocks", "blocks_other"))
    is_paired = False
    if both.height and blocks is not None and other_blocks is not None and blocks.shape == other_blocks.shape:
        is_paired = True
        limits = simultaneous_limits(logs, np.log(blocks) - np.log(other_blocks))
        half_widths = limits.critical * limits.errors
    else:
        errors = np.hypot(*(_log_errors(both[f"lower{end}"], both[f"upper{end}"]) for end in ("", "_other")))
        n_looks = max(1, int(np.isfinite(errors).sum()))
        half_widths = errors * float(special.ndtri(1 - LEVEL / 2 / n_looks))
    rows = [
        LayerDifference(
            layer,
            math.expm1(log),
            math.expm1(log - within) if math.isfinite(within) else None,
            math.expm1(log + within) if math.isfinite(within) else None,
        )
        for layer, log, within in zip(both["layer"], logs.tolist(), half_widths.tolist(), strict=True)
    ]
    return rows, is_paired


def relative_difference(
    one: Sequence[float | None], other: Sequence[float | None]
) -> tuple[float, float, float] | None:
    """Relative difference (value, lower, upper) of two values with independent errors; None if any input is unknown."""
    known = [value for value in (*one, *other) if value is not None and value > 0]
    if len(known) < 6:
        return None
    a, a_low, a_high, b, b_low, b_high = map(math.log, known)
    reach = math.hypot((a_high - a_low) / 2, (b_high - b_low) / 2)
    return math.expm1(a - b), math.expm1(a - b - reach), math.expm1(a - b + reach)


def _log_errors(lower: pl.Series, upper: pl.Series) -> np.ndarray:
    """Standard errors of logarithms from 95 percent limits; NaN where there are none."""
    low, high = (ends.cast(pl.Float64).fill_null(math.nan).to_numpy() for ends in (lower, upper))
    return (np.log(np.maximum(high, 1e-12)) - np.log(np.maximum(low, 1e-12))) / (2 * NORMAL_95)
