"""Read single answers from one table, CSV or Parquet, with the columns of `score_samples`.

A file may hold any number of models and benchmarks. An export writes this format, and the answers of the ladder that
ships with Workdim are stored in it.
"""

from __future__ import annotations

from collections import Counter

from core.errors import InputError
from core.registry.names import NOT_STATED
from core.scores.cells import (
    Remark,
    Remarks,
    Skip,
    is_blank,
    is_question_hash,
    number,
    optional_label,
    required_label,
    shorten,
    whole_number,
)
from core.scores.score_input import ScoreInput
from core.scores.score_rows import ScoreFile, mapped_model
from core.scores.table import Line, Table
from core.tables import ScoreSampleRow

FORMAT = "answers_table"
COLUMNS = {"repository", "benchmark", "metric", "doc_hash", "value"}
_MAX_REMARKS = 10


def read(file: ScoreInput, table: Table) -> ScoreFile:
    """Read all answers. Raises InputError if any line is not an answer: models compared in pairs need every answer."""
    counted: Counter[Remark] = Counter()
    samples = []
    for line in table.lines:
        remarks: Remarks = []
        try:
            samples.append(_sample(file, table, line, remarks))
        except Skip as skip:
            raise InputError(
                "{file} holds something that is no answer at {place}: {reason}.",
                file=file.shown_name,
                place=line.at,
                reason=shorten(f"{skip.remark.code} ({skip.remark.detail})".removesuffix(" ()")),
            ) from skip
        counted.update(remarks)
    if not samples:
        raise InputError("{file} holds no scores.", file=file.shown_name)
    most_common = (remark for remark, _ in counted.most_common(_MAX_REMARKS))
    return ScoreFile(file.shown_name, file.sha256, FORMAT, (), tuple(samples), (*table.remarks, *most_common))


def _sample(file: ScoreInput, table: Table, line: Line, remarks: Remarks) -> ScoreSampleRow:
    cells = line.cells
    if line.problem:
        raise Skip(line.problem.code, line.problem.detail)
    doc_hash, filter = required_label(cells["doc_hash"], "doc_hash"), cells.get("filter")
    if not is_question_hash(doc_hash):
        raise Skip("not_readable", f"doc_hash: {doc_hash}")
    return ScoreSampleRow(
        file_sha256=file.sha256,
        repository=mapped_model(cells["repository"], file.mapping, remarks),
        revision=optional_label(cells.get("revision"), "revision", remarks),
        benchmark=required_label(cells["benchmark"], "benchmark"),
        metric=required_label(cells["metric"], "metric"),
        filter=NOT_STATED if is_blank(filter) and filter != "none" else required_label(filter, "filter"),
        doc_hash=doc_hash,
        doc_id=whole_number(cells.get("doc_id"), "doc_id", remarks),
        value=number(cells["value"], remarks, table.decimal_comma),
        group_id=optional_label(cells.get("group_id"), "group_id", remarks),
    )
