"""Which quantity, layer, scale and controls of the chosen runs are shown."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import control_links
from core.figures import profile_data
from core.figures.profile_data import SURROGATE, CorrelatorData, ProfileData, Reference
from core.ui import inputs, language, tables, url_state
from core.ui.reads import Selection

BASIC = ("d2", "gride", "participation_ratio")
"""What a first look is offered, on one point per type; the others stand behind a switch."""


def choose_layer(rows: pl.DataFrame) -> int | None:
    """One layer of the table of numbers, or all."""
    _ = language.translator()
    layers = sorted(rows["layer"].unique().to_list())
    options = [inputs.ALL, *map(str, layers)]
    chosen = inputs.choose_from_list(
        _("Layer"),
        options,
        "layer",
        inputs.ALL,
        lambda key: _("every layer") if key == inputs.ALL else _("layer {layer}").format(layer=key),
        width=160,
        label_visibility="collapsed",
    )
    return None if chosen == inputs.ALL else int(chosen)


def choose_all(estimates: pl.DataFrame) -> bool:
    """Whether every quantity is offered: at first where a link asks for more than a first look shows."""
    _ = language.translator()
    offered = _basic(estimates)
    asked = url_state.requested("estimator")
    more = any(name in st.query_params for name in ("cloud", "n1", "k", "transform", "equivalent", "surrogate", "axis"))
    default = not offered or more or bool(asked and asked[0] not in offered)
    return inputs.choose_yes_no(_("All quantities"), "all", default)


def choose_basic(estimates: pl.DataFrame, runs: pl.DataFrame) -> ProfileChoice | None:
    """Three quantities in plain words; None where none of them was measured."""
    _ = language.translator()
    offered = _basic(estimates)
    if not offered:
        return None
    words = {"d2": _("Directions in use"), "gride": _("Around neighbours"), "participation_ratio": _("Of the variance")}
    meanings = (
        _("**Directions in use** (d2): how many directions the tokens share out equally."),
        _("**Around neighbours** (GRIDE): the dimension that a token's nearest neighbours spread in."),
        _("**Of the variance** (participation ratio): over how many directions the variance is spread."),
    )
    chosen = inputs.choose(
        _("Quantity"),
        offered,
        "estimator",
        offered[0],
        words.__getitem__,
        label_visibility="collapsed",
        help="  \n".join(meanings),
    )
    n1 = USUAL_RANK if chosen == "gride" else None
    return ProfileChoice(chosen, profile_data.PRIMARY[1], runs["n_layers"].n_unique() == 1, n1=n1)


def _basic(estimates: pl.DataFrame) -> list[str]:
    measured = estimates.filter(cloud=profile_data.PRIMARY[1], transform="centred")
    at_rank = measured.filter((pl.col("estimator") != "gride") | (pl.col("n1") == USUAL_RANK))
    return [name for name in BASIC if name in at_rank["estimator"]]


USUAL_RANK = profile_data.GRIDE_RANK


USUAL_NEIGHBOURS = 50
"""Of local d2; what `geometry.local` measures stands there, which a page may not load."""


@dataclass(frozen=True)
class ProfileChoice:
    quantity: str
    """An estimator or a correlator."""
    cloud: str
    by_layer: bool
    """True for layer numbers, False for relative depth."""
    is_correlator: bool = False
    n1: int | None = None
    """Rank of the inner neighbour, where the estimator was read at several."""
    n2: int | None = None
    """Number of neighbours, where the estimator was read at several."""
    transform: str = "centred"
    is_equivalent: bool = False
    """Shown as the range, over all n1, of the dimension of Gaussian points that GRIDE reads the same on."""

    @property
    def is_primary(self) -> bool:
        return (self.quantity, self.cloud, self.transform) == (*profile_data.PRIMARY, "centred")

    def data(
        self, estimates: pl.DataFrame, correlators: pl.DataFrame, runs: pl.DataFrame
    ) -> ProfileData | CorrelatorData:
        if self.is_correlator:
            pairs = profile_data.correlator_points(correlators, runs, self.quantity, self.cloud, language.current())
            return replace(pairs, same_depth=self.by_layer)
        asked = (self.n1, self.n2, self.transform, self.is_equivalent)
        found = profile_data.profile_points(
            estimates, runs, self.quantity, self.cloud, *asked, language=language.current()
        )
        return replace(found, same_depth=self.by_layer)

    def rows(self, estimates: pl.DataFrame, correlators: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
        """The rows that the figure shows, with what makes them traceable."""
        if self.is_correlator:
            asked = correlators.filter(correlator=self.quantity, cloud=self.cloud)
        else:
            ranks = (self.n1, self.n2, self.transform)
            of_choice = profile_data.select_estimates(estimates, self.quantity, self.cloud, *ranks)
            asked = profile_data.with_gaussian_equivalents(of_choice, estimates)
        return tables.with_provenance(asked, runs)


def choose_profile(estimates: pl.DataFrame, correlators: pl.DataFrame, runs: pl.DataFrame) -> ProfileChoice:
    """The row of inputs that is always there; only what was measured is offered."""
    _ = language.translator()
    measured = correlators.filter(pl.col("cloud") != "unmasked")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        estimators = _known_first(estimates["estimator"], wording.ESTIMATORS)
        others = _known_first(measured["correlator"], wording.CORRELATORS)
        quantity = inputs.choose_from_list(
            _("Quantity"), [*estimators, *others], "estimator", estimators[0], _quantity_name, width=360
        )
        is_correlator = quantity not in estimators
        own = measured.filter(correlator=quantity) if is_correlator else estimates.filter(estimator=quantity)
        clouds = _known_first(own["cloud"], wording.CLOUDS)
        cloud = inputs.choose(_("Points"), clouds, "cloud", clouds[0], _cloud_name, help=_cloud_help())
        axes = {"layer": _("layer"), "depth": _("relative depth")}
        default = "layer" if runs["n_layers"].n_unique() == 1 else "depth"
        axis = inputs.choose(_("Horizontal axis"), list(axes), "axis", default, axes.__getitem__)
    return ProfileChoice(quantity, cloud, axis == "layer", is_correlator)


def choose_scale(choice: ProfileChoice, estimates: pl.DataFrame) -> ProfileChoice:
    """What one estimator was read at: neighbour rank, number of neighbours, and what was done to the points first."""
    if choice.is_correlator:
        return choice
    _ = language.translator()
    own = estimates.filter(estimator=choice.quantity, cloud=choice.cloud)
    transforms = [name for name in own["transform"].unique(maintain_order=True) if name != SURROGATE]
    if len(transforms) > 1:
        label, names = _("Points prepared"), sorted(transforms, key=lambda name: (name != "centred", name))
        chosen = inputs.choose_from_list(label, names, "transform", names[0], _transform_name, width=330)
        choice = replace(choice, transform=chosen)
    own = own.filter(transform=choice.transform)
    inner = sorted(own["n1"].drop_nulls().unique().to_list())
    outer = sorted(own["n2"].drop_nulls().unique().to_list())
    if len(inner) > 1:
        default = USUAL_RANK if USUAL_RANK in inner else inner[0]
        return replace(choice, n1=inputs.choose(_("Scale (neighbour rank n1)"), inner, "n1", default))
    if not inner and len(outer) > 1:
        default = USUAL_NEIGHBOURS if USUAL_NEIGHBOURS in outer else outer[0]
        return replace(choice, n2=inputs.choose(_("Neighbours (k)"), outer, "k", default))
    return choice


def choose_equivalent(choice: ProfileChoice, estimates: pl.DataFrame) -> ProfileChoice:
    """Offered for GRIDE, which saturates and whose readings on Gaussian points are known at several ranks."""
    _ = language.translator()
    asked = (choice.quantity, choice.cloud, choice.n1, choice.n2, choice.transform)
    if (
        choice.quantity != "gride"
        or not profile_data.select_estimates(estimates, *asked)["gaussian_equivalent"].count()
    ):
        return choice
    help_ = _(
        "Neighbour estimators read too low where the dimension is high, at about 50 at most for these numbers of "
        "points. This shows, as a range over all n1, the dimension of the Gaussian points that they would read the "
        "same on: one rank alone would look like a measurement."
    )
    return replace(
        choice, is_equivalent=inputs.choose_yes_no(_("Gaussian equivalent"), "equivalent", False, help=help_)
    )


def _quantity_name(name: str) -> str:
    known = name in wording.CORRELATORS
    lang = language.current()
    return wording.name("correlator", name, lang) if known else wording.estimator_name(name, lang)


def _cloud_name(cloud: str) -> str:
    return wording.name("cloud", cloud, language.current())


def _transform_name(transform: str) -> str:
    return wording.name("transform", transform, language.current())


def _cloud_help() -> str:
    _ = language.translator()
    told = (
        _("One per type: each distinct token once, so that frequent words do not count twice."),
        _("One per word: each distinct word once, so that models with other tokenizers have the same words."),
        _("All tokens: as read."),
    )
    return wording.sentences(told, language.current())


def _known_first(found: pl.Series, known: tuple[str, ...]) -> list[str]:
    there = set(found.unique().to_list())
    return [name for name in known if name in there] + sorted(there - set(known))


FEW_RUNS = 1
"""Up to so many runs the control passes are drawn at first; with more, their lines would hide the curves."""


def choose_references(
    data: ProfileData | CorrelatorData, estimates: pl.DataFrame, chosen: Selection, *, with_surrogates: bool
) -> ProfileData | CorrelatorData:
    """The picture with what the reader wants it held against; a switch without effect is not drawn."""
    _ = language.translator()
    if isinstance(data, ProfileData) and data.is_equivalent:
        return data
    controls = _controls(data, chosen)
    surrogates: list[Reference] = []
    if with_surrogates and isinstance(data, ProfileData):
        surrogates = profile_data.surrogate_references(data, estimates, chosen.runs)
    shown: list[Reference] = []
    if controls and inputs.choose_yes_no(_("Control passes"), "controls", len(data.curves) <= FEW_RUNS):
        shown += controls
    help_ = _(
        "What the estimator reads on Gaussian points with the same covariance: their distance to the curve "
        "shows how far from Gaussian the real points are."
    )
    if surrogates and inputs.choose_yes_no(_("Gaussian points of equal covariance"), "surrogate", False, help=help_):
        shown += surrogates
    return replace(data, references=shown)


def _controls(data: ProfileData | CorrelatorData, chosen: Selection) -> list[Reference]:
    found = control_links(chosen.runs, chosen.with_controls)
    rows = chosen.correlators if isinstance(data, CorrelatorData) else chosen.estimates
    of_controls = rows.filter(pl.col("run_id").is_in(found["run_id"].to_list()))
    return profile_data.control_references(data, of_controls, found, chosen.runs)
