"""Which runs the reader of the ranking compares: on which points, in which order, and why there may be none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import streamlit as st

from core import wording
from core.analysis import ranking
from core.analysis.ranking import RankingGroup
from core.pilots.pilot import Pilot
from core.registry.names import keys
from core.registry.specifications import CLAIMS
from core.ui import inputs, language, notices, reads
from core.ui.markdown import escape
from core.ui.pilot_filter import with_own_score
from core.wording.pilot_sentences import is_exploratory
from core.wording.scores import is_made_here, score_flags

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
        runs = runs.with_columns(inner_max_by_type="inner_max")
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
        "inner_max": _("largest inner dimension"),
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
    told = notices.vetoes_told(vetoed.head(_MOST_NAMED))
    if not told:
        return False
    if vetoed.height > len(told):
        told.append(_("and {n} more").format(n=vetoed.height - len(told)))
    with st.container(border=True):
        st.markdown(
            _(
                ":material/gpp_bad: **Left out, because a check vetoes them** ({n}): {runs}. Their numbers may describe "
                "the sample and not the model."
            ).format(n=vetoed.height, runs=escape(_("; ").join(told)))
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
        verdicts = {claim: _choose_verdicts(runs, claim) for claim in CLAIMS}
        runs = ranking.judged(runs, **verdicts)
        newest_only = inputs.choose_yes_no(_("Newest run of each model only"), "newest", default=True)
    return runs, newest_only


def _choose_verdicts(runs: pl.DataFrame, claim: str) -> list[str]:
    """Which verdicts on a claim the reader lets through; nothing is asked where all have the same."""
    _ = language.translator()
    labels = {"rise": _("Rises inside"), "fall": _("Falls towards the end")}
    found = set(runs[f"verdict_{claim}"].drop_nulls())
    there = [key for key in keys("claim_verdict") if key in found]
    if len(there) < 2:
        return []
    return inputs.choose_many(labels[claim], there, claim, show=_verdict_name, placeholder=_("all"), width=260)


def _verdict_name(verdict: str) -> str:
    return wording.name("claim_verdict", verdict, language.current())


def cautions(group: RankingGroup) -> list[str]:
    """What limits a comparison even within the group."""
    _ = language.translator()
    if len(group.dtypes) == 1:
        return []
    return [_("The runs differ in number format: {formats}.").format(formats=escape(_(", ").join(group.dtypes)))]


Benchmark = dict[str, Any]
"""A row of `ranking.benchmarks`."""


def choose_picture(benchmarks: pl.DataFrame, pilot: Pilot | None = None) -> tuple[Benchmark | None, str]:
    """The two axes of the scatter: a score, and largest inner or final dimension (a key of `ranking_points`).

    Of a pilot, the score is at first that of the benchmark that it named beforehand; every other is marked.
    """
    _ = language.translator()
    dimensions = {
        "inner_max": _("largest inner"),
        "final_pre_norm": _("final, before the norm"),
        "final_post_norm": _("final, after the norm"),
    }
    with st.container(horizontal=True, vertical_alignment="bottom"):
        benchmark = _choose_benchmark(benchmarks, pilot)
        if benchmark is None:
            return None, "inner_max"
        return benchmark, inputs.choose(
            _("Dimension in the picture"), list(dimensions), "dimension", "inner_max", dimensions.__getitem__
        )


def _choose_benchmark(benchmarks: pl.DataFrame, pilot: Pilot | None) -> Benchmark | None:
    """Benchmark, metric and number of shots in one choice, because scores that differ in one do not compare."""
    _ = language.translator()
    if benchmarks.is_empty():
        st.info(_("The warehouse holds no published score for these models."))
        return None
    by_key = {_key(row): row for row in benchmarks.iter_rows(named=True)}
    first = next((key for key, row in by_key.items() if pilot and pilot.benchmark.is_met_by(row)), next(iter(by_key)))
    chosen = inputs.choose_from_list(
        _("Score") if pilot else _("Published score"),
        list(by_key),
        "score",
        first,
        lambda key: _benchmark_label(by_key[key], pilot),
        width=640,
    )
    return by_key[chosen]


def _key(row: Benchmark) -> str:
    return "~".join("" if row[name] is None else str(row[name]) for name in ranking.SCORE_KEYS)


def _benchmark_label(row: Benchmark, pilot: Pilot | None = None) -> str:
    _ = language.translator()
    reader = language.current()
    name = wording.benchmark_name(row["benchmark"], row["metric"], row["n_shot"], reader, row["filter"])
    told = _(", ").join(part for part in (name, row["suite"]) if part)
    label = _("{name} (models: {n})").format(name=told, n=row["n_models"])
    if pilot is None:
        return label
    mark = _("not pre-registered (exploratory)") if is_exploratory(row, pilot) else _("pre-registered")
    return f"{label} – {mark}"


def with_score_text(group: RankingGroup, scored: pl.DataFrame, benchmark: Benchmark | None) -> pl.DataFrame:
    """The rows of the group, each with its score of the chosen benchmark and, apart from it, whose score that is."""
    if benchmark is None:
        return group.rows
    joined = _with_score(group, scored, benchmark)
    rows = joined.to_dicts()
    return joined.with_columns(
        score_of=pl.Series([_score_of(row) for row in rows], dtype=pl.String),
        score_text=pl.Series([_score_value(row) for row in rows], dtype=pl.String),
    )


def _score_of(row: dict[str, Any]) -> str:
    _ = language.translator()
    owners = {
        "own": _("this model, scored here") if is_made_here(row) else _("this model, own score"),
        "exact": _("this model"),
        "revision_not_stated": _("this model, revision not stated"),
        "mapped": _("this model, by an alias of {name}").format(name=row["score_name_in_source"]),
        "base": _("base model {name}").format(name=(row["score_repository"] or "").split("/")[-1]),
    }
    return owners.get(row["score_match"], wording.no_score(language.current()))


def _score_value(row: dict[str, Any]) -> str:
    _ = language.translator()
    if row["score"] is None:
        return "–"
    error = "" if row["score_std_error"] is None else f" ± {wording.number(row['score_std_error'])}"
    value = f"{wording.number(row['score'])}{error}"
    remarks = wording.score_remarks(row, language.current())
    return _("{value} ({remarks})").format(value=value, remarks=_(", ").join(remarks)) if remarks else value


def score_notes(group: RankingGroup, scored: pl.DataFrame, benchmark: Benchmark | None) -> list[str]:
    """For each source of the scores shown: its name, licence, date, and what it says about its own numbers."""
    if benchmark is None:
        return []
    _ = language.translator()
    told = ["score_source", "score_licence", "score_as_of", "score_flags"]
    rows = _with_score(group, scored, benchmark).filter(pl.col("score").is_not_null()).unique(told, maintain_order=True)
    notes = []
    for row in rows.iter_rows(named=True):
        note = _("Scores from {source}, licence: {licence}, as of {date}.").format(
            source=escape(row["score_source"]),
            licence=escape(row["score_licence"] or "–"),
            date=escape(row["score_as_of"] or "–"),
        )
        flags = "; ".join(words.rstrip(".。") for words in score_flags(row["score_flags"], language.current()))
        remarks = _("Remarks on them: {flags}.").format(flags=escape(flags)) if flags else ""
        notes.append(wording.sentences((note, remarks), language.current()))
    if any(row["score_lowest"] != row["score_highest"] for row in rows.iter_rows(named=True)):
        notes.append(_("Where sources contradict each other the newest is shown, with the range of all of them."))
    return notes


def choose_partial(scores: pl.DataFrame) -> bool:
    """Whether scores of partial runs are looked at too; the switch is there only where there are some."""
    _ = language.translator()
    left_out = ranking.partial_scores(scores).height
    if not left_out:
        return False
    help_ = _("A run over part of a benchmark's questions has a larger error, and its score is not that of the whole.")
    included = inputs.choose_yes_no(_("Include partial runs"), "partial", False, help=help_)
    told = _("Scores of partial runs, included: {n}.") if included else _("Scores of partial runs, left out: {n}.")
    st.caption(told.format(n=left_out))
    return included


def for_export(
    groups: list[RankingGroup], scored: pl.DataFrame, benchmark: Benchmark | None, pilot: Pilot | None = None
) -> pl.DataFrame:
    """All groups in one frame, numbered, so that a spreadsheet keeps them apart too."""
    rows = [group.rows if benchmark is None else _with_score(group, scored, benchmark) for group in groups]
    rows = [with_own_score(frame, scored, pilot) for frame in rows]
    numbered = [frame.select(pl.lit(n).alias("comparison_group"), pl.all()) for n, frame in enumerate(rows, start=1)]
    return pl.concat(numbered, how="diagonal")


def export_later(
    groups: list[RankingGroup],
    scores: pl.DataFrame,
    benchmark: Benchmark | None,
    pilot: Pilot | None = None,
    *,
    partial: bool = False,
) -> Callable[[], pl.DataFrame]:
    """`for_export`, made when it is asked for: all groups with all their scores may be far more than the page shows."""

    def make() -> pl.DataFrame:
        rows = pl.concat([group.rows for group in groups], how="diagonal")
        return for_export(groups, ranking.with_scores(rows, scores, partial=partial), benchmark, pilot)

    return make


def _with_score(group: RankingGroup, scored: pl.DataFrame, benchmark: Benchmark) -> pl.DataFrame:
    added = [column for column in scored.columns if column not in group.rows.columns]
    scores = ranking.on_benchmark(scored, benchmark).select("run_id", *added)
    joined = group.rows.join(scores, on="run_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col("score_match").fill_null("none"))
