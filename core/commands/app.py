"""Verbs that open the app: demo and app. They start the server on this machine and open the browser."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from dataclasses import dataclass
from pathlib import Path

from core.analysis.ranking import own_runs
from core.commands.context import ingest_waiting, warn
from core.commands.measure import expanded, measure_all, show_terms
from core.errors import InputError, ResourceError, Sentence, WorkdimError
from core.files import MODELS, PROJECT, READ_ONLY
from core.registry.protocols import find_protocol
from core.runs.requests import demo_requests, japanese_requests
from core.terminal.output import tell
from core.warehouse import queries
from core.warehouse.reference import add_profiles
from core.warehouse.warehouse import Warehouse

ADDRESS = "127.0.0.1"
LOCAL_HOSTS = (ADDRESS, "localhost")
"""Addresses and names that only this machine can reach."""
STARTUP_SECONDS = 60
"""Seconds to wait for the server's first answer: a cold disk makes the first import slow."""


def demo(options: argparse.Namespace) -> int:
    warehouse = options.warehouse
    add_references(warehouse.path)
    ingest_waiting(warehouse)
    runs = queries.runs(warehouse).filter(**{"pass": "text"})
    measured = set(own_runs(runs).select("reference", "corpus_name", "protocol_hash", "dtype").rows())
    requests = japanese_requests() if options.japanese else demo_requests()
    show_terms(request.model for request in requests)
    missing = []
    for request in requests:
        protocol_hash = find_protocol(request.protocol).hash(request.seed)
        if (request.model, request.corpus, protocol_hash, request.dtype) in measured:
            tell("{model} is measured already.", model=request.model)
        else:
            missing.append(request)
    code = measure_all(expanded(missing), warehouse)
    return code if code or options.no_app else serve(warehouse.path, options.port)


def app(options: argparse.Namespace) -> int:
    hosts = tuple(options.allowed_host or ())
    if options.address not in LOCAL_HOSTS and not hosts:
        raise InputError(
            "--address {address} opens the app to others, and it has no password (docs/warehouse.md). Add --allowed-host NAME.",
            address=options.address,
        )
    if not all(re.fullmatch(r"(\*\.)?[\w.-]+", host) for host in hosts):
        raise InputError("--allowed-host takes a bare name, as workdim.example.com.")
    opening = ServerAccess(options.address, (*LOCAL_HOSTS, *hosts), options.read_only)
    return serve(options.warehouse.path, options.port, opening)


@dataclass(frozen=True)
class ServerAccess:
    """Who can reach the app."""

    address: str = ADDRESS
    hosts: tuple[str, ...] = LOCAL_HOSTS
    """Host names that a browser may request, those of a proxy on this machine included. The server refuses others, so
    that a page of another site cannot reach it under its own name.
    """
    read_only: bool = False

    @property
    def reached_at(self) -> str:
        """The address at which this machine itself reaches the server."""
        return ADDRESS if self.address in (*LOCAL_HOSTS, "0.0.0.0", "::") else self.address


def serve(warehouse: Path, port: int, opening: ServerAccess = ServerAccess()) -> int:
    """Run the server until it is stopped; opens a browser if there is a screen. Returns an exit code."""
    requested, port = port, free_port(port, opening.reached_at)
    if port != requested:
        tell("Port {asked} is in use; taking {port}.", asked=requested, port=port)
    address = f"http://localhost:{port}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the server must not outlive this process, however it ends
    server = start_server(warehouse, port, opening)
    try:
        add_references(warehouse)  # while the server starts
        wait_until_ready(server, port, opening.reached_at)
        how = Sentence(", read-only,") if opening.read_only else ""
        tell("Workdim is open{how} at {address} (Ctrl-C stops it).", how=how, address=address)
        if opening.address not in LOCAL_HOSTS:
            places = [f"http://{host}:{port}" for host in opening.hosts if host not in LOCAL_HOSTS]
            tell("Others reach it at {places}.", places=places)
        elif has_screen():
            webbrowser.open(address)
        else:
            command = f"ssh -L {port}:localhost:{port} {os.environ.get('USER', 'USER')}@{socket.gethostname()}"
            tell(
                "No screen here. On your own machine run `{command}`, then open {address}",
                command=command,
                address=address,
            )
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        stop(server)


def add_references(path: Path) -> None:
    """Ingest the shipped profiles, except those that the user removed.

    A failure must not prevent work: it is reported in one line, and the next start tries again.
    """
    try:
        added = add_profiles(Warehouse(path), warn)
    except WorkdimError as error:
        warn("Not all shipped profiles were taken in: {reason}", reason=error)
        return
    if added:
        tell("{n} shipped profiles were taken in. `workdim ingest --without-reference` removes them.", n=len(added))


MEMORY_SETTINGS = {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""A server keeps memory that its threads used once. Fewer arenas give it back, at no cost that a user notices."""


def start_server(warehouse: Path, port: int, opening: ServerAccess = ServerAccess()) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "streamlit", "run", str(PROJECT / "app.py"), "--server.port", str(port)]
    # Command-line options override the server's own environment variables, which could open the app to the network.
    command += ["--server.address", opening.address, "--server.enableCORS", "true"]
    command += ["--server.enableXsrfProtection", "true", "--browser.gatherUsageStats", "false"]
    command += ["--client.showErrorLinks", "false"]
    for host in opening.hosts:
        command += ["--server.allowedHosts", host]
    environment = os.environ | {"WORKDIM_WAREHOUSE": str(warehouse), "PYTHONUTF8": "1"}
    environment.setdefault(MODELS, os.getcwd())
    for name, value in MEMORY_SETTINGS.items():
        environment.setdefault(name, value)
    environment |= {READ_ONLY: "1"} if opening.read_only else {}
    # The working directory decides which .streamlit/config.toml is used: ours binds to this machine alone.
    return subprocess.Popen(command, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def wait_until_ready(server: subprocess.Popen[bytes], port: int, host: str = ADDRESS) -> None:
    end = time.monotonic() + STARTUP_SECONDS
    address = f"[{host}]" if ":" in host else host
    # The server refuses host names that are not in its list, so the request uses `localhost`.
    request = urllib.request.Request(f"http://{address}:{port}/_stcore/health", headers={"Host": "localhost"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a network's proxy does not lead here
    while time.monotonic() < end:
        if server.poll() is not None:
            raise WorkdimError(
                "The app's server ended with code {code}; its own message stands above.", code=server.returncode
            )
        with contextlib.suppress(OSError), direct.open(request, timeout=2):
            return
        time.sleep(0.2)
    raise WorkdimError(
        "The app's server did not answer on port {port} within {patience} seconds.", port=port, patience=STARTUP_SECONDS
    )


def stop(server: subprocess.Popen[bytes]) -> None:
    """Terminate the server; kill it if it does not end within five seconds."""
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def free_port(first: int, host: str = ADDRESS) -> int:
    """`first`, or the next free one of twenty ports of this address. Raises InputError or ResourceError."""
    if not 1 <= first <= 65_500:
        raise InputError("The port must be between 1 and 65500, not {first}.", first=first)
    for port in range(first, first + 20):
        try:
            socket.create_connection((host, port), timeout=0.5).close()
        except OSError:
            return port
    raise ResourceError(
        "The ports {first} to {last} are all in use. Choose another with --port.", first=first, last=first + 19
    )


def has_screen() -> bool:
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
