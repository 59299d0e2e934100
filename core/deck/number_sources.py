"""Traces numbers of a report back to the row and column of the warehouse that they come from, by their value.

A point of a chart is found by its full value; a number in a text by its digits, in the columns that texts mention, among the
rows of the model that was named last. Only a number that can be one number of the warehouse alone has a source; of all
others none is kept.
"""

from __future__ import annotations

import calendar
import json
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from core.deck.deck_data import DeckData
from core.deck.story import Heading, Story, StorySlide, Table
from core.figures.chart import Chart, Gallery, Series
from core.tables import SCORE_KEYS, TABLES, RecipeNumberRow

_LONG_DATE = (
    rf"\d{{4}}-\d\d-\d\d|\d{{4}}年\d{{1,2}}月\d{{1,2}}日|\d{{1,2}} (?:{'|'.join(calendar.month_name[1:])}) \d{{4}}"
)
_ID = r"[0-9a-f]{4,}(?:-[0-9a-f]{4,})+|…[0-9a-f]+|\d{4}\.\d{5}"
_LEVEL = r"95\s?[%％]"
_DIGITS = r"[-−–]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?"
_NUMBER = re.compile(rf"(?<![A-Za-z0-9_./@:#-])(?<!\d[–−,]){_DIGITS}(?![A-Za-z0-9_@/]|[.,:-]\d|[.-][A-Za-z])")
_INTERVAL = re.compile(rf"\s*\[\+?({_DIGITS})(?:,|、| to |–|～| )\s*\+?({_DIGITS})\]")
_ERROR = re.compile(rf"\s*±\s*({_DIGITS})")
_NEAR_LAYER = re.compile(r"(?:layers?|層|block|ブロック)\s*第?$", re.IGNORECASE)
_BEFORE_LAYER = re.compile(r"^\s*(?:層(?!中)|番目)")
_OF_ALL = re.compile(r"(?:\bof|/)\s*$")
_OF_ALL_LAYERS = re.compile(r"(?:layer|block)\s*\d+\s*(?:of|/)\s*$", re.IGNORECASE)
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
_BESIDE_THEIR_NUMBER = ("lower", "upper", "std_error")
"""Ends of columns that are found with the number they belong to, and never alone."""
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
    """As reports show them: scores that are stored as shares in percent."""
    place: float | None = None
    """Its layer, if it has one."""
    scale: float = 1.0
    """What a score and its error were multiplied by to be shown."""

    def stored(self, column: str) -> float:
        """The value as it stands in the warehouse."""
        return self.values[column] / (self.scale if column in ("value", "std_error") else 1.0)


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
            "score_scale",
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
                if table in _TABLES_IN_TEXTS and not column.endswith(_BESIDE_THEIR_NUMBER):
                    candidates.append(_Candidate(value, len(candidates), row, column))
                if value in points:
                    by_value.setdefault(value, []).append((row, column))
    candidates.sort(key=lambda number: number.value)
    return NumberSources(candidates, by_value, names)


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
        scale = row.get("score_scale") if table == "scores" else None
        yield _Row(table, row.get("run_id"), row_key, values, row.get("layer"), scale or 1.0)


