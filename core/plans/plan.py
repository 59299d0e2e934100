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
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from core.errors import CorpusError, InputError, ModelError
from core.measure.score import AskedRow, Reading, asked_rows, metrics_of_choices
from core.models.hub import find_weights
from core.models.model import Blueprint, load_network, read_blueprint
from core.plans import candidates, directions, healing, saving, texts
from core.plans.candidates import Candidate, Choice, Similarity, Step
from core.plans.healing import Healing
from core.plans.ledger import Ledger, expected_costs, open_checkpoint
from core.plans.pricing import Difference, PriceList, Pricer, Scores, Told, divergence, joined, loss_increase, ratio
from core.plans.record import PlanRecord, card
from core.plans.saving import Footprint, delete_blocks, require_same
from core.plans.texts import HELD_OUT, SELECTION, TYPOS, HeldOut, first_windows, hold_out, padded
from core.plans.variants import Network, Variant, no_decoder, without
from core.records import LayerPlan, PlanConfig, Progress, ProgressCallback, stretches
from core.texts.corpora import Corpus, open_corpus
from core.texts.sample import TokenWindows, draw_windows
from core.texts.tasks import Task, read_task

_log = logging.getLogger("workdim")

TASK_ROWS = 500
"""Rows of a task that are read at most."""
DIRECTION_ROWS = 100
"""Rows of which the right answer is read under each projection."""
PART = 64
"""Choices of a task that are filled up to one length."""
STOP_AT = 4.0
"""Where no number of blocks is given, the search ends once a set certainly costs so many budgets."""
TEXT_BUDGET = 0.05
"""Nats per token that the search goes by where the budget is in points of a task."""
READS = 2.0
"""Bits per byte up to which a model is taken to read a language: SmolLM2 takes 1.6 of English prose, 2.9 of Japanese."""
FEWEST_BLOCKS = 3


@dataclass(frozen=True)
class PlanSetup:
    """What a plan is made of, before any weight is read."""

    corpus: Corpus
    blueprint: Blueprint


def open_plan(config: PlanConfig) -> PlanSetup:
    """Fetches the model where it is not here. Raises InputError (and its kinds) for anything that the user can mend."""
    corpus = open_corpus(config.corpus, config.column, config.encoding, config.chat)
    blueprint = read_blueprint(find_weights(config.model), config.dtype, config.device, None)
    name, n = blueprint.weights.name, blueprint.weightless.n_layers
    if blueprint.kind != "decoder":
        raise no_decoder(name)
    if n < FEWEST_BLOCKS:
        raise ModelError(
            "{name} has {n} blocks: a plan chooses between blocks, and needs {fewest_blocks} of them at least.",
            name=name,
            n=n,
            fewest_blocks=FEWEST_BLOCKS,
        )
    if config.blocks is not None and config.blocks >= n:
        raise InputError(
            "{name} has {n} blocks, of which at most {last} can go, not {blocks}.",
            name=name,
            n=n,
            last=n - 1,
            blocks=config.blocks,
        )
    if config.remove and max(config.remove) >= n:
        raise InputError(
            "{name} has blocks 0 to {last}: there is no block {block} to remove.",
            name=name,
            last=n - 1,
            block=max(config.remove),
        )
    if len(config.remove) >= n:
        raise InputError("{name} has {n} blocks, of which at most {last} can go, not all.", name=name, n=n, last=n - 1)
    if config.save_model is not None:
        if blueprint.plan(texts.SEARCH_WINDOWS, 256, config.memory_budget).on_demand:
            raise InputError(
                "{name} does not fit into the memory that planning may take, and is read block by block: it can be "
                "planned, not saved. Raise --memory-budget, or use --mergekit.",
                name=name,
            )
        saving.require_place(Path(config.save_model), blueprint.shape.weights)
    return PlanSetup(corpus, blueprint)


def make_plan(
    config: PlanConfig, plan_id: str, scratch: Path, progress: ProgressCallback, setup: PlanSetup | None = None
) -> LayerPlan:
    """Plan one model. `scratch` is a folder that keeps finished steps; nothing else is written, but for --save-model.

    Raises InputError (and its kinds) for anything that the user can mend.
    """
    if config.save_model is not None:
        saving.remove_of_plan(Path(config.save_model), plan_id)
    return _Planner(config, plan_id, setup or open_plan(config), scratch, progress).make()


