"""The screen Share: what a report contains and for whom, its files, its slides in small, and saved reports."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl
import streamlit as st

from core.analysis.ranking import newest_runs
from core.deck import deck_data, template
from core.deck.html import slide_outline
from core.deck.report import Report, report_of
from core.deck.story import Story
from core.errors import InputError, Sentence
from core.files import version
from core.ids import MAX_NAME
from core.locale import _, in_language, spoken, worded
from core.pilots.pilot import RegisteredPilot, slug
from core.pilots.saved import Recipe, SavedRecipe, SavedRule
from core.questions import choice as choice_question
from core.tables import RuleChoiceRow, ids_of
from core.ui import inputs, language, reads, run_choice, tables, url_state
from core.ui.language import escape
from core.warehouse import exchange, people

T = TypeVar("T")
NONE = "none"
MAX_RUNS = 40
"""Runs in one report; nobody reads more."""
THUMBNAIL = 112
"""Pixels across of a slide that is not looked at: on a phone two stand side by side."""
_LOOKED_AT = "subject of a report, and number of its slide that is looked at"


@dataclass(frozen=True)
class ReportRequest:
    """What a report is made from."""

    recipe: Recipe
    template: bytes | None
    """The content of the company template."""
    saved: SavedRecipe | None = None
    """The saved report, where it is one."""


def choose_saved_report() -> SavedRecipe | None:
    """Return a saved report, or None for a new one; drawn only where there are some."""
    saved = {
        one.recipe_id: (f"{one.recipe.name} · {language.local_day(one.made_at)}", one) for one in reads.lists().recipes
    }
    return _choose_one(_("Kept report"), _("a new one"), saved, "recipe")


def choose_new_report(runs: pl.DataFrame) -> ReportRequest:
    """Return the request for a new report: runs, a pilot, a choice or a layer plan; language, appendix and template."""
    plan_id = _choose_plan()
    made = _choose_choice() if plan_id is None else None
    pilot: RegisteredPilot | None = None
    chosen = compared = runs.clear()
    if made is not None:
        chosen = runs.filter(pl.col("run_id").is_in(made[1].candidates))
        run_choice.stop_if_none_chosen(chosen)
    elif plan_id is None:
        pilot, pilot_runs = run_choice.choose_pilot(runs)
        texts = pilot_runs.filter(pl.col("pass") == "text")
        selection = reads.selection(ids_of(newest_runs(texts))) if pilot else run_choice.choose_runs(texts, MAX_RUNS)
        chosen = selection.runs
        run_choice.stop_if_none_chosen(chosen)
        compared = _runs_to_report(chosen)
    with st.container(horizontal=True, gap="medium", vertical_alignment="top"):
        deck_language = inputs.choose(_("Slides in"), language.LANGUAGES, "deck", spoken())
        has_appendix = inputs.choose_yes_no(_("With an appendix"), "appendix", False)
        template_name, template_bytes = _choose_template()
    if not compared.is_empty():
        run_choice.show_differing_conditions(compared)  # the report's title says so first
    recipe = Recipe(
        name=made[0].rule.name[:MAX_NAME] if made else _report_name(pilot) if plan_id is None else "layer plan",
        run_ids=tuple(ids_of(chosen)),
        pilot_id=pilot.pilot_id if pilot else None,
        choice_id=made[1].choice_id if made else None,
        plan_id=plan_id,
        language=deck_language,
        appendix=has_appendix,
        template=template_name,
        template_sha256=hashlib.sha256(template_bytes).hexdigest() if template_bytes else None,
    )
    return ReportRequest(recipe, template_bytes)


def read_saved_report(saved: SavedRecipe) -> ReportRequest:
    """The request of a saved report."""
    recipe = saved.recipe
    template_bytes = people.read_template(reads.warehouse(), recipe)
    if recipe.template and template_bytes is None:
        st.warning(escape(_("The template {name} is gone.").format(name=recipe.template)))
    return ReportRequest(recipe, template_bytes, saved)


def make_report(request: ReportRequest) -> Report:
    """Stops the page where something that a saved report is of is gone: it can be forgotten then."""
    try:
        return _report(request.recipe, date.today())
    except InputError as error:
        if request.saved is None:
            raise
        st.error(escape(error.message), icon=":material/error:")
        show_delete_button(request.saved)
        url_state.stop()


def _runs_to_report(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs with a verdict; others are left out, which a message says. Stops the page where none remains."""
    without_verdict = deck_data.names_without_verdict(runs)
    if without_verdict:
        message = _("Left out, as their protocol gives no verdict: {names}.")
        st.info(message.format(names=escape(_(", ").join(without_verdict.values()))))
    if len(without_verdict) == runs.height:
        url_state.stop()
    return deck_data.runs_with_verdict(runs)


