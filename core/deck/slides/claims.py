"""The slide of claims: under which specifications the dimension rises inside and falls towards the end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import polars as pl
from pptx.slide import Slide

from core import wording
from core.deck.deck_data import DeckData
from core.deck.text_and_tables import Column, Row, add_table, add_text, numbered_titles, pages, text_height
from core.deck.theme import BODY_HEIGHT, BODY_TOP, MARGIN, TEXT_WIDTH, PlannedSlide
from core.figures.claims import ClaimLine, claim_points
from core.locale import translator
from core.registry.specifications import CLAIMS
from core.wording.labels import run_labels, shortened
from core.wording.verdicts import claim_name, marks_key

POSITION = 45
POINTS, FOOT_POINTS = 14, 11
NAME_WIDTH = 5.2
"""Inches of the column of specifications."""


def slides(data: DeckData) -> Iterator[PlannedSlide]:
    """One for each run on text; none for a run without claims, as those of earlier versions."""
    labels = run_labels(data.texts, data.language)
    judged = data.texts.filter(pl.col("run_id").is_in(data.claims["run_id"].unique().to_list()))
    for run in judged.iter_rows(named=True):
        yield from _of_run(data, run, labels[run["run_id"]])


def _of_run(data: DeckData, run: dict[str, Any], label: str) -> Iterator[PlannedSlide]:
    _ = translator(data.language)
    points = claim_points(data.claims, data.runs.filter(run_id=run["run_id"]), data.language)
    core, others = ([line for line in points.lines if line.is_core == wanted] for wanted in (True, False))
    width = (TEXT_WIDTH - NAME_WIDTH) / len(CLAIMS)
    heads = [claim_name(claim, data.language, brief=True) for claim in CLAIMS]
    columns = [Column(_("Specification"), NAME_WIDTH), *(Column(head, width) for head in heads)]
    rows = [_row(line, run["run_id"]) for line in core]
    foot = [*data.caution, *_foot(run, data.language)]
    foot_height = text_height(foot, TEXT_WIDTH, FOOT_POINTS)
    filled = pages(rows, columns, POINTS, BODY_HEIGHT - foot_height - 0.2)
    alternative = _("Table of specifications with what the claims come to under each.")

    def draw(slide: Slide, page: list[Row]) -> None:
        height = add_table(slide, columns, page, POINTS, alternative)
        add_text(slide, (MARGIN, BODY_TOP + height + 0.2, TEXT_WIDTH, foot_height), foot, FOOT_POINTS, quiet=True)

    notes = [
        _("Outcomes and ratios: run_claims; verdicts and reasons: run_summaries, estimator d2, cloud one_per_type."),
        f"{label}: {run['run_id']}",
    ]
    if others:
        notes.append(_("Specifications outside the core, shown here only (rises, falls):"))
        notes += [", ".join(_row(line, run["run_id"])) for line in others]
    for title, page in zip(numbered_titles(_title(run, label, data.language), len(filled)), filled, strict=True):
        yield PlannedSlide(title, data.footer_of([run["run_id"]]), partial(draw, page=page), notes)


def _title(run: dict[str, Any], label: str, language: str) -> str:
    _ = translator(language)
    told = _("; ").join(
        _("{claim}: {verdict}").format(
            claim=claim_name(claim, language), verdict=wording.verdict_word(run[f"verdict_{claim}"], language)
        )
        for claim in CLAIMS
    )
    return _("{claim}: {verdict}").format(claim=shortened(label, 40), verdict=told)


def _row(line: ClaimLine, run_id: str) -> tuple[str, ...]:
    cells = [line.cells.get((run_id, claim)) for claim in CLAIMS]
    return (line.name, *("–" if cell is None else f"{cell.mark} {cell.ratio}" for cell in cells))


def _foot(run: dict[str, Any], language: str) -> list[str]:
    """The verdicts with their reasons, and how the table is read."""
    _ = translator(language)
    key = _(
        "{marks}. Ratio of the largest inner dimension to that at layer 0 (rises) or after the last block (falls), 95 % "
        "limits simultaneous over layers. A verdict rests on these core specifications; the notes list the others."
    )
    return [wording.verdict_text(run, language), key.format(marks=marks_key(language))]
