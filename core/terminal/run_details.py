"""One measurement: the answer and what comes next in some ten, then the numbers behind it.

The answer: dimensions with their intervals, both verdicts, controls, checks, loss and cost. The numbers: the dimensions, every
core specification, each control and checks that did not pass; on request neighbours, pairs of layers and all that is stored.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.cells import cell_len

from core import wording
from core.analysis.claims import compare_with_ten
from core.figures.profile_data import PRIMARY
from core.ids import SHORT_ID
from core.locale import _
from core.records import Profile
from core.registry.estimators import plateau
from core.registry.protocols import CLAIMS, SPECIFICATIONS
from core.tables import LayerEstimateRow, RunCheckRow, RunClaimRow, RunRow, RunSummaryRow
from core.terminal.output import pad
from core.wording.labels import detailed, grouped, listed, number, ranges, said_of
from core.wording.readouts import readable_limits, readable_text, served_text
from core.wording.runs import fields
from core.wording.verdicts import (
    claim_name,
    joint_text,
    marked_ratio_text,
    outcome_legend_text,
    specification_name,
    start_text,
)

LABEL = 14
"""Columns of the labels on the left."""


def answer_lines(profile: Profile) -> list[str]:
    run, summary = profile.run, profile.summary()
    entries: list[tuple[str, str]] = []
    if summary is not None and run.pass_ == "text":  # a control has no verdict
        told = {*summary.reasons_rise, *summary.reasons_fall, "check_warned"}  # checks have a line of their own
        limits = [wording.reason_text(key) for key in summary.qualifiers if key not in told]
        entries = [(claim_name(claim), wording.claim_text(claim, summary, named=False)) for claim in CLAIMS]
        entries.append((_("limits"), _("; ").join(limits)))
    entries += [
        (_("controls"), _controls_in_short(profile)),
        (_("checks"), _checks_in_short(profile)),
        (_("own labels"), served_text(profile.correlators)),
        (_("loss"), _loss(run)),
        (_("cost"), _cost(run)),
    ]
    return [f"  {_headline(profile, summary)}", *labelled(entries)]


def next_lines(profile: Profile) -> list[str]:
    """Verbs that go on from a run that was just measured."""
    return labelled([(_("next"), listed([f"`workdim runs show {profile.run.run_id[:SHORT_ID]}`", "`workdim app`"]))])


def labelled(entries: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each label that has a text."""
    return [f"  {pad(label, LABEL)}{text}" for label, text in entries if text]


def control_name(run: RunRow) -> str:
    return wording.control_name(run.pass_, run.model_seed)


def _headline(profile: Profile, summary: RunSummaryRow | None) -> str:
    """`SmolLM2 on python-docs: d2 44.4 [42.1, 46.7] at the start, 106 [99.8, 112] at most inside, 21.8 [20.1, 23.5] at the end
    (95 %, sampling)`.
    """
    run, text = profile.run, profile.corpus.name
    if run.pass_ != "text":
        text = detailed(text, [control_name(run)])
    about = {"model": profile.model.name, "text": text}
    if summary is None:
        return _("{model} on {text}, {protocol}", protocol=run.protocol, **about)
    ends = ("embedding_dimension", "inner_max", "final_dimension_pre_norm")
    start, peak, end = (wording.interval_of(summary, name) for name in ends)
    return _(
        "{model} on {text}: d2 {start} at the start, {peak} at most inside, {end} at the end (95 %, sampling)",
        start=start,
        peak=peak,
        end=end,
        **about,
    )


def _controls_in_short(profile: Profile) -> str:
    """How many controls showed what, for each claim."""
    told = []
    for claim in CLAIMS:
        counted = Counter(row.outcome for row in profile.controls if row.claim == claim and row.power is not None)
        outcomes = listed(
            wording.name("control_outcome", outcome) + (f" × {n}" if n > 1 else "") for outcome, n in counted.items()
        )
        if outcomes:
            told.append(said_of(claim_name(claim), outcomes))
    return _("; ").join(told)


def _checks_in_short(profile: Profile) -> str:
    bad = Counter(row.outcome for row in profile.checks if row.outcome != "pass")
    passed = sum(row.outcome == "pass" and row.threshold is not None for row in profile.checks)
    line = _("{n} of {of} with a limit passed", n=passed, of=passed + bad.total())
    return listed([line, *(f"{wording.name('outcome', key)} {n}" for key, n in bad.items())])


