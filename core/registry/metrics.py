"""Standard metrics of benchmarks: which end is the better one, and in what unit their values come."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Metric:
    """A metric, known by a word in its name: `acc` is also in `acc_norm` and `prompt_level_strict_acc`."""

    word: str
    """A pattern of the word, in small letters."""
    higher_is_better: bool | None
    is_share: bool = False
    """Whether values lie between 0 and 1 (mcc: -1 and 1) or are percentages of that; else the unit is the metric's own."""


METRICS = (
    # What is lower where it is better comes first: `token_perplexity_acc` is no metric, `brier_score` is.
    Metric("perplexity|ppl|bits_per_byte|bpb|ter|wer|cer", False),
    Metric("brier|brier_score", False, is_share=True),
    Metric("acc|accuracy|em|exact|exact_match|f1|mc1|mc2|mcc|precision|recall|pass", True, is_share=True),
    Metric("rouge[12lsum]*", True, is_share=True),
    Metric(r"bleu|chrf\+*", True),
    Metric("likelihood_diff", None, is_share=True),
)
_NOT_THE_METRIC = re.compile(r"(^|_)(error|loss)(_|$)")
"""Words that turn the metric around: `f1_loss`."""


@lru_cache(maxsize=4096)
def find_metric(name: str) -> Metric | None:
    """The standard metric of this name, written in any case: `acc_norm`, `Exact Match`, `ROUGE-L`, `acc, ranked`."""
    plain = re.sub(r"[\s-]+", "_", re.split(r"[,(]", name.strip().casefold())[0].strip())
    if _NOT_THE_METRIC.search(plain):
        return None
    for metric in METRICS:
        end = "(_|@|$)" if metric.higher_is_better is not False else "$"
        if re.search(rf"(^|_)({metric.word}){end}", plain):
            return metric
    return None


def higher_is_better(name: str) -> bool | None:
    """Whether a higher value is the better one; None where the name does not tell."""
    metric = find_metric(name)
    return metric.higher_is_better if metric else None
