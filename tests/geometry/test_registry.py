"""What every entry of `ESTIMATORS` answers: refusals, notes, errors, costs, and scikit-dimension's under our names."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import EstimateError
from core.geometry import estimators
from core.geometry.estimators import ESTIMATORS
from core.registry.estimators import ESTIMATORS as RECORDS
from core.registry.estimators import find_estimator, require_on_request

pytestmark = pytest.mark.slow

PROMISED = {
    "d2",
    "d2_all_pairs",
    "d2_typed",
    "local_d2",
    "local_d2_20",
    "local_d2_50",
    "two_nn",
    "two_nn_censored",
    "two_nn_linear",
    "mle",
    "gride",
    "gride_1",
    "gride_2",
    "gride_4",
    "gride_8",
    "gride_16",
    "gride_32",
    "gride_between",
    "gride_typed",
    "mle_between",
    "correlation_integral",
    "participation_ratio",
    "effective_rank",
    "stable_rank",
}
TYPED = {"d2_typed", "gride_typed"}
"""They ask for the token types."""
FITTERS = {name for name, record in RECORDS.items() if record.package}
_NOISE = torch.randn(400, 48, generator=torch.Generator().manual_seed(1))
CANNOT_CARRY = {
    "all equal": torch.full((400, 48), 3.3),
    "equal but for round-off": 3.3 + 1e-7 * _NOISE,
    "one-hot": torch.eye(400),
    "nearly one-hot": 10 * torch.eye(400) + 1e-3 * torch.cat([_NOISE] * 9, 1)[:, :400],
    "two points": torch.where(torch.arange(400) % 2 == 0, 1.0, -1.0)[:, None].expand(400, 48).contiguous(),
    "all equal but one": torch.cat([torch.ones(1, 48), torch.zeros(399, 48)]),
}
"""Clouds (400, n_dims) that tell nothing of a dimension."""
SLOW = {"skdim_DANCo", "skdim_DANCoFit", "skdim_FisherS", "skdim_PH"}


def cloud(n: int = 300, n_dims: int = 6) -> torch.Tensor:
    return torch.randn(n, n_dims, generator=torch.Generator().manual_seed(0))


def test_every_promised_estimator_is_there_and_every_one_has_a_cost():
    assert set(ESTIMATORS) == PROMISED | FITTERS
    assert set(RECORDS) == set(ESTIMATORS)
    assert RECORDS["skdim_DANCo"].cost > 10 * RECORDS["two_nn"].cost > 0


def test_an_unknown_name_is_answered_with_the_near_ones():
    with pytest.raises(EstimateError, match=r"Unknown estimator 'two_n'\. Did you mean two_nn"):
        ESTIMATORS["two_n"]
    with pytest.raises(EstimateError, match="Unknown estimator 'grid'"):
        find_estimator("grid")
    assert "two_n" not in ESTIMATORS and ESTIMATORS.get("two_n") is None


@pytest.mark.parametrize("name", sorted(PROMISED - TYPED))
def test_arrays_and_tensors_are_the_same_and_an_error_stands_beside_each_value(name):
    points = cloud()
    of_tensor = ESTIMATORS[name](points, np.arange(300) // 10, n_blocks=4)
    of_array = ESTIMATORS[name](points.double().numpy(), np.arange(300) // 10, n_blocks=0)
    assert of_array.value == pytest.approx(of_tensor.value, rel=1e-6)
    assert 0 < of_tensor.std_error < of_tensor.value
    assert of_tensor.lower < of_tensor.value < of_tensor.upper
    assert "independent" not in of_tensor.notes


@pytest.mark.parametrize("name", ["d2", "mle", "stable_rank"])
def test_the_error_is_that_of_leaving_each_block_out(name):
    points, sequences = cloud(), np.arange(300) // 10
    estimate = ESTIMATORS[name](points, sequences, n_blocks=5)
    logs = np.log(
        [
            ESTIMATORS[name](points[sequences * 5 // 30 != b], sequences[sequences * 5 // 30 != b], n_blocks=0).value
            for b in range(5)
        ]
    )
    expected = estimate.value * math.sqrt(4 / 5 * ((logs - logs.mean()) ** 2).sum())
    assert estimate.std_error == pytest.approx(expected, rel=1e-6)


def test_points_that_cannot_be_estimated_are_refused_by_name():
    with pytest.raises(EstimateError, match="finite"):
        ESTIMATORS["d2"](torch.full((50, 4), float("nan")))
    with pytest.raises(EstimateError, match=r"finite points, not \(7,\)"):
        ESTIMATORS["d2"](torch.ones(7))
    with pytest.raises(EstimateError, match=r"for each of 300 points, not \(299,\)"):
        ESTIMATORS["d2"](cloud(), np.arange(299))
    with pytest.raises(EstimateError, match="at least 3 neighbours"):
        ESTIMATORS["local_d2"](cloud(), k=2)


@pytest.mark.parametrize("kind", CANNOT_CARRY)
def test_a_cloud_that_carries_no_estimate_gives_none_and_says_why(kind):
    points = CANNOT_CARRY[kind]
    for name in sorted(PROMISED) if "one-hot" in kind else ("d2",):  # too few distinct points come to no formula
        labels = {"types": np.arange(len(points))} if name in TYPED else {}
        found = ESTIMATORS[name](points, np.arange(len(points)) % 20, n_blocks=4, **labels)
        assert math.isnan(found.value) and math.isnan(found.lower) and found.notes, name


@pytest.mark.parametrize("name", ["mle", "gride_32", "local_d2_50", "correlation_integral"])
def test_too_few_neighbours_is_undefined_not_a_crash(name):
    estimate = ESTIMATORS[name](cloud(15))
    assert math.isnan(estimate.value) and math.isnan(estimate.std_error)
    assert estimate.n_points == 15


def test_notes_say_what_was_assumed_and_what_was_left_out():
    assert ESTIMATORS["d2"](cloud()).notes == "independent points assumed"
    assert ESTIMATORS["d2"](cloud(), np.arange(300) // 5).notes == ""
    without = ESTIMATORS["d2"](cloud(), np.arange(300) // 5, n_blocks=0)
    assert math.isnan(without.std_error) and "no error estimated" in without.notes


def test_local_d2_takes_its_number_of_neighbours():
    points = cloud()
    one, other = ESTIMATORS["local_d2"](points, k=20, n_blocks=0), ESTIMATORS["local_d2_20"](points, n_blocks=0)
    assert one.value == other.value > 0


@pytest.mark.parametrize("name", sorted(FITTERS - SLOW))
def test_scikit_dimension_runs_under_our_names_and_has_no_error_unless_asked(name):
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(1))
    points = torch.cat([points @ torch.randn(3, 8, generator=torch.Generator().manual_seed(2)), torch.zeros(1, 8)])
    points = torch.cat([points, points[:20]])
    estimate = ESTIMATORS[name](points)
    assert 2 <= estimate.value <= 4.2
    assert math.isnan(estimate.std_error) and "no error estimated" in estimate.notes
    assert (estimate.n_points, estimate.n_dropped) == (301, 20)


def test_scikit_dimension_gives_an_error_where_blocks_are_asked_for():
    estimate = ESTIMATORS["skdim_MLE"](cloud(), np.arange(300) // 10, n_blocks=4)
    assert estimate.std_error == pytest.approx(
        ESTIMATORS["mle"](cloud(), np.arange(300) // 10, n_blocks=4).std_error, rel=1e-2
    )


def test_what_scikit_dimension_refuses_is_undefined_and_says_why():
    estimate = ESTIMATORS["skdim_DANCo"](cloud(5))
    assert math.isnan(estimate.value) and "scikit-dimension DANCo" in estimate.notes


def test_listing_estimators_does_not_load_scikit_dimension():
    """It loads half of scikit-learn: no file imports it before a formula asks for it."""
    for path in Path(estimators.__file__).parent.glob("*.py"):
        assert not re.search(r"^(?:import|from) skdim", path.read_text(encoding="utf-8"), re.MULTILINE), path.name


def test_what_every_run_measures_cannot_be_asked_for_again():
    require_on_request(["skdim_lPCA"], "quick", ("one_per_type",))
    for name in ("d2", "d2_typed", "gride_typed", "mle", "local_d2"):
        with pytest.raises(EstimateError, match=f"{name} is measured in every run.*skdim_MLE"):
            require_on_request([name], "quick", ("one_per_type",))
    with pytest.raises(EstimateError, match="last-token has no cloud one_per_type"):
        require_on_request(["skdim_lPCA"], "last-token", ("last_token",))


def test_one_sequence_gives_a_value_without_an_error():
    points = torch.randn(300, 8, generator=torch.Generator().manual_seed(2))
    for name in ("d2_all_pairs", "two_nn"):
        estimate = ESTIMATORS[name](points, np.zeros(300, dtype=int))
        assert estimate.value > 5 and math.isnan(estimate.std_error) and "one sequence" in estimate.notes
    for name in ("d2", "participation_ratio"):  # no pair of different sequences
        assert math.isnan(ESTIMATORS[name](points, np.zeros(300, dtype=int)).value)


@pytest.mark.parametrize("name", sorted(FITTERS | {"d2", "mle"}))
def test_no_dimension_lies_above_what_the_points_can_span(name):
    """One-hot points are orthogonal: their correlator is round-off, and its inverse may be any number."""
    n = 40  # theirs take long on hundreds of columns
    estimate = ESTIMATORS[name](np.eye(n, n + 100), n_blocks=0)
    assert math.isnan(estimate.value) or estimate.value <= 2 * (n - 1), estimate
    if math.isnan(estimate.value):
        assert all(math.isnan(x) for x in (estimate.std_error, estimate.lower, estimate.upper))
    if name == "d2":
        assert "lies above the 39 that 40 points in 140 columns can span" in estimate.notes


def test_a_value_whose_interval_reaches_the_number_of_columns_stays():
    points = torch.randn(400, 5, generator=torch.Generator().manual_seed(3))
    estimate = ESTIMATORS["d2"](points)
    assert estimate.lower <= 5 < estimate.upper and estimate.value > 0
