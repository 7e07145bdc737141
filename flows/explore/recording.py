"""One recording in memory, shared by all pages that look at it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from flows.explore.latest import Latest
from flows.explore.opening import Opened
from models.geometry import Geometry
from tasks.explore.held import Held, Window, hold, largest_window
from tasks.explore.phases import Trial, strongest

FIRST_SIDE = 192
"""Scan positions along a side that are held first: under a second for most recordings."""

Watcher = Callable[[], None]


@dataclass(frozen=True)
class View:
    """What can be looked at now."""

    held: Held
    strongest: tuple[np.ndarray, np.ndarray]
    """Rows and columns of the strongest frequencies."""


class HeldRecording:
    """A recording in memory, and who watches it.

    The middle of the scan is read at once; the whole of it, or as much as memory holds, follows in
    the background.
    """

    def __init__(self, opened: Opened) -> None:
        """Read the middle of the scan, and start to read the rest."""
        self.opened = opened
        self.trial = Trial(opened.geometry, opened.aberrations)
        """Of the start: what every page begins with and goes back to."""
        self.progress: tuple[str, float] | None = None
        """What is going on in the background, and which part of it is done."""
        self.fault = ""
        """What went wrong in the background."""
        self._watchers: list[Watcher] = []
        self._refiner: Latest[Geometry] = Latest(self._refine)
        first = Window.middle(opened.store.scan_shape, FIRST_SIDE)
        self.view = self._hold(opened.geometry, first)
        if not self.view.held.whole:
            self.hold_again(opened.geometry)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call a function, on any thread, whenever something changed; returns how to stop it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def hold_again(self, geometry: Geometry) -> None:
        """Read the recording for another disk in the background; the newest disk counts."""
        self._refiner.ask(geometry)

    @cached_property
    def mean_pattern(self) -> np.ndarray:
        """(rows, cols) float64: mean frame of the whole recording [e]."""
        store = self.opened.store
        frames = max(1, int(store.array("frames_present").sum(dtype=np.int64)))
        return store.array("frame_sum") / frames

    def strongest_frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """(q_y, q_x) of the trotters that are shown [1/Å]."""
        shape, step = self.view.held.window.shape, self.trial.geometry.scan_step
        row, col = self.view.strongest
        return np.fft.fftfreq(shape[0], step[0])[row], np.fft.rfftfreq(shape[1], step[1])[col]

    def store_is_there(self) -> bool:
        """Whether the event store is still on disk."""
        return Path(self.opened.store.path, "manifest.json").exists()

    def tell(self) -> None:
        """Tell the pages that something changed."""
        for watcher in list(self._watchers):
            watcher()

    def _refine(self, geometry: Geometry, overtaken: Callable[[float], bool]) -> None:
        if self.view.held.whole and self.view.held.covers(geometry):
            return
        try:
            self.fault = ""
            self.view = self._hold(geometry, largest_window(self.opened.store, geometry))
        except Exception as error:  # the thread must live on, and the pages say what is wrong
            self.fault = f"{error or type(error).__name__}; what was held stays"
        finally:
            self.progress = None
            self.tell()

    def _hold(self, geometry: Geometry, window: Window) -> View:
        def progress(what: str, part: float) -> None:
            self.progress = (what, part)
            self.tell()

        held = hold(self.opened.store, geometry, window, progress)
        self.progress = None
        return View(held, strongest(held))
