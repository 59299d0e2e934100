"""One measurement in lines of at most 80 columns: its answer in ten, its results below, and the rest on request.

The answer has the dimensions with their intervals, both verdicts, controls, checks, loss and cost, and says what comes
next. Results are every core specification, each control and checks that did not pass. The rest are tokens left out,
neighbours, pairs of layers and all that is stored.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from core import wording
from core.analysis.verdict import compare_with_ten
from core.errors import Sentence
from core.figures.profile_data import PRIMARY
from core.locale import _, worded
from core.records import Profile
from core.registry.estimators import plateau
from core.registry.specifications import CLAIMS, SPECIFICATIONS
from core.tables import LayerPairRow, RunCheckRow, RunClaimRow, RunRow, RunSummaryRow
from core.terminal.output import LABEL, WIDTH, join, pad, wrap
from core.wording.labels import kind_text
from core.wording.numbers import number
from core.wording.verdicts import (
    claim_name,
    joint_text,
    marked_ratio_text,
    outcome_legend_text,
    specification_name,
    start_text,
)

WORDS = ("d2", "one_per_word")
STEPS = ("autocorrelation", "kept", "removed", "added", "neighbour_overlap", "cka")
"""Measures between two layers."""
QUANTITY = (22, 19, 0)
"""Columns of a quantity, its value and where it is."""
SPECIFICATION = (53, 23)
"""Columns of a specification's name and its outcome."""
CONTROL = (50, -8, -8, -8)
"""Columns of a control's name, and of its three dimensions."""
LITERATURE = ("last_token", "per_prompt")
"""Clouds of the two published protocols."""


def answer_lines(profile: Profile) -> list[str]:
    """The answer, in about ten lines."""
    return [
        *wrap(_headline(profile), WIDTH, "  ", "  "),
        *_interval_lines(profile),
        *_verdict_lines(profile),
        *_controls_in_short(profile),
        *_checks_in_short(profile),
        *_loss_lines(profile),
        *_cost_lines(profile),
    ]


def result_lines(profile: Profile, controls: Sequence[Profile] = ()) -> list[str]:
    """The numbers behind the answer; parts that a run does not have are omitted."""
    return [
        *_dimension_lines(profile),
        *_layer_lines(profile),
        *_word_lines(profile),
        *_literature_lines(profile),
        *claim_lines([row for row in profile.claims if row.is_core]),
        *_ten_lines(profile),
        *_control_lines(profile, controls),
        *_check_lines(profile),
    ]


def more_lines(profile: Profile, controls: Sequence[Profile] = ()) -> list[str]:
    """What was read and left out, second opinions and pairs of layers."""
    return [
        *_subject_lines(profile),
        *_token_lines(profile),
        *_neighbour_lines(profile),
        *_layer_pair_lines(profile),
        *_comparison_lines(profile, controls),
        *_memory_lines(profile),
    ]


def check_line(row: RunCheckRow) -> str:
    """`warning  Share of variance between windows, layer 30: 0.24 (limit 0.2)`, with the paired error if there is one.

    A check without a limit cannot pass: it is shown as information.
    """
    where = "" if row.layer is None else _(", layer {layer}").format(layer=row.layer)
    error = "" if row.std_error is None else f" ± {number(row.std_error)}"
    limit = "" if row.threshold is None else _(" (limit {value})").format(value=number(row.threshold))
    value = _("not defined") if row.value is None else number(row.value)
    outcome = _("info") if row.threshold is None and row.outcome == "pass" else wording.name("outcome", row.outcome)
    name = wording.name("check", row.check_name)
    return _("{outcome}{name}{where}: {value}").format(
        outcome=pad(f"{outcome} ", 9), name=name, where=where, value=f"{value}{error}{limit}"
    )


def _line(label: str, text: str) -> Iterator[str]:
    if text:
        yield from wrap(f"  {pad(label, LABEL)}{text}", WIDTH, " " * (LABEL + 2))


def _aligned(indent: int, widths: Sequence[int], cells: Iterable[str]) -> str:
    """Cells in columns of these widths, to the right in those of negative ones."""
    padded = [pad(cell, abs(width), to_the_right=width < 0) for width, cell in zip(widths, cells, strict=False)]
    return (" " * indent + "".join(padded)).rstrip()


def _interval(summary: RunSummaryRow, name: str) -> str:
    return wording.interval_of(vars(summary), name, _("not defined"))


