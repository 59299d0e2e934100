"""Analysis of stored layer plans: what another budget allows, how well rules predicted costs, and exports to other
programs (layer map, mergekit recipe, commands)."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal

import numpy as np

from core.analysis.resampling import spearman
from core.records import LOCAL, LayerPlan, PlanConfig, stretches, text_budget
from core.tables import PlanOutcomeRow, PlanRow

_plan_id = attrgetter("plan_id")
PUBLISHED = ("influence", "last_angle", "angle", "contiguous")
"""Rules from the literature, priced beside the search in every plan."""
FEWEST_SETS = 8
"""Fewest sets of one size for a rank correlation between predicted and actual cost."""


@dataclass(frozen=True)
class BudgetResult:
    """The set of blocks that a budget allows, by the stored prices of a plan."""

    price: PlanOutcomeRow | None
    """The largest set whose upper limit is under the budget; None if there is none."""
    cheapest: PlanOutcomeRow
    """The smallest set, reported where no set is allowed."""
    is_plan: bool
    """Whether the set is the plan's own, which was compared with random sets, harder texts and probes."""
    is_unsure: bool = False
    """Whether no set is allowed although the smallest is estimated within the budget: its upper limit is not."""


def has_given_blocks(plan: PlanRow) -> bool:
    """Whether the user named the blocks: then there was no search, and nothing is known of other sets."""
    return bool(json.loads(plan.config).get("remove"))


def unhealed_price(layer_plan: LayerPlan) -> PlanOutcomeRow | None:
    """The price of a healed plan's set before healing, comparable with its rivals; None for a plan that is not healed."""
    return layer_plan.own_price(is_healed=False) if layer_plan.plan.is_healed else None


def seconds(plan: PlanRow) -> tuple[float, float] | None:
    """To read a prompt and write some tokens, with all blocks and without the plan's; None if it was not measured."""
    before = (plan.prefill_seconds_before, plan.generation_seconds_before)
    after = (plan.prefill_seconds_after, plan.generation_seconds_after)
    if None in before or None in after:
        return None
    return sum(filter(None, before)), sum(filter(None, after))


def time_saved_share(plan: PlanRow) -> float | None:
    """The share of these seconds that is saved."""
    taken = seconds(plan)
    return None if taken is None else 1 - taken[1] / taken[0]


def parameters_saved_share(plan: PlanRow, n_blocks: int) -> float:
    """The share of the parameters in `n_blocks` blocks, taken as equally large."""
    per_block = (plan.parameters_before - plan.parameters_after) / max(1, len(plan.blocks))
    return n_blocks * per_block / plan.parameters_before


def search_path(layer_plan: LayerPlan) -> list[PlanOutcomeRow]:
    """The price of each number of blocks along the search."""
    return sorted(layer_plan.of(layer_plan.decisive_text, "loss", "path"), key=lambda row: len(row.blocks))


def search_steps(layer_plan: LayerPlan, *, repaired: bool = True) -> list[PlanOutcomeRow]:
    """The search's cheapest set of each size, smallest first, with the plan's own set at its size.

    Not `repaired`: none of them, nor the plan. Else a repaired set of the plan's size stands before a dearer plan.
    """
    by_size: dict[int, PlanOutcomeRow] = {}
    for row in search_path(layer_plan):
        if repaired or not row.is_healed:
            by_size[len(row.blocks)] = min(row, by_size.get(len(row.blocks), row), key=upper_limit)
    price = layer_plan.price if repaired else unhealed_price(layer_plan) or layer_plan.price
    rival = by_size.pop(len(price.blocks), price)
    is_cheaper = rival.is_healed and not price.is_healed and upper_limit(rival) < upper_limit(price)
    steps = [*by_size.values(), *([rival] if is_cheaper else []), price]
    return sorted(steps, key=lambda row: len(row.blocks))


def upper_limit(row: PlanOutcomeRow) -> float:
    """The upper 95 percent limit of a price; the price itself without a limit."""
    limit = row.difference if row.upper is None else row.upper
    return math.inf if limit is None else limit


def sets_within_budget(layer_plan: LayerPlan, budget: float) -> BudgetResult:
    """The largest set of blocks that may go for `budget` nats per token."""
    all_steps, chosen = search_steps(layer_plan), layer_plan.price
    allowed = [row for row in all_steps if upper_limit(row) < budget]
    price = allowed[-1] if allowed else None
    is_unsure = price is None and all_steps[0].difference is not None and all_steps[0].difference < budget
    return BudgetResult(price, all_steps[0], price is chosen, is_unsure)


