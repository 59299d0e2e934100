"""A pilot: models x texts by one protocol, with one primary benchmark that was named before anything was measured.

`pilot_file.read_pilot` makes one of a file, `requests` the measurements that it stands for. What was registered stays:
the id holds a hash of everything that was decided beforehand, so an edited file is another pilot beside the first.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from core.errors import InputError, unknown_name
from core.records import RunConfig

USE_CLASSES = {
    "general": "a choice that can be checked by its results, and taken back",
    "scarce_data": "too few task examples to check a choice by its results; the dimension never supports one by itself",
    "safety_critical": "a wrong answer can do harm; the dimension never supports a choice by itself",
}
"""What a pilot decides about, and how far a dimension may be heard in it."""
CAUTIOUS = ("scarce_data", "safety_critical")
"""Where a dimension never supports a recommendation by itself, which every page and slide says."""

NOT_DECIDED = ("device", "memory_budget")
"""What says where a pilot is measured and not what: left out of its id."""
SOURCE = "pilot:"
"""Before the pilot's id, the source of a score that a user states for a model."""


@dataclass(frozen=True)
class OwnScore:
    """What a model reached on the user's own task."""

    value: float
    std_error: float | None = None
    n_samples: int | None = None


@dataclass(frozen=True)
class PilotModel:
    written: str
    """The reference as the file has it."""
    asked: str
    """What a measurement is asked for: as written, but a path is absolute."""
    reference: str
    """What the warehouse calls it: `owner/name`, `pypi:package` or `local:name`."""
    revision: str | None = None
    """Branch, tag, commit or version, where one was written."""
    stack: str | None = None
    dtype: str = "float32"
    score: OwnScore | None = None

    @property
    def label(self) -> str:
        """Short and telling: what follows the owner or the kind, with the revision."""
        name = re.split(r"[/:]", self.reference)[-1]
        more = [part for part in (self.stack, self.dtype if self.dtype != "float32" else None) if part]
        return " · ".join([name + (f"@{self.revision}" if self.revision else ""), *more])


@dataclass(frozen=True)
class PilotText:
    written: str
    asked: str
    """As written, but the path of a file is absolute."""
    column: str | None = None
    encoding: str = "utf-8"
    chat: str = "template"
    """How chat messages are read: `template`, by each model's own, or `plain`, their contents alone."""


@dataclass(frozen=True)
class Benchmark:
    """The one primary benchmark, named before measuring."""

    name: str
    metric: str
    expectation: str
    """What is expected of it, in words."""
    frozen: date
    """When that was written down, as its author states."""
    higher_is_better: bool
    filter: str | None = None
    n_shot: int | None = None
    sign: str | None = None
    """`positive`, `negative` or `none`: the expected relation of score and working dimension."""

    def is_met_by(self, scores: Mapping[str, Any]) -> bool:
        """Whether a row with the columns of a score is of this benchmark; what was not fixed may be anything."""
        fixed = {"benchmark": self.name, "metric": self.metric, "filter": self.filter, "n_shot": self.n_shot}
        return all(value is None or scores[key] == value for key, value in fixed.items())


@dataclass(frozen=True)
class OwnTask:
    """The user's own task, whose scores are a column of the pilot; its values may follow later."""

    name: str
    unit: str
    higher_is_better: bool
    metric: str = "score"


@dataclass(frozen=True)
class Pilot:
    name: str
    question: str
    """What is being decided."""
    use_class: str
    models: tuple[PilotModel, ...]
    texts: tuple[PilotText, ...]
    benchmark: Benchmark
    protocol: str = "quick"
    seed: int = 0
    controls: bool = False
    device: str = "auto"
    memory_budget: int | None = None
    """Bytes that one measurement may take."""
    task: OwnTask | None = None
    note: str | None = None

    @property
    def pilot_id(self) -> str:
        """`support-tickets-1f3a9c02`: the name, and a hash of what was decided before measuring.

        Part of it: question, use class, models, texts, protocol, seed, controls, benchmark, and what the user's own
        task is. Not part: where it is measured, a note, and the values of the user's own scores, which may come
        later and never change once they are registered. Paths count as written, so that a copy of the folder is the
        same pilot.
        """
        decided = asdict(self)
        for key in (*NOT_DECIDED, "note"):
            del decided[key]
        for model in decided["models"]:
            for key in ("asked", "reference", "revision", "score"):
                del model[key]
        for text in decided["texts"]:
            del text["asked"]
        digest = hashlib.sha256(json.dumps(decided, sort_keys=True, default=str).encode()).hexdigest()[:8]
        return f"{_slug(self.name)}-{digest}"

    @property
    def source(self) -> str:
        """The source of this pilot's own scores in the table of scores."""
        return SOURCE + self.pilot_id

    @property
    def is_cautious(self) -> bool:
        """Whether the dimension never supports a recommendation by itself."""
        return self.use_class in CAUTIOUS

    def config(self) -> str:
        """The pilot as JSON, of which `from_config` makes the same pilot."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, default=str)


@dataclass(frozen=True)
class Registered:
    """A pilot as the warehouse holds it."""

    pilot_id: str
    pilot: Pilot
    at: datetime
    """UTC."""


def registered(row: Mapping[str, Any]) -> Registered:
    """A row of the table `pilots`."""
    return Registered(row["pilot_id"], from_config(row["config"]), row["created_at"])


def chosen_pilot(rows: Sequence[Mapping[str, Any]], asked: str) -> Registered:
    """The pilot of this id or name among rows of the table `pilots`, newest first; of one name the newest.

    Raises InputError with the near names.
    """
    for key in ("pilot_id", "name"):
        for row in rows:
            if row[key] == asked:
                return registered(row)
    if not rows:
        raise InputError("No pilot is registered yet. `python -m core pilot FILE.toml` registers and measures one.")
    raise InputError(unknown_name("pilot", asked, {row["name"] for row in rows}))


def from_config(text: str) -> Pilot:
    found = json.loads(text)
    benchmark = found["benchmark"] | {"frozen": date.fromisoformat(found["benchmark"]["frozen"])}
    return Pilot(
        **found
        | {
            "models": tuple(_model(row) for row in found["models"]),
            "texts": tuple(PilotText(**row) for row in found["texts"]),
            "benchmark": Benchmark(**benchmark),
            "task": OwnTask(**found["task"]) if found["task"] else None,
        }
    )


def _model(row: dict[str, Any]) -> PilotModel:
    return PilotModel(**row | {"score": OwnScore(**row["score"]) if row["score"] else None})


def requests(pilot: Pilot, readable: Collection[str] | None = None) -> list[RunConfig]:
    """One measurement for each model on each text; the models of one text are companions of each other.

    `readable` are the models whose tokenizer can be read (`measure.identity.with_tokenizer` of their `asked`): the
    others are no companions and are told their error when their own turn comes. None takes all for readable.
    """
    asked = list(dict.fromkeys(model.asked for model in pilot.models))
    companions = [one for one in asked if readable is None or one in readable]
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


def _slug(name: str) -> str:
    """Letters and digits of any script, joined by hyphens: it stands in addresses and commands."""
    return re.sub(r"[\W_]+", "-", unicodedata.normalize("NFKC", name).lower()).strip("-")[:40].strip("-") or "pilot"
