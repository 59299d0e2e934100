"""What is known of metrics by their names, for files that do not say it themselves."""

from __future__ import annotations

import re

from core.scores.cells import Remarks
from core.scores.proposal import Remark

_FRACTIONS = re.compile(
    r"(^|_)(acc|accuracy|em|exact|exact_match|f1|mc1|mc2|mcc|precision|recall|pass|rouge[12lLsum]*|brier_score|likelihood_diff)"
    r"(_|@|$)"
)
"""Metrics that lm-evaluation-harness reports from 0 to 1 (mcc from -1), except where a task multiplies them itself."""
_PERCENT_TASKS = ("squadv2", "squad2")
"""SQuAD's own script gives 0 to 100."""
_HIGHER = re.compile(r"(^|_)(acc|accuracy|em|exact|exact_match|f1|mc1|mc2|mcc|pass|bleu|chrf|rouge[12lLsum]*)(_|@|$)")
_LOWER = re.compile(r"(^|_)(perplexity|bits_per_byte|ter|brier_score)$")


def higher_is_better(metric: str) -> bool | None:
    """By the metric's name; NULL where the name does not tell."""
    if _LOWER.search(metric):
        return False
    return True if _HIGHER.search(metric) else None


def unit_of(benchmark: str, metric: str, value: float, remarks: Remarks) -> str:
    """`fraction` where a metric of this name is one and the value fits, else the metric's own name."""
    if benchmark.startswith(_PERCENT_TASKS):
        return "percent"
    if not _FRACTIONS.search(metric):
        return metric
    if -1.0 <= value <= 1.0:
        return "fraction"
    remarks.append(Remark("beyond_fraction", f"{value:.6g}"))
    return metric
