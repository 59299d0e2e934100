"""Decisions: fronts and weights against plain enumeration, and what is left out."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from core.analysis.criteria import Candidate, CriterionValue, ResolvedCriterion
from core.analysis.decision import decide, pareto_statuses
from core.errors import InputError
from core.wording import decisions as decision_wording
from tests.answers import THREE, asked, candidate, exact

# --- Pareto ----------------------------------------------------------------------------------------------------


def enumerated(kept: list[Candidate], asked: list[ResolvedCriterion]) -> list[tuple[str, bool]]:
    """By the definition, value by value; the ends of an unknown interval are infinite."""

    def ends(reading: CriterionValue, sign: int) -> tuple[float, float, float]:
        low = float("-inf") if reading.lower is None else reading.lower
        high = float("inf") if reading.upper is None else reading.upper
        low, high = (low, high) if sign > 0 else (-high, -low)
        return low, sign * reading.value, high

    table = [[ends(r, 1 if q.higher_is_better else -1) for r, q in zip(c.values, asked, strict=True)] for c in kept]

    def over(i: int, j: int, mine: int, theirs: int) -> bool:
        pairs = [(a[mine], b[theirs]) for a, b in zip(table[i], table[j], strict=True)]
        return i != j and all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    found = []
    for j in range(len(kept)):
        surely = any(over(i, j, 0, 2) for i in range(len(kept)))
        possibly = any(over(i, j, 2, 0) for i in range(len(kept)))
        on_front = not any(over(i, j, 1, 1) for i in range(len(kept)))
        found.append(("dominated" if surely else "perhaps" if possibly else "front", on_front))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_standings_are_those_of_the_definition(seed):
    draw = random.Random(seed)
    questions = [asked("score"), asked("parameters"), asked("speed")][: draw.randint(1, 3)]

    def reading() -> CriterionValue:
        value, width = draw.randint(0, 6), draw.choice([0.0, 0.0, 0.6, 1.5, None])
        return (
            CriterionValue(value, None, None) if width is None else CriterionValue(value, value - width, value + width)
        )

    kept = [candidate(str(n), *(reading() for _ in questions)) for n in range(draw.randint(1, 9))]
    found = pareto_statuses(kept, [replace(one, share=1.0) for one in questions])
    assert [(one.status, one.is_on_front) for one in found] == enumerated(kept, questions)
    assert all(bool(one.dominated_by) == (one.status != "front") for one in found)


def test_an_overlapping_interval_is_dominated_perhaps_and_a_clear_one_for_sure():
    kept = [
        candidate("good", CriterionValue(80, 78, 82), exact(1e8)),
        candidate("near", CriterionValue(77, 75, 79), exact(2e8)),
        candidate("poor", CriterionValue(60, 58, 62), exact(2e8)),
        candidate("unsaid", CriterionValue(10, None, None), exact(2e8)),
        candidate("tiny", CriterionValue(50, 48, 52), exact(1e6)),
    ]
    found = pareto_statuses(kept, [replace(asked(of), share=0.5) for of in ("score", "parameters")])
    assert [one.status for one in found] == ["front", "perhaps", "dominated", "perhaps", "front"]
    assert found[2].dominated_by == ("run-good", "run-near")
    assert [one.is_on_front for one in found] == [True, False, False, False, True]


# --- weights ---------------------------------------------------------------------------------------------------


def test_the_winner_changes_where_the_lines_cross():
    """Utilities by hand: score 1, .75, 0; parameters by logarithm 0, .3758, 1."""
    found = decide(THREE, [asked("score", 3), asked("parameters", 1)], None)
    assert found.chosen.name == "large" and found.reasons == ("best_total",)
    middle = 1 - 0.6242
    at = 0.25 / (0.25 + middle)  # 1 - w = .75 (1 - w) + middle w
    size = next(one for one in found.sensitivities if one.criterion == 1)
    assert size.current == 0 and size.segments[1].run_id == "run-middle"
    assert size.segments[1].start == pytest.approx(at, abs=1e-3)
    change = found.nearest_change
    assert (change.run_id, change.new_share) == (
        "run-middle",
        pytest.approx(1 - at, abs=1e-3) if change.criterion == 0 else pytest.approx(at, abs=1e-3),
    )
    assert found.totals[0] == pytest.approx(0.75)


@pytest.mark.parametrize("seed", range(15))
def test_segments_are_those_of_a_fine_grid_of_weights(seed):
    draw = random.Random(seed)
    n, k = draw.randint(2, 8), draw.randint(2, 4)
    kept = [candidate(str(i), *(exact(draw.randint(1, 9)) for _ in range(k))) for i in range(n)]
    questions = [asked("score", draw.randint(0, 5)) for _ in range(k - 1)] + [asked("parameters", draw.randint(1, 5))]
    found = decide(kept, questions, None)
    for one in found.sensitivities:
        assert one.segments[0].start == 0 and one.segments[-1].end == 1
        assert all(a.end == pytest.approx(b.start) for a, b in itertools.pairwise(one.segments))
        current = one.segments[one.current]
        assert current.run_id == found.candidates[0].run_id and current.start - 1e-9 <= one.share <= current.end + 1e-9
        rest = sum(w.share for c, w in enumerate(found.criteria) if c != one.criterion)
        for step in range(101):
            weight = step / 100
            if any(abs(edge - weight) < 1e-6 for segment in one.segments for edge in (segment.start, segment.end)):
                continue
            totals = {
                candidate.run_id: weight * found.utilities[i][one.criterion]
                + sum(
                    (1 - weight) * w.share / rest * found.utilities[i][c]
                    for c, w in enumerate(found.criteria)
                    if c != one.criterion
                )
                for i, candidate in enumerate(found.candidates)
            }
            inside = next(segment for segment in one.segments if segment.start <= weight <= segment.end)
            assert totals[inside.run_id] == pytest.approx(max(totals.values()))


def test_a_model_that_is_best_in_everything_stays_the_choice():
    found = decide(
        [candidate("a", exact(9), exact(1)), candidate("b", exact(1), exact(9))], [asked(), asked("parameters")], None
    )
    assert found.chosen.name == "a" and found.nearest_change is None


def test_models_that_are_equal_are_a_tie_and_none_is_chosen():
    found = decide([candidate("b", exact(5)), candidate("a", exact(5))], [asked()], None)
    assert found.candidates[0].name == "a" and found.reasons == ("best_total", "tie") and found.totals == (1.0, 1.0)
    assert found.standing == "cannot_tell" and found.chosen is None


def test_errors_say_how_often_the_choice_stays_first():
    near = [
        candidate("a", CriterionValue(80, 76, 84)),
        candidate("b", CriterionValue(79, 75, 83)),
        candidate("c", CriterionValue(20, 16, 24)),
    ]
    found = decide(near, [asked()], None)
    assert 0.55 < found.share_first < 0.75 and "within_error" in found.reasons
    assert len(found.shares_first) == len(found.candidates) and sum(found.shares_first) == pytest.approx(1)
    far = decide([near[0], near[2]], [asked()], None)
    assert far.share_first > 0.999 and far.reasons == ("best_total",)
    assert decide(near, [asked()], None).share_first == found.share_first


# --- thresholds, gaps, the dimension -----------------------------------------------------------------------------


def test_a_threshold_leaves_out_and_one_within_the_interval_is_said():
    models = [
        candidate("a", CriterionValue(52, 49, 55), exact(9e9)),
        candidate("b", CriterionValue(40, 38, 42), exact(1e9)),
        candidate("c", None, exact(1)),
    ]
    found = decide(models, [asked("score", at_least=50.0), asked("parameters")], None)
    assert [(one.candidate.name, one.reason, one.criterion) for one in found.excluded] == [
        ("b", "misses", 0),
        ("c", "lacks", 0),
    ]
    assert found.reasons == ("only_one", "threshold_within_error", "some_lack_values") and found.n == 2
    none = decide(models, [asked("score", at_least=99.0), asked("parameters")], None)
    assert none.chosen is None and none.reasons[0] == "none_meets"
    assert decide(models[2:], [asked("score"), asked("parameters")], None).reasons == ("none_known", "some_lack_values")


def test_a_value_that_counts_for_nothing_may_be_missing():
    found = decide(
        [candidate("a", exact(5), None), candidate("b", exact(4), exact(2))], [asked(), asked("price", 0)], None
    )
    assert found.chosen.name == "a" and found.utilities[0][1] is None


@pytest.mark.parametrize(
    ("n", "use_class", "comparable", "why"),
    [
        (9, "general", True, "few_models"),
        (None, "general", True, "no_score"),
        (40, "safety_critical", True, "use_class"),
        (40, "scarce_data", True, "use_class"),
        (40, "general", False, "not_comparable"),
        (10, "general", True, None),
    ],
)
def test_the_dimension_weighs_nothing_below_ten_models_and_where_the_use_forbids_it(n, use_class, comparable, why):
    models = [candidate("a", exact(50), exact(90)), candidate("b", exact(49), exact(20))]
    questions = [asked("score", 1), asked("dimension", 9, at_most=50.0)]
    found = decide(models, questions, n, use_class, comparable=comparable)
    assert found.criteria[1].muted_reason == why
    if why:
        assert found.chosen.name == "a" and found.criteria[1].share == 0 and not found.excluded
        assert f"dimension_{why}" in found.reasons
    else:
        assert found.chosen.name == "b" and found.excluded[0].candidate.name == "a"


def test_a_score_whose_better_end_nobody_states_weighs_nothing_and_says_so():
    models = [candidate("a", exact(90), exact(4e9)), candidate("b", exact(10), exact(1e9))]
    unknown = replace(asked("score", 9, at_least=50.0), is_direction_known=False)
    found = decide(models, [unknown, asked("parameters", 1)], 40)
    assert found.chosen.name == "b" and found.criteria[0].share == 0 and not found.excluded
    assert found.criteria[0].muted_reason == "no_direction" and "score_no_direction" in found.reasons
    assert "A score weighs nothing: which end is better is unclear" in " ".join(decision_wording.note_lines(found))
    with pytest.raises(InputError, match=r"nothing can be chosen.*No source says whether a higher score"):
        decide(models, [unknown, asked("parameters", 0)], 40)


def test_with_nothing_that_weighs_nothing_is_chosen():
    with pytest.raises(InputError, match=r"nothing can be chosen.*The dimension does not count"):
        decide([candidate("a", exact(1))], [asked("dimension")], 3)
