"""What the command line says of an import: counts, reasons with their first examples, models, contradictions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

from core.figures.scores import with_kind
from core.scores.parsed_score import ScoreFile
from core.wording import score_files
from core.wording.score_files import format_name

FEW = 5
"""Names of models, or contradictions, that are listed."""


def lines(
    file: ScoreFile,
    rows: pl.DataFrame,
    names: pl.DataFrame,
    imported_at: datetime | None,
    stored: Mapping[str, bool] | None,
) -> list[str]:
    """`rows`, `names` and `imported_at` are those of the file's preview; `stored` says for each file's hash whether it
    was new, and is None where nothing was to be stored."""
    told = [f"{file.name}: {format_name(file.format, 'en')}", *score_files.file_remarks(file, "en")]
    counts = with_kind(rows)["kind"].value_counts()
    counted = dict(counts.rows())
    kinds = [kind for kind in score_files.KINDS if kind in counted]
    values = [f"{counted[kind]:,} {score_files.kind_name(kind, 'en')}" for kind in kinds]
    if file.samples:
        values.append(f"{len(file.samples):,} single answers")
    told.append("values: " + (", ".join(values) or "none"))
    for skipped in (True, False):
        told += [_reason(one) for one in score_files.reasons(file.rows, "en", skipped=skipped)]
    told += _contradictions(rows)
    told += _models(names)
    told.append(_outcome(file, imported_at, stored))
    return [_printable(line) for line in (told[0], *(f"  {line}" for line in told[1:]))]


def as_records(previews, stored: Mapping[str, dict]) -> list[dict[str, Any]]:
    """One record per preview for JSON: every value with its fate and reasons."""
    return [
        {
            "file": preview.file.name,
            "sha256": preview.file.sha256,
            "format": preview.file.format,
            "remarks": score_files.file_remarks(preview.file, "en"),
            "imported_before": preview.imported_at,
            "stored": stored.get(preview.file.sha256),
            "models": preview.names.to_dicts(),
            "n_answers": len(preview.file.samples),
            "values": [
                row | {"why": score_files.why(preview.file.rows[row["number"]], "en") or None}
                for row in preview.rows.to_dicts()
            ],
        }
        for preview in previews
    ]


def _reason(one: score_files.Told) -> str:
    return f"{one.count:,} × {one.words} (for example {'; '.join(one.places)})"


def _contradictions(rows: pl.DataFrame) -> list[str]:
    found = rows.filter(pl.col("known") == "conflict").head(FEW)
    return [
        f"contradiction: {row['model']} {row['benchmark']} {row['metric']}: {row['value']:g}, but "
        f"{score_files.known_text('conflict', row['known_from'], row['known_value'], 'en')}"
        for row in found.iter_rows(named=True)
    ]


def _models(names: pl.DataFrame) -> list[str]:
    if names.is_empty():
        return []
    unmet = names.filter(~pl.col("is_measured"))
    told = [f"models: {names.height:,}, of them measured here: {names.height - unmet.height:,}"]
    for row in unmet.filter(pl.col("suggestions").list.len() > 0).head(FEW).iter_rows(named=True):
        near = " or ".join(row["suggestions"])
        command = f"workdim scores alias {shlex.quote(row['name'])} {shlex.quote(row['suggestions'][0])}"
        told.append(f"{row['name']} may be {near}: `{command}`")
    return told


def _outcome(file: ScoreFile, imported_at: datetime | None, stored: Mapping[str, bool] | None) -> str:
    if imported_at is not None:
        return f"stored before, on {imported_at:%Y-%m-%d %H:%M} UTC; nothing was changed."
    if stored is None:
        return "nothing was stored."
    return "stored." if file.sha256 in stored else "not stored."


def _printable(line: str) -> str:
    """Names of a file reach a terminal, which must not take any of their letters for a command."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)
