"""Which runs the reader of the ranking compares: on which points, in which order, and why there may be none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import streamlit as st

from core.analysis import ranking
from core.analysis.ranking import RankingGroup
from core.report import wording
from core.ui import inputs, language, reads, states
from core.ui.plain import plain

MOST_GROUPS = 8
"""Groups on one page, each with a picture and a table."""
_MOST_NAMED = 12
BY_TYPE, BY_WORD = "one_per_type", "one_per_word"


@dataclass(frozen=True)
class Comparison:
    runs: pl.DataFrame
    order: str
    """Column that rows are sorted by."""
    cloud: str
    """Whose d2 is compared: `one_per_type` within a tokenizer, `one_per_word` across tokenizers."""
    lifted: bool
    """True where the reader takes in the runs that a check vetoes."""
    left_out: pl.DataFrame
    """The runs that pass the filters and are left out, because a check vetoes them."""

    @property
    def groups(self) -> list[RankingGroup]:
        return self._groups_of(self.runs, self.lifted)

    @property
    def only_vetoed(self) -> bool:
        """True where there is no group, but would be one with the runs that are left out."""
        return not self.groups and bool(self._groups_of(pl.concat([self.runs, self.left_out]), lifted=True))

    def _groups_of(self, runs: pl.DataFrame, lifted: bool) -> list[RankingGroup]:
        if self.cloud == BY_TYPE:
            return ranking.groups(runs, self.order, lifted=lifted)
        runs = runs.with_columns(working_dimension_by_type="working_dimension")
        summaries = reads.summaries(runs["run_id"].to_list())
        return ranking.across_tokenizers(runs, summaries, self.order, lifted=lifted)


def choose_comparison(runs: pl.DataFrame) -> Comparison:
    """What is compared, in which order, and which runs take part."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        cloud = _choose_cloud(runs)
        order = _choose_order()
    narrowed, newest_only = _narrowed(runs.filter(pl.col("pass") == "text"))
    left_out = ranking.vetoed(narrowed)
    lifted = _lift_vetoes(left_out)
    if lifted:
        left_out = left_out.clear()
    narrowed = narrowed.join(left_out, on="run_id", how="anti", maintain_order="left")
    return Comparison(ranking.newest(narrowed) if newest_only else narrowed, order, cloud, lifted, left_out)


def no_group(asked: Comparison) -> str:
    """Why there is nothing to compare."""
    _ = language.translator()
    if asked.only_vetoed:
        return _(
            "Only with the runs that a check vetoes is there something to compare; the switch above takes them in."
        )
    passing = pl.concat([asked.runs, asked.left_out])
    if asked.cloud == BY_TYPE or passing.is_empty():
        return _("No run passes these filters.")
    worded = passing.filter(pl.col("words_hash").is_not_null())
    if _sharing(worded, ranking.WORD_KEYS):
        return _(
            "The models that measured the same words here could use numbers of them (N) that differ by more than "
            "10 %, and are not compared."
        )
    if _sharing(worded, ("words_hash", "corpus_id", "protocol_hash")):
        return _(
            "The models that measured the same words here are of different kinds, and decoders are never ranked "
            "with encoders. Their shapes can be compared under Profiles, on one per word."
        )
    return _(
        "No two models have measured the same words of the same text here. Measure them in one command "
        "(`measure MODEL MODEL`), so that the words are chosen for both."
    )


def _sharing(runs: pl.DataFrame, keys: Sequence[str]) -> bool:
    """True where two models agree in all of these."""
    models = ranking.with_stack(runs).group_by(keys).agg(pl.col("model_id").n_unique())
    return models.filter(pl.col("model_id") > 1).height > 0


def in_sight(groups: list[RankingGroup]) -> list[RankingGroup]:
    """The groups that a page shows, the largest; how many more there are is said, and what leads to them."""
    _ = language.translator()
    if len(groups) > MOST_GROUPS:
        line = _(
            "The {n} largest of {total} groups are shown. Choose texts, families or kinds above to see the others."
        )
        st.info(line.format(n=MOST_GROUPS, total=f"{len(groups):,}"), icon=":material/filter_alt:")
    return groups[:MOST_GROUPS]


