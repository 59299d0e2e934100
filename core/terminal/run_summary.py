"""What the command line says of one measurement, in lines of at most 100 columns.

Numbers with their 95 percent intervals, what was left out and why, second opinions, checks that did not pass in full,
what each core specification and each control says, and last the verdicts with their reasons.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core import wording
from core.analysis.claims import against_ten
from core.records import Profile
from core.registry.specifications import CLAIMS, SPECIFICATIONS
from core.tables import LayerPairRow, RunCheckRow, RunClaimRow, RunRow, RunSummaryRow
from core.wording.numbers import number
from core.wording.verdicts import claim_name, marks_key, outcome_mark, outcome_of, ratio_text, specification_name

WIDTH = 100
LABEL = 14
"""Columns of the labels at the left."""
PRIMARY = ("d2", "one_per_type")
WORDS = ("d2", "one_per_word")
LEVEL = 0.1
STEPS = {
    "autocorrelation": "autocorr.",
    "kept": "kept",
    "removed": "removed",
    "added": "added",
    "neighbour_overlap": "overlap",
    "cka": "CKA",
}
"""Measures between two layers, and what heads their column."""
SPECIFICATION, CELL = 53, 23
"""Columns of a specification's name, and of what a claim comes to under it."""
LITERATURE = {"last_token": "last token of each window", "per_prompt": "all tokens of one prompt, averaged"}


def summary(profile: Profile, controls: Sequence[Profile] = ()) -> list[str]:
    """The whole of it; parts that a run does not have leave no line."""
    return [
        *_subject(profile),
        *_left_out(profile),
        *dimensions(profile),
        *across_tokenizers(profile),
        *second_opinions(profile),
        *literature(profile),
        *between_layers(profile),
        *_checks(profile),
        *claims([row for row in profile.claims if row.is_core]),
        *final_against_ten(profile),
        *_controls(profile, controls),
        *_cost(profile),
        *_verdict(profile),
    ]


def check_line(row: RunCheckRow) -> str:
    """`warn   Share of variance between windows, layer 30: 0.24 (limit 0.2)`, the paired error where there is one.

    What has no limit cannot pass: it is for information.
    """
    where = "" if row.layer is None else f", layer {row.layer}"
    error = "" if row.std_error is None else f" ± {number(row.std_error)}"
    limit = "" if row.threshold is None else f" (limit {number(row.threshold)})"
    value = "not defined" if row.value is None else number(row.value)
    told = "info" if row.threshold is None and row.outcome == "pass" else row.outcome
    return f"{told:<6}{wording.name('check', row.check_name, 'en')}{where}: {value}{error}{limit}"


# --- what was measured -----------------------------------------------------------------------------------------


def _subject(profile: Profile) -> Iterator[str]:
    run, model, corpus = profile.run, profile.model, profile.corpus
    kind = wording.name("kind", model.kind, "en")
    stack = f", its {run.stack}" if run.stack in ("encoder", "decoder") else ""
    head = f"{model.name} ({model.model_id}), {kind}{stack}, {model.n_layers} blocks, "
    yield from textwrap.wrap(f"{head}hidden size {model.hidden_size}", WIDTH, subsequent_indent="  ")
    form, relation = model.weight_format, model.base_relation
    derived = f"{model.base_repository}, {relation}" if relation else ""
    weights = "; ".join(part for part in (form, derived) if part)
    if weights:
        yield from _line("weights", weights)
    protocol = f"{run.protocol} protocol {run.protocol_hash}, seed {run.seed}"
    yield from _line("text", f"{wording.text_name(corpus.corpus_id, corpus.language, corpus.domain, 'en')}, {protocol}")
    if run.pass_ != "text":
        yield from _line("pass", f"control: {_control_name(run)}")


