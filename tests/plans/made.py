"""A layer plan as the flow would have made it, for whoever shows or keeps one."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from core.records import LayerPlan, PlanConfig
from core.tables import PlanOutcomeRow, PlanRow

NOW = datetime(2026, 1, 1)
SINGLES = (0.06, 0.04, 0.02, 0.007, 0.006, 0.03, 0.007, 0.05)
"""Loss without each block alone: of those that go together, less in sum than all at once."""


def layer_plan(plan_id: str = "0199-plan", **changes: Any) -> LayerPlan:
    """Verified, recommended, of a model with eight blocks; columns of the plan itself can be changed.

    Healed, it has both prices of its blocks, as every healed plan has.
    """
    plan: dict[str, Any] = dict(
        plan_id=plan_id,
        model_id="o/model@1",
        reference="o/model",
        name="model",
        family="llama",
        weights_sha256="f" * 64,
        n_layers=8,
        corpus_id="text@1",
        blocks=[3, 4, 6],
        rule="greedy",
        is_verified=True,
        is_recommended=True,
        reasons=["no_room_digit_sums"],
        budget=0.05,
        budget_unit="nats",
        loss_increase=0.031,
        std_error=0.004,
        lower=0.023,
        upper=0.039,
        random_10th=0.02 if "no_better_than_random" in changes.get("reasons", ()) else 0.4,
        same_windows=0.033,
        sum_of_singles=0.02,
        is_healed=False,
        healing=None,
        parameters_before=1000,
        parameters_after=700,
        kv_bytes_before=960.0,
        kv_bytes_after=600.0,
        prompt_tokens=256,
        prefill_seconds_before=0.5,
        prefill_seconds_after=0.3,
        new_tokens=16,
        generation_seconds_before=0.4,
        generation_seconds_after=0.25,
        saved_as=None,
        saved_model_id=None,
        mergekit=None,
        n_tokens=256,
        n_selection=16,
        n_verification=32,
        seed=0,
        dtype="float32",
        device="cpu",
        config=json.dumps(asdict(PlanConfig("o/model"))),
        code_version="0.1.0",
        note=None,
        created_at=NOW,
    )
    healed_price = dict(loss_increase=0.02, lower=0.018, upper=0.022) if changes.get("is_healed") else {}
    row = PlanRow(**plan | healed_price | changes)
    return LayerPlan(row, _outcomes(row, "held_out" if row.is_verified else "selection"))


def _outcomes(plan: PlanRow, text: str) -> list[PlanOutcomeRow]:
    rows = []

    def tell(rule: str, blocks: list[int], read: str, measure: str, value: float, **more: Any) -> None:
        told: dict[str, Any] = dict(
            plan_id=plan.plan_id,
            rule=rule,
            unit="block",
            blocks=blocks,
            is_chosen=rule == "greedy",
            is_equal=None,
            is_healed=False,
            text=read,
            corpus_id="text@1",
            measure=measure,
            rank=None,
            value_before=3.0,
            value_after=3.0 + value,
            difference=value,
            std_error=0.1 * abs(value),
            lower=min(0.8 * value, 1.2 * value),
            upper=max(0.8 * value, 1.2 * value),
            n_points=32,
            created_at=NOW,
        )
        rows.append(PlanOutcomeRow(**told | more))

    for block, loss in enumerate(SINGLES):
        tell("single", [block], "selection", "loss", loss)
        tell("single", [block], "selection", "influence", 2 * loss, value_before=None, difference=None)
    for unit, share in (("attention", 0.3), ("mlp", 0.6)):
        for block, loss in enumerate(SINGLES):
            tell("single", [block], "selection", "loss", share * loss, unit=unit)
    for n, value in ((1, 0.008), (2, 0.017), (3, 0.031)):
        tell("path", [3, 4, 6][:n], text, "loss", value)
    tell("greedy", [3, 4, 6], text, "loss", 0.031, lower=0.023, upper=0.039, is_equal=True)
    if plan.is_healed:
        healed = dict(difference=plan.loss_increase, lower=plan.lower, upper=plan.upper)
        tell("greedy", [3, 4, 6], text, "loss", 0.031, is_healed=True, **healed)
    tell("influence", [2, 3, 4], text, "loss", 0.05, is_equal=False)
    tell("last_angle", [4, 5, 6], text, "loss", 0.09, is_equal=False)
    tell("greedy", [3, 4, 6], "typos", "loss", 0.05)
    tell("greedy", [3, 4, 6], "copying", "exact_match", -0.1, value_before=0.9, value_after=0.8, n_points=40)
    for k in range(3):
        tell("random", [k, k + 2, k + 4], text, "loss", (plan.random_10th or 0.4) + 0.2 * k)
    for rank, value in ((64, 0.5), (128, 0.04)):
        tell("projection", [4], text, "loss", value, unit="layer", rank=rank, is_chosen=rank == 128)
    return rows
