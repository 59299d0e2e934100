"""The table of dimensions: largest inner and final dimension of every run by comparison group, with scores beside them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from pptx.slide import Slide

from core import wording
from core.analysis.ranking import RankingGroup, on_benchmark
from core.deck.deck_data import DeckData
from core.deck.text_and_tables import Column, Heading, Row, add_table, add_text, numbered_titles, pages
from core.deck.theme import BODY_HEIGHT, BODY_TOP, MARGIN, TEXT_WIDTH, PlannedSlide
from core.locale import translator
from core.wording import pilot_sentences
from core.wording.labels import group_title, is_vetoed, layer_text, run_labels, shortened

POSITION = 50
POINTS = 12
FOOT_HEIGHT, MARK_HEIGHT = 0.95, 0.25
"""Inches kept below the table for the notes on reading it, and for one more on what the mark of a veto means."""


class RunRow(tuple[str, ...]):
    """The cells of one run; the page that holds it must name the run."""

    run_id: str

    def __new__(cls, cells: tuple[str, ...], run_id: str) -> RunRow:
        row = super().__new__(cls, cells)
        row.run_id = run_id
        return row


def slides(data: DeckData) -> Iterator[PlannedSlide]:
    """Group by group; never one list across groups."""
    _ = translator(data.language)
    title = _("Largest inner and final dimension by comparison group, estimated (d2, N={size})").format(
        size=wording.size_range(data.n_points)
    )
    columns, rows = _columns(data), _ranking_rows(data)
    has_veto = any(map(is_vetoed, data.texts.iter_rows(named=True)))
    foot_height = FOOT_HEIGHT + MARK_HEIGHT * (has_veto + len(data.caution))
    foot = [
        *data.caution,
        _("In brackets: 95 % intervals. Within a group the order is that of the names; no order is better."),
        wording.own_definition(data.language),
        *([wording.veto_note(data.language)] * has_veto),
    ]
    alternative = _("Table of largest inner and final dimensions with 95 % intervals, by comparison group.")

    def draw(slide: Slide, page: list[Row]) -> None:
        height = add_table(slide, columns, page, POINTS, alternative)
        add_text(slide, (MARGIN, BODY_TOP + height + 0.08, TEXT_WIDTH, foot_height), foot, 11, quiet=True)

    filled = pages(rows, columns, POINTS, BODY_HEIGHT - foot_height)
    for numbered, page in zip(numbered_titles(title, len(filled)), filled, strict=True):
        shown = [row.run_id for row in page if isinstance(row, RunRow)]
        yield PlannedSlide(numbered, data.footer_of(shown), partial(draw, page=page), _sources(data))


def _columns(data: DeckData) -> list[Column]:
    _ = translator(data.language)
    return [
        Column(_("Model"), 2.2),
        Column(_("Largest inner dimension"), 1.4, is_number=True),
        Column(_("At layer"), 1.0, is_number=True),
        Column(_broken(_("Final, before the norm")), 1.4, is_number=True),
        Column(_broken(_("Final, after the norm")), 1.4, is_number=True),
        Column(_("Verdicts"), 2.75),
        Column(_score_title(data), TEXT_WIDTH - 10.15),
    ]


def _ranking_rows(data: DeckData) -> list[Row]:
    rows: list[Row] = []
    for group in [*data.groups, *data.words]:
        rows.append(Heading(_heading(group, data.language)))
        labels = run_labels(group.rows, data.language)
        for run in group.rows.iter_rows(named=True):
            rows.append(RunRow(_ranking_row(data, run, labels[run["run_id"]]), run["run_id"]))
    return rows


def _broken(title: str) -> str:
    """Japanese breaks anywhere: a text in brackets is kept whole on a line of its own."""
    return title.replace("（", "\n（")


def _ranking_row(data: DeckData, run: dict, label: str) -> tuple[str, ...]:
    _ = translator(data.language)
    after = run["final_dimension_post_norm"]
    return (
        shortened(label, 44),
        wording.interval_of(run, "inner_max"),
        layer_text(run["inner_max_layer"], run["n_layers"], data.language),
        wording.interval_of(run, "final_dimension_pre_norm"),
        _("no final norm") if after is None else wording.interval_of(run, "final_dimension_post_norm"),
        wording.verdict_short(run, data.language),
        _score(data, run["run_id"]),
    )


def _heading(group: RankingGroup, language: str) -> str:
    """What the runs of a group share, with a warning where they differ in number format."""
    _ = translator(language)
    title = group_title(group, language)
    if len(group.dtypes) == 1:
        return title
    return f"{title} – {_('computed in {dtypes}').format(dtypes=_(', ').join(group.dtypes))}"


def _score_title(data: DeckData) -> str:
    _ = translator(data.language)
    chosen = _benchmark(data)
    if chosen is None:
        return _("Published score")
    name = wording.benchmark_name(
        chosen["benchmark"], chosen["metric"], chosen["n_shot"], data.language, chosen["filter"]
    )
    if data.pilot is None:
        return name
    is_exploratory = pilot_sentences.is_exploratory(chosen, data.pilot.pilot)
    return f"{name}: {_('not pre-registered (exploratory)') if is_exploratory else _('pre-registered')}"


def _benchmark(data: DeckData) -> dict | None:
    """The pre-registered benchmark, or what most of the models have: one metric and one number of shots."""
    return pilot_sentences.shown_first(data.scored, data.pilot.pilot if data.pilot else None)


def _score(data: DeckData, run_id: str) -> str:
    _ = translator(data.language)
    chosen = _benchmark(data)
    if chosen is None:
        return wording.no_score(data.language)
    own = on_benchmark(data.scored, chosen).filter(run_id=run_id)
    texts = [wording.score_text(row, data.language) for row in own.iter_rows(named=True)]
    told = _("; ").join(dict.fromkeys(texts)) or wording.no_score(data.language)
    told = _("; ").join([told, *_own_score(data, run_id, chosen)])
    return told.replace("/", "/\u200b")  # a repository may break behind its owner


def _own_score(data: DeckData, run_id: str, chosen: dict) -> list[str]:
    """What the user's own task says of the model, where that is not the benchmark of the column."""
    if data.pilot is None or data.pilot.pilot.task is None:
        return []
    task = data.pilot.pilot.task
    own = data.scored.filter(run_id=run_id, score_match="own", benchmark=task.name)
    if own.is_empty() or chosen["benchmark"] == task.name:
        return []
    return [f"{task.name}: {wording.score_text(own.row(0, named=True), data.language)}"]


def _sources(data: DeckData) -> list[str]:
    _ = translator(data.language)
    lines = [_("Dimensions, intervals, layers, verdicts: run_summaries, estimator d2, cloud one_per_type, runs:")]
    if data.words:
        lines.insert(0, _("Across tokenizers: run_summaries, estimator d2, cloud one_per_word."))
    lines += [f"{run['name']}: {run['run_id']}" for run in data.texts.iter_rows(named=True)]
    chosen = _benchmark(data)
    if chosen is not None:
        rows = on_benchmark(data.scored, chosen).unique("score_repository").sort("score_repository")
        lines += [
            _("Score of {repository}: {source}").format(repository=row["score_repository"], source=row["score_source"])
            for row in rows.iter_rows(named=True)
        ]
    return lines
