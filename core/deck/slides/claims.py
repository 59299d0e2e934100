"""The slide of claims: under which specifications the dimension rises inside and falls towards the end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import polars as pl
from pptx.slide import Slide

from core import wording
from core.deck.deck_data import DeckData
from core.deck.text_and_tables import Column, Row, add_table, add_text, numbered_titles, pages, text_height
from core.deck.theme import BODY_HEIGHT, BODY_TOP, MARGIN, TEXT_WIDTH, PlannedSlide
from core.figures.claims import ClaimData, ClaimLine, claim_points
from core.locale import translator
from core.registry.specifications import CLAIMS
from core.wording.labels import shortened
from core.wording.verdicts import claim_name, marks_key

POSITION = 45
POINTS, FOOT_POINTS = 12, 11
MOST_RUNS = 3
"""Side by side; more take further slides."""
NAME_WIDTH = 5.2
"""Inches of the column of specifications."""


def slides(data: DeckData) -> Iterator[PlannedSlide]:
    """None where no run has claims, as those of earlier versions."""
    judged = data.texts.filter(pl.col("run_id").is_in(data.claims["run_id"].unique().to_list()))
    for start in range(0, judged.height, MOST_RUNS):
        yield from _of_runs(data, judged.slice(start, MOST_RUNS))


def _of_runs(data: DeckData, runs: pl.DataFrame) -> Iterator[PlannedSlide]:
    _ = translator(data.language)
    points = claim_points(data.claims, runs, data.language)
    core, others = ([line for line in points.lines if line.is_core == wanted] for wanted in (True, False))
    columns, rows = _columns(points, data.language), [_row(line, points) for line in core]
    foot = [*data.caution, *_foot(points, runs, data.language)]
    foot_height = text_height(foot, TEXT_WIDTH, FOOT_POINTS)
    filled = pages(rows, columns, POINTS, BODY_HEIGHT - foot_height - 0.2)
    title = _title(runs, data.language)
    alternative = _("Table of specifications with what the claims come to under each.")

    def draw(slide: Slide, page: list[Row]) -> None:
        height = add_table(slide, columns, page, POINTS, alternative)
        add_text(slide, (MARGIN, BODY_TOP + height + 0.2, TEXT_WIDTH, foot_height), foot, FOOT_POINTS, quiet=True)

    notes = [
        _("Outcomes and ratios: run_claims; verdicts and reasons: run_summaries, estimator d2, cloud one_per_type.")
    ]
    notes += [f"{name}: {run_id}" for run_id, name in points.runs.items()]
    if others:
        notes.append(_("Specifications outside the core, shown here only (rises, falls, run by run):"))
        notes += [", ".join(_row(line, points)) for line in others]
    for numbered, page in zip(numbered_titles(title, len(filled)), filled, strict=True):
        yield PlannedSlide(numbered, data.footer_of(list(points.runs)), partial(draw, page=page), notes)


def _title(runs: pl.DataFrame, language: str) -> str:
    """The verdicts of one run; of several, what the slide shows."""
    _ = translator(language)
    if runs.height > 1:
        return _("Rises inside, falls towards the end: under which specifications")
    run = runs.row(0, named=True)
    told = _("; ").join(
        _("{claim}: {verdict}").format(
            claim=claim_name(claim, language), verdict=wording.verdict_word(run[f"verdict_{claim}"], language)
        )
        for claim in CLAIMS
    )
    return _("{claim}: {verdict}").format(claim=shortened(run["name"], 40), verdict=told)


def _columns(points: ClaimData, language: str) -> list[Column]:
    _ = translator(language)
    width = (TEXT_WIDTH - NAME_WIDTH) / (len(points.runs) * len(CLAIMS))
    heads = [claim_name(claim, language, brief=True) for claim in CLAIMS]
    if len(points.runs) > 1:
        heads = [f"{shortened(name, 22)}: {head}" for name in points.runs.values() for head in heads]
    return [Column(_("Specification"), NAME_WIDTH), *(Column(head, width) for head in heads)]


def _row(line: ClaimLine, points: ClaimData) -> tuple[str, ...]:
    cells = [line.cells.get((run_id, claim)) for run_id in points.runs for claim in CLAIMS]
    return (line.name, *("–" if cell is None else f"{cell.mark} {cell.ratio}" for cell in cells))


def _foot(points: ClaimData, runs: pl.DataFrame, language: str) -> list[str]:
    _ = translator(language)
    named = points.runs if runs.height > 1 else {}
    told = [
        _("{claim}: {verdict}").format(
            claim=shortened(named[run["run_id"]], 40), verdict=wording.verdict_text(run, language)
        )
        if named
        else wording.verdict_text(run, language)
        for run in runs.iter_rows(named=True)
    ]
    key = _(
        "{marks}. Ratio of the largest inner dimension to that at layer 0 (rises) or after the last block (falls), 95 % "
        "limits simultaneous over layers. A verdict rests on these core specifications; the notes list the others."
    )
    return [*told, key.format(marks=marks_key(language))]
