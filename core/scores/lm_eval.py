"""Read results of lm-evaluation-harness, of one model, and its single answers.

From v0.4.0 on: tasks and groups, `metric,filter` as keys. v0.3 (2022 and 2023): no filter, one number of shots for all
tasks, no date.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from core.errors import InputError, Sentence
from core.registry.names import NOT_STATED
from core.registry.published import find_metric, higher_is_better
from core.scores.score_rows import (
    BENCHMARK,
    MAX_LINE,
    Cell,
    DuplicateKey,
    ParsedScore,
    Remark,
    Remarks,
    ScoreFile,
    ScoreInput,
    Skip,
    Unnamed,
    day,
    is_blank,
    is_question_hash,
    join_flags,
    json_number,
    model_by_path,
    model_of_file,
    normalize_dtype,
    optional_label,
    parse,
    parse_row,
    required_label,
    score_file,
    section,
    shorten,
    skipped_row,
    std_error,
    whole_number,
)
from core.tables import ScoreRow, ScoreSampleRow

FORMAT_HARNESS = "lm_eval"
FORMAT_HARNESS_V03 = "lm_eval_v03"
_SECTIONS = ("configs", "n-shot", "group_subtasks", "higher_is_better", "n-samples", "groups", "lm_eval_version")
_BOOKKEEPING = {"alias", "name", "sample_len", "sample_count", "samples", " ", ""}
"""Keys beside a task's metrics that are not scores."""
_MODEL_KEYS = ("peft", "delta", "pretrained", "model", "path", "engine")
"""In the order in which the harness itself looks for the model's name: an adapter comes before its base model."""
_ADAPTER_KEYS = ("peft", "delta")
"""Arguments that name weights on top of a base model; these have a commit of their own."""
_TIME_IN_NAME = re.compile(r"_(\d{4}-\d{2}-\d{2}T)\d{2}-\d{2}-\d{2}")
_PERCENT_TASKS = ("squadv2", "squad2")
"""SQuAD's own script reports 0 to 100."""


def is_harness(data: Any) -> bool:
    """Whether it has a `results` object with `metric,filter` keys, or sections that only these versions write."""
    if not isinstance(data, dict) or not isinstance(data.get("results"), dict) or "config_general" in data:
        return False
    return _Harness(data).is_v04 or "versions" in data or "config" in data


def read_harness(file: ScoreInput, data: dict[str, Any], remarks: Remarks) -> ScoreFile:
    """Read every value of every task, each with its own filter, shots, count and direction, where they are told.

    Raises Unnamed if the file names no model.
    """
    harness = _Harness(data)
    name, origin = _origin(file, harness, remarks)
    if isinstance(data.get("samples"), dict) and data["samples"]:
        remarks.append(Remark("samples_inside"))
    return score_file(
        file, FORMAT_HARNESS if harness.is_v04 else FORMAT_HARNESS_V03, _rows(harness, shorten(name), origin), remarks
    )


