"""A plan's file and its rows are one; looking one up by the start of its id."""

import json
from dataclasses import replace

import pytest

from core.errors import InputError, WarehouseError
from core.store import user_files
from core.tables import LayerCorrelatorRow
from core.warehouse.runs import (
    cheapest_verified_plan,
    delete_runs,
    find_plan,
    ingest_parcel,
    list_plans,
    load_plan,
    readable_losses,
    save_plan,
    smaller_sibling,
)
from core.wording.plans import readable_lines, sibling_lines
from core.wording.readouts import readable_text
from tests.plans.made import layer_plan
from tests.profiles import make_model, make_profile


def test_a_plan_is_kept_read_and_deleted(warehouse):
    first, second = layer_plan("0199-a"), layer_plan("0199-b", note="the second")
    for one in (first, second):
        save_plan(warehouse, one)
    assert list_plans(warehouse)["plan_id"].to_list() == ["0199-b", "0199-a"]
    assert find_plan(warehouse, "0199-b") == second
    sql = "SELECT blocks FROM plan_outcomes WHERE rule = 'influence' AND difference IS NOT NULL"
    assert warehouse.read(sql)["blocks"].to_list() == [[2, 3, 4]] * 2
    with pytest.raises(InputError, match="Several begin or end with '0199'"):
        find_plan(warehouse, "0199")
    warehouse.delete("plan", "0199-a")
    assert list_plans(warehouse)["plan_id"].to_list() == ["0199-b"]
    warehouse.rebuild()
    assert find_plan(warehouse, "0199-b") == second
    assert warehouse.read("SELECT DISTINCT plan_id FROM plan_outcomes")["plan_id"].to_list() == ["0199-b"]


def test_a_planned_model_goes_with_its_last_run_as_in_a_file_built_anew(warehouse, add_parcel):
    profile = make_profile()
    ingest_parcel(warehouse, add_parcel(profile))
    plan = layer_plan("0199-a")
    save_plan(warehouse, replace(plan, plan=replace(plan.plan, model_id=profile.run.model_id)))
    assert warehouse.read("FROM models").height == 1
    delete_runs(warehouse, [profile.run.run_id])
    after = warehouse.read("FROM models")
    warehouse.rebuild()
    assert after.is_empty() and warehouse.read("FROM models").is_empty()
    assert list_plans(warehouse)["plan_id"].to_list() == ["0199-a"]


def test_a_smaller_model_of_the_family_on_the_same_text_stands_beside_a_plan(warehouse, add_parcel):
    sizes = {"o/big": (1000, 1.2), "o/small": (400, 1.5), "o/tiny": (100, 2.5)}
    for n, (name, (parameters, bits)) in enumerate(sizes.items()):
        model = make_model(f"{name}@1", parameters=parameters, name=name)
        profile = make_profile(f"01900000-0000-7000-8000-00000000000{n}", model=model, bits_per_byte=bits)
        ingest_parcel(warehouse, add_parcel(profile))
    plan = layer_plan(model_id="o/big@1", corpus_id=profile.corpus.corpus_id).plan
    found = smaller_sibling(warehouse, plan.model_id, plan.corpus_id)
    assert (found.name, found.bits_per_byte, found.own_bits_per_byte) == ("o/small", 1.5, 1.2)
    assert smaller_sibling(warehouse, plan.model_id, "another") is None
    (line,) = sibling_lines(found, plan)
    assert "o/small, 60 % fewer parameters, 1.50 bits per byte against 1.20" in line


def test_what_is_readable_before_and_after_its_blocks_stands_beside_a_plan(warehouse, add_parcel):
    profile = make_profile(model=make_model("o/some@1"))
    losses = [(5.0, 0.2), (4.5, 0.2), (4.0, 0.1), (2.0, None)]
    rows = [
        LayerCorrelatorRow(profile.run.run_id, layer, "residual", "predicted", "readable_loss", value, error, 512)
        for layer, (value, error) in enumerate(losses)
    ]
    ingest_parcel(warehouse, add_parcel(replace(profile, correlators=rows)))
    plan = layer_plan(model_id="o/some@1", corpus_id=profile.corpus.corpus_id).plan
    found = readable_losses(warehouse, plan.model_id, plan.corpus_id)
    assert [row.value for row in found] == [5.0, 4.5, 4.0, 2.0]
    (line,) = readable_lines(found, replace(plan, blocks=[2, 0]))
    assert "0: 5.00 → 4.50, 2: 4.00 → 2.00" in line
    assert readable_lines(readable_losses(warehouse, plan.model_id, "another"), plan) == []
    assert "4.50 ± 0.2 where the dimension is largest (layer 1), 2.00 at the end" in readable_text(found, 1)
    assert readable_text([], 1) == ""
    refused = [replace(row, value=None, std_error=None) for row in rows]
    assert "it is not the model's own" in readable_text(refused, None)
    assert readable_lines(refused, replace(plan, blocks=[2, 0])) == [readable_text(refused, None)]


def without_its_price(tables):
    tables["plan_outcomes"] = [row for row in tables["plan_outcomes"] if not row["is_chosen"]]


def with_a_price_of_no_block(tables):
    tables["plan_outcomes"][0]["blocks"] = []


def without_the_price_before_healing(tables):
    tables["plans"][0]["is_healed"] = True
    tables["plan_outcomes"] += [row | {"is_healed": True} for row in tables["plan_outcomes"] if row["is_chosen"]]
    tables["plan_outcomes"] = [row for row in tables["plan_outcomes"] if row["is_healed"] or not row["is_chosen"]]


NONSENSE = (
    (without_its_price, "such price"),
    (without_the_price_before_healing, "such price"),
    (with_a_price_of_no_block, "such blocks of a price"),
    ({"blocks": []}, "such blocks"),
    ({"blocks": [3, 40]}, "such blocks"),
    ({"n_layers": 10**9}, "such blocks"),
    ({"budget_unit": "yen"}, "such budget"),
    ({"budget": -1.0}, "such budget"),
    ({"parameters_before": 0}, "such parameters_before"),
    ({"config": "[" * 100_000}, "nested too deeply"),
    ({"config": "[]"}, "such config"),
)


def test_a_plan_edited_into_nonsense_is_one_line_and_what_was_known_of_it_stays(warehouse):
    save_plan(warehouse, layer_plan("0199-a", loss_increase=0.001), layer_plan("0199-b"))
    path = user_files.path_of(warehouse.folder, "plan", "0199-a")
    whole = path.read_text(encoding="utf-8")
    for edit, reason in NONSENSE:
        content = json.loads(whole)
        edit(content["tables"]) if callable(edit) else content["tables"]["plans"][0].update(edit)
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(WarehouseError, match=f"0199-a.json is damaged .*{reason}"):
            load_plan(warehouse, "0199-a")
    reports: list[str] = []
    warehouse.sync_files(reports.append)
    assert len(reports) == 1 and reason in reports[0] and "\n" not in reports[0]
    assert list_plans(warehouse)["plan_id"].to_list() == ["0199-b", "0199-a"], "what was known of it stays"
    assert cheapest_verified_plan(warehouse).price == layer_plan("0199-a").price
