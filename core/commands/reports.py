"""The verbs of what leaves for others to read: slides, the HTML report, where their numbers come from, and recipes."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.commands.context import confirmed, existing_warehouse, number_of_runs, one_run, warn, write_out
from core.commands.runs import without_reference
from core.errors import InputError, ResourceError, Sentence, WorkdimError, sentences
from core.terminal.output import _, heads, joined, language, say, say_json, told
from core.terminal.tables import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from core.deck.deck_data import RunFrames
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
    "computed": Sentence("computed, not compared"),
    "edited": Sentence("EDITED in the file"),
}


HEADS = heads("slide", "place", "number", "source", "run", "now")


def slides(options: argparse.Namespace) -> int:
    from core.files import version

    _ends_with(options.out, ".pptx", "PowerPoint")
    warehouse = existing_warehouse(options)
    recipe, content = _recipe(options, warehouse)
    template = _opened(recipe, content)
    made = report_of(warehouse, recipe)
    drawn = made.powerpoint(version(), warehouse.folder.identity(), template)
    write_out(options.out, drawn)
    for line in template.remarks(language()) if template else ():
        warn(line)
    _keep(options, warehouse, made, content)
    n = len(made.story.slides) + len(made.story.appendix)
    of = Sentence("a layer plan") if recipe.plan_id else number_of_runs(len(recipe.run_ids))
    say(Sentence("{file}: {n} slides of {of}, {size:.0f} kB", file=options.out, n=n, of=of, size=len(drawn) / 1e3))
    return 0


def report(options: argparse.Namespace) -> int:
    """The same story as one HTML file, and on request the rows behind it."""
    from core.deck.html import MOST_BYTES
    from core.files import version
    from core.warehouse.export_runs import export_report_data

    _ends_with(options.out, ".html", "HTML")
    warehouse = existing_warehouse(options)
    recipe, content = _recipe(options, warehouse)
    made = report_of(warehouse, recipe)
    rows = options.bundle.name if options.bundle else ""
    page = made.page(version(), warehouse.folder.identity(), rows)
    if len(page) > MOST_BYTES:
        raise InputError(
            "The report of {n} runs would have {size:.1f} MB; one file has at most {largest:.0f} MB. Choose fewer runs "
            "with --run.",
            n=len(recipe.run_ids),
            size=len(page) / 1e6,
            largest=MOST_BYTES / 1e6,
        )
    if options.bundle:
        done = export_report_data(warehouse, made.numbers, made.story.run_ids or recipe.run_ids, options.bundle)
        say(Sentence("{file}: the rows behind it, {size:.0f} kB", file=done.path, size=done.n_bytes / 1e3))
    write_out(options.out, page)
    _keep(options, warehouse, made, content)
    say(f"{options.out}: {len(page) / 1e3:.0f} kB")
    return 0


def trace(options: argparse.Namespace) -> int:
    """Where each number of a deck comes from, and what the warehouse says of it now."""
    from core.deck.embedded_sources import read_sources
    from core.warehouse.recipes import compare_numbers

    carried = read_sources(_bytes(options.file), options.file.name)
    warehouse = existing_warehouse(options)
    about, recipe = carried.origin, carried.origin.recipe
    again = _again(warehouse, recipe)
    edited = {row.number for row in carried.edited}
    found = [
        (one, "edited" if one.row.number in edited else one.state)
        for one in compare_numbers(warehouse, carried.numbers, again)
    ]
    is_own = about.warehouse_id == warehouse.folder.identity()
    if options.json:
        say_json(
            {
                "recipe": recipe.recipe_id,
                "version": about.version,
                "warehouse": about.warehouse_id,
                "is_this_warehouse": is_own,
                "numbers": [_as_json(one, state) for one, state in found],
                "added": [{"slide": slide, "text": text} for slide, text in carried.added],
            }
        )
        return 0
    say(
        Sentence(
            "{file}: recipe {recipe}, Workdim {version}, warehouse {warehouse}",
            file=options.file.name,
            recipe=recipe.recipe_id,
            version=about.version,
            warehouse=about.warehouse_id,
        )
    )
    if not is_own:
        warn(Sentence("It was made from another warehouse; it is compared with this one."))
    say("", *table(HEADS, _lines(found)))
    for slide, text in carried.added:
        say(Sentence("slide {slide}: {text} was not made by Workdim", slide=slide, text=text))
    say("", _counted([state for _one, state in found], len(carried.added)))
    return 0


def listed(options: argparse.Namespace) -> int:
    from core.warehouse.recipes import list_recipes

    saved = list_recipes(existing_warehouse(options))
    if options.json:
        say_json([_recipe_json(one.recipe) | {"made_at": one.made_at, "n_numbers": one.n_numbers} for one in saved])
    elif not saved:
        say(Sentence("No recipe is kept yet: workdim slides --out FILE.pptx --keep NAME"))
    else:
        rows = [
            (
                one.recipe_id,
                one.recipe.name,
                one.recipe.pilot_id or one.recipe.plan_id or number_of_runs(len(one.recipe.run_ids)),
                f"{one.recipe.audience}, {one.recipe.language}",
                one.recipe.template or "-",
                f"{one.made_at:%Y-%m-%d}",
                one.n_numbers,
            )
            for one in saved
        ]
        say(*table(heads("recipe", "name", "of", "for", "template", "numbers of", "numbers"), rows))
    return 0


def check(options: argparse.Namespace) -> int:
    """Which numbers of a recipe's last report the warehouse would give differently now."""
    from core.pilots.recipe import find_recipe
    from core.warehouse import recipes

    warehouse = existing_warehouse(options)
    saved = find_recipe(recipes.list_recipes(warehouse), options.recipe)
    rows = recipes.recipe_numbers(warehouse, saved.recipe_id)
    found = [(one, str(one.state)) for one in recipes.compare_numbers(warehouse, rows, _again(warehouse, saved.recipe))]
    changed = [(one, state) for one, state in found if state in ("changed", "gone")]
    if options.json:
        say_json([_as_json(one, state) for one, state in changed])
        return 0
    if changed:
        say(*table(HEADS, _lines(changed)), "")
    counted = _counted([state for _one, state in found])
    made_at = f"{saved.made_at:%Y-%m-%d}"
    say(Sentence("{name}, numbers of {day}: {counted}", name=saved.recipe.name, day=made_at, counted=counted))
    return 0