def _summary_of(profile: Profile, estimator: str, cloud: str) -> RunSummaryRow | None:
    return next((row for row in profile.summaries if (row.estimator, row.cloud) == (estimator, cloud)), None)


# --- the answer ------------------------------------------------------------------------------------------------


def _headline(profile: Profile) -> str:
    """`SmolLM2 on python-docs: d2 is 44.4 at the start, 106 at most and 21.8 at the end`."""
    run, summary = profile.run, _summary_of(profile, *PRIMARY)
    text = profile.corpus.name
    if run.pass_ != "text":
        text = _("{text} ({control})").format(text=text, control=_control_name(run))
    if summary is None:
        return _("{model} on {text}, {protocol}").format(model=profile.model.name, text=text, protocol=run.protocol)
    return _("{model} on {text}: d2 is {start} at the start, {peak} at most and {end} at the end").format(
        model=profile.model.name,
        text=text,
        start=number(summary.embedding_dimension),
        peak=number(summary.inner_max),
        end=number(summary.final_dimension_pre_norm),
    )


def _interval_lines(profile: Profile) -> Iterator[str]:
    summary = _summary_of(profile, *PRIMARY)
    if summary is None:
        return
    ends = ("embedding_dimension", "inner_max", "final_dimension_pre_norm")
    start, peak, end = (_interval(summary, name) for name in ends)
    line = _("start {start}; peak {peak}; end {end} (95 %; one token per type, N={n:,})")
    yield from _line(_("intervals"), line.format(start=start, peak=peak, end=end, n=summary.n_points))
    yield from _line("", start_text(vars(summary), map(vars, profile.estimates)))


def _controls_in_short(profile: Profile) -> Iterator[str]:
    """How many controls showed what, for each claim; a control and a run without claims have none."""
    if profile.run.pass_ != "text" or not profile.claims:
        return
    told = []
    for claim in CLAIMS:
        counted = Counter(row.outcome for row in profile.controls if row.claim == claim and row.power is not None)
        outcomes = join(f"{wording.name('control_outcome', outcome)} {n}" for outcome, n in counted.items())
        if outcomes:
            told.append(_("{claim}: {verdict}").format(claim=claim_name(claim, brief=True), verdict=outcomes))
    yield from _line(_("controls"), _("; ").join(told) or _("none were measured; --protocol standard measures them"))


def _checks_in_short(profile: Profile) -> Iterator[str]:
    bad = Counter(row.outcome for row in profile.checks if row.outcome != "pass")
    passed = sum(row.outcome == "pass" and row.threshold is not None for row in profile.checks)
    line = _("{n} of {of} with a limit passed").format(n=passed, of=passed + bad.total())
    yield from _line(_("checks"), join([line, *(f"{wording.name('outcome', key)} {n}" for key, n in bad.items())]))


def _loss_lines(profile: Profile) -> Iterator[str]:
    run = profile.run
    if run.bits_per_byte is not None:
        line = _("{value:.3f} bits per byte over {n:,} bytes")
        yield from _line(_("loss"), line.format(value=run.bits_per_byte, n=run.n_bytes_scored or 0))


def _cost_lines(profile: Profile) -> Iterator[str]:
    run = profile.run
    seconds: dict[str, Any] = json.loads(run.phase_seconds or "{}")
    cost = _("{seconds:.0f} s, peak memory {memory:.2f} GB")
    yield from _line(_("cost"), cost.format(seconds=sum(seconds.values()), memory=run.peak_memory_bytes / 1e9))


def next_lines(profile: Profile) -> Iterator[str]:
    """Verbs that go on from a run that was just measured."""
    run = profile.run.run_id
    yield from _line(_("details"), f"`workdim runs show {run}`")
    if profile.run.pass_ == "text":
        yield from _line(_("next"), f"`workdim compare {run} OTHER_RUN`")
        yield from _line("", "`workdim app`")
        if profile.model.kind == "decoder":
            yield from _line("", f"`workdim plan {profile.model.model_id}`")


# --- what was measured -----------------------------------------------------------------------------------------


