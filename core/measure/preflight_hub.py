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
from core.measure.tokenizer_files import has_tokenizer
from core.measure.weights import INDEX, WEIGHTS, Unread

SMALL = 4 * 2**20
"""Bytes of a tokenizer that are fetched to be told apart from others; larger vocabularies wait for the download."""


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
    with tempfile.TemporaryDirectory(prefix="workdim-") as place:
        folder = Path(place)

        def fetch(name: str) -> Path:
            return _fetch(repository, name, info.sha, folder)

        with hub_errors(repository, revision):
            chosen = wanted_files(repository, list(sizes), fetch)
            for small in _small(chosen, sizes):
                fetch(small)
        yield _described(repository, info, sizes, chosen, folder)


def _fetch(repository: str, name: str, revision: str, folder: Path) -> Path:
    """Past the hub's cache, which stays as it is."""
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repository, name, revision=revision, local_dir=folder))


def _small(chosen: list[str], sizes: dict[str, int | None]) -> list[str]:
    """Configuration and, where it is small, what belongs to the tokenizer, whatever its files are called."""
    others = [name for name in chosen if name not in ("config.json", INDEX) and not name.endswith(WEIGHTS)]
    is_small = sum(sizes[name] or 0 for name in others) <= SMALL
    return [name for name in ("config.json", *(others if is_small else ())) if name in sizes]


def _described(repository: str, info: Any, sizes: dict[str, int | None], chosen: list[str], folder: Path) -> HubModel:
    known = [sizes.get(name) for name in chosen]
    weight_files = [name for name in chosen if name.endswith(WEIGHTS)]
    is_gguf = all(name.endswith(".gguf") for name in weight_files)
    counts = info.safetensors.parameters if info.safetensors else {}
    total = info.safetensors.total if info.safetensors else (info.gguf or {}).get("total")
    licence = info.card_data.license if info.card_data else None
    weights = Unread(
        folder,
        weight_files[0] if is_gguf else None,
        repository,
        info.sha,
        repository.partition("/")[2],
        repository,
        licence=licence,
        n_bytes=sum(sizes.get(name) or 0 for name in weight_files),
        is_here=False,
    )
    notes = []
    if info.gated:
        notes.append(
            f"{repository} is gated ({info.gated}): its licence must be accepted on the hub before a download."
        )
    if any(size is None for size in known):
        notes.append("The hub does not tell the sizes of all files.")
    return HubModel(
        weights,
        total,
        named(counts),
        None if None in known else sum(size or 0 for size in known),
        has_tokenizer(folder),
        tuple(notes),
    )
