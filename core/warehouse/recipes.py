"""Saved report recipes with the numbers of their reports, and the comparison of these numbers with the warehouse."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import polars as pl

from core.errors import InputError
from core.pilots.recipe import Recipe, SavedRecipe, recipe_from_row
from core.store import user_files
from core.tables import TABLES, RecipeNumberRow, RecipeRow
from core.warehouse import schema
from core.warehouse.connection import Readable
from core.warehouse.warehouse import Warehouse

MAX_TEMPLATE_BYTES = 8 * 2**20
"""Bytes: a recipe is one file with its template, which is read whole."""
_KIND = "recipe"
_SELECTIVE_KEYS = ("run_id", "plan_id", "model_id", "repository")
"""Key columns that select few rows."""
_RELATIVE_TOLERANCE = 1e-6
"""The DuckDB file holds the long tables in single precision."""
State = Literal["same", "changed", "gone", "no_source"]


@dataclass(frozen=True)
class NumberComparison:
    """A number of a report and its present value."""

    row: RecipeNumberRow
    state: State
    """`gone`: its run or row no longer exists; `no_source`: no source is kept, and the report was not made again."""
    current: float | None = None
    current_text: str = ""
    """The present text of a recomputed number."""


def list_recipes(warehouse: Readable) -> list[SavedRecipe]:
    """Every recipe, newest first."""
    sql = """
        SELECT recipes.*, (SELECT count(*) FROM recipe_numbers AS n WHERE n.recipe_id = recipes.recipe_id) AS n_numbers
        FROM recipes ORDER BY created_at DESC, recipe_id
    """
    return [
        SavedRecipe(recipe_from_row(row), row["code_version"], row["made_at"], row["created_at"], row["n_numbers"])
        for row in warehouse.read(sql).to_dicts()
    ]


def recipe_numbers(warehouse: Readable, recipe_id: str) -> list[RecipeNumberRow]:
    """The numbers of a recipe, in the order of its report."""
    rows = warehouse.read("FROM recipe_numbers WHERE recipe_id = ? ORDER BY number", [recipe_id])
    return TABLES["recipe_numbers"].rows(rows)


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
            "{template} has {n_template:.0f} MB; a recipe keeps templates of up to {largest_template} MB. Make "
            "pictures in it smaller, or make the report without keeping it.",
            template=recipe.template,
            n_template=len(template) / 2**20,
            largest_template=MAX_TEMPLATE_BYTES // 2**20,
        )
    recipe_id, now = recipe.recipe_id, datetime.now(UTC).replace(tzinfo=None)
    with warehouse.update(_KIND, recipe_id):
        created = now
        if user_files.exists(warehouse.folder, _KIND, recipe_id):
            (before,) = TABLES["recipes"].rows(user_files.read(warehouse.folder, _KIND, recipe_id)["recipes"])
            created = before.created_at
        row = RecipeRow(
            recipe_id=recipe_id,
            name=recipe.name,
            pilot_id=recipe.pilot_id,
            plan_id=recipe.plan_id,
            run_ids=list(recipe.run_ids),
            audience=recipe.audience,
            language=recipe.language,
            left_out=list(recipe.left_out),
            template=recipe.template,
            template_sha256=recipe.template_sha256,
            code_version=version,
            made_at=now,
            created_at=created,
        )
        own = [replace(number, recipe_id=recipe_id) for number in numbers]
        tables = {"recipes": TABLES["recipes"].frame([row]), "recipe_numbers": TABLES["recipe_numbers"].frame(own)}
        user_files.write(warehouse.folder, _KIND, recipe_id, tables, template)
    return SavedRecipe(recipe, version, now, created, len(own))


def read_template(warehouse: Warehouse, recipe: Recipe) -> bytes | None:
    """The company template of a recipe, if it has one."""
    if recipe.template is None:
        return None
    try:
        return user_files.read_attachment(warehouse.folder, _KIND, recipe.recipe_id)
    except FileNotFoundError:
        return None


def delete_recipe(warehouse: Warehouse, recipe_id: str) -> None:
    """Delete a recipe with its numbers; reports made by it stay."""
    with warehouse.update(_KIND, recipe_id):
        user_files.delete(warehouse.folder, _KIND, recipe_id)


def compare_numbers(
    warehouse: Warehouse, rows: Sequence[RecipeNumberRow], recomputed: Sequence[RecipeNumberRow] | None = None
) -> list[NumberComparison]:
    """Compare each number with its source row; those without a source with the `recomputed` report, if there is one.

    The rows may come from anybody's file: only declared tables and columns are queried.
    """
    with warehouse.open() as opened:
        stored = _current_values(opened, rows)
    new_places = _by_place(recomputed or ())
    places = _by_place(rows)
    comparisons = []
    for index, row in enumerate(rows):
        if _source(row) is not None:
            comparisons.append(_compare_with_row(row, stored(row)))
            continue
        where = (row.slide_key, row.place)
        old_rows, new_rows = places[where], new_places.get(where, [])
        if recomputed is None or len(old_rows) != len(new_rows):
            comparisons.append(NumberComparison(row, "no_source"))
        else:
            now = new_rows[old_rows.index((index, row))][1]
            comparisons.append(
                NumberComparison(row, "same" if now.text == row.text else "changed", now.value, now.text)
            )
    return comparisons


def missing_runs(warehouse: Readable, recipe: Recipe) -> list[str]:
    """Runs of a recipe that are not in the warehouse."""
    sql = "SELECT run_id FROM (SELECT unnest(?::VARCHAR[]) AS run_id) WHERE run_id NOT IN (SELECT run_id FROM runs)"
    return warehouse.read(sql, [list(recipe.run_ids)])["run_id"].to_list()


def _by_place(rows: Sequence[RecipeNumberRow]) -> dict[tuple[str, str], list[tuple[int, RecipeNumberRow]]]:
    by_place: dict[tuple[str, str], list[tuple[int, RecipeNumberRow]]] = {}
    for index, row in enumerate(rows):
        by_place.setdefault((row.slide_key, row.place), []).append((index, row))
    return by_place


def _compare_with_row(row: RecipeNumberRow, now: float | None) -> NumberComparison:
    if now is None:
        return NumberComparison(row, "gone")
    is_same = math.isclose(row.value, now, rel_tol=_RELATIVE_TOLERANCE, abs_tol=1e-12)
    return NumberComparison(row, "same" if is_same else "changed", now)


def _source(row: RecipeNumberRow) -> tuple[str, str, dict[str, Any]] | None:
    """Table, column and key of a number; None unless all of them are declared."""
    table = TABLES.get(row.source_table or "")
    if table is None or row.source_column not in table.names or row.source_key is None:
        return None
    try:
        key = json.loads(row.source_key)
    except (ValueError, RecursionError):
        return None
    if not isinstance(key, dict) or not key:
        return None
    fits = all(name in table.names and _fits_type(table.schema[name], value) for name, value in key.items())
    fits = fits and not isinstance(key[next((name for name in _SELECTIVE_KEYS if name in key), min(key))], list)
    return (table.name, str(row.source_column), key) if fits else None


def _fits_type(kind: pl.DataType, value: Any) -> bool:
    """Whether a column of this type can hold the value."""
    if isinstance(value, bool) or value is None:
        return value is None or kind == pl.Boolean
    if isinstance(value, list):
        return kind == pl.List(pl.Int64) and all(isinstance(item, int) for item in value)
    return isinstance(value, str) if kind == pl.String else isinstance(value, int) and kind == pl.Int64


def _current_values(opened: Readable, rows: Sequence[RecipeNumberRow]) -> Callable[[RecipeNumberRow], float | None]:
    """A lookup of the present values of these numbers; one query for each table and set of key columns."""
    queries: dict[tuple[str, tuple[str, ...]], list[tuple[str, dict[str, Any]]]] = {}
    for row in rows:
        if (source := _source(row)) is not None:
            table, column, key = source
            queries.setdefault((table, tuple(sorted(key))), []).append((column, key))
    held: dict[tuple[str, str, str], float] = {}
    for (table, names), wanted in queries.items():
        columns = sorted({column for column, _key in wanted})
        first = next((name for name in _SELECTIVE_KEYS if name in names), names[0])
        values = list(dict.fromkeys(key[first] for _column, key in wanted))
        chosen = ", ".join(map(schema.quoted, dict.fromkeys([*names, *columns])))
        marks = ", ".join("?" * len(values))
        sql = f"SELECT {chosen} FROM {table} WHERE {schema.quoted(first)} IN ({marks})"
        for source_row in opened.read(sql, values).iter_rows(named=True):
            where = _key_text({name: source_row[name] for name in names})
            for column in columns:
                if isinstance(source_row[column], int | float):
                    held[table, column, where] = float(source_row[column])

    def stored(row: RecipeNumberRow) -> float | None:
        source = _source(row)
        return None if source is None else held.get((source[0], source[1], _key_text(source[2])))

    return stored


def _key_text(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True, default=str)