def _left_out(profile: Profile) -> Iterator[str]:
    """How many tokens, for what reason, and where the large norms stand."""
    run = profile.run
    read = f"{run.n_tokens:,} in {run.n_sequences:,} windows, {run.n_tokens_used:,} used, "
    yield from _line("tokens", f"{read}{run.n_types:,} types; one mask for all layers")
    if run.n_windows_lengthened or run.n_windows_redrawn:
        again = f"{run.n_windows_lengthened or 0} read on past their document, {run.n_windows_redrawn or 0} drawn again"
        yield from _line("", f"windows that the tokenizer leaves short: {again}")
    protocol: Mapping[str, Any] = json.loads(run.config or "{}").get("protocol", {})
    factor = protocol.get("norm_factor")
    above = f" (above {factor:g} times the layer's median)" if factor else ""
    share = f", {100 * run.n_dropped_norm / run.n_tokens:.1f} %" if run.n_dropped_norm else ""
    template = f"{run.n_dropped_template:,} of the chat template, " if run.n_dropped_template else ""
    yield from _line(
        "left out",
        f"{run.n_dropped_position:,} at position 0, {run.n_dropped_special:,} special, {template}"
        f"{run.n_dropped_norm:,} by their norm{above}{share}",
    )
    yield from _line("", _largest_norm(profile))


def _largest_norm(profile: Profile) -> str:
    """Of the layers that the mask looks at: neither the embedding nor the final state."""
    ratio = profile.run.max_norm_ratio
    if ratio is None:
        return ""
    text = f"largest norm {number(ratio)} times the median"
    found = {
        row.layer: row.value
        for row in profile.correlators
        if (row.cloud, row.correlator) == ("unmasked", "large_norm_ratio") and row.value is not None
    }
    inner = [layer for layer in found if 0 < layer < profile.model.n_layers]
    if not inner:
        return text
    layer = max(inner, key=found.__getitem__)
    count = _correlator(profile, layer, "large_norm_tokens", "unmasked")
    at_start = _correlator(profile, layer, "large_norm_at_start", "unmasked")
    where = f"{text}, at layer {layer}"
    if not count:
        return where
    share = "" if at_start is None else f", {100 * at_start:.0f} % at position 0"
    return f"{where}: {count:,.0f} such tokens there{share}"


# --- can it be relied on ---------------------------------------------------------------------------------------


def _checks(profile: Profile) -> Iterator[str]:
    """Those that did not pass in full, a veto first; of a check that acts on many layers, the worst of each outcome.

    What has no limit is there for information and passes nothing.
    """
    bad = [row for row in profile.checks if row.outcome != "pass"]
    passed = sum(row.outcome == "pass" and row.threshold is not None for row in profile.checks)
    yield from _line("checks", f"{passed} of {passed + len(bad)} with a limit passed")
    worst: dict[tuple[str, str], list[RunCheckRow]] = {}
    for row in sorted(bad, key=lambda row: (row.outcome != "veto", -abs(row.value or 0.0))):
        worst.setdefault((row.outcome, row.check_name), []).append(row)
    for rows in worst.values():
        more = f"; further layers: {len(rows) - 1}" if len(rows) > 1 else ""
        yield from _wrapped(f"    {check_line(rows[0])}{more}", "          ")


def claims(rows: Sequence[RunClaimRow]) -> Iterator[str]:
    """A line for each specification: what both claims come to under it, with ratios and simultaneous intervals."""
    by_key: dict[tuple[Any, ...], dict[str, RunClaimRow]] = {}
    for row in rows:
        by_key.setdefault((row.cloud, row.transform, row.estimator, row.n1), {})[row.claim] = row
    if not by_key:
        return
    heads = "".join(f"{claim_name(claim, 'en', brief=True):<{CELL}}" for claim in CLAIMS)
    yield f"  {'claims by specification':<{SPECIFICATION}}{heads}".rstrip()
    for found in by_key.values():
        name = specification_name(vars(next(iter(found.values()))), "en")
        cells = "".join(f"{_cell(found.get(claim)):<{CELL}}" for claim in CLAIMS)
        yield f"  {name:<{SPECIFICATION}}{cells}".rstrip()
    yield f"  {marks_key('en')}; ratios of the largest inner dimension"


def _cell(row: RunClaimRow | None) -> str:
    return "–" if row is None else f"{outcome_mark(outcome_of(vars(row)))} {ratio_text(vars(row))}"


