"""Runs the estimators of scikit-dimension: independent implementations, and further estimators.

None of them takes sequences into account, and some take a minute, so each has a measured cost in
core.registry.estimators, which also holds the options. The package is imported on first use.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from core.geometry.clouds import LabelledPoints, Reading


def read_scikit_dimension(cloud: LabelledPoints, class_name: str, options: Mapping[str, Any]) -> Reading:
    """Run a class of `skdim.id` on points without exact duplicates.

    NaN if the package rejects the points or finds no dimension; the notes give the reason.
    """
    import skdim  # imported here because it loads half of scikit-learn

    array = cloud.points.cpu().numpy().astype(np.float64)
    model = getattr(skdim.id, class_name)(**options, **_sized(class_name, *array.shape))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            value = float(model.fit(array).dimension_)
        except Exception as error:  # third-party code: any error it raises becomes the note
            return Reading(math.nan, notes=f"scikit-dimension {class_name}: {type(error).__name__}: {error}")
    if math.isfinite(value):
        return Reading(value)
    return Reading(math.nan, notes=f"scikit-dimension {class_name} found no dimension")


def _sized(class_name: str, n_points: int, n_dims: int) -> dict[str, Any]:
    """Options that depend on the size of the cloud: `D` caps MiND_ML, and KNN by default would use 6 points."""
    if class_name == "MiND_ML":
        return {"D": min(n_dims, n_points)}
    if class_name == "KNN":
        return {"ps": np.linspace(n_points // 10, n_points // 2, 5).astype(int), "M": 5}
    if class_name == "DANCo":
        return {"D": min(n_dims, 100)}
    return {}
