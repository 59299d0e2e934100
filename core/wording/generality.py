"""The wording of a relation over several tasks, and of how far texts and tasks agree on models."""

from __future__ import annotations

from core import wording
from core.locale import _
from core.questions.generality import OrderTable, OverTasks, VerdictAgreement
from core.sources import counted
from core.wording.answers import coefficient_text
from core.wording.numbers import share_text
from core.wording.scores import p_value_text


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
    template = _("Over {n} tasks: mean rho {rho}; errors of tasks correlate by {shared}.")
    lines = [
        template.format(
            n=pooled.n_tasks,
            rho=coefficient_text(pooled.rho, pooled.lower, pooled.upper),
            shared=coefficient_text(pooled.error_correlation),
        )
    ]
    if comparison.n_recipes is not None:
        lines.append(_("Each of the {n} recipes counts once.").format(n=comparison.n_recipes))
    if pooled.p_differ is not None:
        lines.append(_("Do tasks differ? {p} (Cochran's Q).").format(p=p_value_text(pooled.p_differ)))
    if pooled.spread is None or pooled.further_lower is None or pooled.further_upper is None:
        lines.append(_("Fewer than four tasks: none is pooled."))
    else:
        further = _("Spread between tasks: {spread} (Fisher's scale); a further task: {lower} to {upper}.")
        lines.append(
            further.format(
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
        template = _("Fewer than 5 models in all {n} orders: no coefficient of agreement.")
        if concordance.reason == "one_value":
            template = _("All values are equal: no order to compare.")
        return template.format(n=counted(len(order.columns), "scores"))
    template = _("{n} models, {m} orders: Kendall's W {w}, {p} (0: unrelated, 1: one order).")
    return template.format(
        n=concordance.n,
        m=concordance.n_orders,
        w=coefficient_text(concordance.w, concordance.lower, concordance.upper),
        p=p_value_text(concordance.p),
    )


def agreement_text(agreement: VerdictAgreement) -> str:
    """For how many models a claim has one verdict on all texts: `... for 8 of 10 models (95 %: 44 to 97 %); undecided: 2.`"""
    claim = wording.name("claim", agreement.claim)
    if agreement.lower is None or agreement.upper is None:
        return _("{claim}: no model with a clear verdict on two texts; unclear: {undecided}.").format(
            claim=claim, undecided=agreement.n_undecided
        )
    template = _(
        "{claim}: same on all texts for {same} of {n} models (95 %: {lower} to {upper}); unclear: {undecided}."
    )
    return template.format(
        claim=claim,
        same=agreement.n_same,
        n=agreement.n_models,
        lower=share_text(agreement.lower),
        upper=share_text(agreement.upper),
        undecided=agreement.n_undecided,
    )
