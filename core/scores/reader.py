"""Read a file of benchmark scores, written by any tool, into rows; nothing is stored here.

The format is recognised by the content. The file's name only supplies a model or benchmark that the content lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import InputError
from core.scores import answers_table, hub_eval_results, leaderboard, lm_eval, lm_eval_samples, plain_csv
from core.scores.plain_csv import template
from core.scores.score_input import BENCHMARK, MAX_BYTES, MODEL, ScoreInput, Unnamed, load, parse
from core.scores.score_rows import ScoreFile
from core.scores.table import PARQUET, Table, parquet_table, text_table

__all__ = ["BENCHMARK", "FORMATS", "MAX_BYTES", "MODEL", "Unnamed", "read_scores", "template"]

_OF_JSON: tuple[Any, ...] = (lm_eval, leaderboard)
FORMATS = (
    lm_eval.FORMAT,
    lm_eval.FORMAT_V03,
    leaderboard.FORMAT,
    leaderboard.FORMAT_CSV,
    lm_eval_samples.FORMAT,
    answers_table.FORMAT,
    hub_eval_results.FORMAT,
    plain_csv.FORMAT,
)
_HEAD = 2**16
"""Number of bytes that must contain the first line that is not blank."""
_MAX_FIRST_LINE = lm_eval_samples.MAX_LINE


def read_scores(name: str, content: bytes, mapping: Mapping[str, str] | None = None) -> ScoreFile:
    """Read one file; every value in it becomes a row, or is skipped with a reason.

    `name` may be a path: the folder of a `samples_*.jsonl` names its model. `mapping` renames models (name in the
    file -> name to store); its keys MODEL and BENCHMARK supply what the file does not say of itself. Raises
    InputError, in one line, if the file as a whole cannot be understood, and its subclass Unnamed if only MODEL or
    BENCHMARK is missing, so that the user can be asked.
    """
    file = ScoreInput(name, content, mapping or {})
    if not content.strip():
        raise InputError("{file} is empty.", file=file.shown_name)
    if len(content) > MAX_BYTES:
        raise InputError(
            "{file} has {size} MB; up to {limit} MB of scores are read.",
            file=file.shown_name,
            size=len(content) // 2**20,
            limit=MAX_BYTES // 2**20,
        )
    if content.startswith(PARQUET):
        return _table(file, parquet_table(file))
    start = _start(file)
    if start in ("{", "["):
        return _json(file, start)
    if start in ("-", "#") and hub_eval_results.looks_like(file.content[:_HEAD].decode(file.encoding, "replace")):
        return _yaml(file)
    return _table(file, text_table(file))


def _yaml(file: ScoreInput) -> ScoreFile:
    data, remarks = hub_eval_results.load(file), list(file.encoding_remarks)
    if not hub_eval_results.recognises(data):
        raise InputError(
            "{file} is YAML, but not one that we know: the evaluation results of a model repository "
            "(.eval_results/*.yaml), entries with dataset and value.",
            file=file.shown_name,
        )
    return hub_eval_results.read(file, data, remarks)


def _start(file: ScoreInput) -> str:
    """The first character that is not white space."""
    with file.text() as text:
        for _ in range(1000):
            chunk = text.read(1000)
            if chunk.strip() or not chunk:
                return chunk.lstrip()[:1]
    return ""


def _json(file: ScoreInput, start: str) -> ScoreFile:
    remarks = list(file.encoding_remarks)
    if start == "{" and lm_eval_samples.recognises(_first_line(file)):
        return lm_eval_samples.read(file, lm_eval_samples.entries_by_line(file, remarks), remarks)
    data = load(file, remarks)
    if isinstance(data, list) and data and lm_eval_samples.recognises(data[0]):
        return lm_eval_samples.read(file, data, remarks)
    for module in _OF_JSON:
        if module.recognises(data):
            return _not_empty(module.read(file, data, remarks))
    raise InputError(
        "{file} is JSON, but not one that we know: results of lm-evaluation-harness (v0.3, v0.4), its samples, or the "
        "list of the Open LLM Leaderboard v2.",
        file=file.shown_name,
    )


def _first_line(file: ScoreInput) -> Any:
    """The first line as JSON; None if that line alone is not JSON."""
    with file.text() as text:
        line = next((line for line in iter(lambda: text.readline(_MAX_FIRST_LINE), "") if line.strip()), "")
    try:
        return parse(line, file.shown_name, []) if len(line) < _MAX_FIRST_LINE else None
    except InputError:
        return None


def _table(file: ScoreInput, table: Table) -> ScoreFile:
    header = set(table.header)
    if header >= answers_table.COLUMNS:
        return answers_table.read(file, table)
    if header >= leaderboard.KNOWN_BY:
        return _not_empty(leaderboard.read_table(file, table))
    return _not_empty(plain_csv.read_table(file, table))


def _not_empty(score_file: ScoreFile) -> ScoreFile:
    """Raises InputError for a file that is understood but holds no value at all."""
    if not score_file.rows:
        if "csv" in score_file.format:
            raise InputError("{file} holds no scores below its header.", file=score_file.name)
        raise InputError("{file} holds no scores below its results.", file=score_file.name)
    return score_file
