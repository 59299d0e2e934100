"""The seven slides of a layer plan, and the one that a deck of a pilot has about possible savings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from core import wording
from core.analysis import plans as plan_analysis
from core.deck import slide, visuals
from core.deck.deck_data import DeckData
from core.deck.slide import MOST_ROWS, core_slide, fact_table, not_measured_slide
from core.deck.story import Column, Statement, StorySlide, Table
from core.figures.plans import block_row
from core.locale import N_, _, translated
from core.records import LayerPlan
from core.sources import counted
from core.tables import PlanOutcomeRow
from core.wording import plan_evidence
from core.wording import plans as plan_wording
from core.wording.labels import name, shortened_name
from core.wording.numbers import day

MOST_EVIDENCE = 2
"""Lines of evidence on the answer slide."""
MOST_DIRECTIONS = 10
"""Layers in one table."""


def _plan_of(data: DeckData) -> LayerPlan:
    assert data.plan is not None
    return data.plan


def _removed(layer_plan: LayerPlan) -> Collection[int]:
    """The blocks that go within the plan's own budget; where none do, those of the plan."""
    price = plan_analysis.within_own_budget(layer_plan).price
    return layer_plan.plan.blocks if price is None else price.blocks


def saving_slide(data: DeckData) -> StorySlide:
    """What a verified layer plan saves; a dimension alone saves nothing."""
    model_ids = set(data.text_runs["model_id"]) | set(data.text_runs["reference"])
    verified = [
        candidate
        for candidate in data.plans
        if {candidate.plan.model_id, candidate.plan.reference} & model_ids and candidate.plan.is_verified
    ]
    if not verified:
        return not_measured_slide(
            data,
            "saving",
            _("what can be saved (a verified layer plan)"),
            _(
                "A small dimension is no saving: which blocks a model can do without shows only where they are left out."
            ),
            _("A layer plan leaves blocks out, prices the loss on held-out text and against random sets of blocks."),
            _("It is made model by model: workdim plan MODEL --verify"),
        )
    best = next((candidate for candidate in verified if plan_analysis.is_recommended(candidate)), verified[0])
    plan, removed = best.plan, _removed(best)
    saving = plan_wording.saving_lines(plan)[:1] if set(removed) == set(plan.blocks) else []
    return core_slide(
        data,
        "saving",
        plan_wording.plan_title_text(best),
        [*saving, _("This follows from leaving blocks out, and not from a dimension.")],
        block_row(best, removed, plan_analysis.is_recommended(best)),
        tables=("plans", "plan_outcomes"),
        say=(_("Whatever the relation of dimension and score, this model was tried with blocks left out."),),
        sources=[f"plans: {plan.plan_id}, {plan.model_id}"],
    )


def question_slide(data: DeckData) -> StorySlide:
    layer_plan = _plan_of(data)
    plan = layer_plan.plan
    rows = [
        (_("Model"), shortened_name(plan.model_id, 80)),
        (_("Budget"), plan_wording.budget_text(plan)),
        (
            _("Text"),
            _("{corpus}: chosen on {chosen} windows, verified on {verified} others").format(
                corpus=shortened_name(plan.corpus_id, 40), chosen=plan.n_selection, verified=plan.n_verification or 0
            ),
        ),
        (_("Rule"), plan_evidence.rule_name(plan.rule)),
        (_("Made on"), day(plan.created_at.date())),
    ]
    return _plan_slide(
        data,
        "question",
        _("How many of the {n} blocks of {name} can go within {budget}?").format(
            n=plan.n_layers, name=shortened_name(plan.name, 34), budget=plan_wording.budget_text(plan)
        ),
        visual=fact_table(
            _("What"), _("As it was asked"), 0.2, rows, _("Table of what was asked of the layer plan: {names}.")
        ),
        tables=("plans",),
        say=(
            _(
                "A language model is a row of blocks. Each costs time and memory for every word. We asked which of them can "
                "be left out before the model predicts text noticeably worse."
            ),
            _("The budget was fixed before: so much more loss per token, and not more."),
        ),
    )


