"""`python -m tests.bench.random_models`: models that have learned nothing must have no robust verdict.

Draws models of six architectures, each with several seeds, measures them as if they were models of somebody, with their
own control passes, and prints both verdicts. Exits with 1 where one is robust.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from core.analysis.shape import judged
from core.measure.profile import measure_profile
from core.records import Profile, RunConfig
from tests.tiny import save_tiny_model

ARCHITECTURES = ("llama", "qwen3", "gemma3_text", "gpt2", "gpt_neox", "opt")
WIDTH = dict(hidden_size=64, num_hidden_layers=6)
GPT2_WIDTH = dict(n_embd=64, n_layer=6)


def of_model(folder: Path, scratch: Path) -> Profile:
    """Judged with random blocks of two seeds and permuted weights."""
    passes = (("text", 0), ("random_blocks", 0), ("random_blocks", 1), ("permuted_weights", 0))
    found = []
    for pass_, seed in passes:
        config = RunConfig(str(folder), "english-business", pass_=pass_, model_seed=seed)
        room = scratch / f"{pass_}-{seed}"
        room.mkdir(parents=True)
        profile = measure_profile(config, f"{pass_}-{seed}", room, lambda _: None)
        found.append(judged(profile))
    return judged(found[0], found[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    words: Counter[tuple[str, str]] = Counter()
    for family in ARCHITECTURES:
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as scratch:
                width = GPT2_WIDTH if family == "gpt2" else WIDTH
                folder = save_tiny_model(Path(scratch) / "model", family, seed=seed, **width)
                summary = of_model(folder, Path(scratch)).summaries[0]
            rise, fall = str(summary.verdict_rise), str(summary.verdict_fall)
            words.update([("rise", rise), ("fall", fall)])
            why = f"{', '.join(summary.reasons_rise)}; fall {fall} {', '.join(summary.reasons_fall)}"
            print(f"{family} {seed}: rise {rise} {why}", flush=True)
    print(dict(words))
    sys.exit(any(word == "robust" for _, word in words))


if __name__ == "__main__":
    main()
