"""What a plan reads: two halves of a text that share no document, the text made harder, probes of generation, and the
user's own task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import CorpusError, InputError, ModelError
from core.measure.score import metrics_of_choices, tokenized_rows
from core.models.model import Blueprint, OpenModel
from core.plans.pricing import Difference, Scores, concatenate, ratio_difference
from core.records import PlanConfig
from core.texts.corpora import Corpus
from core.texts.sample import TokenWindows, draw_windows
from core.texts.tasks import ScoredTokens, Task, TokenizedRow, read_task
from core.texts.windows import characters_for_tokens, merge_pieces

PURPOSE = "layer plan"
WINDOW_LENGTHS = (256, 128, 64)
"""Tokens of a window: the longest of these that the text has enough of, and that the model reads."""
VERIFICATION_WINDOWS = 32
SEARCH_WINDOWS = 16
"""Of the selection text: what candidates are compared on."""
SUBLAYER_WINDOWS = 4
"""Of these, what each attention and each MLP alone is priced on."""
RANDOM_WINDOWS = 8
"""Of the held-out text: what random sets are priced on."""
OTHER_WINDOWS = 16
"""Of each harder text; and of the held-out text, what ranks of projections are priced on."""
FIT_TOKENS = 8192
"""Tokens of the selection text, at least: what a healing matrix is fitted to."""
SELECTION, HELD_OUT, TYPOS = "selection", "held_out", "typos"
STRETCHES = 8
"""The text is cut into so many stretches of neighbouring documents, which go to the two halves by turns."""
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

    Documents are the pieces of the corpus; short neighbours are one. Raises CorpusError for a text of one document.
    """
    n = len(merge_pieces(corpus.pieces, length))
    if n < 2:
        raise CorpusError(
            "The text {corpus} has no two documents of {length:,} characters: a plan is chosen on some documents and "
            "verified on others. Part its texts with blank lines, give a file with a row for each, or add text.",
            corpus=corpus.row.name,
            length=length,
        )
    ends = np.cumsum([len(piece) for piece in corpus.pieces])
    number = np.minimum(ends * min(STRETCHES, 2 * (n // 2)) // (ends[-1] + 1), STRETCHES - 1)
    both = [np.flatnonzero(number % 2 == half) for half in (0, 1)]
    return tuple(  # type: ignore[return-value]
        replace(
            corpus,
            pieces=[corpus.pieces[i] for i in half],
            conversations=tuple(corpus.conversations[i] for i in half) if corpus.conversations else (),
        )
        for half in both
    )


def hold_out(corpus: Corpus, model: OpenModel, seed: int, n_fit: int) -> HeldOut:
    """Windows for choosing (at least `n_fit` tokens) and for verifying; raises CorpusError for a text too short."""
    error = None
    for n_tokens in _lengths(model):
        try:
            return _held_out(corpus, model, seed, n_tokens, max(VERIFICATION_WINDOWS, -(-n_fit // n_tokens)))
        except CorpusError as found:
            error = error or found
    # Without room for fitting, a plan can still be chosen and verified.
    for n_tokens in _lengths(model):
        try:
            return _held_out(corpus, model, seed, n_tokens, VERIFICATION_WINDOWS)
        except CorpusError:
            continue
    assert error is not None
    raise CorpusError("Half of the text is held out to verify the plan. {error}", error=error) from error


def _lengths(model: OpenModel) -> Iterator[int]:
    longest = model.context or WINDOW_LENGTHS[0]
    yield from (n for n in WINDOW_LENGTHS if n <= longest) if longest >= WINDOW_LENGTHS[-1] else (longest,)


def _held_out(corpus: Corpus, model: OpenModel, seed: int, n_tokens: int, n_selection: int) -> HeldOut:
    length = characters_for_tokens("".join(corpus.pieces[:200]), n_tokens)
    chosen, held_out = split_in_halves(corpus, length)
    name, tokenizer = model.row.name, model.tokenizer
    return HeldOut(
        draw_windows(chosen, tokenizer, n_selection, n_tokens, seed, PURPOSE, name),
        draw_windows(held_out, tokenizer, VERIFICATION_WINDOWS, n_tokens, seed, PURPOSE, name),
        held_out,
    )


def first_windows(windows: TokenWindows, n: int) -> TokenWindows:
    """n of the windows, spread evenly over the text."""
    chosen = np.unique(np.linspace(0, len(windows.ids) - 1, min(n, len(windows.ids))).round().astype(int))
    return TokenWindows(windows.ids[chosen], windows.scored[chosen], windows.documents[chosen])


def harder_texts(corpus: Corpus) -> dict[str, str | None]:
    """Name -> built-in text of another domain, of another language than this one; None: this one with typing errors."""
    own, language = corpus.row.name, corpus.row.language
    if language == "ja":
        return {TYPOS: None, "other_language": "english-business"}
    domain = "python-docs" if own in ("english-business", "ladder-code", "python-source") else "english-business"
    return {TYPOS: None, "other_domain": domain, "other_language": "japanese-business"}


def with_typos(corpus: Corpus, seed: int) -> Corpus:
    """A tenth of the words have two neighbouring letters exchanged; lengths stay, and so do the windows."""
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
            at = int(generator.integers(start, end - 1))
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return "".join(letters)


# --- probes of generation --------------------------------------------------------------------------------------------
#
# What breaks first and a mean loss hides: copying, closing brackets, sums of digits, as exact answers. An answer counts
# where greedy generation would write it to its end, line break included. It would exactly where the likeliest token
# after the prompt, and after each further token of the answer, is the answer's own: so one pass over prompt and answer
# tells it, without generating.

PROBES = ("copying", "brackets", "digit_sums")
QUESTIONS = 40
EXAMPLES = 4
"""Solved lines before the one that is asked."""
ROOM = 0.2
"""Share that the whole model must answer for a fall to be seen."""
WORDS = [
    "river",
    "stone",
    "lamp",
    "garden",
    "window",
    "bread",
    "paper",
    "night",
    "summer",
    "bridge",
    "clock",
    "silver",
    "forest",
    "letter",
    "table",
    "cloud",
    "horse",
    "market",
    "winter",
    "island",
    "button",
    "candle",
    "mirror",
    "pocket",
    "ladder",
    "engine",
    "basket",
    "carpet",
    "harbour",
    "meadow",
    "pencil",
    "saddle",
    "tunnel",
    "velvet",
    "village",
    "whistle",
    "orange",
    "kettle",
    "copper",
    "blanket",
    "anchor",
    "barrel",
    "cotton",
    "dragon",
    "feather",
    "hammer",
    "jacket",
    "lemon",
    "needle",
    "parrot",
]
OPENING = {"(": ")", "[": "]", "{": "}", "<": ">"}


def probe(kind: str, tokenizer: Any, seed: int, longest: int | None = None) -> TokenWindows | None:
    """Lines of one kind, the last one asked; None where the model reads too few tokens."""
    generator = np.random.default_rng([seed, 17, PROBES.index(kind)])
    found = []
    for _ in range(QUESTIONS):
        lines = [_probe_line(kind, generator) for _ in range(EXAMPLES + 1)]
        *solved, (asked, answer) = lines
        prompt = "".join(f"{question}{solution}\n" for question, solution in solved) + asked
        found.append(_encoded_answer(prompt, f"{answer}\n", tokenizer))
    windows = pad_readings(found)
    return None if longest is not None and windows.ids.shape[1] > longest else windows


def pad_readings(readings: Sequence[tuple[Sequence[int] | np.ndarray, int]]) -> TokenWindows:
    """Tokens and the first of them that counts, row by row, filled up to one length.

    Filled at the end, which no earlier token of a decoder sees.
    """
    length = max(len(ids) for ids, _ in readings)
    ids, scored = np.zeros((len(readings), length), dtype=np.int64), np.zeros((len(readings), length), dtype=bool)
    for row, (tokens, first) in enumerate(readings):
        ids[row, : len(tokens)] = tokens
        scored[row, first : len(tokens)] = True
    return TokenWindows(ids, scored, np.arange(len(readings)))


def _probe_line(kind: str, generator: Any) -> tuple[str, str]:
    """A question and its answer, which begins with a space."""
    if kind == "copying":
        words = " ".join(generator.choice(WORDS, 4, replace=False))
        return f"{words} =>", f" {words}"
    if kind == "brackets":
        opened = generator.choice(list(OPENING), 4).tolist()
        return f"{' '.join(opened)} =>", " " + " ".join(OPENING[one] for one in reversed(opened))
    a, b = (int(n) for n in generator.integers(2, 10, 2))
    return f"{a} + {b} =", f" {a + b}"


def _encoded_answer(prompt: str, answer: str, tokenizer: Any) -> tuple[list[int], int]:
    """The tokens of both together, and how many of them lie within the prompt."""
    whole = tokenizer(prompt + answer, return_offsets_mapping=tokenizer.is_fast, verbose=False)
    ids = list(whole["input_ids"])
    if tokenizer.is_fast:
        covering = [i for i, (_, end) in enumerate(whole["offset_mapping"]) if end > len(prompt)]
        last = [i for i in covering if ids[i] not in tokenizer.all_special_ids]
        return ids[: last[-1] + 1], last[0]
    before = list(tokenizer(prompt, verbose=False)["input_ids"])
    n_same = next((i for i, (a, b) in enumerate(zip(ids, before, strict=False)) if a != b), min(len(ids), len(before)))
    return ids, n_same


# --- the user's own task -----------------------------------------------------------------------------------------------

TASK_ROWS = 500
"""Rows of a task that are read at most."""
DIRECTION_ROWS = 100
"""Rows of which the right answer is read under each projection."""
PART = 64
"""Choices of a task that are filled up to one length."""


@dataclass(frozen=True)
class TaskPrice:
    """What a task loses, row by row."""

    measure: str
    before: float
    after: float
    difference: Difference
    has_room: bool
    """Whether the whole model does better than chance, so that a fall can be seen."""


class UserTask:
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
        self._tokenized: list[TokenizedRow] = tokenized_rows(self.task, blueprint)
        rows = [i for i, row in enumerate(self._tokenized) if row.sequences]
        if not rows:
            raise ModelError(
                "{weights} can read no row of {task} at once.", weights=blueprint.weights.name, task=self.task.name
            )
        if len(rows) > TASK_ROWS:  # as many as there is time for, drawn
            drawn = np.random.default_rng([config.seed, 18]).permutation(len(rows))[:TASK_ROWS]
            rows = [rows[i] for i in sorted(drawn)]
        self._rows = rows
        self._sequences = [one for i in rows for one in self._tokenized[i].sequences]
        self._order = sorted(range(len(self._sequences)), key=lambda i: len(self._sequences[i].ids))

    @property
    def n_tokens(self) -> int:
        """Of all choices, as they are filled up."""
        return sum(part.ids.size for part in self.parts)

    @cached_property
    def parts(self) -> list[TokenWindows]:
        """All choices, those of about the same length together."""
        ordered = [(self._sequences[i].ids, self._sequences[i].first) for i in self._order]
        return [pad_readings(ordered[k : k + PART]) for k in range(0, len(ordered), PART)]

    def in_order(self, scores: Sequence[Scores]) -> Scores:
        """Those of all parts, as the task asks its rows."""
        return concatenate(scores).select(np.argsort(self._order))

    def right_answers(self) -> list[ScoredTokens]:
        """The right choice of each question, or the first window of each text."""
        questions = self.task.questions
        rows = self._rows[:DIRECTION_ROWS]
        return [self._tokenized[i].sequences[questions[i].answer if questions else 0] for i in rows]

    def price(self, before: Scores, after: Scores) -> TaskPrice:
        """Of what `in_order` gives, without a change and with it."""
        ends = np.cumsum([0, *(len(self._tokenized[i].sequences) for i in self._rows)])
        losses = [[one.loss[a:b] for a, b in pairwise(ends)] for one in (before, after)]
        if self.task.texts:
            counts = np.array([before.n_targets[a:b].sum() for a, b in pairwise(ends)])
            sums = [np.array([one.sum() for one in of]) for of in losses]
            first, then = (float((of / counts).mean()) for of in sums)
            return TaskPrice("loss", first, then, ratio_difference(sums[1] - sums[0], counts), True)
        questions = [self.task.questions[i] for i in self._rows]
        right = [np.asarray(metrics_of_choices(questions, [-one for one in of])[0].values) for of in losses]
        ones = np.ones(len(questions))
        chance = float(np.mean([1 / len(question.choices) for question in questions]))
        has_room = ratio_difference(right[0], ones).lower > chance
        first, then = (float(of.mean()) for of in right)
        return TaskPrice("accuracy", first, then, ratio_difference(right[1] - right[0], ones), has_room)
