"""`python -m tests.bench.demo [--protocol NAME]`: what measuring the demo models costs, beside a bare forward pass.

The bare pass runs the same batches through model, head and loss, in the same process, after the measurement. The text
pass is everything that a measurement does but opening the model; control passes, if any, are stated apart.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from core.limits import anonymous_memory
from core.models.hub import find_weights
from core.models.stacks import largest_batch
from core.records import RunConfig
from core.registry.protocols import find_protocol
from core.runs.requests import demo_requests
from core.texts.corpora import open_corpus
from core.texts.sample import draw_sample
from core.warehouse.warehouse import Warehouse
from tests.measuring import measure
from tests.tiny import open_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", default="quick")
    parser.add_argument("--corpus", default="english-business")
    parser.add_argument("models", nargs="*", default=[one.model for one in demo_requests()])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for reference in options.models:
            config = RunConfig(reference, options.corpus, options.protocol)
            finished = measure(config, Warehouse(Path(folder) / "bench.duckdb"), lambda step: None)
            phases = json.loads(finished.profile.run.phase_seconds)
            bare, peak = bare_pass(config)
            text = sum(phases[name] for name in ("forward", "geometry", "layers"))
            print(f"{reference}, {options.protocol}: {json.dumps(phases)}")
            print(f"  bare forward with head and loss {bare:.1f} s")
            print(
                f"  forward with spilling {phases['forward'] / bare:.2f}, whole text pass {text / bare:.2f} times that"
            )
            for control in finished.controls:
                seconds = sum(json.loads(control.run.phase_seconds).values())
                print(f"  control pass {control.run.pass_}: {seconds / bare:.2f} times that")
            print(
                f"  peak anonymous memory {finished.profile.run.peak_memory_bytes / 1e9:.2f} GB; "
                f"of the bare pass {peak / 1e9:.2f} GB"
            )


def bare_pass(config: RunConfig) -> tuple[float, int]:
    model = open_model(find_weights(config.model), config.dtype, config.device)
    sample = draw_sample(open_corpus(config.corpus), model.tokenizer, find_protocol(config.protocol), config.seed)
    peak = 0
    start = time.perf_counter()
    with torch.inference_mode():
        for ids in torch.from_numpy(sample.ids).split(largest_batch(model.vocabulary_size, sample.ids.shape[1])):
            model.forward(ids.to(model.device), torch.ones_like(ids, dtype=torch.bool, device=model.device))
            peak = max(peak, anonymous_memory())
    return time.perf_counter() - start, peak


if __name__ == "__main__":
    main()
