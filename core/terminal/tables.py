"""What the command line prints: progress, summaries and tables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.cells import cell_len

from core import wording
from core.analysis import plans as read_again
from core.records import SHORT_ID, LayerPlan, Profile
from core.tables import PlanOutcomeRow
from core.terminal import run_summary
from core.terminal.output import Head, one_line, width
from core.terminal.progress import minutes
from core.wording import plans
from core.wording.labels import marked, shortened
from core.wording.provenance import Line, sections
from core.wording.scores import score_flags
from core.wording.verdicts import verdict_marks, verdict_marks_key


def summary_lines(profile: Profile, controls: Sequence[Profile] = ()) -> list[str]:
    """A finished measurement: numbers with their intervals, what was dropped, checks, controls, the verdicts last."""
    return run_summary.summary(profile, controls)


def runs_table(runs: pl.DataFrame) -> list[str]:
    """The runs as a table, newest first."""
    head = (
        "run",
        "model",
        "corpus",
        "protocol",
        "largest inner",
        "final pre-norm",
        "final post-norm",
        "verdicts",
        *(("tags",) if (has_tags := any(len(tags) for tags in runs["tags"])) else ()),
    )
    rows = [
        (
            r["run_id"][:SHORT_ID],
            marked(r["name"], r["worst_check"] == "veto"),
            r["corpus_name"],
            r["protocol"],
            wording.interval_of(r, "inner_max", "-"),
            wording.interval_of(r, "final_dimension_pre_norm", "-"),
            wording.interval_of(r, "final_dimension_post_norm", "-"),
            _verdict(r),
            *((", ".join(r["tags"]),) if has_tags else ()),
        )
        for r in runs.iter_rows(named=True)
    ]
    lines = table(head, rows, ("final post-norm", "protocol", "tags", "final pre-norm", "corpus"))
    if "text" in runs["pass"].to_list():
        lines += ["", *textwrap.wrap(verdict_marks_key("en"), width() or 10_000)]
    if any(worst == "veto" for worst in runs["worst_check"]):
        lines += ["", wording.veto_note("en")]
    return lines


def _verdict(run: Mapping[str, Any]) -> str:
    """Both claims as marks; of another pass, which control it is."""
    if run["pass"] != "text" or run["n_points"] is None:
        return wording.outcome_short(run, "en")
    return verdict_marks(run)


def trash_table(found: Sequence[Any]) -> list[str]:
    """Runs in the trash (core.warehouse.trash.Trashed), the oldest measurement first."""
    rows = [
        (
            one.run_id[:SHORT_ID],
            one.model_id,
            one.corpus_id,
            one.protocol,
            one.pass_,
            one.deleted_at[:16].replace("T", " "),
            f"{one.n_bytes / 1e6:.1f} MB",
        )
        for one in found
    ]
    return table(("run", "model", "text", "protocol", "pass", "deleted (UTC)", "size"), rows, ("size", "protocol"))


def jobs_table(standings: Sequence[Any]) -> list[str]:
    """Jobs (core.runs.jobs.JobStatus), oldest first: where each stands, how long it will take, what to do about it."""
    rows = []
    for at in standings:
        asked = at.job.config
        text, how = asked.what
        how_far = (
            f"{wording.phase_name(at.progress.phase, 'en')} {at.progress.done:,}/{at.progress.total:,}"
            if at.progress
            else ""
        )
        left = at.told.get("seconds_left")
        told = {
            "running": how_far,
            "failed": at.reason,
            "finished": _brought(at.result),
            "queued": "waits for its turn",
            "interrupted": f"{how_far}; resume or cancel it".lstrip("; "),
        }
        what = (asked.model, _text_name(text), how)
        time_left = minutes(left) if left is not None and at.state == "running" else ""
        rows.append((at.job.job_id[:SHORT_ID], at.state, *what, told.get(at.state, ""), time_left))
    return table(
        ("job", "state", "model", "text", "protocol", "where it stands", "time left"), rows, ("protocol", "text")
    )


def _brought(result: Mapping[str, Any]) -> str:
    if file := result.get("file_sha256"):
        return f"scores {file[:SHORT_ID]}"
    if plan_id := result.get("plan_id"):
        return f"plan {plan_id[:SHORT_ID]}"
    return f"run {result.get('run_id', '')[:SHORT_ID]}"


def scored_lines(tables: Mapping[str, pl.DataFrame]) -> list[str]:
    """What a model has scored on a task, of its file's tables: each metric with its standard error, and what was left
    out or cut."""
    scores = tables["scores"]
    first = scores.row(0, named=True)
    rows = [
        (
            row["metric"],
            f"{row['value']:.4f}",
            "-" if row["std_error"] is None else f"± {row['std_error']:.4f}",
            row["unit"].replace("_", " "),
            "higher is better" if row["higher_is_better"] else "lower is better",
        )
        for row in scores.iter_rows(named=True)
    ]
    model = f"{first['repository']}@{first['revision']}"
    head = f"{model} on {first['benchmark']}: {first['n_samples']:,} scored, {first['dtype']}"
    told = [head, *(f"  {line}" for line in table(("metric", "value", "std. error", "unit", ""), rows))]
    return [one_line(line) for line in [*told, *(f"  {words}" for words in score_flags(first["flags"], "en"))]]


def scored_record(result: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """The same for JSON; `result` is that of the job."""
    shared = ("repository", "revision", "benchmark", "suite", "task_version", "dtype", "source", "as_of", "flags")
    own = ("metric", "value", "std_error", "unit", "higher_is_better", "n_samples", "is_partial")
    rows = tables["scores"].to_dicts()
    told = {"model_id": f"{rows[0]['repository']}@{rows[0]['revision']}"} | {key: rows[0][key] for key in shared}
    left_out = tables["score_files"]["n_skipped"].item()
    return told | dict(result) | {"n_left_out": left_out, "scores": [{key: row[key] for key in own} for row in rows]}


def _text_name(corpus: str) -> str:
    """A file without its folders: one that was handed over lies in a folder of ours."""
    return Path(corpus).name if Path(corpus).is_absolute() else corpus


NARROWEST = 14
"""Columns of the terminal to which a text in a cell may be cut; numbers and ids never are."""
_WHOLE = re.compile(r"[\d\s.,\[\]()±%:+×-]*|[0-9a-f]{6,}[0-9a-f-]*")
"""Numbers, and ids that somebody types."""


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], least: Sequence[str] = ()) -> list[str]:
    """Lines of a table with aligned columns, which fits the terminal: texts are shortened in their middle, then columns
    are left out, those of `least` first, then from the right; a line says which."""
    cells = [[one_line(str(cell)) for cell in row] for row in [head, *rows]]
    shown = list(range(len(head)))
    left_out = []
    room = width()
    widths = _widths(cells, shown, room)
    while room is not None and sum(widths) + 2 * (len(shown) - 1) > room and len(shown) > 2:
        gone = next((at for name in least for at in shown if head[at] == name), shown[-1])
        shown.remove(gone)
        left_out.append(str(head[gone]))
        widths = _widths(cells, shown, room)
    lines = [
        "  ".join(_cell(row[at], room_of) for at, room_of in zip(shown, widths, strict=True)).rstrip() for row in cells
    ]
    told = [f"No room for: {', '.join(left_out)}. A wider terminal shows it, and so does --json."] if left_out else []
    return [Head(lines[0]), *lines[1:], *told]


def _widths(cells: Sequence[Sequence[str]], shown: Sequence[int], room: int | None) -> list[int]:
    """Of the columns that are shown, in cells of the terminal: the widest texts give way until all fit, or none can."""
    widths = [max(cell_len(row[at]) for row in cells) for at in shown]
    able = [n for n, at in enumerate(shown) if not all(_WHOLE.fullmatch(row[at]) for row in cells[1:])]
    excess = 0 if room is None else sum(widths) + 2 * (len(widths) - 1) - room
    while excess > 0 and (wide := [n for n in able if widths[n] > NARROWEST]):
        widths[max(wide, key=widths.__getitem__)] -= 1
        excess -= 1
    return widths


def _cell(text: str, room: int) -> str:
    """Padded, or its middle left out."""
    kept = len(text)
    while cell_len(text if kept == len(text) else shortened(text, kept)) > room:
        kept -= 1
    text = shortened(text, kept) if kept < len(text) else text
    return text + " " * (room - cell_len(text))


def run_details(profile: Profile, controls: Sequence[Profile], record: Mapping[str, Any]) -> str:
    """The summary as after measuring, every stored field, all checks and claims, and d2 layer by layer.

    `record` is all that is stored of the run (core.warehouse.profiles).
    """
    lines = [one_line(line) for line in run_summary.summary(profile, controls)]
    for section in sections(record, "en"):
        lines += ["", section.title]
        width = max(len(field.label) for field in section.fields)
        lines += [f"  {field.label.ljust(width)}  {_indented(field.text, width + 4)}" for field in section.fields]
    checks = sorted(profile.checks, key=lambda row: (row.check_name, row.layer is None, row.layer))
    lines += ["", "checks", *(one_line(f"  {run_summary.check_line(row)}") for row in checks)]
    others = list(run_summary.claims([row for row in profile.claims if not row.is_core]))
    lines += ["", "specifications outside the core: shown, not judged by", *others] if others else []
    lines += ["", "estimated dimension (d2, one token per type), 95 % intervals"]
    primary = [
        row
        for row in profile.estimates
        if (row.estimator, row.cloud, row.transform) == (*run_summary.PRIMARY, "centred")
    ]
    for row in sorted(primary, key=lambda row: (row.layer, row.state == "post_norm")):
        value = wording.with_interval(row.value, row.lower, row.upper)
        lines.append(f"  layer {row.layer:>3} {row.state.ljust(9)} {value:<22} N={row.n_points}")
    return "\n".join(lines)


def difference(
    ids: tuple[str, str], sentence: str, results: Sequence[Line], differing: Sequence[Line], alike: Sequence[str]
) -> str:
    """Two runs side by side: whether they may be compared, what came out, and every field that differs."""
    rows = [(line.label, line.one, line.other) for line in results]
    lines = [sentence, "", *table(("", ids[0][:SHORT_ID], ids[1][:SHORT_ID]), rows)]
    section = ""
    for line in differing:
        lines += ["", line.section] if line.section != section else []
        section = line.section
        lines += [f"  {line.label}", f"    {_indented(line.one, 4)}", f"    {_indented(line.other, 4)}"]
    lines += ["", f"{len(alike)} fields agree: {', '.join(alike)}."]
    return "\n".join(lines)


def _indented(text: str, width: int) -> str:
    return text.replace("\n", "\n" + " " * width)


# --- layer plans -----------------------------------------------------------------------------------------------------

PICTURE_WIDTH = 60
"""Blocks of a picture in one line."""


def plan_lines(found: LayerPlan) -> list[str]:
    plan = found.plan
    task = plans.task_text(found, "en")
    lines = [plans.answer(plan, "en"), *([task] if task else []), *_shifted(plans.remarks(plan, "en"))]
    lines += ["", *_plan_picture(found)]
    lines += ["", "Candidates", *_shifted(_plan_candidates(found))]
    lines += ["", "Price of each number of blocks, along the search", *_shifted(_plan_path(found))]
    if harder := read_again.harder(found):
        lines += ["", "Where loss on held-out text may hide it", *_shifted(_plan_harder(harder))]
    held_against = [*plans.published_text(found, "en"), *plans.controls_text(plan, "en")]
    lines += ["", *held_against] if held_against else []
    lines += ["", *plans.saving_text(plan, "en")]
    if directions := plans.directions_text(found, "en"):
        lines += ["", "Directions that suffice (principal components; an upper bound)", *_shifted(directions)]
        lines += ["", *plans.student_text(found, "en")]
    if plan.saved_as:
        lines += ["", f"Saved: {plan.saved_as}; opened again, its loss is the verified one."]
        lines.append(f"workdim measure {plan.saved_as}   measures the smaller model")
    return [*lines, "", f"Plan {plan.plan_id}"]


def _plan_picture(found: LayerPlan) -> Iterator[str]:
    """Each block as a sign, those that go crossed out, counted from 0."""
    gone, n = set(found.plan.blocks), found.plan.n_layers
    yield f"x goes, o stays; blocks are counted from 0, the first is 0 and the last {n - 1}"
    for start in range(0, n, PICTURE_WIDTH):
        row = range(start, min(start + PICTURE_WIDTH, n))
        signs = "".join("x" if block in gone else "o" for block in row)
        yield f"  {start:>3} {signs} {row[-1]}"


def _shifted(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _plan_candidates(found: LayerPlan) -> list[str]:
    rows = [
        (
            ("* " if row.is_chosen else "= " if row.is_equal else "  ") + wording.name("plan_rule", row.rule, "en"),
            ",".join(map(str, row.blocks)),
            plans.price_text(row.difference, row.lower, row.upper),
        )
        for row in read_again.rivals(found)
    ]
    head = ("rule (* taken, = not told from the cheapest)", "blocks", "nats per token [95 %]")
    return table(head, rows)


def _plan_path(found: LayerPlan) -> list[str]:
    rows = [
        (str(len(row.blocks)), ",".join(map(str, row.blocks)), plans.price_text(row.difference, row.lower, row.upper))
        for row in read_again.path(found)
    ]
    return table(("gone", "blocks", "nats per token [95 %]"), rows)


def _plan_harder(rows: Sequence[PlanOutcomeRow]) -> list[str]:
    cells = []
    for row in rows:
        is_loss = row.measure == "loss"
        cells.append(
            (
                wording.name("plan_text", row.text, "en") + (" (healed)" if row.is_healed else ""),
                wording.name("plan_measure", row.measure, "en"),
                _plan_value(row.value_before, is_loss),
                _plan_value(row.value_after, is_loss),
                plans.price_text(row.difference, row.lower, row.upper),
            )
        )
    return table(("text or probe", "measure", "before", "after", "difference [95 %]"), cells)


def _plan_value(value: float | None, is_loss: bool) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if is_loss else f"{value:.0%}"


def plans_table(found: pl.DataFrame) -> list[str]:
    """All plans, the newest first."""
    rows = [
        (
            row["plan_id"][:SHORT_ID],
            row["name"],
            ",".join(map(str, row["blocks"])),
            plans.price_text(row["loss_increase"], row["lower"], row["upper"]),
            "recommended" if row["is_recommended"] else "verified" if row["is_verified"] else "not verified",
            f"{row['created_at']:%Y-%m-%d %H:%M}",
        )
        for row in found.iter_rows(named=True)
    ]
    return table(("plan", "model", "blocks", "nats per token [95 %]", "", "made (UTC)"), rows, ("made (UTC)",))


def plan_record(found: LayerPlan) -> dict[str, Any]:
    """A plan for JSON: the answer, and the map from the smaller model's blocks to the whole one's."""
    plan = found.plan
    seconds = {
        f"seconds_{when}": None if read is None or written is None else read + written
        for when, read, written in (
            ("before", plan.prefill_seconds_before, plan.generation_seconds_before),
            ("after", plan.prefill_seconds_after, plan.generation_seconds_after),
        )
    }
    answer = {
        "blocks": plan.blocks,
        "verified": plan.is_verified,
        "recommended": plan.is_recommended,
        "loss_increase": plan.loss_increase,
        "lower": plan.lower,
        "upper": plan.upper,
        "random_10th": plan.random_10th,
        "healed": plan.is_healed,
        **seconds,
    }
    others = {
        "plan_id": plan.plan_id,
        "model_id": plan.model_id,
        "answer": plans.answer(plan, "en"),
        "remarks": plans.remarks(plan, "en"),
        "reasons": plan.reasons,
        "budget": plan.budget,
        "budget_unit": plan.budget_unit,
        "rule": plan.rule,
        "parameters_before": plan.parameters_before,
        "parameters_after": plan.parameters_after,
        "saved_as": plan.saved_as,
        "map": read_again.layer_map(found),
    }
    harder = [
        {
            "text": row.text,
            "measure": row.measure,
            "healed": row.is_healed,
            "before": row.value_before,
            "after": row.value_after,
            "difference": row.difference,
            "lower": row.lower,
            "upper": row.upper,
        }
        for row in read_again.harder(found)
    ]
    return answer | others | {"harder": harder}
