"""Verbs for reports: slides, HTML reports, the sources of their numbers, and reports that are kept."""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from core.analysis.ranking import newest_runs, own_runs, without_variants
from core.commands.context import confirm, existing_warehouse, number_of_runs, show_records, warn, write_out
from core.errors import InputError, Sentence, WorkdimError, nothing_yet
from core.files import no_folder, read_whole, version
from core.ids import SHORT_ID, only_id
from core.locale import _, in_language, worded
from core.pilots.pilot import find_pilot
from core.pilots.saved import Recipe, find_choice, find_recipe
from core.questions import choice as choice_question
from core.sources import STATED
from core.tables import PilotRow, RecipeNumberRow, ids_of, records
from core.terminal.output import heads, say, tell
from core.terminal.tables import table
from core.warehouse import people, queries
from core.warehouse.people import NumberComparison, list_rules
from core.warehouse.runs import find_plan
from core.warehouse.warehouse import Warehouse
from core.wording.labels import said_of

if TYPE_CHECKING:  # python-pptx takes a moment to import, and most verbs here make no slides
    from core.deck.report import Report

STATES = {
    "same": Sentence("the same"),
    "changed": Sentence("CHANGED"),
    "gone": Sentence("no longer there"),
    "edited": Sentence("EDITED in the file"),
}


def slides(options: argparse.Namespace) -> None:
    from core.deck.template import open_template

    _require_place(options.out, ".pptx", "PowerPoint")
    warehouse = existing_warehouse(options)
    recipe, content = _recipe(options, warehouse)
    template = in_language(recipe.language, open_template, content, recipe.template or "template") if content else None
    report = _report_now(warehouse, recipe)
    pptx = report.powerpoint(version(), warehouse.folder.identity(), template)
    write_out(options.out, pptx)
    for line in template.remarks() if template else ():
        warn(line)
    _save_recipe(options, warehouse, report, content)
    n = len(report.story.slides) + len(report.story.appendix)
    subject = Sentence("a layer plan") if recipe.plan_id else number_of_runs(len(recipe.run_ids))
    tell("{file}: {n} slides of {of}, {size:.0f} kB", file=options.out, n=n, of=subject, size=len(pptx) / 1e3)


def report(options: argparse.Namespace) -> None:
    """Write the report as one HTML file, and on request the rows behind it."""
    from core.deck.html import MOST_BYTES
    from core.warehouse.exchange import export_report_data

    _require_place(options.out, ".html", "HTML")
    warehouse = existing_warehouse(options)
    recipe, content = _recipe(options, warehouse)
    made = _report_now(warehouse, recipe)
    page = made.page(version(), warehouse.folder.identity(), options.bundle.name if options.bundle else "")
    if len(page) > MOST_BYTES:
        raise InputError(
            "The report of {n} runs would have {size:.1f} MB, over {largest:.0f} MB. Choose fewer with --run.",
            n=len(recipe.run_ids),
            size=len(page) / 1e6,
            largest=MOST_BYTES / 1e6,
        )
    if options.bundle:
        run_ids = made.story.run_ids or recipe.run_ids
        what = (warehouse, made.numbers, run_ids, options.bundle)
        in_language(recipe.language, export_report_data, *what)
        tell("{file}: the rows behind it, {size:.0f} kB", file=options.bundle, size=options.bundle.stat().st_size / 1e3)
    write_out(options.out, page)
    _save_recipe(options, warehouse, made, content)
    say(f"{options.out}: {len(page) / 1e3:.0f} kB")


def trace(options: argparse.Namespace) -> int:
    """Show where each number of a deck comes from, and what the warehouse and the file say of it now."""
    from core.deck.embedded_sources import read_sources

    embedded = read_sources(read_whole(options.file), options.file.name)
    warehouse = existing_warehouse(options)
    origin = embedded.origin
    comparisons = [
        replace(one, state="edited", current_text=embedded.edited[one.row.number])
        if one.row.number in embedded.edited
        else one
        for one in _compare_with_now(warehouse, origin.recipe, embedded.numbers)
    ]
    made_by = {"recipe": origin.recipe.recipe_id, "version": origin.version, "warehouse": origin.warehouse_id}
    is_own = origin.warehouse_id == warehouse.folder.identity()
    records = {
        **made_by,
        "is_this_warehouse": is_own,
        **_summary_json(comparisons),
        "numbers": [_as_json(comparison) for comparison in comparisons],
        "added": [{"slide": slide, "text": text} for slide, text in embedded.added],
    }

    def lines() -> list[str]:
        name = options.file.name
        head = Sentence("{file}: report {recipe}, Workdim {version}, warehouse {warehouse}", file=name, **made_by)
        added = [
            Sentence("slide {slide}: {text} was not made by Workdim", slide=slide, text=text)
            for slide, text in embedded.added
        ]
        counted = _count_states(comparisons, len(embedded.added))
        return [counted, head, "", *_number_lines(comparisons), *added]

    show_records(options, records, lines())
    if not (is_own or options.json):
        warn("Made from another warehouse.")
    return 1 if _changed(comparisons) else 0


