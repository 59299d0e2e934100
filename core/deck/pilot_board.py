"""What the five slides of a pilot say: answered either way, open, or not complete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from core import wording
from core.analysis.intervals import NORMAL_95
from core.analysis.ranking import OWN_MATCHES
from core.analysis.relation import MARGIN, LeaveOneOut
from core.analysis.units import FEWEST_TEST
from core.deck.board import (
    MOST_ROWS,
    N_CONTROLS,
    Board,
    Decision,
    Look,
    Option,
    Panel,
    Sure,
    check_table,
    controls_look,
    table_of_models,
)
from core.deck.deck_data import DeckData
from core.deck.story import Column, Statement, Table, Visual
from core.figures.chart import Chart
from core.figures.scores import coefficient_chart, dimension_axis, relation_chart, score_axis
from core.locale import _
from core.questions.ranking_answer import Answer, RankedModel
from core.sources import Text, counted, shown
from core.tables import Run
from core.tables.sourced import row_of
from core.wording import answers as answer_wording
from core.wording import slides as slide_wording
from core.wording.labels import distinguishing_names, marked_name, shortened_name

TABLES = ("run_summaries", "scores", "layer_replicates", "pilots")


def pilot_board(data: DeckData) -> Board:
    answer = data.asked
    looks = tuple(_looks(data))
    decision = _decision(data, looks)
    number, meaning, picture, sure = _answered(data)
    best = _best_text(data)
    return Board(
        answer=Panel(
            slide_wording.pilot_title_text(data.case, data.pilot, answer, _total(data), decision.advice),
            picture or check_table(data.checks, data.text_runs),
            (Statement(best, _("Best by score")),) if best else (),
            say=(
                *([data.pilot.question_in(data.language)] if data.pilot else []),
                answer_wording.answer_text(answer),
                *((_("{x}; {y}.").format(x=dimension_axis(answer), y=score_axis(answer)),) if picture else ()),
                *answer_wording.exclusion_lines(answer)[:2],
            ),
        ),
        number=number,
        meaning=meaning,
        sure=sure,
        decision=decision,
        looks=looks,
        evidence=_evidence(data),
        compared=_compared(data),
        tables=TABLES,
        sources=tuple(_model_lines(answer)),
    )


def _answered(data: DeckData) -> tuple[str, str, Visual | None, Sure]:
    """The number, what it is, its picture, and how sure it is by itself."""
    answer, relation = data.asked, data.asked.relation
    if data.case == "incomplete":
        counting = Text("{} / {}").format(counted(len(_sound(answer)), "scores"), _total(data))
        return counting, _("models that count so far"), _progress_table(data), "untested"
    interval = slide_wording.limits_text(relation.lower, relation.upper, answer_wording.coefficient_text)
    meaning = _("rank correlation {interval}, {n} models").format(interval=interval, n=relation.n)
    if data.pilot is not None and data.pilot.is_cautious:  # the title says what to choose by, not what was found
        meaning = _("{name}: {relation}").format(name=meaning, relation=answer_wording.word_of(answer.word))
    number = answer_wording.coefficient_text(relation.rho)
    if relation.rho is None and relation.n < relation.enough:  # a dash would be no answer; how far it is, is one
        number = Text("{} / {}").format(relation.n, relation.enough)
        meaning = _("models that count, of those needed")
    elif relation.rho is None:
        meaning = answer_wording.relation_text(relation)
    chart = relation_chart(answer)
    return number, meaning, chart and _plain_chart(chart, data), _SURE[answer.word]


def _plain_chart(chart: Chart, data: DeckData) -> Chart:
    """The scatter with axes in plain words, which the notes tell in full."""
    answer = data.asked
    x = replace(chart.x, title=_("Dimension (spread inside the model)"))
    y = replace(chart.y, title=score_axis(answer, slide_wording.benchmark_text(answer)))
    keys = wording.joined_sentences((chart.key, *answer_wording.replicate_lines(answer)))
    return replace(chart, x=x, y=y, key=keys)


_SURE: dict[str, Sure] = {
    "related_as_registered": "holds",
    "related_other_way": "holds",
    "not_related": "holds",
    "hint": "unclear",
    "cannot_tell": "unclear",
}


def _total(data: DeckData) -> int:
    """Models that the pilot names, or that were measured where it names none."""
    named = len(data.pilot.models) if data.pilot else 0
    return counted(max(named, len(data.asked.models)), "pilots")


def _vetoed(answer: Answer) -> list[str]:
    names = [model.name for model in answer.models if model.is_vetoed]
    return list(dict.fromkeys([*names, *answer.population.vetoed["name"]]))


def _sound(answer: Answer) -> list[str]:
    """Names of the models that count: measured, vetoed by no check, with a score of their own."""
    return [
        one.name for one in answer.models if not one.is_vetoed and one.score is not None and one.match in OWN_MATCHES
    ]


def _unscored(answer: Answer) -> list[str]:
    return [one.name for one in answer.models if not one.is_vetoed and one.name not in _sound(answer)]


def _best_text(data: DeckData) -> str:
    """`m02: 83.0, rank 1–4`; empty where no model can be first."""
    best = data.best_by_score
    if best is None:
        return ""
    values = {"name": shortened_name(best.name, 40), "score": wording.number(best.score)}
    if not data.asked.ranked.has_score_errors:
        return _("{name}: {score}, first, error not known").format(**values)
    ranks = _ranks(best.score_rank_low, best.score_rank_high)
    return _("{name}: {score}, rank {ranks}").format(ranks=ranks, **values)


def _ranks(low: int | None, high: int | None) -> str:
    if low is None or high is None:
        return "–"
    return shown(low) if low == high else Text("{}–{}").format(low, high)


def _model_lines(answer: Answer) -> list[str]:
    """Each number with its run: `base: d2 43.1 [41.0, 45.3]; 1.53; 0190...`."""
    return [
        f"{model.name}: d2 {wording.with_interval(model.dimension, model.lower, model.upper)}; "
        f"{wording.number(model.score)}; {model.run_id}"
        for model in answer.models
    ]


# --- pictures ----------------------------------------------------------------------------------------------------


def _progress_table(data: DeckData) -> Table:
    """Which models count, and what each of the others lacks."""
    lacking = ((group, names, what) for group, names, what, _time in _lacking(data))
    groups = ((_("Counting"), _sound(data.asked), "–"), *lacking)
    names = [name for _group, of_group, _lack in groups for name in of_group]
    short = dict(zip(names, distinguishing_names(names), strict=True))
    rows = tuple(
        (
            group,
            shown(counted(len(of_group), "pilots")),
            slide_wording.short_names_text([short[name] for name in of_group]),
            lack,
        )
        for group, of_group, lack in groups
        if of_group
    )
    return Table(
        (
            Column(_("Models"), 0.22),
            Column(_("Number"), 0.19, is_number=True),
            Column(_("Which models"), 0.31),
            Column(_("What is missing"), 0.28),
        ),
        rows,
    )


def _lacking(data: DeckData) -> list[tuple[str, list[str], str, str]]:
    """Groups of models that do not count yet, each with the names, what is to be done and how long that takes, in order."""
    answer = data.asked
    missing, unscored, vetoed = list(answer.population.missing), _unscored(answer), _vetoed(answer)
    again = _("Measure vetoed models again ({n})").format(n=counted(len(vetoed), "runs"))
    measure = _("Measure the missing models ({n})").format(n=counted(len(missing), "pilots"))
    score = _("Score {n} model", "Score {n} models", n=counted(len(unscored), "scores"))
    groups = (
        (_("Not measured"), missing, measure, _time(len(missing), data)),
        (_("No score"), unscored, score, _("as the benchmark takes")),
        (_("Vetoed by a check"), vetoed, again, _time(len(vetoed), data)),
    )
    return [group for group in groups if group[1]]


def _evidence(data: DeckData) -> Panel | None:
    """How far the coefficient moves, with the expected direction; of a pilot that is not complete the scatter so far."""
    answer, relation = data.asked, data.asked.relation
    chart = relation_chart(answer) if data.case == "incomplete" else coefficient_chart(answer)
    if chart is None:
        return None
    statements = [Statement(slide_wording.direction_text(answer, data.case), _("Direction"), is_main=True)]
    if relation.detectable is not None:
        line = _("With {n} models only ±{detectable} or more would be detected.")
        detectable = answer_wording.coefficient_text(relation.detectable)
        statements.append(Statement(line.format(n=relation.n, detectable=detectable), _("Detectable")))
    statements.append(Statement(_("How many directions the model's inner vectors spread over."), _("Dimension")))
    return Panel(
        slide_wording.relation_title_text(answer, data.case),
        chart,
        tuple(statements),
        say=(wording.scatter_caution_text(),),
    )


def _compared(data: DeckData) -> Panel | None:
    """The best models by score side by side, with the intervals of their ranks."""
    ordered = data.models_by_score
    if not ordered:
        return None
    names = distinguishing_names([model.name for model in ordered])
    title = _("{n} models side by side, best score first").format(n=counted(len(ordered), "scores"))
    if best := data.best_by_score:
        title = _("Best by score: {name}, rank {ranks} of {n}").format(
            name=shortened_name(best.name, 40),
            ranks=_ranks(best.score_rank_low, best.score_rank_high),
            n=counted(len(ordered), "scores"),
        )
    key = [_("Best score first; rank 1 by dimension is the largest.")]
    if any(model.is_vetoed for model in ordered[:MOST_ROWS]):
        key.append(wording.veto_mark_text())
    return Panel(
        title,
        table_of_models(
            (
                Column(_("Model"), 0.22),
                Column(_("Score"), 0.22, is_number=True),
                Column(_("Rank by score"), 0.17, is_number=True),
                Column(_("Dimension"), 0.22, is_number=True),
                Column(_("Rank by dimension"), 0.17, is_number=True),
            ),
            [_model_row(model, name) for model, name in zip(ordered, names, strict=True)],
            "scores",
            *key,
        ),
        say=(_("Models whose ranks overlap cannot be told apart (95 %, simultaneous)."),),
    )


def _model_row(model: RankedModel, name: str) -> tuple[str, ...]:
    reach = NORMAL_95 * model.score_std_error if model.score_std_error else None
    low, high = (None, None) if reach is None or model.score is None else (model.score - reach, model.score + reach)
    return (
        marked_name(shortened_name(name, 30), model.is_vetoed),
        wording.with_interval(model.score, low, high),
        _ranks(model.score_rank_low, model.score_rank_high),
        wording.with_interval(model.dimension, model.lower, model.upper),
        _ranks(model.rank_low, model.rank_high),
    )


# --- other ways of looking -----------------------------------------------------------------------------------------


def _looks(data: DeckData) -> Iterator[Look]:
    """Methods, texts, samples, controls, size, single models and families, from stored results; before there is an answer
    that they could change, only what was measured."""
    answer, relation = data.asked, data.asked.relation
    if data.case == "incomplete":
        yield _second(_("Second text"), data, "corpus_id", "corpora")
        yield _second(_("Second sample"), data, "seed", "runs")
        yield _controls(data)
        return
    curve = answer.specifications
    if curve is None or relation.rho is None:
        yield Look(_("Other methods"), "untested", _("not computed"))
    else:
        is_same = curve.answer == answer.word and curve.n_agreeing == len(curve.relations)
        sure: Sure = "holds" if is_same else "depends"
        yield Look(_("Other methods"), sure, answer_wording.specifications_text(curve))
    yield _other_texts(data)
    yield _second(_("Second sample"), data, "seed", "runs")
    yield _controls(data)
    yield _size(answer)
    yield _without(_("Single models left out"), answer, relation.without_one)
    yield _without(_("Families left out"), answer, relation.without_family)


def _other_texts(data: DeckData) -> Look:
    """Whether the same models give the same answer on the other texts that they have read."""
    if not data.on_other_texts:
        return _second(_("Second text"), data, "corpus_id", "corpora")
    told = [
        _("{name}: correlation {rho}, {word}").format(
            name=row_of(answer.population.rows, Run).corpus_name,
            rho=answer_wording.coefficient_text(answer.relation.rho),
            word=answer_wording.word_of(answer.word),
        )
        for answer in data.on_other_texts
    ]
    others = {answer.word for answer in data.on_other_texts} - {data.asked.word}
    sure: Sure = "depends" if others - {"cannot_tell"} else "unclear" if others else "holds"
    return Look(_("Second text"), sure, _("; ").join(told[:2]))


def _second(name: str, data: DeckData, column: str, table: str) -> Look:
    """Another text or sample: measured, or not; where it was, whether it gives the same answer is not compared."""
    n = counted(data.text_runs[column].n_unique(), table)
    if n > 1:
        return Look(name, "unclear", _("measured ({n}), not compared").format(n=n))
    return Look(name, "untested", slide_wording.untried_text(len(data.asked.models), data.text_runs))


def _controls(data: DeckData) -> Look:
    """A shape that controls have too makes no doubt of an answer that claims no relation."""
    outcomes = data.outcomes_of_controls(data.text_runs["run_id"])
    look = controls_look(outcomes, N_CONTROLS * len(data.asked.models), data.text_runs)
    is_claimed = data.asked.word not in ("not_related", "cannot_tell")
    return look if is_claimed or look.sure == "untested" else replace(look, agrees=False)


def _size(answer: Answer) -> Look:
    """Whether models of equal size give the same answer, by the interval of their correlation."""
    partial, rho = answer.relation.partial, answer.relation.rho
    told = answer_wording.given_size_text(answer.relation).rstrip(".。")
    if partial.r is None or rho is None:
        return Look(_("Equal size"), "impossible", told)
    if partial.lower is None or partial.upper is None:
        return Look(_("Equal size"), "unclear", told)
    has_zero = partial.lower <= 0 <= partial.upper
    sure: Sure = "depends"
    if answer.word in ("not_related", "cannot_tell") and has_zero:
        is_narrow = max(-partial.lower, partial.upper) <= MARGIN
        sure = "holds" if is_narrow or answer.word == "cannot_tell" else "unclear"
    elif answer.word not in ("not_related", "cannot_tell") and not has_zero and partial.r * rho > 0:
        sure = "holds"
    return Look(_("Equal size"), sure, told)


def _without(name: str, answer: Answer, effect: LeaveOneOut | None) -> Look:
    if effect is None:
        return Look(name, "impossible", _("too few models or families"))
    sure: Sure = "unclear" if effect.changes is None else "depends" if effect.changes else "holds"
    names = {model.run_id: model.name for model in answer.models}
    lowest, highest = (answer_wording.coefficient_text(end) for end in (effect.lowest, effect.highest))
    told = _("correlation {lowest} to {highest}; {name} moves it most")
    moving = names.get(effect.moves_most, effect.moves_most)
    return Look(name, sure, told.format(lowest=lowest, highest=highest, name=moving))


# --- the decision ------------------------------------------------------------------------------------------------


def _time(n: int, data: DeckData) -> str:
    return slide_wording.time_text(n, data.text_runs)


def _decision(data: DeckData, looks: tuple[Look, ...]) -> Decision:
    relation = data.asked.relation
    is_cautious = data.pilot is not None and data.pilot.is_cautious
    stop = Option(_("Choose by score"), _("none"), _("dimension plays no part"))
    if is_cautious:
        stop = Option(_("Stop"), _("none"), _("the model in use stays"))
    if data.case == "incomplete":
        return _completion(data, stop)
    if is_cautious:  # as the title says, whatever was found
        test = Option(_("Test it on the task"), _("your choice"), _("reasons to choose or refuse"))
        title = _("The dimensions of {n} models decide nothing here; tests of the task do").format(n=relation.n)
        return Decision(title, (test, stop))
    if data.case == "cannot_tell":
        more = max(0, relation.enough - relation.n)
        if not more:
            measure = Option(_("Measure more models"), _("not known"), _("the interval narrows"))
            return Decision(_("More models alone may not settle it"), (stop, measure))
        measure = Option(
            _("Measure and score {n} more model", "Measure and score {n} more models", n=more),
            _time(more, data),
            _("related or not, in four of five cases"),
        )
        title = _("More models would tell, not cross-checks: {n} in all; until then, choose by score").format(
            n=relation.enough
        )
        return Decision(title, (measure, stop), _("measure {n} more, until then choose by score").format(n=more))
    if data.case == "hint":
        test = Option(_("Register it for unscored models"), _time(max(FEWEST_TEST, relation.n), data), _("a real test"))
        return Decision(_("A hint decides nothing; a test on models without scores yet would"), (stop, test))
    if data.case == "not_related":
        return _choice_by_score(data, looks, stop)
    return _extension(data, looks, stop)


def _choice_by_score(data: DeckData, looks: tuple[Look, ...], stop: Option) -> Decision:
    """Where dimension says too little: what could still say otherwise is measured first."""
    n = data.asked.relation.n
    measure = _untested(data, looks)
    if not measure:
        other = Option(_("Ask of models of another kind"), _time(n, data), _("an answer for those"))
        return Decision(_("{n} models were enough to tell").format(n=n), (stop, other))
    title = _("{n} models say choose by score; first measure what could still say otherwise").format(n=n)
    return Decision(title, (*measure, stop), _("measure what is untested, then choose by score"))


def _extension(data: DeckData, looks: tuple[Look, ...], stop: Option) -> Decision:
    """Of a relation that was found: it is adopted where nothing is left that could reverse it."""
    n = data.asked.relation.n
    extend = Option(_("Extend to {n} other models").format(n=n), _time(n, data), _("whether it holds there"))
    if any(look.sure in ("depends", "fails") for look in looks):
        return Decision(_("The answer is not stable: adopt nothing"), (extend, stop))
    if n_open := sum(look.sure != "holds" for look in looks):
        n_open, total = (counted(n, "cross-checks") for n in (n_open, len(looks)))
        title = _("{n} of {total} cross-checks are open or not possible: adopt nothing yet")
        return Decision(title.format(n=n_open, total=total), (*_untested(data, looks), extend, stop))
    if data.case == "related_other_way":
        return Decision(_("Against the expectation: confirm it on other models first"), (extend, stop))
    adopt = Option(_("Adopt for shortlists"), _("none"), _("the task still decides"))
    return Decision(_("The dimension may shortlist; the task decides"), (adopt, extend, stop), _("shortlist by it"))


def _untested(data: DeckData, looks: tuple[Look, ...]) -> list[Option]:
    """To make the cross-checks that are still open, where that takes further measurements of the same models."""
    passes = {_("Second text"): 1, _("Second sample"): 1, _("Controls"): N_CONTROLS}
    undecided = {look.name for look in looks if look.sure in ("untested", "unclear")}
    n_runs = data.asked.relation.n * sum(passes.get(name, 0) for name in undecided)
    measure = Option(_("Measure what is untested"), _time(n_runs, data), _("whether the answer reverses"))
    return [measure] if n_runs else []


def _completion(data: DeckData, stop: Option) -> Decision:
    answer = data.asked
    lacking = _lacking(data)
    if lacking:
        _group, _names, what, time = lacking[0]
    else:
        reason = wording.joined_sentences(answer_wording.undecided_lines(answer))
        what, time = _("Settle this first: {reason}").format(reason=reason), _("not known")
    outcome = _("an answer from all models")
    if _total(data) < answer.relation.enough:
        outcome = _("enough for a strong relation; {enough} to rule one out").format(enough=answer.relation.enough)
    title = _("Only {n} of {total} models count: the answer could still change")
    title = title.format(n=counted(len(_sound(answer)), "scores"), total=_total(data))
    return Decision(title, (Option(what, time, outcome), stop))
