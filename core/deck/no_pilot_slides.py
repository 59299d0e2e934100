"""Slides of measurements without a registered question: what was measured, found and left open, and the next step."""

from __future__ import annotations

from itertools import pairwise

import polars as pl

from core import wording
from core.analysis.claims import POWER
from core.analysis.units import FEWEST_TEST
from core.deck import visuals
from core.deck.deck_data import DeckData
from core.deck.profile_slides import (
    comparable_runs,
    extremes,
    one_run_per_model,
    profile_text,
    profile_title,
    usable_runs,
    verdict_counts,
)
from core.deck.slide import MOST_ROWS, core_slide, not_measured_slide
from core.deck.story import Column, Statement, StorySlide, Table
from core.locale import _, spoken
from core.records import SHIPPED
from core.registry.protocols import find_protocol, n_control_passes
from core.registry.specifications import CLAIMS
from core.sources import Text, counted, shown, stated
from core.tables.sourced import row_of, rows_of
from core.wording import slides as slide_wording
from core.wording.labels import layer_text, name, shortened_name
from core.wording.limits import limits
from core.wording.numbers import day
from core.wording.verdicts import claim_name


def measured_slide(data: DeckData) -> StorySlide:
    runs = one_run_per_model(data)
    names = [shortened_name(name, 40) for name in runs["name"]]
    texts = data.text_runs["corpus_name"].unique(maintain_order=True).to_list()
    if len(names) <= 2:
        title = _(
            "{names}, measured on {n} text",
            "{names}, measured on {n} texts",
            names=_(" and ").join(names),
            n=counted(len(texts), "runs"),
        )
    else:
        title = _(
            "{count} language models, measured on {n} text",
            "{count} language models, measured on {n} texts",
            count=counted(len(names), "runs"),
            n=counted(len(texts), "runs"),
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
        origin = _(
            "{n} of {total} profiles comes with Workdim",
            "{n} of {total} profiles come with Workdim",
            n=counted(int(shipped.sum()), "runs"),
            total=counted(data.text_runs.height, "runs"),
        )
        rows.append((_("Origin"), origin))
    if data.left_out:
        rows.append(
            (
                _("Left out"),
                _("having no verdicts: {names}").format(names=slide_wording.short_names_text(data.left_out)),
            )
        )
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
                "A language model turns every word into a long list of numbers, layer after layer. We estimate how many "
                "independent directions these lists really use. That is what dimension means on the following slides."
            ),
            _(
                "Nobody asked a question beforehand, so this is a description: it can raise a question, and answer none."
            ),
        ),
    )


def _quality_text(data: DeckData) -> str:
    """Result of the quality checks, and how the counts on the slides relate where some models are not drawn."""
    total = data.text_runs["model_id"].n_unique()
    n_usable = usable_runs(data.text_runs)["model_id"].n_unique()
    n_drawn = usable_runs(comparable_runs(data))["model_id"].n_unique()
    checks = slide_wording.checks_text(data.text_runs)
    if n_drawn == total:
        return checks
    return _(
        "{checks}. Usable: {usable} of {total} models; drawn: {drawn}, the largest group that can be compared."
    ).format(
        checks=checks, usable=counted(n_usable, "runs"), total=counted(total, "runs"), drawn=counted(n_drawn, "runs")
    )


def _days(data: DeckData) -> str:
    """The day of the measurements, or the first and the last."""
    days = sorted({moment.date() for moment in data.text_runs["started_at"]})
    first, last = day(days[0]), day(days[-1])
    return first if first == last else _("{low} to {high}").format(low=first, high=last)