def list_saved(options: argparse.Namespace) -> None:
    saved = people.list_recipes(existing_warehouse(options))
    records = [
        {"recipe_id": one.recipe_id, **asdict(one.recipe), "made_at": one.made_at, "n_numbers": one.n_numbers}
        for one in saved
    ]
    rows = [
        (
            one.recipe_id,
            one.recipe.name,
            one.recipe.pilot_id
            or one.recipe.choice_id
            or one.recipe.plan_id
            or number_of_runs(len(one.recipe.run_ids)),
            one.recipe.language,
            one.recipe.template or "-",
            f"{one.made_at:%Y-%m-%d}",
            one.n_numbers,
        )
        for one in saved
    ]
    head = heads("report", "name", "of", "language", "template", "numbers of", "numbers")
    none = nothing_yet("slides --out FILE.pptx --keep NAME")
    show_records(options, records, table(head, rows), none)


def check(options: argparse.Namespace) -> int:
    """List the numbers of a recipe's last report that the warehouse would now give differently."""
    warehouse = existing_warehouse(options)
    saved = find_recipe(people.list_recipes(warehouse), options.report)
    comparisons = _compare_with_now(warehouse, saved.recipe, people.recipe_numbers(warehouse, saved.recipe_id))
    changed = _changed(comparisons)
    summary = Sentence(
        "{name}, as of {day}. {counted}",
        name=saved.recipe.name,
        day=f"{saved.made_at:%Y-%m-%d}",
        counted=_count_states(comparisons),
    )
    show_records(options, _summary_json(comparisons), [summary, *(["", *_number_lines(changed)] if changed else [])])
    return 1 if changed else 0


def delete(options: argparse.Namespace) -> None:
    warehouse = existing_warehouse(options)
    saved = find_recipe(people.list_recipes(warehouse), options.report)
    question = Sentence("Forget the report {name} ({id})? Its files stay.", name=saved.recipe.name, id=saved.recipe_id)
    if confirm(question, options.yes):
        warehouse.delete("recipe", saved.recipe_id)
        tell("The report {name} is forgotten; its files stay.", name=saved.recipe.name)


# --- content of a report ---------------------------------------------------------------------------------------


def _report_now(warehouse: Warehouse, recipe: Recipe) -> Report:
    from core.deck.report import report_of

    return report_of(choice_question.ask_report(warehouse, recipe), recipe)


def _recipe(options: argparse.Namespace, warehouse: Warehouse) -> tuple[Recipe, bytes | None]:
    """The recipe from the options, or the saved one that is named; also the bytes of its template."""
    names = ("run", "pilot", "plan", "choice", "language", "appendix", "decided_by", "decide_by", "template", "keep")
    given = {name: value for name in names if (value := getattr(options, name, None))}
    if options.kept is not None:
        if given:
            raise InputError("Give --kept alone, or the other options without it.")
        recipe = find_recipe(people.list_recipes(warehouse), options.kept).recipe
        content = people.read_template(warehouse, recipe)
        if recipe.template is not None and content is None:
            raise InputError("The template {name} of this report is gone: name it again.", name=recipe.template)
        return recipe, content
    path = given.get("template")
    content = read_whole(path) if path else None
    if len([one for one in (options.plan, options.choice, options.run or options.pilot) if one]) > 1:
        raise InputError("Give one of a plan, a choice, a pilot or runs.")
    plan_id = find_plan(warehouse, options.plan).plan.plan_id if options.plan else None
    saved, made = find_choice(list_rules(warehouse), options.choice) if options.choice else (None, None)
    runs, pilot_id = (made.candidates if made else [], None) if plan_id or made else _selected_runs(options, warehouse)
    name = options.pilot or (saved.rule.name if saved else "layer plan" if plan_id else "report")
    recipe = Recipe(
        name=options.keep or name[:60],
        run_ids=tuple(runs),
        pilot_id=pilot_id,
        choice_id=made.choice_id if made else None,
        plan_id=plan_id,
        language=options.language or "en",
        appendix=options.appendix,
        decided_by=options.decided_by,
        decide_by=options.decide_by,
        template=path.name if path else None,
        template_sha256=hashlib.sha256(content).hexdigest() if content else None,
    )
    return recipe, content


