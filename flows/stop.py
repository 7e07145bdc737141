"""How a night is stopped from outside: at once, with nothing half-published and one sentence."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StoppedError(BaseException):
    """A signal asked the night to stop; no handler of ordinary errors catches it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGTERM into an exception for as long as the block runs, so that clusters are closed.

    Raises
    ------
    StoppedError
        Inside the block, when the signal comes.
    """

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough; closing must not be cut off
        raise StoppedError(number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals, and whoever started this one handles them
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