def _subject_lines(profile: Profile) -> Iterator[str]:
    run, model, corpus = profile.run, profile.model, profile.corpus
    head = Sentence(
        "{name} ({model_id}), {kind}, {n} block, hidden size {hidden_size}",
        "{name} ({model_id}), {kind}, {n} blocks, hidden size {hidden_size}",
        name=model.name,
        model_id=model.model_id,
        kind=kind_text(model.kind, run.stack),
        n=model.n_layers,
        hidden_size=model.hidden_size,
    )
    yield from wrap(worded(head), WIDTH, "  ")
    derived = f"{model.base_repository}, {model.base_relation}" if model.base_relation else ""
    yield from _line(_("weights"), "; ".join(part for part in (model.weight_format, derived) if part))
    text = wording.text_name(corpus.corpus_id, corpus.language, corpus.domain)
    read = _("{text}, {protocol} protocol {hash}, seed {seed}")
    yield from _line(_("text"), read.format(text=text, protocol=run.protocol, hash=run.protocol_hash, seed=run.seed))
    if run.pass_ != "text":
        yield from _line(_("which pass"), _("control: {name}").format(name=_control_name(run)))


def _token_lines(profile: Profile) -> Iterator[str]:
    """The number of tokens, how many were left out and why, and where the large norms are."""
    run = profile.run
    read = Sentence(
        "{tokens:,} in {n:,} window, {used:,} used, {types:,} types; one mask for all layers",
        "{tokens:,} in {n:,} windows, {used:,} used, {types:,} types; one mask for all layers",
        tokens=run.n_tokens,
        n=run.n_sequences,
        used=run.n_tokens_used,
        types=run.n_types,
    )
    yield from _line(_("tokens"), worded(read))
    if run.n_windows_lengthened or run.n_windows_redrawn:
        again = _("windows that the tokenizer leaves short: {on} read on past their document, {again} drawn again")
        yield from _line("", again.format(on=run.n_windows_lengthened or 0, again=run.n_windows_redrawn or 0))
    factor = json.loads(run.config or "{}").get("protocol", {}).get("norm_factor")
    above = _(" (above {factor:g} times the layer's median)").format(factor=factor) if factor else ""
    share = f", {100 * run.n_dropped_norm / run.n_tokens:.1f} %" if run.n_dropped_norm else ""
    parts = [
        _("{n:,} at position 0").format(n=run.n_dropped_position),
        _("{n:,} special").format(n=run.n_dropped_special),
        _("{n:,} of the chat template").format(n=run.n_dropped_template) if run.n_dropped_template else "",
        _("{n:,} by their norm{above}").format(n=run.n_dropped_norm, above=above) + share,
    ]
    yield from _line(_("left out"), join(filter(None, parts)))
    yield from _line("", _largest_norm(profile))


def _largest_norm(profile: Profile) -> str:
    """The largest norm over the layers that the mask considers: neither the embedding nor the final state."""
    if profile.run.max_norm_ratio is None:
        return ""
    text = _("largest norm {ratio} times the median").format(ratio=number(profile.run.max_norm_ratio))
    by_layer: dict[int, dict[str, float]] = {}
    for row in profile.correlators:
        if row.cloud == "unmasked" and row.value is not None and 0 < row.layer < profile.model.n_layers:
            by_layer.setdefault(row.layer, {})[row.correlator] = row.value
    ratios = {layer: found["large_norm_ratio"] for layer, found in by_layer.items() if "large_norm_ratio" in found}
    if not ratios:
        return text
    layer = max(ratios, key=ratios.__getitem__)
    where = _("{told}, at layer {layer}").format(told=text, layer=layer)
    count, at_start = (by_layer[layer].get(f"large_norm_{name}") for name in ("tokens", "at_start"))
    if not count:
        return where
    line = _("{where}: {n:,.0f} such tokens there").format(where=where, n=count)
    return line if at_start is None else join([line, _("{share:.0f} % at position 0").format(share=100 * at_start)])


def _dimension_lines(profile: Profile) -> Iterator[str]:
    summary = _summary_of(profile, *PRIMARY)
    if summary is None:
        return
    yield "  " + _("estimated dimension (d2, one token per type, N={n:,}), 95 % intervals").format(n=summary.n_points)
    n_layers, after_norm = profile.model.n_layers, summary.final_dimension_post_norm is not None
    rows = [
        (_("largest inner"), _interval(summary, "inner_max"), _layer_position(summary, n_layers)),
        (_("working"), wording.shape_text(vars(summary)), _band_text(summary, n_layers)),
        *([(_("final, after the norm"), _interval(summary, "final_dimension_post_norm"))] if after_norm else []),
    ]
    yield from (_aligned(4, QUANTITY, row) for row in rows)
    extrema = [vars(row) for row in profile.extrema if row.cloud == PRIMARY[1]]
    dominant = wording.dominance_text(map(vars, profile.correlators))
    for name, text in ((_("profile"), wording.extrema_text(extrema)), (_("dominant"), dominant)):
        if text:
            yield from wrap(_aligned(4, QUANTITY, (name, text)), WIDTH, " " * 26)


