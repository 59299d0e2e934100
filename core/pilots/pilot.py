"""A pilot: models x texts by one protocol, with one primary benchmark that was named before anything was measured.

The classes below are the declared model of a pilot file and of what is registered of it: a field is added there and
nowhere else. Where a file has another key than the field, the key is its alias. What was registered stays: the id holds a
hash of everything that was decided beforehand, so an edited file is another pilot beside the first. First come its models
and texts, then the decision as a whole, then how it is read, found and turned into requests. docs/decisions.md shows such
a file.

Paths are relative to the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, field, replace
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticKnownError

from core.errors import InputError, Sentence, nothing_yet, unknown_name
from core.files import DATA
from core.ids import matching_ids
from core.limits import bytes_of
from core.records import DEVICES, LOCAL, TEXT_FILES, Dtype, RunConfig
from core.tables import PILOT_SOURCE, PilotRow
from core.validation import (
    MODEL_CONFIG,
    Number,
    PositiveNumber,
    Text,
    Whole,
    YesNo,
    format_value,
    from_config,
    parse_toml,
    read_toml,
    refuse_name,
    validate,
)

# --- its models and texts, each checked against the place where the file stands ---------------------------------------


@dataclass(frozen=True, config=MODEL_CONFIG)
class FileContext:
    """What a pilot file is validated with. A registered pilot is read without it, so nothing is looked up again."""

    folder: Path
    """Relative paths start here."""
    protocols: tuple[str, ...]
    texts: tuple[str, ...]
    """Names of the texts that come with Workdim."""

    def path(self, written: str) -> Path:
        return (self.folder / os.path.expanduser(written)).resolve()


def as_table(key: str) -> BeforeValidator:
    """Accept a single value in place of a table that has only this key."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, (str, int, float)) else value)


@dataclass(frozen=True, config=MODEL_CONFIG)
class OwnScore:
    """A model's score on the user's own task."""

    value: Number
    std_error: PositiveNumber | None = None
    n_samples: Whole | None = None


Score = Annotated[OwnScore, as_table("value")]


@dataclass(frozen=True, config=MODEL_CONFIG)
class _Named:
    """A model or text as the file names it, and where it lies."""

    written: Text
    path: str | None = Field(default=None, exclude=True, validate_default=True)
    """Absolute path of a local folder or file; None for what comes with Workdim, is of the hub or of a package."""

    @field_validator("path", mode="before")
    @classmethod
    def _found(cls, path: Any, info: ValidationInfo) -> Any:
        """The absolute path of the written name, if it exists; a registered pilot brings its own."""
        if info.context is None:
            return path
        if path is not None:
            raise PydanticKnownError("unexpected_keyword_argument")
        written = info.data.get("written", "")
        place = info.context.path(written)
        return str(place) if cls._may_be_here(written, info.context) and os.path.exists(place) else None

    @classmethod
    def _may_be_here(cls, written: str, context: FileContext) -> bool:
        return bool(written) and not written.startswith("pypi:")

    @property
    def asked(self) -> str:
        """The reference to measure: as written, with an absolute path."""
        return self.path or self.written


