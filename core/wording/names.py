"""What everything that a measurement gives is called: one table, a name for each (kind, key), in every language.

The English name is the message of the catalogues. A key that has no name yet is shown as it is.
"""

from __future__ import annotations

import re

from core.locale import translator
from core.tables import NOT_STATED


def _(message: str) -> str:
    """Marks a message for the catalogues; it is translated when a reader's language is known."""
    return message


NAMES: dict[tuple[str, str], str] = {
    ("estimator", "d2"): _("d2: second-order correlator dimension"),
    ("estimator", "d2_all_pairs"): _("d2 of all pairs, those within a window included"),
    ("estimator", "d2_typed"): _("d2 without pairs of one token type"),
    ("estimator", "local_d2"): _("Local d2: second-order dimension of neighbourhoods"),
    ("estimator", "gride"): _("GRIDE: nearest-neighbour dimension at a chosen rank"),
    ("estimator", "two_nn"): _("TwoNN: two-nearest-neighbour dimension"),
    ("estimator", "two_nn_censored"): _("TwoNN, largest tenth of the ratios censored"),
    ("estimator", "two_nn_linear"): _("TwoNN by linear fit, largest tenth of the ratios left out"),
    ("estimator", "mle"): _("MLE: maximum-likelihood neighbour dimension (k=20)"),
    ("estimator", "correlation_integral"): _("Correlation integral between the ranks 10 and 20"),
    ("estimator", "participation_ratio"): _("Participation ratio of the covariance spectrum"),
    ("estimator", "effective_rank"): _("Effective rank of the covariance spectrum"),
    ("estimator", "stable_rank"): _("Stable rank of the covariance spectrum"),
    ("transform", "centred"): _("centred"),
    ("transform", "abtt3"): _("three leading components removed"),
    ("transform", "zscore"): _("every coordinate scaled to one variance"),
    ("transform", "gaussian_surrogate"): _("Gaussian points of equal covariance"),
    ("cloud", "one_per_type"): _("one per type"),
    ("cloud", "one_per_word"): _("one per word"),
    ("cloud", "all_tokens"): _("all tokens"),
    ("cloud", "last_token"): _("last token"),
    ("cloud", "per_prompt"): _("per prompt"),
    ("cloud", "unmasked"): _("tokens before masking"),
    ("correlator", "E1"): _("E1: first-order correlator, uncentred"),
    ("correlator", "mean_cosine"): _("Mean cosine of token pairs"),
    ("correlator", "C2"): _("C2: second-order correlator, centred"),
    ("correlator", "cosine_kurtosis"): _("Excess kurtosis of the centred cosines"),
    ("correlator", "nonlinearity_ratio_8"): _("GRIDE n1=8 of Gaussian points of equal covariance, over the data's"),
    ("correlator", "large_norm_tokens"): _("Tokens with a large norm"),
    ("correlator", "large_norm_ratio"): _("Largest norm over the layer's median"),
    ("correlator", "large_norm_at_start"): _("Share of large-norm tokens at position 0"),
    ("pair", "autocorrelation"): _("Autocorrelation C(l, m), centred"),
    ("pair", "autocorrelation_raw"): _("Autocorrelation C(l, m), uncentred"),
    ("pair", "displacement"): _("Mean squared displacement of directions, 2 − 2C"),
    ("pair", "displacement_exponent"): _("Exponent of the displacement over layers (1 = random walk)"),
    ("pair", "neighbour_overlap"): _("Neighbourhood overlap: share of common neighbours"),
    ("pair", "information_imbalance"): _("Information imbalance from the first layer to the second"),
    ("pair", "cka"): _("Linear CKA, debiased"),
    ("quantity", "local_d2"): _("Local d2 around each token"),
    ("quantity", "distance_to_mean"): _("Distance of each token to the mean"),
    ("quantity", "neighbours_kept"): _("Share of neighbours kept up to the next layer"),
    ("quantity", "displacement"): _("Squared displacement of directions up to the next layer"),
    ("quantity", "cosine"): _("Cosine of token pairs, centred"),
    ("check", "norm_dropped_share"): _("Share of tokens masked for their norm"),
    ("check", "duplicates"): _("Share of duplicate points"),
    ("check", "unknown_token_share"): _("Share of unknown tokens"),
    ("check", "tokens_per_character"): _("Tokens per character"),
    ("check", "token_types"): _("Number of token types"),
    ("check", "sequence_invariance"): _("Shift of log d2 with the number of windows"),
    ("check", "sequence_invariance_all_pairs"): _("Shift of log d2 of all pairs with the number of windows"),
    ("check", "sequence_share"): _("Share of variance between windows"),
    ("check", "n_invariance"): _("Shift of log d2 with the number of points"),
    ("check", "second_draw"): _("Shift of the working log d2 from the first draw of the text"),
    ("check", "vocabulary_shift"): _("Shift of log d2 with the breadth of the vocabulary"),
    ("check", "d2_abtt3"): _("Contraction ratio with three components removed"),
    ("check", "words_lost_share"): _("Share of word occurrences lost"),
    ("outcome", "pass"): _("passed"),
    ("outcome", "warn"): _("warning"),
    ("outcome", "veto"): _("veto"),
    ("pass", "text"): _("text"),
    ("pass", "shuffled"): _("shuffled text"),
    ("pass", "random_init"): _("random weights"),
    ("protocol", "quick"): _("quick: 32 windows of 128 tokens, no controls"),
    ("protocol", "standard"): _("standard: 64 windows of 256 tokens, with controls"),
    ("protocol", "thorough"): _("thorough: standard with more texts, samples and estimators"),
    ("protocol", "last-token"): _("last token of many short windows, as in arXiv 2405.15471"),
    ("protocol", "per-prompt"): _("all tokens of one prompt, averaged over prompts, as in arXiv 2501.10573"),
    ("verdict", "found"): _("found"),
    ("verdict", "not_found"): _("not found"),
    ("verdict", "undecided"): _("undecided"),
    ("kind", "decoder"): _("decoder"),
    ("kind", "encoder"): _("encoder"),
    ("kind", "encoder_decoder"): _("encoder-decoder"),
    ("stack", "main"): _("its only blocks"),
    ("stack", "encoder"): _("its encoder"),
    ("stack", "decoder"): _("its decoder"),
    ("state", "residual"): _("residual stream"),
    ("state", "post_norm"): _("after the final norm"),
    ("phase", "queued"): _("waiting for its turn"),
    ("phase", "load"): _("loading"),
    ("phase", "convert"): _("converting the GGUF file"),
    ("phase", "forward"): _("reading text"),
    ("phase", "geometry"): _("measuring layers"),
    ("phase", "layers"): _("comparing layers"),
    ("phase", "random_init"): _("control: random weights"),
    ("phase", "shuffled"): _("control: shuffled text"),
    ("phase", "calibrate"): _("measuring Gaussian points"),
    ("language", "en"): _("English"),
    ("language", "ja"): _("Japanese"),
    ("language", "code"): _("code"),
    ("domain", "user's own"): _("own text"),
    ("domain", "chat messages"): _("chat messages"),
    ("domain", "technical reference"): _("technical reference"),
    ("domain", "source code"): _("source code"),
    ("domain", "business and general knowledge"): _("business and general knowledge"),
    ("use_class", "general"): _("general"),
    ("use_class", "scarce_data"): _("scarce data"),
    ("use_class", "safety_critical"): _("safety-critical"),
    ("relation", "instruction-tuned, then quantised to GGUF Q4_1"): _("instruction-tuned, then quantised to GGUF Q4_1"),
    ("relation", "fine-tuned for sentence similarity"): _("fine-tuned for sentence similarity"),
    ("relation", "instruct"): _("instruction-tuned"),
    ("relation", "instruction-tuned"): _("instruction-tuned"),
    ("relation", "fine-tuned"): _("fine-tuned"),
    ("relation", "quantised"): _("quantised"),
    ("relation", NOT_STATED): _("not stated"),
}

