"""The curves of the page Compare: one quantity over the layers, verdicts, other readings, numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import control_links, controls_of
from core.figures import profile_data
from core.figures.chart import Span
from core.figures.layer_profiles import layer_chart, profile_caption, profile_svg, scan_chart
from core.figures.profile_data import GRIDE_RANK, SURROGATE, ProfileData, Reference, claim_phases, extrema_of
from core.figures.svg import LIGHT, Theme
from core.locale import N_, _, translated
from core.questions.ranking_question import BY_TYPE
from core.questions.runs import Selection
from core.registry.estimators import CORRELATORS, ESTIMATORS
from core.registry.names import keys
from core.registry.protocols import CLAIMS, CONTROLS
from core.tables import (
    LayerCorrelatorRow,
    LayerEstimateRow,
    LayerPairRow,
    Run,
    RunCheckRow,
    RunClaimRow,
    RunControlRow,
    RunExtremumRow,
    RunSummaryRow,
    ids_of,
    records,
)
from core.ui import inputs, language, pictures, plan, tables, url_state
from core.ui.language import escape
from core.ui.tables import rounded, without_empty
from core.wording import readouts
from core.wording.labels import distinct_short_names, run_labels, short_id, shortened_name
from core.wording.runs import result_texts
from core.wording.verdicts import (
    Chip,
    badge_text,
    control_chips,
    joint_text,
    marked_ratio_text,
    opinion_chips,
    outcome_legend_text,
    specification_name,
    start_text,
)

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
    with inputs.row("center"):
        all_quantities = choose_all_quantities(estimates)
        basic = None if all_quantities else choose_basic_profile(estimates, runs, points or BY_TYPE)
        is_logarithmic = inputs.choose_yes_no(_("Logarithmic"), "log", False)
        is_interactive = inputs.choose_yes_no(_("Interactive"), "live", False)
        layer = choose_layer(estimates)
        more_choices = inputs.row("center", width="content")
    data = basic or choose_profile(estimates, correlators, runs)
    with more_choices:
        data = choose_references(data, estimates, selection, with_surrogates=all_quantities)
    data = replace(data, is_log=is_logarithmic and not data.is_correlator)
    with top:
        _show_figure(data, selection, is_interactive, layer)
    if layer is not None:
        with st.container(border=True):
            st.markdown(f"**{_('Layer {layer} (0 = embedding output)', layer=layer)}**")
            tables.show(one_layer_table(layer, selection), "one layer", height=320)
    with more_choices:
        with st.popover(_("How to read it"), icon=":material/help:"):
            marks = (_("▲ a peak, ▼ a valley."), wording.veto_mark_text())
            band = _("The working band belongs to d2, one per type.")
            st.caption(wording.joined_sentences((_("Shaded: 95 % intervals."), band, *marks)))
            _show_reference_notes(data, selection)
            st.markdown(wording.own_definition_text())
        if data.curves and not data.is_equivalent:  # ranges of Gaussian equivalents have no such file
            name = f"workdim_profile_{'_'.join(short_id(curve.run_id) for curve in data.curves[:3])}.svg"
            draw = partial(_profile_svg, data, selection, LIGHT, SIZE, is_file=True)
            inputs.show_download(_("Picture (SVG)"), draw, name, "image")
    return data, layer


def show_readings(selection: Selection, data: ProfileData, layer: int | None) -> None:
    """Draw what stands behind the figure: claims under every specification, verdicts, numbers."""
    runs, estimates = selection.runs, selection.of_runs(selection.estimates)
    if data.quantity == "gride" and (scan := scan_chart(estimates, runs, layer)) is not None:
        st.subheader(_("From near neighbours to far ones"))
        pictures.plot(scan, "scales", 380)
        st.caption(_("The peak layer, or the one chosen."))
    st.subheader(_("Dimensions and verdicts (d2, one per type)"))
    show_run_cards(selection)
    plan.show_needed_directions(runs)
    st.subheader(_("Numbers"))
    rows = profile_data.rows_of(data, selection.correlators if data.is_correlator else estimates)
    if not data.is_correlator:
        rows = profile_data.with_gaussian_equivalents(rows, estimates)
    rows = runs.select("run_id").join(rows, on="run_id", maintain_order="left_right")
    at_layer = rows if layer is None else rows.filter(layer=layer)
    tables.show(layer_table(at_layer, runs), "numbers", height=320 if layer is None else "content")
    tables.show_rows_download(rows, runs, "profiles")
    if not selection.claims.join(runs.filter(pl.col("pass") == "text"), on="run_id", how="semi").is_empty():
        st.subheader(_("Claims by specification"))
        tables.show(claim_table(selection.claims, runs, estimates), "claims", height=320)
        st.caption(_("{marks}. Verdicts rest on the core.", marks=outcome_legend_text()))
        tables.show_rows_download(selection.claims, runs, "claims")


def _show_figure(data: ProfileData, selection: Selection, is_interactive: bool, layer: int | None) -> None:
    """Draw the figure, and beside it the verdicts where there are few runs."""
    texts, picture, size = selection.judged, st.container(), SIZE
    if 0 < texts.height <= MAX_PANELS:
        shorten = partial(shortened_name, longest=MAX_PANEL_NAME)
        names = distinct_short_names(list(run_labels(texts).values()), shorten) if texts.height > 1 else [""]
        row = inputs.row("top")  # in a narrow window one stands below the other
        picture, size = row.container(width=SIZE_BESIDE[0]), SIZE_BESIDE
        with row.container(width=PANEL_WIDTH, gap="small" if texts.height == 1 else "xsmall"):
            for run, name in zip(records(texts, Run), names, strict=True):
                show_verdict_panel(run, selection, name, data.cloud if data.quantity == "d2" else BY_TYPE)
    with picture:
        if is_interactive or data.is_equivalent or not data.curves:
            pictures.plot(layer_chart(data, *_extrema_and_phases(data, selection), layer), "profile", 480)
        else:
            draw = partial(_profile_svg, data, selection, pictures.theme(), layer=layer)
            pictures.plot_drawn(draw, size, "profile picture", partial(url_state.choose, "layer"))


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


def _extrema_and_phases(data: ProfileData, selection: Selection) -> tuple[list[RunExtremumRow], list[Span]]:
    extrema = extrema_of(selection.extrema, data.cloud) if data.is_primary else []
    phases = []
    if data.is_primary and len(data.curves) == 1 and data.same_depth:
        (run,) = records(selection.runs.filter(run_id=data.curves[0].run_id), Run)
        phases = claim_phases(run, extrema)
    return extrema, phases


def _show_reference_notes(data: ProfileData, selection: Selection) -> None:
    """Draw what the reference lines are and decide, and name the runs without a control of random weights."""
    meanings = {key: control.meaning for key, control in CONTROLS.items()}
    meanings[SURROGATE] = N_("Gaussian points: where the curve's band lies below, the real points are not Gaussian.")
    for kind in dict.fromkeys(reference.kind for reference in data.references):
        st.caption(translated(meanings[kind]))
    labels = run_labels(selection.runs)
    without: list[str] = []
    newer: list[str] = []
    powered = [key for key, control in CONTROLS.items() if control.judges]
    for run in records(selection.runs.filter(pl.col("pass") == "text"), Run):
        controls = controls_of(run, selection.with_controls)
        if controls.filter(pl.col("pass").is_in(powered)).is_empty():
            without.append(labels[run.run_id])
        if run.verdict_rise and {*ids_of(controls)} - {*(run.control_run_ids or ())}:
            newer.append(labels[run.run_id])
    if without:
        text = _("Without a usable control: {names}. Such shapes can come without training; use protocol standard.")
        st.caption(text.format(names=escape(_(", ").join(without))))
    if newer:
        text = _("Verdicts on {names} leave out newer controls: measure again.")
        st.caption(text.format(names=escape(_(", ").join(newer))))


# --- choices ---------------------------------------------------------------------------------------------------------

BASIC_QUANTITIES = ("d2", "gride", "participation_ratio")
"""Quantities offered at first, on one point per type; a switch offers all."""
USUAL_NEIGHBOURS = 50
"""Number of neighbours of local d2, as in `geometry.correlators`, which a page may not import."""


def choose_layer(rows: pl.DataFrame) -> int | None:
    """Return one layer, or None for all."""
    layers = sorted(rows["layer"].unique().to_list())
    names = {inputs.ALL: _("every layer")} | {str(layer): _("layer {layer}", layer=layer) for layer in layers}
    chosen = inputs.choose_from_list(_("Layer"), names, "layer", width=160, label_visibility="collapsed")
    return None if chosen == inputs.ALL else int(chosen)


def choose_all_quantities(estimates: pl.DataFrame) -> bool:
    """Return whether all quantities are offered; the default is yes where a link asks for more than the basic ones."""
    basic = _basic_quantities(estimates)
    linked = url_state.requested("estimator")
    details = {"cloud", "n1", "k", "transform", "equivalent", "surrogate", "axis"} & {*st.query_params}
    default = not basic or bool(details or {*linked} - {*basic})
    return inputs.choose_yes_no(_("All quantities"), "all", default)


def choose_basic_profile(estimates: pl.DataFrame, runs: pl.DataFrame, cloud: str) -> ProfileData | None:
    """Return the profiles of one of the three basic quantities on these points; None where none of them was measured."""
    quantities = _basic_quantities(estimates, cloud)
    if not quantities:
        return None
    words = {"d2": _("Directions in use"), "gride": _("Around neighbours"), "participation_ratio": _("Of the variance")}
    meanings = (
        _("**Directions in use** (d2): shared out equally by tokens."),
        _("**Around neighbours** (GRIDE): around a token's nearest."),
        _("**Of the variance** (participation ratio): where variance spreads."),
    )
    names, help_ = {key: words[key] for key in quantities}, "  \n".join(meanings)
    chosen = inputs.choose(_("Quantity"), names, "estimator", label_visibility="collapsed", help=help_)
    return _in_own_colours(profile_data.profile_points(estimates, runs, chosen, cloud))


def _basic_quantities(estimates: pl.DataFrame, cloud: str = profile_data.PRIMARY[1]) -> list[str]:
    measured = estimates.filter(cloud=cloud, transform="centred")
    at_rank = measured.filter((pl.col("estimator") != "gride") | (pl.col("n1") == GRIDE_RANK))
    return [name for name in BASIC_QUANTITIES if name in at_rank["estimator"]]


def choose_profile(estimates: pl.DataFrame, correlators: pl.DataFrame, runs: pl.DataFrame) -> ProfileData:
    """Return the profiles of any quantity that was measured, on any cloud, at any scale, along layers or depth."""
    measured = correlators.filter(pl.col("cloud") != "unmasked")
    with inputs.row():
        estimators = _in_known_order(estimates["estimator"], ESTIMATORS)
        others = _in_known_order(measured["correlator"], CORRELATORS)
        names = {key: wording.estimator_name(key) for key in estimators} | wording.names("correlator", others)
        quantity = inputs.choose_from_list(_("Quantity"), names, "estimator", width=360)
        is_correlator = quantity not in estimators
        rows = measured.filter(correlator=quantity) if is_correlator else estimates.filter(estimator=quantity)
        clouds = _in_known_order(rows["cloud"], keys("cloud"))
        meanings = (
            _("One per type: each distinct token once."),
            _("One per word: the same words for every tokenizer."),
            _("All tokens: as read."),
        )
        help_ = wording.joined_sentences(meanings)
        cloud = inputs.choose(_("Points"), wording.names("cloud", clouds), "cloud", help=help_)
        axes = {"layer": _("layer"), "depth": _("relative depth")}
        default = "layer" if runs["n_layers"].n_unique() == 1 else "depth"
        same_depth = inputs.choose(_("Horizontal axis"), axes, "axis", default) == "layer"
    if is_correlator:
        data = profile_data.correlator_points(correlators, runs, quantity, cloud)
        return replace(_in_own_colours(data), same_depth=same_depth)
    # What was read at one scale alone is None; Gaussian equivalents are offered for GRIDE, as it saturates.
    rows = rows.filter(cloud=cloud)
    transforms = sorted(set(rows["transform"]) - {SURROGATE}, key=lambda name: (name != "centred", name))
    transform, n1, n2, is_equivalent = "centred", None, None, False
    with inputs.row():
        if len(transforms) > 1:
            names = wording.names("transform", transforms)
            transform = inputs.choose_from_list(_("Points prepared"), names, "transform", width=330)
        rows = rows.filter(transform=transform)
        inner, outer = (sorted(rows[name].drop_nulls().unique()) for name in ("n1", "n2"))
        if len(inner) > 1:
            n1 = inputs.choose(_("Scale (neighbour rank n1)"), inner, "n1", GRIDE_RANK if GRIDE_RANK in inner else None)
        elif not inner and len(outer) > 1:
            n2 = inputs.choose(_("Neighbours (k)"), outer, "k", USUAL_NEIGHBOURS if USUAL_NEIGHBOURS in outer else None)
        if quantity == "gride" and rows["gaussian_equivalent"].count():
            help_ = _("Neighbour estimators read low; this is the dimension of Gaussian points that read the same.")
            is_equivalent = inputs.choose_yes_no(_("Gaussian equivalent"), "equivalent", False, help=help_)
    data = profile_data.profile_points(estimates, runs, quantity, cloud, n1, n2, transform, is_equivalent)
    return replace(_in_own_colours(data), same_depth=same_depth)


def _in_own_colours(data: ProfileData) -> ProfileData:
    """With the colours that these runs have on all pages of this session."""
    colours = pictures.session_colours([curve.run_id for curve in data.curves])
    return replace(data, curves=[replace(curve, colour=colours[curve.run_id]) for curve in data.curves])


def _in_known_order(values: pl.Series, known: Collection[str]) -> list[str]:
    names = set(values.unique().to_list())
    return [name for name in known if name in names] + sorted(names - set(known))


def choose_references(
    data: ProfileData, estimates: pl.DataFrame, selection: Selection, *, with_surrogates: bool
) -> ProfileData:
    """Return the figure's data with the references to draw: control passes and Gaussian points; a switch without effect is
    not drawn."""
    if data.is_equivalent:
        return data
    links = control_links(selection.runs, selection.with_controls)
    rows = selection.correlators if data.is_correlator else selection.estimates
    control_rows = rows.filter(pl.col("run_id").is_in(ids_of(links)))
    controls = profile_data.control_references(data, control_rows, links, selection.runs, selection.seeds)
    surrogates: list[Reference] = []
    if with_surrogates and not data.is_correlator:
        surrogates = profile_data.surrogate_references(data, estimates, selection.runs)
    # With several curves the lines of control passes would hide them.
    if not (controls and inputs.choose_yes_no(_("Control passes"), "controls", len(data.curves) < 2)):
        controls = []
    help_ = _("The gap shows how far from Gaussian the real points are.")
    if not (surrogates and inputs.choose_yes_no(_("Gaussian points"), "surrogate", False, help=help_)):
        surrogates = []
    return replace(data, references=[*controls, *surrogates])


# --- verdicts and numbers of a run -----------------------------------------------------------------------------------

_VERDICT_COLOURS = {"holds": "blue", "mostly_holds": "blue", "depends": "orange", "invalid": "red"}
_CHIP_COLOURS = {"✓": "green", "✕": "red"}
_CARD_WIDTH = 288


def show_verdict_panel(run: Run, selection: Selection, name: str, cloud: str) -> None:
    """Draw the key numbers of a run on the points of a cloud, and a chip for each control and second opinion.

    Of a run that a check vetoes there are no chips: whether numbers of the sample agree says nothing of the model. `name` is given
    where several panels are drawn: their chips are marks alone, each has its verdict, which of a single run heads the page, and
    numbers on types stand in the table beneath.
    """
    if name:
        st.markdown(f"**{escape(name)}**")
        verdicts = (run.verdict_rise, run.verdict_fall)
        colour = next((_VERDICT_COLOURS[verdict] for verdict in _VERDICT_COLOURS if verdict in verdicts), "gray")
        st.markdown(f":{colour}-badge[**{escape(badge_text(run))}**]", help=escape(wording.verdict_text(run)))
    on_points = selection.summaries.filter(run_id=run.run_id, estimator="d2", cloud=cloud)
    for row in records(on_points, RunSummaryRow) if not name or cloud != BY_TYPE else ():
        peak, final = (wording.interval_of(row, name) for name in ("inner_max", "final_dimension_pre_norm"))
        chosen = _("The layer is chosen on half of the windows and read on the other.")
        points = wording.name("cloud", cloud)
        told = _("Largest inside {peak}, final {final} (d2, {points})", peak=peak, final=final, points=points)
        st.markdown(escape(told), help=chosen)
    if wording.is_vetoed(run):
        st.caption(_("A check failed: controls and other readings say nothing."))
        return
    passes = dict(selection.controls.select("run_id", "pass").rows())
    controls = records(selection.against_controls.filter(run_id=run.run_id), RunControlRow)
    opinions = records(selection.claims.filter(run_id=run.run_id), RunClaimRow)
    none = [Chip("?", _("none was measured"), "")]
    _show_chips(_("Controls"), control_chips(controls, passes) or none, marks_only=bool(name))
    _show_chips(_("Other readings"), opinion_chips(opinions), marks_only=bool(name))


def _show_chips(label: str, chips: list[Chip], *, marks_only: bool) -> None:
    """Draw a line of chips; the help explains each. `marks_only`: without their names."""
    if not chips:
        return
    details = "  \n".join(f"{escape(chip.mark)} **{escape(chip.name)}** {escape(chip.explanation)}" for chip in chips)
    badges = [label]
    for mark, name, _explanation in chips:
        badges.append(f":{_CHIP_COLOURS.get(mark, 'gray')}-badge[{escape(mark if marks_only else f'{mark} {name}')}]")
    st.markdown(" ".join(badges), help=details)


def show_run_cards(selection: Selection) -> None:
    """Draw a card of each run, side by side as far as the window is wide enough; above them, what one method is worth. What came
    out of several runs on text stands in one table, and not here again."""
    labels, starts = run_labels(selection.runs), selection.estimates.filter(pl.col("layer") == 0)
    for run in records(selection.runs.filter(pl.col("pass") == "text").head(1), Run):
        if told := start_text(run, records(starts.filter(run_id=run.run_id), LayerEstimateRow)):
            st.caption(escape(_("{claim}: {verdict}", claim=labels[run.run_id], verdict=told)))
    with inputs.row("top"):
        for run in records(selection.runs, Run):
            with st.container(border=True, width=_CARD_WIDTH):
                st.markdown(f"**{escape(labels[run.run_id])}**")
                _show_card(run, selection)


def _show_card(run: Run, selection: Selection) -> None:
    st.caption(escape(f"{run.corpus_name} · {run.protocol} · {language.local_time(run.started_at)}"))
    correlators = records(selection.correlators.filter(run_id=run.run_id), LayerCorrelatorRow)
    if run.n_points is None:
        st.caption(_("This protocol gives no verdicts."))
        _show_served(correlators)
        return
    is_control = run.pass_ != "text"  # it has no verdict and is named
    if is_control:
        st.markdown(escape(wording.outcome_text(run)))
    for claim in () if is_control else CLAIMS:
        colour = _VERDICT_COLOURS.get(getattr(run, f"verdict_{claim}"), "gray")
        st.markdown(f":{colour}[{escape(wording.claim_text(claim, run))}]", help=escape(joint_text(claim, run)))
    if is_control or selection.judged.height < 2:
        results = result_texts(run)
        del results[_("Verdicts")]
        st.markdown("\n\n".join(f"{label}  \n**{escape(text)}**" for label, text in results.items()))
    extrema = records(selection.extrema.filter(run_id=run.run_id, cloud=profile_data.PRIMARY[1]), RunExtremumRow)
    if extrema:
        st.caption(_("Profile: {extrema}", extrema=escape(wording.extrema_text(extrema))))
    if dominant := wording.dominance_text(row for row in correlators if row.correlator.startswith("top_")):
        st.caption(_("Dominant directions: {layers}", layers=escape(dominant)))
    readable = [row for row in correlators if row.correlator == "readable_loss"]
    if told := readouts.readable_text(readable, run.inner_max_layer):
        st.caption(escape(told), help=escape(readouts.readable_limits()))
    _show_served(correlators)
    if run.kind == "decoder" and not is_control:
        inputs.show_link("plan", _("What can go"), "content_cut", model=run.reference)


def _show_served(correlators: Sequence[LayerCorrelatorRow]) -> None:
    """Draw which layer serves the reader's own labels, where some were given."""
    if told := readouts.served_text(correlators):
        st.markdown(escape(told), help=escape(readouts.served_limits()))


