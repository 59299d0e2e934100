"""The report page: what a report is of and whom it is for, its slides in small, its files, and the recipes that are kept."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import polars as pl
import streamlit as st

from core import wording
from core.analysis.answer import relate_by_specification
from core.analysis.question import RankingQuestion
from core.analysis.ranking import newest_runs
from core.deck import deck_data, template
from core.deck.report import Report, appendix_sections, build_report
from core.deck.slide_svg import slide_outline
from core.errors import InputError
from core.files import version
from core.pilots.pilot import slug
from core.pilots.recipe import AUDIENCES, Recipe, SavedRecipe
from core.pilots.registration import RegisteredPilot, registered_pilot
from core.ui import inputs, language, notices, pilot_filter, reads, tables
from core.ui.markdown import escape
from core.ui.reads import Selection
from core.warehouse import export_runs, recipes
from core.wording.labels import shortened

NONE = "none"
MOST_RUNS = 40
"""Of a report: more models are a gallery that nobody reads."""
MIMES = {
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "html": "text/html",
    "zip": "application/zip",
}


@dataclass(frozen=True)
class Wanted:
    """What the reader asks for: a recipe, what was read for it, and the company template with its bytes."""

    recipe: Recipe
    chosen: Selection | None
    """None for a layer plan."""
    pilot: RegisteredPilot | None = None
    content: bytes | None = None
    """Of the template."""
    kept: SavedRecipe | None = None
    """The recipe as it was kept, where it is one of those."""


def choose_kept() -> SavedRecipe | None:
    """One of the recipes that are kept; drawn only where there are some."""
    saved = {one.recipe_id: one for one in reads.lists().recipes}
    if not saved:
        return None
    _ = language.translator()
    chosen = inputs.choose_from_list(
        _("Kept report"),
        [NONE, *saved],
        "recipe",
        NONE,
        lambda key: _("a new one") if key == NONE else f"{saved[key].recipe.name} · {saved[key].made_at:%Y-%m-%d}",
        width=480,
    )
    return saved.get(chosen)


def ask(runs: pl.DataFrame) -> Wanted:
    """What a new report is of: runs, a pilot with all of its results, or a layer plan; language, audience and template."""
    _ = language.translator()
    plan_id = _choose_plan()
    pilot: RegisteredPilot | None = None
    chosen: Selection | None = None
    run_ids: tuple[str, ...] = ()
    if plan_id is None:
        pilot, own = pilot_filter.choose(runs)
        texts = own.filter(pl.col("pass") == "text")
        chosen = (
            reads.selection(newest_runs(texts)["run_id"].to_list()) if pilot else inputs.choose_runs(texts, MOST_RUNS)
        )
        notices.stop_if_none_chosen(chosen.runs)
        shown = tellable(chosen.runs)
        notices.show_differing_conditions(shown)
        run_ids = tuple(shown["run_id"])
        tables.show_comparison_link(run_ids)
    with st.container(horizontal=True, gap="medium", vertical_alignment="top"):
        spoken = inputs.choose(
            _("Language of the slides"),
            list(language.LANGUAGES),
            "deck",
            language.current(),
            language.LANGUAGES.__getitem__,
        )
        lang = language.current()
        audience = inputs.choose(
            _("Audience"), list(AUDIENCES), "for", AUDIENCES[0], lambda key: wording.name("audience", key, lang)
        )
        name, content = _choose_template()
    recipe = Recipe(
        name=_name(pilot) if plan_id is None else "layer plan",
        run_ids=run_ids,
        pilot_id=pilot.pilot_id if pilot else None,
        plan_id=plan_id,
        audience=audience,
        language=spoken,
        template=name,
        template_sha256=hashlib.sha256(content).hexdigest() if content else None,
    )
    return Wanted(recipe, chosen, pilot, content)


def of_kept(kept: SavedRecipe) -> Wanted:
    """What a kept recipe asks for; stops where one of its runs, or its pilot, is gone."""
    recipe, warehouse = kept.recipe, reads.warehouse()
    _ = language.translator()
    if missing := recipes.missing_runs(warehouse, recipe):
        _stop_without(kept, _("Runs of this report are not there: {runs}.").format(runs=_(", ").join(missing)))
    content = recipes.read_template(warehouse, recipe)
    if recipe.template and content is None:
        st.warning(escape(_("The template {name} is gone.").format(name=recipe.template)))
    if recipe.plan_id is not None:
        return Wanted(recipe, None, None, content, kept)
    rows = [row for row in reads.lists().pilots.to_dicts() if row["pilot_id"] == recipe.pilot_id]
    if recipe.pilot_id is not None and not rows:
        _stop_without(kept, _("The pilot of this report is not there: {pilot}.").format(pilot=recipe.pilot_id))
    return Wanted(recipe, reads.selection(recipe.run_ids), registered_pilot(rows[0]) if rows else None, content, kept)


def _stop_without(kept: SavedRecipe, line: str) -> NoReturn:
    st.error(escape(line), icon=":material/error:")
    forget(kept)
    st.stop()


def make(wanted: Wanted) -> tuple[Wanted, Report]:
    """The report, after the reader has said which sections of its appendix it goes without."""
    whole = _made(wanted)
    if wanted.kept is not None:
        return wanted, whole
    _ = language.translator()
    titles = {slide.key.split("-")[0]: slide.title for slide in reversed(whole.story.appendix)}
    known = appendix_sections(whole.story)
    taken = inputs.choose_many(
        _("Appendix"), known, "sections", known, lambda key: _section(titles[key]), hides_default=True
    )
    if len(taken) == len(known):
        return wanted, whole
    left_out = tuple(key for key in known if key not in taken)
    narrowed = replace(wanted, recipe=replace(wanted.recipe, left_out=left_out))
    return narrowed, _made(narrowed)


def tellable(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs that a report tells of: those without a verdict are left out, which is said; stops where no other is."""
    _ = language.translator()
    left_out = deck_data.names_without_verdict(runs, language.current())
    if left_out:
        line = _(
            "Without a verdict and left out of the slides: {names}. Their protocol measures no points of one per type."
        )
        st.info(line.format(names=escape(_(", ").join(left_out.values()))))
    if len(left_out) == runs.height:
        st.stop()
    return deck_data.runs_with_verdict(runs)


