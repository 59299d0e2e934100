"""Slides of a pilot that cannot be answered yet: what is missing, what was vetoed, and what completing it takes."""

from __future__ import annotations

import polars as pl

from core import wording
from core.analysis.ranking import OWN_MATCHES
from core.deck.deck_data import DeckData
from core.deck.pilot_slides import untested
from core.deck.slide import check_table, core_slide, decision_slide
from core.deck.story import Column, StorySlide, Table
from core.locale import _
from core.questions.ranking_answer import Answer
from core.sources import Text, counted, shown
from core.wording import slides as slide_wording
from core.wording.labels import distinguishing_names

FEWEST_CHECKS, MOST_CHECKS = 3, 9
"""Rows of the table of checks: those that warn or veto one by one, the others as a count."""


def missing_slide(data: DeckData) -> StorySlide:
    pilot, answer = data.pilot_and_answer
    missing, vetoed, unscored = list(answer.population.missing), _vetoed(answer), _unscored(answer)
    sound = [model.name for model in answer.models if not model.is_vetoed]
    scored = [model for model in sound if model not in unscored]
    all_names = [*missing, *vetoed, *sound]
    short = dict(zip(all_names, distinguishing_names(all_names), strict=True))
    groups = (
        (_("measured, with the score"), scored, _("count")),
        (_("measured, without the score"), unscored, _("need a score")),
        (_("measured and vetoed by a check"), vetoed, _("do not count; see the checks")),
        (_("not measured"), missing, slide_wording.time_text(len(missing), data.text_runs)),
    )
    rows = [
        (
            group,
            shown(counted(len(names), "pilots")),
            slide_wording.short_names_text([short[model] for model in names], most=8),
            consequence,
        )
        for group, names, consequence in groups
        if names
    ]
    return core_slide(
        data,
        "missing",
        _(
            "{n} of {total} models counts so far; not measured: {missing}, vetoed: {vetoed}",
            "{n} of {total} models count so far; not measured: {missing}, vetoed: {vetoed}",
            n=counted(len(scored), "scores"),
            total=counted(max(len(pilot.models), len(answer.models)), "pilots"),
            missing=counted(len(missing), "pilots"),
            vetoed=counted(len(vetoed), "runs"),
        ),
        visual=Table(
            (
                Column(_("Models"), 0.25),
                Column(_("Number"), 0.13, is_number=True),
                Column(_("Which models"), 0.39),
                Column(_("What follows"), 0.23),
            ),
            tuple(rows),
            _("Table of how far the pilot is: {told}.").format(
                told=_("; ").join(Text("{} {}").format(row[0], row[1]) for row in rows)
            ),
        ),
        tables=("pilots", "runs", "scores", "run_checks"),
        runs=answer.population.rows,
        say=(
            _(
                "The pilot named its models before measuring. As long as some of them are missing, or a check says that "
                "their numbers cannot be relied on, any answer could be another one tomorrow."
            ),
        ),
    )


def _vetoed(answer: Answer) -> list[str]:
    names = [model.name for model in answer.models if model.is_vetoed]
    return list(dict.fromkeys([*names, *answer.population.vetoed["name"]]))


def _unscored(answer: Answer) -> list[str]:
    """Names of the models that no check vetoes and that lack a score of their own."""
    sound = (model for model in answer.models if not model.is_vetoed)
    return [model.name for model in sound if model.score is None or model.match not in OWN_MATCHES]


def quality_slide(data: DeckData) -> StorySlide:
    runs = data.text_runs
    of_runs = pl.col("run_id").is_in(runs["run_id"].to_list())
    marked = data.checks.filter(of_runs, pl.col("outcome") != "pass")["check_name"].n_unique()
    vetoed = counted(runs.filter(worst_check="veto")["run_id"].n_unique(), "runs")
    n = counted(runs.height, "runs")
    title = (
        _(
            "Vetoed by a quality check: {vetoed} of {n} measurement",
            "Vetoed by a quality check: {vetoed} of {n} measurements",
            vetoed=vetoed,
            n=n,
        )
        if vetoed
        else _(
            "Quality checks: the {n} measurement is not vetoed",
            "Quality checks: none of {n} measurements is vetoed",
            n=n,
        )
    )
    return core_slide(
        data,
        "quality",
        title,
        visual=check_table(data.checks, runs, most=min(max(FEWEST_CHECKS, marked), MOST_CHECKS)),
        tables=("run_checks",),
        runs=runs,
        say=(
            _(
                "Every measurement checks itself: whether tokens repeat, whether the sample was large enough, whether "
                "another part of the text gives the same. A veto means that the numbers of that run are not used."
            ),
        ),
    )


def completion_slide(data: DeckData) -> StorySlide:
    pilot, answer = data.pilot_and_answer
    missing, unscored, vetoed, time = _lacking(data)
    total = counted(len(pilot.models), "pilots")
    title = (
        _("Completing the pilot: {time} for the missing models ({n})").format(n=missing, time=time)
        if missing
        else _("Completing the pilot: scores for {n} of {total} models").format(n=unscored, total=total)
        if unscored
        else _("Completing the pilot: vetoed measurements ({n}) again, on more text").format(n=vetoed)
    )
    return core_slide(
        data,
        "completing",
        title,
        [
            _("Measured models without the score: {n}. Import it, or score them here.").format(n=unscored)
            if unscored
            else _("Every model that counts has its score."),
            _("Vetoed by a quality check: {n}. To be measured again, on more text.").format(n=vetoed) if vetoed else "",
            _(
                "What that would settle: {total} models can show a strong relation; {enough} would also tell that there is "
                "none, with a power of 80 %."
            ).format(total=total, enough=answer.relation.enough),
        ],
        tables=("pilots", "runs"),
        runs=data.text_runs,
        say=(
            _("The time is what the measurements that are there took on this machine, and no promise for another one."),
        ),
    )


def _lacking(data: DeckData) -> tuple[int, int, int, str]:
    """How many models are not measured, have no score and are vetoed, and the time that measuring takes."""
    _pilot, answer = data.pilot_and_answer
    missing = counted(len(answer.population.missing), "pilots")
    unscored, vetoed = counted(len(_unscored(answer)), "scores"), counted(len(_vetoed(answer)), "runs")
    return missing, unscored, vetoed, slide_wording.time_text(missing, data.text_runs)


def complete_or_stop_slide(data: DeckData) -> StorySlide:
    pilot, answer = data.pilot_and_answer
    missing, unscored, vetoed, time = _lacking(data)
    if missing:
        choice = _("complete the pilot (models missing: {n}), or stop").format(n=missing)
        go_on = _("Complete the pilot: measure the missing models ({n}), {time}.").format(n=missing, time=time)
    elif unscored:
        choice = _("complete the pilot (scores missing: {n}), or stop").format(n=unscored)
        go_on = _("Complete the pilot: import or make the missing scores ({n}).").format(n=unscored)
    else:
        choice = _("complete the pilot (vetoed: {n}), or stop").format(n=vetoed)
        go_on = _("Complete the pilot: measure again, on more text, what a check vetoes.")
    outcome = (
        _(
            "A strong relation would then show; otherwise it stays “cannot tell” ({enough} models are needed to say “not related”)."
        ).format(enough=answer.relation.enough)
        if len(pilot.models) < answer.relation.enough
        else _("A relation would then show, or that there is none.")
    )
    stop = _("Stop: choose by score alone; the dimension is then not part of the choice.")
    return decision_slide(data, choice, [wording.joined_sentences((go_on, outcome)), stop], untested(data))
