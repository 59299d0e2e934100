"""Processor seconds of measuring a layer, which a forecast and the number of workers follow from.

Counted on one thread, SmolLM2-135M by the protocols quick and standard; what a machine makes of them, its own runs tell
(core/forecast/times.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from core.registry.estimators import CLOUD, find_estimator

_LAYER, _POINTS, _POWER = 1.81e-3, 800, 1.7
"""Seconds of a layer per dimension of its states at so many points, and how they grow with points."""
JUDGED, CONTROLLED = 0.06, 0.4
"""What a layer of a control takes of one of the text: of a draw that judges, which has d2 alone, and of an effect."""
UNIT = 0.05
"""Seconds of t1, the unit of `Estimator.cost`."""


def layer_seconds(n_points: int, hidden_size: float) -> float:
    """All that is measured of one layer of the text; `n_points` of the cloud `one_per_type`."""
    return _LAYER * hidden_size * (n_points / _POINTS) ** _POWER


def extra_seconds(names: Sequence[str], n_points: int = CLOUD[0]) -> float:
    """Additional estimators on one layer; they grow with the number of pairs."""
    return sum(find_estimator(name).cost for name in names) * (n_points / CLOUD[0]) ** 2 * UNIT
