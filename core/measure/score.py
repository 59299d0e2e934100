"""Score a model on a user's own task: the log-likelihood of each choice of each question, or of each text.

Where the first token of a text is scored, the tokenizer's BOS (else EOS) is put before it as context.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from core.analysis.intervals import Difference, mean_difference, share_error
from core.errors import ModelError, ResourceError, Sentence
from core.limits import opening
from core.measure.checkpoint import Checkpoint, code_stamp, code_version, library_versions
from core.measure.plan import no_numbers, require_known_tokens
from core.models.hub import find_weights
from core.models.model import Blueprint, OpenModel, load_network, read_blueprint
from core.models.stacks import MemoryPlan, halved, run_together, within_memory
from core.records import SCORING, Progress, ProgressCallback, ScoreConfig
from core.tables import SCORED_SOURCE, ScoreRow, ScoreSampleRow
from core.texts.tasks import WINDOW, Question, ScoredTokens, Task, Text, TokenizedRow, starting_token, tokenize_task

_log = logging.getLogger("workdim")
ALGORITHM = 2
"""Version of the scoring algorithm, part of the identity of a score: raise it whenever scores change."""
SUITE = "workdim"
FEWEST = 256
"""Least number of tokens that a batch is planned for: short questions are batched together."""
BATCHES_PER_CHECKPOINT = 16
"""Batches between two checkpoints."""


@dataclass(frozen=True)
class TaskScores:
    """The rows of a model's scores on a task and of its answers."""

    scores: list[ScoreRow]
    samples: list[ScoreSampleRow]
    n_left_out: int


def open_scored(config: ScoreConfig) -> Blueprint:
    """Open a model without its weights; downloads it if needed. Raises ModelError for a model that is not a decoder."""
    blueprint = read_blueprint(find_weights(config.model), config.dtype, config.device, None)
    if blueprint.kind != "decoder":
        raise ModelError("{model} is no decoder, and only these are scored.", model=blueprint.weights.name)
    return blueprint


def identity(blueprint: Blueprint, task: Task) -> str:
    """SHA-256 over everything that scores depend on, without the device."""
    row = blueprint.weightless.row
    names = (row.model_id, row.weights_sha256, row.configuration_hash, row.tokenizer_hash, blueprint.dtype)
    return hashlib.sha256(json.dumps([SUITE, ALGORITHM, task.sha256, *names]).encode()).hexdigest()


def score_task(
    config: ScoreConfig, task: Task, blueprint: Blueprint, scratch: Path, progress: ProgressCallback
) -> TaskScores:
    """Score one model on one task.

    `scratch` is a folder for checkpoints, from which an interrupted scoring resumes. Raises InputError (and subclasses)
    for anything the user can fix.
    """
    rows = tokenized_rows(task, blueprint)
    sequences = [sequence for row in rows for sequence in row.sequences]
    if not sequences:
        raise ModelError(
            "{model} reads {context} tokens, too few for {task}. Score another model.",
            model=blueprint.weights.name,
            context=blueprint.weightless.context,
            task=task.name,
        )
    key = [identity(blueprint, task), blueprint.device.type, code_version(), code_stamp(), library_versions()]
    nats = _log_likelihoods(config, blueprint, sequences, Checkpoint(scratch, key), scratch, progress)
    bounds = np.cumsum([0, *(len(row.sequences) for row in rows)])
    return _build_scores(task, blueprint, rows, [nats[start:stop] for start, stop in pairwise(bounds)])


# --- tokens ----------------------------------------------------------------------------------------------------


def tokenized_rows(task: Task, blueprint: Blueprint) -> list[TokenizedRow]:
    """The rows of a task in this model's tokens. Raises ModelError if the model cannot read them."""
    model, tokenizer = blueprint.weightless, blueprint.tokenizer
    with opening(blueprint.weights.name):
        rows = tokenize_task(task, tokenizer, model.context)
    require_known_tokens(model, max((int(sequence.ids.max()) for row in rows for sequence in row.sequences), default=0))
    if not starting_token(tokenizer) and any(sequence.first == 0 for row in rows for sequence in row.sequences):
        raise ModelError(
            "{model} has no token to begin a text with. Give every question of {task} a prompt.",
            model=blueprint.weights.name,
            task=task.name,
        )
    return rows