@dataclass(frozen=True)
class _Searched:
    """What was looked for among the blocks; empty but for the candidates where blocks were given."""

    proposed: list[Candidate]
    path: list[Step]
    alone: list[Scores]
    """The whole network, then without each block."""


class _Planner:
    def __init__(
        self, config: PlanConfig, plan_id: str, setup: PlanSetup, scratch: Path, progress: ProgressCallback
    ) -> None:
        self.config, self.scratch, self.progress = config, scratch, progress
        self.corpus, self.blueprint = setup.corpus, setup.blueprint
        self.held = self._hold_out()
        self.search = first_windows(self.held.selection, texts.SEARCH_WINDOWS)
        """What candidates are compared on."""
        self.task = _OwnTask(config, self.blueprint) if config.task else None  # one that is no good is told of here
        self.ledger = Ledger(
            open_checkpoint(config, self.corpus, self.blueprint, self.held, scratch), self._costs(), progress
        )
        self.record = PlanRecord(config, plan_id, self.corpus, self.blueprint, self.held, len(self.search.ids))

    # --- what everything else needs --------------------------------------------------------------------------------

    def _hold_out(self) -> HeldOut:
        """The windows, from the tokenizer alone: what is wrong with the text is known before weights are read."""
        row, wants_directions = self.blueprint.weightless, self.config.directions
        n_fit = max(texts.FIT_TOKENS, directions.TOKENS_PER_DIMENSION * row.hidden_size if wants_directions else 0)
        return hold_out(self.corpus, row, self.config.seed, n_fit)

    def _costs(self) -> dict[str, float]:
        task_tokens = self.task.n_tokens if self.task else 0
        return expected_costs(self.config, self.corpus, self.blueprint, self.held, self._most_removed, task_tokens)

    @cached_property
    def network(self) -> Network:
        self.progress(Progress("load", 0, 1))
        windows = self.search.ids.shape
        plan = self.blueprint.plan(windows[0], windows[1], self.config.memory_budget)
        model = load_network(self.blueprint, self.scratch if plan.on_demand else None, self.progress, plan.spread)
        network = Network(replace(model, batch=plan.batch))
        if not model.units:
            network.find_sublayers(torch.from_numpy(self.search.ids[:1]).to(model.device))
            return network
        _log.warning(
            "Memory is short for %s: its weights are read block by block, about %d times from their files.",
            self.blueprint.weights.name,
            self._readings(network),
        )
        return network

    def _readings(self, network: Network) -> int:
        """How often all weights are read where they come block by block: once for each group of variants."""
        n, most, at_once = network.n_blocks, self._most_removed, Pricer(network, self.search).variants_at_once()
        pool = len(candidates.shortlist(range(n), most))
        numbers = [8] if self.config.remove else [n, *[pool] * (most - 1), *[candidates.OFFSPRING] * (most > 1) * 4, 8]
        if self.config.is_verified:
            numbers += [2 * (most + 6), candidates.N_RANDOM + 1, 1, 1, 1, *[1] * len(texts.PROBES)]
        similarity = -(-len(self.search.ids) // network.model.batch)
        return similarity + sum(-(-number // at_once) for number in numbers)

    @cached_property
    def pricer(self) -> Pricer:
        """On the windows that candidates are compared on."""
        return Pricer(self.network, self.search)

    @cached_property
    def _most_removed(self) -> int:
        """How far the search goes at most."""
        return len(self.config.remove) or self.config.blocks or max(1, self.blueprint.weightless.n_layers // 4)

    @property
    def _text_budget(self) -> float:
        return self.config.budget if self.config.budget_unit == "nats" else TEXT_BUDGET

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
        prices = self._price_list("choose", "rules", self.search, [one.blocks for one in found.proposed])
        choice = self._choose(found, prices)
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
        task = self.task.priced(self, chosen, healed) if self.task else None
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

    def _look(self) -> _Searched:
        """Candidates, the search's steps and the price of each block alone; a choice of one's own needs no search."""
        size = self.search.ids.size
        similarity: Similarity = self.ledger.step(
            "choose", "similarity", size, lambda told: candidates.similarity(self.network, self.search, told)
        )
        self.record.tell_similarity(similarity)
        if self.config.remove:
            own = tuple(sorted(self.config.remove))
            return _Searched([Candidate("own", own), *self._published(len(own), similarity)], [], [])
        alone: list[Scores] = self.ledger.step(
            "choose", "singles", size, lambda told: candidates.singles(self.pricer, told)
        )
        for block, scores in enumerate(alone[1:]):
            self.record.tell_prices("single", (block,), SELECTION, alone[0], scores)
        costs = [divergence(one).value for one in alone[1:]]
        pool = candidates.shortlist(costs, self._most_removed)
        path = self._path(alone, pool)
        best = path[self._how_many(path) - 1]
        ours = [Candidate("greedy", best.blocks)]
        exchanged = self._exchanged(best, pool)
        if exchanged.blocks != best.blocks:
            ours.append(Candidate("exchange", exchanged.blocks))
        return _Searched(ours + self._published(len(best.blocks), similarity), path, alone)

    def _path(self, alone: list[Scores], pool: list[int]) -> list[Step]:
        """The cheapest set of one block, then of each further one: costs are taken anew after every removal."""
        first = pool[0]
        path = [Step((first,), divergence(alone[1 + first]), loss_increase(alone[0], alone[1 + first]))]
        names = [f"step-{k}" for k in range(1, self._most_removed)]
        for name in names:
            if self.config.blocks is None and path[-1].increase.lower > STOP_AT * self._text_budget:
                break
            make = partial(candidates.next_step, self.pricer, path[-1].blocks, pool)
            path.append(self.ledger.step("choose", name, self.search.ids.size, make))
        self.ledger.skip(*names)
        return path

    def _how_many(self, path: list[Step]) -> int:
        """As asked; else the most that the budget allows on the text that chooses, or one, to show its price."""
        if self.config.blocks is not None:
            return self.config.blocks
        within = [len(step.blocks) for step in path if step.increase.upper < self._text_budget]
        return max(within, default=1)

    def _exchanged(self, best: Step, pool: list[int]) -> Step:
        """Rounds of exchanges, until two of them were in vain."""
        names = [f"round-{k}" for k in range(candidates.MOST_ROUNDS if len(best.blocks) > 1 else 0)]
        in_vain = 0
        for number, name in enumerate(names):
            make = partial(candidates.exchange, self.pricer, best, pool, self.config.seed, number)
            improved: Step = self.ledger.step("choose", name, self.search.ids.size, make)
            in_vain = in_vain + 1 if improved.blocks == best.blocks else 0
            best = improved
            if in_vain == 2:
                break
        self.ledger.skip(*(f"round-{k}" for k in range(candidates.MOST_ROUNDS)))
        return best

    def _published(self, n: int, similarity: Similarity) -> list[Candidate]:
        """What others would take: the least influence, the smallest angles, the cheapest of several stretches."""
        last = candidates.smallest_angles(similarity.last_angle, n, 1)[0]
        first, *others = candidates.smallest_angles(similarity.angle, n, candidates.CONTIGUOUS_TRIED)
        return [
            candidates.lowest_influence(similarity, n),
            Candidate("last_angle", last),
            Candidate("angle", first),
            *(Candidate("contiguous", one) for one in others),
        ]

    def _choose(self, found: _Searched, prices: PriceList) -> Choice:
        distinct = candidates.distinct(found.proposed)
        costs = [prices.of[one.blocks].divergence for one in distinct]
        choice = candidates.simplest(distinct, costs, prices.whole.n_targets)
        # Whatever is cheaper, it is what was asked about.
        return Choice(distinct[0], choice.equal) if self.config.remove else choice

    def _verify(self, found: _Searched, choice: Choice) -> Difference:
        """Candidates and every step of the search on text that none of them has seen."""
        sets = [*(one.blocks for one in found.proposed), *(step.blocks for step in found.path)]
        prices = self._price_list("verify", "held_out", self.held.verification, sets)
        self.record.tell_candidates(found.proposed, choice, HELD_OUT, prices)
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

    def _footprints(self, chosen: Candidate) -> list[Footprint] | None:
        model = self.network.model
        if model.units:
            self.ledger.skip("footprint")
            return None
        try:
            new = delete_blocks(model, chosen.blocks)
        except ModelError as error:
            _log.warning("What the plan saves in time is not measured: %s", error)
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
        network, n, seed, budget = self.network, self.network.n_blocks, self.config.seed, self._text_budget
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


class _OwnTask:
    """The user's own questions or texts, as this model's tokenizer reads them."""

    def __init__(self, config: PlanConfig, blueprint: Blueprint) -> None:
        self.task: Task = read_task(Path(str(config.task)))
        if config.task_sha256 not in (None, self.task.sha256):
            raise InputError(
                "{task} has changed since its plan was asked for. Cancel this job and ask again.", task=config.task
            )
        if config.budget_unit == "points" and not self.task.questions:
            raise InputError(
                "{task} is a task of texts, which has no points: give the budget in nats, or a task of questions.",
                task=self.task.name,
            )
        self._asked: list[AskedRow] = asked_rows(self.task, blueprint)
        rows = [i for i, one in enumerate(self._asked) if one.readings]
        if not rows:
            raise ModelError(
                "{weights} can read no row of {task} at once.", weights=blueprint.weights.name, task=self.task.name
            )
        if len(rows) > TASK_ROWS:  # as many as there is time for, drawn
            drawn = np.random.default_rng([config.seed, 18]).permutation(len(rows))[:TASK_ROWS]
            rows = [rows[i] for i in sorted(drawn)]
        self._rows = rows
        self._readings = [one for i in rows for one in self._asked[i].readings]

    @property
    def n_tokens(self) -> int:
        return sum(len(one.ids) for one in self._readings)

    def right_answers(self) -> list[Reading]:
        """The right choice of each question, or the first window of each text."""
        questions = self.task.questions
        return [self._asked[i].readings[questions[i].answer if questions else 0] for i in self._rows[:DIRECTION_ROWS]]

    def priced(self, plan: _Planner, chosen: Candidate, healed: Healing | None) -> Difference:
        """The task without the blocks, question by question; what the plan is in the end, healed or not."""
        final = healed.variant(chosen.blocks, plan.network.model.device) if healed else without(chosen.blocks)
        order = sorted(range(len(self._readings)), key=lambda i: len(self._readings[i].ids))
        sorted_ = [(self._readings[i].ids, self._readings[i].first) for i in order]
        parts = [padded(sorted_[k : k + PART]) for k in range(0, len(order), PART)]
        n_tokens = sum(part.ids.size for part in parts)

        def make(told: Told) -> list[Scores]:
            found: list[list[Scores]] = []
            passed = 0
            for part in parts:
                found.append(Pricer(plan.network, part, keep=False).scores([final]))
                passed += 2 * part.ids.size
                told(passed / n_tokens)
            back = np.argsort(order)
            return [joined([one[k] for one in found]).at(back) for k in range(2)]

        scores: list[Scores] = plan.ledger.step("verify", "task", n_tokens, make)
        ends = np.cumsum([0, *(len(self._asked[i].readings) for i in self._rows)])
        losses = [[one.loss[a:b] for a, b in pairwise(ends)] for one in scores]
        if self.task.texts:
            counts = np.array([scores[0].n_targets[a:b].sum() for a, b in pairwise(ends)])
            sums = [np.array([one.sum() for one in of]) for of in losses]
            measure, values, difference = "loss", [of / counts for of in sums], ratio(sums[1] - sums[0], counts)
        else:
            questions = [self.task.questions[i] for i in self._rows]
            values = [np.asarray(metrics_of_choices(questions, [-one for one in of])[0].values) for of in losses]
            ones = np.ones(len(questions))
            measure, difference = "accuracy", ratio(values[1] - values[0], ones)
            chance = float(np.mean([1 / len(question.choices) for question in questions]))
            if not ratio(values[0], ones).lower > chance:
                plan.record.because("no_room_task")
        plan.record.tell(
            chosen.rule,
            chosen.blocks,
            "task",
            measure,
            before=float(values[0].mean()),
            after=float(values[1].mean()),
            difference=difference,
            is_chosen=True,
            is_healed=healed is not None,
        )
        return difference
