"""Weights from the model hub: from the local cache first, and a quick word where the hub cannot be reached."""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import ModelError
from core.measure.hub_errors import hub_errors
from core.measure.network import ANSWER_PATIENCE, require_hub
from core.measure.weights import (
    INDEX,
    KEPT,
    SINGLE,
    WEIGHTS,
    Weights,
    has_safetensors,
    named_shards,
    no_configuration,
    no_weights,
    only_gguf,
)


def from_hub(repository: str, revision: str) -> Weights:
    """Raises ModelError or ResourceError; nothing is fetched of a model that would be refused for its configuration."""
    found = in_cache(repository, revision)
    if found:
        return found
    info = hub_info(repository, revision)
    from huggingface_hub import hf_hub_download, snapshot_download

    def fetch(name: str) -> Path:
        return Path(hf_hub_download(repository, name, revision=info.sha))

    with hub_errors(repository, revision):
        wanted = wanted_files(repository, [file.rfilename for file in info.siblings or []], fetch)
        if not any(name.endswith(".gguf") for name in wanted):
            _check_configuration(repository, info.sha)
        # By the name that was asked for: only then can the cache answer for it without a hub.
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=list(map(glob.escape, wanted)))
    return _hub_weights(repository, Path(folder), info.card_data.license if info.card_data else None)


def in_cache(repository: str, revision: str) -> Weights | None:
    """None where the model is not there, or not whole; raises ModelError for what cannot be the name of one."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    from core.measure.tokenizer_files import has_tokenizer

    # The hub's client remembers what else the repository holds, and would miss it. Weights are looked for below.
    small = [f"*{suffix}" for suffix in KEPT if suffix not in WEIGHTS]
    with hub_errors(repository, revision):
        try:
            folder = Path(
                snapshot_download(
                    repository,
                    revision=revision or None,
                    local_files_only=True,
                    allow_patterns=small,
                    ignore_patterns="*/*",
                )
            )
            weights = _hub_weights(repository, folder, None)
            is_told = weights.gguf_file or ((folder / "config.json").is_file() and has_tokenizer(folder))
            return weights if is_told and all(path.is_file() for path in weights.files) else None
        except (LocalEntryNotFoundError, FileNotFoundError, ModelError):
            return None


def hub_info(repository: str, revision: str) -> Any:
    """What the hub says of a model, with the sizes of its files; raises ModelError or ResourceError."""
    require_hub(repository)
    from huggingface_hub import HfApi

    with hub_errors(repository, revision):
        return HfApi().model_info(repository, revision=revision or None, timeout=ANSWER_PATIENCE, files_metadata=True)


def wanted_files(repository: str, names: list[str], fetch: Callable[[str], Path]) -> list[str]:
    """Those of a repository's files that a measurement fetches: the weights that are loaded, and all small files.

    Subfolders hold other models, other formats and data. `fetch` gets the index of the weights, where there is one.
    Raises ModelError where the files make no model.
    """
    top = [name for name in names if "/" not in name]
    small = [name for name in top if name.endswith(KEPT) and not name.endswith(WEIGHTS)]
    if INDEX in top or SINGLE in top:
        if "config.json" not in top:
            raise no_configuration(repository)
        return [*small, *(named_shards(fetch(INDEX), repository) if INDEX in top else [SINGLE])]
    ggufs = [name for name in top if name.endswith(".gguf")]
    if len(ggufs) > 1:
        raise ModelError(f"{repository} holds {len(ggufs)} GGUF files; download one and name the file: {ggufs[0]}, ...")
    if not ggufs:
        raise _no_loadable(repository, names)
    return [*small, *ggufs]


def _no_loadable(repository: str, names: list[str]) -> ModelError:
    others = [name for name in names if name.endswith(WEIGHTS)]
    if not others:
        return no_weights(f"{repository} (hub)", names)
    return ModelError(
        f"{repository} holds {others[0]}, and at its top neither {SINGLE} nor a GGUF file. Download what you mean, and "
        "name its folder or its file."
    )


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
    return Weights(
        folder, gguf_file, repository, folder.name, repository.partition("/")[2], repository, licence=licence
    )
