"""The table of neighbour estimators on isotropic Gaussian clouds: read for equivalents, computed anew by `workdim calibrate`."""

from __future__ import annotations

import csv
import io
import math
from functools import cache
from pathlib import Path

import numpy as np
import torch

from core.files import REFERENCE, write_atomic
from core.geometry.neighbour_dimensions import readings_of_points

TABLE = REFERENCE / "gaussian_calibration.csv"
COLUMNS = ("estimator", "n1", "n_points", "n_dims", "value", "std_error", "n_clouds")
CALIBRATED = ("two_nn", "two_nn_censored", "two_nn_linear", "mle", "gride")
N_POINTS = (256, 512, 1024, 2048, 4096)
N_DIMS = (2, 4, 7, 10, 15, 20, 30, 45, 65, 100, 150, 250, 400, 600)
POINTS_PER_CELL = 16_384
"""Total points per cell, over repeated clouds: about 1 percent error for GRIDE at ranks 8 and 16."""


def gaussian_equivalent(estimator: str, n1: int | None, value: float, n_points: int) -> float:
    """Dimension of the isotropic Gaussian cloud of `n_points` points on which the estimator gives `value`.

    NaN outside the table: a number of points, or a value, that it does not cover.
    """
    if not math.isfinite(value) or not N_POINTS[0] <= n_points <= N_POINTS[-1]:
        return math.nan
    curves = gaussian_curves().get((estimator, n1 or 0))
    if curves is None:
        return math.nan
    sizes = sorted(curves)
    place = np.interp(math.log(n_points), np.log(sizes), np.arange(len(sizes)))
    low, share = min(int(place), len(sizes) - 2), place - min(int(place), len(sizes) - 2)
    curve = (1 - share) * np.log(curves[sizes[low]]) + share * np.log(curves[sizes[low + 1]])
    if not curve[0] <= math.log(value) <= curve[-1] or (np.diff(curve) <= 0).any():
        return math.nan
    return float(np.exp(np.interp(math.log(value), curve, np.log(N_DIMS))))


@cache
def gaussian_curves() -> dict[tuple[str, int], dict[int, np.ndarray]]:
    """{(estimator, n1): {n_points: value at each of N_DIMS}}; empty if the table does not exist."""
    if not TABLE.is_file():
        return {}
    found: dict[tuple[str, int], dict[int, list[tuple[int, float]]]] = {}
    with TABLE.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            sizes = found.setdefault((row["estimator"], int(row["n1"])), {})
            sizes.setdefault(int(row["n_points"]), []).append((int(row["n_dims"]), float(row["value"])))
    return {
        key: {size: np.array([value for _, value in sorted(readings)]) for size, readings in sizes.items()}
        for key, sizes in found.items()
    }


def calibrate(progress=lambda done, total: None) -> list[dict[str, object]]:
    """Recompute the rows of the table; seeded, so identical on every machine up to round-off."""
    rows: list[dict[str, object]] = []
    cells = [(n, d) for n in N_POINTS for d in N_DIMS]
    for done, (n_points, n_dims) in enumerate(cells):
        progress(done, len(cells))
        readings: dict[tuple[str, int], list[float]] = {}
        n_clouds = max(2, POINTS_PER_CELL // n_points)
        for number in range(n_clouds):
            generator = torch.Generator().manual_seed(n_points * 1_000_003 + n_dims * 1009 + number)
            for r in readings_of_points(torch.randn(n_points, n_dims, generator=generator)):
                readings.setdefault((r.estimator, r.n1 or 0), []).append(r.value)
        for (estimator, n1), values in readings.items():
            error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
            mean, error = round(float(np.mean(values)), 4), round(error, 4)
            rows.append(dict(zip(COLUMNS, (estimator, n1, n_points, n_dims, mean, error, len(values)), strict=True)))
    progress(len(cells), len(cells))
    return rows


def write_table(rows: list[dict[str, object]], path: Path = TABLE) -> None:
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, table.getvalue().encode())
    gaussian_curves.cache_clear()
