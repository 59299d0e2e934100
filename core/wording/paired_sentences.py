"""What a paired comparison of two models says, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from core.analysis.paired import Paired
from core.locale import translator
from core.wording.numbers import number, with_interval


def outcome(one: Paired, language: str) -> str:
    _ = translator(language)
    if not one.is_told_apart:
        return _("not told apart")
    return _("first is higher") if one.difference > 0 else _("second is higher")


def statement(name: str, model_a: str, model_b: str, one: Paired, language: str) -> list[str]:
    """The comparison on one benchmark: the difference, what it rests on, and whether it can be told from chance."""
    _ = translator(language)
    means = _("{benchmark}: {a} {mean_a}, {b} {mean_b}; difference {difference} over {n} common questions.").format(
        benchmark=name,
        a=model_a,
        b=model_b,
        mean_a=number(one.mean_a),
        mean_b=number(one.mean_b),
        difference=with_interval(one.difference, one.lower, one.upper),
        n=f"{one.n_common:,}",
    )
    lines = (means, *(told(one, language) for told in (_left_out, _right_or_wrong, _judged)))
    return [line for line in lines if line]


def caution(n: int, language: str) -> str:
    """What many comparisons at once are worth."""
    _ = translator(language)
    line = _("Comparisons: {n}. Of models that are alike, about one in twenty would be told apart by chance.")
    return line.format(n=n)


def newest_counts(benchmarks: Sequence[str], language: str) -> str:
    """Of which benchmarks a model has answers in several files, and which of them are compared."""
    _ = translator(language)
    line = _("Where answers to a benchmark came in several files, the file imported last counts: {names}.")
    return line.format(names=_(", ").join(benchmarks))


def p_text(p: float | None) -> str:
    if p is None:
        return "–"
    return f"{p:.2g}" if p >= 1e-4 else "< 0.0001"


def _left_out(one: Paired, language: str) -> str:
    _ = translator(language)
    told = []
    if one.n_only_a or one.n_only_b:
        line = _("Left out, as only one model answered them: {a} of the first, {b} of the second.")
        told.append(line.format(a=f"{one.n_only_a:,}", b=f"{one.n_only_b:,}"))
    if one.n_repeated:
        told.append(_("Answered more than once, counted once by their mean: {n}.").format(n=f"{one.n_repeated:,}"))
    return " ".join(told)


def _right_or_wrong(one: Paired, language: str) -> str:
    _ = translator(language)
    if one.p_value is None:
        return ""
    line = _("Right by the first alone: {a}; by the second alone: {b}; McNemar's exact test: p = {p}.")
    return line.format(a=f"{one.only_a_right:,}", b=f"{one.only_b_right:,}", p=p_text(one.p_value))


def _judged(one: Paired, language: str) -> str:
    _ = translator(language)
    if one.is_told_apart:
        return _("The difference is larger than chance explains (95 %).")
    if one.detectable is not None and one.p_value is not None and one.detectable >= 1:
        return _("The two cannot be told apart: these are too few questions to show any difference.")
    if one.detectable is None:
        return _("The two cannot be told apart on these questions.")
    line = _("The two cannot be told apart: a true difference of {least} would have shown with 80 % probability.")
    return line.format(least=number(one.detectable))
