"""The weights of a GGUF file under the names that transformers gives them, one at a time.

transformers dequantises a whole file before it places a tensor. What it knows of each architecture (names, rows that
llama.cpp reorders, experts that it stacks) is taken from it here, so that the weights are the same bit for bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, ReaderTensor, dequantize
from transformers.integrations.gguf.utils import is_gguf_arch_supported
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
    load_gguf_checkpoint,
    read_field,
)

ROWS = 1024
"""Rows of a matrix that are dequantised at a time."""


class GgufTensors:
    """A GGUF file, opened; no tensor is read before it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = GGUFReader(path)
        self.architecture = str(read_field(self._reader, "general.architecture")[0])

    @property
    def is_known(self) -> bool:
        """Whether tensors can be read one at a time. A few architectures are read by a newer loader of transformers,
        which converts them inside the network that it loads."""
        return not is_gguf_arch_supported(self.architecture)

    def __len__(self) -> int:
        return len(self._reader.tensors)

    def read(self, module: Any, dtype: torch.dtype) -> Iterator[tuple[int, str, torch.Tensor]]:
        """Number of the tensor in the file, its name in `module`, its values; those of no use to `module` are left out.

        Of experts that the file keeps apart, those of one block are held until they are complete.
        """
        settings = load_gguf_checkpoint(str(self._path))["config"]
        processor = TENSOR_PROCESSORS.get(self.architecture, TensorProcessor)(config=settings)
        names = get_gguf_hf_weights_map(module, processor)
        expected = Counter(names.values())
        stacked: dict[str, torch.Tensor] = {}
        for number, tensor in enumerate(self._reader.tensors):
            found = processor.process(
                weights=_dequantised(tensor),
                name=tensor.name,
                tensor_key_mapping=names,
                parsed_parameters={"tensors": stacked},
            )
            if found.name in names:
                yield number, names[found.name], _as_tensor(found.weights, dtype)
            expected[names.get(tensor.name) or names.get(tensor.name.removesuffix(".weight"), "")] -= 1
            for name in [name for name in stacked if expected[name] <= 0]:
                yield number, name, stacked.pop(name).to(dtype)


def _dequantised(tensor: ReaderTensor) -> np.ndarray:
    """In slices: the formulas of some types make ten arrays of the size of what they are given."""
    if len(tensor.data) <= ROWS:
        return dequantize(tensor.data, tensor.tensor_type)
    values = np.empty(tuple(map(int, reversed(tensor.shape))), dtype=np.float32)
    for start in range(0, len(values), ROWS):
        values[start : start + ROWS] = dequantize(tensor.data[start : start + ROWS], tensor.tensor_type)
    return values


def _as_tensor(weights: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    if not weights.flags.writeable or not weights.flags.c_contiguous:
        weights = np.array(weights, order="C")
    return torch.from_numpy(weights).to(dtype)
