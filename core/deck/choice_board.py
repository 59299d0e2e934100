"""What the five slides of a choice say that a selection rule made: which model to pilot, by what, and what would change it."""

from __future__ import annotations

from collections.abc import Iterator

from core.analysis.criteria import ResolvedCriterion
from core.analysis.decision import LEADING, SURE, track_record
from core.deck.board import Board, Decision, Look, Option, Panel, Sure, stop, table_of_models, test_on_task
from core.deck.deck_data import AskedRule, DeckData
from core.deck.story import Statement, Table, Visual
from core.figures.decisions import criterion_chart, first_chart
from core.locale import _
from core.questions.choice import HARMFUL, Choice, PilotChoice
from core.sources import Text, counted, shown, stamped
from core.wording import decisions as decision_wording
from core.wording import slides as slide_wording
from core.wording.labels import share_text, shortened_name

TABLES = ("rules", "rule_choices", "scores", "run_summaries", "models")
MOST_CRITERIA = 3
"""Columns of values in the table of models."""
_SURE: dict[str, Sure] = {"choice": "holds", "leads": "unclear", "cannot_tell": "unclear", "no_choice": "untested"}


def choice_board(data: DeckData) -> Board:
    assert data.choice is not None and data.choice.answer.choice is not None, "a rule always has a decision"
    asked, answer = data.choice, data.choice.answer
    choice = data.choice.answer.choice
    decision = choice.decision
    number, meaning = _number(answer, choice)
    evidence = _evidence(asked, choice)
    chart: Visual | None = first_chart(decision)
    if evidence and sum(one.share > 0 for one in decision.criteria) == 1:
        # Where one criterion alone weighs, its values say more than how often each model is first.
        chart, evidence = evidence.visual, None
    assumed = asked.saved.rule.assumptions
    exclusions = (decision_wording.exclusion_text(one, decision, assumed) for one in decision.excluded)
    notes = (*decision_wording.note_lines(decision), *exclusions)
    table, compared = _model_table(asked, choice), None
    if chart and (evidence or decision.excluded or len(decision.candidates) < 2):  # else it shows what is on slide 1
        n = counted(len(decision.candidates), "rule_choices")
        title = _("Weighted mean of {n} of {total} models, the best first", n=n, total=_total(choice))
        compared = Panel(title, table, say=notes)
    return Board(
        answer=Panel(
            _title(asked),
            chart or table,
            (Statement(_criteria_text(asked, choice), _("The rule weighs")),),
            say=(
                decision_wording.pilot_text(answer, asked.bits),
                _("The rule: {rule}.", rule=decision_wording.rule_text(asked.saved.rule)),
                decision_wording.normalisation_text(),
                *decision_wording.untested_lines(answer),
                *(() if compared else notes),
            ),
        ),
        number=number,
        meaning=meaning,
        sure=_SURE[answer.word],
        decision=_decision(answer, choice),
        looks=tuple(_looks(asked, choice)),
        evidence=evidence,
        compared=compared,
        tables=TABLES,
        sources=tuple(f"{one.name}: {one.run_id}" for one in decision.candidates),
    )


def _name(choice: Choice, one: ResolvedCriterion, bits: float | None = None) -> str:
    """A criterion; a benchmark by its name alone where no other criterion has it too."""
    benchmarks = [other.benchmark["benchmark"] for other in choice.decision.criteria if other.benchmark]
    name = one.benchmark and one.benchmark["benchmark"]
    if not name or benchmarks.count(name) > 1:
        return decision_wording.criterion_name(one, bits)
    return _("score in {benchmark}", benchmark=name)


def _criteria_text(asked: AskedRule, choice: Choice) -> str:
    """`score in arc_easy (acc, 0-shot) 75 %, parameters 25 %`: those that weigh most."""
    heaviest = sorted(choice.decision.criteria, key=lambda one: -one.share)[:MOST_CRITERIA]
    return _(", ").join(
        Text("{} {}").format(_name(choice, one, asked.bits), share_text(one.share)) for one in heaviest if one.share > 0
    )


