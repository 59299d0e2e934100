"""A slide for each comparison group: its layer profiles as a chart, and beside it what the numbers say.

Numbers side by side, no reasons, no praise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import polars as pl

from core import wording
from core.analysis.ranking import RankingGroup
from core.deck.charts import MOST_CURVES, fill_chart_slide
from core.deck.deck_data import DeckData
from core.deck.theme import SPLIT, PlannedSlide
from core.figures.layer_profiles import PRIMARY, profile_points
from core.locale import translator
from core.wording.labels import band_text, is_vetoed, marked, run_labels, shortened

POSITION = 30
MOST_STATEMENTS = 4
NOTED = ("E1", "mean_cosine", "C2")
"""Correlators that the notes give."""


def slides(data: DeckData) -> Iterator[PlannedSlide]:
    """A group of more runs than one chart can tell apart takes several slides."""
    for group in data.groups:
        for start in range(0, group.rows.height, MOST_CURVES):
            yield _slide(data, replace(group, rows=group.rows.slice(start, MOST_CURVES)))


def _slide(data: DeckData, group: RankingGroup) -> PlannedSlide:
    _ = translator(data.language)
    profiles = profile_points(data.estimates, group.rows, *PRIMARY, language=data.language)
    run = group.rows.row(0, named=True)
    text = wording.text_name(run["corpus_name"], run["corpus_language"], run["corpus_domain"], data.language)
    said = [*data.caution, _("Text: {texts}").format(texts=text), *statements(group, data.language)]
    has_veto = any(map(is_vetoed, group.rows.iter_rows(named=True)))
    without = _("No layer estimates of d2 on one token per type in these runs.")
    return PlannedSlide(
        profile_title(group, data.language),
        data.footer_of(group.rows["run_id"].to_list()),
        lambda slide: fill_chart_slide(slide, profiles, said, has_veto, data.language, without=without),
        _notes(data, group),
        SPLIT,
    )


def profile_title(group: RankingGroup, language: str) -> str:
    """The slide's one claim; it says "rises" and "falls" only where the intervals of the ratios lie above one.

    Runs that a check vetoes are left out of it while there are others.
    """
    _ = translator(language)
    rows = group.rows.filter(
        pl.col("working_dimension").is_not_null() & pl.col("final_dimension_pre_norm").is_not_null()
    )
    size = wording.size_range(group.n_points)
    sound = rows.filter(~pl.col("worst_check").eq_missing(pl.lit("veto")))
    rows = rows if sound.is_empty() else sound
    if rows.is_empty():
        return _("Layer profiles without a summary: estimated dimension (d2, one per type)")
    if rows.height > 1:
        return _title_of_several(rows, size, language)
    return _title_of_one(rows.row(0, named=True), size, language)


def _title_of_several(rows: pl.DataFrame, size: str, language: str) -> str:
    """Models are counted as models; two runs of one model are two runs."""
    _ = translator(language)
    sentence = (
        _(
            "{count} models: working dimension {working}, final dimension {final} before the norm, "
            "both estimated (d2, N={size})"
        )
        if rows["model_id"].n_unique() == rows.height
        else _(
            "{count} runs: working dimension {working}, final dimension {final} before the norm, "
            "both estimated (d2, N={size})"
        )
    )
    return sentence.format(
        count=rows.height,
        working=_span(rows["working_dimension"], _),
        final=_span(rows["final_dimension_pre_norm"], _),
        size=size,
    )


def _title_of_one(run: dict, size: str, language: str) -> str:
    _ = translator(language)
    numbers = {
        "name": marked(shortened(run["name"], 40), is_vetoed(run)),
        "size": size,
        "embedding": wording.rounded(run["embedding_dimension"] or 0.0),
        "working": wording.rounded(run["working_dimension"]),
        "final": wording.rounded(run["final_dimension_pre_norm"]),
    }
    if run["embedding_dimension"] is None:
        return _(
            "{name}: estimated dimension (d2, N={size}) is {working} in the working band and {final} at the end"
        ).format(**numbers)
    if _above_one(run["expansion_ratio_lower"]) and _above_one(run["contraction_ratio_lower"]):
        if run["final_dimension_post_norm"] is not None:
            return _(
                "{name}: estimated dimension (d2, N={size}) rises from {embedding} to {working} "
                "and falls to {final} before the final norm"
            ).format(**numbers)
        return _(
            "{name}: estimated dimension (d2, N={size}) rises from {embedding} to {working} "
            "and falls to {final} at the last block"
        ).format(**numbers)
    return _(
        "{name}: estimated dimension (d2, N={size}) is {embedding} at the embedding, "
        "{working} in the working band, {final} at the end"
    ).format(**numbers)


def statements(group: RankingGroup, language: str) -> list[str]:
    """At most four short statements with numbers and their 95 percent intervals."""
    if group.rows.height == 1:
        return _of_one(group.rows.row(0, named=True), language)
    if group.rows.height <= MOST_STATEMENTS:
        labels = run_labels(group.rows, language)
        return [_of_several(run, labels[run["run_id"]], language) for run in group.rows.iter_rows(named=True)]
    return _of_many(group, language)


def _of_one(run: dict, language: str) -> list[str]:
    _ = translator(language)
    checks = wording.outcome_name(run["worst_check"], language)
    return [
        _both_dimensions(run, language),
        _("Embedding output {embedding}; expansion ratio {expansion}, contraction ratio {contraction}.").format(
            embedding=wording.interval_of(run, "embedding_dimension"),
            expansion=wording.interval_of(run, "expansion_ratio"),
            contraction=wording.interval_of(run, "contraction_ratio"),
        ),
        _("Verdict – {verdict}.").format(verdict=wording.verdict_text(run["verdict"], run["qualifiers"], language)),
        _("Checks of the measurement, worst outcome: {outcome}. In brackets: 95 % intervals.").format(outcome=checks),
    ]


def _both_dimensions(run: dict, language: str) -> str:
    _ = translator(language)
    values = {
        "working": wording.interval_of(run, "working_dimension"),
        "band": band_text(run, language),
        "final": wording.interval_of(run, "final_dimension_pre_norm"),
        "after": wording.interval_of(run, "final_dimension_post_norm"),
    }
    if run["final_dimension_post_norm"] is not None:
        return _(
            "Working dimension {working}, layer band {band}; final dimension {final} before the norm, {after} after it."
        ).format(**values)
    return _("Working dimension {working}, layer band {band}; final dimension {final} (no final norm).").format(
        **values
    )


def _of_several(run: dict, label: str, language: str) -> str:
    _ = translator(language)
    verdict = wording.verdict_short(run["verdict"], run["qualifiers"], language)
    return _("{name}: {dimensions} Verdict – {verdict}.").format(
        name=shortened(label),
        dimensions=_both_dimensions(run, language),
        verdict=_("expansion-contraction: {verdict}").format(verdict=verdict),
    )


def _of_many(group: RankingGroup, language: str) -> list[str]:
    _ = translator(language)
    rows, labels = group.rows, run_labels(group.rows, language)
    lowest, highest = _ends(rows.filter(~pl.col("worst_check").eq_missing(pl.lit("veto"))), "working_dimension")
    said = []
    if lowest is not None and highest is not None:
        for run, sentence in (
            (highest, _("Largest working dimension, {name}: {dimensions}")),
            (lowest, _("Smallest working dimension, {name}: {dimensions}")),
        ):
            said.append(
                sentence.format(name=shortened(labels[run["run_id"]]), dimensions=_both_dimensions(run, language))
            )
    said.append(_verdicts_of_many(rows, language))
    said.append(_("All values with their intervals stand in the table that follows."))
    return said


def _verdicts_of_many(rows: pl.DataFrame, language: str) -> str:
    """How often each verdict, and in the same breath what limits how many of them."""
    _ = translator(language)
    verdicts = Counter(rows["verdict"])
    told = [run["qualifiers"] for run in rows.iter_rows(named=True)]
    qualifiers = Counter(limit for row in told for limit in wording.limits_of(row, language))
    words = [f"{wording.verdict_word(verdict, language)} {count}" for verdict, count in verdicts.most_common()]
    limits = [
        _("{qualifier}: {count}").format(qualifier=qualifier, count=count)
        for qualifier, count in qualifiers.most_common()
    ]
    counted = _(", ").join(words)
    verdict = _("{word} ({limits})").format(word=counted, limits=_("; ").join(limits)) if limits else counted
    return _("Verdicts – {verdict}.").format(verdict=_("expansion-contraction: {verdict}").format(verdict=verdict))


def _ends(rows: pl.DataFrame, column: str) -> tuple[dict | None, dict | None]:
    known = rows.filter(pl.col(column).is_not_null()).sort(column)
    return (known.row(0, named=True), known.row(-1, named=True)) if known.height else (None, None)


def _span(values: pl.Series, _: Callable[[str], str]) -> str:
    known = sorted(values.drop_nulls().to_list())
    lowest, highest = wording.rounded(known[0]), wording.rounded(known[-1])
    return lowest if lowest == highest else _("{lowest} to {highest}").format(lowest=lowest, highest=highest)


def _above_one(lower: float | None) -> bool:
    return lower is not None and lower > 1.0


def _notes(data: DeckData, group: RankingGroup) -> list[str]:
    """Each number with the table and run that it stands in."""
    _ = translator(data.language)
    lines = [
        _("Curves: layer_estimates, estimator d2, cloud one_per_type, transform centred, state residual (post_norm)."),
        _("Working, embedding and final dimension, ratios, verdict: run_summaries, estimator d2, cloud one_per_type."),
    ]
    for run in group.rows.iter_rows(named=True):
        lines.append(
            _("{name}: run {run_id}; working {working}, layers {band}, final {final} / {after}.").format(
                name=run["name"],
                run_id=run["run_id"],
                working=wording.interval_of(run, "working_dimension"),
                band=band_text(run, data.language),
                final=wording.interval_of(run, "final_dimension_pre_norm"),
                after=wording.interval_of(run, "final_dimension_post_norm"),
            )
        )
        lines.extend(_correlator_notes(data, run))
    return lines


def _correlator_notes(data: DeckData, run: dict) -> list[str]:
    _ = translator(data.language)
    if run["working_layer"] is None:
        return []
    own = data.correlators.filter(
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
