"""Slides of measurements without a registered question: what was measured, found and left open, and the next step."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import polars as pl

from core import wording
from core.analysis.controls import POWER
from core.analysis.units import FEWEST_TEST
from core.deck import visuals
from core.deck.deck_data import DeckData
from core.deck.profile_slides import (
    comparable_runs,
    extremes,
    n_models,
    one_run_per_model,
    profile_text,
    profile_title,
    usable_runs,
    verdict_counts,
)
from core.deck.slide import MOST_ROWS, answer_statements, core_slide, not_measured_slide
from core.deck.story import Column, Statement, StorySlide, Table
from core.locale import _, spoken
from core.records import SHIPPED
from core.registry.protocols import find_protocol, n_control_passes
from core.registry.specifications import CLAIMS
from core.sources import Text, counted, shown, stated
from core.tables.sourced import rows_of
from core.wording import compare as compare_wording
from core.wording import slides as slide_wording
from core.wording.labels import layer_text, name, shortened_name
from core.wording.limits import limits
from core.wording.numbers import day
from core.wording.verdicts import claim_name


def measured_slide(data: DeckData) -> StorySlide:
    runs = one_run_per_model(data)
    names = [shortened_name(name, 40) for name in runs["name"]]
    texts = data.text_runs["corpus_name"].unique(maintain_order=True).to_list()
    n = counted(len(texts), "runs")
    title = (
        _("{names}, measured on {n} text", "{names}, measured on {n} texts", names=_(" and ").join(names), n=n)
        if len(names) <= 2
        else _(
            "{count} language models, measured on {n} text",
            "{count} language models, measured on {n} texts",
            count=counted(len(names), "runs"),
            n=n,
        )
    )
    rows = [
        (_("Models"), slide_wording.short_names_text(names, most=6, longest=40)),
        (_("Texts"), slide_wording.short_names_text(texts)),
        (_("Dimension"), slide_wording.dimension_text()),
        (_("Points"), _("N={size} token types, one point each").format(size=wording.size_range(data.n_points))),
        (_("Quality"), _quality_text(data)),
        (_("Question"), _("none was registered: this deck describes, and recommends nothing")),
    ]
    shipped = data.text_runs["tags"].list.contains(SHIPPED)
    if shipped.all():
        rows.append((_("Origin"), _("profiles that come with Workdim: nothing was measured here")))
    elif shipped.any():
        n, total = counted(int(shipped.sum()), "runs"), counted(data.text_runs.height, "runs")
        come = _(
            "{n} of {total} profiles comes with Workdim", "{n} of {total} profiles come with Workdim", n=n, total=total
        )
        rows.append((_("Origin"), come))
    if data.left_out:
        left_out = slide_wording.short_names_text(data.left_out)
        rows.append((_("Left out"), _("having no verdicts: {names}").format(names=left_out)))
    return core_slide(
        data,
        "measured",
        title,
        visual=Table(
            (Column(_("What"), 0.2), Column(_("Measured on {day}").format(day=_days(data)), 0.8)),
            tuple(rows),
            _("Table of what was measured: {names}.").format(names=slide_wording.short_names_text(names)),
        ),
        tables=("runs", "models", "corpora"),
        runs=data.text_runs,
        say=(
            _(
                "A language model turns every word into a long list of numbers, layer after layer. We estimate over how "
                "many directions these lists spread, by one method. That is what dimension means on the following slides."
            ),
            _(
                "Nobody asked a question beforehand, so this is a description: it can raise a question, and answer none."
            ),
        ),
    )


def _quality_text(data: DeckData) -> str:
    """Result of the quality checks, and how the counts on the slides relate where some models are not drawn."""
    total, usable, drawn = (
        n_models(runs) for runs in (data.text_runs, usable_runs(data.text_runs), usable_runs(comparable_runs(data)))
    )
    checks = slide_wording.checks_text(data.text_runs)
    if drawn == total:
        return checks
    return _(
        "{checks}. Usable: {usable} of {total} models; drawn: {drawn}, the largest group that can be compared."
    ).format(checks=checks, usable=usable, total=total, drawn=drawn)


def _days(data: DeckData) -> str:
    """The day of the measurements, or the first and the last."""
    days: Any = data.text_runs["started_at"].dt.date()
    first, last = day(days.min()), day(days.max())
    return first if first == last else _("{low} to {high}").format(low=first, high=last)


def findings_slide(data: DeckData) -> StorySlide:
    runs = one_run_per_model(data)
    sound = usable_runs(runs)
    told, n = list(rows_of(sound)), counted(sound.height, "runs")
    shapes = [slide_wording.shape_text(run) for run in told]
    tops = [wording.rounded(run["inner_max"]) for run in rows_of(sound.sort("inner_max"))]
    evidence: list[str] = []
    if not n:
        title = _("0 of {total} models have numbers that can be relied on").format(total=counted(runs.height, "runs"))
        shapes = [slide_wording.checks_text(runs)]
    elif n == 1:
        title, evidence = profile_title(told[0]), [profile_text(told[0])]
    elif n == 2 and data.comparison is not None:
        title = compare_wording.headline_text(data.comparison)
        evidence = [
            compare_wording.difference_text(data.comparison.differences[0].loss),
            *(compare_wording.interval_lines(data.comparison)),
        ]
    elif n == 2:
        x, y = (wording.rounded(run["inner_max"]) for run in told)
        title = _("Largest inner dimension {x} and {y}: neither model is thereby better").format(x=x, y=y)
        evidence = [_lowest_text(run) for run in told]
    else:
        title = _("{n} models reach a largest inner dimension of {low} to {high}; none is thereby better").format(
            n=n, low=tops[0], high=tops[-1]
        )
        shapes, evidence = [verdict_counts(sound, claim) for claim in CLAIMS], [extremes(sound)]
    action = _("Choose nothing by these numbers: register a question with a benchmark first, then measure.")
    return core_slide(
        data,
        "answer",
        title,
        answer_statements(shapes, evidence, action),
        tables=("run_summaries",),
        runs=runs,
        say=(
            _(
                "A rise or a fall is told as a fact only where it holds under every core way of measuring it and where a "
                "control could have shown otherwise. Else the slide says what it depends on."
            ),
            _("The three numbers are the dimension at the embedding, the largest inside, and after the last block."),
        ),
    )


def _lowest_text(run: dict) -> str:
    """`MiniLM: lowest at layer 5 (48.8); largest 127 [123, 132]`."""
    return _("{name}: largest {top}, lowest at layer {layer} ({low}).").format(
        name=shortened_name(run["name"], 30),
        top=wording.interval_of(run, "inner_max"),
        layer=layer_text(run["lowest_layer"], run["n_layers"]),
        low=wording.number(run["lowest_dimension"]),
    )


def outstanding_slide(data: DeckData) -> StorySlide:
    """Valleys, the largest step between two layers, and the share of variance in the largest direction."""
    runs = usable_runs(one_run_per_model(data))
    steps = [(run, step) for run in rows_of(runs) if (step := _largest_step(data, run["run_id"]))]
    if not steps:
        return not_measured_slide(
            data,
            "outstanding",
            _("profiles that can be relied on"),
            slide_wording.checks_text(data.text_runs),
            time=slide_wording.time_text(data.text_runs.height, data.text_runs),
        )
    steps.sort(key=lambda of_run: -of_run[1].ratio)
    labels = visuals.short_names(runs, 34)
    rows = [
        (
            labels[run["run_id"]],
            _valley_text(data, run["run_id"]),
            _("{before} → {after} (layer {first} to {second})").format(
                before=wording.number(step.before),
                after=wording.number(step.after),
                first=step.first,
                second=step.second,
            ),
            _dominant_direction_text(data, run["run_id"]),
        )
        for run, step in steps[:MOST_ROWS]
    ]
    largest, step = steps[0]
    key = _("The {n} models with the largest changes by ratio; the others stand in the appendix.").format(
        n=stated(MOST_ROWS, "MOST_ROWS")
    )
    return core_slide(
        data,
        "outstanding",
        _("Largest change by ratio: {name}, from {before} to {after} between layers {first} and {second}").format(
            name=shortened_name(labels[largest["run_id"]], 34),
            before=wording.rounded(step.before),
            after=wording.rounded(step.after),
            first=step.first,
            second=step.second,
        ),
        visual=Table(
            (
                Column(_("Model"), 0.28),
                Column(_("Valley inside"), 0.24),
                Column(_("Largest change between neighbouring layers (ratio)"), 0.28),
                Column(_("Variance in the largest direction"), 0.2),
            ),
            tuple(rows),
            _("Table of valleys, largest steps and dominant directions, models: {n}.").format(
                n=counted(len(rows), "runs")
            ),
            key if len(steps) > MOST_ROWS else "",
        ),
        tables=("layer_estimates", "run_extrema", "layer_correlators"),
        runs=runs,
        say=(
            _(
                "Three things to look for: a valley, where the words press together and spread again; a jump from one layer "
                "to the next; and a single direction that carries much of the variance, which a few odd tokens can cause."
            ),
            _("They are places to look at, and no verdict on a model."),
        ),
    )


class _Step(NamedTuple):
    """Two neighbouring layers, and their values."""

    first: int
    second: int
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """Of the larger to the smaller value: a fall to a third counts as much as a rise to three times."""
        return max(self.after / self.before, self.before / self.after)


def _largest_step(data: DeckData, run_id: str) -> _Step | None:
    """The two neighbouring layers with the largest ratio of d2."""
    estimates = data.estimates.filter(
        pl.col("value").is_finite(),
        run_id=run_id,
        estimator="d2",
        cloud="one_per_type",
        transform="centred",
        state="residual",
    ).sort("layer")
    steps = [
        _Step(a["layer"], b["layer"], a["value"], b["value"])
        for a, b in pairwise(rows_of(estimates, "layer_estimates"))
        if b["layer"] == a["layer"] + 1 and a["value"] > 0 < b["value"]
    ]
    return max(steps, key=lambda step: step.ratio, default=None)


def _valley_text(data: DeckData, run_id: str) -> str:
    valleys = data.extrema.filter(run_id=run_id, cloud="one_per_type", kind="valley").sort("value")
    for row in rows_of(valleys.head(1), "run_extrema"):
        value = wording.with_interval(row["value"], row["lower"], row["upper"])
        return _("{value} at layer {layer}").format(value=value, layer=row["layer"])
    return _("none")


def _dominant_direction_text(data: DeckData, run_id: str) -> str:
    """Share of the variance along the leading principal component, at the layer where it is largest."""
    of_run = data.correlators.filter(pl.col("value").is_finite(), run_id=run_id, correlator="top_components_1")
    shares = of_run.filter(cloud="one_per_type", state="residual").sort("value")
    for row in rows_of(shares.tail(1), "layer_correlators"):
        return _("{value} at layer {layer}").format(value=shown(row["value"], ".0%"), layer=row["layer"])
    return _("not measured")


def controls_slide(data: DeckData) -> StorySlide:
    """What each kind of control showed, with its power: without power nothing is concluded."""
    outcomes = data.against_controls.filter(pl.col("run_id").is_in(data.text_runs["run_id"].to_list()))
    kinds = data.runs.filter(pl.col("pass") != "text")
    outcomes = outcomes.join(kinds.select(control_run_id="run_id", kind="pass"), on="control_run_id", how="left")
    cells = {
        kind: [_control_cell(outcomes.filter(kind=kind, claim=claim)) for claim in CLAIMS]
        for kind in kinds["pass"].unique(maintain_order=True)
    }
    rows = [(name("pass", kind), *(cell or "–" for cell in told)) for kind, told in cells.items() if any(told)]
    if not rows:
        return not_measured_slide(
            data,
            "controls",
            _("controls"),
            _(
                "Without controls nobody knows whether a shape comes from training: no rise or fall counts as confirmed."
            ),
            _("Controls are the same network with random weights, and the same text with its words shuffled."),
            _("They are part of the protocol standard: workdim measure MODEL --protocol standard"),
            time=_controls_time_text(data),
        )
    compared = outcomes.filter(pl.col("claim").is_in(CLAIMS), pl.col("power").is_not_null())
    powered = compared.filter(pl.col("outcome") != "not_usable", pl.col("power") >= POWER).height
    unusable = outcomes.filter(outcome="not_usable")["control_run_id"].to_list()
    key = (
        _(
            "Power: how likely the control would have shown the claim, had it the same shape. Without power nothing follows."
        ),
        _("Not usable: {reason}.").format(reason=_why_unusable(unusable, data)) if unusable else "",
    )
    return core_slide(
        data,
        "controls",
        _("{n} of {total} comparisons with controls could have shown a shape without training").format(
            n=counted(powered, "run_controls"), total=counted(compared.height, "run_controls")
        ),
        visual=Table(
            (Column(_("Control"), 0.24), *(Column(claim_name(claim), 0.38) for claim in CLAIMS)),
            tuple(rows[:MOST_ROWS]),
            _("Table of controls with their power and outcomes."),
            wording.joined_sentences(key),
        ),
        tables=("run_controls",),
        runs=data.runs,
        say=(
            _(
                "A control is a network that has learnt nothing, or a text that says nothing. If it shows the same shape, the "
                "shape does not come from training. If it could not have shown it, its silence says nothing at all."
            ),
        ),
    )


def _controls_time_text(data: DeckData) -> str:
    """The time for the control passes of the protocol standard, for every model."""
    n_passes = n_control_passes(find_protocol("standard")) * n_models(data.text_runs)
    return slide_wording.time_text(n_passes, data.text_runs)


_DECIDED = ("exceeded", "cannot_tell", "no_power")
"""Outcomes that the power of a control explains."""


def _control_cell(rows: pl.DataFrame) -> str:
    """`could not have shown it: 2, the text exceeds it: 2 (power 21%–100%)`."""
    counts = slide_wording.outcome_counts_text(rows["outcome"])
    # Where a control shows the shape, or cannot be used, its power decides nothing.
    powers = [
        row["power"] for row in rows_of(rows, "run_controls") if row["outcome"] in _DECIDED and row["power"] is not None
    ]
    if not powers:
        return counts
    power_range = dict.fromkeys(shown(power, ".0%") for power in (min(powers), max(powers)))
    return _("{told} (power {power})").format(told=counts, power=Text("–").join(power_range))


def _why_unusable(control_ids: list[str], data: DeckData) -> str:
    """The checks that veto these controls; without any, a layer of theirs has no value to compare."""
    vetoes = data.checks.filter(pl.col("run_id").is_in(control_ids), outcome="veto")["check_name"].unique().sort()
    if vetoes.is_empty():
        return _("no value in some layer")
    return _("vetoed by {checks}").format(checks=_(", ").join(name("check", check) for check in vetoes[:2]))


def next_step_slide(data: DeckData) -> StorySlide:
    n = n_models(data.text_runs)
    reasons = {key for claim in CLAIMS for key in data.text_runs[f"reasons_{claim}"].explode()}
    open_controls = reasons & {"no_control", "control_no_power", "control_failed", "control_not_usable"}
    more = max(0, FEWEST_TEST - n)
    options = [
        (
            _("Register a pilot with a benchmark and {n} models").format(n=max(n, FEWEST_TEST)),
            slide_wording.time_text(more, data.text_runs) if more else _("scores only"),
            _("whether the dimension says anything about scores"),
        ),
        (_("Make a layer plan of one model"), _("time not yet estimated"), _("which blocks it can do without")),
        (_("Stop here"), _("none"), _("nothing: no choice rests on these numbers")),
    ]
    if data.text_runs["corpus_id"].n_unique() == 1:
        time = slide_wording.time_text(n, data.text_runs)
        options.insert(1, (_("Read a second text"), time, _("whether another text gives the same shape")))
    if open_controls:
        told = _("whether the shape comes from training")
        options.insert(0, (_("Measure controls with power"), _controls_time_text(data), told))
    step, time, _settles = options[0]
    return core_slide(
        data,
        "next",
        _("Next step: {what}, {time}; or stop here").format(
            what=step[:1].lower() + step[1:] if spoken() == "en" else step, time=time
        ),
        visual=Table(
            (Column(_("Step"), 0.42), Column(_("Time here"), 0.23), Column(_("What it would settle"), 0.35)),
            tuple(options),
            _("Table of next steps with their time: {names}.").format(
                names=_(", ").join(option[0] for option in options)
            ),
        ),
        tables=("runs",),
        runs=data.text_runs,
        say=(
            _("The first line is what we would do next. The times come from the measurements that were made here."),
            _("If nobody needs the answer, stopping here costs nothing."),
        ),
    )


def limits_slide(data: DeckData) -> StorySlide:
    three = limits(data.runs, data.checks, data.against_controls, data.scored, data.word_groups)[:3]
    return core_slide(
        data,
        "caveats",
        _(
            "{n} limit matters most for reading these numbers",
            "{n} limits matter most for reading these numbers",
            n=counted(len(three), "limits"),
        ),
        [Statement(limit.brief or limit.reason, limit.question) for limit in three],
        tables=("runs", "run_checks", "scores"),
        runs=data.text_runs,
        say=(
            _(
                "These are the questions that a careful reader asks first, and that these measurements leave open. All "
                "further limits stand in the appendix."
            ),
            _("Please do not carry a number from this deck into a choice without them."),
        ),
    )
