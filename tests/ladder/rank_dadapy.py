"""`ENVIRONMENT/bin/python tests/ladder/rank_dadapy.py FOLDER READINGS.csv`: DADApy on the clouds of `tests.ladder.rank_score --points`.

It runs in an environment that has DADApy, numpy and nothing of Workdim; what it reads is added to the file of readings.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from dadapy import Data

RANKS = (2, 4, 8, 16, 32)
"""Of the outer neighbour of GRIDE, by which DADApy names a scale."""


def readings(points: np.ndarray) -> dict[str, float]:
    """Estimator -> dimension of points (n_points, n_dims)."""
    data = Data(points.astype(float), verbose=False, n_jobs=1)
    found = {"dadapy_two_nn": float(data.compute_id_2NN()[0])}
    scaling, _errors, _scales = data.return_id_scaling_gride(range_max=max(RANKS))
    return found | {f"dadapy_gride_{rank // 2}": float(value) for rank, value in zip(RANKS, scaling, strict=True)}


def main(folder: Path, file: Path) -> None:
    with file.open(encoding="utf-8", newline="") as lines:
        known = {
            (one["rank"], one["seed"], one["steps"], one["cloud"])
            for one in csv.DictReader(lines)
            if one["estimator"] == "dadapy_two_nn"
        }
    for points in sorted(folder.glob("*-*-*-*.npy")):
        cloud, rank, seed, steps = points.stem.split("-")
        if (rank, seed, steps, cloud) in known:
            continue
        found = readings(np.load(points))
        with file.open("a", encoding="utf-8", newline="") as lines:
            writer = csv.writer(lines, lineterminator="\n")
            for name, value in found.items():
                writer.writerow([rank, seed, steps, cloud, 0, name, round(value, 4), "nan", "nan"])
        print(points.name, found, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