def within_own_budget(layer_plan: LayerPlan) -> BudgetResult:
    """The largest set of blocks that the plan's own budget allows. For a budget in points of a task that is its own set or
    none, since no other set was priced on the task."""
    plan, chosen = layer_plan.plan, layer_plan.price
    if plan.budget_unit == "points":
        return BudgetResult(None if "over_budget" in plan.reasons else chosen, chosen, True)
    return sets_within_budget(layer_plan, plan.budget)


Standing = Literal["unverified", "over_budget", "ability_falls", "no_better_than_random", "recommended"]


def standing(layer_plan: LayerPlan, within_budget: BudgetResult | None = None) -> Standing:
    """Whether a plan is recommended within a budget, its own by default, or why not. A smaller set within the budget is
    recommended as well: abilities and random sets were only held against the plan's own set. What is over the budget on the
    text that chose it needs no verifying."""
    within_budget = within_budget or within_own_budget(layer_plan)
    if within_budget.price is None:
        return "over_budget"
    if not layer_plan.plan.is_verified:
        return "unverified"
    if within_budget.is_plan and fallen_abilities(layer_plan):
        return "ability_falls"
    if within_budget.is_plan and "no_better_than_random" in layer_plan.plan.reasons:
        return "no_better_than_random"
    return "recommended"


def is_lost(before: float, after: float, chance: float = 0.0) -> bool:
    """Whether an ability is less than half of what it was above chance."""
    return after - chance < (before - chance) / 2


def fallen_abilities(layer_plan: LayerPlan) -> list[PlanOutcomeRow]:
    """Abilities of which the plan leaves less than half of what was above chance, the most fallen first.

    Probes by their rows, as a plan made before this rule has no such reason; a task's chance is in its reason alone.
    """
    reasons = layer_plan.plan.reasons
    rows = [
        row
        for row in harder_text_prices(layer_plan)
        if row.is_healed == layer_plan.plan.is_healed
        and f"no_room_{row.text}" not in reasons
        and (
            f"falls_{row.text}" in reasons
            or (row.measure == "exact_match" and is_lost(row.value_before or 0.0, row.value_after or 0.0))
        )
    ]
    return sorted(rows, key=lambda row: row.difference or 0.0)


@dataclass(frozen=True)
class Alternative:
    """A way to make the model smaller: the plan, or the weights of its blocks rounded to 8 bits."""

    row: PlanOutcomeRow
    memory: float
    """Share of the bytes of bfloat16 weights that is saved."""
    time: float | None
    """Share of the seconds to read a prompt and write some tokens; None if it was not measured."""

    @property
    def per_percent(self) -> float:
        """Nats per token for each percent of memory that is saved."""
        return (self.row.difference or 0.0) / (100 * self.memory) if self.memory else math.nan


def alternatives(layer_plan: LayerPlan) -> list[Alternative]:
    """The plan, and rounding where it was priced on the same text."""
    plan = layer_plan.plan
    found = [Alternative(layer_plan.price, 1 - plan.parameters_after / plan.parameters_before, time_saved_share(plan))]
    sizes = layer_plan.of("weights", "bytes_bfloat16", "rounding")
    for row, size in zip(layer_plan.of("held_out", "loss", "rounding"), sizes, strict=True):
        found.append(Alternative(row, 1 - (size.value_after or 0.0) / (size.value_before or 1.0), None))
    return found


def is_recommended(layer_plan: LayerPlan) -> bool:
    return standing(layer_plan) == "recommended"


def rivals(layer_plan: LayerPlan) -> list[PlanOutcomeRow]:
    """The candidates of the plan's size by their prices on the decisive text, the plan itself first."""
    rows = block_prices(layer_plan.outcomes, layer_plan.decisive_text)
    candidates = [row for row in rows if row.rule not in ("path", "random", "single")]
    return sorted(candidates, key=lambda row: (not row.is_chosen, _cost(row)))


def other_choices(layer_plan: LayerPlan) -> list[PlanOutcomeRow]:
    """The cheapest set of each rule that chose other blocks than the plan: published rules first, each cheapest first."""
    cheapest: dict[str, PlanOutcomeRow] = {}
    for row in rivals(layer_plan):
        if row.difference is not None and not row.is_chosen:
            cheapest.setdefault(row.rule, row)
    return sorted(cheapest.values(), key=lambda row: row.rule not in PUBLISHED)


def harder_text_prices(layer_plan: LayerPlan) -> Sequence[PlanOutcomeRow]:
    """What the plan costs on harder texts and probes."""
    return [
        row
        for row in layer_plan.outcomes
        if row.is_chosen
        and row.unit == "block"  # projections of layers are chosen too
        and row.text not in ("selection", "held_out", "weights")
        and row.measure in ("loss", "exact_match", "accuracy")
    ]


