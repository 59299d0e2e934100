"""What the command line prints: progress, summaries and tables."""

from __future__ import annotations

import json
import shutil
from typing import Any

import polars as pl
from tqdm import tqdm

from core.records import Profile, Progress
from core.report.wording import verdict_short, verdict_text
from core.tables import ModelRow

BAR = "{desc} {percentage:3.0f}%|{bar:24}| {elapsed} passed, {remaining} left"
PHASES = {"load": "loading", "forward": "reading text", "geometry": "measuring layers"}


class ProgressBar:
    """A bar per phase on standard error, with the time left; silent where that is no terminal."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._phase = ""
        self._bar: tqdm | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def report(self, step: Progress) -> None:
        if step.phase != self._phase:
            self._close()
            self._phase = step.phase
        if self._bar is None or self._bar.total != step.total:
            self._close()
            number = list(PHASES).index(step.phase) + 1 if step.phase in PHASES else 0
            label = f"{self._name} {number}/{len(PHASES)} {PHASES.get(step.phase, step.phase)}"
            size = shutil.get_terminal_size((100, 24))  # some terminals say 0, and get no bar from tqdm then
            self._bar = tqdm(
                total=step.total,
                desc=label,
                leave=False,
                mininterval=0.3,
                disable=None,
                ncols=size.columns,
                nrows=size.lines,
                bar_format=BAR,
            )
        self._bar.n = step.done
        self._bar.refresh()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def summary_lines(profile: Profile) -> list[str]:
    """A finished measurement in a few lines: numbers with their intervals, the checks, what was dropped."""
    run, model, summary = profile.run, profile.model, profile.summaries[0]
    lines = [
        f"{model.name} ({model.model_id}), {model.kind}, {model.n_layers} blocks, hidden size {model.hidden_size}",
        f"  weights      {model.weight_format}{_relation(model)}",
        f"  text         {profile.corpus.corpus_id}, {run.protocol} protocol {run.protocol_hash}, seed {run.seed}",
        f"  tokens       {run.n_tokens:,} read, {run.n_tokens_used:,} used (left out: {run.n_dropped_position} first "
        f"positions, {run.n_dropped_special} special, {run.n_dropped_norm} by norm); {run.n_types:,} types",
        f"  estimated dimension (d2, one token per type, N={summary.n_points}), 95 % intervals:",
        f"    embedding           {_interval(summary, 'embedding_dimension')}",
        f"    working             {_interval(summary, 'working_dimension')}   {_band(summary)}",
        f"    final, pre-norm     {_interval(summary, 'final_dimension_pre_norm')}",
        f"    final, post-norm    {_interval(summary, 'final_dimension_post_norm', 'no final norm')}",
        f"    expansion ratio     {_interval(summary, 'expansion_ratio', digits=2)}",
        f"    contraction ratio   {_interval(summary, 'contraction_ratio', digits=2)}",
        f"  {verdict_text(summary.verdict, summary.qualifiers, 'en')}",
    ]
    if profile.bits_per_byte is not None:
        lines.append(f"  bits per byte {profile.bits_per_byte:.3f} over {run.n_bytes_scored:,} bytes")
    lines.append(f"  checks       {_checks(profile)}")
    seconds = json.loads(run.phase_seconds)
    lines.append(
        f"  cost         {sum(seconds.values()):.0f} s ({', '.join(f'{k} {v:.0f} s' for k, v in seconds.items())}), "
        f"peak memory {run.peak_memory_bytes / 1e9:.2f} GB; run {run.run_id}"
    )
    return lines


def runs_table(runs: pl.DataFrame) -> str:
    """The runs as a plain table, newest first."""
    head = (
        "run",
        "model",
        "corpus",
        "protocol",
        "working",
        "final pre-norm",
        "final post-norm",
        "expansion-contraction",
    )
    rows = [
        (r["run_id"][:13], r["name"], r["corpus_name"], r["protocol"], _interval(r, "working_dimension"),
         _interval(r, "final_dimension_pre_norm"), _interval(r, "final_dimension_post_norm", "-"),
         verdict_short(r["verdict"], r["qualifiers"], "en"))
        for r in runs.iter_rows(named=True)
    ]  # fmt: skip
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]
    ]
    return "\n".join(line.rstrip() for line in lines)


def run_details(run: dict[str, Any], checks: pl.DataFrame, estimates: pl.DataFrame) -> str:
    """Every stored field of one run, one a line; its checks; d2 layer by layer."""
    width = max(len(name) for name in run)
    lines = [f"{name.ljust(width)}  {_field(value)}" for name, value in run.items() if value is not None]
    lines += ["", "checks"]
    for check in checks.iter_rows(named=True):
        where = "" if check["layer"] is None else f" at layer {check['layer']}"
        lines.append(f"  {check['outcome'].ljust(5)} {check['check_name']}{where}: {_number(check['value'])}")
    lines += ["", "estimated dimension (d2, one token per type), 95 % intervals"]
    primary = estimates.filter(pl.col("estimator") == "d2", pl.col("cloud") == "one_per_type")
    for row in primary.sort("layer", "state", descending=[False, True]).iter_rows(named=True):
        named = {"value": row["value"], "value_lower": row["lower"], "value_upper": row["upper"]}
        lines.append(
            f"  layer {row['layer']:>3} {row['state'].ljust(9)} {_interval(named, 'value')}  N={row['n_points']}"
        )
    return "\n".join(lines)


def _field(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _relation(model: ModelRow) -> str:
    return f"; {model.base_repository}, {model.base_relation}" if model.base_relation else ""


def _interval(source: Any, name: str, absent: str = "not defined", digits: int = 1) -> str:
    read = source.get if isinstance(source, dict) else lambda field: getattr(source, field)
    value, lower, upper = read(name), read(f"{name}_lower"), read(f"{name}_upper")
    if value is None:
        return absent
    if lower is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{lower:.{digits}f}, {upper:.{digits}f}]"


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4g}"


def _band(summary: Any) -> str:
    if summary.working_layer is None:
        return ""
    return f"layers {summary.working_layer_first}-{summary.working_layer_last}, working layer {summary.working_layer}"


def _checks(profile: Profile) -> str:
    failed = [check for check in profile.checks if check.outcome != "pass"]
    if not failed:
        return f"{len(profile.checks)} passed"
    return "; ".join(
        f"{check.outcome}: {check.check_name}{'' if check.layer is None else f' at layer {check.layer}'} "
        f"{_number(check.value)} (limit {_number(check.threshold)})"
        for check in failed[:4]
    ) + (f"; and {len(failed) - 4} more" if len(failed) > 4 else "")
