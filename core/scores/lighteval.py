"""Read results of one model by lighteval, also those of Open LLM Leaderboard v1: `suite|task:subset|shots` as keys."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from core.registry.metrics import higher_is_better
from core.scores.cells import (
    Cell,
    Remark,
    Remarks,
    day,
    is_blank,
    optional_label,
    required_label,
    shorten,
    std_error,
    whole_number,
)
from core.scores.layouts import LEADERBOARD_V1
from core.scores.model_results import (
    day_in_name,
    model_repository,
    model_revision,
    parse_metrics,
    refuse_no_metric,
    score_unit,
    score_value,
)
from core.scores.score_input import ScoreInput, section
from core.scores.score_rows import Origin, ScoreFile, normalize_dtype, without_duplicates
from core.tables import ScoreRow

FORMAT = "lighteval"
_MEAN = "all"
_LEADERBOARD_V1 = {
    ("arc:challenge", 25): "arc_challenge",
    ("hellaswag", 10): "hellaswag",
    ("truthfulqa:mc", 0): "truthfulqa_mc2",
    ("winogrande", 5): "winogrande",
    ("gsm8k", 5): "gsm8k",
}
"""Task and shots of the leaderboard -> the benchmark's name in our reference scores. MMLU is listed only by subject."""
_MMLU = re.compile(r"(?:hendrycksTest-|mmlu:)(\w+)")
_MMLU_SHOTS = 5


@dataclass(frozen=True)
class _Task:
    """A key of the results, parsed."""

    suite: str
    benchmark: str
    n_shot: int | None
    is_mean: bool = False

    @property
    def is_of_the_leaderboard(self) -> bool:
        return self.suite == LEADERBOARD_V1


@dataclass(frozen=True)
class _Run:
    """The settings and question counts of one task."""

    is_limited: bool
    version: Cell
    counts: dict[str, Any]

    @property
    def n_samples(self) -> int | None:
        return whole_number(self.counts.get("effective_num_docs"), "n_samples", [])

    @property
    def is_partial(self) -> bool:
        original = whole_number(self.counts.get("original_num_docs"), "n_samples", [])
        return self.is_limited or (original is not None and self.n_samples is not None and self.n_samples < original)


def recognises(data: Any) -> bool:
    return isinstance(data, dict) and isinstance(data.get("config_general"), dict) and "results" in data


def read(file: ScoreInput, data: dict[str, Any], remarks: Remarks) -> ScoreFile:
    """Read every metric of every task. Raises Unnamed if the file names no model."""
    general = section(data, "config_general")
    # The newest versions put the model in an object of its own.
    stated = {key: value for key, value in general.items() if not is_blank(value)}
    model = {**section(general, "model_config"), **stated}
    name = model.get("model_name")
    name = name if isinstance(name, str) and name.strip() else None
    origin = Origin(
        repository=model_repository(file, name, remarks),
        named=shorten(name),
        file_sha256=file.sha256,
        source=file.shown_name,
        suite=FORMAT,
        revision=model_revision(model.get("model_sha"), model.get("revision"), remarks),
        # `start_time` usually counts from the start of the machine, so it is not a date.
        as_of=day_in_name(file.name) or day(model.get("start_time"), []),
        dtype=normalize_dtype(model.get("model_dtype") or model.get("dtype"), remarks),
    )
    is_limited = not is_blank(model.get("max_samples"))
    builder = partial(_builder, data, origin, is_limited)
    rows = without_duplicates(file, parse_metrics("results", section(data, "results"), origin.named, builder))
    return ScoreFile(file.shown_name, file.sha256, FORMAT, rows, (), tuple(remarks))


def _task(key: str, remarks: Remarks) -> _Task:
    """Parse `harness|arc:challenge|25`, later with a fourth part; `all` is the mean of all tasks."""
    if key == _MEAN:
        return _Task(FORMAT, _MEAN, None, is_mean=True)
    suite, name, shots, *_ = [*key.split("|"), "", ""] if "|" in key else ["", key, "", ""]
    if not shots and name.isdigit() and "|" in key:
        suite, name, shots = "", suite, name
    n_shot = whole_number(shots, "n_shot", remarks)
    benchmark = _LEADERBOARD_V1.get((name, n_shot)) if n_shot is not None else None
    subject = _MMLU.fullmatch(name)
    if suite in ("harness", "leaderboard") and benchmark:
        return _Task(LEADERBOARD_V1, benchmark, n_shot)
    if suite in ("harness", "leaderboard") and subject and n_shot == _MMLU_SHOTS:
        return _Task(LEADERBOARD_V1, f"mmlu_{subject[1]}", n_shot)
    return _Task(f"{FORMAT}_{suite}" if suite else FORMAT, name, n_shot, name.endswith(":_average"))


def _counts(data: dict[str, Any], key: str) -> dict[str, Any]:
    """The question counts in a task's configuration. Its key lacks the shots that end the key of a result."""
    tasks = section(data, "config_tasks")
    names = (key, key.rpartition("|")[0], key.rpartition("|")[0].rpartition("|")[0])
    return next((section(tasks, name) for name in names if name in tasks), {})


def _builder(
    data: dict[str, Any], origin: Origin, is_limited: bool, key: str, name: str, values: dict[str, Any]
) -> Any:
    run = _Run(is_limited, section(data, "versions").get(key), _counts(data, key))

    def build(remarks: Remarks) -> ScoreRow:
        task = _task(key, remarks)
        metric, value = required_label(name, "metric"), score_value(values[name])
        refuse_no_metric(metric)
        error = std_error(values.get(f"{name}_stderr"), remarks)
        unit = score_unit(task.benchmark, metric, value, remarks)
        if task.is_of_the_leaderboard and unit == "fraction":
            # The leaderboard's own tables run from 0 to 100: one suite, one unit.
            value, error, unit = 100 * value, None if error is None else 100 * error, "percent"
            remarks.append(Remark("to_percent"))
        remarks.append(Remark("direction_by_metric", metric))
        return replace(origin, suite=required_label(task.suite, "suite")).score(
            required_label(task.benchmark, "benchmark"),
            metric,
            value,
            unit,
            n_shot=task.n_shot,
            std_error=error,
            higher_is_better=higher_is_better(metric),
            n_samples=run.n_samples,
            is_partial=run.is_partial,
            is_group=task.is_mean,
            task_version=optional_label(run.version, "task_version", remarks),
        )

    return build
