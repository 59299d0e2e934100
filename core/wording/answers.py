"""The wording of an answer about dimension and score: one sentence, the same wherever it is shown, and its notes.

No sentence claims a cause. It gives numbers side by side, with who expected what and when.
"""

from __future__ import annotations

from core import wording
from core.analysis.relation import MARGIN, LeaveOneOut, Relation, SpecificationCurve
from core.analysis.units import FEWEST_EXPLORATORY, FEWEST_TEST
from core.errors import Sentence
from core.locale import _, worded
from core.questions.ranking_answer import Answer, specification_key
from core.questions.ranking_question import Registration
from core.registry.published import Published
from core.registry.specifications import SPECIFICATIONS
from core.sources import Text, counted, shown
from core.tables.sourced import row_of
from core.wording.labels import names_text
from core.wording.numbers import day
from core.wording.scores import p_value_text, row_benchmark_name
from core.wording.verdicts import specification_name


def dimension_name(dimension: str) -> str:
    """A key of `core.questions.ranking_question.DIMENSIONS` in words, for use within a sentence."""
    names = {
        "inner_max": _("largest inner dimension"),
        "working": _("working dimension"),
        "final": _("final dimension before the norm"),
        "final_post_norm": _("final dimension after the norm"),
        "embedding": _("embedding dimension"),
    }
    return names[dimension]


def direction_name(claim: Published) -> str:
    """In which direction a published claim relates dimension and performance."""
    return {
        "negative": _("smaller with better"),
        "positive": _("larger with better"),
        "none": _("none that is reliable"),
        "other": _("about something beside it"),
    }[claim.direction]


def answer_word(answer: Answer) -> str:
    """One of five: `related as registered`, `related the other way`, `not related`, `cannot tell`, `a hint`."""
    return _word_of(answer.word)


def _word_of(key: str) -> str:
    words = {
        "related_as_registered": _("related as registered"),
        "related_other_way": _("related the other way"),
        "hint": _("a hint"),
        "not_related": _("not related"),
        "cannot_tell": _("cannot tell"),
    }
    return words[key]


def headline_text(answer: Answer) -> str:
    """`Dimension and ladder_code (bits_per_byte): cannot tell (n = 18)`."""
    template = _("Dimension and {benchmark}: {word} (n = {n})")
    return template.format(benchmark=benchmark_name(answer), word=answer_word(answer), n=answer.relation.n)


def answer_text(answer: Answer) -> str:
    """The whole answer: the claim, its numbers, and what it was measured on."""
    if answer.group is None:
        return claim_text(answer)
    whole = _("{claim}: {numbers}; {basis}.")
    return whole.format(claim=claim_text(answer), numbers=relation_text(answer.relation), basis=basis_text(answer))


def basis_text(answer: Answer) -> str:
    """What the answer was measured on: `text python-docs, protocol quick; registered 1 March 2026, before the scores`."""
    if answer.group is None:
        return ""
    run = row_of(answer.group.rows)
    template = _("text {text}, protocol {protocol}; {status}")
    return template.format(text=run["corpus_name"], protocol=run["protocol"], status=_status_text(answer.registration))


def claim_text(answer: Answer) -> str:
    """The answer without its numbers."""
    if answer.group is None and answer.population.vetoed.height:
        return _("Cannot tell: a check vetoes every run that could be compared.")
    if answer.group is None:
        return _("Cannot tell: none of the models that the question is about was measured here.")
    dimension, benchmark = dimension_name(answer.population.asked.dimension), benchmark_name(answer)
    heads = {
        "related_as_registered": (
            _("Related as registered: models whose {dimension} is smaller tend to score better in {benchmark}"),
            _("Related as registered: models whose {dimension} is larger tend to score better in {benchmark}"),
        ),
        "related_other_way": (
            _("Related the other way: models whose {dimension} is smaller tend to score better in {benchmark}"),
            _("Related the other way: models whose {dimension} is larger tend to score better in {benchmark}"),
        ),
        "hint": (
            _(
                "A hint, not registered beforehand: models whose {dimension} is smaller tend to score better in {benchmark}"
            ),
            _(
                "A hint, not registered beforehand: models whose {dimension} is larger tend to score better in {benchmark}"
            ),
        ),
        "not_related": (_("Not related within ±{margin}: {dimension} and score in {benchmark}"),) * 2,
        "cannot_tell": (_("Cannot tell whether {dimension} and score in {benchmark} are related"),) * 2,
    }
    template = heads[answer.word][goes_with_larger(answer)]
    return template.format(dimension=dimension, benchmark=benchmark, margin=shown(MARGIN, "g"))


