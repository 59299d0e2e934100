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
from core.registry.specifications import CLAIMS
from core.wording.labels import is_vetoed, layer_text, marked, run_labels, shortened
from core.wording.verdicts import claim_name

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
    """The slide's one claim; it says "rises" and "falls" only where both verdicts are robust.

    Runs that a check vetoes are left out of it while there are others.
    """
    _ = translator(language)
    rows = group.rows.filter(pl.col("inner_max").is_not_null() & pl.col("final_dimension_pre_norm").is_not_null())
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
            "{count} models: largest inner dimension {inner}, final dimension {final} before the norm, "
            "both estimated (d2, N={size})"
        )
        if rows["model_id"].n_unique() == rows.height
        else _(
            "{count} runs: largest inner dimension {inner}, final dimension {final} before the norm, "
            "both estimated (d2, N={size})"
        )
    )
    return sentence.format(
        count=rows.height,
        inner=_span(rows["inner_max"], _),
        final=_span(rows["final_dimension_pre_norm"], _),
        size=size,
    )


def _title_of_one(run: dict, size: str, language: str) -> str:
    _ = translator(language)
    numbers = {
        "name": marked(shortened(run["name"], 40), is_vetoed(run)),
        "size": size,
        "embedding": wording.rounded(run["embedding_dimension"] or 0.0),
        "inner": wording.rounded(run["inner_max"]),
        "final": wording.rounded(run["final_dimension_pre_norm"]),
    }
    if run["embedding_dimension"] is None:
        return _("{name}: estimated dimension (d2, N={size}) is at most {inner} inside and {final} at the end").format(
            **numbers
        )
    if run["verdict_rise"] == run["verdict_fall"] == "robust":
        if run["final_dimension_post_norm"] is not None:
            return _(
                "{name}: estimated dimension (d2, N={size}) rises from {embedding} to {inner} "
                "and falls to {final} before the final norm"
            ).format(**numbers)
        return _(
            "{name}: estimated dimension (d2, N={size}) rises from {embedding} to {inner} "
            "and falls to {final} at the last block"
        ).format(**numbers)
    return _(
        "{name}: estimated dimension (d2, N={size}) is {embedding} at the embedding, "
        "at most {inner} inside, {final} at the end"
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
        _("Verdicts – {verdict}.").format(verdict=wording.verdict_text(run, language)),
        _("Checks of the measurement, worst outcome: {outcome}. In brackets: 95 % intervals.").format(outcome=checks),
    ]


def _both_dimensions(run: dict, language: str) -> str:
    _ = translator(language)
    values = {
        "inner": wording.interval_of(run, "inner_max"),
        "layer": layer_text(run["inner_max_layer"], run["n_layers"], language),
        "peak": _peak(run, language),
        "final": wording.interval_of(run, "final_dimension_pre_norm"),
        "after": wording.interval_of(run, "final_dimension_post_norm"),
    }
    if run["final_dimension_post_norm"] is not None:
        return _(
            "Largest inner dimension {inner}, layer {layer} ({peak}); final dimension {final} before the norm, {after} "
            "after it."
        ).format(**values)
    return _(
        "Largest inner dimension {inner}, layer {layer} ({peak}); final dimension {final} (no final norm)."
    ).format(**values)


def _peak(run: dict, language: str) -> str:
    """`the working dimension`, where there is an inner peak; otherwise that there is none, and the lowest layer."""
    _ = translator(language)
    return wording.shape_text(run, language) if run["working_dimension"] is None else _("working dimension")


def _of_several(run: dict, label: str, language: str) -> str:
    _ = translator(language)
    return _("{name}: {dimensions} Verdicts – {verdict}.").format(
        name=shortened(label), dimensions=_both_dimensions(run, language), verdict=wording.verdict_short(run, language)
    )


