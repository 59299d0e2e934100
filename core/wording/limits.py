"""What a report leaves open: the questions that a reader will ask and that its runs do not answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from core import wording
from core.analysis.ranking import RankingGroup, groups
from core.analysis.units import FEWEST_TEST
from core.locale import _
from core.pilots.pilot import Pilot
from core.questions.ranking_answer import Answer
from core.registry.specifications import CLAIMS
from core.sources import counted, derived, stated
from core.wording import answers as answer_wording
from core.wording.labels import VETO_MARK, shortened_name


@dataclass(frozen=True)
class Limit:
    """A question that a reader will ask, and why these runs do not answer it."""

    question: str
    reason: str


def _specification_limit(runs: pl.DataFrame) -> Limit | None:
    """Claims that hold under some core specifications and not under others."""
    text = _text_runs(runs)
    depending = text.filter(pl.any_horizontal(pl.col(f"verdict_{claim}") == "depends" for claim in CLAIMS))
    reason = _("Not for {names}: at least one of the two claims depends on the method.")
    return _limit_of_runs(_("Do the claims hold whatever is chosen?"), [(depending, reason)], text)


def _control_limit(runs: pl.DataFrame) -> Limit | None:
    """Claims that a control shows as well or could not have shown, and claims without a control."""
    text = _text_runs(runs)
    sentences = {
        ("control_shows_it",): _("Not shown for {names}: a control shows it as well."),
        ("control_not_exceeded",): _("Left open for {names}: the text is not clearly above a control."),
        ("control_no_power",): _("Left open for {names}: the controls could not have shown it."),
        ("control_not_usable", "control_failed"): _("Left open for {names}: no control is usable."),
        ("no_control",): _("Not known for {names}: no control that could have shown it was measured."),
    }
    cases = [(text.filter(_has_reason(*keys)), sentence) for keys, sentence in sentences.items()]
    return _limit_of_runs(_("Does the shape come from training?"), cases, text)


def _shuffled_text_limit(runs: pl.DataFrame, against_controls: pl.DataFrame) -> Limit | None:
    """What shuffled text says about the two dimensions themselves. `against_controls` are rows of run_controls."""
    text = _text_runs(runs)
    own = against_controls.filter(pl.col("claim").is_in(["inner_max", "final"]))
    runs_by_outcome = {
        outcome: set(own.filter(outcome=outcome)["run_id"]) for outcome in ("same", "differs", "cannot_tell")
    }
    judged = set().union(*runs_by_outcome.values())

    def of(run_ids: set[str]) -> pl.DataFrame:
        return text.filter(pl.col("run_id").is_in(list(run_ids)))

    cases = [
        (
            of(runs_by_outcome["same"] - runs_by_outcome["differs"]),
            _(
                "No evidence of it: with shuffled tokens a dimension is the same within 10 % ({names}), from vocabulary "
                "and weights alone."
            ),
        ),
        (
            of(runs_by_outcome["cannot_tell"] - runs_by_outcome["same"] - runs_by_outcome["differs"]),
            _("Left open for {names}: the interval against shuffled tokens is too wide."),
        ),
        (
            text.filter(~pl.col("run_id").is_in(list(judged))),
            _("Not known for {names}: judged without a run on shuffled tokens."),
        ),
    ]
    return _limit_of_runs(_("Is the shape about what the text says?"), cases, text)


def _tokenizer_limit(runs: pl.DataFrame, words: Sequence[RankingGroup]) -> Limit | None:
    """Values on token types belong to one tokenizer. `words` are the groups that can be compared on one point per word."""
    text = _text_runs(runs)
    count = counted(text["tokenizer_hash"].n_unique(), "models")
    if count < 2:
        return None
    question = _("Can models with different tokenizers be compared?")
    comparable_ids = {
        run_id for group in words if group.rows["tokenizer_hash"].n_unique() > 1 for run_id in group.rows["run_id"]
    }
    if not comparable_ids:
        reason = _(
            "{count} tokenizers cut the text into other types, and no two of these runs share kind, protocol, words "
            "and N."
        )
        return Limit(question, reason.format(count=count))
    if len(words) == 1 and comparable_ids == set(text["run_id"]):
        return Limit(question, _("Only on one point per word: a value on token types belongs to one tokenizer."))
    comparable = text.filter(pl.col("run_id").is_in(list(comparable_ids)))
    reason = _("Only some ({names}), on one point per word: the others differ from them in kind, protocol, words or N.")
    return Limit(question, reason.format(names=_affected_names_text(comparable, text)))


def _check_limit(runs: pl.DataFrame, checks: pl.DataFrame) -> Limit | None:
    """Vetoes and warnings of runs on text. Failed checks of a control do not affect the numbers of the text."""
    text = _text_runs(runs)
    text_checks = checks.filter(pl.col("run_id").is_in(text["run_id"].to_list()))
    sentences = []
    vetoed = text.filter(pl.col("run_id").is_in(text_checks.filter(outcome="veto")["run_id"].to_list()))
    if vetoed.height:
        names = _affected_names_text(vetoed, text)
        sentence = _("Not {names} (marked {mark}): {checks}.")
        sentences.append(sentence.format(names=names, mark=VETO_MARK, checks=_check_counts_text(text_checks, "veto")))
    if text_checks.filter(outcome="warn").height:
        sentences.append(_("Not without reserve. {checks}.").format(checks=_check_counts_text(text_checks, "warn")))
    return Limit(_("Can every run be relied on?"), wording.joined_sentences(sentences)) if sentences else None


def _text_runs(runs: pl.DataFrame) -> pl.DataFrame:
    return runs.filter(pl.col("pass") == "text")


def _affected_names_text(affected: pl.DataFrame, among: pl.DataFrame) -> str:
    """The names of the models of the affected runs; of more than two, a count: `3 of 8 models`.

    A model is named with text and protocol if other runs of it are not affected.
    """
    others = among.filter(~pl.col("run_id").is_in(affected["run_id"].to_list()))
    partly_affected = set(affected["name"]) & set(others["name"])
    names = list(
        dict.fromkeys(_run_name(run, run["name"] in partly_affected) for run in affected.iter_rows(named=True))
    )
    n_models = counted(affected["model_id"].n_unique(), "runs")
    if partly_affected:
        too_many = _("{count} of {total} runs").format(
            count=counted(affected.height, "runs"), total=counted(among.height, "runs")
        )
    else:
        too_many = _("{count} of {total} models").format(
            count=n_models, total=counted(among["model_id"].n_unique(), "runs")
        )
    return _(", ").join(names) if n_models <= len(names) <= 2 else too_many  # shortened, two names may be one


def _run_name(run: dict[str, Any], is_divided: bool) -> str:
    name = shortened_name(run["name"])
    if not is_divided:
        return name
    return _("{quantity} ({details})").format(quantity=name, details=f"{run['corpus_name']}, {run['protocol']}")


def _check_counts_text(checks: pl.DataFrame, outcome: str) -> str:
    """`Share of duplicate points: veto (runs: 1)`, one for each check with this outcome."""
    grouped = checks.filter(outcome=outcome).group_by("check_name", maintain_order=True)
    counts = [
        _("{check}: {outcome} (runs: {count})").format(
            check=wording.name("check", row["check_name"]),
            outcome=wording.outcome_name(outcome),
            count=counted(row["run_id"], "run_checks"),
        )
        for row in grouped.agg(pl.col("run_id").n_unique()).to_dicts()
    ]
    return _("; ").join(counts)


def _limit_of_runs(question: str, cases: list[tuple[pl.DataFrame, str]], text: pl.DataFrame) -> Limit | None:
    """The sentences that apply to some runs, with the names of those runs; None if none applies.

    `cases` are the affected runs and the template of each sentence.
    """
    reasons = [
        template.format(names=_affected_names_text(affected, text)) for affected, template in cases if affected.height
    ]
    return Limit(question, wording.joined_sentences(reasons)) if reasons else None


def _has_reason(*keys: str) -> pl.Expr:
    """True if a verdict of the run has one of these reasons."""
    columns = [pl.col(f"reasons_{claim}") for claim in CLAIMS]
    return pl.any_horizontal(column.list.contains(key).fill_null(False) for column in columns for key in keys)


ENOUGH_WINDOWS = stated(64, "ENOUGH_WINDOWS")
"""With fewer windows of text, the final dimension of some models depends on their number."""


def limits(
    runs: pl.DataFrame,
    checks: pl.DataFrame,
    against_controls: pl.DataFrame,
    scored: pl.DataFrame,
    words: Sequence[RankingGroup],
    pilot: Pilot | None = None,
    answer: Answer | None = None,
) -> list[Limit]:
    """The open questions of these runs. Those of the pilot come first.

    `against_controls` are rows of run_controls, `scored` is `ranking.with_scores` and `words`
    `ranking.across_tokenizers` of the same runs. They may include control runs, but no text runs without a verdict.
    `answer` is the answer to the pilot's question.
    """
    text, scored = _text_runs(runs), scored.filter(pl.col("pass") == "text")
    candidates = [
        *_pilot_limits(pilot, answer),
        _score_limit(scored),
        _cause_limit(),
        _check_limit(runs, checks),
        _specification_limit(runs),
        _control_limit(runs),
        _shuffled_text_limit(runs, against_controls),
        _other_text_limit(text),
        _seed_limit(text),
        _sample_size_limit(text),
        _window_limit(text),
        _group_limit(text),
        _tokenizer_limit(runs, words),
        _weight_limit(text),
        _final_norm_limit(text),
        _dtype_limit(text),
        _paper_limit(),
    ]
    return [limit for limit in candidates if limit is not None]


def _score_limit(scored: pl.DataFrame) -> Limit | None:
    question = _("Which model is good at its tasks?")
    sentences = {
        ("own",): _("Models with a score on the user's own task: {count}; a test needs at least {needed}."),
        ("exact",): _("Models with a published score of their own: {count}; a test needs at least {needed}."),
        ("revision_not_stated", "mapped"): _(
            "No score names the revision that it belongs to (models: {count}); a test needs {needed} that do."
        ),
        ("base",): _("No task evidence: the only published scores here belong to base models."),
        ("none",): _("No task evidence: there is no published score for any of these models."),
    }
    counts = {of: scored.filter(pl.col("score_match").is_in(of))["model_id"].n_unique() for of in sentences}
    if max(counts["own",], counts["exact",]) >= FEWEST_TEST:
        return None
    first = next((of for of, n in counts.items() if n), ("none",))
    return Limit(question, sentences[first].format(count=counted(counts[first], "scores"), needed=FEWEST_TEST))


def _cause_limit() -> Limit:
    return Limit(
        _("Does a dimension make a model good or bad?"),
        _("Nothing here was changed and measured again: numbers side by side show no causal relation."),
    )


def _other_text_limit(runs: pl.DataFrame) -> Limit | None:
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


def _seed_limit(runs: pl.DataFrame) -> Limit | None:
    per_model = runs.group_by("model_id", "corpus_id").agg(pl.col("seed").n_unique())
    if per_model.is_empty() or min(per_model["seed"].to_list()) > 1:
        return None
    return Limit(
        _("Would another sample of the text agree?"),
        _("One seed per model: the intervals cover the windows within one sample, not a second sample."),
    )


def _sample_size_limit(runs: pl.DataFrame) -> Limit:
    sizes = runs["n_points"].drop_nulls().to_list()
    size = wording.size_range((min(sizes), max(sizes))) if sizes else "–"
    return Limit(
        _("Is this the dimension of the whole vocabulary?"),
        _("d2 rises with the number of token types; all values here belong to N={size} and to no other N.").format(
            size=size
        ),
    )


def _window_limit(runs: pl.DataFrame) -> Limit | None:
    fewest = runs["n_sequences"].min()
    if not isinstance(fewest, int) or fewest >= ENOUGH_WINDOWS:
        return None
    return Limit(
        _("Do the values depend on how much text was read?"),
        _("No more than {count} windows in some runs; at least {needed} are advised.").format(
            count=derived(fewest, "runs", "n_sequences"), needed=ENOUGH_WINDOWS
        ),
    )


def _group_limit(runs: pl.DataFrame) -> Limit | None:
    comparable = groups(runs, include_vetoed=True)
    question = _("Which of these models stands first?")
    if len(comparable) > 1:
        reason = _("{count} groups differ in kind, tokenizer, text, protocol or N and are never ranked across groups.")
        return Limit(question, reason.format(count=counted(len(comparable), "runs")))
    if runs["model_id"].n_unique() == 1:
        return Limit(question, _("One model: there is nothing to compare it with."))
    return Limit(question, _("No order is called better: a value says how tokens spread, not how well a model works."))


def _weight_limit(runs: pl.DataFrame) -> Limit | None:
    derived = runs.filter(pl.col("base_relation").is_not_null()).unique("model_id", maintain_order=True)
    if derived.is_empty():
        return None
    relations = [
        _("{name}: {relation}").format(
            name=shortened_name(run["name"]), relation=wording.name("relation", run["base_relation"])
        )
        for run in derived.iter_rows(named=True)
    ]
    more = [_("{count} more").format(count=counted(len(relations) - 2, "models"))] if len(relations) > 2 else []
    return Limit(
        _("Do the numbers hold for the base models?"),
        _("The weights measured are not those of the base model ({relations}).").format(
            relations=_("; ").join([*relations[:2], *more])
        ),
    )


def _final_norm_limit(runs: pl.DataFrame) -> Limit | None:
    affected = runs.filter(pl.col("qualifiers").list.contains("no_final_norm").fill_null(False))
    if affected.is_empty():
        return None
    return Limit(
        _("Are the final states of all models alike?"),
        _("No final norm in {names}: the output of the last block stands for the final state.").format(
            names=_affected_names_text(affected, runs)
        ),
    )


def _dtype_limit(runs: pl.DataFrame) -> Limit | None:
    dtypes = sorted(runs["dtype"].unique().to_list())
    if len(dtypes) < 2:
        return None
    return Limit(
        _("Does the number format matter?"),
        _("The runs were computed in {dtypes}; the difference was not measured.").format(dtypes=_(", ").join(dtypes)),
    )


def _paper_limit() -> Limit:
    return Limit(
        _("Is this the quantity of the source paper?"),
        _("Not known: d2 is our definition, not the source paper's (arXiv 2503.22547), and was not compared with it."),
    )


def _pilot_limits(pilot: Pilot | None, answer: Answer | None) -> list[Limit]:
    """The questions that the pilot itself leaves open. In a cautious use class, its warning comes first."""
    if pilot is None:
        return []
    limits = []
    reasons = {
        "scarce_data": _(
            "No. Too few task examples can check a choice (use class: scarce data), and a dimension never stands in "
            "for them: it supports no recommendation by itself."
        ),
        "safety_critical": _(
            "No. A wrong answer can do harm (use class: safety-critical), and a dimension says nothing of answers: it "
            "supports no recommendation by itself."
        ),
    }
    if pilot.is_cautious:
        limits.append(Limit(_("May a model be chosen by these dimensions?"), reasons[pilot.use_class]))
    if answer is not None and (answer.word == "cannot_tell" or not answer.registration.is_registered):
        sentences = [answer_wording.answer_text(answer), *answer_wording.undecided_lines(answer)]
        limits.append(Limit(_("Does the pre-registered expectation hold?"), wording.joined_sentences(sentences)))
    return limits
