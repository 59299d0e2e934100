"""Verbs for reports: slides, HTML reports, the sources of their numbers, and recipes."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.commands.context import confirm, existing_warehouse, find_run_id, number_of_runs, warn, write_out
from core.errors import InputError, Sentence, WorkdimError, unknown_name
from core.files import read_whole
from core.locale import _, in_language, worded
from core.sources import STATED
from core.terminal.output import heads, say, say_json
from core.terminal.tables import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.deck.report import Report
    from core.deck.template import Template
    from core.pilots.recipe import Recipe
    from core.tables import RecipeNumberRow
    from core.warehouse.recipes import NumberComparison
    from core.warehouse.warehouse import Warehouse

STATES = {
    "same": Sentence("the same"),
    "changed": Sentence("CHANGED"),
    "gone": Sentence("no longer there"),
    "edited": Sentence("EDITED in the file"),
}


HEADS = heads("slide", "place", "number", "source", "run", "now")


def slides(options: argparse.Namespace) -> int:
    from core.files import version

    _require_ending(options.out, ".pptx", "PowerPoint")
    warehouse = existing_warehouse(options)
    recipe, template_bytes = _recipe(options, warehouse)
    template = _load_template(recipe, template_bytes)
    report = make_report(warehouse, recipe)
    pptx = report.powerpoint(version(), warehouse.folder.identity(), template)
    write_out(options.out, pptx)
    for line in template.remarks() if template else ():
        warn(line)
    _save_recipe(options, warehouse, report, template_bytes)
    n = len(report.story.slides) + len(report.story.appendix)
    subject = Sentence("a layer plan") if recipe.plan_id else number_of_runs(len(recipe.run_ids))
    say(Sentence("{file}: {n} slides of {of}, {size:.0f} kB", file=options.out, n=n, of=subject, size=len(pptx) / 1e3))
    return 0


def report(options: argparse.Namespace) -> int:
    """Write the report as one HTML file, and on request the rows behind it."""
    from core.deck.html import MOST_BYTES
    from core.files import version
    from core.warehouse.export_runs import export_report_data

    _require_ending(options.out, ".html", "HTML")
    warehouse = existing_warehouse(options)
    recipe, template_bytes = _recipe(options, warehouse)
    html_report = make_report(warehouse, recipe)
    rows = options.bundle.name if options.bundle else ""
    page = html_report.page(version(), warehouse.folder.identity(), rows)
    if len(page) > MOST_BYTES:
        raise InputError(
            "The report of {n} runs would have {size:.1f} MB; one file has at most {largest:.0f} MB. Choose fewer runs "
            "with --run.",
            n=len(recipe.run_ids),
            size=len(page) / 1e6,
            largest=MOST_BYTES / 1e6,
        )
    if options.bundle:
        written = in_language(
            recipe.language,
            export_report_data,
            warehouse,
            html_report.numbers,
            html_report.story.run_ids or recipe.run_ids,
            options.bundle,
        )
        say(Sentence("{file}: the rows behind it, {size:.0f} kB", file=written.path, size=written.n_bytes / 1e3))
    write_out(options.out, page)
    _save_recipe(options, warehouse, html_report, template_bytes)
    say(f"{options.out}: {len(page) / 1e3:.0f} kB")
    return 0


def trace(options: argparse.Namespace) -> int:
    """Show where each number of a deck comes from, and what the warehouse and the file say of it now."""
    from core.deck.embedded_sources import read_sources

    embedded = read_sources(read_whole(options.file), options.file.name)
    warehouse = existing_warehouse(options)
    origin, recipe = embedded.origin, embedded.origin.recipe
    comparisons = [
        (replace(comparison, current_text=embedded.edited[comparison.row.number]), "edited")
        if comparison.row.number in embedded.edited
        else (comparison, state)
        for comparison, state in _compare_with_now(warehouse, recipe, embedded.numbers)
    ]
    is_own = origin.warehouse_id == warehouse.folder.identity()
    if options.json:
        say_json(
            {
                "recipe": recipe.recipe_id,
                "version": origin.version,
                "warehouse": origin.warehouse_id,
                "is_this_warehouse": is_own,
                **_summary_json(comparisons),
                "numbers": [_as_json(comparison, state) for comparison, state in comparisons],
                "added": [{"slide": slide, "text": text} for slide, text in embedded.added],
            }
        )
        return _exit_code(comparisons)
    say(
        Sentence(
            "{file}: recipe {recipe}, Workdim {version}, warehouse {warehouse}",
            file=options.file.name,
            recipe=recipe.recipe_id,
            version=origin.version,
            warehouse=origin.warehouse_id,
        )
    )
    if not is_own:
        warn(Sentence("It was made from another warehouse; it is compared with this one."))
    say("", *table(HEADS, _number_rows(comparisons)))
    for slide, text in embedded.added:
        say(Sentence("slide {slide}: {text} was not made by Workdim", slide=slide, text=text))
    say("", _count_states([state for _one, state in comparisons], len(embedded.added)))
    return _exit_code(comparisons)


def list_saved(options: argparse.Namespace) -> int:
    from core.warehouse.recipes import list_recipes

    saved = list_recipes(existing_warehouse(options))
    if options.json:
        say_json(
            [
                _recipe_json(saved_recipe.recipe)
                | {"made_at": saved_recipe.made_at, "n_numbers": saved_recipe.n_numbers}
                for saved_recipe in saved
            ]
        )
    elif not saved:
        say(Sentence("No recipe is kept yet: workdim slides --out FILE.pptx --keep NAME"))
    else:
        rows = [
            (
                saved_recipe.recipe_id,
                saved_recipe.recipe.name,
                saved_recipe.recipe.pilot_id
                or saved_recipe.recipe.plan_id
                or number_of_runs(len(saved_recipe.recipe.run_ids)),
                f"{saved_recipe.recipe.audience}, {saved_recipe.recipe.language}",
                saved_recipe.recipe.template or "-",
                f"{saved_recipe.made_at:%Y-%m-%d}",
                saved_recipe.n_numbers,
            )
            for saved_recipe in saved
        ]
        say(*table(heads("recipe", "name", "of", "for", "template", "numbers of", "numbers"), rows))
    return 0


def check(options: argparse.Namespace) -> int:
    """List the numbers of a recipe's last report that the warehouse would now give differently."""
    from core.pilots.recipe import find_recipe
    from core.warehouse import recipes

    warehouse = existing_warehouse(options)
    saved = find_recipe(recipes.list_recipes(warehouse), options.recipe)
    rows = recipes.recipe_numbers(warehouse, saved.recipe_id)
    comparisons = _compare_with_now(warehouse, saved.recipe, rows)
    if options.json:
        say_json(_summary_json(comparisons))
        return _exit_code(comparisons)
    changed = _changed(comparisons)
    if changed:
        say(*table(HEADS, _number_rows(changed)), "")
    summary = _count_states([state for _one, state in comparisons])
    made_at = f"{saved.made_at:%Y-%m-%d}"
    say(Sentence("{name}, numbers of {day}: {counted}", name=saved.recipe.name, day=made_at, counted=summary))
    return _exit_code(comparisons)


