"""The wording of scores, ranks and paired comparisons: whose score it is, by which metric, what a difference means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from core.analysis.differences import PairedComparison
from core.locale import N_, _, translated, worded
from core.pilots.pilot import Benchmark
from core.pilots.saved import TaskName
from core.registry.names import NOT_STATED, keys
from core.scores.score_rows import ParsedScore, Remark, ScoreFile
from core.sources import Text, counted, derived, shown, stated
from core.tables import SCORED_SOURCE, ScoredRun
from core.wording.labels import detailed, grouped, joined_sentences, listed, name, number, said_of, with_interval

if TYPE_CHECKING:
    from core.questions.ranking_answer import Answer

UNITS = keys("unit")


def stated_text(text: str | None) -> str:
    """A detail of a score as its source gives it; only our own word `not stated` is translated."""
    return _("not stated") if text is None or text == NOT_STATED else text


def metric_name(metric: str) -> str:
    """A metric in words where it is one of ours, else as its source calls it."""
    return name("metric", stated_text(metric))


def unit_name(unit: str) -> str:
    """A unit in words where it is one of ours; many metrics are their own unit."""
    key = unit.replace(" ", "_")
    return name("unit", key) if key in UNITS else metric_name(unit)


FLAGS = N_(
    {
        "prompts_cut_at_their_left": "Prompts cut at the start: {n}.",
        "questions_left_out": "Left out as unreadable: {n}. The score is of a partial run.",
        "with_unknown_tokens": "With unknown characters, so likelier than they are: {n}.",
    }
)


def score_flag_lines(flags: str | None) -> list[str]:
    """The cautions of a score, one sentence each. `flags` are `code` or `code:count`; unknown codes are shown as they are."""
    lines = []
    for flag in filter(None, (flags or "").split(";")):
        code, _colon, n = flag.partition(":")
        lines.append(translated(FLAGS[code]).format(n=n) if code in FLAGS else flag.replace("_", " "))
    return lines


def is_made_here(row: ScoredRun) -> bool:
    """Whether Workdim computed this score of `ranking.with_scores`, as opposed to an own or a published one."""
    return (row.score_source or "").startswith(SCORED_SOURCE)


def score_note_lines(row: ScoredRun) -> list[str]:
    """What limits a score of `ranking.with_scores`, other than whose it is: its unit, a partial run, sources that disagree,
    settings that differ from the run's.
    """
    lines = [] if row.unit == "percent" else [_("unit: {unit}", unit=unit_name(row.unit))]
    if row.score_is_partial:
        lines.append(
            _("partial run")
            if row.score_n_samples is None
            else _("partial run, {n} questions", n=shown(row.score_n_samples, ","))
        )
    if row.score_sources > 1:
        lowest, highest = number(row.score_lowest), number(row.score_highest)
        line = _("{lowest} to {highest} in {n} sources") if lowest != highest else _("the same in {n} sources")
        lines.append(line.format(lowest=lowest, highest=highest, n=row.score_sources))
    if row.score_variants > 1 or (row.score_dtype or row.dtype) != row.dtype:
        lines.append(score_settings_text(row.score_dtype, row.score_chat_template))
    return lines


def score_settings_text(dtype: str | None, chat_template: bool | None) -> str:
    """The settings under which a model was scored: `bfloat16, chat template`; a missing dtype is `not stated`."""
    templates = {None: None, True: _("chat template"), False: _("no chat template")}
    return listed(part for part in (stated_text(dtype), templates[chat_template]) if part)


def benchmark_name(benchmark: str, metric: str | None, n_shot: int | None, filter: str | None = None) -> str:
    """A benchmark with its settings: `gsm8k (exact_match, strict-match, 5-shot)`. With other settings it is another score."""
    details = [metric_name(metric)] if metric not in (None, NOT_STATED) else []
    if filter and filter not in ("none", NOT_STATED):
        details.append(filter)
    if n_shot is not None:
        details.append(_("{n}-shot", n=derived(n_shot, "scores", "n_shot")))
    return detailed(benchmark, details)


def row_benchmark_name(of: Mapping[str, Any] | TaskName | Benchmark) -> str:
    """The benchmark of a row of scores, of a rule or of a pilot, as `benchmark_name` writes it."""
    if isinstance(of, Mapping):
        return benchmark_name(of["benchmark"], of["metric"], of["n_shot"], of["filter"])
    return benchmark_name(of.name, of.metric, of.n_shot, of.filter)


def registered_benchmark_text(benchmark: Benchmark) -> str:
    """The benchmark of a pilot: `lambada_openai (acc, 0-shot); a higher score is the better one`."""
    direction = (
        _("a higher score is the better one") if benchmark.higher_is_better else _("a lower score is the better one")
    )
    return _("; ").join([row_benchmark_name(benchmark), direction])


def comparison_outcome_text(comparison: PairedComparison) -> str:
    """`first is higher`, `second is higher` or `not told apart`."""
    if not comparison.is_told_apart:
        return _("not told apart")
    return _("first is higher") if comparison.difference > 0 else _("second is higher")


def comparison_lines(name: str, model_a: str, model_b: str, comparison: PairedComparison) -> list[str]:
    """Two models on one benchmark: the difference, what it is computed from, and whether it exceeds chance."""
    means = _("{benchmark}: {a} {mean_a}, {b} {mean_b}; difference {difference} over {n} questions.").format(
        benchmark=name,
        a=model_a,
        b=model_b,
        mean_a=number(comparison.mean_a),
        mean_b=number(comparison.mean_b),
        difference=with_interval(comparison.difference, comparison.lower, comparison.upper),
        n=shown(comparison.n_common, ","),
    )
    lines = (means, _left_out_text(comparison), _mcnemar_text(comparison), _judgement_text(comparison))
    return [line for line in lines if line]


def multiple_comparisons_text(n: int) -> str:
    """A caution about `n` comparisons made at once."""
    return _("Comparisons: {n}. Between equal models, about one in twenty differs by chance.", n=n)


def newest_file_text(benchmarks: Sequence[str]) -> str:
    """Which file counts for benchmarks whose answers came in several files."""
    return _("Of several files with answers, the last imported counts: {names}.", names=benchmarks)


def p_number_text(p: float | None) -> str:
    """The number of a p-value, for a table: `0.36`, `< 0.0001`."""
    if p is None:
        return "–"
    return shown(p, ".2g") if p >= 1e-4 else Text("< {}").format(stated(0.0001, "SMALLEST_P_IN_A_TABLE"))


def p_value_text(p: float | None) -> str:
    """A p-value within a sentence: `p = 0.36`, `p < 0.001`. Permutations cannot resolve smaller values."""
    value = Text("< {}").format(stated(0.001, "SMALLEST_P")) if p is not None and p < 1e-3 else p_number_text(p)
    return (Text("p {}") if value.startswith("<") else Text("p = {}")).format(value)


def _left_out_text(comparison: PairedComparison) -> str:
    sentences = []
    if comparison.n_only_a or comparison.n_only_b:
        counts = {"a": shown(comparison.n_only_a, ","), "b": shown(comparison.n_only_b, ",")}
        sentences.append(_("Left out, answered by one model only: {a} of the first, {b} of the second.", **counts))
    if comparison.n_groups < comparison.n_common:
        sentences.append(_("Questions on one passage count as one: {n} units.", n=shown(comparison.n_groups, ",")))
    if comparison.n_repeated:
        sentences.append(
            _("Answered repeatedly, counted once by their mean: {n}.", n=shown(comparison.n_repeated, ","))
        )
    return joined_sentences(sentences)


def _mcnemar_text(comparison: PairedComparison) -> str:
    if comparison.p_value is None:
        return ""
    counts = {"a": shown(comparison.only_a_right, ","), "b": shown(comparison.only_b_right, ",")}
    p = p_value_text(comparison.p_value)
    return _("Only the first is right: {a}; only the second: {b}; McNemar: {p}.", p=p, **counts)


def _judgement_text(comparison: PairedComparison) -> str:
    if comparison.is_told_apart:
        return _("The difference exceeds chance (95 %).")
    if comparison.detectable is not None and comparison.p_value is not None and comparison.detectable >= 1:
        return _("They cannot be told apart: too few questions to show any difference.")
    if comparison.detectable is None:
        return _("They cannot be told apart on these questions.")
    line = _("They cannot be told apart: with 80 % probability we would detect a true difference of {least}.")
    return line.format(least=number(comparison.detectable))


def rank_lines(answer: Answer) -> list[str]:
    """Which models stand in one class with the best by score, and from which difference on two models show as different."""
    lines, ranked = [], answer.ranked
    best = next((model.name for model in answer.models if model.run_id in ranked.like_best[:1]), None)
    if not ranked.has_score_errors:
        lines.append(_("The scores state no errors: which models differ cannot be told."))
    elif best is not None and len(ranked.like_best) > 1:
        lines.append(
            _(
                "{n} model may be as good as the best by score, {name}.",
                "{n} models may be as good as the best by score, {name}.",
                n=counted(len(ranked.like_best) - 1, "answer"),
                name=best,
            )
        )
    detected = []
    if (ratio := ranked.detectable_ratio) is not None:
        detected.append(_("a ratio of dimensions of {ratio}", ratio=shown(ratio, ".2f")))
    if (points := ranked.detectable_score) is not None:
        detected.append(_("a difference of scores of {points}", points=number(points)))
    if detected:
        lines.append(_("Detectable between any two models: {told}.", told=detected))
    return lines


# --- imported files: why a value was left out, or how it was changed ---------------------------------------------

REMARKS = N_(
    {
        "name_missing": "Skipped: no name ({detail})",
        "name_is_no_text": "Skipped: name is no text ({detail})",
        "name_too_long": "Skipped: name above 300 characters ({detail})",
        "name_with_control_characters": "Skipped: control characters in name ({detail})",
        "no_value": "Skipped: no value",
        "not_a_number": "Skipped: not a number ({detail})",
        "not_finite": "Skipped: not a finite number ({detail})",
        "not_readable": "Skipped: unreadable comparability ({detail})",
        "not_a_task": "Skipped: no scores stand here ({detail})",
        "value_twice": "Skipped: two values under one key",
        "no_metric_was_computed": "Skipped: answers without scores",
        "std_error_alone": "Skipped: standard error without value ({detail})",
        "ragged": "Skipped: cells in line / header: {detail}",
        "repeated": "Skipped: same value as at {detail}",
        "differs_from": "Another value at {detail}; both kept",
        "renamed": "Named {detail} in the file",
        "local_path": "Local path: name the model meant ({detail})",
        "no_revision": "Revision not stated",
        "no_filter": "Filter not stated",
        "no_unit": "Unit not stated",
        "no_std_error": "No standard error ({detail})",
        "unit_by_metric": "Unit taken from the metric's name and values ({detail})",
        "direction_by_metric": "Direction taken from the metric's name ({detail})",
        "to_percent": "Converted from 0-1 to percent",
        "decimal_comma": "Decimal comma read ({detail})",
        "beyond_fraction": "Not between 0 and 1: unit kept ({detail})",
        "outside_percent": "Outside 0 to 100 percent ({detail})",
        "outside_fraction": "Outside 0 to 1 ({detail})",
        "left_out": "Left empty, not readable: {detail}",
        "encoding": "Read as {detail} text",
        "separator": "Cells parted by: {detail}",
        "column_ignored": "Column not taken: {detail}",
        "key_twice": "Two values of one key: {detail}",
        "samples_inside": "Single answers in results not taken",
        "availability_inverted": "Availability column read as the contrary of its name",
        "model_from_file_name": "Model named after file or folder: {detail}",
        "filters_not_named": "Unnamed filters kept apart by order",
        "metric_not_per_question": "Not scored question by question: {detail}",
    }
)
"""What is said of a value that was skipped or changed, and of a file."""


def remark_text(remark: Remark) -> str:
    """A remark in one sentence, with the name or value from the file. It is plain text: a page must escape it."""
    return translated(REMARKS[remark.code]).format(detail=worded(remark.detail))


FORMATS = N_(
    {
        "lm_eval": "lm-evaluation-harness results",
        "lm_eval_v03": "lm-evaluation-harness results (v0.3)",
        "lm_eval_samples": "lm-evaluation-harness single answers",
        "answers_table": "Single answers, table",
        "leaderboard_v2_csv": "Open LLM Leaderboard v2, CSV",
        "leaderboard_v2_json": "Open LLM Leaderboard v2, JSON",
        "csv": "CSV table",
        "hub_eval_results": "Evaluation results of a model repository (.eval_results)",
        "scored_here": "Scored here on your own task",
    }
)
KINDS = N_(
    {
        "taken": "taken",
        "mapped": "taken, with a note",
        "duplicate": "taken, is there already",
        "conflict": "taken, contradicts what is there",
        "skipped": "skipped",
    }
)
"""What becomes of a value."""
KNOWN_BY = N_(
    {"reference": "by reference", "repository": "by repository", "id": "by id", "name": "by name", "alias": "by alias"}
)
EXAMPLES = 3


def format_name(format: str) -> str:
    """The usual name of a score file's format."""
    return translated(FORMATS[format])


