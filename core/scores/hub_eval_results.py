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
from functools import partial
from typing import Any

import yaml

from core.errors import InputError, Sentence
from core.registry.names import NOT_STATED
from core.scores.cells import Remark, Remarks, Skip, day, is_blank, number, optional_label, required_label, shorten
from core.scores.score_input import ScoreInput, section
from core.scores.score_rows import ParsedScore, ScoreFile, model_by_path, parse_row, score_file, skipped_row
from core.tables import ScoreRow

FORMAT = "hub_eval_results"
MAX_YAML = 4
"""Largest file, in MiB: it holds one repository's results, and YAML is slow to read."""
_MODEL_FOLDER = re.compile(r"(?:^|/)models--([^/]+?)--([^/]+)/")
_MAX_NOTE_LENGTH = 60


def looks_like(text: str) -> bool:
    """Whether a text may be YAML of this kind: its first line that is not a comment starts a list or a document."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return re.match(r"---|- ", next(lines, "")) is not None


def read(file: ScoreInput) -> ScoreFile:
    """Read every entry. Raises Unnamed if neither the path (of the hub's cache) nor the user names the model."""
    data, remarks = _load(file), list(file.encoding_remarks)
    if not isinstance(data, list) or not any(
        isinstance(entry, dict) and "dataset" in entry and "value" in entry for entry in data
    ):
        raise InputError(
            "{file} is no YAML that we know: evaluation results (.eval_results/*.yaml) with dataset and value.",
            file=file.shown_name,
        )
    folder = _MODEL_FOLDER.search("/".join(file.path))
    repository = model_by_path(file, "/".join(folder.groups()) if folder else None, remarks)
    # The file's commit is not stated to be the one that was evaluated.
    remarks.append(Remark("no_revision"))
    return score_file(file, FORMAT, _values(file, data, repository), remarks)


def _load(file: ScoreInput) -> Any:
    """Parse with every value as text: YAML 1.1 reads `12:30` as a number and `no` as false. Raises InputError."""
    file.require_at_most(MAX_YAML, len(file.content) / 2**20, Sentence("MiB of YAML"))
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


def _values(file: ScoreInput, data: list[Any], repository: str) -> Iterator[ParsedScore]:
    for index, entry in enumerate(data, 1):
        location = Sentence("entry {number}", number=index)
        if not isinstance(entry, dict) or not isinstance(entry.get("dataset"), dict):
            yield skipped_row(location, repository, "", Remark("not_a_task", shorten(entry)))
        else:
            build = partial(_score, file, repository, entry)
            yield parse_row(location, repository, entry["dataset"].get("id"), build)


def _score(file: ScoreInput, repository: str, entry: dict[str, Any], remarks: Remarks) -> ScoreRow:
    dataset = entry["dataset"]
    benchmark = required_label(dataset.get("id"), "dataset")
    task_id = dataset.get("task_id") or dataset.get("config")
    if task_id not in (None, "", "default"):  # else the only task of the benchmark
        benchmark += ":" + required_label(task_id, "task_id")
    value = number(entry.get("value"), remarks)
    remarks.append(Remark("no_unit"))
    return ScoreRow(
        repository=repository,
        file_sha256=file.sha256,
        source=optional_label(section(entry, "source").get("url"), "source", remarks) or file.shown_name,
        suite=required_label(_suite(entry, remarks), "suite"),
        as_of=day(entry.get("date"), remarks),
        flags="" if is_blank(entry.get("verifyToken")) else "verify_token_not_checked",
        benchmark=required_label(benchmark, "benchmark"),
        metric=NOT_STATED,
        value=value,
        unit=NOT_STATED,
        task_version=optional_label(dataset.get("revision"), "revision", remarks),
    )


def _suite(entry: dict[str, Any], remarks: Remarks) -> str:
    """The suite, with harness and setup in its name: a score with tools and one without are two scores."""
    framework = optional_label(entry.get("evaluation_framework"), "evaluation_framework", remarks)
    notes = entry.get("notes")
    setup = ""
    if not is_blank(notes):
        if not isinstance(notes, str):
            raise Skip("not_readable", "notes")
        setup = " ".join(notes.split())
        if len(setup) > _MAX_NOTE_LENGTH or not setup.isprintable():
            setup = hashlib.sha256(setup.encode("utf-8", "replace")).hexdigest()[:8]
    return "+".join(filter(None, (FORMAT, framework, setup)))
