"""THE flow of a layer plan: blocks are chosen on one half of a text and priced on the other, then healed and saved.

    influence and angles -> each block alone -> greedy removal, exchanges -> rules side by side, the simplest of equals
    -> held-out text, random sets, healing, harder texts, probes -> footprint -> saved model, needed directions

The result of every step is stored on disk (core.plans.setup), so that an interrupted plan resumes. Results become
rows in core.plans.record.
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.analysis.intervals import Difference, has_few_groups, share_difference
from core.analysis.plans import is_lost
from core.errors import CorpusError, ModelError, Sentence
from core.models.hub import find_weights
from core.models.model import load_network
from core.models.stacks import experts_per_token
from core.plans import candidates
from core.plans.candidates import Candidate, Choice, Similarity
from core.plans.healing import (
    Footprint,
    Healing,
    check_reproduction,
    delete_blocks,
    fit_healing,
    fit_scales,
    footprints,
    merge_into_weights,
    remove_of_plan,
    require_same,
    save_network,
    timing_prompt,
    why_no_healing,
    why_no_scales,
)
from core.plans.pricing import (
    Blocks,
    Price,
    Pricer,
    Prices,
    ReportShare,
    Scores,
    block_matrices,
    bytes_saved,
    loss_increase,
    price_sets,
    rounded_weights,
)
from core.plans.record import PlanRecord, model_card
from core.plans.setup import (
    HELD_OUT,
    OTHER_WINDOWS,
    PROBES,
    RANDOM_WINDOWS,
    ROOM,
    SELECTION,
    SUBLAYER_WINDOWS,
    TYPOS,
    WINDOW_LENGTHS,
    AbilityPrice,
    PlanSetup,
    StepRunner,
    first_windows,
    harder_texts,
    open_checkpoint,
    open_plan,
    probe,
    with_typos,
)
from core.plans.variants import Network, Variant, without_blocks
from core.records import PUBLISHED_FIFTH, LayerPlan, PlanConfig, Progress, ProgressCallback, text_budget
from core.texts.corpora import open_corpus
from core.texts.sample import LAYER_PLAN, TokenWindows, draw_windows

_log = logging.getLogger("workdim")

MAX_BITS_PER_BYTE = 2.0
"""Bits per byte up to which a model counts as reading a language: SmolLM2 needs 1.6 for English prose, 2.9 for Japanese."""


def make_plan(config: PlanConfig, plan_id: str, scratch: Path, progress: ProgressCallback) -> LayerPlan:
    """Plan one model. Finished steps are stored in `scratch`; nothing else is written, except with --save-model.

    Raises InputError (and subclasses) for anything the user can fix.
    """
    if config.save_model is not None:
        remove_of_plan(Path(config.save_model), plan_id)
    return _Planner(plan_id, open_plan(config), scratch, progress).make()


class _Planner:
    """Makes one plan: each method is a step of the flow and adds its rows to the record."""

    def __init__(self, plan_id: str, setup: PlanSetup, scratch: Path, progress: ProgressCallback) -> None:
        self.setup, self.scratch, self.progress = setup, scratch, progress
        self.config, self.corpus, self.blueprint = setup.config, setup.corpus, setup.blueprint
        # Raises for an unusable text or task, before the network is loaded.
        self.held_out, self.search_windows, self.task = setup.held_out, setup.search_windows, setup.task
        self.steps = StepRunner(open_checkpoint(setup, scratch), setup.costs(), progress)
        self.record = PlanRecord(setup, plan_id)

    # --- network and prices ----------------------------------------------------------------------------------------

    @cached_property
    def network(self) -> Network:
        """The network, loaded when a step first needs it."""
        self.progress(Progress("load", 0, 1))
        memory = self.setup.memory
        model = load_network(self.blueprint, self.scratch if memory.on_demand else None, self.progress, memory.spread)
        network = Network(replace(model, batch=memory.batch))
        if not model.units:
            network.find_sublayers(network.ids(self.search_windows))
            return network
        _log.warning(
            Sentence(
                "Memory is short for {model}: weights are read block by block, about {n} times.",
                model=self.blueprint.weights.name,
                n=self.setup.count_weight_reads(),
            )
        )
        return network

    @property
    def first_window(self) -> torch.Tensor:
        """A short text to try the network on, (1, n_tokens)."""
        return self.network.ids(self.search_windows)

    @cached_property
    def pricer(self) -> Pricer:
        """The pricer on the search windows."""
        return Pricer(self.network, self.search_windows)

    def _price_variants(
        self, phase: str, name: str, windows: TokenWindows, variants: Sequence[Variant]
    ) -> list[Scores]:
        """Scores of the whole network and of its variants, as a step."""
        return self.steps.run(
            phase, name, lambda report: Pricer(self.network, windows, keep=False).scores(variants, report)
        )

    def _price_sets(self, name: str, windows: TokenWindows, sets: Sequence[Blocks]) -> Prices:
        """Prices of sets of blocks, each distinct set once."""
        distinct = list(dict.fromkeys(sets))
        whole, *each = self._price_variants("verify", name, windows, list(map(without_blocks, distinct)))
        return {blocks: Price(blocks, whole, scores) for blocks, scores in zip(distinct, each, strict=True)}

    # --- the flow --------------------------------------------------------------------------------------------------

    def make(self) -> LayerPlan:
        """Run all steps and return the plan."""
        if self.config.budget == 0:
            self.record.add_reasons("budget_zero")
        if self.held_out.n_tokens < WINDOW_LENGTHS[0]:
            self.record.add_reasons("short_windows")
        if has_few_groups(self.held_out.verification.documents):
            self.record.add_reasons("few_documents")
        if experts_per_token(self.blueprint.config):
            self.record.add_reasons("mixture")
        if self.config.save_model:
            self._require_deletable()
        search = self._search()
        choice = self._choose(search)
        chosen = choice.chosen
        self.record.add_candidates(search.candidates, choice, SELECTION, search.prices)
        for price in search.path:
            self.record.add_row("path", price.blocks, SELECTION, "loss", difference=price.increase)
            self.record.add_row("path", price.blocks, SELECTION, "divergence", after=price.divergence)
        sum_of_singles = search.sum_of_singles(chosen.blocks)
        if not self.config.is_verified:
            self.record.add_reasons("not_verified")
            increase = search.prices[chosen.blocks].increase
            return self.record.build_plan(chosen, increase, sum_of_singles=sum_of_singles)
        verified = self._verify(search, choice)[chosen.blocks]
        final = verified.increase
        comparison = self._compare_with_random(chosen)
        self._price_sublayers()
        self._price_rounding(verified.whole)
        repair = self._fit_healing("heal", chosen.blocks) if self.config.heal else None
        healed = repair if isinstance(repair, Healing) else None
        if healed:
            final, healed = self._price_healed(chosen, healed, final)
        elif repair:
            self.record.add_reasons("not_healed")
        self._repair_one_block(search, chosen)
        variants = [without_blocks(chosen.blocks)]  # the plan unhealed, then healed if it is
        if healed:
            variants.append(healed.variant(chosen.blocks, self.network))
        self._price_harder_texts(chosen, variants)
        self._price_probes(chosen, variants)
        task = self._price_task(chosen, variants)
        self._recommend(final, comparison, task)
        if self.config.directions:
            self._find_directions()
        plan = self.record.build_plan(
            chosen,
            final,
            sum_of_singles=sum_of_singles,
            comparison=comparison,
            footprints=self._measure_footprints(chosen),
            healing=repair if isinstance(repair, str) else None,
            is_healed=healed is not None,
        )
        return self._save(plan, healed) if self.config.save_model else plan

    def _require_deletable(self) -> None:
        """Fail early, before hours of planning, if the model cannot be saved without a block."""
        middle = {self.network.n_blocks // 2}
        new = delete_blocks(self.network.model, middle)
        require_same(self.network.model, self.network, new, middle, self.first_window)

    def _search(self) -> SearchResult:
        """Find candidate sets and the price of each block alone."""
        similarity: Similarity = self.steps.run(
            "choose",
            "similarity",
            lambda report: candidates.measure_similarity(self.network, self.search_windows, report),
        )
        self.record.add_similarity(similarity)
        search = Search(self.setup, self.steps, lambda: self.pricer)
        result = search.price_given(similarity) if self.config.remove else search.run(similarity)
        for price in result.alone:
            self.record.add_price("single", SELECTION, price)
        return result

    def _choose(self, search: SearchResult) -> Choice:
        """The simplest of the candidates that are statistically as good as the cheapest."""
        distinct = candidates.distinct_sets(search.candidates)
        choice = candidates.choose_simplest(distinct, search.prices)
        # The user's own blocks are the choice, whatever is cheaper.
        return Choice(distinct[0], choice.equal) if self.config.remove else choice

    def _verify(self, search: SearchResult, choice: Choice) -> Prices:
        """Price the candidates and every step of the search on held-out text."""
        sets = [*(one.blocks for one in search.candidates), *(step.blocks for step in search.path)]
        prices = self._price_sets("held_out", self.held_out.verification, sets)
        self.record.add_candidates(search.candidates, choice, HELD_OUT, prices)
        chosen = prices[choice.chosen.blocks]
        for one in search.candidates:
            if one.blocks != chosen.blocks:
                difference = loss_increase(chosen.scores, prices[one.blocks].scores)
                self.record.add_row(one.rule, one.blocks, HELD_OUT, "above_plan", difference=difference)
        for step in search.path:
            self.record.add_price("path", HELD_OUT, prices[step.blocks])
        return prices

    def _compare_with_random(self, chosen: Candidate) -> tuple[float, float]:
        """(10th percentile of the cost of random sets, cost of the plan), on the same part of the held-out text."""
        n_blocks, n = self.blueprint.weightless.n_layers, len(chosen.blocks)
        random_sets = candidates.random_sets(n_blocks, n, self.config.seed, chosen.blocks)
        if len(random_sets) < candidates.N_RANDOM:
            self.record.add_reasons("few_random_sets")
        windows = first_windows(self.held_out.verification, RANDOM_WINDOWS)
        prices = self._price_sets("random", windows, [chosen.blocks, *random_sets])
        for blocks in random_sets:
            self.record.add_price("random", HELD_OUT, prices[blocks])
        own, *costs = (price.increase.value for price in prices.values())
        return float(np.percentile(costs, 10)), own

    def _price_sublayers(self) -> None:
        """Price the removal of each single attention and each single MLP."""
        singles = candidates.sublayer_singles(self.network)
        if not singles:
            self.record.add_reasons("streamed" if self.network.model.units else "no_sublayers")
            return
        windows = first_windows(self.search_windows, SUBLAYER_WINDOWS)
        whole, *each = self._price_variants("verify", "sublayers", windows, [variant for _, _, variant in singles])
        for (unit, block, _), scores in zip(singles, each, strict=True):
            self.record.add_price("single", SELECTION, Price((block,), whole, scores), unit=unit)

    def _price_rounding(self, whole: Scores) -> None:
        """Price what else makes a model smaller: the weights of all blocks rounded to 8 bits."""
        weights = block_matrices(self.network)
        if not weights or self.blueprint.weights.gguf_file:
            return
        with rounded_weights(weights):
            (rounded,) = self._price_variants("verify", "rounded", self.held_out.verification, [])
        self.record.add_rounding(whole, rounded, bytes_saved(weights))

    def _fit_healing(self, step: str, blocks: Sequence[int]) -> Healing | str:
        """The repair of a set of blocks, or the reason why there is none."""
        selection = self.held_out.selection
        reason = why_no_healing(self.network, blocks, self.first_window, selection.ids.size)
        fit = fit_scales if reason == "norm_between" else fit_healing
        if reason == "norm_between":
            reason = why_no_scales(self.network, self.first_window)
        if reason:
            return reason
        fitted: Healing = self.steps.run("heal", step, lambda report: fit(self.network, selection, blocks, report))
        return fitted

    def _repair_one_block(self, search: SearchResult, chosen: Candidate) -> None:
        """Price the block that is cheapest alone, repaired: before it is said that none can go, whatever was asked."""
        blocks = search.path[0].blocks if search.path else ()
        is_plan = self.config.heal and blocks == chosen.blocks
        fitted = self._fit_healing("heal-one", blocks) if blocks and not is_plan else None
        if isinstance(fitted, Healing):
            self.record.add_price("path", HELD_OUT, self._price_repair("healed-one", blocks, fitted), is_healed=True)

    def _price_repair(self, step: str, blocks: Blocks, healing: Healing) -> Price:
        variants = [healing.variant(blocks, self.network)]
        return Price(blocks, *self._price_variants("heal", step, self.held_out.verification, variants))

    def _price_healed(
        self, chosen: Candidate, healed: Healing, unhealed: Difference
    ) -> tuple[Difference, Healing | None]:
        """The final price of the plan; the healing is dropped if it does not lower the cost."""
        price = self._price_repair("healed", chosen.blocks, healed)
        self.record.add_price(chosen.rule, HELD_OUT, price, is_chosen=True, is_healed=True)
        if price.increase.value < unhealed.value:
            return price.increase, healed
        self.record.add_reasons("healed_not_better")
        return unhealed, None

    def _price_harder_texts(self, chosen: Candidate, variants: Sequence[Variant]) -> None:
        """Price the plan, unhealed and healed, on typos, another domain and another language."""
        for name, builtin in harder_texts(self.corpus).items():
            text = open_corpus(builtin) if builtin else with_typos(self.held_out.verification_corpus, self.config.seed)
            try:
                windows = draw_windows(
                    text,
                    self.blueprint.tokenizer,
                    OTHER_WINDOWS,
                    self.held_out.n_tokens,
                    self.config.seed,
                    LAYER_PLAN,
                    self.blueprint.weights.name,
                )
            except CorpusError:  # too short for this tokenizer
                continue
            whole, *each = self._price_variants("verify", f"text-{name}", windows, variants)
            bits = float(whole.loss.sum()) / math.log(2) / max(1, windows.n_bytes)
            if name == "other_language" and bits > MAX_BITS_PER_BYTE:
                self.record.add_reasons("language_not_read")
                continue
            source = self.corpus if name == TYPOS else text
            for is_healed, scores in zip((False, True), each, strict=False):
                price = Price(chosen.blocks, whole, scores)
                self.record.add_price(chosen.rule, name, price, is_chosen=True, is_healed=is_healed, corpus=source)

    def _price_probes(self, chosen: Candidate, variants: Sequence[Variant]) -> None:
        """Price the plan, unhealed and healed, on copying, brackets and sums."""
        for kind in PROBES:
            questions = probe(kind, self.blueprint.tokenizer, self.config.seed, self.network.model.context)
            if questions is None:
                continue
            scored = self._price_variants("verify", f"probe-{kind}", questions, variants)
            before, *after = [(scores.hits == scores.n_targets).astype(float) for scores in scored]
            share = float(before.mean())
            for number, exact in enumerate(after):
                difference = share_difference(before, exact)
                price = AbilityPrice("exact_match", share, float(exact.mean()), difference, has_room=share >= ROOM)
                self._add_ability(kind, chosen, price, is_healed=number > 0, is_final=exact is after[-1])

    def _add_ability(
        self, ability: str, chosen: Candidate, price: AbilityPrice, *, is_healed: bool, is_final: bool = True
    ) -> None:
        """Add a row; a plan after which an ability is less than half of what it was above chance is not recommended."""
        if not price.has_room:
            self.record.add_reasons(f"no_room_{ability}")
        elif is_final and price.measure != "loss" and is_lost(price.before, price.after, price.chance):
            self.record.add_reasons(f"falls_{ability}")
        self.record.add_row(
            chosen.rule,
            chosen.blocks,
            ability,
            price.measure,
            before=price.before,
            after=price.after,
            difference=price.difference,
            is_chosen=True,
            is_healed=is_healed,
        )

    def _price_task(self, chosen: Candidate, variants: Sequence[Variant]) -> Difference | None:
        """The cost of the final plan, healed or not, on the user's own task, paired by row."""
        task = self.task
        if task is None:
            return None

        def make(report: ReportShare) -> list[Scores]:
            of_parts: list[list[Scores]] = []
            for windows in task.parts:
                of_parts.append(Pricer(self.network, windows, keep=False).scores(variants[-1:]))
                report(len(of_parts) / len(task.parts))
            return [task.in_order(scores) for scores in zip(*of_parts, strict=True)]

        price = task.price(*self.steps.run("verify", "task", make))
        self._add_ability("task", chosen, price, is_healed=len(variants) > 1)
        return price.difference

    def _measure_footprints(self, chosen: Candidate) -> list[Footprint] | None:
        """Memory and speed before and after; None if the smaller network cannot be built, or memory is short."""
        model = self.network.model
        if model.units:
            return None
        try:
            new = delete_blocks(model, chosen.blocks)
        except ModelError as error:
            _log.warning(Sentence("What the plan saves in time is not measured: {reason}", reason=error))
            return None
        prompt = timing_prompt(model, self.held_out.verification)
        return self.steps.run("save", "footprint", lambda report: footprints([model.module, new], prompt))

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
        """Find the needed directions of several layers, and of all layers together if memory allows; each is a step."""
        selection, searches = self.held_out.selection, self.setup.direction_searches
        if selection.ids.size < candidates.TOKENS_PER_DIMENSION * self.network.model.hidden_size:
            self.record.add_reasons("few_direction_tokens")
        components: dict[int, candidates.Components] = {}
        everywhere = range(self.setup.n_blocks + 1)
        if not all(self.steps.is_done(search.step) for search in searches):
            layers = {search.layer for search in searches}
            wanted = [layer for layer in everywhere if layer in layers or None in layers]
            with self.steps.track("directions", "components") as report:
                components = candidates.principal_components(self.network, selection, wanted, report)
        pricers: dict[str, Pricer] = {}
        for search in searches:
            pricer = pricers.setdefault(search.text, Pricer(self.network, search.windows))
            make = partial(
                candidates.needed_directions,
                pricer,
                components,
                search.layer,
                text_budget(self.config),
                self.config.seed,
            )
            projected: list[candidates.Projected] = self.steps.run("directions", search.step, make)
            blocks = everywhere if search.layer is None else [search.layer]
            for one in projected:
                columns: dict[str, Any] = {"unit": "layer", "rank": one.rank, "is_chosen": one.is_chosen}
                self.record.add_row(one.rule, blocks, search.text, "loss", difference=one.price, **columns)

    def _save(self, plan: LayerPlan, healed: Healing | None) -> LayerPlan:
        """Save the smaller model, then reopen it and check its loss."""
        folder = Path(str(self.config.save_model))
        model, removed, windows = self.network.model, plan.plan.blocks, self.held_out.verification
        with self.steps.track("save", "save") as report:
            new = delete_blocks(model, removed, merge_into_weights(self.network, healed, removed) if healed else None)
            if healed is None:
                require_same(model, self.network, new, removed, self.first_window)
            save_network(new, model.tokenizer, folder, model_card(plan.plan), plan.plan.plan_id)
            del new
            report(0.5)
            expected = plan.price.value_after
            assert expected is not None
            try:
                check_reproduction(folder, self.config.device, self.config.dtype, windows, expected, self.scratch)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        saved = find_weights(str(folder))
        row = replace(plan.plan, saved_as=str(folder), saved_model_id=f"{saved.reference}@{saved.revision}")
        return replace(plan, plan=row)


