"""Slides of an answered pilot: its question, the answer, the relation behind it, and the decision."""

from __future__ import annotations

import polars as pl

from core import wording
from core.analysis.relation import MARGIN
from core.analysis.units import FEWEST_TEST
from core.deck import visuals
from core.deck.deck_data import DeckData
from core.deck.slide import answer_statements, core_slide, decision_slide, fact_table, not_measured_slide
from core.deck.story import Statement, StorySlide
from core.figures.scores import relation_chart
from core.locale import _
from core.questions.ranking_answer import Answer
from core.questions.ranking_question import missing_models
from core.registry.specifications import CLAIMS
from core.sources import counted, derived, shown, stated
from core.wording import answers as answer_wording
from core.wording import slides as slide_wording
from core.wording.labels import distinguishing_names, shortened_name
from core.wording.scores import registered_benchmark_text


def question_slide(data: DeckData) -> StorySlide:
    pilot, answer = data.pilot_and_answer
    total, missing = len(pilot.models), len(missing_models(pilot, data.text_runs))
    rows = [
        (_("Decides"), slide_wording.decider_text(pilot)),
        (
            _("Primary benchmark"),
            _("; ").join([registered_benchmark_text(pilot.benchmark), slide_wording.rho_sign_text()]),
        ),
        (_("Dimension"), slide_wording.dimension_text()),
        (_("Expected"), shortened_name(pilot.expectation_in(data.language), 260)),
        (_("Registration"), answer_wording.registration_day_text(answer.registration)),
        (
            _("Models"),
            _("{total} models ({measured} measured): {names}").format(
                measured=counted(total - missing, "pilots"),
                total=counted(total, "pilots"),
                names=slide_wording.short_names_text(distinguishing_names([model.label for model in pilot.models])),
            ),
        ),
        (_("Texts"), slide_wording.short_names_text([text.written for text in pilot.texts])),
    ]
    table = fact_table(
        _("Pilot “{name}”").format(name=shortened_name(pilot.name, 24)),
        _("As it was registered"),
        0.24,
        rows,
        _("Table of what was written down before measuring: {names}."),
    )
    return core_slide(
        data,
        "question",
        _(
            "{question} ({n} model)",
            "{question} ({n} models)",
            question=shortened_name(pilot.question_in(data.language), 110),
            n=counted(total, "pilots"),
        ),
        visual=table,
        tables=("pilots",),
        say=(
            _(
                "Before the scores existed, the question, the benchmark and the expectation were registered. That is what "
                "makes the answer on the next slide a test, and not a search for a pattern afterwards."
            )
            if answer.registration.is_registered
            else _(
                "The question, the benchmark and the expectation are written down. They were not registered before all "
                "scores existed, so the answer on the next slide is exploratory, and no test."
            ),
            _("Please keep one thing in mind: who decides, and by when. The last slide comes back to it."),
        ),
    )


def answer_slide(data: DeckData) -> StorySlide:
    """Says the same sentence as the ranking page."""
    pilot, answer = data.pilot_and_answer
    reasons = [*answer_wording.undecided_lines(answer), *answer_wording.replicate_lines(answer)]
    if answer.word == "not_related":
        line = _("The 90 % interval of rho, [{lower}, {upper}], lies within ±{margin}.")
        lower, upper = map(answer_wording.coefficient_text, (answer.relation.lower_90, answer.relation.upper_90))
        reasons.append(line.format(lower=lower, upper=upper, margin=shown(MARGIN, "g")))
    evidence = next((line for line in reasons if line), "") or answer_wording.expectation_text(answer.registration)
    best = _best_text(data)
    actions = {
        "cannot_tell": (_("Choose by score and not by dimension."), best),
        "not_related": (_("Choose by score: the dimension adds nothing here."), best),
        "hint": (_("Choose by score; to test the hint, register it before the scores of other models exist."), best),
        "incomplete": (_("Complete the measurement first; decide nothing by dimension until then."),),
    }
    action = wording.joined_sentences(actions.get(data.case) or [slide_wording.permitted_use_text(pilot)])
    return core_slide(
        data,
        "answer",
        answer_wording.headline_text(answer),
        answer_statements([answer_wording.answer_text(answer)], [evidence], action),
        tables=("run_summaries", "scores", "layer_replicates"),
        runs=answer.population.rows,
        say=(
            _(
                "This is the same sentence, word for word, that the ranking page gives: it was not written for this "
                "meeting. The numbers in brackets are 95 percent intervals, and n is the number of models."
            ),
            *answer_wording.exclusion_lines(answer)[:2],
            _("Nothing here says that a dimension makes a model good or bad: numbers stand side by side."),
        ),
        sources=_model_lines(answer),
    )


