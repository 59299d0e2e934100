"""Read results of lm-evaluation-harness, of one model.

From v0.4.0 on: tasks and groups, `metric,filter` as keys. v0.3 (2022 and 2023): no filter, one number of shots for all
tasks, no date.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from core.registry.metrics import higher_is_better
from core.registry.names import NOT_STATED
from core.scores.cells import Remark, Remarks, is_blank, optional_label, required_label, std_error, whole_number
from core.scores.model_results import file_origin, parse_metrics, refuse_no_metric, score_unit, score_value
from core.scores.score_input import ScoreInput, section
from core.scores.score_rows import Origin, ScoreFile, without_duplicates
from core.tables import ScoreRow

FORMAT = "lm_eval"
SUITE = "lm_eval"
FORMAT_V03 = SUITE_V03 = "lm_eval_v03"
_SECTIONS = ("configs", "n-shot", "group_subtasks", "higher_is_better", "n-samples", "groups", "lm_eval_version")


def recognises(data: Any) -> bool:
    """Whether it has a `results` object with `metric,filter` keys, or sections that only these versions write."""
    if not isinstance(data, dict) or not isinstance(data.get("results"), dict) or "config_general" in data:
        return False
    return _is_v04(data) or "versions" in data or "config" in data


def _is_v04(data: dict[str, Any]) -> bool:
    tasks = [values for values in data["results"].values() if isinstance(values, dict)]
    return any(key in data for key in _SECTIONS) or any("," in key for values in tasks for key in values)


def read(file: ScoreInput, data: dict[str, Any], remarks: Remarks) -> ScoreFile:
    """Read every value of every task, each with its own filter, shots, count and direction, where they are told.

    Raises Unnamed if the file names no model.
    """
    if not _is_v04(data):
        return _read_v03(file, data, remarks)
    harness = _Harness(data)
    origin = file_origin(file, data, remarks, SUITE + harness.settings)
    builder = partial(_builder, harness, origin)
    sections = (parse_metrics(name, section(data, name), origin.named, builder) for name in ("results", "groups"))
    rows = without_duplicates(file, chain.from_iterable(sections))
    if isinstance(data.get("samples"), dict) and data["samples"]:
        remarks.append(Remark("samples_inside"))
    return ScoreFile(file.shown_name, file.sha256, FORMAT, rows, (), tuple(remarks))


@dataclass(frozen=True)
class _Harness:
    """The sections of the file by task; any of them may be missing."""

    data: dict[str, Any]

    @property
    def settings(self) -> str:
        """A hash of the settings that change scores, apart from task, shots and chat template.

        A system instruction, generation settings, or examples given as turns of a conversation make another suite.
        """
        config = section(self.data, "config")
        instruction, generation = self.data.get("system_instruction"), config.get("gen_kwargs")
        multiturn = self.data.get("fewshot_as_multiturn") is True
        settings = {"instruction": instruction, "generation": generation, "multiturn": multiturn}
        changed = {key: value for key, value in settings.items() if value and isinstance(value, str | dict | bool)}
        if not changed:
            return ""
        text = json.dumps(changed, sort_keys=True, default=str)
        return "+" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]

    @property
    def is_limited(self) -> bool:
        config = section(self.data, "config")
        return not is_blank(config.get("limit")) or bool(config.get("samples"))

    def subtasks(self, task: str) -> list[str]:
        names = section(self.data, "group_subtasks").get(task)
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

    def is_group(self, task: str) -> bool:
        return task in section(self.data, "groups") or bool(self.subtasks(task))

    def is_partial(self, task: str) -> bool:
        """Whether the run was limited, or fewer questions were asked than the task or one of its subtasks has."""
        return self.is_limited or any(map(self._is_cut, self._with_subtasks(task)))

    def _with_subtasks(self, task: str) -> set[str]:
        """The task and all tasks below it."""
        tasks: set[str] = set()
        pending = [task]
        while pending:
            name = pending.pop()
            if name not in tasks:
                tasks.add(name)
                pending += self.subtasks(name)
        return tasks

    def _is_cut(self, task: str) -> bool:
        counts = section(section(self.data, "n-samples"), task)
        original, effective = (whole_number(counts.get(key), key, []) for key in ("original", "effective"))
        return original is not None and effective is not None and effective < original

    def n_samples(self, task: str, key: str, values: dict[str, Any], remarks: Remarks) -> int | None:
        """Questions behind one value: stated for groups since v0.4.12, for tasks since v0.4.3."""
        effective = section(section(self.data, "n-samples"), task).get("effective")
        metric_count = section(values, "sample_count").get(key)
        stated = next((n for n in (metric_count, effective, values.get("sample_len")) if n is not None), None)
        return whole_number(stated, "n_samples", remarks)

    def n_shot(self, task: str, remarks: Remarks) -> int | None:
        """Shots as stated; for a group (stated since v0.4.12) the number shared by all its tasks, if there is one."""
        stated = self._n_shot(task, remarks)
        if stated is not None or not self.subtasks(task):
            return stated
        task_shots = {self._n_shot(name, []) for name in self._with_subtasks(task) if not self.subtasks(name)}
        return task_shots.pop() if len(task_shots) == 1 else None

    def _n_shot(self, task: str, remarks: Remarks) -> int | None:
        task_shots = section(section(self.data, "configs"), task).get("num_fewshot")
        run_shots = section(self.data, "config").get("num_fewshot")
        stated = (section(self.data, "n-shot").get(task), task_shots, run_shots)
        return whole_number(next((n for n in stated if n is not None), None), "n_shot", remarks)

    def higher_is_better(self, task: str, metric: str, remarks: Remarks) -> bool | None:
        """As the file says, null included; derived from the metric's name if the section is missing (before v0.4.3)."""
        directions = section(section(self.data, "higher_is_better"), task)
        if metric in directions:
            stated = directions[metric]
            return stated if isinstance(stated, bool) else None
        if "higher_is_better" in self.data:
            return None
        remarks.append(Remark("direction_by_metric", metric))
        return higher_is_better(metric)


