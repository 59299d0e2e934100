"""The Gaussian-equivalent dimension: the table against fresh clouds, and its edges."""

import csv
import math

import pytest
import torch

from core.geometry import estimators
from core.geometry.clouds import TABLE, gaussian_equivalent
from core.geometry.neighbours import readings_of_points


@pytest.mark.parametrize("n_points", [300, 2000])
@pytest.mark.parametrize("n_dims", [8, 200])
def test_an_isotropic_cloud_is_its_own_equivalent_between_the_sizes_of_the_table_too(n_points, n_dims):
    points = torch.randn(n_points, n_dims, generator=torch.Generator().manual_seed(n_dims))
    for reading in readings_of_points(points):
        if (reading.estimator, reading.n1) in (("gride", 8), ("mle", None)):
            found = gaussian_equivalent(reading.estimator, reading.n1, reading.value, n_points)
            # One cloud scatters by a few percent, which the flat end of the curve magnifies.
            assert found == pytest.approx(n_dims, rel=0.12 if n_dims < 100 else 0.25)


def test_beyond_the_table_there_is_no_equivalent():
    for value, n_points in [(500.0, 1024), (1.0, 1024), (20.0, 100), (20.0, 100_000), (math.nan, 1024)]:
        assert math.isnan(gaussian_equivalent("gride", 8, value, n_points))
    assert math.isnan(gaussian_equivalent("d2", None, 20.0, 1024))


def test_the_table_can_be_recomputed(monkeypatch, tmp_path):
    with TABLE.open(encoding="utf-8", newline="") as stream:
        shipped = {(r["estimator"], r["n1"], r["n_points"], r["n_dims"]): r for r in csv.DictReader(stream)}
    monkeypatch.setattr(estimators, "N_POINTS", (256,))
    monkeypatch.setattr(estimators, "N_DIMS", (10, 65))
    rows = estimators.calibrate_gaussian()
    assert len(rows) == 20
    for row in rows:
        stored = shipped[tuple(str(row[name]) for name in ("estimator", "n1", "n_points", "n_dims"))]
        assert row["value"] == pytest.approx(float(stored["value"]), rel=1e-3)
    estimators.write_table(rows, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text(encoding="utf-8").count("\n") == 21
