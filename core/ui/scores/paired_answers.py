"""Two models on the same questions: the difference on each benchmark, and whether it can be told from chance."""

from __future__ import annotations

import streamlit as st

from core.analysis.paired import compare_all_answers
from core.figures.scores import paired_figure, paired_points
from core.ui import inputs, language, pictures, reads
from core.ui.markdown import escape
from core.ui.scores import score_tables
from core.wording.scores import multiple_comparisons_text, newest_file_text

AT_FIRST, MOST = 12, 60
"""Benchmarks, such as the parts of a large one, that are drawn before the reader chooses, and at most."""


def show() -> None:
    _ = language.translator()
    lang = language.current()
    answered = reads.answer_sets()
    models = answered["model"].unique().sort().to_list()
    if len(models) < 2:
        st.info(
            _(
                "This needs single answers of two models: import the samples files that lm-evaluation-harness writes "
                "with --log_samples."
            )
        )
        return
    left, right = st.columns(2)
    with left:
        first = inputs.choose_from_list(_("First model"), models, "first", models[0])
    others = [model for model in models if model != first]
    with right:
        second = inputs.choose_from_list(_("Second model"), others, "second", others[0])
    found = compare_all_answers(reads.answers(first), reads.answers(second))
    if not found:
        st.info(_("These two models have no question of one benchmark and metric in common."))
        return
    names = sorted({key["benchmark"] for key, _one in found})
    if len(names) > 1:
        chosen = inputs.choose_many(_("Benchmarks"), names, "benchmarks", names[:AT_FIRST], max_selections=MOST)
        found = [(key, one) for key, one in found if key["benchmark"] in chosen]
        if not found:
            st.info(_("Choose at least one benchmark above."))
            return
    figure = paired_figure(paired_points(first, second, found, lang), lang)
    pictures.plot(figure, "scores pairs")
    score_tables.show(score_tables.differences(found), "scores differences")
    st.caption(
        _(
            "Differences are of the first less the second model, in the metric's own unit. Questions are paired, so what "
            "makes one hard for both cancels out. The detectable difference is the smallest true one that would show "
            "with 80 % probability."
        )
    )
    st.caption(
        _("Files of single answers tell no number of shots and no chat template: compare runs of equal settings.")
    )
    if len(found) > 1:
        st.caption(multiple_comparisons_text(len(found), lang))
    twice = answered.filter(answered["model"].is_in([first, second]) & (answered["n_files"] > 1))
    if not twice.is_empty():
        st.caption(escape(newest_file_text(twice["benchmark"].unique().sort().to_list(), lang)))
