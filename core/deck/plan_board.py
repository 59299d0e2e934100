"""What the five slides of a layer plan say: how many blocks can go, at what price, and what breaks first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from core.analysis import plans as plan_analysis
from core.deck.board import Board, Decision, Look, Option, Panel, Sure, test_on_task
from core.deck.deck_data import DeckData
from core.deck.layout import table_of
from core.deck.story import Statement, Visual
from core.figures.plans import block_row, harder_chart, harder_points, price_chart
from core.locale import _
from core.records import LayerPlan, text_budget
from core.sources import Text, counted, derived, shown
from core.tables import PlanOutcomeRow, PlanRow
from core.wording import number, share_text
from core.wording import plans as plan_wording
from core.wording import slides as slide_wording
from core.wording.labels import name, shortened_name


def plan_board(data: DeckData) -> Board:
    assert data.plan is not None
    layer_plan, plan = data.plan, data.plan.plan
    within = plan_analysis.within_own_budget(layer_plan)
    standing, price = plan_analysis.standing(layer_plan, within), _told_price(layer_plan)
    looks = tuple(_looks(layer_plan))
    is_refused = standing not in ("recommended", "unverified")
    if is_refused:  # for the price on held-out text or for what another look found
        looks = (looks[0], *map(_of_refusal, looks[1:]))
    is_saved = not is_refused and set(price.blocks) == set(plan.blocks)
    number, meaning = _number(layer_plan, standing)
    picture, evidence = _pictures(layer_plan, standing)
    return Board(
        answer=Panel(
            _title(layer_plan, standing),
            picture,
            (Statement(_saved_text(plan), _("Saves")),) if is_saved else (),
            say=(
                _("A language model is a row of blocks, each costing time and memory for every word."),
                *([plan_wording.plan_text(layer_plan)] if is_refused else []),
                *(plan_wording.saving_lines(plan) if is_saved else ()),
                *plan_wording.budget_lines(layer_plan),
                *plan_wording.note_lines(plan)[:2],
            ),
        ),
        number=number,
        meaning=meaning,
        sure="untested" if standing == "unverified" else "unclear" if within.is_unsure else "holds",
        decision=_decision(layer_plan, standing),
        looks=looks,
        evidence=evidence,
        compared=_breaks(layer_plan),
        tables=("plans", "plan_outcomes"),
        sources=(
            f"plans, plan_outcomes: {plan.plan_id}",
            f"{plan.model_id}, sha256 {plan.weights_sha256}, {plan.corpus_id}",
        ),
    )


def _title(layer_plan: LayerPlan, standing: str) -> str:
    """The answer; where an ability falls beyond its error, by how much."""
    worst = min(_fallen(layer_plan), key=lambda row: row.difference or 0.0, default=None)
    if standing != "recommended" or worst is None:
        return plan_wording.plan_title_text(layer_plan)
    return _(
        "{name}: {k} of {n} blocks can go at a cost of {points} points in {ability}",
        name=shortened_name(layer_plan.plan.name, 34),
        k=counted(len(layer_plan.plan.blocks), "plan_outcomes"),
        n=layer_plan.plan.n_layers,
        points=_points(-(worst.difference or 0.0)),
        ability=name("plan_text", worst.text),
    )


def _number(layer_plan: LayerPlan, standing: str) -> tuple[str, str]:
    """How much harder text gets, and what that is; where an ability falls too far, by how much it does, before that."""
    price = _told_price(layer_plan)
    number = plan_wording.harder_text(price)
    interval = slide_wording.limits_text(price.lower, price.upper, plan_wording.share_harder_text)
    if standing == "ability_falls":
        worst = plan_analysis.fallen_abilities(layer_plan)[0]
        limits = slide_wording.limits_text(worst.lower, worst.upper, _points)
        meaning = _(
            "right answers in {ability} without the blocks tried; text only {worse} harder {interval}",
            ability=Text("{} {}").format(name("plan_text", worst.text), limits).rstrip(),
            worse=number,
            interval=interval,
        )
        return _("{points} points", points=_points(worst.difference)), meaning.rstrip()
    return number, _("harder to predict without these blocks {interval}", interval=interval).rstrip()


def _points(share: float | None) -> str:
    """A change of a share of right answers in whole percentage points."""
    return shown(100 * (share or 0.0), ".0f")


def _pictures(layer_plan: LayerPlan, standing: str) -> tuple[Visual, Panel | None]:
    """The picture of the answer, and the evidence: blocks that can go, then their price; where they stay, first what speaks
    against them."""
    price = _told_price(layer_plan)
    blocks = block_row(layer_plan, price.blocks, plan_analysis.is_recommended(layer_plan))
    prices = _evidence(layer_plan)
    harder = harder_points(layer_plan, of_answers=True)
    answers = harder_chart([row for row in harder if row.is_healed == price.is_healed], of_answers=True)
    if standing == "ability_falls" and answers:
        return answers, prices
    if standing not in ("over_budget", "no_better_than_random"):
        return blocks, prices
    singles = [
        row
        for row in plan_analysis.block_prices(layer_plan.outcomes, "selection")
        if row.rule == "single" and row.difference is not None
    ]
    if not singles:
        return prices.visual, None
    least = min(singles, key=lambda row: row.difference or 0.0)
    title = _(
        "Alone, the least harmful block ({n}) makes text {worse} harder to predict",
        n=derived(least.blocks[0], "plan_outcomes", "blocks"),
        worse=_harder_text(least),
    )
    return prices.visual, Panel(title, blocks)


def _saved_text(plan: PlanRow) -> str:
    """Parameters, and the time of reading and writing where it was measured."""
    before, after = (number(amount / 1e6) for amount in (plan.parameters_before, plan.parameters_after))
    told = _("{before} → {after} million parameters", before=before, after=after)
    return _("; ").join(filter(None, (told, _less_time_text(plan))))


def _less_time_text(plan: PlanRow) -> str:
    less = plan_analysis.time_saved_share(plan) or 0.0
    return _("{less} less time", less=share_text(less)) if less > 0 else ""


def _harder_text(row: PlanOutcomeRow) -> str:
    """`12 % [10 %, 14 %]`: how much harder text gets."""
    limits = slide_wording.limits_text(row.lower, row.upper, plan_wording.share_harder_text)
    return Text("{} {}").format(plan_wording.harder_text(row), limits).rstrip()


def _of_refusal(look: Look) -> Look:
    """What speaks against the plan supports the advice to keep the model; one reason is enough."""
    if look.sure in ("untested", "unclear", "impossible"):
        return replace(look, agrees=False)
    is_against = look.sure in ("depends", "fails")
    return replace(look, sure="holds" if is_against else "depends", agrees=is_against)


def _told_price(layer_plan: LayerPlan) -> PlanOutcomeRow:
    """Of the set that the deck is about: what goes within the plan's own budget, or is too near to it to tell; where nothing
    is, the plan itself, which all else was held against."""
    within = plan_analysis.within_own_budget(layer_plan)
    return within.price or (within.cheapest if within.is_unsure else layer_plan.price)


def _is_other_set(layer_plan: LayerPlan) -> bool:
    """Whether a set goes that was priced on the way to the plan, and held against nothing else."""
    within = plan_analysis.within_own_budget(layer_plan)
    return within.price is not None and not within.is_plan


# --- evidence ----------------------------------------------------------------------------------------------------


def _evidence(layer_plan: LayerPlan) -> Panel:
    plan = layer_plan.plan
    chart = price_chart(layer_plan, plan.budget if plan.budget_unit == "nats" else None, is_brief=True)
    return Panel(_prices_title(layer_plan), chart, say=(*plan_wording.same_choice_lines(layer_plan),))


def _prices_title(layer_plan: LayerPlan) -> str:
    """The plan's price beside those of the published choices; these are not healed, so before healing where it was."""
    plan, unhealed = layer_plan.plan, plan_analysis.unhealed_price(layer_plan)
    price = unhealed or layer_plan.price
    others = plan_analysis.other_choices(layer_plan)
    published = [row.difference or 0.0 for row in others if row.rule in plan_analysis.PUBLISHED]
    title = _(
        "Without {n} block, text is {worse} harder to predict",
        "Without {n} blocks, text is {worse} harder to predict",
        n=counted(len(plan.blocks), "plan_outcomes"),
        worse=_harder_text(price),
    )
    if published:
        n_less, n = (sum(other < (price.difference or 0.0) for other in published), len(published))
        n_less, n = (counted(of_these, "plan_outcomes") for of_these in (n_less, n))
        title = _("{title}; {n} of {total} published choices do better", title=title, n=n_less, total=n)
    if unhealed is not None:
        title = _("{title}, before repair", title=title)
    return title if plan.is_verified else _("{title}, not verified", title=title)


