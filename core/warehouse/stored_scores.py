"""Scores in the warehouse: files previewed, imported whole or not at all, listed and removed; values that contradict each
other, answers to single questions, names that match no measured model.

Duplicate and contradicting values are stored like all others, each with its source; which of them counts is decided when
they are read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

import polars as pl

from core.errors import InputError
from core.files import utc_now
from core.ids import only_id
from core.scores.score_rows import ParsedScore, ScoreFile
from core.store import user_files
from core.tables import (
    PILOT_SOURCE,
    SCORE_KEYS,
    SCORED_FORMAT,
    SCORED_SOURCE,
    TABLES,
    ScoreFileRow,
    ScoreRow,
    ScoreSampleRow,
    records,
)
from core.warehouse.aliases import RESOLVED_SCORES, KnownNames, NamedModel, known_names, set_aliases
from core.warehouse.connection import Readable
from core.warehouse.queries import import_times
from core.warehouse.schema import shipped_blocks, shipped_hashes
from core.warehouse.warehouse import Warehouse

SAME_SCORE = ("repository", "revision", *SCORE_KEYS, "dtype", "chat_template")
"""Two values that agree in all of these columns are the same score: duplicates, or a contradiction."""
_KIND = "scores"
Row = TypeVar("Row", ScoreRow, ScoreSampleRow)


@dataclass(frozen=True)
class ImportPreview:
    """What importing a file would do."""

    file: ScoreFile
    """The file to store. Values under a model's id belong to its reference and revision."""
    rows: pl.DataFrame
    """One row per value: its `number` in the file, at, model, `reference` (the model after aliases), SCORE_KEYS, value, unit,
    is_partial; `fate` = taken, mapped (taken, but converted or found by an alias) or skipped; `known` = duplicate (the same
    value is stored), conflict (another value is) or NULL, with `known_from` (sources) and `known_value` (the nearest stored
    value, in the row's unit). Partial runs conflict with nothing: another part of the questions has another score."""
    names: pl.DataFrame
    """One row per model name, most values first: name, reference, `matched_by` (`NamedModel.by`), is_measured, n_scores,
    n_samples, suggestions (similar measured models, if it is not measured)."""
    imported_at: datetime | None
    """When this same file was imported before (UTC)."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Names that equal a measured model's name, as screens show it, and that model: storing makes them aliases."""


@dataclass(frozen=True)
class StoredImport:
    file_sha256: str
    name: str
    n_taken: int
    n_samples: int
    n_skipped: int
    imported_at: datetime
    is_new: bool
    """False if the same file was imported already, under whatever name; nothing was changed."""


def preview_import(
    warehouse: Warehouse, file: ScoreFile, new_aliases: Mapping[str, str] | None = None
) -> ImportPreview:
    """Compare each value of the file with the warehouse; `new_aliases` are about to be added.

    Raises InputError for a file with a reserved source or invalid values.
    """
    _check_sources(file)
    known_models, imported_at = known_names(warehouse, new_aliases), import_times(warehouse).get(file.sha256)
    named = [row.repository for row in file.rows] + [row.repository for row in file.samples]
    models = {name: known_models.find(name) for name in named}
    if imported_at is not None:  # nothing will be changed, so that a name means what it means now
        by_change = {name for name, model in models.items() if model.by == "name"}
        models |= {name: NamedModel(name, None) for name in by_change}
    rows = _proposed_rows(file, models)
    references = rows["reference"].unique().to_list()
    known = warehouse.read(
        f"SELECT {', '.join(SAME_SCORE)}, is_partial, value, unit, source FROM {RESOLVED_SCORES} "
        "WHERE repository IN (SELECT unnest($names)) AND file_sha256 <> $own",
        {"names": references, "own": file.sha256},
    )
    return ImportPreview(
        _by_reference(file, models),
        _add_known_values(rows, known, file.name),
        _model_names(file, rows, models, known_models),
        imported_at,
        {name: model.reference for name, model in models.items() if model.by == "name"},
    )


