"""What the command line says of one measurement, in lines of at most 100 columns.

Numbers with their 95 percent intervals, what was left out and why, second opinions, checks that did not pass in full,
controls, and last the verdict with what supports or limits it.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from core import wording
from core.analysis.shape import SECOND_OPINION
from core.terminal.run_rows import PRIMARY, WORDS, Measurement, Row
from core.wording.numbers import number

WIDTH = 100
LABEL = 14
"""Columns of the labels at the left."""


def summary(told: Measurement, controls: Sequence[Measurement] = ()) -> list[str]:
    """The whole of it; parts that a run does not have leave no line."""
    return [
        *_subject(told),
        *_left_out(told),
        *dimensions(told),
        *across_tokenizers(told),
        *second_opinions(told),
        *literature(told),
        *_checks(told),
        *_controls(told, controls),
        *_cost(told),
        *_verdict(told),
    ]


def check_line(row: Row) -> str:
    """`warn   Share of variance between windows, layer 30: 0.24 (limit 0.2)`, the paired error where there is one.

    What has no limit cannot pass: it is for information.
    """
    where = "" if row["layer"] is None else f", layer {row['layer']}"
    error = "" if row.get("std_error") is None else f" ± {number(row['std_error'])}"
    limit = "" if row["threshold"] is None else f" (limit {number(row['threshold'])})"
    value = "not defined" if row["value"] is None else number(row["value"])
    told = "info" if row["threshold"] is None and row["outcome"] == "pass" else row["outcome"]
    return f"{told:<6}{wording.check_name(row['check_name'], 'en')}{where}: {value}{error}{limit}"


# --- what was measured -----------------------------------------------------------------------------------------


def _subject(told: Measurement) -> Iterator[str]:
    run = told.run
    kind = wording.kind_name(run["kind"], "en")
    stack = f", its {run['stack']}" if run.get("stack") in ("encoder", "decoder") else ""
    head = f"{run['name']} ({run['model_id']}), {kind}{stack}, {run['n_layers']} blocks, "
    yield from textwrap.wrap(f"{head}hidden size {run['hidden_size']}", WIDTH, subsequent_indent="  ")
    form, relation = run.get("weight_format"), run.get("base_relation")
    derived = f"{run['base_repository']}, {relation}" if relation else ""
    weights = "; ".join(part for part in (form, derived) if part)
    if weights:
        yield from _line("weights", weights)
    protocol = f"{run['protocol']} protocol {run['protocol_hash']}, seed {run['seed']}"
    yield from _line("text", f"{wording.text_name(run['corpus_id'], run, 'en')}, {protocol}")
    if run["pass"] != "text":
        yield from _line("pass", _pass(run))


def _pass(run: Row) -> str:
    return f"control: {_control_name(run)}"


def _left_out(told: Measurement) -> Iterator[str]:
    """How many tokens, for what reason, and where the large norms stand."""
    run = told.run
    read = f"{run['n_tokens']:,} in {run['n_sequences']:,} windows, {run['n_tokens_used']:,} used, "
    yield from _line("tokens", f"{read}{run['n_types']:,} types; one mask for all layers")
    factor = told.protocol.get("norm_factor")
    above = f" (above {factor:g} times the layer's median)" if factor else ""
    share = f", {100 * run['n_dropped_norm'] / run['n_tokens']:.1f} %" if run["n_dropped_norm"] else ""
    template = f"{run['n_dropped_template']:,} of the chat template, " if run.get("n_dropped_template") else ""
    yield from _line(
        "left out",
        f"{run['n_dropped_position']:,} at position 0, {run['n_dropped_special']:,} special, {template}"
        f"{run['n_dropped_norm']:,} by their norm{above}{share}",
    )
    yield from _line("", _largest_norm(told))


def _largest_norm(told: Measurement) -> str:
    """Of the layers that the mask looks at: neither the embedding nor the final state."""
    ratio = told.run["max_norm_ratio"]
    if ratio is None:
        return ""
    text = f"largest norm {number(ratio)} times the median"
    found = {
        row["layer"]: row["value"]
        for row in told.correlators
        if (row["cloud"], row["correlator"]) == ("unmasked", "large_norm_ratio") and row["value"] is not None
    }
    inner = [layer for layer in found if 0 < layer < told.run["n_layers"]]
    if not inner:
        return text
    layer = max(inner, key=found.__getitem__)
    count = told.correlator(layer, "large_norm_tokens", "unmasked")
    at_start = told.correlator(layer, "large_norm_at_start", "unmasked")
    where = f"{text}, at layer {layer}"
    if not count:
        return where
    share = "" if at_start is None else f", {100 * at_start:.0f} % at position 0"
    return f"{where}: {count:,.0f} such tokens there{share}"


# --- can it be relied on ---------------------------------------------------------------------------------------


def _checks(told: Measurement) -> Iterator[str]:
    """Those that did not pass in full, a veto first; of a check that acts on many layers, the worst of each outcome.

    What has no limit is there for information and passes nothing.
    """
    bad = [row for row in told.checks if row["outcome"] != "pass"]
    passed = sum(row["outcome"] == "pass" and row["threshold"] is not None for row in told.checks)
    yield from _line("checks", f"{passed} of {passed + len(bad)} with a limit passed")
    worst: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(bad, key=lambda row: (row["outcome"] != "veto", -abs(row["value"] or 0.0))):
        worst.setdefault((row["outcome"], row["check_name"]), []).append(row)
    for rows in worst.values():
        more = f"; further layers: {len(rows) - 1}" if len(rows) > 1 else ""
        yield from _wrapped(f"    {check_line(rows[0])}{more}", "          ")


def _controls(told: Measurement, controls: Sequence[Measurement]) -> Iterator[str]:
    if not controls:
        return
    if told.summary(*PRIMARY) is None:
        yield from _controls_of_literature(controls)
        return
    yield f"  {'controls (d2, one token per type)':<38}{'embedding':>10}{'working':>10}{'final':>10}"
    for one in (told, *controls):
        found = one.summary(*PRIMARY)
        if found is None:
            continue
        values = [found[name] for name in ("embedding_dimension", "working_dimension", "final_dimension_pre_norm")]
        cells = "".join(f"{number(value):>10}" for value in values)
        shape = wording.shows_shape(found["verdict"], found["qualifiers"], "en")
        yield from _wrapped(f"    {_control_name(one.run):<36}{cells}  {shape}", " " * 72)


def _controls_of_literature(controls: Sequence[Measurement]) -> Iterator[str]:
    """Where a protocol has no summary, what it has: the same statistic of each control."""
    for one in controls:
        lines = list(literature(one))
        if lines:
            yield from _line("control", _control_name(one.run))
            yield from (f"  {line}" for line in lines)


def _control_name(run: Row) -> str:
    return wording.control_name(run["pass"], run.get("model_seed"), "en")


def _cost(told: Measurement) -> Iterator[str]:
    run = told.run
    if run.get("bits_per_byte") is not None:
        yield from _line("bits per byte", f"{run['bits_per_byte']:.3f} over {run['n_bytes_scored'] or 0:,} bytes")
    seconds: dict[str, Any] = json.loads(run["phase_seconds"] or "{}")
    phases = ", ".join(f"{wording.name('phase', phase, 'en')} {value:.0f} s" for phase, value in seconds.items())
    memory = f"peak memory {run['peak_memory_bytes'] / 1e9:.2f} GB"
    yield from _line("cost", f"{sum(seconds.values()):.0f} s ({phases}), {memory}{_room_found(run)}")
    yield from _line("run", run["run_id"])


def _room_found(run: Row) -> str:
    """What was done for want of memory, if anything."""
    how: dict[str, Any] = json.loads(run.get("execution") or "{}")
    parts = ["weights read block by block"] if how.get("streamed") else []
    if how and how["batch"] != how["batch_planned"]:
        parts.append(f"{how['batch']} windows at a time in place of {how['batch_planned']}, for want of memory")
    if how.get("layers_on_cpu"):
        parts.append(f"{how['layers_on_cpu']} layers measured on the CPU, for want of memory")
    return "".join(f", {part}" for part in parts)


def _verdict(told: Measurement) -> Iterator[str]:
    found = told.primary
    if found is None:
        return
    if told.run["pass"] != "text":
        yield from _line("control", wording.shows_shape(found["verdict"], found["qualifiers"], "en"))
        return
    text = wording.verdict_text(found["verdict"], found["qualifiers"], "en")
    yield from _line("verdict", text)


def _line(label: str, text: str) -> Iterator[str]:
    if text:
        yield from _wrapped(f"  {label:<{LABEL}}{text}", " " * (LABEL + 2))


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


GRIDE_READ_AT = SECOND_OPINION[1]
LEVEL = 0.1
LITERATURE = {"last_token": "last token of each window", "per_prompt": "all tokens of one prompt, averaged"}


def interval(source: Row, name: str, absent: str = "not defined") -> str:
    """`106 [98.9, 113]`, or what to say where there is no value."""
    if source[name] is None:
        return absent
    return wording.with_interval(source[name], source.get(f"{name}_lower"), source.get(f"{name}_upper"))


def dimensions(told: Measurement) -> Iterator[str]:
    found = told.summary(*PRIMARY)
    if found is None:
        return
    yield f"  estimated dimension (d2, one token per type, N={found['n_points']:,}), 95 % intervals"
    rows = [
        ("embedding", interval(found, "embedding_dimension")),
        ("working", f"{interval(found, 'working_dimension'):<22}{_band(found, told.run)}".rstrip()),
        *_final(found),
        ("expansion ratio R_e", interval(found, "expansion_ratio")),
        ("contraction ratio R_c", f"{interval(found, 'contraction_ratio'):<22}{_without(found)}".rstrip()),
    ]
    if found.get("contraction_ratio_gride_8") is not None:
        rise, fall = number(found["expansion_ratio_gride_8"]), number(found["contraction_ratio_gride_8"])
        rows.append(("ratios by GRIDE n1=8", f"expansion {rise}, contraction {fall}"))
    for name, value in rows:
        yield f"    {name:<24}{value}"


def _final(found: Row) -> list[tuple[str, str]]:
    before = interval(found, "final_dimension_pre_norm")
    if found["final_dimension_post_norm"] is None:
        return [("final, no final norm", before)]
    return [("final, before the norm", before), ("final, after the norm", interval(found, "final_dimension_post_norm"))]


def _band(found: Row, run: Row) -> str:
    first, last = found["working_layer_first"], found["working_layer_last"]
    if first is None:
        return "a model of one block has no inner layer" if run["n_layers"] < 2 else ""
    band = f"layer {first}" if first == last else f"layers {first} to {last}"
    return f"{band} of {run['n_layers']}; read at layer {found['working_layer']}"


def _without(found: Row) -> str:
    value = found.get("contraction_ratio_abtt3")
    return "" if value is None else f"{number(value)} after removing three components"


def across_tokenizers(told: Measurement) -> Iterator[str]:
    found, run = told.summary(*WORDS), told.run
    if found is None:
        return
    lost = run.get("n_words_lost")
    words = f" of {run['n_words']:,}" if run.get("n_words") else ""
    yield f"  across tokenizers (d2, one point per word, N={found['n_points']:,}{words} words)"
    yield f"    {'working':<24}{interval(found, 'working_dimension'):<22}{_band(found, run)}".rstrip()
    if lost is not None:
        yield f"    {'occurrences lost':<24}{lost:,} (beyond the tokens read, or masked)"


def second_opinions(told: Measurement) -> Iterator[str]:
    """Nearest neighbours at the working layer: the scan's plateau, and how far the cloud is from a Gaussian one."""
    found = told.summary(*PRIMARY)
    layer = None if found is None else found["working_layer"]
    if layer is None:
        return
    cloud = PRIMARY[1]
    scan = {row["n1"]: row for n1 in (1, 2, 4, 8, 16, 32) if (row := told.value(layer, "gride", cloud, n1))}
    parts = [_plateau({n1: row["value"] for n1, row in scan.items() if row["value"]})]
    read = scan.get(GRIDE_READ_AT)
    if read is not None and read["value"] is not None:
        equivalent = read["gaussian_equivalent"]
        parts.append(
            f"no Gaussian equivalent of {number(read['value'])} (n1=8) is stored"
            if equivalent is None or math.isnan(equivalent)
            else f"Gaussian equivalent of {number(read['value'])} (n1=8): {number(equivalent)}{_interval(read)}"
        )
    ratio = told.correlator(layer, "nonlinearity_ratio_8", cloud)
    if ratio is not None:
        parts.append(f"GRIDE n1=8 of a Gaussian of equal covariance is {number(ratio)} times the data's")
    told_parts = [part for part in parts if part]
    if told_parts:
        yield f"  second opinions, nearest neighbours at layer {layer}"
        for part in told_parts:
            yield f"    {part}"


