"""Networks with a bottleneck: what is trained, saved and read again lies in so many dimensions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.ladder import rank, training
from tests.ladder.rank import Network
from tests.ladder.recipes import BATCH, CONTEXT, VOCABULARY, Recipe

pytestmark = pytest.mark.slow


def test_a_saved_network_is_read_with_its_bottleneck_and_has_its_rank(tmp_path: Path) -> None:
    toy = Recipe("toy", width=32, steps=2, checkpoints=(2,), warmup=1)
    rows = np.random.default_rng(1).zipf(1.3, size=(toy.steps * BATCH, CONTEXT + 1)) % VOCABULARY
    training.train(toy, rows, tmp_path, lambda line: None, make=Network(5, 0).new_model)
    state = torch.load(tmp_path / training.STATE, weights_only=True)["model"]
    model = rank.load(tmp_path / toy.folder_of(2))
    assert torch.equal(model.down.weight, state["down.weight"].bfloat16().float())
    assert float(model.up.bias.detach().abs().max()) > 0  # it is trained
    ids = torch.from_numpy(rows[:BATCH, :-1].astype(np.int64))
    with torch.no_grad():
        states = model(ids, output_hidden_states=True).hidden_states
    ranks = [int(torch.linalg.matrix_rank(one.flatten(0, 1) - one.mean((0, 1)), rtol=1e-5)) for one in states[:5]]
    assert ranks[rank.LAYER] == 5
    assert ranks[rank.LAYER - 1] > 20 and ranks[rank.LAYER + 1] > 20


def test_every_network_is_known_by_all_that_it_is_made_of() -> None:
    hashes = {rank.config_hash(one) for steps in (60, 1500) for one in rank.networks(steps)}
    assert len(hashes) == 2 * len(rank.RANKS) * rank.N_SEEDS
