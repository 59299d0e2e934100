"""The published scores beside a comparison: which one the reader chooses, whose it is, its sources, and the export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import streamlit as st

from core.analysis import ranking
from core.analysis.ranking import RankingGroup
from core.pilots.registration import Pilot
from core.report import wording
from core.report.pilot_words import is_exploratory
from core.ui import inputs, language
from core.ui.pilots import with_own_score
from core.ui.plain import plain

Benchmark = dict[str, Any]
"""A row of `ranking.benchmarks`."""


def repositories(runs: pl.DataFrame) -> list[str]:
    """What the scores of these runs are filed under: hub repositories, their own and those of their base models, and
    their references, which own scores name."""
    found = (runs[column].drop_nulls() for column in ("repository", "base_repository", "reference"))
    return sorted({name for names in found for name in names})


def choose_picture(benchmarks: pl.DataFrame, pilot: Pilot | None = None) -> tuple[Benchmark | None, str]:
    """The two axes of the scatter: a score, and working or final dimension (a key of `ranking_points`).

    Of a pilot, the score is at first that of the benchmark that it named beforehand; every other is marked.
    """
    _ = language.translator()
    dimensions = {
        "working": _("working"),
        "final_pre_norm": _("final, before the norm"),
        "final_post_norm": _("final, after the norm"),
    }
    with st.container(horizontal=True, vertical_alignment="bottom"):
        benchmark = _choose_benchmark(benchmarks, pilot)
        if benchmark is None:
            return None, "working"
        return benchmark, inputs.choose(
            _("Dimension in the picture"), list(dimensions), "dimension", "working", dimensions.__getitem__
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
        "own": _("this model, own score"),
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
            source=plain(row["score_source"]),
            licence=plain(row["score_licence"] or "–"),
            date=plain(row["score_as_of"] or "–"),
        )
        flags = (row["score_flags"] or "").replace("_", " ").replace(";", "; ")
        remarks = _("Remarks on them: {flags}.").format(flags=plain(flags)) if flags else ""
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