def goes_with_larger(answer: Answer) -> bool:
    """Whether models with the larger dimension have the better scores, among those that were measured."""
    return (answer.relation.rho or 0.0) >= 0


def benchmark_name(answer: Answer) -> str:
    """The benchmark of the scores shown, or the registered one if no model has a score."""
    shown, pilot = answer.population.benchmark, answer.population.pilot
    if shown is not None:
        return row_benchmark_name(shown)
    if pilot is not None:
        registered = pilot.benchmark
        return wording.benchmark_name(registered.name, registered.metric, registered.n_shot, registered.filter)
    return _("any benchmark")


def relation_text(relation: Relation) -> str:
    """`Spearman's rho -0.12 [-0.50, 0.31], p = 0.58, n = 18`; where nobody registered it, with the corrected p."""
    if relation.rho is None:
        return _("no coefficient, n = {n}").format(n=relation.n)
    p = p_value_text(relation.p)
    if relation.corrected_p is not None:
        corrected = Sentence(
            "{p} (corrected for {n} relation that can be looked at: {corrected})",
            "{p} (corrected for {n} relations that can be looked at: {corrected})",
            p=p,
            n=relation.n_looks,
            corrected=p_value_text(relation.corrected_p),
        )
        p = worded(corrected)
    template = _("Spearman's rho {rho}, {p}, n = {n}")
    return template.format(rho=coefficient_text(relation.rho, relation.lower, relation.upper), p=p, n=relation.n)


def coefficient_text(rho: float | None, lower: float | None = None, upper: float | None = None) -> str:
    """`-0.12 [-0.50, 0.31]`: two decimals, as precise as a few dozen models allow."""
    if rho is None:
        return "–"
    if lower is None or upper is None:
        return shown(rho, ".2f")
    return Text("{:.2f} [{:.2f}, {:.2f}]").format(rho, lower, upper)


def _status_text(registration: Registration) -> str:
    if not registration.is_registered:
        return _("exploratory")
    return _("registered {day}, before the scores").format(day=_day_text(registration))


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
    sign = signs[registration.sign]
    if registration.by == "published":
        template = _("Expectation: the published one (arXiv 2503.22547), {sign}.").format(sign=sign)
    elif "no_sign" in registration.exploratory:
        template = _("The pilot “{name}” expects no sign; the published expectation is looked at instead: {sign}.")
    elif registration.by == "shipped":
        template = _("Expectation of “{name}”, written down with Workdim on {day}: {sign}.")
    else:
        template = _("Expectation of the pilot “{name}”, {day}: {sign}.")
    pilot_name = registration.pilot.name if registration.pilot else ""
    when = registration_day_text(registration) if registration.by == "pilot" else _day_text(registration)
    text = template.format(name=pilot_name, day=when, sign=sign)
    return wording.joined_sentences((text, exploratory_text(registration)))


def registration_day_text(registration: Registration) -> str:
    """`registered in Workdim on 29 November 2026, dated 1 January 2020 by its author`: only the first counts."""
    if registration.by == "shipped":
        return _("registered {day}, with Workdim itself").format(day=_day_text(registration))
    text = _("registered in Workdim on {day}").format(day=_day_text(registration))
    if registration.stated_date is None or registration.stated_date == registration.day:
        return text
    dated = _("dated {day} by its author").format(day=day(registration.stated_date))
    return _(", ").join((text, dated))


