"""The first section of the profiles: one quantity over the layers, its controls, and what the run amounts to."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import control_links
from core.figures import claims, layer_profiles, profile_data
from core.figures.profile_data import CorrelatorData, ProfileData, claim_phases, extrema_of
from core.figures.svg import LIGHT, Theme
from core.figures.svg_profiles import LayerSelection, profile_caption, profile_svg
from core.registry.passes import CONTROLS
from core.ui import inputs, language, notices, pictures, tables, url_state
from core.ui.markdown import escape
from core.ui.profiles import layer_tables
from core.ui.profiles.choices import (
    ProfileChoice,
    choose_all,
    choose_basic,
    choose_equivalent,
    choose_layer,
    choose_profile,
    choose_references,
    choose_scale,
)
from core.ui.profiles.run_cards import run_cards, verdict_panel
from core.ui.reads import Selection
from core.ui.shrink import plan_view
from core.wording.labels import run_labels, short_id
from core.wording.verdicts import marks_key

SIZE, SIZE_BESIDE = (960, 460), (680, 430)
"""Of the picture, alone and with something beside it: letters keep their size."""
PANEL_WIDTH = 250
MOST_BESIDE = 3
"""With more runs, what they were judged stands below their picture."""


def show(chosen: Selection) -> None:
    """The picture first and what was judged beside it, then the choices, then all that is known in tables."""
    _ = language.translator()
    lang = language.current()
    runs, estimates, correlators = chosen.runs, chosen.of_runs(chosen.estimates), chosen.of_runs(chosen.correlators)
    notices.stop_if_no_estimates(estimates)

    first = st.container()
    with url_state.batched():
        with st.container(horizontal=True, vertical_alignment="center"):
            is_all = choose_all(estimates)
            asked = choose_basic(estimates, runs) if not is_all else None
            is_log = inputs.choose_yes_no(_("Logarithmic"), "log", False)
            is_live = inputs.choose_yes_no(_("Values under the pointer"), "live", False)
            layer = choose_layer(estimates)
            rest = st.container(horizontal=True, width="content")
        if asked is None:
            asked = choose_profile(estimates, correlators, runs)
            with st.container(horizontal=True, vertical_alignment="bottom"):
                asked = choose_equivalent(choose_scale(asked, estimates), estimates)
        data = asked.data(estimates, correlators, runs)
        with rest:
            data = choose_references(data, estimates, chosen, with_surrogates=is_all)
    if isinstance(data, ProfileData):
        data = replace(data, is_log=is_log)
    with first:
        _show_first(asked, data, chosen, is_live, layer)
    if layer is not None:
        show_layer(layer, chosen)
    with rest:
        with st.popover(_("How to read it"), icon=":material/help:"):
            st.caption(reading_aid(asked, data))
            tell_references(data, chosen)
            st.markdown(wording.own_definition(lang))
        download_picture(asked, data, chosen)

    grid = claims.claim_points(chosen.claims, runs, lang)
    if grid.lines:
        st.subheader(_("Read in other ways"))
        show_grid(grid)
    if asked.quantity == "gride":
        show_scales(layer_profiles.rank_scans(estimates, runs, layer, lang))
    st.subheader(_("Dimensions and verdicts (d2, one per type)"))
    run_cards(runs, chosen.extrema)
    plan_view.tell_needed(runs)
    st.subheader(_("Numbers"))
    shown = asked.rows(estimates, correlators, runs)
    at_layer = shown if layer is None else shown.filter(layer=layer)
    tables.show(layer_tables.layer_table(at_layer, runs), "numbers", height=320 if layer is None else "content")
    tables.show_download(shown, "workdim_profiles.csv", _("Download these numbers (CSV)"))

    if grid.lines:
        st.subheader(_("Claims by specification"))
        tables.show(layer_tables.claim_table(chosen.claims, runs, estimates), "claims", height=320)
        tables.show_download(
            tables.with_provenance(chosen.claims, runs), "workdim_claims.csv", _("Download these claims (CSV)")
        )


def _show_first(
    asked: ProfileChoice, data: ProfileData | CorrelatorData, chosen: Selection, is_live: bool, layer: int | None
) -> None:
    """The picture; beside it, of few runs, what they were judged to be."""
    texts = chosen.runs.filter(pl.col("pass") == "text", pl.col("n_points").is_not_null())
    if 0 < texts.height <= MOST_BESIDE:
        labels = run_labels(texts, language.current())
        row = st.container(horizontal=True, gap="medium")  # in a narrow window one stands below the other
        picture = row.container(width=SIZE_BESIDE[0])
        with row.container(width=PANEL_WIDTH, gap="small" if texts.height == 1 else "xsmall"):
            for run in texts.iter_rows(named=True):
                verdict_panel(run, chosen, labels[run["run_id"]] if texts.height > 1 else "")
    else:
        picture = st.container()
    with picture:
        if is_live or asked.is_equivalent or not data.curves:
            pictures.plot(layer_profiles.layer_figure(data, language.current()), "profile")
        else:
            size = SIZE_BESIDE if 0 < texts.height <= MOST_BESIDE else SIZE
            drawn = _drawn(asked, data, chosen, pictures.theme(), size, LayerSelection(layer))
            pictures.plot_layered(drawn, "profile picture", url_state.setter("layer"))


def show_layer(layer: int, chosen: Selection) -> None:
    """All that is known of one layer of each run."""
    _ = language.translator()
    with st.container(border=True):
        position = _("output of block {n}").format(n=layer) if layer else _("embedding output")
        st.markdown(f"**{escape(_('Layer {layer}: {position}').format(layer=layer, position=position))}**")
        tables.show(layer_tables.one_layer_table(layer, chosen), "one layer", height=320)


def _drawn(
    asked: ProfileChoice,
    data: ProfileData | CorrelatorData,
    chosen: Selection,
    theme: Theme,
    size: tuple[float, float],
    layers: LayerSelection | None = None,
) -> str:
    lang = language.current()
    turns = extrema_of(chosen.extrema, data.cloud) if asked.is_primary else []
    is_log = isinstance(data, ProfileData) and data.is_log
    phases = []
    if asked.is_primary and len(data.curves) == 1 and data.same_depth:
        (run,) = chosen.runs.filter(run_id=data.curves[0].run_id).to_dicts()
        phases = claim_phases(run, turns, lang)
    caption = profile_caption(chosen.runs, data, lang)
    return profile_svg(data, caption, turns, lang, theme, is_log, size, phases, layers=layers)


def download_picture(asked: ProfileChoice, data: ProfileData | CorrelatorData, chosen: Selection) -> None:
    """The figure as a file that says by itself what it shows. Ranges of equivalents have no such picture."""
    if not data.curves or asked.is_equivalent:
        return
    _ = language.translator()
    name = f"workdim_profile_{'_'.join(short_id(curve.run_id) for curve in data.curves[:3])}.svg"
    st.download_button(
        _("Download this picture (SVG)"),
        lambda: _drawn(asked, data, chosen, LIGHT, SIZE),
        name,
        "image/svg+xml",
        on_click="ignore",
        icon=":material/image:",
    )


def reading_aid(choice: ProfileChoice, data: ProfileData | CorrelatorData) -> str:
    """How to read the figure, in few sentences."""
    _ = language.translator()
    told = [_("Shaded: 95 % intervals. Click a name to hide a curve.")]
    if not choice.is_primary:
        told.append(_("The working band belongs to d2, one per type."))
    if choice.is_equivalent:
        told.append(_("Where a range breaks off, no Gaussian equivalent is stored."))
    if any(curve.is_vetoed for curve in data.curves):
        told.append(wording.veto_note(language.current()))
    return wording.sentences(told, language.current())


def tell_references(data: ProfileData | CorrelatorData, chosen: Selection) -> None:
    """What the thin lines are and what they decide; and which runs have no random weights to be held against."""
    _ = language.translator()
    kinds = {reference.kind for reference in data.references}
    meanings = {
        **{key: language.translator()(one.meaning) for key, one in CONTROLS.items()},
        profile_data.SURROGATE: _(
            "Gaussian points (dash-dotted): the same covariance and nothing else. Where the curve's "
            "interval lies below, the real points are not Gaussian."
        ),
    }
    told = [meaning for kind, meaning in meanings.items() if kind in kinds]
    if told:
        st.caption("  \n".join(told))
    missing = without_powered(chosen)
    if missing:
        line = _(
            "Without a control that could show a rise: {names}. Such a shape can come without any training; the protocol "
            "standard measures such controls."
        )
        st.caption(line.format(names=escape(_(", ").join(missing))))
    later = measured_later(chosen)
    if later:
        line = _(
            "Controls were measured after the verdicts on {names}, which do not know them: measure again to have it judged "
            "with them."
        )
        st.caption(line.format(names=escape(_(", ").join(later))))


def measured_later(chosen: Selection) -> list[str]:
    """Names of the runs on text that have controls which their verdicts were not judged with."""
    texts = chosen.runs.filter(pl.col("pass") == "text", pl.col("verdict_rise").is_not_null())
    found = control_links(texts, chosen.with_controls)
    known = texts.select(text_run_id="run_id", run_id="control_run_ids").explode("run_id")
    unknown = set(found.join(known, on=["text_run_id", "run_id"], how="anti")["text_run_id"])
    labels = run_labels(chosen.runs, language.current())
    return [labels[run_id] for run_id in texts["run_id"] if run_id in unknown]


def without_powered(chosen: Selection) -> list[str]:
    """Names of the runs on text that have no control which keeps the trained embedding."""
    powered = [key for key, one in CONTROLS.items() if one.keeps_embedding and one.has_model_seed]
    texts = chosen.runs.filter(pl.col("pass") == "text")
    found = control_links(texts, chosen.with_controls).filter(pl.col("pass").is_in(powered))
    labels = run_labels(chosen.runs, language.current())
    having = set(found["text_run_id"])
    return [labels[run_id] for run_id in texts["run_id"] if run_id not in having]


def show_scales(found: list[layer_profiles.RankScan]) -> None:
    if not found:
        return
    _ = language.translator()
    st.subheader(_("From near neighbours to far ones"))
    pictures.plot(layer_profiles.scan_figure(found, language.current()), "scales")
    st.caption(
        _(
            "One layer of each run: that of its largest inner dimension, or the one chosen above. Only where a curve is level "
            "does one number describe the points at these scales."
        )
    )


def show_grid(grid: claims.ClaimData) -> None:
    _ = language.translator()
    lang = language.current()
    pictures.plot(claims.claim_figure(grid, lang), "grid of claims")
    line = _("{marks}. In bold: the core, on which the verdicts rest. Ratios with intervals appear under the pointer.")
    st.caption(line.format(marks=marks_key(lang)))