def _plan_slide(
    data: DeckData, key: str, title: str, statements: Sequence[Statement | str] = (), visual: Any = None, **more: Any
) -> StorySlide:
    """A core slide with the plan as the source of its numbers."""
    plan = _plan_of(data).plan
    sources = [
        f"plans, plan_outcomes: {plan.plan_id}",
        f"{plan.model_id}, sha256 {plan.weights_sha256}, {plan.corpus_id}",
    ]
    return core_slide(data, key, title, statements, visual, sources=sources, **more)


def answer_slide(data: DeckData) -> StorySlide:
    layer_plan = _plan_of(data)
    plan = layer_plan.plan
    standing = plan_analysis.standing(layer_plan)
    controls = plan_evidence.control_lines(plan)[:1]
    evidence = (
        *(controls if standing == "no_better_than_random" else ()),
        plan_wording.healing_text(layer_plan),
        plan_wording.task_text(layer_plan),
        plan_evidence.limit_reached_text(layer_plan) if standing == "recommended" else "",
        plan_evidence.largest_losses_text(layer_plan) if plan.is_verified else "",
        *controls,
    )
    return _plan_slide(
        data,
        "answer",
        plan_wording.plan_title_text(layer_plan),
        slide.answer_statements(
            [plan_wording.plan_text(layer_plan), *plan_wording.budget_lines(layer_plan)[1:2]],
            [wording.joined_sentences([line for line in evidence if line][:MOST_EVIDENCE])],
            translated(DECISIONS[standing].action),
        ),
        tables=("plans", "plan_outcomes"),
        say=(
            _(
                "The price is how much worse the model predicts the next token of text that took no part in the choice. The "
                "brackets are its 95 percent interval; the plan counts only if the whole interval stays under the budget."
            ),
            *plan_wording.note_lines(plan)[:2],
        ),
    )


def blocks_slide(data: DeckData) -> StorySlide:
    layer_plan = _plan_of(data)
    plan, removed = layer_plan.plan, _removed(layer_plan)
    title = (
        _("Blocks that go: {blocks} ({k} of {n}, numbered 0 to {last})")
        if plan_analysis.is_recommended(layer_plan)
        else _("Blocks that were tried: {blocks} ({k} of {n}, numbered 0 to {last})")
    ).format(
        k=counted(len(removed), "plan_outcomes"),
        n=plan.n_layers,
        last=plan.n_layers - 1,
        blocks=shortened_name(plan_wording.block_numbers_text(removed), 80),
    )
    saving = plan_wording.saving_lines(plan) if set(removed) == set(plan.blocks) else []
    return _plan_slide(
        data,
        "blocks",
        title,
        saving or [plan_wording.plan_text(layer_plan)],
        block_row(layer_plan, removed, plan_analysis.is_recommended(layer_plan)),
        tables=("plans", "plan_outcomes"),
        say=(
            _(
                "Here is the model from its first block to its last. What is marked goes; what stays keeps its weights and "
                "its order."
            ),
            _("Blocks that cost little alone may cost much together, so the set was priced as a whole."),
        ),
    )


def prices_slide(data: DeckData) -> StorySlide:
    layer_plan = _plan_of(data)
    chart = visuals.price_chart(layer_plan)
    if chart is None:
        return not_measured_slide(
            data,
            "prices",
            _("the price of each number of blocks"),
            _("It is measured with the plan: workdim plan MODEL --verify"),
        )
    plan, unhealed = layer_plan.plan, plan_analysis.unhealed_price(layer_plan)
    prices = [
        (
            _("ours, repaired") if plan.is_healed else _("ours"),
            plan_wording.price_text(plan.loss_increase, plan.lower, plan.upper),
        )
    ]
    if unhealed is not None:
        prices.append((_("ours, before repair"), plan_wording.outcome_price_text(unhealed)))
    prices += [
        (plan_evidence.rule_name(row.rule), plan_wording.outcome_price_text(row))
        for row in plan_analysis.other_choices(layer_plan)[: visuals.MOST_OTHER_CHOICES]
    ]
    lines = [
        *(_("{name}: {relation}").format(name=choice, relation=price) for choice, price in prices),
        *plan_evidence.same_choice_lines(layer_plan),
        *plan_evidence.control_lines(plan)[:1],
    ]
    return _plan_slide(
        data,
        "prices",
        _prices_title(layer_plan),
        [Statement(lines[0], is_main=True), *lines[1:]],
        chart,
        tables=("plan_outcomes",),
        say=(
            _(
                "To the right more blocks go, and the price rises. The other marks are choices that the literature proposes "
                "for as many blocks, and random ones: a plan that is no better than chance would be no plan."
            ),
        ),
    )


