"""The way to the package index, as pip has it in force."""

from __future__ import annotations

import os
import subprocess
import sys

from core.errors import ResourceError
from core.measure.network import proxy_of, shown, why_no_connection

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
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    lines = (line.partition("=")[::2] for line in done.stdout.splitlines())
    return {name.rpartition(".")[2]: value.strip("'\"") for name, value in lines}