# --- tables ----------------------------------------------------------------------------------------------------------


def layer_table(rows: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """The numbers of a figure of profiles, one line per run and layer: value, error, scale and sample size.

    `rows` are estimates or correlators; a column that they do not have, or that is empty, is left out.
    """
    labels = run_labels(runs)
    return without_empty(
        {
            _("Model"): [labels[run_id] for run_id in ids_of(rows)],
            _("Layer"): rows["layer"],
            _("State"): [wording.name("state", state) for state in rows["state"]],
            _("Value"): rounded(rows, "value", 4),
            # Always a range over the ranks of GRIDE: one value would look like a measurement.
            _("Gaussian equivalent, over all n1"): _range_texts(rows, "equivalent_lowest", "equivalent_highest"),
            _("Standard error"): rounded(rows, "std_error", 2),
            _("95 % interval"): _range_texts(rows, "lower", "upper"),
            _("Mean neighbour distance"): rounded(rows, "mean_distance", 3),
            _("N (points)"): rows["n_points"],
            _("Dropped"): rows["n_dropped"] if "n_dropped" in rows.columns else None,
        }
    )


def one_layer_table(layer: int, selection: Selection) -> pl.DataFrame:
    """The quantities of one layer, a column per run: its place in the profile, estimates with intervals, correlators, the
    distance to the layer before, and checks."""
    cells = [
        (_("In the profile"), row.run_id, wording.name("extremum", row.kind))
        for row in records(selection.of_runs(selection.extrema).filter(layer=layer, cloud=BY_TYPE), RunExtremumRow)
    ]
    estimates, correlators = (
        selection.of_runs(rows).filter(layer=layer).sort(pl.col("cloud") != BY_TYPE, maintain_order=True)
        for rows in (selection.estimates, selection.correlators)
    )
    for estimate in records(estimates.filter(transform="centred"), LayerEstimateRow):
        scale = [f"n1={estimate.n1}"] if estimate.n1 else [f"k={estimate.n2}"] if estimate.n2 else []
        name = _(", ").join([wording.estimator_name(estimate.estimator), *scale, *_cloud_and_state(estimate)])
        cells.append((name, estimate.run_id, wording.with_interval(estimate.value, estimate.lower, estimate.upper)))
    for correlator in records(correlators, LayerCorrelatorRow):
        name = _(", ").join([wording.name("correlator", correlator.correlator), *_cloud_and_state(correlator)])
        cells.append((name, correlator.run_id, wording.with_error(correlator.value, correlator.std_error)))
    for pair in records(selection.pairs.filter(layer_a=layer - 1, layer_b=layer), LayerPairRow):
        name = _("{measure}, from layer {layer}", measure=wording.name("pair", pair.measure), layer=layer - 1)
        cells.append((name, pair.run_id, wording.number(pair.value)))
    for check in records(selection.of_runs(selection.checks).filter(layer=layer), RunCheckRow):
        name = _("Check: {name}", name=wording.name("check", check.check_name))
        told = _("{outcome} ({value})", outcome=wording.outcome_name(check.outcome), value=wording.number(check.value))
        cells.append((name, check.run_id, told))
    return _side_by_side([_("Quantity")], cells, run_labels(selection.runs))


def _side_by_side(heads: Sequence[str], cells: Sequence[tuple[str, ...]], labels: Mapping[str, str]) -> pl.DataFrame:
    """A line for each head, and a column for each run; a cell names its line by a text for each head, its run, and what it says."""
    rows = pl.DataFrame(cells, [*heads, "run", "cell"], orient="row")
    table = rows.pivot("run", on_columns=[*labels], index=[*heads], values="cell", aggregate_function="last")
    return table.fill_null("–").rename(dict(labels))


def _cloud_and_state(row: LayerEstimateRow | LayerCorrelatorRow) -> list[str]:
    """The cloud and the state of a row, where they are not one per type and residual."""
    cloud = [] if row.cloud == BY_TYPE else [wording.name("cloud", row.cloud)]
    return cloud + ([] if row.state == "residual" else [wording.name("state", row.state)])


def _range_texts(rows: pl.DataFrame, low: str, high: str) -> list[str | None] | None:
    """`5.9 – 55` for each row, by its columns of the two ends; None where the rows do not have them."""
    if low not in rows.columns:
        return None
    ends = rows.select(low, high).rows()
    return [None if start is None else f"{wording.number(start)} – {wording.number(end)}" for start, end in ends]


def claim_table(rows: pl.DataFrame, runs: pl.DataFrame, estimates: pl.DataFrame) -> pl.DataFrame:
    """One line per specification and claim, the core first, and one for its final dimension where it was measured; a column
    per run with outcome and ratio."""
    labels = run_labels(runs)
    keys = ["run_id", "cloud", "transform", "estimator", "n1"]
    finals = (
        estimates.join(runs.select("run_id", layer="n_layers"), on=["run_id", "layer"], how="semi")
        .filter(state="residual")
        .drop_nulls("value")
        .select(*keys, "value", "lower", "upper")
    )
    ends = {row[: len(keys)]: row[len(keys) :] for row in finals.iter_rows()}
    claims = rows.filter(pl.col("run_id").is_in(list(labels))).sort(pl.col("is_core").not_(), maintain_order=True)
    cells = []
    for row in records(claims, RunClaimRow):
        named = specification_name(row), _("yes") if row.is_core else ""
        cells.append((*named, wording.name("claim", row.claim), row.run_id, marked_ratio_text(row)))
        final = ends.get(tuple(getattr(row, key) for key in keys))
        if row.claim == "fall" and final is not None:  # from start to peak, to the end
            cells.append((*named, _("Final dimension"), row.run_id, wording.with_interval(*final)))
    return _side_by_side([_("Specification"), _("Core"), _("Claim")], cells, labels)
