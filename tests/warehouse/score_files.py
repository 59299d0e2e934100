"""Score files by hand: what a reader hands to the warehouse, without the reader."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from core.scores.score_rows import ParsedScore, Remark, ScoreFile
from core.tables import ScoreRow, ScoreSampleRow


def score(model: str = "o/a", value: float = 50.0, benchmark: str = "arc_easy", **more) -> ScoreRow:
    row = ScoreRow(
        repository=model,
        revision=None,
        benchmark=benchmark,
        metric="acc",
        filter="none",
        n_shot=0,
        suite="harness",
        value=value,
        std_error=None,
        unit="percent",
        higher_is_better=True,
        n_samples=None,
        is_partial=False,
        is_group=False,
        source="a table",
        licence="not stated",
        as_of=None,
        flags="",
        file_sha256="",
    )
    return replace(row, **more)


def score_file(*scores: ScoreRow | Remark, name: str = "mine.csv", samples=(), **more) -> ScoreFile:
    """A Remark among the scores is a row that is skipped for it."""
    rows = tuple(
        ParsedScore(f"line {n}", "?", "?", None, one)
        if isinstance(one, Remark)
        else ParsedScore(f"line {n}", one.repository, one.benchmark, one)
        for n, one in enumerate(scores, start=2)
    )
    sha = hashlib.sha256(repr((name, rows, samples)).encode()).hexdigest()
    return ScoreFile(name=name, sha256=sha, format="csv", rows=rows, samples=tuple(samples), **more)


def answers(model: str, values: dict[str, float], benchmark: str = "arc_easy", **more) -> list[ScoreSampleRow]:
    row = ScoreSampleRow("", model, None, benchmark, "acc", "none", "", None, 0.0)
    return [replace(row, doc_hash=question, value=float(value), **more) for question, value in values.items()]