def kind_name(kind: str) -> str:
    """What becomes of a value, one of KINDS, in words."""
    return translated(KINDS[kind])


def row_remarks_text(row: ParsedScore) -> str:
    """Why a value is skipped, or how it was changed; empty if it is taken unchanged."""
    remarks = [row.skipped] if row.skipped else row.remarks
    return _("; ").join(remark_text(remark) for remark in remarks)


def known_score_text(known: str | None, sources: str | None, value: float | None) -> str:
    """What the warehouse, or another row of the file, already has for the same score."""
    if known is None:
        return ""
    if known == "duplicate":
        return _("the same from {source}", source=sources)
    return _("{value} from {source}", value=number(value), source=sources)


def remark_lines(rows: Sequence[ParsedScore], *, skipped: bool) -> list[str]:
    """Why values were skipped, or how the others were changed: `2 × Skipped: no value (for example line 4; line 7)`.

    Each reason once, the most frequent first.
    """
    of_rows = [(row.at, [row.skipped] if row.skipped else row.remarks) for row in rows if bool(row.skipped) == skipped]
    by_code = grouped((remark.code, (remark, at)) for at, remarks in of_rows for remark in remarks)
    lines = []
    for _code, remarks in sorted(by_code.items(), key=lambda one: (-len(one[1]), one[0])):
        first = remarks[0][0]
        if len({remark.detail for remark, _at in remarks}) > 1:  # one line stands for all, worded as the first
            first = replace(first, detail=f"{first.detail}, …")
        places = _("; ").join(worded(at) for _remark, at in remarks[:EXAMPLES])
        told = {"words": remark_text(first), "places": places}
        lines.append(_("{n:,} × {words} (for example {places})", n=len(remarks), **told))
    return lines


def measured_text(names: pl.DataFrame) -> str:
    """How many of the models that a preview names are measured here, and by what they are known: `3 of 4 (by name: 2, ...)`."""
    known = names.filter("is_measured")
    counts = dict(known["matched_by"].value_counts(sort=True).rows())
    parts = [said_of(translated(by), shown(counts[key], ",")) for key, by in KNOWN_BY.items() if key in counts]
    text = _("{n} of {total}", n=shown(known.height, ","), total=shown(names.height, ","))
    return detailed(text, parts)


def file_remark_lines(file: ScoreFile) -> list[str]:
    """What is to say of the file as a whole."""
    return [remark_text(remark) for remark in file.remarks]
