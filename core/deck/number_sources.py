"""Traces each number of a report back to the row and column of the warehouse that it comes from, by its value.

A point of a chart is found by its full value; a number in a text by its digits, in the columns that texts mention, with the
rows of the model that was named last first. Numbers without a row were computed: from the pilot's answer, then with the name
of the field, or otherwise.
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
_SECTIONS_WITHOUT_NUMBERS = ("method", "glossary", "sql", "limits")
"""Sections of the appendix without measured numbers."""
_TABLES_IN_TEXTS = (
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
"""Tables whose columns texts mention, the likeliest first; of layer_estimates only what is drawn. Numbers of texts are
searched in no other table, because among thousands of values there is always one with the same three digits."""
_KEYS = {
    "scores": ("repository", *SCORE_KEYS, "source"),
    "plan_outcomes": ("plan_id", "rule", "unit", "blocks", "is_chosen", "is_healed", "text", "measure", "rank"),
}
"""Columns that distinguish rows, for tables without a key."""
_IGNORED_COLUMNS = ("seed", "model_seed", "version", "n1", "n2")
_LIKELIEST_COLUMNS = (
    "inner_max",
    "inner_max_layer",
    "working_dimension",
    "embedding_dimension",
    "final_dimension_pre_norm",
    "final_dimension_post_norm",
)


@dataclass(frozen=True)
class _Row:
    """A row of the warehouse with its numbers."""

    table: str
    run_id: str | None
    key: str
    values: Mapping[str, float]
    place: float | None = None
    """Its layer, if it has one."""


@dataclass(frozen=True)
class _Candidate:
    """A number of a row that a text may mean."""

    value: float
    place: int
    """Lower is likelier."""
    row: _Row
    column: str


@dataclass(frozen=True)
class NumberSources:
    """Everything that a report was made from, indexed for lookup by number."""

    candidates: list[_Candidate]
    """Sorted by value."""
    rows_by_value: Mapping[float, list[tuple[_Row, str]]]
    """Value of a point of a chart -> rows and columns with this value."""
    names: Mapping[str, list[str]]
    """run_id -> names of its model and text."""
    computed: list[tuple[str, float]]
    """Field name and value of what was computed over several runs."""


def collect_sources(data: DeckData, story: Story) -> NumberSources:
    """Indexes all data that the story was made from."""
    points = {
        float(number) for slide in story for series in _series(slide) for p in series.points for number in (p.x, p.y)
    }
    names: dict[str, list[str]] = {}
    frames: dict[str, pl.DataFrame] = {}
    if data.runs.height:
        for run in data.runs.iter_rows(named=True):
            labels = (run["name"], run["reference"], run["repository"], run["corpus_name"])
            names[run["run_id"]] = [name for name in labels if name]
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
    candidates: list[_Candidate] = []
    by_value: dict[float, list[tuple[_Row, str]]] = {}
    for table, frame in frames.items():
        for row in _rows_of(table, frame):
            for column, value in row.values.items():
                if table in _TABLES_IN_TEXTS and not column.endswith(
                    ("lower", "upper")
                ):  # bounds are found with their number
                    candidates.append(_Candidate(value, len(candidates), row, column))
                if value in points:
                    by_value.setdefault(value, []).append((row, column))
    candidates.sort(key=lambda number: number.value)
    answer = data.answer
    computed = {"relation": answer.relation, "models": answer.models} if answer else {}
    return NumberSources(
        candidates, by_value, names, [number for key, part in computed.items() for number in _numbers_in(part, key)]
    )


def _rows_of(table: str, frame: pl.DataFrame) -> Iterator[_Row]:
    """The rows of a frame with their numbers, and the key that finds them in the warehouse."""
    declared = TABLES[table]
    key = [name for name in declared.key or _KEYS[table] if name in frame.columns]
    numeric = [
        name
        for name, kind in declared.schema.items()
        if name in frame.columns and name not in (*key, *_IGNORED_COLUMNS) and kind in (pl.Float64, pl.Int64)
    ]
    numeric.sort(
        key=lambda name: _LIKELIEST_COLUMNS.index(name) if name in _LIKELIEST_COLUMNS else len(_LIKELIEST_COLUMNS)
    )
    for row in _main_first(frame).iter_rows(named=True):
        values = {name: float(row[name]) for name in numeric if row[name] is not None}
        if table == "run_extrema":
            values["layer"] = float(row["layer"])
        row_key = json.dumps({name: row[name] for name in key}, sort_keys=True)
        yield _Row(table, row.get("run_id"), row_key, values, row.get("layer"))


def trace_numbers(story: Story, sources: NumberSources, recipe_id: str) -> list[RecipeNumberRow]:
    """Every number of the story's slides with its source, in reading order."""
    rows: list[RecipeNumberRow] = []

    def add(slide: int, key: str, place: str, text: str, value: float, source: tuple[_Row, str] | str | None) -> None:
        row, column = source if isinstance(source, tuple) else (None, source)
        rows.append(
            RecipeNumberRow(
                recipe_id=recipe_id,
                number=len(rows) + 1,
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
        if not has_measurements(slide, story):
            continue
        tables = [table for table in TABLES if slide.sources and table in slide.sources[0]]
        for place, text, model, column, line in texts_of(slide):
            neighbours = tuple(digits for _at, digits in find_numbers(line))
            context = _Context(slide.run_ids, tables, model, bool(_A_LAYER.search(column)), beside=neighbours)
            for digits, value, source in _trace_text(text, context, sources):
                add(number, slide.key, place, digits, value, source)
        for series in _series(slide):
            for value, source in _trace_series(series, slide.run_ids, sources):
                add(number, slide.key, "chart", f"{value:.6g}", value, source)
    return rows


def has_measurements(slide: StorySlide, story: Story) -> bool:
    """Slides without a run or plan only explain: numbers in definitions and limits are not measured."""
    is_of_something = bool(slide.run_ids) or story.plan_id is not None
    return is_of_something and slide.key.split("-")[0] not in _SECTIONS_WITHOUT_NUMBERS


def find_numbers(text: str, names: Sequence[str] = ()) -> list[tuple[int, str]]:
    """Start and digits of each number of a text, without those in dates, ids, names and confidence levels."""
    covered = text
    for name in sorted(set(names), key=len, reverse=True):
        covered = covered.replace(name, "\0" * len(name))
    covered = re.sub(f"{_LONG_DATE}|{_ID}|{_LEVEL}", lambda match: "\0" * len(match[0]), covered)
    return [(match.start(), match[0]) for match in _NUMBER.finditer(covered)]


# --- lookup ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Context:
    """Where a number stands: its slide, and what is written around it."""

    run_ids: tuple[str, ...]
    tables: Sequence[str]
    """Tables that the slide names as its sources; empty where it names none."""
    model: str = ""
    """First cell of its row, which may name a model."""
    is_layer: bool = False
    """Whether it stands in a column of layers."""
    is_named: bool = False
    """Whether a model is named before it; otherwise it may be about all of them."""
    beside: tuple[str, ...] = ()
    """All numbers of its sentence or table row: of several rows with the same value, the one that holds most of them wins."""


def texts_of(slide: StorySlide) -> Iterator[tuple[str, str, str, str, str]]:
    """Place, text, first cell of its row, column title (only of number columns), and the surrounding text."""
    yield "title", slide.title, "", "", slide.title
    for statement in slide.statements:
        yield "statement", statement.text, "", "", statement.text
    if isinstance(slide.visual, Table):
        for row in slide.visual.rows:
            if not isinstance(row, Heading):
                for column, cell in zip(slide.visual.columns[1:], row[1:], strict=False):
                    yield "table", cell, row[0], column.title if column.is_number else "", "  ".join(row[1:])


def _series(slide: StorySlide) -> Iterator[Series]:
    visual = slide.visual
    charts = visual.charts if isinstance(visual, Gallery) else (visual,) if isinstance(visual, Chart) else ()
    for chart in charts:
        yield from chart.series


def _trace_series(series: Series, run_ids: Sequence[str], sources: NumberSources) -> Iterator[tuple[float, Any]]:
    """The y value of each point with its source, and the x value where it is a measured number and not a layer."""
    for point in series.points:
        across = (
            () if series.is_line or float(point.x).is_integer() else ((point.x, None),)
        )  # layers are no measurement
        for value, place in ((point.y, point.x), *across):
            matches = sources.rows_by_value.get(value, ())
            of_slide = [match for match in matches if match[0].run_id is None or match[0].run_id in run_ids]
            matches_by_name = [
                match
                for match in of_slide
                if series.name and series.name in sources.names.get(match[0].run_id or "", ())
            ]
            ranked = sorted(
                matches_by_name or of_slide, key=lambda match: (match[0].place != place, match[0].place is not None)
            )
            if ranked or place is not None:
                yield value, next(iter(ranked), None)


def _trace_text(
    text: str, context: _Context, sources: NumberSources
) -> Iterator[tuple[str, float, tuple[_Row, str] | str | None]]:
    names = [name for run_id in context.run_ids for name in sources.names.get(run_id, ())]
    limits: dict[int, tuple[_Row, str]] = {}
    for start, digits in find_numbers(text, names):
        value = _parse_number(digits)
        before, after = text[:start], text[start + len(digits) :]
        if start in limits:
            yield digits, value, limits[start]
            continue
        words_before = f"{context.model} {before}"
        is_named = any(name in words_before for name in names)
        ordered = replace(context, run_ids=_last_named_first(context.run_ids, sources, words_before), is_named=is_named)
        source = _find_source(digits, before, after, ordered, sources)
        bounds = _INTERVAL.match(after)
        if isinstance(source, tuple) and bounds:
            row, column = source
            for group, end in ((1, "lower"), (2, "upper")):
                name = f"{column}_{end}" if f"{column}_{end}" in row.values else end
                if name in row.values and _is_rounded_to(row.values[name], bounds[group], after):
                    limits[start + len(digits) + bounds.start(group)] = (row, name)
        yield digits, value, source


def _last_named_first(run_ids: Sequence[str], sources: NumberSources, before: str) -> tuple[str, ...]:
    """The runs of a slide, those of the model that was named last first."""
    last_mention = {
        run_id: max((before.rfind(name) for name in sources.names.get(run_id, ())), default=-1) for run_id in run_ids
    }
    return tuple(sorted(run_ids, key=lambda run_id: -last_mention[run_id]))


def _find_source(
    digits: str, before: str, after: str, context: _Context, sources: NumberSources
) -> tuple[_Row, str] | str | None:
    """The likeliest row and column of these runs for a number of a text; else the name of a computed field."""
    is_of_all = digits.isdigit() and bool(_OF_ALL_LAYERS.search(before[-5:]) or _ALL_LAYERS.match(after))
    is_layer = digits.isdigit() and bool(
        context.is_layer or _NEAR_LAYER.search(before[-12:]) or _BEFORE_LAYER.match(after)
    )
    bounds = _INTERVAL.match(after)
    order: dict[str | None, int] = {run_id: place for place, run_id in enumerate(context.run_ids)}
    order[None] = len(context.run_ids)
    is_small = re.fullmatch("[-−–]?[0-9]", digits) is not None
    computed_names = [name for name, value in sources.computed if _is_rounded_to(value, digits, after)]
    computed = next((name for name in computed_names if name.endswith(".n") or not is_small), None)
    if computed and not context.is_named and not is_layer and not is_of_all:
        return computed
    ranked: list[tuple[bool, int, int, int, int, _Candidate]] = []
    for low, high in _value_ranges(digits, after):
        for position in range(
            bisect_left(sources.candidates, low, key=_candidate_value),
            bisect_right(sources.candidates, high, key=_candidate_value),
        ):
            candidate = sources.candidates[position]
            run = order.get(candidate.row.run_id)
            if run is None or (context.tables and candidate.row.table not in (*context.tables, "models")):
                continue
            is_a_layer = "layer" in candidate.column  # the only numbers of one digit that texts mention of a run
            is_right = is_of_all if candidate.column == "n_layers" else is_a_layer == (is_layer and not is_of_all)
            if not is_right or (is_small and not is_a_layer) or not _is_rounded_to(candidate.value, digits, after):
                continue
            fits = bounds is None or _has_bounds(candidate, bounds, after)
            by_table = 0 if context.is_named else _TABLES_IN_TEXTS.index(candidate.row.table)
            ranked.append(
                (not fits, by_table, run, -_count_neighbours(candidate.row, context.beside), candidate.place, candidate)
            )
    if ranked:
        *_order, candidate = min(ranked, key=lambda ranking: ranking[:5])
        if bounds is None or _has_bounds(candidate, bounds, after):
            return candidate.row, candidate.column
        if computed is None:
            return candidate.row, candidate.column
    return computed


def _count_neighbours(row: _Row, neighbours: Sequence[str]) -> int:
    """How many of these numbers a row holds, including its layer."""
    values = [*row.values.values(), *([] if row.place is None else [row.place])]
    return sum(any(_is_rounded_to(value, digits, "") for value in values) for digits in neighbours)


def _candidate_value(candidate: _Candidate) -> float:
    return candidate.value


def _has_bounds(candidate: _Candidate, bounds: re.Match[str], after: str) -> bool:
    """Whether the interval behind a number is that of its row."""
    values = candidate.row.values
    limits = [values.get(f"{candidate.column}_{end}", values.get(end)) for end in ("lower", "upper")]
    return all(end is not None and _is_rounded_to(end, bounds[n], after) for n, end in enumerate(limits, start=1))


def _value_ranges(digits: str, after: str) -> list[tuple[float, float]]:
    """Ranges of values that are written with these digits: as they are, and as shares if written in percent."""
    value, half = _parse_number(digits), _rounding_error(digits)
    ranges = [(value - half, value + half)]
    if _is_percent(after):
        ranges.append(((value - half) / 100, (value + half) / 100))
    return ranges


def _rounding_error(text: str) -> float:
    """Half a unit of the last digit, plus a little for rounding."""
    digits, _e, power = text.lstrip("-−–").replace(",", "").partition("e")
    return 0.5000001 * 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))


