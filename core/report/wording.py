"""Names and sentences that the app and the deck share, so that both say the same thing the same way.

Every text is an English message of the catalogues; keys that have no name yet are shown as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.locale import translator
from core.report.numbers import number as number
from core.report.numbers import rounded as rounded
from core.report.numbers import size_range as size_range
from core.report.numbers import with_interval as with_interval

ESTIMATORS = ("d2", "gride", "two_nn", "mle", "participation_ratio")
CLOUDS = ("one_per_type", "all_tokens")
CORRELATORS = ("E1", "mean_cosine", "C2")
NOT_STATED = "not stated"
"""What a source writes where it does not say something."""


def estimator_name(estimator: str, language: str, n1: int | None = None) -> str:
    """What the estimator is called in a list of choices."""
    _ = translator(language)
    names = {
        "d2": _("d2: second-order correlator dimension"),
        "gride": _("GRIDE: nearest-neighbour dimension at a chosen rank"),
        "two_nn": _("TwoNN: two-nearest-neighbour dimension"),
        "mle": _("MLE: maximum-likelihood neighbour dimension (k=20)"),
        "participation_ratio": _("Participation ratio of the covariance spectrum"),
    }
    name = names.get(estimator, estimator)
    return name if n1 is None or estimator != "gride" else f"{name} (n1={n1})"


def estimator_symbol(estimator: str, n1: int | None = None) -> str:
    """The short form for titles and axes: the same in both languages."""
    symbols = {"gride": "GRIDE", "two_nn": "TwoNN", "mle": "MLE k=20", "participation_ratio": "PR"}
    symbol = symbols.get(estimator, estimator)
    return f"{symbol} n1={n1}" if estimator == "gride" and n1 is not None else symbol


def cloud_name(cloud: str, language: str) -> str:
    _ = translator(language)
    names = {
        "one_per_type": _("one per type"),
        "one_per_word": _("one per word"),
        "all_tokens": _("all tokens"),
        "last_token": _("last token"),
    }
    return names.get(cloud, cloud)


def correlator_name(correlator: str, language: str) -> str:
    _ = translator(language)
    names = {
        "E1": _("E1: first-order correlator, uncentred"),
        "mean_cosine": _("Mean cosine of token pairs"),
        "C2": _("C2: second-order correlator, centred"),
    }
    return names.get(correlator, correlator)


def check_name(check: str, language: str) -> str:
    _ = translator(language)
    names = {
        "norm_dropped_share": _("Share of tokens masked for their norm"),
        "duplicates": _("Share of duplicate points"),
        "unknown_token_share": _("Share of unknown tokens"),
        "tokens_per_character": _("Tokens per character"),
        "token_types": _("Number of token types"),
        "sequence_invariance": _("Shift of log d2 with the number of windows"),
        "sequence_invariance_all_pairs": _("Shift of log d2 of all pairs with the number of windows"),
        "n_invariance": _("Independence of the number of points"),
        "sequence_share": _("Share of variance between windows"),
    }
    return names.get(check, check)


def outcome_name(outcome: str | None, language: str) -> str:
    _ = translator(language)
    names = {"pass": _("passed"), "warn": _("warning"), "veto": _("veto"), None: _("no check was made")}
    return names.get(outcome, str(outcome))


def language_name(code: str, language: str) -> str:
    """The language of a text; `code` is no language but has a name too."""
    _ = translator(language)
    return {"en": _("English"), "ja": _("Japanese"), "code": _("code")}.get(code, code)


def domain_name(domain: str, language: str) -> str:
    """What a text is about, as far as we have a word for it."""
    _ = translator(language)
    names = {
        "user's own": _("own text"),
        "technical reference": _("technical reference"),
        "source code": _("source code"),
        "business and general knowledge": _("business and general knowledge"),
    }
    return names.get(domain, domain)


def text_name(name: str, run: Mapping[str, Any], language: str) -> str:
    """`python-docs (English, technical reference)`; a language that nobody stated is left out."""
    _ = translator(language)
    details = [] if run["corpus_language"] == "unknown" else [language_name(run["corpus_language"], language)]
    details.append(domain_name(run["corpus_domain"], language))
    return _("{quantity} ({details})").format(quantity=name, details=_(", ").join(details))


def relation_name(relation: str, language: str) -> str:
    """How a model was made from its base model; what nobody has named yet is shown as it was recorded."""
    _ = translator(language)
    names = {
        "instruction-tuned, then quantised to GGUF Q4_1": _("instruction-tuned, then quantised to GGUF Q4_1"),
        "fine-tuned for sentence similarity": _("fine-tuned for sentence similarity"),
        "instruct": _("instruction-tuned"),
        "instruction-tuned": _("instruction-tuned"),
        "fine-tuned": _("fine-tuned"),
        "quantised": _("quantised"),
        NOT_STATED: _("not stated"),
    }
    return names.get(relation, relation)


def stated(text: str | None, language: str) -> str:
    """A detail of a score as its source gives it: `not stated` is a word of ours, and is translated."""
    _ = translator(language)
    return _("not stated") if text is None or text == NOT_STATED else text


def kind_name(kind: str, language: str) -> str:
    _ = translator(language)
    return {"decoder": _("decoder"), "encoder": _("encoder")}.get(kind, kind)


def pass_name(pass_: str, language: str) -> str:
    _ = translator(language)
    names = {"text": _("text"), "shuffled": _("shuffled text"), "random_init": _("random weights")}
    return names.get(pass_, pass_)


def qualifier_text(qualifier: str, language: str) -> str:
    """What limits a verdict, short enough to stand in brackets behind it."""
    _ = translator(language)
    names = {
        "no_random_init": _("not controlled against random weights"),
        "no_final_norm": _("no final norm"),
        "check_warned": _("a check gave a warning"),
        "check_vetoed": _("a check vetoed it"),
        "few_types": _("few token types"),
    }
    return names.get(qualifier, qualifier)


def limits_of(qualifiers: Iterable[str] | None, language: str) -> list[str]:
    """What limits a verdict; where nothing was recorded, that too is said."""
    _ = translator(language)
    if qualifiers is None:
        return [_("controls not stated")]
    return [qualifier_text(qualifier, language) for qualifier in qualifiers]


def verdict_word(verdict: str | None, language: str) -> str:
    """Only the word. A reader sees it through `verdict_text` or `verdict_short`, with what limits it."""
    _ = translator(language)
    names = {"found": _("found"), "not_found": _("not found"), "undecided": _("undecided")}
    return names.get(verdict or "undecided", _("undecided"))


def verdict_short(verdict: str | None, qualifiers: Iterable[str] | None, language: str) -> str:
    """For a table column that is headed "expansion-contraction"."""
    _ = translator(language)
    word = verdict_word(verdict, language)
    limits = limits_of(qualifiers, language)
    return _("{word} ({limits})").format(word=word, limits=_("; ").join(limits)) if limits else word


def verdict_text(verdict: str | None, qualifiers: Iterable[str] | None, language: str) -> str:
    """The whole verdict: "expansion-contraction: found (not controlled against random weights)"."""
    _ = translator(language)
    return _("expansion-contraction: {verdict}").format(verdict=verdict_short(verdict, qualifiers, language))


def layer_axis(same_depth: bool, language: str) -> str:
    _ = translator(language)
    return (
        _("Layer (0 = embedding output)") if same_depth else _("Relative depth (0 = embedding output, 1 = last block)")
    )


def dimension_axis(
    estimator: str, cloud: str, language: str, n_points: tuple[int, int] | None = None, n1: int | None = None
) -> str:
    """`Estimated dimension (d2, one per type, N=800)`: an estimate is never named without what it depends on."""
    _ = translator(language)
    inside = [estimator_symbol(estimator, n1), *_points_named(cloud, language, n_points)]
    return _("Estimated dimension ({details})").format(details=_(", ").join(inside))


def correlator_axis(correlator: str, cloud: str, language: str, n_points: tuple[int, int]) -> str:
    """`Mean cosine of token pairs (one per type, N=800)`: it depends on the cloud as a dimension does."""
    _ = translator(language)
    details = _(", ").join(_points_named(cloud, language, n_points))
    return _("{quantity} ({details})").format(quantity=correlator_name(correlator, language), details=details)


def _points_named(cloud: str, language: str, n_points: tuple[int, int] | None) -> list[str]:
    known = n_points is not None and n_points[1]
    return [cloud_name(cloud, language), *([f"N={size_range(n_points)}"] if known and n_points else [])]


def scatter_caution(language: str) -> str:
    """The line that stands under every picture of dimension against score."""
    _ = translator(language)
    return _(
        "The published claim (arXiv 2503.22547) concerns models of one architecture and size; "
        "arXiv 2602.20433 found no reliable prediction of scores. This picture shows numbers side by side, no more."
    )


def which_ten(language: str) -> str:
    """Which of the two dimensions the literature's magnitudes belong to."""
    _ = translator(language)
    return _(
        'The literature\'s "about ten" (arXiv 2503.22547, as summarised) means the final dimension; '
        "for the working space it says about a hundred."
    )


