"""What a plan says of itself, in both languages, and what it hands to other programs."""

import json
import re
import shlex
from dataclasses import asdict, replace

import pytest
import yaml

from core.analysis import plans as plan_analysis
from core.locale import in_language
from core.questions.plan import answer_within
from core.records import LayerPlan, PlanConfig
from core.terminal.output import say
from core.terminal.tables import plan_lines, plan_record
from core.wording import plans as plan_wording
from tests.plans.made import layer_plan


def test_the_answer_comes_first():
    told = plan_lines(layer_plan())
    assert told[0] == (
        "model: 3 of 8 blocks can go: text 3 % harder to predict (+0.031 [+0.023, +0.039] nats per token), 30 % fewer parameters."
    )
    assert "lossless (at most 5 % harder to predict): 3 of 8 blocks; text 3 % harder" in "\n".join(told)
    assert "goes: blocks 3–4, 6 (of 0 to 7)" in told
    assert any(re.search(r"^removed one by one.* 3–4, 6 .* the plan$", line) for line in told)
    assert any("layer 4: 128 directions suffice" in line for line in told)


def test_the_blocks_are_named_that_the_answer_is_about():
    smaller = plan_lines(layer_plan(budget=0.015))
    assert smaller[0].startswith("model: 1 of 8 blocks can go") and "goes: blocks 3 (of 0 to 7)" in smaller
    refused = layer_plan(budget=0.001, is_recommended=False, reasons=["over_budget"])
    assert "tried, not recommended: blocks 3 (of 0 to 7)" in plan_lines(refused)


def test_what_is_of_the_plans_own_set_names_its_blocks_where_the_answer_is_about_others():
    smaller = plan_lines(layer_plan(budget=0.015, is_healed=True))
    own = next(n for n, line in enumerate(smaller) if line.startswith("Without blocks 3, 4, 6 (of 0 to 7): "))
    assert "after repair" in smaller[own] and smaller[own + 1].startswith("Before repair: ")
    assert smaller[own - 1] == "" and smaller[own + 4].startswith("Parameters: "), "its caution, then its savings"
    for found in (layer_plan(), layer_plan(budget=2, budget_unit="points", reasons=["over_budget"])):
        assert "\n".join(plan_lines(found)).count("Without blocks 3, 4, 6") == (found.plan.budget == 2)


def test_what_was_read_before_and_after_repair_is_told_apart_in_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    found = layer_plan(is_healed=True)
    repaired = [replace(row, is_healed=True) for row in plan_analysis.harder_text_prices(found)]
    told = plan_lines(LayerPlan(found.plan, [*found.outcomes, *repaired]))
    of_copying = [line for line in told if line.startswith("copying")]
    assert len({*of_copying}) == 2 and sum("repaired" in line for line in of_copying) == 1


def test_no_line_is_longer_than_the_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    say(*plan_lines(layer_plan()))
    told = capsys.readouterr().out.splitlines()
    assert max(map(len, told)) <= 80 and "" in told


def test_what_is_not_verified_or_not_recommended_says_so_in_its_first_words():
    unverified = layer_plan(is_verified=False, is_recommended=False, reasons=["not_verified"])
    assert plan_wording.plan_text(unverified).startswith("model: 3 of 8 blocks may go, not verified: ")
    assert plan_wording.plan_text(unverified).count("harder to predict") == 1
    hopeless = layer_plan(is_verified=False, is_recommended=False, budget=0.001)
    assert plan_wording.plan_text(hopeless).startswith(
        "model: keep all 8 blocks, as no set tried is within the budget. "
    )
    dear = layer_plan(is_recommended=False, reasons=["mixture", "over_budget"], budget=2, budget_unit="points")
    assert plan_wording.plan_text(dear).startswith(
        "model: keep all 8 blocks, as no set tried is within the budget. The budget is 2 points of the task. "
    )
    assert plan_wording.note_lines(dear.plan)[0] == "The upper limit of its loss is over the budget."
    for one in (unverified, dear):
        assert re.search("未検証|維持", in_language("ja", plan_wording.plan_text, one))
    broken = layer_plan(is_recommended=False, reasons=["falls_copying"])
    assert plan_wording.plan_text(broken).startswith(
        "model: keep all 8 blocks, as copying words falls from 90 % to 80 %. Without blocks 3, 4, 6 "
    )
    assert plan_analysis.standing(broken) == "ability_falls"
    allowed = plan_wording.budget_lines(broken)
    assert "Less than half of the right answers beyond chance are left: copying words." in allowed[0]
    assert allowed[-1].endswith("At most 3 blocks were tried.")