# --- downloads -------------------------------------------------------------------------------------------------


def show_downloads(request: ReportRequest, report: Report) -> None:
    """Draw buttons for the slides, the HTML page and the data behind them; each file is made on the click."""
    stem = f"workdim_{slug(request.recipe.name, 'report')}_{request.recipe.language}_{report.story.made_on:%Y%m%d}"
    with st.container(horizontal=True, gap="small"):
        inputs.show_download(
            _("Slides (PowerPoint)"),
            partial(_powerpoint_file, request, report),
            f"{stem}.pptx",
            type="primary",
            help=_("Charts stay editable. Numbers carry their sources where these are known."),
        )
        inputs.show_download(
            _("One HTML file"),
            lambda: report.page(version(), reads.warehouse().folder.identity(), f"{stem}.zip"),
            f"{stem}.html",
        )
        inputs.show_download(_("Rows behind it"), partial(_data_file, report), f"{stem}.zip")


def _powerpoint_file(request: ReportRequest, report: Report) -> bytes:
    recipe, template_bytes = request.recipe, request.template
    opened = template.open_template(template_bytes, recipe.template or "template") if template_bytes else None
    return report.powerpoint(version(), reads.warehouse().folder.identity(), opened)


def _data_file(report: Report) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "rows.zip"
        in_language(
            report.story.language,
            exchange.export_report_data,
            reads.warehouse(),
            report.numbers,
            report.story.run_ids or report.recipe.run_ids,
            target,
        )
        return target.read_bytes()


# --- slides and changes ----------------------------------------------------------------------------------------


def show_slides(report: Report) -> None:
    """Draw the slide that is looked at to be read, the others in small, in the language of the report; the appendix in an
    expander."""
    story, subject = report.story, _subject(report)
    of_subject, number = st.session_state.get(_LOOKED_AT, (subject, 1))
    looked_at = min(number, len(story.slides)) if of_subject == subject else 1  # another report begins with its answer
    _show_slide(story, looked_at)
    with st.container(horizontal=True, gap="small"):
        for number in range(1, len(story.slides) + 1):
            if number != looked_at:
                with st.container(width=THUMBNAIL, gap="xxsmall"):
                    _show_slide(story, number)
                    label = _("Slide {n}").format(n=number)
                    st.button(label, key=f"slide {number}", type="tertiary", on_click=_look_at, args=(subject, number))
    if story.appendix:
        with st.expander(_("Appendix (slides: {n})").format(n=len(story.appendix))):
            for place in range(len(story.appendix)):
                _show_slide(story, 1 + len(story.slides) + place)


def _show_slide(story: Story, number: int) -> None:
    slide = (*story.slides, *story.appendix)[number - 1]
    st.image(in_language(story.language, slide_outline, slide, number), width="stretch", alt=slide.title)


def _subject(report: Report) -> tuple:
    """What a report is about, in whichever language and with or without an appendix."""
    recipe = report.recipe
    return recipe.run_ids, recipe.pilot_id, recipe.choice_id, recipe.plan_id


def _look_at(subject: tuple, number: int) -> None:
    st.session_state[_LOOKED_AT] = subject, number


def show_changes(saved: SavedRecipe, report: Report) -> None:
    """Draw the numbers of a saved report that the warehouse would give differently now."""
    comparisons = people.compare_numbers(people.recipe_numbers(reads.warehouse(), saved.recipe_id), report.numbers)
    changed = [number for number in comparisons if number.state != "same"]
    made_on = language.local_day(saved.made_at)
    if not changed:
        st.success(_("All {n} numbers are as they were on {day}.").format(n=f"{len(comparisons):,}", day=made_on))
        return
    line = Sentence(
        "Numbers changed since {day}: {n:,} of {total:,}.", n=len(changed), total=len(comparisons), day=made_on
    )
    st.warning(worded(line), icon=":material/published_with_changes:")
    rows = {
        _("Slide"): [number.row.slide for number in changed],
        _("Then"): [number.row.text for number in changed],
        _("Now"): [number.current_text or "–" for number in changed],
        _("Source"): [
            ".".join(filter(None, (number.row.source_table, number.row.source_column))) for number in changed
        ],
        _("Run"): [number.row.run_id for number in changed],
    }
    tables.show_plain(pl.DataFrame(rows))


