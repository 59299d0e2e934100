"""Warehouses of any size: `python -m tests.bench.warehouses FILE --runs 10000 [--shape real|trial]`.

Each run is a parcel like one of the shipped profiles under a new id, with every number a few percent off: by a factor of
its own for each row, in the precision that the number had, so that nothing compresses better than what is really
measured. Models, texts, protocols, seeds and control passes repeat as they do where people work: four texts, both
protocols, two seeds and the controls of each. The DuckDB file is then built of the parcels, as it is for anybody.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from core.files import REFERENCE
from core.models.hub import PACKAGE
from core.records import DAMAGED
from core.store.parcels import FORMAT, RUN_FILE, read_parcel
from core.tables import LONG_TABLES, TABLES
from core.warehouse.reference import shipped_bundles, shipped_parcels, unpack
from core.warehouse.warehouse import Warehouse

SHAPES = ("real", "trial", "small")
"""real: all tables, with the rows of the shipped profiles. trial: 800 estimates per run, and of the other tables only
correlators, checks and what verdicts rest on. small: 20 rows of each of these, for tests of long lists."""
_ROWS = {"trial": 800, "small": 20}
_TRIAL_TABLES = (
    "layer_estimates",
    "layer_correlators",
    "run_checks",
    "run_claims",
    "run_extrema",
    "run_controls",
    "run_summaries",
)
_NOISE = 0.06
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


class Maker:
    """Makes parcels of one shape."""

    def __init__(self, shape: str) -> None:
        self._templates = _templates(shape)
        self._repositories = pl.read_parquet(REFERENCE / "benchmarks.parquet")["repository"].unique().sort().to_list()

    def write(self, parcels: Path, number: int) -> Path:
        """The parcel of run number `number`, in its folder there."""
        made = _single(number, self._templates, self._repositories)
        folder = parcels / made["runs"]["run_id"]
        if not (folder / RUN_FILE).exists():
            _write(folder, made, self._templates[made["key"]], np.random.default_rng(number))
        return folder


def fill(path: Path, n_runs: int, maker: Maker, first: int = 0) -> float:
    """Make a warehouse with runs number `first` to `n_runs`; returns the seconds that its building took.

    Parcels that are there already stay.
    """
    warehouse = Warehouse(path)
    for number in range(first, n_runs):
        maker.write(warehouse.parcels, number)
    start = time.perf_counter()
    warehouse.rebuild()
    return time.perf_counter() - start


def run_id_of(number: int) -> str:
    """A uuidv7: a minute and a half after the one before it. Negative numbers are runs before the first one."""
    noise = np.random.default_rng(number % (1 << 63))
    a, b, c = (int(noise.integers(0, 1 << bits)) for bits in (12, 14, 48))
    at = _started(number) - datetime(1970, 1, 1)
    milliseconds = f"{at // timedelta(milliseconds=1):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}-7{a:03x}-{0x8000 | b:04x}-{c:012x}"


def _started(number: int) -> datetime:
    return _START + timedelta(seconds=90 * number)


def _templates(shape: str) -> dict[tuple, Template]:
    found = {}
    for tables in _quick_profiles():
        single = {name: tables[name].row(0, named=True) for name in ("models", "corpora", "runs")}
        many = {name: tables[name] for name in LONG_TABLES}
        if shape != "real":
            many = {name: rows for name, rows in many.items() if name in _TRIAL_TABLES}
            many["layer_estimates"] = many["layer_estimates"].head(_ROWS[shape])
        if shape == "small":
            many = {name: rows.head(_ROWS[shape]) for name, rows in many.items()}
        template = Template(single, many)
        if shape == "real" or template.key[0] == "decoder":
            found.setdefault(template.key, template)  # the first model has its controls too
    return found


def _quick_profiles() -> Iterator[dict[str, pl.DataFrame]]:
    """Shipped quick profiles of downloadable models, then their controls, which are packed."""
    with tempfile.TemporaryDirectory(prefix="templates-") as place:
        for bundle in shipped_bundles():
            unpack(bundle, Path(place))
        for folder in [*shipped_parcels(), *sorted(Path(place).iterdir())]:
            header = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
            is_downloadable = header["model"]["reference"].startswith(PACKAGE) and DAMAGED not in header["run"]["tags"]
            if is_downloadable and header["run"]["protocol"] == "quick":
                yield read_parcel(folder)


def _single(number: int, templates: dict[tuple, Template], repositories: Sequence[str]) -> dict[str, Any]:
    """Rows of models, corpora and runs of one run, and the key of its template."""
    measurement, turn = divmod(number, len(_PASSES))
    rest, protocol = divmod(measurement, 2)
    rest, seed = divmod(rest, _SEEDS)
    model, text = divmod(rest, _TEXTS)
    kinds = sorted({key[0] for key in templates})
    kind = kinds[model % len(kinds)]
    passed, model_seed = _PASSES[turn]
    protocols = sorted({key[1] for key in templates if key[0] == kind})
    key = (kind, protocols[protocol % len(protocols)], passed, model_seed)
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
    return {"models": models, "corpora": corpora, "runs": runs, "key": key, "own": own, "controls": controls}


def _write(folder: Path, made: dict[str, Any], template: Template, noise: np.random.Generator) -> None:
    """A parcel as write_parcel makes it, without waiting for the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    size = 1 + _NOISE * (noise.random() - 0.5)
    hashes = {}
    for table in LONG_TABLES:
        like = template.many.get(table, TABLES[table].frame([]))
        factor = pl.Series(1 + _NOISE * (noise.random(like.height) - 0.5), dtype=pl.Float64)
        rows = like.with_columns(_noisy(table, column, factor, size, noise) for column in like.columns)
        rows = rows.with_columns(run_id=pl.lit(made["runs"]["run_id"]))
        if table == "run_summaries":
            rows = rows.with_columns(pl.Series("control_run_ids", [made["controls"]] * rows.height, pl.List(pl.String)))
        if table == "run_controls":  # as many controls as the profile has, the measurement's own ones first
            known = rows["control_run_id"].unique(maintain_order=True)
            ids = [run_id_of(made["own"] - 1 - i) for i in range(len(known))]
            rows = rows.with_columns(pl.col("control_run_id").replace_strict(known, ids, return_dtype=pl.String))
        content = io.BytesIO()
        rows.write_parquet(content, compression="zstd")
        hashes[table] = hashlib.sha256(content.getvalue()).hexdigest()
        (folder / f"{table}.parquet").write_bytes(content.getvalue())
    single = {"model": made["models"], "corpus": made["corpora"], "run": made["runs"]}
    told = {"format": FORMAT, **single, "files": hashes}
    (folder / RUN_FILE).write_text(json.dumps(told, default=datetime.isoformat), encoding="utf-8")


