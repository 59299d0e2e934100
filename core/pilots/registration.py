"""Read pilots from their file or from the warehouse, and turn them into requests to measure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from core.errors import InputError, Sentence, nothing_yet, unknown_name
from core.files import DATA
from core.pilots.entries import FileContext
from core.pilots.pilot import Pilot
from core.records import RunConfig
from core.tables import PilotRow
from core.validation import from_config, parse_toml, read_toml, validate

_PILOT = TypeAdapter(Pilot)
_SHIPPED = DATA / "pilots" / "ladder.toml"


@dataclass(frozen=True)
class RegisteredPilot:
    """A pilot as stored in the warehouse."""

    pilot_id: str
    pilot: Pilot
    at: datetime
    """Time of registration, in UTC."""


def registered_pilot(row: PilotRow) -> RegisteredPilot:
    """Read a row of the table `pilots`."""
    return RegisteredPilot(row.pilot_id, pilot_from_config(row.config), row.created_at)


def find_pilot(rows: Sequence[PilotRow], query: str) -> RegisteredPilot:
    """Find the pilot with this id or name in rows of the table `pilots`, newest first; of one name the newest counts.

    Raises InputError with the near names.
    """
    for key in ("pilot_id", "name"):
        for row in rows:
            if getattr(row, key) == query:
                return registered_pilot(row)
    if not rows:
        raise InputError(nothing_yet("pilot FILE.toml"))
    raise InputError(unknown_name("pilot", query, {row.name for row in rows}))


def pilot_from_config(text: str) -> Pilot:
    """Read a pilot that `Pilot.config` wrote. Raises ValueError for any other text."""
    return from_config(_PILOT, text)


def pilot_requests(pilot: Pilot, readable: Collection[str] | None = None) -> list[RunConfig]:
    """One measurement for each model on each text; the models of one text are companions of each other.

    `readable` are the models, by their `asked`, whose tokenizer can be read. The others are no companions; their error
    is reported when they are measured. None means that all are readable.
    """
    references = list(dict.fromkeys(model.asked for model in pilot.models))
    companions = [reference for reference in references if readable is None or reference in readable]
    return [
        RunConfig(
            model=model.asked,
            corpus=text.asked,
            protocol=pilot.protocol,
            column=text.column,
            encoding=text.encoding,
            chat=text.chat,
            seed=pilot.seed,
            dtype=model.dtype,
            device=pilot.device,
            stack=model.stack,
            companions=tuple(other for other in companions if other != model.asked),
            memory_budget=pilot.memory_budget,
            controls=pilot.controls,
        )
        for text in pilot.texts
        for model in pilot.models
    ]


@lru_cache(maxsize=1)
def shipped_pilot() -> Pilot:
    """The pilot that ships with Workdim: the default if no other is registered."""
    content = read_toml(_SHIPPED, Sentence("pilot file"))
    return _pilot(content, _SHIPPED, [content["protocol"]], content["texts"])


def read_pilot(file: Path, protocols: Collection[str], texts: Collection[str]) -> Pilot:
    """Read a pilot from a TOML file. `protocols` and `texts` are the names that Workdim knows.

    Raises InputError, with the file, the key and what is allowed there.
    """
    return _pilot(read_toml(Path(file), Sentence("pilot file")), Path(file), protocols, texts)


def parse_pilot(text: str, folder: Path, protocols: Collection[str], texts: Collection[str]) -> Pilot:
    """Read a pilot from the text of such a file; relative paths start at `folder`. Raises InputError."""
    file = folder / "pilot.toml"
    return _pilot(parse_toml(text, file), file, protocols, texts)


def _pilot(content: dict[str, Any], file: Path, protocols: Collection[str], texts: Collection[str]) -> Pilot:
    return validate(Pilot, content, file, FileContext(file.parent, tuple(protocols), tuple(texts)))
