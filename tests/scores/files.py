"""The files that tests of score reading share: genuine ones, excerpts, and small ones written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.scores.reader import read_scores
from core.scores.score_rows import ParsedScore, ScoreFile
from core.tables import ScoreRow

HERE = Path(__file__).parent
GENUINE = HERE / "genuine"
TABLES = HERE / "tables"


def genuine(pattern: str) -> Path:
    """The one genuine file of this pattern, for example `0.4.2/results.json`."""
    found = sorted(GENUINE.glob(pattern))
    assert len(found) == 1, (pattern, found)
    return found[0]


def read(path: Path, mapping: dict[str, str] | None = None) -> ScoreFile:
    return read_scores(str(path), path.read_bytes(), mapping)


def read_json(data: Any, name: str = "results.json", mapping: dict[str, str] | None = None) -> ScoreFile:
    return read_scores(name, json.dumps(data).encode(), mapping)


def read_text(text: str, name: str = "scores.csv", mapping: dict[str, str] | None = None) -> ScoreFile:
    return read_scores(name, text.encode(), mapping)


def row(found: ScoreFile, benchmark: str, metric: str, filter: str | None = None, model: str | None = None) -> ScoreRow:
    """The one taken score of this benchmark and metric."""
    scores = [
        score
        for score in taken(found)
        if (score.benchmark, score.metric) == (benchmark, metric)
        and filter in (None, score.filter)
        and model in (None, score.repository)
    ]
    assert len(scores) == 1, scores
    return scores[0]


def taken(found: ScoreFile) -> list[ScoreRow]:
    return [row.score for row in found.rows if row.score is not None]


def skipped(found: ScoreFile) -> dict[str, str]:
    """Where -> why."""
    return {row.at: row.skipped.code for row in found.rows if row.skipped is not None}


def codes(found: ScoreFile | ParsedScore) -> list[str]:
    return [remark.code for remark in found.remarks]


def results(**changed: Any) -> dict[str, Any]:
    """A small result of lm-evaluation-harness, with whatever is to be changed."""
    return {
        "results": {"arc_easy": {"alias": "arc_easy", "acc,none": 0.5, "acc_stderr,none": 0.1}},
        "configs": {"arc_easy": {"task": "arc_easy", "num_fewshot": 3}},
        "versions": {"arc_easy": 1.0},
        "n-shot": {"arc_easy": 2},
        "higher_is_better": {"arc_easy": {"acc": True}},
        "n-samples": {"arc_easy": {"original": 100, "effective": 100}},
        "config": {
            "model": "hf",
            "model_args": "pretrained=org/name,dtype=float16",
            "model_dtype": "torch.bfloat16",
            "model_revision": "main",
            "model_sha": "abc123",
            "limit": None,
        },
        "date": 1718000000.5,
        "model_name": "org/name",
        "chat_template": None,
    } | changed


def with_config(**changed: Any) -> dict[str, Any]:
    data = results()
    return data | {"config": data["config"] | changed}


def with_values(**values: Any) -> dict[str, Any]:
    """One task whose values are these; `__` in a name stands for the comma."""
    return results(results={"task": {key.replace("__", ","): value for key, value in values.items()}})