def _loss(run: RunRow) -> str:
    if run.bits_per_byte is None:
        return ""
    return _("{value:.3f} bits per byte over {n:,} bytes", value=run.bits_per_byte, n=run.n_bytes_scored or 0)


def _cost(run: RunRow) -> str:
    seconds = sum(json.loads(run.phase_seconds or "{}").values())
    return _("{seconds:.0f} s, memory {memory:.2f} GB", seconds=seconds, memory=run.peak_memory_bytes / 1e9)


# --- the numbers behind the answer ------------------------------------------------------------------------------------

LITERATURE = ("last_token", "per_prompt")
"""Clouds of the two published protocols."""


def run_details(profile: Profile, controls: Sequence[Profile], record: Mapping[str, Any] | None = None) -> list[str]:
    """The answer and the numbers behind it; with `record`, everything stored of the run (core.warehouse.runs), also every
    field, all checks and claims, and d2 with its interval layer by layer.
    """
    lines = [*answer_lines(profile), "", *result_lines(profile, controls), ""]
    if record is None:
        return [*lines, _("`workdim runs show {run} --all` shows everything.", run=profile.run.run_id[:SHORT_ID])]
    lines += more_lines(profile, controls)
    for section, of_section in groupby(fields(record), lambda field: field.section):
        together = list(of_section)
        room = max(cell_len(field.label) for field in together)
        lines += ["", section]
        for field in together:
            first, *others = field.text.split("\n")
            lines += [f"  {pad(field.label, room)}  {first}", *(" " * (room + 4) + other for other in others)]
    checks = sorted(profile.checks, key=lambda row: (row.check_name, row.layer is None, row.layer))
    lines += ["", _("checks"), *(f"  {check_line(row)}" for row in checks)]
    others = list(claim_lines(_rows(profile.claims, is_core=False)))
    lines += ["", _("specifications outside the core: shown, not judged by"), *others] if others else []
    lines += ["", _("estimated dimension (d2, one token per type), 95 % intervals")]
    rows = [
        (
            _("layer {layer}", layer=row.layer),
            wording.name("state", row.state),
            wording.with_interval(row.value, row.lower, row.upper),
            f"N={row.n_points}",
        )
        for row in _d2_of_layers(profile)
    ]
    return [*lines, *_columns(rows)]


def result_lines(profile: Profile, controls: Sequence[Profile] = ()) -> list[str]:
    """The numbers behind the answer; parts that a run does not have are omitted."""
    return [
        *_dimension_lines(profile),
        *_literature_lines(profile),
        *claim_lines(_rows(profile.claims, is_core=True)),
        *_joint_lines(profile),
        *_ten_lines(profile),
        *_control_lines(profile, controls),
        *_check_lines(profile),
        *_readable_lines(profile),
    ]


def more_lines(profile: Profile, controls: Sequence[Profile] = ()) -> list[str]:
    """Where norms are large, second opinions, pairs of layers and what each control says."""
    return [
        *labelled([(_("norms"), _largest_norm(profile))]),
        *_neighbour_lines(profile),
        *_layer_pair_lines(profile),
        *_comparison_lines(profile, controls),
    ]


def check_line(row: RunCheckRow) -> str:
    """`warning  Share of variance between windows, layer 30: 0.24 (limit 0.2)`, with the paired error if there is one.

    A check without a limit cannot pass: it is shown as information.
    """
    where = "" if row.layer is None else _(", layer {layer}", layer=row.layer)
    limit = "" if row.threshold is None else _(" (limit {value})", value=number(row.threshold))
    value = wording.with_error(row.value, row.std_error)
    outcome = _("info") if row.threshold is None and row.outcome == "pass" else wording.name("outcome", row.outcome)
    name = wording.name("check", row.check_name)
    return _(
        "{outcome}{name}{where}: {value}",
        outcome=pad(f"{outcome} ", 9),
        name=name,
        where=where,
        value=f"{value}{limit}",
    )


def _rows(rows: Iterable[Any], **same: Any) -> list[Any]:
    """The rows with these values."""
    return [row for row in rows if all(getattr(row, name) == value for name, value in same.items())]


