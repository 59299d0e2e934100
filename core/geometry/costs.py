"""What an estimator costs, told before it runs; and which may be asked for beside those that every run measures."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from core.errors import EstimateError, unknown_name
from core.geometry import external
from core.geometry.neighbours import TILE

CLOUD = (2000, 100)
"""Points and dimensions of the cloud that `COSTS` were measured on."""
COSTS: dict[str, float] = {
    "correlation_integral": 7.2,
    "d2": 4.7,
    "d2_all_pairs": 5.1,
    "d2_typed": 9.2,
    "effective_rank": 0.41,
    "gride": 18,
    "gride_1": 5.8,
    "gride_16": 13,
    "gride_2": 8.5,
    "gride_32": 15,
    "gride_4": 8.2,
    "gride_8": 10,
    "local_d2": 33,
    "local_d2_20": 10,
    "local_d2_50": 33,
    "mle": 11,
    "participation_ratio": 0.29,
    "skdim_CorrInt": 1.7,
    "skdim_DANCo": 370,
    "skdim_DANCoFit": 2.4,
    "skdim_FisherS": 6.9,
    "skdim_GRIDE": 0.57,
    "skdim_KNN": 5.2,
    "skdim_MADA": 4.7,
    "skdim_MLE": 0.77,
    "skdim_MOM": 1.2,
    "skdim_MiND_ML": 0.19,
    "skdim_PH": 59,
    "skdim_TLE": 3.7,
    "skdim_TwoNN": 2.3,
    "skdim_lPCA": 0.096,
    "stable_rank": 0.31,
    "two_nn": 7.6,
    "two_nn_censored": 6.5,
    "two_nn_linear": 5.9,
}
"""Time of one call with its defaults, errors included, on a cloud of size `CLOUD`, as a multiple of t1.

t1 is a tiled product of the cloud with itself and the selection of the 64 nearest of each point
(`tests/bench/layer.py`); both on one thread, measured by `tests/bench/accuracy.py --costs`.
"""


def cost(name: str) -> float:
    """What one call costs in t1, before it runs."""
    if name not in COSTS:
        raise EstimateError(unknown_name("estimator", name, COSTS))
    return COSTS[name]


def unit_seconds() -> float:
    """What t1 is on this machine now, on a cloud of that size: the second of two tries."""
    points = torch.randn(*CLOUD, generator=torch.Generator().manual_seed(0))
    norms = points.square().sum(1)
    for _ in range(2):
        start = time.perf_counter()
        for rows in points.split(TILE):
            (norms - 2 * rows @ points.T).topk(64, largest=False)
    return time.perf_counter() - start


def require_further(names: Sequence[str], protocol: str, clouds: Sequence[str]) -> None:
    """Raises EstimateError unless the names are estimators that a run can take beside those that it always measures."""
    for name in names:
        cost(name)  # an unknown name
        if name not in external.FITTERS:
            raise EstimateError(
                f"{name} is measured in every run that has its cloud: there is nothing to add. Further estimators are "
                f"{', '.join(external.FITTERS)}."
            )
    if names and "one_per_type" not in clouds:
        raise EstimateError(
            f"Further estimators run on one_per_type, which the protocol {protocol} does not have. Leave --estimator "
            "out, or choose another protocol."
        )
