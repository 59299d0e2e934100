"""Warehouses of any size: `python -m tests.bench.warehouses FILE --runs 10000 [--shape real|trial] [--folders]`.

Each run is one of the shipped profiles under a new id, with every number a few percent off: by a factor of its own for
each row, in the precision that the number had, so that nothing compresses better than what is really measured. Models,
texts, protocols, seeds and control passes repeat as they do where people work: four texts, both protocols, two seeds
and the controls of each.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from core.files import make_folder
from core.runs.reference_check import references
from core.store.parcels import MANY_TABLES, read_parcel
from core.tables import TABLES
from core.warehouse.ingest import STORED_ORDER
from core.warehouse.warehouse import Warehouse

SHAPES = ("real", "trial")
"""real: all tables, with the rows of the shipped profiles. trial: 800 estimates per run, and of the other tables only
summaries, checks and correlators."""
TRIAL_ROWS = 800
_TRIAL_TABLES = ("layer_estimates", "layer_correlators", "run_checks", "run_summaries")
_NOISE = 0.06
_CHUNK = 1_000
"""Runs of one transaction."""
_PASSES = (("random_init", 0), ("random_init", 1), ("shuffled", None), ("text", None))
"""Pass and seed of the weights, in the order in which one measurement makes them."""
_TEXTS = 4
_SEEDS = 2
_FAMILIES = ("llama", "qwen2", "mistral", "gemma", "gpt_neox", "phi", "bert", "olmo")
_START = datetime(2026, 1, 1)


@dataclass(frozen=True)
class Template:
    """A shipped profile: its single rows as dicts, its other tables as frames."""

    single: dict[str, dict[str, Any]]
    many: dict[str, pl.DataFrame]

    @property
    def key(self) -> tuple[str, str, str, int | None]:
        run, model = self.single["runs"], self.single["models"]
        seed = run["model_seed"] if run["pass"] == "random_init" else None
        return model["kind"], run["protocol"], run["pass"], seed


def fill(path: Path, n_runs: int, shape: str = "real", folders: bool = False, first: int = 0) -> Warehouse:
    """A warehouse with runs number `first` to `n_runs`; one that has the earlier ones already is gone on with.

    `folders` puts an empty folder per run where its parcel would be, for whoever looks through them.
    """
    warehouse = Warehouse(path)
    warehouse.prepare()
    templates = _templates(shape)
    repositories = warehouse.read("SELECT DISTINCT repository FROM scores ORDER BY 1")["repository"].to_list()
    for start in range(first, n_runs, _CHUNK):
        made = [_single(number, templates, repositories) for number in range(start, min(start + _CHUNK, n_runs))]
        with warehouse.write() as connection:
            _insert(connection, made, templates)
        if folders:
            for row in made:
                make_folder(warehouse.parcels / row["runs"]["run_id"])
    return warehouse


def run_id_of(number: int) -> str:
    """A uuidv7: a minute and a half after the one before it."""
    noise = np.random.default_rng(number)
    a, b, c = (int(noise.integers(0, 1 << bits)) for bits in (12, 14, 48))
    at = _started(number) - datetime(1970, 1, 1)
    milliseconds = f"{at // timedelta(milliseconds=1):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}-7{a:03x}-{0x8000 | b:04x}-{c:012x}"


def _started(number: int) -> datetime:
    return _START + timedelta(seconds=90 * number)


def _templates(shape: str) -> dict[tuple, Template]:
    found = {}
    for folder in references():
        tables = read_parcel(folder)
        single = {name: tables[name].row(0, named=True) for name in ("models", "corpora", "runs")}
        many = {name: tables[name] for name in MANY_TABLES}
        if shape == "trial":
            many = {name: rows for name, rows in many.items() if name in _TRIAL_TABLES}
            many["layer_estimates"] = many["layer_estimates"].head(TRIAL_ROWS)
        template = Template(single, many)
        if shape == "real" or template.key[0] == "decoder":
            found[template.key] = template
    return found


def _single(number: int, templates: dict[tuple, Template], repositories: Sequence[str]) -> dict[str, Any]:
    """Rows of models, corpora and runs of one run, and the key of its template."""
    measurement, turn = divmod(number, len(_PASSES))
    rest, protocol = divmod(measurement, 2)
    rest, seed = divmod(rest, _SEEDS)
    model, text = divmod(rest, _TEXTS)
    kinds = sorted({key[0] for key in templates})
    kind = kinds[model % len(kinds)]
    passed, model_seed = _PASSES[turn]
    key = (kind, ("quick", "standard")[protocol], passed, model_seed)
    like = templates[key].single
    family = _FAMILIES[model // len(kinds) % len(_FAMILIES)]
    name = f"{family}-{model:05d}"
    known = repositories[model] if model < len(repositories) else None
    models = like["models"] | {
        "model_id": f"made/{name}@main",
        "reference": f"made/{name}",
        "name": name,
        "repository": known,
        "base_repository": None,
        "base_relation": None,
        "revision": "main",
        "family": family,
        "parameters": like["models"]["parameters"] + 1_000_003 * model,
        "tokenizer_hash": f"{family:_<12}",
        "weights_sha256": f"{model:064x}",
        "configuration_hash": f"{model:012x}",
    }
    corpora = like["corpora"] | {
        "corpus_id": f"text-{text}@{text:012x}",
        "name": f"text-{text}",
        "sha256": f"{text:064x}",
    }
    own = number - turn + len(_PASSES) - 1
    started = _started(number)
    runs = like["runs"] | {
        "run_id": run_id_of(number),
        "parent_run_id": None if passed == "text" else run_id_of(own),
        "seed": seed,
        "model_id": models["model_id"],
        "corpus_id": corpora["corpus_id"],
        "pilot_id": None,
        "tags": [],
        "protocol_hash": f"{like['runs']['protocol_hash'][:10]}{seed:02x}",
        "started_at": started,
        "finished_at": started + timedelta(seconds=60),
        "model_seed": model_seed,
        "config": like["runs"]["config"].replace(like["models"]["reference"], models["reference"]),
        "words_hash": like["runs"]["words_hash"] and f"{text:010x}{seed:02x}",
    }
    controls = [run_id_of(n) for n in range(own - 3, own)] if passed == "text" else None
    return {"models": models, "corpora": corpora, "runs": runs, "key": key, "controls": controls}


def _insert(
    connection: duckdb.DuckDBPyConnection, made: list[dict[str, Any]], templates: dict[tuple, Template]
) -> None:
    order = list(templates)
    for table in ("models", "corpora", "runs"):
        rows = pl.DataFrame([one[table] for one in made], infer_schema_length=None, orient="row")
        connection.register("made_rows", rows)
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM made_rows ON CONFLICT DO NOTHING")
        connection.unregister("made_rows")
    runs = pl.DataFrame(
        {
            "number": range(len(made)),
            "run": [one["runs"]["run_id"] for one in made],
            "template": [order.index(one["key"]) for one in made],
            "controls": pl.Series([one["controls"] for one in made], dtype=pl.List(pl.String)),
            "size": 1 + _NOISE * (np.random.default_rng(len(made)).random(len(made)) - 0.5),
        }
    )
    connection.register("made_runs", runs)
    for table in dict.fromkeys(name for one in templates.values() for name in one.many):
        connection.register("like_rows", _numbered(templates.values(), table))
        connection.execute(_many_sql(table))
        connection.unregister("like_rows")
    connection.unregister("made_runs")


def _numbered(templates: Iterable[Template], table: str) -> pl.DataFrame:
    """The rows of one table of all templates; `template` and `row` say whose and in which order."""
    of_each = [
        one.many[table].with_row_index("row").with_columns(template=pl.lit(i)) for i, one in enumerate(templates)
    ]
    return pl.concat(of_each)


def _many_sql(table: str) -> str:
    told = ", ".join(f"{_noisy(name, str(kind))} AS {name}" for name, kind in TABLES[table].schema.items())
    return f"""
        INSERT INTO {table} BY NAME SELECT {told}
        FROM (SELECT *, 1 + {_NOISE} * (random() - 0.5) AS factor FROM made_runs JOIN like_rows USING (template))
        ORDER BY number, {STORED_ORDER.get(table, "row")}
    """


def _noisy(column: str, kind: str) -> str:
    """Off by the row's factor; what was computed in single precision stays a single-precision number."""
    if column == "run_id":
        return "run"
    if column == "control_run_ids":
        return "controls"
    if column == "count":
        return "round(count * factor)::BIGINT"
    if column == "n_points":
        return "round(n_points * size)::BIGINT"
    if column.startswith("bin_"):  # the edges of a histogram are those of its quantity
        return column
    if kind == "List(Float64)":
        off = "x * (1 + 0.02 * (random() - 0.5))"
        return f"list_transform({column}, lambda x: CASE WHEN x = x::FLOAT THEN ({off})::FLOAT::DOUBLE ELSE {off} END)"
    if kind == "Float64":
        off = f"{column} * factor"
        return f"CASE WHEN {column} = {column}::FLOAT THEN ({off})::FLOAT::DOUBLE ELSE {off} END"
    return column


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="runs that the file has already")
    parser.add_argument("--shape", choices=SHAPES, default="real")
    parser.add_argument("--folders", action="store_true", help="an empty parcel folder for each run, too")
    options = parser.parse_args()
    start = time.perf_counter()
    warehouse = fill(options.file, options.runs, options.shape, options.folders, options.first)
    size = warehouse.path.stat().st_size / 1e6
    print(f"{options.runs} runs ({options.shape}): {size:.0f} MB in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