def rows_of(groups: list[RankingGroup]) -> pl.DataFrame:
    """The runs of all groups with the numbers that they are compared by."""
    return pl.concat([group.rows for group in groups], how="diagonal")


def _choose_cloud(runs: pl.DataFrame) -> str:
    """Offered only where words were measured."""
    _ = language.translator()
    if not runs["words_hash"].count():
        return BY_TYPE
    ways = {BY_TYPE: _("within a tokenizer (one per type)"), BY_WORD: _("across tokenizers (one per word)")}
    return inputs.choose(_("Compare"), list(ways), "points", BY_TYPE, ways.__getitem__)


def _choose_order() -> str:
    """At first by name: an order by dimension reads as a recommendation, which some use classes rule out."""
    _ = language.translator()
    orders = {
        "name": _("name"),
        "working_dimension": _("working dimension"),
        "final_dimension_pre_norm": _("final dimension"),
        "parameters": _("parameters"),
    }
    return inputs.choose(_("Sort by"), list(orders), "sort", "name", orders.__getitem__)


def condition(cloud: str) -> str:
    """What the runs of a group share, before the reader looks at any of their numbers."""
    _ = language.translator()
    if cloud == BY_WORD:
        told = (
            _(
                "Runs are compared within one group only: same kind of model, words, text and protocol, and N within "
                "10 %."
            ),
            _(
                "Each point is a word at its last token, so that every model has the same words whatever its tokenizer. "
                "Differences within the intervals decide nothing."
            ),
            _(
                "Estimated dimensions (d2, one per word, N in each row), in brackets their 95 % intervals. No order is "
                "better."
            ),
        )
        return wording.sentences(told, language.current())
    told_of_types = (
        _(
            "Runs are compared within one group only: same kind of model, tokenizer, text and protocol, and N within "
            "10 %."
        ),
        _(
            "Estimated dimensions (d2, one per type, N in each row), in brackets their 95 % intervals. No order is "
            "better."
        ),
    )
    return wording.sentences(told_of_types, language.current())


def _lift_vetoes(vetoed: pl.DataFrame) -> bool:
    """Runs that a check vetoes are left out unless the reader, told which and why, takes them in all the same."""
    _ = language.translator()
    told = states.vetoes_told(vetoed.head(_MOST_NAMED))
    if not told:
        return False
    if vetoed.height > len(told):
        told.append(_("and {n} more").format(n=vetoed.height - len(told)))
    with st.container(border=True):
        st.markdown(
            _(
                ":material/gpp_bad: **Left out, because a check vetoes them** ({n}): {runs}. Their numbers may describe "
                "the sample and not the model."
            ).format(n=vetoed.height, runs=plain(_("; ").join(told)))
        )
        return inputs.choose_yes_no(_("Rank them all the same, marked ‡"), "vetoed", default=False)


def _narrowed(runs: pl.DataFrame) -> tuple[pl.DataFrame, bool]:
    """The runs that the reader lets through, and whether only the newest of each model counts.

    A filter that could not filter anything is not drawn.
    """
    _ = language.translator()
    filters = (
        ("text", "corpus_name", _("Text")),
        ("family", "family", _("Model family")),
        ("kind", "kind", _("Model kind")),
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for name, column, label in filters:
            there = sorted(runs[column].unique().to_list())
            if len(there) > 1:
                wanted = inputs.choose_many(label, there, name, placeholder=_("all"), width=260)
                runs = runs.filter(pl.col(column).is_in(wanted)) if wanted else runs
        newest_only = inputs.choose_yes_no(_("Newest run of each model only"), "newest", default=True)
    return runs, newest_only


def cautions(group: RankingGroup) -> list[str]:
    """What limits a comparison even within the group."""
    _ = language.translator()
    if len(group.dtypes) == 1:
        return []
    return [_("The runs differ in number format: {formats}.").format(formats=_(", ").join(group.dtypes))]
