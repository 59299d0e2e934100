"""What the reader of the ranking chooses, and how a comparison group is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
import streamlit as st

from core.analysis import ranking
from core.analysis.ranking import RankingGroup
from core.report import wording
from core.ui import inputs, language, reads, states
from core.ui.plain import plain
from core.warehouse.scores import NOT_STATED

BY_TYPE, BY_WORD = "one_per_type", "one_per_word"

Benchmark = dict[str, Any]
"""A row of `ranking.benchmarks`."""


@dataclass(frozen=True)
class Comparison:
    runs: pl.DataFrame
    order: str
    """Column that rows are sorted by."""
    cloud: str
    """Whose d2 is compared: `one_per_type` within a tokenizer, `one_per_word` across tokenizers."""
    lifted: bool
    """True where the reader takes in the runs that a check vetoes."""

    @property
    def groups(self) -> list[RankingGroup]:
        if self.cloud == BY_TYPE:
            return ranking.groups(self.runs, self.order, lifted=self.lifted)
        runs = self.runs.with_columns(working_dimension_by_type="working_dimension")
        summaries = reads.summaries(runs["run_id"].to_list())
        return ranking.across_tokenizers(runs, summaries, self.order, lifted=self.lifted)


def choose_comparison(runs: pl.DataFrame) -> Comparison:
    """What is compared, in which order, and which runs take part."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        cloud = _choose_cloud(runs)
        order = _choose_order()
    narrowed, newest_only = _narrowed(runs.filter(pl.col("pass") == "text"))
    lifted = _lift_vetoes(ranking.vetoed(narrowed))
    if not lifted:
        narrowed = narrowed.join(ranking.vetoed(narrowed), on="run_id", how="anti", maintain_order="left")
    if newest_only:
        alike = ["model_id", "corpus_id", "protocol_hash", "stack"]
        narrowed = narrowed.unique(alike, keep="first", maintain_order=True)
    return Comparison(narrowed, order, cloud, lifted)


def no_group(asked: Comparison) -> str:
    """Why there is nothing to compare."""
    _ = language.translator()
    if asked.cloud == BY_TYPE or asked.runs.is_empty():
        return _("No run passes these filters.")
    sharing = asked.runs.group_by("words_hash", "corpus_id", "protocol_hash").agg(pl.col("model_id", "kind").n_unique())
    if sharing.filter(pl.col("model_id") > 1, pl.col("kind") > 1).height:
        return _("The models that measured the same words here are of different kinds, and decoders are never ranked "
                 "with encoders. Their shapes can be compared under Profiles, on one per word.")  # fmt: skip
    return _("No two models have measured the same words of the same text here. Measure them in one command "
             "(`measure MODEL MODEL`), so that the words are chosen for both.")  # fmt: skip


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
        return " ".join(
            (
                _("Runs are compared within one group only: same kind of model, words, text and protocol."),
                _("Each point is a word at its last token, so that every model has the same points whatever its "
                  "tokenizer. Differences within the intervals are none."),
                _("Estimated dimensions (d2, one per word, N in each row), in brackets their 95 % intervals. No order "
                  "is better."),
            )
        )  # fmt: skip
    return " ".join(
        (
            _("Runs are compared within one group only: same kind of model, tokenizer, text and protocol."),
            _("Estimated dimensions (d2, one per type, N in each row), in brackets their 95 % intervals. No order is "
              "better."),
        )
    )  # fmt: skip


def _lift_vetoes(vetoed: pl.DataFrame) -> bool:
    """Runs that a check vetoes are left out unless the reader, told which and why, takes them in all the same."""
    _ = language.translator()
    told = states.vetoes_told(vetoed)
    if not told:
        return False
    with st.container(border=True):
        st.markdown(
            _(":material/gpp_bad: **Left out, because a check vetoes them** ({n}): {runs}. Their numbers may describe "
              "the sample and not the model.").format(n=len(told), runs=plain(_("; ").join(told)))
        )  # fmt: skip
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


def repositories(runs: pl.DataFrame) -> list[str]:
    """Hub repositories whose scores concern these runs: their own and those of their base models."""
    return sorted(set(runs["repository"].drop_nulls()) | set(runs["base_repository"].drop_nulls()))


