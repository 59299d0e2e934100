"""The ranking as an answer: what is said first, what the reader's choices make of it, and what stands beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.answer import Answer
from core.analysis.population import OtherGroup
from core.analysis.question import BY_TYPE, RankingQuestion
from core.analysis.ranking import WORD_KEYS, with_stack
from core.errors import Sentence
from core.figures import scores as score_figures
from core.locale import worded
from core.pilots.registration import RegisteredPilot
from core.records import LOCAL
from core.registry.published import CLAIMS
from core.ui import language, pictures, reads, tables
from core.ui.markdown import escape
from core.ui.ranking.choices import Look
from core.wording import answers as words
from core.wording.scores import score_flags

ICONS = {
    "related_as_registered": ":material/check_circle:",
    "related_other_way": ":material/swap_vert:",
    "not_related": ":material/do_not_disturb_on:",
    "cannot_tell": ":material/help:",
}
"""By the word of an answer."""
MOST_GROUPS = 6
MOST_NOTES = 1
"""Lines beneath an answer, but for what was expected, which its help mark says; more are a page to read."""
NARROW_PLOT = (600.0, 330.0)
"""Pixels of the axes in a window of 1,000: names that cover nothing there cover nothing in a wider one."""
MOST_PREFILLED = 25
"""Models that the measuring page is opened with."""


def primary(pilot: RegisteredPilot | None) -> Answer:
    """What `workdim rank` answers: of the chosen pilot, else of the newest that expects something."""
    return reads.answer(RankingQuestion(pilot=pilot))


def say(found: Answer, *, is_brief: bool = False) -> None:
    """The sentence first; what belongs to it below, and what a referee asks for behind a click. `is_brief`: another
    sentence is said beneath, so that nothing stands between them."""
    _ = language.translator()
    lang = language.current()
    expected, *notes = words.notes(found, lang)
    st.markdown(f"#### {ICONS[found.word]} {escape(words.sentence(found, lang))}", help=escape(expected))
    n_told = 0 if is_brief else MOST_NOTES
    told = [words.exploratory(found.registration, lang), *notes[:n_told]] if n_told else []
    if any(told):
        st.caption("  \n".join(escape(line) for line in told if line))
    details = [expected, *notes[n_told:], *words.details(found, lang)]
    with st.expander(_("Coefficients, controls for size, and what single models carry")):
        st.markdown("\n".join(f"- {escape(line)}" for line in details))


def say_shown(look: Look, first: Answer) -> None:
    """What the reader's choices make of the answer, with what was not said of it yet; nothing where they change nothing."""
    if not look.is_other:
        return
    lang = language.current()
    said = words.notes(first, lang)
    notes = "  \n".join(escape(line) for line in words.notes(look.answer, lang) if line not in said)
    st.markdown(f"**{escape(words.sentence(look.answer, lang))}**", help=notes or None)
    if caution := words.exploratory(look.answer.registration, lang):
        st.caption(escape(caution))


def draw(look: Look) -> None:
    _ = language.translator()
    lang = language.current()
    if look.answer.group is None:
        st.info(why_nothing(look))
        return
    data = score_figures.ranking_points(look.answer, lang, look.pinned, NARROW_PLOT)
    if not data.points:
        st.caption(_("No model here has this score."))
        return
    pictures.plot(score_figures.ranking_figure(data, lang), "scatter")
    st.markdown(wording.scatter_caution(lang))


def why_nothing(look: Look) -> str:
    """Why there is nothing to compare."""
    _ = language.translator()
    found = look.answer.population
    if found.vetoed.height and reads.population(replace(found.asked, include_vetoed=True)).group is not None:
        return _(
            "Only with the runs that a check vetoes is there something to compare; the switch above takes them in."
        )
    if found.asked.cloud == BY_TYPE:
        return words.sentence(look.answer, language.current())
    worded = reads.ranking().filter(pl.col("words_hash").is_not_null())
    if _sharing(worded, WORD_KEYS):
        return _(
            "The models that measured the same words here could use numbers of them (N) that differ by more than "
            "10 %, and are not compared."
        )
    if _sharing(worded, ("words_hash", "corpus_id", "protocol_hash")):
        return _(
            "The models that measured the same words here are of different kinds, and decoders are never ranked "
            "with encoders. Their shapes can be compared under Profiles, on one per word."
        )
    return _(
        "No two models have measured the same words of the same text here. Measure them in one command "
        "(`measure MODEL MODEL`), so that the words are chosen for both."
    )


