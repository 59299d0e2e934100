"""The deck's table of dimensions and its last slide, what the deck cannot decide."""

from __future__ import annotations

from pptx.presentation import Presentation as Deck

from core import wording
from core.analysis.ranking import RankingGroup, on_benchmark
from core.deck import slide_sentences
from core.deck.deck_data import Material
from core.deck.text_and_tables import Column, Heading, Row, add_table, add_text, pages, row_height
from core.deck.theme import BODY_HEIGHT, BODY_TOP, CONTENT, MARGIN, TEXT_WIDTH, add_notes, add_slide
from core.locale import translator
from core.wording import pilot_sentences
from core.wording.labels import group_title, run_labels, shortened
from core.wording.limits import limits

POINTS = 12
LIMIT_SIZES = (14, 13, 12, 11)
"""Letter sizes of the last slide: the largest that keeps it on one page, but never a smaller one."""
FOOT_HEIGHT, MARK_HEIGHT = 0.95, 0.25
"""Inches kept below the table for the notes on reading it, and for one more on what the mark of a veto means."""


class RunRow(tuple[str, ...]):
    """The cells of one run; the page that holds it must name the run."""

    run_id: str

    def __new__(cls, cells: tuple[str, ...], run_id: str) -> RunRow:
        row = super().__new__(cls, cells)
        row.run_id = run_id
        return row


def add_ranking(slides: Deck, material: Material) -> None:
    """Working and final dimension of every run, group by group; never one list across groups."""
    _ = translator(material.language)
    title = _("Working and final dimension by comparison group, estimated (d2, N={size})").format(
        size=wording.size_range(material.n_points)
    )
    columns, rows = _columns(material), _ranking_rows(material)
    marked = any(map(slide_sentences.is_vetoed, material.texts.iter_rows(named=True)))
    foot_height = FOOT_HEIGHT + MARK_HEIGHT * (marked + len(material.caution))
    filled = pages(rows, columns, POINTS, BODY_HEIGHT - foot_height)
    for number, page in enumerate(filled, start=1):
        shown = [row.run_id for row in page if isinstance(row, RunRow)]
        slide = add_slide(slides, CONTENT, _numbered(title, number, len(filled)), material.footer_of(shown))
        alternative = _("Table of working and final dimensions with 95 % intervals, by comparison group.")
        box = (MARGIN, BODY_TOP, TEXT_WIDTH, BODY_HEIGHT)
        height = add_table(slide, columns, page, box, POINTS, alternative)
        reading = _("In brackets: 95 % intervals. Within a group the order is that of the names; no order is better.")
        foot = (MARGIN, BODY_TOP + height + 0.08, TEXT_WIDTH, foot_height)
        notes = [
            *material.caution,
            reading,
            wording.own_definition(material.language),
            wording.which_ten(material.language),
        ]
        notes += [wording.veto_note(material.language)] * marked
        add_text(slide, foot, notes, 11, quiet=True)
        add_notes(slide, _sources(material))


def add_limits(slides: Deck, material: Material) -> None:
    """The last slide: questions that a reader will ask, and why these runs do not answer them."""
    _ = translator(material.language)
    columns = [Column(_("Question"), 3.7), Column(_("Why it stays open"), TEXT_WIDTH - 3.7)]
    pilot = material.pilot.pilot if material.pilot else None
    found = limits(material.runs, material.checks, material.scored, material.words, material.language, pilot)
    rows: list[Row] = [(limit.question, limit.reason) for limit in found]
    first = rows[:1] if pilot and pilot.is_cautious else []
    fitting = (size for size in LIMIT_SIZES if len(_led_by(first, rows, columns, size)) == 1)
    filled = _led_by(first, rows, columns, points := next(fitting, LIMIT_SIZES[-1]))
    for number, page in enumerate(filled, start=1):
        title = _numbered(_("What this deck cannot decide"), number, len(filled))
        slide = add_slide(slides, CONTENT, title, material.footer)
        alternative = _("Table of open questions and the reasons why these runs do not answer them.")
        add_table(slide, columns, page, (MARGIN, BODY_TOP, TEXT_WIDTH, BODY_HEIGHT), points, alternative)
        add_notes(slide, [_("Read off the chosen runs: {ids}").format(ids=_(", ").join(material.runs["run_id"]))])


def _led_by(first: list[Row], rows: list[Row], columns: list[Column], points: float) -> list[list[Row]]:
    """Pages that each open with the `first` rows: what a use class forbids is not left behind on another slide."""
    room = BODY_HEIGHT - sum(row_height(row, columns, points) for row in first)
    return [[*first, *page] for page in pages(rows[len(first) :], columns, points, room)]


def _numbered(title: str, number: int, total: int) -> str:
    return title if total == 1 else f"{title} ({number}/{total})"


