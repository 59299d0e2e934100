"""The answer in the terminal: its sentence, its notes, and a table of the models."""

from __future__ import annotations

from core import wording
from core.locale import _, translated
from core.questions.ranking_answer import Answer, RankedModel
from core.registry.published import CLAIMS
from core.terminal.output import heads
from core.terminal.tables import table
from core.wording import answers as answer_wording
from core.wording import runs as run_wording
from core.wording.labels import marked_name
from core.wording.scores import rank_lines

MOST_GROUPS = 2


def answer_lines(answer: Answer) -> list[str]:
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
        shown = others[:MOST_GROUPS]
        first, *ways = (run_wording.ways_out(other.differing_keys) for other in shown)
        of_all = [way for way in first if all(way in one for one in ways)]
        for other in shown:
            line = _("{group} ({models}): {why}").format(
                group=run_wording.group_name(other.group),
                models=run_wording.group_models_text(other.group),
                why=run_wording.group_advice_text(other, of_all),
            )
            lines.append(f"  {line}")
        if (n := len(others) - MOST_GROUPS) > 0:
            more = _("more groups: {n}; --json lists all.")
            lines.append(f"  {more.format(n=n)}")
        lines += of_all
    return lines


def model_table(answer: Answer) -> list[str]:
    """One line for each model."""
    head = [*heads("rank", "model"), answer_wording.dimension_name(answer.population.asked.dimension)]
    has_scores = any(model.score is not None for model in answer.models)
    if has_scores:
        has_errors = answer.ranked.has_score_errors
        head += heads("score", "rank by score") if has_errors else heads("score", "rank by score (no error known)")
    return table(head, [_row(model, has_scores) for model in answer.models])


def _row(model: RankedModel, has_scores: bool) -> list[str]:
    row = [
        rank_range(model.rank_low, model.rank_high),
        marked_name(model.name, model.is_vetoed),
        wording.with_interval(model.dimension, model.lower, model.upper),
    ]
    if has_scores:
        error = "" if model.score_std_error is None else f" ± {model.score_std_error:.2g}"
        base = _(" (base model)") if model.match == "base" else ""
        row += [f"{wording.number(model.score)}{error}{base}", rank_range(model.score_rank_low, model.score_rank_high)]
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
        line = _("{source} (n: {n}; {direction}): {said} Besides: {confound}")
        if claim.direction == "other":
            line = _("{source} (n: {n}): {said} Besides: {confound}")
        parts = {key: translated(getattr(claim, key)) for key in ("n", "said", "confound")}
        line = line.format(source=claim.source, direction=answer_wording.direction_name(claim), **parts)
        lines.append(f"  {line}")
    return lines
