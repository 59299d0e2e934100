"""Seven slides that lead to a decision, by the case that the data are in; then the appendix.

A slide whose data are missing says what was not measured and what that takes. Nothing is claimed from what a check vetoed,
from what no control confirms, or from a control without power.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import polars as pl

from core import wording
from core.analysis.answer import Answer, RankedModel
from core.analysis.asked import missing_models
from core.analysis.ranking import OWN_MATCHES
from core.deck import evidence, plan_board
from core.deck.appendix import appendix
from core.deck.deck_data import DeckData
from core.deck.slide import MOST_ROWS, asked, check_table, not_measured, slide
from core.deck.story import Case, Column, Statement, Story, StorySlide, Table
from core.figures.scores import distinct
from core.locale import translator
from core.pilots.pilot import Pilot
from core.registry.specifications import CLAIMS
from core.wording import answers, pilot_sentences, plans
from core.wording import slides as words
from core.wording.labels import layer_text, name, shortened
from core.wording.limits import limits
from core.wording.verdicts import claim_name


def storyboard(data: DeckData, per_run: bool = False) -> Story:
    """The story of the data: seven slides and an appendix, with slides of each run only where somebody asks for them."""
    case = case_of(data)
    slides = [
        one if number in DECIDING or words.is_on_every_slide(data.pilot) else replace(one, use_class="")
        for number, one in enumerate(_SEVEN[case](data), start=1)
    ]
    return Story(
        case,
        data.language,
        data.made_on,
        slides[0].title,
        tuple(slides),
        tuple(appendix(data, per_run)),
        data.pilot.pilot_id if data.pilot else None,
        data.plan.plan.plan_id if data.plan else None,
    )


DECIDING = (1, 2, 7)
"""Slides that say what the deck may be used for, where the use class asks for no caution on every slide."""
UNANSWERED = ("no_runs", "no_scores", "base_scores", "no_dimensions", "no_direction")


def case_of(data: DeckData) -> Case:
    """What the data are; a pilot is incomplete while models or scores are missing or a check vetoes one of its runs."""
    if data.plan is not None:
        return "plan"
    found = data.answer
    if found is None:
        n = data.texts["model_id"].n_unique()
        return "one_model" if n == 1 else "two_models" if n == 2 else "many_models"
    vetoed = any(one.is_vetoed for one in found.models) or found.population.vetoed.height
    if found.population.missing or vetoed or set(found.reasons) & set(UNANSWERED):
        return "incomplete"
    return found.word  # type: ignore[return-value]


# --- a pilot ---------------------------------------------------------------------------------------------------


def _not_clear(data: DeckData) -> list[StorySlide]:
    """Cannot tell, or not related."""
    return [
        _question(data),
        _answer(data),
        _relation(data),
        _given_size(data),
        _profiles(data),
        _saving(data),
        _asked_stop_or_measure(data),
    ]


def _related(data: DeckData) -> list[StorySlide]:
    return [
        _question(data),
        _answer(data),
        _relation(data),
        _given_size(data),
        _robustness(data),
        _allowed(data),
        _asked_adopt(data),
    ]


def _incomplete(data: DeckData) -> list[StorySlide]:
    return [
        _question(data),
        _answer(data),
        _what_is_missing(data),
        _relation(data) if _has_points(data) else _profiles(data),
        _checks(data),
        _to_complete(data),
        _asked_complete(data),
    ]


def _pilot(data: DeckData) -> Pilot:
    assert data.pilot is not None
    return data.pilot.pilot


def _question(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    pilot, registered = _pilot(data), data.pilot
    assert registered is not None
    total, missing = len(pilot.models), len(missing_models(pilot, data.texts))
    rows = [
        (_("Decides"), _who_and_when(pilot, data.language)),
        (
            _("Primary benchmark"),
            _("; ").join([pilot_sentences.benchmark_line(pilot.benchmark, data.language), words.sign(data.language)]),
        ),
        (_("Dimension"), words.dimension(data.language)),
        (_("Expected"), shortened(pilot.expectation_in(data.language), 260)),
        (
            _("Written down on"),
            _("{frozen}; registered in Workdim on {day}").format(
                frozen=words.day(pilot.benchmark.frozen, data.language),
                day=words.day(registered.at.date(), data.language),
            ),
        ),
        (
            _("Models"),
            _("{total} models ({measured} measured): {names}").format(
                measured=total - missing,
                total=total,
                names=words.names(distinct([model.label for model in pilot.models]), data.language),
            ),
        ),
        (_("Texts"), words.names([text.written for text in pilot.texts], data.language)),
    ]
    table = Table(
        (
            Column(_("Pilot “{name}”").format(name=shortened(pilot.name, 24)), 0.24),
            Column(_("As it was registered"), 0.76),
        ),
        tuple(rows),
        _("Table of what was written down before measuring: {names}.").format(
            names=_(", ").join(row[0] for row in rows)
        ),
    )
    return slide(
        data,
        "question",
        _("{question} ({n} models)").format(question=shortened(pilot.question_in(data.language), 110), n=total),
        evidence=table,
        tables=("pilots",),
        say=(
            _(
                "Before anything was measured, the question, the benchmark and the expectation were written down. That is "
                "what makes the answer on the next slide a test, and not a search for a pattern afterwards."
            ),
            _("Please keep one thing in mind: who decides, and by when. The last slide comes back to it."),
        ),
    )


def _answer(data: DeckData) -> StorySlide:
    """The ranking page's sentence, letter by letter."""
    _ = translator(data.language)
    found = data.answer
    assert found is not None
    case = case_of(data)
    best = best_by_score(found.models)
    reasons = [*answers.why(found, data.language), *answers.recipes(found, data.language)]
    if found.word == "not_related":
        line = _("The 90 % interval of rho, [{lower}, {upper}], lies within ±{margin}.")
        reasons.append(
            line.format(
                lower=answers.coefficient(found.relation.lower_90),
                upper=answers.coefficient(found.relation.upper_90),
                margin=f"{found.relation.margin:g}",
            )
        )
    proof = next((line for line in reasons if line), "") or answers.expectation(found.registration, data.language)
    actions = {
        "cannot_tell": _("Choose by score and not by dimension."),
        "not_related": _("Choose by score: the dimension adds nothing here."),
        "incomplete": _("Complete the measurement first; decide nothing by dimension until then."),
    }
    action = actions.get(case) or words.allows(_pilot(data), data.language)
    if best is not None and case in ("cannot_tell", "not_related"):
        action = wording.sentences((action, _best_text(best, data)), data.language)
    statements = [
        Statement(answers.sentence(found, data.language), _("Conclusion"), is_main=True),
        Statement(proof, _("Evidence")),
        Statement(action, _("Action")),
    ]
    left = answers.left_out(found, data.language)
    return slide(
        data,
        "answer",
        answers.headline(found, data.language),
        statements,
        tables=("run_summaries", "scores", "layer_replicates"),
        runs=found.population.rows,
        say=(
            _(
                "This is the same sentence, word for word, that the ranking page gives: it was not written for this "
                "meeting. The numbers in brackets are 95 percent intervals, and n is the number of models."
            ),
            *left[:2],
            _("Nothing here says that a dimension makes a model good or bad: numbers stand side by side."),
        ),
        sources=[_model_line(one) for one in found.models],
    )


