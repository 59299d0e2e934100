"""What a layer plan says: its price, and the blocks that may go within a budget; for the page Layer plans and the verb `plan`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.analysis import plans as plan_analysis
from core.analysis.plans import BudgetResult
from core.questions.record import Fields, Rows, same
from core.records import BUDGETS, LayerPlan
from core.tables import LayerCorrelatorRow, PlanOutcomeRow, Sibling
from core.warehouse.runs import find_plan, readable_losses, smaller_sibling
from core.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class PlanAnswer:
    """A stored plan, and what its prices allow."""

    layer_plan: LayerPlan
    within: BudgetResult
    """The blocks that may go within the budget that was asked for."""
    sibling: Sibling | None = None
    """A smaller model measured on the same text (`warehouse.runs.smaller_sibling`); None where none is, or nobody looked."""

    readable: Sequence[LayerCorrelatorRow] = ()
    """What the head reads of the next token at each layer (`warehouse.runs.readable_losses`); empty where nobody measured it."""

    @property
    def map(self) -> dict[str, Any]:
        """Which block of the whole model each block of the smaller one is."""
        return plan_analysis.layer_map(self.layer_plan)

    @property
    def harder(self) -> Sequence[PlanOutcomeRow]:
        """Prices of what loss on held-out text may hide."""
        return plan_analysis.harder_text_prices(self.layer_plan)

    @property
    def budgets(self) -> list[dict[str, Any]]:
        """What each budget that has a name allows: the blocks and their price, None where nothing that was tried does."""
        found = []
        for name, nats in BUDGETS.items():
            row = plan_analysis.sets_within_budget(self.layer_plan, nats).price
            price = {key: row and getattr(row, key) for key in ("blocks", "difference", "lower", "upper", "is_healed")}
            found.append({"name": name, "nats": nats} | price)
        return found

    @property
    def alternatives(self) -> list[plan_analysis.Alternative]:
        return plan_analysis.alternatives(self.layer_plan)

    @property
    def seconds(self) -> dict[str, float] | None:
        """To read a prompt and write some tokens, before and after; None where it was not measured."""
        taken = plan_analysis.seconds(self.layer_plan.plan)
        return None if taken is None else dict(zip(("before", "after"), taken, strict=True))


RECORD: Fields = {
    "blocks": "layer_plan.plan.blocks",
    "verified": "layer_plan.plan.is_verified",
    "recommended": "layer_plan.plan.is_recommended",
    **same("loss_increase", "lower", "upper", "random_10th", of="layer_plan.plan"),
    "healed": "layer_plan.plan.is_healed",
    "seconds_before": "seconds.before",
    "seconds_after": "seconds.after",
    **same("plan_id", "model_id", "reasons", "budget", "budget_unit", "rule", of="layer_plan.plan"),
    **same("parameters_before", "parameters_after", "saved_as", of="layer_plan.plan"),
    "map": "map",
    "budgets": Rows(
        "budgets",
        same("name", "nats", "blocks")
        | {"loss_increase": "difference", **same("lower", "upper"), "healed": "is_healed"},
    ),
    "sibling_model": "sibling.name",
    "sibling_parameters": "sibling.parameters",
    "sibling_bits_per_byte": "sibling.bits_per_byte",
    "own_bits_per_byte": "sibling.own_bits_per_byte",
    "readable_losses": Rows("readable", same("layer", "value", "std_error", "n_points")),
    "alternatives": Rows(
        "alternatives",
        {
            "what": "row.rule",
            "loss_increase": "row.difference",
            **same("lower", "upper", of="row"),
            "memory_saved": "memory",
            "time_saved": "time",
        },
    ),
    "harder": Rows(
        "harder",
        {
            **same("text", "measure"),
            "healed": "is_healed",
            "before": "value_before",
            "after": "value_after",
            **same("difference", "lower", "upper"),
        },
    ),
}
"""The plan as `plan --json` prints it; sentences are added there."""


def answer_within(layer_plan: LayerPlan, nats: float | None = None) -> PlanAnswer:
    """What these nats per token allow; without them, what the plan's own budget does."""
    if nats is None:
        return PlanAnswer(layer_plan, plan_analysis.within_own_budget(layer_plan))
    return PlanAnswer(layer_plan, plan_analysis.sets_within_budget(layer_plan, nats))


def ask(warehouse: Warehouse, start: str) -> PlanAnswer:
    """The plan whose id begins or ends with `start`. Raises InputError if none or several do."""
    layer_plan = find_plan(warehouse, start)
    plan = layer_plan.plan
    asked = (warehouse, plan.model_id, plan.corpus_id)
    return replace(answer_within(layer_plan), sibling=smaller_sibling(*asked), readable=readable_losses(*asked))
