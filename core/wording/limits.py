"""What a report of measurements leaves open, and says nowhere else: the appendix asks it last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from core import wording
from core.analysis.ranking import RankingGroup
from core.locale import _
from core.sources import counted, derived, stated
from core.tables import Run, ids_of, records
from core.wording.labels import distinguishing_names, names_text, run_labels, shortened_name

Limit = tuple[str, str]
"""A question that a reader will ask, and why these runs do not answer it."""
ENOUGH_WINDOWS = stated(64, "ENOUGH_WINDOWS")
"""With fewer windows of text, the final dimension of some models depends on their number."""
MOST_NAMES = 2


def limits(text: pl.DataFrame, against_controls: pl.DataFrame, words: Sequence[RankingGroup]) -> Iterator[Limit]:
    """The open questions of these runs on text, each with a verdict.

    `against_controls` are rows of run_controls, `words` is `ranking.across_tokenizers` of the same runs. What the slides
    themselves hold against the answer (other texts, samples and methods, controls, checks, scores) is not told again.
    """
    yield (_("Does a dimension make a model good or bad?"), _("Not shown: nothing was changed and measured again."))
    yield from _shuffled_text(text, against_controls)
    yield from _sample(text)
    yield from _tokenizers(text, words)
    yield from _models(text)
    yield (
        _("Is this the quantity of the source paper?"),
        _("Not known: d2 is ours, not compared with arXiv 2503.22547."),
    )


def _shuffled_text(text: pl.DataFrame, against_controls: pl.DataFrame) -> Iterator[Limit]:
    """What shuffled text says about the two dimensions themselves."""
    own = against_controls.filter(pl.col("claim").is_in(["inner_max", "final"]))
    same, differs, unclear = (set(ids_of(own.filter(outcome=one))) for one in ("same", "differs", "cannot_tell"))
    cases = (
        (same - differs, _("No evidence: shuffled tokens give the same within 10 % ({names}).")),
        (unclear - same - differs, _("Unclear for {names}: the interval is too wide.")),
        (set(ids_of(text)) - same - differs - unclear, _("Untested for {names}: no shuffled tokens.")),
    )
    told = [template.format(names=_names(run_ids, text)) for run_ids, template in cases if run_ids & set(ids_of(text))]
    if told:
        yield _("Is the shape about what the text says?"), wording.joined_sentences(told)


def _sample(text: pl.DataFrame) -> Iterator[Limit]:
    sizes = text["n_points"].drop_nulls().to_list()
    size = wording.size_range((min(sizes), max(sizes))) if sizes else "–"
    yield (
        _("Is this the dimension of the whole vocabulary?"),
        _("d2 rises with N: all values belong to N={size}.").format(size=size),
    )
    fewest = text["n_sequences"].min()
    if isinstance(fewest, int) and fewest < ENOUGH_WINDOWS:
        few = _("Only {count} windows in some runs; {needed} are advised.")
        count = derived(fewest, "runs", "n_sequences")
        yield _("Is the text long enough?"), few.format(count=count, needed=ENOUGH_WINDOWS)


def _tokenizers(text: pl.DataFrame, words: Sequence[RankingGroup]) -> Iterator[Limit]:
    """Values on token types belong to one tokenizer; runs of several compare on one point per word, if at all."""
    count = counted(text["tokenizer_hash"].n_unique(), "models")
    if count < 2:
        return
    groups = [set(ids_of(group.rows)) for group in words if group.rows["tokenizer_hash"].n_unique() > 1]
    comparable = set().union(*groups)
    reason = _("Only some ({names}), on one point per word.")
    if not comparable:
        reason = _("{count} tokenizers, and no two runs share kind, protocol, words and N.")
    elif len(groups) == 1 and comparable == set(ids_of(text)):
        reason = _("Only on one point per word.")
    question = _("Can models with different tokenizers be compared?")
    yield question, reason.format(count=count, names=_names(comparable, text))


def _models(text: pl.DataFrame) -> Iterator[Limit]:
    """Weights that are not a base model's, models without a final norm, and formats that differ."""
    relations = [
        _("{name}: {relation}").format(
            name=shortened_name(run.name), relation=wording.name("relation", run.base_relation)
        )
        for run in records(text.unique("model_id", maintain_order=True), Run)
        if run.base_relation is not None
    ]
    if relations:
        told = _("The weights measured are not the base model's ({relations}).")
        yield _("Do the numbers hold for the base models?"), told.format(relations=names_text(relations, MOST_NAMES))
    bare = text.filter(pl.col("qualifiers").list.contains("no_final_norm").fill_null(False))
    if bare.height:
        told = _("No. Without a final norm: {names}.")
        names = _names(set(ids_of(bare)), text)
        yield _("Are the final states of all models alike?"), told.format(names=names)
    dtypes = sorted(text["dtype"].unique().to_list())
    if len(dtypes) > 1:
        told = _("Number formats differ ({dtypes}); the effect was not measured.")
        yield _("Does the number format matter?"), told.format(dtypes=_(", ").join(dtypes))


def _names(run_ids: set[str], text: pl.DataFrame) -> str:
    """The runs by what tells them apart: the first, and how many more."""
    labels = run_labels(text)
    short = map(shortened_name, distinguishing_names(list(labels.values())))
    return names_text([label for run_id, label in zip(labels, short, strict=True) if run_id in run_ids], MOST_NAMES)
