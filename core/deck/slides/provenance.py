"""The slide on method and provenance: which runs, on what text, by which protocol and programs, and what words mean."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial

import polars as pl
from pptx.slide import Slide

from core import wording
from core.deck.deck_data import DeckData
from core.deck.text_and_tables import (
    Column,
    Heading,
    Row,
    add_table,
    add_text,
    fitting_size,
    numbered_titles,
    pages,
    table_height,
    text_height,
)
from core.deck.theme import BODY_HEIGHT, BODY_TOP, MARGIN, TEXT_WIDTH, Box, PlannedSlide
from core.locale import translator
from core.wording.labels import shortened

POSITION = 60
POINTS = 11
TEXT_SIZES = (14, 13, 12, 11, 10.5)
"""Letter sizes of the text below the table: the largest that fits."""
TABLE_HEIGHT = 2.6
"""Inches for the table of runs; more runs than fit go on a slide of their own."""
COMMIT = re.compile(r"@([0-9a-f]{12})[0-9a-f]{28}$")
LIBRARIES = ("torch", "transformers", "numpy")


def slides(data: DeckData) -> Iterator[PlannedSlide]:
    """Runs above; below them text and programs on the left, definitions on the right; then what did not fit."""
    _ = translator(data.language)
    columns, rows, notes = _columns(data.language), _rows(data), _notes(data)
    alternative = _("Table of the runs with model revision, sample size, seed, number format and date.")
    first = pages(rows, columns, POINTS, TABLE_HEIGHT)[0]
    top = BODY_TOP + table_height(first, columns, POINTS) + 0.15
    room = BODY_TOP + BODY_HEIGHT - top
    half = TEXT_WIDTH / 2 - 0.15
    left, right = (MARGIN, top, half, room), (MARGIN + half + 0.3, top, half, room)
    texts = _texts(data)
    n_texts = _fitting_texts(data, texts, left)
    origin, definitions = _origin(data, texts, n_texts), _definitions(data)
    points = min(fitting_size(origin, left, TEXT_SIZES), fitting_size(definitions, right, TEXT_SIZES))

    def draw(slide: Slide) -> None:
        add_table(slide, columns, first, POINTS, alternative)
        add_text(slide, left, origin, points)
        add_text(slide, right, definitions, points)

    yield PlannedSlide(_("Method and provenance"), data.footer, draw, notes)
    further = pages(rest, columns, POINTS, BODY_HEIGHT) if (rest := rows[len(first) :]) else []
    for number, page in enumerate(further, start=2):
        title = _("Method and provenance: further runs ({number}/{total})")
        yield PlannedSlide(
            title.format(number=number, total=len(further) + 1),
            data.footer_of([row[2] for row in page if not isinstance(row, Heading)]),
            partial(add_table, columns=columns, rows=page, points=POINTS, alternative=alternative),
            notes,
        )
    text_columns = [Column(_("Text and protocol"), TEXT_WIDTH)]
    left_over: list[Row] = [(text,) for text in texts[n_texts:]]
    filled = pages(left_over, text_columns, POINTS, BODY_HEIGHT) if left_over else []
    titles = numbered_titles(_("Method and provenance: further texts"), len(filled))
    of_texts = _("Table of the texts that the runs have read.")
    for title, page in zip(titles, filled, strict=True):
        fill = partial(add_table, columns=text_columns, rows=page, points=POINTS, alternative=of_texts)
        yield PlannedSlide(title, data.footer, fill, notes)


def _fitting_texts(data: DeckData, texts: list[str], box: Box) -> int:
    """How many texts the first slide can list; the others go on a slide of their own."""
    counts = range(len(texts), 0, -1)
    origins = ((count, _origin(data, texts, count)) for count in counts)
    return next((count for count, lines in origins if text_height(lines, box[2], TEXT_SIZES[-1]) <= box[3]), 1)


def _columns(language: str) -> list[Column]:
    _ = translator(language)
    return [
        Column(_("Model and revision"), TEXT_WIDTH - 9.95),
        Column(_("Text"), 1.6),
        Column(_("Run"), 3.05),
        Column(_("Pass"), 1.15),
        Column(_("N"), 0.65, is_number=True),
        Column(_("Seed"), 0.75, is_number=True),
        Column(_("Number format, device"), 1.6),
        Column(_("Measured on"), 1.15),
    ]


def _rows(data: DeckData) -> list[Row]:
    return [
        (
            shortened(COMMIT.sub(r"@\1", run["model_id"]), 64),
            shortened(run["corpus_name"], 40),
            run["run_id"],
            wording.name("pass", run["pass"], data.language),
            "–" if run["n_points"] is None else f"{run['n_points']:,}",
            str(run["seed"]),
            f"{run['dtype']}, {run['device']}",
            run["started_at"].date().isoformat(),
        )
        for run in data.runs.iter_rows(named=True)
    ]


def _texts(data: DeckData) -> list[str]:
    """One line per text and protocol."""
    _ = translator(data.language)
    runs, lines = data.runs, []
    for run in runs.unique(["corpus_id", "protocol_hash"], maintain_order=True).iter_rows(named=True):
        same = runs.filter(corpus_id=run["corpus_id"], protocol_hash=run["protocol_hash"])
        lines.append(
            _("Text {text}; protocol {protocol}, hash {hash}: {windows} windows, {tokens} tokens.").format(
                text=wording.text_name(run["corpus_id"], run["corpus_language"], run["corpus_domain"], data.language),
                protocol=run["protocol"],
                hash=run["protocol_hash"],
                windows=run["n_sequences"],
                tokens=wording.size_range((same["n_tokens"].min(), same["n_tokens"].max())),  # type: ignore[arg-type]
            )
        )
    return lines


def _origin(data: DeckData, texts: list[str], n_texts: int) -> list[str]:
    """The first texts, and the programs."""
    _ = translator(data.language)
    runs = data.runs
    lines = [_("# Text, protocol, programs"), *texts[:n_texts]]
    if n_texts < len(texts):
        lines.append(_("Further texts, on a slide that follows: {count}.").format(count=len(texts) - n_texts))
    lines.append(_controls(data))
    lines.append(
        _("Workdim {code}; {libraries}.").format(code=_joined(runs["code_version"]), libraries=_versions(runs))
    )
    lines.append(
        _("One mask for all layers: position 0, special tokens, and norms far above the layer's median are left out.")
    )
    lines.append(_("Intervals: jackknife over blocks of neighbouring windows, Student's t, on the logarithm."))
    return lines


def _controls(data: DeckData) -> str:
    """Which control passes stand among the runs, and how many of each."""
    _ = translator(data.language)
    counted = data.runs.filter(pl.col("pass") != "text").group_by("pass").len().sort("pass").rows()
    if not counted:
        return _("No control runs among these runs.")
    told = [
        _("{name} (runs: {count})").format(name=wording.name("pass", name, data.language), count=count)
        for name, count in counted
    ]
    return _("Controls on the same text by the same protocol: {controls}.").format(controls=_(", ").join(told))


def _definitions(data: DeckData) -> list[str]:
    language = data.language
    _ = translator(language)
    controls = _(
        "Random weights: the same architecture before any training. "
        "Random blocks: only the embedding trained. "
        "Permuted weights: the entries of each matrix in random order. "
        "Shuffled text: the tokens of each window in random order."
    )
    has_controls = data.runs.filter(pl.col("pass") != "text").height > 0
    return [
        _("# What the words mean"),
        wording.own_definition(language),
        _(
            "Largest inner dimension: d2 at the inner layer where it is largest, chosen on one half of the text and read "
            "on the other. Working dimension: the same where it exceeds both ends by 10 %. "
            "Final dimension: d2 after the last block, before and after the final norm."
        ),
        _(
            "Two claims: the dimension rises inside; it falls towards the end. Robust: the ratio exceeds 1.1 beyond its "
            "error under every core specification, and beyond a control that could have shown it. Depends: it does under "
            "one and not under another."
        ),
        *([controls] if has_controls else []),
    ]


def _notes(data: DeckData) -> list[str]:
    _ = translator(data.language)
    lines = [_("Everything here: tables runs, models and corpora of the warehouse.")]
    for run in data.runs.iter_rows(named=True):
        lines.append(
            f"{run['name']}: {run['model_id']}, {run['run_id']}, {run['corpus_id']}, {run['library_versions']}"
        )
    return lines


def _joined(values) -> str:
    return ", ".join(sorted({str(value) for value in values}))


def _versions(runs) -> str:
    """`torch 2.13.0`, or all versions that occur."""
    read = [json.loads(text or "{}") for text in runs["library_versions"]]
    told = []
    for library in LIBRARIES:
        versions = _joined(found[library] for found in read if library in found)
        if versions:
            told.append(f"{library} {versions}")
    return ", ".join(told) or "–"