def choose_picture(benchmarks: pl.DataFrame) -> tuple[Benchmark | None, str]:
    """The two axes of the scatter: a published score, and working or final dimension (a key of `ranking_points`)."""
    _ = language.translator()
    dimensions = {
        "working": _("working"),
        "final_pre_norm": _("final, before the norm"),
        "final_post_norm": _("final, after the norm"),
    }
    with st.container(horizontal=True, vertical_alignment="bottom"):
        benchmark = _choose_benchmark(benchmarks)
        if benchmark is None:
            return None, "working"
        return benchmark, inputs.choose(
            _("Dimension in the picture"), list(dimensions), "dimension", "working", dimensions.__getitem__
        )


def _choose_benchmark(benchmarks: pl.DataFrame) -> Benchmark | None:
    """Benchmark, metric and number of shots in one choice, because scores that differ in one do not compare."""
    _ = language.translator()
    if benchmarks.is_empty():
        st.info(_("The warehouse holds no published score for these models."))
        return None
    by_key = {_key(row): row for row in benchmarks.iter_rows(named=True)}
    chosen = inputs.choose_from_list(
        _("Published score"),
        list(by_key),
        "score",
        next(iter(by_key)),
        lambda key: _benchmark_label(by_key[key]),
        width=640,
    )
    return by_key[chosen]


def _key(row: Benchmark) -> str:
    return "~".join("" if row[name] is None else str(row[name]) for name in ranking.SCORE_KEYS)


def _benchmark_label(row: Benchmark) -> str:
    _ = language.translator()
    name = wording.benchmark_name(row["benchmark"], row["metric"], row["n_shot"], language.current())
    told = (name, row["suite"], None if row["filter"] in ("none", NOT_STATED) else row["filter"])
    return _("{name} (models: {n})").format(name=_(", ").join(part for part in told if part), n=row["n_models"])


def cautions(group: RankingGroup) -> list[str]:
    """What limits a comparison even within the group."""
    _ = language.translator()
    found = []
    if group.sizes_differ:
        sizes = wording.size_range(group.n_points)
        found.append(
            _("The clouds differ in size ({sizes} points): a broader vocabulary reads higher.").format(sizes=sizes)
        )
    if len(group.dtypes) > 1:
        found.append(_("The runs differ in number format: {formats}.").format(formats=_(", ").join(group.dtypes)))
    return found


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
        "exact": _("this model"),
        "revision_not_stated": _("this model, revision not stated"),
        "base": _("base model {name}").format(name=(row["score_repository"] or "").split("/")[-1]),
    }
    return owners.get(row["score_match"], wording.no_score(language.current()))


def _score_value(row: dict[str, Any]) -> str:
    _ = language.translator()
    if row["score"] is None:
        return "–"
    error = "" if row["score_std_error"] is None else f" ± {wording.number(row['score_std_error'])}"
    value = f"{wording.number(row['score'])}{error}"
    sources = row["score_sources"]
    return _("{value} (first of {n} sources)").format(value=value, n=sources) if sources > 1 else value


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
            source=plain(row["score_source"]),
            licence=plain(row["score_licence"] or "–"),
            date=row["score_as_of"] or "–",
        )
        flags = (row["score_flags"] or "").replace("_", " ").replace(";", "; ")
        notes.append(f"{note} {_('Remarks on them: {flags}.').format(flags=plain(flags))}" if flags else note)
    return notes


def _with_score(group: RankingGroup, scored: pl.DataFrame, benchmark: Benchmark) -> pl.DataFrame:
    added = [column for column in scored.columns if column not in group.rows.columns]
    scores = ranking.on_benchmark(scored, benchmark).select("run_id", *added)
    joined = group.rows.join(scores, on="run_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col("score_match").fill_null("none"))


def for_export(groups: list[RankingGroup], scored: pl.DataFrame, benchmark: Benchmark | None) -> pl.DataFrame:
    """All groups in one frame, numbered, so that a spreadsheet keeps them apart too."""
    rows = [group.rows if benchmark is None else _with_score(group, scored, benchmark) for group in groups]
    numbered = [frame.select(pl.lit(n).alias("comparison_group"), pl.all()) for n, frame in enumerate(rows, start=1)]
    return pl.concat(numbered, how="diagonal")
