"""A recording at an address is copied whole, once, and again when it has changed."""

import threading
import traceback
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from tasks.fetch import FetchError, fetch, file_name, is_remote

DATA = bytes(range(256)) * 500


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, and counts what was asked for."""

    asked: list[str]

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.asked.append(self.path)
        if self.path == "/signed.h5":
            self.send_response(302)
            self.send_header("Location", "/elsewhere.h5?signature=SECRET")
            self.end_headers()
        elif "signature" in self.path:
            self.send_error(403)
        else:
            super().do_GET()

    def do_HEAD(self):
        if "signed" in self.path or "signature" in self.path:
            self.do_GET()
        else:
            super().do_HEAD()


@pytest.fixture
def web(tmp_path):
    """A folder that a server on this machine gives, its address, and what it was asked for."""
    pytest.importorskip("aiohttp", reason="https:// needs phasemill[s3]")
    folder = tmp_path / "web"
    folder.mkdir()
    handler = type("Handler", (Quiet,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}", handler.asked
    server.shutdown()
    server.server_close()


def test_file_is_copied_once_and_again_when_it_changes(web, tmp_path):
    folder, address, asked = web
    (folder / "scan.h5").write_bytes(DATA)
    copy = fetch(f"{address}/scan.h5", tmp_path / "copy")
    assert (copy.name, copy.read_bytes()) == ("scan.h5", DATA)
    before = asked.count("/scan.h5")
    assert fetch(f"{address}/scan.h5", tmp_path / "copy") == copy
    assert asked.count("/scan.h5") == before
    (folder / "scan.h5").write_bytes(DATA + b"more")
    assert fetch(f"{address}/scan.h5", tmp_path / "copy").read_bytes() == DATA + b"more"


def test_signed_address_that_another_leads_to_is_not_told(web, tmp_path):
    with pytest.raises(FetchError, match=r"signed\.h5: cannot be read: 403.*elsewhere") as failed:
        fetch(f"{web[1]}/signed.h5", tmp_path / "copy")
    assert "SECRET" not in "".join(traceback.format_exception(failed.value))


def test_what_is_not_there_is_said_and_nothing_is_left(web, tmp_path):
    with pytest.raises(FetchError, match=r"none\.h5: there is no such file"):
        fetch(f"{web[1]}/none.h5", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_store_that_does_not_answer_is_said(tmp_path):
    pytest.importorskip("aiohttp", reason="https:// needs phasemill[s3]")
    with pytest.raises(FetchError, match="cannot be read"):
        fetch("http://127.0.0.1:9/scan.h5", tmp_path / "copy")


def test_copy_that_ends_early_does_not_get_its_name(tmp_path, monkeypatch):
    store = fsspec.filesystem("memory")
    store.pipe_file("/early/scan.h5", DATA)
    monkeypatch.setattr(type(store), "get_file", lambda self, path, to: Path(to).write_bytes(b"x"))
    with pytest.raises(FetchError, match="1 of 128000 bytes came"):
        fetch("memory://early/scan.h5", tmp_path)
    assert not (tmp_path / "scan.h5").exists()


def test_folder_at_an_address_is_refused(tmp_path):
    fsspec.filesystem("memory").pipe_file("/deep/a/scan.h5", DATA)
    with pytest.raises(FetchError, match="this is a folder"):
        fetch("memory://deep/a", tmp_path)


def test_addresses_are_told_from_paths():
    assert is_remote("s3://bucket/a.h5")
    assert not is_remote("/data/a.h5")
    assert not is_remote("C:/data/a.h5")
    assert file_name("https://host/deep/scan.h5") == "scan.h5"
