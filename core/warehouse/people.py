"""What people decide and keep, one file each (core.store.user_files): pilots, selection rules, saved queries, and recipes of
reports with the numbers of these.

A run belongs to a pilot through `pilot_runs`, because a run can serve several pilots, and through its `pilot_id`, which is
stored in its parcel, so that a warehouse rebuilt from parcels still knows what was measured for a pilot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import polars as pl

from core.errors import InputError, missing, unknown_name
from core.files import utc_now
from core.ids import typed_name
from core.pilots.pilot import PRESENTATION_FIELDS, OwnTask, Pilot, PilotModel, pilot_from_config
from core.pilots.saved import Recipe, Rule, SavedRecipe, SavedRule, recipe_from_row, rule_from_config
from core.store import user_files
from core.store.parcels import is_deleted, normalize_note
from core.tables import (
    TABLES,
    PilotRow,
    PilotRunRow,
    RecipeNumberRow,
    RecipeRow,
    RuleChoiceRow,
    RuleRow,
    SavedQueryRow,
    ScoreRow,
    frame,
    ids_of,
    records,
)
from core.warehouse.connection import Readable, first_column
from core.warehouse.warehouse import Warehouse

# --- pilots: registered once and never changed, with their own scores and the runs that are their results ------------

_PILOT = "pilot"
_LICENCE = "user's own"


def register_pilot(warehouse: Warehouse, pilot: Pilot) -> bool:
    """Register a pilot before it is measured; False if it is registered already.

    A registration never changes. Own scores may be added later, each once; InputError for another value. Who decides, by
    when, and translations follow the pilot's file.
    """
    with warehouse.update(_PILOT, pilot.pilot_id):
        now = datetime.now(UTC)
        known = user_files.read(warehouse.folder, _PILOT, pilot.pilot_id)
        tables = known or _new_tables(pilot, now)
        scores = _new_scores(pilot, tables["scores"], now)
        updated = tables["pilots"].with_columns(config=pl.lit(_updated_config(pilot, tables["pilots"]["config"][0])))
        if known is None or scores.height or not updated.equals(tables["pilots"]):
            user_files.write(
                warehouse.folder,
                _PILOT,
                pilot.pilot_id,
                tables | {"pilots": updated, "scores": pl.concat([tables["scores"], scores])},
            )
    return known is None


def add_runs(warehouse: Warehouse, pilot_id: str, run_ids: Sequence[str]) -> None:
    """Count these runs as results of a pilot, whatever they were measured for. Idempotent.

    Raises InputError for an unregistered pilot.
    """
    with warehouse.update(_PILOT, pilot_id):
        tables = user_files.read(warehouse.folder, _PILOT, pilot_id)
        if tables is None:
            raise InputError(missing("pilot", pilot_id, "pilot FILE.toml"))
        rows = frame([PilotRunRow(pilot_id, run_id) for run_id in run_ids], PilotRunRow)
        together = pl.concat([tables["pilot_runs"], rows]).unique(maintain_order=True)
        if together.height > tables["pilot_runs"].height:
            user_files.write(warehouse.folder, _PILOT, pilot_id, tables | {"pilot_runs": together})


def _updated_config(pilot: Pilot, registered: str) -> str:
    """The registered config with the pilot's present presentation fields; the same string if nothing changed."""
    before = pilot_from_config(registered)
    now = replace(before, **{name: getattr(pilot, name) for name in PRESENTATION_FIELDS})
    return registered if now == before else now.config()


def _new_tables(pilot: Pilot, registered_at: datetime) -> dict[str, pl.DataFrame]:
    row = PilotRow(
        pilot_id=pilot.pilot_id,
        name=pilot.name,
        use_class=pilot.use_class,
        models=[model.written for model in pilot.models],
        corpora=[text.written for text in pilot.texts],
        protocol=pilot.protocol,
        seed=pilot.seed,
        benchmark=pilot.benchmark.name,
        metric=pilot.benchmark.metric,
        config=pilot.config(),
        note=pilot.note,
        created_at=registered_at,
    )
    rows = {"pilots": [row], "pilot_runs": [], "scores": []}
    return {table: TABLES[table].frame(of_table) for table, of_table in rows.items()}


