"""A plan's file and its rows are one; looking one up by the start of its id."""

import pytest

from core.errors import InputError
from core.warehouse.layer_plans import delete_plan, find_plan, list_plans, save_plan
from tests.plans.made import layer_plan


def test_a_plan_is_kept_read_and_deleted(warehouse):
    first, second = layer_plan("0199-a"), layer_plan("0199-b", note="the second")
    for one in (first, second):
        save_plan(warehouse, one)
    assert list_plans(warehouse)["plan_id"].to_list() == ["0199-b", "0199-a"]
    assert find_plan(warehouse, "0199-b") == second
    sql = "SELECT blocks FROM plan_outcomes WHERE rule = 'influence' AND difference IS NOT NULL"
    assert warehouse.read(sql)["blocks"].to_list() == [[2, 3, 4]] * 2
    with pytest.raises(InputError, match="2 plans begin with '0199'"):
        find_plan(warehouse, "0199")
    delete_plan(warehouse, "0199-a")
    assert list_plans(warehouse)["plan_id"].to_list() == ["0199-b"]
    warehouse.rebuild()
    assert find_plan(warehouse, "0199-b") == second
    assert warehouse.read("SELECT DISTINCT plan_id FROM plan_outcomes")["plan_id"].to_list() == ["0199-b"]
