"""Loss that the head reads at each layer: at the last one it is the loss of the pass, at others that of the head applied by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from core.measure.plan import choose_targets, open_setup, read_losses
from core.measure.profile import measure_profile
from core.measure.rows import readable_rows
from core.records import RunConfig
from tests.measure.test_capture import captured
from tests.runs.small import SMALL
from tests.tiny import save_tiny_model


@pytest.mark.parametrize("family", ["gpt2", "opt", "gemma3_text", "bloom", "mamba"])
def test_the_last_layer_reads_the_loss_of_the_pass(family, tmp_path):
    model, sample, states = captured(save_tiny_model(tmp_path / family, family), tmp_path)
    found = read_losses(model, sample, states, 512)
    targets = choose_targets(sample, states.nats, 512)
    assert found.shape == (model.n_layers + 1, len(targets))
    assert np.allclose(found[-1], states.nats[targets[:, 0], targets[:, 1]], atol=1e-4)
    assert np.abs(found[0] - found[-1]).max() > 1e-3


def test_an_inner_layer_is_read_by_the_models_own_norm_and_head(tiny_llama, tmp_path):
    model, sample, states = captured(tiny_llama, tmp_path)
    targets = choose_targets(sample, states.nats, 512)
    rows = targets[:, 0] * sample.ids.shape[1] + targets[:, 1]
    with torch.no_grad():
        logits = model.module.lm_head(model.module.model.norm(states.points(2, rows - 1)))
    by_hand = -logits.log_softmax(-1)[torch.arange(len(rows)), torch.from_numpy(sample.ids.flatten()[rows])]
    assert np.allclose(read_losses(model, sample, states, 512)[2], by_hand, atol=1e-4)
    again = [block.forward for block in model.layers]  # the blocks are their own again
    assert all(getattr(one, "__self__", None) is block for one, block in zip(again, model.layers, strict=True))


def test_an_encoder_has_no_loss_to_read(tiny_bert, tmp_path):
    assert read_losses(*captured(tiny_bert, tmp_path), 512) is None


def test_what_does_not_add_up_to_the_loss_of_the_pass_is_left_out_and_said(tiny_llama, tmp_path, caplog):
    model, sample, states = captured(tiny_llama, tmp_path)
    torch.nn.init.constant_(model.module.model.norm.weight, 3.0)
    found = read_losses(model, sample, states, 512)
    assert "Readable loss is left out" in caplog.text
    rows = list(readable_rows("run", sample, replace(states, readable=found)))
    assert [row.layer for row in rows] == list(range(model.n_layers + 1))
    assert {(row.value, row.std_error) for row in rows} == {(None, None)}


@pytest.mark.parametrize(("documents", "units"), [(np.repeat(np.arange(8), 2), 8), (np.repeat([0, 1], 8), 8)])
def test_the_error_is_over_documents_and_over_stretches_where_they_are_few(documents, units):
    of_unit = np.random.default_rng(0).normal(3, 1, units)
    nats = np.repeat(of_unit, 16 // units)[:, None] * np.ones((16, 4))  # windows of a unit are alike
    nats[:, 0] = np.nan
    states = SimpleNamespace(readable=nats[None, :, 1:].reshape(1, -1).astype(np.float32), nats=nats)
    sample = SimpleNamespace(documents=documents, ids=np.zeros((16, 4), dtype=int))
    (row,) = readable_rows("run", sample, states)
    assert (row.value, row.n_points) == (pytest.approx(of_unit.mean()), 48)
    assert row.std_error == pytest.approx(np.std(of_unit, ddof=1) / np.sqrt(units), rel=1e-5)


def test_a_run_tells_it_for_every_layer_and_a_resumed_one_the_same(tiny_llama, tmp_path):
    config = RunConfig(str(tiny_llama), "english-business", "quick")
    setup = open_setup(config)
    setup = replace(setup, protocol=replace(SMALL, name="quick", n_sequences=32, n_tokens=128, n_readable=64))
    first, resumed = (
        [
            replace(row, run_id="")
            for row in measure_profile(config, run_id, tmp_path, lambda step: None, setup).correlators
            if row.correlator == "readable_loss"
        ]
        for run_id in ("first", "resumed")
    )
    assert [row.layer for row in first] == [0, 1, 2, 3, 4]
    assert all(row.n_points == 64 and row.std_error > 0 for row in first)
    assert first == resumed
