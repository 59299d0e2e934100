"""Read results of lm-evaluation-harness v0.3 (2022 and 2023): no filter, one number of shots for all tasks, no date."""

from __future__ import annotations

from functools import partial
from typing import Any

from core.registry.names import NOT_STATED
from core.scores.cells import Remarks, is_blank, optional_label, required_label, std_error, whole_number
from core.scores.model_results import (
    file_origin,
    higher_is_better,
    parse_metrics,
    refuse_no_metric,
    score_unit,
    score_value,
)
from core.scores.parsed_score import Remark, ScoreFile
from core.scores.score_input import ScoreInput, section
from core.scores.score_rows import Origin, without_duplicates
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
    builder = partial(_builder, data, origin)
    rows = without_duplicates(file, parse_metrics("results", section(data, "results"), origin.named, builder))
    return ScoreFile(file.shown_name, file.sha256, FORMAT, rows, (), tuple(remarks))


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
