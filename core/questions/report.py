"""What a report is of: what its recipe names, read from the warehouse, and the questions that it answers; the same for the
page Share and the verbs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.pilots.pilot import RegisteredPilot, find_pilot
from core.pilots.saved import Recipe, SavedRule, find_choice
from core.questions import choice as choice_question
from core.questions import evidence as evidence_question
from core.questions import selection as selection_question
from core.questions.choice import PilotChoice
from core.questions.ranking_answer import Answer
from core.questions.selection import Selection
from core.records import LayerPlan
from core.sources import derived
from core.tables import PilotRow, records
from core.warehouse import queries, recipes
from core.warehouse.rules import list_rules
from core.warehouse.runs import find_plan
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class AskedRule:
    """A rule and what it says of the models that it once chose among, by the values of today."""

    saved: SavedRule
    answer: PilotChoice

    @property
    def bits(self) -> float:
        """Per weight, as the rule assumes."""
        return derived(self.saved.rule.assumptions.bits, "rules", "bits")


@dataclass(frozen=True)
class Runs:
    """What a report of runs says: all that is stored of them, and what a rule or a pilot asked of them."""

    measured: Selection
    pilot: RegisteredPilot | None = None
    answers: Sequence[Answer] = ()
    """To the question of the pilot, or of the one that ships: the one that is asked, then those on other texts."""
    choice: AskedRule | None = None


def ask(warehouse: Warehouse, recipe: Recipe) -> LayerPlan | Runs:
    """Raises InputError where the plan, a run, the pilot or the choice of the recipe is gone."""
    if recipe.plan_id is not None:
        return find_plan(warehouse, recipe.plan_id)
    pilot = find_pilot(records(queries.pilots(warehouse), PilotRow), recipe.pilot_id) if recipe.pilot_id else None
    recipes.check_runs(warehouse, recipe)
    measured = selection_question.ask(warehouse, recipe.run_ids)
    if recipe.choice_id is not None:
        saved, made = find_choice(list_rules(warehouse), recipe.choice_id)
        return Runs(measured, choice=AskedRule(saved, choice_question.ask_again(warehouse, saved.rule, made)))
    return Runs(measured, pilot, evidence_question.ask_for_report(warehouse, pilot, measured.runs))