def delete(options: argparse.Namespace) -> int:
    from core.pilots.recipe import find_recipe
    from core.warehouse import recipes

    warehouse = existing_warehouse(options)
    saved = find_recipe(recipes.list_recipes(warehouse), options.recipe)
    question = Sentence("Forget the recipe {name} ({id})?", name=saved.recipe.name, id=saved.recipe_id)
    if confirmed(question, options.yes):
        recipes.delete_recipe(warehouse, saved.recipe_id)
        gone = Sentence(
            "The recipe {name} is forgotten; reports that it made stay where they are.", name=saved.recipe.name
        )
        say(gone)
    return 0


# --- what a report is of ---------------------------------------------------------------------------------------


def report_of(warehouse: Warehouse, recipe: Recipe) -> Report:
    """The report of a recipe on what the warehouse holds now. Raises InputError where one of its runs is not there."""
    import polars as pl

    from core.analysis.differences import with_controls
    from core.analysis.question import RankingQuestion
    from core.commands.rank import answered
    from core.deck.deck_data import deck_data, plan_data
    from core.deck.report import build_report
    from core.pilots.registration import find_pilot
    from core.store.trash import is_deleted
    from core.warehouse import queries, recipes
    from core.warehouse.layer_plans import find_plan

    if recipe.plan_id is not None:
        return build_report(plan_data(find_plan(warehouse, recipe.plan_id), recipe.language), recipe)
    for run_id in recipes.missing_runs(warehouse, recipe)[:1]:
        if is_deleted(warehouse.folder, run_id):
            raise InputError("The run {run} of this recipe is in the trash: `workdim runs undelete {run}`.", run=run_id)
        raise InputError("The run {run} of this recipe is not in the warehouse.", run=run_id)
    known = queries.runs(warehouse)
    pilot = found = under = None
    if recipe.pilot_id is not None:
        pilot = find_pilot(queries.pilots(warehouse).to_dicts(), recipe.pilot_id)
        found, under = answered(warehouse, RankingQuestion(pilot=pilot), with_specifications=True)
    runs = with_controls(known.filter(pl.col("run_id").is_in(list(recipe.run_ids))), known)
    frames = read_frames(warehouse, runs)
    return build_report(deck_data(frames, recipe.language, pilot, pilot_answer=found, specifications=under), recipe)


