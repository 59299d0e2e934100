"""Selection rules in the warehouse: versions, choices, outcomes, and that the files are the truth."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core.errors import InputError, WarehouseError
from core.pilots.saved import Assumptions, Criterion, Rule, TaskName, find_rule
from core.store import user_files
from core.tables import RuleChoiceRow
from core.warehouse import people
from core.warehouse.warehouse import Warehouse

RULE = Rule(
    "Small and good", "general", (Criterion("score", weight=6.0), Criterion("parameters", weight=4.0)),
    task=TaskName("lambada_openai", "acc"), note="first",
)  # fmt: skip


def chosen(rule: Rule, choice_id: str, **changes) -> RuleChoiceRow:
    row = RuleChoiceRow(
        rule_id=rule.rule_id,
        choice_id=choice_id,
        task="lambada_openai",
        metric="acc",
        candidates=["run-1", "run-2"],
        n=2,
        n_meeting=2,
        run_id="run-1",
        model_id="a@1",
        runner_up="b@1",
        total=0.75,
        runner_up_total=0.5,
        share_first=0.9,
        reasons=["best_total", "within_error"],
        evidence="{}",
        chosen_at=datetime(2026, 1, 1, int(choice_id[-1])),
    )
    return replace(row, **changes)


def test_a_rule_that_says_something_else_is_another_version(warehouse):
    first = people.save_rule(warehouse, RULE)
    second = people.save_rule(warehouse, replace(RULE, assumptions=Assumptions(bits=8.0)))
    other = people.save_rule(warehouse, replace(RULE, name="Other"))
    assert (first.version, second.version, other.version) == (1, 2, 1)
    again = people.save_rule(warehouse, replace(RULE, note="second"))
    assert (again.version, again.rule_id) == (1, first.rule_id)
    saved = people.list_rules(warehouse)
    assert [(one.rule.name, one.version) for one in saved] == [
        ("Other", 1),
        ("Small and good", 2),
        ("Small and good", 1),
    ]
    assert saved[2].rule == replace(RULE, note="second")
    assert find_rule(saved, "Small and good").version == 2
    assert find_rule(saved, first.rule_id).version == 1
    assert find_rule(saved, other.rule_id[:7]).rule.name == find_rule(saved, other.rule_id[-8:]).rule.name == "Other"
    with pytest.raises(InputError, match="Several begin or end with 'small'"):
        find_rule(saved, "small")
    with pytest.raises(InputError, match="Did you mean Small and good"):
        find_rule(saved, "Smal and good")
    with pytest.raises(InputError, match=r"None yet\. Begin with `workdim rules save FILE\.toml`\."):
        find_rule([], "x")


def test_choices_and_their_outcomes_are_kept_with_their_rule(warehouse):
    people.save_rule(warehouse, RULE)
    for one in ("choice-1", "choice-2"):
        people.add_choice(warehouse, chosen(RULE, one))
    said = people.set_outcome(warehouse, RULE.rule_id, "choice-1", "wrong", " it was slow ")
    assert (said.outcome, said.outcome_note) == ("wrong", "it was slow") and said.outcome_at is not None
    (saved,) = people.list_rules(warehouse)
    assert [(one.choice_id, one.outcome) for one in saved.choices] == [("choice-2", None), ("choice-1", "wrong")]
    assert saved.choices[0] == chosen(RULE, "choice-2")
    people.save_rule(warehouse, replace(RULE, note="later"))
    assert len(people.list_rules(warehouse)[0].choices) == 2
    people.set_outcome(warehouse, RULE.rule_id, "choice-1", None)
    assert people.list_rules(warehouse)[0].choices[1] == chosen(RULE, "choice-1")


def test_the_files_are_the_truth(warehouse):
    people.save_rule(warehouse, RULE)
    people.add_choice(warehouse, chosen(RULE, "choice-1"))
    before = people.list_rules(warehouse)
    file = user_files.path_of(warehouse.folder, "rule", RULE.rule_id)
    assert json.loads(file.read_text(encoding="utf-8"))["tables"]["rule_choices"][0]["model_id"] == "a@1"
    warehouse.path.unlink()
    assert people.list_rules(Warehouse(warehouse.path)) == before
    people.delete_rule(warehouse, RULE.rule_id)
    assert not file.exists() and people.list_rules(warehouse) == []
    warehouse.rebuild()
    assert people.list_rules(warehouse) == []


def test_a_choice_of_another_rule_in_a_file_is_refused_and_its_rows_stay(warehouse):
    people.save_rule(warehouse, RULE)
    people.add_choice(warehouse, chosen(RULE, "choice-1"))
    file = user_files.path_of(warehouse.folder, "rule", RULE.rule_id)
    content = json.loads(file.read_text(encoding="utf-8"))
    content["tables"]["rule_choices"][0]["rule_id"] = "other"
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(WarehouseError, match="rule_choices has rows of something else"):
        people.set_outcome(warehouse, RULE.rule_id, "choice-1", "right")
    assert [one.choice_id for one in people.list_rules(warehouse)[0].choices] == ["choice-1"]


REFUSED = (
    (lambda w: people.set_outcome(w, RULE.rule_id, "no-such", "right"), "no choice no-such"),
    (lambda w: people.set_outcome(w, "gone", "choice-1", "right"), "There is no rule gone"),
    (lambda w: people.delete_rule(w, "gone"), "There is no rule gone"),
    (lambda w: people.add_choice(w, chosen(replace(RULE, name="x"), "choice-1")), "There is no rule x-"),
    (lambda w: people.save_rule(w, replace(RULE, name="a" * 81)), "1 to 80"),
)


def test_what_cannot_be_done_is_one_line_and_changes_nothing(warehouse):
    people.save_rule(warehouse, RULE)
    people.add_choice(warehouse, chosen(RULE, "choice-1"))
    before = people.list_rules(warehouse)
    for act, message in REFUSED:
        with pytest.raises(InputError, match=message) as told:
            act(warehouse)
        assert "\n" not in str(told.value)
    assert people.list_rules(warehouse) == before


def test_a_time_is_kept_in_utc_without_a_zone(warehouse):
    people.save_rule(warehouse, RULE)
    people.add_choice(warehouse, chosen(RULE, "choice-1", chosen_at=datetime(2026, 1, 1, 3, tzinfo=UTC)))
    assert people.list_rules(warehouse)[0].choices[0].chosen_at == datetime(2026, 1, 1, 3)
