"""Weights from the model hub: from the local cache first, and a quick word where the hub cannot be reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.errors import ModelError
from core.measure.hub_errors import hub_errors
from core.measure.network import ANSWER_PATIENCE, require_hub
from core.measure.weights import KEPT, Weights, has_safetensors, no_weights, only_gguf

_require_hub = require_hub


def from_hub(repository: str, revision: str) -> Weights:
    """Raises ModelError or ResourceError; nothing is fetched of a model that would be refused for its configuration."""
    found = _in_cache(repository, revision)
    if found:
        return found
    require_hub(repository)
    from huggingface_hub import HfApi, snapshot_download

    with hub_errors(repository, revision):
        info = HfApi().model_info(repository, revision=revision or None, timeout=ANSWER_PATIENCE)
        wanted = _wanted(repository, [file.rfilename for file in info.siblings or []])
        if "*.gguf" not in wanted:
            _check_configuration(repository, info)
        # By the name that was asked for: only then can the cache answer for it without a hub.
        folder = Path(snapshot_download(repository, revision=revision or None, allow_patterns=wanted))
    return _hub_weights(repository, folder, info.card_data.license if info.card_data else None)


def _in_cache(repository: str, revision: str) -> Weights | None:
    """None where the model is not there, or not whole."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
        weights = _hub_weights(repository, folder, None)
        return weights if all(path.is_file() for path in weights.files) else None
    except (LocalEntryNotFoundError, FileNotFoundError, ModelError):
        return None
    except HFValidationError as error:
        raise ModelError(f"'{repository}' is not the name of a model on the hub: {error}") from error


def _wanted(repository: str, names: list[str]) -> list[str]:
    """Patterns of the files worth having; raises ModelError where no weights can be read."""
    wanted = [f"*{suffix}" for suffix in KEPT]
    ggufs = [name for name in names if name.endswith(".gguf")]
    if any(name.endswith(".safetensors") for name in names):
        wanted.remove("*.gguf")  # the same weights again
    elif len(ggufs) > 1:
        raise ModelError(f"{repository} holds {len(ggufs)} GGUF files; download one and name the file: {ggufs[0]}, ...")
    elif not ggufs:
        raise no_weights(f"{repository} (hub)", names)
    return wanted


def _check_configuration(repository: str, info: Any) -> None:
    """An architecture that is unknown, brings its own code, or is quantised beyond use: refused before the weights."""
    from huggingface_hub import hf_hub_download

    from core.measure.loading import read_config
    from core.measure.quantised import check_quantisation

    if not any(file.rfilename == "config.json" for file in info.siblings or []):
        raise ModelError(f"{repository} holds weights but no config.json, so their architecture is unknown.")
    path = Path(hf_hub_download(repository, "config.json", revision=info.sha))
    name = repository.partition("/")[2]
    check_quantisation(read_config(Weights(path.parent, None, repository, path.parent.name, name, repository)), name)


def _hub_weights(repository: str, folder: Path, licence: str | None) -> Weights:
    gguf_file = None if has_safetensors(folder) else only_gguf(folder, repository)
    return Weights(folder, gguf_file, repository, folder.name, repository.partition("/")[2], repository,
                   licence=licence)  # fmt: skip
