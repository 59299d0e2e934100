"""Read single answers of lm-evaluation-harness (`samples_*.jsonl`), keeping a hash of each question and its score.

Two models answered the same question if `doc_hash` is equal. The harness writes it from v0.4.3 on, as SHA-256 of the
question as indented JSON. For earlier files it is computed the same way from the question in the file, so that files of
both kinds can be paired. If a file has no question either, its id, target and arguments are hashed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from core.errors import InputError
from core.registry.names import NOT_STATED
from core.scores.cells import Remark, Remarks, Skip, is_question_hash, json_number, required_label, shorten
from core.scores.model_results import model_repository
from core.scores.score_input import BENCHMARK, ScoreInput, Unnamed, parse
from core.scores.score_rows import ScoreFile
from core.tables import ScoreSampleRow

FORMAT = "lm_eval_samples"
MAX_LINE = 16 * 2**20
"""Longest line, in characters: one question with all its answers."""
MAX_SAMPLES = 500_000
_MAX_METRICS = 1_000
_MAX_REMARKS = 10
_FIELDS = {
    "doc_id",
    "doc",
    "target",
    "arguments",
    "resps",
    "filtered_resps",
    "filter",
    "metrics",
    "doc_hash",
    "prompt_hash",
    "target_hash",
}
_ANSWERED = {"filtered_resps", "resps", "doc_hash"}
_NAME = re.compile(r"samples_(.+?)_\d{4}-\d{2}-\d{2}T[\d.\-]+\.jsonl?", re.IGNORECASE)
_EARLY_NAME = re.compile(r"(?:pretrained|model)__([^,]+),.*?_(.+)\.jsonl?", re.IGNORECASE)


def recognises(entry: Any) -> bool:
    """Whether it is one question with its answer."""
    return isinstance(entry, dict) and "doc_id" in entry and not _ANSWERED.isdisjoint(entry)


def read(file: ScoreInput, entries: Iterable[Any], remarks: Remarks) -> ScoreFile:
    """Read the answer to every question by every metric.

    Raises Unnamed if neither file nor user names the model or benchmark, InputError if an entry is not a question.
    """
    name_model = _model(file.name)
    repository = model_repository(file, file.stated_model or name_model, remarks)
    if name_model is not None and file.stated_model is None:
        remarks.append(Remark("model_from_file_name", shorten(name_model)))
    benchmark = _benchmark(file)
    left_out: Counter[str] = Counter()
    filters = _Filters()
    samples: list[ScoreSampleRow] = []
    for index, entry in enumerate(entries, start=1):
        if not recognises(entry):
            raise InputError(
                "{file} holds something that is no question at entry {index}.", file=file.shown_name, index=index
            )
        samples += _values(file, entry, repository, benchmark, filters, left_out)
        if max(index, len(samples)) > MAX_SAMPLES:
            raise InputError(
                "{file} holds more than {max_samples:,} answers; split it by task.",
                file=file.shown_name,
                max_samples=MAX_SAMPLES,
            )
        if len(left_out) > _MAX_METRICS:
            raise InputError(
                "{file} has more than {max_metrics:,} metrics: these are no scored answers.",
                file=file.shown_name,
                max_metrics=_MAX_METRICS,
            )
    if filters.are_unnamed:
        remarks.append(Remark("filters_not_named"))
    remarks += [
        Remark("metric_not_per_question", f"{metric} ({n})") for metric, n in left_out.most_common(_MAX_REMARKS)
    ]
    if not samples:
        metrics = [*left_out][:_MAX_REMARKS]
        raise InputError(
            "{file} scores no question by itself ({metrics}), so nothing in it can be compared; the benchmark's "
            "score is in the results file. Leave this one out.",
            file=file.shown_name,
            metrics=metrics,
        )
    return ScoreFile(file.shown_name, file.sha256, FORMAT, (), tuple(samples), tuple(remarks))


def entries_by_line(file: ScoreInput, remarks: Remarks) -> Iterator[Any]:
    """Parse one JSON text per line. Raises InputError at a line that is not JSON or is too long."""
    with file.text() as text:
        number = 0
        while line := text.readline(MAX_LINE):
            number += 1
            if len(line) >= MAX_LINE:
                raise InputError(
                    "Line {number} of {file} has more than {max_line:,} characters: no question has.",
                    number=number,
                    file=file.shown_name,
                    max_line=MAX_LINE,
                )
            if line.strip():
                yield parse(line, f"Line {number} of {file.shown_name}", remarks)


def _model(name: str) -> str | None:
    """`.../org__name/samples_task_2024-...jsonl` -> org/name; before v0.4.3 the file's own name starts with the model.

    A folder without `__` may be any folder, so it is not taken for a model.
    """
    *folders, file_name = name.replace("\\", "/").split("/")
    if _NAME.fullmatch(file_name) and folders and "__" in folders[-1]:
        return folders[-1].replace("__", "/")
    match = _EARLY_NAME.fullmatch(file_name)
    return match[1].replace("__", "/") if match else None


def _benchmark(file: ScoreInput) -> str:
    match = _NAME.fullmatch(file.name.replace("\\", "/").rsplit("/", 1)[-1])
    stated = match[1] if match else file.mapping.get(BENCHMARK)
    try:
        return required_label(stated, "benchmark")
    except Skip as skip:
        raise Unnamed(
            BENCHMARK,
            "{file} holds single answers and does not say of which benchmark: state it, or keep the name that "
            "the harness gave it (samples_TASK_TIME.jsonl).",
            file=file.shown_name,
        ) from skip


class _Filters:
    """The filter of each entry. Up to v0.4.5 at least, two filters list each question twice, without their names."""

    def __init__(self) -> None:
        self._times: Counter[Any] = Counter()

    @property
    def are_unnamed(self) -> bool:
        return any(times > 1 for times in self._times.values())

    def of(self, entry: dict[str, Any]) -> str:
        """Raises Skip if the filter is not a name."""
        if entry.get("filter") is not None:
            return required_label(entry["filter"], "filter")
        doc_id = _doc_id(entry.get("doc_id"))
        self._times[doc_id] += 1
        times = self._times[doc_id]
        return NOT_STATED if times == 1 or doc_id is None else f"{NOT_STATED} ({times})"


def _values(
    file: ScoreInput, entry: dict[str, Any], repository: str, benchmark: str, filters: _Filters, left_out: Counter[str]
) -> Iterator[ScoreSampleRow]:
    doc_hash = question_hash(entry)
    try:
        filter = filters.of(entry)
    except Skip:
        left_out.update(map(shorten, _metrics(entry)))
        return
    for metric in _metrics(entry):
        try:
            value = _scored(entry.get(metric))
            yield ScoreSampleRow(
                file_sha256=file.sha256,
                repository=repository,
                revision=None,
                benchmark=benchmark,
                metric=required_label(metric, "metric"),
                filter=filter,
                doc_hash=doc_hash,
                doc_id=_doc_id(entry.get("doc_id")),
                value=value,
            )
        except Skip:
            left_out[shorten(metric)] += 1


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
    if isinstance(stated, str) and is_question_hash(stated):
        return stated
    if entry.get("doc") is not None:
        return _sha256(json.dumps(entry["doc"], indent=2, ensure_ascii=False, default=str))
    fields = [entry.get(key) for key in ("doc_id", "target", "arguments")]
    return _sha256(json.dumps(fields, sort_keys=True, ensure_ascii=False, default=str))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
