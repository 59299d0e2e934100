"""Read a file of benchmark scores, written by any tool, into rows; nothing is stored here.

The format is recognised by the content. The file's name only supplies a model or benchmark that the content lacks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import yaml

from core.errors import InputError, Sentence
from core.registry.names import NOT_STATED
from core.scores.lm_eval import entries_by_line, is_harness, is_sample, read_harness, read_samples
from core.scores.score_rows import (
    MAX_BYTES,
    MAX_LINE,
    Cell,
    ParsedScore,
    Remark,
    Remarks,
    ScoreFile,
    ScoreInput,
    Skip,
    boolean,
    day,
    is_blank,
    join_flags,
    load,
    mapped_model,
    model_by_path,
    normalize_dtype,
    number,
    optional_label,
    parse,
    parse_row,
    required_label,
    score_file,
    section,
    shorten,
    skipped_row,
    unknown_format,
)
from core.scores.table import ANSWER_COLUMNS, PARQUET, Line, Table, parquet_table, read_answers, read_csv, text_table
from core.tables import ScoreRow

_HEAD = 2**16
"""Number of bytes that must contain the first line of YAML that is no comment."""


def read_scores(name: str, content: bytes, mapping: Mapping[str, str] | None = None) -> ScoreFile:
    """Read one file; every value in it becomes a row, or is skipped with a reason.

    `name` may be a path: the folder of a `samples_*.jsonl` names its model. `mapping` renames models (name in the
    file -> name to store); its keys MODEL and BENCHMARK supply what the file does not say of itself. Raises
    InputError, in one line, if the file as a whole cannot be understood, and its subclass Unnamed if only MODEL or
    BENCHMARK is missing, so that the user can be asked.
    """
    file = ScoreInput(name, content, mapping or {})
    file.require_at_most(MAX_BYTES // 2**20, len(content) / 2**20, Sentence("MB"))
    if content.startswith(PARQUET):
        return _read_table(file, parquet_table(file))
    start = file.first_line.lstrip()[:1]
    if not start:
        raise InputError("{file} is empty.", file=file)
    if start in "{[":
        return _read_json(file)
    if start in "-#" and may_be_hub_results(content[:_HEAD].decode(file.encoding, "replace")):
        return read_hub_results(file)
    return _read_table(file, text_table(file))


def _read_json(file: ScoreInput) -> ScoreFile:
    remarks = list(file.encoding_remarks)
    first = None
    with suppress(InputError):  # one line alone need not be JSON
        first = parse(file.first_line, file.shown_name, []) if len(file.first_line) < MAX_LINE else None
    if is_sample(first):
        return read_samples(file, entries_by_line(file, remarks), remarks)
    data = load(file, remarks)
    if isinstance(data, list) and data and is_sample(data[0]):
        return read_samples(file, data, remarks)
    if is_harness(data):
        return read_harness(file, data, remarks)
    if is_leaderboard(data):
        return read_leaderboard(file, data, remarks)
    raise unknown_format(file)


def _read_table(file: ScoreInput, table: Table) -> ScoreFile:
    if set(table.header) >= ANSWER_COLUMNS:
        return read_answers(file, table)
    if set(table.header) >= LEADERBOARD_COLUMNS:
        return read_leaderboard_table(file, table)
    return read_csv(file, table)


# --- evaluation results of a model repository on the hub: `.eval_results/*.yaml`, a list with one value per entry ----
#
#     - dataset: {id: cais/hle, task_id: default}     the benchmark, and which of its tasks
#       value: 20.9                                   in the benchmark's own unit: neither unit nor metric is stated
#       date, source: {url, name, user}, notes, evaluation_framework, verifyToken
# The model is that of the repository, which the file does not name. Earlier files say `config` for `task_id`.

FORMAT_HUB = "hub_eval_results"
MAX_YAML = 4
"""Largest file, in MiB: it holds one repository's results, and YAML is slow to read."""
_MODEL_FOLDER = re.compile(r"(?:^|/)models--([^/]+?)--([^/]+)/")
_MAX_NOTE_LENGTH = 60