def delete(options: argparse.Namespace) -> int:
    from core.pilots.recipe import find_recipe
    from core.warehouse import recipes

    warehouse = existing_warehouse(options)
    saved = find_recipe(recipes.list_recipes(warehouse), options.recipe)
    question = Sentence("Forget the recipe {name} ({id})?", name=saved.recipe.name, id=saved.recipe_id)
    if confirm(question, options.yes):
        warehouse.delete("recipe", saved.recipe_id)
        message = Sentence(
            "The recipe {name} is forgotten; reports that it made stay where they are.", name=saved.recipe.name
        )
        say(message)
    return 0


# --- content of a report ---------------------------------------------------------------------------------------


def make_report(warehouse: Warehouse, recipe: Recipe) -> Report:
    """Build the report of a recipe from the present warehouse. Raises InputError if one of its runs is missing."""
    from core.deck.deck_data import deck_data, plan_data
    from core.deck.report import build_report
    from core.pilots.registration import find_pilot
    from core.questions import evidence as evidence_question
    from core.questions import selection as selection_question
    from core.questions.ranking_question import RankingQuestion
    from core.store.trash import is_deleted
    from core.warehouse import queries, recipes
    from core.warehouse.layer_plans import find_plan

    if recipe.plan_id is not None:
        return build_report(in_language(recipe.language, plan_data, find_plan(warehouse, recipe.plan_id)), recipe)
    for run_id in recipes.missing_runs(warehouse, recipe)[:1]:
        if is_deleted(warehouse.folder, run_id):
            raise InputError(
                "The run {run} of this recipe is in the trash: `{command}` brings it back.",
                run=run_id,
                command=warehouse.command(f"runs undelete {run_id}"),
            )
        raise InputError("The run {run} of this recipe is not in the warehouse.", run=run_id)
    pilot = answer = None
    if recipe.pilot_id is not None:
        pilot = find_pilot(queries.pilots(warehouse).to_dicts(), recipe.pilot_id)
        answer = evidence_question.ask(warehouse, RankingQuestion(pilot=pilot), with_specifications=True)
    measured = selection_question.ask(warehouse, recipe.run_ids)
    return build_report(in_language(recipe.language, deck_data, measured, pilot, answer=answer), recipe)