def _noisy(table: str, column: str, factor: pl.Series, size: float, noise: np.random.Generator) -> pl.Expr:
    """Off by the row's factor; what was computed in single precision stays a single-precision number."""
    value, kind = pl.col(column), TABLES[table].schema[column]
    if column == "count":
        return (value * factor).round().cast(pl.Int64)
    if column == "n_points":
        return (value * size).round().cast(pl.Int64)
    if column.startswith("bin_"):  # the edges of a histogram are those of its quantity
        return value
    if kind == pl.List(pl.Float64):
        off = pl.element() * (1 + 0.02 * (noise.random() - 0.5))
        single = pl.when(pl.element() == pl.element().cast(pl.Float32))
        return value.list.eval(single.then(off.cast(pl.Float32).cast(pl.Float64)).otherwise(off))
    if kind == pl.Float64:
        off = value * factor
        single = pl.when(value == value.cast(pl.Float32))
        return single.then(off.cast(pl.Float32).cast(pl.Float64)).otherwise(off).alias(column)
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="runs that the file has already")
    parser.add_argument("--shape", choices=SHAPES, default="real")
    options = parser.parse_args()
    seconds = fill(options.file, options.runs, Maker(options.shape), options.first)
    size = options.file.stat().st_size / 1e6
    print(f"{options.runs} runs ({options.shape}): {size:.0f} MB, built in {seconds:.0f} s")


if __name__ == "__main__":
    main()
