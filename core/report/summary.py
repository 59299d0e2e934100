"""What the command line says of one measurement, in lines of at most 100 columns.

Numbers with their 95 percent intervals, what was left out and why, second opinions, checks that did not pass in full,
controls, and last the verdict with what supports or limits it.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from core.report import wording
from core.report.numbers import number
from core.report.summary_numbers import across_tokenizers, dimensions, literature, second_opinions
from core.report.told import PRIMARY, Measurement, Row

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