def test_a_set_that_was_named_says_what_it_costs_against_its_budget():
    asked = json.dumps(asdict(PlanConfig("o/model", remove=(3, 4, 6))))
    found = layer_plan(is_recommended=False, reasons=["over_budget"], config=asked, budget=0.02)
    found = replace(found, outcomes=[row for row in found.outcomes if row.rule != "path" or len(row.blocks) > 2])
    assert plan_wording.plan_text(found).startswith(
        "model: keep all 8 blocks, as this set is not within the budget. The budget is 0.02 nats per token. Without blocks 3, 4, 6 (of 0 to 7): text 3 % harder to predict"
    )
    searched = "By number of blocks"
    assert searched in plan_lines(found)
    found = replace(found, outcomes=[row for row in found.outcomes if row.rule != "path"])
    assert searched not in plan_lines(found)  # nothing was searched


@pytest.mark.parametrize("lower", [0.001, -0.001])
def test_published_choices_are_held_against_the_plan_in_pairs(lower):
    found = layer_plan()
    rival = next(row for row in found.outcomes if row.rule == "influence")
    pairs = [
        replace(rival, rule=rule, measure="above_plan", text="held_out", difference=value, lower=lower, upper=0.09)
        for rule, value in (("influence", 0.019), ("contiguous", 0.08), ("contiguous", 0.05), ("exchange", 0.001))
    ]
    assert plan_wording.published_lines(found) == []
    (told,) = plan_wording.published_lines(LayerPlan(found.plan, [*found.outcomes, *pairs]))
    same = replace(rival, rule="angle", blocks=found.plan.blocks)
    both = plan_wording.published_lines(LayerPlan(found.plan, [*found.outcomes, *pairs, same]))
    assert both == [told, "The same choice: smallest angle of all tokens."]
    assert (
        told.startswith("Loss of published choices") and told.count("+0.0") - (lower > 0) * 2 == 4 and "+0.050" in told
    )
    assert plan_wording.rule_name("exchange") not in told


def test_a_student_is_as_wide_as_all_layers_need_jointly_and_begins_as_the_teacher():
    found = layer_plan()
    assert "not projected jointly" in plan_wording.student_lines(found)[0]
    of_layer = next(row for row in found.outcomes if row.rule == "projection")
    prices = {64: (0.5, 0.45, 0.55), 96: (0.06, 0.045, 0.07), 128: (0.04, 0.03, 0.049), 256: (0.0, -0.01, 0.01)}
    joint = [
        replace(
            of_layer,
            rule="joint_projection",
            rank=rank,
            is_chosen=rank == 128,
            **dict(zip(("difference", "lower", "upper"), of, strict=True)),
        )
        for rank, of in prices.items()
    ]
    enough, few, blocks = plan_wording.student_lines(LayerPlan(found.plan, [*found.outcomes, *joint]))
    assert (
        enough.startswith("A student needs no more than 128 of 256 dimensions") and "+0.040 [+0.030, +0.049]" in enough
    )
    assert few == "64 are too few: +0.500 [+0.450, +0.550] nats per token."
    assert blocks == "Its 5 blocks begin as the teacher's 0–2, 5, 7, in this order."
    none = [replace(row, is_chosen=False) for row in joint]
    assert plan_wording.student_lines(LayerPlan(found.plan, none))[0].startswith("No student narrower than 256")


def test_many_blocks_are_told_as_ranges():
    assert plan_wording.blocks_text([1, *range(3, 20)], 30) == "blocks 1, 3–19 (of 0 to 29)"
    assert in_language("ja", plan_wording.blocks_text, [7], 30) == "ブロック7（0～29のうち）"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_reason_has_words(language):
    assert all(in_language(language, plan_wording.reason_text, code) for code in plan_wording.REASONS)
    assert all(in_language(language, plan_wording.mergekit_reason_text, code) for code in plan_wording.MERGEKIT)
    refused = [layer_plan(reasons=["not_healed", "over_budget"], healing=code).plan for code in plan_wording.HEALING]
    assert all(
        in_language(language, plan_wording.reason_text, "not_healed")
        in in_language(language, plan_wording.note_lines, one)[1]
        for one in refused
    )


