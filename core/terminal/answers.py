"""The answer in the terminal: its sentence, its notes, and a table that fits the width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from core import wording
from core.analysis.answer import Answer, RankedModel
from core.analysis.relation import SpecificationCurve
from core.errors import Sentence
from core.locale import translator
from core.registry.published import CLAIMS
from core.terminal.output import _, heads, language, translated, wrap
from core.terminal.tables import table
from core.wording import answers
from core.wording.labels import marked_name, shortened_name

MOST_GROUPS = 4
SHORTEST_NAME = 14
"""Columns: names are never cut shorter, however narrow the terminal is."""


def answer_lines(found: Answer, width: int, under: SpecificationCurve | None = None) -> list[str]:
    told = _wrap_all([answers.answer_text(found, language())], width)
    told += ["", *_wrap_all(answers.note_lines(found, language()), width)]
    if details := answers.detail_lines(found, language()):
        told += ["", *_wrap_all(details, width)]
    if under is not None:
        told += ["", *_wrap_all([answers.specifications_text(under, found, language())], width)]
        told += [f"  {key}: {one.answer} {answers.coefficient_text(one.rho)}" for key, one in under.relations.items()]
    if found.models:
        told += ["", *model_table(found, width), ""]
        told += _wrap_all([_how_to_read(found)], width)
    others = found.population.others
    if others:
        told += ["", _("Not comparable with these:")]
        for one in others[:MOST_GROUPS]:
            line = _("{group} ({models}): {why}").format(
                group=answers.group_name(one.group, language()),
                models=answers.group_models_text(one.group, language()),
                why=answers.group_difference_text(one, language()),
            )
            told += _indented(line, width)
        if len(others) > MOST_GROUPS:
            more = Sentence(
                "and {n} more group; --json lists all.",
                "and {n} more groups; --json lists all.",
                n=len(others) - MOST_GROUPS,
            )
            told.append("  " + translated(more))
    return told


def model_table(found: Answer, width: int) -> list[str]:
    """One line for each model. In a narrow terminal names are shortened, numbers never."""
    dimension = answers.dimension_name(found.population.asked.dimension, language())
    head = [*heads("rank", "model"), dimension]
    has_scores = any(one.score is not None for one in found.models)
    head += heads("score", "rank by score") if has_scores else []
    rows = [_row(one, has_scores) for one in found.models]
    taken = sum(max(cell_len(translated(row[at])) for row in [head, *rows]) + 2 for at in range(len(head)) if at != 1)
    room = max(SHORTEST_NAME, width - taken)
    return table(
        head, [[shortened_name(cell, room) if at == 1 else cell for at, cell in enumerate(row)] for row in rows]
    )


def _row(one: RankedModel, has_scores: bool) -> list[str]:
    row = [
        rank_range(one.rank_low, one.rank_high),
        marked_name(one.name, one.is_vetoed),
        wording.with_interval(one.dimension, one.lower, one.upper),
    ]
    if has_scores:
        error = "" if one.score_std_error is None else f" ± {one.score_std_error:.2g}"
        base = _(" (base model)") if one.match == "base" else ""
        row += [f"{wording.number(one.score)}{error}{base}", rank_range(one.score_rank_low, one.score_rank_high)]
    return row


def rank_range(low: int | None, high: int | None) -> str:
    """`2-5`, `3`, or a dash."""
    if low is None or high is None:
        return "-"
    return str(low) if low == high else f"{low}-{high}"


def _how_to_read(found: Answer) -> str:
    veto = f" {wording.veto_mark_text(language())}" if any(one.is_vetoed for one in found.models) else ""
    reading = _(
        "Ranks: 1 = largest dimension, best score; 95 % intervals that hold for all models at once. In brackets: 95 % "
        "intervals of the dimension. No order by dimension is better."
    )
    return reading + veto


def published_lines(found: Answer, width: int) -> list[str]:
    """Published claims, with our own answer as one more entry."""
    lines = [_("What is published, as it is told there or second hand:")]
    for claim in CLAIMS:
        line = _("{source} (n: {n}): {said} Direction: {direction}. Besides: {confound}")
        parts = {key: translator(language())(getattr(claim, key)) for key in ("n", "said", "confound")}
        direction = answers.direction_name(claim, language())
        lines += _indented(line.format(source=claim.source, direction=direction, **parts), width)
    here = {
        "answer": answers.answer_word(found, language()),
        "numbers": answers.relation_text(found.relation, language()),
    }
    return [*lines, *_indented(_("Here: {answer}, {numbers}.").format(**here), width)]


def _wrap_all(paragraphs: Sequence[str], width: int) -> list[str]:
    return [line for paragraph in paragraphs for line in wrap(paragraph, max(40, width))]


def _indented(line: str, width: int) -> list[str]:
    return wrap(line, max(40, width), "    ", "  ")
