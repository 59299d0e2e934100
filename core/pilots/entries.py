"""The entries of a pilot: the models and texts that it names, each checked against the place where the file stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from core.errors import Sentence
from core.records import LOCAL, Dtype
from core.validation import MODEL_CONFIG, Number, PositiveNumber, Text, Whole, refuse_name

TEXT_FILES = (".txt", ".jsonl", ".json", ".csv", ".parquet")


@dataclass(frozen=True, config=MODEL_CONFIG)
class FileContext:
    """What a pilot file is validated with. A registered pilot is read without it, so nothing is looked up again."""

    folder: Path
    """Relative paths start here."""
    protocols: tuple[str, ...]
    texts: tuple[str, ...]
    """Names of the texts that come with Workdim."""

    def path(self, written: str) -> Path:
        return (self.folder / Path(written).expanduser()).resolve()


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
class PilotModel:
    written: Annotated[Text, Field(validation_alias=AliasChoices("reference", "written"))]
    """The reference as the file has it. `local:NAME` is a folder measured before, as the warehouse names it."""
    path: str | None = Field(default=None, exclude=True, validate_default=True)
    """Absolute path of a local folder or file; None for a model of the hub or of a package."""
    stack: Literal["encoder", "decoder"] | None = None
    dtype: Dtype = "float32"
    score: Score | None = None

    @field_validator("written")
    @classmethod
    def _names_a_model(cls, written: str, info: ValidationInfo) -> str:
        context = info.context
        if context is None or written.startswith(("pypi:", LOCAL)) or context.path(written).exists():
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

    @field_validator("path", mode="before")
    @classmethod
    def _found(cls, path: Any, info: ValidationInfo) -> Any:
        return _found_path(path, info)

    @property
    def asked(self) -> str:
        """The reference to measure: as written, with an absolute path."""
        return self.path or self.written

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
class PilotText:
    written: Annotated[Text, Field(validation_alias=AliasChoices("text", "written"))]
    """The name of a text that comes with Workdim, or a file."""
    path: str | None = Field(default=None, exclude=True, validate_default=True)
    """Absolute path of a file."""
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
        if not context.path(written).is_file():
            raise ValueError(Sentence("names {context}, which is not there", context=context.path(written)))
        return written

    @field_validator("path", mode="before")
    @classmethod
    def _found(cls, path: Any, info: ValidationInfo) -> Any:
        return None if info.context and info.data.get("written") in info.context.texts else _found_path(path, info)

    @model_validator(mode="after")
    def _is_read_as_it_is(self) -> PilotText:
        if self.path is None and (self.column or self.encoding != "utf-8"):
            raise ValueError(Sentence("is {written}, which takes no column or encoding", written=self.written))
        return self

    @property
    def asked(self) -> str:
        """As written, with an absolute path for a file."""
        return self.path or self.written


def _found_path(path: Any, info: ValidationInfo) -> Any:
    """The absolute path of the written name, if it exists; a registered pilot brings its own."""
    if info.context is None:
        return path
    written = info.data.get("written", "")
    place = info.context.path(written)
    return str(place) if written and not written.startswith("pypi:") and place.exists() else None
