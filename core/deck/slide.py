"""Builds one slide of a story: fits texts to the page, cleans them and names their sources."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from core import wording
from core.deck import layout
from core.deck.deck_data import DeckData
from core.deck.story import Column, Heading, Row, Statement, StorySlide, Table, Visual, is_query
from core.figures.text import is_wide
from core.locale import DIRECTION_CONTROLS, _
from core.sources import Text, changed, counted, derived, shown
from core.tables import Run, ids_of, records
from core.wording import slides as slide_wording
from core.wording.labels import day, name

PAGE_POINTS, PAGE_KEY_ROOM = 10, 0.8
"""Letter size of tables of the appendix, and inches for the key below one."""
MOST_ROWS = 7
"""Models in one table of a core slide; the others stand in the appendix."""


def shorten_for_page(story_slide: StorySlide, page: layout.Page) -> StorySlide:
    """As much of a core slide as fits on a page in letters of 14 points; the rest goes to its notes."""
    fitting, visual = list(story_slide.statements), story_slide.visual
    room = layout.below_large(fitting, page.statements)
    while len(fitting) > 1 and layout.text_height(layout.paragraphs(fitting), room[2], layout.SMALLEST) > room[3]:
        fitting.pop()
    dropped = [
        wording.joined_sentences((f"{statement.label}{_(': ')}" if statement.label else "", statement.text))
        for statement in story_slide.statements[len(fitting) :]
    ]
    if isinstance(visual, Table):
        whole, visual = visual, _fitting_table(visual, page.chart if fitting else page.body)
        left = (*visual.rows, *[None] * (len(whole.rows) - len(visual.rows)))
        cut = [row for row, shortened in zip(whole.rows, left, strict=True) if shortened != row]
        dropped += [row.text if isinstance(row, Heading) else _read_aloud(row, whole) for row in cut]
    return replace(story_slide, statements=tuple(fitting), visual=visual, speech=(*story_slide.speech, *dropped))


def _read_aloud(row: tuple[str, ...], table: Table) -> str:
    """`Decides: Head of support`; of more columns each cell with its title."""
    cells = [
        _("{name}: {relation}").format(name=column.title, relation=text)
        for column, text in zip(table.columns[1:], row[1:], strict=True)
        if text != "–"
    ]
    told = row[1] if len(row) == 2 else _(", ").join(cells)
    return _("{name}: {relation}").format(name=row[0], relation=told)


def _fitting_table(table: Table, box: layout.Box) -> Table:
    """The table with cells cut to as many lines as the box has room for, and where one is too much, with fewer rows."""
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
        if layout.table_height(rows, table.columns, layout.SMALLEST, width) <= room:
            break
    while len(rows) > 1 and layout.table_height(rows, table.columns, layout.SMALLEST, width) > room:
        rows = rows[:-1]
    return replace(table, rows=rows)


def check_table(checks: pl.DataFrame, runs: pl.DataFrame, most: int) -> Table:
    """How many of the runs passed each check, with warnings and vetoes; checks beyond `most` are summed up in one row."""
    outcomes = {"pass": "passed", "warn": "warned", "veto": "vetoed"}
    worst = (
        checks.filter(pl.col("run_id").is_in(ids_of(runs)))
        .group_by("check_name", "run_id")
        .agg(pl.col("outcome").cast(pl.Enum(list(outcomes))).max())
    )
    counts = sorted(
        ((check, Counter(found)) for check, found in worst.group_by("check_name").agg("outcome").iter_rows()),
        key=lambda one: (-one[1]["veto"], -one[1]["warn"], one[0]),
    )
    rows: list[Row] = [
        (
            name("check", check),
            *(shown(derived(found[key], "run_checks", f"{check} {told}")) for key, told in outcomes.items()),
        )
        for check, found in counts[:most]
    ]
    if rest := counts[most:]:
        is_clean = not any(found["warn"] + found["veto"] for _check, found in rest)
        further = _("{n} further check", "{n} further checks", n=counted(len(rest), "run_checks"))
        rows.append((further, *((_("all"), "0", "0") if is_clean else ("–", "–", "–"))))
    if not rows:
        rows.append((slide_wording.checks_text(runs), "–", "–", "–"))
    return Table(
        (
            Column(_("Quality check"), 0.49),
            Column(_("Passed"), 0.17, is_number=True),
            Column(_("Warning"), 0.19, is_number=True),
            Column(_("Veto"), 0.15, is_number=True),
        ),
        tuple(rows),
        _("Numbers of measurements; vetoed ones count in no claim."),
    )


# --- slides ----------------------------------------------------------------------------------------------------


def make_slide(
    data: DeckData,
    key: str,
    title: str,
    statements: Sequence[Statement | str] = (),
    visual: Visual | None = None,
    tables: Sequence[str] = (),
    runs: pl.DataFrame | None = None,
    sources: Sequence[str] = (),
    speech: Sequence[str] = (),
) -> StorySlide:
    """A slide without characters that XML forbids, its title cut to two lines; its sources are those named, or each run."""
    run_ids = () if runs is None else tuple(ids_of(runs))
    if runs is not None and not sources:
        sources = [f"{row.name}: {row.run_id}" for row in records(runs, Run)]
    told = (Statement(one) if isinstance(one, str) else one for one in statements)
    return cleaned(
        StorySlide(
            key,
            layout.truncate(title, layout.TEXT_WIDTH, layout.TITLE_SIZES[-1], bold=True),
            tuple(one for one in told if one.text),
            visual,
            " · ".join(("Workdim", day(data.made_on))),
            tuple(speech),
            tuple([", ".join(tables), *sources] if tables else sources),
            run_ids,
        )
    )


def table_slides(
    data: DeckData,
    key: str,
    title: str,
    columns: tuple[Column, ...],
    rows: Sequence[Row],
    key_line: str = "",
    **sources: Any,
) -> Iterator[StorySlide]:
    """A table over as many slides as it needs: `title (1/2)`, `title (2/2)`; tables, runs and `sources` are of each."""
    filled = layout.paginate(
        cleaned(tuple(rows)), columns, PAGE_POINTS, layout.BODY_HEIGHT - (PAGE_KEY_ROOM if key_line else 0.0)
    )
    for number, page in enumerate(filled, start=1):
        numbered = title if len(filled) == 1 else title + f" ({number}/{len(filled)})"
        table = Table(columns, tuple(page), key_line)
        yield make_slide(data, key if number == 1 else f"{key}-{number}", numbered, (), table, **sources)


# --- characters ------------------------------------------------------------------------------------------------


def cleaned(record: Any) -> Any:
    """The record with all its texts without characters that XML forbids, which names and texts of users may contain, and with
    minus signs."""
    return changed(record, lambda value, _path: _cleaned_text(value) if isinstance(value, str) else value)


def _cleaned_text(text: str) -> Text:
    text = Text(text).substituted(CONTROL_CHARACTERS, lambda _found: "")
    if is_query(text):
        return text
    text = text.substituted(RIGHT_TO_LEFT_NAME, lambda found: f"{found[1]}{LEFT_TO_RIGHT_MARK}")
    text = text.substituted(r"\b(\d+)-shot", lambda found: f"{found[1]}{WORD_JOINER}-{WORD_JOINER}shot")
    return _with_minus(text.substituted(r"\|(rho|ρ)\|", lambda found: f"|{WORD_JOINER}{found[1]}{WORD_JOINER}|"))


def _with_minus(text: Text) -> Text:
    """Numbers for people have a minus sign, not a hyphen; names keep theirs. Behind a Japanese letter programs would set a
    minus sign as wide as one."""
    starts = {
        one.start
        for one in text.stretches
        if text[one.start] == "-" and not is_wide(text[: one.start].rstrip()[-1:] or " ")
    }
    return Text("".join("−" if at in starts else letter for at, letter in enumerate(text)), text.stretches)


CONTROL_CHARACTERS = f"[\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff{DIRECTION_CONTROLS}]"
"""Characters that XML forbids, that turn the direction of text, and line breaks, which a name does not need."""
WORD_JOINER = "\u2060"
"""Prevents a line break."""
LEFT_TO_RIGHT_MARK = "\u200e"
RIGHT_TO_LEFT_NAME = re.compile(rf"([\u0590-\u08ff][^\s、。,;:；：()（）{LEFT_TO_RIGHT_MARK}]*){LEFT_TO_RIGHT_MARK}?")
"""A name in Arabic or Hebrew: numbers behind it would otherwise be set to its left, intervals reversed."""
