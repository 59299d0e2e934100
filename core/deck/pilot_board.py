"""What the five slides of a pilot say: answered either way, open, or not complete."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from core import wording
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
    stop,
    table_of_models,
    test_on_task,
)
from core.deck.deck_data import DeckData
from core.deck.layout import table_of
from core.deck.story import Statement, Table, Visual
from core.figures.scores import coefficient_chart, relation_chart
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
            slide_wording.pilot_title_text(data.case, data.pilot, answer, _total(data)),
            picture or check_table(data.checks, data.text_runs),
            (Statement(best, _("Best by score")),) if best else (),
            say=(
                *([data.pilot.question_in(data.language)] if data.pilot else []),
                answer_wording.answer_text(answer),
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
    meaning = _("rank correlation {interval}, {n} models", interval=interval, n=relation.n)
    if _is_cautious(data):  # the title says what to choose by, not what was found
        meaning = _("{name}: {relation}", name=meaning, relation=answer_wording.word_of(answer.word))
    number = answer_wording.coefficient_text(relation.rho)
    if relation.rho is None and relation.n < relation.enough:  # a dash would be no answer; how far it is, is one
        number = Text("{} / {}").format(relation.n, relation.enough)
        meaning = _("models that count, of those needed")
    elif relation.rho is None:
        meaning = answer_wording.relation_text(relation)
    if chart := relation_chart(answer):
        key = wording.joined_sentences((chart.key, *answer_wording.replicate_lines(answer)))
        chart = replace(chart, key=key)
    return number, meaning, chart, _SURE[answer.word]


def _is_cautious(data: DeckData) -> bool:
    return data.pilot is not None and data.pilot.is_cautious


UNRELATED = ("not_related", "cannot_tell")
"""Answers that claim no relation."""
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


def _counts(one: RankedModel) -> bool:
    """Whether a model was measured, is vetoed by no check, and has a score of its own."""
    return not one.is_vetoed and one.score is not None and one.match in OWN_MATCHES


def _sound(answer: Answer) -> list[str]:
    """Names of the models that count."""
    return [one.name for one in answer.models if _counts(one)]


def _unscored(answer: Answer) -> list[str]:
    return [one.name for one in answer.models if not (one.is_vetoed or _counts(one))]


def _best_text(data: DeckData) -> str:
    """`m02: 83.0, rank 1–4`; empty where no model can be first."""
    best = data.best_by_score
    if best is None:
        return ""
    values = {"name": shortened_name(best.name, 40), "score": wording.number(best.score)}
    if not data.asked.ranked.has_score_errors:
        return _("{name}: {score}, first, error not known", **values)
    return _("{name}: {score}, rank {ranks}", ranks=_ranks(best.score_rank_low, best.score_rank_high), **values)


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
    groups = ((_("Counting"), _sound(data.asked), Option("–", "")), *_lacking(data))
    names = [name for _group, of_group, _lack in groups for name in of_group]
    short = dict(zip(names, distinguishing_names(names), strict=True))
    return table_of(
        (_("Models"), _("Which models"), _("What is missing")),
        tuple(
            (group, slide_wording.short_names_text([short[name] for name in of_group]), lack.what)
            for group, of_group, lack in groups
            if of_group
        ),
    )


def _lacking(data: DeckData) -> list[tuple[str, list[str], Option]]:
    """Groups of models that do not count yet, each with the names and what is to be done, in order."""
    answer = data.asked
    missing, unscored, vetoed = list(answer.population.missing), _unscored(answer), _vetoed(answer)
    again = _("Measure vetoed models again ({n})", n=counted(len(vetoed), "runs"))
    measure = _("Measure the missing models ({n})", n=counted(len(missing), "pilots"))
    score = _("Score {n} model", "Score {n} models", n=counted(len(unscored), "scores"))
    outcome = _("an answer from all models")
    groups = (
        (_("Not measured"), missing, Option(measure, outcome, _time(len(missing), data))),
        (_("No score"), unscored, Option(score, outcome)),
        (_("Vetoed by a check"), vetoed, Option(again, outcome, _time(len(vetoed), data))),
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
        detectable = answer_wording.coefficient_text(relation.detectable)
        line = _("With {n} models only ±{detectable} or more would be detected.", n=relation.n, detectable=detectable)
        statements.append(Statement(line, _("Detectable")))
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
    key = [_("Rank 1 by dimension is the largest.")]
    if any(model.is_vetoed for model in ordered[:MOST_ROWS]):
        key.append(wording.veto_mark_text())
    return Panel(
        _("{n} models side by side, best score first", n=counted(len(ordered), "scores")),
        table_of_models(
            (_("Model"), _("Score"), _("Rank by score"), _("Dimension"), _("Rank by dimension")),
            [_model_row(model, name) for model, name in zip(ordered, names, strict=True)],
            "scores",
            *key,
        ),
        say=(_("Models whose ranks overlap cannot be told apart (95 %, simultaneous)."),),
    )


def _model_row(model: RankedModel, name: str) -> tuple[str, ...]:
    return (
        marked_name(shortened_name(name, 30), model.is_vetoed),
        wording.with_interval(model.score, *model.score_limits),
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
        yield Look(_("Other methods"), told=_("not computed"))
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
        _(
            "{name}: correlation {rho}, {word}",
            name=row_of(answer.population.rows, Run).corpus_name,
            rho=answer_wording.coefficient_text(answer.relation.rho),
            word=answer_wording.word_of(answer.word),
        )
        for answer in data.on_other_texts
    ]
    others = {_finding(answer) for answer in data.on_other_texts} - {_finding(data.asked)}
    sure: Sure = "depends" if others - {"cannot_tell"} else "unclear" if others else "holds"
    return Look(_("Second text"), sure, _("; ").join(told[:2]))


def _finding(answer: Answer) -> str:
    """What was found, registered or not: a question is registered on one text alone."""
    if answer.word in UNRELATED:
        return answer.word
    return "larger" if answer_wording.goes_with_larger(answer) else "smaller"


def _second(name: str, data: DeckData, column: str, table: str) -> Look:
    """Another text or sample: measured, or not; where it was, whether it gives the same answer is not compared."""
    n = counted(data.text_runs[column].n_unique(), table)
    if n > 1:
        return Look(name, "unclear", _("measured ({n}), not compared", n=n))
    return Look(name, told=slide_wording.untried_text(len(data.asked.models), data.text_runs))


def _controls(data: DeckData) -> Look:
    """A shape that controls have too makes no doubt of an answer that claims no relation."""
    outcomes = data.outcomes_of_controls(data.text_runs["run_id"])
    look = controls_look(outcomes, N_CONTROLS * len(data.asked.models), data.text_runs)
    is_claimed = data.asked.word not in UNRELATED
    return look if is_claimed or look.sure == "untested" else replace(look, agrees=False)


def _size(answer: Answer) -> Look:
    """Whether models of equal size give the same answer, by the interval of their correlation."""
    partial, rho = answer.relation.partial, answer.relation.rho
    told = answer_wording.given_size_text(answer.relation).rstrip(".。")
    sure: Sure = "depends"
    if partial.r is None or rho is None:
        sure = "impossible"
    elif partial.lower is None or partial.upper is None:
        sure = "unclear"
    elif (partial.lower <= 0 <= partial.upper) == (answer.word in UNRELATED):
        if answer.word == "not_related":
            sure = "holds" if max(-partial.lower, partial.upper) <= MARGIN else "unclear"
        elif answer.word == "cannot_tell" or partial.r * rho > 0:
            sure = "holds"
    return Look(_("Equal size"), sure, told)


def _without(name: str, answer: Answer, effect: LeaveOneOut | None) -> Look:
    if effect is None:
        return Look(name, "impossible", _("too few models or families"))
    sure: Sure = "unclear" if effect.changes is None else "depends" if effect.changes else "holds"
    names = {model.run_id: model.name for model in answer.models}
    told = _(
        "correlation {lowest} to {highest}; {name} moves it most",
        lowest=answer_wording.coefficient_text(effect.lowest),
        highest=answer_wording.coefficient_text(effect.highest),
        name=names.get(effect.moves_most, effect.moves_most),
    )
    return Look(name, sure, told)


# --- the decision ------------------------------------------------------------------------------------------------


def _time(n: int, data: DeckData) -> str:
    return slide_wording.time_text(n, data.text_runs)


def _decision(data: DeckData, looks: tuple[Look, ...]) -> Decision:
    relation = data.asked.relation
    n, leave = relation.n, stop() if _is_cautious(data) else Option(_("Choose by score"), _("dimension plays no part"))
    if data.case == "incomplete":
        return _completion(data, leave)
    if _is_cautious(data):  # as the title says, whatever was found
        title = _("The dimensions of {n} models decide nothing here; tests of the task do", n=n)
        return Decision(title, (test_on_task(), leave))
    if data.case == "cannot_tell":
        more = max(0, relation.enough - n)
        if not more:
            measure = Option(_("Measure more models"), _("the interval narrows"))
            return Decision(_("More models alone may not settle it"), (leave, measure))
        what = _("Measure and score {n} more model", "Measure and score {n} more models", n=more)
        measure = Option(what, _("related or not, in four of five cases"), _time(more, data))
        title = _(
            "More models would tell, not cross-checks: {n} in all; until then, choose by score", n=relation.enough
        )
        return Decision(title, (measure, leave))
    if data.case == "hint":
        test = Option(_("Register it for unscored models"), _("a real test"), _time(max(FEWEST_TEST, n), data))
        return Decision(_("A hint decides nothing; a test on models without scores yet would"), (leave, test))
    untested = _untested(data, looks)
    if data.case == "not_related":  # what could still say otherwise is measured first
        if untested:
            title = _("{n} models say choose by score; first measure what could still say otherwise", n=n)
            return Decision(title, (*untested, leave))
        other = Option(_("Ask of models of another kind"), _("an answer for those"), _time(n, data))
        return Decision(_("{n} models were enough to tell", n=n), (leave, other))
    extend = Option(_("Extend to {n} other models", n=n), _("whether it holds there"), _time(n, data))
    possible = [look for look in looks if look.sure != "impossible"]
    if n_open := sum(look.sure != "holds" for look in possible):  # adopted where nothing is left that could reverse it
        n_open, total = (counted(number, "cross-checks") for number in (n_open, len(possible)))
        title = _("{n} of {total} cross-checks do not confirm it: adopt nothing yet", n=n_open, total=total)
        return Decision(title, (*untested, extend, leave))
    if data.case == "related_other_way":
        return Decision(_("Against the expectation: confirm it on other models first"), (extend, leave))
    adopt = Option(_("Adopt for shortlists"), _("the task still decides"))
    return Decision(_("The dimension may shortlist; the task decides"), (adopt, extend, leave))


def _untested(data: DeckData, looks: tuple[Look, ...]) -> list[Option]:
    """To make the cross-checks that are still open, where that takes further measurements of the same models."""
    passes = {_("Second text"): 1, _("Second sample"): 1, _("Controls"): N_CONTROLS}
    undecided = {look.name for look in looks if look.sure in ("untested", "unclear")}
    n_runs = data.asked.relation.n * sum(passes.get(name, 0) for name in undecided)
    measure = Option(_("Measure what is untested"), _("whether the answer reverses"), _time(n_runs, data))
    return [measure] if n_runs else []


def _completion(data: DeckData, leave: Option) -> Decision:
    lacking = [option for _group, _names, option in _lacking(data)]
    if not lacking:
        reason = wording.joined_sentences(answer_wording.undecided_lines(data.asked))
        lacking = [Option(_("Settle this first: {reason}", reason=reason), _("an answer from all models"))]
    n, total = counted(len(_sound(data.asked)), "scores"), _total(data)
    title = _("Only {n} of {total} models count: the answer could still change", n=n, total=total)
    return Decision(title, (lacking[0], leave))
