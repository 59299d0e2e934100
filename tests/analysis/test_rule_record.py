"""What a rule chose, and how often it was right."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core.analysis.decision import decide, record_choice, task_remark, track_record
from core.pilots.saved import Criterion, Rule, TaskName
from tests.answers import SCORE, THREE, asked

RULE = Rule("Small", "general", (Criterion("score", weight=1.0),), task=TaskName("made-up", "acc"))


SCORES = [replace(one, values=one.values[:1]) for one in THREE]


AT = datetime(2026, 1, 2, tzinfo=UTC)


def test_a_choice_keeps_its_reasons_and_what_it_was_made_of():
    found = decide(SCORES, [asked("score")], None)
    kept = record_choice(RULE, found, SCORE, "c1", AT)
    assert (kept.model_id, kept.runner_up, kept.n, kept.n_meeting) == ("large@1", "middle@1", 3, 3)
    assert (kept.task, kept.reasons, kept.outcome) == ("made-up", ["best_total"], None)
    evidence = json.loads(kept.evidence)
    assert evidence["values"]["run-small"] == [[50, 50, 50]] and evidence["criteria"] == ["score~made-up~acc~none~0~s"]


def test_a_rule_learned_on_another_task_says_so():
    other = SCORE | {"benchmark": "gsm8k"}
    found = decide(SCORES, [asked("score")], None)
    assert record_choice(RULE, found, other, "c", AT).reasons == ["best_total", "other_task"]
    assert record_choice(RULE, found, None, "c", AT).reasons == ["best_total", "no_task"]
    assert task_remark(replace(RULE, task=None), other) is None


def test_how_often_a_rule_was_right_has_an_exact_interval():
    one = record_choice(RULE, decide(SCORES, [asked("score")], None), SCORE, "c", AT)
    choices = [replace(one, outcome=outcome) for outcome in ("right", "right", "right", "wrong", None)]
    choices.append(replace(one, task="gsm8k", outcome="wrong"))
    whole, own = track_record(choices), track_record(choices, "made-up")
    assert (whole.n_right, whole.n_known, whole.n_open) == (3, 5, 1)
    assert (own.n_right, own.n_known, own.lower, own.upper) == (
        3,
        4,
        pytest.approx(0.3006, abs=1e-4),
        pytest.approx(0.9544, abs=1e-4),
    )
    assert track_record([one]).lower is None
