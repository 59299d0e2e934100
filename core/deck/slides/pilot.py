"""The slide on the pilot: what it decides, by which benchmark, what was expected and when that was written down."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from functools import partial

import polars as pl

from core import wording
from core.analysis.asked import missing_models
from core.deck.deck_data import DeckData
from core.deck.text_and_tables import Column, Row, add_table, numbered_titles, pages
from core.deck.theme import BODY_HEIGHT, TEXT_WIDTH, PlannedSlide
from core.locale import translator
from core.pilots.pilot import Pilot
from core.pilots.registration import Registered
from core.wording import pilot_sentences
from core.wording.labels import shortened

POSITION = 20
SIZES = (14, 13, 12, 11)
"""Letter sizes: the largest that keeps the pilot on one slide, but never a smaller one."""
MOST_NAMES = 8
"""Models named in one cell; the others are counted."""


def slides(data: DeckData) -> Iterator[PlannedSlide]:
    """None where the deck is not of a pilot."""
    if data.pilot is None:
        return
    _ = translator(data.language)
    columns = [Column(_("Pilot"), 2.9), Column(_("As it was registered"), TEXT_WIDTH - 2.9)]
    rows = _rows(data, data.pilot)
    points = next((size for size in SIZES if len(pages(rows, columns, size, BODY_HEIGHT)) == 1), SIZES[-1])
    title = _("Pilot “{name}”: what is to be decided, and by which benchmark").format(
        name=shortened(data.pilot.pilot.name, 40)
    )
    alternative = _("Table of what the pilot fixed before measuring, and of what is known of its benchmark.")
    notes = [_("Table pilots, pilot {pilot_id}.").format(pilot_id=data.pilot.pilot_id)]
    filled = pages(rows, columns, points, BODY_HEIGHT)
    for numbered, page in zip(numbered_titles(title, len(filled)), filled, strict=True):
        draw = partial(add_table, columns=columns, rows=page, points=points, alternative=alternative)
        yield PlannedSlide(numbered, data.footer, draw, notes)


def _rows(data: DeckData, registered: Registered) -> list[Row]:
    language, pilot = data.language, registered.pilot
    _ = translator(language)
    rows = [
        (_("Question"), pilot.question),
        (_("Use class"), _use_class(data, pilot)),
        (_("Models"), _models(data, pilot)),
        (_("Texts, protocol"), _asked(pilot, language)),
        (_("Primary benchmark"), pilot_sentences.benchmark_line(pilot.benchmark, language)),
        (_("Expected"), pilot.benchmark.expectation),
        (_("Written down on"), _dates(data, registered)),
        (_("Scores of the benchmark"), _evidence(data, pilot)),
    ]
    if pilot.task:
        rows.append((_("Own task: {task}").format(task=pilot.task.name), _own_scores(pilot, language)))
    return list(rows)


def _use_class(data: DeckData, pilot: Pilot) -> str:
    _ = translator(data.language)
    name = pilot_sentences.use_class_name(pilot.use_class, data.language)
    meaning = pilot_sentences.use_class_meaning(pilot.use_class, data.language)
    told = _("{name}: {relation}").format(name=name, relation=meaning)
    rule = _("A dimension never supports a recommendation by itself.") if pilot.is_cautious else ""
    return wording.sentences((told, rule), data.language)


def _models(data: DeckData, pilot: Pilot) -> str:
    _ = translator(data.language)
    missing = missing_models(pilot, data.texts)
    total = len(pilot.models)
    if not missing:
        return _("{count}, all of them in this deck").format(count=total)
    names = [model.label for model in missing[:MOST_NAMES]]
    if len(missing) > MOST_NAMES:
        names.append(_("{count} more").format(count=len(missing) - MOST_NAMES))
    told = _("{count} of {total} in this deck; without a run here: {names}")
    return told.format(count=total - len(missing), total=total, names=_(", ").join(names))


def _asked(pilot: Pilot, language: str) -> str:
    _ = translator(language)
    texts = _(", ").join(text.written for text in pilot.texts)
    return _("{texts}; {protocol}, seed {seed}").format(
        texts=texts, protocol=wording.name("protocol", pilot.protocol, language), seed=pilot.seed
    )


def _dates(data: DeckData, registered: Registered) -> str:
    """The author's day beside the warehouse's own, and how many runs are older than that."""
    _ = translator(data.language)
    texts = data.texts
    earlier = texts.filter(pl.col("started_at").dt.replace_time_zone(None) < registered.at).height
    told = _("{frozen}; registered in this warehouse on {registered}; runs measured before that: {count} of {total}")
    day = registered.at.replace(tzinfo=UTC).astimezone().date()  # the author's day is one of his own place
    return told.format(frozen=registered.pilot.benchmark.frozen, registered=day, count=earlier, total=texts.height)


def _evidence(data: DeckData, pilot: Pilot) -> str:
    _ = translator(data.language)
    scored = data.scored.filter(pl.col("pass") == "text")
    known = pilot_sentences.evidence(scored, pilot.benchmark)
    if not known.total:
        return _("None for these models: nothing in this deck tests the expectation.")
    kinds = (
        (known.own, _("of the model itself: {count}")),
        (known.unsure, _("of the model, revision not stated: {count}")),
        (known.base, _("of its base model only: {count}")),
    )
    told = [text.format(count=count) for count, text in kinds if count]
    without = scored["model_id"].n_unique() - known.total
    return _("; ").join([*told, *([_("without one: {count}").format(count=without)] if without else [])])


def _own_scores(pilot: Pilot, language: str) -> str:
    """Every model with its score; what has none is counted."""
    _ = translator(language)
    own = {(model.reference, model.revision): model for model in pilot.models if model.score}
    if not own or pilot.task is None:
        return _("no score stated yet")
    told = []
    for model in list(own.values())[:MOST_NAMES]:
        score = model.score
        assert score is not None
        error = "" if score.std_error is None else f" ± {score.std_error:.2g}"
        told.append(f"{model.label} {wording.number(score.value)}{error}")
    if len(own) > MOST_NAMES:
        told.append(_("{count} more").format(count=len(own) - MOST_NAMES))
    return _("{word} ({limits})").format(word=_("; ").join(told), limits=pilot.task.unit)