# --- the search ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SearchResult:
    """The candidate sets and their prices on the search windows."""

    candidates: list[Candidate]
    prices: Prices
    """Of the candidates."""
    path: list[Price]
    """The greedy path; empty if the blocks were given, as is `alone`."""
    alone: list[Price]
    """Without each block."""

    def sum_of_singles(self, blocks: Sequence[int]) -> float | None:
        """What these blocks cost each alone, added up; None if they were given, as no block was then priced alone."""
        return sum(self.alone[block].increase.value for block in blocks) if self.alone else None


@dataclass(frozen=True)
class Search:
    """A resumable search: the result of every step is stored."""

    setup: PlanSetup
    steps: StepRunner
    pricer: Callable[[], Pricer]
    """A pricer on the search windows; called only for steps without a stored result, as it opens the network."""

    def run(self, similarity: Similarity) -> SearchResult:
        """Search for the blocks that cost least, and price them beside those of published rules."""
        alone = self._price("singles", [(block,) for block in range(self.setup.n_blocks)])
        costs = [price.divergence.value for price in alone]
        pool = candidates.shortlist(costs, self.setup.most_removed)
        path = self._search_path(alone, pool)
        greedy = path[self._choose_size(path) - 1]
        proposed = [
            Candidate("greedy", greedy.blocks),
            *candidates.published_candidates(similarity, len(greedy.blocks)),
        ]
        _greedy, *others = (one.blocks for one in candidates.distinct_sets(proposed))
        prices = {price.blocks: price for price in (greedy, *self._price("rules", others))}
        exchanged = self._exchange(min(prices.values(), key=candidates.cost_order), pool, costs, prices)
        if exchanged.blocks not in prices:
            proposed.insert(1, Candidate("exchange", exchanged.blocks))
            prices[exchanged.blocks] = exchanged
        return SearchResult(proposed, prices, path, alone)

    def price_given(self, similarity: Similarity) -> SearchResult:
        """Price the user's own choice of blocks beside the published ones, without a search."""
        own = self.setup.config.remove
        proposed = [Candidate("own", tuple(sorted(own))), *candidates.published_candidates(similarity, len(own))]
        prices = self._price("rules", [one.blocks for one in candidates.distinct_sets(proposed)])
        return SearchResult(proposed, {price.blocks: price for price in prices}, [], [])

    def _price(self, name: str, sets: Sequence[Blocks], shared: Collection[int] = ()) -> list[Price]:
        return self.steps.run("choose", name, lambda report: price_sets(self.pricer(), sets, report, shared))

    def _search_path(self, alone: list[Price], pool: list[int]) -> list[Price]:
        """The greedy path: the cheapest single block, then with each further block."""
        path = [alone[pool[0]]]
        for size in range(1, self.setup.most_removed):
            # A set that surely costs more than any budget that has a name says all there is to say.
            dearest = max(PUBLISHED_FIFTH, text_budget(self.setup.config))
            if self.setup.config.blocks is None and path[-1].increase.lower > dearest:
                break
            path.append(
                self.steps.run(
                    "choose",
                    f"step-{size}",
                    lambda report: candidates.next_step(self.pricer(), path[-1].blocks, pool, report),
                )
            )
        return path

    def _choose_size(self, path: list[Price]) -> int:
        """The requested number of blocks; else the most within the budget on the search windows, at least one."""
        if self.setup.config.blocks is not None:
            return self.setup.config.blocks
        sizes = [len(step.blocks) for step in path if step.increase.upper < text_budget(self.setup.config)]
        return max(sizes, default=1)

    def _exchange(self, best: Price, pool: list[int], costs: Sequence[float], priced: Collection[Blocks]) -> Price:
        """A (1 + lambda) search: rounds of single-block exchanges, until no set is left to try or the limit is reached."""
        tried_sets = {*priced}
        for number in range(candidates.MOST_ROUNDS if len(best.blocks) > 1 else 0):
            exchanges = candidates.list_exchanges(best.blocks, pool, costs)
            offspring = [blocks for blocks in exchanges if blocks not in tried_sets][: candidates.OFFSPRING]
            if not offspring:
                break
            tried_sets |= {*offspring}
            tried = self._price(f"round-{number}", offspring, best.blocks)
            best = min([best, *tried], key=candidates.cost_order)
        return best