def _builder(harness: _Harness, origin: Origin, task: str, key: str, values: dict[str, Any]) -> Any:
    def build(remarks: Remarks) -> ScoreRow:
        metric, comma, filter = key.partition(",")
        metric, benchmark = required_label(metric, "metric"), required_label(task.strip(" -"), "benchmark")
        refuse_no_metric(metric)
        value = score_value(values[key])
        if not comma:
            remarks.append(Remark("no_filter", metric))
        version = section(harness.data, "versions").get(task)
        return origin.score(
            benchmark,
            metric,
            value,
            score_unit(benchmark, metric, value, remarks),
            filter=required_label(filter, "filter") if comma else NOT_STATED,
            n_shot=harness.n_shot(task, remarks),
            std_error=std_error(values.get(f"{metric}_stderr{comma}{filter}"), remarks),
            higher_is_better=harness.higher_is_better(task, metric, remarks),
            n_samples=harness.n_samples(task, key, values, remarks),
            is_partial=harness.is_partial(task),
            is_group=harness.is_group(task),
            task_version=optional_label(version, "task_version", remarks),
        )

    return build


# --- v0.3 ------------------------------------------------------------------------------------------------------------


def _read_v03(file: ScoreInput, data: dict[str, Any], remarks: Remarks) -> ScoreFile:
    """Read every metric of every task. Raises Unnamed if the file names no model."""
    origin = file_origin(file, data, remarks, SUITE_V03)
    builder = partial(_builder_v03, data, origin)
    rows = without_duplicates(file, parse_metrics("results", section(data, "results"), origin.named, builder))
    return ScoreFile(file.shown_name, file.sha256, FORMAT_V03, rows, (), tuple(remarks))


def _builder_v03(data: dict[str, Any], origin: Origin, task: str, key: str, values: dict[str, Any]) -> Any:
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