def _prices_title(layer_plan: LayerPlan) -> str:
    """The plan's price beside those of the published choices; these are not healed, so before healing where it was."""
    plan, unhealed = layer_plan.plan, plan_analysis.unhealed_price(layer_plan)
    published = [
        row.difference or 0.0 for row in plan_analysis.other_choices(layer_plan) if row.rule in plan_analysis.PUBLISHED
    ]
    if published:
        price = plan.loss_increase if unhealed is None else unhealed.difference or 0.0
        title = _(
            "Our choice costs {loss} nats; {n} of {total} published choices costs less",
            "Our choice costs {loss} nats; {n} of {total} published choices cost less",
            loss=plan_wording.price_text(price),
            n=counted(sum(other < price for other in published), "plan_outcomes"),
            total=counted(len(published), "plan_outcomes"),
        )
    else:
        title = _(
            "The price of {n} block is {loss} nats",
            "The price of {n} blocks is {loss} nats",
            n=counted(len(plan.blocks), "plan_outcomes"),
            loss=plan_wording.price_text(plan.loss_increase),
        )
    if unhealed is not None and published:
        title = _("{title}, all before repair").format(title=title)
    return title if plan.is_verified else _("{title}, not verified").format(title=title)


def breaks_slide(data: DeckData) -> StorySlide:
    layer_plan = _plan_of(data)
    is_healed = layer_plan.plan.is_healed  # as the model would be used
    rows = [
        row
        for row in plan_analysis.harder_text_prices(layer_plan)
        if row.difference is not None and row.is_healed == is_healed
    ]
    losses = plan_evidence.largest_loss_lines(layer_plan)
    if not losses:
        return not_measured_slide(
            data,
            "breaks",
            _("what breaks first (harder texts, probes, a task of your own)"),
            _("Loss on ordinary text can hide that a model no longer copies, counts or follows a task."),
            _("It is measured with the plan: workdim plan MODEL --verify --task FILE"),
        )
    by_harm = sorted(rows, key=lambda row: -_relative_harm(row))
    table = [
        (
            name("plan_text", row.text),
            name("plan_measure", row.measure),
            wording.number(row.value_before),
            wording.number(row.value_after),
            plan_wording.outcome_price_text(row),
        )
        for row in by_harm[:MOST_ROWS]
    ]
    return _plan_slide(
        data,
        "breaks",
        losses[0].rstrip(".。"),
        visual=Table(
            (
                Column(_("Test"), 0.28),
                Column(_("Measured as"), 0.18),
                Column(_("Whole model"), 0.12, is_number=True),
                Column(_("Repaired") if is_healed else _("Without the blocks"), 0.15, is_number=True),
                Column(_("Difference [95 %]"), 0.27, is_number=True),
            ),
            tuple(table),
            _("Table of harder tests before and after, the most harmed first."),
        ),
        tables=("plan_outcomes",),
        say=(
            _(
                "Average loss can stay low while one ability goes. So the smaller model also read texts with typing errors, "
                "another language, and short tests of copying and counting."
            ),
            wording.joined_sentences(losses),
            _("A test that even the whole model hardly passes cannot show a fall, and is left out."),
        ),
    )


def _relative_harm(row: PlanOutcomeRow) -> float:
    """Increase of the loss, or decrease of the accuracy, relative to the whole model; 0 where the interval includes 0."""
    assert row.difference is not None
    worse = row.difference if row.measure == "loss" else -row.difference
    certain = row.lower if row.measure == "loss" else (None if row.upper is None else -row.upper)
    return worse / abs(row.value_before or 1.0) if certain is None or certain > 0 else 0.0