def _layer_lines(profile: Profile) -> Iterator[str]:
    """d2 of every layer on one token per type, layer 0 first."""
    rows = [row for row in profile.estimates if (row.estimator, row.cloud, row.transform) == (*PRIMARY, "centred")]
    values = [number(row.value) for row in sorted(rows, key=lambda row: row.layer) if row.state == "residual"]
    if values:
        yield from wrap(_aligned(4, QUANTITY, (_("layer by layer"), " ".join(values))), WIDTH, " " * 26)


def _layer_position(summary: RunSummaryRow, n_layers: int) -> str:
    if summary.inner_max_layer is None:
        return _("a model of one block has no inner layer") if n_layers < 2 else ""
    return _("layer {layer} of {n}").format(layer=summary.inner_max_layer, n=n_layers)


def _band_text(summary: RunSummaryRow, n_layers: int) -> str:
    first, last = summary.working_layer_first, summary.working_layer_last
    if summary.working_dimension is None or first is None:
        return ""
    line = _("layers {first} to {last} of {n}; read at layer {layer}")
    if first == last:
        line = _("layer {first} of {n}; read at layer {layer}")
    return line.format(first=first, last=last, n=n_layers, layer=summary.working_layer)


def _word_lines(profile: Profile) -> Iterator[str]:
    summary, run = _summary_of(profile, *WORDS), profile.run
    if summary is None:
        return
    n = f"{summary.n_points:,}"
    if run.n_words:
        n = _("{n} of {of:,} words").format(n=n, of=run.n_words)
    yield "  " + _("across tokenizers (d2, one point per word, N={n})").format(n=n)
    where = _layer_position(summary, profile.model.n_layers)
    yield _aligned(4, QUANTITY, (_("largest inner"), _interval(summary, "inner_max"), where))
    yield _aligned(4, QUANTITY, (_("working"), wording.shape_text(vars(summary))))
    if run.n_words_lost is not None:
        lost = _("{n:,} (beyond the tokens read, or masked)").format(n=run.n_words_lost)
        yield _aligned(4, QUANTITY, (_("occurrences lost"), lost))


def _neighbour_lines(profile: Profile) -> Iterator[str]:
    """Nearest neighbours where d2 is largest: the scan's plateau, and the deviation from a Gaussian cloud."""
    summary = _summary_of(profile, *PRIMARY)
    layer = None if summary is None else summary.inner_max_layer
    if layer is None:
        return
    scan = [
        row
        for row in profile.estimates
        if (row.layer, row.state, row.cloud) == (layer, "residual", PRIMARY[1])
        and (row.estimator, row.transform) == ("gride", "centred")
        and row.n1 in (1, 2, 4, 8, 16, 32)
    ]
    parts = []
    if values := {row.n1: row.value for row in scan if row.value and row.n1}:
        n1 = plateau(values)
        parts.append(
            _("GRIDE does not level off: {low} to {high} for n1={first} to {last}").format(**_range_parts(values))
            if n1 is None
            else _("GRIDE levels off at {value} (n1={n1}, n2={n2})").format(value=number(values[n1]), n1=n1, n2=2 * n1)
        )
    if scan:  # the range over all ranks: a single value would look like a measurement of the dimension
        equivalents = {
            row.n1: row.gaussian_equivalent for row in scan if math.isfinite(row.gaussian_equivalent or math.nan)
        }
        line = _("Gaussian equivalent of GRIDE: {low} to {high} for n1={first} to {last}")
        parts.append(
            line.format(**_range_parts(equivalents)) if equivalents else _("no Gaussian equivalent of GRIDE is stored")
        )
    for row in profile.correlators:
        if (row.layer, row.correlator, row.cloud) == (
            layer,
            "nonlinearity_ratio_8",
            PRIMARY[1],
        ) and row.value is not None:
            line = _("GRIDE n1=8 of a Gaussian of equal covariance is {ratio} times the data's")
            parts.append(line.format(ratio=number(row.value)))
    if parts:
        yield "  " + _("second opinions, nearest neighbours at layer {layer}").format(layer=layer)
        yield from (f"    {part}" for part in parts)


