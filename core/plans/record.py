"""Builds the record of a layer plan: a row for every price, the reasons, and the row of the plan itself."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from core.analysis.intervals import Difference
from core.files import utc_now
from core.geometry.clouds import none_if_nan
from core.measure.checkpoint import code_version
from core.plans.candidates import Candidate, Choice, Similarity
from core.plans.healing import PRECISIONS, Footprint, why_no_mergekit
from core.plans.pricing import Price, Prices, Scores
from core.plans.setup import HELD_OUT, SELECTION, PlanSetup
from core.records import AGAINST_PLAN, LayerPlan
from core.tables import PlanOutcomeRow, PlanRow
from core.texts.corpora import Corpus

NOT_COMPARED = Difference(math.nan, math.nan, math.nan, math.nan, 0)
_OF_MODEL = ("model_id", "reference", "name", "family", "weights_sha256", "n_layers")
_OF_REQUEST = ("is_verified", "budget", "budget_unit", "seed", "dtype")
"""Columns of a plan that are those of the model's row, and fields of the request."""


class PlanRecord:
    """Collects rows and reasons; `build_plan` returns the finished plan."""

    def __init__(self, setup: PlanSetup, plan_id: str) -> None:
        self._setup, self._plan_id = setup, plan_id
        self._created_at = utc_now()
        self._rows: list[PlanOutcomeRow] = []
        self.reasons: dict[str, None] = {}
        """Codes of core.wording.plans, in the order of discovery."""

    def add_reasons(self, *codes: str) -> None:
        """Add reasons against the plan or remarks on it, each once."""
        self.reasons |= dict.fromkeys(codes)

    # --- prices ------------------------------------------------------------------------------------------------------

    def add_row(
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
        """Add one row. `corpus` is that of a text other than the plan's own.

        The interval is that of `difference`, else of `after`.
        """
        interval = difference or (after if isinstance(after, Difference) else NOT_COMPARED)
        text_corpus = self._setup.corpus if text in (SELECTION, HELD_OUT) else corpus
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
                text_corpus.row.corpus_id if text_corpus else None,
                measure,
                rank,
                before,
                after.value if isinstance(after, Difference) else after,
                difference.value if difference else None,
                none_if_nan(interval.std_error),
                none_if_nan(interval.lower),
                none_if_nan(interval.upper),
                interval.n or None,
                self._created_at,
            )
        )

    def add_price(self, rule: str, text: str, price: Price, **columns: Any) -> None:
        """Add rows for loss, divergence and agreement of one change on one text."""
        self._add_loss(rule, text, price, **columns)
        changed = price.scores
        self.add_row(rule, price.blocks, text, "divergence", after=price.divergence, **columns)
        self.add_row(rule, price.blocks, text, "agreement", after=changed.mean(changed.agreement), **columns)

    def _add_loss(self, rule: str, text: str, price: Price, **columns: Any) -> None:
        columns |= {"before": price.whole.loss_per_token, "after": price.scores.loss_per_token}
        self.add_row(rule, price.blocks, text, "loss", difference=price.increase, **columns)

    def add_candidates(self, proposed: Sequence[Candidate], choice: Choice, text: str, prices: Prices) -> None:
        """Add rows for the price of each candidate."""
        for one in proposed:
            is_chosen, is_equal = one.blocks == choice.chosen.blocks, one.blocks in choice.equal
            self.add_price(one.rule, text, prices[one.blocks], is_chosen=is_chosen, is_equal=is_equal)

    def add_rounding(self, whole: Scores, rounded: Scores, bytes_saved: float) -> None:
        """Add rows for the weights of all blocks rounded to 8 bits: the price, and the bytes beside those of bfloat16."""
        price = Price(tuple(range(self._setup.n_blocks)), whole, rounded)
        n_bytes = self._setup.blueprint.weightless.row.parameters * 2.0
        columns: dict[str, Any] = {"unit": "weights", "rank": 8}
        self._add_loss("rounding", HELD_OUT, price, **columns)
        columns |= {"before": n_bytes, "after": n_bytes - bytes_saved}
        self.add_row("rounding", price.blocks, "weights", "bytes_bfloat16", **columns)

    def add_similarity(self, similarity: Similarity) -> None:
        """Add rows for the influence of each block and the angles across stretches of up to half of the blocks."""
        for block, influence in enumerate(similarity.influence):
            self.add_row("single", (block,), SELECTION, "influence", after=influence)
        n_blocks = len(similarity.influence)
        for measure, table in (("angle", similarity.angle), ("last_angle", similarity.last_angle)):
            for length in range(1, n_blocks // 2 + 1):
                for start, value in enumerate(table.diagonal(length).tolist()):
                    self.add_row("stretch", range(start, start + length), SELECTION, measure, after=value)

    # --- the plan ----------------------------------------------------------------------------------------------------

    def build_plan(
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
        """The finished plan.

        comparison: 10th percentile of the cost of random sets, cost of the plan, on the same windows. footprints: before
        and after. healing: why the plan is not healed.
        """
        random_10th, same_windows = comparison or (None, None)
        blueprint = self._setup.blueprint
        row, layers = blueprint.weightless.row, blueprint.weightless.layers
        parameters = row.parameters - sum(p.numel() for index in chosen.blocks for p in layers[index].parameters())
        for precision, n_bytes in PRECISIONS.items():
            sizes: dict[str, Any] = {"before": row.parameters * n_bytes, "after": parameters * n_bytes}
            self.add_row(chosen.rule, chosen.blocks, "weights", f"bytes_{precision}", **sizes, is_chosen=True)
        plan = PlanRow(
            plan_id=self._plan_id,
            **self._of_setup(),
            blocks=list(chosen.blocks),
            rule=chosen.rule,
            is_recommended=not self.reasons.keys() & {*AGAINST_PLAN},
            reasons=list(self.reasons),
            loss_increase=price.value,
            std_error=none_if_nan(price.std_error),
            lower=none_if_nan(price.lower),
            upper=none_if_nan(price.upper),
            random_10th=random_10th,
            same_windows=same_windows,
            sum_of_singles=sum_of_singles,
            is_healed=is_healed,
            healing=healing,
            parameters_before=row.parameters,
            parameters_after=parameters,
            **_taken(footprints),
            saved_as=None,
            saved_model_id=None,
            mergekit=why_no_mergekit(blueprint.config, blueprint.weights, row.n_layers, is_healed),
            note=None,
            created_at=self._created_at,
        )
        return LayerPlan(plan, self._rows)

    def _of_setup(self) -> dict[str, Any]:
        """The columns that were known before a block was chosen: of the model, the request and the windows."""
        setup, config = self._setup, self._setup.config
        return {
            **{name: getattr(setup.blueprint.weightless.row, name) for name in _OF_MODEL},
            **{name: getattr(config, name) for name in _OF_REQUEST},
            "corpus_id": setup.corpus.row.corpus_id,
            "n_tokens": setup.held_out.n_tokens,
            "n_selection": len(setup.search_windows.ids),
            "n_verification": len(setup.held_out.verification.ids) if config.is_verified else None,
            "device": setup.blueprint.device.type,
            "config": json.dumps(asdict(config), ensure_ascii=False),
            "code_version": code_version(),
        }


def _taken(footprints: Sequence[Footprint] | None) -> dict[str, Any]:
    """The columns of memory and time, before and after; None where they were not measured."""
    before, after = footprints or (None, None)
    taken = {
        f"{name}_{when}": getattr(footprint, name, None)
        for when, footprint in (("before", before), ("after", after))
        for name in ("kv_bytes", "prefill_seconds", "generation_seconds")
    }
    return taken | {name: getattr(before, name, None) for name in ("prompt_tokens", "new_tokens")}


def model_card(plan: PlanRow) -> str:
    """The README beside the saved weights."""
    healed = " Weights make up for the gaps, without training." if plan.is_healed else ""
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
