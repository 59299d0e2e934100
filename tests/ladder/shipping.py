"""What Workdim ships of finished runs: logs and answers, their scores as tables, and the models that people may want to open.

All of it follows from the logs: the same logs give the same files. Scores belong to the version (core.warehouse.schema);
answers question by question are one file that `workdim scores import` takes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from core.tables import ScoreRow, ScoreSampleRow, columns, frame
from tests.ladder import questions
from tests.ladder.recipes import OTHER_WIDTHS, Recipe, all_runs
from tests.ladder.run import log_of
from tests.ladder.text import held_out

SCORES, ANSWERS, MODELS = "scores.parquet", "answers.parquet", "models"
TEXTS = ("code", "prose")
ALONG = f"{OTHER_WIDTHS[0]}-base"
"""The run that is shipped at all its checkpoints: of the smallest width, because seven times 2.9 MB would not fit."""
DEMO = "128-base"
"""Its final checkpoint is what the demo measures."""
SUITE, SOURCE, LICENCE, AS_OF = "ladder", "Workdim: python -m tests.ladder", "Apache-2.0", "2026-11-26"
QUESTION_BLOCKS = 20
"""Of each task's questions in their order, so that those from one file are left out together."""
_OF_FILE = "file_sha256"
"""The column that whoever loads a file fills in."""


def ship(out: Path, logs: Path, target: Path) -> None:
    """Write into `target` (data/reference/ladder) what finished runs have, in place of what it had."""
    for name in all_runs():
        if log_of(name, logs).exists() and logs != target:
            for file in (log_of(name, logs), logs / "answers" / f"{name}.parquet"):
                copy = target / file.relative_to(logs)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
    found = logged(target)
    rows, blocks = zip(*(one for name, log in found.items() for one in _scores(name, log, target)), strict=True)
    scores = frame(rows, ScoreRow).drop(_OF_FILE).with_columns(blocks=pl.Series(blocks, dtype=pl.List(pl.Float64)))
    scores.write_parquet(target / SCORES, compression="zstd")
    asked = questions.all_questions()
    answers = pl.concat([_answers(name, log, target, asked) for name, log in found.items()])
    answers.write_parquet(target / ANSWERS, compression="zstd")
    wanted = chosen_models(found)
    for folder, run in wanted.items():
        _copy_model(out / run / folder, target / MODELS / folder)
    for old in sorted((target / MODELS).iterdir()):
        if old.name not in wanted:
            shutil.rmtree(old)
    size = sum(file.stat().st_size for file in (target / MODELS).rglob("*.*")) / 1e6
    print(f"{len(found)} runs, {scores.height} scores, {answers.height} answers, {len(wanted)} models of {size:.1f} MB")


def logged(logs: Path) -> dict[str, dict[str, Any]]:
    """The logs of finished runs, in the order of the recipes."""
    files = {name: log_of(name, logs) for name in all_runs()}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}


