"""Where each number of a report comes from, found by its value.

Every number that a slide shows is looked for among what was read of the slide's runs. A point of a chart is found by its
full value; a number in a text by its digits, among the columns that texts tell of, those of the model that was named last
first. What is found nowhere was computed: from the answer to the pilot's question, which says what it is, or otherwise.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from core.deck.deck_data import DeckData
from core.deck.story import Chart, Gallery, Heading, Series, Story, StorySlide, Table
from core.tables import SCORE_KEYS, TABLES, RecipeNumberRow

_LONG_DATE = r"\d{4}-\d\d-\d\d|\d{4}年\d{1,2}月\d{1,2}日"
_ID = r"[0-9a-f]{4,}(?:-[0-9a-f]{4,})+|…[0-9a-f]+|\d{4}\.\d{5}"
_LEVEL = r"95\s?[%％]"
_DIGITS = r"[-−–]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?"
_NUMBER = re.compile(rf"(?<![A-Za-z0-9_./@:#-])(?<!\d[–−]){_DIGITS}(?![A-Za-z0-9_@/]|[.,:-]\d|[.-][A-Za-z])")
_INTERVAL = re.compile(rf"\s*\[\+?({_DIGITS})(?:,|、| to |–|～| )\s*\+?({_DIGITS})\]")
_NEAR_LAYER = re.compile(r"(?:layers?|層|block|ブロック)\s*第?$", re.IGNORECASE)
_BEFORE_LAYER = re.compile(r"^\s*(?:層(?!中)|番目)")
_OF_ALL_LAYERS = re.compile(r"(?:\bof|/)\s*$")
_ALL_LAYERS = re.compile(r"^\s*(?:層中|層のうち|ブロック|layers|blocks)")
_A_LAYER = re.compile("layer|層", re.IGNORECASE)
_EXPLAINING = ("method", "glossary", "sql", "limits")
"""Sections of the appendix without measurements."""
_TOLD = (
    "run_summaries",
    "run_extrema",
    "scores",
    "models",
    "runs",
    "run_claims",
    "run_controls",
    "run_checks",
    "plans",
    "plan_outcomes",
    "layer_estimates",
)
"""Tables whose columns texts tell of, the likeliest first, of layer_estimates what is drawn alone; a number of a text is
looked for in no other, because among thousands of values there is always one with the same three digits."""
_KEYS = {
    "scores": ("repository", *SCORE_KEYS, "source"),
    "plan_outcomes": ("plan_id", "rule", "unit", "blocks", "is_chosen", "is_healed", "text", "measure", "rank"),
}
"""Of tables whose rows may repeat, the columns that tell them apart."""
_NO_NUMBERS = ("seed", "model_seed", "version", "n1", "n2")
_FIRST = (
    "inner_max",
    "inner_max_layer",
    "working_dimension",
    "embedding_dimension",
    "final_dimension_pre_norm",
    "final_dimension_post_norm",
)


@dataclass(frozen=True)
class _Row:
    """A row of the warehouse as numbers are looked up in it."""

    table: str
    run_id: str | None
    key: str
    values: Mapping[str, float]
    place: float | None = None
    """Its layer, if it has one."""


@dataclass(frozen=True)
class _Held:
    """A number of a row that a text may tell of."""

    value: float
    place: int
    """The likelier it is that a text means it, the lower."""
    row: _Row
    column: str


@dataclass(frozen=True)
class Sources:
    """What was read for a report, as numbers are looked up in it."""

    told: list[_Held]
    """By value."""
    drawn: Mapping[float, list[tuple[_Row, str]]]
    """Values of points of charts -> the rows that hold them."""
    names: Mapping[str, list[str]]
    """run_id -> what its model and text are called."""
    computed: list[tuple[str, float]]
    """Name and value of what was computed over several runs."""


def sources(data: DeckData, story: Story) -> Sources:
    """Where the numbers of a story may come from: of all that it is made from."""
    points = {float(one) for slide in story for series in _series(slide) for p in series.points for one in (p.x, p.y)}
    names: dict[str, list[str]] = {}
    frames: dict[str, pl.DataFrame] = {}
    if data.runs.height:
        for run in data.runs.iter_rows(named=True):
            called = (run["name"], run["reference"], run["repository"], run["corpus_name"])
            names[run["run_id"]] = [name for name in called if name]
        scores = data.scored.filter(pl.col("score").is_not_null()).select(
            "run_id",
            *SCORE_KEYS,
            repository="score_name_in_source",
            source="score_source",
            value="score",
            std_error="score_std_error",
            n_samples="score_n_samples",
        )
        is_main = (
            (pl.col("estimator") == "d2") & (pl.col("cloud") == "one_per_type") & (pl.col("transform") == "centred")
        )
        is_drawn = pl.col("value").is_in(list(points))
        frames = {
            "run_summaries": data.runs,
            "run_extrema": data.extrema,
            "scores": scores,
            "models": data.runs,
            "runs": data.runs,
            "run_claims": data.claims,
            "run_controls": data.against_controls,
            "run_checks": data.checks,
            "layer_estimates": data.estimates.filter(is_main | is_drawn),
            "layer_correlators": data.correlators.filter(is_drawn),
        }
    if data.plan is not None:
        frames |= data.plan.frames()
    told: list[_Held] = []
    by_value: dict[float, list[tuple[_Row, str]]] = {}
    for table, frame in frames.items():
        for row in _rows_of(table, frame):
            for column, value in row.values.items():
                if table in _TOLD and not column.endswith(
                    ("lower", "upper")
                ):  # these stand in brackets behind a number
                    told.append(_Held(value, len(told), row, column))
                if value in points:
                    by_value.setdefault(value, []).append((row, column))
    told.sort(key=lambda one: one.value)
    answer = data.answer
    computed = {"relation": answer.relation, "models": answer.models} if answer else {}
    return Sources(told, by_value, names, [one for key, part in computed.items() for one in _numbers_in(part, key)])


def _rows_of(table: str, frame: pl.DataFrame) -> Iterator[_Row]:
    """The rows of a frame as they are looked up: their numbers, and the key that finds them in the warehouse."""
    declared = TABLES[table]
    key = [name for name in declared.key or _KEYS[table] if name in frame.columns]
    numeric = [
        name
        for name, kind in declared.schema.items()
        if name in frame.columns and name not in (*key, *_NO_NUMBERS) and kind in (pl.Float64, pl.Int64)
    ]
    numeric.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    for row in _main_first(frame).iter_rows(named=True):
        values = {name: float(row[name]) for name in numeric if row[name] is not None}
        if table == "run_extrema":
            values["layer"] = float(row["layer"])
        told = json.dumps({name: row[name] for name in key}, sort_keys=True)
        yield _Row(table, row.get("run_id"), told, values, row.get("layer"))


def numbers(story: Story, known: Sources, recipe_id: str) -> list[RecipeNumberRow]:
    """Every number of the story's slides, in their order."""
    found: list[RecipeNumberRow] = []

    def add(slide: int, key: str, place: str, text: str, value: float, source: tuple[_Row, str] | str | None) -> None:
        row, column = source if isinstance(source, tuple) else (None, source)
        found.append(
            RecipeNumberRow(
                recipe_id=recipe_id,
                number=len(found) + 1,
                slide=slide,
                slide_key=key,
                place=place,
                text=text,
                value=value if row is None or column is None else row.values[column],
                source_table=row.table if row else None,
                source_column=column,
                run_id=row.run_id if row else None,
                source_key=row.key if row else None,
            )
        )

    for number, slide in enumerate(story, start=1):
        if not is_measured(slide, story):
            continue
        tables = [table for table in TABLES if slide.sources and table in slide.sources[0]]
        for place, text, model, column, line in texts_of(slide):
            beside = tuple(written for _at, written in numbers_in(line))
            asked = _Asked(slide.run_ids, tables, model, bool(_A_LAYER.search(column)), beside=beside)
            for written, value, source in _in_text(text, asked, known):
                add(number, slide.key, place, written, value, source)
        for series in _series(slide):
            for value, source in _in_series(series, slide.run_ids, known):
                add(number, slide.key, "chart", f"{value:.6g}", value, source)
    return found


