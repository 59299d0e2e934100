"""The first section of the profiles: one quantity over the layers, its controls, and what the run amounts to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.differences import control_links
from core.figures import claims, layer_profiles
from core.figures.layer_profiles import SURROGATE, CorrelatorData, ProfileData, Reference
from core.figures.pictures import caption_of, phases_of, profile_picture, turns_of
from core.figures.svg import LIGHT, Theme
from core.registry.passes import CONTROLS
from core.registry.specifications import CLAIMS
from core.ui import inputs, language, notices, pictures, tables, url_state
from core.ui.markdown import escape
from core.ui.reads import Selection
from core.ui.shrink import plan_view
from core.wording.labels import run_labels, short_id, shortened
from core.wording.verdicts import Chip, badge, control_chips, marks_key, opinion_chips

BASIC = ("d2", "gride", "participation_ratio")
"""What a first look is offered, on one point per type; the others stand behind a switch."""
SIZE, SIZE_BESIDE = (960, 460), (680, 430)
"""Of the picture, alone and with something beside it: letters keep their size."""
PANEL_WIDTH = 250
MOST_BESIDE = 3
"""With more runs, what they were judged stands below their picture."""


def show(chosen: Selection) -> None:
    """The picture first and what was judged beside it, then the choices, then all that is known in tables."""
    _ = language.translator()
    reader = language.current()
    runs, estimates, correlators = chosen.runs, chosen.of_runs(chosen.estimates), chosen.of_runs(chosen.correlators)
    notices.stop_if_no_estimates(estimates)

    first = st.container()
    with url_state.together():
        with st.container(horizontal=True, vertical_alignment="center"):
            is_all = choose_all(estimates)
            asked = choose_basic(estimates, runs) if not is_all else None
            is_log = inputs.choose_yes_no(_("Logarithmic"), "log", False)
            is_live = inputs.choose_yes_no(_("Values under the pointer"), "live", False)
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
        _show_first(asked, data, chosen, is_live)
    with rest:
        with st.popover(_("How to read it"), icon=":material/help:"):
            st.caption(reading_aid(asked, data))
            tell_references(data, chosen)
            st.markdown(wording.own_definition(reader))
        download_picture(asked, data, chosen)

    grid = claims.claim_points(chosen.claims, runs, reader)
    if grid.lines:
        st.subheader(_("Read in other ways"))
        show_grid(grid)
    st.subheader(_("Dimensions and verdicts (d2, one per type)"))
    run_cards(runs, chosen.extrema)
    plan_view.tell_needed(runs)
    st.subheader(_("Numbers"))
    shown = asked.rows(estimates, correlators, runs)
    layer = choose_layer(shown)
    at_layer = shown if layer is None else shown.filter(layer=layer)
    tables.show(tables.layers(at_layer, runs), "numbers", height=320 if layer is None else "content")
    tables.download(shown, "workdim_profiles.csv", _("Download these numbers (CSV)"))

    if grid.lines:
        st.subheader(_("Claims by specification"))
        tables.show(tables.claims(chosen.claims, runs, estimates), "claims", height=320)
        tables.download(tables.traced(chosen.claims, runs), "workdim_claims.csv", _("Download these claims (CSV)"))


def _show_first(asked: ProfileChoice, data: ProfileData | CorrelatorData, chosen: Selection, is_live: bool) -> None:
    """The picture; beside it, of few runs, what they were judged to be."""
    texts = chosen.runs.filter(pl.col("pass") == "text", pl.col("n_points").is_not_null())
    if 0 < texts.height <= MOST_BESIDE:
        labels = run_labels(texts, language.current())
        row = st.container(horizontal=True, gap="medium")  # in a narrow window one stands below the other
        picture = row.container(width=SIZE_BESIDE[0])
        with row.container(width=PANEL_WIDTH):
            for run in texts.iter_rows(named=True):
                verdict_panel(run, chosen, labels[run["run_id"]] if texts.height > 1 else "")
    else:
        picture = st.container()
    with picture:
        if is_live or asked.is_equivalent or not data.curves:
            pictures.plot(layer_profiles.layer_figure(data, language.current()), "profile")
        else:
            title = language.translator()("Dimension from layer to layer: {names}")
            names = ", ".join(curve.name for curve in data.curves)
            drawn = _drawn(
                asked, data, chosen, pictures.theme(), SIZE_BESIDE if 0 < texts.height <= MOST_BESIDE else SIZE
            )
            st.image(drawn, width="stretch", alt=title.format(names=names))


_BADGE_COLOURS = {"robust": "blue", "depends": "orange", "not_usable": "red"}


def verdict_panel(run: dict[str, Any], chosen: Selection, name: str) -> None:
    """What a run was judged to be, its largest numbers, and a chip for each control and second opinion; of several runs,
    which have a name, the marks of the chips alone."""
    _ = language.translator()
    reader = language.current()
    if name:
        st.markdown(f"**{escape(shortened(name, 50))}**")
    colour = next(
        (
            _BADGE_COLOURS[verdict]
            for verdict in _BADGE_COLOURS
            if verdict in (run["verdict_rise"], run["verdict_fall"])
        ),
        "gray",
    )
    st.markdown(f":{colour}-badge[**{escape(badge(run, reader))}**]", help=escape(wording.verdict_text(run, reader)))
    peak = wording.with_interval(*(run[f"inner_max{end}"] for end in ("", "_lower", "_upper")))
    final = wording.number(run["final_dimension_pre_norm"]) if run["final_dimension_pre_norm"] is not None else "–"
    st.markdown(escape(_("Largest {peak}, final {final}").format(peak=peak, final=final)))
    passes = dict(chosen.controls.select("run_id", "pass").rows())
    controls = chosen.against_controls.filter(run_id=run["run_id"]).to_dicts()
    opinions = chosen.claims.filter(run_id=run["run_id"]).to_dicts()
    none = [Chip("?", _("none was measured"), "")]
    _chips(_("Controls"), control_chips(controls, passes, reader) or none, is_brief=bool(name))
    _chips(_("Other ways to read it"), opinion_chips(opinions, reader), is_brief=bool(name))


_CHIP_COLOURS = {"✓": "green", "✕": "red", "=": "gray", "≠": "gray", "?": "gray"}


def _chips(label: str, chips: list[Chip], *, is_brief: bool) -> None:
    """`is_brief`: the marks alone, of several runs below each other; what they are of stands in the help."""
    if not chips:
        return
    told = "  \n".join(f"{escape(one.mark)} **{escape(one.name)}** {escape(one.told)}" for one in chips)
    if is_brief:
        badges = " ".join(f":{_CHIP_COLOURS[one.mark]}-badge[{escape(one.mark)}]" for one in chips)
        st.markdown(f"{escape(label)} {badges}", help=told)
        return
    st.caption(escape(label), help=told)
    st.markdown(" ".join(f":{_CHIP_COLOURS[one.mark]}-badge[{escape(f'{one.mark} {one.name}')}]" for one in chips))


def choose_layer(rows: pl.DataFrame) -> int | None:
    """One layer of the table of numbers, or all."""
    _ = language.translator()
    layers = sorted(rows["layer"].unique().to_list())
    options = [inputs.ALL, *map(str, layers)]
    chosen = inputs.choose_from_list(
        _("Layer"), options, "layer", inputs.ALL, lambda key: _("every layer") if key == inputs.ALL else key, width=160
    )
    return None if chosen == inputs.ALL else int(chosen)


def choose_all(estimates: pl.DataFrame) -> bool:
    """Whether every quantity is offered: at first where a link asks for more than a first look shows."""
    _ = language.translator()
    offered = _basic(estimates)
    asked = url_state.wanted("estimator")
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
    return ProfileChoice(chosen, layer_profiles.PRIMARY[1], runs["n_layers"].n_unique() == 1, n1=n1)


def _basic(estimates: pl.DataFrame) -> list[str]:
    measured = estimates.filter(cloud=layer_profiles.PRIMARY[1], transform="centred")
    at_rank = measured.filter((pl.col("estimator") != "gride") | (pl.col("n1") == USUAL_RANK))
    return [name for name in BASIC if name in at_rank["estimator"]]


def _drawn(
    asked: ProfileChoice, data: ProfileData | CorrelatorData, chosen: Selection, theme: Theme, size: tuple[float, float]
) -> str:
    reader = language.current()
    turns = turns_of(chosen.extrema, data.cloud) if asked.is_primary else []
    is_log = isinstance(data, ProfileData) and data.is_log
    phases = []
    if asked.is_primary and len(data.curves) == 1 and data.same_depth:
        (run,) = chosen.runs.filter(run_id=data.curves[0].run_id).to_dicts()
        phases = phases_of(run, turns, reader)
    caption = caption_of(chosen.runs, data, reader)
    return profile_picture(data, caption, turns, reader, theme, is_log, size, phases)


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


USUAL_RANK = layer_profiles.GRIDE_RANK
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
            of_choice = layer_profiles.estimates_of(estimates, self.quantity, self.cloud, *ranks)
            asked = layer_profiles.with_equivalents(of_choice, estimates)
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
    """Offered for GRIDE, which saturates and whose readings on Gaussian points are known at several ranks."""
    _ = language.translator()
    asked = (choice.quantity, choice.cloud, choice.n1, choice.n2, choice.transform)
    if choice.quantity != "gride" or not layer_profiles.estimates_of(estimates, *asked)["gaussian_equivalent"].count():
        return choice
    help_ = _(
        "Neighbour estimators read too low where the dimension is high, at about 50 at most for these numbers of "
        "points. This shows, as a range over all n1, the dimension of the Gaussian points that they would read the "
        "same on: one rank alone would look like a measurement."
    )
    return replace(
        choice, is_equivalent=inputs.choose_yes_no(_("Gaussian equivalent"), "equivalent", False, help=help_)
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


def show_grid(grid: claims.ClaimData) -> None:
    _ = language.translator()
    reader = language.current()
    pictures.plot(claims.claim_figure(grid, reader), "grid of claims")
    line = _("{marks}. In bold: the core, on which the verdicts rest. Ratios with intervals appear under the pointer.")
    st.caption(line.format(marks=marks_key(reader)))


_WIDTH = 288
_COLOURS = {"robust": "blue", "depends": "orange", "not_usable": "red"}


def run_cards(runs: pl.DataFrame, extrema: pl.DataFrame) -> None:
    """Side by side where the window is wide, below each other where it is not."""
    labels = run_labels(runs, language.current())
    with st.container(horizontal=True, gap="small"):
        for run in runs.iter_rows(named=True):
            with st.container(border=True, width=_WIDTH, gap="small"):
                own = extrema.filter(run_id=run["run_id"], cloud=layer_profiles.PRIMARY[1])
                _card(run, labels[run["run_id"]], own.to_dicts())


def _card(run: dict[str, Any], label: str, extrema: list[dict[str, Any]]) -> None:
    _ = language.translator()
    st.markdown(f"**{escape(label)}**")
    st.caption(escape(f"{run['corpus_name']} · {run['protocol']} · {language.local_time(run['started_at'])}"))
    if run["n_points"] is None:
        st.caption(_("No dimensions and no verdicts: this protocol measures no points of one per type."))
        return
    _verdicts(run)
    checks = wording.outcome_name(run["worst_check"], language.current())
    st.caption(_("N={n} points, checks: {outcome}").format(n=run["n_points"], outcome=checks))
    if run["vetoed_by"]:
        names = _(", ").join(notices.check_names(run["vetoed_by"]))
        st.markdown(f":red[{escape(_('Not to be relied on: {checks}').format(checks=names))}]")
    _metric(_("Largest inner dimension"), run, "inner_max")
    st.markdown(f"{_('Working dimension')}  \n**{escape(wording.shape_text(run, language.current()))}**")
    if run["final_dimension_post_norm"] is None:
        _metric(_("Final dimension (no final norm)"), run, "final_dimension_pre_norm")
    else:
        _metric(_("Final dimension, before the norm"), run, "final_dimension_pre_norm")
        _metric(_("Final dimension, after the norm"), run, "final_dimension_post_norm")
    if extrema:
        st.caption(_("Profile: {extrema}").format(extrema=escape(wording.extrema_text(extrema, language.current()))))
    if run["kind"] == "decoder" and run["pass"] == "text":
        query = {"model": run["reference"]}
        st.page_link("pages/shrink.py", label=_("What can go"), icon=":material/content_cut:", query_params=query)


def _metric(label: str, run: dict[str, Any], column: str) -> None:
    value, lower, upper = (run[f"{column}{end}"] for end in ("", "_lower", "_upper"))
    st.markdown(f"{label}  \n**{wording.with_interval(value, lower, upper)}**")


def _verdicts(run: dict[str, Any]) -> None:
    """Each claim with its verdict and the reasons in one breath; a control pass has none and says which it is."""
    reader = language.current()
    if run["pass"] != "text":
        st.markdown(escape(wording.outcome_text(run, reader)))
        return
    for claim in CLAIMS:
        colour = _COLOURS.get(run[f"verdict_{claim}"], "gray")
        st.markdown(f":{colour}[{escape(wording.claim_text(claim, run, reader))}]")
