"""The estimators of dimension: one record each.

To add one that runs on request, write its formula in core.geometry, `formula(cloud: LabelledPoints) -> Reading`, and a
record here. An estimator that every run measures is also called in core.geometry.layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.errors import N_ as _
from core.errors import EstimateError, unknown_name

PLATEAU = 0.1
"""Two scales of GRIDE agree if their log dimensions differ by less than this."""
CLOUD = (2000, 100)
"""Numbers of points and dimensions of the cloud on which costs were measured."""


@dataclass(frozen=True)
class Estimator:
    key: str
    """Name by which it is requested."""
    function: str
    """`module:function` in core.geometry that computes it; imported on first use."""
    cost: float
    """Time of one call with default arguments, errors included, on a cloud of size `CLOUD`, as a multiple of t1.

    t1 is the time of a tiled product of the cloud with itself plus the selection of each point's 64 nearest neighbours
    (`tests/bench/layer.py`). Both use one thread and are measured by `tests/bench/accuracy.py --costs`.
    """
    symbol: str
    """Short form for titles and axes; an English message of the catalogues if it contains words."""
    formula: str
    meaning: str
    """Interpretation in one sentence, with its limit case."""
    name: str = ""
    """Name on screens and slides: the English message of the catalogues. Empty for single scales of an estimator and
    for estimators of a package, which are named by their family."""
    without_two: str = ""
    """`module:function` of points and blocks: log estimate without each pair of blocks, if that is cheap."""
    with_bias: bool = False
    """Whether the error includes the jackknife bias."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the function besides the points."""
    without_copies: bool = True
    """Whether exact copies are removed first: estimators based on small distances fail at distance 0."""
    in_every_run: bool = True
    """Whether every run with its cloud measures it; others run on request."""
    package: str = ""
    """The package that implements it; empty for our own implementation."""


def _scales(family: Estimator, argument: str, costs: Mapping[int, float]) -> list[Estimator]:
    """One record per scale of an estimator: `gride_8`, `local_d2_50`."""
    return [
        replace(family, key=f"{family.key}_{scale}", cost=cost, name="", arguments={argument: scale})
        for scale, cost in costs.items()
    ]


