"""The choices of the section Profile, which give the data of its figure: quantity, cloud, scale, layer, control passes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import control_links
from core.figures import profile_data
from core.figures.profile_data import SURROGATE, ProfileData, Reference
from core.locale import _
from core.questions.runs import Selection
from core.registry.estimators import CORRELATORS, ESTIMATORS
from core.registry.names import keys
from core.tables import Run, ids_of
from core.ui import inputs, pictures, url_state

BASIC_QUANTITIES = ("d2", "gride", "participation_ratio")
"""Quantities offered at first, on one point per type; a switch offers all."""


def choose_run_and_quantity(
    runs: pl.DataFrame, label: str, quantities: Sequence[str], parameter: str, kind: str
) -> tuple[Run, str]:
    """Return one run, and one of its quantities, which are names of a kind (`core.registry.names`); `parameter` is the name
    of the choice in the URL."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        run = inputs.choose_one_run(runs)
        quantity = inputs.choose_from_list(label, wording.names(kind, quantities), parameter, width=480)
    return run, quantity


def choose_layer(rows: pl.DataFrame) -> int | None:
    """Return one layer, or None for all."""
    layers = sorted(rows["layer"].unique().to_list())
    names = {inputs.ALL: _("every layer")} | {str(layer): _("layer {layer}").format(layer=layer) for layer in layers}
    chosen = inputs.choose_from_list(_("Layer"), names, "layer", width=160, label_visibility="collapsed")
    return None if chosen == inputs.ALL else int(chosen)


def choose_all_quantities(estimates: pl.DataFrame) -> bool:
    """Return whether all quantities are offered; the default is yes where a link asks for more than the basic ones."""
    basic = _basic_quantities(estimates)
    linked = url_state.requested("estimator")
    has_details = any(
        name in st.query_params for name in ("cloud", "n1", "k", "transform", "equivalent", "surrogate", "axis")
    )
    default = not basic or has_details or bool(linked and linked[0] not in basic)
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
    names = {key: words[key] for key in quantities}
    more = {"label_visibility": "collapsed", "help": "  \n".join(meanings)}
    chosen = inputs.choose(_("Quantity"), names, "estimator", **more)
    return _in_own_colours(profile_data.profile_points(estimates, runs, chosen, cloud))


def _basic_quantities(estimates: pl.DataFrame, cloud: str = profile_data.PRIMARY[1]) -> list[str]:
    measured = estimates.filter(cloud=cloud, transform="centred")
    at_rank = measured.filter((pl.col("estimator") != "gride") | (pl.col("n1") == USUAL_RANK))
    return [name for name in BASIC_QUANTITIES if name in at_rank["estimator"]]


USUAL_RANK = profile_data.GRIDE_RANK
USUAL_NEIGHBOURS = 50
"""Number of neighbours of local d2, as in `geometry.correlators`, which a page may not import."""


def choose_profile(estimates: pl.DataFrame, correlators: pl.DataFrame, runs: pl.DataFrame) -> ProfileData:
    """Return the profiles of any quantity that was measured, on any cloud, at any scale, along layers or depth."""
    measured = correlators.filter(pl.col("cloud") != "unmasked")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        estimators = _in_known_order(estimates["estimator"], ESTIMATORS)
        others = _in_known_order(measured["correlator"], CORRELATORS)
        names = {key: wording.estimator_name(key) for key in estimators} | wording.names("correlator", others)
        quantity = inputs.choose_from_list(_("Quantity"), names, "estimator", width=360)
        is_correlator = quantity not in estimators
        rows = measured.filter(correlator=quantity) if is_correlator else estimates.filter(estimator=quantity)
        clouds = _in_known_order(rows["cloud"], keys("cloud"))
        help_ = (
            _("One per type: each distinct token once."),
            _("One per word: the same words for every tokenizer."),
            _("All tokens: as read."),
        )
        names, more = wording.names("cloud", clouds), {"help": wording.joined_sentences(help_)}
        cloud = inputs.choose(_("Points"), names, "cloud", **more)
        axes = {"layer": _("layer"), "depth": _("relative depth")}
        default = "layer" if runs["n_layers"].n_unique() == 1 else "depth"
        same_depth = inputs.choose(_("Horizontal axis"), axes, "axis", default) == "layer"
    if is_correlator:
        data = profile_data.correlator_points(correlators, runs, quantity, cloud)
        return replace(_in_own_colours(data), same_depth=same_depth)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        scale = _choose_scale(rows.filter(cloud=cloud), quantity)
    data = profile_data.profile_points(estimates, runs, quantity, cloud, *scale)
    return replace(_in_own_colours(data), same_depth=same_depth)


def _in_own_colours(data: ProfileData) -> ProfileData:
    """With the colours that these runs have on all pages of this session."""
    colours = pictures.session_colours([curve.run_id for curve in data.curves])
    return replace(data, curves=[replace(curve, colour=colours[curve.run_id]) for curve in data.curves])


def _choose_scale(rows: pl.DataFrame, estimator: str) -> tuple[int | None, int | None, str, bool]:
    """Return the neighbour rank, the number of neighbours, the transform of the points, and whether Gaussian equivalents
    are shown, which are offered for GRIDE, as it saturates. What was read at one scale alone is None."""
    transforms = sorted(set(rows["transform"]) - {SURROGATE}, key=lambda name: (name != "centred", name))
    transform, n1, n2, is_equivalent = "centred", None, None, False
    if len(transforms) > 1:
        names = wording.names("transform", transforms)
        transform = inputs.choose_from_list(_("Points prepared"), names, "transform", width=330)
    rows = rows.filter(transform=transform)
    inner, outer = (sorted(rows[name].drop_nulls().unique()) for name in ("n1", "n2"))
    if len(inner) > 1:
        n1 = inputs.choose(_("Scale (neighbour rank n1)"), inner, "n1", USUAL_RANK if USUAL_RANK in inner else None)
    elif not inner and len(outer) > 1:
        n2 = inputs.choose(_("Neighbours (k)"), outer, "k", USUAL_NEIGHBOURS if USUAL_NEIGHBOURS in outer else None)
    if estimator == "gride" and rows["gaussian_equivalent"].count():
        help_ = _("Neighbour estimators read low; this is the dimension of Gaussian points that read the same.")
        is_equivalent = inputs.choose_yes_no(_("Gaussian equivalent"), "equivalent", False, help=help_)
    return n1, n2, transform, is_equivalent


def _in_known_order(values: pl.Series, known: Collection[str]) -> list[str]:
    names = set(values.unique().to_list())
    return [name for name in known if name in names] + sorted(names - set(known))


MAX_CURVES_WITH_CONTROLS = 1
"""With more curves control passes are not drawn by default: their lines would hide the curves."""


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
    references: list[Reference] = []
    if controls and inputs.choose_yes_no(_("Control passes"), "controls", len(data.curves) <= MAX_CURVES_WITH_CONTROLS):
        references += controls
    help_ = _("The gap shows how far from Gaussian the real points are.")
    if surrogates and inputs.choose_yes_no(_("Gaussian points"), "surrogate", False, help=help_):
        references += surrogates
    return replace(data, references=references)
