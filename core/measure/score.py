"""A model on a task of a user's own: the log-likelihood of each choice of each question, or of each text.

Prompt and choice are read as one text. All choices of a question are scored from the same token on, the first at which
one of them parts from the tokens of the prompt alone, so that they differ by what the whole texts differ by, also where
a token reaches over the end of the prompt. A model that sees nothing before that token is given its tokenizer's BOS, or
EOS, to start from.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.errors import ModelError, ResourceError, Sentence
from core.measure.capture import give_back, require_known
from core.measure.checkpoint import Checkpoint
from core.measure.provenance import code_stamp, code_version, library_versions
from core.models.hub import find_weights
from core.models.memory import MemoryPlan
from core.models.model import Blueprint, OpenModel, is_out_of_memory, load_network, read_blueprint, too_large
from core.models.weight_streaming import run_together
from core.records import SCORING, Progress, ProgressCallback, ScoreConfig
from core.registry.names import NOT_STATED
from core.tables import SCORED_SOURCE, ScoreRow, ScoreSampleRow
from core.texts.tasks import Question, Task, Text

_log = logging.getLogger("workdim")
ALGORITHM = 1
"""Raised with every change of what a score is: scores of two algorithms are two files."""
SUITE = "workdim"
WINDOW = 1024
"""Tokens that are read at once of a text: a longer one is read in windows, each of which reads the last half of the one
before it again and is scored on its own half alone."""
FEWEST = 256
"""Tokens that a batch is planned for at least: short questions go through the network together."""
BATCHES_KEPT = 16
"""Batches after which the answers so far are written down."""


@dataclass(frozen=True)
class Reading:
    """Tokens, of which those from `first` on are scored."""

    ids: np.ndarray
    """(n_tokens,) int32: lists of Python's numbers take nine times the memory, and a task may have millions of tokens"""
    first: int


@dataclass(frozen=True)
class TaskScores:
    """What a model has made of a task, as it is stored."""

    scores: list[ScoreRow]
    samples: list[ScoreSampleRow]
    n_left_out: int
    n_cut: int


def open_scored(config: ScoreConfig) -> Blueprint:
    """All of the model but its weights, fetched where they are not here.

    Raises ModelError for a model that gives no probability to what follows.
    """
    blueprint = read_blueprint(find_weights(config.model), config.dtype, config.device, None)
    if blueprint.kind == "encoder":
        raise ModelError(
            "{weights} is an encoder: it reads a text in both directions and gives no probability to what "
            "follows, by which choices are scored. Score a decoder.",
            weights=blueprint.weights.name,
        )
    if blueprint.kind != "decoder":
        raise ModelError(
            "{weights} is an encoder-decoder: whether its prompt goes into the encoder or before the choice "
            "decides on its scores, so it is not scored. Score a decoder.",
            weights=blueprint.weights.name,
        )
    return blueprint


def identity(blueprint: Blueprint, task: Task) -> str:
    """SHA-256 that two scorings share which give the same scores; the device is none of it."""
    row = blueprint.weightless.row
    names = (row.model_id, row.weights_sha256, row.configuration_hash, row.tokenizer_hash, blueprint.dtype)
    return hashlib.sha256(json.dumps([SUITE, ALGORITHM, task.sha256, *names]).encode()).hexdigest()


def score_task(
    config: ScoreConfig, task: Task, blueprint: Blueprint, scratch: Path, progress: ProgressCallback
) -> TaskScores:
    """Score one model on one task.

    `scratch` is a folder for what is finished so far, from which a process that comes after a stopped one goes on.
    Raises InputError (and its kinds) for anything that the user can mend.
    """
    asked = asked_rows(task, blueprint)
    readings = [reading for one in asked for reading in one.readings]
    if not readings:
        raise ModelError(
            "{weights} reads at most {context} tokens at once: no question of {task} has its choices within "
            "that. Score another model.",
            weights=blueprint.weights.name,
            context=blueprint.weightless.context,
            task=task.name,
        )
    key = [identity(blueprint, task), blueprint.device.type, code_version(), code_stamp(), library_versions()]
    nats = _likelihoods(config, blueprint, readings, Checkpoint(scratch, key), scratch, progress)
    ends = np.cumsum([0, *(len(one.readings) for one in asked)])
    found = [nats[first:end] for first, end in pairwise(ends)]
    return _as_rows(task, blueprint, asked, found)


