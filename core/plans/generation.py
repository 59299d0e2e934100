"""What breaks first and a mean loss hides: copying, closing brackets, sums of digits, as exact answers.

An answer counts where greedy generation would write it to its end, line break included. It would exactly where the
likeliest token after the prompt, and after each further token of the answer, is the answer's own: so one pass over
prompt and answer tells it, without generating.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.texts.sample import TokenWindows

KINDS = ("copying", "brackets", "digit_sums")
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
    """Lines of one kind, the last one asked, filled up to one length; None where the model reads too few tokens.

    Filled at the end, which no earlier token of a decoder sees.
    """
    generator = np.random.default_rng([seed, 17, KINDS.index(kind)])
    found = []
    for _ in range(QUESTIONS):
        lines = [_line(kind, generator) for _ in range(EXAMPLES + 1)]
        *solved, (asked, answer) = lines
        prompt = "".join(f"{question}{solution}\n" for question, solution in solved) + asked
        found.append(_encoded(prompt, f"{answer}\n", tokenizer))
    length = max(len(ids) for ids, _ in found)
    if longest is not None and length > longest:
        return None
    ids, scored = np.zeros((QUESTIONS, length), dtype=np.int64), np.zeros((QUESTIONS, length), dtype=bool)
    for row, (tokens, n_prompt) in enumerate(found):
        ids[row, : len(tokens)] = tokens
        scored[row, n_prompt : len(tokens)] = True
    return TokenWindows(ids, scored, np.arange(QUESTIONS))


def _line(kind: str, generator: Any) -> tuple[str, str]:
    """A question and its answer, which begins with a space."""
    if kind == "copying":
        words = " ".join(generator.choice(WORDS, 4, replace=False))
        return f"{words} =>", f" {words}"
    if kind == "brackets":
        opened = generator.choice(list(OPENING), 4).tolist()
        return f"{' '.join(opened)} =>", " " + " ".join(OPENING[one] for one in reversed(opened))
    a, b = (int(n) for n in generator.integers(2, 10, 2))
    return f"{a} + {b} =", f" {a + b}"


def _encoded(prompt: str, answer: str, tokenizer: Any) -> tuple[list[int], int]:
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