def _selected_runs(options: argparse.Namespace, warehouse: Warehouse) -> tuple[list[str], str | None]:
    """Ids of the requested runs on text, and the id of their pilot if one is named."""
    runs = queries.runs(warehouse)
    pilot_id = None
    if options.pilot is not None:
        pilot = find_pilot(records(queries.pilots(warehouse), PilotRow), options.pilot)
        pilot_id = pilot.pilot_id
        runs = runs.filter(pl.col("run_id").is_in(queries.pilot_run_ids(warehouse, pilot_id)))
        if runs.is_empty():
            raise InputError("The pilot {pilot} has no result yet: `workdim pilot FILE.toml`.", pilot=pilot.pilot.name)
    if options.run:
        return list(dict.fromkeys(only_id(ids_of(runs), start, "run", "runs") for start in options.run)), pilot_id
    runs = newest_runs(without_variants(runs.filter(runs["pass"] == "text")))
    if runs.is_empty():
        raise InputError("No runs to report on. Measure a model, or take in what ships: `workdim ingest --reference`.")
    own = runs if pilot_id else own_runs(runs)
    if own.is_empty():
        warn("No runs of your own: this report is of the shipped profiles.")
    return ids_of(runs if own.is_empty() else own), pilot_id


def _save_recipe(options: argparse.Namespace, warehouse: Warehouse, report: Report, template: bytes | None) -> None:
    """Save the recipe with the numbers of this report, if requested; a saved recipe gets the new numbers."""
    if options.kept:
        old_numbers = people.recipe_numbers(warehouse, report.recipe.recipe_id)
        tell(
            "Numbers changed since its last report: {n:,} of {of:,}.",
            n=len(_changed(people.compare_numbers(old_numbers, report.numbers))),
            of=len(old_numbers),
        )
    if options.keep or options.kept:
        saved = people.save_recipe(warehouse, report.recipe, report.numbers, version(), template)
        tell(
            "The report {name} is kept: {id}; numbers: {n}.",
            name=saved.recipe.name,
            id=saved.recipe_id,
            n=saved.n_numbers,
        )


def _compare_with_now(
    warehouse: Warehouse, recipe: Recipe, numbers: Sequence[RecipeNumberRow]
) -> list[NumberComparison]:
    """Each number against the same report made now; all are gone, with a warning, if it cannot be made."""
    try:
        now: Sequence[RecipeNumberRow] = _report_now(warehouse, recipe).numbers
    except WorkdimError as error:
        warn("The report cannot be made again: {reason}", reason=error)
        now = ()
    return people.compare_numbers(numbers, now)


def _changed(comparisons: Sequence[NumberComparison]) -> list[NumberComparison]:
    """The numbers that are not what the warehouse gives, or not what was written."""
    return [comparison for comparison in comparisons if comparison.state != "same"]


# --- output ----------------------------------------------------------------------------------------------------


def _number_lines(comparisons: Sequence[NumberComparison]) -> list[str]:
    """A table with one row for each number; unchanged chart points from one column of one run share a row."""
    groups: dict[tuple, list[NumberComparison]] = {}
    for number, comparison in enumerate(comparisons):
        row = comparison.row
        is_point = row.place == "chart" and comparison.state == "same"
        key = (row.slide, row.source_table, row.source_column, row.run_id) if is_point else (number,)
        groups.setdefault(key, []).append(comparison)
    rows = []
    for comparison, *others in groups.values():
        row, state = comparison.row, worded(STATES[comparison.state])
        source = ".".join(part for part in (row.source_table, row.source_column) if part) or _("no source")
        text = _("{n} points", n=1 + len(others)) if others else row.text
        if comparison.state in ("changed", "edited") and comparison.current_text:
            state = said_of(state, comparison.current_text)
        rows.append((row.slide, row.place, text, source, (row.run_id or "-")[:SHORT_ID], state))
    return table(heads("slide", "place", "number", "source", "run", "now"), rows, ("run", "place"))


def _count_states(comparisons: Sequence[NumberComparison], n_added: int = 0) -> str:
    counts = Counter[str](comparison.state for comparison in comparisons)
    parts = [f"{counts[state]:,} {worded(name).lower()}" for state, name in STATES.items() if counts[state]]
    if n_added:
        parts.append(_("{n:,} not made by Workdim", n=n_added))
    if not parts:
        return _("It shows no numbers.")
    return _("{n:,} number: {parts}.", "{n:,} numbers: {parts}.", n=len(comparisons), parts=parts)


def _summary_json(comparisons: Sequence[NumberComparison]) -> dict[str, Any]:
    return {
        "n_numbers": len(comparisons),
        "n_stated": sum(one.row.source_table == STATED for one in comparisons),
        "changed": [_as_json(one) for one in _changed(comparisons)],
        "without_source": [_as_json(one) for one in comparisons if one.row.source_table is None],
    }


def _as_json(comparison: NumberComparison) -> dict[str, Any]:
    now = {"state": comparison.state, "now": comparison.current, "text_now": comparison.current_text or None}
    return asdict(comparison.row) | now


def _require_place(out: Path, ending: str, what: str) -> None:
    """Before the work, and not after it: raises InputError for a file of another kind, or in a folder that is not there."""
    if out.suffix.lower() != ending:
        raise InputError(
            "{name} is no {what} file. Name one ending in {ending} with --out.", name=out.name, what=what, ending=ending
        )
    if not out.parent.is_dir():
        raise InputError(no_folder(out.parent))