def exploratory_text(registration: Registration) -> str:
    """Why an answer does not test what was registered; empty if it does."""
    reasons = {
        "not_registered": _("nobody registered it for these models"),
        "after_scores": _("scores were there before it was registered"),
        "dates_not_known": _("when the scores came is not stated"),
        "other_score": _("this is not the registered score"),
        "other_dimension": _("this is not the registered dimension"),
        "other_models": _("these are fewer models than were registered"),
    }
    given = [reasons[key] for key in registration.exploratory if key in reasons]
    return _("Exploratory: {reasons}.").format(reasons=_("; ").join(given)) if given else ""


def undecided_lines(answer: Answer) -> list[str]:
    """Why no answer is possible: one line for each reason."""
    relation = answer.relation
    lines = {
        "no_runs": "",
        "no_scores": _("None of these models has this score."),
        "base_scores": _("Only base models have this score: other weights earned it, so that it tests nothing."),
        "no_dimensions": _("None of these models has this dimension."),
        "one_value": _("All scores, or all dimensions, are equal: no order can be compared."),
        **sample_size_reasons(
            relation,
            _("Fewer than {n} models with both numbers: a picture, and no coefficient."),
            _("Fewer than {n} models: the coefficient is a first look and no test."),
            _(
                "{n} models are too few for either: a |rho| of {detectable} would show with a power of 80 %, and the 90 % "
                "interval [{lower}, {upper}] is not within ±{margin}."
            ),
        ),
        "search": _(
            "Nobody registered this relation before the scores, and corrected for all that can be looked at p is above 0.05."
        ),
        "picked": _(
            "Nobody registered this choice of models, and no correction covers models that were picked by hand."
        ),
        "sources": _("Sources contradict each other, and the answer depends on which of them is right."),
        "no_direction": _("No source says whether a higher score is the better one: the expectation has no direction."),
    }
    return [lines.get(key, key) for key in answer.reasons]


def sample_size_reasons(relation: Relation, few: str, first_look: str, wide: str) -> dict[str, str]:
    """Reason -> its line, for the reasons that follow from numbers alone. Models and windows have templates of their own."""
    too_wide = wide.format(
        n=relation.n,
        detectable=coefficient_text(relation.detectable),
        lower=coefficient_text(relation.lower_90),
        upper=coefficient_text(relation.upper_90),
        margin=shown(MARGIN, "g"),
    )
    stages = {"too_few": few.format(n=FEWEST_EXPLORATORY), "stage": first_look.format(n=FEWEST_TEST)}
    return {**stages, "interval_too_wide": too_wide}


def replicate_lines(answer: Answer) -> list[str]:
    """That models of one recipe count once; empty if each is of its own."""
    relation = answer.relation
    if relation.n_units == relation.n:
        return []
    template = _("{models} models are of {n} recipes: those of one recipe count once here, by their means.")
    return [template.format(models=relation.n_units, n=relation.n)]


