"""Read a file of benchmark scores, written by any tool, into rows; nothing is stored here.

The format is recognised by the content. The file's name only supplies a model or benchmark that the content lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from core.errors import InputError, Sentence
from core.scores import answers_table, hub_eval_results, leaderboard, lm_eval, lm_eval_samples, plain_csv
from core.scores.score_input import MAX_BYTES, MAX_LINE, ScoreInput, load, parse
from core.scores.score_rows import ScoreFile
from core.scores.table import PARQUET, Table, parquet_table, text_table

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
        raise InputError("{file} is empty.", file=file.shown_name)
    if start in "{[":
        return _read_json(file)
    if start in "-#" and hub_eval_results.looks_like(content[:_HEAD].decode(file.encoding, "replace")):
        return hub_eval_results.read(file)
    return _read_table(file, text_table(file))


def _read_json(file: ScoreInput) -> ScoreFile:
    remarks = list(file.encoding_remarks)
    first = None
    with suppress(InputError):  # one line alone need not be JSON
        first = parse(file.first_line, file.shown_name, []) if len(file.first_line) < MAX_LINE else None
    if lm_eval_samples.recognises(first):
        return lm_eval_samples.read(file, lm_eval_samples.entries_by_line(file, remarks), remarks)
    data = load(file, remarks)
    if isinstance(data, list) and data and lm_eval_samples.recognises(data[0]):
        return lm_eval_samples.read(file, data, remarks)
    if lm_eval.recognises(data):
        return lm_eval.read(file, data, remarks)
    if leaderboard.recognises(data):
        return leaderboard.read(file, data, remarks)
    raise InputError(
        "{file} is no JSON of lm-evaluation-harness (0.3, 0.4) or the Open LLM Leaderboard v2.", file=file.shown_name
    )


def _read_table(file: ScoreInput, table: Table) -> ScoreFile:
    if set(table.header) >= answers_table.COLUMNS:
        return answers_table.read(file, table)
    if set(table.header) >= leaderboard.KNOWN_BY:
        return leaderboard.read_table(file, table)
    return plain_csv.read_table(file, table)