def findings_slide(data: DeckData) -> StorySlide:
    runs = one_run_per_model(data)
    sound = runs.filter(~pl.col("worst_check").eq_missing(pl.lit("veto")), pl.col("inner_max").is_not_null())
    n = counted(sound.height, "runs")
    if not n:
        title = _("0 of {total} models have numbers that can be relied on").format(total=counted(runs.height, "runs"))
        statements = [Statement(slide_wording.checks_text(runs), _("Conclusion"), True)]
    elif n == 1:
        run = row_of(sound)
        title = profile_title(run)
        statements = [
            Statement(slide_wording.shape_text(run), _("Conclusion"), True),
            Statement(profile_text(run), _("Evidence")),
        ]
    elif n == 2:
        first, second = rows_of(sound)
        title = _("Largest inner dimension {x} and {y}: neither model is thereby better").format(
            x=wording.rounded(first["inner_max"]), y=wording.rounded(second["inner_max"])
        )
        pair = (first, second)
        statements = [
            Statement(slide_wording.shape_text(run), "" if n else _("Conclusion"), True) for n, run in enumerate(pair)
        ]
        statements += [Statement(_lowest_text(run, data), "" if n else _("Evidence")) for n, run in enumerate(pair)]
    else:
        title = _("{n} models reach a largest inner dimension of {low} to {high}; none is thereby better").format(
            n=n,
            low=wording.rounded(min(run["inner_max"] for run in rows_of(sound))),
            high=wording.rounded(max(run["inner_max"] for run in rows_of(sound))),
        )
        statements = [
            Statement(verdict_counts(sound, claim), "" if n else _("Conclusion"), True)
            for n, claim in enumerate(CLAIMS)
        ]
        statements.append(Statement(extremes(sound), _("Evidence")))
    statements.append(
        Statement(
            _("Choose nothing by these numbers: register a question with a benchmark first, then measure."), _("Action")
        )
    )
    return core_slide(
        data,
        "answer",
        title,
        statements,
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


def _lowest_text(run: dict, data: DeckData) -> str:
    """`MiniLM: lowest at layer 5 (48.8); largest 127 [123, 132]`."""
    return _("{name}: largest {top}, lowest at layer {layer} ({low}).").format(
        name=shortened_name(run["name"], 30),
        top=wording.interval_of(run, "inner_max"),
        layer=layer_text(run["lowest_layer"], run["n_layers"]),
        low=wording.number(run["lowest_dimension"]),
    )


def outstanding_slide(data: DeckData) -> StorySlide:
    """Valleys, the largest step between two layers, and the share of variance in the largest direction."""
    runs = one_run_per_model(data).filter(~pl.col("worst_check").eq_missing(pl.lit("veto")))
    steps = {run["run_id"]: _largest_step(data, run) for run in rows_of(runs)}
    largest_steps = {run_id: step for run_id, step in steps.items() if step}
    if not largest_steps:
        return not_measured_slide(
            data,
            "outstanding",
            _("profiles that can be relied on"),
            slide_wording.checks_text(data.text_runs),
            time=slide_wording.time_text(data.text_runs.height, data.text_runs),
        )
    labels = visuals.short_names(runs, 34)
    by_size = sorted(largest_steps, key=lambda run_id: -_step_ratio(largest_steps[run_id]))
    rows = []
    for run_id in by_size[:MOST_ROWS]:
        run = runs.row(by_predicate=pl.col("run_id") == run_id, named=True)
        first, second, before, after = largest_steps[run_id]
        rows.append(
            (
                labels[run_id],
                _valley_text(data, run_id),
                _("{before} → {after} (layer {first} to {second})").format(
                    before=wording.number(before), after=wording.number(after), first=first, second=second
                ),
                _dominant_direction_text(data, run),
            )
        )
    first, second, before, after = largest_steps[by_size[0]]
    key = _("The {n} models with the largest changes by ratio; the others stand in the appendix.").format(
        n=stated(MOST_ROWS, "MOST_ROWS")
    )
    return core_slide(
        data,
        "outstanding",
        _("Largest change by ratio: {name}, from {before} to {after} between layers {first} and {second}").format(
            name=shortened_name(labels[by_size[0]], 34),
            before=wording.rounded(before),
            after=wording.rounded(after),
            first=first,
            second=second,
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
            key if len(largest_steps) > MOST_ROWS else "",
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


def _step_ratio(step: tuple[int, int, float, float]) -> float:
    """Ratio of the larger to the smaller value of a step: a fall to a third counts as much as a rise to three times."""
    return max(step[3] / step[2], step[2] / step[3])


def _largest_step(data: DeckData, run: dict) -> tuple[int, int, float, float] | None:
    """The two neighbouring layers with the largest ratio of d2, and their values."""
    estimates = data.estimates.filter(
        pl.col("value").is_finite(),
        run_id=run["run_id"],
        estimator="d2",
        cloud="one_per_type",
        transform="centred",
        state="residual",
    ).sort("layer")
    profile = list(rows_of(estimates, "layer_estimates"))
    pairs = [
        (a["layer"], b["layer"], a["value"], b["value"])
        for a, b in pairwise(profile)
        if b["layer"] == a["layer"] + 1 and a["value"] > 0 < b["value"]
    ]
    return max(pairs, key=_step_ratio, default=None)


def _valley_text(data: DeckData, run_id: str) -> str:
    valleys = data.extrema.filter(run_id=run_id, cloud="one_per_type", kind="valley").sort("value")
    if valleys.is_empty():
        return _("none")
    row = row_of(valleys, "run_extrema")
    return _("{value} at layer {layer}").format(
        value=wording.with_interval(row["value"], row["lower"], row["upper"]), layer=row["layer"]
    )


def _dominant_direction_text(data: DeckData, run: dict) -> str:
    """Share of the variance along the leading principal component, at the layer where it is largest."""
    correlators = data.correlators.filter(
        pl.col("value").is_finite(),
        run_id=run["run_id"],
        correlator="top_components_1",
        cloud="one_per_type",
        state="residual",
    ).sort("value")
    if correlators.is_empty():
        return _("not measured")
    row = row_of(correlators.tail(1), "layer_correlators")
    return _("{share} at layer {layer}").format(share=shown(row["value"], ".0%"), layer=row["layer"])


def controls_slide(data: DeckData) -> StorySlide:
    """What each kind of control showed, with its power: without power nothing is concluded."""
    outcomes = data.against_controls.filter(pl.col("run_id").is_in(data.text_runs["run_id"].to_list()))
    kinds = dict(data.runs.filter(pl.col("pass") != "text").select("run_id", "pass").iter_rows())
    rows = []
    for kind in dict.fromkeys(kinds.values()):
        ids = [run_id for run_id, control_kind in kinds.items() if control_kind == kind]
        of_kind = outcomes.filter(pl.col("control_run_id").is_in(ids))
        cells = [_control_cell(of_kind.filter(claim=claim)) for claim in CLAIMS]
        if any(cells):
            rows.append((name("pass", kind), *(cell or "–" for cell in cells)))
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
    key = [
        _(
            "Power: how likely the control would have shown the claim, had it the same shape. Without power nothing follows."
        )
    ]
    unusable = outcomes.filter(outcome="not_usable")["control_run_id"].to_list()
    if unusable:
        key.append(_("Not usable: {reason}.").format(reason=_why_unusable(unusable, data)))
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
    n_passes = n_control_passes(find_protocol("standard")) * data.text_runs["model_id"].n_unique()
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
    n = counted(data.text_runs["model_id"].n_unique(), "runs")
    reasons = {key for claim in CLAIMS for keys in data.text_runs[f"reasons_{claim}"].to_list() for key in keys or ()}
    open_controls = reasons & {"no_control", "control_no_power", "control_failed", "control_vetoed"}
    options = []
    if open_controls:
        options.append(
            (_("Measure controls with power"), _controls_time_text(data), _("whether the shape comes from training"))
        )
    more = max(0, FEWEST_TEST - n)
    options.append(
        (
            _("Register a pilot with a benchmark and {n} models").format(n=max(n, FEWEST_TEST)),
            slide_wording.time_text(more, data.text_runs) if more else _("scores only"),
            _("whether the dimension says anything about scores"),
        )
    )
    if data.text_runs["corpus_id"].n_unique() == 1:
        options.append(
            (
                _("Read a second text"),
                slide_wording.time_text(n, data.text_runs),
                _("whether another text gives the same shape"),
            )
        )
    options.append(
        (_("Make a layer plan of one model"), _("time not yet estimated"), _("which blocks it can do without"))
    )
    options.append((_("Stop here"), _("none"), _("nothing: no choice rests on these numbers")))
    return core_slide(
        data,
        "next",
        _("Next step: {what}, {time}; or stop here").format(what=_lower_first(options[0][0]), time=options[0][1]),
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


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:] if spoken() == "en" else text


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
