"""What a set of runs cannot decide, read off what the runs lack; fixed is only what holds for every measurement."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from core.analysis.ranking import RankingGroup, groups
from core.locale import translator
from core.pilots.registration import Pilot
from core.report import wording
from core.report.labels import shortened
from core.report.limits_controls import Limit, names_of, outcomes, random_control, shuffled_text, texts_of, tokenizers
from core.report.pilot_words import limits_of_pilot

__all__ = ["ENOUGH_MODELS", "ENOUGH_WINDOWS", "Limit", "limits"]

ENOUGH_WINDOWS = 64
"""Fewer windows of text and the final dimension of some models follows their number."""
ENOUGH_MODELS = 10
"""Fewer models with a score cannot carry a test of a relation."""


def limits(
    runs: pl.DataFrame,
    checks: pl.DataFrame,
    scored: pl.DataFrame,
    words: Sequence[RankingGroup],
    language: str,
    pilot: Pilot | None = None,
) -> list[Limit]:
    """`scored` is `ranking.with_scores` and `words` `ranking.across_tokenizers` of the same runs.

    They may hold the control runs of those on text, but no runs without a verdict. What a pilot's use class forbids
    comes first.
    """
    text, scored = texts_of(runs), scored.filter(pl.col("pass") == "text")
    found = [
        *limits_of_pilot(pilot, scored, ENOUGH_MODELS, language),
        _scores(scored, language),
        _causes(language),
        outcomes(runs, checks, language),
        random_control(runs, language),
        shuffled_text(runs, language),
        _texts(text, language),
        _seeds(text, language),
        _sizes(text, language),
        _windows(text, language),
        _groups(text, language),
        tokenizers(runs, words, language),
        _weights(text, language),
        _final_norm(text, language),
        _dtypes(text, language),
        _paper(language),
    ]
    return [limit for limit in found if limit is not None]


def _scores(scored: pl.DataFrame, language: str) -> Limit | None:
    _ = translator(language)
    question = _("Which model is good at its tasks?")
    own = scored.filter(pl.col("score_match") == "own")["model_id"].n_unique()
    exact = scored.filter(pl.col("score_match") == "exact")["model_id"].n_unique()
    unsure = scored.filter(pl.col("score_match").is_in(["revision_not_stated", "mapped"]))["model_id"].n_unique()
    if max(own, exact) >= ENOUGH_MODELS:
        return None
    if own:
        reason = _("Models with a score on the user's own task: {count}; a test needs at least {needed}.")
        return Limit(question, reason.format(count=own, needed=ENOUGH_MODELS))
    if exact:
        reason = _("Models with a published score of their own: {count}; a test needs at least {needed}.")
        return Limit(question, reason.format(count=exact, needed=ENOUGH_MODELS))
    if unsure:
        reason = _("No score names the revision that it belongs to (models: {count}); a test needs {needed} that do.")
        return Limit(question, reason.format(count=unsure, needed=ENOUGH_MODELS))
    if scored.filter(pl.col("score_match") == "base").height:
        return Limit(question, _("No task evidence: the only published scores here belong to base models."))
    return Limit(question, _("No task evidence: there is no published score for any of these models."))


def _causes(language: str) -> Limit:
    _ = translator(language)
    return Limit(
        _("Does a dimension make a model good or bad?"),
        _("Nothing here was changed and measured again: numbers side by side show no causal relation."),
    )


def _texts(runs: pl.DataFrame, language: str) -> Limit | None:
    _ = translator(language)
    corpora = sorted(runs["corpus_name"].unique().to_list())
    question = _("Would another text give the same numbers?")
    if len(corpora) == 1:
        reason = _("One text only ({corpus}); other domains and languages were not read.")
        return Limit(question, reason.format(corpus=corpora[0]))
    several = runs.group_by("model_id").agg(pl.col("corpus_id").n_unique())
    if several["corpus_id"].min() == len(corpora):
        return None
    reason = _("Not every model has read every text ({corpora}).")
    return Limit(question, reason.format(corpora=_(", ").join(corpora)))


def _seeds(runs: pl.DataFrame, language: str) -> Limit | None:
    _ = translator(language)
    per_model = runs.group_by("model_id", "corpus_id").agg(pl.col("seed").n_unique())
    if per_model.is_empty() or min(per_model["seed"].to_list()) > 1:
        return None
    return Limit(
        _("Would another sample of the text agree?"),
        _("One seed per model: the intervals cover the windows within one sample, not a second sample."),
    )


def _sizes(runs: pl.DataFrame, language: str) -> Limit:
    _ = translator(language)
    sizes = runs["n_points"].drop_nulls().to_list()
    size = wording.size_range((min(sizes), max(sizes))) if sizes else "–"
    return Limit(
        _("Is this the dimension of the whole vocabulary?"),
        _("d2 rises with the number of token types; all values here belong to N={size} and to no other N.").format(
            size=size
        ),
    )


def _windows(runs: pl.DataFrame, language: str) -> Limit | None:
    _ = translator(language)
    fewest = runs["n_sequences"].min()
    if not isinstance(fewest, int) or fewest >= ENOUGH_WINDOWS:
        return None
    return Limit(
        _("Do the values depend on how much text was read?"),
        _("No more than {count} windows in some runs; at least {needed} are advised.").format(
            count=fewest, needed=ENOUGH_WINDOWS
        ),
    )


def _groups(runs: pl.DataFrame, language: str) -> Limit | None:
    _ = translator(language)
    found = groups(runs, lifted=True)
    question = _("Which of these models stands first?")
    if len(found) > 1:
        reason = _("{count} groups differ in kind, tokenizer, text, protocol or N and are never ranked across groups.")
        return Limit(question, reason.format(count=len(found)))
    if runs["model_id"].n_unique() == 1:
        return Limit(question, _("One model: there is nothing to compare it with."))
    return Limit(question, _("No order is called better: a value says how tokens spread, not how well a model works."))


def _weights(runs: pl.DataFrame, language: str) -> Limit | None:
    _ = translator(language)
    derived = runs.filter(pl.col("base_relation").is_not_null()).unique("model_id", maintain_order=True)
    if derived.is_empty():
        return None
    told = [
        _("{name}: {relation}").format(
            name=shortened(run["name"]), relation=wording.relation_name(run["base_relation"], language)
        )
        for run in derived.iter_rows(named=True)
    ]
    shown = told[:2] + ([_("{count} more").format(count=len(told) - 2)] if len(told) > 2 else [])
    return Limit(
        _("Do the numbers hold for the base models?"),
        _("The weights measured are not those of the base model ({relations}).").format(relations=_("; ").join(shown)),
    )


def _final_norm(runs: pl.DataFrame, language: str) -> Limit | None:
    _ = translator(language)
    without = runs.filter(pl.col("qualifiers").list.contains("no_final_norm").fill_null(False))
    if without.is_empty():
        return None
    return Limit(
        _("Are the final states of all models alike?"),
        _("No final norm in {names}: the output of the last block stands for the final state.").format(
            names=names_of(without, runs, language)
        ),
    )


def _dtypes(runs: pl.DataFrame, language: str) -> Limit | None:
    _ = translator(language)
    kinds = sorted(runs["dtype"].unique().to_list())
    if len(kinds) < 2:
        return None
    return Limit(
        _("Does the number format matter?"),
        _("The runs were computed in {dtypes}; the difference was not measured.").format(dtypes=_(", ").join(kinds)),
    )


def _paper(language: str) -> Limit:
    _ = translator(language)
    return Limit(
        _("Is this the quantity of the source paper?"),
        _("Not known: d2 is our definition, not the source paper's (arXiv 2503.22547), and was not compared with it."),
    )