def may_be_hub_results(text: str) -> bool:
    """Whether a text may be YAML of this kind: its first line that is not a comment starts a list or a document."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return re.match(r"---|- ", next(lines, "")) is not None


def read_hub_results(file: ScoreInput) -> ScoreFile:
    """Read every entry. Raises Unnamed if neither the path (of the hub's cache) nor the user names the model."""
    data, remarks = _load_yaml(file), list(file.encoding_remarks)
    if not isinstance(data, list) or not any(
        isinstance(entry, dict) and "dataset" in entry and "value" in entry for entry in data
    ):
        raise unknown_format(file)
    folder = _MODEL_FOLDER.search("/".join(file.path))
    repository = model_by_path(file, "/".join(folder.groups()) if folder else None, remarks)
    # The file's commit is not stated to be the one that was evaluated.
    remarks.append(Remark("no_revision"))
    return score_file(file, FORMAT_HUB, _hub_rows(file, data, repository), remarks)


def _load_yaml(file: ScoreInput) -> Any:
    """Parse with every value as text: YAML 1.1 reads `12:30` as a number and `no` as false. Raises InputError."""
    file.require_at_most(MAX_YAML, len(file.content) / 2**20, Sentence("MiB of YAML"))
    try:
        return yaml.load(file.content.decode(file.encoding), _TextLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if mark := getattr(error, "problem_mark", None):
            place, reason = Sentence("line {line}", line=mark.line + 1), shorten(getattr(error, "problem", None))
            raise InputError(
                "{file} is no YAML at {place}: {reason}.", file=file, place=place, reason=reason
            ) from error
        raise InputError(
            "{file} is YAML that cannot be read: {error}.", file=file, error=type(error).__name__
        ) from error


class _TextLoader(yaml.BaseLoader):
    """Loads every scalar as its text; a repeated key is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice", node.start_mark)
        return mapping


def _hub_rows(file: ScoreInput, data: list[Any], repository: str) -> Iterator[ParsedScore]:
    for index, entry in enumerate(data, 1):
        location = Sentence("entry {number}", number=index)
        if not isinstance(entry, dict) or not isinstance(entry.get("dataset"), dict):
            yield skipped_row(location, repository, "", Remark("not_a_task", shorten(entry)))
        else:
            build = partial(_hub_score, file, repository, entry)
            yield parse_row(location, repository, entry["dataset"].get("id"), build)


def _hub_score(file: ScoreInput, repository: str, entry: dict[str, Any], remarks: Remarks) -> ScoreRow:
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
        suite=required_label(_hub_suite(entry, remarks), "suite"),
        as_of=day(entry.get("date"), remarks),
        flags="" if is_blank(entry.get("verifyToken")) else "verify_token_not_checked",
        benchmark=required_label(benchmark, "benchmark"),
        metric=NOT_STATED,
        value=value,
        unit=NOT_STATED,
        task_version=optional_label(dataset.get("revision"), "revision", remarks),
    )


def _hub_suite(entry: dict[str, Any], remarks: Remarks) -> str:
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
    return "+".join(filter(None, (FORMAT_HUB, framework, setup)))


# --- the Open LLM Leaderboard v2: a row per model, a column per score, as CSV or as the list that it is made from ----
#
# Suite, benchmarks and metrics are named as in our reference scores, so that the same number from two places is recognised
# as one. `raw` and `normalised` values are two metrics: normalising subtracts chance, for BBH and MUSR by subtask, so neither
# can be computed from the other.

FORMAT_LEADERBOARD = "leaderboard_v2_json"
FORMAT_LEADERBOARD_CSV = "leaderboard_v2_csv"
SUITE = "open_llm_leaderboard_v2"
LEADERBOARD_COLUMNS = frozenset({"model_name", "model_average_score", "evaluations_ifeval_value"})
"""Columns of its CSV export."""
_BENCHMARKS = {
    "ifeval": ("ifeval", 0),
    "bbh": ("bbh", 3),
    "math": ("math_lvl_5", 4),
    "gpqa": ("gpqa", 0),
    "musr": ("musr", 0),
    "mmlu_pro": ("mmlu_pro", 5),
}
"""Key in the leaderboard -> the benchmark's name in our reference scores, and its shots."""
_FLAGS = {
    # The export fills this column from "Available on the hub": it says the opposite of its name.
    "features_is_not_available_on_hub": ("not_on_hub", False),
    "features_is_merged": ("merged", True),
    "features_is_moe": ("moe", True),
    "features_is_flagged": ("flagged", True),
    "features_is_official_provider": ("official_provider", True),
    "features_is_highlighted_by_maintainer": ("official_provider", True),
}
"""Column -> the flag, and the column's value for which the flag is set."""
_INCOMPLETE_WEIGHTS = ("adapter", "delta")
"""Kinds of weights that are no complete model."""


@dataclass(frozen=True)
class _ScoreColumn:
    """A column of scores and what it measures."""

    name: str
    benchmark: str
    metric: str
    n_shot: int | None = None
    factor: float = 1.0
    """100 for fractions: all is stored in percent."""
    is_group: bool = False


_COLUMNS = (
    *(
        column
        for key, (benchmark, n_shot) in _BENCHMARKS.items()
        for column in (
            _ScoreColumn(f"evaluations_{key}_value", benchmark, "raw", n_shot, factor=100.0),
            _ScoreColumn(f"evaluations_{key}_normalized_score", benchmark, "normalised", n_shot),
        )
    ),
    _ScoreColumn("model_average_score", "average", "mean of benchmarks", is_group=True),
)


def is_leaderboard(data: Any) -> bool:
    if not isinstance(data, list):
        return False
    entries = [entry for entry in data[:100] if isinstance(entry, dict)]
    return any(isinstance(entry.get("evaluations"), dict) and "model" in entry for entry in entries)


def read_leaderboard(file: ScoreInput, data: list[Any], remarks: Remarks) -> ScoreFile:
    """Read the leaderboard's own list: an entry flattened with `_` is a row of the CSV export."""
    header = (*(column.name for column in _COLUMNS), *_FLAGS)
    return read_leaderboard_table(file, Table(header, _entries(data), tuple(remarks)), FORMAT_LEADERBOARD)


def read_leaderboard_table(file: ScoreInput, table: Table, format: str = FORMAT_LEADERBOARD_CSV) -> ScoreFile:
    """Read every score column of every line."""
    return score_file(file, format, _leaderboard_rows(file, table), (*table.remarks, Remark("availability_inverted")))


def _entries(data: list[Any]) -> Iterator[Line]:
    for index, entry in enumerate(data, start=1):
        location = Sentence("entry {number}", number=index)
        if isinstance(entry, dict):
            yield Line(location, _flatten(entry))
        else:
            yield Line(location, {}, Remark("not_a_task", shorten(entry)))


def _flatten(entry: dict[str, Any]) -> dict[str, Cell]:
    """`{"evaluations": {"ifeval": {"value": 0.3}}}` -> `evaluations_ifeval_value`; only as deep as the format goes."""
    cells: dict[str, Cell] = {"id": entry.get("id")}
    for part in ("model", "evaluations", "features", "metadata"):
        for key, value in section(entry, part).items():
            for name, cell in value.items() if isinstance(value, dict) else [("", value)]:
                cells["_".join(filter(None, (part, key, name)))] = cell
    return cells


def _leaderboard_rows(file: ScoreInput, table: Table) -> Iterator[ParsedScore]:
    columns = [column for column in _COLUMNS if column.name in set(table.header)]
    for line in table.lines:
        if line.problem:
            yield skipped_row(line.at, "", "", line.problem)
            continue
        of_line = cache(partial(_of_line, file, line.cells))
        for column in columns:
            place = Sentence("{place} / {column}", place=line.at, column=column.name)
            build = partial(_leaderboard_score, column, line.cells, table.decimal_comma, of_line)
            yield parse_row(place, line.cells.get("model_name"), column.benchmark, build)


def _leaderboard_score(
    column: _ScoreColumn,
    cells: Mapping[str, Cell],
    decimal_comma: bool,
    of_line: Callable[[], tuple[dict[str, Any], Remarks]],
    remarks: Remarks,
) -> ScoreRow:
    """The score in one column. Raises Skip if it is not a number, or if the model has no usable name."""
    value = number(cells.get(column.name), remarks, decimal_comma) * column.factor
    if column.factor != 1.0:
        remarks.append(Remark("to_percent"))
    if not 0.0 <= value <= 100.0:
        remarks.append(Remark("outside_percent", f"{value:.6g}"))
    shared, line_remarks = of_line()
    remarks += line_remarks
    return ScoreRow(
        **shared,
        benchmark=column.benchmark,
        metric=column.metric,
        value=value,
        n_shot=column.n_shot,
        is_group=column.is_group,
    )


def _of_line(file: ScoreInput, cells: Mapping[str, Cell]) -> tuple[dict[str, Any], Remarks]:
    """What the scores of a line share, and its remarks. Raises Skip if the model has no usable name."""
    remarks: Remarks = []
    weights = shorten(cells.get("model_weight_type")).lower()
    flags = {
        flag: boolean(cells.get(name), name, remarks) is set_by
        for name, (flag, set_by) in _FLAGS.items()
        if name in cells
    }
    repository = mapped_model(cells.get("model_name"), file.mapping, remarks)
    revision = optional_label(cells.get("model_sha"), "revision", remarks)
    if revision is None:
        remarks.append(Remark("no_revision"))
    shared = dict(
        repository=repository,
        file_sha256=file.sha256,
        source=file.shown_name,
        suite=SUITE,
        unit="percent",
        higher_is_better=True,
        revision=revision,
        as_of=day(cells.get("metadata_submission_date"), remarks),
        dtype=normalize_dtype(cells.get("model_precision"), remarks),
        chat_template=boolean(cells.get("model_has_chat_template"), "chat_template", remarks),
        source_row=optional_label(cells.get("id"), "id", []),  # never cut: long names may differ in their ends alone
        flags=join_flags(flags | {weights: weights in _INCOMPLETE_WEIGHTS}),
    )
    return shared, remarks
