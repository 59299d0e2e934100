"""Weights from the model hub: from the local cache first, and a quick word where the hub cannot be reached."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from pathlib import Path

from core.errors import ModelError, ResourceError
from core.measure.weights import KEPT, Weights, has_safetensors, no_weights, only_gguf

PATIENCE = 2.5
"""Seconds to wait for the hub before saying that it cannot be reached."""


def from_hub(repository: str, revision: str) -> Weights:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    wanted = [f"*{suffix}" for suffix in KEPT]
    try:
        folder = Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
        weights = _hub_weights(repository, folder, None)
        if weights.files[0].is_file():
            return weights
    except (LocalEntryNotFoundError, FileNotFoundError, ModelError):
        pass  # not here, or an interrupted download: fetch it (again)
    except HFValidationError as error:
        raise ModelError(f"'{repository}' is not the name of a model on the hub: {error}") from error
    _require_hub(repository)
    try:
        info = HfApi().model_info(repository, revision=revision or None, timeout=20)
        names = [file.rfilename for file in info.siblings or []]
        ggufs = [name for name in names if name.endswith(".gguf")]
        if any(name.endswith(".safetensors") for name in names):
            wanted.remove("*.gguf")  # the same weights again
        elif len(ggufs) > 1:
            raise ModelError(
                f"{repository} holds {len(ggufs)} GGUF files; download one and name the file: {ggufs[0]}, ..."
            )
        elif not ggufs:
            raise no_weights(f"{repository} (hub)", names)
        folder = Path(snapshot_download(repository, revision=info.sha, allow_patterns=wanted))
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"The hub has no model {repository}, or it is gated. Check the name, or log in to it."
        ) from error
    except HfHubHTTPError as error:
        raise ModelError(f"The hub refused {repository}: {str(error).splitlines()[0]}") from error
    except ModelError:
        raise
    except Exception as error:  # the hub's client changes its transport, and with it what it raises
        raise ResourceError(f"The download of {repository} broke off ({type(error).__name__}). Try again.") from error
    return _hub_weights(repository, folder, info.card_data.license if info.card_data else None)


def _hub_weights(repository: str, folder: Path, licence: str | None) -> Weights:
    gguf_file = None if has_safetensors(folder) else only_gguf(folder, repository)
    return Weights(folder, gguf_file, repository, folder.name, repository.partition("/")[2], repository,
                   licence=licence)  # fmt: skip


def _require_hub(repository: str) -> None:
    """Ask the hub for a sign of life, and give up within three seconds instead of after its client's retries."""
    from huggingface_hub import constants

    answer: list[bool] = []

    def knock() -> None:
        try:
            urllib.request.urlopen(
                urllib.request.Request(constants.ENDPOINT, method="HEAD", headers={"User-Agent": "workdim"}),
                timeout=PATIENCE,
            ).close()
            answer.append(True)
        except urllib.error.HTTPError:
            answer.append(True)  # it answered, if only to say no
        except (OSError, ValueError):
            answer.append(False)

    thread = threading.Thread(target=knock, daemon=True)  # name resolution has no timeout of its own
    thread.start()
    thread.join(PATIENCE)
    if not any(answer):
        raise ResourceError(
            f"{repository} is not in the local cache and the model hub at {constants.ENDPOINT} cannot be reached. "
            "Connect, or use a local folder, a .gguf file or a pypi: reference."
        )
