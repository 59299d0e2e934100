"""Builds one slide of a story: fits texts to the page, writes the source line and the speaker notes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from core import wording
from core.deck import layout
from core.deck.deck_data import CONTROL_CHARACTERS, DeckData
from core.deck.story import Column, Heading, Row, Statement, StorySlide, Table, Visual
from core.errors import Sentence
from core.figures.chart import Blocks, Chart, Gallery
from core.locale import _, worded
from core.sources import Text, counted, derived, shown
from core.tables.sourced import rows_of
from core.wording import slides as slide_wording
from core.wording.labels import name, short_id

MOST_RUN_IDS = 4
"""Run ids in a source line, by their last digits; the notes have all in full."""
PAGE_POINTS, PAGE_KEY_ROOM = 10, 0.8
"""Letter size of tables of the appendix, and inches for the key below one."""
MOST_ROWS = 6
"""Models in one table of a core slide; the others stand in the appendix."""


def core_slide(
    data: DeckData,
    key: str,
    title: str,
    statements: Sequence[Statement] = (),
    visual: Visual | None = None,
    tables: Sequence[str] = (),
    runs: pl.DataFrame | None = None,
    say: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> StorySlide:
    """One of the seven core slides. Statements that do not fit are in the speaker notes only."""
    told = [statement for statement in statements if statement.text]
    fitting = _fitting_statements(told, visual, layout.OWN_PAGE)
    if isinstance(visual, Table):
        visual = _truncate_cells(visual, layout.CHART_BOX if fitting else layout.BODY_BOX)
    run_ids = tuple(runs["run_id"]) if runs is not None else ()
    run_lines = [f"{row['name']}: {row['run_id']}" for row in runs.iter_rows(named=True)] if runs is not None else []
    draft = reference_slide(data, key, title, fitting, visual, tables, run_ids, sources or run_lines)
    speech = _speech(told[len(fitting) :], visual, say)
    return clean_slide(replace(draft, speech=tuple(speech)))


def _fitting_statements(statements: Sequence[Statement], visual: Visual | None, page: layout.Page) -> list[Statement]:
    """The first statements, as many as fit; at least one."""
    fitting = list(statements)
    box = page.body if visual is None else page.statements
    while len(fitting) > 1 and layout.text_height(paragraphs(fitting), box[2], layout.SMALLEST) > box[3]:
        fitting.pop()
    return fitting


def shorten_for_page(story_slide: StorySlide, page: layout.Page) -> StorySlide:
    """As much of a core slide as fits on a smaller page in letters of 14 points; the rest goes to its notes."""
    fitting, visual = _fitting_statements(story_slide.statements, story_slide.visual, page), story_slide.visual
    dropped = paragraphs(story_slide.statements[len(fitting) :])
    box = page.chart if fitting else page.body
    if isinstance(visual, Table):
        visual = _truncate_cells(visual, box)
        rows = list(visual.rows)
        room = box[3] - layout.key_height(visual.key, box[2])
        while len(rows) > 1 and layout.table_height(rows, visual.columns, layout.SMALLEST, box[2]) > room:
            rows.pop()
        dropped_rows = story_slide.visual.rows[len(rows) :] if isinstance(story_slide.visual, Table) else ()
        dropped += [row.text if isinstance(row, Heading) else _read_aloud(row, visual) for row in dropped_rows]
        visual = replace(visual, rows=tuple(rows))
    return replace(story_slide, statements=tuple(fitting), visual=visual, sources=(*dropped, *story_slide.sources))


def use_class_line(data: DeckData) -> str:
    if data.plan is not None:
        return slide_wording.plan_scope_text()
    return slide_wording.use_class_text(data.pilot.pilot if data.pilot else None)


def not_measured_slide(data: DeckData, key: str, what: str, time: str, lines: Sequence[str]) -> StorySlide:
    """A placeholder for a slide whose data are missing: which data, and the time that measuring takes."""
    draft = core_slide(
        data,
        key,
        _("Not measured: {what}, {time}").format(what=what, time=time),
        [Statement(line, is_main=number == 0) for number, line in enumerate(lines)],
        tables=("runs",),
        say=(
            _("This would be the next thing to ask, and it was not measured. So nothing is said about it here."),
            _("The time is what it would take on this machine, as far as that is known."),
        ),
    )
    return replace(draft, is_placeholder=True)


def decision_slide(data: DeckData, choice: str, options: Sequence[str], more: Sequence[Statement] = ()) -> StorySlide:
    """The decision, its date and who takes it; the first of the options is recommended."""
    pilot = data.pilot.pilot if data.pilot else None
    title = _("Decision asked: {choice}").format(choice=choice)
    if pilot is not None and pilot.decide_by is not None:
        day = slide_wording.day(pilot.decide_by)
        title = _("Decision asked by {day}: {choice}").format(day=day, choice=choice)
    labels = (_("Option 1 (recommended)"), _("Option 2"), _("Option 3"))
    return core_slide(
        data,
        "asked",
        title,
        [
            *(Statement(option, label, is_main=True) for option, label in zip(options, labels, strict=False)),
            Statement(slide_wording.decider_text(pilot), _("Decides")),
            *more,
        ],
        tables=("pilots",) if data.pilot else ("runs",),
        say=(
            _(
                "These are the choices. The first is what these numbers recommend; the decision is not made by this deck. It "
                "says what is known, how sure that is, and what more would cost."
            ),
            _("What was not tested stands in the appendix, under limits. Questions are welcome now."),
        ),
    )


def fact_table(
    left_heading: str, right_heading: str, share: float, rows: Sequence[tuple[str, str]], description: str
) -> Table:
    """A table of two columns; `description` is its alternative text with a placeholder `{names}` for the first column."""
    names = _(", ").join(name for name, _fact in rows)
    return Table(
        (Column(left_heading, share), Column(right_heading, 1 - share)), tuple(rows), description.format(names=names)
    )


def paragraphs(statements: Sequence[Statement]) -> list[str]:
    """The lines of the statements: a label is a line of its own."""
    return [text for statement in statements for text in (statement.label, statement.text) if text]


def source_line(data: DeckData, tables: Sequence[str], run_ids: Sequence[str]) -> str:
    parts = [", ".join(tables)] if tables else []
    if run_ids:
        id_ends = [f"…{short_id(run_id)}" for run_id in run_ids[:MOST_RUN_IDS]]
        if len(run_ids) > MOST_RUN_IDS:
            id_ends.append(_("{count} more").format(count=counted(len(run_ids) - MOST_RUN_IDS, "runs")))
        parts.append(_("runs {ids}").format(ids=_(", ").join(id_ends)))
    line = _("Source: {told}").format(told=_("; ").join(parts)) if parts else ""
    return layout.truncate(
        " · ".join(part for part in ("Workdim", slide_wording.day(data.made_on), line) if part),
        layout.SOURCE_BOX[2],
        layout.SOURCE_SIZE,
        lines=1,
    )


def _speech(left_out: Sequence[Statement], visual: Visual | None, say: Sequence[str]) -> list[str]:
    """Speaker notes, which say what the slide does not: how to read the visual, what found no place, and cautions."""
    lines = [*say[:1]]
    if visual is not None:
        lines.append(_("What you see: {alternative}").format(alternative=visual.alternative))
    if isinstance(visual, Chart):
        lines.append(_("The intervals are of 95 percent: where two of them overlap widely, do not tell the two apart."))
    lines += [
        wording.joined_sentences((f"{statement.label}{_(': ')}" if statement.label else "", statement.text))
        for statement in left_out
    ]
    return [line for line in (*lines, *say[1:]) if line]


def _read_aloud(row: tuple[str, ...], table: Table) -> str:
    """`Decides: Head of support`; of more columns each cell with its title."""
    if len(row) == 2:
        return _("{name}: {relation}").format(name=row[0], relation=row[1])
    cells_with_columns = zip(table.columns[1:], row[1:], strict=True)
    cells = [
        _("{name}: {relation}").format(name=column.title, relation=text)
        for column, text in cells_with_columns
        if text != "–"
    ]
    return _("{name}: {relation}").format(name=row[0], relation=_(", ").join(cells))


def notes_lines(story_slide: StorySlide) -> list[str]:
    """The notes page: the speech, then the sources of the numbers."""
    return (
        [*story_slide.speech, "", _("Sources:"), *story_slide.sources] if story_slide.sources else [*story_slide.speech]
    )


def _truncate_cells(table: Table, box: layout.Box) -> Table:
    """Cells cut to as many lines as the box has room for."""
    width, room = box[2], box[3] - layout.key_height(table.key, box[2])
    for lines in (6, 4, 3, 2, 1):
        rows: tuple[Row, ...] = tuple(
            row
            if isinstance(row, Heading)
            else tuple(
                layout.truncate(text, column.share * width - 2 * layout.CELL_SIDE, layout.SMALLEST, lines)
                for text, column in zip(row, table.columns, strict=True)
            )
            for row in table.rows
        )
        fitted = replace(table, rows=rows)
        if layout.table_height(fitted.rows, table.columns, layout.SMALLEST, width) <= room:
            break
    return fitted


def check_table(checks: pl.DataFrame, runs: pl.DataFrame, most: int) -> Table:
    """How many runs passed each check, with warnings and vetoes; checks beyond `most` are summed up in one row."""
    worst = (
        checks.with_columns(rank=pl.col("outcome").replace_strict({"pass": 0, "warn": 1, "veto": 2}, default=0))
        .group_by("check_name", "run_id")
        .agg(pl.col("rank").max())
    )
    counts = (
        worst.group_by("check_name")
        .agg(
            *((pl.col("rank") == rank).sum().alias(key) for key, rank in (("passed", 0), ("warned", 1), ("vetoed", 2)))
        )
        .sort("vetoed", "warned", "check_name", descending=[True, True, False])
    )
    rows: list[Row] = [
        (
            name("check", row["check_name"]),
            *(shown(derived(row[n], "run_checks", f"{row['check_name']} {n}")) for n in ("passed", "warned", "vetoed")),
        )
        for row in rows_of(counts.head(most), "run_checks")
    ]
    if counts.height > most:
        rest = counts.slice(most)
        is_clean = rest["warned"].sum() == rest["vetoed"].sum() == 0
        counts_of_rest = (_("all"), "0", "0") if is_clean else ("–", "–", "–")
        further = Sentence("{n} further check", "{n} further checks", n=counted(rest.height, "run_checks"))
        rows.append((worded(further), *counts_of_rest))
    if not rows:
        rows.append((slide_wording.checks_text(runs), "–", "–", "–"))
    return Table(
        (
            Column(_("Quality check"), 0.55),
            Column(_("Passed"), 0.15, is_number=True),
            Column(_("Warning"), 0.15, is_number=True),
            Column(_("Veto"), 0.15, is_number=True),
        ),
        tuple(rows),
        _("Table of quality checks: {told}.").format(told=slide_wording.checks_text(runs)),
        _("Numbers of measurements. A veto takes a measurement out of every claim."),
    )


# --- reference pages -------------------------------------------------------------------------------------------


def reference_slide(
    data: DeckData,
    key: str,
    title: str,
    statements: Sequence[Statement] = (),
    visual: Visual | None = None,
    tables: Sequence[str] = (),
    run_ids: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> StorySlide:
    """A slide of the appendix; its notes hold only the sources."""
    return clean_slide(
        StorySlide(
            key,
            layout.truncate(title, layout.TEXT_WIDTH, layout.TITLE_SIZES[-1], bold=True),
            tuple(statements),
            visual,
            source_line(data, tables, run_ids),
            use_class_line(data),
            (),
            tuple([", ".join(tables), *sources] if tables else sources),
            tuple(run_ids),
        )
    )


def reference_slides(
    data: DeckData,
    key: str,
    title: str,
    columns: tuple[Column, ...],
    rows: Sequence[Row],
    alternative: str,
    key_line: str = "",
    tables: Sequence[str] = (),
    run_ids: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> Iterator[StorySlide]:
    """A table over as many slides as it needs: `title (1/2)`, `title (2/2)`."""
    filled = layout.paginate(rows, columns, PAGE_POINTS, layout.BODY_HEIGHT - (PAGE_KEY_ROOM if key_line else 0.0))
    for number, page in enumerate(filled, start=1):
        numbered = title if len(filled) == 1 else title + f" ({number}/{len(filled)})"
        table = Table(columns, tuple(page), alternative, key_line)
        slide_key = key if number == 1 else f"{key}-{number}"
        yield reference_slide(data, slide_key, numbered, (), table, tables, run_ids, sources)


# --- characters ------------------------------------------------------------------------------------------------


def clean_slide(story_slide: StorySlide) -> StorySlide:
    """The slide without characters that XML forbids, which names and texts of users may contain."""
    visual = story_slide.visual
    if isinstance(visual, Table):
        visual = _clean_table(visual)
    elif isinstance(visual, Chart):
        visual = _clean_chart(visual)
    elif isinstance(visual, Gallery):
        visual = replace(
            visual, charts=tuple(map(_clean_chart, visual.charts)), alternative=_clean_text(visual.alternative)
        )
    elif isinstance(visual, Blocks):
        visual = replace(visual, alternative=_clean_text(visual.alternative))
    return replace(
        story_slide,
        title=_clean_text(story_slide.title),
        statements=tuple(
            replace(s, text=_clean_text(s.text), label=_clean_text(s.label)) for s in story_slide.statements
        ),
        visual=visual,
        source=_clean_text(story_slide.source),
        use_class=_clean_text(story_slide.use_class),
        speech=tuple(map(_clean_text, story_slide.speech)),
        sources=tuple(map(_clean_text, story_slide.sources)),
    )


def _clean_text(text: str) -> Text:
    cleaned = Text(text).substituted(CONTROL_CHARACTERS, lambda _found: "")
    cleaned = cleaned.substituted(RIGHT_TO_LEFT_NAME, lambda found: f"{found[1]}{LEFT_TO_RIGHT_MARK}")
    return cleaned.substituted(r"\|(rho|ρ)\|", lambda found: f"|{WORD_JOINER}{found[1]}{WORD_JOINER}|")


WORD_JOINER = "\u2060"
"""Prevents a line break."""
LEFT_TO_RIGHT_MARK = "\u200e"
RIGHT_TO_LEFT_NAME = re.compile(rf"([\u0590-\u08ff][^\s、。,;:；：()（）{LEFT_TO_RIGHT_MARK}]*){LEFT_TO_RIGHT_MARK}?")
"""A name in Arabic or Hebrew: numbers behind it would otherwise be set to its left, intervals reversed."""


def _clean_table(table: Table) -> Table:
    return replace(
        table,
        columns=tuple(replace(column, title=_clean_text(column.title)) for column in table.columns),
        rows=tuple(
            Heading(_clean_text(row.text)) if isinstance(row, Heading) else tuple(map(_clean_text, row))
            for row in table.rows
        ),
        alternative=_clean_text(table.alternative),
        key=_clean_text(table.key),
    )


def _clean_chart(chart: Chart) -> Chart:
    series = tuple(
        replace(
            line,
            name=_clean_text(line.name),
            points=tuple(
                replace(point, name=_clean_text(point.name)) if point.name else point for point in line.points
            ),
        )
        for line in chart.series
    )
    return replace(
        chart,
        series=series,
        alternative=_clean_text(chart.alternative),
        x=replace(chart.x, title=_clean_text(chart.x.title)),
        y=replace(chart.y, title=_clean_text(chart.y.title)),
    )
