"""Rounds of ePIE through all positions, and the step back where one went too far.

Momentum overshoots now and then, most of all where batches have just grown. When a round of all
positions at once finds a larger residual than the round before, the round before is undone and made
again by half a step without momentum, which follows the slope downhill (the function scheme of
O'Donoghue and Candès, Found. Comput. Math. 15 (2015) 715–732, with the step back that keeps a
descent monotone). In smaller batches each has an object of its own, so their residuals belong to no
state, and none is undone.
"""

from typing import Any, NamedTuple

import numpy as np

from gpu_kernels.epie_cpu import CpuEngine
from gpu_kernels.epie_gpu import GpuEngine
from gpu_kernels.epie_settings import LEAST_DOUBT, Epie

SHORTER = 0.5
"""Part of its step that a round is made again with."""


class _State(NamedTuple):
    """Where a reconstruction stands."""

    waves: tuple[Any, ...]
    positions: np.ndarray


class _Done(NamedTuple):
    """A round that was made."""

    before: _State
    iteration: int
    order: np.ndarray
    residual: float


class Rounds:
    """Rounds of one reconstruction, one after another."""

    def __init__(
        self,
        engine: CpuEngine | GpuEngine,
        settings: Epie,
        chosen: np.ndarray,
        positions: np.ndarray,
        origin: tuple[int, int],
        lit: np.ndarray,
        probe: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Begin where the engine stands; the arguments are those of ``epie.epie``."""
        self._engine, self._settings, self._chosen = engine, settings, chosen
        self.positions, self._home = positions.copy(), positions
        self._origin, self._lit, self._rng = origin, lit, rng
        self._brightest = float((np.abs(probe) ** 2).max())
        self._last: _Done | None = None
        self._guarded = True

    def run(self, iteration: int) -> float:
        """Go through all positions once, from where the engine stands.

        Parameters
        ----------
        iteration : int
            Number of the round, from 0.

        Returns
        -------
        float
            Σ (√n − E√n)², each pattern as its turn came.
        """
        before, order = self._state(), self._rng.permutation(self._chosen)
        residual, last = self._through(iteration, order), self._last
        whole = self._settings.batch(iteration, order.size) == order.size
        if whole and self._guarded and last is not None and residual > last.residual:
            before, residual = self._again(last, iteration, order, before, residual)
        self._last = _Done(before, iteration, order, residual)
        return residual

    def moved(self, before: np.ndarray) -> float:
        """Root mean square change of the well-lit object since ``before``."""
        inside = self._lit > 0.5 * self._lit.max()
        return float(np.sqrt(np.mean(np.abs(self._engine.obj() - before)[inside] ** 2)))

    def _again(
        self, last: _Done, iteration: int, order: np.ndarray, before: _State, residual: float
    ) -> tuple[_State, float]:
        """Make the last round by a shorter step, and this one from there, if that is any better."""
        after = self._state()
        self._set(last.before)
        self._engine.rest()
        self._through(last.iteration, last.order, SHORTER)
        start = self._state()
        found = self._through(iteration, order)
        if found <= last.residual:
            return start, found
        # It is not the length of a step: what is left is rounding, or weights that differ from the
        # residual's. To look further would cost rounds and win nothing.
        self._guarded = False
        self._set(after)
        return before, residual

    def _state(self) -> _State:
        return _State(self._engine.state(), self.positions.copy())

    def _set(self, state: _State) -> None:
        self._engine.restore(state.waves)
        self.positions = state.positions.copy()

    def _through(self, iteration: int, order: np.ndarray, part: float = 1.0) -> float:
        settings, engine = self._settings, self._engine
        engine.place(self.positions - self._origin)
        size, fade = settings.batch(iteration, order.size), part * settings.fading(iteration)
        # All of one size, or one less: what is left over would make a batch that is all noise.
        parts = np.array_split(order, -(-order.size // size))
        batches = np.full((len(parts), parts[0].size), -1, np.int64)
        for batch, some in zip(batches, parts, strict=True):
            batch[: some.size] = some
        if size == 1:
            brightest = np.full(len(batches), self._brightest)
        else:
            brightest = (batches >= 0).sum(axis=1) / order.size * self._lit.max()
        residual = engine.run(
            batches,
            settings.object_step * fade,
            settings.probe_step * fade if iteration >= settings.probe_from else 0.0,
            settings.keeping(iteration),
            1 - settings.regularisation,
            settings.regularisation * brightest,
            settings.doubt or LEAST_DOUBT,
        )
        if settings.positions_from is not None and iteration >= settings.positions_from:
            self.positions[self._chosen] += part * self._position_steps()
        return residual

    def _position_steps(self) -> np.ndarray:
        settings, chosen = self._settings, self._chosen
        steps = np.clip(self._engine.position_steps(chosen), -0.5, 0.5) * settings.position_step
        now, home, limit = self.positions[chosen], self._home[chosen], settings.position_limit
        moved = np.clip(now + steps - home, -limit, limit)
        # A common shift of all positions and the object changes no pattern.
        return moved - moved.mean(axis=0) + home - now