def _d2_of_layers(profile: Profile) -> list[LayerEstimateRow]:
    """Rows of d2 on one token per type, layer 0 first, the state after the final norm last."""
    rows = _rows(profile.estimates, estimator=PRIMARY[0], cloud=PRIMARY[1], transform="centred")
    return sorted(rows, key=lambda row: (row.layer, row.state == "post_norm"))


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows beneath the title of their part, in columns as wide as the longest cell."""
    widths = [max(map(cell_len, column)) + 2 for column in zip(*rows, strict=True)]
    for row in rows:
        yield f"    {''.join(map(pad, row, widths))}".rstrip()


def _dimension_lines(profile: Profile) -> Iterator[str]:
    """By token types, and by words, which compare across tokenizers."""
    run, n_layers = profile.run, profile.model.n_layers
    if summary := profile.summary():
        yield "  " + _("estimated dimension (d2, one token per type, N={n:,}), 95 % intervals", n=summary.n_points)
        rows = [_largest(summary, n_layers), (_("working"), wording.shape_text(summary), _band_text(summary, n_layers))]
        if summary.final_dimension_post_norm is not None:
            rows.append((_("final post-norm"), wording.interval_of(summary, "final_dimension_post_norm"), ""))
        yield from _columns(rows)
        if start := start_text(summary, profile.estimates):
            yield f"    {start}"
        extrema = wording.extrema_text(_rows(profile.extrema, cloud=PRIMARY[1]))
        for name, text in ((_("profile"), extrema), (_("dominant"), wording.dominance_text(profile.correlators))):
            yield from [f"    {pad(name, 22)}{text}"] if text else ()
    if summary := profile.summary("one_per_word"):
        n = f"{summary.n_points:,}"
        if run.n_words:
            n = _("{n} of {of:,} words", n=n, of=run.n_words)
        yield "  " + _("across tokenizers (d2, one point per word, N={n})", n=n)
        rows = [_largest(summary, n_layers), (_("working"), wording.shape_text(summary), "")]
        if run.n_words_lost is not None:
            lost = _("{n:,} (beyond the tokens read, or masked)", n=run.n_words_lost)
            rows.append((_("occurrences lost"), lost, ""))
        yield from _columns(rows)


def _largest(summary: RunSummaryRow, n_layers: int) -> tuple[str, str, str]:
    layer = summary.inner_max_layer
    place = "" if layer is None else _("layer {layer} of {n}", layer=layer, n=n_layers)
    return _("largest inner"), wording.interval_of(summary, "inner_max"), place


def _joint_lines(profile: Profile) -> list[str]:
    """What all methods together say of each claim."""
    summary = profile.summary() if profile.run.pass_ == "text" else None
    return [f"  {told}" for claim in CLAIMS if summary and (told := joint_text(claim, summary))]


def _band_text(summary: RunSummaryRow, n_layers: int) -> str:
    first, last = summary.working_layer_first, summary.working_layer_last
    if summary.working_dimension is None or first is None or last is None:
        return ""
    (band,) = ranges(range(first, last + 1))
    return _("layers {band} of {n}; read at layer {layer}", band=band, n=n_layers, layer=summary.working_layer)


def _largest_norm(profile: Profile) -> str:
    """The largest norm over the layers that the mask considers: neither the embedding nor the final state."""
    if profile.run.max_norm_ratio is None:
        return ""
    told = [_("largest norm {ratio} times the median", ratio=number(profile.run.max_norm_ratio))]
    known = [row for row in _rows(profile.correlators, cloud="unmasked") if row.value is not None]
    ratios = [row for row in _rows(known, correlator="large_norm_ratio") if 0 < row.layer < profile.model.n_layers]
    if ratios:
        layer = max(ratios, key=lambda row: row.value).layer
        there = {row.correlator: row.value for row in _rows(known, layer=layer)}
        told.append(_("at layer {layer}", layer=layer))
        if count := there.get("large_norm_tokens"):
            told.append(_("{n:,.0f} such tokens there", n=count))
            at_start = there.get("large_norm_at_start")
            told += [] if at_start is None else [_("{share:.0f} % at position 0", share=100 * at_start)]
    return listed(told)


def _neighbour_lines(profile: Profile) -> Iterator[str]:
    """Nearest neighbours where d2 is largest: the scan's plateau, and the deviation from a Gaussian cloud."""
    summary = profile.summary()
    layer = None if summary is None else summary.inner_max_layer
    if layer is None:
        return
    at_peak = {"layer": layer, "state": "residual", "cloud": PRIMARY[1]}
    scan = _rows(profile.estimates, **at_peak, estimator="gride", transform="centred")
    scan = [row for row in scan if row.n1 in (1, 2, 4, 8, 16, 32)]
    parts = []
    if values := {row.n1: row.value for row in scan if row.value}:
        n1 = plateau(values)
        parts.append(
            _("GRIDE does not level off: {low} to {high} for n1={first} to {last}", **_range_parts(values))
            if n1 is None
            else _("GRIDE levels off at {value} (n1={n1}, n2={n2})", value=number(values[n1]), n1=n1, n2=2 * n1)
        )
    if scan:  # the range over all ranks: a single value would look like a measurement of the dimension
        equivalents = {
            row.n1: row.gaussian_equivalent for row in scan if math.isfinite(row.gaussian_equivalent or math.nan)
        }
        if equivalents:
            line = _("Gaussian equivalent of GRIDE: {low} to {high} for n1={first} to {last}")
            parts.append(line.format(**_range_parts(equivalents)))
    line = _("GRIDE n1=8 of a Gaussian of equal covariance is {ratio} times the data's")
    ratios = _rows(profile.correlators, layer=layer, correlator="nonlinearity_ratio_8", cloud=PRIMARY[1])
    parts += [line.format(ratio=number(row.value)) for row in ratios if row.value is not None]
    if parts:
        yield "  " + _("second opinions, nearest neighbours at layer {layer}", layer=layer)
        yield from (f"    {part}" for part in parts)


