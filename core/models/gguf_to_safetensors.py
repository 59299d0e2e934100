"""Convert a GGUF file that is too big for the memory to safetensors in the cache, which can be read block by block.

The folder is written under a temporary name and renamed when it is complete, so that a folder under its final name is
always a whole conversion. Its name consists of the hash of the GGUF file, the dtype, and the version of transformers,
which does the conversion. If a process is killed, the next one removes its unfinished folder.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
import transformers
from filelock import FileLock
from gguf import GGUFReader, ReaderTensor, dequantize
from transformers.integrations.gguf.utils import is_gguf_arch_supported
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
    load_gguf_checkpoint,
    read_field,
)

from core.errors import ModelError
from core.files import free_some, require_room, writing
from core.models.packages import cache_folder
from core.models.weights import INDEX, Weights, damaged, hash_files, whole_only
from core.records import Progress, ProgressCallback

SHARD_BYTES = 2 * 10**9
"""A file is closed once it is larger than this."""
HEADER_BYTES = 2**20
"""Bytes reserved at the head of each file for its table of tensors, which is complete only after they are written."""
MAX_ENTRIES = 4000
"""Most tensors in one file, so that its table fits: an entry takes less than 256 bytes."""
DTYPE_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


def as_safetensors(weights: Weights, module: Any, dtype: torch.dtype, progress: ProgressCallback) -> Weights:
    """The same weights as safetensors in a folder of the cache; converts them if they are not there yet.

    `module` is the network, which may be on the meta device. At most one tensor is in memory at a time. Raises
    ResourceError if the disk has no room or the architecture must be read whole, ModelError for a damaged file.
    """
    folder = (
        cache_folder() / "gguf" / f"{hash_files(weights.files)[:32]}-{DTYPE_NAMES[dtype]}-{transformers.__version__}"
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / INDEX).is_file():
            _convert(weights, module, dtype, folder, progress)
    return Weights(folder, None, weights.reference, weights.revision, weights.name)


def _convert(weights: Weights, module: Any, dtype: torch.dtype, folder: Path, progress: ProgressCallback) -> None:
    _need_room(weights, module, dtype, folder.parent)
    part = folder.with_name(f".{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    room = writing(folder.parent, free_some("WORKDIM_CACHE"))
    try:
        with room:
            _write(weights, module, dtype, part, progress)
            os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(weights: Weights, module: Any, dtype: torch.dtype, part: Path, progress: ProgressCallback) -> None:
    source = _opened(weights)
    shards = _Shards(part)
    try:
        for number, name, tensor in source.read(module, dtype):
            progress(Progress("convert", number, len(source)))
            shards.add(name, tensor)
    except (ValueError, NotImplementedError, IndexError, KeyError) as error:  # what readers raise for a damaged file
        raise _unreadable(weights, error) from error
    finally:
        shards.close()
    module.config.save_pretrained(part)
    shards.write_index()
    progress(Progress("convert", len(source), len(source)))


def _opened(weights: Weights) -> GgufTensors:
    try:
        source = GgufTensors(weights.files[0])
    except (ValueError, IndexError, KeyError) as error:
        raise _unreadable(weights, error) from error
    if not source.is_known:
        raise whole_only(weights.name, source.architecture)
    return source


def _unreadable(weights: Weights, error: Exception) -> ModelError:
    text = " ".join(str(error).split())[:160]
    return damaged(str(weights.gguf_file), weights.name, text)


def _need_room(weights: Weights, module: Any, dtype: torch.dtype, place: Path) -> None:
    n_bytes = sum(p.numel() for p in module.parameters()) * dtype.itemsize
    n_bytes += (1 + n_bytes // SHARD_BYTES) * HEADER_BYTES
    require_room(n_bytes * 1.02, place, free_some("WORKDIM_CACHE"))


class _Shards:
    """Writes safetensors files tensor by tensor, and the index that names them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stream: BinaryIO | None = None
        self._entries: dict[str, Any] = {}
        self._size = 0
        self._weight_map: dict[str, str] = {}
        self._n_files = 0

    def add(self, name: str, tensor: torch.Tensor) -> None:
        if self._stream is None:
            self._begin()
        assert self._stream
        n_bytes = tensor.numel() * tensor.element_size()
        self._entries[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [self._size, self._size + n_bytes],
        }
        self._weight_map[name] = f"model-{self._n_files:05d}.safetensors"
        self._stream.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
        self._size += n_bytes
        if self._size >= SHARD_BYTES or len(self._entries) >= MAX_ENTRIES:
            self.close()

    def _begin(self) -> None:
        self._n_files += 1
        self._stream = (self._folder / f"model-{self._n_files:05d}.safetensors").open("wb")
        self._stream.seek(8 + HEADER_BYTES)
        self._entries, self._size = {"__metadata__": {"format": "pt"}}, 0

    def close(self) -> None:
        """Write the table at the head of the file, padded with spaces as the format allows, and close the file."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        with stream:
            table = json.dumps(self._entries, separators=(",", ":")).encode().ljust(HEADER_BYTES)
            stream.seek(0)
            stream.write(len(table).to_bytes(8, "little") + table)
            stream.flush()
            os.fsync(stream.fileno())

    def write_index(self) -> None:
        index = {"metadata": {}, "weight_map": self._weight_map}
        (self._folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")


ROWS = 1024
"""Rows of a matrix that are dequantised at once."""


class GgufTensors:
    """The weights of a GGUF file under the names that transformers gives them, read one at a time.

    transformers itself dequantises a whole file before it places a tensor. Its rules for each architecture (names, rows
    that llama.cpp reorders, stacked experts) are used here, so that the weights are the same bit for bit.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = GGUFReader(path)
        self.architecture = str(read_field(self._reader, "general.architecture")[0])

    @property
    def is_known(self) -> bool:
        """Whether tensors can be read one at a time.

        A few architectures use a newer loader of transformers, which converts them inside the network.
        """
        return not is_gguf_arch_supported(self.architecture)

    def __len__(self) -> int:
        return len(self._reader.tensors)

    def read(self, module: Any, dtype: torch.dtype) -> Iterator[tuple[int, str, torch.Tensor]]:
        """Number of each tensor in the file, its name in `module` and its values; tensors not in `module` are left out.

        If the file stores experts separately, those of one block are held until they are complete.
        """
        settings = load_gguf_checkpoint(str(self._path))["config"]
        processor = TENSOR_PROCESSORS.get(self.architecture, TensorProcessor)(config=settings)
        names = get_gguf_hf_weights_map(module, processor)
        expected = Counter(names.values())
        tied = set(module.all_tied_weights_keys)  # a tied embedding may be stored twice, and is one matrix
        stacked: dict[str, torch.Tensor] = {}
        for number, tensor in enumerate(self._reader.tensors):
            processed = processor.process(
                weights=_dequantised(tensor),
                name=tensor.name,
                tensor_key_mapping=names,
                parsed_parameters={"tensors": stacked},
            )
            if processed.name in names and names[processed.name] not in tied:
                yield number, names[processed.name], _as_tensor(processed.weights, dtype)
            expected[names.get(tensor.name) or names.get(tensor.name.removesuffix(".weight"), "")] -= 1
            for name in [name for name in stacked if expected[name] <= 0]:
                yield number, name, stacked.pop(name).to(dtype)


def _dequantised(tensor: ReaderTensor) -> np.ndarray:
    """Dequantise a tensor in slices: for some types, the formulas need ten temporary arrays as large as their input."""
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
