"""What the model hub says of a model before it is fetched: files with their sizes, configuration, licence, gate."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import ModelError, ResourceError
from core.measure.headers import named
from core.measure.hub import _hub_weights, _require_hub
from core.measure.weights import KEPT, Unread, Weights, no_weights

SMALL = 4 * 2**20
"""Bytes of a tokenizer that are fetched to be told apart from others; larger vocabularies wait for the download."""
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json",
             "merges.txt", "tokenizer.model")  # fmt: skip
PATIENCE = 20.0
"""Seconds that one answer of the hub may take."""


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


def in_cache(repository: str, revision: str) -> Weights | None:
    """The weights of a hub model that is complete in the local cache; None otherwise."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
        weights = _hub_weights(repository, folder, None)
        return weights if all(path.is_file() for path in weights.files) else None
    except HFValidationError as error:
        raise ModelError(f"'{repository}' is not the name of a model on the hub: {error}") from error
    except (LocalEntryNotFoundError, FileNotFoundError, ModelError):
        return None


@contextmanager
def asked_of_hub(repository: str, revision: str) -> Iterator[HubModel]:
    """What the hub says; the few small files that were fetched are gone at the end.

    Raises ResourceError where the hub cannot be reached, ModelError for what cannot be measured.
    """
    _require_hub(repository)
    info = _model_info(repository, revision)
    sizes = {file.rfilename: file.size for file in info.siblings or []}
    chosen = _wanted(repository, sizes)
    with tempfile.TemporaryDirectory(prefix="workdim-") as name:
        folder = Path(name)
        here = _fetch_small(repository, info.sha, sizes, folder)
        yield _described(repository, info, sizes, chosen, folder, here)


def _model_info(repository: str, revision: str) -> Any:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        return HfApi().model_info(repository, revision=revision or None, timeout=PATIENCE, files_metadata=True)
    except GatedRepoError as error:
        raise _gated(repository) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"The hub has no model {repository}, or it is gated. Check the name, or log in to it."
        ) from error
    except HfHubHTTPError as error:
        raise ModelError(f"The hub refused {repository}: {str(error).splitlines()[0]}") from error
    except Exception as error:  # the hub's client changes its transport, and with it what it raises
        raise ResourceError(
            f"Asking the hub for {repository} broke off ({type(error).__name__}). Try again."
        ) from error


def _gated(repository: str) -> ModelError:
    return ModelError(
        f"{repository} is gated: its owner gives access on request. Ask for it on the hub, then log in with your token "
        "(HF_TOKEN)."
    )


def _wanted(repository: str, sizes: dict[str, int | None]) -> list[str]:
    """The files that a measurement would fetch, as `from_hub` chooses them."""
    names = [name for name in sizes if name.lower().endswith(KEPT)]
    if any(name.endswith(".safetensors") for name in names):
        return [name for name in names if not name.endswith(".gguf")]
    ggufs = [name for name in names if name.endswith(".gguf")]
    if len(ggufs) > 1:
        raise ModelError(f"{repository} holds {len(ggufs)} GGUF files; download one and name the file: {ggufs[0]}, ...")
    if not ggufs:
        raise no_weights(f"{repository} (hub)", list(sizes))
    return names


def _fetch_small(repository: str, revision: str, sizes: dict[str, int | None], folder: Path) -> list[str]:
    """Configuration and, where it is small, tokenizer; returns the names of the files that are there now."""
    tokenizer = [name for name in TOKENIZER if name in sizes]
    is_small = sum(sizes[name] or 0 for name in tokenizer) <= SMALL
    wanted = [name for name in ("config.json", *(tokenizer if is_small else ())) if name in sizes]
    return [name for name in wanted if _fetch(repository, revision, name, folder)]


def _fetch(repository: str, revision: str, name: str, folder: Path) -> bool:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.errors import GatedRepoError
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(repository, name, revision=revision)
    try:
        answer = get_session().get(url, headers=build_hf_headers(), timeout=PATIENCE, follow_redirects=True)
        hf_raise_for_status(answer)
    except GatedRepoError as error:
        raise _gated(repository) from error
    except Exception as error:
        raise ResourceError(f"{name} of {repository} could not be read ({type(error).__name__}). Try again.") from error
    (folder / name).write_bytes(answer.content)
    return True


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
