"""How often a GPU would be waited for in one layer: tensors are marked as of the host or of the device, though all are here."""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from core.geometry.layer import measure_layer
from tests.bench.layer import plan_for, points_like_tokens

WAITS = {"_local_scalar_dense", "nonzero", "_unique2", "masked_select", "repeat_interleave"}
"""Operations whose result the host needs before it goes on."""
INDEXES = {"index", "index_put", "index_put_"}
"""The same, where an index is a mask: its number of rows has to be known."""
MOST = 30
"""Waits for each cloud of a layer, of which there are 11: five draws of two clouds, and all tokens."""


class Waits(TorchDispatchMode):
    """Counts them: what `cpu` and `from_numpy` give is of the host, and what is computed from that."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.counted = Counter()
        to, from_numpy = torch.Tensor.to, torch.from_numpy

        def cpu(tensor):
            if not self.of_host(tensor):
                self.counted["cpu"] += 1
            return self.marked(tensor.view_as(tensor), True)

        def moved(tensor, *where, **options):
            is_placed = any(isinstance(one, (torch.device, str)) for one in (*where, *options.values()))
            result = to(tensor, *where, **options)
            return self.marked(result.view_as(result), False) if is_placed else result

        monkeypatch.setattr(torch.Tensor, "cpu", cpu)
        monkeypatch.setattr(torch.Tensor, "to", moved)
        monkeypatch.setattr(torch, "from_numpy", lambda array: self.marked(from_numpy(array), True))

    @staticmethod
    def of_host(tensor):
        return getattr(tensor, "_of_host", False)

    @staticmethod
    def marked(tensor, of_host):
        tensor._of_host = of_host
        return tensor

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        tensors = [one for one in tree_leaves((arguments, options)) if isinstance(one, torch.Tensor)]
        name = function.overloadpacket._qualified_op_name.split("::")[1]
        by_mask = name in INDEXES and any(one.dtype == torch.bool for one in arguments[1] if one is not None)
        if any(map(self.of_host, tensors)):
            for one in tree_leaves(result):
                if isinstance(one, torch.Tensor):
                    self.marked(one, True)
        elif name in WAITS or by_mask:
            self.counted[name] += 1
        return result


def test_a_layer_makes_a_gpu_wait_a_few_times_for_each_cloud(monkeypatch):
    points, types, sequences = points_like_tokens(700, 48)
    plan = plan_for(types, sequences, 200)
    n_clouds = len([*plan.draws, *plan.word_draws, *plan.others])
    with Waits(monkeypatch) as waits:
        measure_layer(points, plan)
    assert 0 < waits.counted.total() <= MOST * n_clouds, waits.counted
