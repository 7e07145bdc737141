"""What a page's thread computes: the phase first, and the rest when no newer wish waits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from flows.explore.recording import View
from models.geometry import Geometry
from tasks.explore.colours import MOVING, complex_colours, spectrum_picture, tiled
from tasks.explore.held import Held
from tasks.explore.phases import Estimate, Trial, dpc_phase, phase, trotters
from tasks.explore.virtual import annulus_image

REST = 0.15
"""How long a hand rests before the slower pictures are drawn [s]: until then the browser has the
machine for itself, to paint the phase."""


@dataclass(frozen=True)
class Wish:
    """What a page wants to see."""

    view: View
    trial: Trial
    estimate: Estimate
    wiener: bool
    detectors: tuple[tuple[float, float], ...]
    """Inner and outer angle of each virtual detector [rad]."""


@dataclass(frozen=True)
class Drawn:
    """One part of what was wished for."""

    part: str
    """``main``, ``trotters``, ``sharp`` (the main one in full), ``spectrum``, ``beside``, ``dpc``
    or ``virtual``."""
    wish: Wish
    images: tuple[np.ndarray, ...]
    numbers: dict[str, float]


class Artist:
    """Draws the wishes of one page, and remembers what need not be drawn again."""

    def __init__(self, deliver: Callable[[Drawn], None], complain: Callable[[str], None]) -> None:
        """Deliver parts, or complaints, as they come."""
        self._deliver, self._complain = deliver, complain
        self._held: Held | None = None
        self._drawn: dict[str, Any] = {}

    def draw(self, wish: Wish, overtaken: Callable[[float], bool]) -> None:
        """Draw phase and trotters, and the rest when the hand rests; until it is overtaken."""
        try:
            for part in self._parts(wish):
                self._deliver(part)
                if part.part != "main" and overtaken(REST if part.part == "trotters" else 0.0):
                    return
        except Exception as error:  # the thread must live on, and the page say what is wrong
            self._complain(str(error) or f"this cannot be drawn: {type(error).__name__}")

    def _parts(self, wish: Wish) -> Iterator[Drawn]:
        held = wish.view.held
        if self._held is not held:
            self._held, self._drawn = held, {}
        wanted = (wish.trial, wish.estimate, wish.wiener)
        if self._new("phase", wanted):
            start = perf_counter()
            main = phase(held, *wanted)
            facts = {"contrast": float(main.image.std()), "seconds": perf_counter() - start}
            yield Drawn("main", wish, (main.image,), facts)
            if wish.view.strongest[0].size:
                yield _trotters(wish)
            if max(main.image.shape) > MOVING:
                yield Drawn("sharp", wish, (main.image,), {})
            spectrum = spectrum_picture(main.spectrum, held.window.shape[1])
            yield Drawn("spectrum", wish, (spectrum,), {})
            self._done("phase", wanted)
        if self._new("beside", wanted):
            other: Estimate = "both" if wish.estimate == "wpo" else "wpo"
            yield Drawn("beside", wish, (phase(held, wish.trial, other, wish.wiener).image,), {})
            self._done("beside", wanted)
        if self._new("dpc", (turned := _turned(wish.trial.geometry))):
            yield Drawn("dpc", wish, (dpc_phase(held, wish.trial.geometry),), {})
            self._done("dpc", turned)
        if self._new("virtual", (seen := (_disk(wish.trial.geometry), wish.detectors))):
            yield _virtual(wish, held)
            self._done("virtual", seen)

    def _new(self, part: str, what: Any) -> bool:
        if self._drawn.get(part) == what:
            return False
        # Overtaken half-way, a wish leaves a page that is neither the old nor the new.
        self._drawn.pop(part, None)
        return True

    def _done(self, part: str, what: Any) -> None:
        self._drawn[part] = what


def _turned(geometry: Geometry) -> Geometry:
    return replace(geometry, center=(0.0, 0.0))  # its mean has no part in the phase


def _disk(geometry: Geometry) -> Geometry:
    return replace(geometry, rotation=0.0, flip=False)


def _trotters(wish: Wish) -> Drawn:
    found = trotters(wish.view.held, wish.trial, wish.view.strongest)
    sheets = tuple(complex_colours(tiled(part)) for part in (found.before, found.after))
    return Drawn("trotters", wish, sheets, {"flatness": found.flatness})


def _virtual(wish: Wish, held: Held) -> Drawn:
    images = tuple(annulus_image(held, wish.trial.geometry, *edges) for edges in wish.detectors)
    means = {f"mean{n}": float(np.nanmean(image)) for n, image in enumerate(images)}
    return Drawn("virtual", wish, images, means)
