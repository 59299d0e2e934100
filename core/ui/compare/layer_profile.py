"""The curves of the page Compare: one quantity over the layers, verdicts, other readings, numbers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import control_links
from core.figures import profile_data
from core.figures.chart import Span
from core.figures.claims import claim_grid, grid_svg
from core.figures.layer_profiles import layer_chart, profile_caption, profile_svg, scan_chart
from core.figures.profile_data import Extremum, ProfileData, claim_phases, extrema_of
from core.figures.svg import LIGHT, Theme
from core.locale import _, translated
from core.questions.ranking_question import BY_TYPE
from core.questions.runs import Selection
from core.registry.protocols import CONTROLS
from core.tables import Run, ids_of, records
from core.ui import inputs, pictures, tables, url_state
from core.ui.compare import layer_tables
from core.ui.compare.choices import (
    choose_all_quantities,
    choose_basic_profile,
    choose_layer,
    choose_profile,
    choose_references,
)
from core.ui.compare.run_cards import show_run_cards, show_verdict_panel
from core.ui.markdown import escape
from core.ui.plan import plan_view
from core.wording.labels import distinct_short_names, run_labels, short_id, shortened_name
from core.wording.verdicts import outcome_legend_text

SIZE, SIZE_BESIDE = (960, 460), (624, 430)
"""Pixels of the figure, alone and beside verdicts, a scroll bar too in a window of 1,280: letters keep their size."""
PANEL_WIDTH = 284
MAX_PANEL_NAME = 32
"""Letters of a name in one line of a panel."""
MAX_PANELS = 3
"""With more runs, verdicts are not drawn beside the figure."""


def show_curves(selection: Selection, points: str | None) -> tuple[ProfileData, int | None] | None:
    """Draw the figure with verdicts beside it, and its choices; returns what it shows and the chosen layer. None where there are
    no estimates.

    `points`: those on which the chosen runs compare; None: one per type.
    """
    runs = selection.runs
    estimates, correlators = selection.of_runs(selection.estimates), selection.of_runs(selection.correlators)
    if estimates.is_empty():
        st.info(_("The chosen runs hold no layer estimates."))
        return None
    top = st.container()
    with st.container(horizontal=True, vertical_alignment="center"):
        all_quantities = choose_all_quantities(estimates)
        basic = None if all_quantities else choose_basic_profile(estimates, runs, points or BY_TYPE)
        is_logarithmic = inputs.choose_yes_no(_("Logarithmic"), "log", False)
        is_interactive = inputs.choose_yes_no(_("Values under the pointer"), "live", False)
        layer = choose_layer(estimates)
        more_choices = st.container(horizontal=True, width="content")
    data = basic or choose_profile(estimates, correlators, runs)
    with more_choices:
        data = choose_references(data, estimates, selection, with_surrogates=all_quantities)
    data = replace(data, is_log=is_logarithmic and not data.is_correlator)
    with top:
        _show_figure(data, selection, is_interactive, layer)
    if layer is not None:
        _show_layer(layer, selection)
    with more_choices:
        with st.popover(_("How to read it"), icon=":material/help:"):
            st.caption(_reading_aid(data, is_interactive or data.is_equivalent))
            _show_reference_notes(data, selection)
            st.markdown(wording.own_definition_text())
        _show_picture_download(data, selection)
    return data, layer


def show_readings(selection: Selection, data: ProfileData, layer: int | None) -> None:
    """Draw what stands behind the figure: claims under every specification, verdicts, numbers."""
    runs, estimates = selection.runs, selection.of_runs(selection.estimates)
    claims = claim_grid(selection.claims, runs)
    if claims is not None:
        st.subheader(_("Read in other ways"))
        pictures.plot_drawn(partial(grid_svg, claims, pictures.theme()), SIZE, "grid of claims")
        st.caption(_("{marks}. Bold: the core, on which verdicts rest.").format(marks=outcome_legend_text()))
    if data.quantity == "gride" and (scan := scan_chart(estimates, runs, layer)) is not None:
        st.subheader(_("From near neighbours to far ones"))
        pictures.plot(scan, "scales", 380)
        st.caption(_("The peak layer, or the one chosen. One number describes only a level curve."))
    st.subheader(_("Dimensions and verdicts (d2, one per type)"))
    show_run_cards(selection)
    plan_view.show_needed_directions(runs)
    _show_numbers(data, selection, layer)
    if claims is not None:
        st.subheader(_("Claims by specification"))
        tables.show(layer_tables.claim_table(selection.claims, runs, estimates), "claims", height=320)
        tables.show_rows_download(selection.claims, runs, "claims", _("Download these claims (CSV)"))


def _show_numbers(data: ProfileData, selection: Selection, layer: int | None) -> None:
    """Draw the rows behind the figure, of one layer or of all."""
    st.subheader(_("Numbers"))
    runs, estimates, correlators = selection.runs, selection.of_runs(selection.estimates), selection.correlators
    rows = profile_data.rows_of(data, correlators if data.is_correlator else estimates)
    if not data.is_correlator:
        rows = profile_data.with_gaussian_equivalents(rows, estimates)
    rows = runs.select("run_id").join(rows, on="run_id", maintain_order="left_right")
    at_layer = rows if layer is None else rows.filter(layer=layer)
    tables.show(layer_tables.layer_table(at_layer, runs), "numbers", height=320 if layer is None else "content")
    tables.show_rows_download(rows, runs, "profiles")


def _show_figure(data: ProfileData, selection: Selection, is_interactive: bool, layer: int | None) -> None:
    """Draw the figure, and beside it the verdicts where there are few runs."""
    texts, is_d2 = selection.judged, data.quantity == "d2"
    if 0 < texts.height <= MAX_PANELS:
        shorten = partial(shortened_name, longest=MAX_PANEL_NAME)
        names = distinct_short_names(list(run_labels(texts).values()), shorten) if texts.height > 1 else [""]
        row = st.container(horizontal=True, gap="small")  # in a narrow window one stands below the other
        picture = row.container(width=SIZE_BESIDE[0])
        with row.container(width=PANEL_WIDTH, gap="small" if texts.height == 1 else "xsmall"):
            for run, name in zip(records(texts, Run), names, strict=True):
                show_verdict_panel(run, selection, name, data.cloud if is_d2 else BY_TYPE, names_points=not is_d2)
    else:
        picture = st.container()
    with picture:
        if is_interactive or data.is_equivalent or not data.curves:
            pictures.plot(layer_chart(data, *_extrema_and_phases(data, selection), layer), "profile", 480)
        else:
            size = SIZE_BESIDE if 0 < texts.height <= MAX_PANELS else SIZE
            draw = partial(_profile_svg, data, selection, pictures.theme(), layer=layer)
            pictures.plot_drawn(draw, size, "profile picture", partial(url_state.choose, "layer"))


def _show_layer(layer: int, selection: Selection) -> None:
    """Draw the table of all quantities of one layer."""
    with st.container(border=True):
        position = _("output of block {n}").format(n=layer) if layer else _("embedding output")
        st.markdown(f"**{escape(_('Layer {layer}: {position}').format(layer=layer, position=position))}**")
        tables.show(layer_tables.one_layer_table(layer, selection), "one layer", height=320)


def _profile_svg(
    data: ProfileData,
    selection: Selection,
    theme: Theme,
    size: tuple[float, float],
    layer: int | None = None,
    is_file: bool = False,
) -> str:
    extrema, phases = _extrema_and_phases(data, selection)
    caption = profile_caption(selection.runs, data, with_verdict=is_file)
    return profile_svg(data, caption, extrema, theme, size, phases, selected=layer)


def _extrema_and_phases(data: ProfileData, selection: Selection) -> tuple[list[Extremum], list[Span]]:
    extrema = extrema_of(selection.extrema, data.cloud) if data.is_primary else []
    phases = []
    if data.is_primary and len(data.curves) == 1 and data.same_depth:
        (run,) = records(selection.runs.filter(run_id=data.curves[0].run_id), Run)
        phases = claim_phases(run, extrema)
    return extrema, phases


def _show_picture_download(data: ProfileData, selection: Selection) -> None:
    """Draw a button that downloads the figure with its caption; ranges of Gaussian equivalents have no such file."""
    if not data.curves or data.is_equivalent:
        return
    name = f"workdim_profile_{'_'.join(short_id(curve.run_id) for curve in data.curves[:3])}.svg"
    inputs.show_download(
        _("Download this picture (SVG)"),
        lambda: _profile_svg(data, selection, LIGHT, SIZE, is_file=True),
        name,
        "image",
    )


def _reading_aid(data: ProfileData, is_interactive: bool) -> str:
    """How to read the figure; of one that answers to the pointer, what its legend does."""
    sentences = [_("Shaded: 95 % intervals.")]
    if is_interactive:
        sentences.append(_("Click a name to hide a curve."))
    if not data.is_primary:
        sentences.append(_("The working band belongs to d2, one per type."))
    if data.is_equivalent:
        sentences.append(_("Where it breaks off, none is stored."))
    if any(curve.is_vetoed for curve in data.curves):
        sentences.append(wording.veto_mark_text())
    return wording.joined_sentences(sentences)


def _show_reference_notes(data: ProfileData, selection: Selection) -> None:
    """Draw what the reference lines are and decide, and name the runs without a control of random weights."""
    kinds = {reference.kind for reference in data.references}
    meanings = {
        **{key: translated(control.meaning) for key, control in CONTROLS.items()},
        profile_data.SURROGATE: _(
            "Gaussian points: where the curve's band lies below, the real points are not Gaussian."
        ),
    }
    if drawn := [meaning for kind, meaning in meanings.items() if kind in kinds]:
        st.caption("  \n".join(drawn))
    texts, labels = selection.runs.filter(pl.col("pass") == "text"), run_labels(selection.runs)
    controls = control_links(texts, selection.with_controls)
    powered = [key for key, control in CONTROLS.items() if control.judges]
    controlled = set(controls.filter(pl.col("pass").is_in(powered))["text_run_id"])
    uncontrolled = [labels[run_id] for run_id in ids_of(texts) if run_id not in controlled]
    if uncontrolled:
        message = _("Without a usable control: {names}. Such shapes can come without training; use protocol standard.")
        st.caption(message.format(names=escape(_(", ").join(uncontrolled))))
    judged = texts.filter(pl.col("verdict_rise").is_not_null())
    known = judged.select(text_run_id="run_id", run_id="control_run_ids").explode("run_id")
    unknown = set(controls.join(known, on=["text_run_id", "run_id"], how="anti")["text_run_id"])
    outdated = [labels[run_id] for run_id in ids_of(judged) if run_id in unknown]
    if outdated:
        message = _("Verdicts on {names} leave out newer controls: measure again.")
        st.caption(message.format(names=escape(_(", ").join(outdated))))
