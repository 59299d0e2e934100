"""The screen Start: the two questions people come with, answers so far, own runs as small pictures, and what ships as one card."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import streamlit as st

from core.analysis.ranking import is_of_ladder, newest_runs, own_runs, without_variants
from core.figures.layer_profiles import THUMBNAIL, thumbnail
from core.figures.profile_data import extrema_of, profile_points
from core.locale import _, spoken
from core.pilots.pilot import registered_pilot
from core.questions.ranking_question import RankingQuestion
from core.tables import PilotRow, Run, ids_of, records
from core.ui import help, inputs, job_cards, pictures, reads, run_choice, tables, url_state
from core.ui.language import as_lines, escape
from core.wording import answers as answer_wording
from core.wording.labels import is_vetoed, marked_name, names_text, shortened_name
from core.wording.verdicts import badge_text, verdict_legend_text, verdict_marks, verdict_text

PAGE_SIZE = 8
"""Pictures of one page of the gallery: what is in sight and a row more, as each takes a browser hundredths of a second."""
MAX_PILOTS = 2
"""Pilots whose answers stand here; the page Measure lists all."""
MAX_NAMED = 3
"""Runs that are named once they are deleted."""
MAX_NAME_LENGTH = 30
"""Letters of a link that fit beneath a picture."""
_TICK = url_state.key("ticked ")
"""Beginning of the keys of ticks, which stay while other runs are looked for."""
_ASKED = "words and filters by which runs were looked for"
_GRID = f"""<style>
.st-key-gallery {{ display: grid; grid-template-columns: repeat(auto-fill, minmax({THUMBNAIL[0] + 34}px, 1fr)); }}
.st-key-gallery > * {{ width: auto !important; max-width: none !important; }}
</style>"""
"""Pictures share the width of a row, so that none of it stays empty."""


def show_questions() -> None:
    """Draw the two questions that people come with, each one click away."""
    if inputs.may_write() and st.button(
        _("Compare models on my text"), type="primary", icon=":material/add_chart:", key="compare"
    ):
        st.switch_page("pages/measure.py")
    inputs.show_link("plan", _("Which layers can go?"), "content_cut")


def show_first_steps(own: pl.DataFrame) -> None:
    """Draw what to do at a first start, and how many jobs wait or run; nothing where there is neither."""
    if own.is_empty():
        st.markdown(_("Which model predicts your text better, and how many dimensions does each use?"))
    if n := job_cards.n_active():
        inputs.show_link("measure", _("Measurements waiting or running: {n}", n=n), "hourglass_top")


# --- answers ---------------------------------------------------------------------------------------------------


def show_answers() -> None:
    """Draw the answers of the newest pilots."""
    for pilot in [registered_pilot(row) for row in records(reads.lists().pilots.head(MAX_PILOTS), PilotRow)]:
        st.caption(escape(pilot.pilot.name), help=escape(pilot.pilot.question_in(spoken())))
        _show_relation(RankingQuestion(pilot=pilot), pilot=pilot.pilot_id)


def show_reference(texts: pl.DataFrame) -> None:
    """Draw what ships as one card, where some does. `texts`: all runs on text."""
    shipped = texts.join(own_runs(texts), on="run_id", how="anti")
    if not shipped.is_empty():
        with st.container(border=True):
            st.markdown(f"**{_('Reference')}**", help=help.measured_text(shipped))
            _show_relation(RankingQuestion(), pilot=inputs.ALL)


def _show_relation(question: RankingQuestion, **params: str) -> None:
    """Draw the answer, with its numbers on hover, and what leads on from it."""
    relation = reads.relation(question)
    numbers = escape(answer_wording.answer_text(relation)) if relation.group is not None else None
    with inputs.row("center"):
        claim = escape(answer_wording.claim_text(relation))
        st.markdown(f"{pictures.ICONS[relation.word]} **{claim}**", help=numbers, width="stretch")
        inputs.show_link("choose", _("Models"), "table_rows", choose="ranking", group=inputs.ANSWERED, **params)


# --- runs ------------------------------------------------------------------------------------------------------


def choose_runs(texts: pl.DataFrame, own: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Draw search and filters over runs on text; return the runs to show and the ids of those on this page.

    Shown are all that are met by words or filters: own ones first, then those that ship, the small models that Workdim
    trained last. Where nothing is asked for, the newest own one of each model, text and protocol.
    """
    with inputs.row():
        words = run_choice.type_words(_("Find runs"))
        with st.container(width="content"):
            found, is_filtered = run_choice.choose_filtered_runs(texts, words)
        shown = found if words or is_filtered else newest_runs(without_variants(own))
        asked = [words, *(st.session_state.get(url_state.key(name)) or None for name in run_choice.FILTERS)]
        if st.session_state.setdefault(_ASKED, asked) != asked:  # what is found begins with its first page
            st.session_state[_ASKED] = asked
            url_state.forget("page")
        shown = reads.own_first(shown).sort(is_of_ladder(), maintain_order=True)
        pages = range(1, max(1, -(-shown.height // PAGE_SIZE)) + 1)
        page = inputs.choose_from_list(_("Page"), pages, "page", width=90) if len(pages) > 1 else 1
    if found.is_empty():
        st.caption(_("None found."))
    return shown, ids_of(shown)[PAGE_SIZE * (page - 1) : PAGE_SIZE * page]


def show_gallery(data: reads.StartData, shown: pl.DataFrame) -> None:
    """Draw a page of small pictures, of which those that are ticked are compared or deleted together."""
    if data.runs.is_empty():
        return
    extrema = extrema_of(data.extrema, "one_per_type")
    colours = pictures.session_colours(ids_of(data.runs))
    drawn = {}
    for curve in profile_points(data.profiles, data.runs, "d2", "one_per_type").curves:
        of_run = [one for one in extrema if one.run_id == curve.run_id]
        drawn[curve.run_id] = thumbnail(replace(curve, colour=colours[curve.run_id]), of_run, pictures.theme())
    actions = inputs.row("center")
    st.html(_GRID)
    with inputs.row("top", key="gallery"):
        for run in records(data.runs, Run):
            with st.container(border=True, width=THUMBNAIL[0] + 34):
                if run.run_id in drawn:
                    st.image(drawn[run.run_id], width="stretch", alt=run.name)
                name = marked_name(shortened_name(run.name, MAX_NAME_LENGTH), is_vetoed(run))
                n_points = f"N={run.n_points:,}" if run.n_points else None
                with inputs.row("center"):
                    st.checkbox(run.name, key=_TICK + run.run_id, label_visibility="collapsed")
                    told = as_lines((run.name, n_points, verdict_text(run)))
                    # The curve, whichever section was looked at last.
                    view = {"runs": run.run_id, "section": "profile"}
                    st.page_link("pages/compare.py", label=escape(name), query_params=view, help=told)
                st.caption(escape(f"{verdict_marks(run)} {badge_text(run)} · {run.corpus_name} · {run.protocol}"))
    with actions:
        _show_actions(shown.filter([bool(st.session_state.get(_TICK + run_id)) for run_id in ids_of(shown)]))


def _show_actions(ticked: pl.DataFrame) -> None:
    """Draw what can be done with the runs that are ticked; before, how the pictures are read."""
    if ticked.is_empty():
        reading_aid = _("Estimated dimension (d2), first to last layer; band: 95 % interval.")
        st.caption(_("Tick pictures to compare them."), help=f"{reading_aid}  \n{escape(verdict_legend_text())}")
        return
    ids = ids_of(ticked)
    tables.show_comparison_button(ids, type="primary")
    names = [run_choice.run_label(run) for run in records(ticked, Run)]
    run_choice.show_delete_button(ids, names_text(names, MAX_NAMED))
