"""What a selection rule chose, and how often it was right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from core.analysis.decision import Decision
from core.analysis.groups import share_limits
from core.pilots.saved import Rule
from core.tables import RuleChoiceRow


def task_remark(rule: Rule, benchmark: Mapping[str, Any] | None) -> str | None:
    """`other_task` if a rule learned on one task is applied to another, `no_task` if applied without a task."""
    if rule.task is None or (benchmark is not None and rule.task.is_met_by(benchmark)):
        return None
    return "no_task" if benchmark is None else "other_task"


def record_choice(
    rule: Rule, decision: Decision, benchmark: Mapping[str, Any] | None, choice_id: str, chosen_at: datetime
) -> RuleChoiceRow:
    """The row for a rule's choice; its outcome is added later."""
    remark = task_remark(rule, benchmark)
    chosen = decision.chosen
    totals = decision.totals if chosen else ()
    candidates = [*decision.candidates, *(excluded.candidate for excluded in decision.excluded)]
    evidence = {
        "criteria": [criterion.key for criterion in decision.criteria],
        "weights": [round(criterion.share, 6) for criterion in decision.criteria],
        "values": {
            candidate.run_id: [None if r is None else [r.value, r.lower, r.upper] for r in candidate.values]
            for candidate in candidates
        },
    }
    return RuleChoiceRow(
        rule_id=rule.rule_id,
        choice_id=choice_id,
        task=None if benchmark is None else benchmark["benchmark"],
        metric=None if benchmark is None else benchmark["metric"],
        candidates=sorted(candidate.run_id for candidate in candidates),
        n=decision.n,
        n_meeting=len(decision.candidates),
        run_id=chosen.run_id if chosen else None,
        model_id=chosen.model_id if chosen else None,
        runner_up=decision.candidates[1].model_id if len(totals) > 1 else None,
        total=totals[0] if totals else None,
        runner_up_total=totals[1] if len(totals) > 1 else None,
        share_first=decision.share_first,
        reasons=[*decision.reasons, *([remark] if remark else [])],
        evidence=json.dumps(evidence, sort_keys=True),
        chosen_at=chosen_at,
    )


@dataclass(frozen=True)
class TrackRecord:
    """How often a rule was right."""

    task: str | None
    """Restricted to this task; None: all tasks."""
    n_right: int
    n_known: int
    n_open: int
    """Choices without a recorded outcome."""
    lower: float | None
    """95 percent interval of the share of right choices (Wilson); None without known outcomes."""
    upper: float | None


def track_record(choices: Sequence[RuleChoiceRow], task: str | None = None) -> TrackRecord:
    """Track record over the choices of one rule, all or those on one task."""
    among = [choice for choice in choices if task is None or choice.task == task]
    is_right = [choice.outcome == "right" for choice in among if choice.outcome is not None]
    if not is_right:
        return TrackRecord(task, 0, 0, len(among), None, None)
    lower, upper = share_limits(np.array(is_right, dtype=float))
    return TrackRecord(task, sum(is_right), len(is_right), len(among) - len(is_right), lower, upper)