def directions_slide(data: DeckData) -> StorySlide:
    layer_plan = _plan_of(data)
    points = plan_analysis.layer_directions(layer_plan)
    if not points:
        return not_measured_slide(
            data,
            "directions",
            _("how many directions a layer needs"),
            _(
                "A dimension says how words spread. How many directions the model needs shows only when others are removed."
            ),
            _("It is measured with the plan: workdim plan MODEL --directions"),
        )
    ranks = [point.rank for point in points if point.rank is not None]
    n = counted(len(points), "plan_outcomes")
    title = _("No rank stays within the budget (layers tried: {n})").format(n=n)
    if ranks:
        low, high = min(ranks), max(ranks)
        suffice = str(low) if low == high else _("{low} to {high}").format(low=low, high=high)
        title = _("{ranks} directions suffice (layers tried: {n})").format(ranks=suffice, n=n)
    return _plan_slide(
        data,
        "directions",
        title,
        visual=Table(
            (
                Column(_("After layer"), 0.16, is_number=True),
                Column(_("Directions that suffice"), 0.25, is_number=True),
                Column(_("d2 of the same tokens"), 0.25, is_number=True),
                Column(_("Price (nats per token)"), 0.34, is_number=True),
            ),
            tuple(
                (
                    str(point.layer),
                    str(point.rank or "–"),
                    str(point.d2 or "–"),
                    "–" if point.price is None else plan_wording.outcome_price_text(point.price),
                )
                for point in points[:MOST_DIRECTIONS]
            ),
            _("Table of layers with the directions that suffice there: {ranks}.").format(
                ranks=_(", ").join(map(str, ranks[:MOST_DIRECTIONS])) or "–"
            ),
        ),
        tables=("plan_outcomes",),
        say=(
            _(
                "Here directions were really taken away, layer by layer, and the loss was measured. That is the causal "
                "companion of the dimension; the two numbers need not agree."
            ),
            _("A number like this says how far a layer could be squeezed, and not yet that a smaller model was built."),
        ),
    )


@dataclass(frozen=True)
class _Decision:
    """What is to be done about a plan of one standing, and between what is chosen; the first option is recommended."""

    action: str
    choice: str
    first: str
    second: str


DECISIONS = {
    "recommended": _Decision(
        N_("Try the smaller model on your own task before anything rests on it."),
        N_("try the model without {k} of its blocks, or keep it whole"),
        N_("Try it: save the smaller model and test it on your own task."),
        N_("Keep the model whole: nothing changes."),
    ),
    "ability_falls": _Decision(
        N_("Keep all blocks, or train the smaller model on what it lost: text alone does not show that."),
        N_("keep all {n} blocks, or train the smaller model"),
        N_("Keep all blocks: an ability falls below half."),
        N_("Train the smaller model on what it lost, and test it on your own task."),
    ),
    "no_better_than_random": _Decision(
        N_("Keep all blocks, or look for another set: a larger budget changes nothing here."),
        N_("keep all {n} blocks, or look for another set"),
        N_("Keep all blocks: this set is no better than chance."),
        N_("Look for another set: other text, or another number of blocks."),
    ),
    "over_budget": _Decision(
        N_("Keep all blocks, or allow a larger budget and ask again."),
        N_("keep all {n} blocks, or allow a larger budget"),
        N_("Keep all blocks: what was tried costs more than the budget."),
        N_("Allow more loss, or repair the weights, and plan again."),
    ),
    "unverified": _Decision(
        N_("Verify the plan on held-out text first; decide nothing by this price."),
        N_("verify the plan of {k} blocks, or drop it"),
        N_("Verify it on held-out text, harder texts and against random sets."),
        N_("Drop it: an unverified price is too low, and nothing may rest on it."),
    ),
}


def decision_slide(data: DeckData) -> StorySlide:
    layer_plan = _plan_of(data)
    plan, decision = layer_plan.plan, DECISIONS[plan_analysis.standing(layer_plan)]
    choice = translated(decision.choice).format(k=counted(len(_removed(layer_plan)), "plan_outcomes"), n=plan.n_layers)
    untested = plan_wording.caution_lines(plan)[:2]
    if not plan_wording.task_text(layer_plan):
        untested.append(_("A task of your own was not tried."))
    remarks = [Statement(line, _("Why")) for line in plan_wording.objection_lines(plan)[:1]]
    remarks += [Statement(line, "" if n else _("Not tested")) for n, line in enumerate(untested)]
    return slide.decision_slide(data, choice, [translated(decision.first), translated(decision.second)], remarks)
