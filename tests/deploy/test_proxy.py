"""The shipped proxy, with Caddy's own program: who gets in, and what Prefect's server is told."""

import base64
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CADDYFILE = Path(__file__).resolve().parents[2] / "deploy" / "Caddyfile"
AUTH = "mill:a-long-secret"
HEADER = {"Authorization": f"Basic {base64.b64encode(AUTH.encode()).decode()}"}


class Prefect(BaseHTTPRequestHandler):
    """Answers as Prefect's server does: only who sends its auth string gets anything."""

    def do_GET(self):
        self.send_response(200 if self.headers["Authorization"] == HEADER["Authorization"] else 401)
        self.end_headers()
        self.wfile.write(b"prefect")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    """Ask for a path with some headers, and get status, headers and body."""
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("caddy is not installed")
    folder = tmp_path_factory.mktemp("caddy")
    (folder / "data" / ".phasemill").mkdir(parents=True)
    (folder / "data" / "index.html").write_text("the night")
    (folder / "data" / ".phasemill" / "key").write_text("hidden")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Prefect)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = CADDYFILE.read_text()
    here = {
        "server:4200": f"127.0.0.1:{server.server_port}",
        ":8443": f":{port}",
        "root * /data": f"root * {folder}/data",
        "admin off": "admin off\n\tauto_https disable_redirects",  # which would take port 80
    }
    for old, new in here.items():
        assert old in text
        text = text.replace(old, new)
    told = subprocess.run([caddy, "version"], check=True, capture_output=True, text=True).stdout
    if tuple(map(int, re.findall(r"\d+", told)[:2])) < (2, 8):
        text = text.replace("basic_auth", "basicauth")  # its name until then
    (folder / "Caddyfile").write_text(text)
    hashed = subprocess.run(
        [caddy, "hash-password", "--plaintext", AUTH.partition(":")[2]],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    own = {name: str(folder) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [caddy, "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"],
        env=os.environ | own | {"SITE": "localhost", "PASSWORD_HASH": hashed},
        stdout=log, stderr=log,
    )  # fmt: skip

    def ask(path, headers=HEADER):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for _ in range(600):
            connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
            try:
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                return answer.status, answer.headers, answer.read()
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
            finally:
                connection.close()
        raise AssertionError((folder / "log").read_text())

    yield ask
    process.terminate()
    process.wait(30)
    log.close()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["/", "/api/health", "/results/index.html"])
def test_nobody_gets_in_without_the_password(proxy, path):
    wrong = base64.b64encode(b"mill:another").decode()
    assert proxy(path, {})[0] == 401
    assert proxy(path, {"Authorization": f"Basic {wrong}"})[0] == 401


def test_same_password_opens_the_proxy_and_prefect_behind_it(proxy):
    status, _, body = proxy("/api/health")
    assert (status, body) == (200, b"prefect")


def test_pages_of_nights_run_no_script_and_work_folders_are_hidden(proxy):
    status, headers, body = proxy("/results/")
    assert (status, body) == (200, b"the night")
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert proxy("/results/.phasemill/key")[0] == 404
    assert proxy("/results/sub/.phasemill/key")[0] == 404
    assert b"mill" not in proxy("/results/%2e%2e/Caddyfile")[2]
