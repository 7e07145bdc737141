"""Threads that compute: a worker that does only what was asked for last, and their common end.

A slider asks for an image a hundred times a second, and only the last one will be looked at. So the
page's own thread never computes: it leaves its wish here, and wishes that were overtaken are never
begun.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class Work:
    """What threads are at, so that the process can end between two pieces of it.

    A thread that is cut off inside a compiled library ends the process with an abort.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running, self._over = 0, False

    @contextmanager
    def piece(self) -> Iterator[bool]:
        """Do a piece of work; gives whether it may still be begun."""
        with self._changed:
            begun = not self._over
            self._running += begun
        try:
            yield begun
        finally:
            with self._changed:
                self._running -= begun
                self._changed.notify_all()

    def finish(self, seconds: float) -> bool:
        """Let nothing begin until what runs is done; whether it was, within some seconds."""
        with self._changed:
            self._over = True
            done = self._changed.wait_for(lambda: not self._running, seconds)
            self._over = False
        return done


work = Work()
"""Of all pages of this process."""


class Latest(Generic[T]):
    """One thread that serves the newest wish."""

    def __init__(self, serve: Callable[[T, Callable[[float], bool]], None]) -> None:
        """Start the thread.

        Parameters
        ----------
        serve : callable
            Is given a wish and a function that tells whether it was overtaken meanwhile, or is so
            within some seconds. It must not raise.
        """
        self._serve = serve
        self._wish: list[T] = []
        self._changed = threading.Condition()
        self._closed = False
        self._number = 0
        self._thread = threading.Thread(target=self._run, name="explorer", daemon=True)
        self._thread.start()

    def ask(self, wish: T) -> None:
        """Put a wish in place of the one that waits."""
        with self._changed:
            self._wish = [wish]
            self._number += 1
            self._changed.notify()

    def close(self) -> None:
        """End the thread after what it is at."""
        with self._changed:
            self._closed = True
            self._wish = []
            self._number += 1
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wish or self._closed)
                if self._closed:
                    return
                wish, number = self._wish.pop(), self._number
            with work.piece() as begun:
                if begun:
                    self._serve(wish, partial(self._overtaken, number))

    def _overtaken(self, number: int, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: number != self._number, seconds)