# --- what is read ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AskedRow:
    """One row of a task as a tokenizer has read it."""

    readings: tuple[Reading, ...]
    """One for each choice, or for each window of a text; none where it is left out."""
    is_cut: bool = False
    """Whether the prompt has lost its beginning."""
    is_windowed: bool = False
    has_unknown: bool = False


def asked_rows(task: Task, blueprint: Blueprint) -> list[AskedRow]:
    """Each row of a task as this model's tokenizer reads it. Raises ModelError where it cannot be read."""
    model, tokenizer = blueprint.weightless, blueprint.tokenizer
    opening, starter = _opening(tokenizer), _starter(tokenizer)
    unknown = tokenizer.unk_token_id
    if unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id):  # one that a byte-level tokenizer never gives
        unknown = None
    if task.questions:
        texts = (text for one in task.questions for text in (one.prompt, *(one.prompt + c for c in one.choices)))
        encoded = _encode(tokenizer, texts)
        asked = []
        for question in task.questions:
            prompt, *wholes = (next(encoded) for _ in range(1 + len(question.choices)))
            asked.append(_question(prompt, wholes, opening, starter, model.context, unknown))
    else:
        window = min(WINDOW, model.context or WINDOW)
        ids = _encode(tokenizer, (row.text for row in task.texts))
        asked = [_text(one, opening or starter, window, unknown) for one in ids]
    require_known(model, max((int(one.ids.max()) for row in asked for one in row.readings), default=0))
    if not starter and any(one.first == 0 for row in asked for one in row.readings):
        raise ModelError(
            "The tokenizer of {weights} has neither a BOS nor an EOS token, so there is nothing before the first "
            "token of {task} that it could follow. Give every question a prompt.",
            weights=blueprint.weights.name,
            task=task.name,
        )
    return asked


def _encode(tokenizer: Any, texts: Iterable[str]) -> Iterator[np.ndarray]:
    """The tokens of each text, special ones left out; (n_tokens,) each"""
    remaining = iter(texts)
    while some := list(islice(remaining, 512)):
        for ids in tokenizer(some, add_special_tokens=False, verbose=False)["input_ids"]:
            yield np.array(ids, dtype=np.int32)


def _opening(tokenizer: Any) -> list[int]:
    """The special tokens that the tokenizer itself puts before every text."""
    plain, whole = (
        list(tokenizer("a", add_special_tokens=added, verbose=False)["input_ids"]) for added in (False, True)
    )
    places = range(len(whole) - len(plain) + 1)
    return whole[: next((at for at in places if whole[at : at + len(plain)] == plain), 0)]


def _starter(tokenizer: Any) -> list[int]:
    """The token that stands before a text whose first token is scored; empty where there is none."""
    return [one for one in (tokenizer.bos_token_id, tokenizer.eos_token_id) if one is not None][:1]


def _question(
    prompt: np.ndarray,
    wholes: list[np.ndarray],
    opening: list[int],
    starter: list[int],
    context: int | None,
    unknown: int | None,
) -> AskedRow:
    """Every choice after the same tokens of the prompt, which loses its beginning where the longest does not fit."""
    first = min(_shared(prompt, whole) for whole in wholes)
    first = min(first, *(len(whole) - 1 for whole in wholes))  # a normaliser may leave nothing of a choice
    if first < 0:
        return AskedRow(())
    before = opening or (starter if first == 0 else [])
    longest = len(before) + max(map(len, wholes)) - 1  # the last token is a target only
    too_many = max(0, longest - context) if context else 0
    if too_many and (too_many > first or len(before) + first - too_many == 0):
        return AskedRow(())
    starts = len(before) + first - too_many
    readings = [Reading(_joined(before, whole[too_many:]), starts) for whole in wholes]
    return AskedRow(tuple(readings), too_many > 0, has_unknown=any(_holds(whole[first:], unknown) for whole in wholes))


def _shared(one: np.ndarray, other: np.ndarray) -> int:
    """Tokens that both begin with."""
    n = min(len(one), len(other))
    parted = np.flatnonzero(one[:n] != other[:n])
    return int(parted[0]) if len(parted) else n


def _joined(before: list[int], ids: np.ndarray) -> np.ndarray:
    return np.concatenate([np.array(before, dtype=np.int32), ids])


def _holds(ids: np.ndarray, token: int | None) -> bool:
    return token is not None and bool((ids == token).any())


