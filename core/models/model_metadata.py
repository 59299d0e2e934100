"""Find and describe a model before it is downloaded: on this disk, on the hub, or in a package of an index."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ModelError, ResourceError, Sentence
from core.models.hub import find_in_cache, gated, hub_errors, hub_info, hub_name, local_weights, wanted_files
from core.models.loading import check_files
from core.models.packages import (
    PackageRequest,
    package_in_cache,
    package_index,
    pip_failed,
    read_request,
    run_pip,
    terms_before_fetching,
)
from core.models.tokenizer_files import has_tokenizer
from core.models.weights import INDEX, WEIGHTS, UnreadWeights, Weights, as_unread, gguf_entries, named, stored_dtype

PACKAGE = "pypi:"
INDEX_PATIENCE = 60.0
"""Seconds to wait for pip to get all its answers from an index."""


@dataclass(frozen=True)
class ModelMetadata:
    """What is known about a model without downloading it or reading its weights."""

    where: str
    """`here`, `hub` or `package`."""
    weights: UnreadWeights | None
    """None if the configuration is known only after the download."""
    download_bytes: int | None
    """0 if the model is on this disk; None if unknown."""
    stored_dtype: str | None = None
    licence: str | None = None
    parameters: int | None = None
    has_tokenizer: bool = True
    notes: tuple[str, ...] = ()


def find_local_weights(reference: str) -> Weights | None:
    """The weights if nothing needs to be downloaded, else None. A local model does not have its content id yet.

    Raises ModelError for an invalid reference, and for files that cannot be measured.
    """
    if reference.startswith(PACKAGE):
        return package_in_cache(read_request(reference.removeprefix(PACKAGE)))
    return local_weights(reference) or find_in_cache(*hub_name(reference))


@contextmanager
def find_model(reference: str) -> Iterator[ModelMetadata]:
    """Find a model. The few small files that are downloaded to describe it are deleted at the end.

    Raises ModelError or ResourceError as `find_weights` does, but downloads no weights.
    """
    weights = find_local_weights(reference)
    if weights:
        yield local_metadata(weights)
        return
    if reference.startswith(PACKAGE):
        yield _in_package(read_request(reference.removeprefix(PACKAGE)))
        return
    with _open_hub_metadata(*hub_name(reference)) as model:
        yield model


def local_metadata(weights: Weights) -> ModelMetadata:
    check_files(weights)
    licence = weights.licence
    if licence is None and weights.gguf_file:
        licence = gguf_entries(weights.folder / weights.gguf_file).get("general.license")
    return ModelMetadata("here", as_unread(weights), 0, stored_dtype(weights), licence)


def known_after_download(what: str) -> Sentence:
    return Sentence("What {what} holds is known after the download only.", what=what)


def _in_package(request: PackageRequest) -> ModelMetadata:
    """What the package index says without a download: whether it has the package, and in which version.

    `pip install --dry-run` would say more, but downloads the whole package if the index has no separate metadata.
    Of a model that is joined from the packages of others, its first part answers. Raises ResourceError if the index cannot be
    reached or does not answer.
    """
    name, version = request.name, request.version
    if request.pinned and request.pinned.parts:
        name, _, version = request.pinned.parts[0][0].partition("==")
    _, reason = package_index()
    if reason:
        raise ResourceError(
            "{requirement} is missing. {reason} Connect, or set pip's index or proxy.",
            requirement=request.requirement,
            reason=reason,
        )
    options = ("--no-input", "--disable-pip-version-check", "--timeout", "10", "--retries", "0")
    try:
        done = run_pip("index", "versions", *options, name, timeout=INDEX_PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise ResourceError(
            "The package index has not answered about {request} within {index_patience:g} seconds. Try later.",
            request=request.name,
            index_patience=INDEX_PATIENCE,
        ) from error
    if done.returncode:
        raise pip_failed(request.requirement, done.stderr)
    versions = [line.partition(":")[2] for line in done.stdout.splitlines() if line.startswith("Available versions")]
    known = [version.strip() for version in "".join(versions).split(",")]
    if version and version not in known:
        raise ModelError(
            "The package index has {request} {known}, not {version}.", request=name, known=known[:5], version=version
        )
    newest = request.version or known[0]
    pinned = request.pinned
    note = known_after_download(f"pypi:{request.name} {newest}")
    terms = terms_before_fetching(f"{PACKAGE}{request.name}")
    return ModelMetadata(
        "package",
        None,
        pinned.n_bytes if pinned else None,
        licence=pinned.licence if pinned else None,
        notes=(note, *([terms] if pinned and terms else ())),
    )


SMALL = 4 * 2**20
"""Largest tokenizer, in bytes, that is downloaded to compare it with others; larger ones wait for the model."""


@contextmanager
def _open_hub_metadata(repository: str, revision: str) -> Iterator[ModelMetadata]:
    """Describe a model from the hub's metadata. The few small files that are downloaded are deleted at the end.

    Raises ResourceError if the hub cannot be reached, ModelError for a model that cannot be measured.
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
    """Download a file without touching the hub's cache."""
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repository, name, revision=revision, local_dir=folder))


def _small(chosen: list[str], sizes: dict[str, int | None]) -> list[str]:
    """Names of the configuration and, if they are small, of the tokenizer's files, whatever these are called."""
    others = [name for name in chosen if name not in ("config.json", INDEX) and not name.endswith(WEIGHTS)]
    is_small = sum(sizes[name] or 0 for name in others) <= SMALL
    return [name for name in ("config.json", *(others if is_small else ())) if name in sizes]


def _described(
    repository: str, info: Any, sizes: dict[str, int | None], chosen: list[str], folder: Path
) -> ModelMetadata:
    known = [sizes.get(name) for name in chosen]
    weight_files = [name for name in chosen if name.endswith(WEIGHTS)]
    is_gguf = all(name.endswith(".gguf") for name in weight_files)
    counts = info.safetensors.parameters if info.safetensors else {}
    total = info.safetensors.total if info.safetensors else (info.gguf or {}).get("total")
    licence = info.card_data.license if info.card_data else None
    weights = UnreadWeights(
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
        notes.append(gated(repository))
    if any(size is None for size in known):
        notes.append(Sentence("The hub does not tell the sizes of all files."))
    if is_gguf:  # which contains the configuration
        what = known_after_download(weights.name)
        notes.append(what)
    return ModelMetadata(
        "hub",
        None if is_gguf else weights,
        None if None in known else sum(size or 0 for size in known),
        named(counts),
        licence,
        total,
        has_tokenizer(folder),
        tuple(notes),
    )