# --- saving ----------------------------------------------------------------------------------------------------


@inputs.hidden_when_read_only
def show_save_form(request: ReportRequest, report: Report) -> None:
    """Draw the form that saves the report under a name; of a saved report, buttons that update its numbers or delete it."""
    if request.saved is not None:
        with st.container(horizontal=True, gap="small"):
            if st.button(_("Use today's numbers"), icon=":material/update:"):
                people.save_recipe(reads.warehouse(), request.recipe, report.numbers, version(), request.template)
                st.rerun()
            show_delete_button(request.saved)
        return
    with st.form("keep report", border=False), st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        name = st.text_input(_("Keep this report as"), max_chars=MAX_NAME, width=360)
        if st.form_submit_button(_("Keep"), icon=":material/bookmark_add:"):
            recipe = replace(request.recipe, name=name.strip())
            saved = people.save_recipe(reads.warehouse(), recipe, report.numbers, version(), request.template)
            st.query_params["recipe"] = saved.recipe_id
            st.rerun()


@inputs.hidden_when_read_only
def show_delete_button(saved: SavedRecipe) -> None:
    """Draw a button that deletes a saved report."""
    if st.button(_("Forget this report"), icon=":material/delete:"):
        reads.warehouse().delete("recipe", saved.recipe_id)
        st.rerun()


# --- choices ---------------------------------------------------------------------------------------------------


def _report_name(pilot: RegisteredPilot | None) -> str:
    printable = "".join(letter for letter in pilot.pilot.name if letter.isprintable()).strip() if pilot else ""
    return printable[:MAX_NAME] or "report"


def _choose_one(label: str, none: str, things: Mapping[str, tuple[str, T]], name: str) -> T | None:
    """Return one of some things by id, each with its name, or None, which `none` names; drawn only where there are some."""
    names = {NONE: none} | {key: told for key, (told, _thing) in things.items()}
    return things.get(inputs.choose_by_id(label, names, name, width=480), (none, None))[1]


def _choose_plan() -> str | None:
    """Return the id of a layer plan, or None for a report of runs."""
    plans = reads.lists().plans.select("plan_id", "name", "created_at").rows()
    named = {plan_id: (f"{name} · {language.local_time(at)}", plan_id) for plan_id, name, at in plans}
    return _choose_one(_("Layer plan"), _("none"), named, "plan")


def _choose_choice() -> tuple[SavedRule, RuleChoiceRow] | None:
    """Return a choice that a rule made, or None for a report of runs."""
    made = {
        one.choice_id: (f"{rule.rule.name} · {language.local_time(one.chosen_at)}", (rule, one))
        for rule in reads.lists().rules
        for one in rule.choices
    }
    return _choose_one(_("Choice of a rule"), _("none"), made, "choice")


def _choose_template() -> tuple[str | None, bytes | None]:
    """Return name and content of the company template, with remarks on what slides on it lack; None without a usable one."""
    file = inputs.upload(_("Company template"), ["pptx", "potx"], "template", width=360)
    if file is None:
        return None, None
    name, content = file.name[-80:], file.getvalue()
    try:
        remarks = _template_remarks(hashlib.sha256(content).hexdigest(), name, spoken(), content)
    except InputError as error:
        st.error(escape(error.message), icon=":material/error:")
        return None, None
    for line in remarks:
        st.caption(escape(line))
    return name, content


@st.cache_data(max_entries=8, show_spinner=False)
def _template_remarks(sha256: str, name: str, deck_language: str, _template_bytes: bytes) -> list[str]:
    """What slides on a template lack; cached, since the page is drawn anew at every click."""
    return in_language(deck_language, template.open_template(_template_bytes, name).remarks)


@reads.cached(8)
def _report(recipe: Recipe, day: date) -> Report:
    return report_of(choice_question.ask_report(reads.warehouse(), recipe), recipe, day)
