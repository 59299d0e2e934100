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
from core.scores.score_rows import metrics_without_direction
from core.wording import scores as score_wording
from core.wording.labels import names_text

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
    lines.append(_("values: {values}", values=values))
    for skipped in (True, False):
        lines += score_wording.remark_lines(file.rows, skipped=skipped)
    lines += _contradictions(rows)
    if undirected := metrics_without_direction(file):
        line = _("{names}: which end is better? The page Choose asks; in a CSV file the column higher_is_better tells.")
        lines.append(line.format(names=names_text(undirected, MOST_EXAMPLES)))
    lines += _models(preview, is_tried=stored is None)
    is_stored = file.sha256 in (stored or ())
    if preview.imported_at is not None:
        time = f"{preview.imported_at:%Y-%m-%d %H:%M}"
        lines.append(_("stored before, on {time} UTC; nothing was changed.", time=time))
    else:
        lines.append(_("stored.") if is_stored else _("not stored."))
    lines += _rankings(scored) if is_stored or preview.imported_at is not None else []
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
        _(
            "contradiction: {model} {benchmark} {metric}: {value:g}, but {known}",
            model=model,
            benchmark=benchmark,
            metric=metric,
            value=value,
            known=score_wording.known_score_text("conflict", *known),
        )
        for model, benchmark, metric, value, *known in conflicts.select(columns).iter_rows()
    ]


def _models(preview, is_tried: bool) -> list[str]:
    names = preview.names
    if names.is_empty():
        return []
    lines = [_("models that are measured here: {measured}", measured=score_wording.measured_text(names))]
    if preview.aliases:
        lines.append(_("new aliases: {n:,}", n=len(preview.aliases)))
    others = names.filter(~pl.col("is_measured"))
    near = others.filter(pl.col("suggestions").list.len() > 0)
    if unknown := others.filter(pl.col("suggestions").list.len() == 0)["name"].to_list():
        lines.append(_("not measured here: {names}", names=names_text(unknown, MOST_EXAMPLES)))
    for name, suggestions in near.head(MOST_EXAMPLES).select("name", "suggestions").iter_rows():
        words = {"near": suggestions, "alias": shlex.quote(name), "model": shlex.quote(suggestions[0])}
        lines.append(_("{name} may be {near}: `workdim scores alias {alias} {model}`", name=name, **words))
    if near.height > 1 and not is_tried:
        lines.append(_("map all likely names: `workdim scores alias --suggested`"))
    return lines


def _rankings(scored: Sequence[tuple[str, str]]) -> list[str]:
    """How each benchmark of the file is ranked by; or that no model of it is measured here."""
    if not scored:
        return [_("None of this file's models is measured here: no ranking shows them.")]
    named = [
        ["--benchmark", benchmark, *(["--metric", metric] * (metric != NOT_STATED))] for benchmark, metric in scored
    ]
    commands = [shlex.join(["rank", *options]) for options in named[:MOST_EXAMPLES]]
    return [_("the ranking with this benchmark: `workdim {command}`", command=command) for command in commands]