def _columns(material: Material) -> list[Column]:
    _ = translator(material.language)
    return [
        Column(_("Model"), 2.2),
        Column(_("Working dimension"), 1.4, is_number=True),
        Column(_("Working band, layers"), 1.25, is_number=True),
        Column(_broken(_("Final, before the norm")), 1.4, is_number=True),
        Column(_broken(_("Final, after the norm")), 1.4, is_number=True),
        Column(_("Expansion-contraction"), 2.5),
        Column(_score_title(material), TEXT_WIDTH - 10.15),
    ]


def _ranking_rows(material: Material) -> list[Row]:
    rows: list[Row] = []
    for group in [*material.groups, *material.words]:
        rows.append(Heading(_heading(group, material.language)))
        labels = run_labels(group.rows, material.language)
        for run in group.rows.iter_rows(named=True):
            rows.append(RunRow(_ranking_row(material, run, labels[run["run_id"]]), run["run_id"]))
    return rows


def _broken(title: str) -> str:
    """Japanese breaks anywhere: a text in brackets is kept whole on a line of its own."""
    return title.replace("（", "\n（")


def _ranking_row(material: Material, run: dict, label: str) -> tuple[str, ...]:
    _ = translator(material.language)
    after = run["final_dimension_post_norm"]
    return (
        shortened(label, 44),
        slide_sentences.interval_of(run, "working_dimension"),
        _broken(slide_sentences.band_text(run, material.language)),
        slide_sentences.interval_of(run, "final_dimension_pre_norm"),
        _("no final norm") if after is None else slide_sentences.interval_of(run, "final_dimension_post_norm"),
        wording.verdict_short(run["verdict"], run["qualifiers"], material.language),
        _score(material, run["run_id"]),
    )


def _heading(group: RankingGroup, language: str) -> str:
    """What the runs of a group share, with a warning where they differ in number format."""
    _ = translator(language)
    title = group_title(group, language)
    if len(group.dtypes) == 1:
        return title
    return f"{title} – {_('computed in {dtypes}').format(dtypes=_(', ').join(group.dtypes))}"


def _score_title(material: Material) -> str:
    _ = translator(material.language)
    chosen = _benchmark(material)
    if chosen is None:
        return _("Published score")
    name = wording.benchmark_name(
        chosen["benchmark"], chosen["metric"], chosen["n_shot"], material.language, chosen["filter"]
    )
    if material.pilot is None:
        return name
    is_exploratory = pilot_sentences.is_exploratory(chosen, material.pilot.pilot)
    return f"{name}: {_('not pre-registered (exploratory)') if is_exploratory else _('pre-registered')}"


def _benchmark(material: Material) -> dict | None:
    """The pre-registered benchmark, or what most of the models have: one metric and one number of shots."""
    return pilot_sentences.shown_first(material.scored, material.pilot.pilot if material.pilot else None)


def _score(material: Material, run_id: str) -> str:
    _ = translator(material.language)
    chosen = _benchmark(material)
    if chosen is None:
        return wording.no_score(material.language)
    own = on_benchmark(material.scored, chosen).filter(run_id=run_id)
    texts = [wording.score_text(row, material.language) for row in own.iter_rows(named=True)]
    told = _("; ").join(dict.fromkeys(texts)) or wording.no_score(material.language)
    told = _("; ").join([told, *_own_score(material, run_id, chosen)])
    return told.replace("/", "/\u200b")  # a repository may break behind its owner


def _own_score(material: Material, run_id: str, chosen: dict) -> list[str]:
    """What the user's own task says of the model, where that is not the benchmark of the column."""
    if material.pilot is None or material.pilot.pilot.task is None:
        return []
    task = material.pilot.pilot.task
    own = material.scored.filter(run_id=run_id, score_match="own", benchmark=task.name)
    if own.is_empty() or chosen["benchmark"] == task.name:
        return []
    return [f"{task.name}: {wording.score_text(own.row(0, named=True), material.language)}"]


def _sources(material: Material) -> list[str]:
    _ = translator(material.language)
    lines = [_("Dimensions, intervals, bands, verdicts: run_summaries, estimator d2, cloud one_per_type, runs:")]
    if material.words:
        lines.insert(0, _("Across tokenizers: run_summaries, estimator d2, cloud one_per_word."))
    lines += [f"{run['name']}: {run['run_id']}" for run in material.texts.iter_rows(named=True)]
    chosen = _benchmark(material)
    if chosen is not None:
        rows = on_benchmark(material.scored, chosen).unique("score_repository").sort("score_repository")
        lines += [
            _("Score of {repository}: {source}").format(repository=row["score_repository"], source=row["score_source"])
            for row in rows.iter_rows(named=True)
        ]
    return lines