def _breaks(layer_plan: LayerPlan) -> Panel | None:
    """The harder tests before and after, the most harmed first; of texts the perplexity, whose change is told in percent."""
    rows = sorted(_telling_rows(layer_plan), key=lambda row: -_relative_harm(row))
    if not rows or _is_other_set(layer_plan):
        return None

    def told(row: PlanOutcomeRow) -> tuple[str, ...]:
        if row.measure == "loss":
            perplexities = (number(1 + plan_wording.share_harder(one)) for one in (row.value_before, row.value_after))
            return _("perplexity"), *perplexities, _("{worse} harder", worse=_harder_text(row))
        change = _("{points} points", points=plan_wording.points_text(row))
        return name("plan_measure", row.measure), *plan_wording.before_and_after(row), change

    cells = [(name("plan_text", row.text), *told(row)) for row in rows]
    after = _("After repair") if layer_plan.plan.is_healed else _("Without the blocks")
    title = _("Breaks first: {name}, {relation}", name=cells[0][0], relation=cells[0][-1])
    if _relative_harm(rows[0]) <= 0:
        n = counted(len(rows), "plan_outcomes")
        title = _("The {n} test is not harmed beyond its error", "None of {n} tests is harmed beyond its error", n=n)
    return Panel(
        title,
        table_of(
            (_("Test"), _("Measured as"), _("Whole model"), after, _("Change, 95 % interval")),
            tuple(cells),
            _("Perplexity: between how many next tokens the model hesitates, on average; less is better."),
        ),
        say=(_("Left out: tests that even the whole model hardly passes."),),
    )


