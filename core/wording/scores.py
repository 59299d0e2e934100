"""The wording of scores, ranks and paired comparisons: whose score it is, by which metric, what a difference means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.analysis.differences import PairedComparison
from core.locale import _
from core.pilots.pilot import Benchmark
from core.registry.names import NOT_STATED, keys
from core.sources import Text, counted, derived, shown, stated
from core.tables import SCORED_SOURCE, ScoredRun
from core.wording.labels import name
from core.wording.numbers import number, with_interval

if TYPE_CHECKING:  # every screen loads this file, few need the analysis
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


def score_flag_lines(flags: str | None) -> list[str]:
    """The cautions of a score, one sentence each. `flags` are `code` or `code:count`; unknown codes are shown as they are."""
    templates = {
        "prompts_cut_at_their_left": _("Prompts cut at the start: {n}."),
        "questions_left_out": _("Left out as unreadable: {n}. The score is of a partial run."),
        "with_unknown_tokens": _("With unknown characters, so likelier than they are: {n}."),
    }
    lines = []
    for flag in filter(None, (flags or "").split(";")):
        code, _colon, n = flag.partition(":")
        lines.append(templates[code].format(n=n) if code in templates else flag.replace("_", " "))
    return lines


def is_made_here(row: ScoredRun) -> bool:
    """Whether Workdim computed this score of `ranking.with_scores`, as opposed to an own or a published one."""
    return (row.score_source or "").startswith(SCORED_SOURCE)


def with_error(row: ScoredRun) -> str:
    """A score of `ranking.with_scores` with its standard error where there is one."""
    score, error = number(row.score), row.score_std_error
    return score if error is None else Text("{} ± {:.2g}").format(score, error)


def score_note_lines(row: ScoredRun) -> list[str]:
    """What limits a score of `ranking.with_scores`, other than whose it is: its unit, a partial run, sources that disagree,
    settings that differ from the run's.
    """
    lines = [] if row.unit == "percent" else [_("unit: {unit}").format(unit=unit_name(row.unit))]
    if row.score_is_partial:
        lines.append(
            _("partial run")
            if row.score_n_samples is None
            else _("partial run, {n} questions").format(n=shown(row.score_n_samples, ","))
        )
    lowest, highest = number(row.score_lowest), number(row.score_highest)
    if lowest != highest:
        lines.append(
            _("{lowest} to {highest} in {n} sources").format(lowest=lowest, highest=highest, n=row.score_sources)
        )
    elif row.score_sources > 1:
        lines.append(_("the same in {n} sources").format(n=row.score_sources))
    if row.score_variants > 1 or (row.score_dtype or row.dtype) != row.dtype:
        lines.append(score_settings_text(row.score_dtype, row.score_chat_template))
    return lines


def score_settings_text(dtype: str | None, chat_template: bool | None) -> str:
    """The settings under which a model was scored: `bfloat16, chat template`; a missing dtype is `not stated`."""
    templates = {None: None, True: _("chat template"), False: _("no chat template")}
    return _(", ").join(part for part in (stated_text(dtype), templates[chat_template]) if part)


def benchmark_name(benchmark: str, metric: str | None, n_shot: int | None, filter: str | None = None) -> str:
    """A benchmark with its settings: `gsm8k (exact_match, strict-match, 5-shot)`. With other settings it is another score."""
    details = [metric_name(metric)] if metric not in (None, NOT_STATED) else []
    if filter and filter not in ("none", NOT_STATED):
        details.append(filter)
    if n_shot is not None:
        details.append(_("{n}-shot").format(n=derived(n_shot, "scores", "n_shot")))
    template = _("{quantity} ({details})")
    return template.format(quantity=benchmark, details=_(", ").join(details)) if details else benchmark


def row_benchmark_name(row: Mapping[str, Any]) -> str:
    """The benchmark of a row of scores, as `benchmark_name` writes it."""
    return benchmark_name(row["benchmark"], row["metric"], row["n_shot"], row["filter"])


def plain_benchmark_name(row: Mapping[str, Any]) -> str:
    """Without metric, shots and filter, for a slide."""
    return row["benchmark"]


def registered_benchmark_text(benchmark: Benchmark) -> str:
    """The benchmark of a pilot: `lambada_openai (acc, 0-shot); a higher score is the better one`."""
    name = benchmark_name(benchmark.name, benchmark.metric, benchmark.n_shot, benchmark.filter)
    direction = (
        _("a higher score is the better one") if benchmark.higher_is_better else _("a lower score is the better one")
    )
    return _("; ").join([name, direction])


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
    line = _("Comparisons: {n}. Between equal models, about one in twenty differs by chance.")
    return line.format(n=n)


def newest_file_text(benchmarks: Sequence[str]) -> str:
    """Which file counts for benchmarks whose answers came in several files."""
    line = _("Of several files with answers, the last imported counts: {names}.")
    return line.format(names=_(", ").join(benchmarks))


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
        line = _("Left out, answered by one model only: {a} of the first, {b} of the second.")
        sentences.append(line.format(a=shown(comparison.n_only_a, ","), b=shown(comparison.n_only_b, ",")))
    if comparison.n_groups < comparison.n_common:
        line = _("Questions on one passage count as one: {n} units.")
        sentences.append(line.format(n=shown(comparison.n_groups, ",")))
    if comparison.n_repeated:
        sentences.append(
            _("Answered repeatedly, counted once by their mean: {n}.").format(n=shown(comparison.n_repeated, ","))
        )
    return " ".join(sentences)


def _mcnemar_text(comparison: PairedComparison) -> str:
    if comparison.p_value is None:
        return ""
    line = _("Only the first is right: {a}; only the second: {b}; McNemar: {p}.")
    return line.format(
        a=shown(comparison.only_a_right, ","), b=shown(comparison.only_b_right, ","), p=p_value_text(comparison.p_value)
    )


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
        detected.append(_("a ratio of dimensions of {ratio}").format(ratio=shown(ratio, ".2f")))
    if (points := ranked.detectable_score) is not None:
        detected.append(_("a difference of scores of {points}").format(points=number(points)))
    if detected:
        lines.append(_("Detectable between any two models: {told}.").format(told=_(", ").join(detected)))
    return lines