def is_measured(slide: StorySlide, story: Story) -> bool:
    """A slide of no run, and of no plan, explains: definitions and limits are no measurements."""
    is_of_something = bool(slide.run_ids) or story.plan_id is not None
    return is_of_something and slide.key.split("-")[0] not in _EXPLAINING


def numbers_in(text: str, names: Sequence[str] = ()) -> list[tuple[int, str]]:
    """Where each number of a text begins, and its digits; dates, ids, names and levels of confidence are none."""
    covered = text
    for name in sorted(set(names), key=len, reverse=True):
        covered = covered.replace(name, "\0" * len(name))
    covered = re.sub(f"{_LONG_DATE}|{_ID}|{_LEVEL}", lambda found: "\0" * len(found[0]), covered)
    return [(found.start(), found[0]) for found in _NUMBER.finditer(covered)]


# --- looked up -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    """Of which slide, and where on it, a number is."""

    run_ids: tuple[str, ...]
    tables: Sequence[str]
    """Those that the slide names as its sources; none: it names none."""
    model: str = ""
    """Head of its row, which may name a model."""
    is_layer: bool = False
    """Whether it stands in a column of layers."""
    is_named: bool = False
    """Whether a model was named before it; else it may be of all of them."""
    beside: tuple[str, ...] = ()
    """All numbers of its sentence or its row: of several rows of the warehouse with one value, one holds most of them."""


