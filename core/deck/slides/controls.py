"""A slide per run that has controls: d2 of the text beside that of its controls, and what they say of the claims."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from core import wording
from core.deck.charts import MOST_CURVES, STATEMENT_SIZES, fill_chart_slide
from core.deck.deck_data import DeckData
from core.deck.text_and_tables import text_height
from core.deck.theme import SPLIT, STATEMENT_BOX, PlannedSlide
from core.figures.layer_profiles import PRIMARY, ProfileData, press_flat, profile_points
from core.locale import translator
from core.wording.labels import is_vetoed, marked, run_labels, shortened

POSITION = 40
MOST_INTERVALS = 3
"""With more controls than that the statements leave the intervals to the chart: they have to fit beside it."""


def slides(data: DeckData) -> Iterator[PlannedSlide]:
    """None where no run on text has a control among the chosen runs."""
    labels = run_labels(data.texts, data.language)
    for run in data.texts.iter_rows(named=True):
        controls = data.controls_of(run)
        if controls.height:
            yield _slide(data, run, controls, labels[run["run_id"]])


def _slide(data: DeckData, run: dict, controls: pl.DataFrame, label: str) -> PlannedSlide:
    language = data.language
    profiles = _curves(data, run, controls)
    is_log = press_flat(profiles.curves[:1], profiles.curves[1:])
    said = [*data.caution, *_statements(run, controls, language)]
    said = _first_fitting(said, [_findings(data, run, controls, brief) for brief in (False, True)])
    said = _first_fitting(said, [_meanings(run, language)])
    has_veto = any(map(is_vetoed, [run, *controls.iter_rows(named=True)]))
    return PlannedSlide(
        _title(run, label, language),
        data.footer_of([run["run_id"], *controls["run_id"]]),
        lambda slide: fill_chart_slide(slide, profiles, said, has_veto, language, is_log),
        _notes(run, controls, language),
        SPLIT,
    )


def _curves(data: DeckData, run: dict, controls: pl.DataFrame) -> ProfileData:
    """The text first, so that it has the first colour; then each control once, by its first seed."""
    once = controls.unique("pass", keep="first", maintain_order=True).head(MOST_CURVES - 1)
    rows = pl.concat([data.runs.filter(run_id=run["run_id"]), once])
    profiles = profile_points(data.estimates, rows, *PRIMARY, language=data.language)
    names = {row["run_id"]: _name(row, data.language) for row in rows.iter_rows(named=True)}
    curves = [replace(curve, name=names[curve.run_id]) for curve in profiles.curves]
    # A control has no working band: only the text's is marked.
    curves = [curve if curve.run_id == run["run_id"] else replace(curve, band=None) for curve in curves]
    return replace(profiles, curves=curves)


def _name(run: dict, language: str) -> str:
    """`random weights, seed 1 ‡`."""
    return marked(wording.control_name(run["pass"], run["model_seed"], language), is_vetoed(run))


def _title(run: dict, label: str, language: str) -> str:
    """What the controls leave of the claims, where a verdict names one of them."""
    _ = translator(language)
    name = shortened(label, 40)
    told = [wording.reason_text(key, language, brief=False) for key in _of_controls(run)]
    if told:
        return _("{name}: {clauses}").format(name=name, clauses=_("; ").join(told))
    size = wording.size_range((run["n_points"] or 0, run["n_points"] or 0))
    return _("{name}: estimated dimension (d2, N={size}) of the text and of its controls").format(name=name, size=size)


def _of_controls(run: dict) -> list[str]:
    """Keys of the reasons that come from controls."""
    return [key for key in wording.reasons_of(run) if "control" in key]


def _statements(run: dict, controls: pl.DataFrame, language: str) -> list[str]:
    """What the numbers are, then those of the text and of each control."""
    _ = translator(language)
    said = [_("Estimated dimension (d2): embedding → largest inner → final before the norm.")]
    with_intervals = controls.height <= MOST_INTERVALS
    for row in [run, *controls.iter_rows(named=True)]:
        sentence = _("{name}: {embedding} → {inner} → {final}.")
        said.append(
            sentence.format(
                name=_capitalised(_name(row, language)),
                embedding=_value(row, "embedding_dimension", with_intervals),
                inner=_value(row, "inner_max", with_intervals),
                final=_value(row, "final_dimension_pre_norm", with_intervals),
            )
        )
    return said


def _first_fitting(said: list[str], options: list[list[str]]) -> list[str]:
    """What is said, and of the options for more the first that has room beside the chart."""
    for more in options:
        if text_height([*said, *more], STATEMENT_BOX[2], STATEMENT_SIZES[-1]) <= STATEMENT_BOX[3]:
            return [*said, *more]
    return said


def _findings(data: DeckData, run: dict, controls: pl.DataFrame, brief: bool) -> list[str]:
    """What each control says of each claim, a paragraph for each control; brief without ratios and power."""
    _ = translator(data.language)
    rows = data.against_controls.filter(run_id=run["run_id"]).to_dicts()
    told = []
    for control in controls.iter_rows(named=True):
        own = [
            wording.control_text(row | {"ratio": None} if brief else row, data.language)
            for row in rows
            if row["control_run_id"] == control["run_id"]
        ]
        if own:
            name = _capitalised(_name(control, data.language))
            told.append(_("{claim}: {verdict}").format(claim=name, verdict=_("; ").join(own)))
    return told


def _meanings(run: dict, language: str) -> list[str]:
    return [wording.reason_meaning(key, language) for key in _of_controls(run)]


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _value(row: dict, column: str, with_interval: bool) -> str:
    return wording.interval_of(row, column) if with_interval else wording.number(row[column])


def _notes(run: dict, controls: pl.DataFrame, language: str) -> list[str]:
    _ = translator(language)
    rows = [run, *controls.iter_rows(named=True)]
    source = _(
        "Curves: layer_estimates, estimator d2, cloud one_per_type, transform centred, state residual (post_norm)."
    )
    return [source, *(f"{_name(row, language)}: {row['run_id']}" for row in rows)]