def trace_numbers(story: Story, sources: NumberSources, recipe_id: str) -> list[RecipeNumberRow]:
    """Every number of the story's slides with its source, in reading order."""
    rows: list[RecipeNumberRow] = []

    def add(slide: int, key: str, place: str, text: str, value: float, source: _Source | None) -> None:
        row, column = source or (None, None)
        rows.append(
            RecipeNumberRow(
                recipe_id=recipe_id,
                number=len(rows) + 1,
                slide=slide,
                slide_key=key,
                place=place,
                text=text,
                value=value if row is None or column is None else row.stored(column),
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
        found_before: dict[tuple[str, str], _Source] = {}
        for place, text, model, column, line in texts_of(slide):
            beside = tuple(digits for _at, digits in find_numbers(line))
            context = _Context(slide.run_ids, tables, model, bool(_A_LAYER.search(column)), beside)
            for digits, value, source in _trace_text(text, context, sources, found_before.get((model, line))):
                add(number, slide.key, place, digits, value, source)
                if source and not source[1].endswith(_BESIDE_THEIR_NUMBER):
                    found_before[model, line] = source
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


_Source = tuple[_Row, str]
"""A row and its column."""


@dataclass(frozen=True)
class _Context:
    """Where a number stands: its slide, and what is written around it."""

    run_ids: tuple[str, ...]
    tables: Sequence[str]
    """Tables that the slide names as its sources; empty where it names none."""
    model: str
    """First cell of its row, which may name a model."""
    is_layer: bool
    """Whether it stands in a column of layers."""
    beside: tuple[str, ...]
    """All numbers of its sentence or table row: of several rows with the same value, the one that holds more of them wins."""


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


def _trace_series(
    series: Series, run_ids: Sequence[str], sources: NumberSources
) -> Iterator[tuple[float, _Source | None]]:
    """The y value of each point with its source, and the x value where it is a measured number and not a layer."""
    for point in series.points:
        across = (
            () if series.is_line or float(point.x).is_integer() else ((point.x, None),)
        )  # layers are no measurement
        for value, place in ((point.y, point.x), *across):
            matches = sources.rows_by_value.get(value, ())
            matches = [match for match in matches if match[0].run_id is None or match[0].run_id in run_ids]
            if series.name:
                of_model = [match for match in matches if series.name in sources.names.get(match[0].run_id or "", ())]
                matches = of_model or matches
            at_place = [match for match in matches if match[0].place == place]
            matches = at_place or [match for match in matches if match[0].place is None]
            if matches or place is not None:
                yield value, _the_only(matches)


def _trace_text(
    text: str, context: _Context, sources: NumberSources, found_before: _Source | None
) -> Iterator[tuple[str, float, _Source | None]]:
    names = [name for run_id in context.run_ids for name in sources.names.get(run_id, ())]
    beside: dict[int, _Source] = {}
    for start, digits in find_numbers(text, names):
        before, after = text[:start], text[start + len(digits) :]
        source = beside.get(start)
        if source is None:
            run_ids = _named_last(context.run_ids, sources, f"{context.model} {before}")
            source = _find_source(digits, before, after, context, run_ids, sources, found_before)
            if source is not None:
                beside |= _errors_beside(source, start + len(digits), after)
                found_before = source
        yield digits, _parse_number(digits), source


def _errors_beside(source: _Source, end: int, after: str) -> dict[int, _Source]:
    """Place in the text -> source of the limits or the standard error that stand behind a number."""
    row, column = source
    found = {}
    for pattern, ends in ((_INTERVAL, ("lower", "upper")), (_ERROR, ("std_error",))):
        if match := pattern.match(after):
            for group, name in enumerate(ends, start=1):
                name = f"{column}_{name}" if f"{column}_{name}" in row.values else name
                if name in row.values and _is_rounded_to(row.values[name], match[group]):
                    found[end + match.start(group)] = (row, name)
    return found


def _named_last(run_ids: Sequence[str], sources: NumberSources, before: str) -> tuple[str, ...]:
    """The runs of the model that was named last; without a name the run of a slide that has one only, else none."""
    ends = {
        run_id: max(
            (before.rfind(name) + len(name) for name in sources.names.get(run_id, ()) if name in before), default=0
        )
        for run_id in run_ids
    }
    last = max(ends.values(), default=0)
    return tuple(run_id for run_id in run_ids if ends[run_id] == last) if last or len(run_ids) == 1 else ()


def _find_source(
    digits: str,
    before: str,
    after: str,
    context: _Context,
    run_ids: Sequence[str],
    sources: NumberSources,
    found_before: _Source | None,
) -> _Source | None:
    """The only row and column that a number of a text can mean; None where there is none, or more than one.

    `run_ids` are the runs that it is about; where that is not told, only a whole interval tells a number apart.
    """
    is_of_all = digits.isdigit() and bool(
        _OF_ALL_LAYERS.search(before) or (context.is_layer and _OF_ALL.search(before)) or _ALL_LAYERS.match(after)
    )
    is_layer = digits.isdigit() and bool(
        context.is_layer or _NEAR_LAYER.search(before[-12:]) or _BEFORE_LAYER.match(after)
    )
    if is_layer and not is_of_all and found_before:  # `106 at layer 3`
        row, column = found_before
        for name in (f"{column}_layer", "layer"):
            if row.values.get(name) == _parse_number(digits):
                return row, name
    bounds = _INTERVAL.match(after)
    if not (bounds or is_layer or is_of_all or sum(digit.isdigit() for digit in digits.lstrip("-−–0.")) >= 3):
        return None  # one or two digits are those of many numbers
    value, half = _parse_number(digits), _rounding_error(digits)
    matches = []
    for position in range(
        bisect_left(sources.candidates, value - half, key=_candidate_value),
        bisect_right(sources.candidates, value + half, key=_candidate_value),
    ):
        candidate = sources.candidates[position]
        row, column = candidate.row, candidate.column
        is_share = _is_percent(after) and row.table != "scores"  # no column but scores is shown in percent
        if is_share or (context.tables and row.table not in (*context.tables, "models")):
            continue
        if row.run_id is not None and row.run_id not in (run_ids or context.run_ids if bounds else run_ids):
            continue
        if bounds is not None and not _has_bounds(candidate, bounds):
            continue
        if column == "n_layers" if is_of_all else column != "n_layers" and ("layer" in column) == is_layer:
            matches.append(candidate)
    held = [_count_neighbours(candidate.row, context.beside) for candidate in matches]
    matches = [candidate for candidate, n in zip(matches, held, strict=True) if n == max(held)]
    return _the_only([(candidate.row, candidate.column) for candidate in sorted(matches, key=_place)])


def _the_only(matches: Sequence[_Source]) -> _Source | None:
    """The first match, if all are one number: of one row and column, or one value of one run in several columns."""
    if not matches:
        return None
    row, column = matches[0]
    is_one = all(
        (other.table, other.key, name) == (row.table, row.key, column)
        or (
            row.run_id is not None
            and other.run_id == row.run_id
            and TABLES[row.table].schema[column] == pl.Float64  # equal counts and layers are chance
            and math.isclose(other.values[name], row.values[column], rel_tol=1e-6)
        )
        for other, name in matches
    )
    return (row, column) if is_one else None


def _count_neighbours(row: _Row, neighbours: Sequence[str]) -> int:
    """How many of these numbers a row holds, including its layer."""
    values = [*row.values.values(), *([] if row.place is None else [row.place])]
    return sum(any(_is_rounded_to(value, digits) for value in values) for digits in neighbours)


def _candidate_value(candidate: _Candidate) -> float:
    return candidate.value


def _place(candidate: _Candidate) -> int:
    return candidate.place


def _has_bounds(candidate: _Candidate, bounds: re.Match[str]) -> bool:
    """Whether the interval behind a number is that of its row."""
    values = candidate.row.values
    limits = [values.get(f"{candidate.column}_{end}", values.get(end)) for end in ("lower", "upper")]
    return all(end is not None and _is_rounded_to(end, bounds[n]) for n, end in enumerate(limits, start=1))


def _rounding_error(text: str) -> float:
    """Half a unit of the last digit, plus a little for rounding."""
    digits, _e, power = text.lstrip("-−–").replace(",", "").partition("e")
    return 0.5000001 * 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))


def _is_percent(after: str) -> bool:
    return after.lstrip().startswith(("%", "％", "percent"))


def _is_rounded_to(value: float, digits: str) -> bool:
    """Whether the value rounds to these digits; only whole numbers are written with one digit and no decimals."""
    written_value = _parse_number(digits)
    is_small = re.fullmatch("[-−–]?[0-9]", digits) is not None
    return value == written_value or (not is_small and abs(value - written_value) <= _rounding_error(digits))


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