def test_the_map_and_the_recipe_are_half_open():
    found = layer_plan()
    told = plan_analysis.layer_map(found)
    assert told["kept_stretches"] == [[0, 3], [5, 6], [7, 8]] and told["removed_stretches"] == [[3, 5], [6, 7]]
    assert told["teacher_block_of_student_block"] == {0: 0, 1: 1, 2: 2, 3: 5, 4: 7}
    dear = layer_plan(budget=0.015)
    assert "1 of 8 blocks can go" in plan_wording.recipe_text(dear) and "Without blocks 3, 4, 6" in (
        plan_wording.recipe_text(dear)
    )
    assert plan_wording.recipe_text(found) == plan_wording.plan_text(found)
    recipe = yaml.safe_load(plan_analysis.mergekit_recipe(found, "It costs little."))
    assert [one["sources"][0]["layer_range"] for one in recipe["slices"]] == told["kept_stretches"]
    assert {one["sources"][0]["model"] for one in recipe["slices"]} == {"o/model@1"}
    local = layer_plan(reference="local:model", config=json.dumps({"model": "/models/model"}))
    assert '"/models/model"' in plan_analysis.mergekit_recipe(local, "It costs little.")


def test_directions_of_the_task_are_told_apart_from_those_of_held_out_text():
    found = layer_plan()
    of_text = [row for row in found.outcomes if row.rule == "projection"]
    none = [replace(row, is_chosen=False) for row in of_text]
    task = [replace(row, text="task", rank=40, is_chosen=True) for row in of_text[:1]]
    rest = [row for row in found.outcomes if row.rule != "projection"]
    told = plan_wording.direction_lines(LayerPlan(found.plan, [*rest, *task, *none]))
    assert told[0] == "layer 4: no rank stays within the budget."
    assert told[1].startswith("task, layer 4: 40 directions suffice") and len(told) == 2


def test_an_answer_names_its_model_and_says_what_the_cheapest_set_costs_where_none_is_within_the_budget():
    answer = plan_wording.plan_text(layer_plan())
    assert answer.startswith(
        "model: 3 of 8 blocks can go: text 3 % harder to predict (+0.031 [+0.023, +0.039] nats per token)"
    )
    dear = plan_wording.plan_text(layer_plan(budget=0.001))
    assert dear.startswith(
        "model: keep all 8 blocks, as no set tried is within the budget. The budget is 0.001 nats per token. Without block 3 "
    )
    assert "0.8 % harder to predict (+0.008" in dear
    unsure = plan_wording.plan_text(layer_plan(budget=0.009))
    assert unsure.startswith("model: keep all 8 blocks, as the loss may exceed the budget. The budget is 0.009 nats")
    assert unsure.endswith("Up to 0.96 % harder is possible: a longer text tells.")


def test_what_was_published_and_what_else_saves_stand_beside_the_plan():
    found = layer_plan(is_healed=True)
    row = next(row for row in found.outcomes if row.is_chosen)
    rounded = replace(
        row, rule="rounding", unit="weights", is_chosen=False, difference=0.001, lower=-0.001, upper=0.003
    )
    size = replace(rounded, text="weights", measure="bytes_bfloat16", value_before=200.0, value_after=120.0)
    assert plan_wording.alternative_lines(found) == []
    plan, rounding = plan_wording.alternative_lines(LayerPlan(found.plan, [*found.outcomes, rounded, size]))
    assert "30 % less memory, 0.0007 nats for each percent" in plan
    assert "0.1 % harder to predict (+0.001" in rounding and "40 % less memory, 0.0000 nats" in rounding
    assert "this model 38 % and 38 %" in plan_wording.budget_lines(found)[-1]
    dear = [
        replace(row, difference=0.3, lower=0.29, upper=0.31) if row.rule in ("greedy", "path") else row
        for row in layer_plan().outcomes
    ]
    told = plan_wording.budget_lines(LayerPlan(layer_plan().plan, dear))
    assert told[-1].endswith("this model 0 % and 38 %. At most 3 blocks were tried."), (
        "so that 38 % is a limit of the search"
    )


def test_an_offered_command_asks_for_the_same_text_and_quotes_names():
    asked = PlanConfig("my models/a", "my text.csv", column="body", encoding="cp932", chat="plain", seed=3)
    told = plan_analysis.save_command(layer_plan(config=json.dumps(asdict(asked)), budget=0.02))
    words = "--text|my text.csv|--column|body|--encoding|cp932|--chat|plain|--seed|3|--budget|0.02|--remove|3:5,6"
    assert shlex.split(told) == ["workdim", "plan", "my models/a", *words.split("|"), "--save-model", "smaller"]


def test_the_record_holds_what_each_budget_allows():
    record = plan_record(answer_within(layer_plan(is_healed=True)))
    assert [row["name"] for row in record["budgets"]] == ["lossless", "noticeable", "as-published"]
    assert record["budgets"][0] | {"nats": 0} == {
        "name": "lossless",
        "nats": 0,
        "blocks": [3, 4, 6],
        "loss_increase": 0.02,
        "lower": 0.018,
        "upper": 0.022,
        "healed": True,
    }
    assert [row["what"] for row in record["alternatives"]] == ["greedy"] and record["sibling_model"] is None
