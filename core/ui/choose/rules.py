"""The section Rules of the page Choose: saved rules, how often each was right, and saving the criteria as a rule."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import streamlit as st

from core import wording
from core.analysis.decision import record_choice, track_record
from core.errors import WorkdimError
from core.ids import MAX_NAME
from core.locale import _
from core.pilots.saved import Rule, SavedRule, parse_rule, to_toml
from core.tables import RuleChoiceRow
from core.ui import inputs, language, reads, tables, url_state
from core.ui.choose.choices import DecisionView, task_name
from core.ui.language import escape, show_error, show_notes
from core.warehouse import people
from core.wording import decisions as decision_wording

MAX_CHOICES = 12
"""Choices of a rule that are drawn."""
_ERROR = "choose told"


def show_rules(view: DecisionView) -> None:
    """Draw the saved rules, and the actions on the chosen one."""
    if error := st.session_state.pop(_ERROR, None):
        show_error(error)
    if rules := reads.lists().rules:
        columns = {
            _("Rule"): decision_wording.rule_name,
            _("Was right"): lambda saved: decision_wording.track_record_text(track_record(saved.choices)),
            _("Learned on"): lambda saved: decision_wording.task_name(saved.rule.task),
            _("Criteria"): lambda saved: decision_wording.rule_text(saved.rule),
            _("Use class"): lambda saved: wording.name("use_class", saved.rule.use_class),
            _("Saved"): lambda saved: language.local_time(saved.at, in_table=True),
        }
        tables.show(tables.of(rules, columns), "rules")
    else:
        st.info(_("No rule is saved."))
    if view.rule:
        _show_rule_actions(view, view.rule)
    else:
        _show_save_form(view)
    _show_upload()


@inputs.hidden_when_read_only
def _show_rule_actions(view: DecisionView, rule: SavedRule) -> None:
    with inputs.row("center"):
        if decision := view.decision:

            def keep() -> None:  # the choice is made at the click, not when its page was drawn
                choice = record_choice(rule.rule, decision, view.task, secrets.token_hex(6), datetime.now(UTC))
                people.add_choice(reads.warehouse(), choice)

            _change_button(_("Apply and keep the choice"), keep, type="primary", icon=":material/gavel:")
        inputs.show_download(_("Download as TOML"), to_toml(rule.rule), f"{rule.rule_id}.toml")
        with st.popover(_("Delete..."), icon=":material/delete:"):
            name = f"**{escape(decision_wording.rule_name(rule))}**"
            st.markdown(_("Delete {rule} with its choices?", rule=name))
            _change_button(_("Delete"), lambda: people.delete_rule(reads.warehouse(), rule.rule_id), key="rule delete")
    if not rule.choices:
        return
    st.subheader(_("What it chose"))
    for task in dict.fromkeys(choice.task for choice in rule.choices if choice.task):
        record = decision_wording.track_record_text(track_record(rule.choices, task))
        st.caption(escape(_("On {task}: {told}.", task=task, told=record)))
    for choice in rule.choices[:MAX_CHOICES]:
        _show_past_choice(rule, choice)
    if len(rule.choices) > MAX_CHOICES:
        st.caption(_("The newest {n} of {total} choices.", n=MAX_CHOICES, total=len(rule.choices)))


def _show_past_choice(rule: SavedRule, choice: RuleChoiceRow) -> None:
    """Draw a choice with its reasons, and its outcome or the inputs for it."""
    with st.container(border=True):
        at = _("{day}, task {task}", day=language.local_time(choice.chosen_at), task=choice.task or _("none"))
        st.markdown(f"**{escape(decision_wording.choice_text(choice))}** · {escape(at)}")
        show_notes(map(decision_wording.reason_text, choice.reasons))
        with inputs.row():
            if choice.outcome:
                outcome = _("Outcome: {outcome}.", outcome=wording.name("rule_outcome", choice.outcome))
                st.markdown(escape(wording.joined_sentences((outcome, choice.outcome_note or ""))))
                _show_outcome_button(_("Take back"), rule, choice, None)
            else:
                st.text_input(_("What it is known from"), key=f"note {choice.choice_id}", width=320)
                _show_outcome_button(_("It was right"), rule, choice, "right")
                _show_outcome_button(_("It was wrong"), rule, choice, "wrong")


@inputs.hidden_when_read_only
def _show_outcome_button(label: str, rule: SavedRule, choice: RuleChoiceRow, outcome: str | None) -> None:
    def write() -> None:
        note = st.session_state.get(f"note {choice.choice_id}")
        people.set_outcome(reads.warehouse(), rule.rule_id, choice.choice_id, outcome, note)

    _change_button(label, write, key=f"{outcome} {choice.choice_id}")


def _change_button(label: str, change: Callable[[], Any], **more: Any) -> None:
    """Draw a button for a change that is made before the page is drawn again; an error is shown on that page."""

    def act() -> None:
        try:
            change()
        except WorkdimError as error:
            st.session_state[_ERROR] = error

    st.button(label, on_click=act, **more)


@inputs.hidden_when_read_only
def _show_save_form(view: DecisionView) -> None:
    """Draw the form that saves the criteria of the page as a rule."""
    if view.decision is None:
        return

    def save() -> None:
        criteria = []
        for criterion in view.criteria:  # the score of the page's task is that of any task, others keep their benchmark
            is_task = criterion.benchmark is not None and criterion.benchmark is view.task
            criteria.append(replace(criterion.criterion, benchmark=None if is_task else task_name(criterion.benchmark)))
        stated = view.use_class, tuple(criteria), task_name(view.task), view.assumptions
        # As typed at the click: the page may not have been drawn since.
        typed, note = (str(st.session_state[key]).strip() for key in ("rule name", "rule note"))
        saved = people.save_rule(reads.warehouse(), Rule(typed, *stated, note or None))
        st.session_state[url_state.key("rule")] = saved.rule_id

    st.subheader(_("Save the criteria stated here"))
    with inputs.row():
        name = st.text_input(_("Name of the rule"), key="rule name", max_chars=MAX_NAME, width=320)
        st.text_input(_("Note"), key="rule note", width=320)
        _change_button(_("Save as a rule"), save, icon=":material/save:", disabled=not name.strip())


@inputs.hidden_when_read_only
def _show_upload() -> None:
    with st.expander(_("Save a rule from a TOML file")):
        file = inputs.upload(_("Rule file"), ["toml"], "rule file", label_visibility="collapsed")
        if file is not None and st.button(_("Save it"), key="rule take"):
            rule = parse_rule(file.getvalue(), Path(file.name))
            saved = people.save_rule(reads.warehouse(), rule)
            st.success(escape(decision_wording.rule_name(saved)), icon=":material/check:")