# --- log-likelihoods -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Input:
    """A token sequence that goes through the network once; its members differ only in their last token, a target."""

    ids: np.ndarray
    """(n_tokens,)"""
    members: tuple[int, ...]
    """Indices of the scored sequences."""


def _distinct_inputs(sequences: Sequence[ScoredTokens]) -> list[_Input]:
    """Each distinct input once, longest first, so that a batch has inputs of similar length."""
    by_hash: dict[bytes, list[int]] = {}
    for number, sequence in enumerate(sequences):
        by_hash.setdefault(hashlib.sha256(sequence.ids[:-1].tobytes()).digest(), []).append(number)
    inputs = [_Input(sequences[members[0]].ids[:-1], tuple(members)) for members in by_hash.values()]
    return sorted(inputs, key=lambda input_: (-len(input_.ids), input_.members))


def _log_likelihoods(
    config: ScoreConfig,
    blueprint: Blueprint,
    sequences: Sequence[ScoredTokens],
    checkpoint: Checkpoint,
    scratch: Path,
    progress: ProgressCallback,
) -> np.ndarray:
    """The log-likelihood of the scored tokens of each sequence, in nats; (n_sequences,)"""
    inputs = _distinct_inputs(sequences)
    nats, start = np.full(len(sequences), np.nan), 0
    while stored := checkpoint.step(_step_name(start)):
        stop, values = stored
        nats[_members(inputs[start:stop])] = values
        start = stop
    n_tokens_before = np.cumsum([0, *(len(input_.ids) for input_ in inputs)])
    total = int(n_tokens_before[-1])
    if start < len(inputs):
        plan, limits = _plan_batches(blueprint, inputs[start:], config.memory_budget)
        if plan.on_demand:
            _log.warning(Sentence("Memory is short: weights are read block by block."))
        model = load_network(blueprint, scratch if plan.on_demand else None, progress, plan.spread)
        progress(Progress(SCORING, int(n_tokens_before[start]), total))
    while start < len(inputs):
        batches = limits.next_batches(inputs, start)
        stop = start + sum(map(len, batches))
        n_done, n_new = int(n_tokens_before[start]), int(n_tokens_before[stop] - n_tokens_before[start])

        def report(share: float, n_done: int = n_done, n_new: int = n_new) -> None:
            progress(Progress(SCORING, n_done + int(share * n_new), total))

        values = _score_batches(model, sequences, batches, report)
        if values is None:
            # Of batches with one input nothing can be halved.
            largest = max((len(batch[0].ids) * len(batch) for batch in batches if len(batch) > 1), default=1)
            n_tokens = halved(largest, model.row.model_id, len(batches[0][0].ids), model.device)
            limits = replace(limits, n_tokens=n_tokens)
            continue
        if n_infinite := int((~np.isfinite(values)).sum()):
            raise no_numbers(model, Sentence("{n} of {n_nats} texts", n=n_infinite, n_nats=len(values)))
        nats[_members(inputs[start:stop])] = values
        checkpoint.save_step(_step_name(start), [stop, values])
        start = stop
        progress(Progress(SCORING, int(n_tokens_before[start]), total))
    return nats


def _members(inputs: Sequence[_Input]) -> list[int]:
    return [number for input_ in inputs for number in input_.members]


def _step_name(start: int) -> str:
    """Name of the checkpoint of the inputs from `start` on."""
    return f"answers-{start:08d}"


def _plan_batches(
    blueprint: Blueprint, inputs: Sequence[_Input], budget: int | None
) -> tuple[MemoryPlan, _BatchLimits]:
    """Fit batches into memory: with all weights loaded, or with as many inputs as can wait for each streamed block.

    Raises ResourceError if not even one input fits.
    """
    max_length, n_together = len(inputs[0].ids), len(inputs)
    with suppress(ResourceError):
        plan = blueprint.plan(1, max(FEWEST, max_length), budget)
        if not plan.on_demand:
            return plan, _BatchLimits(plan.batch * max(FEWEST, max_length), None)
    while True:
        try:
            plan = blueprint.plan(n_together, max_length, budget)
            return plan, _BatchLimits(plan.batch * max_length, n_together if plan.on_demand else None)
        except ResourceError:
            if n_together == 1:
                raise
            n_together = math.ceil(n_together / 2)