def _best_text(data: DeckData) -> str:
    """`Best by score: {best}, {s}, rank {1 to 2}`; empty where no model can be first."""
    best = data.best_by_score
    if best is None:
        return ""
    values = {"name": shortened_name(best.name, 40), "score": wording.number(best.score)}
    if data.answer is not None and not data.answer.ranked.has_score_errors:
        return _("Best by score: {name}, {score}, by a plain rank: no error known.").format(**values)
    low, high = best.score_rank_low, best.score_rank_high
    ranks = shown(low) if low == high else _("{low} to {high}").format(low=low, high=high)
    return _("Best by score: {name}, {score}, rank {ranks}.").format(ranks=ranks, **values)


def _model_lines(answer: Answer) -> list[str]:
    """Each number with its run: `base: d2 43.1 [41.0, 45.3]; 1.53; 0190...`."""
    return [
        f"{model.name}: d2 {wording.with_interval(model.dimension, model.lower, model.upper)}; "
        f"{wording.number(model.score)}; {model.run_id}"
        for model in answer.models
    ]


def relation_slide(data: DeckData) -> StorySlide:
    _pilot, answer = data.pilot_and_answer
    relation, benchmark = answer.relation, answer_wording.benchmark_name(answer)
    chart = relation_chart(answer)
    if chart is None:
        return not_measured_slide(
            data,
            "relation",
            _("scores in {benchmark}").format(benchmark=shortened_name(benchmark, 40)),
            _("Without scores nobody can hold a dimension against them: the question of the pilot stays open."),
            _("Scores are imported from files, or made here on a task of your own."),
            time=_("as long as the benchmark takes for each model"),
        )
    power = _("With {n} models a |rho| of {detectable} shows with a power of 80 %.")
    detectable = answer_wording.coefficient_text(relation.detectable)
    return core_slide(
        data,
        "relation",
        _relation_title(data),
        [
            Statement(answer_wording.relation_text(relation), is_main=True),
            "" if relation.rho is None else slide_wording.rho_sign_text(),
            "" if relation.detectable is None else power.format(n=relation.n, detectable=detectable),
            *answer_wording.influence_lines(answer),
        ],
        chart,
        tables=("run_summaries", "scores"),
        runs=answer.population.rows,
        say=(
            _(
                "Each point is one model: the further to the right, the larger its dimension; the higher, the larger its "
                "score. If the two went together, the points would lie along a line."
            ),
            wording.scatter_caution_text(),
        ),
        sources=_model_lines(answer),
    )


def _relation_title(data: DeckData) -> str:
    """What the chart shows, and no more than the answer claims."""
    _pilot, answer = data.pilot_and_answer
    relation, coefficient = answer.relation, answer_wording.coefficient_text
    if data.case == "incomplete" or relation.rho is None:
        return _(
            "{n} model with both numbers so far: a picture, and no claim",
            "{n} models with both numbers so far: a picture, and no claim",
            n=relation.n,
        )
    rho = coefficient(relation.rho, relation.lower, relation.upper)
    if answer.word == "cannot_tell":
        line = _("{n} models: rho {rho}, and no answer stands")
    elif answer.word == "hint":
        line = _("{n} models: rho {rho} is a hint, as nobody registered it before the scores")
    else:
        rho = coefficient(relation.rho)
        if answer.word == "not_related":
            line = _("{n} models: rho {rho} lies within ±{margin}, too little to choose by")
        elif relation.rho < 0:
            line = _("The smaller the dimension, the better the score: rho {rho} over {n} models")
        else:
            line = _("The larger the dimension, the better the score: rho {rho} over {n} models")
    return line.format(n=relation.n, rho=rho, margin=shown(MARGIN, "g"))