def _total(choice: Choice) -> int:
    return counted(len(choice.decision.candidates) + len(choice.decision.excluded), "rule_choices")


def _first_names(choice: Choice) -> list[str]:
    """Of the first two models."""
    return [shortened_name(one.name, 40) for one in choice.decision.candidates[:2]]


def _title(asked: AskedRule) -> str:
    answer, choice, rule = asked.answer, asked.answer.choice, shortened_name(asked.saved.rule.name, 40)
    assert choice is not None
    if answer.use_class == HARMFUL:
        title = _("Safety-critical use: choose by tests of the task and its failures")
    elif answer.word == "no_choice":
        title = _("The rule “{rule}” chooses none of {n} models", rule=rule, n=_total(choice))
    else:
        title = {
            "choice": _("Pilot {model}: the best by the rule “{rule}”"),
            "leads": _("{model} leads by the rule “{rule}”, and is no choice yet"),
            "cannot_tell": _("The rule “{rule}” cannot tell {model} from {other}"),
        }[answer.word]
        first, other = [*_first_names(choice), "–"][:2]
        title = title.format(rule=rule, model=first, other=other)
    return title


def _number(answer: PilotChoice, choice: Choice) -> tuple[str, str]:
    """How often the first stays first within the errors; else its weighted mean; else how many models can be chosen."""
    decision = choice.decision
    if answer.word == "no_choice":
        number = Text("{} / {}").format(counted(len(decision.candidates), "rule_choices"), _total(choice))
        return number, _("models that have all that the rule asks for")
    first = _first_names(choice)[0]
    if decision.share_first is not None:
        meaning = _("how often {model} stays first as values vary within their errors", model=first)
        return share_text(decision.share_first), meaning
    return shown(decision.totals[0], ".2f"), _("weighted mean of {model}, 1 at most", model=first)


# --- pictures ----------------------------------------------------------------------------------------------------


def _evidence(asked: AskedRule, choice: Choice) -> Panel | None:
    """The values of the criterion that weighs most, with their errors; None of less than two models."""
    decision = choice.decision
    if len(decision.candidates) < 2:
        return None
    heaviest = max(range(len(decision.criteria)), key=lambda k: decision.criteria[k].share)
    resolved = decision.criteria[heaviest]
    name = _name(choice, resolved, asked.bits)
    chart = criterion_chart(decision, heaviest, asked.saved.rule.assumptions, name)
    first, share = _first_names(choice)[0], share_text(resolved.share)
    title = _("{criterion} weighs {share}; by weighted mean {first} leads", criterion=name, share=share, first=first)
    return Panel(title, chart) if chart else None


def _model_table(asked: AskedRule, choice: Choice) -> Table:
    """The models that can be chosen, best mean first, or where none can, all that are left out; else these are named below."""
    decision, assumed = choice.decision, asked.saved.rule.assumptions
    weights = sorted(range(len(decision.criteria)), key=lambda k: -decision.criteria[k].share)[:MOST_CRITERIA]
    means = list(zip(decision.candidates, (shown(total, ".2f") for total in decision.totals), strict=True))
    rows = [
        (
            shortened_name(one.name, 30),
            mean,
            *(
                decision_wording.interval_text(decision.criteria[k].criterion.of, one.values[k], assumed)
                for k in weights
            ),
        )
        for one, mean in means or [(excluded.candidate, Text("–")) for excluded in decision.excluded]
    ]
    key = []
    if decision.excluded and means:
        names = slide_wording.short_names_text([one.candidate.name for one in decision.excluded])
        key.append(_("Left out by the rule: {names}.", names=names))
    titles = [
        _(
            "{name} ({share})",
            name=_name(choice, decision.criteria[k], asked.bits),
            share=share_text(decision.criteria[k].share),
        )
        for k in weights
    ]
    return table_of_models((_("Model"), _("Mean"), *titles), rows, "rule_choices", *key)