def texts_of(slide: StorySlide) -> Iterator[tuple[str, str, str, str, str]]:
    """Place, text, of a cell the head of its row and of its column, and the whole that it is read in."""
    yield "title", slide.title, "", "", slide.title
    for statement in slide.statements:
        yield "statement", statement.text, "", "", statement.text
    if isinstance(slide.evidence, Table):
        for row in slide.evidence.rows:
            if not isinstance(row, Heading):
                for column, cell in zip(slide.evidence.columns[1:], row[1:], strict=False):
                    yield "table", cell, row[0], column.title if column.is_number else "", "  ".join(row[1:])


def _series(slide: StorySlide) -> Iterator[Series]:
    drawn = slide.evidence
    charts = drawn.charts if isinstance(drawn, Gallery) else (drawn,) if isinstance(drawn, Chart) else ()
    for chart in charts:
        yield from chart.series


def _in_series(series: Series, run_ids: Sequence[str], known: Sources) -> Iterator[tuple[float, Any]]:
    """The height of each point; its place as well where that is a measured number and no layer."""
    for point in series.points:
        across = (
            () if series.is_line or float(point.x).is_integer() else ((point.x, None),)
        )  # layers are no measurement
        for value, place in ((point.y, point.x), *across):
            held = known.drawn.get(value, ())
            of_slide = [one for one in held if one[0].run_id is None or one[0].run_id in run_ids]
            named = [one for one in of_slide if series.name and series.name in known.names.get(one[0].run_id or "", ())]
            likely = sorted(named or of_slide, key=lambda one: (one[0].place != place, one[0].place is not None))
            if likely or place is not None:
                yield value, next(iter(likely), None)


def _in_text(text: str, asked: _Asked, known: Sources) -> Iterator[tuple[str, float, tuple[_Row, str] | str | None]]:
    names = [name for run_id in asked.run_ids for name in known.names.get(run_id, ())]
    limits: dict[int, tuple[_Row, str]] = {}
    for start, written in numbers_in(text, names):
        value = _value(written)
        before, after = text[:start], text[start + len(written) :]
        if start in limits:
            yield written, value, limits[start]
            continue
        said = f"{asked.model} {before}"
        is_named = any(name in said for name in names)
        ordered = replace(asked, run_ids=_by_name(asked.run_ids, known, said), is_named=is_named)
        source = _told_value(written, before, after, ordered, known)
        bounds = _INTERVAL.match(after)
        if isinstance(source, tuple) and bounds:
            row, column = source
            for group, end in ((1, "lower"), (2, "upper")):
                name = f"{column}_{end}" if f"{column}_{end}" in row.values else end
                if name in row.values and _is_written(row.values[name], bounds[group], after):
                    limits[start + len(written) + bounds.start(group)] = (row, name)
        yield written, value, source


def _by_name(run_ids: Sequence[str], known: Sources, before: str) -> tuple[str, ...]:
    """The runs of a slide, that of the model that was named last first."""
    said = {run_id: max((before.rfind(name) for name in known.names.get(run_id, ())), default=-1) for run_id in run_ids}
    return tuple(sorted(run_ids, key=lambda run_id: -said[run_id]))