def _is_percent(after: str) -> bool:
    return after.lstrip().startswith(("%", "％", "percent"))


def _is_rounded_to(value: float, digits: str, after: str) -> bool:
    """Whether the value rounds to these digits, as it is or in percent."""
    written_value = _parse_number(digits)
    if value == written_value:
        return True
    if re.fullmatch("[-−–]?[0-9]", digits):  # only whole numbers are written with one digit and no decimals
        return False
    return any(
        abs(number - written_value) <= _rounding_error(digits)
        for number in ((value, 100 * value) if _is_percent(after) else (value,))
    )


def _parse_number(digits: str) -> float:
    return float(digits.replace(",", "").replace("−", "-").replace("–", "-"))


def _main_first(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of the main estimator and cloud, which verdicts are about, first."""
    if {"estimator", "cloud"} <= set(frame.columns):
        is_main = (pl.col("estimator") == "d2") & (pl.col("cloud") == "one_per_type")
        return frame.sort(is_main, descending=True, maintain_order=True)
    if "cloud" in frame.columns:
        return frame.sort(pl.col("cloud") == "one_per_type", descending=True, maintain_order=True)
    return frame


def _numbers_in(record: object, place: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """The numbers of a record and of nested records, with dotted field names."""
    if isinstance(record, bool) or depth > 5:
        return
    if isinstance(record, int | float):
        if math.isfinite(record):
            yield place, float(record)
    elif dataclasses.is_dataclass(record) and not isinstance(record, type):
        for field in dataclasses.fields(record):
            yield from _numbers_in(getattr(record, field.name), f"{place}.{field.name}".lstrip("."), depth + 1)
    elif isinstance(record, tuple | list) and len(record) <= 100:
        for n, field in enumerate(record):
            yield from _numbers_in(field, f"{place}[{n}]", depth + 1)
