"""Profiles in words and in one picture, as a pilot and a deck without one show them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import polars as pl

from core import wording
from core.analysis.differences import comparability
from core.deck import visuals
from core.deck.deck_data import DeckData
from core.deck.slide import core_slide, not_measured_slide
from core.deck.story import StorySlide
from core.figures.chart import Gallery
from core.locale import _
from core.registry.specifications import CLAIMS
from core.sources import Text, counted, derived
from core.tables.sourced import rows_of
from core.wording import slides as slide_wording
from core.wording.labels import layer_text, shortened_name
from core.wording.provenance import comparability_text


def profiles_slide(data: DeckData) -> StorySlide:
    """The profiles of the largest comparable group on one scale: in one chart, or in a gallery where there are many. Of two
    models that do not compare the title says that first."""
    runs = comparable_runs(data)
    sound = usable_runs(runs)
    is_gallery = runs.height > visuals.MOST_CURVES
    drawn_runs = sound if is_gallery else runs
    best = data.best_by_score
    visual = (
        visuals.profile_gallery(data.estimates, drawn_runs, [best.run_id] if best else [])
        if is_gallery
        else visuals.profile_chart(data.estimates, drawn_runs)
    )
    if visual is None or sound.is_empty():
        return not_measured_slide(
            data,
            "profiles",
            _("profiles that can be relied on"),
            slide_wording.checks_text(runs),
            time=slide_wording.time_text(runs.height, runs),
        )
    told = sorted(rows_of(sound), key=lambda run: run["inner_max"])
    values = {
        "n": n_models(sound),
        "low": wording.rounded(told[0]["inner_max"]),
        "high": wording.rounded(told[-1]["inner_max"]),
    }
    pair = comparability(*drawn_runs.to_dicts()) if drawn_runs.height == 2 else None
    is_apart = pair is not None and not pair.by_types
    if sound.height == 1:
        title = _("{name}: largest dimension at layer {layer}").format(
            name=shortened_name(told[0]["name"], 40), layer=layer_text(told[0]["inner_max_layer"], told[0]["n_layers"])
        )
    elif is_apart:
        title = _("{n} models that do not compare: largest inner dimension {low} in one, {high} in the other").format(
            **values
        )
    elif values["low"] == values["high"]:
        title = _(
            "{n} model on one scale: largest inner dimension {top} in each",
            "{n} models on one scale: largest inner dimension {top} in each",
            top=values["high"],
            n=values["n"],
        )
    else:
        title = _(
            "{n} model on one scale: largest inner dimension between {low} and {high}",
            "{n} models on one scale: largest inner dimension between {low} and {high}",
            **values,
        )
    statements = [comparability_text(pair)] if pair is not None and is_apart else []
    if isinstance(visual, Gallery):
        drawn = _how_many_drawn(data, len(visual.charts), drawn_runs)
        visual = replace(visual, key=wording.joined_sentences((drawn, visual.key)))
    else:
        statements.insert(0, _how_many_drawn(data, n_models(drawn_runs), drawn_runs))
        if sound.height <= 3:
            statements += [profile_text(run) for run in rows_of(sound)]
        else:
            statements += [*(verdict_counts(sound, claim) for claim in CLAIMS), extremes(sound)]
        statements.append(slide_wording.checks_text(runs))
    return core_slide(
        data,
        "profiles",
        title,
        statements,
        visual,
        tables=("layer_estimates", "run_summaries"),
        runs=runs,
        say=(
            _(
                "From left to right a text goes through the network, layer by layer. The height says over how many "
                "directions the words spread there, as one method estimates it."
            ),
            _("A higher or a lower curve is not better: it says how words spread, not how well a model works."),
        ),
    )


def _how_many_drawn(data: DeckData, n: int, runs: pl.DataFrame) -> str:
    """How many of all models are drawn, and why the others are not."""
    total, comparable, n = n_models(data.text_runs), n_models(runs), counted(n, "runs")
    if n == total:
        return ""
    if n < comparable:
        return _("Drawn: {n} of {comparable} models that can be compared ({total} in all).").format(
            n=n, comparable=comparable, total=total
        )
    return _("Drawn: {n} of {total} models, the largest group that can be compared.").format(n=n, total=total)


def comparable_runs(data: DeckData) -> pl.DataFrame:
    """The runs of the pilot's answer, or else the largest comparable group."""
    if data.answer is not None and data.answer.group is not None:
        ids = data.answer.population.rows["run_id"].to_list()
        answered = data.text_runs.filter(pl.col("run_id").is_in(ids))
        if answered.height:
            return answered
    if not data.groups:
        return data.text_runs
    largest = max(data.groups, key=lambda group: (group.rows["model_id"].n_unique(), group.rows.height))
    if data.answer is None and n_models(data.text_runs) <= 2:
        return one_run_per_model(data)
    return largest.rows


def n_models(runs: pl.DataFrame) -> int:
    return counted(runs["model_id"].n_unique(), "runs")


def one_run_per_model(data: DeckData) -> pl.DataFrame:
    """One run per model: of several, the newest that no check vetoes."""
    is_vetoed = pl.col("worst_check").eq_missing(pl.lit("veto"))
    newest = data.text_runs.sort(is_vetoed, "run_id", descending=[False, True], maintain_order=True)
    return newest.unique("model_id", keep="first", maintain_order=True).sort("name")


def profile_title(run: dict) -> str:
    """Title for one model: it says rise and fall only where both claims hold."""
    values = {
        "name": shortened_name(run["name"], 40),
        "start": wording.rounded(run["embedding_dimension"] or 0.0),
        "top": wording.rounded(run["inner_max"]),
        "end": wording.rounded(run["final_dimension_pre_norm"] or 0.0),
    }
    if run["verdict_rise"] == run["verdict_fall"] == "holds":
        return _("{name}: the dimension rises from {start} to {top} inside and falls to {end} at the end").format(
            **values
        )
    return _("{name}: dimension {start} at the embedding, at most {top} inside, {end} after the last block").format(
        **values
    )


def profile_text(run: dict) -> str:
    return _("{name}: largest {top}, at layer {layer}; after the last block {end}.").format(
        name=shortened_name(run["name"], 30),
        top=wording.interval_of(run, "inner_max"),
        layer=layer_text(run["inner_max_layer"], run["n_layers"]),
        end=wording.interval_of(run, "final_dimension_pre_norm"),
    )


def verdict_counts(runs: pl.DataFrame, claim: str) -> str:
    """`Rise inside: holds 3, depends 6 (of 9 models)`."""
    counts = _(", ").join(
        _("{verdict} {count}").format(
            verdict=wording.verdict_name(verdict), count=derived(count, "run_summaries", f"verdict_{claim}")
        )
        for verdict, count in Counter(runs[f"verdict_{claim}"]).most_common()
    )
    line = (
        _("Rise inside: {counts} (of {n} models)")
        if claim == "rise"
        else _("Fall at the end: {counts} (of {n} models)")
    )
    return line.format(counts=counts, n=counted(runs.height, "runs"))


def extremes(runs: pl.DataFrame) -> str:
    """Largest and smallest inner dimension with their models."""
    low, *_between, top = rows_of(runs.sort("inner_max", "run_id"))
    most, least = (
        Text("{} {}").format(shortened_name(run["name"], 30), wording.interval_of(run, "inner_max"))
        for run in (top, low)
    )
    return _("Largest: {most}. Smallest: {least}.").format(most=most, least=least)


def usable_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """Runs with a dimension that no check vetoes."""
    return runs.filter(~pl.col("worst_check").eq_missing(pl.lit("veto")), pl.col("inner_max").is_not_null())