def _told_value(written: str, before: str, after: str, asked: _Asked, known: Sources) -> tuple[_Row, str] | str | None:
    """The likeliest row that a text of these runs may mean; else the name of what was computed."""
    is_of_all = written.isdigit() and bool(_OF_ALL_LAYERS.search(before[-5:]) or _ALL_LAYERS.match(after))
    is_layer = written.isdigit() and bool(
        asked.is_layer or _NEAR_LAYER.search(before[-12:]) or _BEFORE_LAYER.match(after)
    )
    bounds = _INTERVAL.match(after)
    order: dict[str | None, int] = {run_id: place for place, run_id in enumerate(asked.run_ids)}
    order[None] = len(asked.run_ids)
    is_small = re.fullmatch("[-−–]?[0-9]", written) is not None
    likely = [name for name, value in known.computed if _is_written(value, written, after)]
    computed = next((name for name in likely if name.endswith(".n") or not is_small), None)
    if computed and not asked.is_named and not is_layer and not is_of_all:
        return computed
    found: list[tuple[bool, int, int, int, int, _Held]] = []
    for low, high in _ranges(written, after):
        for at in range(bisect_left(known.told, low, key=_value_of), bisect_right(known.told, high, key=_value_of)):
            held = known.told[at]
            run = order.get(held.row.run_id)
            if run is None or (asked.tables and held.row.table not in (*asked.tables, "models")):
                continue
            is_a_layer = "layer" in held.column  # the only numbers of one digit that are told of a run
            is_right = is_of_all if held.column == "n_layers" else is_a_layer == (is_layer and not is_of_all)
            if not is_right or (is_small and not is_a_layer) or not _is_written(held.value, written, after):
                continue
            fits = bounds is None or _has_bounds(held, bounds, after)
            by_table = 0 if asked.is_named else _TOLD.index(held.row.table)
            found.append((not fits, by_table, run, -_held_beside(held.row, asked.beside), held.place, held))
    if found:
        *_order, held = min(found, key=lambda one: one[:5])
        if bounds is None or _has_bounds(held, bounds, after):
            return held.row, held.column
        if computed is None:
            return held.row, held.column
    return computed


def _held_beside(row: _Row, beside: Sequence[str]) -> int:
    """How many of these numbers a row holds, its layer among them."""
    values = [*row.values.values(), *([] if row.place is None else [row.place])]
    return sum(any(_is_written(value, written, "") for value in values) for written in beside)


def _value_of(held: _Held) -> float:
    return held.value


def _has_bounds(held: _Held, bounds: re.Match[str], after: str) -> bool:
    """Whether the interval that stands behind a number is that of its row."""
    values = held.row.values
    ends = [values.get(f"{held.column}_{end}", values.get(end)) for end in ("lower", "upper")]
    return all(end is not None and _is_written(end, bounds[n], after) for n, end in enumerate(ends, start=1))


def _ranges(written: str, after: str) -> list[tuple[float, float]]:
    """Between which values those lie that are written so: as they are, and as shares that are written in percent."""
    shown, half = _value(written), _half(written)
    ranges = [(shown - half, shown + half)]
    if _is_percent(after):
        ranges.append(((shown - half) / 100, (shown + half) / 100))
    return ranges


def _half(written: str) -> float:
    """Half a unit of the last digit, and a little."""
    digits, _e, power = written.lstrip("-−–").replace(",", "").partition("e")
    return 0.5000001 * 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))


def _is_percent(after: str) -> bool:
    return after.lstrip().startswith(("%", "％", "percent"))


def _is_written(value: float, written: str, after: str) -> bool:
    """Whether these digits may stand for the value: rounded to them, whole where they are, or as percent."""
    shown = _value(written)
    if value == shown:
        return True
    if re.fullmatch("[-−–]?[0-9]", written):  # only whole numbers are written with one digit and no decimals
        return False
    return any(abs(one - shown) <= _half(written) for one in ((value, 100 * value) if _is_percent(after) else (value,)))


def _value(written: str) -> float:
    return float(written.replace(",", "").replace("−", "-").replace("–", "-"))


def _main_first(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of the numbers that verdicts are about before all others."""
    if {"estimator", "cloud"} <= set(frame.columns):
        is_main = (pl.col("estimator") == "d2") & (pl.col("cloud") == "one_per_type")
        return frame.sort(is_main, descending=True, maintain_order=True)
    if "cloud" in frame.columns:
        return frame.sort(pl.col("cloud") == "one_per_type", descending=True, maintain_order=True)
    return frame


def _numbers_in(record: object, place: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """The numbers of a record and of records in it, by their dotted names."""
    if isinstance(record, bool) or depth > 5:
        return
    if isinstance(record, int | float):
        if math.isfinite(record):
            yield place, float(record)
    elif dataclasses.is_dataclass(record) and not isinstance(record, type):
        for one in dataclasses.fields(record):
            yield from _numbers_in(getattr(record, one.name), f"{place}.{one.name}".lstrip("."), depth + 1)
    elif isinstance(record, tuple | list) and len(record) <= 100:
        for n, one in enumerate(record):
            yield from _numbers_in(one, f"{place}[{n}]", depth + 1)
