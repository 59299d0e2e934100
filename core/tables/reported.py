"""Rows of what leaves the app as a report: the recipes that people keep, and every number of what they made of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from core.tables.columns import Column

_UTC = "UTC."


@dataclass(frozen=True)
class RecipeRow:
    """How a report is made, so that it can be made again."""

    recipe_id: Annotated[str, Column("Its name and a hash of what it says.", key=True)]
    name: Annotated[str, Column("Name given by people.")]
    pilot_id: Annotated[str | None, Column("The pilot that it reports on (pilots.pilot_id); NULL for single runs.")]
    plan_id: Annotated[str | None, Column("The layer plan that it reports on (plans.plan_id); NULL for all others.")]
    run_ids: Annotated[list[str], Column("The runs on text that it tells of (runs.run_id).")]
    audience: Annotated[str, Column("management or analysts.", values="audience")]
    language: Annotated[str, Column("en or ja.", values="language")]
    left_out: Annotated[list[str], Column("Sections of the appendix that it goes without.")]
    template: Annotated[str | None, Column("File name of the company template; NULL for Workdim's own.")]
    template_sha256: Annotated[str | None, Column("Hash of that file.")]
    code_version: Annotated[str, Column("Version of Workdim that made the numbers.")]
    made_at: Annotated[datetime, Column("When the numbers were taken, UTC.")]
    created_at: Annotated[datetime, Column(_UTC)]


@dataclass(frozen=True)
class RecipeNumberRow:
    """One number of a report as it was made, and where it stands in the warehouse."""

    recipe_id: Annotated[str, Column("The recipe (recipes.recipe_id).", key=True)]
    number: Annotated[int, Column("Place of the number in the report, from 1.", key=True)]
    slide: Annotated[int, Column("Slide, from 1.")]
    slide_key: Annotated[str, Column("What that slide is.")]
    place: Annotated[str, Column("title, statement, table, chart or blocks.")]
    text: Annotated[str, Column("The number as it is written there.")]
    value: Annotated[float, Column("The number: as it is stored, or as it is written where it was computed.")]
    source_table: Annotated[str | None, Column("Table that holds it; NULL where it was computed from several rows.")]
    source_column: Annotated[str | None, Column("Its column, or the name of what was computed, if it has one.")]
    run_id: Annotated[str | None, Column("The run that it is of; NULL where it is of several.")]
    source_key: Annotated[str | None, Column("JSON object: the key of the row that holds it.")] = None
