"""The slide deck: frames in, the bytes of an editable .pptx out.

Title, the pilot if there is one, one layer profile per comparison group, a slide per run that has controls, the table
of dimensions, method and provenance, what cannot be decided.
Wherever a working dimension stands, the final dimension stands beside it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

import polars as pl
from pptx.presentation import Presentation as Deck
from pptx.slide import Slide

from core import wording
from core.analysis.ranking import RankingGroup
from core.deck import slide_sentences
from core.deck.charts import BELOW_CHART, MOST_CURVES, add_profile_chart, chart_words, mark_key
from core.deck.deck_data import Material, gathered
from core.deck.slides.controls import add_controls
from core.deck.slides.dimensions import add_limits, add_ranking
from core.deck.slides.pilot import add_pilot
from core.deck.slides.provenance import add_provenance
from core.deck.text_and_tables import add_text, fill_paragraphs, fitting_size
from core.deck.theme import CHART_BOX, READING_BOX, SPLIT, STATEMENT_BOX, TITLE, add_notes, add_slide, new_deck, speak
from core.figures.layer_profiles import PRIMARY, profile_points
from core.locale import translator
from core.pilots.registration import Registered
from core.tables import LayerCorrelatorRow, columns
from core.wording.labels import shortened

NOTED = ("E1", "mean_cosine", "C2")
"""Correlators that the notes of a profile slide give."""

NO_CORRELATORS = pl.DataFrame(schema=columns(LayerCorrelatorRow))
"""Correlators stand in the notes only: the titles are the same without them."""

STATEMENT_SIZES = (16, 15, 14, 13, 12, 11)

MOST_NAMES = 8
"""Model names on the title slide; the others are counted."""


def deck(
    runs: pl.DataFrame,
    estimates: pl.DataFrame,
    correlators: pl.DataFrame,
    checks: pl.DataFrame,
    scores: pl.DataFrame,
    language: str,
    made_on: date | None = None,
    summaries: pl.DataFrame | None = None,
    pilot: Registered | None = None,
) -> bytes:
    """The deck of the chosen runs, as a .pptx file; frames as `core.warehouse.queries` returns them.

    Runs without a verdict are left out and named on the first slide; InputError where no run on text is left. Controls
    are shown where `runs` holds them (`analysis.controls.with_controls` adds them), the comparison across
    tokenizers where `summaries` is given. With a `pilot` whose results they are, the deck tells what that decides, by
    which benchmark, and on every slide what its use class forbids.
    """
    day = made_on or datetime.now(UTC).astimezone().date()
    slides = _drawn(gathered(runs, estimates, correlators, checks, scores, language, day, summaries, pilot))
    file = BytesIO()
    slides.save(file)
    return file.getvalue()


def outline(
    runs: pl.DataFrame,
    estimates: pl.DataFrame,
    checks: pl.DataFrame,
    scores: pl.DataFrame,
    language: str,
    summaries: pl.DataFrame | None = None,
    pilot: Registered | None = None,
) -> list[str]:
    """The titles of the slides that `deck` makes of these frames, in their order: read off the slides themselves."""
    day = datetime.now(UTC).astimezone().date()
    slides = _drawn(gathered(runs, estimates, NO_CORRELATORS, checks, scores, language, day, summaries, pilot))
    return [slide.shapes.title.text_frame.text for slide in slides.slides]


def _drawn(material: Material) -> Deck:
    slides = new_deck()
    _add_title(slides, material)
    add_pilot(slides, material)
    for group in material.groups:
        for part in _parts(group):
            _add_profile(slides, material, part)
    add_controls(slides, material)
    add_ranking(slides, material)
    add_provenance(slides, material)
    add_limits(slides, material)
    _name_file(slides, material)
    for slide in slides.slides:
        _tag_language(slide, material.language)
    return slides


def _add_title(slides: Deck, material: Material) -> None:
    _ = translator(material.language)
    names = [shortened(name, 34) for name in material.texts["name"].unique(maintain_order=True)]
    title = (
        _("{names}: estimated dimension (d2, N={size}), layer by layer")
        if len(names) <= 2
        else _("{count} language models: estimated dimension (d2, N={size}), layer by layer")
    ).format(names=_(" and ").join(names), count=len(names), size=wording.size_range(material.n_points))
    slide = add_slide(slides, TITLE, title, material.footer)
    texts = material.texts.unique("corpus_id", maintain_order=True).iter_rows(named=True)
    told = [wording.text_name(run["corpus_name"], run, material.language) for run in texts]
    shown = names[:MOST_NAMES] + ([_("{count} more").format(count=len(names) - MOST_NAMES)] * (len(names) > MOST_NAMES))
    lines = [
        _("Models: {names}").format(names=_(", ").join(shown)),
        _("Text: {texts}").format(texts=_(", ").join(told)),
        _("Workdim · {date}").format(date=material.made_on.isoformat()),
    ]
    if material.pilot:
        lines.insert(0, _("Pilot: {name}").format(name=material.pilot.pilot.name))
    if material.left_out:
        left_out = _("Left out, having no verdict: {names}").format(names=_(", ").join(material.left_out[:MOST_NAMES]))
        lines.insert(-2, left_out)
    slide.placeholders[1].text_frame.text = "\n".join(lines)
    add_notes(slide, [_("Runs {ids}").format(ids=_(", ").join(material.runs["run_id"]))])


def _parts(group: RankingGroup) -> list[RankingGroup]:
    """A group in portions that one chart can tell apart."""
    starts = range(0, group.rows.height, MOST_CURVES)
    return [replace(group, rows=group.rows.slice(start, MOST_CURVES)) for start in starts]


def _add_profile(slides: Deck, material: Material, group: RankingGroup) -> None:
    _ = translator(material.language)
    data = profile_points(material.estimates, group.rows, *PRIMARY, language=material.language)
    footer = material.footer_of(group.rows["run_id"].to_list())
    slide = add_slide(slides, SPLIT, slide_sentences.profile_title(group, material.language), footer)
    chart_holder, text_holder = slide.placeholders[1], slide.placeholders[2]
    chart_holder._element.getparent().remove(chart_holder._element)
    if data.curves:
        add_profile_chart(slide, CHART_BOX, data, chart_words(data, material.language))
        add_text(slide, BELOW_CHART, [mark_key(data, material.language)], 11, quiet=True)
    else:
        add_text(slide, CHART_BOX, [_("No layer estimates of d2 on one token per type in these runs.")], 14)
    run = group.rows.row(0, named=True)
    text = wording.text_name(run["corpus_name"], run, material.language)
    said = [
        *material.caution,
        _("Text: {texts}").format(texts=text),
        *slide_sentences.statements(group, material.language),
    ]
    fill_paragraphs(text_holder.text_frame, said, fitting_size(said, STATEMENT_BOX, STATEMENT_SIZES))
    reading = [wording.own_definition(material.language), wording.which_ten(material.language)]
    reading += [wording.veto_note(material.language)] * any(
        map(slide_sentences.is_vetoed, group.rows.iter_rows(named=True))
    )
    add_text(slide, READING_BOX, reading, 11, quiet=True)
    add_notes(slide, _profile_notes(material, group))


def _profile_notes(material: Material, group: RankingGroup) -> list[str]:
    """Each number with the table and run that it stands in."""
    _ = translator(material.language)
    lines = [
        _("Curves: layer_estimates, estimator d2, cloud one_per_type, transform centred, state residual (post_norm)."),
        _("Working, embedding and final dimension, ratios, verdict: run_summaries, estimator d2, cloud one_per_type."),
    ]
    for run in group.rows.iter_rows(named=True):
        lines.append(
            _("{name}: run {run_id}; working {working}, layers {band}, final {final} / {after}.").format(
                name=run["name"],
                run_id=run["run_id"],
                working=slide_sentences.interval_of(run, "working_dimension"),
                band=slide_sentences.band_text(run, material.language),
                final=slide_sentences.interval_of(run, "final_dimension_pre_norm"),
                after=slide_sentences.interval_of(run, "final_dimension_post_norm"),
            )
        )
        lines.extend(_correlator_notes(material, run))
    return lines


def _correlator_notes(material: Material, run: dict) -> list[str]:
    _ = translator(material.language)
    if run["working_layer"] is None:
        return []
    own = material.correlators.filter(
        (pl.col("run_id") == run["run_id"])
        & (pl.col("layer") == run["working_layer"])
        & (pl.col("state") == "residual")
        & (pl.col("cloud") == PRIMARY[1])
        & pl.col("correlator").is_in(NOTED)
        & pl.col("value").is_not_null()
    )
    if own.is_empty():
        return []
    values = [f"{row['correlator']} = {row['value']:.3g}" for row in own.iter_rows(named=True)]
    line = _("At layer {layer}, layer_correlators: {values}.")
    return [line.format(layer=run["working_layer"], values=_(", ").join(values))]


def _name_file(slides: Deck, material: Material) -> None:
    properties = slides.core_properties
    properties.title = slides.slides[0].shapes.title.text_frame.text[:255]
    properties.author = "Workdim"
    properties.language = material.language
    properties.created = properties.modified = datetime.combine(material.made_on, datetime.min.time())


def _tag_language(slide: Slide, language: str) -> None:
    speak(slide._element, language)
    if slide.has_notes_slide:
        speak(slide.notes_slide._element, language)
    shape: Any
    for shape in slide.shapes:
        if shape.has_chart:
            speak(shape.chart._chartSpace, language)