def final_against_ten(profile: Profile) -> Iterator[str]:
    """Whether the final dimension is ten, counted over the core specifications."""
    n_layers = profile.model.n_layers
    final = {
        (row.cloud, row.transform, row.estimator, row.n1): against_ten(row.lower, row.upper)
        for row in profile.estimates
        if row.layer == n_layers and row.state == "residual"
    }
    counted = Counter(final.get(one.key, "") for one in SPECIFICATIONS if one.is_core)
    told = [f"{wording.ten_text(key, 'en')} {counted[key]}" for key in ("in", "above", "below") if counted[key]]
    if told:
        yield f"  final dimension under {sum(map(bool, counted.elements()))} core specifications: {', '.join(told)}"


def _controls(profile: Profile, controls: Sequence[Profile]) -> Iterator[str]:
    """The dimensions of each control beside the text's, and what it says of the claims."""
    if not controls:
        return
    if _summary_of(profile, *PRIMARY) is None:
        yield from _controls_of_literature(controls)
        return
    yield f"  {'controls (d2, one token per type)':<46}{'embedding':>12}{'inner maximum':>15}{'final':>10}"
    for one in (profile, *controls):
        found = _summary_of(one, *PRIMARY)
        if found is None:
            continue
        first, inner, final = (
            number(getattr(found, name)) for name in ("embedding_dimension", "inner_max", "final_dimension_pre_norm")
        )
        vetoed = " (vetoed)" if "check_vetoed" in found.qualifiers else ""
        yield f"    {_control_name(one.run) + vetoed:<44}{first:>12}{inner:>15}{final:>10}"
        for row in profile.controls:
            if row.control_run_id == one.run.run_id:
                yield from _wrapped(f"      {wording.control_text(vars(row), 'en')}", " " * 8)


def _controls_of_literature(controls: Sequence[Profile]) -> Iterator[str]:
    """Where a protocol has no summary, what it has: the same statistic of each control."""
    for one in controls:
        lines = list(literature(one))
        if lines:
            yield from _line("control", _control_name(one.run))
            yield from (f"  {line}" for line in lines)


def _control_name(run: RunRow) -> str:
    return wording.control_name(run.pass_, run.model_seed, "en")


def _cost(profile: Profile) -> Iterator[str]:
    run = profile.run
    if run.bits_per_byte is not None:
        yield from _line("bits per byte", f"{run.bits_per_byte:.3f} over {run.n_bytes_scored or 0:,} bytes")
    seconds: dict[str, Any] = json.loads(run.phase_seconds or "{}")
    phases = ", ".join(f"{wording.name('phase', phase, 'en')} {value:.0f} s" for phase, value in seconds.items())
    memory = f"peak memory {run.peak_memory_bytes / 1e9:.2f} GB"
    yield from _line("cost", f"{sum(seconds.values()):.0f} s ({phases}), {memory}{_room_found(run)}")
    yield from _line("run", run.run_id)


def _room_found(run: RunRow) -> str:
    """What was done for want of memory, if anything."""
    how: dict[str, Any] = json.loads(run.execution or "{}")
    parts = ["weights read block by block"] if how.get("streamed") else []
    if how and how["batch"] != how["batch_planned"]:
        parts.append(f"{how['batch']} windows at a time in place of {how['batch_planned']}, for want of memory")
    if how.get("layers_on_cpu"):
        parts.append(f"{how['layers_on_cpu']} layers measured on the CPU, for want of memory")
    return "".join(f", {part}" for part in parts)


def _verdict(profile: Profile) -> Iterator[str]:
    """Of a run on text; a control has none of its own."""
    found = _summary_of(profile, *PRIMARY)
    if found is None or profile.run.pass_ != "text":
        return
    said = vars(found)
    for label, claim in zip(("verdicts", ""), CLAIMS, strict=True):
        yield from _line(label, wording.claim_text(claim, said, "en"))
    limits = [wording.reason_text(key, "en", brief=False) for key in found.qualifiers]
    yield from _line("limits", "; ".join(limits))


def _line(label: str, text: str) -> Iterator[str]:
    if text:
        yield from _wrapped(f"  {label:<{LABEL}}{text}", " " * (LABEL + 2))


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _interval(found: RunSummaryRow, name: str) -> str:
    return wording.interval_of(vars(found), name, "not defined")


