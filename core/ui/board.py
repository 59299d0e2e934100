"""The home screen for one look: what is known in words, and a small picture of each profile with what it was judged."""

from __future__ import annotations

import polars as pl
import streamlit as st

from core.analysis.answer import Answer
from core.analysis.question import RankingQuestion
from core.analysis.ranking import is_of_ladder, newest_runs, without_variants
from core.figures.profile_data import extrema_of, profile_points
from core.figures.svg_profiles import THUMBNAIL, thumbnail
from core.pilots.registration import RegisteredPilot, registered_pilot, shipped_pilot
from core.tables import PlanRow
from core.ui import inputs, language, pictures, reads
from core.ui.markdown import escape
from core.ui.measure import job_cards
from core.ui.ranking.answer import ICONS
from core.wording import answers, plans
from core.wording.labels import marked, shortened
from core.wording.verdicts import badge, verdict_marks, verdict_marks_key, verdict_text

PAGE = 24
"""Pictures of one page."""
LONGEST_NAME = 34
"""Letters that a link has room for beneath a picture."""
_LARGE = """<style>
.st-key-compare button { padding: 0.7rem 1.8rem; }
.st-key-compare button p { font-size: 1.2rem; font-weight: 600; }
</style>"""
_GRID = f"""<style>
.st-key-gallery {{ display: grid; grid-template-columns: repeat(auto-fill, minmax({THUMBNAIL[0] + 34}px, 1fr)); }}
.st-key-gallery > * {{ width: auto !important; max-width: none !important; }}
</style>"""
"""Pictures as wide as their row divides into, so that none of it stays empty."""


@inputs.writing
def offer_comparison() -> None:
    """The one large button."""
    _ = language.translator()
    st.html(_LARGE)
    if st.button(_("Compare models on my text"), type="primary", icon=":material/add_chart:", key="compare"):
        st.switch_page("pages/pilot.py")


def tell_work() -> None:
    """What waits or is at work, each with how far it is; nothing where nothing is."""
    _ = language.translator()
    n = job_cards.n_alive()
    if n:
        label = _("Measurements that wait or are at work: {n}").format(n=n)
        st.page_link("pages/pilot.py", label=label, icon=":material/hourglass_top:")


def say_findings(saving: PlanRow | None) -> None:
    """Three, side by side: what the newest pilot found, what was registered, what can be left out of a model."""
    own = next((registered_pilot(row) for row in reads.lists().pilots.to_dicts()), None)
    relation = reads.relation(RankingQuestion())
    ladder = shipped_pilot()
    if own and relation.registration.pilot_id == own.pilot_id and ladder.pilot_id != own.pilot_id:
        relation = reads.relation(RankingQuestion(pilot=RegisteredPilot(ladder.pilot_id, ladder, own.at)))
    first, second, third = st.columns(3)
    with first.container(border=True, height="stretch"):
        _say_pilot(own)
    with second.container(border=True, height="stretch"):
        _say_relation(relation)
    with third.container(border=True, height="stretch"):
        _say_saving(saving)


def _say_pilot(own: RegisteredPilot | None) -> None:
    _ = language.translator()
    if own is None:
        meaning = _(
            "A pilot puts one question to several models on texts of your own, and is answered in one sentence."
        )
        _finding(_("Newest pilot"), ":material/science:", _("No pilot yet"), meaning)
        st.page_link("pages/pilot.py", label=_("Plan a pilot"), query_params={"way": "pilot"})
        return
    found = reads.relation(RankingQuestion(pilot=own))
    _finding(_("Newest pilot: {name}").format(name=own.pilot.name), *_claim(found))
    st.caption(escape(own.pilot.question), help=_numbers(found))
    st.page_link("pages/ranking.py", label=_("See its models"), query_params={"pilot": own.pilot_id})


def _say_relation(found: Answer) -> None:
    _ = language.translator()
    registration = found.registration
    head = _("Registered before the scores") if registration.is_registered else _("Dimension and score, exploratory")
    told = [escape(answers.expectation(registration, language.current())), _numbers(found)]
    _finding(head, *_claim(found), "  \n".join(filter(None, told)))
    st.page_link("pages/ranking.py", label=_("See it in the ranking"))


def _say_saving(saving: PlanRow | None) -> None:
    _ = language.translator()
    head, reader = _("Cheapest verified saving"), language.current()
    if saving is None:
        meaning = _("A plan says which blocks of a model can go, and what that costs on text that did not choose them.")
        _finding(head, ":material/content_cut:", _("Not planned yet"), meaning)
        return
    icon = ":material/check_circle:" if saving.is_recommended else ":material/do_not_disturb_on:"
    _finding(head, icon, plans.brief(saving, reader))
    st.caption(escape(plans.cost(saving, reader)))
    st.page_link("pages/shrink.py", label=_("Shrink"))


def _finding(head: str, icon: str, told: str, meaning: str | None = None) -> None:
    st.caption(escape(head))
    st.markdown(f"{icon} **{escape(told)}**", help=meaning)


def _claim(found: Answer) -> tuple[str, str]:
    return ICONS[found.word], answers.claim(found, language.current())


def _numbers(found: Answer) -> str | None:
    """For the help mark: what stands behind the claim."""
    return escape(answers.sentence(found, language.current())) if found.group is not None else None


def profile_ids(texts: pl.DataFrame) -> list[str]:
    """Of the gallery: the newest run of each model, text and protocol among `texts` (of `Lists.runs`), the page that the
    reader turned to; own measurements first, and the small models that Workdim trained last."""
    _ = language.translator()
    shown = newest_runs(reads.own_first(without_variants(texts)))
    ids = shown.sort(is_of_ladder(), maintain_order=True)["run_id"].to_list()
    pages = list(range(1, -(-len(ids) // PAGE) + 1))
    page = inputs.choose(_("Page"), pages, "page", 1) if len(pages) > 1 else 1
    return ids[PAGE * (page - 1) : PAGE * page]


def show_profiles(found: reads.Home) -> None:
    _ = language.translator()
    reader = language.current()
    turns = extrema_of(found.extrema, "one_per_type")
    curves = {curve.run_id: curve for curve in profile_points(found.profiles, found.runs, "d2", "one_per_type").curves}
    st.html(_GRID)
    with st.container(horizontal=True, gap="small", key="gallery"):
        for run in found.runs.iter_rows(named=True):
            with st.container(border=True, width=THUMBNAIL[0] + 34, gap="small"):
                if run["run_id"] in curves:
                    own = [turn for turn in turns if turn.run_id == run["run_id"]]
                    drawn = thumbnail(curves[run["run_id"]], own, reader, pictures.theme())
                    st.image(drawn, width="stretch", alt=run["name"])
                _tell(run)
    drawn = _(
        "Estimated dimension (d2, one point per token type) from the first to the last layer; band: 95 % interval."
    )
    st.caption(_("How to read these pictures"), help=f"{drawn}  \n{escape(verdict_marks_key(reader))}")


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