# --- files -----------------------------------------------------------------------------------------------------


def download(wanted: Wanted, made: Report) -> None:
    """The deck, the page and the rows behind them, each made when it is asked for."""
    _ = language.translator()
    stem = f"workdim_{slug(wanted.recipe.name, 'report')}_{wanted.recipe.language}_{made.story.made_on:%Y%m%d}"
    files = (
        ("pptx", _("Download the slides (PowerPoint)"), partial(_powerpoint, wanted, made)),
        ("html", _("Download as one HTML file"), partial(_page, made, f"{stem}.zip")),
        ("zip", _("Download the rows behind it"), partial(_rows, made)),
    )
    with st.container(horizontal=True, gap="small"):
        for ending, label, content in files:
            st.download_button(
                label,
                content,
                f"{stem}.{ending}",
                MIMES[ending],
                on_click="ignore",
                type="primary" if ending == "pptx" else "secondary",
                icon=":material/download:",
            )
    st.caption(_("Charts stay editable; every number carries its source."))


def _powerpoint(wanted: Wanted, made: Report) -> bytes:
    recipe, content = wanted.recipe, wanted.content
    opened = template.open_template(content, recipe.template or "template", recipe.language) if content else None
    return made.powerpoint(version(), reads.warehouse().folder.identity(), opened)


def _page(made: Report, bundle: str) -> bytes:
    return made.page(version(), reads.warehouse().folder.identity(), bundle)


def _rows(made: Report) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "rows.zip"
        export_runs.export_report_data(
            reads.warehouse(), made.numbers, made.story.run_ids or made.recipe.run_ids, target
        )
        return target.read_bytes()


# --- what it holds ---------------------------------------------------------------------------------------------


def outlines(made: Report) -> None:
    """The slides in small, in their own language: the seven, and the appendix where it is opened."""
    _ = language.translator()
    story = made.story
    st.subheader(escape(story.title))
    _draw(story.slides, 1, story.language)
    if story.appendix:
        with st.expander(_("Appendix: {n} slides").format(n=len(story.appendix))):
            _draw(story.appendix, 1 + len(story.slides), story.language)


def _draw(slides: tuple, first: int, spoken: str) -> None:
    with st.container(horizontal=True, gap="small"):
        for place, slide in enumerate(slides, start=first):
            st.image(slide_outline(slide, place, spoken), width=290, alt=slide.title)


def tell_changes(kept: SavedRecipe, made: Report) -> None:
    """Which numbers of the kept report the warehouse would give differently now."""
    _ = language.translator()
    warehouse = reads.warehouse()
    found = recipes.compare_numbers(warehouse, recipes.recipe_numbers(warehouse, kept.recipe_id), made.numbers)
    changed = [one for one in found if one.state in ("changed", "gone")]
    n_left = sum(one.state == "computed" for one in found)
    day = f"{kept.made_at:%Y-%m-%d}"
    if not changed and not n_left:
        st.success(_("All {n} numbers are as they were on {day}.").format(n=f"{len(found):,}", day=day))
        return
    told = _("{n} of {total} numbers have changed since {day}.")
    lines = [told.format(n=f"{len(changed):,}", total=f"{len(found):,}", day=day)]
    if n_left:
        lines.append(_("{n} computed ones were not compared.").format(n=f"{n_left:,}"))
    st.warning(wording.sentences(lines, language.current()), icon=":material/published_with_changes:")
    if not changed:
        return
    rows = {
        _("Slide"): [one.row.slide for one in changed],
        _("Then"): [one.row.text for one in changed],
        _("Now"): [one.current_text or wording.number(one.current) for one in changed],
        _("Source"): [".".join(filter(None, (one.row.source_table, one.row.source_column))) for one in changed],
        _("Run"): [one.row.run_id for one in changed],
    }
    st.dataframe(pl.DataFrame(rows), hide_index=True)


# --- recipes ---------------------------------------------------------------------------------------------------