def size_slide(data: DeckData) -> StorySlide:
    _pilot, answer = data.pilot_and_answer
    relation = answer.relation
    chart = None if relation.partial.reason == "one_size" else visuals.coefficient_chart(answer)
    given_size = answer_wording.given_size_text(relation)
    within = answer_wording.within_strata_text(relation)
    if relation.rho is None:
        return not_measured_slide(
            data,
            "size",
            _("a coefficient, with or without size"),
            given_size,
            within,
            time=slide_wording.time_text(max(0, FEWEST_TEST - relation.n), data.text_runs),
        )
    if relation.partial.r is not None:
        title = _("Among models of equal size the correlation is {r} over {n} models").format(
            r=answer_wording.coefficient_text(relation.partial.r, relation.partial.lower, relation.partial.upper),
            n=relation.partial.n,
        )
    elif relation.partial.reason == "one_size":
        title = _("The part of size cannot be tested: all {n} models have one size").format(n=relation.n)
    else:
        title = _("What size explains is not known for these {n} models").format(n=relation.n)
    return core_slide(
        data,
        "size",
        title,
        [
            Statement(given_size, is_main=True),
            within,
            "" if chart else _("Telling size from dimension takes models of several sizes and families in one pilot."),
        ],
        chart,
        tables=("run_summaries", "scores", "models"),
        runs=answer.population.rows,
        say=(
            _(
                "Larger models tend to score better and to have other dimensions, so a relation over all models may be one "
                "of size alone. This slide takes size away, as far as these models allow it."
            ),
            _("An interval that crosses zero means that the direction itself is open."),
        ),
    )


def stop_or_measure_slide(data: DeckData) -> StorySlide:
    _pilot, answer = data.pilot_and_answer
    more = max(0, answer.relation.enough - answer.relation.n)
    if answer.word == "cannot_tell" and not more:
        choice = _("stop, or go on; {n} models give no answer that stands").format(n=answer.relation.n)
        measure = (
            _(
                "Measure more models of this kind: the interval narrows, but how many it takes cannot be said beforehand."
            )
            if "interval_too_wide" in answer.reasons
            else _("Settle first what keeps the answer open; more models alone do not.")
        )
    elif answer.word == "cannot_tell":
        choice = _("stop, or measure {n} more model", "stop, or measure {n} more models", n=more)
        measure = _(
            "Measure {n} more model of this kind, {time} on this machine: {enough} would tell a relation from none with a "
            "power of 80 %.",
            "Measure {n} more models of this kind, {time} on this machine: {enough} would tell a relation from none with a "
            "power of 80 %.",
            n=more,
            time=slide_wording.time_text(more, data.text_runs),
            enough=answer.relation.enough,
        )
    elif answer.word == "hint":
        choice = _("stop, or register the hint and test it on other models")
        measure = _(
            "Register it for models whose scores do not exist yet, then measure and score those: only that is a test."
        )
    else:
        choice = _("stop; {n} models were enough to tell").format(n=answer.relation.n)
        measure = _("Ask again only of models of another kind: nothing here speaks of those.")
    stop = wording.joined_sentences(
        (_("Stop here: choose by score, and spend nothing more on this question."), _best_text(data))
    )
    return decision_slide(data, choice, [stop, measure], untested(data))


def _variations(data: DeckData) -> list[tuple[str, str, str]]:
    """The four other ways of looking (text, sample, estimators, controls): what is lacking without it, its name, and what was
    measured in it, empty where nothing was."""
    _pilot, answer = data.pilot_and_answer
    texts, seeds = (data.text_runs[column].n_unique() for column in ("corpus_id", "seed"))
    curve, has_controls = answer.specifications, data.runs.height > data.text_runs.height
    return [
        (
            _("a second text"),
            _("Second text"),
            _("{n} texts were read").format(n=counted(texts, "corpora")) if texts > 1 else "",
        ),
        (
            _("a second sample of the text"),
            _("Second sample"),
            _("{n} samples of the text were drawn").format(n=counted(seeds, "runs")) if seeds > 1 else "",
        ),
        (
            _("other estimators"),
            _("Other estimators"),
            "" if curve is None else answer_wording.specifications_text(curve),
        ),
        (_("controls"), _("Controls"), _controls_text(data) if has_controls else ""),
    ]


def _missing_variations(data: DeckData) -> list[str]:
    return [lacking for lacking, _name, told in _variations(data) if not told]


def untested(data: DeckData) -> list[Statement]:
    """What was not tested, as a statement of the decision slide."""
    _pilot, answer = data.pilot_and_answer
    missing = _missing_variations(data)
    if answer.relation.partial.r is None:
        missing.insert(0, _("what size explains"))
    return [Statement(_(", ").join(missing), _("Not tested"))]


