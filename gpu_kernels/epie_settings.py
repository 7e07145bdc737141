"""How ePIE seeks object and probe: steps, batches, momentum, and what of them fades."""

from dataclasses import dataclass, replace
from math import cos, pi

BRISK = ((0.3, 0.25), (0.6, 0.5), (1.0, 1.0))
"""Shares of all positions that act together, until which part of the rounds."""
CALM = ((0.4, 0.5), (1.0, 1.0))
"""The same where electrons are few: smaller shares would add more noise than they take away."""
FEW_ELECTRONS = 1000.0
"""On a pixel of the object, in all patterns together."""
FAINT_PIXEL, LEAST_DOUBT = 300.0, 0.01
"""Electrons on a pixel of the object below which the dark field is doubted, and what remains of the
doubt when there are many."""


@dataclass(frozen=True)
class Epie:
    """How object and probe are sought; the defaults find the phase of a known probe's object."""

    iterations: int = 50
    """Rounds through all positions."""
    batch_size: int | None = None
    """Positions that act together; 1 is strictly sequential. None: shares of all, as below."""
    batch_shares: tuple[tuple[float, float], ...] | None = None
    """(until this part of the rounds, so large a share of all positions acts together); None:
    ``BRISK`` or ``CALM``, by the electrons that there are."""
    object_step: float = 0.7
    """Part of the difference by which the object is put right."""
    probe_step: float = 0.0
    """The same for the probe; 0 leaves it as it is."""
    probe_from: int = 5
    """Round from which on the probe is updated."""
    momentum: float = 0.9
    """Part of the object's last change that is repeated; in the first rounds at most 3/4 and 6/7,
    for the first changes are the largest, and would overshoot."""
    regularisation: float = 0.1
    """0 divides by the illumination of each pixel, 1 by that of the brightest one."""
    doubt: float | None = None
    """Variance of a wave's own amplitude over that of a bright count's root, which makes the dark
    field count less; None: (``FAINT_PIXEL`` / electrons on a pixel)⁴, at least ``LEAST_DOUBT``."""
    annealing: float = 1.0
    """Steps of the last round, relative to the first; in between they follow a cosine."""
    positions_from: int | None = None
    """Round from which on the positions are refined; None: never."""
    position_step: float = 0.5
    """Part of the Gauss-Newton step by which a position moves."""
    position_limit: float = 2.0
    """How far a position may stray from where it was [px]."""
    seed: int = 0
    """Of the order of positions."""
    settled_rad: float = 0.0
    """Stop when the residual is down to Poisson noise and a round moves the object by less [rad];
    0: never."""

    def batch(self, iteration: int, positions: int) -> int:
        """Positions of a batch."""
        if self.batch_size is not None:
            return min(self.batch_size, positions)
        done = iteration / self.iterations
        share = next((s for until, s in self.batch_shares or BRISK if done < until), 1.0)
        return max(1, round(share * positions))

    def for_electrons(self, typical: float) -> "Epie":
        """Fill in what depends on the electrons that a pixel of the object sees."""
        doubt, shares = self.doubt, self.batch_shares
        if doubt is None:
            doubt = max(LEAST_DOUBT, (FAINT_PIXEL / typical) ** 4)
        if shares is None:
            shares = CALM if typical < FEW_ELECTRONS else BRISK
        return replace(self, doubt=doubt, batch_shares=shares)

    def keeping(self, iteration: int) -> float:
        """Momentum of a round."""
        return min(self.momentum, (iteration + 1) / (iteration + 4 / 3))

    def fading(self, iteration: int) -> float:
        """Factor of the steps."""
        wave = (1 + cos(pi * iteration / max(1, self.iterations - 1))) / 2
        return self.annealing + (1 - self.annealing) * wave


BATCHES = Epie()
"""Positions act together, in growing batches."""
SEQUENTIAL = Epie(batch_size=1, object_step=0.5, momentum=0.0, regularisation=1.0, annealing=0.05)
"""ePIE as it was first written, with steps that fade so that the last patterns do not dominate."""