def best_by_score(models: Sequence[RankedModel]) -> RankedModel | None:
    """The model whose rank by score can be the first; of several the one whose rank reaches least far."""
    known = [one for one in models if one.score_rank_low == 1 and not one.is_vetoed and one.score_rank_high]
    return min(known, key=lambda one: (one.score_rank_high or 0, one.name), default=None)


def _best_text(best: RankedModel, data: DeckData) -> str:
    """`choose by score: {best} {s}, rank {1 to 2}`."""
    _ = translator(data.language)
    ranks = (
        f"{best.score_rank_low}"
        if best.score_rank_low == best.score_rank_high
        else _("{low} to {high}").format(low=best.score_rank_low, high=best.score_rank_high)
    )
    return _("Best by score: {name}, {score}, rank {ranks}.").format(
        name=shortened(best.name, 40), score=wording.number(best.score), ranks=ranks
    )


def _model_line(one: RankedModel) -> str:
    """Each number with its run: `base: d2 43.1 [41.0, 45.3]; 1.53; 0190...`."""
    dimension = wording.with_interval(one.dimension, one.lower, one.upper)
    return f"{one.name}: d2 {dimension}; {wording.number(one.score)}; {one.run_id}"


def _has_points(data: DeckData) -> bool:
    found = data.answer
    return found is not None and any(one.dimension is not None and one.score is not None for one in found.models)


