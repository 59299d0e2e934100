"""Check what this machine offers for measuring: devices, memory, optional packages, a connection to the hub."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import psutil
import torch
from packaging.requirements import Requirement

from core.errors import InputError, Sentence
from core.files import PROJECT
from core.models.hub import hub_errors
from core.models.network import ask_within, proxy_of, route, why_no_connection
from core.models.packages import DEMO, PINNED, cache_folder

PATIENCE = 3.0
"""Seconds to wait for an answer from the hub."""
TOKENIZER_PACKAGES = (
    *("sentencepiece", "protobuf", "tiktoken", "mistral-common", "sacremoses"),
    *("fugashi", "ipadic", "unidic-lite", "SudachiPy", "rhoknp"),
)
QUANTISER_PACKAGES = ("bitsandbytes", "compressed-tensors")


def devices() -> list[str]:
    """Names of the devices with their memory, such as `cuda:0 (NVIDIA A10, 22.1 of 23.7 GB free)`."""
    memory = psutil.virtual_memory()
    names: list[str] = [
        Sentence(
            "cpu ({n} core, {free:.1f} of {total:.1f} GB free)",
            "cpu ({n} cores, {free:.1f} of {total:.1f} GB free)",
            n=os.cpu_count() or 1,
            free=memory.available / 1e9,
            total=memory.total / 1e9,
        )
    ]
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        names.append(
            Sentence(
                "cuda:{number} ({name}, {free:.1f} of {total:.1f} GB free)",
                number=number,
                name=torch.cuda.get_device_name(number),
                free=free / 1e9,
                total=total / 1e9,
            )
        )
    return names + ["mps"] * torch.backends.mps.is_available()


def installed(packages: tuple[str, ...]) -> dict[str, str | None]:
    """The version of each package; None if it is not installed."""
    return {package: _version(package) for package in packages}


def unmet_requirements() -> list[str]:
    """One line for each package of requirements-core.txt that is missing or has another version."""
    lines = (PROJECT / "requirements-core.txt").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line) for line in lines if line.strip() and not line.startswith(("#", "-"))]
    wanted = [requirement for requirement in wanted if requirement.marker is None or requirement.marker.evaluate()]
    unmet: list[str] = []
    for requirement in wanted:
        version = _version(requirement.name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            installed_version, wanted_version = (
                version or Sentence("missing"),
                str(requirement.specifier) or Sentence("any"),
            )
            unmet.append(
                Sentence(
                    "{name} is {there}, wanted is {wanted}",
                    name=requirement.name,
                    there=installed_version,
                    wanted=wanted_version,
                )
            )
    return unmet


def why_no_hub() -> str | None:
    """None if the hub answers; otherwise one line with the reason."""
    way = route()
    if way.offline:
        return Sentence("{setting} is set.", setting=way.offline)
    reason = why_no_connection(proxy_of(way.endpoint) or way.endpoint, PATIENCE)
    if not reason:
        return _why_no_answer(way.endpoint)
    return Sentence("{place} cannot be reached ({reason}).", place=way.words, reason=reason)


def _why_no_answer(endpoint: str) -> str | None:
    """None if the hub's own client gets an answer. It uses the same certificates and proxies as a download."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    late = Sentence(
        "{place} accepts connections but has not answered in {patience:g} seconds.", place=endpoint, patience=PATIENCE
    )

    def ask() -> str | None:
        try:
            with hub_errors("models"):
                code = get_session().head(constants.ENDPOINT, timeout=PATIENCE).status_code
        except InputError as error:
            return str(error)
        return None if code < 500 else Sentence("{place} answers with {code}.", place=endpoint, code=code)

    return ask_within(PATIENCE, ask, late)


def missing_demo_models() -> list[str]:
    """Models of the demo that are not in the cache."""
    folder = cache_folder() / "pypi"
    return [f"pypi:{name}" for name in DEMO if not (folder / name / PINNED[name].version).is_dir()]


def folder_bytes(folder: Path) -> int:
    """Bytes of the files in a folder, without following links; 0 if there is no such folder."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            total += path.lstat().st_size if path.exists() else 0
    return total


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
