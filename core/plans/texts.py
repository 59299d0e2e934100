"""The texts of a plan: two halves of a text that share no document, harder texts, probes of generation, and the user's
own task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

from core.analysis.intervals import Difference, mean_difference, share_difference, share_limits
from core.errors import CorpusError, InputError, ModelError
from core.measure.score import metrics_of_choices, tokenized_rows
from core.models.model import Blueprint, OpenModel
from core.plans.pricing import Scores, concatenate
from core.records import PlanConfig
from core.texts.corpora import Corpus
from core.texts.sample import TokenWindows, draw_windows, require_length
from core.texts.tasks import Question, ScoredTokens, Task, TokenizedRow, read_task, tokenize_task
from core.texts.windows import characters_for_tokens, merge_pieces

PURPOSE = "layer plan"
WINDOW_LENGTHS = (256, 128, 64)
"""Tokens per window: the largest of these that the model reads and the text is long enough for."""
WINDOW_COUNTS = (64, 48, 32)
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
STRETCHES = 8
"""The text is cut into so many stretches of neighbouring documents, which go to the two halves alternately."""
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


def split_in_halves(corpus: Corpus, length: int) -> tuple[Corpus, Corpus]:
    """Two texts of about the same size that share no document, each at least `length` characters long.

    Documents are the pieces of the corpus; short neighbours count as one. Raises CorpusError for a text of one document.
    """
    n_documents = len(merge_pieces(corpus.pieces, length))
    if n_documents < 2:
        raise CorpusError(
            "{corpus} needs two documents of {length:,} characters, to choose and to verify. Separate them by blank lines, or add text.",
            corpus=corpus.row.name,
            length=length,
        )
    ends = np.cumsum([len(piece) for piece in corpus.pieces])
    stretch = np.minimum(ends * min(STRETCHES, 2 * (n_documents // 2)) // (ends[-1] + 1), STRETCHES - 1)
    halves = [np.flatnonzero(stretch % 2 == half) for half in (0, 1)]
    return tuple(  # type: ignore[return-value]
        replace(
            corpus,
            pieces=[corpus.pieces[i] for i in half],
            conversations=tuple(corpus.conversations[i] for i in half) if corpus.conversations else (),
        )
        for half in halves
    )


def require_halves(corpus: Corpus, seed: int) -> None:
    """Raises CorpusError for a text that is too short to choose and verify a plan on, whatever the model."""
    n_tokens = WINDOW_LENGTHS[-1]
    try:
        for half in split_in_halves(corpus, characters_for_tokens(corpus.beginning, n_tokens)):
            require_length(half, WINDOW_COUNTS[-1], n_tokens, seed, PURPOSE)
    except CorpusError as error:
        raise _half_too_short(error) from error


def hold_out(corpus: Corpus, model: OpenModel, seed: int, n_fit: int) -> HeldOut:
    """Windows for choosing (at least `n_fit` tokens, if the text has them) and for verifying.

    Raises CorpusError if the text is too short.
    """
    errors = []
    # Without room for fitting, a plan can still be chosen and verified.
    for n_fitted, n_tokens, n_windows in product((n_fit, 0), _lengths(model), WINDOW_COUNTS):
        try:
            return _held_out(corpus, model, seed, n_tokens, n_windows, -(-n_fitted // n_tokens))
        except CorpusError as error:
            errors.append(error)
    raise _half_too_short(errors[-1]) from errors[-1]


def _half_too_short(error: CorpusError) -> CorpusError:
    return CorpusError("Half of the text is held out to verify the plan. {error}", error=error)


def _lengths(model: OpenModel) -> list[int]:
    """The window lengths that the model reads, largest first; its context if that is shorter than all."""
    max_length = model.context or WINDOW_LENGTHS[0]
    return [length for length in WINDOW_LENGTHS if length <= max_length] or [max_length]


def _held_out(corpus: Corpus, model: OpenModel, seed: int, n_tokens: int, n_windows: int, n_fit: int) -> HeldOut:
    length = characters_for_tokens(corpus.beginning, n_tokens)
    selection, verification = split_in_halves(corpus, length)
    name, tokenizer = model.row.name, model.tokenizer
    n_selection = max(WINDOW_COUNTS[-1], n_fit)
    return HeldOut(
        draw_windows(selection, tokenizer, n_selection, n_tokens, seed, PURPOSE, name),
        draw_windows(verification, tokenizer, n_windows, n_tokens, seed, PURPOSE, name),
        verification,
    )


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
    starts = [i for i in range(len(text) - 2) if text[i : i + 3].isalpha() and (i == 0 or not text[i - 1].isalpha())]
    for start in starts:
        if generator.random() < TYPO_SHARE:
            end = start
            while end < len(text) and text[end].isalpha():
                end += 1
            position = int(generator.integers(start, end - 1))
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
class TaskPrice:
    """Metric of a task before and after a change, paired by row."""

    measure: str
    before: float
    after: float
    difference: Difference
    has_room: bool
    """Whether the whole model does better than chance, so that a loss is visible."""
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
        self._order = sorted(range(len(self._sequences)), key=lambda i: len(self._sequences[i].ids))

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

    def price(self, before: Scores, after: Scores) -> TaskPrice:
        """The task's loss or accuracy from the scores of `in_order`, before and after a change."""
        bounds = list(pairwise(np.cumsum([0, *(len(self._tokenized[i].sequences) for i in self._rows)])))
        losses = [[scores.loss[start:stop] for start, stop in bounds] for scores in (before, after)]
        if self.task.texts:
            counts = np.array([before.n_targets[start:stop].sum() for start, stop in bounds])
            sums = [np.array([row.sum() for row in rows]) for rows in losses]
            mean_before, mean_after = (float((row_sums / counts).mean()) for row_sums in sums)
            difference = mean_difference(sums[1] - sums[0], counts, self.task.groups[self._rows])
            return TaskPrice("loss", mean_before, mean_after, difference, True)
        questions = [self.task.questions[i] for i in self._rows]
        correct = [
            np.asarray(metrics_of_choices(questions, [-choices for choices in rows])[0].values) for rows in losses
        ]
        groups = self.task.groups[self._rows]
        chance = float(np.mean([1 / len(question.choices) for question in questions]))
        has_room = share_limits(correct[0], groups)[0] > chance
        mean_before, mean_after = (float(values.mean()) for values in correct)
        difference = share_difference(correct[0], correct[1], groups)
        return TaskPrice("accuracy", mean_before, mean_after, difference, has_room, chance)
