"""A plan before any weights are read: its text and model, and the expected cost of each step; how its steps are run; the
windows of its texts, the probes of generation, and the user's own task.

Each step is run once: its result is stored on disk, so that a plan that was interrupted goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np

from core.analysis.intervals import Difference, mean_difference, share_difference, share_limits
from core.errors import CorpusError, InputError, ModelError, Sentence
from core.measure.checkpoint import Checkpoint, result_key
from core.measure.score import metrics_of_choices, tokenized_rows
from core.models.hub import find_weights
from core.models.model import Blueprint, OpenModel, read_blueprint
from core.models.stacks import MemoryPlan
from core.plans import candidates, healing
from core.plans.candidates import Similarity
from core.plans.healing import Footprint, Healing
from core.plans.pricing import Price, ReportShare, Scores, concatenate, variants_at_once
from core.plans.variants import require_own_blocks
from core.records import PlanConfig, Progress, ProgressCallback
from core.texts.corpora import Corpus, open_corpus
from core.texts.sample import LAYER_PLAN, TokenWindows, draw_windows, half_too_short, require_halves, split_in_halves
from core.texts.tasks import Question, ScoredTokens, Task, TokenizedRow, read_task, tokenize_task
from core.texts.windows import FEWEST_OF_PLAN, SHORTEST_OF_PLAN, characters_for_tokens

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
        n_fit = max(FIT_TOKENS, candidates.TOKENS_PER_DIMENSION * row.hidden_size if wants_directions else 0)
        return hold_out(self.corpus, row, self.config.seed, n_fit)

    @cached_property
    def search_windows(self) -> TokenWindows:
        """The windows that candidates are compared on."""
        return first_windows(self.held_out.selection, SEARCH_WINDOWS)

    @cached_property
    def task(self) -> UserTask | None:
        """The user's task; raises InputError if it cannot be used."""
        return UserTask(self.config, self.blueprint) if self.config.task else None

    @cached_property
    def direction_searches(self) -> list[DirectionSearch]:
        """The searches for needed directions: several layers, all together if memory allows, then the same for a task."""
        layers: list[int | None] = [*candidates.layers_to_try(self.n_blocks)]
        covariance_bytes = (self.n_blocks + 1) * self.blueprint.weightless.hidden_size**2 * 8
        joint = [None] if covariance_bytes <= candidates.COVARIANCE_BUDGET else []
        windows = first_windows(self.held_out.verification, OTHER_WINDOWS)
        searches = [DirectionSearch(HELD_OUT, layer, windows) for layer in layers + joint]
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

    @cached_property
    def _work(self) -> dict[str, tuple[float, float, int]]:
        """Step -> the tokens that it reads, in how many passes of the whole network, and by how many variants beside; in the
        order of the flow."""
        config, n_blocks, most_removed = self.config, self.n_blocks, self.most_removed
        window_tokens, search = self.held_out.n_tokens, self.search_windows.ids.size
        selection, held_out = self.held_out.selection.ids.size, self.held_out.verification.ids.size
        work: dict[str, tuple[float, float, int]] = {"similarity": (search, 1, 0)}
        rounds = range(0)
        if not config.remove:
            pool = len(candidates.shortlist(range(n_blocks), most_removed))
            work["singles"] = search, 1, n_blocks
            work |= {f"step-{k}": (search, 0, 2 + pool - k) for k in range(1, most_removed)}
            rounds = range(candidates.MOST_ROUNDS if most_removed > 1 else 0)
        work["rules"] = search, 0, 7
        work |= {f"round-{k}": (search, 0, 2 + candidates.OFFSPRING) for k in rounds}
        if config.is_verified:
            n_changed = 2.0 if config.heal else 1.0
            work["held_out"] = held_out, 1, most_removed + 5
            work["random"] = RANDOM_WINDOWS * window_tokens, 1, candidates.N_RANDOM + 1
            if not self.memory.on_demand:
                work["sublayers"] = SUBLAYER_WINDOWS * window_tokens, 1, 2 * n_blocks
                work["rounded"] = held_out, 1.5, 0
            if config.heal:
                work |= {"heal": (selection, 2 * min(most_removed, 3), 0), "healed": (held_out, 2, 0)}
            if not config.remove:
                work |= {"heal-one": (selection, 2, 0), "healed-one": (held_out, 2, 0)}
            texts = harder_texts(self.corpus)
            work |= {f"text-{name}": (OTHER_WINDOWS * window_tokens, 1 + n_changed, 0) for name in texts}
            work |= {f"probe-{kind}": (QUESTIONS * 80, 1 + n_changed, 0) for kind in PROBES}
        if self.task:
            work["task"] = self.task.n_tokens, 2, 0
        if config.directions:
            work["components"] = selection, 2, 0
            for part in self.direction_searches:
                work[part.step] = part.windows.ids.size, candidates.RANKS * candidates.SHARE_OF_PASS, 0
        if config.is_verified and not self.memory.on_demand:
            work["footprint"] = healing.PROMPT_TOKENS, 16, 0
        if config.save_model:
            work["save"] = held_out, 2, 0
        return work

    def costs(self) -> dict[str, float]:
        """Expected cost of each step, in tokens through the whole network; a variant counts half of the blocks."""
        shape = self.blueprint.shape
        head_share = shape.logits * shape.hidden_size / max(1, shape.multiplications)
        variant_cost = 0.5 * (1 - head_share) + head_share
        return {name: tokens * (n + n_variants * variant_cost) for name, (tokens, n, n_variants) in self._work.items()}

    def count_weight_reads(self) -> int:
        """About how often all weights are read when streamed: once for each group of variants that run together."""
        hidden_size, n_windows = self.blueprint.shape.hidden_size, len(self.search_windows.ids)
        reads = sum(
            -(-max(1, n) // variants_at_once(round(tokens), hidden_size)) for tokens, _, n in self._work.values()
        )
        if self.task:
            reads += len(self.task.parts) - 1
        if self.config.directions:
            n_windows += 2 * len(self.held_out.selection.ids)
            reads += (candidates.RANKS - 1) * len(self.direction_searches)
        return reads + -(-n_windows // self.memory.batch)


def open_plan(config: PlanConfig) -> PlanSetup:
    """Open text and model; downloads the model if needed. Raises InputError (and subclasses) for anything the user can fix."""
    corpus = open_corpus(config.corpus, config.column, config.encoding, config.chat)
    require_halves(corpus, config.seed)
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
    if max(config.blocks or 0, len(config.remove), *config.remove) >= n:
        raise InputError("{name} has blocks 0 to {last}, of which at most {last} can go.", name=name, last=n - 1)
    if config.save_model is not None:
        if blueprint.plan(SEARCH_WINDOWS, 256, config.memory_budget).on_demand:
            raise InputError(
                "{name} is read block by block, and cannot be saved so. Raise --memory-budget, or use --mergekit.",
                name=name,
            )
        healing.require_place(Path(config.save_model), blueprint.shape.weights)
    return PlanSetup(config, corpus, blueprint)


# --- steps -------------------------------------------------------------------------------------------------------------


_log = logging.getLogger("workdim")
STEP_RECORDS = (Difference, Footprint, Healing, candidates.Projected, Price, Scores, Similarity)
"""Record classes that step results on disk may contain."""


class StepRunner:
    """Runs each step once, across restarts of the process, and reports progress, in the unit of `costs`.

    A step that is not run before a later one is not needed, and its cost is dropped.
    """

    def __init__(self, checkpoint: Checkpoint, costs: dict[str, float], progress: ProgressCallback) -> None:
        """`costs`: expected tokens of each step, by name, in the order of the flow."""
        self._checkpoint, self._remaining_costs, self._progress, self._done = checkpoint, costs, progress, 0.0

    def run(self, phase: str, name: str, compute: Callable[[ReportShare], Any]) -> Any:
        """The result of a step, from disk or from `compute`, which reports the share that is done."""
        stored = self._checkpoint.step(name, *STEP_RECORDS)
        if stored is not None:
            self._reach(name)
            return stored
        with self.track(phase, name) as report:
            result = compute(report)
            self._checkpoint.save_step(name, result)
        return result

    def is_done(self, name: str) -> bool:
        """Whether the result of a step is stored."""
        return self._checkpoint.has_step(name)

    @contextmanager
    def track(self, phase: str, name: str) -> Iterator[ReportShare]:
        """Report the progress of work whose result is not stored."""
        cost = self._reach(name)
        total = round(self._done + cost + sum(self._remaining_costs.values()))

        def report(share: float) -> None:
            self._progress(Progress(phase, round(self._done + cost * min(1.0, share)), total))

        report(0.0)
        yield report
        self._done += cost

    def _reach(self, name: str) -> float:
        """The cost of a step, which is left out of what remains, as are those before it."""
        before = [*self._remaining_costs]
        for earlier in before[: before.index(name)] if name in before else ():
            del self._remaining_costs[earlier]
        return self._remaining_costs.pop(name, 0.0)


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


# --- texts: windows of the two halves, and harder ones -----------------------------------------------------------------

WINDOW_LENGTHS = (256, 128, SHORTEST_OF_PLAN)
"""Tokens per window: the largest of these that the model reads and the text is long enough for."""
WINDOW_COUNTS = (64, 48, FEWEST_OF_PLAN)
"""Windows of held-out text: the most of these that the text has room for."""
SEARCH_WINDOWS = 16
"""Windows of the selection text that candidates are compared on."""
SUBLAYER_WINDOWS = 4
"""Search windows that each single attention and MLP is priced on."""
RANDOM_WINDOWS = 8
"""Windows of the held-out text that random sets are priced on."""
OTHER_WINDOWS = 16
"""Windows of each harder text, and of the held-out text that projections are priced on."""
FIT_TOKENS = 8192
"""Least number of tokens of the selection text that a healing matrix is fitted to."""
SELECTION, HELD_OUT, TYPOS = "selection", "held_out", "typos"
TYPO_SHARE = 0.1
"""Share of the words that get a typing error."""


@dataclass(frozen=True)
class HeldOut:
    """Windows of both halves of a text."""

    selection: TokenWindows
    verification: TokenWindows
    verification_corpus: Corpus

    @property
    def n_tokens(self) -> int:
        return self.selection.ids.shape[1]


def hold_out(corpus: Corpus, model: OpenModel, seed: int, n_fit: int) -> HeldOut:
    """Windows for choosing (at least `n_fit` tokens, if the text has them) and for verifying.

    Raises CorpusError if the text is too short.
    """
    errors, most = [], model.context or WINDOW_LENGTHS[0]
    # The lengths that the model reads, largest first; its context if that is shorter than all.
    lengths = [length for length in WINDOW_LENGTHS if length <= most] or [most]
    # Without room for fitting, a plan can still be chosen and verified.
    for n_fitted, n_tokens, n_windows in product((n_fit, 0), lengths, WINDOW_COUNTS):
        try:
            selection, verification = split_in_halves(corpus, characters_for_tokens(corpus.beginning, n_tokens))
            chosen, verified = (
                draw_windows(half, model.tokenizer, n, n_tokens, seed, LAYER_PLAN, model.row.name)
                for half, n in (
                    (selection, max(WINDOW_COUNTS[-1], -(-n_fitted // n_tokens))),
                    (verification, n_windows),
                )
            )
            return HeldOut(chosen, verified, verification)
        except CorpusError as error:
            errors.append(error)
    raise half_too_short(errors[-1]) from errors[-1]


def first_windows(windows: TokenWindows, n: int) -> TokenWindows:
    """n of the windows, spread evenly over the text."""
    indices = np.unique(np.linspace(0, len(windows.ids) - 1, min(n, len(windows.ids))).round().astype(int))
    return TokenWindows(windows.ids[indices], windows.scored[indices], windows.documents[indices])


def harder_texts(corpus: Corpus) -> dict[str, str | None]:
    """Name -> built-in text of another domain or language than this one; None stands for this text with typing errors."""
    name, language = corpus.row.name, corpus.row.language
    if language == "ja":
        return {TYPOS: None, "other_language": "english-business"}
    domain = "python-docs" if name in ("english-business", "ladder-code", "python-source") else "english-business"
    return {TYPOS: None, "other_domain": domain, "other_language": "japanese-business"}


def with_typos(corpus: Corpus, seed: int) -> Corpus:
    """The text with two neighbouring letters exchanged in a tenth of its words; lengths stay, so windows stay as well."""
    generator = np.random.default_rng([seed, 14])
    return replace(corpus, pieces=[_mistyped(piece, generator) for piece in corpus.pieces], conversations=())


def _mistyped(text: str, generator: Any) -> str:
    letters = list(text)
    for is_word, group in groupby(range(len(text)), lambda place: text[place].isalpha()):
        word = list(group)
        if is_word and len(word) > 2 and generator.random() < TYPO_SHARE:
            position = int(generator.integers(word[0], word[-1]))
            letters[position], letters[position + 1] = letters[position + 1], letters[position]
    return "".join(letters)


# --- probes of generation --------------------------------------------------------------------------------------------
#
# Copying, closing brackets and sums of digits break first, which a mean loss hides. An answer counts if greedy generation
# would write it to its end, line break included. That is so exactly if each token of the answer is the likeliest one after
# what precedes it: one pass over prompt and answer tells, without generating.

PROBES = ("copying", "brackets", "digit_sums")
QUESTIONS = 40
EXAMPLES = 4
"""Solved lines before the question."""
ROOM = 0.2
"""Share that the whole model must answer correctly for a loss to be visible."""
WORDS = """
river stone lamp garden window bread paper night summer bridge clock silver forest letter table cloud horse market
winter island button candle mirror pocket ladder engine basket carpet harbour meadow pencil saddle tunnel velvet
village whistle orange kettle copper blanket anchor barrel cotton dragon feather hammer jacket lemon needle parrot
"""
OPENING = {"(": ")", "[": "]", "{": "}", "<": ">"}


def probe(kind: str, tokenizer: Any, seed: int, longest: int | None = None) -> TokenWindows | None:
    """Questions of one kind, each after solved examples; None if they are longer than `longest` tokens."""
    generator = np.random.default_rng([seed, 17, PROBES.index(kind)])
    questions = []
    for _ in range(QUESTIONS):
        *examples, (question, answer) = [_probe_line(kind, generator) for _ in range(EXAMPLES + 1)]
        prompt = "".join(f"{solved}{solution}\n" for solved, solution in examples) + question
        questions.append(Question(prompt, (f"{answer}\n",), 0))
    rows = tokenize_task(Task(kind, tuple(questions)), tokenizer, None)
    windows = pad_sequences([row.sequences[0] for row in rows])
    return None if longest is not None and windows.ids.shape[1] > longest else windows


def pad_sequences(sequences: Sequence[ScoredTokens]) -> TokenWindows:
    """Windows of one length. The padding is at the end, which no earlier token of a decoder sees."""
    shape = len(sequences), max(len(sequence.ids) for sequence in sequences)
    ids, scored = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=bool)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence.ids)] = sequence.ids
        scored[row, sequence.first : len(sequence.ids)] = True
    return TokenWindows(ids, scored, np.arange(len(sequences)))


def _probe_line(kind: str, generator: Any) -> tuple[str, str]:
    """A question and its answer, which begins with a space."""
    if kind == "copying":
        words = " ".join(generator.choice(WORDS.split(), 4, replace=False))
        return f"{words} =>", f" {words}"
    if kind == "brackets":
        opening = generator.choice(list(OPENING), 4).tolist()
        return f"{' '.join(opening)} =>", " " + " ".join(OPENING[bracket] for bracket in reversed(opening))
    a, b = (int(n) for n in generator.integers(2, 10, 2))
    return f"{a} + {b} =", f" {a + b}"


# --- the user's own task -----------------------------------------------------------------------------------------------

TASK_ROWS = 500
"""Rows of a task that are read at most."""
DIRECTION_ROWS = 100
"""Rows whose right answer is read under each projection."""
PART = 64
"""Choices of a task that are padded together to one length."""


@dataclass(frozen=True)
class AbilityPrice:
    """Metric of a task, or of a probe, before and after a change, paired by row."""

    measure: str
    before: float
    after: float
    difference: Difference
    has_room: bool
    """Whether the whole model does so much better than chance that a loss is visible."""
    chance: float = 0.0


class UserTask:
    """The user's own questions or texts, as this model's tokenizer reads them.

    Raises InputError for a task that was changed or does not fit the budget's unit, ModelError if no row can be read.
    """

    def __init__(self, config: PlanConfig, blueprint: Blueprint) -> None:
        self.task: Task = read_task(Path(str(config.task)))
        if config.task_sha256 not in (None, self.task.sha256):
            raise InputError("{file} has changed since. Cancel this job and start anew.", file=config.task)
        if config.budget_unit == "points" and not self.task.questions:
            raise InputError(
                "{task} holds texts, which give no points: state the budget in nats, or use questions.",
                task=self.task.name,
            )
        self._tokenized: list[TokenizedRow] = tokenized_rows(self.task, blueprint)
        rows = [i for i, row in enumerate(self._tokenized) if row.sequences]
        if not rows:
            raise ModelError(
                "{weights} can read no row of {task} at once.", weights=blueprint.weights.name, task=self.task.name
            )
        if len(rows) > TASK_ROWS:  # a random sample
            sampled = np.random.default_rng([config.seed, 18]).permutation(len(rows))[:TASK_ROWS]
            rows = [rows[i] for i in sorted(sampled)]
        self._rows = rows
        self._sequences = [sequence for i in rows for sequence in self._tokenized[i].sequences]
        self._order = np.argsort([len(one.ids) for one in self._sequences], kind="stable")

    @property
    def n_tokens(self) -> int:
        """Tokens of all choices, padding included."""
        return sum(windows.ids.size for windows in self.parts)

    @cached_property
    def parts(self) -> list[TokenWindows]:
        """All choices, grouped by length."""
        ordered = [self._sequences[i] for i in self._order]
        return [pad_sequences(ordered[k : k + PART]) for k in range(0, len(ordered), PART)]

    def in_order(self, scores: Sequence[Scores]) -> Scores:
        """The scores of all parts, in the order of the task's rows."""
        return concatenate(scores).select(np.argsort(self._order))

    def right_answers(self) -> list[ScoredTokens]:
        """The right choice of each question, or the first window of each text."""
        questions = self.task.questions
        rows = self._rows[:DIRECTION_ROWS]
        return [self._tokenized[i].sequences[questions[i].answer if questions else 0] for i in rows]

    def price(self, before: Scores, after: Scores) -> AbilityPrice:
        """The task's loss or accuracy from the scores of `in_order`, before and after a change."""
        ends = np.cumsum([len(self._tokenized[i].sequences) for i in self._rows])[:-1]
        groups = self.task.groups[self._rows]
        if self.task.texts:
            counts, old, new = (
                np.array([row.sum() for row in np.split(of, ends)])
                for of in (before.n_targets, before.loss, after.loss)
            )
            mean_before, mean_after = (float(sums.sum() / counts.sum()) for sums in (old, new))  # as their difference
            return AbilityPrice("loss", mean_before, mean_after, mean_difference(new - old, counts, groups), True)
        questions = [self.task.questions[i] for i in self._rows]
        correct = [
            np.asarray(metrics_of_choices(questions, np.split(-scores.loss, ends))[0].values)
            for scores in (before, after)
        ]
        chance = float(np.mean([1 / len(question.choices) for question in questions]))
        has_room = share_limits(correct[0], groups)[0] > chance
        mean_before, mean_after = (float(values.mean()) for values in correct)
        difference = share_difference(correct[0], correct[1], groups)
        return AbilityPrice("accuracy", mean_before, mean_after, difference, has_room, chance)
