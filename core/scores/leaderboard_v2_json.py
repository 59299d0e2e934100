"""The Open LLM Leaderboard v2 as its front end gets it (`/api/leaderboard/formatted`): a list of nested entries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from core.scores.cells import Cell, Remarks, cut
from core.scores.given import Given
from core.scores.layouts import V2_FORMATTED
from core.scores.proposal import Remark, ScoreFile
from core.scores.table import Line, Table
from core.scores.wide import read_table

FORMAT = "leaderboard_v2_json"
_LAYOUT = replace(V2_FORMATTED, format=FORMAT)
_SECTIONS = ("model", "evaluations", "features", "metadata")


def recognises(data: Any) -> bool:
    if not isinstance(data, list):
        return False
    entries = [entry for entry in data[:100] if isinstance(entry, dict)]
    return any(isinstance(entry.get("evaluations"), dict) and "model" in entry for entry in entries)


def read(given: Given, data: list[Any], remarks: Remarks) -> ScoreFile:
    """Flattened with `_`, an entry is a row of the CSV export."""
    header = (*(column.name for column in _LAYOUT.scores), *_LAYOUT.flags)
    return read_table(given, Table(header, _lines(data), tuple(remarks)), _LAYOUT)


def _lines(data: list[Any]) -> Iterator[Line]:
    for index, entry in enumerate(data, start=1):
        if isinstance(entry, dict):
            yield Line(f"entry {index}", flattened(entry))
        else:
            yield Line(f"entry {index}", None, Remark("not_a_task", cut(entry)))


def flattened(entry: dict[str, Any]) -> dict[str, Cell]:
    """`{"evaluations": {"ifeval": {"value": 0.3}}}` -> `evaluations_ifeval_value`; only as deep as the format goes."""
    cells: dict[str, Cell] = {"id": entry.get("id")}
    for section in _SECTIONS:
        values = entry.get(section)
        for key, value in values.items() if isinstance(values, dict) else ():
            inner = value if isinstance(value, dict) else {"": value}
            for name, found in inner.items():
                cells["_".join(filter(None, (section, key, name)))] = found
    return cells
