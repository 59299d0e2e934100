"""The answer in the terminal: its sentence, its notes, and a table that fits the width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from core import wording
from core.errors import Sentence
from core.locale import _, translated, worded
from core.questions.ranking_answer import Answer, RankedModel
from core.registry.published import CLAIMS
from core.terminal.output import heads, wrap
from core.terminal.tables import table
from core.wording import answers as answer_wording
from core.wording import provenance
from core.wording.labels import distinct_short_names, marked_name, shortened_name
from core.wording.scores import rank_lines

MOST_GROUPS = 4
SHORTEST_NAME = 14
"""Columns: names are never cut shorter, however narrow the terminal is."""


def answer_lines(answer: Answer, width: int) -> list[str]:
    lines = [*_wrap_all([answer_wording.answer_text(answer)], width), ""]
    lines += _wrap_all(answer_wording.note_lines(answer), width)
    if details := answer_wording.detail_lines(answer):
        lines += ["", *_wrap_all(details, width)]
    if (under := answer.specifications) is not None:
        lines += ["", *_wrap_all([answer_wording.specifications_text(under)], width)]
        for line in answer_wording.specification_lines(under):
            lines += _indented(line, width)
        lines += _wrap_all([answer_wording.search_text(under)], width)
    if answer.models:
        lines += ["", *model_table(answer, width), "", *_wrap_all([_how_to_read(answer)], width)]
    if others := answer.population.others:
        lines += ["", _("Not comparable with these:")]
        for other in others[:MOST_GROUPS]:
            line = _("{group} ({models}): {why}").format(
                group=provenance.group_name(other.group),
                models=provenance.group_models_text(other.group),
                why=provenance.group_difference_text(other),
            )
            lines += _indented(line, width)
        if (n := len(others) - MOST_GROUPS) > 0:
            more = Sentence("and {n} more group; --json lists all.", "and {n} more groups; --json lists all.", n=n)
            lines.append("  " + worded(more))
    return lines


def model_table(answer: Answer, width: int) -> list[str]:
    """One line for each model. In a narrow terminal names are shortened, numbers never."""
    head = [*heads("rank", "model"), answer_wording.dimension_name(answer.population.asked.dimension)]
    has_scores = any(model.score is not None for model in answer.models)
    if has_scores:
        has_errors = answer.ranked.has_score_errors
        head += heads("score", "rank by score") if has_errors else heads("score", "rank by score (no error known)")
    rows = [_row(model, has_scores) for model in answer.models]
    fixed_width = sum(
        max(cell_len(worded(row[column])) for row in [head, *rows]) + 2 for column in range(len(head)) if column != 1
    )
    room = max(SHORTEST_NAME, width - fixed_width)
    names = distinct_short_names([row[1] for row in rows], lambda name: shortened_name(name, room))
    return table(head, [[row[0], name, *row[2:]] for row, name in zip(rows, names, strict=True)])


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
        "Sorted by dimension, largest first; rank 1 of a score is the best. Intervals: 95 %, of ranks for all models at once. No order by dimension is better."
    )
    return wording.joined_sentences([reading, veto, *rank_lines(answer)])


def published_lines(answer: Answer, width: int) -> list[str]:
    """Published claims, with our own answer as one more entry."""
    lines = [_("Published, as told there or second hand:")]
    for claim in CLAIMS:
        line = _("{source} (n: {n}): {said} Direction: {direction}. Besides: {confound}")
        parts = {key: translated(getattr(claim, key)) for key in ("n", "said", "confound")}
        line = line.format(source=claim.source, direction=answer_wording.direction_name(claim), **parts)
        lines += _indented(line, width)
    numbers = answer_wording.relation_text(answer.relation)
    own = _("Here: {answer}, {numbers}.").format(answer=answer_wording.answer_word(answer), numbers=numbers)
    return [*lines, *_indented(own, width)]


def _wrap_all(paragraphs: Sequence[str], width: int) -> list[str]:
    return [line for paragraph in paragraphs for line in wrap(paragraph, max(40, width))]


def _indented(line: str, width: int) -> list[str]:
    return wrap(line, max(40, width), "    ", "  ")
