"""THE flow of a layer plan: blocks are chosen on one half of a text and priced on the other, healed, saved.

    influence and angles -> each block alone -> remove, look again, exchange -> rules side by side, the simplest of equals
    -> held-out text, random sets, healing, harder texts, probes -> what it saves -> a folder, needed directions

Every arrow is a step that stays on disk (core.plans.ledger): whoever is stopped goes on after the last one. What is found
becomes rows in core.plans.record.
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
from core.plans.ledger import Ledger, open_checkpoint
from core.plans.pricing import Difference, PriceList, Pricer, Scores, Told, loss_increase, ratio
from core.plans.record import PlanRecord, card
from core.plans.saving import Footprint, delete_blocks, require_same
from core.plans.search import Search, Searched
from core.plans.setup import PlanSetup, open_plan
from core.plans.texts import HELD_OUT, SELECTION, TYPOS, first_windows, padded
from core.plans.variants import Network, Variant, without
from core.records import LayerPlan, PlanConfig, Progress, ProgressCallback, stretches, text_budget
from core.texts.corpora import Corpus, open_corpus
from core.texts.sample import TokenWindows, draw_windows

_log = logging.getLogger("workdim")

READS = 2.0
"""Bits per byte up to which a model is taken to read a language: SmolLM2 takes 1.6 of English prose, 2.9 of Japanese."""


def make_plan(config: PlanConfig, plan_id: str, scratch: Path, progress: ProgressCallback) -> LayerPlan:
    """Plan one model. `scratch` is a folder that keeps finished steps; nothing else is written, but for --save-model.

    Raises InputError (and its kinds) for anything that the user can mend.
    """
    if config.save_model is not None:
        saving.remove_of_plan(Path(config.save_model), plan_id)
    return _Planner(plan_id, open_plan(config), scratch, progress).make()


class _Planner:
    def __init__(self, plan_id: str, setup: PlanSetup, scratch: Path, progress: ProgressCallback) -> None:
        self.setup, self.scratch, self.progress = setup, scratch, progress
        self.config, self.corpus, self.blueprint = setup.config, setup.corpus, setup.blueprint
        self.held, self.search, self.task = setup.held, setup.search, setup.task  # what is no good is told of here
        kept = open_checkpoint(self.config, self.corpus, self.blueprint, self.held, scratch)
        self.ledger = Ledger(kept, setup.costs(), progress)
        self.record = PlanRecord(self.config, plan_id, self.corpus, self.blueprint, self.held, len(self.search.ids))

    # --- what everything else needs --------------------------------------------------------------------------------

    @cached_property
    def network(self) -> Network:
        self.progress(Progress("load", 0, 1))
        memory = self.setup.memory
        model = load_network(self.blueprint, self.scratch if memory.on_demand else None, self.progress, memory.spread)
        network = Network(replace(model, batch=memory.batch))
        if not model.units:
            network.find_sublayers(torch.from_numpy(self.search.ids[:1]).to(model.device))
            return network
        _log.warning(
            Sentence(
                "Memory is short for {model}: its weights are read block by block, about {n} times from their files.",
                model=self.blueprint.weights.name,
                n=round(self.setup.readings(memory.batch)),
            )
        )
        return network

    @cached_property
    def pricer(self) -> Pricer:
        """On the windows that candidates are compared on."""
        return Pricer(self.network, self.search)

    def _priced(
        self, phase: str, name: str, windows: TokenWindows, variants: Callable[[], Sequence[Variant]], keep: bool = True
    ) -> list[Scores]:
        """Of the whole network and its variants, as a step."""
        return self.ledger.step(
            phase, name, windows.ids.size, lambda told: Pricer(self.network, windows, keep).scores(variants(), told)
        )

    def _price_list(self, phase: str, name: str, windows: TokenWindows, sets: Sequence[tuple[int, ...]]) -> PriceList:
        """Each set of blocks once."""
        distinct = list(dict.fromkeys(sets))
        whole, *found = self._priced(phase, name, windows, lambda: [without(blocks) for blocks in distinct])
        return PriceList(whole, dict(zip(distinct, found, strict=True)))

    # --- the flow --------------------------------------------------------------------------------------------------

    def make(self) -> LayerPlan:
        if self.config.budget == 0:
            self.record.because("budget_zero")
        if self.held.n_tokens < texts.WINDOW_LENGTHS[0]:
            self.record.because("short_windows")
        if getattr(self.blueprint.config, "num_experts_per_tok", None):
            self.record.because("mixture")
        if self.config.save_model:
            self._require_deletable()
        found = self._look()
        prices, choice = found.prices, self._choose(found)
        chosen = choice.taken
        self.record.tell_candidates(found.proposed, choice, SELECTION, prices)
        self.record.tell_path(found.path)
        alone, blocks = found.alone, chosen.blocks
        total = sum(loss_increase(alone[0], alone[1 + block]).value for block in blocks) if alone else None
        if not self.config.is_verified:
            self.record.because("not_verified")
            return self.record.finished(chosen, prices.increase(blocks), sum_of_singles=total)
        price = self._verify(found, choice)
        comparison = self._against_random(chosen)
        self._sublayers()
        healed, refused = self._heal(chosen)
        if healed:
            price, healed = self._healed_price(chosen, healed, price)
        self._harder(chosen, healed)
        task = self._task(chosen, healed)
        self._recommend(price, comparison, task)
        if self.config.directions:
            self._directions()
        plan = self.record.finished(
            chosen,
            price,
            sum_of_singles=total,
            comparison=comparison,
            footprints=self._footprints(chosen),
            healing=refused,
            is_healed=healed is not None,
        )
        return self._save(plan, healed) if self.config.save_model else plan

    def _require_deletable(self) -> None:
        """A model that cannot be saved without a block is told of before hours of planning."""
        ids = torch.from_numpy(self.search.ids[:1]).to(self.network.model.device)
        middle = {self.network.n_blocks // 2}
        require_same(self.network.model, self.network, delete_blocks(self.network.model, middle), middle, ids)

    def _look(self) -> Searched:
        """Candidates, the search's steps and the price of each block alone."""
        size = self.search.ids.size
        similarity: Similarity = self.ledger.step(
            "choose", "similarity", size, lambda told: candidates.similarity(self.network, self.search, told)
        )
        self.record.tell_similarity(similarity)
        most = self.setup.most_removed
        search = Search(self.config, self.ledger, lambda: self.pricer, size, most)
        published = partial(candidates.published, similarity)
        found = search.given(self.config.remove, published) if self.config.remove else search.run(published)
        for block, scores in enumerate(found.alone[1:]):
            self.record.tell_prices("single", (block,), SELECTION, found.alone[0], scores)
        return found

    def _choose(self, found: Searched) -> Choice:
        distinct = candidates.distinct(found.proposed)
        scores = [found.prices.of[one.blocks] for one in distinct]
        choice = candidates.simplest(distinct, found.prices.whole, scores)
        # Whatever is cheaper, it is what was asked about.
        return Choice(distinct[0], choice.equal) if self.config.remove else choice

    def _verify(self, found: Searched, choice: Choice) -> Difference:
        """Candidates and every step of the search on text that none of them has seen."""
        sets = [*(one.blocks for one in found.proposed), *(step.blocks for step in found.path)]
        prices = self._price_list("verify", "held_out", self.held.verification, sets)
        self.record.tell_candidates(found.proposed, choice, HELD_OUT, prices)
        self.record.tell_rivals(found.proposed, choice.taken.blocks, HELD_OUT, prices)
        for step in found.path:
            self.record.tell_prices("path", step.blocks, HELD_OUT, prices.whole, prices.of[step.blocks])
        return prices.increase(choice.taken.blocks)

    def _against_random(self, chosen: Candidate) -> tuple[float, float]:
        """(what one in ten random sets costs at most, what the plan costs), on the same part of the held-out text."""
        n_blocks, n = self.blueprint.weightless.n_layers, len(chosen.blocks)
        drawn = candidates.random_sets(n_blocks, n, self.config.seed, chosen.blocks)
        if len(drawn) < candidates.N_RANDOM:
            self.record.because("few_random_sets")
        windows = first_windows(self.held.verification, texts.RANDOM_WINDOWS)
        prices = self._price_list("verify", "random", windows, [chosen.blocks, *drawn])
        for blocks in drawn:
            self.record.tell_prices("random", blocks, HELD_OUT, prices.whole, prices.of[blocks])
        costs = [prices.increase(blocks).value for blocks in drawn]
        return float(np.percentile(costs, 10)), prices.increase(chosen.blocks).value

    def _sublayers(self) -> None:
        """Each attention and each MLP alone: a second kind of unit."""
        parts = candidates.sublayer_singles(self.network)
        if not parts:
            self.ledger.skip("sublayers")
            self.record.because("no_sublayers")
            return
        windows = first_windows(self.search, texts.SUBLAYER_WINDOWS)
        whole, *found = self._priced("verify", "sublayers", windows, lambda: [variant for _, _, variant in parts])
        for (unit, block, _), scores in zip(parts, found, strict=True):
            self.record.tell_prices("single", (block,), SELECTION, whole, scores, unit=unit)

    def _heal(self, chosen: Candidate) -> tuple[Healing | None, str | None]:
        """The correction, or why there is none."""
        if not self.config.heal:
            return None, None
        ids = torch.from_numpy(self.search.ids[:1]).to(self.network.model.device)
        selection = self.held.selection
        refused = healing.why_not(self.network, chosen.blocks, ids, selection.ids.size)
        if refused:
            self.ledger.skip("heal", "healed")
            self.record.because("not_healed")
            return None, refused
        found: Healing = self.ledger.step(
            "heal",
            "heal",
            selection.ids.size * len(stretches(chosen.blocks)),
            lambda told: healing.fit(self.network, selection, chosen.blocks, lambda share: told(2 * share)),
        )
        return found, None

    def _healed_price(
        self, chosen: Candidate, healed: Healing, unhealed: Difference
    ) -> tuple[Difference, Healing | None]:
        """What the plan costs in the end; without the healing where that costs no less."""
        variant = healed.variant(chosen.blocks, self.network.model.device)
        found = self._priced("heal", "healed", self.held.verification, lambda: [variant], keep=False)
        self.record.tell_prices(chosen.rule, chosen.blocks, HELD_OUT, *found, is_chosen=True, is_healed=True)
        price = loss_increase(*found)
        if price.value < unhealed.value:
            return price, healed
        self.record.because("healed_not_better")
        return unhealed, None

    def _harder(self, chosen: Candidate, healed: Healing | None) -> None:
        """Typing errors, another domain, another language; copying, brackets, sums: without the blocks, and healed."""
        blocks, variants = chosen.blocks, [without(chosen.blocks)]
        if healed:
            variants.append(healed.variant(blocks, self.network.model.device))
        for name, builtin in texts.harder_texts(self.corpus).items():
            other = (
                open_corpus(builtin) if builtin else texts.with_typos(self.held.verification_corpus, self.config.seed)
            )
            windows = self._windows(other)
            if windows is None:  # one that is too short for this tokenizer is left out
                self.ledger.skip(f"text-{name}")
                continue
            whole, *found = self._priced("verify", f"text-{name}", windows, lambda: variants, keep=False)
            bits = float(whole.loss.sum()) / math.log(2) / max(1, windows.n_bytes)
            if name == "other_language" and bits > READS:
                self.record.because("language_not_read")
                continue
            read = self.corpus if name == TYPOS else other
            for is_healed, scores in enumerate(found):
                of = {"is_chosen": True, "is_healed": bool(is_healed), "corpus": read}
                self.record.tell_prices(chosen.rule, blocks, name, whole, scores, **of)
        for kind in texts.PROBES:
            asked = texts.probe(kind, self.blueprint.tokenizer, self.config.seed, self.network.model.context)
            if asked is None:
                self.ledger.skip(f"probe-{kind}")
                continue
            scored = self._priced("verify", f"probe-{kind}", asked, lambda: variants, keep=False)
            before, *exact = [(one.hits == one.n_targets).astype(float) for one in scored]
            if before.mean() < texts.ROOM:
                self.record.because(f"no_room_{kind}")
            for is_healed, right in enumerate(exact):
                self.record.tell(
                    chosen.rule,
                    blocks,
                    kind,
                    "exact_match",
                    before=float(before.mean()),
                    after=float(right.mean()),
                    difference=ratio(right - before, np.ones(len(right))),
                    is_chosen=True,
                    is_healed=bool(is_healed),
                )

    def _windows(self, corpus: Corpus) -> TokenWindows | None:
        tokenizer, name, n_tokens = self.blueprint.tokenizer, self.blueprint.weights.name, self.held.n_tokens
        try:
            return draw_windows(corpus, tokenizer, texts.OTHER_WINDOWS, n_tokens, self.config.seed, texts.PURPOSE, name)
        except CorpusError:
            return None

    def _task(self, chosen: Candidate, healed: Healing | None) -> Difference | None:
        """The user's own task without the blocks, row by row; what the plan is in the end, healed or not."""
        task = self.task
        if task is None:
            return None

        def make(told: Told) -> list[Scores]:
            gone = chosen.blocks
            final = healed.variant(gone, self.network.model.device) if healed else without(gone)
            found: list[list[Scores]] = []
            n_read = 0
            for part in task.parts:
                found.append(Pricer(self.network, part, keep=False).scores([final]))
                n_read += 2 * part.ids.size
                told(n_read / task.n_tokens)
            return [task.in_order([one[k] for one in found]) for k in range(2)]

        price = task.price(*self.ledger.step("verify", "task", task.n_tokens, make))
        if not price.has_room:
            self.record.because("no_room_task")
        self.record.tell(
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

    def _footprints(self, chosen: Candidate) -> list[Footprint] | None:
        model = self.network.model
        if model.units:
            self.ledger.skip("footprint")
            return None
        try:
            new = delete_blocks(model, chosen.blocks)
        except ModelError as error:
            _log.warning(Sentence("What the plan saves in time is not measured: {reason}", reason=error))
            self.ledger.skip("footprint")
            return None
        prompt = saving.timing_prompt(model, self.held.verification)
        return self.ledger.step(
            "save", "footprint", prompt.numel(), lambda told: saving.footprints([model.module, new], prompt)
        )

    def _recommend(self, price: Difference, comparison: tuple[float, float], task: Difference | None) -> None:
        """What speaks against the plan, as reasons."""
        if self.config.budget_unit == "points":
            if task is None or "no_room_task" in self.record.reasons or not -task.lower * 100 < self.config.budget:
                self.record.because("over_budget")
        elif not price.upper < self.config.budget:
            self.record.because("over_budget")
        if not comparison[1] <= comparison[0]:
            self.record.because("no_better_than_random")

    # --- what comes after ------------------------------------------------------------------------------------------

    def _directions(self) -> None:
        windows, selection = first_windows(self.held.verification, texts.OTHER_WINDOWS), self.held.selection
        network, n, seed, budget = self.network, self.network.n_blocks, self.config.seed, text_budget(self.config)
        wanted = directions.layers_to_try(n)
        can_join = (n + 1) * network.model.hidden_size**2 * 8 <= directions.COVARIANCE_BUDGET

        def find(pricer: Pricer, joint: bool, told: Told) -> list[directions.NeededDirections]:
            found = directions.components(network, selection, range(n + 1) if joint else wanted)
            tried = 0

            def count() -> None:
                nonlocal tried
                tried += 1
                told(tried * directions.SHARE_OF_PASS)

            each = [directions.needed_directions(pricer, found[layer], layer, budget, seed, count) for layer in wanted]
            return [*each, directions.jointly(pricer, found, budget, count)] if joint else each

        make = partial(find, Pricer(network, windows), can_join)
        for one in self.ledger.step("directions", "directions", windows.ids.size, make):
            self.record.tell_directions(one, HELD_OUT)
        if self.task:
            right = padded([(one.ids, one.first) for one in self.task.right_answers()])
            make = partial(find, Pricer(network, right), False)
            for one in self.ledger.step("directions", "task-directions", right.ids.size, make):
                self.record.tell_directions(one, "task")

    def _save(self, plan: LayerPlan, healed: Healing | None) -> LayerPlan:
        """The smaller model in its folder, opened again from there and read once more."""
        folder = Path(str(self.config.save_model))
        model, removed, windows = self.network.model, plan.plan.blocks, self.held.verification
        with self.ledger.stage("save", "save", windows.ids.size) as told:
            new = delete_blocks(model, removed, healing.merged(self.network, healed.matrices) if healed else None)
            ids = torch.from_numpy(self.search.ids[:1]).to(model.device)
            if healed is None:
                require_same(model, self.network, new, removed, ids)
            saving.save_network(new, model.tokenizer, folder, card(plan.plan))
            del new
            told(0.5)
            expected = next(
                row.value_after
                for row in plan.of(HELD_OUT, "loss")
                if row.is_chosen and row.unit == "block" and row.is_healed == plan.plan.is_healed
            )
            assert expected is not None
            try:
                saving.reproduced(folder, self.config.device, self.config.dtype, windows, expected, self.scratch)
            except BaseException:
                saving.remove_saved(folder)
                raise
        saved = find_weights(str(folder))
        row = replace(plan.plan, saved_as=str(folder), saved_model_id=f"{saved.reference}@{saved.revision}")
        return replace(plan, plan=row)