def _recipe(options: argparse.Namespace, warehouse: Warehouse) -> tuple[Recipe, bytes | None]:
    """The recipe from the options, or the saved one that is named; also the bytes of its template."""
    from core.deck.appendix import SECTIONS
    from core.pilots.recipe import Recipe, find_recipe
    from core.warehouse import recipes

    given_options = [
        name
        for name in ("run", "pilot", "plan", "language", "audience", "without", "template", "keep")
        if _is_given(options, name)
    ]
    if options.recipe is not None:
        if given_options:
            raise InputError("--recipe says all of the report: leave out the other options, or leave out --recipe.")
        recipe = find_recipe(recipes.list_recipes(warehouse), options.recipe).recipe
        content = recipes.read_template(warehouse, recipe)
        if recipe.template is not None and content is None:
            raise InputError("The template {name} of this recipe is gone: name it again.", name=recipe.template)
        return recipe, content
    for section in options.without or ():
        if section not in SECTIONS:
            raise InputError(unknown_name("section", section, SECTIONS))
    path = getattr(options, "template", None)
    content = read_whole(path) if path else None
    plan_id = _selected_plan(options, warehouse)
    runs, pilot_id = ([], None) if plan_id else _selected_runs(options, warehouse)
    recipe = Recipe(
        name=options.keep or (options.pilot or ("layer plan" if plan_id else "report"))[:60],
        run_ids=tuple(runs),
        pilot_id=pilot_id,
        plan_id=plan_id,
        audience=options.audience or "management",
        language=options.language or "en",
        left_out=tuple(options.without or ()),
        template=path.name if path else None,
        template_sha256=hashlib.sha256(content).hexdigest() if content else None,
    )
    return recipe, content


def _is_given(options: argparse.Namespace, name: str) -> bool:
    return getattr(options, name, None) is not None


def _selected_plan(options: argparse.Namespace, warehouse: Warehouse) -> str | None:
    """The id of the requested layer plan, if any. Raises InputError if it is unknown or runs are requested as well."""
    from core.warehouse.layer_plans import find_plan

    if options.plan is None:
        return None
    if options.run or options.pilot:
        raise InputError("A report is of a layer plan, of a pilot or of runs: leave out --plan, or the others.")
    return find_plan(warehouse, options.plan).plan.plan_id


def _selected_runs(options: argparse.Namespace, warehouse: Warehouse) -> tuple[list[str], str | None]:
    """Ids of the requested runs on text, and the id of their pilot if one is named."""
    import polars as pl

    from core.analysis.ranking import newest_runs, own_runs, without_variants
    from core.pilots.registration import find_pilot
    from core.warehouse import queries

    runs = queries.runs(warehouse)
    pilot_id = None
    if options.pilot is not None:
        pilot = find_pilot(queries.pilots(warehouse).to_dicts(), options.pilot)
        pilot_id = pilot.pilot_id
        runs = runs.filter(pl.col("run_id").is_in(queries.pilot_run_ids(warehouse, pilot_id)))
        if runs.is_empty():
            raise InputError("The pilot {pilot} has no result yet: `workdim pilot FILE.toml`.", pilot=pilot.pilot.name)
    if options.run:
        return list(dict.fromkeys(find_run_id(runs["run_id"], start) for start in options.run)), pilot_id
    runs = newest_runs(without_variants(runs.filter(runs["pass"] == "text")))
    if runs.is_empty():
        raise InputError(
            "There are no runs to report on yet. Measure a model, or take in the profiles that come with Workdim: `workdim "
            "ingest --reference`."
        )
    reported = runs if pilot_id else own_runs(runs)
    if reported.is_empty():
        warn(
            Sentence(
                "There are no runs of your own yet: this report is of the profiles that come with Workdim, and says so."
            )
        )
        reported = runs
    return reported["run_id"].to_list(), pilot_id


def _load_template(recipe: Recipe, content: bytes | None) -> Template | None:
    from core.deck.template import open_template

    return in_language(recipe.language, open_template, content, recipe.template or "template") if content else None


def _save_recipe(options: argparse.Namespace, warehouse: Warehouse, report: Report, template: bytes | None) -> None:
    """Save the recipe with the numbers of this report, if requested; a saved recipe gets the new numbers."""
    from core.files import version
    from core.warehouse import recipes

    if options.recipe:
        old_numbers = recipes.recipe_numbers(warehouse, report.recipe.recipe_id)
        compared = recipes.compare_numbers(old_numbers, report.numbers)
        n, total = sum(comparison.state != "same" for comparison in compared), len(old_numbers)
        line = Sentence(
            "{n:,} of {of:,} numbers has changed since its last report.",
            "{n:,} of {of:,} numbers have changed since its last report.",
            n=n,
            of=total,
        )
        say(line)
    if options.keep or options.recipe:
        saved = recipes.save_recipe(warehouse, report.recipe, report.numbers, version(), template)
        say(
            Sentence(
                "The recipe {name} is kept as {id}, with {n} number.",
                "The recipe {name} is kept as {id}, with {n} numbers.",
                name=saved.recipe.name,
                id=saved.recipe_id,
                n=saved.n_numbers,
            )
        )


