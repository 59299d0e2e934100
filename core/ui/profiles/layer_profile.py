"""The first section of the profiles: one quantity over the layers, its controls, and what the run amounts to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import control_links
from core.analysis.shape import SECOND_OPINION
from core.figures import layer_profiles
from core.figures.layer_profiles import SURROGATE, CorrelatorData, ProfileData, Reference
from core.registry.passes import CONTROLS
from core.ui import inputs, language, notices, tables
from core.ui.markdown import escape
from core.ui.reads import Selection
from core.wording.labels import run_labels


def show(chosen: Selection) -> None:
    _ = language.translator()
    reader = language.current()
    runs, estimates, correlators = chosen.runs, chosen.of_runs(chosen.estimates), chosen.of_runs(chosen.correlators)
    notices.stop_if_no_estimates(estimates)

    asked = choose_profile(estimates, correlators, runs)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        asked = choose_equivalent(choose_scale(asked, estimates), estimates)
        data = choose_references(asked.data(estimates, correlators, runs), estimates, chosen)
    st.plotly_chart(layer_profiles.layer_figure(data, reader), key="profile", theme=None)
    st.caption(reading_aid(asked, data))
    tell_references(data, chosen)

    st.subheader(_("Working and final dimension (d2, one per type)"))
    run_cards(runs)
    st.markdown(wording.sentences((wording.which_ten(reader), wording.own_definition(reader)), reader))

    st.subheader(_("Numbers"))
    shown = asked.rows(estimates, correlators, runs)
    tables.show(tables.layers(shown, runs), "numbers", height=320)
    tables.download(shown, "workdim_profiles.csv", _("Download these numbers (CSV)"))


USUAL_RANK = SECOND_OPINION[1]
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
    """Shown as the dimension of Gaussian points that the estimator reads the same on."""

    @property
    def is_primary(self) -> bool:
        return (self.quantity, self.cloud, self.transform) == (*layer_profiles.PRIMARY, "centred")

    def data(
        self, estimates: pl.DataFrame, correlators: pl.DataFrame, runs: pl.DataFrame
    ) -> ProfileData | CorrelatorData:
        if self.is_correlator:
            pairs = layer_profiles.correlator_points(correlators, runs, self.quantity, self.cloud, language.current())
            return replace(pairs, same_depth=self.by_layer)
        asked = (self.n1, self.n2, self.transform, self.is_equivalent)
        found = layer_profiles.profile_points(
            estimates, runs, self.quantity, self.cloud, *asked, language=language.current()
        )
        return replace(found, same_depth=self.by_layer)

    def rows(self, estimates: pl.DataFrame, correlators: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
        """The rows that the figure shows, with what makes them traceable."""
        if self.is_correlator:
            asked = correlators.filter(correlator=self.quantity, cloud=self.cloud)
        else:
            ranks = (self.n1, self.n2, self.transform)
            asked = layer_profiles.estimates_of(estimates, self.quantity, self.cloud, *ranks)
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
    if choice.is_correlator or not layer_profiles.estimates_of(estimates, *asked)["gaussian_equivalent"].count():
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
    return wording.name("correlator", name, reader) if known else wording.estimator_name(name, reader)


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


FEW_RUNS = 2
"""Up to so many runs the control passes are drawn at first; with more, their lines would hide the curves."""


def choose_references(
    data: ProfileData | CorrelatorData, estimates: pl.DataFrame, chosen: Selection
) -> ProfileData | CorrelatorData:
    """The picture with what the reader wants it held against; a switch without effect is not drawn."""
    _ = language.translator()
    controls = _controls(data, chosen)
    surrogates: list[Reference] = []
    if isinstance(data, ProfileData) and not data.is_equivalent:
        surrogates = layer_profiles.surrogate_references(data, estimates, chosen.runs)
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
    return layer_profiles.control_references(data, of_controls, found, chosen.runs)


def tell_references(data: ProfileData | CorrelatorData, chosen: Selection) -> None:
    """What the thin lines are and what they decide; and which runs have no random weights to be held against."""
    _ = language.translator()
    kinds = {reference.kind for reference in data.references}
    meanings = {
        **{key: language.translator()(one.meaning) for key, one in CONTROLS.items()},
        layer_profiles.SURROGATE: _(
            "Gaussian points (dash-dotted): the same covariance and nothing else. Where the curve's "
            "interval lies below, the real points are not Gaussian."
        ),
    }
    told = [meaning for kind, meaning in meanings.items() if kind in kinds]
    if told:
        st.caption("  \n".join(told))
    missing, later = without_random(chosen)
    if missing:
        line = _("Not controlled against random weights: {names}. Such a shape can come without any training.")
        st.caption(line.format(names=escape(_(", ").join(missing))))
    if later:
        line = _(
            "Random weights were measured after the verdict on {names}, which does not know them: measure again "
            "to have it judged with them."
        )
        st.caption(line.format(names=escape(_(", ").join(later))))


def without_random(chosen: Selection) -> tuple[list[str], list[str]]:
    """Names of the runs on text without random weights at all, and of those that were judged without them."""
    texts = chosen.runs.filter(pl.col("pass") == "text")
    controls = control_links(texts, chosen.with_controls).filter(pl.col("pass") == "random_init")
    labels = run_labels(chosen.runs, language.current())
    having = set(controls["text_run_id"])
    judged_without = set(texts.filter(pl.col("qualifiers").list.contains("no_random_init"))["run_id"])
    missing = [labels[run_id] for run_id in texts["run_id"] if run_id not in having]
    return missing, [labels[run_id] for run_id in texts["run_id"] if run_id in having & judged_without]


_WIDTH = 288
_COLOURS = {"found": "blue", "not_found": "gray", "undecided": "orange"}


def run_cards(runs: pl.DataFrame) -> None:
    """Side by side where the window is wide, below each other where it is not."""
    labels = run_labels(runs, language.current())
    with st.container(horizontal=True, gap="small"):
        for run in runs.iter_rows(named=True):
            with st.container(border=True, width=_WIDTH, gap="small"):
                _card(run, labels[run["run_id"]])


def _card(run: dict[str, Any], label: str) -> None:
    _ = language.translator()
    st.markdown(f"**{escape(label)}**")
    st.caption(escape(f"{run['corpus_name']} · {run['protocol']} · {language.local_time(run['started_at'])}"))
    if run["verdict"] is None:
        st.caption(_("No working dimension and no verdict: this protocol measures no points of one per type."))
        return
    _verdict(run)
    checks = wording.outcome_name(run["worst_check"], language.current())
    st.caption(_("N={n} points, checks: {outcome}").format(n=run["n_points"], outcome=checks))
    if run["vetoed_by"]:
        names = _(", ").join(notices.check_names(run["vetoed_by"]))
        st.markdown(f":red[{escape(_('Not to be relied on: {checks}').format(checks=names))}]")
    _metric(_("Working dimension"), run, "working_dimension")
    if run["final_dimension_post_norm"] is None:
        _metric(_("Final dimension (no final norm)"), run, "final_dimension_pre_norm")
    else:
        _metric(_("Final dimension, before the norm"), run, "final_dimension_pre_norm")
        _metric(_("Final dimension, after the norm"), run, "final_dimension_post_norm")


def _metric(label: str, run: dict[str, Any], column: str) -> None:
    value, lower, upper = (run[f"{column}{end}"] for end in ("", "_lower", "_upper"))
    st.markdown(f"{label}  \n**{wording.with_interval(value, lower, upper)}**")


def _verdict(run: dict[str, Any]) -> None:
    """The verdict with what limits it in one breath; of a control pass, which has none, whether it shows the shape."""
    colour = _COLOURS.get(run["verdict"], "gray") if run["pass"] == "text" else "gray"
    st.markdown(f":{colour}[{wording.outcome_text(run, language.current())}]")