def _relation(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    found = data.answer
    assert found is not None
    relation, benchmark = found.relation, answers.benchmark(found, data.language)
    chart = evidence.scatter(found, data.language)
    if chart is None:
        return not_measured(
            data,
            "relation",
            _("scores in {benchmark}").format(benchmark=shortened(benchmark, 40)),
            _("as long as the benchmark takes for each model"),
            [
                _("Without scores nobody can hold a dimension against them: the question of the pilot stays open."),
                _("Scores are imported from files, or made here on a task of your own."),
            ],
        )
    numbers = answers.numbers(relation, data.language)
    if case_of(data) == "incomplete":
        title = _("{n} models with both numbers so far: a picture, and no claim").format(n=relation.n)
    elif relation.rho is None:
        title = _("{n} models with both numbers: a picture, and no coefficient").format(n=relation.n)
    elif found.word == "cannot_tell" and {*relation.reasons, *found.reasons} <= {"interval_too_wide", "stage"}:
        title = _(
            "{n} models leave rho between {lower} and {upper}; only {detectable} or more would have shown"
        ).format(
            n=relation.n,
            lower=answers.coefficient(relation.lower),
            upper=answers.coefficient(relation.upper),
            detectable=answers.coefficient(relation.detectable),
        )
    elif found.word == "cannot_tell":
        title = _("{n} models: rho {rho}, and no answer stands").format(
            n=relation.n, rho=answers.coefficient(relation.rho, relation.lower, relation.upper)
        )
    elif found.word == "not_related":
        title = _("{n} models: rho {rho} lies within ±{margin}, too little to choose by").format(
            n=relation.n, rho=answers.coefficient(relation.rho), margin=f"{relation.margin:g}"
        )
    else:
        told = (
            _("The smaller the dimension, the better the score: rho {rho} over {n} models")
            if relation.rho < 0
            else _("The larger the dimension, the better the score: rho {rho} over {n} models")
        )
        title = told.format(rho=answers.coefficient(relation.rho), n=relation.n)
    statements = [Statement(numbers, is_main=True)]
    if relation.rho is not None:
        statements.append(Statement(words.sign(data.language)))
    if relation.detectable is not None:
        statements.append(
            Statement(
                _("With {n} models a |rho| of {detectable} shows with a power of 80 %.").format(
                    n=relation.n, detectable=answers.coefficient(relation.detectable)
                )
            )
        )
    statements += [Statement(line) for line in answers.sensitivity(found, data.language)]
    return slide(
        data,
        "relation",
        title,
        statements,
        chart,
        tables=("run_summaries", "scores"),
        runs=found.population.rows,
        say=(
            _(
                "Each point is one model: the further to the right, the larger its dimension; the higher, the larger its "
                "score. If the two went together, the points would lie along a line."
            ),
            wording.scatter_caution(data.language),
        ),
        sources=[_model_line(one) for one in found.models],
    )


def _given_size(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    found = data.answer
    assert found is not None
    relation = found.relation
    chart = None if relation.partial.reason == "one_size" else evidence.coefficients(found, data.language)
    given = answers.given_size(relation, data.language)
    within = answers.within_strata(relation, data.language)
    if relation.rho is None:
        return not_measured(
            data,
            "size",
            _("a coefficient, with or without size"),
            words.time_of(max(0, 10 - relation.n), data.texts, data.language),
            [given, within],
        )
    if relation.partial.r is not None:
        title = _("Among models of equal size the correlation is {r} over {n} models").format(
            r=answers.coefficient(relation.partial.r, relation.partial.lower, relation.partial.upper),
            n=relation.partial.n,
        )
    elif relation.partial.reason == "one_size":
        title = _("The part of size cannot be tested: all {n} models have one size").format(n=relation.n)
    else:
        title = _("What size explains is not known for these {n} models").format(n=relation.n)
    return slide(
        data,
        "size",
        title,
        [
            Statement(given, is_main=True),
            Statement(within),
            Statement(
                ""
                if chart
                else _("Telling size from dimension takes models of several sizes and families in one pilot.")
            ),
        ],
        chart,
        tables=("run_summaries", "scores", "models"),
        runs=found.population.rows,
        say=(
            _(
                "Larger models tend to score better and to have other dimensions, so a relation over all models may be one "
                "of size alone. This slide takes size away, as far as these models allow it."
            ),
            _("An interval that crosses zero means that the direction itself is open."),
        ),
    )


def _profiles(data: DeckData) -> StorySlide:
    """All profiles of the largest group that can be compared, on one scale."""
    _ = translator(data.language)
    runs = _shown(data)
    best = best_by_score(data.answer.models) if data.answer else None
    named = list(dict.fromkeys([*([best.run_id] if best else []), *evidence.extremes(runs)]))
    sound = _sound(runs)
    # Of many curves only some are named, and a vetoed one could not be told from the others.
    drawn = sound if runs.height > evidence.MOST_CURVES and sound.height else runs
    chart = evidence.profiles(data.estimates, drawn, data.language, named)
    if chart is None or sound.is_empty():
        return not_measured(
            data,
            "profiles",
            _("profiles that can be relied on"),
            words.time_of(runs.height, runs, data.language),
            [words.checks(runs, data.language)],
        )
    low, high = sound["inner_max"].min(), sound["inner_max"].max()
    if sound.height == 1:
        run = sound.row(0, named=True)
        title = _("{name}: largest dimension at layer {layer}").format(
            name=shortened(run["name"], 40), layer=layer_text(run["inner_max_layer"], run["n_layers"], data.language)
        )
    elif wording.rounded(low) == wording.rounded(high):  # type: ignore[arg-type]
        title = _("{n} models on one scale: largest inner dimension {top} in each").format(
            n=sound["model_id"].n_unique(),
            top=wording.rounded(high),  # type: ignore[arg-type]
        )
    else:
        title = _("{n} models on one scale: largest inner dimension between {low} and {high}").format(
            n=sound["model_id"].n_unique(),
            low=wording.rounded(low),  # type: ignore[arg-type]
            high=wording.rounded(high),  # type: ignore[arg-type]
        )
    if sound.height <= 3:
        statements = [Statement(_profile_text(run, data.language)) for run in sound.iter_rows(named=True)]
    else:
        statements = [Statement(_counted(sound, claim, data.language)) for claim in CLAIMS]
        statements.append(_spans(sound, data.language))
    total, shown = data.texts["model_id"].n_unique(), drawn["model_id"].n_unique()
    if shown < total:
        line = _(
            "Drawn: {n} of {total} models, the largest group that can be compared, without those that a check vetoes."
        )
        if drawn is runs:
            line = _("Shown: the largest group that can be compared, {n} of {total} models.")
        statements.insert(0, Statement(line.format(n=shown, total=total)))
    statements.append(Statement(words.checks(runs, data.language)))
    return slide(
        data,
        "profiles",
        title,
        statements,
        chart,
        tables=("layer_estimates", "run_summaries"),
        runs=runs,
        say=(
            _(
                "From left to right a text goes through the network, layer by layer. The height says over how many "
                "independent directions the words spread there, as we estimate it."
            ),
            _("A higher or a lower curve is not better: it says how words spread, not how well a model works."),
        ),
    )


def _shown(data: DeckData) -> pl.DataFrame:
    """The largest group that can be compared, those of the answer first."""
    if data.answer is not None and data.answer.group is not None:
        ids = data.answer.population.rows["run_id"].to_list()
        own = data.texts.filter(pl.col("run_id").is_in(ids))
        if own.height:
            return own
    if not data.groups:
        return data.texts
    largest = max(data.groups, key=lambda group: (group.rows["model_id"].n_unique(), group.rows.height))
    if data.answer is None and data.texts["model_id"].n_unique() <= 2:
        return data.texts.unique("model_id", keep="first", maintain_order=True)
    return largest.rows


def _one_profile(run: dict, language: str) -> str:
    """What the verdicts allow to be said: a rise or fall only where it is robust."""
    _ = translator(language)
    told = {
        "name": shortened(run["name"], 40),
        "start": wording.rounded(run["embedding_dimension"] or 0.0),
        "top": wording.rounded(run["inner_max"]),
        "end": wording.rounded(run["final_dimension_pre_norm"] or 0.0),
    }
    if run["verdict_rise"] == run["verdict_fall"] == "robust":
        return _("{name}: the dimension rises from {start} to {top} inside and falls to {end} at the end").format(
            **told
        )
    return _("{name}: dimension {start} at the embedding, at most {top} inside, {end} after the last block").format(
        **told
    )


def _profile_text(run: dict, language: str) -> str:
    _ = translator(language)
    return _("{name}: largest {top}, at layer {layer}; after the last block {end}.").format(
        name=shortened(run["name"], 30),
        top=wording.interval_of(run, "inner_max"),
        layer=layer_text(run["inner_max_layer"], run["n_layers"], language),
        end=wording.interval_of(run, "final_dimension_pre_norm"),
    )


def _counted(runs: pl.DataFrame, claim: str, language: str) -> str:
    """`rises inside: robust 3, depends on the specification 6`."""
    _ = translator(language)
    counts = Counter(runs[f"verdict_{claim}"])
    told = _(", ").join(
        _("{qualifier}: {count}").format(
            qualifier=_("no control measured")
            if verdict == "not_controlled"
            else wording.verdict_word(verdict, language),
            count=count,
        )
        for verdict, count in counts.most_common()
    )
    return _("{quantity} ({details})").format(quantity=claim_name(claim, language), details=told)


def _spans(runs: pl.DataFrame, language: str) -> Statement:
    """The ends of both dimensions, with the models that they belong to."""
    _ = translator(language)
    top, low = (runs.sort("inner_max", "run_id").row(at, named=True) for at in (-1, 0))
    return Statement(
        _("Largest: {most}. Smallest: {least}.").format(
            most=f"{shortened(top['name'], 30)} {wording.interval_of(top, 'inner_max')}",
            least=f"{shortened(low['name'], 30)} {wording.interval_of(low, 'inner_max')}",
        )
    )


def _saving(data: DeckData) -> StorySlide:
    """What can be saved all the same: by a verified layer plan, never by a dimension."""
    _ = translator(data.language)
    own = set(data.texts["model_id"]) | set(data.texts["reference"])
    known = [one for one in data.plans if {one.plan.model_id, one.plan.reference} & own and one.plan.is_verified]
    if not known:
        return not_measured(
            data,
            "saving",
            _("what can be saved (a verified layer plan)"),
            _("time not yet estimated"),
            [
                _(
                    "A small dimension is no saving: which blocks a model can do without shows only where they are left out."
                ),
                _(
                    "A layer plan leaves blocks out, prices the loss on held-out text and against random sets of blocks."
                ),
                _("It is made model by model: workdim plan MODEL --verify"),
            ],
        )
    best = next((one for one in known if plan_board.may_go(one)), known[0])
    plan, price = best.plan, plan_board.allowed(best)
    gone = plan.blocks if price is None else price.blocks
    saving = plans.saving_text(plan, data.language)[:2] if set(gone) == set(plan.blocks) else []
    return slide(
        data,
        "saving",
        plan_board.plan_title(best, data.language),
        [
            *(Statement(line) for line in saving),
            Statement(_("This follows from leaving blocks out, and not from a dimension.")),
        ],
        evidence.blocks(best, gone, data.language),
        tables=("plans", "plan_outcomes"),
        say=(_("Whatever the relation of dimension and score, this model was tried with blocks left out."),),
        sources=[f"plans: {plan.plan_id}, {plan.model_id}"],
    )


def _asked_stop_or_measure(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    found, pilot = data.answer, _pilot(data)
    assert found is not None
    more = max(0, found.relation.enough - found.relation.n)
    stop = _("Stop here: choose by score, and spend nothing more on this question.")
    best = best_by_score(found.models)
    if best is not None:
        stop = wording.sentences((stop, _best_text(best, data)), data.language)
    statements = [Statement(stop, _("Option 1 (recommended)"), is_main=True)]
    if found.word == "cannot_tell" and not more:
        title = _("Decision asked: stop, or go on; {n} models give no answer that stands").format(n=found.relation.n)
        measure = (
            _(
                "Measure more models of this kind: the interval narrows, but how many it takes cannot be said beforehand."
            )
            if "interval_too_wide" in found.reasons
            else _("Settle first what keeps the answer open; more models alone do not.")
        )
    elif found.word == "cannot_tell":
        title = _("Decision asked: stop, or measure {n} more models").format(n=more)
        measure = _(
            "Measure {n} more models of this kind, {time} on this machine: {enough} would tell a relation from none with a "
            "power of 80 %."
        ).format(n=more, time=words.time_of(more, data.texts, data.language), enough=found.relation.enough)
    else:
        title = _("Decision asked: stop; {n} models were enough to tell").format(n=found.relation.n)
        measure = _("Ask again only of models of another kind: nothing here speaks of those.")
    statements.append(Statement(measure, _("Option 2"), is_main=True))
    return asked(data, title, [*statements, _by_whom(pilot, data.language)])


def _by_whom(pilot: Pilot, language: str) -> Statement:
    _ = translator(language)
    return Statement(_who_and_when(pilot, language), _("Decides"))


def _who_and_when(pilot: Pilot, language: str) -> str:
    """`Head of support; by when: 15 December 2026`."""
    _ = translator(language)
    if pilot.decided_by is None and pilot.decide_by is None:
        return words.nobody_named(language)
    when = words.day(pilot.decide_by, language) if pilot.decide_by else _("not named yet")
    return _("{who}; by when: {day}").format(who=pilot.decided_by or _("not named yet"), day=when)


def _robustness(data: DeckData) -> StorySlide:
    """Second text, seed, estimator, controls: those that were measured, and what was not."""
    _ = translator(data.language)
    found = data.answer
    assert found is not None
    rows, missing = [], []
    texts = data.texts["corpus_id"].n_unique()
    told = _("{n} texts were read").format(n=texts)
    rows.append((_("Second text"), told)) if texts > 1 else missing.append(_("a second text"))
    seeds = data.texts["seed"].n_unique()
    told = _("{n} samples of the text were drawn").format(n=seeds)
    rows.append((_("Second sample"), told)) if seeds > 1 else missing.append(_("a second sample of the text"))
    if data.specifications is not None:
        rows.append((_("Other estimators"), answers.specifications(data.specifications, found, data.language)))
    else:
        missing.append(_("other estimators"))
    controls = data.runs.filter(pl.col("pass") != "text")
    if controls.height:
        rows.append((_("Controls"), _controls_text(data)))
    else:
        missing.append(_("controls"))
    if found.relation.without_family is not None:
        rows.append((_("Without one family"), answers.without_family(found.relation.without_family, data.language)))
    time = words.time_of(found.relation.n * len(missing), data.texts, data.language)
    if not rows:
        return not_measured(
            data,
            "robustness",
            _(", ").join(missing),
            time,
            [
                _(
                    "One text, one sample, one estimator: the relation may be about that choice and not about the models."
                ),
                _("Each of these is one more measurement of every model, by the same verbs."),
            ],
        )
    if missing:
        rows.append((_("Not measured"), _("{what}; {time}").format(what=_(", ").join(missing), time=time)))
    return slide(
        data,
        "robustness",
        _("{n} of {total} other ways of looking were measured").format(n=4 - len(missing), total=4),
        evidence=Table(
            (Column(_("Way of looking"), 0.25), Column(_("What it says"), 0.75)),
            tuple(rows),
            _("Table of other ways of looking at the relation: {names}.").format(
                names=_(", ").join(r[0] for r in rows)
            ),
        ),
        tables=("run_summaries", "run_claims", "run_controls"),
        runs=data.texts,
        say=(
            _(
                "A result that holds on one text, for one sample and by one estimator may be about that choice and not about "
                "the models. Here is what else was tried, and what was not."
            ),
        ),
    )


def _controls_text(data: DeckData) -> str:
    """How many runs each control says what of: `exceeded: 3, could not have shown it: 2`."""
    _ = translator(data.language)
    outcomes = Counter(data.against_controls.filter(pl.col("claim").is_in(CLAIMS))["outcome"])
    told = _(", ").join(
        _("{qualifier}: {count}").format(qualifier=name("control_outcome", outcome, data.language), count=count)
        for outcome, count in outcomes.most_common()
    )
    return told or _("measured, and compared with nothing")


def _allowed(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    pilot = _pilot(data)
    statements = [
        Statement(words.allows(pilot, data.language), is_main=True),
        Statement(_("No saving follows from a dimension: fewer blocks or bytes are priced by a layer plan alone.")),
        Statement(
            _("Numbers side by side show no cause: a model that is trained to a smaller dimension need not be better.")
        ),
    ]
    return slide(
        data,
        "allowed",
        _("{n} models may be chosen by dimension alone (use class: {use_class})").format(
            use_class=pilot_sentences.use_class_name(pilot.use_class, data.language), n=0
        ),
        statements,
        tables=("pilots",),
        say=(_("Before the decision, what this relation may be used for, as it was agreed before measuring."),),
    )


def _asked_adopt(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    found, pilot = data.answer, _pilot(data)
    assert found is not None
    more = max(10, found.relation.n)
    time = words.time_of(more, data.texts, data.language)
    extend = _("Extend: the same question of {n} other models, registered before their scores; {time}.")
    if pilot.is_cautious:
        adopt = _("Take it up as a question: test it on the task and on its failures before anything rests on it.")
    else:
        adopt = _("Adopt it for shortlists: the next choice begins with the dimension and ends with the task.")
    return asked(
        data,
        _("Decision asked: adopt, extend to {n} other models, or stop").format(n=more),
        [
            Statement(adopt, _("Option 1 (recommended)"), is_main=True),
            Statement(extend.format(n=more, time=time), _("Option 2"), is_main=True),
            Statement(_("Stop: choose by score alone, as before."), _("Option 3"), is_main=True),
            _by_whom(pilot, data.language),
        ],
    )


def _what_is_missing(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    found, pilot = data.answer, _pilot(data)
    assert found is not None
    missing = list(found.population.missing)
    vetoed = _vetoed(found)
    sound = [one for one in found.models if not one.is_vetoed]
    unscored = _unscored(found)
    scored = [one.name for one in sound if one.name not in unscored]
    groups = (
        (_("measured, with the score"), scored, _("count")),
        (_("measured, without the score"), unscored, _("need a score")),
        (_("measured and vetoed by a check"), vetoed, _("do not count; see the checks")),
        (_("not measured"), missing, words.time_of(len(missing), data.texts, data.language)),
    )
    every = [*missing, *vetoed, *(one.name for one in sound)]
    short = dict(zip(every, distinct(every), strict=True))
    rows = [
        (what, str(len(names)), words.names([short.get(one, one) for one in names], data.language, most=8), then)
        for what, names, then in groups
        if names
    ]
    return slide(
        data,
        "missing",
        _("{counted} of {total} models count so far; not measured: {missing}, vetoed: {vetoed}").format(
            counted=len(scored),
            total=max(len(pilot.models), len(found.models)),
            missing=len(missing),
            vetoed=len(vetoed),
        ),
        evidence=Table(
            (
                Column(_("Models"), 0.25),
                Column(_("Number"), 0.1, is_number=True),
                Column(_("Which models"), 0.42),
                Column(_("What follows"), 0.23),
            ),
            tuple(rows),
            _("Table of how far the pilot is: {told}.").format(told=_("; ").join(f"{row[0]} {row[1]}" for row in rows)),
        ),
        tables=("pilots", "runs", "scores", "run_checks"),
        runs=found.population.rows,
        say=(
            _(
                "The pilot named its models before measuring. As long as some of them are missing, or a check says that "
                "their numbers cannot be relied on, any answer could be another one tomorrow."
            ),
        ),
    )


def _vetoed(found: Answer) -> list[str]:
    told = [one.name for one in found.models if one.is_vetoed]
    return list(dict.fromkeys([*told, *found.population.vetoed["name"]]))


def _unscored(found: Answer) -> list[str]:
    """Names of the models that no check vetoes and that lack a score of their own."""
    return [
        one.name for one in found.models if not one.is_vetoed and (one.score is None or one.match not in OWN_MATCHES)
    ]


def _checks(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    runs = data.texts
    own = data.checks.filter(pl.col("run_id").is_in(runs["run_id"].to_list()))
    vetoed = runs.filter(worst_check="veto")["run_id"].n_unique()
    title = (
        _("Vetoed by a quality check: {n} of {total} measurements").format(n=vetoed, total=runs.height)
        if vetoed
        else _("Quality checks: none of {total} measurements is vetoed").format(total=runs.height)
    )
    return slide(
        data,
        "quality",
        title,
        evidence=check_table(own, runs, data.language),
        tables=("run_checks",),
        runs=runs,
        say=(
            _(
                "Every measurement checks itself: whether tokens repeat, whether the sample was large enough, whether "
                "another part of the text gives the same. A veto means that the numbers of that run are not used."
            ),
        ),
    )


def _to_complete(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    found, pilot = data.answer, _pilot(data)
    assert found is not None
    missing = len(found.population.missing)
    unscored, vetoed = len(_unscored(found)), len(_vetoed(found))
    time = words.time_of(missing, data.texts, data.language)
    enough = found.relation.enough
    statements = [
        Statement(
            _("Measuring the missing models ({n}) takes {time} on this machine.").format(n=missing, time=time)
            if missing
            else _("All models of the pilot are measured."),
            is_main=True,
        ),
        Statement(
            _("Measured models without the score: {n}. Import it, or score them here.").format(n=unscored)
            if unscored
            else _("Every model that counts has its score.")
        ),
        Statement(
            _("Vetoed by a quality check: {n}. To be measured again, on more text.").format(n=vetoed) if vetoed else ""
        ),
        Statement(
            _(
                "What that would settle: {total} models can show a strong relation; {enough} would also tell that there is "
                "none, with a power of 80 %."
            ).format(total=len(pilot.models), enough=enough)
        ),
    ]
    title = (
        _("Completing the pilot: {time} for the missing models ({n})").format(n=missing, time=time)
        if missing
        else _("Completing the pilot: scores for {n} of {total} models").format(n=unscored, total=len(pilot.models))
        if unscored
        else _("Completing the pilot: vetoed measurements ({n}) again, on more text").format(n=vetoed)
    )
    return slide(
        data,
        "completing",
        title,
        statements,
        tables=("pilots", "runs"),
        runs=data.texts,
        say=(
            _("The time is what the measurements that are there took on this machine, and no promise for another one."),
        ),
    )


def _asked_complete(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    found, pilot = data.answer, _pilot(data)
    assert found is not None
    missing = len(found.population.missing)
    time = words.time_of(missing, data.texts, data.language)
    unscored = len(_unscored(found))
    go_on = (
        _("Complete the pilot: measure the missing models ({n}), {time}.").format(n=missing, time=time)
        if missing
        else _("Complete the pilot: import or make the missing scores, and mend what a check vetoes.")
    )
    then = (
        _(
            "A strong relation would then show; otherwise it stays “cannot tell” ({enough} models are needed to say “not related”)."
        ).format(enough=found.relation.enough)
        if len(pilot.models) < found.relation.enough
        else _("A relation would then show, or that there is none.")
    )
    title = (
        _("Decision asked: complete the pilot (models missing: {n}), or stop").format(n=missing)
        if missing
        else _("Decision asked: complete the pilot (scores missing: {n}), or stop").format(n=unscored)
        if unscored
        else _("Decision asked: complete the pilot (vetoed: {n}), or stop").format(n=len(_vetoed(found)))
    )
    return asked(
        data,
        title,
        [
            Statement(wording.sentences((go_on, then), data.language), _("Option 1 (recommended)"), is_main=True),
            Statement(
                _("Stop: choose by score alone; the dimension is then not part of the choice."), _("Option 2"), True
            ),
            _by_whom(pilot, data.language),
        ],
    )


# --- no pilot --------------------------------------------------------------------------------------------------


def _no_pilot(data: DeckData) -> list[StorySlide]:
    return [
        _measured(data),
        _found(data),
        _profiles(data),
        _stands_out(data),
        _controls(data),
        _next_step(data),
        _three_limits(data),
    ]


def _models(data: DeckData) -> pl.DataFrame:
    """One run of each model: of several, the first that no check vetoes."""
    order = data.texts.with_columns(is_vetoed=pl.col("worst_check").eq_missing(pl.lit("veto")))
    return (
        order.sort("is_vetoed", maintain_order=True).unique("model_id", keep="first", maintain_order=True).sort("name")
    )


def _measured(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    runs = _models(data)
    names = [shortened(one, 40) for one in runs["name"]]
    texts = data.texts["corpus_name"].unique(maintain_order=True).to_list()
    title = (
        _("{names}, measured on {n} text")
        if len(names) <= 2 and len(texts) == 1
        else _("{names}, measured on {n} texts")
        if len(names) <= 2
        else _("{count} language models, measured on {n} text")
        if len(texts) == 1
        else _("{count} language models, measured on {n} texts")
    ).format(names=_(" and ").join(names), count=len(names), n=len(texts))
    rows = [
        (_("Models"), words.names(names, data.language, most=6, longest=40)),
        (_("Texts"), words.names(texts, data.language)),
        (_("Dimension"), words.dimension(data.language)),
        (_("Points"), _("N={size} token types, one point each").format(size=wording.size_range(data.n_points))),
        (_("Quality"), wording.sentences((words.checks(data.texts, data.language), _usable(data)), data.language)),
        (_("Question"), _("none was registered: this deck describes, and recommends nothing")),
    ]
    if data.left_out:
        rows.append(
            (_("Left out"), _("having no verdicts: {names}").format(names=words.names(data.left_out, data.language)))
        )
    return slide(
        data,
        "measured",
        title,
        evidence=Table(
            (Column(_("What"), 0.2), Column(_("Measured on {day}").format(day=_days(data)), 0.8)),
            tuple(rows),
            _("Table of what was measured: {names}.").format(names=words.names(names, data.language)),
        ),
        tables=("runs", "models", "corpora"),
        runs=data.texts,
        say=(
            _(
                "A language model turns every word into a long list of numbers, layer after layer. We estimate how many "
                "independent directions these lists really use. That is what dimension means on the following slides."
            ),
            _(
                "Nobody asked a question beforehand, so this is a description: it can raise a question, and answer none."
            ),
        ),
    )


def _usable(data: DeckData) -> str:
    """How the counts of the slides hang together, where some models are not drawn."""
    _ = translator(data.language)
    total = data.texts["model_id"].n_unique()
    usable = _sound(data.texts)["model_id"].n_unique()
    drawn = _sound(_shown(data))["model_id"].n_unique()
    if drawn == total:
        return ""
    return _("Usable: {usable} of {total} models; drawn: {drawn}, the largest group that can be compared.").format(
        usable=usable, total=total, drawn=drawn
    )


def _sound(runs: pl.DataFrame) -> pl.DataFrame:
    """Those with a dimension that no check vetoes."""
    return runs.filter(~pl.col("worst_check").eq_missing(pl.lit("veto")), pl.col("inner_max").is_not_null())


def _days(data: DeckData) -> str:
    """The day of the measurements, or the first and the last."""
    _ = translator(data.language)
    days = sorted({moment.date() for moment in data.texts["started_at"]})
    first, last = words.day(days[0], data.language), words.day(days[-1], data.language)
    return first if first == last else _("{low} to {high}").format(low=first, high=last)


def _found(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    runs = _models(data)
    sound = runs.filter(~pl.col("worst_check").eq_missing(pl.lit("veto")), pl.col("inner_max").is_not_null())
    n = sound.height
    if not n:
        title = _("0 of {total} models have numbers that can be relied on").format(total=runs.height)
        told = [Statement(words.checks(runs, data.language), _("Conclusion"), True)]
    elif n == 1:
        run = sound.row(0, named=True)
        title = _one_profile(run, data.language)
        told = [Statement(words.shape(run, data.language), _("Conclusion"), True)]
        told.append(Statement(_profile_text(run, data.language), _("Evidence")))
    elif n == 2:
        first, second = sound.iter_rows(named=True)
        title = _("Largest inner dimension {x} and {y}: neither model is thereby better").format(
            x=wording.rounded(first["inner_max"]), y=wording.rounded(second["inner_max"])
        )
        both = (first, second)
        told = [
            Statement(words.shape(run, data.language), "" if n else _("Conclusion"), True) for n, run in enumerate(both)
        ]
        told += [Statement(_lowest(run, data), "" if n else _("Evidence")) for n, run in enumerate(both)]
    else:
        title = _("{n} models reach a largest inner dimension of {low} to {high}; none is thereby better").format(
            n=n,
            low=wording.rounded(sound["inner_max"].min()),  # type: ignore[arg-type]
            high=wording.rounded(sound["inner_max"].max()),  # type: ignore[arg-type]
        )
        told = [
            Statement(_counted(sound, claim, data.language), "" if n else _("Conclusion"), True)
            for n, claim in enumerate(CLAIMS)
        ]
        told.append(Statement(_spans(sound, data.language).text, _("Evidence")))
    told.append(
        Statement(
            _("Choose nothing by these numbers: register a question with a benchmark first, then measure."), _("Action")
        )
    )
    return slide(
        data,
        "answer",
        title,
        told,
        tables=("run_summaries",),
        runs=runs,
        say=(
            _(
                "A rise or a fall is told as a fact only where it holds under every core way of measuring it and where a "
                "control could have shown otherwise. Else the slide says what it depends on."
            ),
            _("The three numbers are the dimension at the embedding, the largest inside, and after the last block."),
        ),
    )


def _lowest(run: dict, data: DeckData) -> str:
    """`MiniLM: lowest at layer 5 (48.8); largest 127 [123, 132]`."""
    _ = translator(data.language)
    return _("{name}: largest {top}, lowest at layer {layer} ({low}).").format(
        name=shortened(run["name"], 30),
        top=wording.interval_of(run, "inner_max"),
        layer=layer_text(run["lowest_layer"], run["n_layers"], data.language),
        low=wording.number(run["lowest_dimension"]),
    )


def _stands_out(data: DeckData) -> StorySlide:
    """Valleys, the largest step between two layers, and how much few directions carry."""
    _ = translator(data.language)
    runs = _models(data).filter(~pl.col("worst_check").eq_missing(pl.lit("veto")))
    steps = {run["run_id"]: _largest_step(data, run) for run in runs.iter_rows(named=True)}
    known = {run_id: step for run_id, step in steps.items() if step}
    if not known:
        return not_measured(
            data,
            "outstanding",
            _("profiles that can be relied on"),
            words.time_of(data.texts.height, data.texts, data.language),
            [words.checks(data.texts, data.language)],
        )
    labels = evidence.short_names(runs, data.language, 34)
    by_size = sorted(known, key=lambda run_id: -_ratio(known[run_id]))
    rows = []
    for run_id in by_size[:MOST_ROWS]:
        run = runs.row(by_predicate=pl.col("run_id") == run_id, named=True)
        first, second, before, after = known[run_id]
        rows.append(
            (
                labels[run_id],
                _valley(data, run_id),
                _("{before} → {after} (layer {first} to {second})").format(
                    before=wording.number(before), after=wording.number(after), first=first, second=second
                ),
                _dominant(data, run),
            )
        )
    first, second, before, after = known[by_size[0]]
    key = _("The {n} models with the largest changes by ratio; the others stand in the appendix.").format(n=MOST_ROWS)
    return slide(
        data,
        "outstanding",
        _("Largest change by ratio: {name}, from {before} to {after} between layers {first} and {second}").format(
            name=shortened(labels[by_size[0]], 34),
            before=wording.rounded(before),
            after=wording.rounded(after),
            first=first,
            second=second,
        ),
        evidence=Table(
            (
                Column(_("Model"), 0.28),
                Column(_("Valley inside"), 0.2),
                Column(_("Largest change between neighbouring layers (ratio)"), 0.3),
                Column(_("Variance in the largest direction"), 0.22),
            ),
            tuple(rows),
            _("Table of valleys, largest steps and dominant directions, models: {n}.").format(n=len(rows)),
            key if len(known) > MOST_ROWS else "",
        ),
        tables=("layer_estimates", "run_extrema", "layer_correlators"),
        runs=runs,
        say=(
            _(
                "Three things to look for: a valley, where the words press together and spread again; a jump from one layer "
                "to the next; and a single direction that carries much of the variance, which a few odd tokens can cause."
            ),
            _("They are places to look at, and no verdict on a model."),
        ),
    )


def _ratio(step: tuple[int, int, float, float]) -> float:
    """Of a step, in either direction: a fall to a third counts as much as a rise to three times."""
    return max(step[3] / step[2], step[2] / step[3])


def _largest_step(data: DeckData, run: dict) -> tuple[int, int, float, float] | None:
    """Two neighbouring layers with the largest ratio of d2, and the values there."""
    own = data.estimates.filter(
        pl.col("value").is_finite(),
        run_id=run["run_id"],
        estimator="d2",
        cloud="one_per_type",
        transform="centred",
        state="residual",
    ).sort("layer")
    found = list(zip(own["layer"], own["value"], strict=True))
    pairs = [(a[0], b[0], a[1], b[1]) for a, b in pairwise(found) if b[0] == a[0] + 1 and a[1] > 0 < b[1]]
    return max(pairs, key=_ratio, default=None)


def _valley(data: DeckData, run_id: str) -> str:
    _ = translator(data.language)
    own = data.extrema.filter(run_id=run_id, cloud="one_per_type", kind="valley").sort("value")
    if own.is_empty():
        return _("none")
    row = own.row(0, named=True)
    return _("{value} at layer {layer}").format(
        value=wording.with_interval(row["value"], row["lower"], row["upper"]), layer=row["layer"]
    )


def _dominant(data: DeckData, run: dict) -> str:
    """Share of the variance along the first component, where it is largest inside."""
    _ = translator(data.language)
    own = data.correlators.filter(
        pl.col("value").is_finite(),
        run_id=run["run_id"],
        correlator="variance_top_1",
        cloud="one_per_type",
        state="residual",
    ).sort("value")
    if own.is_empty():
        return _("not measured")
    row = own.row(-1, named=True)
    return _("{share} at layer {layer}").format(share=f"{row['value']:.0%}", layer=row["layer"])


def _controls(data: DeckData) -> StorySlide:
    """What each kind of control could show, and what it could not: without power nothing is concluded."""
    _ = translator(data.language)
    own = data.against_controls.filter(pl.col("run_id").is_in(data.texts["run_id"].to_list()))
    kinds = dict(data.runs.filter(pl.col("pass") != "text").select("run_id", "pass").iter_rows())
    rows = []
    for kind in dict.fromkeys(kinds.values()):
        ids = [run_id for run_id, one in kinds.items() if one == kind]
        cells = [_control_cell(own.filter(pl.col("control_run_id").is_in(ids), claim=claim), data) for claim in CLAIMS]
        if any(cells):
            rows.append((name("pass", kind, data.language), *(cell or "–" for cell in cells)))
    if not rows:
        passes = 7  # those of the protocol standard
        return not_measured(
            data,
            "controls",
            _("controls"),
            words.time_of(passes * data.texts["model_id"].n_unique(), data.texts, data.language),
            [
                _(
                    "Without controls nobody knows whether a shape comes from training: no rise or fall counts as confirmed."
                ),
                _("Controls are the same network with random weights, and the same text with its words shuffled."),
                _("They are part of the protocol standard: workdim measure MODEL --protocol standard"),
            ],
        )
    powered = own.filter(pl.col("claim").is_in(CLAIMS), pl.col("outcome").is_in(["exceeded", "shows_it"])).height
    total = own.filter(pl.col("claim").is_in(CLAIMS)).height
    return slide(
        data,
        "controls",
        _("{n} of {total} comparisons with controls could have shown a shape without training").format(
            n=powered, total=total
        ),
        evidence=Table(
            (Column(_("Control"), 0.24), *(Column(claim_name(claim, data.language), 0.38) for claim in CLAIMS)),
            tuple(rows[:MOST_ROWS]),
            _("Table of controls with their power and outcomes."),
            _(
                "Power: how likely the control would have shown the claim, had it the same shape. Without power nothing follows."
            ),
        ),
        tables=("run_controls",),
        runs=data.runs,
        say=(
            _(
                "A control is a network that has learnt nothing, or a text that says nothing. If it shows the same shape, the "
                "shape does not come from training. If it could not have shown it, its silence says nothing at all."
            ),
        ),
    )


def _control_cell(found: pl.DataFrame, data: DeckData) -> str:
    """`could not have shown it: 2, the text exceeds it: 2 (power 21%–100%)`."""
    _ = translator(data.language)
    told = _(", ").join(
        _("{qualifier}: {count}").format(qualifier=name("control_outcome", one, data.language), count=count)
        for one, count in Counter(found["outcome"]).most_common()
    )
    # Where a control shows the shape, or cannot be used, its power decides nothing.
    powers = found.filter(pl.col("outcome").is_in(["exceeded", "no_power"]))["power"].drop_nulls().to_list()
    if not powers:
        return told
    ends = dict.fromkeys(f"{power:.0%}" for power in (min(powers), max(powers)))
    return _("{told} (power {power})").format(told=told, power="–".join(ends))


def _next_step(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    n = data.texts["model_id"].n_unique()
    reasons = {key for claim in CLAIMS for keys in data.texts[f"reasons_{claim}"].to_list() for key in keys or ()}
    open_controls = reasons & {"no_control", "control_no_power", "control_failed", "control_vetoed"}
    options = []
    if open_controls:
        options.append(
            (
                _("Measure controls with power"),
                words.time_of(7 * n, data.texts, data.language),
                _("whether the shape comes from training"),
            )
        )
    more = max(0, 10 - n)
    options.append(
        (
            _("Register a pilot with a benchmark and {n} models").format(n=max(n, 10)),
            words.time_of(more, data.texts, data.language) if more else _("scores only"),
            _("whether the dimension says anything about scores"),
        )
    )
    if data.texts["corpus_id"].n_unique() == 1:
        options.append(
            (
                _("Read a second text"),
                words.time_of(n, data.texts, data.language),
                _("whether another text gives the same shape"),
            )
        )
    options.append(
        (_("Make a layer plan of one model"), _("time not yet estimated"), _("which blocks it can do without"))
    )
    return slide(
        data,
        "next",
        _("Next step: {what}, {time}").format(what=_lowered(options[0][0], data.language), time=options[0][1]),
        evidence=Table(
            (Column(_("Step"), 0.42), Column(_("Time here"), 0.23), Column(_("What it would settle"), 0.35)),
            tuple(options),
            _("Table of next steps with their time: {names}.").format(names=_(", ").join(one[0] for one in options)),
        ),
        tables=("runs",),
        runs=data.texts,
        say=(
            _("The first line is what we would do next. The times come from the measurements that were made here."),
            _("If nobody needs the answer, stopping here costs nothing."),
        ),
    )


def _lowered(text: str, language: str) -> str:
    return text[:1].lower() + text[1:] if language == "en" else text


def _three_limits(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    found = limits(data.runs, data.checks, data.against_controls, data.scored, data.words, data.language)
    three = found[:3]
    return slide(
        data,
        "caveats",
        _("{n} limits matter most for reading these numbers").format(n=len(three)),
        [Statement(limit.brief or limit.reason, limit.question) for limit in three],
        tables=("runs", "run_checks", "scores"),
        runs=data.texts,
        say=(
            _(
                "These are the questions that a careful reader asks first, and that these measurements leave open. All "
                "further limits stand in the appendix."
            ),
            _("Please do not carry a number from this deck into a choice without them."),
        ),
    )


_SEVEN: dict[Case, Callable[[DeckData], list[StorySlide]]] = {
    "related_as_registered": _related,
    "related_other_way": _related,
    "not_related": _not_clear,
    "cannot_tell": _not_clear,
    "incomplete": _incomplete,
    "one_model": _no_pilot,
    "two_models": _no_pilot,
    "many_models": _no_pilot,
    "plan": plan_board.seven,
}

__all__ = ["case_of", "storyboard"]