def read_frames(warehouse: Warehouse, runs: pl.DataFrame) -> RunFrames:
    """What a report is made from, read of these runs."""
    from core.deck.deck_data import RunFrames
    from core.warehouse import layer_plans, queries

    ids, models = runs["run_id"].to_list(), runs["model_id"].to_list()
    with warehouse.open() as opened:
        plans = layer_plans.list_plans(opened).filter(_of(models))["plan_id"].to_list()
        frames = RunFrames(
            runs=runs,
            estimates=queries.estimates(opened, ids),
            correlators=queries.correlators(opened, ids),
            checks=queries.checks(opened, ids),
            summaries=queries.summaries(opened, ids),
            scores=queries.scores(opened),
            claims=queries.claims(opened, ids),
            extrema=queries.extrema(opened, ids),
            against_controls=queries.control_comparisons(opened, ids),
        )
    return replace(frames, plans=tuple(plan for one in plans if (plan := layer_plans.load_plan(warehouse, one))))


def _of(models: Sequence[str]) -> pl.Expr:
    import polars as pl

    return pl.col("model_id").is_in(list(models))


def _recipe(options: argparse.Namespace, warehouse: Warehouse) -> tuple[Recipe, bytes | None]:
    """What is asked for, or the kept recipe that is named, and the bytes of its template."""
    from core.pilots.recipe import Recipe, find_recipe
    from core.warehouse import recipes

    given = [
        name
        for name in ("chosen", "pilot", "plan", "language", "audience", "without", "template", "keep")
        if _given(options, name)
    ]
    if options.recipe is not None:
        if given:
            raise InputError("--recipe says all of the report: leave out the other options, or leave out --recipe.")
        kept = find_recipe(recipes.list_recipes(warehouse), options.recipe).recipe
        content = recipes.read_template(warehouse, kept)
        if kept.template is not None and content is None:
            raise InputError("The template {name} of this recipe is gone: name it again.", name=kept.template)
        return kept, content
    path = getattr(options, "template", None)
    content = _bytes(path) if path else None
    plan_id = _plan(options, warehouse)
    runs, pilot_id = ([], None) if plan_id else _chosen(options, warehouse)
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


def _given(options: argparse.Namespace, name: str) -> bool:
    return getattr(options, name, None) is not None


def _plan(options: argparse.Namespace, warehouse: Warehouse) -> str | None:
    """The id of the layer plan that is asked for. Raises InputError where it is none, or runs are asked for as well."""
    from core.warehouse.layer_plans import find_plan

    if options.plan is None:
        return None
    if options.chosen or options.pilot:
        raise InputError("A report is of a layer plan, of a pilot or of runs: leave out --plan, or the others.")
    return find_plan(warehouse, options.plan).plan.plan_id


def _chosen(options: argparse.Namespace, warehouse: Warehouse) -> tuple[list[str], str | None]:
    """The runs on text that are asked for, and the id of the pilot that they are results of, if it is of one."""
    import polars as pl

    from core.analysis.ranking import newest_runs, without_variants
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
    if options.chosen:
        return list(dict.fromkeys(one_run(runs["run_id"], start) for start in options.chosen)), pilot_id
    runs = newest_runs(without_variants(runs.filter(runs["pass"] == "text")))
    if runs.is_empty():
        raise InputError(
            "There are no runs to report on yet. Measure a model, or take in the profiles that come with Workdim: `workdim "
            "ingest --reference`."
        )
    own = runs if pilot_id else without_reference(runs)
    if own.is_empty():
        warn(
            Sentence(
                "There are no runs of your own yet: this report is of the profiles that come with Workdim, and says so."
            )
        )
        own = runs
    return own["run_id"].to_list(), pilot_id


