"""The section Two models, question by question, of the page Choose: differences, and whether chance explains them."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import PairedComparison, QuestionSet, compare_all_answers
from core.figures.scores import benchmark_label, paired_chart
from core.locale import _
from core.ui import inputs, pictures, reads, tables
from core.ui.markdown import escape
from core.wording.scores import comparison_outcome_text, multiple_comparisons_text, newest_file_text, p_number_text

N_BENCHMARKS, MAX_BENCHMARKS = 12, 60
"""Benchmarks, such as the parts of a large one, that are drawn by default, and at most."""


def show() -> None:
    """Draw the differences of two chosen models on each benchmark."""
    answer_sets = reads.answer_sets()
    models = answer_sets["model"].unique().sort().to_list()
    if len(models) < 2:
        st.info(
            _(
                "Needed are single answers of two models: import the samples files that lm-evaluation-harness "
                "writes with --log_samples."
            )
        )
        return
    left, right = st.columns(2)
    with left:
        first = inputs.choose_from_list(_("First model"), models, "first")
    others = [model for model in models if model != first]
    with right:
        second = inputs.choose_from_list(_("Second model"), others, "second")
    comparisons = compare_all_answers(reads.answers(first), reads.answers(second))
    if not comparisons:
        st.info(_("These models share no question of one benchmark and metric."))
        return
    benchmarks = sorted({key.benchmark for key, _one in comparisons})
    if len(benchmarks) > 1:
        chosen = inputs.choose_many(
            _("Benchmarks"), benchmarks, "benchmarks", benchmarks[:N_BENCHMARKS], max_selections=MAX_BENCHMARKS
        )
        comparisons = [(key, comparison) for key, comparison in comparisons if key.benchmark in chosen]
        if not comparisons:
            st.info(_("Choose at least one benchmark above."))
            return
    chart = paired_chart(first, second, comparisons)
    pictures.plot(chart, "scores pairs", 170 + 36 * len(comparisons))
    tables.show(_difference_table(comparisons), "scores differences")
    st.caption(
        _(
            "First less second model, in the metric's unit, question by question. The detectable difference "
            "is the smallest true one shown with 80 % probability."
        )
    )
    st.caption(_("These files state no shots or chat template: compare equal settings."))
    if len(comparisons) > 1:
        st.caption(multiple_comparisons_text(len(comparisons)))
    in_several_files = answer_sets.filter(answer_sets["model"].is_in([first, second]) & (answer_sets["n_files"] > 1))
    if not in_several_files.is_empty():
        st.caption(escape(newest_file_text(in_several_files["benchmark"].unique().sort().to_list())))


def _difference_table(comparisons: Sequence[tuple[QuestionSet, PairedComparison]]) -> pl.DataFrame:
    """The results of `paired.compare_all_answers` as a table."""
    results = [result for _key, result in comparisons]
    frame = pl.DataFrame([vars(result) for result in results], infer_schema_length=None)
    return tables.without_empty(
        {
            _("Benchmark"): [benchmark_label(key) for key, _one in comparisons],
            _("Result"): list(map(comparison_outcome_text, results)),
            _("Difference"): [
                wording.with_interval(result.difference, result.lower, result.upper) for result in results
            ],
            _("Common questions"): frame["n_common"],
            _("Mean of the first"): frame["mean_a"].round(4),
            _("Mean of the second"): frame["mean_b"].round(4),
            _("Standard error"): tables.rounded(frame, "std_error", 2),
            _("Only the first is right"): frame["only_a_right"],
            _("Only the second is right"): frame["only_b_right"],
            _("p (exact)"): list(map(p_number_text, frame["p_value"])),
            _("Detectable difference"): list(map(wording.number, frame["detectable"])),
            _("Only asked of the first"): frame["n_only_a"],
            _("Only asked of the second"): frame["n_only_b"],
        }
    )