@dataclass(frozen=True)
class _BatchLimits:
    """How large batches may be."""

    n_tokens: int
    """Largest number of tokens of a batch, padding included."""
    n_together: int | None
    """Inputs per pass over streamed weights; None if the weights stay in memory."""

    def next_batches(self, inputs: Sequence[_Input], start: int) -> list[list[_Input]]:
        """The batches up to the next checkpoint, from input `start` on."""
        stop = len(inputs) if self.n_together is None else min(len(inputs), start + self.n_together)
        batches: list[list[_Input]] = []
        while start < stop and (self.n_together is not None or len(batches) < BATCHES_PER_CHECKPOINT):
            batch_size = max(1, self.n_tokens // len(inputs[start].ids))
            batches.append(list(inputs[start : min(start + batch_size, stop)]))
            start += len(batches[-1])
        return batches


def _score_batches(
    model: OpenModel, sequences: Sequence[ScoredTokens], batches: list[list[_Input]], report: Callable[[float], None]
) -> np.ndarray | None:
    """Log-likelihoods of every member of every input, in nats, in order; None if memory runs out."""
    values: list[np.ndarray] = [np.empty(0)] * len(batches)

    def run(index: int) -> None:
        values[index] = _score_batch(model, sequences, batches[index])
        if not model.units:
            report((index + 1) / len(batches))

    @torch.inference_mode()
    def run_all() -> np.ndarray:
        runs = [partial(run, index) for index in range(len(batches))]
        run_together(model.units, runs, units_done=lambda n: report(n / len(model.units)))
        return np.concatenate(values)

    return within_memory(model.device, run_all)


def _score_batch(model: OpenModel, sequences: Sequence[ScoredTokens], batch: list[_Input]) -> np.ndarray:
    """Log-likelihoods of every member of a batch, in nats.

    Shorter inputs are padded on the right, which no earlier token sees.
    """
    ids = torch.zeros(len(batch), len(batch[0].ids), dtype=torch.int64)  # (n_batch, n_tokens)
    for row, input_ in enumerate(batch):
        ids[row, : len(input_.ids)] = torch.from_numpy(input_.ids)
    scored = [sequences[number] for number in _members(batch)]
    lengths = [len(one.ids) - one.first for one in scored]
    rows = np.repeat(np.repeat(np.arange(len(batch)), [len(input_.members) for input_ in batch]), lengths)
    positions = np.concatenate([np.arange(one.first - 1, len(one.ids) - 1) for one in scored])
    targets = np.concatenate([one.ids[one.first :] for one in scored])
    indices = [torch.from_numpy(of.astype(np.int64)).to(model.device) for of in (rows, positions, targets)]
    logs = model.log_probabilities(ids.to(model.device), *indices).numpy()  # (n_targets,)
    return np.add.reduceat(logs, np.cumsum([0, *lengths[:-1]]))


# --- metrics and rows ------------------------------------------------------------------------------------------


FRACTION, BITS = "fraction", "bits_per_byte"


@dataclass(frozen=True)
class Metric:
    """A metric of a model on a task."""

    name: str
    unit: str
    value: float
    std_error: float | None
    """Over groups of rows; None if it cannot be estimated: all values equal, or one group, unless all are right, or all wrong."""
    values: np.ndarray | None
    """Value of each scored row, (n_scored,); None if `value` is not their mean."""

    @property
    def higher_is_better(self) -> bool:
        return self.unit == FRACTION


def metrics_of_choices(
    questions: Sequence[Question], nats: Sequence[np.ndarray], groups: np.ndarray | None = None
) -> list[Metric]:
    """`acc`: whether the right choice has the highest log-likelihood, and `acc_norm`: per UTF-8 byte of the choice.

    A choice that ties for the highest is not chosen. `answer_bits_per_byte`: of the right choice; more informative than
    accuracy for a model near chance. nats: of each question's choices, (n_choices,) each. groups (n_questions,)
    """
    sizes = (np.array([len(choice.encode()) for choice in question.choices]) for question in questions)
    rows = list(zip(nats, sizes, (question.answer for question in questions), strict=True))
    correct = np.array([_is_best(values, answer) for values, _, answer in rows])
    correct_per_byte = np.array([_is_best(values / size, answer) for values, size, answer in rows])
    bits = np.array([-values[answer] / size[answer] for values, size, answer in rows]) / math.log(2)
    return [
        _mean("acc", FRACTION, correct, groups),
        _mean("acc_norm", FRACTION, correct_per_byte, groups),
        _mean("answer_bits_per_byte", BITS, bits, groups),
    ]


def metrics_of_texts(
    texts: Sequence[Text], nats: Sequence[np.ndarray], groups: np.ndarray | None = None
) -> list[Metric]:
    """`bits_per_byte` over all texts together, with the standard error of a ratio; `text_bits_per_byte`, the mean over texts.

    The two differ if texts differ in length. nats: of each text's windows, (n_windows,) each. groups (n_texts,)
    """
    sizes = np.array([len(text.text.encode()) for text in texts])
    bits = -np.array([values.sum() for values in nats]) / math.log(2)
    found = mean_difference(bits, sizes, groups)
    pooled = Metric("bits_per_byte", BITS, found.value, _error(found), None)
    return [pooled, _mean("text_bits_per_byte", BITS, bits / sizes, groups)]


def _is_best(values: np.ndarray, answer: int) -> float:
    return float(values[answer] > np.delete(values, answer).max())


def _mean(name: str, unit: str, values: np.ndarray, groups: np.ndarray | None) -> Metric:
    found = mean_difference(values, np.ones(len(values)), groups)
    are_alike = unit == FRACTION and found.value in (0, 1)  # not one is wrong, or right
    return Metric(name, unit, found.value, share_error(values, groups) if are_alike else _error(found), values)


def _error(found: Difference) -> float | None:
    return found.std_error if found.std_error > 1e-9 * abs(found.value) else None


def _build_scores(task: Task, blueprint: Blueprint, rows: list[TokenizedRow], nats: list[np.ndarray]) -> TaskScores:
    scored = [number for number, row in enumerate(rows) if row.sequences]
    nats = [nats[number] for number in scored]
    if task.questions:
        metrics = metrics_of_choices([task.questions[number] for number in scored], nats, task.groups[scored])
    else:
        metrics = metrics_of_texts([task.texts[number] for number in scored], nats, task.groups[scored])
    model, file_sha256 = blueprint.weightless.row, identity(blueprint, task)
    counts = {
        "prompts_cut_at_their_left": sum(row.is_cut for row in rows),
        "questions_left_out": len(rows) - len(scored),
        "with_unknown_tokens": sum(row.has_unknown for row in rows),
    }
    window = min(WINDOW, blueprint.weightless.context or WINDOW)
    # The suite identifies what two scores must share to be comparable: the questions and the windows.
    suite = f"{SUITE}+{task.sha256[:8]}" + (f"+{window}" if any(row.is_windowed for row in rows) else "")
    source = f"{SCORED_SOURCE} Workdim {code_version()}, {blueprint.dtype}, task {task.sha256[:12]}"
    scores = [
        ScoreRow(
            repository=model.reference,
            revision=model.revision,
            benchmark=task.name,
            metric=metric.name,
            filter="none",
            suite=suite,
            value=metric.value,
            std_error=metric.std_error,
            unit=metric.unit,
            higher_is_better=metric.higher_is_better,
            n_samples=len(scored),
            is_partial=len(scored) < len(rows),
            source=source,
            as_of=datetime.now(UTC).date().isoformat(),
            flags=";".join(f"{flag}:{n}" for flag, n in counts.items() if n),
            file_sha256=file_sha256,
            dtype=blueprint.dtype,
            chat_template=False,
            task_version=task.sha256[:12],
        )
        for metric in metrics
    ]
    samples = [
        ScoreSampleRow(
            file_sha256,
            model.reference,
            model.revision,
            task.name,
            metric.name,
            "none",
            task.hashes[number],
            number,
            float(value),
            task.group_ids[number],
        )
        for metric in metrics
        if metric.values is not None
        for number, value in zip(scored, metric.values, strict=True)
    ]
    return TaskScores(scores, samples, counts["questions_left_out"])