def _new_scores(pilot: Pilot, registered: pl.DataFrame, registered_at: datetime) -> pl.DataFrame:
    """The user's own scores that are not registered yet. Raises InputError if a registered one was changed."""
    columns = ("repository", "revision", "value", "std_error", "n_samples")
    known = {tuple(row[:2]): tuple(row[2:]) for row in registered.select(columns).iter_rows()}
    rows = []
    for model in {(model.reference, model.revision): model for model in pilot.models}.values():
        if pilot.task is None or model.score is None:
            continue
        before = known.get((model.reference, model.revision))
        now = (model.score.value, model.score.std_error, model.score.n_samples)
        if before is None:
            rows.append(_score_row(pilot, pilot.task, model, registered_at))
        elif before != now:
            raise InputError(
                "{written} is registered with {before} in {pilot_id}; the file says {now}. Put it back, or rename the pilot.",
                written=model.written,
                before=_format_score(before),
                pilot_id=pilot.pilot_id,
                now=_format_score(now),
            )
    return frame(rows, ScoreRow)


def _format_score(score: tuple[float, float | None, int | None]) -> list[str]:
    names = ("value", "std_error", "n_samples")
    return [f"{name} = {part}" for name, part in zip(names, score, strict=True) if part is not None]


def _score_row(pilot: Pilot, task: OwnTask, model: PilotModel, registered_at: datetime) -> ScoreRow:
    """`repository` is the model's reference, whether it is on the hub or not; `as_of` tells whether the score existed when
    the pilot was registered."""
    score = model.score
    assert score is not None
    return ScoreRow(
        repository=model.reference,
        revision=model.revision,
        benchmark=task.name,
        metric=task.metric,
        filter="none",
        suite=pilot.source,
        value=score.value,
        std_error=score.std_error,
        unit=task.unit,
        higher_is_better=task.higher_is_better,
        n_samples=score.n_samples,
        source=pilot.source,
        licence=_LICENCE,
        as_of=registered_at.isoformat(),
        file_sha256="",
    )


# --- selection rules with their choices, a file for each version of a rule -------------------------------------------

_RULE = "rule"


def list_rules(warehouse: Readable) -> list[SavedRule]:
    """Every rule by name, newest version first, with its choices, newest first."""
    rules = records(warehouse.read("FROM rules ORDER BY lower(name), name, version DESC"), RuleRow)
    rows = records(warehouse.read("FROM rule_choices ORDER BY chosen_at DESC, choice_id"), RuleChoiceRow)
    return [
        SavedRule(
            rule_from_config(row.config),
            row.version,
            row.created_at,
            tuple(c for c in rows if c.rule_id == row.rule_id),
        )
        for row in rules
    ]


def save_rule(warehouse: Warehouse, rule: Rule) -> SavedRule:
    """Save a rule; one that differs from others of its name becomes a further version.

    A rule that is saved already keeps its choices; only its note is updated. Raises InputError for an invalid name.
    """
    typed_name(rule.name)
    rule_id = rule.rule_id
    with warehouse.update(_RULE, rule_id) as connection:
        if user_files.exists(warehouse.folder, _RULE, rule_id):
            row, choices = _read(warehouse, rule_id)
            row = replace(row, note=rule.note, config=rule.config())
        else:
            (newest,) = first_column(connection, "SELECT max(version) FROM rules WHERE name = ?", [rule.name])
            task, choices = rule.task, []
            row = RuleRow(
                rule_id=rule_id,
                name=rule.name,
                version=(newest or 0) + 1,
                use_class=rule.use_class,
                task=task.name if task else None,
                metric=task.metric if task else None,
                config=rule.config(),
                note=rule.note,
                created_at=utc_now(),
            )
        _write(warehouse, row, choices)
    return SavedRule(rule, row.version, row.created_at, tuple(choices))


def add_choice(warehouse: Warehouse, choice: RuleChoiceRow) -> None:
    """Add a choice to the file of its rule."""
    with warehouse.update(_RULE, choice.rule_id):
        row, choices = _read(warehouse, choice.rule_id)
        _write(warehouse, row, [choice, *choices])


