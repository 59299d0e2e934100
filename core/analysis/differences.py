"""How two runs differ: in what was measured, layer by layer, and in what their models answer to the same questions.

A control belongs to the run it was measured for, to runs whose verdicts used it, and to every run that would use it if
measured now, by the rule of `warehouse.runs.control_passes`: same configuration, tokenizer, chat template, text and
protocol, and the same weights where the pass needs them (`core.registry.protocols`).

Questions are paired by their hash, so their common difficulty cancels: the error of the difference comes from the
per-question differences and is smaller than the two scores' own errors combined. So it is with the documents of a text.
Questions of one group count as one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from scipy.special import bdtr, ndtri

from core.analysis.claims import LEVEL, simultaneous_limits
from core.analysis.intervals import (
    NORMAL_95,
    POWER,
    common_blocks,
    has_few_groups,
    mean_difference,
    reach_of_many,
    share_difference,
    windows_to_units,
)
from core.analysis.ranking import N_TOLERANCE
from core.errors import InputError
from core.registry.names import NOT_STATED
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
    """Whether the dimensions of runs may be held against each other."""

    by_types: bool
    """On one point per token type."""
    by_words: bool
    """On one point per word of the text: across tokenizers."""
    reasons: tuple[str, ...]
    """Fields that prevent one or both; `n_points` if cloud sizes differ by more than 10 percent."""

    @property
    def points(self) -> str | None:
        """The cloud on which they compare, token types before words; None where they do not."""
        return "one_per_type" if self.by_types else "one_per_word" if self.by_words else None


def flatten(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a run with JSON objects flattened; empty lists, NULL and empty texts become None."""
    fields: dict[str, Any] = {}
    for name, value in record.items():
        fields |= _flatten(name, json.loads(value) if value and name in JSON_FIELDS else value)
    return fields


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    """The fields that differ, in the order of the records; a missing field counts as None."""
    fields, other_fields = flatten(one), flatten(other)
    pairs = {name: (fields.get(name), other_fields.get(name)) for name in [*fields, *other_fields]}
    return [Difference(name, *pair) for name, pair in pairs.items() if pair[0] != pair[1]]


def without_incidental(fields: list[Difference]) -> list[Difference]:
    """Without the `INCIDENTAL_FIELDS`."""
    return [one for one in fields if not {one.field, one.field.partition(".")[0]} & set(INCIDENTAL_FIELDS)]


def comparability(*runs: Run) -> Comparability:
    """Of all of them, two or more, by the rules of `ranking.groups` and `ranking.across_tokenizers`."""
    reasons = [name for name in _COMPARABLE_FIELDS if len({value_of(run, name) for run in runs}) > 1]
    words = {run.words_hash for run in runs}
    by_words = not reasons and len(words) == 1 and all(words)
    sizes = {run.n_points for run in runs}
    known = [size for size in sizes if size is not None]
    if len({run.tokenizer_hash for run in runs}) > 1:
        reasons += ["tokenizer_hash"] if reasons or by_words else ["tokenizer_hash", "words_hash"]
    elif known and (None in sizes or min(known) < (1 - N_TOLERANCE) * max(known)):
        reasons.append("n_points")
    return Comparability(not reasons, by_words, tuple(reasons))


def _flatten(name: str, value: Any) -> dict[str, Any]:
    if value and isinstance(value, dict):
        parts = (_flatten(f"{name}.{inner}", held) for inner, held in value.items())
        return {key: part for of_inner in parts for key, part in of_inner.items()}
    return {name: None if value in (None, "", [], {}) else value}


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
    is_paired = blocks is not None and other_blocks is not None and blocks.shape == other_blocks.shape
    if blocks is not None and other_blocks is not None and is_paired:
        limits = simultaneous_limits(logs, np.log(blocks) - np.log(other_blocks))
        half_widths = limits.critical * limits.errors
    else:
        errors = np.hypot(*(_log_errors(both[f"lower{end}"], both[f"upper{end}"]) for end in ("", "_other")))
        half_widths = errors * reach_of_many(int(np.isfinite(errors).sum()))
    rows = []
    for layer, log, within in zip(both["layer"], logs.tolist(), half_widths.tolist(), strict=True):
        ends = (math.expm1(log - within), math.expm1(log + within)) if math.isfinite(within) else (None, None)
        rows.append(LayerDifference(layer, math.expm1(log), *ends))
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


# --- answers to the same questions -------------------------------------------------------------------------------


