"""Layer plans in the warehouse, each a file of its own."""

from __future__ import annotations

import polars as pl

from core.errors import WarehouseError
from core.ids import SHORT_ID, only_id
from core.records import LOCAL, SHIPPED, LayerPlan
from core.store import user_files
from core.tables import LayerCorrelatorRow, PlanOutcomeRow, Sibling, records
from core.warehouse.connection import Readable
from core.warehouse.warehouse import Warehouse

_KIND = "plan"


def save_plan(warehouse: Warehouse, *plans: LayerPlan) -> str:
    """Write the file of each plan and sync their rows, as `Warehouse.save` does."""
    return warehouse.save(_KIND, {plan.plan.plan_id: plan.frames() for plan in plans})


def has_plan(warehouse: Warehouse, plan_id: str) -> bool:
    return user_files.exists(warehouse.folder, _KIND, plan_id)


def load_plan(warehouse: Warehouse, plan_id: str) -> LayerPlan | None:
    """A plan from its file; None if there is none. Raises WarehouseError for a damaged file."""
    tables = user_files.read(warehouse.folder, _KIND, plan_id)
    return LayerPlan.from_frames(tables) if tables else None


def list_plans(warehouse: Readable) -> pl.DataFrame:
    """Rows of plans, those made here before shipped ones, newest first; `asked` is the model as requested."""
    return warehouse.read(
        "SELECT *, json_extract_string(config, '$.model') AS asked FROM plans "
        f"ORDER BY note IS NOT DISTINCT FROM '{SHIPPED}', plan_id DESC"
    )


def block_outcomes(warehouse: Readable) -> list[PlanOutcomeRow]:
    """Outcomes of whole blocks in all verified plans: loss on selection and held-out text, and influence."""
    rows = warehouse.read(
        "SELECT plan_outcomes.* FROM plan_outcomes JOIN plans USING (plan_id) WHERE is_verified AND unit = 'block' "
        "AND text IN ('selection', 'held_out') AND measure IN ('loss', 'influence')"
    )
    return records(rows, PlanOutcomeRow)


def cheapest_verified_plan(warehouse: Readable, with_reference: bool = True) -> LayerPlan | None:
    """The verified plan with the smallest increase of loss; plans made here come first, then those within their budget.

    With `with_reference`, shipped plans too, of models that were not trained for Workdim. Read from the rows, so that a
    file that is damaged or gone does not take a screen with it.
    """
    is_own = f"(note IS DISTINCT FROM '{SHIPPED}')"
    is_shown = f"({is_own} OR NOT starts_with(reference, '{LOCAL}'))" if with_reference else is_own
    rows = warehouse.read(
        f"FROM plans WHERE is_verified AND {is_shown} ORDER BY {is_own} DESC, is_recommended DESC, loss_increase, plan_id LIMIT 1"
    )
    if rows.is_empty():
        return None
    outcomes = warehouse.read("FROM plan_outcomes WHERE plan_id = ?", [rows["plan_id"][0]])
    return LayerPlan.from_frames({"plans": rows, "plan_outcomes": outcomes})


def smaller_sibling(warehouse: Readable, model_id: str, corpus_id: str) -> Sibling | None:
    """The smaller model of the same family that predicts a text best. None where not both were measured on that text."""
    rows = warehouse.read(
        """
        WITH readings AS (
            SELECT model_id, name, family, parameters, protocol_hash, min(bits_per_byte) AS bits FROM runs
            JOIN models USING (model_id) WHERE corpus_id = $text AND pass = 'text' AND bits_per_byte IS NOT NULL GROUP BY ALL)
        SELECT small.name, small.parameters, small.bits AS bits_per_byte, own.bits AS own_bits_per_byte
        FROM readings AS own JOIN readings AS small USING (family, protocol_hash)
        WHERE own.model_id = $model AND small.parameters < own.parameters ORDER BY small.bits, small.name LIMIT 1
        """,
        {"text": corpus_id, "model": model_id},
    )
    return next(iter(records(rows, Sibling)), None)


def readable_losses(warehouse: Readable, model_id: str, corpus_id: str) -> list[LayerCorrelatorRow]:
    """Layer, value, std_error and n_points of what the head reads of the next token at each layer, by the newest run of the model on
    a text that has it."""
    rows = warehouse.read(
        """
        SELECT layer, value, std_error, n_points FROM layer_correlators JOIN runs USING (run_id)
        WHERE correlator = 'readable_loss' AND model_id = $model AND corpus_id = $text AND pass = 'text'
        QUALIFY run_id = max(run_id) OVER () ORDER BY layer
        """,
        {"text": corpus_id, "model": model_id},
    )
    return records(rows, LayerCorrelatorRow)


def find_plan(warehouse: Warehouse, start: str) -> LayerPlan:
    """The plan whose id begins or ends with `start`, from its file. Raises InputError if none or several do."""
    plan_id = only_id(list_plans(warehouse)["plan_id"], start, "plan", "plan --list")
    layer_plan = load_plan(warehouse, plan_id)
    if layer_plan is None:
        raise WarehouseError("The file of plan {plan} is gone: restore a backup.", plan=plan_id[:SHORT_ID])
    return layer_plan