@dataclass(frozen=True, config=MODEL_CONFIG)
class PilotModel(_Named):
    written: Annotated[Text, Field(validation_alias="reference")]
    """The reference as the file has it. `local:NAME` is a folder measured before, as the warehouse names it."""
    stack: Literal["encoder", "decoder"] | None = None
    dtype: Dtype = "float32"
    score: Score | None = None

    @field_validator("written")
    @classmethod
    def _names_a_model(cls, written: str, info: ValidationInfo) -> str:
        context = info.context
        if context is None or written.startswith(("pypi:", LOCAL)) or os.path.exists(context.path(written)):
            return written
        if written.lower().endswith(".gguf") or written.startswith((".", "/", "~")):
            raise ValueError(Sentence("names {context}, which is not there", context=context.path(written)))
        repository, _, revision = written.partition("@")
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository) or not re.fullmatch(r"[\w./-]*", revision):
            raise ValueError(
                Sentence(
                    "must be {what}, not {value}",
                    what=Sentence("hub id, folder, .gguf file or pypi:package"),
                    value=repr(written),
                )
            )
        return written

    @property
    def reference(self) -> str:
        """The name in the warehouse: `owner/name`, `pypi:package` or `local:name`."""
        return self._named()[0]

    @property
    def revision(self) -> str | None:
        """Branch, tag, commit or version, if one was written."""
        return self._named()[1] or None

    def _named(self) -> tuple[str, str]:
        if self.path:
            place = Path(self.path)
            return f"{LOCAL}{place.stem if place.suffix.lower() == '.gguf' else place.name}", ""
        if self.written.startswith("pypi:"):
            name, _, version = self.written.removeprefix("pypi:").replace("==", "@").partition("@")
            return "pypi:" + re.sub(r"[-_.]+", "-", name).lower(), version
        repository, _, revision = self.written.partition("@")
        return repository, revision

    @property
    def label(self) -> str:
        """A short name: what follows the owner or the kind, with the revision."""
        name = re.split(r"[/:]", self.reference)[-1]
        more = [part for part in (self.stack, self.dtype if self.dtype != "float32" else None) if part]
        return " · ".join([name + (f"@{self.revision}" if self.revision else ""), *more])


@dataclass(frozen=True, config=MODEL_CONFIG)
class PilotText(_Named):
    written: Annotated[Text, Field(validation_alias="text")]
    """The name of a text that comes with Workdim, or a file."""
    column: Text | None = None
    encoding: Text = "utf-8"
    chat: Literal["template", "plain"] = "template"
    """How chat messages are read: with each model's own `template`, or `plain`, their contents alone."""

    @field_validator("written")
    @classmethod
    def _names_a_text(cls, written: str, info: ValidationInfo) -> str:
        context = info.context
        if context is None or written in context.texts:
            return written
        if Path(written).suffix.lower() not in TEXT_FILES:
            refuse_name(written, context.texts, Sentence("Or name a {file_types} file.", file_types=TEXT_FILES))
        if not os.path.isfile(context.path(written)):
            raise ValueError(Sentence("names {context}, which is not there", context=context.path(written)))
        return written

    @classmethod
    def _may_be_here(cls, written: str, context: FileContext) -> bool:
        return bool(written) and written not in context.texts

    @model_validator(mode="after")
    def _is_read_as_it_is(self) -> PilotText:
        if self.path is None and (self.column or self.encoding != "utf-8"):
            raise ValueError(Sentence("is {written}, which takes no column or encoding", written=self.written))
        return self


# --- what is decided, as a whole ----------------------------------------------------------------------------------

USE_CLASSES = ("general", "scarce_data", "safety_critical")
"""What a pilot decides about, and how much weight a dimension may have in it: in general the choice can be checked by its
results and taken back; with scarce data there are too few examples of the task; or a wrong answer can do harm."""
CAUTIOUS_USE_CLASSES = ("scarce_data", "safety_critical")
"""Classes in which a dimension never supports a recommendation by itself; every page and slide says so."""

PRESENTATION_FIELDS = ("decided_by", "decide_by", "translations")
"""Fields that may change after registration: who decides, by when, and the wording in other languages."""
UNHASHED_FIELDS = ("device", "memory_budget", "note", "dtype", *PRESENTATION_FIELDS)
"""Not hashed into the id: where it is measured, remarks, `dtype` (each model has its own), and how it is presented."""


def _better(value: Any, info: ValidationInfo) -> Any:
    """Convert `direction` of a file to `higher_is_better` of the record."""
    if isinstance(value, bool) and info.context is None:
        return value
    directions = {"higher": True, "lower": False}
    return directions[value] if isinstance(value, str) and value in directions else refuse_name(value, directions)


NOT_EMPTY = Sentence("a list of one or more")
_DAY = Sentence("a day, as 2026-11-25")