def excess_of_published(layer_plan: LayerPlan) -> list[PlanOutcomeRow]:
    """What each published rule's cheapest set costs above the plan's set before healing, on held-out text."""
    rows = [
        row for row in layer_plan.of("held_out", "above_plan") if row.rule in PUBLISHED and row.difference is not None
    ]
    rules = dict.fromkeys(row.rule for row in rows)
    return [min((row for row in rows if row.rule == rule), key=_cost) for rule in rules]


def rules_with_same_blocks(layer_plan: LayerPlan) -> list[str]:
    """The published rules that choose the plan's set."""
    rows = block_prices(layer_plan.outcomes, layer_plan.decisive_text)
    choosing = {row.rule for row in rows if row.blocks == layer_plan.plan.blocks}
    return [rule for rule in PUBLISHED if rule in choosing]


def pareto_front(rows: Iterable[PlanOutcomeRow]) -> list[PlanOutcomeRow]:
    """The Pareto front: sets that no set of at least as many blocks undercuts; the fewest blocks first."""
    best: list[PlanOutcomeRow] = []
    for row in sorted(rows, key=lambda row: (-len(row.blocks), _cost(row))):
        if not best or _cost(row) < _cost(best[-1]):
            best.append(row)
    return best[::-1]


def _cost(row: PlanOutcomeRow) -> float:
    return row.difference or 0.0


def block_prices(rows: Sequence[PlanOutcomeRow], text: str) -> list[PlanOutcomeRow]:
    """Loss increases of sets of whole blocks, not healed, on one text."""
    return [row for row in rows if (row.text, row.measure, row.unit, row.is_healed) == (text, "loss", "block", False)]


def prices_alone(rows: Sequence[PlanOutcomeRow]) -> dict[int, float | None]:
    """The loss increase of each whole block by itself, on the text that chose."""
    return {row.blocks[0]: row.difference for row in block_prices(rows, "selection") if row.rule == "single"}


# --- predicted and actual costs ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RuleRecord:
    """Performance of one rule over all verified plans."""

    rule: str
    n_plans: int
    n_cheapest: int
    """Plans in which no other candidate of the plan's size cost less on held-out text."""
    excess: float
    """Mean excess of its set over the cheapest candidate, in nats per token."""


def rule_records(outcomes: Sequence[PlanOutcomeRow]) -> list[RuleRecord]:
    """Records of all rules priced on held-out text, least excess first."""
    excesses: dict[str, list[float]] = {}
    for _, rows in groupby(sorted(outcomes, key=_plan_id), key=_plan_id):
        costs: dict[str, float] = {}
        for row in block_prices(list(rows), "held_out"):
            if row.rule not in ("path", "random", "own") and row.difference is not None:
                costs[row.rule] = min(row.difference, costs.get(row.rule, math.inf))
        for rule, cost in costs.items() if len(costs) > 1 else ():
            excesses.setdefault(rule, []).append(cost - min(costs.values()))
    records = [
        RuleRecord(rule, len(of_rule), sum(excess == 0 for excess in of_rule), float(np.mean(of_rule)))
        for rule, of_rule in excesses.items()
    ]
    return sorted(records, key=lambda record: record.excess)


@dataclass(frozen=True)
class RuleForecast:
    """How well sums over blocks predict the order of sets of the plan's size by cost on held-out text."""

    influence: float
    """Spearman correlation of the sum of block influences with the price."""
    alone: float
    """The same for the sum of each block's cost alone on the selection text."""


def rule_forecasts(outcomes: Sequence[PlanOutcomeRow], sizes: Mapping[str, int]) -> list[RuleForecast]:
    """Of each plan with enough priced sets of its size; `sizes`: number of blocks in each plan's set."""
    forecasts = []
    for plan_id, group in groupby(sorted(outcomes, key=_plan_id), key=_plan_id):
        rows = list(group)
        influence = {
            row.blocks[0]: row.value_after
            for row in rows
            if (row.rule, row.measure, row.unit) == ("single", "influence", "block")
        }
        alone = prices_alone(rows)
        costs = {
            tuple(row.blocks): row.difference
            for row in block_prices(rows, "held_out")
            if len(row.blocks) == sizes.get(plan_id) and row.difference is not None
        }
        if len(costs) < FEWEST_SETS or not influence or not alone:
            continue
        price = np.array(list(costs.values()))
        sums = ([sum(values[block] or 0.0 for block in blocks) for blocks in costs] for values in (influence, alone))
        forecasts.append(RuleForecast(*(spearman(np.array(of_sets), price) for of_sets in sums)))
    return forecasts


# --- directions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerDirections:
    """How many directions suffice after one layer, and d2 there."""

    layer: int
    d2: int | None
    price: PlanOutcomeRow | None
    """None if no tried rank stays under the budget."""

    @property
    def rank(self) -> int | None:
        return None if self.price is None else self.price.rank


