"""The table of neighbour estimators on isotropic Gaussian clouds, computed anew: `workdim calibrate`."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import torch

from core.files import write_atomic
from core.geometry.neighbour_dimensions import readings_of_points
from core.geometry.results import COLUMNS, N_DIMS, N_POINTS, TABLE, gaussian_curves

POINTS_PER_CELL = 16_384
"""Total points per cell, over repeated clouds: about 1 percent error for GRIDE at ranks 8 and 16."""


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