def _summary_of(profile: Profile, estimator: str, cloud: str) -> RunSummaryRow | None:
    rows = (row for row in profile.summaries if (row.estimator, row.cloud) == (estimator, cloud))
    return next(rows, None)


def _correlator(profile: Profile, layer: int, correlator: str, cloud: str) -> float | None:
    rows = (row for row in profile.correlators if (row.layer, row.correlator, row.cloud) == (layer, correlator, cloud))
    return next((row.value for row in rows), None)


def dimensions(profile: Profile) -> Iterator[str]:
    found = _summary_of(profile, *PRIMARY)
    if found is None:
        return
    yield f"  estimated dimension (d2, one token per type, N={found.n_points:,}), 95 % intervals"
    said = vars(found)
    rows = [
        ("embedding", _interval(found, "embedding_dimension")),
        ("largest inner", f"{_interval(found, 'inner_max'):<22}{_at(found, profile.model.n_layers)}".rstrip()),
        ("working", f"{wording.shape_text(said, 'en'):<22}{_band(found, profile.model.n_layers)}".rstrip()),
        *_final(found),
        ("expansion ratio R_e", _interval(found, "expansion_ratio")),
        ("contraction ratio R_c", _interval(found, "contraction_ratio")),
    ]
    for name, value in rows:
        yield f"    {name:<24}{value}"
    extrema = [vars(row) for row in profile.extrema if row.cloud == PRIMARY[1]]
    if extrema:
        yield from _wrapped(f"    {'profile':<24}{wording.extrema_text(extrema, 'en')}", " " * 28)


def _final(found: RunSummaryRow) -> list[tuple[str, str]]:
    before = _interval(found, "final_dimension_pre_norm")
    if found.final_dimension_post_norm is None:
        return [("final, no final norm", before)]
    return [
        ("final, before the norm", before),
        ("final, after the norm", _interval(found, "final_dimension_post_norm")),
    ]


def _at(found: RunSummaryRow, n_layers: int) -> str:
    if found.inner_max_layer is None:
        return "a model of one block has no inner layer" if n_layers < 2 else ""
    return f"layer {found.inner_max_layer} of {n_layers}"


def _band(found: RunSummaryRow, n_layers: int) -> str:
    first, last = found.working_layer_first, found.working_layer_last
    if found.working_dimension is None or first is None:
        return ""
    band = f"layer {first}" if first == last else f"layers {first} to {last}"
    return f"{band} of {n_layers}; read at layer {found.working_layer}"


def across_tokenizers(profile: Profile) -> Iterator[str]:
    found, run = _summary_of(profile, *WORDS), profile.run
    if found is None:
        return
    lost = run.n_words_lost
    words = f" of {run.n_words:,}" if run.n_words else ""
    yield f"  across tokenizers (d2, one point per word, N={found.n_points:,}{words} words)"
    yield f"    {'largest inner':<24}{_interval(found, 'inner_max'):<22}{_at(found, profile.model.n_layers)}".rstrip()
    yield f"    {'working':<24}{wording.shape_text(vars(found), 'en')}"
    if lost is not None:
        yield f"    {'occurrences lost':<24}{lost:,} (beyond the tokens read, or masked)"


def second_opinions(profile: Profile) -> Iterator[str]:
    """Nearest neighbours where d2 is largest: the scan's plateau, and how far the cloud is from a Gaussian one."""
    found = _summary_of(profile, *PRIMARY)
    layer = None if found is None else found.inner_max_layer
    if layer is None:
        return
    cloud = PRIMARY[1]
    scan = {
        row.n1: row
        for row in profile.estimates
        if (row.layer, row.state, row.cloud, row.estimator, row.transform)
        == (layer, "residual", cloud, "gride", "centred")
        and row.n1 in (1, 2, 4, 8, 16, 32)
    }
    parts = [_plateau({n1: row.value for n1, row in scan.items() if row.value})]
    if scan:
        parts.append(_equivalents({n1: row.gaussian_equivalent for n1, row in scan.items()}))
    ratio = _correlator(profile, layer, "nonlinearity_ratio_8", cloud)
    if ratio is not None:
        parts.append(f"GRIDE n1=8 of a Gaussian of equal covariance is {number(ratio)} times the data's")
    told_parts = [part for part in parts if part]
    if told_parts:
        yield f"  second opinions, nearest neighbours at layer {layer}"
        for part in told_parts:
            yield f"    {part}"


