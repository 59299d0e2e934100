"""A plan before any weights are read (text, model, task, the expected cost of each step), and how its steps are run.

Each step is run once: its result is stored on disk, so that a plan that was interrupted goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from core.analysis.intervals import Difference
from core.errors import InputError, ModelError, Sentence
from core.measure.checkpoint import Checkpoint, result_key
from core.models.hub import find_weights
from core.models.memory import MemoryPlan
from core.models.model import Blueprint, read_blueprint
from core.plans import candidates, directions, saving, texts
from core.plans.candidates import Similarity, Step
from core.plans.healing import Healing
from core.plans.pricing import ReportPasses, Scores, variants_at_once
from core.plans.saving import Footprint
from core.plans.texts import HeldOut, UserTask, first_windows, hold_out, pad_sequences
from core.plans.variants import require_own_blocks
from core.records import PlanConfig, Progress, ProgressCallback
from core.texts.corpora import Corpus, open_corpus
from core.texts.sample import TokenWindows

FEWEST_BLOCKS = 3


@dataclass(frozen=True)
class DirectionSearch:
    """How many directions one layer needs on one text, or all layers at once: a step of the plan."""

    text: str
    layer: int | None
    """None: all layers at once."""
    windows: TokenWindows

    @property
    def step(self) -> str:
        return f"directions-{self.text}-{'all' if self.layer is None else self.layer}"

    @property
    def ranks_expected(self) -> int:
        """How many ranks are priced, about."""
        return 9 if self.layer is None else 12


@dataclass(frozen=True)
class PlanSetup:
    """A checked request with its text and model; the rest is computed when first asked for."""

    config: PlanConfig
    corpus: Corpus
    blueprint: Blueprint

    @cached_property
    def held_out(self) -> HeldOut:
        """The windows, from the tokenizer alone: problems with the text show before weights are read."""
        row, wants_directions = self.blueprint.weightless, self.config.directions
        n_fit = max(texts.FIT_TOKENS, directions.TOKENS_PER_DIMENSION * row.hidden_size if wants_directions else 0)
        return hold_out(self.corpus, row, self.config.seed, n_fit)

    @cached_property
    def search_windows(self) -> TokenWindows:
        """The windows that candidates are compared on."""
        return first_windows(self.held_out.selection, texts.SEARCH_WINDOWS)

    @cached_property
    def task(self) -> UserTask | None:
        """The user's task; raises InputError if it cannot be used."""
        return UserTask(self.config, self.blueprint) if self.config.task else None

    @cached_property
    def direction_searches(self) -> list[DirectionSearch]:
        """The searches for needed directions: several layers, all together if memory allows, then the same for a task."""
        layers: list[int | None] = [*directions.layers_to_try(self.n_blocks)]
        covariance_bytes = (self.n_blocks + 1) * self.blueprint.weightless.hidden_size**2 * 8
        joint = [None] if covariance_bytes <= directions.COVARIANCE_BUDGET else []
        windows = first_windows(self.held_out.verification, texts.OTHER_WINDOWS)
        searches = [DirectionSearch(texts.HELD_OUT, layer, windows) for layer in layers + joint]
        if self.task:
            answers = pad_sequences(self.task.right_answers())
            searches += [DirectionSearch("task", layer, answers) for layer in layers]
        return searches

    @property
    def n_blocks(self) -> int:
        return self.blueprint.weightless.n_layers

    @property
    def most_removed(self) -> int:
        """The largest number of blocks that the search removes."""
        return len(self.config.remove) or self.config.blocks or max(1, self.n_blocks // 4)

    @property
    def memory(self) -> MemoryPlan:
        """Batch size, and whether weights are streamed."""
        n_windows, n_tokens = self.search_windows.ids.shape
        return self.blueprint.plan(n_windows, n_tokens, self.config.memory_budget)

    def costs(self) -> dict[str, float]:
        """Expected cost of each step, in tokens through the whole network; a variant counts half of the blocks."""
        config, n_blocks, most_removed, shape = self.config, self.n_blocks, self.most_removed, self.blueprint.shape
        head_share = shape.logits * shape.hidden_size / max(1, shape.multiplications)
        variant_cost, window_tokens = 0.5 * (1 - head_share) + head_share, self.held_out.n_tokens
        selection, held_out = self.held_out.selection.ids.size, self.held_out.verification.ids.size
        search = self.search_windows.ids.size
        other_tokens = texts.OTHER_WINDOWS * window_tokens
        pool = len(candidates.shortlist(range(n_blocks), most_removed))
        costs = {"similarity": float(search)}
        if not config.remove:
            costs["singles"] = search * (1 + n_blocks * variant_cost)
            costs |= {
                f"step-{k}": search * (2 * variant_cost + (pool - k) * variant_cost) for k in range(1, most_removed)
            }
            rounds = range(candidates.MOST_ROUNDS if most_removed > 1 else 0)
            costs |= {f"round-{k}": search * (2 * variant_cost + candidates.OFFSPRING * variant_cost) for k in rounds}
        costs["rules"] = search * 7 * variant_cost
        if config.is_verified:
            n_changed = 2.0 if config.heal else 1.0
            costs["held_out"] = held_out * (1 + (most_removed + 5) * variant_cost)
            costs["random"] = texts.RANDOM_WINDOWS * window_tokens * (1 + (candidates.N_RANDOM + 1) * variant_cost)
            costs["sublayers"] = texts.SUBLAYER_WINDOWS * window_tokens * (1 + 2 * n_blocks * variant_cost)
            costs |= {f"text-{name}": other_tokens * (1 + n_changed) for name in texts.harder_texts(self.corpus)}
            costs |= {f"probe-{kind}": texts.QUESTIONS * 80 * (1 + n_changed) for kind in texts.PROBES}
            costs["footprint"] = 16.0 * saving.PROMPT_TOKENS
            costs["rounded"] = held_out * 1.5
            if not config.remove:
                costs |= {"heal-one": 2.0 * selection, "healed-one": held_out * 2.0}
        if self.task:
            costs["task"] = 2.0 * self.task.n_tokens
        if config.heal:
            costs["heal"] = 2.0 * min(most_removed, 3) * selection
            costs["healed"] = held_out * 2.0
        if config.save_model:
            costs["save"] = held_out * 2.0
        if config.directions:
            costs["components"] = 2.0 * selection
            for part in self.direction_searches:
                costs[part.step] = part.windows.ids.size * part.ranks_expected * directions.SHARE_OF_PASS
        return costs

    def count_weight_reads(self, batch: int) -> int:
        """Number of times that all weights are read when streamed: once for each group of variants."""
        most_removed = self.most_removed
        group_size = variants_at_once(self.search_windows.ids.size, self.blueprint.shape.hidden_size)
        pool = len(candidates.shortlist(range(self.n_blocks), most_removed))
        variant_counts = [7]
        if not self.config.remove:
            rounds = candidates.MOST_ROUNDS if most_removed > 1 else 0
            variant_counts += [self.n_blocks, *[pool] * (most_removed - 1), *[candidates.OFFSPRING] * rounds]
        if self.config.is_verified:
            variant_counts += [2 * (most_removed + 6), candidates.N_RANDOM + 1, 1, 1, 1, *[1] * len(texts.PROBES)]
        n_windows = len(self.search_windows.ids)
        if self.task:
            variant_counts += [1] * len(self.task.parts)
        if self.config.directions:
            n_windows += 2 * len(self.held_out.selection.ids)
            variant_counts += [1] * sum(search.ranks_expected for search in self.direction_searches)
        return -(-n_windows // batch) + sum(-(-count // group_size) for count in variant_counts)


def open_plan(config: PlanConfig) -> PlanSetup:
    """Open text and model; downloads the model if needed. Raises InputError (and subclasses) for anything the user can fix."""
    corpus = open_corpus(config.corpus, config.column, config.encoding, config.chat)
    texts.require_halves(corpus, config.seed)
    return check_plan(config, corpus, read_blueprint(find_weights(config.model), config.dtype, config.device, None))


def check_plan(config: PlanConfig, corpus: Corpus, blueprint: Blueprint) -> PlanSetup:
    """The setup of a plan. Raises InputError (and subclasses) if such a plan cannot be made for this model."""
    name, n = blueprint.weights.name, blueprint.weightless.n_layers
    require_own_blocks(blueprint.weightless)
    if n < FEWEST_BLOCKS:
        raise ModelError(
            "{name} has {n} block; a plan needs {fewest_blocks}.",
            "{name} has {n} blocks; a plan needs {fewest_blocks}.",
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
            "{name} has blocks 0 to {last}: no block {block} to remove.",
            name=name,
            last=n - 1,
            block=max(config.remove),
        )
    if len(config.remove) >= n:
        raise InputError("{name} has {n} blocks, of which at most {last} can go, not all.", name=name, n=n, last=n - 1)
    if config.save_model is not None:
        if blueprint.plan(texts.SEARCH_WINDOWS, 256, config.memory_budget).on_demand:
            raise InputError(
                "{name} is read block by block, and cannot be saved so. Raise --memory-budget, or use --mergekit.",
                name=name,
            )
        saving.require_place(Path(config.save_model), blueprint.shape.weights)
    return PlanSetup(config, corpus, blueprint)


# --- steps -------------------------------------------------------------------------------------------------------------


_log = logging.getLogger("workdim")
STEP_RECORDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (Difference, Footprint, Healing, directions.NeededDirections, Scores, Similarity, Step)
}
"""Record classes that step results on disk may contain."""


class StepRunner:
    """Runs each step once, across restarts of the process, and reports progress.

    Work is counted in tokens that pass through the whole network.
    """

    def __init__(self, checkpoint: Checkpoint, costs: dict[str, float], progress: ProgressCallback) -> None:
        """`costs`: expected tokens of each step, by name."""
        self._checkpoint, self._remaining_costs, self._progress, self._done = checkpoint, costs, progress, 0.0

    def run(self, phase: str, name: str, n_tokens: int, compute: Callable[[ReportPasses], Any]) -> Any:
        """The result of a step, from disk or from `compute`, which reports passes of `n_tokens` tokens each."""
        stored = self._checkpoint.step(name, STEP_RECORDS)
        if stored is not None:
            self.skip(name)
            return stored
        with self.track(phase, name, n_tokens) as report:
            result = compute(report)
            self._checkpoint.save_step(name, result)
        return result

    def is_done(self, name: str) -> bool:
        """Whether the result of a step is stored."""
        return self._checkpoint.has_step(name)

    @contextmanager
    def track(self, phase: str, name: str, n_tokens: int) -> Iterator[ReportPasses]:
        """Report the progress of work whose result is not stored."""
        cost = self._remaining_costs.pop(name, 0.0)
        total = round(self._done + cost + sum(self._remaining_costs.values()))

        def report(passes: float) -> None:
            self._progress(Progress(phase, round(self._done + min(cost, passes * n_tokens)), total))

        report(0.0)
        yield report
        self._done += cost

    def skip(self, *names: str) -> None:
        """Drop the cost of steps that are already done, or not needed."""
        for name in names:
            self._remaining_costs.pop(name, None)


def open_checkpoint(setup: PlanSetup, scratch: Path) -> Checkpoint:
    """The checkpoint of this plan; emptied if it belongs to another model, text or version."""
    blueprint, ids = setup.blueprint, setup.held_out.selection.ids
    request = asdict(setup.config) | {"save_model": None, "memory_budget": None}
    checkpoint = Checkpoint(scratch, [request, *result_key(blueprint, setup.corpus), ids.tolist()])
    if checkpoint.was_emptied:
        _log.warning(
            Sentence(
                "The model, the text or Workdim has changed: {model} is planned from the start.",
                model=blueprint.weights.name,
            )
        )
    return checkpoint
