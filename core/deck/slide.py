"""One slide of a story put together: its words fitted to the page, its source line, and what a presenter says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl

from core import wording
from core.deck import layout
from core.deck.deck_data import CONTROL, DeckData
from core.deck.story import Blocks, Chart, Column, Evidence, Gallery, Heading, Row, Statement, StorySlide, Table
from core.locale import translator
from core.wording import slides as words
from core.wording.labels import name, short_id

MOST_ENDS = 4
"""Run ids in a source line, by their ends; the notes have all in full."""
PAGE_POINTS, PAGE_KEY_ROOM = 10, 0.8
"""Letters of tables of the appendix, and inches that the key below one has."""
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
    shown = _that_fit([one for one in statements if one.text], evidence, layout.OWN_PAGE)
    if isinstance(evidence, Table):
        evidence = _fitted(evidence, layout.CHART_BOX if shown else layout.BODY_BOX)
    run_ids = tuple(runs["run_id"]) if runs is not None else ()
    named = [f"{row['name']}: {row['run_id']}" for row in runs.iter_rows(named=True)] if runs is not None else []
    made = look_up(data, key, title, shown, evidence, tables, run_ids, sources or named)
    speech = _speech(title, statements, evidence, say, data.language, made.use_class)
    return clean(replace(made, speech=tuple(speech)))


def _that_fit(statements: Sequence[Statement], evidence: Evidence | None, page: layout.Page) -> list[Statement]:
    """The first of them, as many as there is room for; one at least."""
    shown = list(statements)
    box = page.body if evidence is None else page.statements
    while len(shown) > 1 and layout.text_height(paragraphs(shown), box[2], layout.SMALLEST) > box[3]:
        shown.pop()
    return shown


def shortened_to(one: StorySlide, page: layout.Page, language: str) -> StorySlide:
    """As much of one of the seven as a smaller page holds in letters of 14 points; what does not fit stands in its notes."""
    shown, evidence = _that_fit(one.statements, one.evidence, page), one.evidence
    left = paragraphs(one.statements[len(shown) :])
    box = page.chart if shown else page.body
    if isinstance(evidence, Table):
        evidence = _fitted(evidence, box)
        rows = list(evidence.rows)
        room = box[3] - layout.key_height(evidence.key, box[2])
        while len(rows) > 1 and layout.table_height(rows, evidence.columns, layout.SMALLEST, box[2]) > room:
            rows.pop()
        gone = one.evidence.rows[len(rows) :] if isinstance(one.evidence, Table) else ()
        left += [row.text if isinstance(row, Heading) else _read_aloud(row, evidence, language) for row in gone]
        evidence = replace(evidence, rows=tuple(rows))
    if isinstance(evidence, Chart):
        points = [point for series in evidence.series for point in series.points]
        named = iter(layout.placed(points, evidence.x, evidence.y, box=box))
        evidence = replace(
            evidence,
            series=tuple(
                replace(series, points=tuple(next(named) for _ in series.points)) for series in evidence.series
            ),
        )
    return replace(one, statements=tuple(shown), evidence=evidence, sources=(*left, *one.sources))


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


def asked(data: DeckData, choice: str, options: Sequence[str], more: Sequence[Statement] = ()) -> StorySlide:
    """The decision, by when and whose; the first of the options is what is recommended."""
    _ = translator(data.language)
    pilot = data.pilot.pilot if data.pilot else None
    title = _("Decision asked: {choice}").format(choice=choice)
    if pilot is not None and pilot.decide_by is not None:
        day = words.day(pilot.decide_by, data.language)
        title = _("Decision asked by {day}: {choice}").format(day=day, choice=choice)
    labels = (_("Option 1 (recommended)"), _("Option 2"), _("Option 3"))
    return slide(
        data,
        "asked",
        title,
        [
            *(Statement(option, label, is_main=True) for option, label in zip(options, labels, strict=False)),
            Statement(words.who_decides(pilot, data.language), _("Decides")),
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


def facts(left: str, right: str, share: float, rows: Sequence[tuple[str, str]], told: str, language: str) -> Table:
    """A table of two columns; `told` says what it is of, with the `{names}` of its rows."""
    names = translator(language)(", ").join(name for name, _fact in rows)
    return Table((Column(left, share), Column(right, 1 - share)), tuple(rows), told.format(names=names))


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


SPOKEN = {"en": (130, 195), "ja": (300, 450)}
"""Least and most of 60 to 90 seconds: English at 130 words a minute, Japanese at 300 letters."""


def spoken_length(lines: Sequence[str], language: str) -> int:
    """Words of English, letters of Japanese."""
    return sum(len(line.split()) if language == "en" else len(line) for line in lines)


def _speech(
    title: str, statements: Sequence[Statement], evidence: Evidence | None, say: Sequence[str], language: str, use: str
) -> list[str]:
    """In one sentence, what to know for reading it, what is said beside it, what is seen, what not to conclude: as much
    as 60 to 90 seconds hold."""
    _ = translator(language)
    least, most = SPOKEN[language]
    spoken = [
        wording.sentences((f"{one.label}{_(': ')}" if one.label else "", one.text), language)
        for one in statements
        if one.text
    ]
    lines = [_("In one sentence: {title}.").format(title=title.rstrip(".。?？")), *say[:1]]
    if evidence is not None:
        lines.append(_("What you see: {alternative}").format(alternative=evidence.alternative))
    if isinstance(evidence, Table):
        lines += [
            _read_aloud(row, evidence, language) for row in evidence.rows[:READ_ALOUD] if not isinstance(row, Heading)
        ]
    told: list[str] = []
    for line in (*lines, *spoken, *say[1:]):
        if line and spoken_length([*told, line], language) <= most:
            told.append(line)
    more = [
        _("What this may be used for: {use_class}").format(use_class=use),
        _("Every number can be traced: the runs stand below in these notes, and in full in the appendix."),
        _("If you take one thing from this slide, take its title; the rest says how sure it is, and what it rests on."),
        _(
            "What stays open stands in the appendix, under limits. Please ask now if a word or a number here is not clear."
        ),
        _("Before we go on: is there anything here that would change your decision, if it came out otherwise?"),
    ]
    if isinstance(evidence, Chart):
        more.insert(
            0, _("The intervals are of 95 percent: where two of them overlap widely, do not tell the two apart.")
        )
    for line in more:
        if spoken_length(told, language) < least and spoken_length([*told, line], language) <= most:
            told.append(line)
    return told


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


def _fitted(table: Table, box: layout.Box) -> Table:
    """Cells cut to as many lines as the box has room for."""
    width, room = box[2], box[3] - layout.key_height(table.key, box[2])
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


def check_table(checks: pl.DataFrame, runs: pl.DataFrame, language: str, most: int) -> Table:
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
        rest = counts.slice(most)
        is_clean = rest["warned"].sum() == rest["vetoed"].sum() == 0
        told = (_("all"), "0", "0") if is_clean else ("–", "–", "–")
        rows.append((_("{n} further checks").format(n=rest.height), *told))
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


# --- pages to look things up on ----------------------------------------------------------------------------------


def look_up(
    data: DeckData,
    key: str,
    title: str,
    statements: Sequence[Statement] = (),
    shown: Evidence | None = None,
    tables: Sequence[str] = (),
    run_ids: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> StorySlide:
    """A page to look things up on: nothing is said, and its notes hold the sources alone."""
    return clean(
        StorySlide(
            key,
            layout.cut(title, layout.TEXT_WIDTH, layout.TITLE_SIZES[-1], bold=layout.BOLD),
            tuple(statements),
            shown,
            source_line(data, tables, run_ids),
            use_class(data),
            (),
            tuple([", ".join(tables), *sources] if tables else sources),
            tuple(run_ids),
        )
    )


def paged(
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
    """`title (1/2)`, `title (2/2)`: a number only where there are several; the pages are as even as they can be."""
    filled = layout.pages(rows, columns, PAGE_POINTS, layout.BODY_HEIGHT - (PAGE_KEY_ROOM if key_line else 0.0))
    for number, page in enumerate(filled, start=1):
        numbered = title if len(filled) == 1 else f"{title} ({number}/{len(filled)})"
        table = Table(columns, tuple(page), alternative, key_line)
        at = key if number == 1 else f"{key}-{number}"
        yield look_up(data, at, numbered, (), table, tables, run_ids, sources)


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
    written = RIGHT_TO_LEFT.sub(rf"\1{ON_TO_THE_RIGHT}", re.sub(CONTROL, "", text))
    return written.replace("|rho|", f"|{JOINER}rho{JOINER}|").replace("|ρ|", f"|{JOINER}ρ{JOINER}|")


JOINER = "\u2060"
"""No line breaks here."""
ON_TO_THE_RIGHT = "\u200e"
RIGHT_TO_LEFT = re.compile(rf"([\u0590-\u08ff][^\s、。,;:；：()（）{ON_TO_THE_RIGHT}]*){ON_TO_THE_RIGHT}?")
"""A name in Arabic or Hebrew: numbers behind it would else be set to its left, an interval from its upper end."""


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