_GRIDE = Estimator(
    "gride",
    "neighbour_dimensions:read_gride",
    18,
    "GRIDE",
    "root of the likelihood of r_2n1 / r_n1 over points",
    "The dimension of neighbourhoods between the ranks n1 and 2 n1, read at n1 = 8; n1 = 1 is TwoNN.",
    _("GRIDE: nearest-neighbour dimension at a chosen rank"),
)
_LOCAL_D2 = Estimator(
    "local_d2",
    "local:read_local_d2",
    33,
    "d2(k)",
    "1 / mean C2 of each point's k nearest neighbours, centred on their own mean",
    "The second-order dimension of neighbourhoods of k points; with k = N it is d2.",
    _("Local d2: second-order dimension of neighbourhoods"),
    arguments={"k": 50},
)
# In the order in which they are offered to a reader.
_OURS = (
    Estimator(
        "d2",
        "second_order:read_d2",
        4.7,
        "d2",
        "pairs / sum of cos^2 over pairs of different sequences, points centred",
        "How many directions the tokens share out equally; d for isotropic points in d dimensions.",
        _("d2: second-order correlator dimension"),
        without_two="second_order:log_d2_without_two",
        without_copies=False,
    ),
    _GRIDE,
    *_scales(_GRIDE, "n1", {1: 5.8, 2: 8.5, 4: 8.2, 8: 10, 16: 13, 32: 15}),
    Estimator(
        "two_nn",
        "neighbour_dimensions:read_two_nn",
        7.6,
        "TwoNN",
        "(N - 1) / sum of log(r_2 / r_1)",
        "The dimension at the distance of the nearest neighbours; unbiased where density is locally constant.",
        _("TwoNN: two-nearest-neighbour dimension"),
    ),
    Estimator(
        "mle",
        "neighbour_dimensions:read_mle",
        11,
        "MLE",
        "(k - 1) N / sum over points and j < k of log(r_k / r_j), k = 20",
        "The maximum-likelihood dimension of neighbourhoods of 20 points, inverses averaged.",
        _("MLE: maximum-likelihood neighbour dimension (k=20)"),
    ),
    _LOCAL_D2,
    *_scales(_LOCAL_D2, "k", {20: 10, 50: 33}),
    Estimator(
        "participation_ratio",
        "second_order:read_participation_ratio",
        4.7,
        "PR",
        "(tr S)^2 / tr S^2 of the covariance S, both from pairs of different sequences",
        "How many axes carry the variance; d for d equal variances, pulled down by a few large ones.",
        _("Participation ratio of the covariance spectrum"),
        without_two="second_order:log_participation_ratio_without_two",
        with_bias=True,
        without_copies=False,
    ),
    Estimator(
        "effective_rank",
        "correlators:read_effective_rank",
        0.41,
        "erank",
        "exp(- sum p log p) of the variance shares p",
        "How many axes carry the variance, by entropy; d for d equal variances, not corrected for N.",
        _("Effective rank of the covariance spectrum"),
        without_copies=False,
    ),
    Estimator(
        "stable_rank",
        "correlators:read_stable_rank",
        0.31,
        "srank",
        "sum of variances / largest variance",
        "How many times the largest variance the cloud holds; d for d equal variances, not corrected for N.",
        _("Stable rank of the covariance spectrum"),
        without_copies=False,
    ),
    Estimator(
        "d2_all_pairs",
        "second_order:read_d2_all_pairs",
        5.1,
        _("d2 all pairs"),
        "pairs / sum of cos^2 over all pairs, points centred",
        "As d2, pairs of one sequence included; it counts sequences where these are one direction each.",
        _("d2 of all pairs, within windows too"),
        without_copies=False,
    ),
    Estimator(
        "d2_typed",
        "second_order:read_d2_typed",
        9.2,
        _("d2 typed"),
        "pairs / sum of cos^2 over pairs that differ in sequence and in token type",
        "As d2, occurrences of one token type not compared with each other.",
        _("d2 without pairs of one token type"),
        without_copies=False,
    ),
    Estimator(
        "gride_between",
        "neighbour_dimensions:read_gride_between",
        16,
        _("between-window GRIDE"),
        "root of the likelihood of r_2n1 / r_n1 over points, neighbours of other sequences only",
        "As GRIDE, neighbours of a point's own sequence left out, as d2 leaves out such pairs.",
        _("GRIDE, neighbours of other windows only"),
    ),
    Estimator(
        "gride_typed",
        "neighbour_dimensions:read_gride_typed",
        16,
        _("typed GRIDE"),
        "root of the likelihood of r_2n1 / r_n1, neighbours that differ in sequence and in token type only",
        "As between-window GRIDE, occurrences of one token type left out too; reads high, as near ones are left out.",
        _("GRIDE, neighbours of other windows and token types only"),
    ),
    Estimator(
        "mle_between",
        "neighbour_dimensions:read_mle_between",
        14,
        _("between-window MLE"),
        "(k - 1) N / sum over points and j < k of log(r_k / r_j), k = 20, neighbours of other sequences only",
        "As MLE, neighbours of a point's own sequence left out.",
        _("MLE, neighbours of other windows only (k=20)"),
    ),
    Estimator(
        "two_nn_censored",
        "neighbour_dimensions:read_two_nn_censored",
        6.5,
        _("TwoNN censored"),
        "(n - 1) / (sum of the n smallest log(r_2 / r_1) + (N - n) times the n-th), n = 0.9 N",
        "TwoNN in which the largest tenth of the ratios counts only as at least the largest kept.",
        _("TwoNN, largest tenth of the ratios censored"),
    ),
    Estimator(
        "two_nn_linear",
        "neighbour_dimensions:read_two_nn_linear",
        5.9,
        _("TwoNN linear"),
        "slope through the origin of -log(1 - i/N) on the i-th smallest log(r_2 / r_1), i up to 0.9 N",
        "TwoNN as its authors fit it.",
        _("TwoNN by linear fit, without the largest tenth"),
    ),
    Estimator(
        "correlation_integral",
        "local:read_correlation_integral",
        7.2,
        "CorrInt",
        "log(C(r_b) / C(r_a)) / log(r_b / r_a), C(r) the share of pairs nearer than r",
        "How fast the number of close pairs grows with the radius, between the ranks 10 and 20.",
        _("Correlation integral between the ranks 10 and 20"),
    ),
)


def _skdim(key: str, cost: float, method: str, meaning: str, class_name: str = "", **options: Any) -> Estimator:
    return Estimator(
        f"skdim_{key}",
        "estimators:read_scikit_dimension",
        cost,
        method,
        f"skdim.id.{class_name or key}",
        meaning,
        arguments={"class_name": class_name or key, "options": options},
        in_every_run=False,
        package="scikit-dimension",
    )