def _opened(recipe: Recipe, content: bytes | None) -> Template | None:
    from core.deck.template import open_template

    return open_template(content, recipe.template or "template", recipe.language) if content else None


def _keep(options: argparse.Namespace, warehouse: Warehouse, made: Report, template: bytes | None) -> None:
    """The recipe with the numbers that it made just now, where that is asked for; a kept one takes the new numbers."""
    from core.files import version
    from core.warehouse import recipes

    if options.recipe:
        before = recipes.recipe_numbers(warehouse, made.recipe.recipe_id)
        compared = recipes.compare_numbers(warehouse, before, made.numbers)
        changed = [one for one in compared if one.state in ("changed", "gone")]
        n_left = sum(one.state == "computed" for one in compared)
        left = Sentence("{n:,} computed ones were not compared.", n=n_left) if n_left else ""
        n, of = len(changed), len(before)
        say(sentences(Sentence("{n:,} of {of:,} numbers have changed since its last report.", n=n, of=of), left))
    if options.keep or options.recipe:
        kept = recipes.save_recipe(warehouse, made.recipe, made.numbers, version(), template)
        say(
            Sentence(
                "The recipe {name} is kept as {id}, with {n} numbers.",
                name=kept.recipe.name,
                id=kept.recipe_id,
                n=kept.n_numbers,
            )
        )


def _again(warehouse: Warehouse, recipe: Recipe) -> Sequence[RecipeNumberRow] | None:
    """The numbers of the same report made now; None, and a line, where it cannot be made."""
    try:
        return report_of(warehouse, recipe).numbers
    except WorkdimError as error:
        warn(Sentence("What was computed is not compared: {reason}", reason=error))
        return None


# --- told ------------------------------------------------------------------------------------------------------


def _lines(found: Sequence[tuple[NumberComparison, str]]) -> list[tuple[str, ...]]:
    """One line for each number; the points of a chart that come from one column of one run are one line."""
    lines: dict[tuple, list[tuple[NumberComparison, str]]] = {}
    for number, (one, state) in enumerate(found):
        row = one.row
        is_point = row.place == "chart" and state == "same"
        key = (row.slide, row.source_table, row.source_column, row.run_id) if is_point else (number,)
        lines.setdefault(key, []).append((one, state))
    drawn: list[tuple[str, ...]] = []
    for of_line in lines.values():
        one, state = of_line[0]
        row = one.row
        source = ".".join(part for part in (row.source_table, row.source_column) if part) or _("computed")
        if row.source_table is None and row.source_column:
            source = _("computed: {what}").format(what=row.source_column)
        text = row.text if len(of_line) == 1 else _("{n} points").format(n=len(of_line))
        now = one.current_text or ("" if one.current is None else f"{one.current:.6g}")
        said = told(STATES[state])
        said = _("{name}: {problem}").format(name=said, problem=now) if state == "changed" and now else said
        drawn.append((str(row.slide), row.place, text, source, row.run_id or "-", said))
    return drawn


def _counted(states: Sequence[str], n_added: int = 0) -> str:
    counts = Counter(states)
    parts = [f"{counts[state]:,} {told(name).lower()}" for state, name in STATES.items() if counts[state]]
    if n_added:
        parts.append(_("{n:,} not made by Workdim").format(n=n_added))
    return (
        _("{n:,} numbers: {parts}.").format(n=len(states), parts=joined(parts)) if parts else _("It shows no numbers.")
    )


def _as_json(one: NumberComparison, state: str) -> dict[str, object]:
    row = one.row
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
        "now": one.current,
        "text_now": one.current_text or None,
    }


def _recipe_json(recipe: Recipe) -> dict[str, object]:
    return {"recipe_id": recipe.recipe_id} | asdict(recipe)


def _ends_with(out: Path, ending: str, what: str) -> None:
    if out.suffix.lower() != ending:
        raise InputError(
            "{name} is no {what} file name. Name a file that ends in {ending} with --out.",
            name=out.name,
            what=what,
            ending=ending,
        )


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise InputError("There is no file {file}. Check the path.", file=file) from error
    except OSError as error:
        raise ResourceError(
            "{file} cannot be read: {reason}.", file=file, reason=error.strerror or str(error)
        ) from error