SKDIM = {
    "corr_int": "CorrInt",
    "corrint": "CorrInt",
    "danco": "DANCo",
    "danco_fit": "DANCo",
    "dancofit": "DANCo",
    "ess": "ESS",
    "fisher_s": "FisherS",
    "fishers": "FisherS",
    "gride": "GRIDE",
    "knn": "KNN",
    "lpca": "lPCA",
    "mada": "MADA",
    "mind_ml": "MiND ML",
    "mle": "MLE",
    "mom": "MOM",
    "ph": "PH",
    "tle": "TLE",
    "two_nn": "TwoNN",
    "twonn": "TwoNN",
}
"""How scikit-dimension writes its own estimators: proper names, the same in every language."""

SYMBOLS = {
    "gride": "GRIDE",
    "two_nn": "TwoNN",
    "two_nn_censored": "TwoNN censored",
    "two_nn_linear": "TwoNN linear",
    "mle": "MLE",
    "local_d2": "d2(k)",
    "d2_typed": "d2 typed",
    "d2_all_pairs": "d2 all pairs",
    "participation_ratio": "PR",
    "effective_rank": "erank",
    "stable_rank": "srank",
    "correlation_integral": "CorrInt",
}


def name(kind: str, key: str, language: str) -> str:
    """The name of `key` among things of its `kind`: estimator, cloud, transform, check, pass, ..."""
    message = NAMES.get((kind, key))
    return key if message is None else translator(language)(message)


