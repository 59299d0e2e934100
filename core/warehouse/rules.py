"""Saved selection rules with their past choices: one file for each version of a rule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from core.errors import InputError, missing, unknown_name
from core.pilots.saved import OUTCOMES, Rule, SavedRule, rule_from_config
from core.store import user_files
from core.tables import RuleChoiceRow, RuleRow, records
from core.warehouse.connection import Readable
from core.warehouse.warehouse import Warehouse

_KIND = "rule"


def list_rules(warehouse: Readable) -> list[SavedRule]:
    """Every rule by name, newest version first, with its choices, newest first."""
    rules = records(warehouse.read("FROM rules ORDER BY lower(name), name, version DESC"), RuleRow)
    rows = records(warehouse.read("FROM rule_choices ORDER BY chosen_at DESC, choice_id"), RuleChoiceRow)
    return [
        SavedRule(
            rule_from_config(row.config),
            row.version,
            row.created_at,
            tuple(c for c in rows if c.rule_id == row.rule_id),
        )
        for row in rules
    ]


def save_rule(warehouse: Warehouse, rule: Rule) -> SavedRule:
    """Save a rule; one that differs from others of its name becomes a further version.

    A rule that is saved already keeps its choices; only its note is updated. Raises InputError for an invalid name.
    """
    user_files.typed_name(rule.name)
    rule_id = rule.rule_id
    with warehouse.update(_KIND, rule_id) as connection:
        if user_files.exists(warehouse.folder, _KIND, rule_id):
            row, choices = _read(warehouse, rule_id)
            row = replace(row, note=rule.note, config=rule.config())
        else:
            newest = connection.execute("SELECT max(version) FROM rules WHERE name = ?", [rule.name]).fetchall()[0][0]
            task, choices = rule.task, []
            row = RuleRow(
                rule_id=rule_id,
                name=rule.name,
                version=(newest or 0) + 1,
                use_class=rule.use_class,
                task=task.name if task else None,
                metric=task.metric if task else None,
                config=rule.config(),
                note=rule.note,
                created_at=datetime.now(UTC).replace(tzinfo=None),
            )
        _write(warehouse, row, choices)
    return SavedRule(rule, row.version, row.created_at, tuple(choices))


def add_choice(warehouse: Warehouse, choice: RuleChoiceRow) -> None:
    """Add a choice to the file of its rule."""
    with warehouse.update(_KIND, choice.rule_id):
        row, choices = _read(warehouse, choice.rule_id)
        _write(warehouse, row, [choice, *choices])


def set_outcome(
    warehouse: Warehouse, rule_id: str, choice_id: str, outcome: str | None, note: str | None = None
) -> RuleChoiceRow:
    """Record whether a choice proved right; None clears it. Raises InputError for an unknown choice."""
    if outcome not in (*OUTCOMES, None):
        raise InputError(unknown_name("outcome", str(outcome), OUTCOMES))
    now = datetime.now(UTC).replace(tzinfo=None)
    with warehouse.update(_KIND, rule_id):
        row, choices = _read(warehouse, rule_id)
        position = next((n for n, choice in enumerate(choices) if choice.choice_id == choice_id), None)
        if position is None:
            raise InputError(missing("choice", choice_id, "rules list"))
        outcome_at, outcome_note = (now, (note or "").strip() or None) if outcome else (None, None)
        choices[position] = replace(
            choices[position], outcome=outcome, outcome_at=outcome_at, outcome_note=outcome_note
        )
        _write(warehouse, row, choices)
        return choices[position]


def delete_rule(warehouse: Warehouse, rule_id: str) -> None:
    """Delete a version of a rule with its choices. Raises InputError for an unknown id."""
    _read(warehouse, rule_id)
    warehouse.delete(_KIND, rule_id)


def _read(warehouse: Warehouse, rule_id: str) -> tuple[RuleRow, list[RuleChoiceRow]]:
    """The content of the file, newest choice first."""
    tables = user_files.read(warehouse.folder, _KIND, rule_id)
    if tables is None:
        raise InputError(missing("rule", rule_id, "rules list"))
    (row,) = records(tables["rules"], RuleRow)
    choices = records(tables["rule_choices"], RuleChoiceRow)
    return row, sorted(choices, key=lambda choice: choice.chosen_at, reverse=True)


def _write(warehouse: Warehouse, row: RuleRow, choices: list[RuleChoiceRow]) -> None:
    user_files.write(warehouse.folder, _KIND, row.rule_id, {"rules": [row], "rule_choices": choices})
