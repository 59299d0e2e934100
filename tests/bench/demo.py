"""`python -m tests.bench.demo`: what measuring the demo models costs, per phase, beside a bare forward pass.

The bare pass runs the same batches through model, head and loss, in the same process, after the measurement.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import torch

from core.measure.corpora import open_corpus
from core.measure.models import open_model
from core.measure.profile import anonymous_memory
from core.measure.protocol import find_protocol
from core.measure.sample import draw_sample
from core.measure.sources import find_weights
from core.records import RunConfig
from core.runs import measure
from core.verbs.measuring import DEMO_MODELS
from core.warehouse.store import Warehouse


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for reference in DEMO_MODELS:
            config = RunConfig(reference)
            start = time.perf_counter()
            run = measure(config, Warehouse(Path(folder) / "bench.duckdb"), lambda step: None).profile.run
            whole = time.perf_counter() - start
            bare, peak = bare_pass(config)
            phases = json.loads(run.phase_seconds)
            print(f"{reference}: {whole:.1f} s in all, {json.dumps(phases)}")
            print(
                f"  bare forward with head and loss {bare:.1f} s: spilling, {phases['forward'] / bare:.2f} times that"
            )
            print(
                f"  peak anonymous memory {run.peak_memory_bytes / 1e9:.2f} GB; after the bare pass {peak / 1e9:.2f} GB"
            )


def bare_pass(config: RunConfig) -> tuple[float, int]:
    model = open_model(find_weights(config.model), config.dtype, config.device)
    sample = draw_sample(open_corpus(config.corpus), model.tokenizer, find_protocol(config.protocol), config.seed)
    peak = 0
    start = time.perf_counter()
    with torch.inference_mode():
        for ids in torch.from_numpy(sample.ids).split(7):
            model.forward(ids.to(model.device))
            peak = max(peak, anonymous_memory())
    return time.perf_counter() - start, peak


if __name__ == "__main__":
    main()
