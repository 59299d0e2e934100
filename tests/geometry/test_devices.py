"""The same numbers on every device, to 1e-4; and no operation that some device lacks."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from core.geometry import layer
from core.geometry.layer_pairs import LayerPairs
from tests.geometry.test_layer import clustered, plan

DEVICES = [
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
    pytest.param("mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU")),
]
GEOMETRY = Path(layer.__file__).parent


@pytest.mark.parametrize("device", DEVICES)
def test_a_layer_is_the_same_on_this_device(device):
    torch.backends.cuda.matmul.allow_tf32 = False
    states, types, sequences = clustered(12)
    chosen = plan(types, sequences)
    here, there = layer.measure_layer(states, chosen), layer.measure_layer(states.to(device), chosen)
    for a, b in zip(here.estimates, there.estimates, strict=True):
        assert (a.cloud, a.estimator, a.n1, a.n2, a.transform) == (b.cloud, b.estimator, b.n1, b.n2, b.transform)
        assert b.estimate.value == pytest.approx(a.estimate.value, rel=1e-4, nan_ok=True), (a.cloud, a.estimator, a.n2)
    for a, b in zip(here.correlators, there.correlators, strict=True):
        assert b.value == pytest.approx(a.value, rel=1e-4, abs=1e-6, nan_ok=True), a.correlator


@pytest.mark.parametrize("device", DEVICES)
def test_layer_pairs_are_the_same_on_this_device(device):
    states, _, _ = clustered(13)
    rows = torch.arange(256).numpy()
    values = []
    for where in ("cpu", device):
        pairs = LayerPairs(rows, rows // 8, rows * 16 // 256)
        for scale in (1.0, 2.0, 3.0):
            pairs.add((states + scale * torch.roll(states, 1, 0))[:256].to(where))
        found = pairs.values()
        values.append([p.value for p in found])
        names = [p.measure for p in found]
    # Overlaps and ranks are counts: where two neighbours are equally far, round-off decides which is nearer.
    of_cosines, of_ranks = (
        [i for i, name in enumerate(names) if name.startswith(("neighbour", "information")) == of_rank]
        for of_rank in (False, True)
    )
    here, there = (np.array(v) for v in values)
    assert there[of_cosines] == pytest.approx(here[of_cosines], rel=1e-4, abs=1e-6)
    assert there[of_ranks] == pytest.approx(here[of_ranks], abs=1e-3)


def test_nothing_needs_double_precision_or_a_decomposition_on_the_device():
    """Apple's GPUs have neither: doubles are made after the move to the CPU, decompositions run there."""
    for path in sorted(GEOMETRY.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert ".double().cpu()" not in text, path.name
        for line in re.findall(r".*torch\.linalg\.(?:eigh|eigvalsh|qr|svd)\(.*", text):
            assert ".cpu()" in line or "(product)" in line or "(block)" in line, (path.name, line)
