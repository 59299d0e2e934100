"""Rules that were saved: how often each was right, what it chose, and saving the criteria stated on the page as one."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis.decision import Decision
from core.analysis.rule_record import record_choice, track_record
from core.errors import WorkdimError
from core.pilots.rule import Rule, SavedRule, parse_rule, to_toml
from core.tables import RuleChoiceRow
from core.ui import inputs, language, reads, tables, url_state
from core.ui.decide.choices import Look, task_named
from core.ui.markdown import escape
from core.warehouse import rules
from core.wording import decisions as words
from core.wording.pilot_sentences import use_class_name

MOST_CHOICES = 12
"""Of a rule, that are drawn."""
_TOLD = "decide told"


def show_rules(look: Look) -> None:
    """Rules that were saved, how often each was right, and what can be done with the one that is chosen."""
    _ = language.translator()
    saved = look.rules
    if told := st.session_state.pop(_TOLD, None):
        st.error(escape(told), icon=":material/error:")
    if saved:
        tables.show(rule_table(saved, look), "rules")
    else:
        st.info(
            _(
                "No rule is saved yet. A rule keeps criteria, weights, thresholds and use class, and what came of each choice."
            )
        )
    if look.rule:
        _act(look, look.rule)
    else:
        _offer_saving(look)
    _offer_upload()


def rule_table(saved: list[SavedRule], look: Look) -> pl.DataFrame:
    _ = language.translator()
    reader = language.current()
    return pl.DataFrame(
        {
            _("Rule"): [words.rule_name(one, reader) for one in saved],
            _("Was right"): [words.record(track_record(one.choices), reader) for one in saved],
            _("Learned on"): [words.task_name(one.rule.task, reader) for one in saved],
            _("Criteria"): [words.rule_text(one.rule, reader) for one in saved],
            _("Use class"): [use_class_name(one.rule.use_class, reader) for one in saved],
            _("Saved"): [language.local_time(one.at, in_table=True) for one in saved],
        }
    )


@inputs.writing
def _act(look: Look, saved: SavedRule) -> None:
    _ = language.translator()
    reader = language.current()
    with st.container(horizontal=True, vertical_alignment="center"):
        if look.decision:
            st.button(
                _("Apply and keep the choice"),
                type="primary",
                icon=":material/gavel:",
                on_click=_apply,
                args=(look, saved, look.decision),
            )
        st.download_button(
            _("Download as TOML"),
            to_toml(saved.rule),
            f"{saved.rule_id}.toml",
            "application/toml",
            on_click="ignore",
            icon=":material/download:",
        )
        with st.popover(_("Delete..."), icon=":material/delete:"):
            st.markdown(
                _("Forget {rule} with all its choices?").format(rule=f"**{escape(words.rule_name(saved, reader))}**")
            )
            st.button(
                _("Delete"),
                key="rule delete",
                on_click=_change,
                args=(lambda: rules.delete_rule(reads.warehouse(), saved.rule_id),),
            )
    if not saved.choices:
        return
    st.subheader(_("What it chose"))
    for task in dict.fromkeys(one.task for one in saved.choices if one.task):
        told = words.record(track_record(saved.choices, task), reader)
        st.caption(escape(_("On {task}: {told}.").format(task=task, told=told)))
    for one in saved.choices[:MOST_CHOICES]:
        _show_choice(saved, one)
    if len(saved.choices) > MOST_CHOICES:
        st.caption(_("The newest {n} of {total} choices.").format(n=MOST_CHOICES, total=len(saved.choices)))


def _show_choice(saved: SavedRule, one: RuleChoiceRow) -> None:
    """One choice with its reasons; its outcome, or what asks for it."""
    _ = language.translator()
    reader = language.current()
    with st.container(border=True):
        when = _("{day}, task {task}").format(day=language.local_time(one.chosen_at), task=one.task or _("none"))
        st.markdown(f"**{escape(words.choice_text(one, reader))}** · {escape(when)}")
        for line in filter(None, (words.reason(key, reader, one.share_first) for key in one.reasons)):
            st.caption(escape(line))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            if one.outcome:
                name = wording.name("rule_outcome", one.outcome, reader)
                told = _("Outcome: {outcome}.").format(outcome=name)
                st.markdown(escape(f"{told} {one.outcome_note or ''}".strip()))
                _outcome_button(_("Take back"), saved, one, None)
            else:
                st.text_input(_("What it is known from"), key=f"note {one.choice_id}", width=320)
                _outcome_button(_("It was right"), saved, one, "right")
                _outcome_button(_("It was wrong"), saved, one, "wrong")


@inputs.writing
def _outcome_button(label: str, saved: SavedRule, one: RuleChoiceRow, outcome: str | None) -> None:
    def write() -> None:
        note = st.session_state.get(f"note {one.choice_id}")
        rules.set_outcome(reads.warehouse(), saved.rule_id, one.choice_id, outcome, note)

    st.button(label, key=f"{outcome} {one.choice_id}", on_click=_change, args=(write,))


def _change(act: Callable[[], Any]) -> None:
    """Before the page is drawn again, so that it shows what was changed; what cannot be done is told there."""
    try:
        act()
    except WorkdimError as error:
        st.session_state[_TOLD] = str(error)


def _apply(look: Look, saved: SavedRule, decision: Decision) -> None:
    choice = record_choice(saved.rule, decision, look.task, secrets.token_hex(6), datetime.now(UTC))
    _change(lambda: rules.add_choice(reads.warehouse(), choice))


@inputs.writing
def _offer_saving(look: Look) -> None:
    """The criteria as they are stated, as a rule of this name."""
    _ = language.translator()
    if look.decision is None:
        return
    st.subheader(_("Save the criteria stated here"))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(_("Name of the rule"), key="rule name", max_chars=rules.MAX_NAME_LENGTH, width=320)
        note = st.text_input(_("Note"), key="rule note", width=320)
        st.button(
            _("Save as a rule"),
            icon=":material/save:",
            disabled=not name.strip(),
            on_click=_save,
            args=(look, name.strip(), note.strip() or None),
        )


def _save(look: Look, name: str, note: str | None) -> None:
    def act() -> None:
        kept = rules.save_rule(reads.warehouse(), as_rule(look, name, note))
        st.session_state[url_state.key("rule")] = kept.rule_id

    _change(act)


def as_rule(look: Look, name: str, note: str | None = None) -> Rule:
    """What is stated on the page. The first score is that of the task at hand; further ones name their benchmark."""
    criteria = []
    for one in look.asked:
        is_task = one.benchmark is not None and one.benchmark is look.task
        named = None if one.benchmark is None or is_task else task_named(one.benchmark)
        criteria.append(replace(one.criterion, benchmark=named))
    return Rule(name, look.use_class, tuple(criteria), task_named(look.task), look.assumed, note)


@inputs.writing
def _offer_upload() -> None:
    _ = language.translator()
    with st.expander(_("Save a rule from a TOML file")):
        file = st.file_uploader(_("Rule file"), type="toml", key="rule file", label_visibility="collapsed")
        if file is not None and st.button(_("Save it"), key="rule take"):
            try:
                kept = rules.save_rule(
                    reads.warehouse(), parse_rule(file.getvalue().decode("utf-8-sig"), Path(file.name))
                )
            except UnicodeDecodeError:
                st.error(_("The file is not UTF-8. Save it as UTF-8 and try again."), icon=":material/error:")
            except WorkdimError as error:
                st.error(escape(str(error)), icon=":material/error:")
            else:
                st.success(escape(words.rule_name(kept, language.current())), icon=":material/check:")
