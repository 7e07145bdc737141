"""A Prefect server of the night's own, which starts while the night gets ready.

To start takes it several seconds of one core, as long as it takes to load the mill on another. The
night holds the door, a socket on 127.0.0.1: whoever knocks before the server is up waits, and a
server that dies is followed by another behind the same door. It goes when its night goes, however
that ends.
"""

import atexit
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading

STARTS = 4
"""Servers that may follow each other, before the night goes on without one."""
LAST_WORDS = 10.0
"""Seconds that a server has to end."""
URL = "PREFECT_API_URL"
ITS_OWN = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1",
           "PREFECT__SERVER_FINAL": "1"}  # fmt: skip


def start_server_ahead() -> None:
    """Start a server for the rest of this process, where none is named in the environment.

    To be called before Prefect is imported, which then finds the address in ``PREFECT_API_URL``;
    where Prefect is there already, it starts a server by itself, when it needs one.
    """
    if os.environ.get(URL) or "prefect" in sys.modules:
        return
    door = socket.create_server(("127.0.0.1", 0))
    os.environ[URL] = f"http://127.0.0.1:{door.getsockname()[1]}/api"
    keeper = _Keeper(door)
    keeper.start()
    # Before Prefect registers what it has to say at the end, which is therefore said before.
    atexit.register(keeper.end)


class _Keeper(threading.Thread):
    """Keeps a server behind the door; a thread, because the server ends with whoever began it."""

    def __init__(self, door: socket.socket) -> None:
        super().__init__(name="prefect-server", daemon=True)
        self._door = door
        self._ending, self._turn = threading.Event(), threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        for _ in range(STARTS):
            with self._turn:
                if self._ending.is_set():
                    return
                self._server = _started(self._door)
            self._server.wait()
        with self._turn:
            if not self._ending.is_set():
                self._door.close()  # whoever knocks now is refused at once

    def end(self) -> None:
        """End the server."""
        with self._turn:
            self._ending.set()
            server = self._server
        if server is not None:
            server.terminate()
            try:
                server.wait(LAST_WORDS)
            except subprocess.TimeoutExpired:
                server.kill()
        self.join()


def _started(door: socket.socket) -> subprocess.Popen[bytes]:
    number = door.fileno()
    return subprocess.Popen(  # noqa: S603  (this program itself)
        # -P: no folder in which the night happens to be started may shadow a module.
        [sys.executable, "-P", "-m", "flows.prefect_server", str(number), str(os.getpid())],
        pass_fds=(number,),
        env={**{k: v for k, v in os.environ.items() if k != URL}, **ITS_OWN},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Ctrl-C is for the night, which then ends its server.
        start_new_session=True,
    )


def serve(door: int, night: int) -> None:
    """Serve Prefect's API through a socket that is already listening.

    Parameters
    ----------
    door : int
        File descriptor of the socket.
    night : int
        Process that must not be outlived.
    """
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
    if os.getppid() != night:
        return
    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(create_app, factory=True, log_level="critical", lifespan="on",
                            timeout_graceful_shutdown=1)  # fmt: skip
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=door)])


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