def set_outcome(
    warehouse: Warehouse, rule_id: str, choice_id: str, outcome: str | None, note: str | None = None
) -> RuleChoiceRow:
    """Record whether a choice proved right; None clears it. Raises InputError for an unknown choice."""
    now = utc_now()
    with warehouse.update(_RULE, rule_id):
        row, choices = _read(warehouse, rule_id)
        position = next((n for n, choice in enumerate(choices) if choice.choice_id == choice_id), None)
        if position is None:
            raise InputError(missing("choice", choice_id, "rules list"))
        outcome_at, outcome_note = (now, (note or "").strip() or None) if outcome else (None, None)
        choices[position] = replace(
            choices[position], outcome=outcome, outcome_at=outcome_at, outcome_note=outcome_note
        )
        _write(warehouse, row, choices)
        return choices[position]


def delete_rule(warehouse: Warehouse, rule_id: str) -> None:
    """Delete a version of a rule with its choices. Raises InputError for an unknown id."""
    _read(warehouse, rule_id)
    warehouse.delete(_RULE, rule_id)


def _read(warehouse: Warehouse, rule_id: str) -> tuple[RuleRow, list[RuleChoiceRow]]:
    """The content of the file, newest choice first."""
    tables = user_files.read(warehouse.folder, _RULE, rule_id)
    if tables is None:
        raise InputError(missing("rule", rule_id, "rules list"))
    (row,) = records(tables["rules"], RuleRow)
    choices = records(tables["rule_choices"], RuleChoiceRow)
    return row, sorted(choices, key=lambda choice: choice.chosen_at, reverse=True)


def _write(warehouse: Warehouse, row: RuleRow, choices: list[RuleChoiceRow]) -> None:
    user_files.write(warehouse.folder, _RULE, row.rule_id, {"rules": [row], "rule_choices": choices})


# --- recipes of reports with their numbers, and the comparison of these with what the report says now ----------------

MAX_TEMPLATE_BYTES = 8 * 2**20
"""A recipe is one file with its template, which is read whole."""
_RECIPE = "recipe"
State = Literal["same", "changed", "gone", "edited"]


@dataclass(frozen=True)
class NumberComparison:
    """A number of a report and what the same report, made now, has in its place."""

    row: RecipeNumberRow
    state: State
    """`gone`: the report of now has no number there that is of this source; `edited`: its file says another."""
    current: float | None = None
    current_text: str = ""


def list_recipes(warehouse: Readable) -> list[SavedRecipe]:
    """Every recipe, newest first."""
    sql = """
        SELECT recipes.*, (SELECT count(*) FROM recipe_numbers AS n WHERE n.recipe_id = recipes.recipe_id) AS n_numbers
        FROM recipes ORDER BY created_at DESC, recipe_id
    """
    found = warehouse.read(sql)
    return [
        SavedRecipe(recipe_from_row(row), row.code_version, row.made_at, row.created_at, n_numbers)
        for row, n_numbers in zip(records(found, RecipeRow), found["n_numbers"], strict=True)
    ]


def recipe_numbers(warehouse: Readable, recipe_id: str) -> list[RecipeNumberRow]:
    """The numbers of a recipe, in the order of its report."""
    rows = warehouse.read("FROM recipe_numbers WHERE recipe_id = ? ORDER BY number", [recipe_id])
    return records(rows, RecipeNumberRow)


def save_recipe(
    warehouse: Warehouse,
    recipe: Recipe,
    numbers: Sequence[RecipeNumberRow],
    version: str,
    template: bytes | None = None,
) -> SavedRecipe:
    """Save a recipe with the numbers of its report, which replace earlier ones.

    Raises InputError for a template that is too large.
    """
    if template and len(template) > MAX_TEMPLATE_BYTES:
        raise InputError(
            "{template} has {n_template:.0f} MB; {largest_template} can be kept. Shrink its pictures.",
            template=recipe.template,
            n_template=len(template) / 2**20,
            largest_template=MAX_TEMPLATE_BYTES // 2**20,
        )
    recipe_id, now = recipe.recipe_id, utc_now()
    with warehouse.update(_RECIPE, recipe_id):
        before = user_files.read(warehouse.folder, _RECIPE, recipe_id)
        created = before["recipes"]["created_at"].item() if before else now
        said: dict[str, Any] = asdict(recipe) | {"run_ids": list(recipe.run_ids)}
        row = RecipeRow(recipe_id=recipe_id, **said, code_version=version, made_at=now, created_at=created)
        own = [replace(number, recipe_id=recipe_id) for number in numbers]
        user_files.write(warehouse.folder, _RECIPE, recipe_id, {"recipes": [row], "recipe_numbers": own}, template)
    return SavedRecipe(recipe, version, now, created, len(own))


