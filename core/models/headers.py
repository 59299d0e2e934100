"""What the first bytes of a weight file say: the number format of its weights, and the licence if it names one."""

from __future__ import annotations

import math
import struct
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

from gguf import LlamaFileType
from safetensors import safe_open

from core.errors import ModelError
from core.models.weights import Weights

_SCALARS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "?", 10: "<Q", 11: "<q", 12: "<d"}
"""GGUF's numbers for types of fixed size, as `struct` writes them."""
_STRING, _LIST = 8, 9


def stored_dtype(weights: Weights) -> str | None:
    """`float32`, `bfloat16`, `Q4_1` and so on, of most numbers; None where a header does not say."""
    if weights.gguf_file:
        return _gguf_dtype(weights.folder / weights.gguf_file)
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
    """The dtype that most numbers have, from safetensors' names: `BF16` -> `bfloat16`."""
    if not numbers:
        return None
    most = max(numbers, key=lambda name: numbers[name])
    return {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}.get(most, most)


def _gguf_dtype(path: Path) -> str | None:
    number = gguf_entries(path).get("general.file_type", -1)
    try:
        return LlamaFileType(number).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    except ValueError:
        return None


def gguf_entries(path: Path) -> dict[str, Any]:
    """The entries of a GGUF header, lists left out, and `n_tensors`; raises ModelError where the file is none, breaks off, or names
    lengths beyond its own, of which other readers would take memory without end."""
    found: dict[str, Any] = {}
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            if stream.read(4) != b"GGUF":
                raise ModelError(f"{path.name} is not a GGUF file, or is damaged. Download it again.")
            _version, n_tensors, n_entries = struct.unpack("<IQQ", stream.read(20))
            for _ in range(_length(n_entries, size)):
                key, kind = _string(stream, size), _number(stream, "<I")
                if kind == _LIST:
                    _pass_over(stream, size)
                else:
                    found[key] = _string(stream, size) if kind == _STRING else _number(stream, _SCALARS[kind])
            _length(stream.tell(), size)
            found["n_tensors"] = _length(n_tensors, size)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    except (struct.error, KeyError) as error:
        raise ModelError(f"{path.name} cannot be read: the file is damaged. Download it again.") from error
    return found


def _pass_over(stream: BinaryIO, size: int) -> None:
    kind, count = _number(stream, "<I"), _length(_number(stream, "<Q"), size)
    if kind in _SCALARS:
        stream.seek(struct.calcsize(_SCALARS[kind]) * count, 1)
        return
    for _ in range(count):  # a vocabulary: a tenth of a second
        stream.seek(_length(_number(stream, "<Q"), size), 1)


def _number(stream: BinaryIO, form: str) -> Any:
    return struct.unpack(form, stream.read(struct.calcsize(form)))[0]


def _string(stream: BinaryIO, size: int) -> str:
    return stream.read(_length(_number(stream, "<Q"), size)).decode("utf-8", "replace")


def _length(length: int, size: int) -> int:
    """A length, which is that of a damaged file where it is beyond the file's own."""
    if length > size:
        raise struct.error("a length beyond the end of the file")
    return length
