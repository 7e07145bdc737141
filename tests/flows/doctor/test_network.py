"""The doctor names what stands between two programs of one machine."""

import http.server
import socket
import threading
from contextlib import contextmanager

import pytest

from flows.doctor import network


@contextmanager
def listening(status: int, body: bytes):
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.path == "/api/health"
            self.send_response(status if known else 404)
            self.end_headers()
            self.wfile.write(body if known else b"")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("PREFECT_API_URL", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_server_that_answers_is_in_order(monkeypatch):
    with listening(200, b"true") as port:
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
        (found,) = network.prefect_server()
    assert found.level == "ok"


def test_server_that_asks_for_a_password_is_alive(monkeypatch):
    with listening(401, b"") as port:
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
        assert next(network.prefect_server()).level == "ok"


def test_server_that_does_not_answer_is_named_without_its_password(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("PREFECT_API_URL", f"http://mill:secret@127.0.0.1:{port}/api")
    (found,) = network.prefect_server()
    assert found.level == "bad"
    assert f"http://127.0.0.1:{port}/api does not answer" in found.found
    assert "secret" not in found.found
    assert "unset" in found.mend


def test_address_without_api_is_named(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200")
    (found,) = network.prefect_server()
    assert (found.level, found.mend) == ("bad", "its address ends with /api")


def test_port_of_the_server_that_another_program_holds_is_named():
    with listening(200, b"<html>") as port:
        (found,) = network.prefect_server(port)
    assert found.level == "warn"
    assert f"another program holds port {port}" in found.found
    assert f"--port {port + 1}" in found.mend


def test_server_that_nobody_asks_for_is_named():
    with listening(200, b"true") as port:
        (found,) = network.prefect_server(port)
    assert found.level == "warn"
    assert f"export PREFECT_API_URL=http://127.0.0.1:{port}/api" in found.mend


def test_free_port_is_in_order():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert next(network.prefect_server(port)).level == "ok"


def test_proxy_before_this_machine_is_named(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "")
    (found,) = network.proxy()
    assert found.level == "warn"
    assert "no_proxy=127.0.0.1" in found.mend
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    assert next(network.proxy()).level == "ok"


def test_machine_that_cannot_talk_to_itself_is_named(monkeypatch):
    assert next(network.loopback()).level == "ok"
    monkeypatch.setattr(network, "LOOPBACK", "203.0.113.1")  # no address of this machine
    (found,) = network.loopback()
    assert found.level == "bad"
    assert "cluster: threads" in found.mend
