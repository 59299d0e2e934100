"""Answers about dimension and score as the terminal tells them."""

from __future__ import annotations

from core.questions.ranking_answer import answer_question
from core.questions.ranking_question import select_population
from core.terminal.tables import ranking_lines
from tests import frames
from tests.answers import evidence, models
from tests.frames import Model

SCORED = [Model(f"s{at:02d}", peak=40.0 + at) for at in range(12)]
SCORES = frames.scores(*(frames.score(f"hub:s{at:02d}", 50.0 - at, benchmark="tickets") for at in range(12)))
ELSEWHERE = models(3, tokenizer_hash="tok2", corpus="english-business")
ON_WORDS = "On one point per word they compare if measured together."


def not_comparable(*others: Model) -> list[str]:
    lines = ranking_lines(answer_question(select_population(evidence([*SCORED, *others], SCORES))))
    return lines[lines.index("Not comparable with these:") + 1 :]


def test_a_way_to_compare_is_told_once_where_it_is_that_of_all_groups_and_else_beside_its_own():
    one, way = not_comparable(*ELSEWHERE)
    assert one.endswith("Another tokenizer, text.") and way == ON_WORDS
    first, second = not_comparable(*ELSEWHERE, Model("e", kind="encoder"))
    assert first.endswith(f"Another tokenizer, text. {ON_WORDS}")
    assert second.endswith("Decoders and encoders are never ranked together: Compare shows their shapes.")
