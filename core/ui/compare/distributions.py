"""Three sections of the page Compare about what a mean hides: Distributions, Dimension and loss, Large-norm tokens."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core import wording
from core.figures import distributions as distribution_figures
from core.figures import large_norms
from core.figures.scores import windows_svg
from core.locale import _, translated
from core.questions.runs import Selection, answer_of_windows
from core.registry.estimators import QUANTITIES
from core.tables import Run, ids_of, records
from core.ui import inputs, notices, pictures, tables
from core.ui.compare.choices import choose_run_and_quantity
from core.ui.markdown import escape
from core.wording import answers as answer_wording
from core.wording.labels import run_labels


def show(selection: Selection) -> None:
    """Draw the distribution of a quantity over tokens, layer by layer, of one run."""
    runs, distributions = selection.runs, selection.distributions
    quantities = [name for name in QUANTITIES if name in set(distributions["quantity"])]
    if not quantities:
        notices.show_missing(runs, _("This protocol measures none; quick, standard and thorough do."))
        return
    run, quantity = choose_run_and_quantity(runs, _("Quantity"), quantities, "quantity", "quantity")
    data = distribution_figures.distribution_points(distributions, run.run_id, quantity)
    pictures.plot(distribution_figures.distribution_figure(data), "distribution")
    outermost = _("Outermost bins count what lies beyond.")
    st.caption(wording.joined_sentences((translated(QUANTITIES[quantity].meaning), outermost)))
    rows = distributions.filter(run_id=run.run_id, quantity=quantity)
    tables.show_rows_download(rows, runs, "distributions")


def show_large_norms(selection: Selection) -> None:
    """Draw how many tokens were left out for their norm, and the norms layer by layer."""
    runs = selection.runs
    limits = _(" or ").join(f"{limit:g}" for limit in large_norms.mask_limits(runs))
    st.markdown(
        _("Attention sinks, tokens with norms above {limit} times the layer's median, are left out.").format(
            limit=limits
        )
    )
    tables.show(masked_token_table(runs), "masked")
    charts = large_norms.large_norm_charts(selection.of_runs(selection.correlators), runs)
    if not charts:
        st.info(_("Most shipped profiles leave this out: measure the model."))
        return
    for n, chart in enumerate(charts):
        pictures.plot(chart, f"large norms {n}", 290)
    st.caption(_("Read before masking, which looks at inner layers only."))


def masked_token_table(runs: pl.DataFrame) -> pl.DataFrame:
    """One line per run: how many tokens were read, and why some were left out."""
    labels = run_labels(runs)
    return pl.DataFrame(
        {
            _("Model"): [labels[run_id] for run_id in ids_of(runs)],
            _("Tokens read"): runs["n_tokens"],
            _("Left out for their norm"): runs["n_dropped_norm"],
            _("Share (%)"): (100 * runs["n_dropped_norm"] / runs["n_tokens"]).round(2),
            _("Largest norm / median"): runs["max_norm_ratio"].round_sig_figs(3),
            _("Limit / median"): [large_norms.mask_limit(config) for config in runs["config"]],
            _("Left out as first of a window"): runs["n_dropped_position"],
            _("Special tokens"): runs["n_dropped_special"],
            _("Chat template"): runs["n_dropped_template"],
            _("Tokens kept"): runs["n_tokens_used"],
        }
    )


def show_windows(selection: Selection) -> None:
    """Draw dimension against loss, window by window, of one run: the sentence, the figure, the choices."""
    runs = selection.runs
    top = st.container()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        run = inputs.choose_one_run(runs)
        found = answer_of_windows(run, selection.with_controls, selection.windows)
        if found.lacks == "loss":
            st.info(_("This model predicts no next token: no loss."))
            return
        if found.lacks == "windows":
            notices.show_missing(
                runs.filter(run_id=run.run_id), _("This protocol's windows are too short for dimensions.")
            )
            return
        names = {"inner": _("Largest inner dimension"), "final": _("After the last block")}
        place = inputs.choose(_("Layer"), names, "place")
        if found.shuffled is not None:
            passes = {"text": _("As it stands"), "shuffled": _("Tokens shuffled")}
            pass_name = inputs.choose(_("Text"), passes, "read")
        else:
            pass_name = "text"
    relation = found.relation(place)
    with top:
        st.markdown(
            f"#### {pictures.ICONS[relation.relation.answer]} {escape(answer_wording.windows_text(relation, run))}"
        )
        drawn_windows, drawn_run = found.windows, run
        if pass_name == "shuffled" and found.shuffled is not None:
            drawn_run = records(selection.with_controls.filter(run_id=ids_of(found.shuffled)[0]), Run)[0]
            drawn_windows = found.shuffled
        picture = windows_svg(drawn_windows, drawn_run, place, pictures.theme())
        st.image(picture, width="stretch", alt=_("Dimension and loss of windows"))
    st.caption(
        "  \n".join(
            map(escape, (*answer_wording.windows_note_lines(relation), answer_wording.windows_expectation_text()))
        )
    )
    tables.show_rows_download(selection.windows, selection.with_controls, "windows")