def store_import(warehouse: Warehouse, file: ScoreFile, aliases: Mapping[str, str] | None = None) -> StoredImport:
    """Import all values that are not skipped and all answers, or nothing; `aliases` of a preview are added first.

    A file that is imported already (same hash) changes nothing. Raises InputError if there is nothing to import, or for
    a file with a reserved source or invalid values.
    """
    _check_sources(file)
    chosen = [row.score for row in file.rows if row.score]
    if aliases:
        set_aliases(warehouse, aliases)
    with warehouse.update(_KIND, file.sha256):
        if known := user_files.read(warehouse.folder, _KIND, file.sha256):
            (before,) = records(known["score_files"], ScoreFileRow)
            return _stored(before, known["score_samples"].height, False)
        if not chosen and not file.samples:
            raise InputError(
                "{file} holds nothing that could be stored; the preview says why, row by row.", file=file.name
            )
        n_skipped = sum(row.skipped is not None for row in file.rows)
        row_of_file = ScoreFileRow(file.sha256, file.name, file.format, len(chosen), n_skipped, utc_now())
        user_files.write(warehouse.folder, _KIND, file.sha256, _tables(row_of_file, chosen, file.samples))
    return _stored(row_of_file, len(file.samples), True)


def _stored(row: ScoreFileRow, n_samples: int, is_new: bool) -> StoredImport:
    return StoredImport(row.file_sha256, row.file_name, row.n_taken, n_samples, row.n_skipped, row.imported_at, is_new)


def store_own_scores(
    warehouse: Warehouse,
    sha256: str,
    name: str,
    scores: Sequence[ScoreRow],
    samples: Sequence[ScoreSampleRow],
    n_left: int,
) -> str:
    """Store the scores and answers of one model on one task, identified by `sha256`, as `Warehouse.save` does; `n_left` rows
    were left out."""
    row_of_file = ScoreFileRow(sha256, name, SCORED_FORMAT, len(scores), n_left, utc_now())
    return warehouse.save(_KIND, {sha256: _tables(row_of_file, scores, samples)})


def read_import(warehouse: Warehouse, sha256: str) -> dict[str, pl.DataFrame] | None:
    """The tables of an import, read from its file without opening the DuckDB file; None if there is none.

    Raises WarehouseError for a damaged file.
    """
    return user_files.read(warehouse.folder, _KIND, sha256)


def _tables(
    file_row: ScoreFileRow, scores: Sequence[ScoreRow], samples: Sequence[ScoreSampleRow]
) -> dict[str, pl.DataFrame]:
    rows: dict[str, Sequence[Any]] = {"score_files": [file_row], "scores": scores, "score_samples": samples}
    own = pl.lit(file_row.file_sha256).alias("file_sha256")
    return {table: TABLES[table].frame(of_table).with_columns(own) for table, of_table in rows.items()}


def remove_import(warehouse: Warehouse, file_sha256: str) -> str:
    """Remove an imported file with all its scores and answers; returns its name.

    The beginning or the ending of the hash is enough. Raises InputError unless exactly one file matches.
    """
    names = dict(warehouse.read("SELECT file_sha256, file_name FROM score_files").rows())
    found = only_id(names if file_sha256 else [], file_sha256.lower(), "file", "scores list")
    warehouse.delete(_KIND, found)
    return names[found]


def list_imports(warehouse: Readable) -> pl.DataFrame:
    """Rows of score_files, newest first, with `n_models`, `n_partial` (values of partial runs) and `n_samples`."""
    return warehouse.read("""
        SELECT score_files.*, coalesce(n_models, 0) AS n_models, coalesce(n_partial, 0) AS n_partial,
            coalesce(n_samples, 0) AS n_samples
        FROM score_files
        LEFT JOIN (
            SELECT file_sha256, count(DISTINCT repository) AS n_models, count(*) FILTER (is_partial) AS n_partial
            FROM scores GROUP BY file_sha256) USING (file_sha256)
        LEFT JOIN (SELECT file_sha256, count(*) AS n_samples FROM score_samples GROUP BY file_sha256)
            USING (file_sha256)
        ORDER BY imported_at DESC, file_sha256
    """)