def _telling_rows(layer_plan: LayerPlan) -> list[PlanOutcomeRow]:
    """Harder tests of the model as it would be used, but for those that even the whole model hardly passes."""
    plan = layer_plan.plan
    return [
        row
        for row in plan_analysis.harder_text_prices(layer_plan)
        if row.difference is not None and row.is_healed == plan.is_healed and f"no_room_{row.text}" not in plan.reasons
    ]


def _relative_harm(row: PlanOutcomeRow) -> float:
    """Increase of the loss, or decrease of the accuracy, relative to the whole model; 0 where the interval includes 0."""
    assert row.difference is not None
    worse = row.difference if row.measure == "loss" else -row.difference
    certain = row.lower if row.measure == "loss" else (None if row.upper is None else -row.upper)
    return worse / abs(row.value_before or 1.0) if certain is None or certain > 0 else 0.0


# --- other ways of looking, and the decision -----------------------------------------------------------------------


def _looks(layer_plan: LayerPlan) -> Iterator[Look]:
    plan = layer_plan.plan
    held_out = _("{n} windows that took no part in the choice", n=plan.n_verification or 0)
    yield Look(_("Held-out text"), "holds", held_out) if plan.is_verified else Look(_("Held-out text"))
    if _is_other_set(layer_plan):
        yield from map(Look, (_("Random sets"), _("Abilities"), _("Your own task"), _("Second text")))
        return
    yield _random_sets(layer_plan)
    yield _harder(layer_plan)
    yield _own_task(layer_plan)
    yield _second_text(layer_plan)


def _random_sets(layer_plan: LayerPlan) -> Look:
    """Whether as many blocks chosen at random harm more; where the plan is over its budget, most of them are too."""
    plan = layer_plan.plan
    if plan.random_10th is None:
        return Look(_("Random sets"))
    is_worse = "no_better_than_random" in plan.reasons
    told = _("on the same windows, nine in ten random choices get {limit} harder or more; this plan {own}")
    if is_worse:
        told = _("on the same windows, one in ten random choices gets at most {limit} harder; this plan {own}")
    limit, own = map(plan_wording.share_harder_text, (plan.random_10th, plan.same_windows))
    is_over = plan.budget_unit == "nats" and plan_analysis.within_own_budget(layer_plan).price is None
    are_over = is_over and plan.random_10th > text_budget(plan)
    return Look(_("Random sets"), "fails" if is_worse or are_over else "holds", told.format(limit=limit, own=own))