def _range_parts(of_rank: dict[Any, Any]) -> dict[str, Any]:
    low, high = min(of_rank.values()), max(of_rank.values())
    return {"low": number(low), "high": number(high), "first": min(of_rank), "last": max(of_rank)}


def _literature_lines(profile: Profile) -> Iterator[str]:
    """The statistics of the two published protocols: at the first, largest and last layer."""
    meanings = (_("last token of each window"), _("all tokens of one prompt, averaged"))
    for cloud, meaning in zip(LITERATURE, meanings, strict=True):
        for estimator, n1 in (("gride", 2), ("two_nn", 1)):
            own = sorted(
                (row.layer, row.value, row.n_points)
                for row in profile.estimates
                if (row.cloud, row.state, row.transform) == (cloud, "residual", "centred")
                and (row.estimator, row.n1) == (estimator, n1)
                and row.value
            )
            if own:
                layer, top, _n = max(own, key=lambda row: row[1])
                head = "  " + _("estimated dimension ({symbol}, {meaning}, N={n:,})")
                yield head.format(symbol=wording.estimator_symbol(estimator, n1), meaning=meaning, n=own[0][2])
                line = "    " + _("{first} at the embedding, at most {top} at layer {layer}, {last} at the end")
                yield line.format(first=number(own[0][1]), top=number(top), layer=layer, last=number(own[-1][1]))


