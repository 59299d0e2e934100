"""The screen Start: what is known in three sentences, a small picture of each profile, and the newest runs as a table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.plans import is_recommended
from core.analysis.ranking import is_of_ladder, newest_runs, without_variants
from core.figures.layer_profiles import THUMBNAIL, thumbnail
from core.figures.profile_data import extrema_of, profile_points
from core.locale import _, spoken
from core.pilots.registration import RegisteredPilot, registered_pilot, shipped_pilot
from core.questions.ranking_answer import Answer
from core.questions.ranking_question import RankingQuestion
from core.records import LayerPlan
from core.ui import inputs, language, pictures, reads, tables
from core.ui.markdown import escape
from core.ui.measure import job_cards
from core.ui.ranking.answer import ICONS
from core.ui.shrink.plan_view import plan_source_text
from core.wording import answers as answer_wording
from core.wording import plans as plan_wording
from core.wording.labels import marked_name, shortened_name
from core.wording.provenance import checks_text
from core.wording.verdicts import badge_text, verdict_legend_text, verdict_marks, verdict_text

PAGE_SIZE = 24
"""Pictures of one page of the gallery."""
MAX_NAME_LENGTH = 34
"""Letters of a link that fit beneath a picture."""
_LARGE_BUTTON = """<style>
.st-key-compare button { padding: 0.7rem 1.8rem; }
.st-key-compare button p { font-size: 1.2rem; font-weight: 600; }
</style>"""
_GRID = f"""<style>
.st-key-gallery {{ display: grid; grid-template-columns: repeat(auto-fill, minmax({THUMBNAIL[0] + 34}px, 1fr)); }}
.st-key-gallery > * {{ width: auto !important; max-width: none !important; }}
</style>"""
"""Pictures share the width of a row, so that none of it stays empty."""


@inputs.hidden_when_read_only
def show_measure_button() -> None:
    """Draw the one large button, which opens the screen Measure."""
    st.html(_LARGE_BUTTON)
    if st.button(_("Compare models on my text"), type="primary", icon=":material/add_chart:", key="compare"):
        st.switch_page("pages/measure.py")


def show_active_jobs() -> None:
    """Draw a link with the number of jobs that wait or run; nothing where there are none."""
    if n := job_cards.n_active():
        inputs.show_link("measure", _("Measurements that wait or are at work: {n}").format(n=n), "hourglass_top")


# --- findings --------------------------------------------------------------------------------------------------


def show_findings(saving: LayerPlan | None) -> None:
    """Draw three boxes: the answer of the newest pilot, the registered relation, the cheapest verified plan."""
    pilot = next((registered_pilot(row) for row in reads.lists().pilots.to_dicts()), None)
    relation = reads.relation(RankingQuestion())
    ladder = shipped_pilot()
    if pilot and relation.registration.pilot_id == pilot.pilot_id and ladder.pilot_id != pilot.pilot_id:
        relation = reads.relation(RankingQuestion(pilot=RegisteredPilot(ladder.pilot_id, ladder, pilot.at)))
    findings = (partial(_show_pilot, pilot), partial(_show_relation, relation), partial(_show_saving, saving))
    for column, show_finding in zip(st.columns(3), findings, strict=True):
        with column.container(border=True, height="stretch"):
            show_finding()


def _show_pilot(pilot: RegisteredPilot | None) -> None:
    if pilot is None:
        meaning = _(
            "A pilot puts one question to several models on texts of your own, and is answered in one sentence."
        )
        _show_finding(_("Newest pilot"), ":material/science:", _("No pilot yet"), meaning)
        st.page_link("pages/measure.py", label=_("Plan a pilot"), query_params={"way": "pilot"})
        return
    relation = reads.relation(RankingQuestion(pilot=pilot))
    claim = answer_wording.claim_text(relation)
    _show_finding(_("Newest pilot: {name}").format(name=pilot.pilot.name), ICONS[relation.word], claim)
    st.caption(escape(pilot.pilot.question_in(spoken())), help=_answer_sentence(relation))
    st.page_link(
        "pages/choose.py", label=_("See its models"), query_params={"choose": "ranking", "pilot": pilot.pilot_id}
    )


def _show_relation(relation: Answer) -> None:
    registration = relation.registration
    title = _("Registered before the scores") if registration.is_registered else _("Dimension and score, exploratory")
    details = [escape(answer_wording.expectation_text(registration)), _answer_sentence(relation)]
    _show_finding(title, ICONS[relation.word], answer_wording.claim_text(relation), "  \n".join(filter(None, details)))
    st.page_link("pages/choose.py", label=_("See it in the ranking"), query_params={"choose": "ranking"})


def _show_saving(saving: LayerPlan | None) -> None:
    title = _("Cheapest verified saving")
    if saving is None:
        meaning = _("A plan says which blocks of a model can go, and what that costs on text that did not choose them.")
        _show_finding(title, ":material/content_cut:", _("Not planned yet"), meaning)
        return
    icon = ":material/check_circle:" if is_recommended(saving) else ":material/do_not_disturb_on:"
    _show_finding(title, icon, plan_wording.named_answer_text(saving), escape(plan_source_text(saving)))
    st.page_link("pages/plan.py", label=_("Layer plans"), query_params={"plan": saving.plan.plan_id})


def _show_finding(title: str, icon: str, sentence: str, details: str | None = None) -> None:
    st.caption(escape(title))
    st.markdown(f"{icon} **{escape(sentence)}**", help=details)


def _answer_sentence(relation: Answer) -> str | None:
    """The sentence with the numbers behind a claim; None where nothing could be compared."""
    return escape(answer_wording.answer_text(relation)) if relation.group is not None else None


# --- gallery ---------------------------------------------------------------------------------------------------


def choose_gallery_page(texts: pl.DataFrame) -> list[str]:
    """Return the ids of the runs on one page of the gallery.

    The gallery shows the newest run of each model, text and protocol among `texts`, rows of `Lists.runs`: own
    measurements first, the small models that Workdim trained last.
    """
    runs = newest_runs(reads.own_first(without_variants(texts)))
    ids = runs.sort(is_of_ladder(), maintain_order=True)["run_id"].to_list()
    pages = list(range(1, -(-len(ids) // PAGE_SIZE) + 1))
    page = inputs.choose(_("Page"), pages, "page", 1) if len(pages) > 1 else 1
    return ids[PAGE_SIZE * (page - 1) : PAGE_SIZE * page]


def show_gallery(home: reads.HomeData) -> None:
    """Draw a thumbnail of each profile with its name and verdicts."""
    extrema = extrema_of(home.extrema, "one_per_type")
    curves = {curve.run_id: curve for curve in profile_points(home.profiles, home.runs, "d2", "one_per_type").curves}
    st.html(_GRID)
    with st.container(horizontal=True, gap="small", key="gallery"):
        for run in home.runs.iter_rows(named=True):
            with st.container(border=True, width=THUMBNAIL[0] + 34, gap="small"):
                if run["run_id"] in curves:
                    own_extrema = [extremum for extremum in extrema if extremum.run_id == run["run_id"]]
                    picture = thumbnail(curves[run["run_id"]], own_extrema, pictures.theme())
                    st.image(picture, width="stretch", alt=run["name"])
                _show_gallery_caption(run)
    reading_aid = _(
        "Estimated dimension (d2, one point per token type) from the first to the last layer; band: 95 % interval."
    )
    st.caption(_("How to read these pictures"), help=f"{reading_aid}  \n{escape(verdict_legend_text())}")


def _show_gallery_caption(run: dict[str, Any]) -> None:
    name = shortened_name(run["name"], MAX_NAME_LENGTH)
    st.page_link(
        "pages/compare.py",
        label=escape(marked_name(name, run["worst_check"] == "veto")),
        query_params={"runs": run["run_id"]},
        help=escape(verdict_text(run)),
    )
    lines = [] if name == run["name"] else [run["name"]]
    n_points = f" · N={run['n_points']:,}" if run["n_points"] else ""
    lines += [f"{verdict_marks(run)} {badge_text(run)}", f"{run['corpus_name']} · {run['protocol']}{n_points}"]
    st.caption("  \n".join(map(escape, lines)))


# --- newest runs -----------------------------------------------------------------------------------------------


def show_newest_runs(runs: pl.DataFrame, newest: pl.DataFrame) -> None:
    """Draw the table of the newest runs on text; control passes, which say nothing alone, are counted beneath.

    `runs` are all runs of the list, `newest` those with all columns.
    """
    texts = runs.filter(pl.col("pass") == "text")
    newest = newest.sort(pl.col("worst_check") != "veto", maintain_order=True)
    selected = tables.show(runs_table(newest), "latest", on_select="rerun", selection_mode="multi-row")
    tables.show_comparison_button(newest, selected, "latest")
    if texts.height > newest.height:
        st.caption(_("The newest {n} of {total} runs.").format(n=newest.height, total=texts.height))
    if texts.height < runs.height:
        n = runs.height - texts.height
        st.caption(_("Control passes not listed here: {n}. Profiles draw them with their runs.").format(n=n))
    if "veto" in newest["worst_check"]:
        st.caption(wording.veto_mark_text())


def runs_table(runs: pl.DataFrame) -> pl.DataFrame:
    """One line per run: what was measured, the result, and whether it can be trusted."""
    columns: dict[str, Callable[[dict[str, Any]], Any]] = {
        _("Model"): lambda run: marked_name(run["name"], run["worst_check"] == "veto"),
        _("Verdicts"): wording.short_outcome_text,
        _("Text"): lambda run: run["corpus_name"],
        _("Largest inner dimension"): lambda run: wording.interval_of(run, "inner_max"),
        _("Final, before the norm"): lambda run: wording.interval_of(run, "final_dimension_pre_norm"),
        _("Final, after the norm"): lambda run: wording.interval_of(run, "final_dimension_post_norm"),
        _("N (points)"): lambda run: run["n_points"],
        _("Checks"): checks_text,
        _("Protocol"): lambda run: run["protocol"],
        _("Measured"): lambda run: language.local_time(run["started_at"], in_table=True),
    }
    if any(len(tags) for tags in runs["tags"]):
        columns[_("Tags")] = lambda run: " ".join(f"#{tag}" for tag in run["tags"])
    return tables.of(runs.iter_rows(named=True), columns)
