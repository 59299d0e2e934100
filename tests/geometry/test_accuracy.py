"""docs/accuracy.md agrees with the code where it is read from the code; and the figures that went into it."""

from pathlib import Path

import numpy as np
import pytest

from core.geometry.estimators import ESTIMATORS
from tests.bench import accuracy, coverage

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"


def test_costs_and_thresholds_in_the_document_are_those_of_the_code():
    """If this fails: `python -m tests.bench.accuracy --refresh`."""
    assert DOCUMENT.read_text(encoding="utf-8").endswith(accuracy.read_from_the_code())


def test_every_estimator_that_needs_no_label_is_in_the_document():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert not [name for name in ESTIMATORS if name not in text]


@pytest.mark.parametrize(
    ("spectrum", "share", "widest"), [("50 equal variances", 0.36, 1.9), ("100 variances 1/k", 0.2, 1.35)]
)
def test_intervals_of_d2_hold_the_truth_as_often_as_they_say(spectrum, share, widest):
    """Forty seeded draws: at a coverage of 95 percent, fewer than 35 hits would come once in seventy tests.

    Too wide is bounded by the error over the true spread, because forty of forty hits prove nothing.
    """
    cells = coverage.of_clouds(32, spectrum, share, n_draws=40)
    assert float(cells[-1].removesuffix(" %")) >= 87.5
    assert 0.7 < float(cells[-2]) < widest
    assert float(cells[4]) == pytest.approx(float(cells[3]), rel=0.03)


def test_the_population_value_of_unequal_variances_is_that_of_a_direct_average():
    variances = coverage.SPECTRA["100 variances 1/k"]
    generator = np.random.default_rng(0)
    x, y = (generator.normal(size=(200_000, 100)) * np.sqrt(variances) for _ in range(2))
    cosines = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    assert coverage.population_d2(variances) == pytest.approx(1 / np.mean(cosines**2), rel=0.01)