def _layer_pair_lines(profile: Profile) -> Iterator[str]:
    """From one layer to the next: first, middle and last pair, and the lowest autocorrelation; chance level last."""
    pairs = {(row.measure, row.layer_a): row for row in profile.pairs if row.layer_b == row.layer_a + 1}
    own = {
        layer: row.value
        for (measure, layer), row in sorted(pairs.items(), key=lambda pair: pair[0])
        if measure == "autocorrelation"
    }
    if not own:
        return
    first, *_others = layers = list(own)
    least = min(layers, key=lambda layer: math.inf if (value := own[layer]) is None else value)
    measures = [measure for measure in STEPS if (measure, first) in pairs]
    n = pairs["autocorrelation", first].n_points
    yield "  " + _("from a layer to the next (one token per type, N={n:,})").format(n=n)
    names = {
        "autocorrelation": _("autocorr."),
        "kept": _("kept"),
        "removed": _("removed"),
        "added": _("added"),
        "neighbour_overlap": _("overlap"),
        "cka": "CKA",
    }
    shown = sorted({first, least, layers[len(layers) // 2], layers[-1]})
    heads = [_("{first} to {last}").format(first=layer, last=layer + 1) for layer in shown]
    widths = (12, *(-14 for _layer in shown), -10)
    yield _aligned(2, widths, [_("  layers"), *heads, _("chance")])
    for measure in measures:
        between = (_with_error(pairs.get((measure, layer))) for layer in shown)
        yield _aligned(4, (10, *widths[1:]), [names[measure], *between, _by_chance(pairs[measure, first])])


def _with_error(row: LayerPairRow | None) -> str:
    if row is None or row.value is None:
        return _("not defined")
    return number(row.value) if row.std_error is None else f"{number(row.value)}±{row.std_error:.1g}"


def _by_chance(row: LayerPairRow) -> str:
    """The value for permuted tokens; 0 if it is smaller than its own spread."""
    value, spread = row.null_value, row.null_spread
    if value is None:
        return ""
    text = "0" if abs(value) <= (spread or 0.0) else number(value)
    return text if spread is None else f"{text}±{spread:.1g}"


# --- reliability -----------------------------------------------------------------------------------------------


def _check_lines(profile: Profile) -> Iterator[str]:
    """Checks that did not fully pass, vetoes first; for a check on many layers, the worst of each outcome.

    Checks without a limit are information only and count as neither passed nor failed.
    """
    bad = [row for row in profile.checks if row.outcome != "pass"]
    if bad:
        yield "  " + _("checks that did not pass")
    worst: dict[tuple[str, str], list[RunCheckRow]] = {}
    for row in sorted(bad, key=lambda row: (row.outcome != "veto", -abs(row.value or 0.0))):
        worst.setdefault((row.outcome, row.check_name), []).append(row)
    for first, *others in worst.values():
        more = _("; further layers: {n}").format(n=len(others)) if others else ""
        yield from wrap(f"    {check_line(first)}{more}", WIDTH, " " * 13)


def claim_lines(rows: Sequence[RunClaimRow]) -> Iterator[str]:
    """For each claim, one line for each specification: the outcome, with ratio and simultaneous interval."""
    for claim in CLAIMS:
        own = [row for row in rows if row.claim == claim]
        if own:
            yield "  " + _("{claim}, by specification").format(claim=claim_name(claim))
        for row in own:
            yield _aligned(4, SPECIFICATION, [specification_name(vars(row)), marked_ratio_text(vars(row))])
    if rows:
        legend = _("{key}; ratios of the largest dimension").format(key=outcome_legend_text())
        yield from wrap(legend, WIDTH, "  ", "  ")


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
        yield "  " + _("final dimension under {n} core specifications: {told}").format(n=n, told=join(counts))


def _control_lines(profile: Profile, controls: Sequence[Profile]) -> Iterator[str]:
    """The dimensions of each control next to the text's, and what it says about the claims."""
    if not controls:
        return
    if _summary_of(profile, *PRIMARY) is None:  # a protocol without verdict: the published statistics of each control
        for control in controls:
            if lines := list(_literature_lines(control)):
                yield from _line(_("control"), _control_name(control.run))
                yield from (f"  {line}" for line in lines)
        return
    yield _aligned(
        2, (CONTROL[0] + 2, *CONTROL[1:]), (_("controls (d2, one token per type)"), _("start"), _("peak"), _("end"))
    )
    unusable = {row.control_run_id for row in profile.controls if row.outcome == "not_usable"}
    for measured in (profile, *controls):
        summary = _summary_of(measured, *PRIMARY)
        if summary is None:
            continue
        values = (summary.embedding_dimension, summary.inner_max, summary.final_dimension_pre_norm)
        remark = _(" (not usable)") if measured.run.run_id in unusable else ""
        yield _aligned(4, CONTROL, [_control_name(measured.run) + remark, *map(number, values)])


def _comparison_lines(profile: Profile, controls: Sequence[Profile]) -> Iterator[str]:
    """What each control says about each claim, with its interval and power."""
    names = {control.run.run_id: _control_name(control.run) for control in controls}
    for row in profile.controls:
        said = wording.control_text(vars(row))
        if row.control_run_id in names:
            said = _("{claim}: {verdict}").format(claim=names[row.control_run_id], verdict=said)
        yield from wrap(f"  {said}", WIDTH, " " * 4)


def _control_name(run: RunRow) -> str:
    return wording.control_name(run.pass_, run.model_seed)


def _memory_lines(profile: Profile) -> Iterator[str]:
    """Where the time went, and measures taken to save memory."""
    seconds: dict[str, Any] = json.loads(profile.run.phase_seconds or "{}")
    phases = (f"{wording.name('phase', phase)} {_('{n} s').format(n=round(value))}" for phase, value in seconds.items())
    yield from _line(_("time"), join([*phases, *_memory_measures(profile.run)]))


def _memory_measures(run: RunRow) -> Iterator[str]:
    """Measures taken to save memory, if any."""
    how: dict[str, Any] = json.loads(run.execution or "{}")
    if how.get("streamed"):
        yield _("weights read block by block")
    if how and how["batch"] != how["batch_planned"]:
        windows = Sentence(
            "{n} window at a time in place of {planned}, for want of memory",
            "{n} windows at a time in place of {planned}, for want of memory",
            n=how["batch"],
            planned=how["batch_planned"],
        )
        yield worded(windows)
    if how.get("layers_on_cpu"):
        layers = Sentence(
            "{n} layer measured on the CPU, for want of memory",
            "{n} layers measured on the CPU, for want of memory",
            n=how["layers_on_cpu"],
        )
        yield worded(layers)


def _verdict_lines(profile: Profile) -> Iterator[str]:
    """The verdicts of a run on text; a control has none."""
    summary = _summary_of(profile, *PRIMARY)
    if summary is None or profile.run.pass_ != "text":
        return
    for label, claim in zip((_("verdicts"), ""), CLAIMS, strict=True):
        yield from _line(label, wording.claim_text(claim, vars(summary)))
        yield from _line("", joint_text(claim, vars(summary)))
    limits = [wording.reason_text(key, brief=False) for key in summary.qualifiers]
    yield from _line(_("limits"), _("; ").join(limits))
