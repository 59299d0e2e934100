"""Dimension and loss within one model, where it is known how they go together."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from core.analysis.relation import WindowRelation, relate_windows
from core.locale import in_language
from core.tables import TABLES, Run
from core.wording import answers as answer_wording
from tests.frames import made
from tests.profiles import make_profile

RUN = made(Run, name="made-up", corpus_name="ladder-code", protocol="standard")


def windows(loss, dimension, types=None, n_documents: int = 40) -> pl.DataFrame:
    """Rows of run_windows with these numbers, documents dealt out evenly."""
    like, n = make_profile().windows[0], len(loss)
    types = np.full(n, 60) if types is None else types
    rows = [
        replace(
            like,
            sequence=at,
            document=at * n_documents // n,
            loss=float(loss[at]),
            inner_d2=float(dimension[at]),
            final_d2=float(dimension[::-1][at]),
            n_types=int(types[at]),
        )
        for at in range(n)
    ]
    return TABLES["run_windows"].frame(rows)


def drawn(n: int = 64, seed: int = 0) -> np.random.Generator:
    return np.random.default_rng([n, seed])


def test_a_loss_that_depends_on_dimension_is_a_hint_either_way_as_nobody_registered_it():
    noise = drawn()
    dimension = noise.uniform(20, 40, 64)
    found = relate_windows(windows(3 + 0.05 * dimension + noise.normal(0, 0.3, 64), dimension))
    assert (
        found.relation.answer == "hint"
        and found.relation.rho > 0.4
        and (found.relation.n, found.relation.n_units) == (40, 64)
    )
    assert found.relation.n_looks == 2 and found.relation.p <= found.relation.corrected_p <= 0.05
    turned = relate_windows(windows(3 - 0.05 * dimension + noise.normal(0, 0.3, 64), dimension))
    assert turned.relation.answer == "hint" and turned.relation.rho < -0.4
    told = answer_wording.windows_text(turned, RUN)
    assert told.startswith("A hint: the directions that a window uses (") and "rho -0." in told


def test_independent_numbers_are_never_called_related_more_often_than_the_test_allows():
    answers = []
    for seed in range(20, 35):
        noise = drawn(seed=seed)
        answers.append(relate_windows(windows(noise.normal(3, 1, 64), noise.uniform(20, 40, 64))).relation.answer)
    assert {*answers} <= {"hint", "not_related", "cannot_tell"}
    assert answers.count("hint") <= 2 and answers.count("not_related") > 7


def test_of_two_places_that_can_be_looked_at_one_that_is_small_by_chance_is_no_hint():
    noise = drawn(32, seed=14)
    dimension = noise.uniform(20, 40, 32)
    found = relate_windows(windows(3 + 0.012 * dimension + noise.normal(0, 0.3, 32), dimension)).relation
    assert found.p <= 0.05 < found.corrected_p
    assert found.answer == "cannot_tell" and found.reasons == ("search",)


def test_what_the_number_of_types_makes_of_both_is_gone_when_it_is_given():
    noise = drawn(200)
    types = noise.integers(30, 110, 200)
    found = relate_windows(
        windows(types / 20 + noise.normal(0, 0.3, 200), types / 3 + noise.normal(0, 2, 200), types, 150)
    )
    assert found.relation.rho > 0.8
    assert abs(found.given_types.r) < 0.25


def test_the_control_is_told_with_the_difference_of_both_coefficients():
    noise = drawn()
    dimension = noise.uniform(20, 40, 64)
    text = windows(3 + 0.1 * dimension + noise.normal(0, 0.3, 64), dimension)
    unrelated = relate_windows(text, shuffled=windows(noise.normal(8, 1, 64), dimension))
    value, lower, upper = unrelated.difference
    assert unrelated.shuffled.answer != "hint" and 0 < lower < value < upper
    value, lower, upper = relate_windows(text, shuffled=text).difference
    assert lower <= value == 0 <= upper
    assert any("Text less shuffled tokens" in line for line in answer_wording.windows_note_lines(unrelated))


def test_documents_of_text_and_control_are_the_same_where_one_of_them_lost_windows():
    noise = drawn()
    text = windows(noise.uniform(2, 4, 24), noise.uniform(20, 40, 24), n_documents=12)
    lost = text.with_columns(n_points=pl.when(pl.col("sequence") % 2 == 0).then(0).otherwise("n_points"))
    assert relate_windows(lost, shuffled=text).difference is not None


@pytest.mark.parametrize(
    ("rows", "reason", "told"),
    [
        (windows(np.full(32, 3.0), np.arange(20, 52)), "one_value", "are equal"),
        (windows(np.arange(32.0), np.arange(20, 52), n_documents=2), "too_few", "Fewer than 5 have both"),
        (windows(np.arange(4.0), np.arange(20, 24), n_documents=4), "too_few", "Fewer than 5 have both"),
        (windows(np.full(32, np.nan), np.arange(20, 52)), "no_scores", "has a loss"),
    ],
    ids=["equal", "two documents", "few", "no loss"],
)
def test_what_cannot_be_told_says_why(rows: pl.DataFrame, reason: str, told: str):
    found: WindowRelation = relate_windows(rows)
    assert found.relation.answer == "cannot_tell" and reason in found.relation.reasons
    assert any(told in line for line in answer_wording.windows_note_lines(found))
    for language in ("en", "ja"):
        assert in_language(language, answer_wording.windows_text, found, RUN)
