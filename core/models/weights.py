"""Weights on this disk: which files they are, and the number format and licence in the files' headers."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import re
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from gguf import GGUFReader, LlamaFileType
from safetensors import safe_open

from core.errors import ModelError, ResourceError, Sentence
from core.files import read_json, refusing

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
KEPT = (".safetensors", ".gguf", ".json", ".txt", ".model", ".spm", ".codes", ".tiktoken", ".jinja")
"""Files that are used: weights, configuration and tokenizer, but nothing that Python could run."""
WEIGHTS = (".safetensors", ".gguf")
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
"""A single file with all weights, or the index that names their files."""


@dataclass(frozen=True)
class Weights:
    """Weights on this disk, and their origin."""

    folder: Path
    gguf_file: str | None
    reference: str
    revision: str
    name: str
    repository: str | None = None
    base_repository: str | None = None
    base_relation: str | None = None
    licence: str | None = None

    @property
    def files(self) -> list[Path]:
        """Exactly the files that are loaded: the GGUF file, the shards of the index, or the one safetensors file.

        Raises ModelError if shards are missing.
        """
        if self.gguf_file:
            return [self.folder / self.gguf_file]
        index = self.folder / INDEX
        if not index.is_file():
            return [self.folder / SINGLE]
        shards = named_shards(index, self.name)
        missing = [shard for shard in shards if not (self.folder / shard).is_file()]
        if missing:
            raise damaged(THE_WEIGHTS, self.name, Sentence("{missing} is missing", missing=missing))
        return [self.folder / shard for shard in shards]

    @property
    def n_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files)

    @property
    def sha256(self) -> str:
        return hash_files(self.files)


@dataclass(frozen=True)
class UnreadWeights(Weights):
    """Weights that are described without reading or downloading them."""

    n_bytes: int = 0
    sha256: str = ""
    """Empty: not known."""
    is_here: bool = True

    @property
    def files(self) -> list[Path]:
        return super().files if self.is_here else []


def as_unread(weights: Weights) -> UnreadWeights:
    """The same weights, whose files are on this disk, without reading their contents."""
    return UnreadWeights(**vars(weights), n_bytes=weights.n_bytes)


def has_safetensors(folder: Path) -> bool:
    """Whether the folder has weights under the names that transformers loads."""
    return (folder / SINGLE).is_file() or (folder / INDEX).is_file()


def named_shards(index: Path, name: str) -> list[str]:
    """The weight files that an index names, sorted; raises ModelError if it is damaged or names other files."""
    try:
        shards = sorted(set(read_json(index)["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        raise damaged(index.name, name, error) from error
    strange = [shard for shard in shards if not re.fullmatch(r"[\w.-]+\.safetensors", shard)]
    if strange:  # an index can point at pickles, or out of the folder
        raise damaged(index.name, name, Sentence("it names {strange}", strange=strange[0]))
    return shards


def only_gguf(names: list[str], where: str) -> str | None:
    """The GGUF file among these names; None if there is none. Raises ModelError for several: the user must choose."""
    ggufs = sorted(name for name in names if name.endswith(".gguf"))
    if len(ggufs) > 1:
        raise ModelError("{where} holds several GGUF files. Name the path of one: {names}.", where=where, names=ggufs)
    return ggufs[0] if ggufs else None


def whole_only(model: str, kind: str | None) -> ResourceError:
    """The error for weights that exceed the memory and cannot be read block by block."""
    return ResourceError(
        "{model} ({kind}) must be loaded whole, and exceeds the memory allowed. Raise --memory-budget, or take its "
        "unquantised safetensors.",
        model=model,
        kind=kind,
    )


def hash_files(files: list[Path]) -> str:
    """One SHA-256 over the contents of the files, in order; cached while no file changes."""
    stamps = [(path, path.stat()) for path in files]
    return _hash(tuple((path, stamp.st_size, stamp.st_mtime_ns) for path, stamp in stamps))


@functools.lru_cache(maxsize=64)
def _hash(stamped: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _size, _changed in stamped:
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def damaged(what: str, model: str, reason: object) -> ModelError:
    """The error for files that cannot be what their publisher meant: which, of what model, and what is wrong."""
    return ModelError(
        "{what} of {model} cannot be used ({reason}). Download it again.", what=what, model=model, reason=reason
    )


ANOTHER_MODEL = Sentence("Choose another model.")
THE_TOKENIZER, THE_WEIGHTS = Sentence("The tokenizer"), Sentence("The weights")
"""What of a model may be `damaged`."""


def not_measured(model: str, reason: object, remedy: str = ANOTHER_MODEL) -> ModelError:
    """The error for a model that is sound and of a sort that is not measured."""
    return ModelError("{model} cannot be measured: {reason}. {remedy}", model=model, reason=reason, remedy=remedy)


def no_weights_error(where: str, names: list[str]) -> ModelError:
    pickled = [name for name in names if name.lower().endswith(PICKLED)]
    if pickled:
        return ModelError(
            "{where} has only {pickled}, which can run code. Convert it to safetensors or GGUF.",
            where=where,
            pickled=pickled[0],
        )
    return ModelError("{where} holds no weights (.safetensors or .gguf).", where=where)


def no_configuration_error(where: str) -> ModelError:
    return ModelError("{where} has no config.json. Add it.", where=where)


_SCALARS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "?", 10: "<Q", 11: "<q", 12: "<d"}
"""GGUF's type numbers of fixed size -> format of `struct`."""
_STRING, _LIST = 8, 9