class QuestionSet(NamedTuple):
    """Questions whose answers compare."""

    benchmark: str
    metric: str
    filter: str


@dataclass(frozen=True)
class PairedComparison:
    """A minus B over their common questions, in the metric's own unit (0 to 1 where answers are right or wrong)."""

    n_common: int
    n_only_a: int
    n_only_b: int
    n_repeated: int
    """Common questions that a model answered more than once; its mean over the repetitions is used."""
    mean_a: float
    mean_b: float
    std_error: float | None
    """Of the difference; None where it cannot be estimated: a single question, or all differences equal."""
    lower: float | None
    upper: float | None
    detectable: float | None
    """The smallest true difference that this many questions detect with a power of 80 percent."""
    only_a_right: int | None
    """Questions that A has right and B wrong; None unless all answers are 0 or 1."""
    only_b_right: int | None
    p_value: float | None
    """McNemar's exact test on these two counts; None unless all answers are 0 or 1, each a group of its own."""
    n_groups: int
    """Groups that the common questions are in, which count as independent."""

    @property
    def difference(self) -> float:
        return self.mean_a - self.mean_b

    @property
    def is_told_apart(self) -> bool:
        """Whether the interval excludes 0 and, for right or wrong answers, the exact test agrees."""
        if self.lower is None or self.upper is None:
            return self.p_value is not None and self.p_value < LEVEL
        return not self.lower <= 0 <= self.upper and (self.p_value is None or self.p_value < LEVEL)


def compare_answers(a: pl.DataFrame, b: pl.DataFrame) -> PairedComparison:
    """Compare two models' answers to one benchmark, metric and filter: frames with doc_hash, value and group_id.

    Interval: Newcombe's of right and wrong answers, else Student's t over the differences, by groups where the file names
    them. Raises InputError without common questions.
    """
    answers_a, answers_b = (_mean_per_question(frame) for frame in (a, b))
    both = answers_a.join(answers_b, on="doc_hash", how="inner", suffix="_b")
    n = both.height
    if n == 0:
        raise InputError(
            "The models share no question ({n_first:,} and {n_second:,}). Score both on one version of the benchmark.",
            n_first=answers_a.height,
            n_second=answers_b.height,
        )
    is_share = all(map(_is_right_or_wrong, (both["value"], both["value_b"])))
    groups = both.select(pl.coalesce("group_id", "group_id_b", "doc_hash").rank("dense")).to_series().to_numpy()
    of_a, of_b = both["value"].to_numpy(), both["value_b"].to_numpy()
    found = share_difference(of_b, of_a, groups) if is_share else mean_difference(of_a - of_b, np.ones(n), groups)
    std_error = found.std_error if found.std_error > 1e-12 else None
    only_a, only_b = _count_discordant(both) if all(map(_is_right_or_wrong, (a["value"], b["value"]))) else (None, None)
    has_limits = n > 1 and (is_share or std_error is not None)
    return PairedComparison(
        n_common=n,
        n_only_a=answers_a.height - n,
        n_only_b=answers_b.height - n,
        n_repeated=both.filter((pl.col("repeats") > 1) | (pl.col("repeats_b") > 1)).height,
        mean_a=float(both["value"].sum()) / n,
        mean_b=float(both["value_b"].sum()) / n,
        std_error=std_error,
        lower=found.lower if has_limits else None,
        upper=found.upper if has_limits else None,
        detectable=None if std_error is None else (NORMAL_95 + float(ndtri(POWER))) * std_error,
        only_a_right=only_a,
        only_b_right=only_b,
        p_value=None if only_a is None or only_b is None or found.n < n else mcnemar(only_a, only_b),
        n_groups=found.n,
    )


