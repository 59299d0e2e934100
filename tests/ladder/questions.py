"""Four tasks of multiple-choice questions from the held-out code, each within the context, at graded distances.

The same text, tokenizer and seed give the same questions. A choice that is not the right one differs from it in the one
thing that is asked for.
"""

from __future__ import annotations

import hashlib
import json
import keyword
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from tests.ladder import text
from tests.ladder.recipes import CONTEXT

PER_TASK = 500
DISTANCES = (8, 16, 32, 64, CONTEXT)
"""Upper ends of the classes of distance, in tokens; the questions of a task are shared out evenly as far as there are any."""
PAIRS = {"(": ")", "[": "]", "{": "}"}
KIND = re.compile(r"\n *|[)\]}]|")
"""Of a choice: its indentation, its bracket, or none."""
IDENTIFIER = re.compile(r"[A-Za-z_]\w{3,}")


@dataclass(frozen=True)
class Question:
    task: str
    prompt: str
    choices: tuple[str, ...]
    answer: int
    distance: int
    """Tokens from what decides the answer to the place of the answer."""


def all_questions(per_task: int = PER_TASK) -> list[Question]:
    """`per_task` of each task, or as many as the text has."""
    tasks: dict[str, Callable[[random.Random], Iterator[Question]]] = {
        "brackets": _brackets,
        "copying": _copying,
        "identifier": _identifiers,
        "indentation": _indentation,
    }
    return [
        question
        for seed, (task, find) in enumerate(tasks.items())
        for question in _graded(list(find(random.Random(seed))), per_task, random.Random(task))
    ]


def digest(questions: list[Question]) -> str:
    """SHA-256 of all that is asked."""
    return hashlib.sha256(json.dumps([asdict(one) for one in questions]).encode()).hexdigest()


def _graded(found: list[Question], wanted: int, generator: random.Random) -> list[Question]:
    """Evenly over classes of distance and, within each, over the right choices' kinds."""
    classes: list[list[Question]] = [[] for _ in DISTANCES]
    for question in found:
        classes[next(n for n, upper in enumerate(DISTANCES) if question.distance <= upper)].append(question)
    for members in classes:
        generator.shuffle(members)
        seen: Counter[str] = Counter()
        turns = {}
        for question in members:
            kind = KIND.match(question.choices[question.answer])[0]  # type: ignore[index]
            turns[question] = seen[kind]
            seen[kind] += 1
        members.sort(key=turns.__getitem__, reverse=True)
    chosen: list[Question] = []
    while len(chosen) < wanted and any(classes):
        chosen += [members.pop() for members in classes if members][: wanted - len(chosen)]
    return chosen


def _length(string: str) -> int:
    return len(text.tokenizer().backend_tokenizer.encode(string).ids)


def _asked(
    task: str, prompt: str, right: str, wrong: list[str], distance: int, generator: random.Random
) -> Iterator[Question]:
    """Nothing where prompt and the longest choice do not fit into the context."""
    choices = [right, *wrong]
    generator.shuffle(choices)
    if _length(prompt) + max(map(_length, choices)) <= CONTEXT:
        yield Question(task, prompt, tuple(choices), choices.index(right), distance)


def _stretches() -> Iterator[str]:
    """Each held-out file in pieces of whole lines that fill about a context."""
    for _, content in sorted(text.held_out("code").items()):
        lines = content.split("\n")
        first = 0
        while first < len(lines):
            last, size = first, 0
            while last < len(lines) and size + len(lines[last]) + 1 <= 330:
                size += len(lines[last]) + 1
                last += 1
            if last - first >= 2:
                yield "\n".join(lines[first:last])
            first = max(last, first + 1)


def _brackets(generator: random.Random) -> Iterator[Question]:
    """Which bracket closes here? The rest of the line is the same in all choices."""
    for stretch in _stretches():
        open_: list[tuple[str, int]] = []
        for place, letter in enumerate(stretch):
            if letter in PAIRS:
                open_.append((letter, place))
            elif letter in PAIRS.values():
                if not open_ or PAIRS[open_[-1][0]] != letter:
                    break  # within a string or a comment: what follows cannot be told
                _, opened = open_.pop()
                rest = stretch[place + 1 :].partition("\n")[0][:12]
                wrong = [other + rest for other in PAIRS.values() if other != letter]
                prompt = stretch[:place]
                yield from _asked("brackets", prompt, letter + rest, wrong, _length(stretch[opened:place]), generator)


def _copying(generator: random.Random) -> Iterator[Question]:
    """A line, other lines, and its beginning again: how does it go on?"""
    stretches = list(_stretches())
    lines = sorted({line.strip() for stretch in stretches for line in stretch.split("\n")})
    lines = [line for line in lines if 24 <= len(line) <= 60 and " " in line[8:-8]]
    halves = {line: _half(line) for line in lines}
    for line in generator.sample(lines, len(lines)):
        begin, end = halves[line]
        alike = [other for _, other in halves.values() if other != end and abs(len(other) - len(end)) <= 3]
        if len(set(alike)) < 3:
            continue
        between = generator.choice(stretches).split("\n")
        between = between[: generator.randrange(len(between) + 1)]
        if line in (one.strip() for one in between):
            continue
        prompt = "\n".join([line, *between, begin])
        distance = _length(prompt) - _length(begin)
        if distance <= CONTEXT:
            yield from _asked("copying", prompt, end, generator.sample(sorted(set(alike)), 3), distance, generator)


def _half(line: str) -> tuple[str, str]:
    """Cut before the space that is nearest to the middle."""
    spaces = [place for place, letter in enumerate(line) if letter == " "]
    cut = min(spaces, key=lambda place: abs(place - len(line) / 2))
    return line[:cut], line[cut:]


def _identifiers(generator: random.Random) -> Iterator[Question]:
    """Which of the names that stand above comes next? It stood there before."""
    for stretch in _stretches():
        found = [match for match in IDENTIFIER.finditer(stretch) if not keyword.iskeyword(match[0])]
        for n, match in enumerate(found):
            before = {one[0]: one for one in found[:n]}
            others = sorted(set(before) - {match[0]})
            if match[0] not in before or len(others) < 3:
                continue
            space = match.start() > 0 and stretch[match.start() - 1] == " "
            prompt = stretch[: match.start() - space]
            distance = _length(stretch[before[match[0]].start() : match.start()])
            wrong = [" " * space + other for other in generator.sample(others, 3)]
            yield from _asked("identifier", prompt, " " * space + match[0], wrong, distance, generator)


def _indentation(generator: random.Random) -> Iterator[Question]:
    """How far is the next line indented? The distance is that to the last line which is indented so."""
    for stretch in _stretches():
        lines = stretch.split("\n")
        for n in range(2, len(lines)):
            line = lines[n]
            depth = len(line) - len(line.lstrip(" "))
            word = re.match(r"\w+", line.strip())
            same = [m for m in range(n) if lines[m].strip() and len(lines[m]) - len(lines[m].lstrip(" ")) == depth]
            if not word or depth % 4 or depth > 16 or not same or not lines[n - 1].strip():
                continue
            others = sorted(range(0, 21, 4), key=lambda other: (abs(other - depth), other))[1:4]
            prompt = "\n".join(lines[:n])
            distance = _length("\n".join(lines[same[-1] : n]))
            wrong = [f"\n{' ' * other}{word[0]}" for other in others]
            yield from _asked("indentation", prompt, f"\n{' ' * depth}{word[0]}", wrong, distance, generator)