def _of_many(group: RankingGroup, language: str) -> list[str]:
    _ = translator(language)
    rows, labels = group.rows, run_labels(group.rows, language)
    lowest, highest = _ends(rows.filter(~pl.col("worst_check").eq_missing(pl.lit("veto"))), "inner_max")
    said = []
    if lowest is not None and highest is not None:
        for run, sentence in (
            (highest, _("Highest, {name}: {dimensions}")),
            (lowest, _("Lowest, {name}: {dimensions}")),
        ):
            said.append(
                sentence.format(name=shortened(labels[run["run_id"]]), dimensions=_both_dimensions(run, language))
            )
    said.append(_verdicts_of_many(rows, language))
    said.append(_("All values with their intervals stand in the table that follows."))
    return said


def _verdicts_of_many(rows: pl.DataFrame, language: str) -> str:
    """Of each claim how often each verdict, and in the same breath for which reasons how often."""
    _ = translator(language)
    told = _("; ").join(_counted(rows, claim, language) for claim in CLAIMS)
    return _("Verdicts – {verdict}.").format(verdict=told)


def _counted(rows: pl.DataFrame, claim: str, language: str) -> str:
    _ = translator(language)
    verdicts = Counter(rows[f"verdict_{claim}"])
    reasons = Counter(key for keys in rows[f"reasons_{claim}"].to_list() for key in keys or ())
    words = [
        _("{qualifier}: {count}").format(qualifier=wording.verdict_word(verdict, language), count=count)
        for verdict, count in verdicts.most_common()
    ]
    limits = [
        _("{qualifier}: {count}").format(qualifier=wording.reason_text(key, language), count=count)
        for key, count in reasons.most_common()
    ]
    counted = _(", ").join(words)
    verdict = _("{word} ({limits})").format(word=counted, limits=_(", ").join(limits)) if limits else counted
    return _("{claim}: {verdict}").format(claim=claim_name(claim, language), verdict=verdict)


def _ends(rows: pl.DataFrame, column: str) -> tuple[dict | None, dict | None]:
    known = rows.filter(pl.col(column).is_not_null()).sort(column)
    return (known.row(0, named=True), known.row(-1, named=True)) if known.height else (None, None)


def _span(values: pl.Series, _: Callable[[str], str]) -> str:
    known = sorted(values.drop_nulls().to_list())
    lowest, highest = wording.rounded(known[0]), wording.rounded(known[-1])
    return lowest if lowest == highest else _("{lowest} to {highest}").format(lowest=lowest, highest=highest)


def _notes(data: DeckData, group: RankingGroup) -> list[str]:
    """Each number with the table and run that it stands in."""
    _ = translator(data.language)
    lines = [
        _("Curves: layer_estimates, estimator d2, cloud one_per_type, transform centred, state residual (post_norm)."),
        _(
            "Largest inner, embedding and final dimension, ratios, verdicts: run_summaries, estimator d2, cloud one_per_type."
        ),
    ]
    for run in group.rows.iter_rows(named=True):
        lines.append(
            _("{name}: run {run_id}; largest inner {inner}, layer {layer}, final {final} / {after}.").format(
                name=run["name"],
                run_id=run["run_id"],
                inner=wording.interval_of(run, "inner_max"),
                layer=layer_text(run["inner_max_layer"], run["n_layers"], data.language),
                final=wording.interval_of(run, "final_dimension_pre_norm"),
                after=wording.interval_of(run, "final_dimension_post_norm"),
            )
        )
        lines.extend(_correlator_notes(data, run))
    return lines


def _correlator_notes(data: DeckData, run: dict) -> list[str]:
    _ = translator(data.language)
    if run["inner_max_layer"] is None:
        return []
    own = data.correlators.filter(
        (pl.col("run_id") == run["run_id"])
        & (pl.col("layer") == run["inner_max_layer"])
        & (pl.col("state") == "residual")
        & (pl.col("cloud") == PRIMARY[1])
        & pl.col("correlator").is_in(NOTED)
        & pl.col("value").is_not_null()
    )
    if own.is_empty():
        return []
    values = [f"{row['correlator']} = {row['value']:.3g}" for row in own.iter_rows(named=True)]
    line = _("At layer {layer}, layer_correlators: {values}.")
    return [line.format(layer=run["inner_max_layer"], values=_(", ").join(values))]
