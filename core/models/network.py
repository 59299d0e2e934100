"""The connection to the model hub: address, proxy, certificates and offline setting from the environment."""

from __future__ import annotations

import os
import re
import socket
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from core.errors import ResourceError, Sentence

PATIENCE = 2.5
"""Seconds to wait for a direct connection to the hub before reporting that it cannot be reached."""
DETOUR_PATIENCE = 15.0
"""The same for a proxy or a mirror: it was set up on purpose, so it is more likely slow than absent."""
ANSWER_PATIENCE = 60.0
"""Seconds to wait for an answer once connected."""
HUB = "https://huggingface.co"
BUNDLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables for a company's certificates. The hub's client reads the first two, pip the third."""


@dataclass(frozen=True)
class Route:
    endpoint: str
    """Without user and password."""
    proxy: str | None
    """The proxy for this endpoint, without user and password; None without a proxy, or if NO_PROXY exempts it."""
    certificate: str | None
    """`VARIABLE=path`; None for the system's own certificates."""
    offline: str | None
    """The variable that forbids access to the hub; None if access is allowed."""

    @property
    def is_mirror(self) -> bool:
        return self.endpoint != HUB

    @property
    def words(self) -> str:
        """The endpoint and its proxy, for a message."""
        place = self.endpoint + (" (HF_ENDPOINT)" if self.is_mirror else "")
        return Sentence("{place} through the proxy {proxy}", place=place, proxy=self.proxy) if self.proxy else place


def route() -> Route:
    """The current route; raises ResourceError for certificates that do not exist and for invalid addresses."""
    from huggingface_hub import constants

    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    offline = next((name for name in names if os.environ.get(name)), names[0]) if constants.HF_HUB_OFFLINE else None
    endpoint = shown(constants.ENDPOINT, "HF_ENDPOINT")
    proxy = proxy_of(endpoint)
    return Route(endpoint, shown(proxy, "HTTPS_PROXY") if proxy else None, use_certificates(), offline)


def use_certificates() -> str | None:
    """Apply one certificate setting to all clients of this process and its children; return it as `VARIABLE=path`.

    The clients read different variables, so the one that is set is copied to the others. Raises ResourceError if the
    path does not exist.
    """
    name = next((name for name in BUNDLES if os.environ.get(name)), None)
    if name is None:
        return None
    named = os.environ[name]
    paths = named.split(os.pathsep) if name == "SSL_CERT_DIR" else [named]  # only this one may be a list
    path = next((path for path in paths if path and Path(path).exists()), None)
    if path is None:
        raise ResourceError(
            "{name} names {named}, which is not there. Correct it, or unset {name}.", name=name, named=named
        )
    os.environ.setdefault("SSL_CERT_DIR" if Path(path).is_dir() else "SSL_CERT_FILE", path)
    os.environ.setdefault("REQUESTS_CA_BUNDLE", path)
    return f"{name}={named}"


def require_hub(subject: str) -> None:
    """Raises ResourceError within three seconds if the hub accepts no connection; `subject` is what was requested.

    A proxy or a mirror gets more time, as it was set up on purpose. Does not wait for an answer, which may be slow.
    """
    way = route()
    if way.offline:
        raise ResourceError(
            "{subject} is not cached, and {variable} forbids the hub. Unset it, or name a folder or pypi: reference.",
            subject=subject,
            variable=way.offline,
        )
    patience = DETOUR_PATIENCE if way.proxy or way.is_mirror else PATIENCE
    reason = why_no_connection(proxy_of(way.endpoint) or way.endpoint, patience)
    if reason:
        raise ResourceError(
            "{subject} is not cached, and {hub} cannot be reached ({reason}). Connect, set HTTPS_PROXY or HF_ENDPOINT, "
            "or name a folder or pypi: reference.",
            subject=subject,
            hub=way.words,
            reason=reason,
        )


def why_no_connection(address: str, patience: float) -> str | None:
    """None if the address accepts a connection, otherwise the reason. Raises ResourceError for an invalid address."""
    parts = split_address(address, Sentence("The address"))
    late = Sentence("no connection within {patience:g} seconds", patience=patience)

    def knock() -> str | None:
        try:
            port = parts.port or {"https": 443, "socks5": 1080, "socks5h": 1080}.get(parts.scheme, 80)
            socket.create_connection((parts.hostname or "", port), timeout=patience).close()
        except TimeoutError:
            return late
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or str(error)
        return None

    return ask_within(patience, knock, late)


def ask_within(seconds: float, ask: Callable[[], str | None], late: str) -> str | None:
    """What `ask` returns, or `late` if it takes longer. It runs in a thread because name resolution has no timeout."""
    answers: list[str | None] = [late]
    thread = threading.Thread(target=lambda: answers.append(ask()), daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[-1]


def proxy_of(endpoint: str) -> str | None:
    """The proxy for this address, with its user and password; None if there is none.

    Raises ResourceError for a proxy with an invalid address.
    """
    parts = split_address(endpoint, Sentence("The address"))
    proxies = urllib.request.getproxies()
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    scheme = next((scheme for scheme in (parts.scheme, "all") if proxies.get(scheme)), None)
    if scheme is None:
        return None
    split_address(proxies[scheme], f"{scheme.upper()}_PROXY")
    return proxies[scheme]


def split_address(address: str, name: str) -> SplitResult:
    """The parts of an address; raises ResourceError that names its setting, but never shows the password in it."""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, _ = parts.hostname, parts.port
    except ValueError:  # not chained: the error quotes the text in place of the port, which may be a password
        host, parts = None, urlsplit("")
    if (host or parts.scheme == "file") and "@" not in parts.path + parts.query + parts.fragment:
        return parts
    raise ResourceError("{name} is no address; in a password write # and / as %23 and %2F.", name=name)


def shown(address: str, name: str) -> str:
    """An address without user and password; `name` is its setting. Raises ResourceError if it is invalid."""
    parts = split_address(address, name)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")


def without_credentials(text: str) -> str:
    """A library's message with user and password removed from its addresses."""
    return re.sub(r"(?<=://)[^\s/]*@", "", text)