def _day(value: Any) -> Any:
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        day = None
    if not isinstance(day, date) or isinstance(day, datetime):
        raise ValueError(Sentence("must be {what}, not {value}", what=_DAY, value=format_value(value)))
    return day


class NamesScore:
    """What names scores by name, metric, filter and n_shot, of which those that are None match anything."""

    def is_met_by(self: Any, scores: Mapping[str, Any]) -> bool:
        """Whether a row with the columns of a score is of these."""
        named = {"benchmark": self.name, "metric": self.metric, "filter": self.filter, "n_shot": self.n_shot}
        return all(value is None or scores[key] == value for key, value in named.items())


@dataclass(frozen=True, config=MODEL_CONFIG)
class Benchmark(NamesScore):
    """The one primary benchmark, named before measuring."""

    name: Text
    metric: Text
    expectation: Text
    """The expected result, in words."""
    frozen: Annotated[date, BeforeValidator(_day), Field(description=_DAY)]
    """When the expectation was written down, as its author states."""
    higher_is_better: Annotated[
        bool,
        BeforeValidator(_better),
        Field(validation_alias="direction", description=Sentence("one of {names}", names=["higher", "lower"])),
    ]
    filter: Text | None = None
    n_shot: Whole | None = None
    sign: Literal["negative", "positive", "none"] | None = None
    """Expected sign between the largest inner dimension and performance: the score, turned so that higher is better."""

    @field_validator("frozen")
    @classmethod
    def _is_past(cls, day: date, info: ValidationInfo) -> date:
        if info.context and day > date.today():  # only in a file: another machine's date may be behind
            raise ValueError(Sentence("is {day}, which is still to come", day=day))
        return day


@dataclass(frozen=True, config=MODEL_CONFIG)
class OwnTask:
    """The user's own task. Its scores are a column of the pilot; their values may follow later."""

    name: Annotated[Text, Field(validation_alias="task")]
    unit: Text
    higher_is_better: YesNo
    metric: Text = "score"
    n_samples: Whole | None = None
    """For scores that state none."""
    models: dict[str, Score] = field(default_factory=dict, hash=False)
    """reference -> its score, as in the file; after reading, each score is stored with its model."""


def _bytes(value: Any) -> Any:
    try:
        return bytes_of(value) if isinstance(value, str) else value
    except InputError as error:
        raise ValueError(error.message) from error


UseClass = Annotated[
    Text,
    AfterValidator(lambda name: name if name in USE_CLASSES else refuse_name(name, USE_CLASSES)),
    Field(description=Sentence("one of {names}", names=USE_CLASSES)),
]


@dataclass(frozen=True, config=MODEL_CONFIG)
class Translation:
    """Question and expectation in another language: for readers, not part of what was registered."""

    question: Text | None = None
    expectation: Text | None = None