# --- other ways of looking, and the decision -----------------------------------------------------------------------


def _looks(asked: AskedRule, choice: Choice) -> Iterator[Look]:
    """Errors, weights, earlier choices of the rule and the user's own task."""
    decision, answer = choice.decision, asked.answer
    if answer.word != "no_choice" and len(decision.candidates) > 1:
        yield _errors(answer, choice)
        yield from _weights(asked, choice)
        n_as_good = counted(sum(one.status != "dominated" for one in decision.pareto[1:]), "rule_choices")
        told = _("other models that some weights may put first: {n}", n=n_as_good)
        yield Look(_("Whatever the weights"), "holds" if answer.is_dominant else "depends", told)
    if remark := decision_wording.other_task_text(asked.saved.rule, choice.task):
        yield Look(_("Another task"), "unclear", remark)
    record = stamped(track_record(asked.saved.choices), "rule_choices")
    sure: Sure = "untested"
    if record.lower is not None and record.upper is not None:
        sure = "holds" if record.lower > 0.5 else "fails" if record.upper < 0.5 else "unclear"
    told = decision_wording.track_record_text(record) if record.n_known or record.n_open else ""
    yield Look(_("Earlier choices of the rule"), sure, told)
    own = [one for one in decision.criteria if one.benchmark is not None and one.benchmark.get("is_own")]
    yield (Look(_("Your own task"), "holds", _name(choice, own[0])) if own else Look(_("Your own task")))


def _errors(answer: PilotChoice, choice: Choice) -> Look:
    share = choice.decision.share_first
    if "errors_unknown" in choice.decision.reasons:
        return Look(_("Errors of the values"), "untested", _("no error is known of a value that weighs"))
    if share is None:
        return Look(_("Errors of the values"), "holds", _("what weighs is exact"))
    sure: Sure = "holds" if share >= SURE else "unclear" if share >= LEADING else "depends"
    return Look(_("Errors of the values"), sure, _("first in {share} of the draws", share=share_text(share)))


def _weights(asked: AskedRule, choice: Choice) -> Iterator[Look]:
    """How far one weight may move before another model is first; nothing where a single criterion weighs."""
    decision = choice.decision
    if not decision.sensitivities:
        return
    change = decision.nearest_change
    if change is None:
        yield Look(_("Other weights"), "holds", _("no change of one weight puts another first"))
        return
    told = _(
        "{other} is first once {criterion} weighs {new}, not {share}",
        other=shortened_name(decision_wording.model_name(decision, change.run_id), 30),
        criterion=_name(choice, decision.criteria[change.criterion], asked.bits),
        new=share_text(change.new_share),
        share=share_text(change.share),
    )
    yield Look(_("Other weights"), "depends", told)


def _decision(answer: PilotChoice, choice: Choice) -> Decision:
    names = _first_names(choice)
    if answer.use_class == HARMFUL:
        return Decision(_("Nothing is chosen before its failures are tested"), (test_on_task(), stop()))
    if answer.word == "no_choice":
        loosen = Option(_("Loosen a threshold, or add models or scores"), _("a choice among those that meet the rule"))
        return Decision(_("A choice takes two models that meet the rule"), (loosen, stop()))
    if answer.word == "cannot_tell":
        both = Option(_("Test {one} and {other}", one=names[0], other=names[1]), _("which is better"))
        return Decision(_("Your own task decides between the two"), (both, stop()))
    pilot = Option(_("Pilot {model} on your own task", model=names[0]), _("gain and harm are known"))
    more = [Option(_("Pilot {model} beside it", model=other), _("whether the order holds")) for other in names[1:]]
    n = counted(choice.decision.n, "rule_choices")  # with those that miss a threshold, which lost to it
    title = _("Best of {n} by the rule: a pilot decides on {model}", n=n, model=names[0])
    return Decision(title, (pilot, *more, stop()))
