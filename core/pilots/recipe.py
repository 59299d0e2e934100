"""A recipe: what a report is made of, so that it can be made again and compared with what is known since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import date, datetime
from functools import cached_property
from typing import Any

from core.errors import InputError, Sentence, nothing_yet, unknown_name
from core.pilots.pilot import find_saved, hashed_id
from core.tables import RecipeRow

MAX_NAME = 80


@dataclass(frozen=True)
class Recipe:
    name: str
    run_ids: tuple[str, ...]
    """Runs on text; their controls are added automatically. Empty for a report on a layer plan."""
    pilot_id: str | None = None
    choice_id: str | None = None
    """A choice that a rule made."""
    plan_id: str | None = None
    language: str = "en"
    appendix: bool = False
    """Whether method, values, checks, words and queries follow the five slides."""
    decided_by: str | None = None
    decide_by: str | None = None
    """Who decides, and by which day, as 2026-11-25; where nobody is named, as the pilot says."""
    template: str | None = None
    """File name of the company template."""
    template_sha256: str | None = None

    def __post_init__(self) -> None:
        if self.language not in ("en", "ja"):
            raise InputError(unknown_name("language", self.language[:20], ("en", "ja")))
        for name in (self.name, self.decided_by):
            if name is not None and (not name.strip() or len(name) > MAX_NAME or not name.isprintable()):
                raise InputError("A name has 1 to {most} visible characters on one line.", most=MAX_NAME)
        _read_day(self.decide_by)

    @property
    def day(self) -> date | None:
        """By which is decided."""
        return _read_day(self.decide_by)

    @cached_property
    def recipe_id(self) -> str:
        """`board-in-june-1f3a9c02`: the name, and a hash of the whole recipe."""
        return hashed_id(self.name, asdict(self), "recipe")


def _read_day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise InputError("{day} is no day, as 2026-11-25.", day=text) from error


@dataclass(frozen=True)
class SavedRecipe:
    """A recipe as stored in the warehouse."""

    recipe: Recipe
    code_version: str
    """Version of Workdim when the numbers were taken."""
    made_at: datetime
    created_at: datetime
    """Both times are in UTC."""
    n_numbers: int = field(default=0, compare=False)

    @property
    def recipe_id(self) -> str:
        return self.recipe.recipe_id


def recipe_from_row(row: RecipeRow) -> Recipe:
    """Read a row of the table `recipes`. Raises InputError for one that no recipe was written as."""
    said: dict[str, Any] = {one.name: getattr(row, one.name) for one in fields(Recipe)}
    return Recipe(**said | {"run_ids": tuple(row.run_ids)})


def find_recipe(saved: Sequence[SavedRecipe], query: str) -> SavedRecipe:
    """The recipe with this id, with the only id that begins or ends so, or the newest with this name. Raises InputError."""
    if not saved:
        raise InputError(nothing_yet("slides --out FILE.pptx --keep NAME"))
    newest_last = sorted(saved, key=lambda recipe: recipe.created_at)
    return find_saved([(one.recipe.name, one.recipe_id, one) for one in newest_last], query, Sentence("kept report"))
