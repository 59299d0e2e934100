"""What the model hub says of a model before it is fetched: files with their sizes, configuration, licence, gate."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.measure.headers import named
from core.measure.hub import hub_info, wanted_files
from core.measure.hub_errors import hub_errors
from core.measure.weights import Unread

SMALL = 4 * 2**20
"""Bytes of a tokenizer that are fetched to be told apart from others; larger vocabularies wait for the download."""
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json",
             "merges.txt", "tokenizer.model")  # fmt: skip


@dataclass(frozen=True)
class HubModel:
    """A model of the hub that is not on this disk."""

    weights: Unread
    """In a folder that holds its configuration, and its tokenizer where that is small."""
    parameters: int | None
    """As the hub counts them."""
    stored_dtype: str | None
    download_bytes: int | None
    """Of all files that a measurement fetches."""
    has_tokenizer: bool
    notes: tuple[str, ...] = ()


@contextmanager
def asked_of_hub(repository: str, revision: str) -> Iterator[HubModel]:
    """What the hub says; the few small files that were fetched are gone at the end.

    Raises ResourceError where the hub cannot be reached, ModelError for what cannot be measured.
    """
    info = hub_info(repository, revision)
    sizes = {file.rfilename: file.size for file in info.siblings or []}
    chosen = wanted_files(repository, list(sizes))
    with tempfile.TemporaryDirectory(prefix="workdim-") as name:
        folder = Path(name)
        with hub_errors(repository, revision):
            here = _fetch_small(repository, info.sha, sizes, folder)
        yield _described(repository, info, sizes, chosen, folder, here)


def _fetch_small(repository: str, revision: str, sizes: dict[str, int | None], folder: Path) -> list[str]:
    """Configuration and, where it is small, tokenizer; returns the names of the files that are there now."""
    from huggingface_hub import hf_hub_download

    tokenizer = [name for name in TOKENIZER if name in sizes]
    is_small = sum(sizes[name] or 0 for name in tokenizer) <= SMALL
    wanted = [name for name in ("config.json", *(tokenizer if is_small else ())) if name in sizes]
    for name in wanted:
        hf_hub_download(repository, name, revision=revision, local_dir=folder)  # past the cache, which stays as it is
    return wanted


def _described(
    repository: str, info: Any, sizes: dict[str, int | None], chosen: list[str], folder: Path, here: list[str]
) -> HubModel:
    known = [sizes[name] for name in chosen]
    weight_files = [name for name in chosen if name.endswith((".safetensors", ".gguf"))]
    is_gguf = all(name.endswith(".gguf") for name in weight_files)
    counts = info.safetensors.parameters if info.safetensors else {}
    total = info.safetensors.total if info.safetensors else (info.gguf or {}).get("total")
    licence = info.card_data.license if info.card_data else None
    weights = Unread(
        folder, weight_files[0] if is_gguf else None, repository, info.sha, repository.partition("/")[2], repository,
        licence=licence, n_bytes=sum(sizes[name] or 0 for name in weight_files), is_here=False,
    )  # fmt: skip
    has_tokenizer = any(name in here for name in ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model"))
    notes = []
    if info.gated:
        notes.append(
            f"{repository} is gated ({info.gated}): its licence must be accepted on the hub before a download."
        )
    if any(size is None for size in known):
        notes.append("The hub does not tell the sizes of all files.")
    return HubModel(weights, total, named(counts), None if None in known else sum(size or 0 for size in known),
                    has_tokenizer, tuple(notes))  # fmt: skip
