"""Read evaluation results of a model repository on the hub: `.eval_results/*.yaml`, a list with one value per entry.

    - dataset: {id: cais/hle, task_id: default}     the benchmark, and which of its tasks
      value: 20.9                                   in the benchmark's own unit: neither unit nor metric is stated
      date, source: {url, name, user}, notes, evaluation_framework, verifyToken

The model is that of the repository, which the file does not name. Earlier files say `config` for `task_id`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import yaml

from core.errors import InputError, Sentence
from core.registry.names import NOT_STATED
from core.scores.cells import Remark, Remarks, Skip, day, is_blank, number, optional_label, required_label, shorten
from core.scores.model_results import model_repository
from core.scores.score_input import ScoreInput, section
from core.scores.score_rows import Origin, ParsedScore, ScoreFile, parse_row, skipped_row, without_duplicates
from core.tables import ScoreRow

FORMAT = "hub_eval_results"
SUITE = "hub_eval_results"
MAX_YAML = 4 * 2**20
"""Largest file, in bytes: it holds one repository's results, and YAML is slow to read."""
_MODEL_FOLDER = re.compile(r"(?:^|/)models--([^/]+?)--([^/]+)/")
_MAX_NOTE_LENGTH = 60
_ONLY_TASK = ("default", "")
"""Task names that mean the only task of a benchmark."""


def recognises(data: Any) -> bool:
    """Whether it is a list with entries of dataset and value."""
    return isinstance(data, list) and any(
        isinstance(entry, dict) and "dataset" in entry and "value" in entry for entry in data
    )


def looks_like(text: str) -> bool:
    """Whether a text may be YAML of this kind: its first line that is not a comment starts a list or a document."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return re.match(r"---|- ", next(lines, "")) is not None


def load(file: ScoreInput) -> Any:
    """Parse with every value as text: YAML 1.1 reads `12:30` as a number and `no` as false. Raises InputError."""
    if len(file.content) > MAX_YAML:
        raise InputError(
            "{file} is YAML of more than {limit} MiB: no repository's results are.",
            file=file.shown_name,
            limit=MAX_YAML // 2**20,
        )
    try:
        return yaml.load(file.content.decode(file.encoding), _TextLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        location = Sentence("line {line}", line=mark.line + 1) if mark else Sentence("its end")
        raise InputError(
            "{file} is no YAML at {place}: {reason}.",
            file=file.shown_name,
            place=location,
            reason=shorten(error.problem or error.context),
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(
            "{file} is YAML that cannot be read: {error}.", file=file.shown_name, error=type(error).__name__
        ) from error


class _TextLoader(yaml.BaseLoader):
    """Loads every scalar as its text; a repeated key is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice", node.start_mark)
        return mapping


def read(file: ScoreInput, data: list[Any], remarks: Remarks) -> ScoreFile:
    """Read every entry. Raises Unnamed if neither the path (of the hub's cache) nor the user names the model."""
    match = _MODEL_FOLDER.search(file.name.replace("\\", "/"))
    path_model = "/".join(match.groups()) if match else None
    repository = model_repository(file, file.stated_model or path_model, remarks)
    if path_model is not None and file.stated_model is None:
        remarks.append(Remark("model_from_file_name", shorten(path_model)))
    # The file's commit is not stated to be the one that was evaluated.
    remarks.append(Remark("no_revision"))
    origin = Origin(repository, file.sha256, file.shown_name, SUITE, named=shorten(repository))
    return ScoreFile(
        file.shown_name, file.sha256, FORMAT, without_duplicates(file, _values(data, origin)), (), tuple(remarks)
    )


def _values(data: list[Any], origin: Origin) -> Iterator[ParsedScore]:
    for index, entry in enumerate(data, 1):
        location = Sentence("entry {number}", number=index)
        if not isinstance(entry, dict) or not isinstance(entry.get("dataset"), dict):
            yield skipped_row(location, origin.named, "", "not_a_task", entry)
        else:
            yield parse_row(location, origin.named, entry["dataset"].get("id"), _builder(origin, entry))


def _builder(origin: Origin, entry: dict[str, Any]) -> Any:
    def build(remarks: Remarks) -> ScoreRow:
        dataset, source = section(entry, "dataset"), section(entry, "source")
        benchmark = required_label(dataset.get("id"), "dataset")
        task_id = dataset.get("task_id") or dataset.get("config")
        task = "" if task_id in (None, *_ONLY_TASK) else ":" + required_label(task_id, "task_id")
        value = number(entry.get("value"), remarks)
        remarks.append(Remark("no_unit"))
        entry_origin = Origin(
            repository=origin.repository,
            file_sha256=origin.file_sha256,
            source=optional_label(source.get("url"), "source", remarks) or origin.source,
            suite=required_label(_suite(entry, remarks), "suite"),
            as_of=day(entry.get("date"), remarks),
            flags="" if is_blank(entry.get("verifyToken")) else "verify_token_not_checked",
        )
        return entry_origin.score(
            required_label(benchmark + task, "benchmark"),
            NOT_STATED,
            value,
            NOT_STATED,
            task_version=optional_label(dataset.get("revision"), "revision", remarks),
        )

    return build


def _suite(entry: dict[str, Any], remarks: Remarks) -> str:
    """The suite, with harness and setup in its name: a score with tools and one without are two scores."""
    framework = optional_label(entry.get("evaluation_framework"), "evaluation_framework", remarks)
    notes = entry.get("notes")
    if is_blank(notes):
        return "+".join(filter(None, (SUITE, framework)))
    if not isinstance(notes, str):
        raise Skip("not_readable", "notes")
    setup = " ".join(notes.split())
    if len(setup) > _MAX_NOTE_LENGTH or not setup.isprintable():
        setup = hashlib.sha256(setup.encode("utf-8", "replace")).hexdigest()[:8]
    return "+".join(filter(None, (SUITE, framework, setup)))
