"""JSON as score files have it: read whole below a limit, and a key that stands twice is never settled silently."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from core.errors import InputError
from core.scores.cells import cut
from core.scores.given import Given
from core.scores.proposal import Remark

MAX_JSON = 64 * 2**20
"""Parsed JSON takes about ten times its size in memory, and must be held whole."""
_TOLD = 20
"""Keys that are told; a file made to have millions of them would fill the memory with remarks."""


@dataclass(frozen=True)
class Twice:
    """Stands for the value of a key that one object has twice with different values: it is neither."""

    key: str


def load(given: Given, remarks: list[Remark]) -> Any:
    """The whole file. Raises InputError where it is too large, broken or nested too deep."""
    if len(given.content) > MAX_JSON:
        raise InputError(
            f"{given.shown_name} is JSON of {len(given.content) // 2**20} MB; up to {MAX_JSON // 2**20} MB are read. "
            "Leave single answers (samples) out of it, or hand them over as JSON lines."
        )
    return parse(given.content.decode(given.encoding), given.shown_name, remarks)


def parse(text: str, where: str, remarks: list[Remark]) -> Any:
    """Like json.loads, with NaN and Infinity as Python writes them; `where` begins the message of an error."""
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, remarks))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where} is not complete JSON (line {error.lineno}, character {error.colno}: {error.msg}). "
            "It was cut short or changed; copy it again."
        ) from error
    except RecursionError as error:
        raise InputError(f"{where} is JSON that is nested too deep for any file of scores.") from error
    except ValueError as error:
        raise InputError(f"{where} is JSON with a number that is too long to be one.") from error


def _object(pairs: list[tuple[str, Any]], remarks: list[Remark]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen and not _same(seen[key], value):
            value = Twice(cut(key))
            if len(remarks) < _TOLD:
                remarks.append(Remark("key_twice", cut(key)))
        seen[key] = value
    return seen


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def section(data: Any, key: str) -> dict[str, Any]:
    """The object under a key, empty where there is none or something else."""
    found = data.get(key) if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}