_SEED = 0
# Options are the package's defaults, except where a default would determine the result or take too long: PH builds a
# thousand spanning trees. Options that depend on the cloud size are set in core.geometry.estimators. ESS is left
# out: it takes 1.5 minutes of computing for 2,000 points in 100 dimensions.
_OF_SCIKIT_DIMENSION = (
    _skdim("CorrInt", 1.7, "CorrInt", "The correlation dimension of Grassberger and Procaccia."),
    _skdim("DANCo", 370, "DANCo", "Distances and angles compared with simulated clouds.", random_state=_SEED),
    _skdim(
        "DANCoFit",
        2.4,
        "DANCo",
        "DANCo by its published fits, up to 100 dimensions.",
        "DANCo",
        ver="DANCoFit",
        random_state=_SEED,
    ),
    _skdim("FisherS", 6.9, "FisherS", "How well single points can be separated from all others."),
    _skdim("GRIDE", 0.57, "GRIDE", "GRIDE at ranks 8 and 16.", n1=8, n2=16),
    _skdim("KNN", 5.2, "KNN", "Growth of the total length of neighbour graphs.", random_state=_SEED),
    _skdim("lPCA", 0.096, "lPCA", "Axes of the covariance above a threshold.", verbose=False),
    _skdim("MADA", 4.7, "MADA", "Manifold-adaptive ratio of neighbour distances."),
    _skdim("MiND_ML", 0.19, "MiND ML", "Maximum likelihood of normalised nearest distances."),
    _skdim("MLE", 0.77, "MLE", "Levina and Bickel's maximum likelihood, at 20 neighbours."),
    _skdim("MOM", 1.2, "MOM", "Method of moments on neighbour distances."),
    _skdim(
        "PH", 59, "PH", "Growth of the total length of spanning trees.", nsteps=10, subsamples=2, random_state=_SEED
    ),
    _skdim("TLE", 3.7, "TLE", "Tight local dimensions, averaged."),
    _skdim("TwoNN", 2.3, "TwoNN", "TwoNN by linear fit."),
)

ESTIMATORS: dict[str, Estimator] = {record.key: record for record in (*_OURS, *_OF_SCIKIT_DIMENSION)}


def plateau(values: dict[int, float]) -> int | None:
    """The smallest n1 from which two successive doublings change log d by less than `PLATEAU`; None if there is none.

    values {n1: GRIDE dimension}; the scales n1, 2 n1 and 4 n1 must all be present and finite.
    """
    logs = {n1: math.log(value) for n1, value in values.items() if math.isfinite(value) and value > 0}
    for n1 in sorted(logs):
        scan = [logs.get(n1 * factor, math.nan) for factor in (1, 2, 4)]
        if abs(scan[1] - scan[0]) < PLATEAU and abs(scan[2] - scan[1]) < PLATEAU:
            return n1
    return None


def find_estimator(key: str) -> Estimator:
    """The record of an estimator; raises EstimateError for an unknown key, listing similar and all available keys."""
    if key not in ESTIMATORS:
        raise EstimateError(unknown_name("estimator", key, ESTIMATORS))
    return ESTIMATORS[key]


def require_on_request(keys: Iterable[str], protocol: str, clouds: Iterable[str]) -> None:
    """Raise EstimateError unless a run can measure these estimators in addition to those it always measures."""
    wanted = [find_estimator(key) for key in keys]
    for estimator in wanted:
        if estimator.in_every_run:
            others = [e.key for e in ESTIMATORS.values() if not e.in_every_run]
            raise EstimateError(
                "{key} is measured in every run with its cloud. Further estimators: {others}.",
                key=estimator.key,
                others=others,
            )
    if wanted and "one_per_type" not in clouds:
        raise EstimateError(
            "{protocol} has no cloud one_per_type for further estimators. Leave out --estimator, or choose "
            "another protocol.",
            protocol=protocol,
        )


# --- what measuring takes -----------------------------------------------------------------------------------------

_LAYER, _POINTS, _POWER = 1.81e-3, 800, 1.7
"""Processor seconds of a layer per dimension of its states at so many points, and how they grow with points: counted on one
thread, SmolLM2-135M by the protocols quick and standard. What a machine makes of them, its own runs tell
(core/forecast/times.py)."""
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
