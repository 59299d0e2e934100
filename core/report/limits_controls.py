"""What controls, vetoes and tokenizers leave open: the part of `limits` that asks what a shape is evidence of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import polars as pl

from core.analysis.controls import controls_of
from core.locale import translator
from core.report import wording
from core.report.labels import VETO_MARK, shortened


@dataclass(frozen=True)
class Limit:
    """A question that a reader will ask, and why these runs do not answer it."""

    question: str
    reason: str


def random_control(runs: pl.DataFrame, language: str) -> Limit | None:
    """Random weights were not measured, or show the shape as well."""
    _ = translator(language)
    text = texts_of(runs)
    without = text.filter(pl.col("qualifiers").list.contains("no_random_init").fill_null(True))
    same = text.filter(_qualified("random_init_same"))
    reasons = []
    if same.height:
        told = _("Not shown for {names}: the same architecture with random weights has the shape as well.")
        reasons.append(told.format(names=names_of(same, text, language)))
    if without.height:
        told = _("No random control for {names}: the same architecture under random weights was not measured.")
        reasons.append(told.format(names=names_of(without, text, language)))
    return Limit(_("Does the shape come from training?"), _sentences(reasons, language)) if reasons else None


def shuffled_text(runs: pl.DataFrame, language: str) -> Limit | None:
    """Shuffled tokens show the shape as well, or were not measured."""
    _ = translator(language)
    text = texts_of(runs)
    same = text.filter(_qualified("shuffled_same"))
    measured = [run["run_id"] for run in text.iter_rows(named=True) if _has_shuffled(run, runs)]
    without = text.filter(~pl.col("run_id").is_in([*measured, *same["run_id"]]))
    reasons = []
    if same.height:
        told = _("No evidence of it: shuffled tokens have the same shape ({names}), from vocabulary and weights alone.")
        reasons.append(told.format(names=names_of(same, text, language)))
    if without.height:
        told = _("Not known for {names}: there is no run on shuffled tokens.")
        reasons.append(told.format(names=names_of(without, text, language)))
    return Limit(_("Is the shape about what the text says?"), _sentences(reasons, language)) if reasons else None


def tokenizers(runs: pl.DataFrame, language: str) -> Limit | None:
    """Token types belong to one tokenizer; words are shared where they were measured."""
    _ = translator(language)
    text = texts_of(runs)
    count = text["tokenizer_hash"].n_unique()
    if count < 2:
        return None
    question = _("Can models with different tokenizers be compared?")
    shared = text["words_hash"].null_count() == 0 and text["words_hash"].n_unique() == 1
    if shared:
        return Limit(question, _("Only on one point per word: a value on token types belongs to one tokenizer."))
    reason = _("{count} tokenizers cut the text into other types, and these runs share no set of words.")
    return Limit(question, reason.format(count=count))


def outcomes(runs: pl.DataFrame, checks: pl.DataFrame, language: str) -> Limit | None:
    """Vetoes and warnings of the runs on text; that a control fails its checks is no fault of the text's numbers."""
    _ = translator(language)
    text = texts_of(runs)
    own = checks.filter(pl.col("run_id").is_in(text["run_id"].to_list()))
    told = []
    vetoed = text.filter(pl.col("run_id").is_in(own.filter(outcome="veto")["run_id"].to_list()))
    if vetoed.height:
        names = names_of(vetoed, text, language)
        sentence = _("Not {names} (marked {mark}): {checks}.")
        told.append(sentence.format(names=names, mark=VETO_MARK, checks=_counted(own, "veto", language)))
    if own.filter(outcome="warn").height:
        told.append(_("Not without reserve. {checks}.").format(checks=_counted(own, "warn", language)))
    return Limit(_("Can every run be relied on?"), _sentences(told, language)) if told else None


def texts_of(runs: pl.DataFrame) -> pl.DataFrame:
    return runs.filter(pl.col("pass") == "text")


def names_of(some: pl.DataFrame, among: pl.DataFrame, language: str) -> str:
    """The models' names, or how many of how many, so that the line stays one line."""
    _ = translator(language)
    names = some["name"].unique(maintain_order=True).to_list()
    if len(names) <= 2:
        return _(", ").join(shortened(name) for name in names)
    return _("{count} of {total} models").format(count=len(names), total=among["name"].n_unique())


def _counted(checks: pl.DataFrame, outcome: str, language: str) -> str:
    """`Share of duplicate points: veto (runs: 1)`, one for each check that came out so."""
    _ = translator(language)
    counted = checks.filter(outcome=outcome).group_by("check_name", maintain_order=True)
    told = [
        _("{check}: {outcome} (runs: {count})").format(
            check=wording.check_name(row["check_name"], language),
            outcome=wording.outcome_name(outcome, language),
            count=row["run_id"],
        )
        for row in counted.agg(pl.col("run_id").n_unique()).to_dicts()
    ]
    return _("; ").join(told)


def _sentences(told: list[str], language: str) -> str:
    """One after the other: with a space between them where the language wants one."""
    _ = translator(language)
    return reduce(lambda before, after: _("{first} {second}").format(first=before, second=after), told)


def _qualified(qualifier: str) -> pl.Expr:
    return pl.col("qualifiers").list.contains(qualifier).fill_null(False)


def _has_shuffled(run: dict, runs: pl.DataFrame) -> bool:
    return controls_of(run, runs).filter(pl.col("pass") == "shuffled").height > 0