def own_definition(language: str) -> str:
    _ = translator(language)
    return _(
        "d2 is our definition, not the source paper's: one over the mean squared cosine of token pairs, "
        "centred, one token per type."
    )


def no_score(language: str) -> str:
    _ = translator(language)
    return _("no published score for this model")


def score_text(row: dict, language: str) -> str:
    """A score of `ranking.with_scores`, with what it really belongs to."""
    _ = translator(language)
    match = row["score_match"]
    if match == "none" or row["score"] is None:
        return no_score(language)
    error = "" if row["score_std_error"] is None else f" ± {row['score_std_error']:.2g}"
    value = f"{number(row['score'])}{error}"
    if match == "base":
        return _("{value} (base model {repository})").format(value=value, repository=row["score_repository"])
    return _("{value} (revision not stated)").format(value=value) if match == "revision_not_stated" else value


def benchmark_name(benchmark: str, metric: str | None, n_shot: int | None, language: str) -> str:
    """`arc_easy (acc, 5-shot)`: scores of other metrics or shots are other scores."""
    _ = translator(language)
    details = [_("metric not stated") if metric == NOT_STATED else metric] if metric else []
    if n_shot is not None:
        details.append(_("{n}-shot").format(n=n_shot))
    named = _("{quantity} ({details})")
    return named.format(quantity=benchmark, details=_(", ").join(details)) if details else benchmark
