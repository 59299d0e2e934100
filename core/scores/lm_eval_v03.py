"""Read results of lm-evaluation-harness v0.3 (2022 and 2023): no filter, one number of shots for all tasks, no date."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.registry.names import NOT_STATED
from core.scores.cells import Remarks, is_blank, optional_label, required_label, shorten, std_error, whole_number
from core.scores.model_results import (
    file_origin,
    higher_is_better,
    is_metric,
    refuse_no_metric,
    score_unit,
    score_value,
)
from core.scores.parsed_score import ParsedScore, Remark, ScoreFile
from core.scores.score_input import DuplicateKey, ScoreInput, section
from core.scores.score_rows import Origin, parse_row, skipped_row, without_duplicates
from core.tables import ScoreRow

FORMAT = "lm_eval_v03"
SUITE = "lm_eval_v03"


def recognises(data: Any) -> bool:
    """Whether it has a `results` object of tasks and none of the later sections. Check this after `lm_eval`."""
    if not isinstance(data, dict) or "config_general" in data:
        return False
    results = data.get("results")
    return isinstance(results, dict) and ("versions" in data or "config" in data)


def read(file: ScoreInput, data: dict[str, Any], remarks: Remarks) -> ScoreFile:
    """Read every metric of every task. Raises Unnamed if the file names no model."""
    origin = file_origin(file, data, remarks, SUITE)
    rows = without_duplicates(file, _values(data, origin))
    return ScoreFile(file.shown_name, file.sha256, FORMAT, rows, (), tuple(remarks))


def _values(data: dict[str, Any], origin: Origin) -> Iterator[ParsedScore]:
    for task, values in section(data, "results").items():
        if not isinstance(values, dict):
            code = "value_twice" if isinstance(values, DuplicateKey) else "not_a_task"
            yield skipped_row(f"results / {shorten(task)}", origin.named, task, code, values)
            continue
        for metric in filter(lambda metric: is_metric(metric, values), values):
            location = f"results / {shorten(task)} / {shorten(metric)}"
            yield parse_row(location, origin.named, task, _builder(data, origin, task, metric, values))


def _builder(data: dict[str, Any], origin: Origin, task: str, key: str, values: dict[str, Any]) -> Any:
    config = section(data, "config")

    def build(remarks: Remarks) -> ScoreRow:
        metric, benchmark = required_label(key, "metric"), required_label(task, "benchmark")
        refuse_no_metric(metric)
        value = score_value(values[key])
        remarks.append(Remark("direction_by_metric", metric))
        return origin.score(
            benchmark,
            metric,
            value,
            score_unit(benchmark, metric, value, remarks),
            filter=NOT_STATED,
            n_shot=whole_number(config.get("num_fewshot"), "n_shot", remarks),
            std_error=std_error(values.get(f"{key}_stderr"), remarks),
            higher_is_better=higher_is_better(metric),
            is_partial=not is_blank(config.get("limit")),
            task_version=optional_label(section(data, "versions").get(task), "task_version", remarks),
        )

    return build
