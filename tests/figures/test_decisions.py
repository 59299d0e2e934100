"""What the pictures of a decision hold, by value, and the sentences that stand beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.analysis.criteria import CriterionValue
from core.analysis.decision import decide
from core.figures import decisions as decision_figures
from core.figures.chart_figure import bars_figure, chart_figure
from core.locale import in_language
from core.pilots.saved import Assumptions, Criterion, Rule, TaskName
from core.questions.generality import OrderTable, concordance
from core.wording import decisions as decision_wording
from tests.answers import asked, candidate, exact

PLAIN = Assumptions()
KEPT = [
    candidate("mine-large", CriterionValue(90, 88, 92), exact(4e9)),
    candidate("mine-mid", CriterionValue(80, 78, 82), exact(1e9)),
    candidate("mine-worse", CriterionValue(79, 77, 81), exact(2e9)),
    candidate("mine-tiny", CriterionValue(50, 48, 52), exact(1e8)),
    candidate("mine-bad", CriterionValue(20, 18, 22), exact(3e9)),
]
TWO = [asked("score", 3), asked("parameters", 1)]


def test_the_front_of_two_criteria_is_a_staircase_along_the_best_models() -> None:
    found = decide(KEPT, TWO, None)
    chart = decision_figures.front_chart(found, 1, 0, (800, 800), PLAIN)
    marks = {line.name: line for line in chart.series}
    steps = [(point.x, point.y) for point in marks["front"].points]
    assert steps == [(100, 50), (1000, 50), (1000, 80), (4000, 80), (4000, 90)], (
        "few parameters and a high score are wanted"
    )
    standings = {name: [point.x for point in line.points] for name, line in marks.items() if name != "front"}
    assert standings == {
        "on the front": [1000, 100],
        "perhaps dominated": [2000],
        "dominated for sure": [3000],
        "first by the weighted mean": [4000],
    }
    assert {point.name for point in chart.points} == {"large", "mid", "tiny", ""}
    assert chart.x.is_log and "millions" in chart.x.title


def test_with_a_third_criterion_no_staircase_is_drawn_and_gaps_are_no_points() -> None:
    three = [replace(one, values=(*one.values, exact(n + 1) if n else None)) for n, one in enumerate(KEPT)]
    found = decide(three, [*TWO, asked("speed", 0)], None)
    chart = decision_figures.front_chart(found, 2, 0, (800, 800), PLAIN)
    assert "front" not in {line.name for line in chart.series} and len(chart.points) == 4
    none = decide([replace(one, values=(*one.values, None)) for one in KEPT], [*TWO, asked("speed", 0)], None)
    assert chart_figure(decision_figures.front_chart(none, 2, 0, (800, 800), PLAIN)).layout.annotations


def test_the_bars_of_weights_go_from_nothing_to_all() -> None:
    found = decide(KEPT, TWO, None)
    bars = decision_figures.weight_bars(found, 16)
    assert bars.rows[1] == "parameters" and bars.marked[1] == 0.25
    by_row: dict[int, list[tuple[float, float, str]]] = {0: [], 1: []}
    for model, part in bars.parts.items():
        for bar in part:
            by_row[bar.row].append((bar.low, bar.high, model))
    score, size = (sorted(row) for row in by_row.values())
    assert [model for *_ends, model in size] == ["large", "mid", "tiny"]
    assert [model for *_ends, model in score] == ["tiny", "mid", "large"]
    assert size[0][0] == 0 and size[-1][1] == 1
    figure = bars_figure(bars)
    assert len(figure.data) == 3 and len(figure.layout.shapes) == 2


def test_an_order_becomes_places_with_ties_and_gaps() -> None:
    columns = {"a": [5.0, 3.0, 3.0, 1.0], "b": [1.0, 2.0, None, 4.0]}
    order = OrderTable(
        ("a", "b"),
        ("1", "2", "3", "4"),
        tuple(zip(*columns.values(), strict=True)),
        concordance(list(columns.values())),
    )
    names = dict(zip("1234", "pqrs", strict=True))
    chart = decision_figures.order_chart(order, ["text a (English)", "text b (Japanese)"], names, "Place", "r")
    ranks = {line.name: [point.y for point in line.points] for line in chart.series}
    assert ranks == {"p": [1, 3], "q": [2.5, 2], "s": [4, 1], "r": [2.5]}
    assert [line.end for line in chart.series] == ["3  p", "2  q", "1  s", ""] and chart.series[-1].colour == 0
    figure = chart_figure(chart)
    assert figure.layout.xaxis.ticktext == ("text a (English)", "text b (Japanese)")
    assert list(figure.layout.yaxis.range) == [4.6, 0.4]
    assert [trace.text[0].strip() for trace in figure.data if trace.mode == "text"] == ["3  p", "2  q", "1  s"]


# --- sentences -------------------------------------------------------------------------------------------------


def test_the_sentence_names_the_nearest_change() -> None:
    found = decide(KEPT, TWO, None)
    assert decision_wording.decision_text(found) == (
        "By score in made-up (acc, 0-shot): mine-large. mine-mid comes first at a weight of 28 % for parameters."
    )
    assert decision_wording.criteria_text(found, "") == (
        "Criteria: score in made-up (acc, 0-shot) (75 %), parameters (25 %)."
    )
    assert (
        in_language("ja", decision_wording.decision_text, found)
        == "mine-largeを選定（決め手はmade-up（acc、0-shot）のスコア）。パラメーター数の重みが28%になると、mine-midに変わります。"
    )
    one = decide([replace(each, values=each.values[:1]) for each in KEPT], [asked("score")], None)
    assert decision_wording.decision_text(one) == (
        "By score in made-up (acc, 0-shot): mine-large. No single weight changes the first place."
    )
    assert not one.sensitivities
    assert not decision_wording.criteria_text(one, decision_wording.decision_text(one)), "it is named already"
    assert "(100 %)" in decision_wording.criteria_text(one, "By parameters: mine-large, surely no worse.")
    lone = decide(KEPT, [asked("score", 3, at_least=87.0), TWO[1]], None)
    assert decision_wording.decision_text(lone) == (
        "By score in made-up (acc, 0-shot): mine-large. No other meets the criteria."
    )
    alone = decide(KEPT[:1], TWO, None)
    assert (
        decision_wording.decision_text(alone) == "No choice: only mine-large has all that is asked (models: 1)."
        and alone.chosen is None
    )
    none = decide(KEPT, [asked("score", 1, at_least=99.0), asked("parameters")], None)
    assert decision_wording.decision_text(none) == "No model has all values and meets the thresholds."
    told = [decision_wording.exclusion_text(one, none, PLAIN) for one in none.excluded]
    assert told[0] == "mine-large: score in made-up (acc, 0-shot) 90.0, asked for at least 99.0"
    gap = decide([candidate("x", None, exact(1))], TWO, None)
    assert decision_wording.decision_text(gap).startswith("No model has all values")
    assert decision_wording.exclusion_text(gap.excluded[0], gap, PLAIN) == "x: no score in made-up (acc, 0-shot)"


def test_what_puts_the_first_model_before_the_second_is_named_though_another_criterion_weighs_more() -> None:
    heavy = [candidate("small", exact(70), exact(1e8)), candidate("large", exact(71), exact(4e9)),
             candidate("bad", exact(20), exact(4e9))]  # fmt: skip
    found = decide(heavy, TWO, None)
    assert (found.chosen.name, found.decisive.key) == ("small", "parameters")
    assert decision_wording.decision_text(found).startswith("By parameters: small.")


def test_whoever_is_left_over_is_no_choice_and_the_others_are_named() -> None:
    lacking = candidate("SmolLM2", None, exact(2e8))
    left = decide([KEPT[3], lacking], TWO, None)
    assert (left.standing, left.chosen) == ("no_choice", None)
    assert decision_wording.decision_text(left) == f"No choice: only {KEPT[3].name} has all that is asked (models: 2)."
    assert in_language("ja", decision_wording.decision_text, left) == (
        f"選定できません。2モデルのうち、求める値がすべてそろうのは{KEPT[3].name}だけです。"
    )
    several = decide([KEPT[3], lacking, candidate("b", exact(3), None)], TWO, None)
    assert decision_wording.decision_text(several).endswith("(models: 3).")
    assert decision_wording.standing_text(left) == "–"
    chart = decision_figures.front_chart(left, 1, 0, (800, 800), PLAIN)
    assert "first by the weighted mean" not in {line.name for line in chart.series}


@pytest.mark.parametrize(
    ("gap", "standing", "told"),
    [
        (8.0, "choice", "By score in made-up (acc, 0-shot): mine-large. "),
        (0.9, "leads", "By score in made-up (acc, 0-shot), mine-large leads. It is first in 7"),
        (0.0, "cannot_tell", "Cannot tell: mine-large and mine-mid share their weighted mean."),
    ],
)
def test_the_first_is_the_choice_only_where_it_is_first_in_most_draws(gap: float, standing: str, told: str) -> None:
    near = [
        candidate("mine-large", CriterionValue(80, 78, 82)),
        candidate("mine-mid", CriterionValue(80 - gap, 78, 82)),
    ]
    found = decide([*near, candidate("x", exact(20.0))], [asked("score")], None)
    assert found.standing == standing and decision_wording.decision_text(found).startswith(told)
    assert decision_wording.standing_text(found) == {"choice": "mine-large", "leads": "mine-large leads"}.get(
        standing, "cannot tell"
    )


def test_a_first_place_in_less_than_half_of_the_draws_is_not_told_as_a_choice() -> None:
    crowd = [candidate(str(n), CriterionValue(80 - n / 100, 70, 90)) for n in range(8)]
    found = decide([*crowd, candidate("x", exact(20.0))], [asked("score")], None)
    assert found.share_first < 0.5 and found.chosen is None
    assert decision_wording.decision_text(found).startswith("Cannot tell: 0 comes first in ")
    assert in_language("ja", decision_wording.decision_text, found).startswith("判定できません。")


def test_without_a_known_error_the_first_leads_and_no_more() -> None:
    plain = [candidate("a", CriterionValue(1.8, None, None)), candidate("b", CriterionValue(2.9, None, None))]
    found = decide(plain, [asked("bits_per_byte")], None)
    assert found.standing == "leads" and found.chosen.name == "a"
    assert decision_wording.decision_text(found) == (
        "By bits per byte, a leads. No single weight changes the first place."
    )
    doubtful = decide([candidate("a", CriterionValue(52, 49, 55)), candidate("b", CriterionValue(40, 38, 42))],
                      [asked("score", at_least=50.0)], None)  # fmt: skip
    assert doubtful.standing == "leads"
    assert decision_wording.decision_text(doubtful) == (
        "By score in made-up (acc, 0-shot), a leads. No other meets the criteria."
    )


def test_a_criterion_that_tells_nobody_apart_is_named() -> None:
    same = [replace(one, values=(one.values[0], exact(7))) for one in KEPT]
    assert decision_wording.note_lines(decide(same, TWO, None)) == ["Alike in all models: parameters."]
    assert decision_wording.note_lines(decide(same, [TWO[0], asked("parameters", 0)], None)) == []


def test_reasons_have_their_words_but_those_that_the_answer_itself_says() -> None:
    keys = ("within_error", "threshold_within_error", "dimension_few_models", "dimension_no_score", "dimension_use_class",
            "dimension_not_comparable", "some_lack_values", "errors_unknown", "other_task", "no_task")  # fmt: skip
    assert all(map(decision_wording.reason_text, keys))
    assert not any(
        map(decision_wording.reason_text, ("best_total", "only_one", "one_left", "tie", "none_meets", "none_known"))
    )


def test_a_dominated_model_names_what_dominates_it() -> None:
    found = decide(KEPT, TWO, None)
    told = {
        one.name: decision_wording.pareto_text(standing, found)
        for one, standing in zip(found.candidates, found.pareto, strict=True)
    }
    assert told["mine-bad"] == "dominated for sure: mine-mid, mine-worse, 1 more"
    assert told["mine-worse"] == "perhaps dominated: mine-mid" and told["mine-tiny"] == "on the front"


def test_a_rule_is_told_by_shares_and_thresholds_in_their_units() -> None:
    rule = Rule(
        "r", "general",
        (
            Criterion("score", weight=6, at_least=30.0),
            Criterion("memory", weight=3, at_most=8e9),
            Criterion("score", benchmark=TaskName("arc", "acc"), weight=1),
        ),
        assumptions=Assumptions(bits=4.5),
    )  # fmt: skip
    assert decision_wording.rule_text(rule) == (
        "score of the task 60 %, at least 30.0; memory at 4.5 bits 30 %, at most 8.00 GB; score in arc (acc) 10 %"
    )


def test_amounts_have_their_units() -> None:
    told = {
        ("parameters", 1.35e6): "1.35 M",
        ("parameters", 7.2e9): "7.20 B",
        ("memory", 2.06e9): "2.06 GB",
        ("speed", 2048.4): "2,048 tokens/s",
        ("price", 58.0): "58.0 USD",
        ("price", 1168.2): "1,168 USD",
        ("score", 61.54): "61.5",
        ("speed", None): "–",
    }
    assert {of: decision_wording.value_text(*of) for of in told} == told
