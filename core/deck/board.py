"""The five slides of every deck: the answer, the evidence, cross-checks, models side by side or costs, options.

What differs from case to case is a `Board`; how it becomes slides stands here alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl

from core.deck import layout
from core.deck.deck_data import DeckData
from core.deck.story import Row, Statement, StorySlide, Table, Visual, cleaned
from core.locale import _, translated
from core.registry.checks import VERDICTS
from core.registry.protocols import find_protocol, n_control_passes
from core.sources import counted, derived, shown
from core.tables import Run, ids_of, records
from core.wording import joined_sentences
from core.wording import slides as slide_wording
from core.wording.labels import day, name

N_CONTROLS = n_control_passes(find_protocol("standard"))
"""Of one model: the passes that this protocol measures."""

PAGE_POINTS, PAGE_KEY_ROOM = 10, 0.8
"""Letter size of tables of the appendix, and inches for the key below one."""
MOST_ROWS = 7
"""Models in one table of a core slide; the others stand in the appendix."""

Sure = Literal["holds", "mostly_holds", "depends", "fails", "unclear", "invalid", "untested", "impossible"]
"""How sure something is: a word of `VERDICTS`; of a cross-check that these models or data do not allow, `impossible`."""


@dataclass(frozen=True)
class Panel:
    """A slide as its picture, with what stands beside it and what is said over it."""

    title: str
    visual: Visual
    statements: tuple[Statement, ...] = ()
    say: tuple[str, ...] = ()
    """What the slide does not say: how it is to be read, cautions."""


@dataclass(frozen=True)
class Look:
    """A cross-check: another way of looking at the same question, and what the stored results say of it."""

    name: str
    sure: Sure = "untested"
    told: str = ""
    """What was found; empty where it was not tried."""
    agrees: bool | None = None
    """Whether with the answer, where that is not whether it holds: all methods can say no as well, and one reason is enough to
    refuse. Such a look makes no answer less sure."""


@dataclass(frozen=True)
class Option:
    what: str
    outcome: str
    time: str = ""
    """Where it is known from what was measured here."""


@dataclass(frozen=True)
class Decision:
    title: str
    """Of the last slide."""
    options: tuple[Option, ...]
    """What is to be decided between; the first is recommended."""


@dataclass(frozen=True)
class Board:
    """What the five slides of one deck say."""

    answer: Panel
    """Its title is the answer; beside its picture stand those of its statements that follow the number."""
    number: str
    """The large one."""
    meaning: str
    """What it is, with its interval."""
    sure: Sure
    """Of the answer itself; cross-checks may make it less so."""
    decision: Decision
    looks: tuple[Look, ...] = ()
    evidence: Panel | None = None
    compared: Panel | None = None
    """Models side by side, or what a plan costs and what breaks first."""
    tables: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    """Each number with its row, for the notes."""
    judged: str = ""
    """What the marks of the cross-checks judge, where that is not the answer."""

    @property
    def possible(self) -> list[Look]:
        """The cross-checks that can be made: another is neither made nor left undone."""
        return [look for look in self.looks if look.sure != "impossible"]

    @property
    def tried(self) -> list[Look]:
        return [look for look in self.possible if look.sure != "untested"]

    @property
    def changing(self) -> list[str]:
        """Names of those that speak against the answer."""
        return [look.name for look in self.looks if look.sure in ("depends", "fails") and look.agrees is None]

    @property
    def how_sure(self) -> Sure:
        """An answer that holds is no surer than the cross-checks let it be: one that differs makes it depend on
        the way, and while one is not tried, nobody knows."""
        found = {look.sure for look in self.possible if look.agrees is None}
        if self.sure != "holds" or not found:
            return self.sure
        if self.changing:
            return "depends"
        return "untested" if "untested" in found else "unclear" if "unclear" in found else "holds"


def five_slides(data: DeckData, board: Board, runs: pl.DataFrame | None) -> Iterator[StorySlide]:
    """At most five: a deck without a second chart, other looks or models to compare goes without that slide."""
    beside = (
        Statement(board.number, is_large=True),
        Statement(board.meaning, is_main=True),
        Statement(_sure_text(board), _("How sure")),
        *board.answer.statements,
        Statement(_asked_text(data, board.decision), _("Decision asked")),
    )
    panels = {
        "answer": replace(board.answer, statements=beside),
        "evidence": board.evidence,
        "looks": _looks_panel(board) if board.tried else None,  # else the last slide names what was not tested
        "compared": board.compared,
        "options": _options_panel(board),
    }
    for key, panel in panels.items():
        if panel is not None:
            shown = (panel.title, panel.statements, panel.visual)
            slide = make_slide(key, *shown, board.tables, runs, board.sources, panel.say)
            yield layout.shorten_for_page(slide, layout.OWN_PAGE)


def table_of_models(titles: Sequence[str], rows: Sequence[Row], source: str, *key: str) -> Table:
    """As many rows as have room, and below them how many have none; `source` holds them."""
    more = counted(len(rows) - MOST_ROWS, source)
    left_out = [_("{n} more: appendix.", n=more)] if more > 0 else []
    return layout.table_of(titles, rows[:MOST_ROWS], joined_sentences([*key, *left_out]))


def controls_look(outcomes: pl.Series, n: int, runs: pl.DataFrame) -> Look:
    """Whether controls show the shape of the profiles too; else what measuring `n` passes would take."""
    if outcomes.is_empty():
        return Look(_("Controls"), "untested", slide_wording.untried_text(n, runs))
    found = Counter(outcomes)
    sure: Sure = "depends" if "shows_it" in found else "holds" if set(found) == {"exceeded"} else "unclear"
    told = _(", ").join(
        _("{name}: {relation}", name=name("control_outcome", one), relation=derived(n_so, "run_controls", one))
        for one, n_so in found.most_common()
    )
    return Look(_("Controls"), sure, told)


def sure_name(sure: str) -> str:
    """`◐ depends`."""
    if sure == "impossible":
        return _("– not possible")
    word = VERDICTS[sure]
    return f"{word.mark} {translated(word.name)}"


def _sure_text(board: Board) -> str:
    sure = sure_name(board.how_sure)
    if not board.possible:
        return sure
    agreeing = sum(look.sure == "holds" if look.agrees is None else look.agrees for look in board.tried)
    return _(
        "{sure}: {tried} of {total} cross-checks made, {n} agrees",
        "{sure}: {tried} of {total} cross-checks made, {n} agree",
        sure=sure,
        tried=counted(len(board.tried), "cross-checks"),
        total=counted(len(board.possible), "cross-checks"),
        n=counted(agreeing, "cross-checks"),
    )


def _asked_text(data: DeckData, decision: Decision) -> str:
    """By whom and when is decided between what is recommended and what stays else; what nobody entered is left out."""
    until = _("by {day}", day=day(data.decide_by)) if data.decide_by else ""
    asked = _(", ").join(filter(None, (data.decided_by, until)))
    between = _("; ").join(option.what for option in (decision.options[0], decision.options[-1]))
    return _(": ").join(filter(None, (asked, between)))


def stop() -> Option:
    return Option(_("Stop"), _("nothing changes"))


def test_on_task() -> Option:
    """What is left where no number of a deck decides."""
    return Option(_("Test it on your own task"), _("reasons to choose or refuse"))


def _looks_panel(board: Board) -> Panel:
    def marked(look: Look) -> str:
        """What agrees gives the same answer: "holds" would read as if what is told beside it held, such as an ability."""
        is_same = look.sure == "holds" and look.agrees is not False and not board.judged
        return _("{mark} same answer", mark=VERDICTS["holds"].mark) if is_same else sure_name(look.sure)

    title = _("Cross-checks that differ: {names}", names=board.changing)
    if not board.changing:
        n, total = (counted(len(looks), "cross-checks") for looks in (board.tried, board.possible))
        title = _("{n} of {total} possible cross-checks made, none contradicts the answer", n=n, total=total)
    return Panel(
        title,
        layout.table_of(
            (_("Cross-check"), _("Result"), _("What it says")),
            tuple((look.name, marked(look), look.told or "–") for look in board.looks),
            board.judged or _("Marks: does the answer of slide 1 hold?"),
        ),
        say=(_("What holds on one text, sample and method may be about these alone."),),
    )


def _options_panel(board: Board) -> Panel:
    first, *others = board.decision.options
    recommended = replace(first, what=_("{what} (recommended)", what=first.what))
    told = ((one.what, one.time or "–", one.outcome) for one in (recommended, *others))
    lines: list[tuple[str, ...]] = [(_("Option"), _("Time"), _("What follows")), *told]
    is_timed = any(one.time for one in board.decision.options)
    titles, *rows = lines if is_timed else [(what, outcome) for what, _time, outcome in lines]
    # What slide 3 shows is not said again.
    untested = [look.name for look in board.looks if look.sure == "untested" and not board.tried]
    key = _("Not tested: {what}.", what=untested) if untested else ""
    say = (_("Times: as measured on this machine."),) if is_timed else ()
    return Panel(board.decision.title, layout.table_of(titles, rows, key), say=say)


# --- any slide ---------------------------------------------------------------------------------------------------


def make_slide(
    key: str,
    title: str,
    statements: Sequence[Statement] = (),
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
    return cleaned(
        StorySlide(
            key,
            layout.truncate(title, layout.TEXT_WIDTH, layout.TITLE_SIZES[-1], bold=True),
            tuple(one for one in statements if one.text),
            visual,
            tuple(speech),
            tuple(filter(None, (", ".join(tables), *sources))),
            run_ids,
        )
    )


def table_slides(
    key: str, title: str, titles: Sequence[str], rows: Sequence[Row], key_line: str = "", **sources: Any
) -> Iterator[StorySlide]:
    """A table over as many slides as it needs: `title (1/2)`, `title (2/2)`; tables, runs and `sources` are of each."""
    table = layout.table_of(titles, cleaned(tuple(rows)), key_line)
    room = layout.BODY_HEIGHT - (PAGE_KEY_ROOM if key_line else 0.0)
    filled = layout.paginate(table.rows, table.columns, PAGE_POINTS, room)
    for number, page in enumerate(filled, start=1):
        numbered = title if len(filled) == 1 else title + f" ({number}/{len(filled)})"
        shown_here = replace(table, rows=tuple(page))
        yield make_slide(key if number == 1 else f"{key}-{number}", numbered, (), shown_here, **sources)


def check_table(checks: pl.DataFrame, runs: pl.DataFrame) -> Table:
    """How many of the runs passed each check, with warnings and vetoes, the worst first."""
    outcomes = {"pass": "passed", "warn": "warned", "veto": "vetoed"}
    counts = (
        checks.filter(pl.col("run_id").is_in(ids_of(runs)))
        .group_by("check_name", "run_id")
        .agg(pl.col("outcome").cast(pl.Enum(list(outcomes))).max())
        .group_by("check_name")
        .agg((pl.col("outcome") == outcome).sum().alias(told) for outcome, told in outcomes.items())
        .sort("vetoed", "warned", "check_name", descending=[True, True, False])
    )
    return layout.table_of(
        (_("Quality check"), _("Passed"), _("Warning"), _("Veto")),
        tuple(
            (name("check", check), *(shown(derived(n, "run_checks", f"{check} {told}")) for told, n in found.items()))
            for check, found in ((row.pop("check_name"), row) for row in counts.iter_rows(named=True))
        ),
        _("Numbers of measurements; vetoed ones count in no claim."),
    )
