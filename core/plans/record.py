"""The record of a layer plan: a row for every price, reasons, and the row of the plan itself."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from core.measure.provenance import code_version
from core.models.model import Blueprint
from core.plans import saving
from core.plans.candidates import Candidate, Choice, Similarity, Step
from core.plans.directions import NeededDirections
from core.plans.pricing import Difference, PriceList, Scores, agreement, divergence, loss_increase
from core.plans.saving import Footprint
from core.plans.texts import HELD_OUT, SELECTION, HeldOut
from core.records import AGAINST_PLAN, LayerPlan, PlanConfig
from core.tables import PlanOutcomeRow, PlanRow
from core.texts.corpora import Corpus


class PlanRecord:
    """Grows with the plan; `finished` makes the plan of it."""

    def __init__(
        self, config: PlanConfig, plan_id: str, corpus: Corpus, blueprint: Blueprint, held: HeldOut, n_searched: int
    ) -> None:
        """n_searched: windows that candidates are compared on."""
        self._config, self._plan_id, self._corpus = config, plan_id, corpus
        self._blueprint, self._held, self._n_searched = blueprint, held, n_searched
        self._created_at = datetime.now(UTC).replace(tzinfo=None)
        self._rows: list[PlanOutcomeRow] = []
        self.reasons: dict[str, None] = {}
        """Codes that core.wording.plans knows, in the order in which they were found."""

    def because(self, *codes: str) -> None:
        self.reasons |= dict.fromkeys(codes)

    # --- prices ------------------------------------------------------------------------------------------------------

    def tell(
        self,
        rule: str,
        blocks: Collection[int],
        text: str,
        measure: str,
        *,
        before: float | None = None,
        after: float | Difference | None = None,
        difference: Difference | None = None,
        unit: str = "block",
        rank: int | None = None,
        is_chosen: bool = False,
        is_equal: bool | None = None,
        is_healed: bool = False,
        corpus: Corpus | None = None,
    ) -> None:
        """One row. `corpus`: of a text that is not the plan's own."""
        of = difference or (after if isinstance(after, Difference) else None)
        read = self._corpus if text in (SELECTION, HELD_OUT) else corpus
        self._rows.append(
            PlanOutcomeRow(
                self._plan_id,
                rule,
                unit,
                sorted(blocks),
                is_chosen,
                is_equal,
                is_healed,
                text,
                read.row.corpus_id if read else None,
                measure,
                rank,
                before,
                after.value if isinstance(after, Difference) else after,
                difference.value if difference else None,
                *((None,) * 3 if of is None else (_or_none(of.std_error), _or_none(of.lower), _or_none(of.upper))),
                None if of is None else of.n,
                self._created_at,
            )
        )

    def tell_prices(
        self, rule: str, blocks: Collection[int], text: str, before: Scores, after: Scores, **more: Any
    ) -> None:
        """Loss, divergence and agreement of one change on one text."""
        rise = loss_increase(before, after)
        self.tell(
            rule,
            blocks,
            text,
            "loss",
            before=before.loss_per_token,
            after=after.loss_per_token,
            difference=rise,
            **more,
        )
        self.tell(rule, blocks, text, "divergence", after=divergence(after), **more)
        self.tell(rule, blocks, text, "agreement", after=agreement(after), **more)

    def tell_candidates(self, proposed: Sequence[Candidate], choice: Choice, text: str, prices: PriceList) -> None:
        for one in proposed:
            is_chosen, is_equal = one.blocks == choice.taken.blocks, one.blocks in choice.equal
            after = prices.of[one.blocks]
            self.tell_prices(one.rule, one.blocks, text, prices.whole, after, is_chosen=is_chosen, is_equal=is_equal)

    def tell_rivals(self, proposed: Sequence[Candidate], chosen: tuple[int, ...], text: str, prices: PriceList) -> None:
        """What each other candidate costs above the plan's set, window by window: whether it is beaten, and by how much."""
        for one in proposed:
            if one.blocks != chosen:
                above = loss_increase(prices.of[chosen], prices.of[one.blocks])
                self.tell(one.rule, one.blocks, text, "above_plan", difference=above)

    def tell_path(self, path: Sequence[Step]) -> None:
        """On the windows that it was searched on."""
        for step in path:
            self.tell("path", step.blocks, SELECTION, "loss", difference=step.increase)
            self.tell("path", step.blocks, SELECTION, "divergence", after=step.divergence)

    def tell_similarity(self, found: Similarity) -> None:
        for block, influence in enumerate(found.influence):
            self.tell("single", (block,), SELECTION, "influence", after=influence)
        n = len(found.influence)
        for measure, table in (("angle", found.angle), ("last_angle", found.last_angle)):
            for length in range(1, n // 2 + 1):
                for start in range(n - length + 1):
                    blocks = range(start, start + length)
                    self.tell("stretch", blocks, SELECTION, measure, after=float(table[start, start + length]))

    def tell_directions(self, found: NeededDirections, text: str) -> None:
        layers = list(range(self._blueprint.weightless.n_layers + 1)) if found.layer is None else [found.layer]
        rule = "projection" if found.layer is not None else "joint_projection"

        def tell(rule: str, rank: int | None, price: Difference | None, is_chosen: bool = False) -> None:
            if price is not None:
                self.tell(rule, layers, text, "loss", difference=price, unit="layer", rank=rank, is_chosen=is_chosen)

        for rank, price in sorted(found.prices.items()):
            tell(rule, rank, price, rank == found.rank)
        tell("random_subspace", found.rank, found.random)
        tell("projection_of_all", found.rank, found.large_too)
        tell("projection_d2", None if found.at_d2 is None else round(found.d2 or 0), found.at_d2)

    # --- the plan ----------------------------------------------------------------------------------------------------

    def finished(
        self,
        chosen: Candidate,
        price: Difference,
        *,
        sum_of_singles: float | None,
        comparison: tuple[float, float] | None = None,
        footprints: Sequence[Footprint] | None = None,
        healing: str | None = None,
        is_healed: bool = False,
    ) -> LayerPlan:
        """comparison: (what one in ten random sets costs at most, what the plan costs) on the same windows.
        footprints: before and after. healing: why there is none."""
        row, weights = self._blueprint.weightless.row, self._blueprint.weights
        before, then = footprints or (None, None)
        parameters = self._parameters_after(chosen.blocks)
        for precision, n_bytes in saving.PRECISIONS.items():
            self.tell(
                chosen.rule,
                chosen.blocks,
                "weights",
                f"bytes_{precision}",
                before=row.parameters * n_bytes,
                after=parameters * n_bytes,
                is_chosen=True,
            )
        plan = PlanRow(
            plan_id=self._plan_id,
            model_id=row.model_id,
            reference=row.reference,
            name=row.name,
            family=row.family,
            weights_sha256=row.weights_sha256,
            n_layers=row.n_layers,
            corpus_id=self._corpus.row.corpus_id,
            blocks=list(chosen.blocks),
            rule=chosen.rule,
            is_verified=self._config.is_verified,
            is_recommended=not self.reasons.keys() & {*AGAINST_PLAN},
            reasons=list(self.reasons),
            budget=self._config.budget,
            budget_unit=self._config.budget_unit,
            loss_increase=price.value,
            std_error=_or_none(price.std_error),
            lower=_or_none(price.lower),
            upper=_or_none(price.upper),
            random_10th=comparison[0] if comparison else None,
            same_windows=comparison[1] if comparison else None,
            sum_of_singles=sum_of_singles,
            is_healed=is_healed,
            healing=healing,
            parameters_before=row.parameters,
            parameters_after=parameters,
            kv_bytes_before=before.kv_bytes_per_token if before else None,
            kv_bytes_after=then.kv_bytes_per_token if then else None,
            prompt_tokens=before.prompt_tokens if before else None,
            prefill_seconds_before=before.prefill_seconds if before else None,
            prefill_seconds_after=then.prefill_seconds if then else None,
            new_tokens=before.new_tokens if before else None,
            generation_seconds_before=before.generation_seconds if before else None,
            generation_seconds_after=then.generation_seconds if then else None,
            saved_as=None,
            saved_model_id=None,
            mergekit=saving.why_no_mergekit(self._blueprint.config, weights, row.n_layers, is_healed),
            n_tokens=self._held.n_tokens,
            n_selection=self._n_searched,
            n_verification=len(self._held.verification.ids) if self._config.is_verified else None,
            seed=self._config.seed,
            dtype=self._config.dtype,
            device=self._blueprint.device.type,
            config=json.dumps(asdict(self._config), ensure_ascii=False),
            code_version=code_version(),
            note=None,
            created_at=self._created_at,
        )
        return LayerPlan(plan, self._rows)

    def _parameters_after(self, removed: Collection[int]) -> int:
        model = self._blueprint.weightless
        gone = sum(p.numel() for index in removed for p in model.layers[index].parameters())
        return model.row.parameters - gone


def card(plan: PlanRow) -> str:
    """What stands beside the saved weights."""
    healed = " Weights before the gaps were corrected by least squares." if plan.is_healed else ""
    limits = "" if plan.lower is None else f" (95 % {plan.lower:.4f} to {plan.upper:.4f})"
    verdict = "recommended" if plan.is_recommended else f"NOT recommended ({', '.join(plan.reasons)})"
    return (
        f"# {plan.name} without blocks {', '.join(map(str, plan.blocks))}\n\n"
        f"Made by Workdim {plan.code_version} of {plan.model_id}, plan {plan.plan_id}. Blocks are counted from 0; "
        f"{plan.n_layers - len(plan.blocks)} of {plan.n_layers} are left.{healed}\n\n"
        f"Price on held-out text of {plan.corpus_id}, {plan.n_verification} windows of {plan.n_tokens} tokens: "
        f"{plan.loss_increase:.4f} nats per token{limits}. {verdict}.\n\n"
        "The licence and the terms of the original model hold for this one, too.\n"
    )


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