def read_template(warehouse: Warehouse, recipe: Recipe) -> bytes | None:
    """The company template of a recipe, if it has one."""
    return user_files.read_attachment(warehouse.folder, _RECIPE, recipe.recipe_id)


def compare_numbers(rows: Sequence[RecipeNumberRow], now: Sequence[RecipeNumberRow]) -> list[NumberComparison]:
    """Compare each number with that of the same source at the same place in the report of `now`, as both are written."""
    left: dict[tuple, deque[RecipeNumberRow]] = {}
    for row in now:
        left.setdefault(_address(row), deque()).append(row)
    comparisons = []
    for row in rows:
        found = left.get(_address(row))
        if not found:
            comparisons.append(NumberComparison(row, "gone"))
            continue
        current = found.popleft()
        state: State = "same" if current.text == row.text else "changed"
        comparisons.append(NumberComparison(row, state, current.value, current.text))
    return comparisons


def _address(row: RecipeNumberRow) -> tuple:
    """Where a number stands, and what it is of; which page of a section has it may change."""
    section = row.slide_key.rpartition("-")[0] if row.slide_key[-1:].isdigit() else row.slide_key
    return section, row.place, row.source_table, row.source_column, row.source_key


def check_runs(warehouse: Warehouse, recipe: Recipe) -> None:
    """Raises InputError where a run of the recipe is not in the warehouse."""
    sql = "SELECT run_id FROM (SELECT unnest(?::VARCHAR[]) AS run_id) WHERE run_id NOT IN (SELECT run_id FROM runs)"
    for run_id in ids_of(warehouse.read(sql, [list(recipe.run_ids)]))[:1]:
        if is_deleted(warehouse.folder, run_id):
            raise InputError("Run {run} of this report is in the trash: `workdim runs undelete {run}`.", run=run_id)
        raise InputError("The run {run} of this report is not in the warehouse.", run=run_id)


# --- saved queries ---------------------------------------------------------------------------------------------------

_QUERY = "query"


def list_queries(warehouse: Readable) -> list[SavedQueryRow]:
    """Every saved query, by name."""
    return records(warehouse.read("FROM saved_queries ORDER BY lower(name), name"), SavedQueryRow)


def find_query(warehouse: Warehouse, name: str) -> SavedQueryRow:
    """The query of this name. Raises InputError, which lists the existing ones."""
    saved = {row.name: row for row in list_queries(warehouse)}
    if name in saved:
        return saved[name]
    raise InputError(unknown_name("saved query", name, saved))


def save_query(
    warehouse: Warehouse, name: str, sql: str, note: str | None = None, replace: bool = False
) -> SavedQueryRow:
    """Save a statement, which was checked, under a name. Raises InputError if that is taken and not to be replaced."""
    row = SavedQueryRow(typed_name(name), sql.strip(), normalize_note(note or "") or None, utc_now())
    query_id = user_files.hash_name(row.name)
    with warehouse.update(_QUERY, query_id):
        if user_files.exists(warehouse.folder, _QUERY, query_id) and not replace:
            raise InputError(
                "A query '{name}' exists. Choose another name, or replace it with --replace.", name=row.name
            )
        user_files.write(warehouse.folder, _QUERY, query_id, {"saved_queries": [row]})
    return row


def delete_query(warehouse: Warehouse, name: str) -> None:
    """Delete a saved query. Raises InputError for an unknown name."""
    find_query(warehouse, name)
    warehouse.delete(_QUERY, user_files.hash_name(name))