def compare_all_answers(a: pl.DataFrame, b: pl.DataFrame) -> list[tuple[QuestionSet, PairedComparison]]:
    """`compare_answers` for every benchmark, metric and filter with common questions, sorted by name.

    An unnamed filter (files of earlier harnesses) matches the other model's, if each of the two has only one.
    """
    named = (_with_matched_filter(a, b), _with_matched_filter(b, a))
    of_a, of_b = (frame.partition_by(QuestionSet._fields, as_dict=True) for frame in named)
    return [
        (QuestionSet(*map(str, key)), compare_answers(of_a[key], of_b[key]))
        for key in sorted(of_a.keys() & of_b.keys(), key=str)
        if not of_a[key].join(of_b[key], on="doc_hash", how="semi").is_empty()
    ]


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p of McNemar's test: under the null hypothesis each discordant question is a fair coin toss.

    Twice the binomial probability of at most the smaller of the two counts among their sum, at most 1.
    """
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def _mean_per_question(answers: pl.DataFrame) -> pl.DataFrame:
    """doc_hash, mean value, number of repetitions and group, sorted by hash: sums do not depend on the order of the file."""
    of_question = answers.group_by("doc_hash")
    group = pl.col("group_id").drop_nulls().first()
    return of_question.agg(pl.col("value").mean(), repeats=pl.len(), group_id=group).sort("doc_hash")


def _with_matched_filter(answers: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """`answers` with an unnamed filter renamed to the other model's, where each of the two has only one filter."""
    keys = ["benchmark", "metric"]

    def only(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.group_by(keys).agg(pl.col("filter").first(), n=pl.col("filter").n_unique()).filter(n=1).drop("n")

    pairs = only(answers).filter(filter=NOT_STATED).join(only(others), on=keys, suffix="_of_other")
    joined = answers.join(pairs.drop("filter"), on=keys, how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("filter_of_other", "filter").alias("filter")).select(answers.columns)


def _is_right_or_wrong(values: pl.Series) -> bool:
    return bool(values.is_in([0.0, 1.0]).all())


def _count_discordant(both: pl.DataFrame) -> tuple[int, int]:
    """Questions that only A or only B has right; repetitions that differ count for neither."""
    return both.filter(value=1, value_b=0).height, both.filter(value=0, value_b=1).height


# --- the loss on a text -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TextLoss:
    """Bits per byte on a text, or of one model less another's, with its 95 percent interval."""

    value: float
    lower: float | None
    upper: float | None
    unit: Literal["document", "block"]
    """What was left out by turns for the interval: a block is one of neighbouring windows, where documents are few."""
    n: int
    """How many of them."""

    @property
    def is_told_apart(self) -> bool:
        """Whether the interval excludes 0."""
        return self.lower is not None and self.upper is not None and not self.lower <= 0 <= self.upper


def text_loss(windows: pl.DataFrame, less: pl.DataFrame | None = None) -> TextLoss | None:
    """Bits per byte over all windows, or the difference from those of another model on the same text.

    Frames: sequence, document, bits, n_bytes. The interval is over documents, the same for both models, or blocks of neighbouring
    windows. None without the bits of every window.
    """
    frames = [windows] if less is None else [windows, less]
    if any(frame.is_empty() or frame["bits"].null_count() or not frame["n_bytes"].sum() for frame in frames):
        return None
    is_few = has_few_groups(pl.concat([frame["document"] for frame in frames]).to_numpy())
    column = "sequence" if is_few else "document"
    totals = [frame.group_by(column).agg(pl.col("bits", "n_bytes").sum().cast(pl.Float64)) for frame in frames]
    aligned = [of_names.fill_null(0) for of_names in pl.align_frames(*totals, on=column)]
    sums = [(of_names["bits"].to_numpy(), of_names["n_bytes"].to_numpy()) for of_names in aligned]
    units = windows_to_units(np.zeros(aligned[0].height)) if is_few else None
    found = mean_difference(*sums[0], units, *sums[1:])
    lower, upper = (limit if math.isfinite(limit) else None for limit in (found.lower, found.upper))
    return TextLoss(found.value, lower, upper, "block" if is_few else "document", found.n)


def reaches_among(windows: pl.DataFrame) -> dict[str, float]:
    """Half of the 95 percent interval of each run's bits per byte, as it holds between runs that read one text.

    What a document does to all k runs says nothing of which is best and is taken out: each is held against the others
    together, times the root of (k-1)/k, so that two of the intervals drawn independently differ as the paired losses do
    (Cousineau 2005, corrected by Morey 2008). Runs without the bits of every window, and one alone, have none.
    """
    known = {
        run_id: of_run
        for (run_id,), of_run in windows.partition_by("run_id", as_dict=True).items()
        if not of_run["bits"].null_count() and of_run["n_bytes"].sum()
    }
    reaches = {}
    for run_id, of_run in known.items() if len(known) > 1 else ():
        less = text_loss(of_run, pl.concat([other for name, other in known.items() if name != run_id]))
        if less is not None and less.lower is not None:
            reaches[run_id] = math.sqrt(1 - 1 / len(known)) * (less.value - less.lower)
    return reaches