def stored_dtype(weights: Weights) -> str | None:
    """The dtype of most numbers: `float32`, `bfloat16`, `Q4_1` and so on; None if a header does not say."""
    if weights.gguf_file:
        number = gguf_entries(weights.folder / weights.gguf_file).get("general.file_type", -1)
        types = {one.value: one.name.removeprefix("MOSTLY_").removeprefix("ALL_") for one in LlamaFileType}
        return types.get(number)
    numbers: Counter[str] = Counter()
    for path in weights.files:
        for _, dtype, shape in safetensors_entries(path):
            numbers[dtype] += math.prod(shape)
    return named(numbers)


def safetensors_entries(path: Path) -> list[tuple[str, str, list[int]]]:
    """Name, dtype and shape of each tensor; raises SafetensorError or OSError."""
    with safe_open(path, framework="pt") as stream:
        parts = {name: stream.get_slice(name) for name in list(stream.keys())}
        return [(name, part.get_dtype(), part.get_shape()) for name, part in parts.items()]


def named(numbers: dict[str, int]) -> str | None:
    """The most frequent dtype, from counts by safetensors' names: `BF16` -> `bfloat16`."""
    if not numbers:
        return None
    most = max(numbers, key=lambda name: numbers[name])
    return {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}.get(most, most)


def gguf_entries(path: Path) -> dict[str, Any]:
    """The entries of a GGUF header without lists, and `n_tensors`.

    Raises ModelError if the file is not GGUF, is cut off, or states lengths beyond its own size, for which other
    readers would allocate memory without limit.
    """
    entries: dict[str, Any] = {}
    readable = refusing(ModelError, "{path} cannot be read: {reason}. Check its permissions.", path=path)
    try:
        with readable, path.open("rb") as stream:
            size = path.stat().st_size
            if stream.read(4) != b"GGUF":
                raise damaged(path.name, str(path.parent), Sentence("no GGUF file"))
            _version, n_tensors, n_entries = struct.unpack("<IQQ", stream.read(20))
            for _ in range(_length(n_entries, size)):
                key, kind = _string(stream, size), _number(stream, "<I")
                if kind == _LIST:
                    of_items, count = _number(stream, "<I"), _length(_number(stream, "<Q"), size)
                    if of_items in _SCALARS:
                        stream.seek(struct.calcsize(_SCALARS[of_items]) * count, 1)
                    else:
                        for _item in range(count):  # for a vocabulary, this takes a tenth of a second
                            stream.seek(_length(_number(stream, "<Q"), size), 1)
                else:
                    entries[key] = _string(stream, size) if kind == _STRING else _number(stream, _SCALARS[kind])
            _length(stream.tell(), size)
            entries["n_tensors"] = _length(n_tensors, size)
    except (struct.error, KeyError) as error:
        raise damaged(path.name, str(path.parent), error) from error
    return entries


def gguf_reader(path: Path | str) -> GGUFReader:
    """The parsed header of a GGUF file, which takes seconds for a vocabulary: kept until another file is read or
    `forget_gguf` is called, as configuration, tokenizer and weights are read one after the other."""
    stamp = os.stat(path)
    return _gguf_reader(str(path), stamp.st_size, stamp.st_mtime_ns)


class _PlainReader(GGUFReader):
    """Slices of a memmap make an object of its class each, half of the time that a vocabulary takes."""

    @property  # type: ignore[override]
    def data(self) -> np.ndarray:
        return self._plain

    @data.setter
    def data(self, mapped: np.ndarray) -> None:
        self._plain = mapped.view(np.ndarray)  # of the same mapped pages


@functools.lru_cache(maxsize=1)
def _gguf_reader(path: str, _size: int, _changed: int) -> GGUFReader:
    return _PlainReader(path)


forget_gguf = _gguf_reader.cache_clear


def stores_embedding_twice(path: Path) -> bool:
    """Whether a GGUF file holds the tied embedding a second time as its output matrix: one matrix of the network.

    transformers takes any output matrix for one of its own.
    """
    stored = {tensor.name: tensor for tensor in gguf_reader(path).tensors}
    embedding, output = stored.get("token_embd.weight"), stored.get("output.weight")
    if embedding is None or output is None or embedding.tensor_type != output.tensor_type:
        return False
    return np.array_equal(embedding.data.view(np.uint8), output.data.view(np.uint8))


def _number(stream: BinaryIO, form: str) -> Any:
    return struct.unpack(form, stream.read(struct.calcsize(form)))[0]


def _string(stream: BinaryIO, size: int) -> str:
    return stream.read(_length(_number(stream, "<Q"), size)).decode("utf-8", "replace")


def _length(length: int, size: int) -> int:
    """Check a length from the file: one beyond the file's own size means damage. Raises struct.error."""
    if length > size:
        raise struct.error("a length beyond the end of the file")
    return length