@dataclass(frozen=True)
class _Harness:
    """The sections of the file by task; any of them may be missing."""

    data: dict[str, Any]

    @cached_property
    def is_v04(self) -> bool:
        tasks = [values for values in self.data["results"].values() if isinstance(values, dict)]
        return any(key in self.data for key in _SECTIONS) or any("," in key for values in tasks for key in values)

    @property
    def config(self) -> dict[str, Any]:
        return section(self.data, "config")

    def of(self, name: str, task: str) -> dict[str, Any]:
        """What a section says of a task."""
        return section(section(self.data, name), task)

    @property
    def suite(self) -> str:
        """The harness, with a hash of the settings that change scores, apart from task, shots and chat template.

        A system instruction, generation settings, or examples given as turns of a conversation make another suite.
        """
        if not self.is_v04:
            return FORMAT_HARNESS_V03
        settings = {
            "instruction": self.data.get("system_instruction"),
            "generation": self.config.get("gen_kwargs"),
            "multiturn": self.data.get("fewshot_as_multiturn") is True,
        }
        changed = {key: value for key, value in settings.items() if value and isinstance(value, str | dict | bool)}
        if not changed:
            return FORMAT_HARNESS
        text = json.dumps(changed, sort_keys=True, default=str)
        return f"{FORMAT_HARNESS}+{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"

    def subtasks(self, task: str) -> list[str]:
        names = section(self.data, "group_subtasks").get(task)
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

    def is_group(self, task: str) -> bool:
        return task in section(self.data, "groups") or bool(self.subtasks(task))

    def is_partial(self, task: str) -> bool:
        """Whether the run was limited, or fewer questions were asked than the task or one of its subtasks has."""
        is_limited = not is_blank(self.config.get("limit")) or bool(self.config.get("samples"))
        return is_limited or any(map(self._is_cut, self._with_subtasks(task)))

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
        counts = self.of("n-samples", task)
        original, effective = (whole_number(counts.get(key), key, []) for key in ("original", "effective"))
        return original is not None and effective is not None and effective < original

    def n_samples(self, task: str, key: str, values: dict[str, Any], remarks: Remarks) -> int | None:
        """Questions behind one value: stated for groups since v0.4.12, for tasks since v0.4.3."""
        stated = (
            section(values, "sample_count").get(key),
            self.of("n-samples", task).get("effective"),
            values.get("sample_len"),
        )
        return whole_number(_first(stated), "n_samples", remarks)

    def n_shot(self, task: str, remarks: Remarks) -> int | None:
        """Shots as stated; for a group (stated since v0.4.12) the number shared by all its tasks, if there is one."""
        stated = self._n_shot(task, remarks)
        if stated is not None or not self.subtasks(task):
            return stated
        task_shots = {self._n_shot(name, []) for name in self._with_subtasks(task) if not self.subtasks(name)}
        return task_shots.pop() if len(task_shots) == 1 else None

    def _n_shot(self, task: str, remarks: Remarks) -> int | None:
        stated = (
            section(self.data, "n-shot").get(task),
            self.of("configs", task).get("num_fewshot"),
            self.config.get("num_fewshot"),
        )
        return whole_number(_first(stated), "n_shot", remarks)

    def higher_is_better(self, task: str, metric: str, remarks: Remarks) -> bool | None:
        """As the file says, null included; derived from the metric's name if the section is missing (before v0.4.3)."""
        if "higher_is_better" in self.data:
            stated = self.of("higher_is_better", task).get(metric)
            return stated if isinstance(stated, bool) else None
        remarks.append(Remark("direction_by_metric", metric))
        return higher_is_better(metric)


def _first(values: tuple[Cell, ...]) -> Cell:
    """The first value that is stated."""
    return next((value for value in values if value is not None), None)


def _origin(file: ScoreInput, harness: _Harness, remarks: Remarks) -> tuple[Cell, partial[ScoreRow]]:
    """The model as the file names it, and its score without what is measured. Raises Unnamed if no model is named."""
    data, config = harness.data, harness.config
    arguments = model_arguments(config.get("model_args"))
    candidates = [data.get("model_name"), *(arguments.get(key) for key in _MODEL_KEYS)]
    name = next((name for name in candidates if isinstance(name, str) and name.strip()), None)
    adapted = next((kind for kind in _ADAPTER_KEYS if name is not None and arguments.get(kind) == name), None)
    if adapted is None:
        sha, branch = config.get("model_sha"), config.get("model_revision") or arguments.get("revision")
    else:  # the other commit and branch belong to the base model
        sha, branch = config.get(f"{adapted}_sha"), None
    revision = model_revision(sha, branch, remarks)
    in_name = _TIME_IN_NAME.search(file.name)
    flags = {
        "system_instruction": not is_blank(data.get("system_instruction")),
        "adapter": adapted == "peft",
        "delta": adapted == "delta",
    }
    origin = partial(
        ScoreRow,
        repository=model_of_file(file, name, remarks),
        file_sha256=file.sha256,
        source=file.shown_name,
        suite=harness.suite,
        revision=revision,
        as_of=day(data.get("date"), remarks) or day(in_name and in_name[1], []),
        dtype=normalize_dtype(config.get("model_dtype") or arguments.get("dtype"), remarks),
        # Written since v0.4.3, as null or as an empty text if no template was used.
        chat_template=bool(data["chat_template"]) if "chat_template" in data else None,
        flags=join_flags(flags),
    )
    return name, origin


def model_arguments(stated: Any) -> dict[str, Any]:
    """Parse `pretrained=org/name,dtype=float16`, or the same as an object; anything else gives an empty result."""
    if isinstance(stated, dict):
        return stated
    if not isinstance(stated, str):
        return {}
    pairs = (argument.partition("=") for argument in stated.split(","))
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


def model_revision(sha: Cell, branch: Cell, remarks: Remarks) -> str | None:
    """The commit if known, else a branch or tag. `main` pins nothing, so it becomes NULL with a remark."""
    revision = optional_label(sha, "revision", remarks)
    if revision is not None:
        return revision
    revision = optional_label(branch, "revision", remarks)
    if revision is None or revision == "main":
        remarks.append(Remark("no_revision", revision or ""))
        return None
    return revision


