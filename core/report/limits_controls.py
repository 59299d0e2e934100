"""What controls, vetoes and tokenizers leave open: the part of `limits` that asks what a shape is evidence of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from core.analysis.ranking import RankingGroup
from core.locale import translator
from core.report import wording
from core.report.labels import VETO_MARK, shortened

OF_SHUFFLED_TEXT = ("shuffled_same", "shuffled_unclear", "shuffled_failed", "shuffled_differs")
"""One of them stands beside every verdict that was judged with shuffled text, or for which that failed."""


@dataclass(frozen=True)
class Limit:
    """A question that a reader will ask, and why these runs do not answer it."""

    question: str
    reason: str


def random_control(runs: pl.DataFrame, language: str) -> Limit | None:
    """Random weights were not measured, decide nothing, or show the shape as well."""
    _ = translator(language)
    text = texts_of(runs)
    without = text.filter(pl.col("qualifiers").list.contains("no_random_init").fill_null(True))
    told = [
        (
            text.filter(_qualified("random_init_same")),
            _("Not shown for {names}: the same architecture with random weights has the shape as well."),
        ),
        (
            text.filter(_qualified("random_init_unclear")),
            _("Left open for {names}: the control of random weights is undecided or vetoed."),
        ),
        (
            text.filter(_qualified("random_init_failed")),
            _("Not known for {names}: random weights could not be measured."),
        ),
        (without, _("No random control for {names}: the same architecture under random weights was not measured.")),
    ]
    return _limit(_("Does the shape come from training?"), told, text, language)


def shuffled_text(runs: pl.DataFrame, language: str) -> Limit | None:
    """Shuffled tokens show the shape as well, decide nothing, or were not measured, as the verdicts say."""
    _ = translator(language)
    text = texts_of(runs)
    judged = pl.any_horizontal(map(_qualified, OF_SHUFFLED_TEXT))
    told = [
        (
            text.filter(_qualified("shuffled_same")),
            _("No evidence of it: shuffled tokens have the same shape ({names}), from vocabulary and weights alone."),
        ),
        (
            text.filter(_qualified("shuffled_unclear")),
            _("Left open for {names}: the control of shuffled tokens is undecided or vetoed."),
        ),
        (
            text.filter(_qualified("shuffled_failed")),
            _("Not known for {names}: shuffled tokens could not be measured."),
        ),
        (text.filter(~judged), _("Not known for {names}: judged without a run on shuffled tokens.")),
    ]
    return _limit(_("Is the shape about what the text says?"), told, text, language)


def tokenizers(runs: pl.DataFrame, words: Sequence[RankingGroup], language: str) -> Limit | None:
    """Token types belong to one tokenizer; `words` are the groups that can be compared all the same."""
    _ = translator(language)
    text = texts_of(runs)
    count = text["tokenizer_hash"].n_unique()
    if count < 2:
        return None
    question = _("Can models with different tokenizers be compared?")
    meeting = {
        run_id for group in words if group.rows["tokenizer_hash"].n_unique() > 1 for run_id in group.rows["run_id"]
    }
    if not meeting:
        reason = _(
            "{count} tokenizers cut the text into other types, and no two of these runs share kind, protocol, words "
            "and N."
        )
        return Limit(question, reason.format(count=count))
    if len(words) == 1 and meeting == set(text["run_id"]):
        return Limit(question, _("Only on one point per word: a value on token types belongs to one tokenizer."))
    some = text.filter(pl.col("run_id").is_in(list(meeting)))
    reason = _("Only some ({names}), on one point per word: the others differ from them in kind, protocol, words or N.")
    return Limit(question, reason.format(names=names_of(some, text, language)))


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
    return Limit(_("Can every run be relied on?"), wording.sentences(told, language)) if told else None


def texts_of(runs: pl.DataFrame) -> pl.DataFrame:
    return runs.filter(pl.col("pass") == "text")


def names_of(some: pl.DataFrame, among: pl.DataFrame, language: str) -> str:
    """The models' names, or how many of how many, so that the line stays one line.

    A model of which other runs are another case is named with text and protocol.
    """
    _ = translator(language)
    others = among.filter(~pl.col("run_id").is_in(some["run_id"].to_list()))
    divided = set(some["name"]) & set(others["name"])
    names = list(dict.fromkeys(_name(run, run["name"] in divided, language) for run in some.iter_rows(named=True)))
    if len(names) <= 2:
        return _(", ").join(names)
    if divided:
        return _("{count} of {total} runs").format(count=some.height, total=among.height)
    return _("{count} of {total} models").format(count=len(names), total=among["name"].n_unique())


def _name(run: dict[str, Any], is_divided: bool, language: str) -> str:
    name = shortened(run["name"])
    if not is_divided:
        return name
    _ = translator(language)
    return _("{quantity} ({details})").format(quantity=name, details=f"{run['corpus_name']}, {run['protocol']}")


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


def _limit(question: str, told: list[tuple[pl.DataFrame, str]], text: pl.DataFrame, language: str) -> Limit | None:
    """The sentences whose runs there are, each with their names; None where no sentence has any."""
    reasons = [said.format(names=names_of(some, text, language)) for some, said in told if some.height]
    return Limit(question, wording.sentences(reasons, language)) if reasons else None


def _qualified(qualifier: str) -> pl.Expr:
    return pl.col("qualifiers").list.contains(qualifier).fill_null(False)
