"""What the command line prints, as tables and the lines around them: runs, those in the trash, jobs, scores on a task; how a
table fits the terminal; two runs that differ, layer plans, and answers about dimension and score.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

import polars as pl
from rich.cells import cell_len

from core import wording
from core.analysis import plans as plan_analysis
from core.ids import SHORT_ID
from core.locale import _, in_language, translated, worded
from core.questions.plan import RECORD, PlanAnswer
from core.questions.ranking_answer import Answer, RankedModel
from core.questions.record import as_record
from core.records import PLANNING, SCORING, LayerPlan
from core.registry.published import CLAIMS
from core.tables import PlanOutcomeRow, PlanRow, Run, ScoreRow, records
from core.terminal.output import Fixed, Head, heads, one_line, pad, width
from core.wording import answers as answer_wording
from core.wording import plans as plan_wording
from core.wording import runs as run_wording
from core.wording.labels import (
    distinct_short_names,
    duration,
    listed,
    marked_name,
    shortened_name,
    text_name,
    yes_or_no,
)
from core.wording.runs import Line
from core.wording.scores import rank_lines, score_flag_lines
from core.wording.verdicts import verdict_legend_text, verdict_marks

Row = TypeVar("Row")


def runs_table(runs: pl.DataFrame) -> list[str]:
    """A table of runs, newest first."""
    head = heads("run", "model", "text", "protocol", "largest inner", "final pre-norm", "final post-norm", "verdicts")
    columns = ("inner_max", "final_dimension_pre_norm", "final_dimension_post_norm")
    has_tags = any(len(tags) for tags in runs["tags"])
    head += heads("tags") if has_tags else []
    rows = [
        (
            r.run_id[:SHORT_ID],
            marked_name(r.name, wording.is_vetoed(r)),
            r.corpus_name,
            r.protocol,
            *(wording.interval_of(r, column, "-") for column in columns),
            verdict_marks(r) if r.pass_ == "text" else wording.name("pass", r.pass_),
            *((", ".join(r.tags),) if has_tags else ()),
        )
        for r in records(runs, Run)
    ]
    lines = table(head, rows, ("final post-norm", "protocol", "tags", "final pre-norm"))
    if "text" in runs["pass"].to_list():
        lines += ["", verdict_legend_text()]
    if any(worst == "veto" for worst in runs["worst_check"]):
        lines += ["", wording.veto_mark_text()]
    return lines


def trash_table(trashed: Sequence[Any]) -> list[str]:
    """A table of runs in the trash (core.store.parcels.TrashedRun), the oldest measurement first."""
    rows = [
        (
            run.run_id[:SHORT_ID],
            run.model_id,
            run.corpus_id,
            run.protocol,
            run.pass_,
            run.deleted_at[:16].replace("T", " "),
            f"{run.n_bytes / 1e6:.1f} MB",
        )
        for run in trashed
    ]
    return table(heads("run", "model", "text", "protocol", "pass", "deleted (UTC)", "size"), rows, ("size", "protocol"))


def jobs_table(standings: Sequence[Any]) -> list[str]:
    """A table of jobs (core.runs.jobs.JobStatus), oldest first: state and time left; beneath it why jobs failed, and what to
    do.
    """
    rows, remarks = [], []
    for status in standings:
        config, step = status.job.config, status.progress
        text, how = config.what
        how_far = f"{wording.phase_name(step.phase)} {step.done:,}/{step.total:,}" if step else ""
        stands = {"finished": result_text(status.result), "queued": _("waiting for its turn"), "failed": ""}
        again = _("go on: `workdim jobs resume {id}`", id=status.job.job_id[:SHORT_ID])
        remark = {"failed": status.reason, "interrupted": again}.get(status.state)
        remarks += [f"{status.job.job_id[:SHORT_ID]}  {worded(remark)}"] if remark else []
        left = status.progress_record.get("seconds_left") if status.state == "running" else None
        rows.append(
            (
                status.job.job_id[:SHORT_ID],
                translated(status.state),
                text_name(config.model) if config.model.startswith(("/", ".", "~")) else config.model,
                text_name(text),
                wording.phase_name(how) if how in (SCORING, PLANNING) else how,
                stands.get(status.state, how_far),
                "" if left is None else duration(left),
            )
        )
    head = heads("job", "state", "model", "text", "protocol", "where it stands", "time left")
    lines = table(head, rows, ("protocol", "text"))
    return [*lines, *([""] if remarks else []), *remarks]


def result_text(result: Mapping[str, Any]) -> str:
    if file := result.get("file_sha256"):
        return _("scores {id}", id=file[:SHORT_ID])
    if plan_id := result.get("plan_id"):
        return _("plan {id}", id=plan_id[:SHORT_ID])
    return _("run {id}", id=result.get("run_id", "")[:SHORT_ID])


def scored_lines(tables: Mapping[str, pl.DataFrame]) -> list[str]:
    """A model's scores on a task, from its file's tables: each metric with its standard error, and what was left out or
    cut.
    """
    scores = records(tables["scores"], ScoreRow)
    rows = [
        (
            wording.metric_name(row.metric),
            f"{row.value:.4f}",
            "-" if row.std_error is None else f"± {row.std_error:.4f}",
            wording.unit_name(row.unit),
            _("higher is better") if row.higher_is_better else _("lower is better"),
        )
        for row in scores
    ]
    head = _(
        "{model} on {benchmark}: {n:,} scored, {dtype}",
        model=f"{scores[0].repository}@{scores[0].revision}",
        benchmark=scores[0].benchmark,
        n=scores[0].n_samples,
        dtype=scores[0].dtype,
    )
    flags = (f"  {line}" for line in score_flag_lines(scores[0].flags))
    return [head, *table(heads("metric", "value", "std. error", "unit", ""), rows), *flags]


def scored_record(result: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """The scores of `scored_lines` as a JSON record; `result` is that of the job."""
    shared = ("repository", "revision", "benchmark", "suite", "task_version", "dtype", "source", "as_of", "flags")
    own = ("metric", "value", "std_error", "unit", "higher_is_better", "n_samples", "is_partial")
    rows = tables["scores"]
    first = records(rows, ScoreRow)[0]
    about = {"model_id": f"{first.repository}@{first.revision}"} | rows.select(shared).row(0, named=True)
    left_out = tables["score_files"]["n_skipped"].item()
    return about | dict(result) | {"n_left_out": left_out, "scores": rows.select(own).to_dicts()}


READABLE, NARROWEST = 18, 12
"""Columns: texts and heads are cut to the first before a column of little weight goes, and to the second before any other
does. Numbers and ids are never cut."""
_NUMBER = re.compile(r"[\d\s.,\[\]()±%:+×-]*")
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}-[0-9a-f]{4}-|^[0-9a-f]{6,}[0-9a-f-]*$")
"""What users type of a run, a plan or a job, also within a text, and of a file."""


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], least: Sequence[str] = ()) -> list[str]:
    """Lines of a table with aligned columns that fits the terminal.

    If space is short, texts are shortened in their middle, and columns are left out: those of `least` first, then from the
    right. A last line names them.
    """
    cells = [[one_line(cell if isinstance(cell, str) else str(cell)) for cell in row] for row in [head, *rows]]
    widths = _widths(cells, [n for name in least for n in range(len(head)) if head[n] == name])
    heads = _distinct_heads(cells[0], widths)
    columns = [
        [pad(text, room) for text in (heads[n], *_distinct([row[n] for row in cells[1:]], room))]
        for n, room in widths.items()
    ]
    lines = ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]
    left_out = [worded(head[n]) for n in range(len(head)) if n not in widths]
    note = _("No room for {columns}: widen the terminal, or use --json.", columns=listed(left_out))
    return [Head(lines[0]), *map(Fixed, lines[1:]), *([note] if left_out else [])]


def table_of(rows: Iterable[Row], columns: Mapping[str, Callable[[Row], Any]], least: Sequence[str] = ()) -> list[str]:
    """A table that screens show too: of each column its head, and what makes the cell of a row."""
    return table([*columns], [[cell(row) for cell in columns.values()] for row in rows], least)


def _widths(cells: Sequence[Sequence[str]], going: list[int]) -> dict[int, int]:
    """The columns that are shown and their widths; of numbers and ids only the heads are cut."""
    texts = [*zip(*cells, strict=True)]
    whole = [max(map(cell_len, column[1:]), default=0) * _is_never_cut(column[1:]) for column in texts]
    widths = {n: max(map(cell_len, column)) for n, column in enumerate(texts)}
    others = [n for n in reversed(widths) if n not in going]
    cuts = [(going[:n], READABLE) for n in range(len(going) + 1)]
    cuts += [([*going, *others[:n]], NARROWEST) for n in range(max(1, len(others) - 1))]
    for gone, narrowest in cuts:
        least = {n: max(whole[n], min(wide, narrowest)) for n, wide in widths.items() if n not in gone}
        room = width() - 2 * (len(least) - 1)
        if sum(least.values()) <= room:
            break
    widths = {n: widths[n] for n in least}
    for _step in range(sum(widths.values()) - max(room, sum(least.values()))):  # the widest that can shrinks
        widths[max(widths, key=lambda n: (widths[n] > least[n], widths[n]))] -= 1
    return widths


def _is_never_cut(texts: Sequence[str]) -> bool:
    """Whether a column holds nothing but numbers, or an id, and leaves half of the terminal to the others."""
    is_short = max(map(cell_len, texts), default=0) <= width() // 2
    return is_short and (all(map(_NUMBER.fullmatch, texts)) or any(map(_ID.search, texts)))


def _distinct_heads(head: Sequence[str], widths: Mapping[int, int]) -> dict[int, str]:
    """The heads as wide as their columns; those that became equal lose what they have in common."""
    cut = {n: _cut(head[n], room) for n, room in widths.items()}
    alike = [n for n in cut if [*cut.values()].count(cut[n]) > 1]
    return cut | dict(
        zip(alike, _distinct([head[n] for n in alike], min(map(widths.__getitem__, alike), default=0)), strict=True)
    )


def _distinct(texts: Sequence[str], room: int) -> list[str]:
    """The texts without their middle. Where some became equal, what all have in common is left out first: of models of one
    family only the middle of the names differs."""
    return distinct_short_names(texts, lambda text: _cut(text, room))


def _cut(text: str, room: int) -> str:
    length = len(text)
    while cell_len(cut := shortened_name(text, length)) > room:
        length -= 1
    return cut


def diff_lines(ids: Sequence[str], sentence: str, results: Sequence[Line], differing: Sequence[Line]) -> list[str]:
    """Two runs: whether they may be compared, the results, and every field that differs, one value above the other."""
    one, other = (run_id[:SHORT_ID] for run_id in ids)
    lines = [sentence, "", _("Run {one} above run {other}:", one=one, other=other)]
    for section, of_section in groupby([*results, *differing], key=lambda line: line.section):
        lines += ["", section] if section else []
        for line in of_section:
            lines += [f"  {line.label}", *_indented(f"{line.one}\n{line.other}".split("\n"), 4)]
    return [*lines, "", _("Not listed: fields that agree, and run ids, times and memory.")]


# --- layer plans -----------------------------------------------------------------------------------------------------


def plan_answer_lines(layer_plan: LayerPlan) -> list[str]:
    """What a plan says and which blocks that is about; then of its own set, which is named where that is another, what limits
    it and what it saves.
    """
    plan = layer_plan.plan
    details = (plan_wording.own_set_text, plan_wording.healing_text, plan_wording.task_text)
    of_own_set = [*filter(None, (told(layer_plan) for told in details)), *_indented(plan_wording.note_lines(plan))]
    savings = [*plan_wording.saving_lines(plan), *plan_wording.alternative_lines(layer_plan)]
    lines = [plan_wording.plan_text(layer_plan), _blocks_line(layer_plan)]
    for part in (plan_wording.budget_lines(layer_plan), of_own_set, savings):
        lines += ["", *part] if part else []
    if plan.saved_as:
        saved = _("Saved: {folder}; reopened, its loss is the verified one.", folder=plan.saved_as)
        lines += ["", saved, _("`workdim measure {folder}` measures the smaller model.", folder=plan.saved_as)]
    return lines


def made_plan_lines(layer_plan: LayerPlan) -> list[str]:
    """A plan that was just made: its answer, and where the numbers behind it are."""
    return [
        *plan_answer_lines(layer_plan),
        "",
        _("`workdim plan --show {id}` shows the rest.", id=layer_plan.plan.plan_id[:SHORT_ID]),
    ]


def plan_lines(layer_plan: LayerPlan) -> list[str]:
    """A plan with all that was measured for it."""
    plan = layer_plan.plan
    path, harder = plan_analysis.search_path(layer_plan), plan_analysis.harder_text_prices(layer_plan)
    priced: dict[str, Callable[[PlanOutcomeRow], Any]] = {
        _("Gone"): lambda row: len(row.blocks),
        _("Blocks"): plan_wording.blocks_cell,
        _("Repaired"): lambda row: yes_or_no(row.is_healed),
        _("Nats per token [95 %]"): plan_wording.outcome_price_text,
    }
    directions = _indented(plan_wording.direction_lines(layer_plan))
    parts = {
        _("Candidates"): table_of(plan_analysis.rivals(layer_plan), plan_wording.rival_columns()),
        _("By number of blocks"): table_of(path, priced) if path else [],
        _("Other texts and probes"): table_of(harder, plan_wording.harder_columns(), (_("N"),)) if harder else [],
        "": [*plan_wording.published_lines(layer_plan), *plan_wording.control_lines(plan)],
        _("Directions that suffice (principal components; an upper bound)"): directions,
    }
    lines = plan_answer_lines(layer_plan)
    for title, told in parts.items():
        lines += ["", *filter(None, [title]), *told] if told else []
    lines += ["", *plan_wording.student_lines(layer_plan)] if directions else []
    return [*lines, "", _("Plan {id}", id=plan.plan_id)]


def _indented(lines: Sequence[str], by: int = 2) -> list[str]:
    return [f"{' ' * by}{line}" for line in lines]


def _blocks_line(layer_plan: LayerPlan) -> str:
    """The blocks that the answer is about, counted from 0."""
    found = plan_analysis.within_own_budget(layer_plan)
    return _(
        "{told}: blocks {blocks} (of 0 to {last})",
        told=plan_wording.removed_name(layer_plan.plan, plan_analysis.is_recommended(layer_plan)),
        blocks=plan_wording.blocks_cell(found.price or found.cheapest),
        last=layer_plan.plan.n_layers - 1,
    )


def plans_table(plan_rows: pl.DataFrame) -> list[str]:
    """All plans, newest first."""
    rows = [
        (
            row.plan_id[:SHORT_ID],
            row.name,
            plan_wording.blocks_cell(row),
            plan_wording.price_text(row.loss_increase, row.lower, row.upper),
            _("recommended") if row.is_recommended else _("verified") if row.is_verified else _("not verified"),
            f"{row.created_at:%Y-%m-%d %H:%M}",
        )
        for row in records(plan_rows, PlanRow)
    ]
    head = heads("plan", "model", "block numbers", "nats per token [95 %]", "state", "made (UTC)")
    return table(head, rows, ("made (UTC)", "block numbers"))


def plan_record(answer: PlanAnswer) -> dict[str, Any]:
    """A plan for scripts: the answer in words, the plan, and which block of the whole model each of the smaller one is."""
    layer_plan = answer.layer_plan
    said = {
        "answer": in_language("en", plan_wording.plan_text, layer_plan),
        "remarks": in_language("en", plan_wording.note_lines, layer_plan.plan),
    }
    return said | as_record(answer, RECORD)


# --- the answer to a question about dimension and score ---------------------------------------------------------------

MOST_GROUPS = 2


def ranking_lines(answer: Answer) -> list[str]:
    lines = [answer_wording.answer_text(answer), ""]
    lines += answer_wording.note_lines(answer)
    if details := answer_wording.detail_lines(answer):
        lines += ["", *details]
    if (under := answer.specifications) is not None:
        lines += ["", answer_wording.specifications_text(under)]
        lines += [f"  {line}" for line in answer_wording.specification_lines(under)]
        lines += filter(None, [answer_wording.search_text(under)])
    if answer.models:
        lines += ["", *model_table(answer), "", _how_to_read(answer)]
    if others := answer.population.others:
        lines += ["", _("Not comparable with these:")]
        for other in others[:MOST_GROUPS]:
            line = _(
                "{group} ({models}): {why}",
                group=run_wording.group_name(other.group),
                models=run_wording.group_models_text(other.group),
                why=run_wording.group_advice_text(other),
            )
            lines.append(f"  {line}")
        if (n := len(others) - MOST_GROUPS) > 0:
            lines.append("  " + _("{n} more; --json lists all.", n=n))
    return lines


def model_table(answer: Answer) -> list[str]:
    """One line for each model."""
    head = [*heads("rank", "model"), answer_wording.dimension_name(answer.population.asked.dimension)]
    has_scores = any(model.score is not None for model in answer.models)
    if has_scores:
        head += heads("score", "rank by score")
    return table(head, [_row(model, has_scores) for model in answer.models])


def _row(model: RankedModel, has_scores: bool) -> list[str]:
    row = [
        rank_range(model.rank_low, model.rank_high),
        marked_name(model.name, model.is_vetoed),
        wording.with_interval(model.dimension, model.lower, model.upper),
    ]
    if has_scores:
        base = _(" (base model)") if model.match == "base" else ""
        score = wording.with_error(model.score, model.score_std_error)
        row += [f"{score}{base}", rank_range(model.score_rank_low, model.score_rank_high)]
    return row


def rank_range(low: int | None, high: int | None) -> str:
    """`2-5`, `3`, or a dash."""
    if low is None or high is None:
        return "-"
    return str(low) if low == high else f"{low}-{high}"


def _how_to_read(answer: Answer) -> str:
    veto = wording.veto_mark_text() if any(model.is_vetoed for model in answer.models) else ""
    reading = _(
        "Ranks: 1 = largest dimension, best score; 95 % intervals for all models at once. No order by dimension is better."
    )
    return wording.joined_sentences([reading, veto, *rank_lines(answer)])


def published_lines() -> list[str]:
    """Published claims, to be held against our own answer."""
    lines = [_("Published, as told there or second hand:")]
    for claim in CLAIMS:
        parts = {key: translated(getattr(claim, key)) for key in ("n", "said", "confound")}
        parts |= {"source": claim.source, "direction": answer_wording.direction_name(claim)}
        lines.append("  " + _("{source} (n: {n}; {direction}): {said} Besides: {confound}", **parts))
    return lines