def _equivalents(of_rank: dict[int, float | None]) -> str:
    """Their range over the ranks: one of them alone would look like a measurement of the dimension."""
    known = {n1: value for n1, value in of_rank.items() if value is not None and math.isfinite(value)}
    if not known:
        return "no Gaussian equivalent of GRIDE is stored"
    span = f"{number(min(known.values()))} to {number(max(known.values()))}"
    return f"Gaussian equivalent of GRIDE: {span} for n1={min(known)} to {max(known)}"


def _plateau(scan: dict[int, float]) -> str:
    """Where two successive doublings of n1 change log d by less than `LEVEL`, as in `geometry.neighbour_dimensions.plateau`."""
    if not scan:
        return ""
    # The rule is written twice because the terminal does not import geometry; change both together.
    logs = {n1: math.log(value) for n1, value in scan.items()}
    for n1 in sorted(logs):
        steps = [logs.get(2 * at, math.nan) - logs.get(at, math.nan) for at in (n1, 2 * n1)]
        if all(abs(step) < LEVEL for step in steps):
            return f"GRIDE levels off at {number(scan[n1])} (n1={n1}, n2={2 * n1})"
    span = f"{number(min(scan.values()))} to {number(max(scan.values()))}"
    return f"GRIDE does not level off: {span} for n1={min(scan)} to {max(scan)}"


def between_layers(profile: Profile) -> Iterator[str]:
    """From one layer to the next, at both ends and where a block keeps the smallest share; by chance last."""
    found = {(row.measure, row.layer_a): row for row in profile.pairs if row.layer_b == row.layer_a + 1}
    first = sorted(layer for measure, layer in found if measure == "autocorrelation")
    if not first:
        return
    own = [found["autocorrelation", layer].value for layer in first]
    least = min(zip(first, own, strict=True), key=lambda at: math.inf if at[1] is None else at[1])[0]
    measures = [m for m in STEPS if (m, first[0]) in found]
    yield f"  from a layer to the next (one token per type, N={found['autocorrelation', first[0]].n_points:,})"
    yield "    layers".ljust(16) + "".join(f"{STEPS[m]:>14}" for m in measures)
    for layer in sorted({first[0], least, first[len(first) // 2], first[-1]}):
        rows = [found.get((m, layer)) for m in measures]
        yield f"    {layer} to {layer + 1}".ljust(16) + "".join(f"{_with_error(row):>14}" for row in rows)
    nulls = [_by_chance(found[m, first[0]]) for m in measures]
    if any(nulls):
        yield "    by chance".ljust(16) + "".join(f"{null:>14}" for null in nulls)


def _with_error(row: LayerPairRow | None) -> str:
    if row is None or row.value is None:
        return "not defined"
    return number(row.value) if row.std_error is None else f"{number(row.value)}±{row.std_error:.1g}"


def _by_chance(row: LayerPairRow) -> str:
    """What permuted tokens give, 0 where it is below its own spread."""
    value, spread = row.null_value, row.null_spread
    if value is None:
        return ""
    told = "0" if abs(value) <= (spread or 0.0) else number(value)
    return told if spread is None else f"{told}±{spread:.1g}"


def literature(profile: Profile) -> Iterator[str]:
    """The statistics of the two published protocols: first, largest and last layer."""
    for cloud, meaning in LITERATURE.items():
        rows = [row for row in profile.estimates if row.cloud == cloud and row.state == "residual" and row.value]
        for estimator, n1 in (("gride", 2), ("two_nn", 1)):
            own = sorted(
                (row for row in rows if (row.estimator, row.n1, row.transform) == (estimator, n1, "centred")),
                key=lambda row: row.layer,
            )
            if own:
                top = max(own, key=lambda row: row.value or 0.0)
                symbol = wording.estimator_symbol(estimator, n1)
                yield f"  estimated dimension ({symbol}, {meaning}, N={own[0].n_points:,})"
                yield (
                    f"    {number(own[0].value)} at the embedding, at most {number(top.value)} at layer "
                    f"{top.layer}, {number(own[-1].value)} at the end"
                )
