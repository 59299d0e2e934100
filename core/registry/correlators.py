"""Correlators of one layer, measures between two layers, and per-token quantities: one record each.

These records have no cost: correlators come from the pass over pairs that d2 needs, measures between layers from one
pass over all layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import N_ as _


@dataclass(frozen=True)
class Correlator:
    key: str
    """Key in the warehouse."""
    name: str
    """Name on screens and slides: the English message of the catalogues."""
    formula: str
    meaning: str
    """Interpretation in one sentence, with its limit case."""


def _by_key(*records: Correlator) -> dict[str, Correlator]:
    return {record.key: record for record in records}


CORRELATORS = _by_key(
    Correlator(
        "E1",
        _("E1: first-order correlator, uncentred"),
        "|mean x|^2 / mean |x|^2 - 1/N",
        "How much of a cloud is a common offset: near 0 without one, near 1 where all points nearly coincide.",
    ),
    Correlator(
        "mean_cosine",
        _("Mean cosine of token pairs"),
        "(N |mean u|^2 - 1) / (N - 1), u = x / |x|",
        "The mean cosine of two different tokens, uncentred: 0 for directions without preference, 1 for equal ones.",
    ),
    Correlator(
        "C2",
        _("C2: second-order correlator, centred"),
        "mean of cos^2 over pairs of different sequences, points centred; 1 / d2",
        "How strongly two tokens share directions: 1/d for isotropic points in d dimensions.",
    ),
    Correlator(
        "cosine_kurtosis",
        _("Excess kurtosis of the centred cosines"),
        "mean c^4 / (mean c^2)^2 - 3 of the centred cosines c of a sub-sample",
        "Above 0 the cloud has clusters; in d isotropic dimensions it is -6 / (d + 2).",
    ),
    Correlator(
        "nonlinearity_ratio_8",
        _("GRIDE n1=8 of Gaussian points of equal covariance, over the data's"),
        "GRIDE at ranks 8 and 16 of the Gaussian surrogate / of the data",
        "1 for a Gaussian cloud, above it where the points lie on fewer dimensions than their covariance allows.",
    ),
    Correlator(
        "top_coordinates_1",
        _("Share of variance: leading coordinate"),
        "largest variance of a coordinate / sum of all",
        "How much of the variance lies on one coordinate: 1/d for d equal ones, 1 where nothing else varies.",
    ),
    Correlator(
        "top_coordinates_3",
        _("Share of variance: 3 leading coordinates"),
        "sum of the 3 largest variances of coordinates / sum of all",
        "How much of the variance lies on three coordinates: 3/d for d equal ones, 1 where nothing else varies.",
    ),
    Correlator(
        "top_coordinates_10",
        _("Share of variance: 10 leading coordinates"),
        "sum of the 10 largest variances of coordinates / sum of all",
        "How much of the variance lies on ten coordinates: 10/d for d equal ones, 1 where nothing else varies.",
    ),
    Correlator(
        "top_components_1",
        _("Share of variance: leading principal component"),
        "l_1 / sum of l, eigenvalues l of the covariance",
        "How much of the variance lies on one principal component: 1/d for d equal ones, 1 where nothing else varies.",
    ),
    Correlator(
        "top_components_3",
        _("Share of variance: 3 leading principal components"),
        "sum of l_1 to l_3 / sum of l, eigenvalues l of the covariance",
        "How much of the variance lies on three principal components: 3/d for d equal ones, 1 where nothing else varies.",
    ),
    Correlator(
        "top_components_10",
        _("Share of variance: 10 leading principal components"),
        "sum of l_1 to l_10 / sum of l, eigenvalues l of the covariance",
        "How much of the variance lies on ten principal components: 10/d for d equal ones, 1 where nothing else varies.",
    ),
    Correlator(
        "variance_top_1",
        _("Share of the variance held by 1 % of the tokens"),
        "sum of |x - mean|^2 over the 1 % of tokens where it is largest / over all",
        "Near 0.01 where all tokens lie equally far out, near 1 where few tokens make up the whole spread.",
    ),
    Correlator(
        "variance_top_10",
        _("Share of the variance held by 10 % of the tokens"),
        "sum of |x - mean|^2 over the 10 % of tokens where it is largest / over all",
        "Near 0.1 where all tokens lie equally far out, near 1 where a tenth of them makes up the whole spread.",
    ),
    Correlator(
        "large_norm_tokens",
        _("Tokens with a large norm"),
        "number of tokens with a norm above norm_factor times the layer's median",
        "Tokens that the mask leaves out for their norm, counted at each layer before masking.",
    ),
    Correlator(
        "large_norm_ratio",
        _("Largest norm over the layer's median"),
        "max |x| / median |x| before masking",
        "The size of the attention sinks.",
    ),
    Correlator(
        "large_norm_at_start",
        _("Share of large-norm tokens at position 0"),
        "tokens of large norm that stand first in their window / all of them",
        "Whether the tokens of large norm are those that open a window.",
    ),
)
PAIR_MEASURES = _by_key(
    Correlator(
        "autocorrelation",
        _("Autocorrelation C(l, m), centred"),
        "mean over tokens of the cosine of a token's states at layers l and m, centred",
        "1 where a token keeps its direction from l to m, 0 where nothing of it is left.",
    ),
    Correlator(
        "autocorrelation_raw",
        _("Autocorrelation C(l, m), uncentred"),
        "mean over tokens of the cosine of a token's states at layers l and m",
        "As autocorrelation, the offset that all tokens share included.",
    ),
    Correlator(
        "displacement",
        _("Mean squared displacement of directions, 2 − 2C"),
        "2 - 2 C(l, m), centred",
        "How far directions move between two layers: 0 for none, 2 where they have become orthogonal.",
    ),
    Correlator(
        "kept",
        _("Dimensions that both layers share"),
        "k = d2_l d2_m C(l, m), on one sub-sample; layer_a <= layer_b",
        "Of equal orthogonal directions, how many both layers have: d2 for equal layers, 0 for independent ones.",
    ),
    Correlator(
        "common_dimension",
        _("Common dimension of two layers, 1 / C(l, m)"),
        "1 / common_correlator, NULL where that is not above 0; layer_a <= layer_b",
        "d2 of one layer for l = m, never below sqrt(d2_l d2_m), without bound where two layers share nothing.",
    ),
    Correlator(
        "neighbour_overlap",
        _("Neighbourhood overlap: share of common neighbours"),
        "mean share of the n / 100 nearest neighbours that a token has at both layers",
        "1 where the neighbourhoods are the same, n / 100 over n where they are unrelated.",
    ),
    Correlator(
        "information_imbalance",
        _("Information imbalance from the first layer to the second"),
        "2/n times the mean rank at layer m of the nearest neighbour at layer l",
        "0 where layer l tells the neighbours at m, 1 where it tells nothing of them.",
    ),
    Correlator(
        "cka",
        _("Linear CKA, debiased"),
        "HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), unbiased, linear kernels",
        "1 where two layers are equal up to rotation and scale, 0 in expectation where they are independent.",
    ),
    Correlator(
        "displacement_exponent",
        _("Exponent of the displacement over layers (1 = random walk)"),
        "slope of log displacement on log |l - m| over inner layers",
        "1 for a random walk over layers, 2 for a straight path, less where movement slows down.",
    ),
    Correlator(
        "common_correlator",
        _("Common correlator C(l, m) of token pairs"),
        "mean of cos_l cos_m over pairs of different sequences, both centred; layer_a <= layer_b; C(l, l) = 1 / d2",
        "Whether pairs of tokens are alike in the same way at both layers; 0 in expectation where they are independent.",
    ),
    Correlator(
        "removed",
        _("Dimensions of the earlier layer that are gone"),
        "d2_l - k, for successive layers, from layer 0 and to the last",
        "What of layer_a layer_b no longer has; below 0 where directions have only become more or less equal.",
    ),
    Correlator(
        "added",
        _("Dimensions of the later layer that are new"),
        "d2_m - k, for successive layers, from layer 0 and to the last",
        "What layer_b has that layer_a had not; below 0 where directions have only become more or less equal.",
    ),
)
QUANTITIES = _by_key(
    Correlator(
        "local_d2",
        _("Local d2 around each token"),
        "1 / C2 of the 50 nearest neighbours of a token, centred on their own mean",
        "The dimension of a token's neighbourhood.",
    ),
    Correlator(
        "distance_to_mean",
        _("Distance of each token to the mean"),
        "|x - mean|, over the layer's median",
        "How far out a token lies.",
    ),
    Correlator(
        "variance_share",
        _("Share of the variance that each token holds, times N"),
        "N |x - mean|^2 / sum |x - mean|^2",
        "1 where every token lies equally far out; a token of 8 of 800 holds one hundredth of the variance.",
    ),
    Correlator(
        "cosine_to_mean",
        _("Cosine of each token to the mean, uncentred"),
        "x.mean / (|x| |mean|)",
        "1 for a token that is all common offset, 0 for one that has nothing of it.",
    ),
    Correlator(
        "neighbours_kept",
        _("Share of neighbours kept up to the next layer"),
        "share of a token's n / 100 nearest that are among its nearest at the next layer",
        "Whether a block rearranges the neighbourhood of a token.",
    ),
    Correlator(
        "displacement",
        _("Squared displacement of directions up to the next layer"),
        "2 - 2 cos of a token's centred states at a layer and at the next",
        "How far a block turns a token.",
    ),
    Correlator(
        "cosine",
        _("Cosine of token pairs, centred"),
        "cosine of two tokens of different sequences, centred",
        "What C2 is the mean square of.",
    ),
)
