"""The wording of slides for decision makers: names, limits, checks, durations, and the titles of a pilot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from core import wording
from core.locale import _, glossary, spoken
from core.pilots.pilot import Pilot
from core.questions.ranking_answer import Answer
from core.sources import Text, counted, derived
from core.wording import answers as answer_wording
from core.wording.labels import bracket, duration, marked_name, names_text, shortened_name


def short_names_text(names: Sequence[str]) -> str:
    """The first names, shortened, and how many more there are; a dash if there are none."""
    return names_text([shortened_name(name, 30) for name in names], 4) or "–"


def meaning_of(term: str) -> str:
    """What the glossary says of it."""
    return next(one for one in glossary() if one.en == term).meaning(spoken())


def limits_text(lower: float | None, upper: float | None, write: Callable[[float | None], str] | None = None) -> str:
    """`[0.38, 0.46]`, each end as `write` does; empty where no error is known."""
    if lower is None or upper is None:
        return ""
    return Text("[{}, {}]").format(write(lower), write(upper)) if write else bracket(lower, upper)


def checks_text(runs: pl.DataFrame) -> str:
    """`Quality checks: all passed`, or how many gave a warning and which were vetoed."""
    vetoed = runs.filter(worst_check="veto")["name"].unique(maintain_order=True).to_list()
    warned = counted(runs.filter(worst_check="warn")["name"].n_unique(), "runs")
    if vetoed:
        n, names = counted(len(vetoed), "runs"), short_names_text([marked_name(name, True) for name in vetoed])
        return _("Quality checks: {n} vetoed ({names}), whose numbers do not count", n=n, names=names)
    if warned:
        return _("Quality checks: none vetoed, {n} with a warning", n=warned)
    return _("Quality checks: all passed")


def seconds_of(n: int, runs: pl.DataFrame) -> float | None:
    """What `n` measurements like these runs take, by their median; None where no run says."""
    seconds: Any = (runs["finished_at"] - runs["started_at"]).dt.total_seconds().median()
    return None if seconds is None else derived(n * seconds, "runs", "seconds")


def time_text(n: int, runs: pl.DataFrame) -> str:
    """The same in words: `about 12 min`."""
    seconds = seconds_of(n, runs)
    return _("not known") if seconds is None else _("about {time}", time=duration(seconds))


def untried_text(n: int, runs: pl.DataFrame) -> str:
    """What something takes that nobody tried: `would take about 12 min`."""
    return _("would take {time}", time=time_text(n, runs))


# --- pilots ------------------------------------------------------------------------------------------------------


def pilot_title_text(case: str, pilot: Pilot | None, answer: Answer, total: int) -> str:
    """The answer as one claim; where a wrong choice does harm, that no dimension decides it."""
    benchmark = benchmark_text(answer)
    if case == "incomplete":
        return _("No answer yet on {benchmark}: not all of the {n} models count", benchmark=benchmark, n=total)
    cautious = {
        "safety_critical": _("Safety-critical use: choose by tests of the task and its failures"),
        "scarce_data": _("Scarce data: choose by evidence from the task, not by dimension"),
    }
    if pilot is not None and pilot.use_class in cautious:
        return cautious[pilot.use_class]
    if answer.word == "cannot_tell":
        return _(
            "{n} model cannot tell whether dimension says anything about {benchmark}",
            "{n} models cannot tell whether dimension says anything about {benchmark}",
            n=answer.relation.n,
            benchmark=benchmark,
        )
    titles = {
        "related_as_registered": _("As expected, {dimension} goes with better scores in {benchmark}"),
        "related_other_way": _("Against the expectation, {dimension} goes with better scores in {benchmark}"),
        "hint": _("Only a hint: {dimension} went with better scores in {benchmark}, nobody registered it first"),
        "not_related": _("Dimension says too little about {benchmark} to choose by"),
    }
    dimension = _dimension_name(is_larger=answer_wording.goes_with_larger(answer))
    return titles[answer.word].format(benchmark=benchmark, dimension=dimension)


def benchmark_text(answer: Answer) -> str:
    """The benchmark without its metric, shots and filter."""
    row, pilot = answer.population.benchmark, answer.population.pilot
    if row is not None:
        return row["benchmark"]
    return answer_wording.benchmark_name(answer) if pilot is None else pilot.benchmark.name


def _dimension_name(*, is_larger: bool) -> str:
    return _("larger dimension") if is_larger else _("smaller dimension")


def relation_title_text(answer: Answer, case: str) -> str:
    """What the coefficient shows, and no more than the answer claims."""
    relation = answer.relation
    if case == "incomplete" or relation.rho is None:
        return _("Models with both numbers so far: {n}", n=relation.n)
    rho = answer_wording.coefficient_text(relation.rho, relation.lower, relation.upper)
    return _(
        "{n} models, rank correlation {rho}: {word}", n=relation.n, rho=rho, word=answer_wording.word_of(answer.word)
    )


def direction_text(answer: Answer, case: str) -> str:
    """Which direction was expected, and whether rho points there; of a pilot that is not complete, nothing is said of rho."""
    rho, sign = answer.relation.rho, answer.registration.sign
    expected = _("Expected: {dimension}, better score.", dimension=_dimension_name(is_larger=sign != "negative"))
    if rho is None or case == "incomplete":
        return expected
    is_so = (rho < 0) == (sign == "negative")
    found = _("The correlation points there.") if is_so else _("The correlation points the other way.")
    return wording.joined_sentences((expected, found))
