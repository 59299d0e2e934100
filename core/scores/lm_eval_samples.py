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

from core.errors import InputError, Sentence
from core.registry.names import NOT_STATED
from core.scores.cells import Remark, Remarks, Skip, is_question_hash, json_number, required_label, shorten
from core.scores.score_input import BENCHMARK, MAX_LINE, ScoreInput, Unnamed, parse
from core.scores.score_rows import ScoreFile, model_by_path
from core.tables import ScoreSampleRow

FORMAT = "lm_eval_samples"
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


def recognises(entry: Any) -> bool:
    """Whether it is one question with its answer."""
    return isinstance(entry, dict) and "doc_id" in entry and not _ANSWERED.isdisjoint(entry)


def read(file: ScoreInput, entries: Iterable[Any], remarks: Remarks) -> ScoreFile:
    """Read the answer to every question by every metric.

    Raises Unnamed if neither file nor user names the model or benchmark, InputError if an entry is not a question.
    """
    repository = model_by_path(file, _model(file), remarks)
    benchmark = _benchmark(file)
    left_out: Counter[str] = Counter()
    times: Counter[Any] = Counter()
    samples: list[ScoreSampleRow] = []
    for index, entry in enumerate(entries, start=1):
        if not recognises(entry):
            raise InputError(
                "{file} holds something that is no question at entry {index}.", file=file.shown_name, index=index
            )
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
            file=file.shown_name,
            metrics=[*left_out][:_MAX_REMARKS],
        )
    if max(times.values()) > 1:
        remarks.append(Remark("filters_not_named"))
    remarks += [
        Remark("metric_not_per_question", f"{metric} ({n})") for metric, n in left_out.most_common(_MAX_REMARKS)
    ]
    return ScoreFile(file.shown_name, file.sha256, FORMAT, (), tuple(samples), tuple(remarks))


def entries_by_line(file: ScoreInput, remarks: Remarks) -> Iterator[Any]:
    """Parse one JSON text per line. Raises InputError at a line that is not JSON or is too long."""
    with file.text() as text:
        for number, line in enumerate(iter(lambda: text.readline(MAX_LINE), ""), start=1):
            if len(line) >= MAX_LINE:
                raise InputError(
                    "Line {number} of {file} has more than {max_line:,} characters: no question has.",
                    number=number,
                    file=file.shown_name,
                    max_line=MAX_LINE,
                )
            if line.strip():
                yield parse(line, f"Line {number} of {file.shown_name}", remarks)


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
            file=file.shown_name,
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
