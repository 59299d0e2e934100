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
from core.deck.story import StorySlide
from core.errors import InputError
from core.files import version
from core.ids import MAX_NAME
from core.locale import _, in_language, spoken
from core.pilots.pilot import RegisteredPilot, slug
from core.pilots.saved import Recipe, SavedRecipe, SavedRule
from core.questions import choice as choice_question
from core.tables import RuleChoiceRow, ids_of
from core.ui import inputs, language, reads, run_choice, tables, url_state
from core.ui.language import escape, show_error, show_notes
from core.warehouse import exchange, people

T = TypeVar("T")
NONE = "none"
MAX_RUNS = 40
"""Runs in one report; nobody reads more."""
THUMBNAIL = 140
"""Pixels across of a slide in small: on a phone two stand side by side."""


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
    saved = {one.recipe_id: (one.recipe.name, language.local_day(one.made_at), one) for one in reads.lists().recipes}
    return _choose_one(_("Kept report"), _("a new one"), saved, "recipe")


def choose_new_report(runs: pl.DataFrame) -> ReportRequest:
    """Return the request for a new report: runs, a pilot, a choice or a layer plan; language, appendix and template."""
    plans = {
        plan_id: (name, language.local_time(at), plan_id)
        for plan_id, name, at in reads.lists().plans.select("plan_id", "name", "created_at").rows()
    }
    plan_id = _choose_one(_("Layer plan"), _("none"), plans, "plan")
    made: tuple[SavedRule, RuleChoiceRow] | None = None
    pilot: RegisteredPilot | None = None
    if plan_id is None:
        choices = {
            one.choice_id: (rule.rule.name, language.local_time(one.chosen_at), (rule, one))
            for rule in reads.lists().rules
            for one in rule.choices
        }
        made = _choose_one(_("Choice of a rule"), _("none"), choices, "choice")
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
        compared = deck_data.runs_with_verdict(chosen)
        if left_out := deck_data.names_without_verdict(chosen).values():
            st.info(escape(_("Left out, as their protocol gives no verdict: {names}.", names=left_out)))
        if compared.is_empty():
            url_state.stop()
    with inputs.row("top", gap="medium"):
        deck_language = inputs.choose(_("Slides in"), language.LANGUAGES, "deck", spoken())
        has_appendix = inputs.choose_yes_no(_("With an appendix"), "appendix", False)
        template_name, template_bytes = _choose_template()
    if not compared.is_empty():
        run_choice.show_differing_conditions(compared)  # the report's title says so first
    recipe = Recipe(
        name=made[0].rule.name[:MAX_NAME] if made else _report_name(pilot) if plan_id is None else "layer plan",
        run_ids=tuple(made[1].candidates if made else ids_of(chosen)),  # one that is gone is told
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
        st.warning(escape(_("The template {name} is gone.", name=recipe.template)))
    return ReportRequest(recipe, template_bytes, saved)


def make_report(request: ReportRequest) -> Report:
    """Stops the page where something that a saved report is of is gone: it can be forgotten then."""
    try:
        return _report(request.recipe, date.today())
    except InputError as error:
        if request.saved is None:
            raise
        show_error(error)
        show_delete_button(request.saved)
        url_state.stop()


# --- downloads -------------------------------------------------------------------------------------------------


def show_downloads(request: ReportRequest, report: Report) -> None:
    """Draw buttons for the slides, the HTML page and the data behind them; each file is made on the click."""

    def powerpoint() -> bytes:
        given = request.template
        opened = template.open_template(given, request.recipe.template or "template") if given else None
        return report.powerpoint(version(), reads.warehouse().folder.identity(), opened)

    stem = f"workdim_{slug(request.recipe.name, 'report')}_{request.recipe.language}_{report.story.made_on:%Y%m%d}"
    with inputs.row():
        inputs.show_download(
            _("Slides (PowerPoint)"),
            powerpoint,
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
    """Draw the slides in the language of the report: the first to be read, the others in small, each enlarged by Streamlit's own
    button; the appendix in an expander."""
    story = report.story

    def show(slide: StorySlide, number: int) -> None:
        st.image(in_language(story.language, slide_outline, slide, number), width="stretch", alt=slide.title)

    show(story.slides[0], 1)
    with inputs.row():
        for number, slide in enumerate(story.slides[1:], 2):
            with st.container(width=THUMBNAIL):
                show(slide, number)
    if story.appendix:
        with st.expander(_("Appendix (slides: {n})", n=len(story.appendix))):
            for number, slide in enumerate(story.appendix, 1 + len(story.slides)):
                show(slide, number)


def show_changes(saved: SavedRecipe, report: Report) -> None:
    """Draw the numbers of a saved report that the warehouse would give differently now."""
    comparisons = people.compare_numbers(people.recipe_numbers(reads.warehouse(), saved.recipe_id), report.numbers)
    changed = [number for number in comparisons if number.state != "same"]
    told = _("Numbers changed since {day}: {n:,} of {total:,}.")
    told = told.format(n=len(changed), total=len(comparisons), day=language.local_day(saved.made_at))
    if not changed:
        st.success(told)
        return
    st.warning(told, icon=":material/published_with_changes:")
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
        with inputs.row():
            if st.button(_("Use today's numbers"), icon=":material/update:"):
                people.save_recipe(reads.warehouse(), request.recipe, report.numbers, version(), request.template)
                st.rerun()
            show_delete_button(request.saved)
        return
    with st.form("keep report", border=False), inputs.row():
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
    """The pilot's, whose file may hold what no name of a report may: line breaks, say."""
    return "".join(filter(str.isprintable, pilot.pilot.name if pilot else "")).strip()[:MAX_NAME] or "report"


def _choose_one(label: str, none: str, things: Mapping[str, tuple[str, str, T]], name: str) -> T | None:
    """Return one of the things, which have a name and a time by id, or None, as `none` says; drawn only where there are some."""
    names = {key: f"{of} · {at}" for key, (of, at, _thing) in things.items()}
    chosen = inputs.choose_by_id(label, {NONE: none} | names, name, width=480)
    return things[chosen][2] if chosen in things else None


def _choose_template() -> tuple[str | None, bytes | None]:
    """Return name and content of the company template, with remarks on what slides on it lack; None without a usable one."""
    file = inputs.upload(_("Company template"), ["pptx", "potx"], "template", width=360)
    if file is None:
        return None, None
    name, content = file.name[-80:], file.getvalue()
    try:
        remarks = _template_remarks(hashlib.sha256(content).hexdigest(), name, spoken(), content)
    except InputError as error:
        show_error(error)
        return None, None
    show_notes(remarks)
    return name, content


@st.cache_data(max_entries=8, show_spinner=False)
def _template_remarks(sha256: str, name: str, deck_language: str, _template_bytes: bytes) -> list[str]:
    """What slides on a template lack; cached, since the page is drawn anew at every click."""
    return in_language(deck_language, template.open_template(_template_bytes, name).remarks)


@reads.cached(8)
def _report(recipe: Recipe, day: date) -> Report:
    return report_of(choice_question.ask_report(reads.warehouse(), recipe), recipe, day)