def _sharing(runs: pl.DataFrame, alike: Sequence[str]) -> bool:
    """True where two models agree in all of these."""
    models = with_stack(runs).group_by(alike).agg(pl.col("model_id").n_unique())
    return models.filter(pl.col("model_id") > 1).height > 0


def show_sources(found: Answer) -> None:
    """For each source of the scores shown: its name, licence, date, and what it says about its own numbers."""
    for note in score_notes(found.population.rows):
        st.caption(note)


def score_notes(scored: pl.DataFrame) -> list[str]:
    _ = language.translator()
    told = ["score_source", "score_licence", "score_as_of", "score_flags"]
    rows = scored.filter(pl.col("score").is_not_null()).unique(told, maintain_order=True)
    notes = []
    for row in rows.head(MOST_GROUPS).iter_rows(named=True):
        note = _("Scores from {source}, licence: {licence}, as of {date}.").format(
            source=escape(row["score_source"]),
            licence=escape(row["score_licence"] or "–"),
            date=escape((row["score_as_of"] or "–")[:10]),
        )
        flags = "; ".join(flag.rstrip(".。") for flag in score_flags(row["score_flags"], language.current()))
        remarks = _("Remarks on them: {flags}.").format(flags=escape(flags)) if flags else ""
        notes.append(wording.sentences((note, remarks), language.current()))
    return notes


def show_others(found: Answer) -> None:
    """The groups that cannot be compared with the one shown: why, and what would change that."""
    _ = language.translator()
    others = found.population.others
    if not others or found.group is None:
        return
    heading = Sentence(
        "Models that cannot be compared with these ({n} group)",
        "Models that cannot be compared with these ({n} groups)",
        n=len(others),
    )
    with st.expander(worded(heading, language.current())):
        for number, other in enumerate(others[:MOST_GROUPS]):
            _show_other(number, other, found)
        if len(others) > MOST_GROUPS:
            st.caption(_("and {n} more").format(n=len(others) - MOST_GROUPS))


def _show_other(number: int, other: OtherGroup, found: Answer) -> None:
    _ = language.translator()
    lang = language.current()
    head = f"**{escape(words.group_name(other.group, lang))}** – {escape(words.models_of(other.group, lang))}"
    st.markdown(f"{head}  \n{escape(words.why_apart(other, lang))}")
    asked = prefilled(other, found)
    if asked:
        st.page_link(
            "pages/pilot.py", label=_("Measure them so"), icon=":material/science:", query_params=asked, width="content"
        )


def prefilled(other: OtherGroup, found: Answer) -> dict[str, str]:
    """What the measuring page is opened with: models, text and protocol; empty where measuring changes nothing, or the
    models lie in folders that only their owner knows."""
    if not (other.can_be_measured or other.can_meet_on_words) or found.group is None:
        return {}
    rows = [*other.group.rows.to_dicts()]
    if other.can_meet_on_words:
        rows += found.group.rows.to_dicts()
    named = [_as_asked(row) for row in rows if not row["reference"].startswith(LOCAL)]
    run = found.group.rows.row(0, named=True)
    if not named or (other.can_meet_on_words and len(named) < 2):
        return {}
    return {
        "models": ",".join(dict.fromkeys(named[:MOST_PREFILLED])),
        "text": run["corpus_name"],
        "protocol": run["protocol"],
        "seed": str(run["seed"]),
    }


def _as_asked(row: Mapping[str, Any]) -> str:
    revision = row["requested_revision"]
    return f"{row['reference']}@{revision}" if revision else row["reference"]


def show_published(found: Answer) -> None:
    """What is published, with the answer of this page as one more row."""
    _ = language.translator()
    lang = language.current()
    seen = {"opening": _("abstract or opening"), "second hand": _("second hand")}
    with st.expander(_("What is published about dimension and performance")):
        tables.show(
            pl.DataFrame(
                {
                    _("Source"): [_("this page"), *(claim.source for claim in CLAIMS)],
                    _("n (models)"): [str(found.relation.n), *(_translated(claim.n) for claim in CLAIMS)],
                    _("Direction"): [words.word(found, lang), *(words.direction_name(claim, lang) for claim in CLAIMS)],
                    _("What is said"): [
                        words.numbers(found.relation, lang),
                        *(_translated(claim.said) for claim in CLAIMS),
                    ],
                    _("What else it could be"): [
                        words.expectation(found.registration, lang),
                        *(_translated(claim.confound) for claim in CLAIMS),
                    ],
                    _("Seen as"): ["", *(seen[claim.seen] for claim in CLAIMS)],
                }
            ),
            "published",
        )


def _translated(message: str) -> str:
    return language.translator()(message) if not message.isdigit() else message
