"""Kendall's W: against scipy, and the coverage of its interval."""

import numpy as np
import pytest
from scipy import stats

from core.analysis.concordance import concordance
from tests.bench import relations as bench


def test_agreement_of_orders_is_kendalls_w():
    """W and the mean of the pairwise rho say the same: rho = (m W - 1) / (m - 1)."""
    generator = np.random.default_rng(7)
    base = generator.normal(size=12)
    orders = {f"text {k}": base + 0.8 * generator.normal(size=12) for k in range(4)}
    table = np.array(list(orders.values()))
    mean_rho = np.mean([stats.spearmanr(table[a], table[b]).statistic for a in range(4) for b in range(a)])
    found = concordance(orders)
    assert found.w == pytest.approx((3 * mean_rho + 1) / 4)
    friedman = stats.friedmanchisquare(*table.T)
    assert found.w == pytest.approx(friedman.statistic / (4 * 11))
    tied = {name: np.round(values) for name, values in orders.items()}
    assert concordance(tied).w == pytest.approx(
        stats.friedmanchisquare(*np.array(list(tied.values())).T).statistic / (4 * 11)
    )
    assert found.lower < found.w < found.upper
    assert found.p < 0.01
    assert concordance({f"text {k}": generator.normal(size=12) for k in range(4)}).p > 0.05


def test_the_interval_of_an_agreement_holds_the_truth():
    assert bench.agreement(18, 3, 0.9, 200) >= 0.90
