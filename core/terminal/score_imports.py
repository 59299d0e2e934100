"""What the command line says of files of scores that are imported: what becomes of their values, and whose they are."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from core.figures.scores import with_kind
from core.locale import _, in_language
from core.registry.names import NOT_STATED
from core.scores.score_rows import ScoreFile, metrics_without_direction
from core.terminal.output import join
from core.wording import scores as score_wording

MOST_EXAMPLES = 5
"""Models or contradictions that are listed at most."""


def import_lines(preview, stored: Mapping[str, Any] | None, scored: Sequence[tuple[str, str]]) -> list[str]:
    """The report on one file, from its `ImportPreview`; `scored` is `scored_here` of that.

    `stored` maps the hash of each stored file to its `StoredImport`; None if nothing was to be stored.
    """
    file, rows = preview.file, preview.rows
    lines = [f"{file.name}: {score_wording.format_name(file.format)}", *score_wording.file_remark_lines(file)]
    counted = dict(with_kind(rows)["kind"].value_counts().iter_rows())
    values = [f"{counted[kind]:,} {score_wording.kind_name(kind)}" for kind in score_wording.KINDS if kind in counted]
    if file.samples:
        values.append(_("{n:,} single answer", "{n:,} single answers", n=len(file.samples)))
    lines.append(_("values: {values}").format(values=join(values) or _("none")))
    for skipped in (True, False):
        lines += score_wording.remark_lines(file.rows, skipped=skipped)
    lines += _contradictions(rows)
    lines += _directions(file)
    was_stored = preview.imported_at is not None
    is_stored = file.sha256 in (stored or ()) and not was_stored
    lines += _models(preview, is_tried=stored is None)
    if was_stored:
        line = _("stored before, on {time} UTC; nothing was changed.")
        lines.append(line.format(time=f"{preview.imported_at:%Y-%m-%d %H:%M}"))
    elif is_stored:
        lines.append(_("stored."))
    else:
        lines.append(_("nothing was stored.") if stored is None else _("not stored."))
    lines += _rankings(scored) if is_stored or was_stored else []
    return [lines[0], *(f"  {line}" for line in lines[1:])]


def import_records(previews, stored: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One record per preview for JSON: every value with its outcome and reasons."""
    return [
        {
            "file": preview.file.name,
            "sha256": preview.file.sha256,
            "format": preview.file.format,
            "remarks": in_language("en", score_wording.file_remark_lines, preview.file),
            "imported_before": preview.imported_at,
            "stored": asdict(stored[preview.file.sha256]) if preview.file.sha256 in stored else None,
            "models": preview.names.to_dicts(),
            "aliases": dict(preview.aliases),
            "metrics_without_direction": list(metrics_without_direction(preview.file)),
            "n_answers": len(preview.file.samples),
            "values": [
                row
                | {"why": in_language("en", score_wording.row_remarks_text, preview.file.rows[row["number"]]) or None}
                for row in preview.rows.to_dicts()
            ],
        }
        for preview in previews
    ]


def _contradictions(rows: pl.DataFrame) -> list[str]:
    columns = ("model", "benchmark", "metric", "value", "known_from", "known_value")
    conflicts = rows.filter(pl.col("known") == "conflict").head(MOST_EXAMPLES)
    return [
        _("contradiction: {model} {benchmark} {metric}: {value:g}, but {known}").format(
            model=model,
            benchmark=benchmark,
            metric=metric,
            value=value,
            known=score_wording.known_score_text("conflict", *known),
        )
        for model, benchmark, metric, value, *known in conflicts.select(columns).iter_rows()
    ]


def _directions(file: ScoreFile) -> list[str]:
    """The metrics of which nobody knows the better end, and the column that tells it."""
    line = _("{metric}: which end is better? The page Choose asks; in a CSV file the column higher_is_better tells.")
    return [line.format(metric=metric) for metric in metrics_without_direction(file)[:MOST_EXAMPLES]]


def _models(preview, is_tried: bool) -> list[str]:
    names = preview.names
    if names.is_empty():
        return []
    lines = [_("models that are measured here: {measured}").format(measured=score_wording.measured_text(names))]
    if preview.aliases:
        lines.append(_("new aliases: {n:,}").format(n=len(preview.aliases)))
    near = names.filter(~pl.col("is_measured"), pl.col("suggestions").list.len() > 0)
    for name, suggestions in near.head(MOST_EXAMPLES).select("name", "suggestions").iter_rows():
        words = {"alias": shlex.quote(name), "model": shlex.quote(suggestions[0])}
        line = _("{name} may be {near}: `workdim scores alias {alias} {model}`")
        lines.append(line.format(name=name, near=_(", ").join(suggestions), **words))
    if near.height > 1 and not is_tried:
        lines.append(_("map all likely names: `workdim scores alias --suggested`"))
    return lines


def _rankings(scored: Sequence[tuple[str, str]]) -> list[str]:
    """How each benchmark of the file is ranked by; or that no model of it is measured here."""
    if not scored:
        return [_("None of this file's models is measured here: no ranking shows them.")]
    return [
        _("the ranking with this benchmark: `workdim {command}`").format(
            command=shlex.join(["rank", "--benchmark", benchmark, *(["--metric", metric] * (metric != NOT_STATED))])
        )
        for benchmark, metric in scored[:MOST_EXAMPLES]
    ]
