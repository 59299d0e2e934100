"""Paired comparison: two models on the same questions of a benchmark, or on the same documents of a text.

Questions are paired by their hash, so their common difficulty cancels: the error of the difference comes from the
per-question differences and is smaller than the two scores' own errors combined. So it is with the documents of a text.
Questions of one group count as one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from scipy.special import bdtr, ndtri

from core.analysis.claims import LEVEL
from core.analysis.groups import has_few_groups, mean_difference, share_difference, windows_to_units
from core.analysis.ranks import POWER
from core.errors import InputError
from core.registry.names import NOT_STATED


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
        detectable=None if std_error is None else float(ndtri(1 - LEVEL / 2) + ndtri(POWER)) * std_error,
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
    comparisons = []
    for key in sorted(of_a.keys() & of_b.keys(), key=str):
        if not of_a[key].join(of_b[key], on="doc_hash", how="semi").is_empty():
            comparisons.append((QuestionSet(*map(str, key)), compare_answers(of_a[key], of_b[key])))
    return comparisons


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
    right_a = both.filter((pl.col("value") == 1) & (pl.col("value_b") == 0)).height
    right_b = both.filter((pl.col("value") == 0) & (pl.col("value_b") == 1)).height
    return right_a, right_b


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
