"""Damage is done as it is told, and what is known about the damaged network is so."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from core.measure.plan import open_setup
from core.models.model import load_network
from core.plans.variants import Network, without_blocks
from core.records import RunConfig
from core.store.parcels import read_parcel
from core.tables import TABLES
from tests import damage, evidence
from tests.damage import Damage, Subject, damaged
from tests.ladder.measuring import HEAVY, publish

IDS = torch.arange(40).view(2, 20) + 5


@pytest.fixture
def setup(tiny_llama, small_protocol):
    return open_setup(RunConfig(str(tiny_llama), "english-business", small_protocol, device="cpu"))


@pytest.fixture
def whole(setup):
    return load_network(setup.blueprint)


def done_to(setup, one, projection=None):
    return load_network(damaged(setup.blueprint, one, projection))


@torch.no_grad()
def test_noise_is_of_the_size_that_is_told_and_of_one_direction(setup, whole):
    small, large = (done_to(setup, Damage("noise", level, "")) for level in (0.1, 0.2))
    for weight, one, two in zip(*(damage.matrices(model.module) for model in (whole, small, large)), strict=True):
        assert (one - weight).std().item() == pytest.approx(0.1 * weight.std().item(), rel=0.2)
        torch.testing.assert_close(two - weight, 2 * (one - weight), rtol=1e-3, atol=1e-6)
    embeddings = [model.module.get_input_embeddings().weight for model in (whole, large)]
    assert torch.equal(*embeddings)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_rounding_is_to_the_nearest_of_so_many_levels(setup, whole, bits):
    found = done_to(setup, Damage("bits", bits, ""))
    for weight, one in zip(damage.matrices(whole.module), damage.matrices(found.module), strict=True):
        step = weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
        assert ((one - weight).abs() <= step / 2 * (1 + 1e-5)).all()
        assert max(len(row.unique()) for row in one) <= 2**bits - 1
        torch.testing.assert_close(one.abs().amax(1), weight.abs().amax(1))


def test_a_network_without_blocks_is_one_that_passes_them_by(setup, whole):
    found = done_to(setup, Damage("removed", 1, "", (2,)))
    assert found.n_layers == whole.n_layers - 1
    network = Network(whole)
    with torch.inference_mode(), network.hooked():
        passed_by = network.logits(IDS, without_blocks({1}))
        torch.testing.assert_close(found.module(IDS, use_cache=False).logits, passed_by)


def test_a_projected_stream_has_no_more_dimensions_than_the_projection_and_the_profile_says_what_was_done(
    setup, tmp_path, monkeypatch
):
    projection = damage.leading_directions(setup, after=2, rank=6)
    torch.testing.assert_close(projection.basis.T @ projection.basis, torch.eye(6))
    blueprint = damaged(
        setup.blueprint,
        Damage("rank", 3, "rank 3 after block 2", (2,)),
        replace(projection, basis=projection.basis[:, :3]),
    )
    config = RunConfig("damage:tiny/rank-3", "english-business", setup.protocol.name, device="cpu")
    profile = publish(config, config.model, tmp_path, HEAVY, replace(setup, blueprint=blueprint))
    (parcel,) = tmp_path.iterdir()
    tables = read_parcel(parcel)
    model = tables["models"].row(0, named=True)
    assert model["name"].endswith("rank 3 after block 2") and model["reference"].startswith("damage:")
    assert model["weights_sha256"] != setup.blueprint.weights.sha256 and model["model_id"].endswith(model["revision"])
    assert tables["runs"]["tags"].to_list() == [["reference"]] and str(tmp_path) not in tables["runs"]["config"][0]
    assert all(tables[table].is_empty() for table in HEAVY) and profile.pairs
    found = (
        TABLES["layer_estimates"]
        .frame(profile.estimates)
        .filter(layer=2, state="residual", estimator="effective_rank", cloud="one_per_type", transform="centred")
    )
    assert found["value"][0] <= 3.001


def test_the_levels_are_those_of_the_table_and_within_the_networks():
    for subject, n_blocks, width in zip(damage.SUBJECTS, (6, 30), (128, 576), strict=True):
        assert isinstance(subject, Subject)
        every = list(damage.damages(subject, n_blocks))
        assert len({one.key for one in every}) == len(every) >= 18
        assert len({one.what for one in every}) == len(every) and {one.kind for one in every} <= {*evidence._KINDS}
        for one in every:
            assert all(1 <= block <= n_blocks for block in one.blocks) and len(set(one.blocks)) == len(one.blocks)
        assert max(subject.ranks) < width