@dataclass(frozen=True, config=MODEL_CONFIG)
class Pilot:
    name: Text
    question: Text
    """The decision to be made."""
    use_class: UseClass
    models: Annotated[
        tuple[Annotated[PilotModel, as_table("reference")], ...], Field(min_length=1, description=NOT_EMPTY)
    ]
    texts: Annotated[tuple[Annotated[PilotText, as_table("text")], ...], Field(min_length=1, description=NOT_EMPTY)]
    benchmark: Benchmark
    protocol: Text = "quick"
    seed: Whole = 0
    controls: YesNo = False
    dtype: Dtype = "float32"
    """For models that state none."""
    device: Text = "auto"
    memory_budget: Annotated[Whole, BeforeValidator(_bytes)] | None = None
    """Bytes that one measurement may take."""
    task: OwnTask | None = Field(default=None, validation_alias="scores")
    note: Text | None = None
    replicates: tuple[tuple[Text, ...], ...] = ()
    """Groups of entries of `models` that are one recipe trained again: it counts once."""
    decided_by: Text | None = None
    """The person or body that decides."""
    decide_by: Annotated[
        date | None, BeforeValidator(lambda day: None if day is None else _day(day)), Field(description=_DAY)
    ] = None
    translations: dict[Literal["en", "ja"], Translation] = field(default_factory=dict, hash=False)
    """Language -> question and expectation in it."""

    @model_validator(mode="before")
    @classmethod
    def _hand_down_dtype(cls, content: Any, info: ValidationInfo) -> Any:
        """Apply the file's `dtype` to each model that states none."""
        if info.context is None or not isinstance(content, dict) or not isinstance(content.get("models"), list):
            return content
        default = {"dtype": content["dtype"]} if "dtype" in content else {}
        entries = [{"reference": entry} if isinstance(entry, str) else entry for entry in content["models"]]
        return content | {"models": [default | entry if isinstance(entry, dict) else entry for entry in entries]}

    @field_validator("protocol")
    @classmethod
    def _is_known(cls, protocol: str, info: ValidationInfo) -> str:
        if info.context and protocol not in info.context.protocols:
            refuse_name(protocol, info.context.protocols)
        return protocol

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str) -> str:
        if not re.fullmatch(DEVICES, device):
            refuse_name(device, ("auto", "cpu", "mps", "cuda", "cuda:0"))
        return device

    @model_validator(mode="after")
    def _belongs_together(self) -> Pilot:
        if self.task and self.task.models:
            self._take_scores(self.task)
        if len({(model.asked, model.stack, model.dtype) for model in self.models}) < len(self.models):
            raise ValueError(_twice("models", [model.written for model in self.models]))
        if len({(text.asked, text.column) for text in self.texts}) < len(self.texts):
            raise ValueError(_twice("texts", [text.written for text in self.texts]))
        if self.task is None and any(model.score for model in self.models):
            raise ValueError(
                Sentence(
                    "{key} is missing; it must be {what}.",
                    key="scores",
                    what=Sentence("a table with {names}", names=["task", "unit", "higher_is_better"]),
                )
            )
        first_of: dict[str, PilotModel] = {}
        for model in self.models:
            first = first_of.setdefault(model.reference + (model.revision or ""), model)
            if first.asked != model.asked:
                names = [first.written, model.written]
                raise ValueError(Sentence("models has two {name}: {names}", name=model.reference, names=names))
            if first.score != model.score:
                raise ValueError(_two_scores(model.written))
        self._check_replicates()
        task, benchmark = self.task, self.benchmark
        if task and benchmark.name == task.name:
            same = (benchmark.metric, benchmark.higher_is_better) == (task.metric, task.higher_is_better)
            if not same or benchmark.filter is not None or benchmark.n_shot is not None:
                raise ValueError(
                    Sentence(
                        "benchmark {task} is your own: it has metric '{metric}', the direction of scores, no filter or n_shot",
                        task=task.name,
                        metric=task.metric,
                    )
                )
        return self

    def _check_replicates(self) -> None:
        written = {model.written for model in self.models}
        named = [name for recipe in self.replicates for name in recipe]
        for name in named:
            if name not in written:
                raise ValueError(Sentence("replicates: {problem}", problem=unknown_name("model", name, written)))
            if named.count(name) > 1:
                raise ValueError(_twice("replicates", [name]))
        if any(len(recipe) < 2 for recipe in self.replicates):
            raise ValueError(Sentence("replicates needs two models or more in each list"))

    def _take_scores(self, task: OwnTask) -> None:
        """Assign each score in the task's table to its model."""
        of_models = {
            reference: replace(score, n_samples=task.n_samples) if score.n_samples is None else score
            for reference, score in task.models.items()
        }
        written = {model.written for model in self.models}
        for reference in of_models.keys() - written:
            raise ValueError(Sentence("scores.models: {problem}", problem=unknown_name("model", reference, written)))
        models = []
        for model in self.models:
            score = of_models.get(model.written, model.score)
            if model.score not in (None, score):
                raise ValueError(_two_scores(model.written))
            models.append(replace(model, score=score))
        object.__setattr__(self, "models", tuple(models))
        object.__setattr__(self, "task", replace(task, n_samples=None, models={}))

    @property
    def pilot_id(self) -> str:
        """`support-tickets-1f3a9c02`: the name, and a hash of what was decided before measuring.

        Hashed: question, use class, models, texts, protocol, seed, controls, benchmark and the user's own task, and
        replicates if there are any. Not hashed: where it is measured, a note, how it is presented
        (`PRESENTATION_FIELDS`), and the values of the user's own scores, which may come later and never change once
        they are registered. Paths count as written, so that a copy of the folder is the same pilot.
        """
        decided = asdict(self)
        for key in UNHASHED_FIELDS:
            del decided[key]
        if not self.replicates:
            del decided["replicates"]
        for model in decided["models"]:
            del model["path"], model["score"]
        for text in decided["texts"]:
            del text["path"]
        if decided["task"]:
            del decided["task"]["n_samples"], decided["task"]["models"]
        return hashed_id(self.name, decided, "pilot")

    def question_in(self, language: str) -> str:
        """The question in this language, or as registered if it is not translated."""
        return self._translated(language, "question") or self.question

    def expectation_in(self, language: str) -> str:
        return self._translated(language, "expectation") or self.benchmark.expectation

    def _translated(self, language: str, name: str) -> str | None:
        return next(
            (getattr(translation, name) for key, translation in self.translations.items() if key == language), None
        )

    @property
    def source(self) -> str:
        """The source of this pilot's own scores in the table of scores."""
        return PILOT_SOURCE + self.pilot_id

    @property
    def is_cautious(self) -> bool:
        """Whether the dimension never supports a recommendation by itself."""
        return self.use_class in CAUTIOUS_USE_CLASSES

    def config(self) -> str:
        """The pilot as JSON; `pilot_from_config` reads it back."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, default=str)


def slug(name: str, otherwise: str) -> str:
    """Letters and digits of any script, joined by hyphens, for addresses and commands."""
    return re.sub(r"[\W_]+", "-", unicodedata.normalize("NFKC", name).lower()).strip("-")[:40].strip("-") or otherwise


def hashed_id(name: str, content: Mapping[str, Any], otherwise: str) -> str:
    """`support-tickets-1f3a9c02`: the name as a slug, and a hash of the content."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:8]
    return f"{slug(name, otherwise)}-{digest}"


