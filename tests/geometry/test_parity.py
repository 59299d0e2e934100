"""Values that others compute on the same clouds: scikit-dimension, DADApy, and the tables our method was chosen by."""

import numpy as np
import pytest
import skdim
import torch

from core.geometry.estimators import ESTIMATORS


def value(name: str, points) -> float:
    return ESTIMATORS[name](points, n_blocks=0).value


def dadapy_cloud(n: int, n_dims: int) -> np.ndarray:
    """A correlated Gaussian in 64 dimensions; RandomState draws the same on every version of numpy."""
    state = np.random.RandomState(n_dims)
    return state.normal(size=(n, n_dims)) @ state.normal(size=(n_dims, 64)) / np.sqrt(n_dims)


# DADApy 0.3.4 with numpy 1.26.4 on `dadapy_cloud(n, n_dims)`: compute_id_2NN(algorithm="ml"), then "base" with
# mu_fraction=0.9, then return_id_scaling_gride(range_max=64), whose scales are our n1 = 1, 2, 4, 8, 16, 32.
DADAPY = [
    (
        1000,
        10,
        9.862274560603634,
        9.89650070360059,
        [
            9.862274569087166,
            9.140062050494393,
            8.88168048114181,
            8.59692405747398,
            8.107636071398009,
            7.578248343949584,
        ],
    ),
    (
        800,
        30,
        19.531612503603032,
        19.528082186952624,
        [
            19.53161250773588,
            18.38875489016322,
            17.09897982817106,
            15.91691933196844,
            14.416066389529824,
            12.932733528052424,
        ],
    ),
]


@pytest.mark.parametrize(("n", "n_dims", "likelihood", "linear", "scan"), DADAPY)
def test_two_nn_and_the_gride_scan_agree_with_dadapy_to_four_digits(n, n_dims, likelihood, linear, scan):
    points = dadapy_cloud(n, n_dims)
    assert value("two_nn", points) == pytest.approx(likelihood, rel=1e-4)
    assert value("two_nn_linear", points) == pytest.approx(linear, rel=1e-4)
    assert [value(f"gride_{n1}", points) for n1 in (1, 2, 4, 8, 16, 32)] == pytest.approx(scan, rel=1e-4)


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_neighbour_estimators_agree_with_scikit_dimension_to_three_digits(offset):
    points = dadapy_cloud(900, 10) + offset
    theirs = {
        "two_nn": skdim.id.TwoNN(method="mle", discard_fraction=0),
        "two_nn_censored": skdim.id.TwoNN(method="mle"),
        "two_nn_linear": skdim.id.TwoNN(),
        "gride_8": skdim.id.GRIDE(n1=8),
        "correlation_integral": skdim.id.CorrInt(),
    }
    for name, model in theirs.items():
        assert value(name, points) == pytest.approx(model.fit(points).dimension_, rel=1e-3), name
    mle = skdim.id.MLE().fit(points, n_neighbors=20, comb="mle").dimension_
    assert value("mle", points) == pytest.approx(mle, rel=1e-3)


@pytest.mark.parametrize("reads", [(5, 5.0), (10, 10.0), (20, 20.1), (50, 50.3), (100, 99.9), (200, 200.6)])
def test_d2_of_isotropic_gaussians_is_their_dimension_with_no_ceiling(reads):
    """One cloud of 512 points each; their own values differ from the truth by 0.6 percent at most."""
    n_dims, expected = reads
    values = [value("d2", torch.randn(512, n_dims, generator=torch.Generator().manual_seed(s))) for s in range(3)]
    assert np.mean(values) == pytest.approx(expected, rel=0.015)


GAUSSIAN_READINGS = [
    # n_points, n_dims, GRIDE at ranks 8 and 16, TwoNN: each from one cloud
    (900, 20, 14.2, 16.4),
    (900, 60, 29.1, 34.4),
    (900, 100, 37.3, 48.4),
    (4096, 40, 25.2, 27.9),
    (4096, 100, 43.5, 52.9),
]


@pytest.mark.parametrize(("n_points", "n_dims", "gride", "two_nn"), GAUSSIAN_READINGS)
def test_neighbour_estimators_read_gaussians_as_low_as_the_table_says(n_points, n_dims, gride, two_nn):
    """Tolerance: three standard errors of the difference, d / sqrt(0.96 n1 N) for GRIDE and d / sqrt(N) for TwoNN."""
    n_clouds = 4 if n_points < 1000 else 1
    clouds = [torch.randn(n_points, n_dims, generator=torch.Generator().manual_seed(s)) for s in range(n_clouds)]
    share = np.sqrt(1 + 1 / n_clouds) * 3 / np.sqrt(n_points)
    assert np.mean([value("two_nn", c) for c in clouds]) == pytest.approx(two_nn, rel=share)
    # Neighbourhoods overlap, so the real spread of GRIDE is up to 1.5 times that of independent ratios.
    assert np.mean([value("gride_8", c) for c in clouds]) == pytest.approx(gride, rel=1.5 * share / np.sqrt(0.96 * 8))
