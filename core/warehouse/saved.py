"""What people keep, each in a file of its own: queries by a name, layer plans by their ids."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from core.errors import InputError, ResourceError, WarehouseError, WarehouseLocked, unknown_name
from core.records import SHORT_ID, LayerPlan
from core.store import people
from core.tables import TABLES, PlanOutcomeRow, PlanRow, SavedQueryRow
from core.warehouse.connection import Readable
from core.warehouse.warehouse import Warehouse

MAX_NAME = 80
_KIND, _TABLE = "query", "saved_queries"
_PLAN = "plan"


def all_saved(warehouse: Warehouse) -> list[SavedQueryRow]:
    """Every saved query, by name."""
    rows = warehouse.read("SELECT name, sql, note, created_at FROM saved_queries ORDER BY lower(name), name")
    return [SavedQueryRow(**row) for row in rows.to_dicts()]


def find(warehouse: Warehouse, name: str) -> SavedQueryRow:
    """The query of this name; InputError names those that are there."""
    saved = {row.name: row for row in all_saved(warehouse)}
    if name in saved:
        return saved[name]
    if not saved:
        raise InputError("There is no saved query '{name}': none has been saved yet.", name=name)
    raise InputError(unknown_name("saved query", name, saved))


def save(warehouse: Warehouse, name: str, sql: str, note: str | None = None, replace: bool = False) -> SavedQueryRow:
    """Keep a statement under a name; InputError where the name is taken and `replace` was not asked for."""
    row = SavedQueryRow(_fit(name), sql.strip(), (note or "").strip() or None, datetime.now(UTC).replace(tzinfo=None))
    if not row.sql:
        raise InputError("There is no statement to save.")
    if any("\ud800" <= one <= "\udfff" for one in row.sql + (row.note or "")):
        raise InputError("The statement holds a broken character, which no file can keep.")
    one = people.id_of(row.name)
    with warehouse.changing(_KIND, one):
        if people.is_there(warehouse.folder, _KIND, one) and not replace:
            raise InputError(
                "A query '{name}' is saved already. Choose another name, or ask for it to be replaced (--replace).",
                name=row.name,
            )
        people.write(warehouse.folder, _KIND, one, {_TABLE: TABLES[_TABLE].frame([row])})
    return row


def delete(warehouse: Warehouse, name: str) -> None:
    """Forget a saved query; InputError where there is none of this name."""
    find(warehouse, name)
    with warehouse.changing(_KIND, people.id_of(name)):
        people.bury(warehouse.folder, _KIND, people.id_of(name))


def _fit(name: str) -> str:
    fit = name.strip()
    if not fit:
        raise InputError("A saved query needs a name.")
    if len(fit) > MAX_NAME:
        raise InputError(
            "The name of a saved query has up to {max_name} characters; this one has {n_fit}.",
            max_name=MAX_NAME,
            n_fit=len(fit),
        )
    if not fit.isprintable():
        raise InputError("The name of a saved query holds letters, digits and signs that can be seen, on one line.")
    return fit


def keep_plan(warehouse: Warehouse, plan: LayerPlan) -> str:
    """Write the plan's file; its rows follow.

    Returns why the rows wait for the next who opens the warehouse, where it is locked or has no room: the file is written
    all the same. Empty where they are in.
    """
    one = plan.plan.plan_id
    try:
        with warehouse.changing(_PLAN, one):
            people.write(warehouse.folder, _PLAN, one, plan.frames())
    except (WarehouseLocked, ResourceError) as error:
        # The file first: a marker without it would be settled, and gone, by whoever opens the warehouse in between.
        people.write(warehouse.folder, _PLAN, one, plan.frames())
        warehouse.folder.mark(_PLAN, [one])
        return str(error)
    return ""


def has_plan(warehouse: Warehouse, plan_id: str) -> bool:
    return people.is_there(warehouse.folder, _PLAN, plan_id)


def stored_plan(warehouse: Warehouse, plan_id: str) -> LayerPlan | None:
    """A plan from its file, None where there is none; raises WarehouseError for a file that is damaged."""
    try:
        return LayerPlan.from_frames(people.read(warehouse.folder, _PLAN, plan_id))
    except FileNotFoundError:
        return None


def delete_plan(warehouse: Warehouse, plan_id: str) -> None:
    with warehouse.changing(_PLAN, plan_id):
        people.bury(warehouse.folder, _PLAN, plan_id)


def plans(warehouse: Readable) -> pl.DataFrame:
    """The rows of all plans, the newest first, with the model as it was `asked` for."""
    return warehouse.read("SELECT *, json_extract_string(config, '$.model') AS asked FROM plans ORDER BY plan_id DESC")


def block_outcomes(warehouse: Readable) -> list[PlanOutcomeRow]:
    """Of all plans, what whole blocks cost on the text that chose and on held-out text, and their influence."""
    found = warehouse.read(
        "SELECT plan_outcomes.* FROM plan_outcomes JOIN plans USING (plan_id) WHERE is_verified AND unit = 'block' "
        "AND text IN ('selection', 'held_out') AND measure IN ('loss', 'influence')"
    )
    return TABLES["plan_outcomes"].rows(found)


def cheapest_saving(warehouse: Readable) -> PlanRow | None:
    """Of the plans that were verified on held-out text the one that costs least; those within their budget first."""
    found = warehouse.read("FROM plans WHERE is_verified ORDER BY is_recommended DESC, loss_increase, plan_id LIMIT 1")
    return next(iter(TABLES["plans"].rows(found)), None)


def read_plan(warehouse: Warehouse, start: str) -> LayerPlan:
    """The plan whose id begins with `start`, from its file. Raises InputError where that is none or several."""
    known = [plan_id for plan_id in plans(warehouse)["plan_id"] if plan_id.startswith(start)]
    if len(known) != 1:
        raise InputError(
            "{n_known} plans begin with '{start}'. `workdim plan --list` lists them.", n_known=len(known), start=start
        )
    found = stored_plan(warehouse, known[0])
    if found is None:
        raise WarehouseError("The file of plan {plan} is gone: restore a backup.", plan=known[0][:SHORT_ID])
    return found
