"""One slide of a story put together: its words fitted to the page, its source line, and what a presenter says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from core import wording
from core.deck import layout
from core.deck.deck_data import CONTROL, DeckData
from core.deck.story import Blocks, Chart, Column, Evidence, Gallery, Heading, Row, Statement, StorySlide, Table
from core.locale import translator
from core.wording import slides as words
from core.wording.labels import name, short_id

MOST_ENDS = 6
"""Run ids in a source line, by their ends; the notes have all in full."""
MOST_CHECKS = 9
MOST_ROWS = 6
"""Models in one table of the seven; the others stand in the appendix."""


def slide(
    data: DeckData,
    key: str,
    title: str,
    statements: Sequence[Statement] = (),
    evidence: Evidence | None = None,
    tables: Sequence[str] = (),
    runs: pl.DataFrame | None = None,
    say: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> StorySlide:
    """One of the seven. What does not fit beside the picture is said and not shown."""
    shown = [one for one in statements if one.text]
    box = layout.BODY_BOX if evidence is None else layout.STATEMENT_BOX
    while len(shown) > 1 and layout.text_height(paragraphs(shown), box[2], layout.SMALLEST) > box[3]:
        shown.pop()
    if isinstance(evidence, Table):
        evidence = _fitted(evidence, layout.TEXT_WIDTH if not shown else layout.CHART_BOX[2])
    run_ids = tuple(runs["run_id"]) if runs is not None else ()
    named = [f"{row['name']}: {row['run_id']}" for row in runs.iter_rows(named=True)] if runs is not None else []
    return clean(
        StorySlide(
            key,
            layout.cut(title, layout.TEXT_WIDTH, layout.TITLE_SIZES[-1]),
            tuple(shown),
            evidence,
            source_line(data, tables, run_ids),
            use_class(data),
            tuple(_speech(title, statements, evidence, say, data.language, use_class(data))),
            tuple([", ".join(tables), *(sources or named)]),
            run_ids,
        )
    )


def use_class(data: DeckData) -> str:
    if data.plan is not None:
        return words.plan_class(data.language)
    return words.use_class(data.pilot.pilot if data.pilot else None, data.language)


def not_measured(data: DeckData, key: str, what: str, time: str, lines: Sequence[str]) -> StorySlide:
    """In place of a slide whose data are missing: what they are, and the time that they take."""
    _ = translator(data.language)
    made = slide(
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
    return replace(made, is_not_measured=True)


def asked(data: DeckData, title: str, statements: Sequence[Statement]) -> StorySlide:
    _ = translator(data.language)
    return slide(
        data,
        "asked",
        title,
        statements,
        tables=("pilots",) if data.pilot else ("runs",),
        say=(
            _(
                "These are the choices. The first is what these numbers recommend; the decision is not made by this deck. It "
                "says what is known, how sure that is, and what more would cost."
            ),
            _("What was not tested stands in the appendix, under limits. Questions are welcome now."),
        ),
    )


def paragraphs(statements: Sequence[Statement]) -> list[str]:
    """As they stand below each other: a label is a line of its own."""
    return [text for one in statements for text in (one.label, one.text) if text]


def source_line(data: DeckData, tables: Sequence[str], run_ids: Sequence[str]) -> str:
    _ = translator(data.language)
    told = [", ".join(tables)] if tables else []
    if run_ids:
        ends = [f"…{short_id(run_id)}" for run_id in run_ids[:MOST_ENDS]]
        if len(run_ids) > MOST_ENDS:
            ends.append(_("{count} more").format(count=len(run_ids) - MOST_ENDS))
        told.append(_("runs {ids}").format(ids=_(", ").join(ends)))
    line = _("Source: {told}").format(told=_("; ").join(told)) if told else ""
    return layout.cut(
        " · ".join(part for part in ("Workdim", words.day(data.made_on, data.language), line) if part),
        layout.SOURCE_BOX[2],
        layout.SOURCE_SIZE,
        lines=1,
    )


def _speech(
    title: str, statements: Sequence[Statement], evidence: Evidence | None, say: Sequence[str], language: str, use: str
) -> list[str]:
    """In one sentence, what to know for reading it, what is seen, what is said beside it, what not to conclude."""
    _ = translator(language)
    told = [_("In one sentence: {title}.").format(title=title.rstrip(".。?？"))]
    told += say[:1]
    if evidence is not None:
        told.append(_("What you see: {alternative}").format(alternative=evidence.alternative))
    if isinstance(evidence, Table):
        told += [
            _read_aloud(row, evidence, language) for row in evidence.rows[:READ_ALOUD] if not isinstance(row, Heading)
        ]
    spoken = [
        wording.sentences((f"{one.label}{_(': ')}" if one.label else "", one.text), language) for one in statements
    ]
    told += spoken[:6]
    told += say[1:]
    more = [_("What this may be used for: {use_class}").format(use_class=use)]
    if isinstance(evidence, Chart):
        more.insert(
            0, _("The bars are 95 percent intervals: where two of them overlap widely, do not tell the two apart.")
        )
    more.append(_("Every number can be traced: the runs stand below in these notes, and in full in the appendix."))
    for line in more:  # a minute of speech is some 130 words, or 300 Japanese letters
        if len(" ".join(told).split()) < 120 if language == "en" else len("".join(told)) < 300:
            told.append(line)
    return [line for line in told if line]


READ_ALOUD = 4
"""Rows of a table that a presenter reads."""


def _read_aloud(row: tuple[str, ...], table: Table, language: str) -> str:
    """`Decides: Head of support`; of more columns each cell with its title."""
    _ = translator(language)
    if len(row) == 2:
        return _("{name}: {relation}").format(name=row[0], relation=row[1])
    named = zip(table.columns[1:], row[1:], strict=True)
    cells = [_("{name}: {relation}").format(name=column.title, relation=text) for column, text in named if text != "–"]
    return _("{name}: {relation}").format(name=row[0], relation=_(", ").join(cells))


def notes_of(one: StorySlide, language: str) -> list[str]:
    """The notes page: what is said, then where each number comes from."""
    _ = translator(language)
    return [*one.speech, "", _("Sources:"), *one.sources] if one.sources else [*one.speech]


def _fitted(table: Table, width: float) -> Table:
    """Cells cut to as many lines as the page has room for."""
    room = layout.BODY_HEIGHT - (layout.KEY_HEIGHT * (1 + (len(table.key) > 110)) if table.key else 0.0)
    for lines in (6, 4, 3, 2, 1):
        rows: tuple[Row, ...] = tuple(
            row
            if isinstance(row, Heading)
            else tuple(
                layout.cut(text, column.share * width - 2 * layout.CELL_SIDE, layout.SMALLEST / 0.92, lines)
                for text, column in zip(row, table.columns, strict=True)
            )
            for row in table.rows
        )
        fitted = replace(table, rows=rows)
        if layout.table_height(fitted.rows, table.columns, layout.SMALLEST, width) <= room:
            break
    return fitted


def check_table(checks: pl.DataFrame, runs: pl.DataFrame, language: str, most: int = MOST_CHECKS) -> Table:
    """How many runs each check let pass, warned of and vetoed; those that matter least are counted."""
    _ = translator(language)
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
        (name("check", row["check_name"], language), str(row["passed"]), str(row["warned"]), str(row["vetoed"]))
        for row in counts.head(most).iter_rows(named=True)
    ]
    if counts.height > most:
        rows.append((_("{n} further checks").format(n=counts.height - most), "–", "–", "–"))
    if not rows:
        rows.append((words.checks(runs, language), "–", "–", "–"))
    return Table(
        (
            Column(_("Quality check"), 0.55),
            Column(_("Passed"), 0.15, is_number=True),
            Column(_("Warning"), 0.15, is_number=True),
            Column(_("Veto"), 0.15, is_number=True),
        ),
        tuple(rows),
        _("Table of quality checks: {told}.").format(told=words.checks(runs, language)),
        _("Numbers of measurements. A veto takes a measurement out of every claim."),
    )


# --- characters ------------------------------------------------------------------------------------------------


def clean(one: StorySlide) -> StorySlide:
    """Without the characters that a file of XML cannot hold, wherever names and texts of people stand."""
    found = one.evidence
    if isinstance(found, Table):
        found = _clean_table(found)
    elif isinstance(found, Chart):
        found = _clean_chart(found)
    elif isinstance(found, Gallery):
        found = replace(found, charts=tuple(map(_clean_chart, found.charts)), alternative=_text(found.alternative))
    elif isinstance(found, Blocks):
        found = replace(found, alternative=_text(found.alternative))
    return replace(
        one,
        title=_text(one.title),
        statements=tuple(replace(s, text=_text(s.text), label=_text(s.label)) for s in one.statements),
        evidence=found,
        source=_text(one.source),
        use_class=_text(one.use_class),
        speech=tuple(map(_text, one.speech)),
        sources=tuple(map(_text, one.sources)),
    )


def _text(text: str) -> str:
    return re.sub(CONTROL, "", text).replace("|rho|", f"|{JOINER}rho{JOINER}|").replace("|ρ|", f"|{JOINER}ρ{JOINER}|")


JOINER = "\u2060"
"""No line breaks here."""


def _clean_table(table: Table) -> Table:
    return replace(
        table,
        columns=tuple(replace(column, title=_text(column.title)) for column in table.columns),
        rows=tuple(
            Heading(_text(row.text)) if isinstance(row, Heading) else tuple(map(_text, row)) for row in table.rows
        ),
        alternative=_text(table.alternative),
        key=_text(table.key),
    )


def _clean_chart(chart: Chart) -> Chart:
    series = tuple(
        replace(
            one,
            name=_text(one.name),
            points=tuple(replace(point, name=_text(point.name)) if point.name else point for point in one.points),
        )
        for one in chart.series
    )
    return replace(
        chart,
        series=series,
        alternative=_text(chart.alternative),
        x=replace(chart.x, title=_text(chart.x.title)),
        y=replace(chart.y, title=_text(chart.y.title)),
    )
