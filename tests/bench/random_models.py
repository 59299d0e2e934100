"""`python -m tests.bench.random_models`: models that have learned nothing must have no claim that holds.

Draws 34 models of six architectures, each with several seeds, measures them as if they were models of somebody, with their
own control passes, and prints both verdicts. Exits with 1 where one holds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from core.analysis.shape import judge_profile
from core.measure.profile import measure_profile
from core.records import Profile, RunConfig
from tests.tiny import save_tiny_model

ARCHITECTURES = ("llama", "qwen3", "gemma3_text", "gpt2", "gpt_neox", "opt")
SHAPES = ((64, 6), (96, 8))
"""Hidden size and blocks: of even and of odd seeds."""
MODELS = tuple((family, seed) for seed in range(6) for family in ARCHITECTURES)[:34]


def sizes(family: str, seed: int) -> dict[str, int]:
    width, n_layers = SHAPES[seed % 2]
    names = ("n_embd", "n_layer") if family == "gpt2" else ("hidden_size", "num_hidden_layers")
    return dict(zip(names, (width, n_layers), strict=True))


def of_model(folder: Path, scratch: Path) -> Profile:
    """Judged with random blocks of two seeds and permuted weights."""
    passes = (("text", 0), ("random_blocks", 0), ("random_blocks", 1), ("permuted_weights", 0))
    found = []
    for pass_, seed in passes:
        config = RunConfig(str(folder), "english-business", pass_=pass_, model_seed=seed)
        room = scratch / f"{pass_}-{seed}"
        room.mkdir(parents=True)
        profile = measure_profile(config, f"{pass_}-{seed}", room, lambda _: None)
        found.append(judge_profile(profile))
    return judge_profile(found[0], found[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="number of the first model")
    parser.add_argument("--models", type=int, default=len(MODELS), help="how many from there on")
    options = parser.parse_args()
    words: Counter[tuple[str, str]] = Counter()
    for number, (family, seed) in list(enumerate(MODELS))[options.first :][: options.models]:
        with tempfile.TemporaryDirectory() as scratch:
            folder = save_tiny_model(Path(scratch) / "model", family, seed=seed, **sizes(family, seed))
            summary = of_model(folder, Path(scratch)).summaries[0]
        rise, fall = str(summary.verdict_rise), str(summary.verdict_fall)
        words.update([("rise", rise), ("fall", fall)])
        why = f"{', '.join(summary.reasons_rise)}; fall {fall} {', '.join(summary.reasons_fall)}"
        print(f"{number} {family} {seed}: rise {rise} {why}", flush=True)
    print(dict(words))
    sys.exit(any(word in ("holds", "mostly_holds") for _, word in words))


if __name__ == "__main__":
    main()
