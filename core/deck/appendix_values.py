"""Slides of the appendix with measurements: all values, specifications, quality checks, and each run on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import polars as pl

from core import wording
from core.analysis.differences import controls_of
from core.analysis.ranking import default_benchmark, filter_benchmark
from core.deck import visuals
from core.deck.deck_data import DeckData
from core.deck.slide import check_table, reference_slide, reference_slides
from core.deck.story import Column, Heading, Row, Statement, StorySlide
from core.locale import N_, _, translated
from core.registry.specifications import CLAIMS, SPECIFICATIONS, Specification
from core.sources import Text, counted, derived
from core.tables.sourced import row_of, rows_of
from core.wording import slides as slide_wording
from core.wording.labels import control_name, is_vetoed, layer_text, name, run_labels, shortened_name
from core.wording.scores import row_benchmark_name, with_error
from core.wording.verdicts import (
    claim_name,
    marked_ratio_text,
    outcome_legend_text,
    outcome_mark,
    outcome_of,
    specification_name,
    verdict_legend_text,
    verdict_marks,
)

MOST_CHECKS = 16


def values(data: DeckData) -> Iterator[StorySlide]:
    """All dimensions, by comparison group."""
    benchmark = default_benchmark(data.scored, data.pilot)
    across = [group for group in data.word_groups if group.rows["tokenizer_hash"].n_unique() > 1]
    groups = [*data.groups, *across]
    rows: list[Row] = []
    for group in groups:
        if len(groups) > 1:
            run = row_of(group.rows)
            heading = (
                _("Across tokenizers, one point per word: {kind}, text {text}, protocol {protocol}, N={size}")
                if group.is_by_words
                else _("{kind}, text {text}, protocol {protocol}, N={size}")
            )
            kind, size = name("kind", run["kind"]), wording.size_range(group.n_points)
            told = heading.format(kind=kind, text=run["corpus_name"], protocol=run["protocol"], size=size)
            rows.append(Heading(told))
        labels = run_labels(group.rows)
        rows += [_value_row(data, run, labels[run["run_id"]], benchmark) for run in rows_of(group.rows)]
    columns = (
        Column(_("Model"), 0.25),
        Column(_("Largest inner dimension"), 0.13, is_number=True),
        Column(_("At layer"), 0.1, is_number=True),
        Column(_("Final, before the norm"), 0.13, is_number=True),
        Column(_("Final, after the norm"), 0.13, is_number=True),
        Column(_("Verdicts"), 0.07),
        Column(_score_title(data, benchmark), 0.19, is_number=True),
    )
    key = [
        _("In brackets: 95 % intervals."),
        verdict_legend_text() + _(". "),
        *_match_key(data),
        _("Within a group the order is that of the names; no order is better."),
    ]
    if any(map(is_vetoed, rows_of(data.text_runs))):
        key.append(wording.veto_mark_text())
    title = _(
        "All values of {n} measurement (d2, N={size})",
        "All values of {n} measurements (d2, N={size})",
        n=counted(data.text_runs.height, "runs"),
        size=wording.size_range(data.n_points),
    )
    yield from reference_slides(
        data,
        "values",
        title,
        columns,
        rows,
        _("Table of largest inner and final dimensions with 95 % intervals, by comparison group."),
        wording.joined_sentences(key),
        tables=("run_summaries", "scores"),
        runs=data.text_runs,
    )


def _value_row(data: DeckData, run: dict, label: str, benchmark: dict | None) -> tuple[str, ...]:
    after = run["final_dimension_post_norm"]
    return (
        shortened_name(label, 36),
        wording.interval_of(run, "inner_max"),
        layer_text(run["inner_max_layer"], run["n_layers"]),
        wording.interval_of(run, "final_dimension_pre_norm"),
        _("no final norm") if after is None else wording.interval_of(run, "final_dimension_post_norm"),
        verdict_marks(run),
        _score_cell(data, run["run_id"], benchmark),
    )


def _score_title(data: DeckData, benchmark: dict | None) -> str:
    if benchmark is None:
        return _("Score")
    title = row_benchmark_name(benchmark)
    if data.pilot is None:
        return title
    is_met = data.pilot.benchmark.is_met_by(benchmark)
    return title + ": " + (_("pre-registered") if is_met else _("not pre-registered (exploratory)"))


def _score_cell(data: DeckData, run_id: str, benchmark: dict | None) -> str:
    """The scores of the column's benchmark, then that of the pilot's own task where the column is another benchmark."""
    if benchmark is None:
        return "–"
    scores = filter_benchmark(data.scored, benchmark).filter(run_id=run_id).filter(pl.col("score_match") != "none")
    texts = [_score_text(row) for row in rows_of(scores)]
    task = data.pilot and data.pilot.task
    if task is not None and benchmark["benchmark"] != task.name:
        task_scores = data.scored.filter(run_id=run_id, score_match="own", benchmark=task.name)
        texts += [Text("{}: {}").format(task.name, _score_text(row)) for row in rows_of(task_scores.head(1))]
    return _("; ").join(dict.fromkeys(texts)) or "–"


MATCHES = {
    "revision_not_stated": N_("† revision not stated"),
    "mapped": N_("* by an alias"),
    "base": N_("° of the base model, which tests nothing"),
}
"""What is said of scores that may belong to another revision or model; its first letter stands behind them."""


def _score_text(row: dict) -> str:
    told = MATCHES.get(row["score_match"])
    return with_error(row) + (f" {told[0]}" if told else "")


def _match_key(data: DeckData) -> list[str]:
    matches = set(data.scored["score_match"])
    marks = _(", ").join(translated(told) for match, told in MATCHES.items() if match in matches)
    return [_("Scores: {marks}.").format(marks=marks)] if marks else []


def specifications(data: DeckData) -> Iterator[StorySlide]:
    """Under which specifications each claim holds: ratios for one run, counts for several."""
    texts = data.text_runs
    claims = data.claims.filter(pl.col("run_id").is_in(texts["run_id"].to_list()))
    if claims.is_empty():
        return
    n = counted(claims["run_id"].n_unique(), "run_claims")
    rows: list[Row] = []
    for is_core in (True, False):
        part = [specification for specification in SPECIFICATIONS if specification.is_core == is_core]
        cells: list[Row] = [cell for specification in part if (cell := _specification_row(claims, specification, n))]
        if cells:
            rows.append(Heading(_("core: a verdict rests on these") if is_core else _("besides the core")))
            rows += cells
    columns = (Column(_("Specification"), 0.46), *(Column(claim_name(c), 0.27) for c in CLAIMS))
    key = (
        _(
            "Ratio of the largest inner dimension to that at layer 0 (rises) or after the last block (falls), 95 % limits."
        )
        if n == 1
        else _("How many of {n} measurements come out so.").format(n=n)
    )
    yield from reference_slides(
        data,
        "specifications",
        _("{k} specifications: under which the claims hold").format(
            k=counted(sum(not isinstance(row, Heading) for row in rows), "run_claims")
        ),
        columns,
        rows,
        _("Table of specifications with what the claims come to under each."),
        wording.joined_sentences((outcome_legend_text() + _(". "), key)),
        tables=("run_claims",),
        runs=texts.filter(pl.col("run_id").is_in(claims["run_id"].to_list())),
    )


def _specification_row(claims: pl.DataFrame, specification: Specification, n: int) -> tuple[str, ...] | None:
    claims = claims.filter(
        pl.col("n1").eq_missing(pl.lit(specification.n1, pl.Int64)),
        cloud=specification.cloud,
        transform=specification.transform,
        estimator=specification.estimator,
    )
    if claims.is_empty():
        return None
    cells = []
    for claim in CLAIMS:
        rows = claims.filter(claim=claim)
        if n == 1 and rows.height:
            row = row_of(rows, "run_claims")
            cells.append(marked_ratio_text(row))
            continue
        counts = Counter(outcome_mark(outcome_of(row)) for row in rows_of(rows, "run_claims"))
        marks = [
            Text("{} {}").format(mark, derived(count, "run_claims", f"n({claim}, {mark})"))
            for mark, count in counts.most_common()
        ]
        cells.append(Text("   ").join(marks) or "–")
    return (specification_name(claims.row(0, named=True)), *cells)


def checks(data: DeckData) -> StorySlide:
    title = _(
        "Quality checks of {n} measurement",
        "Quality checks of {n} measurements",
        n=counted(data.text_runs.height, "runs"),
    )
    table = check_table(data.checks, data.text_runs, most=MOST_CHECKS)
    return reference_slide(data, "checks", title, (), table, ("run_checks",), data.text_runs)


# --- each run --------------------------------------------------------------------------------------------------


def each_run(data: DeckData) -> Iterator[StorySlide]:
    """Profile, values and controls of each run on text."""
    labels = run_labels(data.text_runs)
    for number, run in enumerate(rows_of(data.text_runs), start=1):
        rows = data.text_runs.filter(run_id=run["run_id"])
        chart = visuals.profile_chart(data.estimates, rows)
        label = shortened_name(labels[run["run_id"]], 60)
        statements: list[Statement | str] = [
            Statement(wording.verdict_text(run), _("Verdicts")),
            Statement(
                _("Embedding {embedding}; largest {inner}, at layer {layer}; after the last block {final}.").format(
                    embedding=wording.interval_of(run, "embedding_dimension"),
                    inner=wording.interval_of(run, "inner_max"),
                    layer=layer_text(run["inner_max_layer"], run["n_layers"]),
                    final=wording.interval_of(run, "final_dimension_pre_norm"),
                ),
                _("Values"),
            ),
            slide_wording.checks_text(rows),
            *_control_lines(data, run),
        ]
        title = _("{name}: largest inner dimension {value}").format(
            name=label, value=wording.interval_of(run, "inner_max")
        )
        key = "run" if number == 1 else f"run-{number}"
        yield reference_slide(
            data, key, title, statements, chart, ("layer_estimates", "run_summaries", "run_controls"), rows
        )


def _control_lines(data: DeckData, run: dict) -> list[str]:
    controls = {row["run_id"]: row for row in rows_of(controls_of(run, data.runs))}
    lines = []
    for row in rows_of(data.against_controls.filter(run_id=run["run_id"]), "run_controls"):
        control = controls.get(row["control_run_id"])
        if control is not None:
            label = control_name(control["pass"], control["model_seed"])
            lines.append(_("{claim}: {verdict}").format(claim=label, verdict=wording.control_text(row)))
    return lines
