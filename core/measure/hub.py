"""Weights from the model hub: from the local cache first, and a quick word where the hub cannot be reached."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any

from core.errors import ModelError
from core.measure.hub_errors import hub_errors
from core.measure.network import ANSWER_PATIENCE, require_hub
from core.measure.weights import KEPT, Weights, has_safetensors, no_configuration, no_weights, only_gguf


def from_hub(repository: str, revision: str) -> Weights:
    """Raises ModelError or ResourceError; nothing is fetched of a model that would be refused for its configuration."""
    found = in_cache(repository, revision)
    if found:
        return found
    info = hub_info(repository, revision)
    wanted = wanted_files(repository, [file.rfilename for file in info.siblings or []])
    from huggingface_hub import snapshot_download

    with hub_errors(repository, revision):
        if not any(name.endswith(".gguf") for name in wanted):
            _check_configuration(repository, info.sha)
        # By the name that was asked for: only then can the cache answer for it without a hub.
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=list(map(glob.escape, wanted)))
    return _hub_weights(repository, Path(folder), info.card_data.license if info.card_data else None)


def in_cache(repository: str, revision: str) -> Weights | None:
    """None where the model is not there, or not whole; raises ModelError for what cannot be the name of one."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    # The hub's client remembers what else the repository holds, and would miss it. A GGUF file is looked for below.
    needed = [f"*{suffix}" for suffix in KEPT if suffix != ".gguf"]
    with hub_errors(repository, revision):
        try:
            folder = Path(
                snapshot_download(repository, revision=revision or None, local_files_only=True, allow_patterns=needed)
            )
            weights = _hub_weights(repository, folder, None)
            return weights if all(path.is_file() for path in weights.files) else None
        except (LocalEntryNotFoundError, FileNotFoundError, ModelError):
            return None


def hub_info(repository: str, revision: str) -> Any:
    """What the hub says of a model, with the sizes of its files; raises ModelError or ResourceError."""
    require_hub(repository)
    from huggingface_hub import HfApi

    with hub_errors(repository, revision):
        return HfApi().model_info(repository, revision=revision or None, timeout=ANSWER_PATIENCE, files_metadata=True)


def wanted_files(repository: str, names: list[str]) -> list[str]:
    """Those of a repository's files that a measurement fetches; raises ModelError where they make no model."""
    kept = [name for name in names if name.endswith(KEPT)]
    ggufs = [name for name in kept if name.endswith(".gguf")]
    if any(name.endswith(".safetensors") for name in kept):
        if "config.json" not in kept:
            raise no_configuration(repository)
        return [name for name in kept if name not in ggufs]  # the same weights again
    if len(ggufs) > 1:
        raise ModelError(f"{repository} holds {len(ggufs)} GGUF files; download one and name the file: {ggufs[0]}, ...")
    if not ggufs:
        raise no_weights(f"{repository} (hub)", names)
    return kept


def _check_configuration(repository: str, revision: str) -> None:
    """An architecture that is unknown, brings its own code, or is quantised beyond use: refused before the weights."""
    from huggingface_hub import hf_hub_download

    from core.measure.loading import read_config
    from core.measure.quantised import check_quantisation

    path = Path(hf_hub_download(repository, "config.json", revision=revision))
    name = repository.partition("/")[2]
    check_quantisation(read_config(Weights(path.parent, None, repository, path.parent.name, name, repository)), name)


def _hub_weights(repository: str, folder: Path, licence: str | None) -> Weights:
    gguf_file = None if has_safetensors(folder) else only_gguf(folder, repository)
    return Weights(folder, gguf_file, repository, folder.name, repository.partition("/")[2], repository,
                   licence=licence)  # fmt: skip