def exclusion_lines(answer: Answer) -> list[str]:
    """Which models are not counted and why, and what is doubtful about those that are."""
    population = answer.population
    labels = {model.run_id: model.name for model in answer.models}
    only_base_scored = {model.run_id for model in answer.models if model.match == "base"}
    relation = answer.relation
    lines = []
    if population.missing:
        lines.append(
            _("Named by the pilot and not measured here: {names}.").format(names=names_text(population.missing))
        )
    without_score = [
        labels[run_id] for run_id in relation.without_performance if run_id in labels.keys() - only_base_scored
    ]
    if without_score and relation.n:
        lines.append(_("Without this score: {names}.").format(names=names_text(without_score)))
    without_dimension = [labels[run_id] for run_id in relation.without_dimension if run_id in labels]
    if without_dimension:
        lines.append(_("Without this dimension: {names}.").format(names=names_text(without_dimension)))
    if population.n_variants:
        variants = Sentence(
            "Not counted, as no model of its own: {n} profile of an earlier checkpoint or damaged network.",
            "Not counted, as no models of their own: {n} profiles of earlier checkpoints or damaged networks.",
            n=population.n_variants,
        )
        lines.append(worded(variants))
    if answer.n_base and relation.n:
        lines.append(_("Not counted, because only their base model has the score: {n}.").format(n=answer.n_base))
    if answer.n_contradicting and "sources" not in answer.reasons:
        differing = Sentence(
            "Sources tell different scores of {n} model; the newest counts, and any of them gives this answer.",
            "Sources tell different scores of {n} models; the newest counts, and any of them gives this answer.",
            n=answer.n_contradicting,
        )
        lines.append(worded(differing))
    vetoed = [model.name for model in answer.models if model.is_vetoed]
    if vetoed:
        lines.append(_("Counted, although a check vetoes them: {names}.").format(names=names_text(vetoed)))
    if answer.group is not None and len(answer.group.dtypes) > 1:
        line = _("The runs differ in number format: {formats}.")
        lines.append(line.format(formats=_(", ").join(answer.group.dtypes)))
    if population.n_pilots > 1:
        line = _("{n} pilots look at these models: each more is one more chance to find something.")
        lines.append(line.format(n=population.n_pilots))
    return lines


def detail_lines(answer: Answer) -> list[str]:
    """Details for a referee: other coefficients, rho given model size, and how much single models and families weigh."""
    relation = answer.relation
    if relation.rho is None:
        return []
    detectable = _("With {n} models a |rho| of {detectable} shows with a power of 80 %.").format(
        n=relation.n, detectable=coefficient_text(relation.detectable)
    )
    return [
        _("Kendall's tau-b {tau}, {p}.").format(tau=coefficient_text(relation.tau), p=p_value_text(relation.tau_p)),
        *([] if "interval_too_wide" in answer.reasons else [detectable]),  # that reason says it
        given_size_text(relation),
        within_strata_text(relation),
        *influence_lines(answer),
    ]


def influence_lines(answer: Answer) -> list[str]:
    """How far rho moves without one model, without one family, and by errors of measurement alone."""
    relation = answer.relation
    lines: list[str] = []
    if relation.without_one is not None:
        influence = relation.without_one
        names = {model.run_id: model.name for model in answer.models}
        template = (
            _(
                "Leaving out one model, rho lies between {lowest} and {highest}; {name} moves it most, and the answer changes."
            )
            if influence.changes
            else _("Leaving out one model, rho lies between {lowest} and {highest}; {name} moves it most.")
        )
        lines.append(_without_text(template, influence, names.get(influence.moves_most, influence.moves_most)))
    if relation.without_family is not None:
        lines.append(without_family_text(relation.without_family))
    if relation.error_lower is not None:
        lines.append(_measurement_error_text(relation))
    return lines


def without_family_text(family: LeaveOneOut) -> str:
    """How far rho moves without one family, whether the answer changes, and which families are not judged."""
    template = (
        _(
            "Leaving out one family, rho lies between {lowest} and {highest}; {name} moves it most, and the answer changes."
        )
        if family.changes
        else _("Leaving out one family, rho lies between {lowest} and {highest}; {name} moves it most.")
    )
    not_judged = _("Without these families too few models are left to judge: {names}.")
    note = not_judged.format(names=names_text(family.not_judged)) if family.not_judged else ""
    return wording.joined_sentences((_without_text(template, family, family.moves_most), note))


def _without_text(template: str, influence, moves_most: str) -> str:
    return template.format(
        lowest=coefficient_text(influence.lowest), highest=coefficient_text(influence.highest), name=moves_most
    )


