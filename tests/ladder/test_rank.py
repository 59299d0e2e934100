"""Networks with a bottleneck: what is trained, saved and read again lies in so many dimensions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from core.geometry.estimators import ESTIMATORS
from tests.ladder import rank, rank_score, training
from tests.ladder.rank import Network
from tests.ladder.rank_score import Reading
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


def test_bounds_order_ratios_and_coverage_are_counted_over_networks() -> None:
    def read(cloud: str, rank_: int, value: float, half: float = math.nan, draw: int = 0) -> Reading:
        return Reading(rank_, 0, 1500, cloud, draw, "some", value, value - half, value + half)

    row = rank_score.row_of(
        "some",
        [
            *(read("stream", of, value) for of, value in ((4, 5.0), (8, 3.0), (16, 9.0))),
            *(read("whitened", of, value, 1.0) for of, value in ((4, 4.0), (8, 4.0), (16, 15.5))),
            read("whitened", 16, 14.0, 1.0, draw=1),
        ],
    )
    assert (row.networks, row.broken, row.most) == (3, 1, 1.25)  # 5 above a rank of 4
    assert row.ordered == pytest.approx(2 / 3)  # 8 is read below 4
    assert (row.ratio, row.lowest, row.highest) == (pytest.approx(15.5 / 16), 0.5, 1.0)
    assert (row.intervals, row.held) == (4, 2)
    assert row.by_rank[:3] == (5.0, 3.0, 9.0) and math.isnan(row.by_rank[3])


def test_the_section_tells_what_came_out_and_takes_the_place_of_an_earlier_one() -> None:
    row = rank_score.Row("d2", 4, (4.0, 7.0, 13.0, 20.0, 31.0), 0, 1.0, 1.0, 0.99, 0.95, 1.02, 20, 19)
    other = rank_score.Row("two_nn", 4, (4.5, 5.0, 6.0, 7.0, 6.5), 1, 1.12, 0.8, 0.4, 0.2, 1.1, 0, 0)
    told = rank_score.section([row, other], {(4, 0), (64, 0)}, 1500)
    assert "1 of 2 never read above the rank. Most often did two_nn in 1 of 4, up to 1.12 times it." in told
    assert "d2 0.99 (0.95 to 1.02)" in told and "least did two_nn 80 %" in told and "d2 19 of 20" in told
    document = f"# Accuracy\n\nwhat stands\n\n{rank_score.BEFORE}\n\nlast\n"
    once = rank_score.with_section(document, told)
    assert once == rank_score.with_section(once, told)
    assert once.index("what stands") < once.index("known_rank.csv") < once.index("last") and once.count("## Where") == 1
    assert "two_nn" in rank_score.picture([row, other])


def test_whitened_coordinates_have_the_dimension_that_the_bottleneck_has() -> None:
    toy = Recipe("toy", width=32)
    model = Network(6, 0).new_model(toy).eval()
    ids = torch.randint(VOCABULARY, (2 * rank_score.N_WINDOWS, CONTEXT), generator=torch.Generator().manual_seed(0))
    made = rank_score.clouds(model, ids)
    points, windows = made.drawn("whitened", 0)
    assert points.shape == (rank_score.N_WINDOWS * rank_score.N_TOKENS, 6)
    assert ESTIMATORS["participation_ratio"](points, windows, n_blocks=0).value == pytest.approx(6, rel=0.05)
    stream, _ = made.drawn("stream", 0)
    assert int(torch.linalg.matrix_rank(stream - stream.mean(0), rtol=1e-5)) == 6
    others = {tuple(map(tuple, made.drawn("stream", draw)[0].tolist())) for draw in (0, 1)}
    assert len(set.union(*map(set, others))) == 2 * len(points)  # no token is drawn twice
