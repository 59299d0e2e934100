"""The gallery of the home screen: a small picture of each profile, with what the run was judged to be."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.analysis.asked import Asked
from core.analysis.ranking import newest
from core.figures.layer_profiles import profile_points
from core.figures.pictures import THUMBNAIL, thumbnail, turns_of
from core.ui import inputs, language, reads
from core.ui.markdown import escape
from core.wording import answers
from core.wording.labels import marked, shortened
from core.wording.verdicts import badge, verdict_marks, verdict_marks_key, verdict_text

PAGE = 24
"""Pictures of one page."""
LONGEST_NAME = 34
"""Letters that a link has room for beneath a picture."""


def say_finding() -> None:
    """What is known of dimension and score, in the ranking's own sentence; nothing where no model has a score."""
    _ = language.translator()
    found = reads.relation(Asked())
    if found.group is None or found.relation.rho is None:
        return
    st.markdown(f"**{escape(answers.sentence(found, language.current()))}**")
    st.page_link("pages/ranking.py", label=_("See it in the ranking"), icon=":material/table_rows:")


def show(runs: pl.DataFrame) -> reads.Home:
    """The newest run on text of each model, text and protocol among `runs` (`Lists.runs`); own measurements first.

    Returns what was read for it.
    """
    _ = language.translator()
    ids = newest(reads.own_first(runs.filter(pl.col("pass") == "text")))["run_id"].to_list()
    pages = list(range(1, -(-len(ids) // PAGE) + 1))
    page = inputs.choose(_("Page"), pages, "page", 1) if len(pages) > 1 else 1
    found = reads.home(ids[PAGE * (page - 1) : PAGE * page])
    _draw(found)
    st.caption(
        _("Estimated dimension (d2, one point per token type) from the first to the last layer; band: 95 % interval.")
        + " "
        + verdict_marks_key(language.current())
    )
    return found


def _draw(found: reads.Home) -> None:
    reader = language.current()
    turns = turns_of(found.extrema, "one_per_type")
    curves = {curve.run_id: curve for curve in profile_points(found.profiles, found.runs, "d2", "one_per_type").curves}
    with st.container(horizontal=True, gap="small"):
        for run in found.runs.iter_rows(named=True):
            with st.container(border=True, width=THUMBNAIL[0] + 34, gap="small"):
                if run["run_id"] in curves:
                    own = [turn for turn in turns if turn.run_id == run["run_id"]]
                    st.image(thumbnail(curves[run["run_id"]], own, reader), width="stretch")
                _tell(run)


def _tell(run: dict) -> None:
    reader = language.current()
    brief = shortened(run["name"], LONGEST_NAME)
    name = marked(brief, run["worst_check"] == "veto")
    said = escape(verdict_text(run, reader))
    st.page_link("pages/profiles.py", label=escape(name), query_params={"runs": run["run_id"]}, help=said)
    told = [f"{verdict_marks(run)} {badge(run, reader)}", f"{run['corpus_name']} · {run['protocol']}"]
    if run["n_points"]:
        told[-1] += f" · N={run['n_points']:,}"
    if brief != run["name"]:
        told.insert(0, run["name"])
    st.caption("  \n".join(map(escape, told)))