def _range_parts(of_rank: dict[Any, Any]) -> dict[str, Any]:
    low, high = min(of_rank.values()), max(of_rank.values())
    return {"low": number(low), "high": number(high), "first": min(of_rank), "last": max(of_rank)}


def _literature_lines(profile: Profile) -> Iterator[str]:
    """The statistics of the two published protocols: at the first, largest and last layer."""
    meanings = (_("last token of each window"), _("all tokens of one prompt, averaged"))
    for cloud, meaning in zip(LITERATURE, meanings, strict=True):
        for estimator, n1 in (("gride", 2), ("two_nn", 1)):
            same = {"cloud": cloud, "state": "residual", "transform": "centred", "estimator": estimator, "n1": n1}
            own = sorted((row for row in _rows(profile.estimates, **same) if row.value), key=lambda row: row.layer)
            if own:
                top = max(own, key=lambda row: row.value)
                head = "  " + _("estimated dimension ({symbol}, {meaning}, N={n:,}), 95 % intervals")
                symbol = wording.estimator_symbol(estimator, n1)
                yield head.format(symbol=symbol, meaning=meaning, n=own[0].n_points)
                ends = ((row.value, row.lower, row.upper) for row in (own[0], top, own[-1]))
                first, most, last = (wording.with_interval(*one) for one in ends)
                line = "    " + _("{first} at the embedding, at most {top} at layer {layer}, {last} at the end")
                yield line.format(first=first, top=most, layer=top.layer, last=last)