def is_metric(key: str, values: Mapping[str, Any]) -> bool:
    """Whether a key is a score: not bookkeeping, and not the standard error of another key."""
    metric, _, filter = key.partition(",")
    base = metric.removesuffix("_stderr")
    has_base = base != metric and (f"{base},{filter}" in values or base in values)
    return metric.strip() not in _BOOKKEEPING and not has_base


def _rows(harness: _Harness, model: str, origin: partial[ScoreRow]) -> Iterator[ParsedScore]:
    """A row for each metric of each task."""
    tasks = [(name, *task) for name in ("results", "groups") for task in section(harness.data, name).items()]
    for section_name, task, values in tasks:
        place = f"{section_name} / {shorten(task)}"
        if not isinstance(values, dict):
            code = "value_twice" if isinstance(values, DuplicateKey) else "not_a_task"
            yield skipped_row(place, model, task, Remark(code, shorten(values)))
            continue
        for key in filter(lambda key: is_metric(key, values), values):
            build = partial(_score, harness, origin, task, key, values)
            yield parse_row(f"{place} / {shorten(key)}", model, task, build)


def _score(
    harness: _Harness, origin: partial[ScoreRow], task: str, key: str, values: dict[str, Any], remarks: Remarks
) -> ScoreRow:
    """One value. Raises Skip for anything but a finite number under the name of a metric."""
    metric, comma, filter = key.partition(",")
    metric, benchmark = required_label(metric, "metric"), required_label(task.strip(" -"), "benchmark")
    if metric == "bypass":  # answers without scoring
        raise Skip("no_metric_was_computed")
    if metric.endswith("_stderr"):
        raise Skip("std_error_alone", metric)
    if isinstance(values[key], DuplicateKey):
        raise Skip("value_twice", values[key].key)
    value = json_number(values[key])
    if not comma and harness.is_v04:
        remarks.append(Remark("no_filter", metric))
    return origin(
        benchmark=benchmark,
        metric=metric,
        value=value,
        unit=_unit(benchmark, metric, value, remarks),
        filter=required_label(filter, "filter") if comma else NOT_STATED,
        n_shot=harness.n_shot(task, remarks),
        std_error=std_error(values.get(f"{metric}_stderr{comma}{filter}"), remarks),
        higher_is_better=harness.higher_is_better(task, metric, remarks),
        n_samples=harness.n_samples(task, key, values, remarks),
        is_partial=harness.is_partial(task),
        is_group=harness.is_group(task),
        task_version=optional_label(section(harness.data, "versions").get(task), "task_version", remarks),
    )


def _unit(benchmark: str, metric: str, value: float, remarks: Remarks) -> str:
    """`fraction` if metrics of this name are fractions and the value fits, else the metric's own name."""
    if benchmark.startswith(_PERCENT_TASKS):
        return "percent"
    known = find_metric(metric)
    if known is None or not known.is_share:
        return metric
    if -1.0 <= value <= 1.0:
        return "fraction"
    remarks.append(Remark("beyond_fraction", f"{value:.6g}"))
    return metric


# --- single answers (`samples_*.jsonl`), kept as a hash of each question and its score -------------------------------
#
# Two models answered the same question if `doc_hash` is equal. The harness writes it from v0.4.3 on, as SHA-256 of the
# question as indented JSON. For earlier files it is computed the same way from the question in the file, so that files of
# both kinds can be paired. If a file has no question either, its id, target and arguments are hashed.

FORMAT_SAMPLES = "lm_eval_samples"
MAX_SAMPLES = 500_000
_MAX_METRICS = 1_000
_MAX_REMARKS = 10
_FIELDS = {
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps"),
    *("filter", "metrics", "doc_hash", "prompt_hash", "target_hash"),
}
_ANSWERED = {"filtered_resps", "resps", "doc_hash"}
_NAME = re.compile(r"samples_(.+?)_\d{4}-\d{2}-\d{2}T[\d.\-]+\.jsonl?", re.IGNORECASE)
_EARLY_NAME = re.compile(r"(?:pretrained|model)__([^,]+),.*?_(.+)\.jsonl?", re.IGNORECASE)


def is_sample(entry: Any) -> bool:
    """Whether it is one question with its answer."""
    return isinstance(entry, dict) and "doc_id" in entry and not _ANSWERED.isdisjoint(entry)


