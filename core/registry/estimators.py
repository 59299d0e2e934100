"""What is computed of a layer: estimators of dimension, and what they take; correlators, measures between layers, quantities
of tokens; one record each.

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
    "neighbours:read_gride",
    18,
    "GRIDE",
    "root of the likelihood of r_2n1 / r_n1 over points",
    "The dimension of neighbourhoods between the ranks n1 and 2 n1, read at n1 = 8; n1 = 1 is TwoNN.",
    _("GRIDE: nearest-neighbour dimension at a chosen rank"),
)
_LOCAL_D2 = Estimator(
    "local_d2",
    "correlators:read_local_d2",
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
        "neighbours:read_two_nn",
        7.6,
        "TwoNN",
        "(N - 1) / sum of log(r_2 / r_1)",
        "The dimension at the distance of the nearest neighbours; unbiased where density is locally constant.",
        _("TwoNN: two-nearest-neighbour dimension"),
    ),
    Estimator(
        "mle",
        "neighbours:read_mle",
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
        "neighbours:read_gride_between",
        16,
        _("between-window GRIDE"),
        "root of the likelihood of r_2n1 / r_n1 over points, neighbours of other sequences only",
        "As GRIDE, neighbours of a point's own sequence left out, as d2 leaves out such pairs.",
        _("GRIDE, neighbours of other windows only"),
    ),
    Estimator(
        "gride_typed",
        "neighbours:read_gride_typed",
        16,
        _("typed GRIDE"),
        "root of the likelihood of r_2n1 / r_n1, neighbours that differ in sequence and in token type only",
        "As between-window GRIDE, occurrences of one token type left out too; reads high, as near ones are left out.",
        _("GRIDE, neighbours of other windows and token types only"),
    ),
    Estimator(
        "mle_between",
        "neighbours:read_mle_between",
        14,
        _("between-window MLE"),
        "(k - 1) N / sum over points and j < k of log(r_k / r_j), k = 20, neighbours of other sequences only",
        "As MLE, neighbours of a point's own sequence left out.",
        _("MLE, neighbours of other windows only (k=20)"),
    ),
    Estimator(
        "two_nn_censored",
        "neighbours:read_two_nn_censored",
        6.5,
        _("TwoNN censored"),
        "(n - 1) / (sum of the n smallest log(r_2 / r_1) + (N - n) times the n-th), n = 0.9 N",
        "TwoNN in which the largest tenth of the ratios counts only as at least the largest kept.",
        _("TwoNN, largest tenth of the ratios censored"),
    ),
    Estimator(
        "two_nn_linear",
        "neighbours:read_two_nn_linear",
        5.9,
        _("TwoNN linear"),
        "slope through the origin of -log(1 - i/N) on the i-th smallest log(r_2 / r_1), i up to 0.9 N",
        "TwoNN as its authors fit it.",
        _("TwoNN by linear fit, without the largest tenth"),
    ),
    Estimator(
        "correlation_integral",
        "correlators:read_correlation_integral",
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


# --- what measuring takes --------------------------------------------------------------------------------------------

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


# --- correlators of one layer, measures between two layers, and quantities of tokens ---------------------------------

# They have no cost: correlators come from the pass over pairs that d2 needs, measures between layers from one pass over
# all layers.


@dataclass(frozen=True)
class Correlator:
    key: str
    """Key in the warehouse."""
    name: str
    """Name on screens and slides: the English message of the catalogues."""
    formula: str
    meaning: str = ""
    """How to read it, with its limit cases, beside a figure of its own."""


def _by_key(*records: Correlator) -> dict[str, Correlator]:
    return {record.key: record for record in records}


CORRELATORS = _by_key(
    Correlator("E1", _("E1: first-order correlator, uncentred"), "|mean x|^2 / mean |x|^2 - 1/N"),
    Correlator("mean_cosine", _("Mean cosine of token pairs"), "(N |mean u|^2 - 1) / (N - 1), u = x / |x|"),
    Correlator(
        "C2",
        _("C2: second-order correlator, centred"),
        "mean of cos^2 over pairs of different sequences, points centred; 1 / d2",
    ),
    Correlator(
        "cosine_kurtosis",
        _("Excess kurtosis of the centred cosines"),
        "mean c^4 / (mean c^2)^2 - 3 of the centred cosines c of a sub-sample",
    ),
    Correlator(
        "nonlinearity_ratio_8",
        _("GRIDE n1=8 of equal Gaussian points over the data's"),
        "GRIDE at ranks 8 and 16 of the Gaussian surrogate / of the data",
    ),
    Correlator(
        "top_coordinates_1", _("Share of variance: leading coordinate"), "largest variance of a coordinate / sum of all"
    ),
    Correlator(
        "top_coordinates_3",
        _("Share of variance: 3 leading coordinates"),
        "sum of the 3 largest variances of coordinates / sum of all",
    ),
    Correlator(
        "top_coordinates_10",
        _("Share of variance: 10 leading coordinates"),
        "sum of the 10 largest variances of coordinates / sum of all",
    ),
    Correlator(
        "top_components_1",
        _("Share of variance: leading principal component"),
        "l_1 / sum of l, eigenvalues l of the covariance",
    ),
    Correlator(
        "top_components_3",
        _("Share of variance: 3 leading principal components"),
        "sum of l_1 to l_3 / sum of l, eigenvalues l of the covariance",
    ),
    Correlator(
        "top_components_10",
        _("Share of variance: 10 leading principal components"),
        "sum of l_1 to l_10 / sum of l, eigenvalues l of the covariance",
    ),
    Correlator(
        "variance_top_1",
        _("Share of the variance held by 1 % of the tokens"),
        "sum of |x - mean|^2 over the 1 % of tokens where it is largest / over all",
    ),
    Correlator(
        "variance_top_10",
        _("Share of the variance held by 10 % of the tokens"),
        "sum of |x - mean|^2 over the 10 % of tokens where it is largest / over all",
    ),
    Correlator(
        "readable_loss",
        _("Loss readable at a layer (nats)"),
        "mean of -log p(next token) where the final norm and head read the layer's state; errors over documents",
    ),
    Correlator(
        "label_accuracy",
        _("Own labels told right"),
        "share of labelled texts that ridge regression on the mean states of all other documents tells right",
    ),
    Correlator(
        "label_behind_best",
        _("Own labels told right, against the layer with the most"),
        "label_accuracy minus that of the layer where it is largest, paired by document",
    ),
    Correlator("label_guess", _("Own labels told right by guessing"), "share of the commonest label"),
    Correlator(
        "large_norm_tokens",
        _("Tokens with a large norm"),
        "number of tokens with a norm above norm_factor times the layer's median",
    ),
    Correlator("large_norm_ratio", _("Largest norm over the layer's median"), "max |x| / median |x| before masking"),
    Correlator(
        "large_norm_at_start",
        _("Share of large-norm tokens at position 0"),
        "tokens of large norm that stand first in their window / all of them",
    ),
)
PAIR_MEASURES = _by_key(
    Correlator(
        "autocorrelation",
        _("Autocorrelation C(l, m), centred"),
        "mean over tokens of the cosine of a token's states at layers l and m, centred",
        _("Cosine of a token at two layers: 1 = same direction. Bright blocks change little."),
    ),
    Correlator(
        "autocorrelation_raw",
        _("Autocorrelation C(l, m), uncentred"),
        "mean over tokens of the cosine of a token's states at layers l and m",
        _("What all tokens share counts as likeness: read the centred one first."),
    ),
    Correlator(
        "displacement",
        _("Mean squared displacement of directions, 2 − 2C"),
        "2 - 2 C(l, m), centred",
        _("How far directions move: 0 = not at all, 2 = unrelated."),
    ),
    Correlator(
        "kept",
        _("Dimensions that both layers share"),
        "k = d2_l d2_m C(l, m), on one sub-sample; layer_a <= layer_b",
        _("How many dimensions two layers share: d2 on the diagonal, 0 = none."),
    ),
    Correlator(
        "common_dimension",
        _("Common dimension of two layers, 1 / C(l, m)"),
        "1 / common_correlator, NULL where that is not above 0; layer_a <= layer_b",
        _("d2 on the diagonal; the larger, the less two layers share. Empty: nothing."),
    ),
    Correlator(
        "neighbour_overlap",
        _("Neighbourhood overlap: share of common neighbours"),
        "mean share of the n / 100 nearest neighbours that a token has at both layers",
        _("1 = all nearest neighbours common, {chance} = chance."),
    ),
    Correlator(
        "information_imbalance",
        _("Information imbalance, first layer to second"),
        "2/n times the mean rank at layer m of the nearest neighbour at layer l",
        _("How well one layer foretells another's distances: 0 = wholly, 1 = not at all."),
    ),
    Correlator(
        "cka",
        _("Linear CKA, debiased"),
        "HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), unbiased, linear kernels",
        _("1 = alike up to rotation and scale, 0 = unrelated."),
    ),
    Correlator(
        "displacement_exponent",
        _("Displacement exponent over layers (1 = random walk)"),
        "slope of log displacement on log |l - m| over inner layers",
    ),
    Correlator(
        "common_correlator",
        _("Common correlator C(l, m) of token pairs"),
        "mean of cos_l cos_m over pairs of different sequences, both centred; layer_a <= layer_b; C(l, l) = 1 / d2",
    ),
    Correlator(
        "removed",
        _("Dimensions of the earlier layer that are gone"),
        "d2_l - k, for successive layers, from layer 0 and to the last",
    ),
    Correlator(
        "added",
        _("Dimensions of the later layer that are new"),
        "d2_m - k, for successive layers, from layer 0 and to the last",
    ),
)
QUANTITIES = _by_key(
    Correlator(
        "local_d2",
        _("Local d2 around each token"),
        "1 / C2 of the 50 nearest neighbours of a token, centred on their own mean",
        _("Where a column is broad or split, one number does not describe the layer."),
    ),
    Correlator(
        "distance_to_mean",
        _("Distance of each token to the mean"),
        "|x - mean|, over the layer's median",
        _("A long upper end: few far tokens weigh heavily in every mean."),
    ),
    Correlator(
        "variance_share",
        _("Share of the variance that each token holds, times N"),
        "N |x - mean|^2 / sum |x - mean|^2",
        _("A long upper end: few tokens make up the layer's spread."),
    ),
    Correlator(
        "cosine_to_mean",
        _("Cosine of each token to the mean, uncentred"),
        "x.mean / (|x| |mean|)",
        _("1 = along the mean of all tokens, 0 = nothing in common."),
    ),
    Correlator(
        "neighbours_kept",
        _("Share of neighbours kept up to the next layer"),
        "share of a token's n / 100 nearest that are among its nearest at the next layer",
        _("Low columns rearrange tokens most."),
    ),
    Correlator(
        "displacement",
        _("Squared displacement of directions up to the next layer"),
        "2 - 2 cos of a token's centred states at a layer and at the next",
        _("How far directions move: 0 = not at all, 2 = unrelated."),
    ),
    Correlator(
        "block_share",
        _("Size of the next block's output, over the state after it"),
        "|x_m - x_l| / |x_m|, m the layer after l",
        _("Small columns are blocks that write little: candidates to remove."),
    ),
    Correlator(
        "cosine",
        _("Cosine of token pairs, centred"),
        "cosine of two tokens of different sequences, centred",
        _("The narrower the column, the higher d2; heavy ends can be clusters."),
    ),
)