@inputs.hidden_when_read_only
def keep(wanted: Wanted, made: Report) -> None:
    """Keep what was chosen under a name, with the numbers of today; a kept report takes the numbers of today."""
    _ = language.translator()
    if wanted.kept is not None:
        with st.container(horizontal=True, gap="small"):
            if st.button(_("Take the numbers of today"), icon=":material/update:"):
                recipes.save_recipe(reads.warehouse(), wanted.recipe, made.numbers, version(), wanted.content)
                st.rerun()
            forget(wanted.kept)
        return
    with st.form("keep report", border=False), st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        name = st.text_input(_("Keep this report as"), max_chars=80, width=360)
        if st.form_submit_button(_("Keep"), icon=":material/bookmark_add:"):
            recipe = replace(wanted.recipe, name=name.strip())
            kept = recipes.save_recipe(reads.warehouse(), recipe, made.numbers, version(), wanted.content)
            st.query_params["recipe"] = kept.recipe_id
            st.rerun()


@inputs.hidden_when_read_only
def forget(kept: SavedRecipe) -> None:
    _ = language.translator()
    if st.button(_("Forget this report"), icon=":material/delete:"):
        recipes.delete_recipe(reads.warehouse(), kept.recipe_id)
        st.rerun()


def _section(title: str) -> str:
    """Without the number of its first page."""
    return shortened(re.sub(r"\s*[(（]\d+/\d+[)）]$", "", title), 40)


# --- reading ---------------------------------------------------------------------------------------------------


def _name(pilot: RegisteredPilot | None) -> str:
    printable = "".join(letter for letter in pilot.pilot.name if letter.isprintable()).strip() if pilot else ""
    return printable[:80] or "report"


def _choose_plan() -> str | None:
    """A layer plan, drawn only where there are some; None for a report of runs."""
    rows = {row["plan_id"]: row for row in reads.lists().plans.to_dicts()}
    if not rows:
        return None
    _ = language.translator()
    chosen = inputs.choose_from_list(
        _("Layer plan"),
        [NONE, *rows],
        "plan",
        NONE,
        lambda key: _("none: a report of runs") if key == NONE else _plan_label(rows[key]),
        width=480,
    )
    return None if chosen == NONE else chosen


def _plan_label(row: Mapping[str, Any]) -> str:
    return f"{row['name']} · {row['created_at']:%Y-%m-%d %H:%M}"


def _choose_template() -> tuple[str | None, bytes | None]:
    """The company's file, if one was given that can be used; what a deck on it goes without is said."""
    _ = language.translator()
    given = st.file_uploader(_("Company template"), type=["pptx", "potx"], key="template", width=360)
    if given is None:
        return None, None
    name, content = given.name[-80:], given.getvalue()
    try:
        remarks = _remarks(hashlib.sha256(content).hexdigest(), name, language.current(), content)
    except InputError as error:
        st.error(escape(error.message), icon=":material/error:")
        return None, None
    for line in remarks:
        st.caption(escape(line))
    return name, content


@st.cache_data(max_entries=8, show_spinner=False)
def _remarks(sha256: str, name: str, spoken: str, _content: bytes) -> list[str]:
    """Read once: the page is drawn anew at every click."""
    return template.open_template(_content, name, spoken).remarks(spoken)


def _made(wanted: Wanted) -> Report:
    """Cached: the page is drawn anew at every click."""
    today = date.today()
    warehouse = reads.warehouse()
    return _cached(warehouse.path, warehouse.version(), reads.shows_reference(), today, wanted.recipe, wanted)


@st.cache_resource(max_entries=8, show_spinner=False)
def _cached(path: Path, version: tuple, with_reference: bool, day: date, recipe: Recipe, _wanted: Wanted) -> Report:
    chosen, pilot = _wanted.chosen, _wanted.pilot
    if recipe.plan_id is not None or chosen is None:
        plan = reads.layer_plan(recipe.plan_id or "")
        if plan is None:
            raise InputError("The layer plan of this report is not there any more.")
        return build_report(deck_data.plan_data(plan, recipe.language, day), recipe)
    plans = [
        row["plan_id"] for row in reads.lists().plans.to_dicts() if row["model_id"] in set(chosen.runs["model_id"])
    ]
    frames = deck_data.RunFrames(
        runs=chosen.with_controls,
        estimates=chosen.estimates,
        correlators=chosen.correlators,
        checks=chosen.checks,
        summaries=chosen.summaries,
        scores=chosen.scores,
        claims=chosen.claims,
        extrema=chosen.extrema,
        against_controls=chosen.against_controls,
        plans=tuple(plan for one in plans if (plan := reads.layer_plan(one)) is not None),
    )
    found = specifications = None
    if pilot is not None:
        asked = RankingQuestion(pilot=pilot)
        found = reads.answer(asked)
        among = reads.population(asked)
        specifications = relate_by_specification(among, reads.inner_maxima(among.rows["run_id"].to_list()))
    data = deck_data.deck_data(
        frames, recipe.language, pilot, made_on=day, pilot_answer=found, specifications=specifications
    )
    return build_report(data, recipe)
