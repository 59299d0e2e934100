"""What the reader of layer profiles chooses: quantity, points, scale, horizontal axis, and what to hold it against."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl
import streamlit as st

from core.analysis.shape import SECOND_OPINION
from core.report import points, wording
from core.report.points import SURROGATE, CorrelatorData, ProfileData
from core.ui import inputs, language, tables

USUAL_RANK = SECOND_OPINION[1]
USUAL_NEIGHBOURS = 50
"""Of local d2; what `geometry.one_per_type` measures stands there, which a page may not load."""


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
    """Shown as the dimension of Gaussian points that the estimator reads the same on."""

    @property
    def is_primary(self) -> bool:
        return (self.quantity, self.cloud, self.transform) == (*points.PRIMARY, "centred")

    def data(
        self, estimates: pl.DataFrame, correlators: pl.DataFrame, runs: pl.DataFrame
    ) -> ProfileData | CorrelatorData:
        if self.is_correlator:
            pairs = points.correlator_points(correlators, runs, self.quantity, self.cloud, language.current())
            return replace(pairs, same_depth=self.by_layer)
        asked = (self.n1, self.n2, self.transform, self.is_equivalent)
        found = points.profile_points(estimates, runs, self.quantity, self.cloud, *asked, language=language.current())
        return replace(found, same_depth=self.by_layer)

    def rows(self, estimates: pl.DataFrame, correlators: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
        """The rows that the figure shows, with what makes them traceable."""
        if self.is_correlator:
            asked = correlators.filter(correlator=self.quantity, cloud=self.cloud)
        else:
            ranks = (self.n1, self.n2, self.transform)
            asked = points.estimates_of(estimates, self.quantity, self.cloud, *ranks)
        return tables.traced(asked, runs)


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
    """Offered for estimators that saturate and whose readings on Gaussian points are known."""
    _ = language.translator()
    asked = (choice.quantity, choice.cloud, choice.n1, choice.n2, choice.transform)
    if choice.is_correlator or not points.estimates_of(estimates, *asked)["gaussian_equivalent"].count():
        return choice
    help_ = _(
        "Neighbour estimators read too low where the dimension is high, at about 50 at most for these numbers of "
        "points. This shows the dimension of the Gaussian points that they would read the same on."
    )
    return replace(
        choice, is_equivalent=inputs.choose_yes_no(_("Gaussian equivalent"), "equivalent", False, help=help_)
    )


def reading_aid(choice: ProfileChoice, data: ProfileData | CorrelatorData) -> str:
    """How to read the figure, in few sentences."""
    _ = language.translator()
    told = [_("Shaded: 95 % intervals. Click a name to hide a curve.")]
    if not choice.is_primary:
        told.append(_("The working band and the verdict belong to d2, one per type."))
    if choice.is_equivalent:
        told.append(_("Where a curve breaks off, no Gaussian equivalent is stored."))
    if any(curve.is_vetoed for curve in data.curves):
        told.append(wording.veto_note(language.current()))
    return wording.sentences(told, language.current())


def _quantity_name(name: str) -> str:
    known = name in wording.CORRELATORS
    reader = language.current()
    return wording.correlator_name(name, reader) if known else wording.estimator_name(name, reader)


def _cloud_name(cloud: str) -> str:
    return wording.cloud_name(cloud, language.current())


def _transform_name(transform: str) -> str:
    return wording.transform_name(transform, language.current())


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