Saved = TypeVar("Saved")


def _two_scores(model: str) -> Sentence:
    return Sentence("scores: {name} has two different ones", name=model)


def _twice(key: str, names: Sequence[str]) -> Sentence:
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    return Sentence("{key} has the same twice: {names}", key=key, names=twice or names)


def find_saved(saved: Sequence[tuple[str, str, Saved]], query: str, kind: str, made_by: str) -> Saved:
    """Of (name, id, record), newest last, the newest with this name, or the only one whose id begins or ends so.

    Raises InputError with the near names; `kind` is what they are names of, as in `unknown_name`. The first one is
    `made_by` a verb.
    """
    if not saved:
        raise InputError(nothing_yet(made_by))
    matches = [record for name, _id, record in saved if name == query][-1:]
    if not matches and query:
        ids = matching_ids([one for _name, one, _record in saved], query)
        matches = [record for _name, one, record in saved if one in ids]
        if len(matches) > 1:
            raise InputError("Several begin or end with '{asked}': {found}. Type more.", asked=query, found=ids)
    if not matches:
        raise InputError(unknown_name(kind, query, {name for name, _id, _record in saved}))
    return matches[0]


# --- read from its file or from the warehouse, and turned into requests to measure --------------------------------

_PILOT = TypeAdapter(Pilot)
_SHIPPED = DATA / "pilots" / "ladder.toml"


@dataclasses.dataclass(frozen=True)
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
    """Find a pilot as `find_saved` does in rows of the table `pilots`, newest first. Raises InputError."""
    newest_last = [(row.name, row.pilot_id, row) for row in reversed(rows)]
    return registered_pilot(find_saved(newest_last, query, Sentence("pilot"), "pilot FILE.toml"))


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