def _check_sources(file: ScoreFile) -> None:
    """Raises InputError for the shipped scores, for sources that mark own scores, and for values that are not finite."""
    if file.sha256 in shipped_hashes():
        raise InputError("{file} holds the scores that Workdim ships: they are in already.", file=file.name)
    for row in file.rows:
        if row.score and row.score.source.startswith((PILOT_SOURCE, SCORED_SOURCE)):
            raise InputError(
                "{file}, {place}: sources beginning with '{pilot}' or '{scored}' mark your own scores. Name another.",
                file=file.name,
                place=row.at,
                pilot=PILOT_SOURCE,
                scored=SCORED_SOURCE,
            )
        if row.score and not math.isfinite(row.score.value):
            raise InputError("{file}, {place}: a score must be a finite number.", file=file.name, place=row.at)


def scored_here(preview: ImportPreview) -> list[tuple[str, str]]:
    """Benchmark and metric of the whole scores that measured models have in a file; of most models first."""
    measured = preview.names.filter("is_measured")["name"].to_list()
    rows = preview.rows.filter(pl.col("fate") != "skipped", ~pl.col("is_partial"), pl.col("model").is_in(measured))
    counts = rows.group_by("benchmark", "metric").agg(n=pl.col("model").n_unique())
    return counts.sort("n", "benchmark", "metric", descending=[True, False, False]).select("benchmark", "metric").rows()


def _by_reference(file: ScoreFile, models: Mapping[str, NamedModel]) -> ScoreFile:
    """The file with the reference and revision of each model that it names by an id."""

    def own(row: Row) -> Row:
        model = models[row.repository]
        if model.by != "id" or row.revision not in (None, model.revision):
            return row
        return replace(row, repository=model.reference, revision=model.revision)

    rows = tuple(replace(row, score=own(row.score)) if row.score else row for row in file.rows)
    return replace(file, rows=rows, samples=tuple(map(own, file.samples)))


def _proposed_rows(file: ScoreFile, models: Mapping[str, NamedModel]) -> pl.DataFrame:
    texts = dict.fromkeys(("at", "model", "reference", "fate"), pl.String())
    kinds = {"number": pl.Int64()} | texts | TABLES["scores"].schema
    rows = []
    for number, row in enumerate(file.rows):
        model = models[row.repository]
        values = dict(vars(row.score)) if row.score else {}
        values["revision"] = values.get("revision") or model.revision
        own = {"at": row.at, "model": row.repository, "reference": model.reference}
        rows.append(values | own | {"number": number, "fate": _fate(row, model), "benchmark": row.benchmark})
    return pl.DataFrame(rows, schema=kinds).drop("repository", "file_sha256")


def _fate(row: ParsedScore, model: NamedModel) -> str:
    if row.score is None:
        return "skipped"
    is_changed = any(remark.code != "direction_by_metric" for remark in row.remarks)  # that leaves the value as it is
    return "mapped" if is_changed or model.by in ("alias", "id", "name") else "taken"


