"""scikit-dimension's estimators, `skdim_` and the name of the class: independent implementations, and further opinions.

None knows about sequences, and some take a minute, so each has a measured cost (`core.geometry.costs`). Options
are the package's defaults except where a default would decide the answer or its time: MiND_ML never reads above its
`D` = 10, KNN looks at 6 points, PH builds a thousand spanning trees. DANCo simulates a cloud for each dimension in
turn; `skdim_DANCoFit` takes its published fits of them, up to 100 dimensions. ESS is left out: it takes a minute and a
half of computing for 2,000 points in 100 dimensions. The package is imported when one first runs.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

SEED = 0


class Fitter(NamedTuple):
    class_name: str
    options: dict[str, Any]


FITTERS: dict[str, Fitter] = {
    "skdim_CorrInt": Fitter("CorrInt", {}),
    "skdim_DANCo": Fitter("DANCo", {"random_state": SEED}),
    "skdim_DANCoFit": Fitter("DANCo", {"ver": "DANCoFit", "random_state": SEED}),
    "skdim_FisherS": Fitter("FisherS", {}),
    "skdim_GRIDE": Fitter("GRIDE", {"n1": 8, "n2": 16}),
    "skdim_KNN": Fitter("KNN", {"random_state": SEED}),
    "skdim_lPCA": Fitter("lPCA", {"verbose": False}),
    "skdim_MADA": Fitter("MADA", {}),
    "skdim_MiND_ML": Fitter("MiND_ML", {}),
    "skdim_MLE": Fitter("MLE", {}),
    "skdim_MOM": Fitter("MOM", {}),
    "skdim_PH": Fitter("PH", {"nsteps": 10, "subsamples": 2, "random_state": SEED}),
    "skdim_TLE": Fitter("TLE", {}),
    "skdim_TwoNN": Fitter("TwoNN", {}),
}


def fit(name: str, points: Tensor) -> tuple[float, str]:
    """(value, notes) of one estimator on points (n, n_dims) without exact duplicates.

    NaN where the package refuses the points or finds no dimension, with its reason in the notes.
    """
    import skdim  # here, because it loads half of scikit-learn

    class_name, options = FITTERS[name]
    array = points.cpu().numpy().astype(np.float64)
    model = getattr(skdim.id, class_name)(**options, **_sized(class_name, *array.shape))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            value = float(model.fit(array).dimension_)
        except Exception as error:  # a foreign package: whatever it raises is its answer
            return math.nan, f"scikit-dimension {class_name}: {type(error).__name__}: {error}"
    return (value, "") if math.isfinite(value) else (math.nan, f"scikit-dimension {class_name} found no dimension")


def _sized(class_name: str, n_points: int, n_dims: int) -> dict[str, Any]:
    """Options that depend on the size of the cloud."""
    if class_name == "MiND_ML":
        return {"D": min(n_dims, n_points)}
    if class_name == "KNN":
        return {"ps": np.linspace(n_points // 10, n_points // 2, 5).astype(int), "M": 5}
    if class_name == "DANCo":
        return {"D": min(n_dims, 100)}
    return {}