def _text(ids: np.ndarray, before: list[int], window: int, unknown: int | None) -> AskedRow:
    """All tokens of a text, each once: `window` are read at once, and of all windows but the first half are scored."""
    if not len(ids):
        return AskedRow(())
    whole = _joined(before, ids)
    end = min(len(whole), window + 1)  # the last token is a target only
    readings = [Reading(whole[:end], len(before))]
    while end < len(whole):
        start, end = end, min(len(whole), end + max(1, window // 2))
        begin = max(0, end - window - 1)
        readings.append(Reading(whole[begin:end], start - begin))
    return AskedRow(tuple(readings), False, len(readings) > 1, _holds(ids, unknown))


# --- what the model gives --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Input:
    """What goes through the network once, and the readings that are scored by it: they part in their last token alone."""

    ids: np.ndarray
    """(n_tokens,)"""
    members: tuple[int, ...]


def _inputs(readings: Sequence[Reading]) -> list[_Input]:
    """Each input once, the longest first, so that a batch has inputs of about one length."""
    found: dict[bytes, list[int]] = {}
    for number, reading in enumerate(readings):
        found.setdefault(hashlib.sha256(reading.ids[:-1].tobytes()).digest(), []).append(number)
    inputs = [_Input(readings[members[0]].ids[:-1], tuple(members)) for members in found.values()]
    return sorted(inputs, key=lambda one: (-len(one.ids), one.members))


def _likelihoods(
    config: ScoreConfig,
    blueprint: Blueprint,
    readings: Sequence[Reading],
    checkpoint: Checkpoint,
    scratch: Path,
    progress: ProgressCallback,
) -> np.ndarray:
    """The log-likelihood of the scored tokens of each reading, in nats; (n_readings,)"""
    inputs = _inputs(readings)
    nats = np.full(len(readings), np.nan)
    kept: list[float] = []
    while (more := checkpoint.step(_kept_as(len(kept)), {})) is not None:
        kept += more.tolist()
    at = 0
    for one in inputs:
        if len(kept) < len(one.members):
            break
        nats[list(one.members)], kept = kept[: len(one.members)], kept[len(one.members) :]
        at += 1
    sizes = np.cumsum([0, *(len(one.ids) for one in inputs)])
    total = int(sizes[-1])
    if at < len(inputs):
        plan, room = _plan(blueprint, inputs[at:], config.memory_budget)
        if plan.on_demand:
            name = blueprint.weights.name
            _log.warning(Sentence("Memory is short for {model}: its weights are taken block by block.", model=name))
        model = load_network(blueprint, scratch if plan.on_demand else None, progress, plan.spread)
        progress(Progress(SCORING, int(sizes[at]), total))
    while at < len(inputs):
        batches = room.batches(inputs, at)
        end = at + sum(map(len, batches))
        passed, size = int(sizes[at]), int(sizes[end] - sizes[at])

        def told(share: float, passed: int = passed, size: int = size) -> None:
            progress(Progress(SCORING, passed + int(share * size), total))

        found = _answers(model, readings, batches, told)
        if found is None:
            room = room.halved(model, batches)
            continue
        _require_finite(found, model)
        members = [number for one in inputs[at:end] for number in one.members]
        nats[members] = found
        checkpoint.save_step(_kept_as(sum(len(one.members) for one in inputs[:at])), found)
        at = end
        progress(Progress(SCORING, int(sizes[at]), total))
    return nats


def _kept_as(first: int) -> str:
    """The step of the answers from number `first` on."""
    return f"answers-{first:08d}"


def _plan(blueprint: Blueprint, inputs: Sequence[_Input], budget: int | None) -> tuple[MemoryPlan, _Room]:
    """How the inputs keep to the memory: all weights at once, or as many inputs together as may wait for each block.

    Raises ResourceError where not even one does.
    """
    longest, n_together = len(inputs[0].ids), len(inputs)
    with suppress(ResourceError):
        plan = blueprint.plan(1, max(FEWEST, longest), budget)
        if not plan.on_demand:
            return plan, _Room(plan.batch * max(FEWEST, longest), None)
    while True:
        try:
            plan = blueprint.plan(n_together, longest, budget)
            return plan, _Room(plan.batch * longest, n_together if plan.on_demand else None)
        except ResourceError:
            if n_together == 1:
                raise
            n_together = math.ceil(n_together / 2)


@dataclass(frozen=True)
class _Room:
    n_tokens: int
    """That a batch may have, its padding counted."""
    n_together: int | None
    """Inputs that go through the network between two readings of its weights; None where they stay."""

    def batches(self, inputs: Sequence[_Input], at: int) -> list[list[_Input]]:
        """What goes through the network before it is written down, from input `at` on."""
        end = len(inputs) if self.n_together is None else min(len(inputs), at + self.n_together)
        found: list[list[_Input]] = []
        while at < end and (self.n_together is not None or len(found) < BATCHES_KEPT):
            n = max(1, self.n_tokens // len(inputs[at].ids))
            found.append(list(inputs[at : min(at + n, end)]))
            at += len(found[-1])
        return found

    def halved(self, model: OpenModel, batches: list[list[_Input]]) -> _Room:
        """Raises ResourceError where no batch has more than one input."""
        largest = max(map(len, batches))
        if largest == 1:
            what = Sentence(
                "A single question of {n} tokens in {model}", n=len(batches[0][0].ids), model=model.row.model_id
            )
            raise too_large(what, model.device)
        n_tokens = max(len(batch[0].ids) * len(batch) for batch in batches if len(batch) > 1) // 2
        _log.warning(Sentence("Memory is short: scoring goes on with batches of {n} tokens.", n=n_tokens))
        return _Room(n_tokens, self.n_together)


def _answers(
    model: OpenModel, readings: Sequence[Reading], batches: list[list[_Input]], told: Callable[[float], None]
) -> np.ndarray | None:
    """Nats of every member of every input, in their order; None, with nothing counted, where memory is too short."""
    found: list[np.ndarray] = [np.empty(0)] * len(batches)

    def run(index: int) -> None:
        found[index] = _batch(model, readings, batches[index])
        if not model.units:
            told((index + 1) / len(batches))

    try:
        with torch.inference_mode():
            run_together(
                model.units,
                [partial(run, i) for i in range(len(batches))],
                lambda index: None,
                lambda n: told(n / len(model.units)),
            )
        return np.concatenate(found)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    give_back(model.device)
    return None


def _batch(model: OpenModel, readings: Sequence[Reading], batch: list[_Input]) -> np.ndarray:
    """Nats of every member of a batch; shorter inputs are filled up behind their end, which no earlier token sees."""
    ids = torch.zeros(len(batch), len(batch[0].ids), dtype=torch.int64)  # (n_batch, n_tokens)
    rows: list[int] = []
    positions: list[int] = []
    targets: list[int] = []
    starts: list[int] = []
    for row, one in enumerate(batch):
        ids[row, : len(one.ids)] = torch.from_numpy(one.ids)
        for number in one.members:
            reading = readings[number]
            starts.append(len(targets))
            targets += reading.ids[reading.first :].tolist()
            positions += range(reading.first - 1, len(reading.ids) - 1)
            rows += [row] * (len(reading.ids) - reading.first)
    places = [torch.tensor(part, device=model.device) for part in (rows, positions, targets)]
    logs = model.log_probabilities(ids.to(model.device), *places).numpy()  # (n_targets,)
    return np.add.reduceat(logs, starts)


def _require_finite(nats: np.ndarray, model: OpenModel) -> None:
    n = int((~np.isfinite(nats)).sum())
    if n == 0:
        return
    way_out = Sentence("Score again with --dtype float32.")
    if model.dtype == "float32":
        way_out = Sentence("The weights themselves are damaged or diverged. Download them again.")
    raise ModelError(
        "{model} gives {n} of {n_nats} texts no likelihood in {dtype}. {way_out}",
        model=model.row.model_id,
        n=n,
        n_nats=len(nats),
        dtype=model.dtype,
        way_out=way_out,
    )


# --- what is made of it ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metric:
    name: str
    unit: str
    higher_is_better: bool
    value: float
    std_error: float | None
    """None for a single row, or where all are alike: it cannot be estimated."""
    values: np.ndarray | None
    """Of each row that was scored, their mean being `value`; None where it is no mean of them. (n_scored,)"""


def metrics_of_choices(questions: Sequence[Question], nats: Sequence[np.ndarray]) -> list[Metric]:
    """`acc`: whether the right choice has the highest log-likelihood, and `acc_norm`: per UTF-8 byte of the choice.

    A choice that only ties for the highest is not chosen. `answer_bits_per_byte`: of the right choice, which tells more
    than right or wrong where a model is right by chance. nats: of each question's choices, (n_choices,) each.
    """
    sizes = [np.array([len(choice.encode()) for choice in question.choices]) for question in questions]
    answers = [question.answer for question in questions]
    plain = np.array([_is_best(one, answer) for one, answer in zip(nats, answers, strict=True)])
    shared = zip(nats, sizes, answers, strict=True)
    normed = np.array([_is_best(one / size, answer) for one, size, answer in shared])
    bits = np.array([-one[a] / size[a] for one, size, a in zip(nats, sizes, answers, strict=True)]) / math.log(2)
    return [
        _mean("acc", "fraction", True, plain),
        _mean("acc_norm", "fraction", True, normed),
        _mean("answer_bits_per_byte", "bits_per_byte", False, bits),
    ]


def metrics_of_texts(texts: Sequence[Text], nats: Sequence[np.ndarray]) -> list[Metric]:
    """`bits_per_byte`: of all texts together, with the standard error of a ratio over texts; and their mean, text by text.

    The two differ where texts differ in length. nats: of each text's windows, (n_windows,) each.
    """
    sizes = np.array([len(text.text.encode()) for text in texts])
    bits = -np.array([one.sum() for one in nats]) / math.log(2)
    value, n = float(bits.sum() / sizes.sum()), len(texts)
    spread = float(np.sqrt(((bits - value * sizes) ** 2).sum()))
    error = math.sqrt(n / (n - 1)) * spread / float(sizes.sum()) if n > 1 and spread > 1e-9 * abs(bits.sum()) else None
    together = Metric("bits_per_byte", "bits_per_byte", False, value, error, None)
    return [together, _mean("text_bits_per_byte", "bits_per_byte", False, bits / sizes)]


def _is_best(values: np.ndarray, answer: int) -> float:
    return float(values[answer] > np.delete(values, answer).max())


def _mean(name: str, unit: str, higher_is_better: bool, values: np.ndarray) -> Metric:
    n = len(values)
    spread = float(values.std(ddof=1)) if n > 1 else 0.0
    error = spread / math.sqrt(n) if spread > 1e-12 else None
    return Metric(name, unit, higher_is_better, float(values.mean()), error, values)


def _as_rows(task: Task, blueprint: Blueprint, asked: list[AskedRow], nats: list[np.ndarray]) -> TaskScores:
    scored = [number for number, one in enumerate(asked) if one.readings]
    found = [nats[number] for number in scored]
    if task.questions:
        metrics = metrics_of_choices([task.questions[number] for number in scored], found)
    else:
        metrics = metrics_of_texts([task.texts[number] for number in scored], found)
    model, sha = blueprint.weightless.row, identity(blueprint, task)
    counts = {
        "prompts_cut_at_their_left": sum(one.is_cut for one in asked),
        "questions_left_out": len(asked) - len(scored),
        "with_unknown_tokens": sum(one.has_unknown for one in asked),
    }
    window = min(WINDOW, blueprint.weightless.context or WINDOW)
    # What keeps two scores from being compared is part of the suite: other questions, other windows.
    suite = f"{SUITE}+{task.sha256[:8]}" + (f"+{window}" if any(one.is_windowed for one in asked) else "")
    source = f"{SCORED_SOURCE} Workdim {code_version()}, {blueprint.dtype}, task {task.sha256[:12]}"
    scores = [
        ScoreRow(
            repository=model.reference,
            revision=model.revision,
            benchmark=task.name,
            metric=metric.name,
            filter="none",
            n_shot=None,
            suite=suite,
            value=metric.value,
            std_error=metric.std_error,
            unit=metric.unit,
            higher_is_better=metric.higher_is_better,
            n_samples=len(scored),
            is_partial=len(scored) < len(asked),
            is_group=False,
            source=source,
            licence=NOT_STATED,
            as_of=datetime.now(UTC).date().isoformat(),
            flags=";".join(f"{flag}:{n}" for flag, n in counts.items() if n),
            file_sha256=sha,
            dtype=blueprint.dtype,
            chat_template=False,
            task_version=task.sha256[:12],
        )
        for metric in metrics
    ]
    samples = [
        ScoreSampleRow(
            sha,
            model.reference,
            model.revision,
            task.name,
            metric.name,
            "none",
            task.hashes[number],
            number,
            float(value),
        )
        for metric in metrics
        if metric.values is not None
        for number, value in zip(scored, metric.values, strict=True)
    ]
    return TaskScores(scores, samples, counts["questions_left_out"], counts["prompts_cut_at_their_left"])
