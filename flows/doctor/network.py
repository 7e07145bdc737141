"""Connections within the machine, and the Prefect server, where one is asked for."""

import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

from flows.doctor.finding import Finding

LOOPBACK = "127.0.0.1"
PREFECT_PORT = 4200
WAIT_S = 3.0


def loopback() -> Iterator[Finding]:
    """Whether a program on this machine can talk to another: Dask and Prefect do."""
    try:
        with socket.create_server((LOOPBACK, 0)) as server:
            server.settimeout(WAIT_S)
            with socket.create_connection(server.getsockname(), WAIT_S):
                server.accept()[0].close()
        yield Finding("localhost", "ok", f"programs can talk to each other on {LOOPBACK}")
    except OSError as error:
        yield Finding(
            "localhost",
            "bad",
            f"{LOOPBACK}: {error}",
            "bring the device lo up and let the firewall pass it; until then `cluster: threads` "
            "in the job, with --no-prefect, needs no connection",
        )


def proxy() -> Iterator[Finding]:
    """Whether a proxy would be asked for what is on this machine."""
    used = [name for name in urllib.request.getproxies() if name in ("http", "all")]
    if used and not urllib.request.proxy_bypass(LOOPBACK):
        yield Finding(
            "proxy",
            "warn",
            f"{' and '.join(f'{name}_proxy' for name in used)} set, also for {LOOPBACK}",
            f"export no_proxy={LOOPBACK},localhost; Prefect's own server is not found otherwise",
        )
    else:
        yield Finding("proxy", "ok", f"none between this program and {LOOPBACK}")


def prefect_server(port: int = PREFECT_PORT) -> Iterator[Finding]:
    """Whether the server that is asked for answers, and who holds the port that one would take."""
    asked = os.environ.get("PREFECT_API_URL")
    if asked:
        yield _server(asked)
    elif _answers(f"http://{LOOPBACK}:{port}/api"):
        yield Finding(
            "Prefect server",
            "warn",
            f"one answers on port {port}, but PREFECT_API_URL is not set: nights do not show there",
            f"export PREFECT_API_URL=http://{LOOPBACK}:{port}/api",
        )
    elif _taken(port):
        yield Finding(
            "Prefect server",
            "warn",
            f"another program holds port {port}, at which `prefect server start` listens",
            f"give the server another one: prefect server start --port {port + 1}, and "
            f"PREFECT_API_URL=http://{LOOPBACK}:{port + 1}/api",
        )
    else:
        yield Finding("Prefect server", "ok", "none is asked for; each night starts its own")


def _server(url: str) -> Finding:
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.hostname}:{parts.port or ''}{parts.path}"  # no password
    if not parts.path.rstrip("/").endswith("/api"):
        return Finding(
            "Prefect server", "bad", f"PREFECT_API_URL={shown}", "its address ends with /api"
        )
    if _answers(url):
        return Finding("Prefect server", "ok", f"{shown} answers")
    return Finding(
        "Prefect server",
        "bad",
        f"{shown} does not answer",
        "start it (prefect server start), mend PREFECT_API_URL, or unset it: then each night "
        "starts its own",
    )


def _answers(url: str) -> bool:
    """Whether a Prefect server says that it is well."""
    if urlsplit(url).scheme not in ("http", "https"):
        return False
    request = f"{url.rstrip('/')}/health"
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:  # noqa: S310  (http, above)
            return json.loads(answer.read(64)) is True
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)  # it asks for a password, which is no ill health
    except (OSError, ValueError):
        return False


def _taken(port: int) -> bool:
    try:
        with socket.create_server((LOOPBACK, port)):
            return False
    except OSError:
        return True
