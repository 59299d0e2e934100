"""Attention sinks: a few tokens of enormous norm on inner layers, from the mask to the estimates."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.geometry.layer import measure_layer
from core.measure.plan import UsableWords, capture, mask_tokens, plan_layers
from core.measure.rows import change_without_norm_rule
from core.models.hub import find_weights
from core.registry.protocols import PROTOCOLS
from core.texts.corpora import open_corpus
from core.texts.sample import draw_sample
from tests.tiny import open_model, train_tokenizer

NO_WORDS = UsableWords(np.empty(0, dtype=int), np.empty(0, dtype=int), 0)


def measured(sample, states, layer):
    mask = mask_tokens(sample, states.norms, states.n_layers, PROTOCOLS["quick"].norm_factor)
    plan = plan_layers(sample, mask, NO_WORDS, replace(PROTOCOLS["quick"], core_only=()), seed=0)
    return mask, measure_layer(states.points(layer, mask.keep), plan)


def test_sinks_are_masked_and_leave_every_estimate_where_it_was(tiny_llama, tmp_path):
    """0.4 percent of the tokens, anywhere in their sequences, get 170 times the norm along one direction."""
    model = open_model(find_weights(str(tiny_llama)), device="cpu")
    sample = draw_sample(open_corpus("english-business"), model.tokenizer, PROTOCOLS["quick"], seed=0)
    states = capture(model, sample, tmp_path, lambda step: None)
    layer = states.n_layers - 1  # an inner one: the last is not part of the rule
    before, clean = measured(sample, states, layer)

    rows = np.flatnonzero(before.keep)[:: before.keep.sum() // 16][:16]
    sink = 170 * np.median(states.norms[layer]) * np.eye(model.hidden_size)[0]
    states.states[layer, rows] = sink + 0.01 * states.states[layer, rows]
    states.norms[layer, rows] = np.linalg.norm(states.states[layer, rows], axis=1)
    unmasked = torch.from_numpy(states.states[layer][before.keep])
    variances = torch.linalg.svdvals(unmasked - unmasked.mean(0)).square()
    assert float(variances.sum().square() / variances.square().sum()) < 1.1  # one direction is all there is

    after, masked = measured(sample, states, layer)
    assert after.n_dropped_norm - before.n_dropped_norm == len(rows) and not after.keep[rows].any()
    for cloud in ("one_per_type", "all_tokens"):
        for estimator, tolerance in (("d2_all_pairs", 0.03), ("participation_ratio", 0.05), ("effective_rank", 0.03)):
            expected = clean.value(cloud, estimator)
            assert masked.value(cloud, estimator) == pytest.approx(expected, rel=tolerance), (cloud, estimator)


def test_the_norm_rule_says_what_d2_is_without_it():
    """A token in twenty is a hundred times as long on the inner layers, in one direction that all of them share."""
    sample = draw_sample(open_corpus("english-business"), train_tokenizer(2000), PROTOCOLS["quick"], seed=0)
    points = torch.randn(4, sample.ids.size, 24, generator=torch.Generator().manual_seed(0))
    shared = np.zeros(sample.ids.size, dtype=bool)
    shared[7::20] = True
    points[1:3, shared] = 100 * torch.eye(24)[0] + points[1:3, shared]

    class States:
        def points(self, layer, keep):
            return points[layer][torch.from_numpy(keep)]

    mask = mask_tokens(sample, points.norm(dim=2).numpy(), 3, 3.0)
    assert mask.n_dropped_norm == mask.large.sum() > 0
    plan = plan_layers(sample, mask, NO_WORDS, PROTOCOLS["quick"], 0)
    changes = change_without_norm_rule(States(), sample, mask, plan, [0, 1, 3], 800)
    assert abs(changes[0]) < 0.1 and abs(changes[3]) < 0.1 and changes[1] < -1
    none = mask_tokens(sample, np.ones((4, sample.ids.size)), 3, 3.0)
    assert change_without_norm_rule(States(), sample, none, plan, [0, 1, 3], 800) == {}