def _measurement_error_text(relation: Relation) -> str:
    """How far errors of measurement move rho, and which of them are assumed independent between models."""
    templates = {
        ("dimension", "performance"): _(
            "Errors of measurement alone move rho between {lower} and {upper}; those of text that all models have read are "
            "drawn for all of them together."
        ),
        ("dimension",): _(
            "Errors of measurement alone move rho between {lower} and {upper}; those of scores are taken as independent "
            "between models."
        ),
        ("performance",): _(
            "Errors of measurement alone move rho between {lower} and {upper}; those of dimensions are taken as "
            "independent between models."
        ),
        (): _(
            "Errors of measurement alone, taken as independent between models, move rho between {lower} and {upper}."
        ),
    }
    template = templates[relation.errors_paired]
    return template.format(lower=coefficient_text(relation.error_lower), upper=coefficient_text(relation.error_upper))


def given_size_text(relation: Relation) -> str:
    """The correlation of dimension and score given model size, or why there is none."""
    partial = relation.partial
    if partial.r is None:
        reasons = {
            "parameters_unknown": _("parameters are not known"),
            "one_size": _("all models have one size"),
            "one_value": _("size leaves nothing of the order of dimension or score"),
        }
        reason = reasons.get(partial.reason or "", _("too few models"))
        return _("Given size: no coefficient ({reason}).").format(reason=reason)
    template = (
        _("Given parameters and training tokens: correlation of normal scores {r}, {p}, n = {n}.")
        if "training_tokens" in partial.given
        else _("Given parameters: correlation of normal scores {r}, {p}, n = {n}.")
    )
    r = coefficient_text(partial.r, partial.lower, partial.upper)
    return template.format(r=r, p=p_value_text(partial.p), n=partial.n)


def within_strata_text(relation: Relation) -> str:
    """Rho within families and classes of size, or why there is none."""
    strata = relation.strata
    if strata.rho is None:
        reasons = {
            "families_unknown": _("families are not known"),
            "one_stratum": _("all models are of one family and size"),
        }
        reason = reasons.get(strata.reason or "", _("too few models"))
        return _("Within families and sizes: no coefficient ({reason}).").format(reason=reason)
    template = _("Within families and sizes ({strata}): rho {rho}, {p}, n = {n}.")
    return template.format(
        strata=strata.n_strata, rho=coefficient_text(strata.rho), p=p_value_text(strata.p), n=strata.n
    )


def specifications_text(curve: SpecificationCurve) -> str:
    """`Under 9 of 12 specifications the answer is “cannot tell”, as under the first of them.`"""
    template = _("Under {holds} of {n} specifications the answer is “{word}”, as under the first of them.")
    holds, n = counted(curve.n_agreeing, "specifications"), counted(len(curve.relations), "specifications")
    return template.format(holds=holds, n=n, word=_word_of(curve.answer))


def specification_lines(curve: SpecificationCurve) -> list[str]:
    """The answer and the coefficient under each: `d2, one per type: cannot tell, 0.31`."""
    return [
        _("{name}: {relation}").format(
            name=_name_of_specification(key),
            relation=_(", ").join((_word_of(relation.answer), coefficient_text(relation.rho))),
        )
        for key, relation in curve.relations.items()
    ]


def _name_of_specification(key: str) -> str:
    found = next(one for one in SPECIFICATIONS if specification_key(one) == key)
    row = {"estimator": found.estimator, "cloud": found.cloud, "transform": found.transform, "n1": found.n1, "n2": None}
    return specification_name(row)


def search_text(curve: SpecificationCurve) -> str:
    """The largest coefficient under all specifications and its corrected p; empty below the models that a test takes."""
    search = curve.search
    if search.best is None or search.n < FEWEST_TEST:
        return ""
    return _(
        "The largest coefficient with each recipe counted once: {rho} ({name}); corrected for having looked at all of them (by "
        "permutations of the maximum), {p}, n = {n}."
    ).format(
        name=_name_of_specification(search.best),
        rho=coefficient_text(search.largest),
        p=p_value_text(search.p),
        n=search.n,
    )