def _harder(layer_plan: LayerPlan) -> Look:
    """Whether an ability falls beyond its error where the blocks are gone."""
    rows = _ability_rows(layer_plan)
    if not rows:
        is_too_weak = any(code.startswith("no_room_") for code in layer_plan.plan.reasons)
        told = _("the whole model is too weak to show a fall") if is_too_weak else ""
        return Look(_("Abilities"), "impossible" if is_too_weak else "untested", told)
    n, total = (counted(len(found), "plan_outcomes") for found in (_fallen(layer_plan), rows))
    told = _(
        "fewer right answers, beyond the error, in {fallen} of {n} test",
        "fewer right answers, beyond the error, in {fallen} of {n} tests",
        n=total,
        fallen=n,
    )
    return Look(_("Abilities"), "holds" if not n else "fails" if n == total else "depends", told)


def _ability_rows(layer_plan: LayerPlan) -> list[PlanOutcomeRow]:
    return [
        row
        for row in _telling_rows(layer_plan)
        if row.measure != "loss" and row.text != "task" and row.upper is not None
    ]


def _fallen(layer_plan: LayerPlan) -> list[PlanOutcomeRow]:
    """Abilities of the plan's own set that fall beyond their error; of another set none was tried."""
    rows = [] if _is_other_set(layer_plan) else _ability_rows(layer_plan)
    return [row for row in rows if (row.upper or 0.0) < 0]


def _own_task(layer_plan: LayerPlan) -> Look:
    """Whether the user's own questions are answered worse beyond the error, or their texts harder to predict than allowed."""
    label, reasons = _("Your own task"), layer_plan.plan.reasons
    row = next((row for row in plan_analysis.harder_text_prices(layer_plan) if row.text == "task"), None)
    if row is None:
        return Look(label)
    if row.measure == "loss":
        return Look(label, _within_budget(layer_plan, row), _("{worse} harder", worse=_harder_text(row)))
    is_open = row.upper is None or "no_room_task" in reasons
    is_harmed = row.upper is not None and row.upper < 0
    return Look(
        label, "unclear" if is_open else "depends" if is_harmed else "holds", plan_wording.task_text(layer_plan)
    )


def _second_text(layer_plan: LayerPlan) -> Look:
    """Whether texts of another domain and in another language, which took no part in the choice, get no harder than allowed."""
    rows = [row for row in _telling_rows(layer_plan) if row.text in ("other_domain", "other_language")]
    if not rows:
        return Look(_("Second text"))
    told = [
        _("{name}: {relation}", name=name("plan_text", row.text), relation=_("{worse} harder", worse=_harder_text(row)))
        for row in rows
    ]
    is_within = all(_within_budget(layer_plan, row) == "holds" for row in rows)
    return Look(_("Second text"), "holds" if is_within else "depends", _("; ").join(told))


def _within_budget(layer_plan: LayerPlan, row: PlanOutcomeRow) -> Sure:
    return "holds" if plan_analysis.upper_limit(row) < text_budget(layer_plan.plan) else "depends"


def _decision(layer_plan: LayerPlan, standing: str) -> Decision:
    plan, price = layer_plan.plan, _told_price(layer_plan)
    keep = Option(_("Keep all {n} blocks", n=plan.n_layers), _("nothing changes"))
    worse = plan_wording.harder_text(price)
    if standing == "unverified":
        verify = Option(_("Verify on held-out text"), _("a loss to rely on"), _("as this plan took"))
        title = _("{worse} harder is not verified: the true loss is likely larger", worse=worse)
        return Decision(title, (verify, keep))
    instead = tuple(
        Option(
            _("Round the blocks to 8 bits instead"),
            _(
                "{memory} less memory, {percent} harder",
                memory=share_text(derived(one.memory, "plan_outcomes", "memory")),
                percent=plan_wording.harder_text(one.row),
            ),
        )
        for one in plan_analysis.alternatives(layer_plan)[1:2]
    )
    if standing == "recommended":
        less = share_text(plan_analysis.parameters_saved_share(plan, len(price.blocks)))
        title = _("Test the smaller model first: text {worse} harder, {less} fewer parameters", worse=worse, less=less)
        return Decision(title, (test_on_task(), *instead, keep))
    again = Option(_("Plan on a longer text, or with a larger budget"), _("a better set, or none"))
    title = _("Keep all {n} blocks until a better set is found", n=plan.n_layers)
    return Decision(title, (keep, *instead, again))
