"""What is judged of a run, beside its picture and as a card: verdicts, chips of controls and second opinions, key numbers."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.figures import profile_data
from core.registry.specifications import CLAIMS
from core.ui import language, notices
from core.ui.markdown import escape
from core.ui.reads import Selection
from core.wording.labels import run_labels, shortened
from core.wording.verdicts import Chip, badge, control_chips, opinion_chips

_BADGE_COLOURS = {"robust": "blue", "depends": "orange", "not_usable": "red"}


def verdict_panel(run: dict[str, Any], chosen: Selection, name: str) -> None:
    """What a run was judged to be, its largest numbers, and a chip for each control and second opinion; of several runs,
    which have a name, the marks of the chips alone."""
    _ = language.translator()
    lang = language.current()
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
    st.markdown(f":{colour}-badge[**{escape(badge(run, lang))}**]", help=escape(wording.verdict_text(run, lang)))
    peak = wording.with_interval(*(run[f"inner_max{end}"] for end in ("", "_lower", "_upper")))
    final = wording.number(run["final_dimension_pre_norm"]) if run["final_dimension_pre_norm"] is not None else "–"
    st.markdown(escape(_("Largest {peak}, final {final}").format(peak=peak, final=final)))
    passes = dict(chosen.controls.select("run_id", "pass").rows())
    controls = chosen.against_controls.filter(run_id=run["run_id"]).to_dicts()
    opinions = chosen.claims.filter(run_id=run["run_id"]).to_dicts()
    none = [Chip("?", _("none was measured"), "")]
    _chips(_("Controls"), control_chips(controls, passes, lang) or none, is_brief=bool(name))
    _chips(_("Other ways to read it"), opinion_chips(opinions, lang), is_brief=bool(name))


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


_WIDTH = 288


_COLOURS = {"robust": "blue", "depends": "orange", "not_usable": "red"}


def run_cards(runs: pl.DataFrame, extrema: pl.DataFrame) -> None:
    """Side by side where the window is wide, below each other where it is not."""
    labels = run_labels(runs, language.current())
    with st.container(horizontal=True, gap="small"):
        for run in runs.iter_rows(named=True):
            with st.container(border=True, width=_WIDTH, gap="small"):
                own = extrema.filter(run_id=run["run_id"], cloud=profile_data.PRIMARY[1])
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
    lang = language.current()
    if run["pass"] != "text":
        st.markdown(escape(wording.outcome_text(run, lang)))
        return
    for claim in CLAIMS:
        colour = _COLOURS.get(run[f"verdict_{claim}"], "gray")
        st.markdown(f":{colour}[{escape(wording.claim_text(claim, run, lang))}]")
