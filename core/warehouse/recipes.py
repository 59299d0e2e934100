"""Saved report recipes with the numbers of their reports, and the comparison of these numbers with the warehouse."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from core.errors import InputError
from core.pilots.saved import Recipe, SavedRecipe, recipe_from_row
from core.store import user_files
from core.store.parcels import is_deleted
from core.tables import RecipeNumberRow, RecipeRow, ids_of, records
from core.warehouse.connection import Readable
from core.warehouse.warehouse import Warehouse

MAX_TEMPLATE_BYTES = 8 * 2**20
"""Bytes: a recipe is one file with its template, which is read whole."""
_KIND = "recipe"
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
    if template is not None and len(template) > MAX_TEMPLATE_BYTES:
        raise InputError(
            "{template} has {n_template:.0f} MB; {largest_template} can be kept. Shrink its pictures.",
            template=recipe.template,
            n_template=len(template) / 2**20,
            largest_template=MAX_TEMPLATE_BYTES // 2**20,
        )
    recipe_id, now = recipe.recipe_id, datetime.now(UTC).replace(tzinfo=None)
    with warehouse.update(_KIND, recipe_id):
        before = user_files.read(warehouse.folder, _KIND, recipe_id)
        created = before["recipes"]["created_at"].item() if before else now
        said: dict[str, Any] = asdict(recipe) | {"run_ids": list(recipe.run_ids)}
        row = RecipeRow(recipe_id=recipe_id, **said, code_version=version, made_at=now, created_at=created)
        own = [replace(number, recipe_id=recipe_id) for number in numbers]
        user_files.write(warehouse.folder, _KIND, recipe_id, {"recipes": [row], "recipe_numbers": own}, template)
    return SavedRecipe(recipe, version, now, created, len(own))


def read_template(warehouse: Warehouse, recipe: Recipe) -> bytes | None:
    """The company template of a recipe, if it has one."""
    return user_files.read_attachment(warehouse.folder, _KIND, recipe.recipe_id)


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