def _add_known_values(rows: pl.DataFrame, known: pl.DataFrame, file_name: str) -> pl.DataFrame:
    """Compare each row with the same score in the warehouse and in other rows of its file."""
    alike = (*SAME_SCORE, "is_partial")
    own = rows.filter(pl.col("fate") != "skipped").rename({"reference": "repository"})
    own = own.select(*alike, "number", "unit", scale=SCALE, mine=IN_PERCENT)
    stored = known.select(*alike, "source", scale=SCALE, theirs=IN_PERCENT, other=pl.lit(None, pl.Int64))
    beside = own.select(*alike, pl.lit(file_name).alias("source"), "scale", theirs="mine", other="number")
    met = own.join(pl.concat([stored, beside]), on=[*alike, "scale"], nulls_equal=True)
    met = met.filter(pl.col("other").ne_missing(pl.col("number"))).with_columns(agrees=agree("mine", "theirs"))
    comparisons = (
        met.sort("number", (pl.col("mine") - pl.col("theirs")).abs(), "source")
        .group_by("number", maintain_order=True)
        .agg(
            pl.col("is_partial", "unit").first(),
            is_duplicate=pl.col("agrees").all(),
            known_from=pl.col("source").unique(maintain_order=True).str.join("; "),
            known_value=pl.col("theirs").filter(~pl.col("agrees")).first().fill_null(pl.col("theirs").first()),
        )
        .filter(pl.col("is_duplicate") | ~pl.col("is_partial"))
        .select(
            "number",
            "known_from",
            known=pl.when("is_duplicate").then(pl.lit("duplicate")).otherwise(pl.lit("conflict")),
            known_value=pl.col("known_value") / pl.when(pl.col("unit") == "fraction").then(100.0).otherwise(1.0),
        )
    )
    return rows.join(comparisons, on="number", how="left", maintain_order="left")


def _model_names(
    file: ScoreFile, rows: pl.DataFrame, models: Mapping[str, NamedModel], known: KnownNames
) -> pl.DataFrame:
    one, none = pl.lit(1, pl.Int64), pl.lit(0, pl.Int64)
    answered = pl.DataFrame({"name": [row.repository for row in file.samples]}, schema={"name": pl.String})
    scored = rows.filter(pl.col("fate") != "skipped").select(name="model", n_scores=one, n_samples=none)
    named = pl.concat([scored, answered.with_columns(n_scores=none, n_samples=one)]).group_by("name").sum()
    names = named["name"].to_list()
    near = known.suggest([name for name in names if not known.is_measured(models[name].reference)])
    told = [(models[name].reference, models[name].by, name not in near, near.get(name, [])) for name in names]
    kinds = {"reference": pl.String, "matched_by": pl.String, "is_measured": pl.Boolean}
    return named.hstack(pl.DataFrame(told, schema=kinds | {"suggestions": pl.List(pl.String)}, orient="row")).sort(
        "n_scores", "n_samples", "name", descending=[True, True, False]
    )


# --- values compared ----------------------------------------------------------------------------------------------------

MAX_DECIMALS = 5
MIN_DECIMALS = 1
"""Decimals of a percentage: 50 means 50.0, not anything between 49.5 and 50.5."""
IN_PERCENT = pl.when(pl.col("unit") == "fraction").then(100 * pl.col("value")).otherwise(pl.col("value"))
"""The column `value` with fractions as percentages."""
SCALE = pl.col("unit").replace("fraction", "percent")
"""The scale of `IN_PERCENT`: percent, or the name of another unit. Values of different scales are never compared;
`not stated` is a scale of its own."""


def agree(a: str, b: str) -> pl.Expr:
    """Whether two columns differ by at most half a unit of the last decimal of the less precise one."""
    step = 10.0 ** -pl.min_horizontal(_decimals(a), _decimals(b))
    return (pl.col(a) - pl.col(b)).abs() <= 0.5 * step * (1 + 1e-6) + 1e-9


def _decimals(column: str) -> pl.Expr:
    """Number of decimals that a value appears to be written with."""
    decimals = pl.lit(MAX_DECIMALS, pl.Float64)
    for n in range(MAX_DECIMALS - 1, MIN_DECIMALS - 1, -1):
        scaled = pl.col(column) * 10**n
        decimals = pl.when((scaled - scaled.round()).abs() < 1e-6).then(pl.lit(n, pl.Float64)).otherwise(decimals)
    return decimals


# --- answers to single questions ----------------------------------------------------------------------------------------