def read_samples(file: ScoreInput, entries: Iterable[Any], remarks: Remarks) -> ScoreFile:
    """Read the answer to every question by every metric.

    Raises Unnamed if neither file nor user names the model or benchmark, InputError if an entry is not a question.
    """
    repository = model_by_path(file, _model(file), remarks)
    benchmark = _benchmark(file)
    left_out: Counter[str] = Counter()
    times: Counter[Any] = Counter()
    samples: list[ScoreSampleRow] = []
    for index, entry in enumerate(entries, start=1):
        if not is_sample(entry):
            raise InputError("{file} holds something that is no question at entry {index}.", file=file, index=index)
        doc_hash, doc_id = question_hash(entry), _doc_id(entry.get("doc_id"))
        times[doc_id] += entry.get("filter") is None
        for metric in _metrics(entry):
            try:
                sample = ScoreSampleRow(
                    file_sha256=file.sha256,
                    repository=repository,
                    revision=None,
                    benchmark=benchmark,
                    metric=required_label(metric, "metric"),
                    filter=_filter(entry, 1 if doc_id is None else times[doc_id]),
                    doc_hash=doc_hash,
                    doc_id=doc_id,
                    value=_scored(entry.get(metric)),
                )
                samples.append(sample)
            except Skip:
                left_out[shorten(metric)] += 1
        file.require_at_most(MAX_SAMPLES, max(index, len(samples)), Sentence("answers"))
        file.require_at_most(_MAX_METRICS, len(left_out), Sentence("metrics"))
    if not samples:
        raise InputError(
            "{file} has no score per question ({metrics}); the benchmark's score is in the results file. "
            "Leave this out.",
            file=file,
            metrics=[*left_out][:_MAX_REMARKS],
        )
    if max(times.values()) > 1:
        remarks.append(Remark("filters_not_named"))
    remarks += [
        Remark("metric_not_per_question", f"{metric} ({n})") for metric, n in left_out.most_common(_MAX_REMARKS)
    ]
    return ScoreFile(file.shown_name, file.sha256, FORMAT_SAMPLES, (), tuple(samples), tuple(remarks))


def entries_by_line(file: ScoreInput, remarks: Remarks) -> Iterator[Any]:
    """Parse one JSON text per line. Raises InputError at a line that is not JSON or is too long."""
    with file.text() as text:
        for number, line in enumerate(iter(lambda: text.readline(MAX_LINE), ""), start=1):
            if len(line) >= MAX_LINE:
                raise InputError(
                    "Line {number} of {file} has more than {max_line:,} characters: no question has.",
                    number=number,
                    file=file,
                    max_line=MAX_LINE,
                )
            if line.strip():
                yield parse(line, f"Line {number} of {file}", remarks)


def _model(file: ScoreInput) -> str | None:
    """`.../org__name/samples_task_2024-...jsonl` -> org/name; before v0.4.3 the file's own name starts with the model.

    A folder without `__` may be any folder, so it is not taken for a model.
    """
    *folders, file_name = file.path
    if _NAME.fullmatch(file_name) and folders and "__" in folders[-1]:
        return folders[-1].replace("__", "/")
    match = _EARLY_NAME.fullmatch(file_name)
    return match[1].replace("__", "/") if match else None


def _benchmark(file: ScoreInput) -> str:
    match = _NAME.fullmatch(file.path[-1])
    try:
        return required_label(match[1] if match else file.mapping.get(BENCHMARK), "benchmark")
    except Skip as skip:
        raise Unnamed(
            BENCHMARK,
            "{file} names no benchmark for its answers: state it, or keep the harness's name "
            "(samples_TASK_TIME.jsonl).",
            file=file,
        ) from skip


def _filter(entry: dict[str, Any], n: int) -> str:
    """The filter. Up to v0.4.5 at least, two filters list each question twice, without their names: told by the n-th time."""
    if entry.get("filter") is not None:
        return required_label(entry["filter"], "filter")
    return NOT_STATED if n == 1 else f"{NOT_STATED} ({n})"


def _metrics(entry: dict[str, Any]) -> list[str]:
    """The listed metrics; up to v0.4.5 at least there was no list, and every further key is a metric."""
    listed = entry.get("metrics")
    if isinstance(listed, list):
        return list(dict.fromkeys(metric for metric in listed if isinstance(metric, str)))
    return [key for key in entry if key not in _FIELDS]


def _scored(value: Any) -> float:
    """Convert right or wrong to 1 or 0. Raises Skip for parts of an aggregate, such as `[log-likelihood, words]`."""
    return float(value) if isinstance(value, bool) else json_number(value)


def _doc_id(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def question_hash(entry: dict[str, Any]) -> str:
    """Equal for two models that were asked the same question; see the module docstring."""
    stated = entry.get("doc_hash")
    if is_question_hash(stated):
        return stated
    if entry.get("doc") is not None:
        text = json.dumps(entry["doc"], indent=2, ensure_ascii=False, default=str)
    else:
        fields = [entry.get(key) for key in ("doc_id", "target", "arguments")]
        text = json.dumps(fields, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
