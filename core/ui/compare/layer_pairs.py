"""The section Layers against layers of the page Compare: where a representation changes, and how fast."""

from __future__ import annotations

import streamlit as st

from core import wording
from core.figures import layer_pairs as layer_pair_figures
from core.locale import _, translated
from core.questions.runs import Selection
from core.registry.estimators import PAIR_MEASURES
from core.ui import notices, pictures, tables
from core.ui.compare.choices import choose_run_and_quantity


def show(selection: Selection) -> None:
    """Draw a measure between all pairs of layers of one run, and from each layer to the next."""
    runs, pairs = selection.runs, selection.pairs
    measures = [name for name in layer_pair_figures.DRAWN if name in set(pairs["measure"])]
    if not measures:
        notices.show_missing(runs, _("This protocol measures none; quick, standard and thorough do."))
        return
    run, measure = choose_run_and_quantity(runs, _("Quantity"), measures, "measure", "pair")
    data = layer_pair_figures.pair_points(pairs, run.run_id, measure)
    pictures.plot(layer_pair_figures.pair_figure(data), "pairs")
    chance = data.k / (data.n_points - 1) if data.k and data.n_points > 1 else None
    st.caption(translated(PAIR_MEASURES[measure].meaning).format(chance=wording.number(chance)))
    pictures.plot(layer_pair_figures.successive_chart(pairs, run.run_id, measure), "along")
    st.caption(_successive_aid(measure))
    _show_exponent(layer_pair_figures.displacement_exponent(pairs, run.run_id))
    rows = pairs.filter(run_id=run.run_id, measure=measure)
    tables.show_rows_download(rows, runs, "layer_pairs")


def _successive_aid(measure: str) -> str:
    flow = _("Dimensions kept, gone and new at each block. Below zero: directions only became more or less equal.")
    bars = _("From each layer to the next, ± two standard errors. Grey: tokens of one layer permuted.")
    return wording.joined_sentences((flow if measure in layer_pair_figures.FLOW_MEASURES else "", bars))


def _show_exponent(exponent: layer_pair_figures.DisplacementExponent | None) -> None:
    """Draw the displacement exponent in a sentence that says what to compare it with, and names no cause."""
    if exponent is None:
        return
    error = "" if exponent.std_error is None else f" ± {exponent.std_error:.2g}"
    text = _("**Displacement exponent {value}** (layers {first} to {last}): {pace}. Bounded directions lower it.")
    st.markdown(
        text.format(
            value=wording.number(exponent.value) + error,
            first=exponent.first,
            last=exponent.last,
            pace=pace_text(exponent),
        )
    )


def pace_text(exponent: layer_pair_figures.DisplacementExponent) -> str:
    """How an exponent compares with a random walk, beyond two standard errors."""
    if exponent.std_error is None:
        return _("its error is not known")
    if exponent.value < 1 - 2 * exponent.std_error:
        return _("slower than a random walk")
    if exponent.value > 1 + 2 * exponent.std_error:
        return _("faster than a random walk")
    return _("not distinguishable from a random walk")
