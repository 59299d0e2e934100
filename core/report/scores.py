"""How published scores are worded: whose they are, by which metric, from how many shots."""

from __future__ import annotations

from core.locale import translator
from core.report.names import NOT_STATED
from core.report.numbers import number


def no_score(language: str) -> str:
    _ = translator(language)
    return _("no published score for this model")


def stated(text: str | None, language: str) -> str:
    """A detail of a score as its source gives it: `not stated` is a word of ours, and is translated."""
    _ = translator(language)
    return _("not stated") if text is None or text == NOT_STATED else text


def score_text(row: dict, language: str) -> str:
    """A score of `ranking.with_scores`, with what it really belongs to."""
    _ = translator(language)
    match = row["score_match"]
    if match == "none" or row["score"] is None:
        return no_score(language)
    error = "" if row["score_std_error"] is None else f" ± {row['score_std_error']:.2g}"
    value = f"{number(row['score'])}{error}"
    if match == "own":
        return _("{value} (own score)").format(value=value)
    if match == "base":
        return _("{value} (base model {repository})").format(value=value, repository=row["score_repository"])
    return _("{value} (revision not stated)").format(value=value) if match == "revision_not_stated" else value


def benchmark_name(benchmark: str, metric: str | None, n_shot: int | None, language: str) -> str:
    """`arc_easy (acc, 5-shot)`: scores of other metrics or shots are other scores."""
    _ = translator(language)
    details = [_("metric not stated") if metric == NOT_STATED else metric] if metric else []
    if n_shot is not None:
        details.append(_("{n}-shot").format(n=n_shot))
    named = _("{quantity} ({details})")
    return named.format(quantity=benchmark, details=_(", ").join(details)) if details else benchmark
