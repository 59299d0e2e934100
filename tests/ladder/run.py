"""From a recipe to what is kept of it: checkpoints outside of the repository; a log and answers within it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from filelock import FileLock, Timeout

from core.errors import InputError
from tests.ladder import questions, scoring, text, training
from tests.ladder.recipes import Recipe, all_runs


def log_of(name: str, logs: Path) -> Path:
    return logs / "runs" / f"{name}.json"


def finish(recipe: Recipe, out: Path, logs: Path, say: Callable[[str], None] = print) -> bool:
    """Train, score and log a run. False where another process is at it; nothing is done again that is finished."""
    folder = out / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            if not log_of(recipe.name, logs).exists():
                _finish(recipe, folder, logs, say)
            (folder / training.STATE).unlink(missing_ok=True)
            return True
    except Timeout:
        return False


def _finish(recipe: Recipe, folder: Path, logs: Path, say: Callable[[str], None]) -> None:
    torch.set_num_threads(1)
    documents = text.training_documents()
    asked = questions.all_questions()
    held_out = {kind: text.held_out(kind) for kind in ("code", "prose")}
    shared = {
        "training_text": text.digest(documents),
        "held_out_code": text.digest(held_out["code"]),
        "held_out_prose": text.digest(held_out["prose"]),
        "tokenizer": text.digest({"tokenizer": text.TOKENIZER.read_text(encoding="utf-8")}),
        "questions": questions.digest(asked),
    }
    _require_same(shared, logs)
    trained = training.train(recipe, text.windows(recipe, documents), folder, say)
    begun_cpu, begun = time.process_time(), time.monotonic()
    checkpoints = []
    for step in recipe.checkpoints:
        saved = folder / recipe.folder_of(step)
        model = training.load(saved)
        scores = {kind: scoring.bits_per_byte(model, files) for kind, files in held_out.items()}
        said = f"{scores['code']['value']:.3f} bits per byte of code, {scores['prose']['value']:.3f} of prose"
        say(f"{recipe.name}: at step {step} {said}")
        checkpoints.append({"step": step, "weights_sha256": training.weights_digest(saved), "bits_per_byte": scores})
    answered = scoring.answers(model, asked)
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    answers = logs / "answers" / f"{recipe.name}.parquet"
    answers.parent.mkdir(parents=True, exist_ok=True)
    answered.write_parquet(answers, compression="zstd")
    scored = {
        "cpu_seconds": round(time.process_time() - begun_cpu, 1),
        "wall_seconds": round(time.monotonic() - begun, 1),
    }
    log = {
        "recipe": asdict(recipe),
        "n_parameters": n_parameters,
        "training": trained,
        "checkpoints": checkpoints,
        "tasks": scoring.accuracies(answered),
        "scoring": scored,
        "sha256": shared,
        "made_with": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "machine": platform.machine(),
        },
    }
    _write(log_of(recipe.name, logs), log)


def remake(recipe: Recipe, until: int, out: Path, logs: Path, say: Callable[[str], None] = print) -> None:
    """The checkpoints of a finished run up to step `until` once more, where only its log and its last one were kept.

    InputError where the run is not finished, or where the weights of one are not those that the log names: other processors
    and libraries round otherwise.
    """
    if not log_of(recipe.name, logs).exists():
        raise InputError(f"{recipe.name} is not finished: without `--until` it is trained to its end.")
    torch.set_num_threads(1)
    begun = out / recipe.name / "again"  # from an empty folder: to save a model draws random numbers, as dropout does
    training.train(recipe, text.windows(recipe, text.training_documents()), begun, say, until)
    log = json.loads(log_of(recipe.name, logs).read_text(encoding="utf-8"))
    wanted = {
        recipe.folder_of(one["step"]): one["weights_sha256"] for one in log["checkpoints"] if one["step"] <= until
    }
    if other := [name for name, digest in wanted.items() if training.weights_digest(begun / name) != digest]:
        raise InputError(f"{', '.join(other)} in {begun}: not the weights of the log. Nothing was taken from there.")
    for name in wanted:
        shutil.rmtree(out / recipe.name / name, ignore_errors=True)
        (begun / name).rename(out / recipe.name / name)
    shutil.rmtree(begun)
    say(f"{recipe.name}: {len(wanted)} checkpoints as in the log")


def _require_same(shared: dict[str, str], logs: Path) -> None:
    """One family reads one text: a run on another Python's library would be no member of it."""
    for path in sorted((logs / "runs").glob("*.json")):
        before = json.loads(path.read_text(encoding="utf-8"))["sha256"]
        other = [name for name in shared if before[name] != shared[name]]
        if other:
            raise InputError(
                f"{', '.join(other)} differ from those of the finished run {path.stem}. "
                "Train with the Python of that run, or remove the logs and begin anew."
            )


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(new, path)


def states(out: Path, logs: Path) -> dict[str, str]:
    """Run -> `finished`, `begun` or `waiting`."""
    return {
        name: "finished" if log_of(name, logs).exists() else "begun" if (out / name).is_dir() else "waiting"
        for name in all_runs()
    }
