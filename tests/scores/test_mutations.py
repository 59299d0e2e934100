"""Genuine files changed at random: each becomes a ScoreFile or an InputError, never another exception."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from core.errors import InputError
from core.scores.reader import read_scores
from core.scores.score_rows import BENCHMARK, MODEL, ScoreFile
from tests.portions import mutations
from tests.scores.files import TABLES, genuine

STATED = {MODEL: "org/m", BENCHMARK: "task"}
N = mutations(500)
FILES = {
    "newest": genuine("0.4.13/whole/*/results_*.json"),
    "early": genuine("0.4.0/results.json"),
    "v0.3": genuine("0.3.0/results.json"),
    "samples": genuine("0.4.13/limited/*/samples_little_sums_*.jsonl"),
    "early samples": genuine("0.4.0/*little_sums.jsonl"),
    "leaderboard v2": TABLES / "leaderboard_v2.csv",
}
TOKENS = [
    b'"',
    b",",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"NaN",
    b"1e999",
    b"-",
    b"\\ud800",
    b"null",
    b";",
    b"\n",
    b"\0",
    b"\xff",
]
VALUES = (
    None,
    True,
    -1,
    0,
    1e308,
    float("nan"),
    10**40,
    "",
    "N/A",
    "x" * 400,
    "\ud800",
    [],
    {},
    [[]],
    {"a": {}},
    "<b>",
)
ODD = [json.dumps(value) for value in VALUES]


def read(content: bytes) -> ScoreFile | None:
    """None where it is refused; what is read must be fit to be stored."""
    try:
        found = read_scores("results.json", content, STATED)
    except InputError as error:
        assert "\n" not in str(error)
        return None
    for row in found.rows:
        assert (row.score is None) is (row.skipped is not None)
    repr(found).encode("utf-8")
    return found


@pytest.mark.parametrize("path", FILES.values(), ids=FILES)
def test_bytes(path):
    original, draw = path.read_bytes(), random.Random(20240610)
    for _ in range(N):
        content = bytearray(original)
        for _ in range(draw.randint(1, 4)):
            at, length = draw.randrange(len(content)), draw.choice((0, 1, 1, 2, 30, 3000))
            content[at : at + length] = draw.choice((b"", draw.choice(TOKENS), bytes([draw.randrange(256)])))
        read(bytes(content))


@pytest.mark.parametrize("name", ["newest", "early", "v0.3"])
def test_structure(name):
    original, draw = FILES[name].read_text(encoding="utf-8"), random.Random(20240611)
    for _ in range(N):
        data = json.loads(original)
        for _ in range(draw.randint(1, 5)):
            change(data, draw)
        read(json.dumps(data).encode())


def change(data: Any, draw: random.Random) -> None:
    """One value, somewhere in it, becomes another, moves, or goes."""
    place = data
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = draw.choice(keys)
        inner = place[key]
        if isinstance(inner, dict | list) and inner and draw.random() < 0.75:
            place = inner
            continue
        break
    if draw.random() < 0.2:
        del place[key]
    elif isinstance(place, dict) and draw.random() < 0.2:
        place[draw.choice(("a,b", ",", "", "x_stderr,none", "\x07", "all"))] = place.pop(key)
    else:
        place[key] = json.loads(draw.choice(ODD))


def test_unchanged_files_are_read():
    assert all(read(path.read_bytes()) is not None for path in FILES.values())
