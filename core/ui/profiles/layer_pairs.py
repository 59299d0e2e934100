"""The section Layers against layers of the screen Profiles: where a representation changes, and how fast."""

from __future__ import annotations

import streamlit as st

from core import wording
from core.figures import layer_pairs as layer_pair_figures
from core.figures.chart_figure import chart_figure
from core.locale import _
from core.questions.selection import Selection
from core.ui import notices, pictures, tables
from core.ui.profiles.choices import choose_run_and_quantity


def show(selection: Selection) -> None:
    """Draw a measure between all pairs of layers of one run, and from each layer to the next."""
    runs, pairs = selection.runs, selection.pairs
    measures = [name for name in layer_pair_figures.DRAWN if name in set(pairs["measure"])]
    if not measures:
        notices.show_missing(runs, _("The protocol of these runs compares no layers: quick, standard and thorough do."))
        return
    run, measure = choose_run_and_quantity(runs, _("Measure"), measures, "measure", "pair")
    data = layer_pair_figures.pair_points(pairs, run["run_id"], measure)
    pictures.plot(layer_pair_figures.pair_figure(data), "pairs")
    st.caption(_reading_aid(data))
    pictures.plot(chart_figure(layer_pair_figures.successive_chart(pairs, run["run_id"], measure)), "along")
    st.caption(_successive_aid(measure))
    _show_exponent(layer_pair_figures.displacement_exponent(pairs, run["run_id"]))
    rows = pairs.filter(run_id=run["run_id"], measure=measure)
    tables.show_download(
        tables.with_provenance(rows, runs), "workdim_layer_pairs.csv", _("Download these numbers (CSV)")
    )


def _reading_aid(data: layer_pair_figures.PairData) -> str:
    """What the ends of the scale mean, and what chance alone would give."""
    texts = {
        "autocorrelation": _(
            "Mean cosine between a token's states at two layers, each centred: 1 = same direction, "
            "0 = unrelated. A bright block is a stretch of layers that changes little."
        ),
        "autocorrelation_raw": _(
            "The same without centring: what all tokens share counts as likeness. Read the centred one first."
        ),
        "displacement": _(
            "How far a token's direction has moved: 0 = not at all, 2 = unrelated. A dark block is a "
            "stretch of layers that changes little."
        ),
        "kept": _(
            "Of the dimensions of two layers, how many they share: k = d2 of the one, times d2 of the other, times their "
            "common correlator. On the diagonal d2 itself; 0 where they have nothing in common."
        ),
        "common_dimension": _(
            "1 over the mean product of the cosines of token pairs at both layers: d2 on the diagonal, and "
            "the larger, the less two layers share. Empty where nothing is shared within the sample."
        ),
        "neighbour_overlap": _(
            "Share of a token's nearest neighbours that it has at both layers: 1 = all. By chance it would be {chance}."
        ),
        "information_imbalance": _(
            "How well the distances at one layer foretell those at another: 0 = wholly, "
            "1 = not at all. The layer from which the value is lower foretells the other better "
            "than the other foretells it."
        ),
        "cka": _(
            "Likeness of all pairwise products of two layers, free of the bias of small samples: 1 = alike up "
            "to rotation and scale, 0 = unrelated."
        ),
    }
    chance = data.k / (data.n_points - 1) if data.k and data.n_points > 1 else None
    return texts[data.measure].format(chance=wording.number(chance))


def _successive_aid(measure: str) -> str:
    flow = _(
        "Of the dimensions before a block, those that it keeps and those that are gone behind it; and those that are "
        "new. Below zero: directions have only become more or less equal."
    )
    bars = _(
        "From each layer to the next, with two standard errors. Grey, where it is known: the mean and two standard "
        "deviations where the tokens of one layer are permuted."
    )
    return wording.joined_sentences((flow if measure in layer_pair_figures.FLOW_MEASURES else "", bars))


def _show_exponent(exponent: layer_pair_figures.DisplacementExponent | None) -> None:
    """Draw the displacement exponent in a sentence that says what to compare it with, and names no cause."""
    if exponent is None:
        return
    error = "" if exponent.std_error is None else f" ± {exponent.std_error:.2g}"
    text = _(
        "**Displacement exponent {value}** (layers {first} to {last}): {pace}. A free random walk has 1, a "
        "straight line 2; the displacement of directions is bounded, which alone gives less."
    )
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
    return _("not to be told from a random walk")
