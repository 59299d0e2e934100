"""Decks of every case, made from frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import cache

import polars as pl

from core.analysis.criteria import choice_context
from core.analysis.ranking import with_text_marks
from core.deck.deck_data import DeckData, deck_data, plan_data
from core.deck.html import render_html
from core.deck.powerpoint import draw_deck
from core.deck.report import build_story
from core.deck.story import Origin, Story
from core.locale import in_language
from core.pilots.pilot import RegisteredPilot, Translation
from core.pilots.saved import Criterion, Recipe, Rule, SavedRule
from core.questions.choice import AskedRule, ReportedRuns, choose_by_rule, judged
from core.questions.ranking_answer import Answer, answer_question
from core.questions.ranking_question import Evidence, RankingQuestion, select_population
from core.questions.runs import Selection
from core.registry.checks import CHECKS
from core.tables import RuleChoiceRow
from tests import answers, frames
from tests.analysis.test_criteria import SPEEDS
from tests.frames import Model
from tests.plans.made import layer_plan

DAY = date(2026, 11, 26)
LANGUAGES = ("en", "ja")
ONE = Model("SmolLM2-135M-Instruct", n_layers=30, base_repository="o/base", base_relation="instruction-tuned")
TWO = Model(
    "all-MiniLM-L6-v2",
    kind="encoder",
    tokenizer_hash="tok2",
    n_layers=6,
    embedding=191.0,
    peak=127.0,
    final=97.0,
    final_post_norm=None,
    rise="fails",
    reasons_rise=(),
    qualifiers=("no_final_norm",),
    has_peak=False,
)
NAMES = (
    "DeepSeek-R1-Distill-Qwen-1.5B-Instruct-GPTQ-Int4-AWQ-calibrated-2026-11",
    "نموذج-اللغة-العربية",
    "モデル🦙第二版",
    "m",
)
"""Long, right-to-left, with an emoji, and short."""


def of_pilot(
    n: int,
    scores,
    language: str,
    *more: Model,
    at: datetime = answers.REGISTERED_AT,
    std_error: float | None = 0.5,
    **changes,
) -> DeckData:
    """A pilot of `n` models, the first as many as there are scores measured, registered at `at`."""
    told = {
        "decided_by": "Head of support",
        "decide_by": date(2026, 12, 15),
        "translations": {"ja": Translation(question="どのモデルに一次回答を任せてよいか")},
    }
    registered = answers.registered(answers.pilot(n, **(told | changes)), at)
    measured = [*answers.models(len(scores)), *more]
    measured = [replace(one, run_id=f"01940000-0000-7000-8000-{place:012d}") for place, one in enumerate(measured)]
    checked = [
        (one, check, "veto" if one.worst_check == "veto" and check == "sequence_share" else "pass")
        for one in measured
        for check in CHECKS
    ]
    of_runs = frames.of_runs(
        *measured, scores=answers.scores(scores, std_error=std_error), checks=frames.checks(*checked)
    )
    return in_language(language, deck_data, ReportedRuns(of_runs, registered, [answered(of_runs, registered)]), DAY)


def answered(of_runs: Selection, pilot: RegisteredPilot) -> Answer:
    """The answer to the question of a pilot from the runs of a deck alone."""
    runs = with_text_marks(of_runs.with_controls).filter(pl.col("pass") == "text").sort("name", "run_id")
    return answer_question(
        select_population(Evidence(runs, of_runs.scores, pilots=(pilot,)), RankingQuestion(pilot=pilot))
    )


def of_models(*models: Model, language: str = "en", **frames_of) -> DeckData:
    return in_language(language, deck_data, ReportedRuns(frames.of_runs(*models, **frames_of)), DAY)


def two_readers() -> Selection:
    """Two models with different tokenizers that have read one text, the first one better."""
    windows = pl.DataFrame(
        [
            {"run_id": run_id, "sequence": n, "document": n, "bits": (bits + 0.1 * (n % step)) * 100, "n_bytes": 100}
            for run_id, bits, step in (("r-one", 1.8, 3), ("r-two", 2.85, 4))
            for n in range(12)
        ]
    )
    models = (
        Model("one", run_id="r-one"),
        Model("two", run_id="r-two", tokenizer_hash="tok2", embedding=52.0, peak=88.0, final=30.0),
    )
    read = frames.of_runs(*models, with_words=True)
    return replace(read, windows=windows)


def of_rule(
    language: str,
    values: dict[str, tuple[float, float | None]],
    criteria: Sequence[Criterion] = (Criterion("score", weight=3.0), Criterion("parameters", weight=1.0)),
    choices: tuple[RuleChoiceRow, ...] = (),
    **changes,
) -> DeckData:
    """A choice among models with these scores (with their standard errors) and sizes that grow by 100 million."""
    rule = Rule("Good and small", **({"use_class": "general", "criteria": criteria} | changes))
    models = [
        Model(name, run_id=f"01940000-0000-7000-8000-{at:012d}", repository=name) for at, name in enumerate(values)
    ]
    sizes = pl.Series([100_000_000 * (1 + at) for at in range(len(models))])
    scores = [frames.score(name, value, "r1", std_error=error) for name, (value, error) in values.items()]
    of_runs = frames.of_runs(
        *models, runs=frames.runs(*models).with_columns(parameters=sizes), scores=frames.scores(*scores)
    )
    context = choice_context(of_runs.runs, of_runs.scores, SPEEDS.clear(), rule.assumptions)
    answer = judged(choose_by_rule(context, rule, None), rule.use_class)
    asked = AskedRule(SavedRule(rule, 1, datetime(2026, 11, 1), choices), answer)
    return in_language(language, deck_data, ReportedRuns(of_runs, choice=asked), DAY)


def of_plan(language: str, **changes) -> DeckData:
    """A plan for a model of 100 million parameters."""
    plan = layer_plan(parameters_before=100_000_000, parameters_after=70_000_000, **changes)
    return in_language(language, plan_data, plan, DAY)


def many(n: int) -> list[Model]:
    """So many models with the names that give trouble, of several depths."""
    return [
        Model(
            f"{NAMES[at % len(NAMES)]}-{at}",
            run_id=f"01940000-0000-7000-8000-{at:012d}",
            n_layers=6 + at % 5,
            peak=60.0 + 3 * at,
            final=20.0 + at,
        )
        for at in range(n)
    ]


CASES: dict[str, Callable[[str], DeckData]] = {
    "related_as_registered": lambda language: of_pilot(24, answers.falling(), language),
    "related_other_way": lambda language: of_pilot(24, answers.falling()[::-1], language, use_class="safety_critical"),
    "not_related": lambda language: of_pilot(40, answers.unrelated(40, seed=1), language),
    "cannot_tell": lambda language: of_pilot(12, answers.unrelated(12), language),
    "hint": lambda language: of_pilot(24, answers.falling(), language, at=datetime(2026, 11, 25)),
    "incomplete": lambda language: of_pilot(
        12, answers.unrelated(9), language, replace(answers.models(10)[9], worst_check="veto", rise="invalid")
    ),
    "choice": lambda language: of_rule(
        language, {"small-model": (61.0, 0.4), "middle-model": (70.0, 0.4), "large-model": (70.5, 0.4)}
    ),
    "choice_open": lambda language: of_rule(
        language, {"one": (61.0, 2.0), "other": (62.0, 2.0)}, (Criterion("score", weight=1.0),)
    ),
    "one_model": lambda language: of_models(ONE, language=language),
    "two_models": lambda language: of_models(ONE, TWO, language=language),
    "two_models_one_text": lambda language: in_language(language, deck_data, ReportedRuns(two_readers()), DAY),
    "vetoed_model": lambda language: of_models(replace(ONE, worst_check="veto"), TWO, language=language),
    "many_models": lambda language: of_models(*many(8), language=language),
    "plan": lambda language: of_plan(language),
    "plan_refused": lambda language: of_plan(language, is_recommended=False, reasons=["no_better_than_random"]),
}


@cache
def data_of(case: str, language: str) -> DeckData:
    return CASES[case](language)


@cache
def story_of(case: str, language: str) -> Story:
    return build_story(data_of(case, language))


def deck_of(case: str, language: str) -> bytes:
    return draw_deck(story_of(case, language))


def page_of(case: str, language: str) -> bytes:
    return render_html(story_of(case, language), Origin(Recipe(case, ("r1",)), "0.1.0", "made-up"))
