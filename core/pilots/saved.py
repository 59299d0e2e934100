"""What people keep to do it again: a rule, by which they choose between models, and a recipe, by which a report is made.

A rule is written down before choosing, so that it can be applied again and compared with the outcome; docs/decisions.md
shows such a file. A weight counts as its share of all weights. A rule with any other content is another version of its name.
A recipe is compared with what is known since.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict, field, fields
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomli_w
from pydantic import Field, Strict, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from core.errors import InputError, Sentence, unknown_name
from core.ids import only_id, typed_name
from core.pilots.pilot import NOT_EMPTY, NamesScore, UseClass, find_saved, hashed_id
from core.tables import RecipeRow, RuleChoiceRow
from core.validation import (
    MODEL_CONFIG,
    Number,
    PositiveNumber,
    Text,
    Whole,
    from_config,
    parse_toml,
    read_toml,
    validate,
)

Quantity = Literal["score", "bits_per_byte", "parameters", "memory", "speed", "price", "dimension", "final_dimension"]
QUANTITIES: tuple[str, ...] = get_args(Quantity)
DIMENSIONS = ("dimension", "final_dimension")
"""Quantities that support a choice only with reservations."""
Direction = Literal["higher", "lower"]
DIRECTIONS: dict[str, Direction] = {
    "bits_per_byte": "lower",
    "parameters": "lower",
    "memory": "lower",
    "speed": "higher",
    "price": "lower",
    "dimension": "lower",
    "final_dimension": "lower",
}
"""Direction to prefer if a rule does not state one; for a score, its benchmark states it.

For dimensions this is the published expectation (arXiv 2503.22547: a smaller working dimension goes with better
performance).
"""

OUTCOMES = ("right", "wrong")
"""What becomes known of a choice."""

_Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False, description=Sentence("a number above 0"))]
_Share = Annotated[float, Strict(), Field(gt=0, le=1, description=Sentence("a number above 0, 1 at most"))]
_Count = Annotated[int, Strict(), Field(gt=0, lt=2**53, description=Sentence("a whole number from 1 on"))]


@dataclass(frozen=True, config=MODEL_CONFIG)
class TaskName(NamesScore):
    """A benchmark; fields left out match anything."""

    name: Text
    metric: Text | None = None
    filter: Text | None = None
    n_shot: Whole | None = None


@dataclass(frozen=True, config=MODEL_CONFIG)
class Criterion:
    of: Quantity
    benchmark: TaskName | None = None
    """For a score: use this benchmark, whatever the task is."""
    direction: Direction | None = None
    weight: PositiveNumber = 0.0
    at_least: Number | None = None
    at_most: Number | None = None

    @model_validator(mode="after")
    def _belongs_together(self) -> Criterion:
        if self.benchmark and self.of != "score":
            raise ValueError(Sentence("benchmark is for a score, not for {of}", of=self.of))
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(Sentence("at_least is above at_most"))
        return self


@dataclass(frozen=True, config=MODEL_CONFIG)
class Assumptions:
    """What memory and price are computed from, besides the models themselves. None of it is measured."""

    bits: _Positive = 16.0
    """Per weight; with the scales of their blocks, 4-bit formats need about 4.5."""
    cache_bits: _Positive = 16.0
    """Per number of the key-value cache."""
    cache_share: _Share = 1.0
    """Width of the keys (and of the values) as a share of the hidden size, for models that do not state theirs.

    1 is the maximum: each attention head has its own. 0.25 means that four heads share one.
    """
    context_tokens: _Count = 4096
    requests: _Count = 1
    """Requests answered at once, each with its own cache."""
    overhead: PositiveNumber = 0.1
    """Memory besides weights and cache, as a share of the two."""
    tokens_per_month: _Count = 100_000_000
    """Tokens that are read."""
    utilisation: _Share = 0.5
    """Share of the paid hours in which the machine reads."""
    price_per_hour: PositiveNumber | None = None
    """For the machine that the speeds were measured on; without it no price is computed."""
    currency: Text = "USD"
    speeds: dict[Text, _Positive] = field(default_factory=dict, hash=False)
    """Model reference -> tokens read per second, the user's own figure; it replaces the measured one."""


@dataclass(frozen=True, config=MODEL_CONFIG)
class Rule:
    name: Text
    use_class: UseClass
    criteria: Annotated[tuple[Criterion, ...], Field(min_length=1, description=NOT_EMPTY)]
    task: TaskName | None = None
    assumptions: Assumptions = field(default_factory=Assumptions)
    note: Text | None = None

    @model_validator(mode="after")
    def _can_choose(self) -> Rule:
        names = [(criterion.of, criterion.benchmark) for criterion in self.criteria]
        if len(set(names)) < len(names):
            raise ValueError(Sentence("criteria name a quantity twice"))
        if not any(criterion.weight for criterion in self.criteria):
            raise ValueError(Sentence("criteria give no weight to anything"))
        return self

    @property
    def rule_id(self) -> str:
        """`small-and-good-1f3a9c02`: the name, and a hash of the whole rule except its note."""
        content = {key: value for key, value in asdict(self).items() if key != "note"}
        return hashed_id(self.name, content, "rule")

    def config(self) -> str:
        """The rule as JSON; `rule_from_config` reads it back."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True)
class SavedRule:
    """A rule as stored in the warehouse."""

    rule: Rule
    version: int
    """Counted among the rules with its name."""
    at: datetime
    """Time in UTC."""
    choices: tuple[RuleChoiceRow, ...] = ()
    """What it chose, newest first."""

    @property
    def rule_id(self) -> str:
        return self.rule.rule_id


_RULE = TypeAdapter(Rule)


def rule_from_config(text: str) -> Rule:
    """Read a rule that `Rule.config` wrote. Raises ValueError for any other text."""
    return from_config(_RULE, text)


def find_rule(saved: Sequence[SavedRule], query: str) -> SavedRule:
    """The rule with this id, with the only id that begins or ends so, or the newest version with this name.

    Raises InputError with the near names.
    """
    newest_last = [(one.rule.name, one.rule_id, one) for one in sorted(saved, key=lambda one: one.version)]
    return find_saved(newest_last, query, Sentence("rule"), "rules save FILE.toml")


def find_choice(saved: Sequence[SavedRule], query: str) -> tuple[SavedRule, RuleChoiceRow]:
    """The choice whose id is this, or the only one that begins or ends so, and its rule. Raises InputError."""
    by_id = {choice.choice_id: (rule, choice) for rule in saved for choice in rule.choices}
    return by_id[only_id(by_id, query, "choice", "rules list")]


def read_rule(file: Path) -> Rule:
    """Read a rule from a TOML file. Raises InputError, with the file, the key and what is allowed there."""
    return validate(Rule, read_toml(Path(file), Sentence("rule file")), Path(file))


def parse_rule(text: str | bytes, file: Path = Path("rule.toml")) -> Rule:
    """Read a rule from the text of such a file. Raises InputError."""
    return validate(Rule, parse_toml(text, file), file)


def to_toml(rule: Rule) -> str:
    """The rule as the text of such a file, without values that are defaults."""
    return tomli_w.dumps(_RULE.dump_python(rule, mode="json", exclude_defaults=True))


# --- recipes of reports ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
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
            if name is not None:
                typed_name(name)
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


@dataclasses.dataclass(frozen=True)
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
    newest_last = [(one.recipe.name, one.recipe_id, one) for one in sorted(saved, key=lambda one: one.created_at)]
    return find_saved(newest_last, query, Sentence("kept report"), "slides --out FILE.pptx --keep NAME")