def layer_directions(layer_plan: LayerPlan, text: str = "held_out") -> list[LayerDirections]:
    rows = [row for row in layer_plan.of(text, "loss") if row.unit == "layer"]
    chosen = {row.blocks[0]: row for row in rows if row.rule == "projection" and row.is_chosen}
    d2 = {row.blocks[0]: row.rank for row in rows if row.rule == "projection_d2"}
    return [
        LayerDirections(layer, d2.get(layer), chosen.get(layer))
        for layer in sorted({row.blocks[0] for row in rows if row.rule == "projection"})
    ]


@dataclass(frozen=True)
class StudentWidth:
    """The width of a narrower model, as suggested by projecting all layers jointly."""

    width: int
    """Hidden size of the whole model."""
    enough: PlanOutcomeRow | None
    """The smallest rank whose upper limit is under the budget; None if there is none."""
    too_few: PlanOutcomeRow | None
    """The largest rank below it whose lower limit is over the budget; None if there is none."""


def student_width(layer_plan: LayerPlan) -> StudentWidth | None:
    """None if layers were not projected jointly."""
    rows = sorted(layer_plan.of("held_out", "loss", "joint_projection"), key=lambda row: row.rank or 0)
    if not rows:
        return None
    enough, budget = joint_projection(layer_plan), text_budget(layer_plan.plan)
    most = math.inf if enough is None else enough.rank or 0
    dear = [row for row in rows if (row.rank or 0) < most and row.lower is not None and row.lower > budget]
    return StudentWidth(rows[-1].rank or 0, enough, dear[-1] if dear else None)


def joint_projection(layer_plan: LayerPlan) -> PlanOutcomeRow | None:
    """The rank that suffices with all layers projected at once."""
    return next((row for row in layer_plan.of("held_out", "loss", "joint_projection") if row.is_chosen), None)


# --- exports ------------------------------------------------------------------------------------------------------------


def layer_map(layer_plan: LayerPlan) -> dict[str, Any]:
    """The block of the whole model behind each block of the smaller one, for initialising a student."""
    plan = layer_plan.plan
    return {
        "indices": "blocks are counted from 0; stretches are half-open: [first, one past the last)",
        "n_blocks": plan.n_layers,
        "removed": plan.blocks,
        "removed_stretches": [list(run) for run in stretches(plan.blocks)],
        "kept": layer_plan.kept,
        "kept_stretches": [list(run) for run in stretches(layer_plan.kept)],
        "teacher_block_of_student_block": dict(enumerate(layer_plan.kept)),
    }


def mergekit_recipe(layer_plan: LayerPlan, answer: str) -> str:
    """A mergekit passthrough merge of the remaining stretches (half-open). Valid only if `plan.mergekit` is None.

    `answer`: the plan's result in a sentence, written as the first comment.
    """
    plan = layer_plan.plan
    model = json.loads(plan.config)["model"]
    remarks = (
        answer,
        f"Removed: blocks {', '.join(map(str, plan.blocks))} of 0 to {plan.n_layers - 1}.",
        "layer_range is half-open: its second number is the first block that is not taken.",
    )
    lines = [*(f"# {remark}" for remark in remarks), "slices:"]
    name = model if plan.reference.startswith(LOCAL) else plan.model_id
    for first, after in stretches(layer_plan.kept):
        lines += ["- sources:", f"  - model: {json.dumps(name)}", f"    layer_range: [{first}, {after}]"]
    return "\n".join([*lines, "merge_method: passthrough", "dtype: bfloat16", ""])


def plan_command(layer_plan: LayerPlan, *more: str) -> str:
    """The command `workdim plan MODEL --text TEXT` with all options that affect the result, followed by `more`."""
    config = json.loads(layer_plan.plan.config)
    parts = ["workdim", "plan", config["model"], "--text", config["corpus"]]
    usual = PlanConfig("")
    for key in ("column", "encoding", "chat", "seed", "dtype"):
        value = config.get(key)
        if value is not None and value != getattr(usual, key):
            parts += [f"--{key}", str(value)]
    if layer_plan.plan.budget_unit == "nats" and layer_plan.plan.budget != usual.budget:
        parts += ["--budget", f"{layer_plan.plan.budget:g}"]
    return shlex.join([*parts, *more])


def save_command(layer_plan: LayerPlan) -> str:
    """The command that saves the smaller model of this plan, with its blocks given."""
    removed = ",".join(f"{a}:{b}" if b - a > 1 else str(a) for a, b in stretches(layer_plan.plan.blocks))
    return plan_command(
        layer_plan, "--remove", removed, *(["--heal"] if layer_plan.plan.is_healed else []), "--save-model", "smaller"
    )