N_ANSWER_BLOCKS = 20
"""Blocks of a benchmark's questions, in the order of their hashes."""
TOLERANCE = 1e-6
"""Largest difference between a score and the mean of its answers."""

# Two revisions are two models.
_ANSWERS = """
    (SELECT coalesce(model_aliases.reference, score_samples.repository)
            || coalesce('@' || nullif(score_samples.revision, ''), '') AS model,
        score_samples.*, imported_at
    FROM score_samples JOIN score_files USING (file_sha256) LEFT JOIN model_aliases ON alias = score_samples.repository)
"""


def list_answer_sets(warehouse: Readable) -> pl.DataFrame:
    """The stored sets of answers: model (`repository` or `repository@revision`), benchmark, metric, filter, n_questions,
    n_files."""
    return warehouse.read(f"""
        SELECT model, benchmark, metric, filter, count(DISTINCT doc_hash) AS n_questions,
            count(DISTINCT file_sha256) AS n_files
        FROM {_ANSWERS} GROUP BY ALL ORDER BY ALL
    """)


def answers(warehouse: Readable, model: str, benchmark: str | None = None) -> pl.DataFrame:
    """The answers of a model in `list_answer_sets`: benchmark, metric, filter, doc_hash, value, group_id; if a benchmark
    is in several files, those of the file imported last."""
    return warehouse.read(
        f"""
        SELECT benchmark, metric, filter, doc_hash, value, group_id FROM {_ANSWERS}
        WHERE model = $model AND ($benchmark IS NULL OR benchmark = $benchmark)
        QUALIFY file_sha256 = first_value(file_sha256) OVER (
            PARTITION BY benchmark, metric, filter ORDER BY imported_at DESC, file_sha256)
        ORDER BY benchmark, metric, filter, doc_hash
        """,
        {"model": model, "benchmark": benchmark},
    )


def score_blocks(warehouse: Readable, wanted: pl.DataFrame) -> pl.DataFrame:
    """Jackknife blocks of scores: run_id and blocks (the score without block 0, 1, ... of questions, in percent).

    Known for shipped scores and for those with their answers in the same file. `wanted`: run_id, file_sha256, repository,
    benchmark, metric, filter, score; all of one benchmark. Left out: answers whose mean is not the score, and answers to
    other questions than those of most models.
    """
    shipped = shipped_blocks(wanted)
    keys = ["file_sha256", "repository", "benchmark", "metric", "filter"]
    rest = wanted.join(shipped, on="run_id", how="anti")
    if rest.height:
        answered_in = warehouse.read("SELECT DISTINCT file_sha256 FROM score_samples")
        rest = rest.join(answered_in, on="file_sha256", how="semi")
    if rest.is_empty():
        return shipped
    marks = ", ".join(["(?, ?, ?, ?, ?)"] * rest.height)
    answered = warehouse.read(
        f"""
        WITH own AS (
            SELECT {", ".join(keys)}, doc_hash, avg(value) AS value FROM score_samples
            JOIN (VALUES {marks}) AS wanted ({", ".join(keys)}) USING ({", ".join(keys)}) GROUP BY ALL),
        numbered AS (
            SELECT *, ntile({N_ANSWER_BLOCKS}) OVER (PARTITION BY {", ".join(keys)} ORDER BY doc_hash) AS block FROM own)
        SELECT {", ".join(keys)}, block, sum(value) AS total, count(*) AS n, bit_xor(hash(doc_hash)) AS questions
        FROM numbered GROUP BY ALL ORDER BY ALL
        """,
        [value for row in rest.select(keys).rows() for value in row],
    )
    total, n = (pl.col(name).sum().over(keys) for name in ("total", "n"))
    of_models = (
        answered.with_columns(mean=total / n, without=(total - pl.col("total")) / (n - pl.col("n")))
        .group_by(keys, maintain_order=True)
        .agg(pl.col("mean").first(), blocks="without", questions=pl.col("questions").cast(pl.String).str.join(" "))
        .filter(pl.col("blocks").list.len() == N_ANSWER_BLOCKS)
    )
    scale = pl.when((pl.col("score") - 100 * pl.col("mean")).abs() < TOLERANCE).then(100.0).otherwise(1.0)
    known = rest.join(of_models, on=keys).filter(
        (scale * pl.col("mean") - pl.col("score")).abs() < TOLERANCE,
        pl.col("questions") == pl.col("questions").mode().sort().first(),
    )
    return pl.concat([shipped, known.select("run_id", blocks=scale * pl.col("blocks"))])


