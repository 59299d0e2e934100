"""The wording of an answer about dimension and score: one sentence, the same wherever it is shown, and its notes; then of
dimension and loss within one model, and of several tasks and texts.

No sentence claims a cause. It gives numbers side by side, with who expected what and when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from core import wording
from core.analysis.relation import MARGIN, Relation, SpecificationCurve, WindowRelation
from core.analysis.units import FEWEST_EXPLORATORY, FEWEST_TEST
from core.locale import N_, _, translated
from core.questions.generality import OrderTable, OverTasks, VerdictAgreement
from core.questions.ranking_answer import Answer, specification_key
from core.questions.ranking_question import Registration
from core.registry.protocols import SPECIFICATIONS
from core.registry.published import Published
from core.sources import counted, shown
from core.tables import Run
from core.wording.labels import day, listed, names_text, said_of, share_text, with_limits
from core.wording.scores import p_value_text, row_benchmark_name
from core.wording.verdicts import specification_name

DIMENSIONS = N_(
    {
        "inner_max": "largest inner dimension",
        "working": "working dimension",
        "final": "final dimension before the norm",
        "final_post_norm": "final dimension after the norm",
        "embedding": "embedding dimension",
    }
)
"""Keys of `core.questions.ranking_question.DIMENSIONS` in words, for use within a sentence."""
DIRECTIONS = N_(
    {
        "negative": "smaller with better",
        "positive": "larger with better",
        "none": "no reliable direction",
        "other": "about something else",
    }
)
"""In which direction a published claim relates dimension and performance."""
WORDS = N_(
    {
        "related_as_registered": "related as registered",
        "related_other_way": "related the other way",
        "hint": "a hint",
        "not_related": "not related",
        "cannot_tell": "cannot tell",
    }
)
"""An answer, in one of five."""
EXPLORATORY = N_(
    {
        "not_registered": "not registered for these models",
        "no_sign": "the pilot expects no direction",
        "after_scores": "the scores came before it was registered",
        "dates_not_known": "the date of the scores is not stated",
        "other_score": "not the registered score",
        "other_dimension": "not the registered dimension",
        "other_models": "fewer models than registered",
    }
)
"""Why an answer does not test what was registered."""


def dimension_name(dimension: str) -> str:
    return translated(DIMENSIONS[dimension])


def direction_name(claim: Published) -> str:
    return translated(DIRECTIONS[claim.direction])


def word_of(key: str) -> str:
    return translated(WORDS[key])


def headline_text(answer: Answer) -> str:
    """`Dimension and ladder_code (bits_per_byte): cannot tell (n = 18)`."""
    parts = {"benchmark": benchmark_name(answer), "word": word_of(answer.word), "n": answer.relation.n}
    return _("Dimension and {benchmark}: {word} (n = {n})", **parts)


def answer_text(answer: Answer) -> str:
    """The whole answer: the claim, its numbers, and what it was measured on: `text python-docs, protocol quick; registered 1
    March 2026, before the scores`. Points that are words are named."""
    if answer.group is None:
        return claim_text(answer)
    text, protocol = answer.group.rows.select("corpus_name", "protocol").row(0)
    if answer.group.is_by_words:
        text = listed([text, wording.name("cloud", "one_per_word")])
    status = _("exploratory")
    if answer.registration.is_registered:
        status = _("registered {day}, before the scores", day=_day_text(answer.registration))
    basis = _("text {text}, protocol {protocol}; {status}", text=text, protocol=protocol, status=status)
    parts = {"claim": claim_text(answer), "numbers": relation_text(answer.relation), "basis": basis}
    return _("{claim}: {numbers}; {basis}.", **parts)


def claim_text(answer: Answer) -> str:
    """The answer without its numbers."""
    if answer.group is None:
        return _("Cannot tell: these models have no comparable runs without a veto.")
    dimension, benchmark = dimension_name(answer.population.asked.dimension), benchmark_name(answer)
    if answer.word == "not_related":
        template = _("Not related within ±{margin}: {dimension} and score in {benchmark}")
    elif answer.word == "cannot_tell":
        template = _("Cannot tell whether {dimension} and score in {benchmark} are related")
    elif goes_with_larger(answer):
        template = _("{word}: models with a larger {dimension} tend to score better in {benchmark}")
    else:
        template = _("{word}: models with a smaller {dimension} tend to score better in {benchmark}")
    values = {"dimension": dimension, "benchmark": benchmark, "margin": shown(MARGIN, "g")}
    return template.format(word=_first_word(answer.word), **values)


def _first_word(key: str) -> str:
    word = word_of(key)
    return word[:1].upper() + word[1:]


def goes_with_larger(answer: Answer) -> bool:
    """Whether models with the larger dimension have the better scores, among those that were measured."""
    return (answer.relation.rho or 0.0) >= 0


def benchmark_name(answer: Answer) -> str:
    """The benchmark of the scores shown, or the registered one if no model has a score."""
    population = answer.population
    if population.benchmark is not None:
        return row_benchmark_name(population.benchmark)
    return _("any benchmark") if population.pilot is None else row_benchmark_name(population.pilot.benchmark)


def relation_text(relation: Relation) -> str:
    """`Spearman's rho -0.12 [-0.50, 0.31], p = 0.58, n = 18`; where nobody registered it, with the corrected p."""
    if relation.rho is None and relation.n < FEWEST_EXPLORATORY:
        return _("n = {n}, at least {fewest} needed", n=relation.n, fewest=FEWEST_EXPLORATORY)
    if relation.rho is None:
        return _("no coefficient, n = {n}", n=relation.n)
    p = p_value_text(relation.p)
    if relation.corrected_p is not None:
        p = _(
            "{p} (corrected for {n} look: {corrected})",
            "{p} (corrected for {n} looks: {corrected})",
            p=p,
            n=relation.n_looks,
            corrected=p_value_text(relation.corrected_p),
        )
    rho = coefficient_text(relation.rho, relation.lower, relation.upper)
    return _("Spearman's rho {rho}, {p}, n = {n}", rho=rho, p=p, n=relation.n)


def coefficient_text(rho: float | None, lower: float | None = None, upper: float | None = None) -> str:
    """`-0.12 [-0.50, 0.31]`: two decimals, as precise as a few dozen models allow."""
    return with_limits(rho, lower, upper, ".2f")


def _day_text(registration: Registration) -> str:
    return "–" if registration.day is None else day(registration.day)


# --- beside it -------------------------------------------------------------------------------------------------


def note_lines(answer: Answer) -> list[str]:
    """Notes to the answer: who expected what, why no answer is possible, and which models are left out."""
    lines = [expectation_text(answer.registration), *replicate_lines(answer), *undecided_lines(answer)]
    return [line for line in [*lines, *exclusion_lines(answer)] if line]


def expectation_text(registration: Registration) -> str:
    """What was expected, by whom and when, and what makes the answer exploratory."""
    signs = {
        "negative": _("the smaller the dimension, the better the score"),
        "positive": _("the larger the dimension, the better the score"),
    }
    pilot = registration.pilot
    whose = "arXiv 2503.22547"
    if pilot is not None and "no_sign" not in registration.exploratory:
        whose = _("“{name}”, {day}", name=pilot.name, day=registration_day_text(registration))
    text = _("Expectation ({whose}): {sign}.", whose=whose, sign=signs[registration.sign])
    return wording.joined_sentences((text, exploratory_text(registration)))


def registration_day_text(registration: Registration) -> str:
    """`registered in Workdim on 29 November 2026, dated 1 January 2020 by its author`: only the first counts."""
    text = _("registered in Workdim on {day}", day=_day_text(registration))
    if registration.stated_date is None or registration.stated_date == registration.day:
        return text
    dated = _("dated {day} by its author", day=day(registration.stated_date))
    return listed((text, dated))


def exploratory_text(registration: Registration) -> str:
    """Why an answer does not test what was registered; empty if it does."""
    given = [translated(EXPLORATORY[key]) for key in registration.exploratory if key in EXPLORATORY]
    return _("Exploratory: {reasons}.", reasons=_("; ").join(given)) if given else ""


UNDECIDED = N_(
    {
        "no_scores": "None of these models has this score.",
        "base_scores": "Only base models have this score: it tests nothing here.",
        "no_dimensions": "None of these models has this dimension.",
        "one_value": "All values are equal: no order to compare.",
        "too_few": "Fewer than {few} have both numbers: no coefficient.",
        "stage": "Fewer than {test}: a first look, no test.",
        "search": "Not registered, and p, corrected for all looks, is above 0.05.",
        "interval_holds_zero": "Not registered, and the interval of rho holds 0, though p is small.",
        "interval_too_wide": "With n = {n} we would detect only a |rho| of {detectable} or more; the 90 % interval "
        "[{lower}, {upper}] is not within ±{margin}.",
        "picked": "Not registered, and models picked by hand cannot be corrected for.",
        "sources": "Sources contradict each other, and the answer depends on them.",
        "no_direction": "No source says whether higher scores are better.",
    }
)
"""Why no answer is possible."""
OF_WINDOWS = UNDECIDED | N_(
    {"no_scores": "None of these windows has a loss.", "no_dimensions": "None of these windows has this dimension."}
)


def undecided_lines(answer: Answer) -> list[str]:
    """Why no answer is possible: one line for each reason."""
    return _reason_lines(answer.reasons, answer.relation, UNDECIDED)


def _reason_lines(reasons: Iterable[str], relation: Relation, words: Mapping[str, str]) -> list[str]:
    numbers = {
        "n": relation.n,
        "few": FEWEST_EXPLORATORY,
        "test": FEWEST_TEST,
        "detectable": coefficient_text(relation.detectable),
        "lower": coefficient_text(relation.lower_90),
        "upper": coefficient_text(relation.upper_90),
        "margin": shown(MARGIN, "g"),
    }
    return [translated(words[key]).format(**numbers) for key in reasons if key in words]


def replicate_lines(answer: Answer) -> list[str]:
    """That models of one recipe count once; empty if each is of its own."""
    relation = answer.relation
    if relation.n_units == relation.n:
        return []
    counts = {"models": relation.n_units, "n": relation.n}
    return [_("{models} models of {n} recipes: each recipe counts once, by its mean.", **counts)]


def exclusion_lines(answer: Answer) -> list[str]:
    """Which models are not counted and why, and what is doubtful about those that are."""
    population = answer.population
    labels = {model.run_id: model.name for model in answer.models}
    of_its_own = labels.keys() - {model.run_id for model in answer.models if model.match == "base"}
    relation = answer.relation
    without_score = [labels[run_id] for run_id in relation.without_performance if run_id in of_its_own]
    named = (
        (_("In the pilot, not measured here: {names}."), population.missing),
        (_("Without this score: {names}."), without_score if relation.n else []),
        (_("Without this dimension: {names}."), [labels[one] for one in relation.without_dimension if one in labels]),
        (_("Counted despite a veto: {names}."), [model.name for model in answer.models if model.is_vetoed]),
    )
    n_contradicting = 0 if "sources" in answer.reasons else answer.n_contradicting
    n_pilots = population.n_pilots if population.n_pilots > 1 else 0
    counts = (
        (_("Not counted: earlier checkpoints, damaged networks ({n})."), population.n_variants),
        (_("Not counted, as only their base model has the score: {n}."), answer.n_base if relation.n else 0),
        (_("Models on which sources disagree: {n}; any of them gives this answer."), n_contradicting),
        (_("{n} pilots look at these models: each is a chance to find something."), n_pilots),
    )
    lines = [template.format(names=names_text(models)) for template, models in named if models]
    lines += [template.format(n=n) for template, n in counts if n]
    if answer.group is not None and len(answer.group.dtypes) > 1:
        lines.append(_("The runs differ in number format: {formats}.", formats=answer.group.dtypes))
    return lines


def detail_lines(answer: Answer) -> list[str]:
    """Details for a referee: other coefficients, rho given model size, and how much single models and families weigh."""
    relation = answer.relation
    if relation.rho is None:
        return []
    least = coefficient_text(relation.detectable)
    detectable = _("With {n} models we would detect a |rho| of {detectable} or more.", n=relation.n, detectable=least)
    return [
        _("Kendall's tau-b {tau}, {p}.", tau=coefficient_text(relation.tau), p=p_value_text(relation.tau_p)),
        *([] if "interval_too_wide" in answer.reasons else [detectable]),  # that reason says it
        *([given_size_text(relation)] if relation.partial.r or relation.strata.reason != "one_stratum" else []),
        within_strata_text(relation),  # of one stratum it also says why no coefficient is given size
        *influence_lines(answer),
    ]


def influence_lines(answer: Answer) -> list[str]:
    """How far rho moves without one model, without one family, and by errors of measurement alone."""
    relation, lines = answer.relation, list[str]()
    names = {model.run_id: model.name for model in answer.models}
    for template, effect in (
        (_("Without any one model: rho {lowest} to {highest}, furthest without {name}."), relation.without_one),
        (_("Without any one family: rho {lowest} to {highest}, furthest without {name}."), relation.without_family),
    ):
        if effect is None:
            continue
        told = [
            template.format(
                lowest=coefficient_text(effect.lowest),
                highest=coefficient_text(effect.highest),
                name=names.get(effect.moves_most, effect.moves_most),
            )
        ]
        told += [_("The answer changes.")] if effect.changes else []
        if effect.not_judged and effect is relation.without_family:
            told.append(_("Too few models are left without: {names}.", names=names_text(effect.not_judged)))
        lines.append(wording.joined_sentences(told))
    if relation.error_lower is not None:
        bounds = {"lower": coefficient_text(relation.error_lower), "upper": coefficient_text(relation.error_upper)}
        told = [_("Errors of measurement alone: rho {lower} to {upper}.", **bounds)]
        told += [] if len(relation.errors_paired) == 2 else [_("Unpaired ones count as independent between models.")]
        lines.append(wording.joined_sentences(told))
    return lines


NO_COEFFICIENT = N_(
    {
        "parameters_unknown": "parameters are not known",
        "one_size": "all models have one size",
        "one_value": "size leaves no order",
        "families_unknown": "families are not known",
        "one_stratum": "all are of one family and size",
        "too_few": "too few models",
    }
)


def given_size_text(relation: Relation) -> str:
    """The correlation of dimension and score given model size, or why there is none."""
    partial = relation.partial
    if partial.r is None:
        return _no_coefficient_text(_("Given size"), partial.reason)
    r = coefficient_text(partial.r, partial.lower, partial.upper)
    return _("Given parameters: r {r}, {p}, n = {n}.", r=r, p=p_value_text(partial.p), n=partial.n)


def _no_coefficient_text(given: str, reason: str | None) -> str:
    return _("{given}: no coefficient ({reason}).", given=given, reason=translated(NO_COEFFICIENT[reason or "too_few"]))


def within_strata_text(relation: Relation) -> str:
    """Rho within families and classes of size, or why there is none."""
    strata = relation.strata
    if strata.rho is None:
        return _no_coefficient_text(_("Within families and sizes"), strata.reason)
    numbers = {"rho": coefficient_text(strata.rho), "p": p_value_text(strata.p), "n": strata.n}
    return _("Within families and sizes ({strata}): rho {rho}, {p}, n = {n}.", strata=strata.n_strata, **numbers)


def specifications_text(curve: SpecificationCurve) -> str:
    """`9 of 12 specifications give the same answer: cannot tell.`"""
    holds, n = (counted(number, "specifications") for number in (curve.n_agreeing, len(curve.relations)))
    word = word_of(curve.answer)
    return _("{holds} of {n} specifications give the same answer: {word}.", holds=holds, n=n, word=word)


def specification_lines(curve: SpecificationCurve) -> list[str]:
    """The coefficient under each, with its answer where that is another: `d2, one per type: related the other way, 0.63`."""
    lines = []
    for key, relation in curve.relations.items():
        told = [] if relation.answer == curve.answer else [word_of(relation.answer)]
        told += [] if relation.rho is None else [coefficient_text(relation.rho)]
        if told:
            lines.append(said_of(_name_of_specification(key), told))
    return lines


def _name_of_specification(key: str) -> str:
    return specification_name(next(one for one in SPECIFICATIONS if specification_key(one) == key))


def search_text(curve: SpecificationCurve) -> str:
    """The largest coefficient under all specifications and its corrected p; empty below the models that a test takes."""
    search = curve.search
    if search.best is None or search.n < FEWEST_TEST:
        return ""
    return _("Largest of all specifications: rho {rho} ({name}); corrected for all looks, {p}, n = {n}.").format(
        name=_name_of_specification(search.best),
        rho=coefficient_text(search.largest),
        p=p_value_text(search.p),
        n=search.n,
    )


# --- dimension and loss within one model -------------------------------------------------------------------------


def place_text(windows: WindowRelation) -> str:
    """Where the dimension was measured: `inner layer 5`, `after the last block`."""
    return _("after the last block") if windows.place == "final" else _("inner layer {layer}", layer=windows.layer)


def windows_text(windows: WindowRelation, run: Run) -> str:
    """The whole answer for one model on one text."""
    relation = windows.relation
    return _(
        "{word}: the directions that a window uses ({place}) and its loss in {model}. {numbers} (documents; {windows} windows); "
        "text {text}, protocol {protocol}.",
        word=_first_word(relation.answer),
        place=place_text(windows),
        model=run.name,
        numbers=relation_text(relation),
        windows=relation.n_units,
        text=run.corpus_name,
        protocol=run.protocol,
    )


def windows_note_lines(windows: WindowRelation) -> list[str]:
    """Why no answer is possible, rho given the types, and the control."""
    relation, given = windows.relation, windows.given_types
    lines = _reason_lines(relation.reasons, relation, OF_WINDOWS)
    if given.r is None:
        lines.append(_("Given the token types of a window: no coefficient."))
    else:
        r = coefficient_text(given.r, given.lower, given.upper)
        lines.append(_("Given the token types of a window: r {r}, {p}.", r=r, p=p_value_text(given.p)))
    if windows.shuffled is None:
        return [*lines, _("Without a control of shuffled tokens: --controls measures it.")]
    word, numbers = word_of(windows.shuffled.answer), relation_text(windows.shuffled)
    lines.append(_("Control with shuffled tokens: {word}; {numbers}.", word=word, numbers=numbers))
    if windows.difference is not None:
        lines.append(_("Text less shuffled tokens: {difference}.", difference=coefficient_text(*windows.difference)))
    return lines


def windows_expectation_text() -> str:
    """What is expected by whom."""
    return _(
        "Exploratory. Published: the larger the dimension of a text, the larger its loss (arXiv 2501.10573; its estimators "
        "disagree: 0.51, 0.13, -0.46)."
    )


# --- several tasks and texts -------------------------------------------------------------------------------------


def many_tasks_text() -> str:
    """What looking at several tasks costs."""
    return _(
        "p is corrected for all relations that can be looked at, except a registered pair; others are hints at most."
    )


def pooled_relation_lines(comparison: OverTasks) -> list[str]:
    """The relation of dimension and score over all tasks, how much tasks differ, and what a further task may show."""
    pooled = comparison.pooled
    if pooled is None:
        return []
    if pooled.n_tasks == 1:
        return [_("Only one task has enough models.")]
    lines = [
        _(
            "Over {n} tasks: mean rho {rho}; errors of tasks correlate by {shared}.",
            n=pooled.n_tasks,
            rho=coefficient_text(pooled.rho, pooled.lower, pooled.upper),
            shared=coefficient_text(pooled.error_correlation),
        )
    ]
    if comparison.n_recipes is not None:
        lines.append(_("Each of the {n} recipes counts once.", n=comparison.n_recipes))
    if pooled.p_differ is not None:
        lines.append(_("Do tasks differ? {p} (Cochran's Q).", p=p_value_text(pooled.p_differ)))
    if pooled.spread is None or pooled.further_lower is None or pooled.further_upper is None:
        lines.append(_("Fewer than four tasks: none is pooled."))
    else:
        lines.append(
            _(
                "Spread between tasks: {spread} (Fisher's scale); a further task: {lower} to {upper}.",
                spread=coefficient_text(pooled.spread),
                lower=coefficient_text(pooled.further_lower),
                upper=coefficient_text(pooled.further_upper),
            )
        )
    return lines


def concordance_text(order: OrderTable) -> str:
    """How far texts or tasks order the models alike: `24 models, 3 orders: Kendall's W 0.82 [0.70, 0.91], ...`."""
    concordance = order.concordance
    if concordance.w is None:
        n = counted(len(order.columns), "scores")
        return _("No coefficient of agreement: fewer than 5 models in all {n} orders, or all values equal.", n=n)
    return _(
        "{n} models, {m} orders: Kendall's W {w}, {p} (0: unrelated, 1: one order).",
        n=concordance.n,
        m=concordance.n_orders,
        w=coefficient_text(concordance.w, concordance.lower, concordance.upper),
        p=p_value_text(concordance.p),
    )


def agreement_text(agreement: VerdictAgreement) -> str:
    """For how many models a claim has one verdict on all texts: `... for 8 of 10 models (95 %: 44 to 97 %); undecided: 2.`"""
    claim = wording.name("claim", agreement.claim)
    if agreement.lower is None or agreement.upper is None:
        parts = {"claim": claim, "undecided": agreement.n_undecided}
        return _("{claim}: no model with a clear verdict on two texts; unclear: {undecided}.", **parts)
    return _(
        "{claim}: same on all texts for {same} of {n} models (95 %: {lower} to {upper}); unclear: {undecided}.",
        claim=claim,
        same=agreement.n_same,
        n=agreement.n_models,
        lower=share_text(agreement.lower),
        upper=share_text(agreement.upper),
        undecided=agreement.n_undecided,
    )
