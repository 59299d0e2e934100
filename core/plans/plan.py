"""THE flow of a layer plan: blocks are chosen on one half of a text and priced on the other, healed, saved.

    influence and angles -> each block alone -> remove, look again, exchange -> rules side by side, the simplest of equals
    -> held-out text, random sets, harder texts, probes -> healing -> what it saves -> a folder, needed directions

Every arrow is a step that stays on disk: whoever is stopped goes on after the last one.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.errors import CorpusError, InputError, ModelError
from core.measure.checkpoint import Checkpoint
from core.measure.provenance import code_stamp, code_version, library_versions
from core.measure.score import AskedRow, Reading, asked_rows, metrics_of_choices
from core.models.hub import find_weights
from core.models.model import Blueprint, load_network, read_blueprint
from core.plans import candidates, directions, healing, saving, texts
from core.plans.candidates import Candidate, Choice, Similarity, Step
from core.plans.healing import Healing
from core.plans.pricing import Difference, Pricer, Scores, Told, agreement, divergence, joined, loss_increase, ratio
from core.plans.saving import Footprint, delete_blocks, require_same
from core.plans.texts import FIT_TOKENS, HeldOut, first_windows, hold_out, padded, with_typos
from core.plans.variants import Network, Variant, no_decoder, without
from core.records import LayerPlan, PlanConfig, Progress, ProgressCallback, stretches
from core.tables import PlanOutcomeRow, PlanRow
from core.texts.corpora import Corpus, open_corpus
from core.texts.sample import TokenWindows, draw_windows
from core.texts.tasks import Task, read_task

_log = logging.getLogger("workdim")

SEARCH_WINDOWS = 16
"""Of the selection text: what candidates are compared on."""
SUBLAYER_WINDOWS = 4
RANDOM_WINDOWS = 8
"""Of the held-out text: what random sets are priced on."""
OTHER_WINDOWS = 16
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
SELECTION, HELD_OUT = "selection", "held_out"
STEP_RECORDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (Difference, Footprint, Healing, directions.NeededDirections, Scores, Similarity, Step)
}
"""What the results of steps are made of, as they stand on disk."""


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
        if blueprint.plan(SEARCH_WINDOWS, 256, config.memory_budget).on_demand:
            raise InputError(
                "{name} does not fit into the memory that planning may take, and is read block by block: it can be "
                "planned, not saved. Raise --memory-budget, or use --mergekit.",
                name=name,
            )
        shape = blueprint.shape
        saving.require_place(Path(config.save_model), shape.weights)
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


class _Ledger:
    """How much of the work is done, in tokens that pass through the whole network."""

    def __init__(self, progress: ProgressCallback, costs: dict[str, float]) -> None:
        self._progress, self._left, self._done = progress, costs, 0.0

    @contextmanager
    def stage(self, phase: str, name: str, n_tokens: int) -> Iterator[Told]:
        """`n_tokens`: what one pass is, of those that are told within."""
        cost = self._left.pop(name, 0.0)
        total = round(self._done + cost + sum(self._left.values()))

        def told(passes: float) -> None:
            self._progress(Progress(phase, round(self._done + min(cost, passes * n_tokens)), total))

        told(0.0)
        yield told
        self._done += cost

    def skip(self, *names: str) -> None:
        """Stages that an earlier process has done, or that are not needed after all."""
        for name in names:
            self._left.pop(name, None)


class _Planner:
    def __init__(
        self, config: PlanConfig, plan_id: str, setup: PlanSetup, scratch: Path, progress: ProgressCallback
    ) -> None:
        self.config, self.plan_id, self.setup, self.scratch, self.progress = config, plan_id, setup, scratch, progress
        self.created_at = datetime.now(UTC).replace(tzinfo=None)
        self.rows: list[PlanOutcomeRow] = []
        self.reasons: list[str] = []

    # --- what everything else needs --------------------------------------------------------------------------------

    @cached_property
    def blueprint(self) -> Blueprint:
        return self.setup.blueprint

    @cached_property
    def held(self) -> HeldOut:
        """The windows, from the tokenizer alone: what is wrong with the text is known before weights are read."""
        row = self.blueprint.weightless
        n_fit = max(FIT_TOKENS, directions.TOKENS_PER_DIMENSION * row.hidden_size if self.config.directions else 0)
        return hold_out(self.setup.corpus, row, self.config.seed, n_fit)

    @cached_property
    def search(self) -> TokenWindows:
        return first_windows(self.held.selection, SEARCH_WINDOWS)

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
    def checkpoint(self) -> Checkpoint:
        row = self.blueprint.weightless.row
        asked = asdict(self.config) | {"save_model": None, "memory_budget": None}
        key = [
            asked,
            code_version(),
            code_stamp(),
            library_versions(),
            row.weights_sha256,
            row.configuration_hash,
            row.tokenizer_hash,
            self.setup.corpus.row.sha256,
            self.held.selection.ids.tolist(),
            self.blueprint.device.type,
        ]
        kept = Checkpoint(self.scratch, key)
        if kept.was_emptied:
            _log.warning(
                "The model, the text or Workdim has changed since %s was planned as far as this: it is planned anew.",
                self.blueprint.weights.name,
            )
        return kept

    @cached_property
    def ledger(self) -> _Ledger:
        return _Ledger(self.progress, self._costs())

    def _costs(self) -> dict[str, float]:
        """What each stage will take, in tokens through the whole network; half of the blocks for what is not known."""
        config, n = self.config, self.blueprint.weightless.n_layers
        shape = self.blueprint.shape
        head = shape.logits * shape.hidden_size / max(1, shape.multiplications)
        one, window = 0.5 * (1 - head) + head, self.held.n_tokens
        search, held_out = self.search.ids.size, self.held.verification.ids.size
        most = self._most_removed
        pool = len(candidates.shortlist(range(n), most))
        costs = {"similarity": float(search)}
        if not config.remove:
            costs["singles"] = search * (1 + n * one)
            costs |= {f"step-{k}": search * (2 * one + (pool - k) * one) for k in range(1, most)}
        if most > 1 and not config.remove:
            costs |= {
                f"round-{k}": search * (2 * one + candidates.OFFSPRING * one) for k in range(candidates.MOST_ROUNDS)
            }
        costs["rules"] = search * 8 * one
        if config.is_verified:
            costs["sublayers"] = SUBLAYER_WINDOWS * window * (1 + 2 * n * one)
            costs["held_out"] = held_out * (1 + (most + 5) * one)
            costs["random"] = RANDOM_WINDOWS * window * (1 + (candidates.N_RANDOM + 1) * one)
            costs |= {f"text-{name}": OTHER_WINDOWS * window * 2.0 for name in ("typos", *_others(self.setup.corpus))}
            costs |= {f"probe-{kind}": texts.QUESTIONS * 80 * 2.0 for kind in texts.PROBES}
            if config.task:
                costs["task"] = 2.0 * sum(len(one.ids) for i in self._task_rows for one in self._asked[i].readings)
            costs["footprint"] = 16.0 * saving.PROMPT_TOKENS
        if config.heal:
            costs["heal"] = 2.0 * min(most, 3) * self.held.selection.ids.size
            costs["healed"] = held_out * 2.0
        if config.save_model:
            costs["save"] = held_out * 2.0
        if config.directions:
            n_layers = len(directions.layers_to_try(n))
            costs["components"] = 2.0 * self.held.selection.ids.size
            costs["directions"] = OTHER_WINDOWS * window * (1 + 12 * n_layers * one)
            costs["jointly"] = OTHER_WINDOWS * window * 9.0
        return costs

    @cached_property
    def _most_removed(self) -> int:
        """How far the search goes at most."""
        return len(self.config.remove) or self.config.blocks or max(1, self.blueprint.weightless.n_layers // 4)

    @property
    def _text_budget(self) -> float:
        return self.config.budget if self.config.budget_unit == "nats" else TEXT_BUDGET

    def _step(self, phase: str, name: str, n_tokens: int, make: Any) -> Any:
        """A step of the plan: from disk, or made now with its progress told."""
        found = self.checkpoint.step(name, STEP_RECORDS)
        if found is not None:
            self.ledger.skip(name)
            return found
        with self.ledger.stage(phase, name, n_tokens) as told:
            made = make(told)
            self.checkpoint.save_step(name, made)
        return made

    # --- the flow --------------------------------------------------------------------------------------------------

    def make(self) -> LayerPlan:
        if self.config.budget == 0:
            self.reasons.append("budget_zero")
        if self.held.n_tokens < 256:
            self.reasons.append("short_windows")
        if getattr(self.blueprint.config, "num_experts_per_tok", None):
            self.reasons.append("mixture")
        if self.config.task:
            self._task_rows  # noqa: B018 - a task that cannot be read is told of before anything is computed
        self.checkpoint  # noqa: B018 - what an earlier process left of another model goes before weights are read
        if self.config.save_model:
            self._require_deletable()
        search = self.search.ids.size
        similarity: Similarity = self._step(
            "choose", "similarity", search, lambda told: candidates.similarity(self.network, self.search, told)
        )
        proposed, path, alone = self._looked_for(similarity)
        priced: list[Scores] = self._step(
            "choose",
            "rules",
            search,
            lambda told: self.pricer.scores([without(one.blocks) for one in candidates.distinct(proposed)], told),
        )
        choice, chosen = self._choose(proposed, priced, path)
        before, after = priced[0], priced[1 + _places(proposed)[chosen.blocks]]
        singles_sum = sum(loss_increase(alone[0], alone[1 + block]).value for block in chosen.blocks) if alone else None
        price = loss_increase(before, after)
        if not self.config.is_verified:
            self.reasons.append("not_verified")
            return self._finished(chosen, price, singles_sum, None, None, None)
        price = self._verify(chosen, proposed, choice, path)
        comparison = self._against_random(chosen)
        self._sublayers()
        self._harder(without(chosen.blocks), False, chosen.rule)
        healed, refused = self._heal(chosen, price)
        if healed:
            price = self._healed_price(chosen, healed, price)
        is_healed = "healed_not_better" not in self.reasons and healed is not None
        task = self._task(chosen, healed if is_healed else None)
        feet = self._footprints(chosen)
        self._recommend(price, comparison, task)
        plan = self._finished(chosen, price, singles_sum, comparison, feet, refused, is_healed)
        if self.config.directions:
            self._directions()
            plan = replace(plan, outcomes=self.rows)
        if self.config.save_model:
            plan = self._save(plan, healed if is_healed else None)
        return plan

    def _looked_for(self, similarity: Similarity) -> tuple[list[Candidate], list[Step], list[Scores]]:
        """Candidates, the search's steps and the price of each block alone; a choice of one's own needs no search."""
        self._tell_similarity(similarity)
        if self.config.remove:
            own = tuple(sorted(self.config.remove))
            return [Candidate("own", own), *self._published(len(own), similarity)], [], []
        alone: list[Scores] = self._step(
            "choose", "singles", self.search.ids.size, lambda told: _flat(candidates.singles(self.pricer, told))
        )
        for block, scores in enumerate(alone[1:]):
            self._tell_prices("single", (block,), SELECTION, alone[0], scores)
        path = self._path(alone)
        return self._proposed(self._how_many(path), path, similarity), path, alone

    def _require_deletable(self) -> None:
        """A model that cannot be saved without a block is told of before hours of planning."""
        ids = torch.from_numpy(self.search.ids[:1]).to(self.network.model.device)
        middle = {self.network.n_blocks // 2}
        require_same(self.network.model, self.network, delete_blocks(self.network.model, middle), middle, ids)

    def _path(self, alone: list[Scores]) -> list[Step]:
        """The cheapest set of one block, then of each further one: costs are taken anew after every removal."""
        costs = [divergence(one).value for one in alone[1:]]
        pool = candidates.shortlist(costs, self._most_removed)
        first = pool[0]
        path = [Step((first,), divergence(alone[1 + first]), loss_increase(alone[0], alone[1 + first]))]
        names = [f"step-{k}" for k in range(1, self._most_removed)]
        for name in names:
            if self.config.blocks is None and path[-1].increase.lower > STOP_AT * self._text_budget:
                break
            before = path[-1].blocks
            path.append(
                self._step(
                    "choose",
                    name,
                    self.search.ids.size,
                    lambda told, gone=before: candidates.next_step(self.pricer, gone, pool, told),
                )
            )
        self.ledger.skip(*names)
        if self.config.blocks is not None and len(path) < self.config.blocks:
            raise InputError(
                "Of {n_blocks} blocks no {blocks} can go.", n_blocks=self.network.n_blocks, blocks=self.config.blocks
            )
        self._pool = pool
        return path

    def _how_many(self, path: list[Step]) -> int:
        """As asked; else the most that the budget allows on the text that chooses, or one, to show its price."""
        if self.config.blocks is not None:
            return self.config.blocks
        within = [len(step.blocks) for step in path if step.increase.upper < self._text_budget]
        return max(within, default=1)

    def _proposed(self, n: int, path: list[Step], similarity: Similarity) -> list[Candidate]:
        """Ours and the published ones, for the same number of blocks."""
        best = path[n - 1]
        found = [Candidate("greedy", best.blocks)]
        names = [f"round-{k}" for k in range(candidates.MOST_ROUNDS)]
        in_vain = 0
        for number, name in enumerate(names if n > 1 else ()):
            if in_vain == 2:
                break
            improved: Step = self._step(
                "choose",
                name,
                self.search.ids.size,
                lambda told, at=best, k=number: candidates.exchange(
                    self.pricer, at, self._pool, self.config.seed, k, told
                ),
            )
            in_vain = in_vain + 1 if improved.blocks == best.blocks else 0
            best = improved
        self.ledger.skip(*names)
        if best.blocks != path[n - 1].blocks:
            found.append(Candidate("exchange", best.blocks))
        return found + self._published(n, similarity)

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

    def _choose(self, proposed: list[Candidate], priced: list[Scores], path: list[Step]) -> tuple[Choice, Candidate]:
        distinct = candidates.distinct(proposed)
        choice = candidates.simplest(distinct, [one.divergence for one in priced[1:]], priced[0].n_targets)
        if self.config.remove:  # whatever is cheaper, it is what was asked about
            choice = Choice(0, choice.equal)
        places = _places(proposed)
        for one in proposed:
            index = places[one.blocks]
            self._tell_prices(
                one.rule,
                one.blocks,
                SELECTION,
                priced[0],
                priced[1 + index],
                is_chosen=index == choice.chosen,
                is_equal=index in choice.equal,
            )
        for step in path:
            self._tell("path", step.blocks, SELECTION, "loss", difference=step.increase)
            self._tell("path", step.blocks, SELECTION, "divergence", after=step.divergence)
        return choice, distinct[choice.chosen]

    def _verify(self, chosen: Candidate, proposed: list[Candidate], choice: Choice, path: list[Step]) -> Difference:
        """Candidates and every step of the search on text that none of them has seen."""
        windows = self.held.verification
        sets = list(dict.fromkeys([*(one.blocks for one in proposed), *(step.blocks for step in path)]))
        found: list[Scores] = self._step(
            "verify",
            "held_out",
            windows.ids.size,
            lambda told: Pricer(self.network, windows).scores([without(one) for one in sets], told),
        )
        places = _places(proposed)
        for one in proposed:
            index = places[one.blocks]
            self._tell_prices(
                one.rule,
                one.blocks,
                HELD_OUT,
                found[0],
                found[1 + sets.index(one.blocks)],
                is_chosen=index == choice.chosen,
                is_equal=index in choice.equal,
            )
        for step in path:
            self._tell_prices("path", step.blocks, HELD_OUT, found[0], found[1 + sets.index(step.blocks)])
        return loss_increase(found[0], found[1 + sets.index(chosen.blocks)])

    def _against_random(self, chosen: Candidate) -> tuple[float, float]:
        """(what one in ten random sets costs at most, what the plan costs), on the same part of the held-out text."""
        windows = first_windows(self.held.verification, RANDOM_WINDOWS)
        drawn = candidates.random_sets(
            self.blueprint.weightless.n_layers, len(chosen.blocks), self.config.seed, chosen.blocks
        )
        if len(drawn) < candidates.N_RANDOM:
            self.reasons.append("few_random_sets")
        found: list[Scores] = self._step(
            "verify",
            "random",
            windows.ids.size,
            lambda told: Pricer(self.network, windows).scores([without(s) for s in (chosen.blocks, *drawn)], told),
        )
        for blocks, scores in zip(drawn, found[2:], strict=True):
            self._tell_prices("random", blocks, HELD_OUT, found[0], scores)
        costs = [loss_increase(found[0], scores).value for scores in found[2:]]
        return float(np.percentile(costs, 10)), loss_increase(found[0], found[1]).value

    def _sublayers(self) -> None:
        """Each attention and each MLP alone: a second kind of unit."""
        windows = first_windows(self.search, SUBLAYER_WINDOWS)
        parts = candidates.sublayer_singles(self.network)
        if not parts:
            self.ledger.skip("sublayers")
            self.reasons.append("no_sublayers")
            return
        found: list[Scores] = self._step(
            "verify",
            "sublayers",
            windows.ids.size,
            lambda told: Pricer(self.network, windows).scores([variant for _, _, variant in parts], told),
        )
        for (unit, block, _), scores in zip(parts, found[1:], strict=True):
            self._tell_prices("single", (block,), SELECTION, found[0], scores, unit=unit)

    def _harder(self, variant: Variant, is_healed: bool, rule: str) -> None:
        """Typing errors, another domain, another language; copying, brackets, sums."""
        suffix = "-healed" if is_healed else ""
        for name, corpus in self._texts():
            windows = self._windows(name, corpus)
            if windows is None:
                continue
            found: list[Scores] = self._step(
                "verify",
                f"text-{name}{suffix}",
                windows.ids.size,
                lambda told, w=windows: Pricer(self.network, w, keep=False).scores([variant], told),
            )
            if name == "other_language":
                bits = float(found[0].loss.sum()) / math.log(2) / max(1, windows.n_bytes)
                if bits > READS:
                    if not is_healed:
                        self.reasons.append("language_not_read")
                    continue
            self._tell_prices(
                rule, sorted(variant.blocks), name, *found, is_chosen=True, is_healed=is_healed, corpus=corpus
            )
        for kind in texts.PROBES:
            asked = texts.probe(kind, self.blueprint.tokenizer, self.config.seed, self.network.model.context)
            if asked is None:
                self.ledger.skip(f"probe-{kind}")
                continue
            found = self._step(
                "verify",
                f"probe-{kind}{suffix}",
                asked.ids.size,
                lambda told, w=asked: Pricer(self.network, w, keep=False).scores([variant], told),
            )
            exact = [(one.hits == one.n_targets).astype(float) for one in found]
            if exact[0].mean() < texts.ROOM and f"no_room_{kind}" not in self.reasons:
                self.reasons.append(f"no_room_{kind}")
            ones = np.ones(len(exact[0]))
            self._tell(
                rule,
                sorted(variant.blocks),
                kind,
                "exact_match",
                before=float(exact[0].mean()),
                after=float(exact[1].mean()),
                difference=ratio(exact[1] - exact[0], ones),
                is_chosen=True,
                is_healed=is_healed,
            )

    def _texts(self) -> list[tuple[str, Corpus]]:
        others = [(name, open_corpus(corpus)) for name, corpus in _others(self.setup.corpus).items()]
        return [("typos", with_typos(self.held.verification_corpus, self.config.seed)), *others]

    def _windows(self, name: str, corpus: Corpus) -> TokenWindows | None:
        try:
            return draw_windows(
                corpus,
                self.blueprint.tokenizer,
                OTHER_WINDOWS,
                self.held.n_tokens,
                self.config.seed,
                "layer plan",
                self.blueprint.weights.name,
            )
        except CorpusError:  # one that is too short for this tokenizer is left out
            self.ledger.skip(f"text-{name}")
            return None

    def _heal(self, chosen: Candidate, price: Difference) -> tuple[Healing | None, str | None]:
        """The correction, or why there is none."""
        if not self.config.heal:
            return None, None
        ids = torch.from_numpy(self.search.ids[:1]).to(self.network.model.device)
        selection = self.held.selection
        refused = healing.why_not(self.network, chosen.blocks, ids, selection.ids.size)
        if refused:
            self.ledger.skip("heal", "healed")
            self.reasons.append("not_healed")
            return None, refused
        found: Healing = self._step(
            "heal",
            "heal",
            selection.ids.size * len(stretches(chosen.blocks)),
            lambda told: healing.fit(self.network, selection, chosen.blocks, lambda share: told(2 * share)),
        )
        return found, None

    def _healed_price(self, chosen: Candidate, healed: Healing, unhealed: Difference) -> Difference:
        windows, variant = self.held.verification, healed.variant(chosen.blocks, self.network.model.device)
        found: list[Scores] = self._step(
            "heal",
            "healed",
            windows.ids.size,
            lambda told: Pricer(self.network, windows, keep=False).scores([variant], told),
        )
        self._tell_prices(chosen.rule, chosen.blocks, HELD_OUT, *found, is_chosen=True, is_healed=True)
        price = loss_increase(*found)
        if price.value >= unhealed.value:
            self.reasons.append("healed_not_better")
            return unhealed
        self._harder(variant, True, chosen.rule)
        return price

    @cached_property
    def task(self) -> Task:
        task = read_task(Path(str(self.config.task)))
        if self.config.task_sha256 not in (None, task.sha256):
            raise InputError(
                "{task} has changed since its plan was asked for. Cancel this job and ask again.", task=self.config.task
            )
        if self.config.budget_unit == "points" and not task.questions:
            raise InputError(
                "{task} is a task of texts, which has no points: give the budget in nats, or a task of questions.",
                task=task.name,
            )
        return task

    @cached_property
    def _task_rows(self) -> list[int]:
        """Rows of the task that are read: all of them, or as many as there is time for, drawn."""
        rows = [i for i, one in enumerate(self._asked) if one.readings]
        if not rows:
            raise ModelError(
                "{weights} can read no row of {task} at once.", weights=self.blueprint.weights.name, task=self.task.name
            )
        if len(rows) <= TASK_ROWS:
            return rows
        drawn = np.random.default_rng([self.config.seed, 18]).permutation(len(rows))[:TASK_ROWS]
        return [rows[i] for i in sorted(drawn)]

    @cached_property
    def _asked(self) -> list[AskedRow]:
        return asked_rows(self.task, self.blueprint)

    def _task(self, chosen: Candidate, healed: Healing | None) -> Difference | None:
        """The task without the blocks, question by question; what the plan is in the end, healed or not."""
        if self.config.task is None:
            return None
        rows, final = self._task_rows, without(chosen.blocks)
        if healed:
            final = healed.variant(chosen.blocks, self.network.model.device)
        readings = [(one.ids, one.first) for i in rows for one in self._asked[i].readings]
        order = sorted(range(len(readings)), key=lambda i: len(readings[i][0]))
        parts = [padded([readings[i] for i in order[k : k + PART]]) for k in range(0, len(order), PART)]
        n_tokens = sum(part.ids.size for part in parts)

        def make(told: Told) -> list[Scores]:
            found: list[list[Scores]] = []
            passed = 0
            for part in parts:
                found.append(Pricer(self.network, part, keep=False).scores([final]))
                passed += 2 * part.ids.size
                told(passed / n_tokens)
            back = np.argsort(order)
            return [joined([one[k] for one in found]).at(back) for k in range(2)]

        found: list[Scores] = self._step("verify", "task", n_tokens, make)
        ends = np.cumsum([0, *(len(self._asked[i].readings) for i in rows)])
        nats = [[-scores.loss[a:b] for a, b in pairwise(ends)] for scores in found]
        if self.task.texts:
            sums = [np.array([-one.sum() for one in of]) for of in nats]
            counts = np.array([found[0].n_targets[a:b].sum() for a, b in pairwise(ends)])
            return self._tell_task(
                chosen, healed, "loss", sums[0] / counts, sums[1] / counts, ratio(sums[1] - sums[0], counts)
            )
        questions = [self.task.questions[i] for i in rows]
        right = [np.asarray(metrics_of_choices(questions, of)[0].values) for of in nats]
        chance = float(np.mean([1 / len(question.choices) for question in questions]))
        ones = np.ones(len(questions))
        if not ratio(right[0], ones).lower > chance:
            self.reasons.append("no_room_task")
        return self._tell_task(chosen, healed, "accuracy", right[0], right[1], ratio(right[1] - right[0], ones))

    def _tell_task(
        self,
        chosen: Candidate,
        healed: Healing | None,
        measure: str,
        before: np.ndarray,
        after: np.ndarray,
        difference: Difference,
    ) -> Difference:
        self._tell(
            chosen.rule,
            chosen.blocks,
            "task",
            measure,
            before=float(before.mean()),
            after=float(after.mean()),
            difference=difference,
            is_chosen=True,
            is_healed=healed is not None,
        )
        return difference

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
        return self._step(
            "save", "footprint", prompt.numel(), lambda told: saving.footprints([model.module, new], prompt)
        )

    def _recommend(self, price: Difference, comparison: tuple[float, float], task: Difference | None) -> None:
        """What speaks against the plan, as reasons."""
        if self.config.budget_unit == "points":
            if task is None or "no_room_task" in self.reasons or not -task.lower * 100 < self.config.budget:
                self.reasons.append("over_budget")
        elif not price.upper < self.config.budget:
            self.reasons.append("over_budget")
        if not comparison[1] <= comparison[0]:
            self.reasons.append("no_better_than_random")

    # --- rows ------------------------------------------------------------------------------------------------------

    def _tell_similarity(self, similarity: Similarity) -> None:
        for block, influence in enumerate(similarity.influence):
            self._tell("single", (block,), SELECTION, "influence", after=influence)
        n = len(similarity.influence)
        for measure, table in (("angle", similarity.angle), ("last_angle", similarity.last_angle)):
            for length in range(1, n // 2 + 1):
                for start in range(n - length + 1):
                    blocks = range(start, start + length)
                    self._tell("stretch", blocks, SELECTION, measure, after=float(table[start, start + length]))

    def _tell_prices(
        self, rule: str, blocks: Collection[int], text: str, before: Scores, after: Scores, **more: Any
    ) -> None:
        """Loss, divergence and agreement of one change on one text."""
        self._tell(
            rule,
            blocks,
            text,
            "loss",
            before=before.loss_per_token,
            after=after.loss_per_token,
            difference=loss_increase(before, after),
            **more,
        )
        self._tell(rule, blocks, text, "divergence", after=divergence(after), **more)
        self._tell(rule, blocks, text, "agreement", after=agreement(after), **more)

    def _tell(
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
        of = difference or (after if isinstance(after, Difference) else None)
        own = self.setup.corpus if text in (SELECTION, HELD_OUT, "typos") else corpus
        self.rows.append(
            PlanOutcomeRow(
                self.plan_id,
                rule,
                unit,
                sorted(blocks),
                is_chosen,
                is_equal,
                is_healed,
                text,
                own.row.corpus_id if own else None,
                measure,
                rank,
                before,
                after.value if isinstance(after, Difference) else after,
                difference.value if difference else None,
                *((None,) * 3 if of is None else (_or_none(of.std_error), _or_none(of.lower), _or_none(of.upper))),
                None if of is None else of.n,
                self.created_at,
            )
        )

    def _finished(
        self,
        chosen: Candidate,
        price: Difference,
        singles_sum: float | None,
        comparison: tuple[float, float] | None,
        feet: list[Footprint] | None,
        refused: str | None,
        is_healed: bool = False,
    ) -> LayerPlan:
        row, weights = self.blueprint.weightless.row, self.blueprint.weights
        against = {"not_verified", "over_budget", "no_better_than_random"}
        after = self._parameters_after(chosen.blocks)
        before, then = feet or (None, None)
        for precision, n_bytes in saving.PRECISIONS.items():
            self._tell(
                chosen.rule,
                chosen.blocks,
                "weights",
                f"bytes_{precision}",
                before=row.parameters * n_bytes,
                after=after * n_bytes,
                is_chosen=True,
            )
        plan = PlanRow(
            plan_id=self.plan_id,
            model_id=row.model_id,
            reference=row.reference,
            name=row.name,
            family=row.family,
            weights_sha256=row.weights_sha256,
            n_layers=row.n_layers,
            corpus_id=self.setup.corpus.row.corpus_id,
            blocks=list(chosen.blocks),
            rule=chosen.rule,
            is_verified=self.config.is_verified,
            is_recommended=not against & {*self.reasons},
            reasons=list(dict.fromkeys(self.reasons)),
            budget=self.config.budget,
            budget_unit=self.config.budget_unit,
            loss_increase=price.value,
            std_error=_or_none(price.std_error),
            lower=_or_none(price.lower),
            upper=_or_none(price.upper),
            random_10th=comparison[0] if comparison else None,
            same_windows=comparison[1] if comparison else None,
            sum_of_singles=singles_sum,
            is_healed=is_healed,
            healing=refused,
            parameters_before=row.parameters,
            parameters_after=after,
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
            mergekit=saving.why_no_mergekit(self.blueprint.config, weights, row.n_layers, is_healed),
            n_tokens=self.held.n_tokens,
            n_selection=len(self.search.ids),
            n_verification=len(self.held.verification.ids) if self.config.is_verified else None,
            seed=self.config.seed,
            dtype=self.config.dtype,
            device=self.blueprint.device.type,
            config=json.dumps(asdict(self.config), ensure_ascii=False),
            code_version=code_version(),
            note=None,
            created_at=self.created_at,
        )
        return LayerPlan(plan, self.rows)

    def _parameters_after(self, removed: Sequence[int]) -> int:
        blocks = self.blueprint.weightless.layers
        gone = sum(p.numel() for index in removed for p in blocks[index].parameters())
        return self.blueprint.weightless.row.parameters - gone

    # --- what comes after ------------------------------------------------------------------------------------------

    def _directions(self) -> None:
        windows = first_windows(self.held.verification, OTHER_WINDOWS)
        n = self.network.n_blocks
        selection = self.held.selection
        wanted = directions.layers_to_try(n)
        can_join = (n + 1) * self.network.model.hidden_size**2 * 8 <= directions.COVARIANCE_BUDGET
        pricer = Pricer(self.network, windows)
        budget = self._text_budget

        def find(told: Told) -> list[directions.NeededDirections]:
            found = directions.components(self.network, selection, range(n + 1) if can_join else wanted)
            tried = 0

            def count() -> None:
                nonlocal tried
                tried += 1
                told(tried * 0.6)

            each = [
                directions.needed_directions(pricer, found[layer], layer, budget, self.config.seed, count)
                for layer in wanted
            ]
            return [*each, directions.jointly(pricer, found, budget, count)] if can_join else each

        self.ledger.skip("components", "jointly")
        for one in self._step("directions", "directions", windows.ids.size, find):
            self._tell_directions(one, n, HELD_OUT)
        if self.config.task is None:
            return
        right = padded([(one.ids, one.first) for one in self._right_answers()])
        of_task = Pricer(self.network, right)

        def find_again(told: Told) -> list[directions.NeededDirections]:
            found = directions.components(self.network, selection, wanted)
            return [directions.needed_directions(of_task, found[i], i, budget, self.config.seed) for i in wanted]

        for one in self._step("directions", "task-directions", right.ids.size, find_again):
            self._tell_directions(one, n, "task")

    def _right_answers(self) -> list[Reading]:
        """The right choice of each question, or the first window of each text."""
        questions = self.task.questions
        return [
            self._asked[i].readings[questions[i].answer if questions else 0] for i in self._task_rows[:DIRECTION_ROWS]
        ]

    def _tell_directions(self, found: directions.NeededDirections, n: int, text: str) -> None:
        layers = list(range(n + 1)) if found.layer is None else [found.layer]
        rule = "projection" if found.layer is not None else "joint_projection"
        for rank, price in sorted(found.prices.items()):
            self._tell(
                rule, layers, text, "loss", difference=price, unit="layer", rank=rank, is_chosen=rank == found.rank
            )
        for control, price_ in (("random_subspace", found.random), ("projection_of_all", found.large_too)):
            if price_ is not None:
                self._tell(control, layers, text, "loss", difference=price_, unit="layer", rank=found.rank)
        if found.at_d2 is not None and found.d2 is not None:
            self._tell(
                "projection_d2", layers, text, "loss", difference=found.at_d2, unit="layer", rank=round(found.d2)
            )

    def _save(self, plan: LayerPlan, healed: Healing | None) -> LayerPlan:
        """The smaller model in its folder, opened again from there and read once more."""
        folder = Path(str(self.config.save_model))
        model, removed, windows = self.network.model, plan.plan.blocks, self.held.verification
        with self.ledger.stage("save", "save", windows.ids.size) as told:
            new = delete_blocks(model, removed, healing.merged(self.network, healed.matrices) if healed else None)
            ids = torch.from_numpy(self.search.ids[:1]).to(model.device)
            if healed is None:
                require_same(model, self.network, new, removed, ids)
            saving.save_network(new, model.tokenizer, folder, _card(plan.plan))
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


def _flat(found: tuple[Scores, list[Scores]]) -> list[Scores]:
    return [found[0], *found[1]]


def _places(proposed: Sequence[Candidate]) -> dict[tuple[int, ...], int]:
    """Set -> its number among the distinct ones."""
    return {one.blocks: index for index, one in enumerate(candidates.distinct(proposed))}


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _others(corpus: Corpus) -> dict[str, str]:
    """Built-in texts of another domain and of another language than this one."""
    own, language = corpus.row.name, corpus.row.language
    if language == "ja":
        return {"other_language": "english-business"}
    domain = "python-docs" if own in ("english-business", "ladder-code", "python-source") else "english-business"
    return {"other_domain": domain, "other_language": "japanese-business"}


def _card(plan: PlanRow) -> str:
    """What stands beside the saved weights."""
    healed = " Weights before the gaps were corrected by least squares." if plan.is_healed else ""
    limits = "" if plan.lower is None else f" (95 % {plan.lower:.4f} to {plan.upper:.4f})"
    verdict = "recommended" if plan.is_recommended else f"NOT recommended ({', '.join(plan.reasons)})"
    return (
        f"# {plan.name} without blocks {', '.join(map(str, plan.blocks))}\n\n"
        f"Made by Workdim {plan.code_version} of {plan.model_id}, plan {plan.plan_id}. Blocks are counted from 0; "
        f"{plan.n_layers - len(plan.blocks)} of {plan.n_layers} are left.{healed}\n\n"
        f"Price on held-out text of {plan.corpus_id}: {plan.loss_increase:.4f} nats per token{limits}. {verdict}.\n\n"
        "The licence and the terms of the original model hold for this one, too.\n"
    )