def robustness_slide(data: DeckData) -> StorySlide:
    """Second text, second sample, estimators, controls: which were measured, and which were not."""
    _pilot, answer = data.pilot_and_answer
    rows, missing = [(way, told) for _lacking, way, told in _variations(data) if told], _missing_variations(data)
    if answer.relation.without_family is not None:
        rows.append((_("Without one family"), answer_wording.without_family_text(answer.relation.without_family)))
    what, time = _(", ").join(missing), slide_wording.time_text(answer.relation.n * len(missing), data.text_runs)
    if not rows:
        return not_measured_slide(
            data,
            "robustness",
            what,
            _("One text, one sample, one estimator: the relation may be about that choice and not about the models."),
            _("Each of these is one more measurement of every model, by the same verbs."),
            time=time,
        )
    if missing:
        rows.append((_("Not measured"), _("{what}; {time}").format(what=what, time=time)))
    return core_slide(
        data,
        "robustness",
        _(
            "{n} of {total} other ways of looking was measured",
            "{n} of {total} other ways of looking were measured",
            n=derived(4 - len(missing), "runs", "ways of looking"),
            total=stated(4, "WAYS_OF_LOOKING"),
        ),
        visual=fact_table(
            _("Way of looking"),
            _("What it says"),
            0.25,
            rows,
            _("Table of other ways of looking at the relation: {names}."),
        ),
        tables=("run_summaries", "run_claims", "run_controls"),
        runs=data.text_runs,
        say=(
            _(
                "A result that holds on one text, for one sample and by one estimator may be about that choice and not about "
                "the models. Here is what else was tried, and what was not."
            ),
        ),
    )


def _controls_text(data: DeckData) -> str:
    """Counts of the outcomes of controls: `exceeded: 3, could not have shown it: 2`."""
    outcomes = data.against_controls.filter(pl.col("claim").is_in(CLAIMS))["outcome"]
    return slide_wording.outcome_counts_text(outcomes) or _("measured, and compared with nothing")


def allowed_use_slide(data: DeckData) -> StorySlide:
    pilot, answer = data.pilot_and_answer
    return core_slide(
        data,
        "allowed",
        _("{n} models may be chosen by dimension alone (use class: {use_class})").format(
            use_class=wording.name("use_class", pilot.use_class), n=stated(0, "ALLOWED_BY_DIMENSION")
        ),
        [
            Statement(slide_wording.permitted_use_text(pilot), is_main=True),
            _best_text(data),
            _("No saving follows from a dimension: fewer blocks or bytes are priced by a layer plan alone."),
            _("Numbers side by side show no cause: a model that is trained to a smaller dimension need not be better."),
        ],
        tables=("pilots", "scores"),
        runs=answer.population.rows,
        say=(_("Before the decision, what this relation may be used for, as it was agreed before measuring."),),
    )


def adopt_slide(data: DeckData) -> StorySlide:
    """Adopting is offered only where nothing that could reverse the relation is left untested."""
    pilot, answer = data.pilot_and_answer
    n = answer.relation.n
    more = max(FEWEST_TEST, n)
    time = slide_wording.time_text(more, data.text_runs)
    extend = _("Extend: the same question of {n} other models, registered before their scores; {time}.")
    options = [extend.format(n=more, time=time), _("Stop: choose by score alone, as before.")]
    if missing := _missing_variations(data):
        choice = _("measure what is not tested, extend to {n} other models, or stop")
        first = _("Measure first what could reverse it: {what}; {time}.").format(
            what=_(", ").join(missing), time=slide_wording.time_text(n * len(missing), data.text_runs)
        )
    elif answer.relation.partial.r is None:
        choice = _("extend to {n} models of other sizes, or stop")
        first = _("Extend to {n} models of other sizes, registered before their scores: size could explain it; {time}.")
        first, options = first.format(n=more, time=time), options[1:]
    else:
        choice = _("adopt, extend to {n} other models, or stop")
        first = (
            _("Take it up as a question: test it on the task and on its failures before anything rests on it.")
            if pilot.is_cautious
            else _("Adopt it for shortlists: the next choice begins with the dimension and ends with the task.")
        )
    return decision_slide(data, choice.format(n=more), [first, *options], untested(data))