def control_name(pass_: str, model_seed: int | None, language: str) -> str:
    """`random weights, seed 1`: a pass with the seed of its weights where it has one."""
    told = name("pass", pass_, language)
    if pass_ != "random_init" or model_seed is None:
        return told
    return translator(language)(_("{name}, seed {seed}")).format(name=told, seed=model_seed)


def estimator_name(estimator: str, language: str, n1: int | None = None, n2: int | None = None) -> str:
    """What the estimator is called in a list of choices; n2 is the number of neighbours where there is no n1."""
    foreign = _of_skdim(estimator)
    if foreign is not None:
        return translator(language)(_("{method} (scikit-dimension)")).format(method=foreign)
    estimator, n1, n2 = _of_registry(estimator, n1, n2)
    told = name("estimator", estimator, language)
    if estimator == "gride" and n1 is not None:
        return f"{told} (n1={n1})" if n2 is None else f"{told} (n1={n1}, n2={n2})"
    return f"{told} (k={n2})" if estimator == "local_d2" and n2 is not None else told


def estimator_symbol(estimator: str, n1: int | None = None, n2: int | None = None) -> str:
    """The short form for titles and axes: the same in both languages."""
    foreign = _of_skdim(estimator)
    if foreign is not None:
        return f"{foreign} skdim"
    estimator, n1, n2 = _of_registry(estimator, n1, n2)
    symbol = SYMBOLS.get(estimator, estimator)
    if estimator == "gride" and n1 is not None:
        return f"{symbol} n1={n1}"
    if estimator == "mle":
        return f"{symbol} k={n2 or 20}"
    return f"{symbol} k={n2}" if estimator == "local_d2" and n2 is not None else symbol


def _of_skdim(estimator: str) -> str | None:
    if not estimator.startswith("skdim_"):
        return None
    method = estimator.removeprefix("skdim_")
    return SKDIM.get(method.lower(), method)


def _of_registry(estimator: str, n1: int | None, n2: int | None) -> tuple[str, int | None, int | None]:
    """The registry of estimators writes `gride_8` for GRIDE at ranks 8 and 16, `local_d2_50` for local d2 at k=50."""
    found = re.fullmatch(r"(gride|local_d2)_(\d+)", estimator)
    if not found:
        return estimator, n1, n2
    scale = int(found[2])
    return ("gride", scale, 2 * scale) if found[1] == "gride" else ("local_d2", None, scale)
