"""A slide per run that has controls: d2 of the text beside that of shuffled text and of random weights."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
from pptx.presentation import Presentation as Deck

from core import wording
from core.deck import slide_sentences
from core.deck.charts import BELOW_CHART, MOST_CURVES, add_profile_chart, chart_words, mark_key
from core.deck.deck_data import Material
from core.deck.text_and_tables import add_text, fill_paragraphs, fitting_size, text_height
from core.deck.theme import CHART_BOX, READING_BOX, SPLIT, STATEMENT_BOX, add_notes, add_slide
from core.figures.layer_profiles import PRIMARY, ProfileData, press_flat, profile_points
from core.locale import translator
from core.wording.labels import marked, run_labels, shortened

STATEMENT_SIZES = (16, 15, 14, 13, 12, 11)
MOST_INTERVALS = 3
"""With more controls than that the statements leave the intervals to the chart: they have to fit beside it."""
EXPLAINED = (
    "random_init_same",
    "random_init_unclear",
    "random_init_failed",
    "random_init_differs",
    "shuffled_same",
    "shuffled_unclear",
    "shuffled_failed",
    "shuffled_differs",
)
"""Qualifiers that are this slide's title, and whose meaning it tells in full."""


def add_controls(slides: Deck, material: Material) -> None:
    """None where no run on text has a control among the chosen runs."""
    labels = run_labels(material.texts, material.language)
    for run in material.texts.iter_rows(named=True):
        controls = material.controls_of(run)
        if controls.height:
            _add_slide(slides, material, run, controls, labels[run["run_id"]])


def _add_slide(slides: Deck, material: Material, run: dict, controls: pl.DataFrame, label: str) -> None:
    language = material.language
    data = _curves(material, run, controls)
    footer = material.footer_of([run["run_id"], *controls["run_id"]])
    slide = add_slide(slides, SPLIT, _title(run, controls, label, language), footer)
    chart_holder, text_holder = slide.placeholders[1], slide.placeholders[2]
    chart_holder._element.getparent().remove(chart_holder._element)
    if data.curves:
        text, *others = data.curves
        is_log = press_flat([text], others)
        add_profile_chart(slide, CHART_BOX, data, chart_words(data, language, is_log), is_log)
        add_text(slide, BELOW_CHART, [mark_key(data, language)], 11, quiet=True)
    said = [*material.caution, *_statements(run, controls, language)]
    explained = [*said, *_meanings(run, language)]
    if text_height(explained, STATEMENT_BOX[2], STATEMENT_SIZES[-1]) <= STATEMENT_BOX[3]:
        said = explained
    fill_paragraphs(text_holder.text_frame, said, fitting_size(said, STATEMENT_BOX, STATEMENT_SIZES))
    reading = [wording.own_definition(language), wording.which_ten(language)]
    vetoed = [run, *controls.iter_rows(named=True)]
    reading += [wording.veto_note(language)] * any(map(slide_sentences.is_vetoed, vetoed))
    add_text(slide, READING_BOX, reading, 11, quiet=True)
    add_notes(slide, _notes(run, controls, language))


def _curves(material: Material, run: dict, controls: pl.DataFrame) -> ProfileData:
    """The text first, so that it has the first colour; as many controls as a chart can tell apart."""
    rows = pl.concat([material.runs.filter(run_id=run["run_id"]), controls.head(MOST_CURVES - 1)])
    data = profile_points(material.estimates, rows, *PRIMARY, language=material.language)
    names = {row["run_id"]: _name(row, material.language) for row in rows.iter_rows(named=True)}
    curves = [replace(curve, name=names[curve.run_id]) for curve in data.curves]
    # A control has no working band: only the text's is marked.
    curves = [curve if curve.run_id == run["run_id"] else replace(curve, band=None) for curve in curves]
    return replace(data, curves=curves)


def _name(run: dict, language: str) -> str:
    """`random weights, seed 1 ‡`."""
    return marked(wording.control_name(run["pass"], run["model_seed"], language), slide_sentences.is_vetoed(run))


def _title(run: dict, controls: pl.DataFrame, label: str, language: str) -> str:
    """What the controls show, where the text shows a shape that they could share."""
    _ = translator(language)
    qualifiers, name = run["qualifiers"] or [], shortened(label, 40)
    told = [wording.qualifier_text(key, language) for key in EXPLAINED if key in qualifiers]
    if told and (run["verdict"] == "found" or "random_init_same" in qualifiers):
        title = _("{name}, expansion-contraction: {clauses}")
        return title.format(name=name, clauses=_(", ").join(told))
    size = wording.size_range((run["n_points"] or 0, run["n_points"] or 0))
    return _("{name}: estimated dimension (d2, N={size}) of the text and of its controls").format(name=name, size=size)


def _statements(run: dict, controls: pl.DataFrame, language: str) -> list[str]:
    """What the numbers are, then those of the text and of each control."""
    _ = translator(language)
    said = [_("Estimated dimension (d2): embedding → working → final before the norm.")]
    with_intervals = controls.height <= MOST_INTERVALS
    for row in [run, *controls.iter_rows(named=True)]:
        shows = wording.shows_shape(row["verdict"], row["qualifiers"], language)
        sentence = _("{name}: {embedding} → {working} → {final}; {shows}.")
        said.append(
            sentence.format(
                name=_capitalised(_name(row, language)),
                embedding=_value(row, "embedding_dimension", with_intervals),
                working=_value(row, "working_dimension", with_intervals),
                final=_value(row, "final_dimension_pre_norm", with_intervals),
                shows=shows,
            )
        )
    return said


def _meanings(run: dict, language: str) -> list[str]:
    """What it means that a control shows the shape or does not; nothing where the text does not show it either."""
    if run["verdict"] == "not_found":
        return []
    told = [key for key in (*EXPLAINED, "no_shuffled") if key in (run["qualifiers"] or [])]
    return [wording.qualifier_meaning(key, language) for key in told]


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _value(row: dict, column: str, with_interval: bool) -> str:
    return slide_sentences.interval_of(row, column) if with_interval else wording.number(row[column])


def _notes(run: dict, controls: pl.DataFrame, language: str) -> list[str]:
    _ = translator(language)
    rows = [run, *controls.iter_rows(named=True)]
    source = _(
        "Curves: layer_estimates, estimator d2, cloud one_per_type, transform centred, state residual (post_norm)."
    )
    return [source, *(f"{_name(row, language)}: {row['run_id']}" for row in rows)]
