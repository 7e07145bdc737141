"""How a night is stopped from outside: at once, with nothing half-published and one sentence."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

AGAIN = 0.05
"""Seconds until a signal that went unheard is sent again."""


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

    def unraisable(told: Any) -> None:
        # A signal that comes amid what the garbage collector calls, whose errors go no further.
        if not isinstance(told.exc_value, StoppedError):
            others(told)
            return
        number = told.exc_value.number
        signal.signal(number, stop)
        unheard.append(threading.Timer(AGAIN, signal.pthread_kill, (main.ident, number)))
        unheard[-1].start()

    main = threading.main_thread()
    if threading.current_thread() is not main:
        yield  # only the main thread hears signals, and whoever started this one handles them
        return
    unheard: list[threading.Timer] = []
    before, others = signal.signal(signal.SIGTERM, stop), sys.unraisablehook
    sys.unraisablehook = unraisable
    try:
        try:
            yield
        finally:
            for one in unheard:
                one.join()
    finally:
        signal.signal(signal.SIGTERM, before)
        sys.unraisablehook = others