# --- contradictions, and names that match no measured model -------------------------------------------------------------


def score_conflicts(warehouse: Readable) -> pl.DataFrame:
    """Scores that differ between sources by more than rounding, widest contradiction first.

    Columns: repository, revision, SCORE_KEYS, dtype, chat_template, unit (percent for fractions too), `lowest`, `highest`,
    n_values, `told` (`value – source`, highest first).
    """
    keys = ", ".join(SAME_SCORE)
    rows = warehouse.read(f"""
        SELECT {keys}, value, unit, source, is_partial, name_in_source FROM {RESOLVED_SCORES} WHERE NOT is_partial
        QUALIFY count(*) OVER (PARTITION BY {keys}) > 1
    """).with_columns(mine=IN_PERCENT, unit=SCALE)
    one_score = (*SAME_SCORE, "unit")
    lowest, highest = (getattr(pl.col("mine"), end)().over(one_score) for end in ("min", "max"))
    rows = rows.with_columns(lowest=lowest, highest=highest)
    rows = rows.filter((~agree("lowest", "highest")).any().over(one_score)).sort("mine", "source", descending=True)
    value_texts = pl.concat_str(pl.col("mine").round(3).cast(pl.String), pl.lit(" – "), "source")
    return (
        rows.group_by(one_score, maintain_order=True)
        .agg(
            pl.col("lowest").first(),
            pl.col("highest").first(),
            n_values=pl.len().cast(pl.Int64),
            told=value_texts.unique(maintain_order=True),
        )
        .sort(pl.col("highest") - pl.col("lowest"), "repository", *SCORE_KEYS, descending=[True] + [False] * 6)
    )


def unmatched_names(warehouse: Readable) -> pl.DataFrame:
    """name, n_scores, n_samples and `suggestions` (measured models) of every name with suggestions and no alias; names with
    most scores first."""
    names = warehouse.read(f"""
        WITH named AS (
            SELECT repository AS name, count(*) AS n_scores, 0 AS n_samples
            FROM scores WHERE NOT starts_with(source, '{PILOT_SOURCE}') GROUP BY ALL
            UNION ALL SELECT repository, 0, count(*) FROM score_samples GROUP BY ALL)
        SELECT name, sum(n_scores)::BIGINT AS n_scores, sum(n_samples)::BIGINT AS n_samples FROM named
        WHERE name NOT IN (SELECT alias FROM model_aliases)
            AND name NOT IN (SELECT reference FROM models)
            AND name NOT IN (SELECT repository FROM models WHERE repository IS NOT NULL)
        GROUP BY ALL ORDER BY n_scores DESC, n_samples DESC, name
    """)
    near = known_names(warehouse).suggest(names["name"].to_list())
    suggestions = pl.Series("suggestions", [near[name] for name in names["name"]], dtype=pl.List(pl.String))
    return names.with_columns(suggestions).filter(pl.col("suggestions").list.len() > 0)


def map_suggested(warehouse: Warehouse) -> dict[str, str]:
    """Let every stored name that may mean a measured model mean the likeliest one; returns the new aliases."""
    wanted = dict(unmatched_names(warehouse).select("name", pl.col("suggestions").list.first()).rows())
    if wanted:
        set_aliases(warehouse, wanted)
    return wanted
