"""THE flow of a layer plan: blocks are chosen on one half of a text and priced on the other, then healed and saved.

    influence and angles -> each block alone -> greedy removal, exchanges -> rules side by side, the simplest of equals
    -> held-out text, random sets, healing, harder texts, probes -> footprint -> saved model, needed directions

The result of every step is stored on disk (core.plans.step_runner), so that an interrupted plan resumes. Results become
rows in core.plans.record.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from core.errors import CorpusError, ModelError, Sentence
from core.models.hub import find_weights
from core.models.model import load_network
from core.plans import candidates, directions, healing, saving, texts
from core.plans.candidates import Candidate, Choice, Similarity
from core.plans.healing import Healing
from core.plans.pricing import Difference, PriceList, Pricer, ReportPasses, Scores, loss_increase, ratio_difference
from core.plans.record import PlanRecord, model_card
from core.plans.saving import Footprint, delete_blocks, require_same
from core.plans.search import Search, SearchResult
from core.plans.setup import PlanSetup, open_plan
from core.plans.step_runner import StepRunner, open_checkpoint
from core.plans.texts import HELD_OUT, SELECTION, TYPOS, first_windows, pad_readings
from core.plans.variants import Network, Variant, without_blocks
from core.records import LayerPlan, PlanConfig, Progress, ProgressCallback, stretches, text_budget
from core.texts.corpora import Corpus, open_corpus
from core.texts.sample import TokenWindows, draw_windows

_log = logging.getLogger("workdim")

MAX_BITS_PER_BYTE = 2.0
"""Bits per byte up to which a model counts as reading a language: SmolLM2 needs 1.6 for English prose, 2.9 for Japanese."""


def make_plan(config: PlanConfig, plan_id: str, scratch: Path, progress: ProgressCallback) -> LayerPlan:
    """Plan one model. Finished steps are stored in `scratch`; nothing else is written, except with --save-model.

    Raises InputError (and subclasses) for anything the user can fix.
    """
    if config.save_model is not None:
        saving.remove_of_plan(Path(config.save_model), plan_id)
    return _Planner(plan_id, open_plan(config), scratch, progress).make()


class _Planner:
    def __init__(self, plan_id: str, setup: PlanSetup, scratch: Path, progress: ProgressCallback) -> None:
        self.setup, self.scratch, self.progress = setup, scratch, progress
        self.config, self.corpus, self.blueprint = setup.config, setup.corpus, setup.blueprint
        self.held_out, self.search_windows, self.task = (
            setup.held_out,
            setup.search_windows,
            setup.task,
        )  # what is no good is told of here
        kept = open_checkpoint(self.config, self.corpus, self.blueprint, self.held_out, scratch)
        self.steps = StepRunner(kept, setup.costs(), progress)
        self.record = PlanRecord(
            self.config, plan_id, self.corpus, self.blueprint, self.held_out, len(self.search_windows.ids)
        )

    # --- network and prices ----------------------------------------------------------------------------------------

    @cached_property
    def network(self) -> Network:
        self.progress(Progress("load", 0, 1))
        memory = self.setup.memory
        model = load_network(self.blueprint, self.scratch if memory.on_demand else None, self.progress, memory.spread)
        network = Network(replace(model, batch=memory.batch))
        if not model.units:
            network.find_sublayers(torch.from_numpy(self.search_windows.ids[:1]).to(model.device))
            return network
        _log.warning(
            Sentence(
                "Memory is short for {model}: its weights are read block by block, about {n} times from their files.",
                model=self.blueprint.weights.name,
                n=round(self.setup.count_weight_reads(memory.batch)),
            )
        )
        return network

    @cached_property
    def pricer(self) -> Pricer:
        """The pricer on the search windows."""
        return Pricer(self.network, self.search_windows)

    def _price_variants(
        self, phase: str, name: str, windows: TokenWindows, variants: Callable[[], Sequence[Variant]], keep: bool = True
    ) -> list[Scores]:
        """Scores of the whole network and of its variants, as a step."""
        return self.steps.run(
            phase, name, windows.ids.size, lambda told: Pricer(self.network, windows, keep).scores(variants(), told)
        )

    def _price_sets(self, phase: str, name: str, windows: TokenWindows, sets: Sequence[tuple[int, ...]]) -> PriceList:
        """Prices of sets of blocks, each distinct set once."""
        distinct = list(dict.fromkeys(sets))
        whole, *found = self._price_variants(
            phase, name, windows, lambda: [without_blocks(blocks) for blocks in distinct]
        )
        return PriceList(whole, dict(zip(distinct, found, strict=True)))

    # --- the flow --------------------------------------------------------------------------------------------------

    def make(self) -> LayerPlan:
        if self.config.budget == 0:
            self.record.add_reasons("budget_zero")
        if self.held_out.n_tokens < texts.WINDOW_LENGTHS[0]:
            self.record.add_reasons("short_windows")
        if getattr(self.blueprint.config, "num_experts_per_tok", None):
            self.record.add_reasons("mixture")
        if self.config.save_model:
            self._require_deletable()
        found = self._search()
        prices, choice = found.prices, self._choose(found)
        chosen = choice.chosen
        self.record.add_candidates(found.candidates, choice, SELECTION, prices)
        self.record.add_path(found.path)
        alone, blocks = found.alone, chosen.blocks
        total = sum(loss_increase(alone[0], alone[1 + block]).value for block in blocks) if alone else None
        if not self.config.is_verified:
            self.record.add_reasons("not_verified")
            return self.record.build_plan(chosen, prices.increase(blocks), sum_of_singles=total)
        price = self._verify(found, choice)
        comparison = self._compare_with_random(chosen)
        self._price_sublayers()
        healed, refused = self._heal(chosen)
        if healed:
            price, healed = self._price_healed(chosen, healed, price)
        self._price_harder_texts(chosen, healed)
        task = self._price_task(chosen, healed)
        self._recommend(price, comparison, task)
        if self.config.directions:
            self._find_directions()
        plan = self.record.build_plan(
            chosen,
            price,
            sum_of_singles=total,
            comparison=comparison,
            footprints=self._measure_footprints(chosen),
            healing=refused,
            is_healed=healed is not None,
        )
        return self._save(plan, healed) if self.config.save_model else plan

    def _require_deletable(self) -> None:
        """Fail early, before hours of planning, if the model cannot be saved without a block."""
        ids = torch.from_numpy(self.search_windows.ids[:1]).to(self.network.model.device)
        middle = {self.network.n_blocks // 2}
        require_same(self.network.model, self.network, delete_blocks(self.network.model, middle), middle, ids)

    def _search(self) -> SearchResult:
        """Find candidate sets and the price of each block alone."""
        size = self.search_windows.ids.size
        similarity: Similarity = self.steps.run(
            "choose",
            "similarity",
            size,
            lambda told: candidates.measure_similarity(self.network, self.search_windows, told),
        )
        self.record.add_similarity(similarity)
        most = self.setup.most_removed
        search = Search(self.config, self.steps, lambda: self.pricer, size, most)
        published = partial(candidates.published_candidates, similarity)
        found = search.price_given(self.config.remove, published) if self.config.remove else search.run(published)
        for block, scores in enumerate(found.alone[1:]):
            self.record.add_prices("single", (block,), SELECTION, found.alone[0], scores)
        return found

    def _choose(self, found: SearchResult) -> Choice:
        distinct = candidates.distinct_sets(found.candidates)
        scores = [found.prices.scores[one.blocks] for one in distinct]
        choice = candidates.choose_simplest(distinct, found.prices.whole, scores)
        # The user's own blocks are the choice, whatever is cheaper.
        return Choice(distinct[0], choice.equal) if self.config.remove else choice

    def _verify(self, found: SearchResult, choice: Choice) -> Difference:
        """Price the candidates and every step of the search on held-out text."""
        sets = [*(one.blocks for one in found.candidates), *(step.blocks for step in found.path)]
        prices = self._price_sets("verify", "held_out", self.held_out.verification, sets)
        self.record.add_candidates(found.candidates, choice, HELD_OUT, prices)
        self.record.add_rivals(found.candidates, choice.chosen.blocks, HELD_OUT, prices)
        for step in found.path:
            self.record.add_prices("path", step.blocks, HELD_OUT, prices.whole, prices.scores[step.blocks])
        return prices.increase(choice.chosen.blocks)

    def _compare_with_random(self, chosen: Candidate) -> tuple[float, float]:
        """(10th percentile of the cost of random sets, cost of the plan), on the same part of the held-out text."""
        n_blocks, n = self.blueprint.weightless.n_layers, len(chosen.blocks)
        drawn = candidates.random_sets(n_blocks, n, self.config.seed, chosen.blocks)
        if len(drawn) < candidates.N_RANDOM:
            self.record.add_reasons("few_random_sets")
        windows = first_windows(self.held_out.verification, texts.RANDOM_WINDOWS)
        prices = self._price_sets("verify", "random", windows, [chosen.blocks, *drawn])
        for blocks in drawn:
            self.record.add_prices("random", blocks, HELD_OUT, prices.whole, prices.scores[blocks])
        costs = [prices.increase(blocks).value for blocks in drawn]
        return float(np.percentile(costs, 10)), prices.increase(chosen.blocks).value

    def _price_sublayers(self) -> None:
        """Price the removal of each single attention and each single MLP."""
        parts = candidates.sublayer_singles(self.network)
        if not parts:
            self.steps.skip("sublayers")
            self.record.add_reasons("no_sublayers")
            return
        windows = first_windows(self.search_windows, texts.SUBLAYER_WINDOWS)
        whole, *found = self._price_variants(
            "verify", "sublayers", windows, lambda: [variant for _, _, variant in parts]
        )
        for (unit, block, _), scores in zip(parts, found, strict=True):
            self.record.add_prices("single", (block,), SELECTION, whole, scores, unit=unit)

    def _heal(self, chosen: Candidate) -> tuple[Healing | None, str | None]:
        """The healing, or the reason why there is none."""
        if not self.config.heal:
            return None, None
        ids = torch.from_numpy(self.search_windows.ids[:1]).to(self.network.model.device)
        selection = self.held_out.selection
        refused = healing.why_no_healing(self.network, chosen.blocks, ids, selection.ids.size)
        if refused:
            self.steps.skip("heal", "healed")
            self.record.add_reasons("not_healed")
            return None, refused
        found: Healing = self.steps.run(
            "heal",
            "heal",
            selection.ids.size * len(stretches(chosen.blocks)),
            lambda told: healing.fit_healing(self.network, selection, chosen.blocks, lambda share: told(2 * share)),
        )
        return found, None

    def _price_healed(
        self, chosen: Candidate, healed: Healing, unhealed: Difference
    ) -> tuple[Difference, Healing | None]:
        """The final price of the plan; the healing is dropped if it does not lower the cost."""
        variant = healed.variant(chosen.blocks, self.network.model.device)
        found = self._price_variants("heal", "healed", self.held_out.verification, lambda: [variant], keep=False)
        self.record.add_prices(chosen.rule, chosen.blocks, HELD_OUT, *found, is_chosen=True, is_healed=True)
        price = loss_increase(*found)
        if price.value < unhealed.value:
            return price, healed
        self.record.add_reasons("healed_not_better")
        return unhealed, None

    def _price_harder_texts(self, chosen: Candidate, healed: Healing | None) -> None:
        """Price the plan, unhealed and healed, on typos, another domain, another language, and probes (copying, brackets,
        sums)."""
        blocks, variants = chosen.blocks, [without_blocks(chosen.blocks)]
        if healed:
            variants.append(healed.variant(blocks, self.network.model.device))
        for name, builtin in texts.harder_texts(self.corpus).items():
            other = (
                open_corpus(builtin)
                if builtin
                else texts.with_typos(self.held_out.verification_corpus, self.config.seed)
            )
            windows = self._draw_windows(other)
            if windows is None:  # too short for this tokenizer
                self.steps.skip(f"text-{name}")
                continue
            whole, *found = self._price_variants("verify", f"text-{name}", windows, lambda: variants, keep=False)
            bits = float(whole.loss.sum()) / math.log(2) / max(1, windows.n_bytes)
            if name == "other_language" and bits > MAX_BITS_PER_BYTE:
                self.record.add_reasons("language_not_read")
                continue
            read = self.corpus if name == TYPOS else other
            for is_healed, scores in enumerate(found):
                of = {"is_chosen": True, "is_healed": bool(is_healed), "corpus": read}
                self.record.add_prices(chosen.rule, blocks, name, whole, scores, **of)
        for kind in texts.PROBES:
            asked = texts.probe(kind, self.blueprint.tokenizer, self.config.seed, self.network.model.context)
            if asked is None:
                self.steps.skip(f"probe-{kind}")
                continue
            scored = self._price_variants("verify", f"probe-{kind}", asked, lambda: variants, keep=False)
            before, *exact = [(one.hits == one.n_targets).astype(float) for one in scored]
            if before.mean() < texts.ROOM:
                self.record.add_reasons(f"no_room_{kind}")
            for is_healed, right in enumerate(exact):
                self.record.add_row(
                    chosen.rule,
                    blocks,
                    kind,
                    "exact_match",
                    before=float(before.mean()),
                    after=float(right.mean()),
                    difference=ratio_difference(right - before, np.ones(len(right))),
                    is_chosen=True,
                    is_healed=bool(is_healed),
                )

    def _draw_windows(self, corpus: Corpus) -> TokenWindows | None:
        tokenizer, name, n_tokens = self.blueprint.tokenizer, self.blueprint.weights.name, self.held_out.n_tokens
        try:
            return draw_windows(corpus, tokenizer, texts.OTHER_WINDOWS, n_tokens, self.config.seed, texts.PURPOSE, name)
        except CorpusError:
            return None

    def _price_task(self, chosen: Candidate, healed: Healing | None) -> Difference | None:
        """The cost of the final plan, healed or not, on the user's own task, paired by row."""
        task = self.task
        if task is None:
            return None

        def make(told: ReportPasses) -> list[Scores]:
            gone = chosen.blocks
            final = healed.variant(gone, self.network.model.device) if healed else without_blocks(gone)
            found: list[list[Scores]] = []
            n_read = 0
            for part in task.parts:
                found.append(Pricer(self.network, part, keep=False).scores([final]))
                n_read += 2 * part.ids.size
                told(n_read / task.n_tokens)
            return [task.in_order([one[k] for one in found]) for k in range(2)]

        price = task.price(*self.steps.run("verify", "task", task.n_tokens, make))
        if not price.has_room:
            self.record.add_reasons("no_room_task")
        self.record.add_row(
            chosen.rule,
            chosen.blocks,
            "task",
            price.measure,
            before=price.before,
            after=price.after,
            difference=price.difference,
            is_chosen=True,
            is_healed=healed is not None,
        )
        return price.difference

    def _measure_footprints(self, chosen: Candidate) -> list[Footprint] | None:
        model = self.network.model
        if model.units:
            self.steps.skip("footprint")
            return None
        try:
            new = delete_blocks(model, chosen.blocks)
        except ModelError as error:
            _log.warning(Sentence("What the plan saves in time is not measured: {reason}", reason=error))
            self.steps.skip("footprint")
            return None
        prompt = saving.timing_prompt(model, self.held_out.verification)
        return self.steps.run(
            "save", "footprint", prompt.numel(), lambda told: saving.footprints([model.module, new], prompt)
        )

    def _recommend(self, price: Difference, comparison: tuple[float, float], task: Difference | None) -> None:
        """Record the reasons against the plan."""
        if self.config.budget_unit == "points":
            if task is None or "no_room_task" in self.record.reasons or not -task.lower * 100 < self.config.budget:
                self.record.add_reasons("over_budget")
        elif not price.upper < self.config.budget:
            self.record.add_reasons("over_budget")
        if not comparison[1] <= comparison[0]:
            self.record.add_reasons("no_better_than_random")

    # --- directions and saving -------------------------------------------------------------------------------------

    def _find_directions(self) -> None:
        windows, selection = first_windows(self.held_out.verification, texts.OTHER_WINDOWS), self.held_out.selection
        network, n, seed, budget = self.network, self.network.n_blocks, self.config.seed, text_budget(self.config)
        wanted = directions.layers_to_try(n)
        can_join = (n + 1) * network.model.hidden_size**2 * 8 <= directions.COVARIANCE_BUDGET

        def find(pricer: Pricer, joint: bool, told: ReportPasses) -> list[directions.NeededDirections]:
            found = directions.principal_components(network, selection, range(n + 1) if joint else wanted)
            tried = 0

            def count() -> None:
                nonlocal tried
                tried += 1
                told(tried * directions.SHARE_OF_PASS)

            each = [directions.needed_directions(pricer, found[layer], layer, budget, seed, count) for layer in wanted]
            return [*each, directions.joint_directions(pricer, found, budget, count)] if joint else each

        make = partial(find, Pricer(network, windows), can_join)
        for one in self.steps.run("directions", "directions", windows.ids.size, make):
            self.record.add_directions(one, HELD_OUT)
        if self.task:
            right = pad_readings([(one.ids, one.first) for one in self.task.right_answers()])
            make = partial(find, Pricer(network, right), False)
            for one in self.steps.run("directions", "task-directions", right.ids.size, make):
                self.record.add_directions(one, "task")

    def _save(self, plan: LayerPlan, healed: Healing | None) -> LayerPlan:
        """Save the smaller model, then reopen it and check its loss."""
        folder = Path(str(self.config.save_model))
        model, removed, windows = self.network.model, plan.plan.blocks, self.held_out.verification
        with self.steps.track("save", "save", windows.ids.size) as told:
            new = delete_blocks(
                model, removed, healing.merge_into_weights(self.network, healed.matrices) if healed else None
            )
            ids = torch.from_numpy(self.search_windows.ids[:1]).to(model.device)
            if healed is None:
                require_same(model, self.network, new, removed, ids)
            saving.save_network(new, model.tokenizer, folder, model_card(plan.plan))
            del new
            told(0.5)
            expected = next(
                row.value_after
                for row in plan.of(HELD_OUT, "loss")
                if row.is_chosen and row.unit == "block" and row.is_healed == plan.plan.is_healed
            )
            assert expected is not None
            try:
                saving.check_reproduction(
                    folder, self.config.device, self.config.dtype, windows, expected, self.scratch
                )
            except BaseException:
                saving.remove_saved(folder)
                raise
        saved = find_weights(str(folder))
        row = replace(plan.plan, saved_as=str(folder), saved_model_id=f"{saved.reference}@{saved.revision}")
        return replace(plan, plan=row)