def _compare_with_now(
    warehouse: Warehouse, recipe: Recipe, numbers: Sequence[RecipeNumberRow]
) -> list[tuple[NumberComparison, str]]:
    """Each number with its state against the same report made now; all are gone, with a warning, if it cannot be made."""
    from core.warehouse import recipes

    try:
        now: Sequence[RecipeNumberRow] = make_report(warehouse, recipe).numbers
    except WorkdimError as error:
        warn(Sentence("The report cannot be made again: {reason}", reason=error))
        now = ()
    return [(comparison, str(comparison.state)) for comparison in recipes.compare_numbers(numbers, now)]


def _changed(comparisons: Sequence[tuple[NumberComparison, str]]) -> list[tuple[NumberComparison, str]]:
    return [(comparison, state) for comparison, state in comparisons if state != "same"]


def _exit_code(comparisons: Sequence[tuple[NumberComparison, str]]) -> int:
    """1 where a number is not what the warehouse gives, or not what was written."""
    return 1 if _changed(comparisons) else 0


# --- output ----------------------------------------------------------------------------------------------------


def _number_rows(comparisons: Sequence[tuple[NumberComparison, str]]) -> list[tuple[str, ...]]:
    """One row for each number; unchanged chart points from one column of one run share a row."""
    groups: dict[tuple, list[tuple[NumberComparison, str]]] = {}
    for number, (comparison, state) in enumerate(comparisons):
        row = comparison.row
        is_point = row.place == "chart" and state == "same"
        key = (row.slide, row.source_table, row.source_column, row.run_id) if is_point else (number,)
        groups.setdefault(key, []).append((comparison, state))
    table_rows: list[tuple[str, ...]] = []
    for group in groups.values():
        comparison, state = group[0]
        row = comparison.row
        source = ".".join(part for part in (row.source_table, row.source_column) if part) or _("no source")
        text = row.text if len(group) == 1 else _("{n} points").format(n=len(group))
        current = comparison.current_text or ("" if comparison.current is None else f"{comparison.current:.6g}")
        state_text = worded(STATES[state])
        state_text = (
            _("{name}: {problem}").format(name=state_text, problem=current)
            if state in ("changed", "edited") and current
            else state_text
        )
        table_rows.append((str(row.slide), row.place, text, source, row.run_id or "-", state_text))
    return table_rows


def _count_states(states: Sequence[str], n_added: int = 0) -> str:
    counts = Counter(states)
    parts = [f"{counts[state]:,} {worded(name).lower()}" for state, name in STATES.items() if counts[state]]
    if n_added:
        parts.append(_("{n:,} not made by Workdim").format(n=n_added))
    if not parts:
        return _("It shows no numbers.")
    return worded(Sentence("{n:,} number: {parts}.", "{n:,} numbers: {parts}.", n=len(states), parts=parts))


def _summary_json(comparisons: Sequence[tuple[NumberComparison, str]]) -> dict[str, object]:
    rows = [comparison.row for comparison, _state in comparisons]
    return {
        "n_numbers": len(rows),
        "n_stated": sum(row.source_table == STATED for row in rows),
        "changed": [_as_json(comparison, state) for comparison, state in _changed(comparisons)],
        "without_source": [
            _as_json(comparison, state) for comparison, state in comparisons if comparison.row.source_table is None
        ],
    }


def _as_json(comparison: NumberComparison, state: str) -> dict[str, object]:
    row = comparison.row
    return {
        "slide": row.slide,
        "slide_key": row.slide_key,
        "place": row.place,
        "text": row.text,
        "value": row.value,
        "table": row.source_table,
        "column": row.source_column,
        "run_id": row.run_id,
        "key": json.loads(row.source_key) if row.source_key else None,
        "state": state,
        "now": comparison.current,
        "text_now": comparison.current_text or None,
    }


def _recipe_json(recipe: Recipe) -> dict[str, object]:
    return {"recipe_id": recipe.recipe_id} | asdict(recipe)


def _require_ending(out: Path, ending: str, what: str) -> None:
    if out.suffix.lower() != ending:
        raise InputError(
            "{name} is no {what} file name. Name a file that ends in {ending} with --out.",
            name=out.name,
            what=what,
            ending=ending,
        )
