"""Output of a score import: counts, reasons with their first examples, models, contradictions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

from core.errors import Sentence
from core.figures.scores import with_kind
from core.scores.score_rows import ScoreFile
from core.terminal.output import _, join, language, translated
from core.wording import score_files
from core.wording.score_files import format_name

MOST_EXAMPLES = 5
"""Models or contradictions that are listed at most."""


def import_lines(
    file: ScoreFile,
    rows: pl.DataFrame,
    names: pl.DataFrame,
    imported_at: datetime | None,
    stored: Mapping[str, bool] | None,
) -> list[str]:
    """The report on one file. `rows`, `names` and `imported_at` come from its preview.

    `stored` maps the hash of each stored file to whether it was new; None if nothing was to be stored.
    """
    lines = [f"{file.name}: {format_name(file.format, language())}", *score_files.file_remark_lines(file, language())]
    counts = with_kind(rows)["kind"].value_counts()
    counted = dict(counts.rows())
    kinds = [kind for kind in score_files.KINDS if kind in counted]
    values = [f"{counted[kind]:,} {score_files.kind_name(kind, language())}" for kind in kinds]
    if file.samples:
        values.append(translated(Sentence("{n:,} single answer", "{n:,} single answers", n=len(file.samples))))
    lines.append(_("values: {values}").format(values=join(values) or _("none")))
    for skipped in (True, False):
        lines += [_remark_line(group) for group in score_files.remark_groups(file.rows, language(), skipped=skipped)]
    lines += _contradictions(rows)
    lines += _models(names)
    lines.append(_outcome(file, imported_at, stored))
    return [_printable(line) for line in (lines[0], *(f"  {line}" for line in lines[1:]))]


def import_records(previews, stored: Mapping[str, dict]) -> list[dict[str, Any]]:
    """One record per preview for JSON: every value with its outcome and reasons."""
    return [
        {
            "file": preview.file.name,
            "sha256": preview.file.sha256,
            "format": preview.file.format,
            "remarks": score_files.file_remark_lines(preview.file, "en"),
            "imported_before": preview.imported_at,
            "stored": stored.get(preview.file.sha256),
            "models": preview.names.to_dicts(),
            "n_answers": len(preview.file.samples),
            "values": [
                row | {"why": score_files.row_remarks_text(preview.file.rows[row["number"]], "en") or None}
                for row in preview.rows.to_dicts()
            ],
        }
        for preview in previews
    ]


def _remark_line(group: score_files.RemarkGroup) -> str:
    line = _("{n:,} × {words} (for example {places})")
    return line.format(n=group.count, words=group.words, places=_("; ").join(group.places))


def _contradictions(rows: pl.DataFrame) -> list[str]:
    conflicts = rows.filter(pl.col("known") == "conflict").head(MOST_EXAMPLES)
    return [
        _("contradiction: {model} {benchmark} {metric}: {value:g}, but {known}").format(
            model=row["model"],
            benchmark=row["benchmark"],
            metric=row["metric"],
            value=row["value"],
            known=score_files.known_score_text("conflict", row["known_from"], row["known_value"], language()),
        )
        for row in conflicts.iter_rows(named=True)
    ]


def _models(names: pl.DataFrame) -> list[str]:
    if names.is_empty():
        return []
    unmet = names.filter(~pl.col("is_measured"))
    counted = _("models: {n:,}, of them measured here: {measured:,}")
    lines = [counted.format(n=names.height, measured=names.height - unmet.height)]
    for row in unmet.filter(pl.col("suggestions").list.len() > 0).head(MOST_EXAMPLES).iter_rows(named=True):
        near = _(" or ").join(row["suggestions"])
        command = f"workdim scores alias {shlex.quote(row['name'])} {shlex.quote(row['suggestions'][0])}"
        lines.append(_("{name} may be {near}: `{command}`").format(name=row["name"], near=near, command=command))
    return lines


def _outcome(file: ScoreFile, imported_at: datetime | None, stored: Mapping[str, bool] | None) -> str:
    if imported_at is not None:
        return _("stored before, on {time} UTC; nothing was changed.").format(time=f"{imported_at:%Y-%m-%d %H:%M}")
    if stored is None:
        return _("nothing was stored.")
    return _("stored.") if file.sha256 in stored else _("not stored.")


def _printable(line: str) -> str:
    """Replace unprintable characters: names from a file must not control the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)