def _layer_pair_lines(profile: Profile) -> Iterator[str]:
    """From one layer to the next: first, middle and last pair, and the lowest autocorrelation; chance level last."""
    pairs = {(row.measure, row.layer_a): row for row in profile.pairs if row.layer_b == row.layer_a + 1}
    layers = sorted(layer for measure, layer in pairs if measure == "autocorrelation")
    if not layers:
        return
    first = layers[0]
    known = [layer for layer in layers if pairs["autocorrelation", layer].value is not None]
    least = min(known, key=lambda layer: pairs["autocorrelation", layer].value or 0.0, default=first)
    n = pairs["autocorrelation", first].n_points
    yield "  " + _("between layers (one token per type, N={n:,})", n=n)
    names = {
        "autocorrelation": _("autocorr."),
        "kept": _("kept"),
        "removed": _("removed"),
        "added": _("added"),
        "neighbour_overlap": _("overlap"),
        "cka": "CKA",
    }
    shown = sorted({first, least, layers[len(layers) // 2], layers[-1]})
    heads = [_("{first} to {last}", first=layer, last=layer + 1) for layer in shown]
    rows: list[Sequence[str]] = [(_("layers"), *heads, _("chance"))]
    for measure, name in names.items():
        own = [pairs[measure, layer] for layer in shown if (measure, layer) in pairs]
        if len(own) == len(shown):
            chance = "" if own[0].null_value is None else _with_error(own[0].null_value, own[0].null_spread)
            rows.append((name, *(_with_error(one.value, one.std_error) for one in own), chance))
    yield from _columns(rows)


def _with_error(value: float | None, error: float | None) -> str:
    return number(value) if value is None or error is None else f"{number(value)}±{error:.1g}"


def _check_lines(profile: Profile) -> Iterator[str]:
    """Checks that did not fully pass, vetoes first; for a check on many layers, the worst of each outcome.

    Checks without a limit are information only and count as neither passed nor failed.
    """
    bad = [row for row in profile.checks if row.outcome != "pass"]
    bad.sort(key=lambda row: (row.outcome != "veto", -abs(row.value or 0.0)))
    if bad:
        yield "  " + _("checks that did not pass")
    for first, *others in grouped(((row.outcome, row.check_name), row) for row in bad).values():
        more = _("; further layers: {n}", n=len(others)) if others else ""
        yield f"    {check_line(first)}{more}"


def _readable_lines(profile: Profile) -> Iterator[str]:
    """What the head reads of the next token at the layer with the largest dimension and at the end, and what that is not."""
    summary = profile.summary()
    losses = _rows(profile.correlators, correlator="readable_loss")
    if text := readable_text(losses, None if summary is None else summary.inner_max_layer):
        yield from (f"  {text}", f"    {readable_limits()}")


def claim_lines(rows: Sequence[RunClaimRow]) -> Iterator[str]:
    """For each claim, one line for each specification: the outcome, with ratio and simultaneous interval."""
    for claim in CLAIMS:
        own = _rows(rows, claim=claim)
        if own:
            yield "  " + _("{claim}, by specification", claim=claim_name(claim))
            yield from _columns([(specification_name(row), marked_ratio_text(row)) for row in own])
    if rows:
        yield "  " + _("{key}; ratios of the largest dimension", key=outcome_legend_text())


def _ten_lines(profile: Profile) -> Iterator[str]:
    """Whether the final dimension is ten, counted over the core specifications."""
    final = {
        (row.cloud, row.transform, row.estimator, row.n1): compare_with_ten(row.lower, row.upper)
        for row in profile.estimates
        if row.layer == profile.model.n_layers and row.state == "residual"
    }
    counted = Counter(final.get(specification.key, "") for specification in SPECIFICATIONS if specification.is_core)
    counts = [f"{wording.ten_dimensions_text(key)} {counted[key]}" for key in ("in", "above", "below") if counted[key]]
    if counts:
        n = sum(map(bool, counted.elements()))
        yield "  " + _("final dimension under {n} core specifications: {told}", n=n, told=listed(counts))


def _control_lines(profile: Profile, controls: Sequence[Profile]) -> Iterator[str]:
    """The dimensions of each control next to the text's, and what it says about the claims."""
    if not controls:
        return
    if profile.summary() is None:  # a protocol without verdict: the published statistics of each control
        for control in controls:
            if lines := list(_literature_lines(control)):
                yield from labelled([(_("control"), control_name(control.run))])
                yield from (f"  {line}" for line in lines)
        return
    unusable = {row.control_run_id for row in profile.controls if row.outcome == "not_usable"}
    rows = [(_("controls (d2, one token per type)"), _("start"), _("peak"), _("end"))]
    for measured in (profile, *controls):
        if summary := measured.summary():
            values = (summary.embedding_dimension, summary.inner_max, summary.final_dimension_pre_norm)
            remark = _(" (not usable)") if measured.run.run_id in unusable else ""
            start, peak, end = map(number, values)
            rows.append((control_name(measured.run) + remark, start, peak, end))
    yield from _columns(rows)


def _comparison_lines(profile: Profile, controls: Sequence[Profile]) -> Iterator[str]:
    """What each control says about each claim, with its interval and power."""
    names = {control.run.run_id: control_name(control.run) for control in controls}
    for row in profile.controls:
        said = wording.control_text(row)
        if row.control_run_id in names:
            said = said_of(names[row.control_run_id], said)
        yield f"  {said}"
