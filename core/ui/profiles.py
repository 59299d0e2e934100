"""What the reader of layer profiles chooses: estimator, cloud, scale and horizontal axis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import polars as pl
import streamlit as st

from core.report import wording
from core.report.points import CorrelatorData, ProfileData
from core.ui import inputs, language

Data = TypeVar("Data", ProfileData, CorrelatorData)


@dataclass(frozen=True)
class ProfileChoice:
    estimator: str
    cloud: str
    n1: int | None
    """Rank of the inner neighbour, where the estimator was read at several."""
    by_layer: bool
    """True for layer numbers, False for relative depth."""

    def on_axis(self, data: Data) -> Data:
        return replace(data, same_depth=self.by_layer)

    def rows(self, estimates: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
        """The estimates that the figure shows, with what makes them traceable."""
        of_run = runs.select(
            "run_id", "name", "model_id", "corpus_id", "protocol_hash", "seed", "dtype", "code_version"
        )
        asked = estimates.filter(estimator=self.estimator, cloud=self.cloud, transform="centred", stack="main")
        if self.n1 is not None:
            asked = asked.filter(n1=self.n1)
        return of_run.join(asked, on="run_id", how="inner", maintain_order="left_right")


def choose_estimates(estimates: pl.DataFrame, runs: pl.DataFrame) -> ProfileChoice:
    """One row of inputs; only what was measured is offered."""
    _ = language.translator()
    reader = language.current()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        there = _known_first(estimates["estimator"], wording.ESTIMATORS)
        estimator = inputs.choose_from_list(
            _("Estimator"), there, "estimator", there[0], lambda name: wording.estimator_name(name, reader), width=400
        )
        of_estimator = estimates.filter(estimator=estimator)
        clouds = _known_first(of_estimator["cloud"], wording.CLOUDS)
        cloud = inputs.choose(
            _("Points"), clouds, "cloud", clouds[0], lambda name: wording.cloud_name(name, reader), help=_cloud_help()
        )
        ranks = sorted(of_estimator["n1"].drop_nulls().unique().to_list())
        n1 = _choose_scale(ranks) if len(ranks) > 1 else None
        axes = {"layer": _("layer"), "depth": _("relative depth")}
        default = "layer" if runs["n_layers"].n_unique() == 1 else "depth"
        axis = inputs.choose(_("Horizontal axis"), list(axes), "axis", default, axes.__getitem__)
    return ProfileChoice(estimator, cloud, n1, axis == "layer")


def reading_aid(choice: ProfileChoice) -> str:
    """How to read the figure, in two sentences."""
    _ = language.translator()
    aid = _("Shaded: 95 % intervals. Click a name to hide a curve.")
    if (choice.estimator, choice.cloud) != ("d2", "one_per_type"):
        aid += " " + _("The working band and the verdict belong to d2, one per type.")
    return aid


def _choose_scale(ranks: list[int]) -> int:
    _ = language.translator()
    default = 8 if 8 in ranks else ranks[0]
    return inputs.choose(_("Scale (neighbour rank n1)"), ranks, "n1", default)


def _cloud_help() -> str:
    _ = language.translator()
    return _("One per type: each distinct token once, so that frequent words do not count twice. All tokens: as read.")


def _known_first(found: pl.Series, known: tuple[str, ...]) -> list[str]:
    there = set(found.unique().to_list())
    return [name for name in known if name in there] + sorted(there - set(known))