def chosen_models(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Folder -> run of the checkpoints to ship: one run at all of them, the demo's, and the best and the worst recipe of
    the two smaller widths by bits per byte of code. Fewer where these runs are not finished."""
    runs = all_runs()
    steps = [(ALONG, step) for step in runs[ALONG].checkpoints] + [(DEMO, runs[DEMO].steps)]
    for width in (Recipe.width, OTHER_WIDTHS[0]):  # a model of the largest takes 5 MB
        of_width = [name for name in found if runs[name].width == width and runs[name].seed == 0]
        ranked = sorted(of_width, key=lambda name: found[name]["checkpoints"][-1]["bits_per_byte"]["code"]["value"])
        n_recipes = sum(one.width == width and one.seed == 0 for one in runs.values())
        complete = len(of_width) == n_recipes  # who is the best of a few may not be so tomorrow, and models are large
        steps += [(name, runs[name].steps) for name in ((ranked[0], ranked[-1]) if complete else ())]
    return {runs[name].folder_of(step): name for name, step in steps if name in found}


def _scores(name: str, log: dict[str, Any], logs: Path) -> Iterator[tuple[ScoreRow, list[float]]]:
    """Bits per byte of each checkpoint, and the tasks of the final one, filed under the model's weights; with each the
    score without file, or block of questions, 0, 1, ..."""
    recipe = all_runs()[name]
    sizes = {kind: [len(whole.encode()) for _file, whole in sorted(held_out(kind).items())] for kind in TEXTS}
    for at in log["checkpoints"]:
        model = (f"local:{recipe.folder_of(at['step'])}", at["weights_sha256"])
        for text in TEXTS:
            found = at["bits_per_byte"][text]
            told = _score(
                *model, text, "bits_per_byte", found["value"], found["std_error"], "bits per byte", False, None
            )
            yield told, without_each(found["by_file"], sizes[text], found["value"])
    answered = _answered(name, logs)
    for task, found in log["tasks"].items():
        told = _score(*model, task, "acc", found["value"], found["std_error"], "fraction", True, found["n"])
        is_right = answered.filter(task=task).sort("question")["is_right"].to_numpy()
        parts = np.array_split(is_right, QUESTION_BLOCKS)
        yield told, without_each([one.mean() for one in parts], [len(one) for one in parts], found["value"])


def without_each(values: Sequence[float], weights: Sequence[float], value: float) -> list[float]:
    """A weighted mean without part 0, 1, ...; ValueError where the parts are not those of `value`."""
    sums, sizes = np.array(values) * weights, np.array(weights)
    if abs(sums.sum() / sizes.sum() - value) > 1e-4:
        raise ValueError(f"Parts of {sums.sum() / sizes.sum():.5f} are no parts of {value:.5f}.")
    without = (sums.sum() - sums) / (sizes.sum() - sizes)
    return [round(float(one), 6) for one in without]


def _score(
    model: str,
    weights_sha256: str,
    what: str,
    metric: str,
    value: float,
    std_error: float,
    unit: str,
    higher_is_better: bool,
    n_samples: int | None,
) -> ScoreRow:
    return ScoreRow(
        repository=model,
        revision=weights_sha256[
            :12
        ],  # as core.models.hub.named_by_content: another folder of that name is another model
        benchmark=f"ladder_{what}",
        metric=metric,
        filter="none",
        n_shot=None if metric == "bits_per_byte" else 0,
        suite=SUITE,
        value=value,
        std_error=std_error,
        unit=unit,
        higher_is_better=higher_is_better,
        n_samples=n_samples,
        is_partial=False,
        is_group=False,
        source=SOURCE,
        licence=LICENCE,
        as_of=AS_OF,
        flags="",
        file_sha256="",
        dtype="float32",
    )


def _answers(name: str, log: dict[str, Any], logs: Path, asked: list[questions.Question]) -> pl.DataFrame:
    """The final checkpoint's answers as rows of score_samples."""
    if questions.digest(asked) != log["sha256"]["questions"]:
        raise ValueError(f"{name} was asked other questions than this Python's text gives.")
    hashes = [hashlib.sha256(json.dumps(asdict(one)).encode()).hexdigest()[:16] for one in asked]
    answered = _answered(name, logs)
    recipe, last = all_runs()[name], log["checkpoints"][-1]
    return answered.select(
        repository=pl.lit(f"local:{recipe.folder_of(recipe.steps)}"),
        revision=pl.lit(last["weights_sha256"][:12]),
        benchmark=pl.lit("ladder_") + pl.col("task"),
        metric=pl.lit("acc"),
        filter=pl.lit("none"),
        doc_hash=pl.Series(hashes),
        doc_id=pl.col("question").cast(pl.Int64),
        value=pl.col("is_right").cast(pl.Float64),
    ).select([column for column in columns(ScoreSampleRow) if column != _OF_FILE])


def _answered(name: str, logs: Path) -> pl.DataFrame:
    """The final checkpoint's answers as they were written down, and whether each is right."""
    answered = pl.read_parquet(logs / "answers" / f"{name}.parquet").cast({"task": pl.String})
    return answered.with_columns(is_right=pl.col("chosen") == pl.col("answer"))


def _copy_model(source: Path, target: Path) -> None:
    """A checkpoint's folder as it is, but for the blanks in its tokenizer, which are 60 percent of it."""
    if not source.is_dir():
        if not target.is_dir():
            raise FileNotFoundError(f"The checkpoint {source} is not here: train it, or leave it out.")
        return
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        if file.name == "tokenizer.json":
            content = json.loads(file.read_text(encoding="utf-8"))
            short = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
            (target / file.name).write_text(short + "\n", encoding="utf-8")
        else:
            shutil.copyfile(file, target / file.name)