def _interval(row: Row) -> str:
    ends = [row[f"gaussian_equivalent_{end}"] for end in ("lower", "upper")]
    return "" if None in ends else f" [{number(ends[0])}, {number(ends[1])}]"


def _plateau(scan: dict[int, float]) -> str:
    """Where two successive doublings of n1 change log d by less than `LEVEL`, as in `geometry.neighbour_dimensions.plateau`."""
    if not scan:
        return ""
    # The rule is written twice because the report may not import geometry; change both together.
    logs = {n1: math.log(value) for n1, value in scan.items()}
    for n1 in sorted(logs):
        steps = [logs.get(2 * at, math.nan) - logs.get(at, math.nan) for at in (n1, 2 * n1)]
        if all(abs(step) < LEVEL for step in steps):
            return f"GRIDE levels off at {number(scan[n1])} (n1={n1}, n2={2 * n1})"
    span = f"{number(min(scan.values()))} to {number(max(scan.values()))}"
    return f"GRIDE does not level off: {span} for n1={min(scan)} to {max(scan)}"


def literature(told: Measurement) -> Iterator[str]:
    """The statistics of the two published protocols: first, largest and last layer."""
    for cloud, meaning in LITERATURE.items():
        rows = [row for row in told.estimates if row["cloud"] == cloud and row["state"] == "residual" and row["value"]]
        for estimator, n1 in (("gride", 2), ("two_nn", 1)):
            own = sorted(
                (row for row in rows if (row["estimator"], row["n1"], row["transform"]) == (estimator, n1, "centred")),
                key=lambda row: row["layer"],
            )
            if own:
                top = max(own, key=lambda row: row["value"])
                symbol = wording.estimator_symbol(estimator, n1)
                yield f"  estimated dimension ({symbol}, {meaning}, N={own[0]['n_points']:,})"
                yield (
                    f"    {number(own[0]['value'])} at the embedding, at most {number(top['value'])} at layer "
                    f"{top['layer']}, {number(own[-1]['value'])} at the end"
                )
