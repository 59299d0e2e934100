"""docs/accuracy.md agrees with the code where it is read from the code; and the figures that went into it."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from core.geometry import neighbours, second_order
from core.geometry.estimators import ESTIMATORS
from core.registry.protocols import PROTOCOLS
from tests.bench import accuracy, coverage

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"


@pytest.mark.parametrize(("name", "lines"), accuracy.read_from_the_code().items())
def test_costs_and_thresholds_beside_the_document_are_those_of_the_code(name, lines):
    """If this fails: `python -m tests.bench.accuracy --refresh`."""
    assert (coverage.TABLES / f"{name}.csv").read_text(encoding="utf-8") == lines


def test_what_was_measured_belongs_to_todays_algorithm():
    """If this fails: `python -m tests.bench.accuracy`, which measures all of it anew; then read what the page says of it."""
    algorithms = {protocol.algorithm for protocol in PROTOCOLS.values()}
    told = re.search(r"version (\d+) of the algorithm", DOCUMENT.read_text(encoding="utf-8"))
    assert told and {int(told[1])} == algorithms


def test_the_document_leads_to_every_table_and_says_what_they_say():
    text = DOCUMENT.read_text(encoding="utf-8")
    tables = {path.stem: coverage.rows_of(path.read_text(encoding="utf-8")) for path in coverage.TABLES.glob("*.csv")}
    assert sorted(tables) == sorted(set(re.findall(r"accuracy/(\w+)\.csv", text)))
    for name, first in (("intervals", 8), ("intervals_hard", 8), ("intervals_reported", 8), ("intervals_others", 3)):
        held = [float(cell.split()[0]) for row in tables[name][1:] for cell in row[first:]]
        assert f"{min(held)} to {max(held)} %" in text, name
    words, *cases = tables["verdicts"]
    worst = [
        max(float(row[words.index(word)].split()[0]) for row in cases if row[0] in names)
        for word, names in (
            ("holds", ("one reads 1.1", "one reads 1")),
            ("mostly holds", ("two read 1.1", "one reads 1")),
        )
    ]
    assert all(f"at most {share} %" in text for share in worst)
    for row in tables["relation_limits"][1:]:
        assert row[0] == "32" or re.search(
            rf"{row[0]}\s(?:models\s)?only a rho of {row[4]}|{row[0]} one of {row[4]}", text
        ), row


@pytest.mark.parametrize(
    "case",
    [
        coverage.Case("50 equal variances", 16, 0.36),
        coverage.Case("100 variances 1/k", 32, 0.2),
        coverage.Case("50 equal variances", 32, 0.36, unequal=True),
        coverage.Case("50 equal variances", 32, 0.2, far=0.05),
    ],
    ids=lambda case: f"{case.name}, {case.n_sequences}",
)
def test_intervals_of_d2_hold_the_truth_as_often_as_they_say(case):
    """Sixty seeded draws: at a coverage of 95 percent, fewer than 53 hits would come once in sixty tests.

    Too wide is bounded by the error over the true spread, because sixty of sixty hits prove nothing.
    """
    found = coverage.of_case(case, n_draws=60)
    assert found.held >= 53 / 60
    assert 0.8 < found.ratio < 1.3
    assert found.mean == pytest.approx(found.truth, rel=3 * found.spread / math.sqrt(60) + 0.005)


def test_the_population_value_of_unequal_variances_is_that_of_a_direct_average():
    variances = coverage.SPECTRA["100 variances 1/k"]
    generator = np.random.default_rng(0)
    x, y = (generator.normal(size=(200_000, 100)) * np.sqrt(variances) for _ in range(2))
    cosines = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    assert coverage.population_d2(variances) == pytest.approx(1 / np.mean(cosines**2), rel=0.01)


def test_intervals_of_other_estimators_and_of_ratios_do_too():
    """Forty seeded draws: at a coverage of 95 percent, fewer than 34 hits would come once in a hundred tests."""
    found = coverage.of_others(coverage.Case("one of 50 holds half", 16, 0.36), n_draws=40)
    assert set(found) == {
        *("participation_ratio", "gride_between", "mle_between"),
        *("ratio of participation_ratio", "ratio of d2"),
    }
    for name, (held, ratio) in found.items():
        assert held >= 34 / 40, name
        assert 0.75 < ratio < 1.6, name


def test_the_participation_ratio_does_not_count_sequences():
    """Over all pairs it would read 44 of 50 here: pairs of one sequence share a third of their variance."""
    points, sequences = coverage.clustered(coverage.Case("50 equal variances", 16, 0.36), seed=1)
    x = (points - points.mean(0)).double()
    differ = torch.from_numpy(sequences[:, None] != sequences)
    norms = x.square().sum(1)
    expected = float((norms[:, None] * norms)[differ].sum() / (x @ x.T).square()[differ].sum())
    found = ESTIMATORS["participation_ratio"](points, sequences)
    assert expected == pytest.approx(found.value, rel=0.05) and expected < found.value  # what centring adds is off
    assert found.value == pytest.approx(50, rel=0.04)
    with_norms = second_order.d2(points, torch.from_numpy(sequences), with_norms=True)
    assert with_norms[0] == pytest.approx(found.value) and with_norms[1] < 46


def test_what_centres_say_is_the_estimate_without_their_terms():
    terms, of_block = np.random.default_rng(0).exponential(size=90), np.arange(90) % 9 == np.arange(9)[:, None]
    terms[4] = np.nan  # a copy of another point
    two = neighbours.sums_over_centres(terms, of_block, 16).without_two
    for a, b in ((2, 7), (4, 4)):
        assert two[a, b] == pytest.approx(-math.log(np.nanmean(terms[~of_block[a] & ~of_block[b]])))
