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
