"""Slides of measurements that answer no registered question: what was measured, found and not settled, and the next step."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import polars as pl

from core import wording
from core.deck import evidence
from core.deck.deck_data import DeckData
from core.deck.profile_slides import counted, one_profile, profile_text, shown_runs, sound_runs, spans
from core.deck.slide import MOST_ROWS, not_measured, slide
from core.deck.story import Column, Statement, StorySlide, Table
from core.locale import translator
from core.records import SHIPPED
from core.registry.specifications import CLAIMS
from core.wording import slides as words
from core.wording.labels import layer_text, name, shortened
from core.wording.limits import limits
from core.wording.verdicts import claim_name


def _models(data: DeckData) -> pl.DataFrame:
    """One run of each model: of several, the first that no check vetoes."""
    order = data.texts.with_columns(is_vetoed=pl.col("worst_check").eq_missing(pl.lit("veto")))
    return (
        order.sort("is_vetoed", maintain_order=True).unique("model_id", keep="first", maintain_order=True).sort("name")
    )


def measured(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    runs = _models(data)
    names = [shortened(one, 40) for one in runs["name"]]
    texts = data.texts["corpus_name"].unique(maintain_order=True).to_list()
    title = (
        _("{names}, measured on {n} text")
        if len(names) <= 2 and len(texts) == 1
        else _("{names}, measured on {n} texts")
        if len(names) <= 2
        else _("{count} language models, measured on {n} text")
        if len(texts) == 1
        else _("{count} language models, measured on {n} texts")
    ).format(names=_(" and ").join(names), count=len(names), n=len(texts))
    rows = [
        (_("Models"), words.names(names, data.language, most=6, longest=40)),
        (_("Texts"), words.names(texts, data.language)),
        (_("Dimension"), words.dimension(data.language)),
        (_("Points"), _("N={size} token types, one point each").format(size=wording.size_range(data.n_points))),
        (_("Quality"), _usable(data)),
        (_("Question"), _("none was registered: this deck describes, and recommends nothing")),
    ]
    shipped = data.texts["tags"].list.contains(SHIPPED)
    if shipped.all():
        rows.append((_("Origin"), _("profiles that come with Workdim: nothing was measured here")))
    elif shipped.any():
        rows.append(
            (
                _("Origin"),
                _("{n} of {total} profiles come with Workdim").format(n=shipped.sum(), total=data.texts.height),
            )
        )
    if data.left_out:
        rows.append(
            (_("Left out"), _("having no verdicts: {names}").format(names=words.names(data.left_out, data.language)))
        )
    return slide(
        data,
        "measured",
        title,
        evidence=Table(
            (Column(_("What"), 0.2), Column(_("Measured on {day}").format(day=_days(data)), 0.8)),
            tuple(rows),
            _("Table of what was measured: {names}.").format(names=words.names(names, data.language)),
        ),
        tables=("runs", "models", "corpora"),
        runs=data.texts,
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


def _usable(data: DeckData) -> str:
    """What the checks say, and how the counts of the slides hang together where some models are not drawn."""
    _ = translator(data.language)
    total = data.texts["model_id"].n_unique()
    usable = sound_runs(data.texts)["model_id"].n_unique()
    drawn = sound_runs(shown_runs(data))["model_id"].n_unique()
    told = words.checks(data.texts, data.language)
    if drawn == total:
        return told
    return _(
        "{checks}. Usable: {usable} of {total} models; drawn: {drawn}, the largest group that can be compared."
    ).format(checks=told, usable=usable, total=total, drawn=drawn)


def _days(data: DeckData) -> str:
    """The day of the measurements, or the first and the last."""
    _ = translator(data.language)
    days = sorted({moment.date() for moment in data.texts["started_at"]})
    first, last = words.day(days[0], data.language), words.day(days[-1], data.language)
    return first if first == last else _("{low} to {high}").format(low=first, high=last)


def what_was_found(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    runs = _models(data)
    sound = runs.filter(~pl.col("worst_check").eq_missing(pl.lit("veto")), pl.col("inner_max").is_not_null())
    n = sound.height
    if not n:
        title = _("0 of {total} models have numbers that can be relied on").format(total=runs.height)
        told = [Statement(words.checks(runs, data.language), _("Conclusion"), True)]
    elif n == 1:
        run = sound.row(0, named=True)
        title = one_profile(run, data.language)
        told = [Statement(words.shape(run, data.language), _("Conclusion"), True)]
        told.append(Statement(profile_text(run, data.language), _("Evidence")))
    elif n == 2:
        first, second = sound.iter_rows(named=True)
        title = _("Largest inner dimension {x} and {y}: neither model is thereby better").format(
            x=wording.rounded(first["inner_max"]), y=wording.rounded(second["inner_max"])
        )
        both = (first, second)
        told = [
            Statement(words.shape(run, data.language), "" if n else _("Conclusion"), True) for n, run in enumerate(both)
        ]
        told += [Statement(_lowest(run, data), "" if n else _("Evidence")) for n, run in enumerate(both)]
    else:
        title = _("{n} models reach a largest inner dimension of {low} to {high}; none is thereby better").format(
            n=n,
            low=wording.rounded(sound["inner_max"].min()),  # type: ignore[arg-type]
            high=wording.rounded(sound["inner_max"].max()),  # type: ignore[arg-type]
        )
        told = [
            Statement(counted(sound, claim, data.language), "" if n else _("Conclusion"), True)
            for n, claim in enumerate(CLAIMS)
        ]
        told.append(Statement(spans(sound, data.language).text, _("Evidence")))
    told.append(
        Statement(
            _("Choose nothing by these numbers: register a question with a benchmark first, then measure."), _("Action")
        )
    )
    return slide(
        data,
        "answer",
        title,
        told,
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


def _lowest(run: dict, data: DeckData) -> str:
    """`MiniLM: lowest at layer 5 (48.8); largest 127 [123, 132]`."""
    _ = translator(data.language)
    return _("{name}: largest {top}, lowest at layer {layer} ({low}).").format(
        name=shortened(run["name"], 30),
        top=wording.interval_of(run, "inner_max"),
        layer=layer_text(run["lowest_layer"], run["n_layers"], data.language),
        low=wording.number(run["lowest_dimension"]),
    )


def stands_out(data: DeckData) -> StorySlide:
    """Valleys, the largest step between two layers, and how much few directions carry."""
    _ = translator(data.language)
    runs = _models(data).filter(~pl.col("worst_check").eq_missing(pl.lit("veto")))
    steps = {run["run_id"]: _largest_step(data, run) for run in runs.iter_rows(named=True)}
    known = {run_id: step for run_id, step in steps.items() if step}
    if not known:
        return not_measured(
            data,
            "outstanding",
            _("profiles that can be relied on"),
            words.time_of(data.texts.height, data.texts, data.language),
            [words.checks(data.texts, data.language)],
        )
    labels = evidence.short_names(runs, data.language, 34)
    by_size = sorted(known, key=lambda run_id: -_ratio(known[run_id]))
    rows = []
    for run_id in by_size[:MOST_ROWS]:
        run = runs.row(by_predicate=pl.col("run_id") == run_id, named=True)
        first, second, before, after = known[run_id]
        rows.append(
            (
                labels[run_id],
                _valley(data, run_id),
                _("{before} → {after} (layer {first} to {second})").format(
                    before=wording.number(before), after=wording.number(after), first=first, second=second
                ),
                _dominant(data, run),
            )
        )
    first, second, before, after = known[by_size[0]]
    key = _("The {n} models with the largest changes by ratio; the others stand in the appendix.").format(n=MOST_ROWS)
    return slide(
        data,
        "outstanding",
        _("Largest change by ratio: {name}, from {before} to {after} between layers {first} and {second}").format(
            name=shortened(labels[by_size[0]], 34),
            before=wording.rounded(before),
            after=wording.rounded(after),
            first=first,
            second=second,
        ),
        evidence=Table(
            (
                Column(_("Model"), 0.32),
                Column(_("Valley inside"), 0.15),
                Column(_("Largest change between neighbouring layers (ratio)"), 0.33),
                Column(_("Variance in the largest direction"), 0.2),
            ),
            tuple(rows),
            _("Table of valleys, largest steps and dominant directions, models: {n}.").format(n=len(rows)),
            key if len(known) > MOST_ROWS else "",
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


def _ratio(step: tuple[int, int, float, float]) -> float:
    """Of a step, in either direction: a fall to a third counts as much as a rise to three times."""
    return max(step[3] / step[2], step[2] / step[3])


def _largest_step(data: DeckData, run: dict) -> tuple[int, int, float, float] | None:
    """Two neighbouring layers with the largest ratio of d2, and the values there."""
    own = data.estimates.filter(
        pl.col("value").is_finite(),
        run_id=run["run_id"],
        estimator="d2",
        cloud="one_per_type",
        transform="centred",
        state="residual",
    ).sort("layer")
    found = list(zip(own["layer"], own["value"], strict=True))
    pairs = [(a[0], b[0], a[1], b[1]) for a, b in pairwise(found) if b[0] == a[0] + 1 and a[1] > 0 < b[1]]
    return max(pairs, key=_ratio, default=None)


def _valley(data: DeckData, run_id: str) -> str:
    _ = translator(data.language)
    own = data.extrema.filter(run_id=run_id, cloud="one_per_type", kind="valley").sort("value")
    if own.is_empty():
        return _("none")
    row = own.row(0, named=True)
    return _("{value} at layer {layer}").format(
        value=wording.with_interval(row["value"], row["lower"], row["upper"]), layer=row["layer"]
    )


def _dominant(data: DeckData, run: dict) -> str:
    """Share of the variance along the first component, where it is largest inside."""
    _ = translator(data.language)
    own = data.correlators.filter(
        pl.col("value").is_finite(),
        run_id=run["run_id"],
        correlator="variance_top_1",
        cloud="one_per_type",
        state="residual",
    ).sort("value")
    if own.is_empty():
        return _("not measured")
    row = own.row(-1, named=True)
    return _("{share} at layer {layer}").format(share=f"{row['value']:.0%}", layer=row["layer"])


def what_controls_show(data: DeckData) -> StorySlide:
    """What each kind of control could show, and what it could not: without power nothing is concluded."""
    _ = translator(data.language)
    own = data.against_controls.filter(pl.col("run_id").is_in(data.texts["run_id"].to_list()))
    kinds = dict(data.runs.filter(pl.col("pass") != "text").select("run_id", "pass").iter_rows())
    rows = []
    for kind in dict.fromkeys(kinds.values()):
        ids = [run_id for run_id, one in kinds.items() if one == kind]
        of_kind = own.filter(pl.col("control_run_id").is_in(ids))
        cells = [_control_cell(of_kind.filter(claim=claim), data) for claim in CLAIMS]
        if any(cells):
            rows.append((name("pass", kind, data.language), *(cell or "–" for cell in cells)))
    if not rows:
        passes = 7  # those of the protocol standard
        return not_measured(
            data,
            "controls",
            _("controls"),
            words.time_of(passes * data.texts["model_id"].n_unique(), data.texts, data.language),
            [
                _(
                    "Without controls nobody knows whether a shape comes from training: no rise or fall counts as confirmed."
                ),
                _("Controls are the same network with random weights, and the same text with its words shuffled."),
                _("They are part of the protocol standard: workdim measure MODEL --protocol standard"),
            ],
        )
    powered = own.filter(pl.col("claim").is_in(CLAIMS), pl.col("outcome").is_in(["exceeded", "shows_it"])).height
    total = own.filter(pl.col("claim").is_in(CLAIMS)).height
    return slide(
        data,
        "controls",
        _("{n} of {total} comparisons with controls could have shown a shape without training").format(
            n=powered, total=total
        ),
        evidence=Table(
            (Column(_("Control"), 0.24), *(Column(claim_name(claim, data.language), 0.38) for claim in CLAIMS)),
            tuple(rows[:MOST_ROWS]),
            _("Table of controls with their power and outcomes."),
            _(
                "Power: how likely the control would have shown the claim, had it the same shape. Without power nothing follows."
            ),
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


def _control_cell(found: pl.DataFrame, data: DeckData) -> str:
    """`could not have shown it: 2, the text exceeds it: 2 (power 21%–100%)`."""
    _ = translator(data.language)
    names = {one: name("control_outcome", one, data.language) for one in found["outcome"]}
    if "not_usable" in names:
        why = _why_unusable(found.filter(outcome="not_usable")["control_run_id"].to_list(), data)
        names["not_usable"] = _("{told} ({reason})").format(told=names["not_usable"], reason=why)
    told = _(", ").join(
        _("{qualifier}: {count}").format(qualifier=names[one], count=count)
        for one, count in Counter(found["outcome"]).most_common()
    )
    # Where a control shows the shape, or cannot be used, its power decides nothing.
    powers = found.filter(pl.col("outcome").is_in(["exceeded", "no_power"]))["power"].drop_nulls().to_list()
    if not powers:
        return told
    ends = dict.fromkeys(f"{power:.0%}" for power in (min(powers), max(powers)))
    return _("{told} (power {power})").format(told=told, power="–".join(ends))


def _why_unusable(control_ids: list[str], data: DeckData) -> str:
    """The checks that veto these controls; else a layer of theirs has no value, so that nothing can be compared."""
    _ = translator(data.language)
    vetoes = data.checks.filter(pl.col("run_id").is_in(control_ids), outcome="veto")["check_name"].unique().sort()
    if vetoes.is_empty():
        return _("no value in some layer")
    return _("veto: {checks}").format(checks=_(", ").join(name("check", one, data.language) for one in vetoes[:2]))


def next_step(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    n = data.texts["model_id"].n_unique()
    reasons = {key for claim in CLAIMS for keys in data.texts[f"reasons_{claim}"].to_list() for key in keys or ()}
    open_controls = reasons & {"no_control", "control_no_power", "control_failed", "control_vetoed"}
    options = []
    if open_controls:
        options.append(
            (
                _("Measure controls with power"),
                words.time_of(7 * n, data.texts, data.language),
                _("whether the shape comes from training"),
            )
        )
    more = max(0, 10 - n)
    options.append(
        (
            _("Register a pilot with a benchmark and {n} models").format(n=max(n, 10)),
            words.time_of(more, data.texts, data.language) if more else _("scores only"),
            _("whether the dimension says anything about scores"),
        )
    )
    if data.texts["corpus_id"].n_unique() == 1:
        options.append(
            (
                _("Read a second text"),
                words.time_of(n, data.texts, data.language),
                _("whether another text gives the same shape"),
            )
        )
    options.append(
        (_("Make a layer plan of one model"), _("time not yet estimated"), _("which blocks it can do without"))
    )
    options.append((_("Stop here"), _("none"), _("nothing: no choice rests on these numbers")))
    return slide(
        data,
        "next",
        _("Next step: {what}, {time}; or stop here").format(
            what=_lowered(options[0][0], data.language), time=options[0][1]
        ),
        evidence=Table(
            (Column(_("Step"), 0.42), Column(_("Time here"), 0.23), Column(_("What it would settle"), 0.35)),
            tuple(options),
            _("Table of next steps with their time: {names}.").format(names=_(", ").join(one[0] for one in options)),
        ),
        tables=("runs",),
        runs=data.texts,
        say=(
            _("The first line is what we would do next. The times come from the measurements that were made here."),
            _("If nobody needs the answer, stopping here costs nothing."),
        ),
    )


def _lowered(text: str, language: str) -> str:
    return text[:1].lower() + text[1:] if language == "en" else text


def three_limits(data: DeckData) -> StorySlide:
    _ = translator(data.language)
    found = limits(data.runs, data.checks, data.against_controls, data.scored, data.words, data.language)
    three = found[:3]
    return slide(
        data,
        "caveats",
        _("{n} limits matter most for reading these numbers").format(n=len(three)),
        [Statement(limit.brief or limit.reason, limit.question) for limit in three],
        tables=("runs", "run_checks", "scores"),
        runs=data.texts,
        say=(
            _(
                "These are the questions that a careful reader asks first, and that these measurements leave open. All "
                "further limits stand in the appendix."
            ),
            _("Please do not carry a number from this deck into a choice without them."),
        ),
    )
