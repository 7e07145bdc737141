"""Patches of one image, each with an offset of its own, become the image: joint least squares.

A patch b_p lies at a sub-pixel position and is known up to a constant (for some methods, up to a
plane). The image is a cubic B-spline on the pixels, A_p its values at the patch's pixels, and

    Σ_p Σ_i w_i ((A_p c)_i + offset_p − b_pi)²  →  min

is solved for the spline c and all offsets together. The offsets are taken out of the equations (Q
removes what they explain), so that AᵀWQA c = AᵀWQ b is left, and no matrix is ever built: conjugate
gradients ask for AᵀWQA c alone. What offsets hide are long waves, which plain gradients reach late;
the equations of evenly strewn patches are nearly a convolution, whose inverse preconditions them.
Memory is that of the image and the positions, whatever the number of patches.

Patches enter by AᵀWQ b alone. Where they are made in many places, each place sends this sum of its
own, of the size of its image (``patch_sums``), and no patch has to travel (``stitch_sums``).
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from gpu_kernels.backend import Array
from gpu_kernels.stitch_equations import Equations, Layout, Stitched, orthonormal_basis, sampled_on

Blocks = Callable[[], Iterable[tuple[slice | np.ndarray, Array]]]
"""Gives (which positions, their patches) block after block, and again each time it is called."""


class PatchSums(NamedTuple):
    """What some patches add to the right side of the equations; those of several parts add up."""

    corner: tuple[int, int]
    """(row, col) of the first coefficient among the positions' pixels; may be negative."""
    values: np.ndarray
    """(rows, cols) float64: AᵀWQ b."""


def stitch(
    patches: Array,
    positions: np.ndarray,
    weights: np.ndarray,
    shape: tuple[int, int],
    *,
    ramps: bool = False,
    tolerance: float = 3e-4,
    most_rounds: int = 200,
    threads: int = 1,
) -> Stitched:
    """Stitch patches that are all in memory; see ``stitch_blocks``.

    Parameters
    ----------
    patches : (patches, height, width) float32
        Where they live, the work is done.
    positions, weights, shape, ramps, tolerance, most_rounds, threads
        As in ``stitch_blocks``.

    Returns
    -------
    Stitched
        In the units of the patches.

    Raises
    ------
    ValueError
        If there are not as many patches as positions.
    """
    if patches.ndim != 3 or patches.shape[0] != len(positions):
        raise ValueError(
            f"patches of shape {tuple(patches.shape)} for {len(positions)} positions; expected "
            f"({len(positions)}, height, width)"
        )
    return stitch_blocks(
        lambda: [(slice(0, len(positions)), patches)],
        positions, weights, shape,
        ramps=ramps, tolerance=tolerance, most_rounds=most_rounds, threads=threads,
    )  # fmt: skip


def stitch_blocks(
    blocks: Blocks,
    positions: np.ndarray,
    weights: np.ndarray,
    shape: tuple[int, int],
    *,
    ramps: bool = False,
    tolerance: float = 3e-4,
    most_rounds: int = 200,
    threads: int = 1,
) -> Stitched:
    """Stitch patches that come block after block, twice: once to be added, once to be judged.

    Parameters
    ----------
    blocks : callable
        Gives the patches, (some, height, width) float32; every position must come once.
    positions : (patches, 2) float64
        (y, x) of each patch's pixel (height // 2, width // 2) on the image [px].
    weights : (height, width) or (patches, height, width)
        What each pixel of a patch counts, 0 where it is not to be trusted: the probe's intensity.
    shape : (rows, cols)
        Of the image; what patches see outside is used, and left out.
    ramps : bool
        Each patch may be off by a plane, instead of a constant; for patches that are wide beside
        their pixels, since of small ones little but noise is left.
    tolerance : float
        Conjugate gradients stop when the residual is down to this part of the first one.
    most_rounds : int
        Of conjugate gradients.
    threads : int
        On the CPU; the result is the same to the bit for any number.

    Returns
    -------
    Stitched
        In the units of the patches.

    Raises
    ------
    ValueError
        If shapes do not fit together, weights are negative or empty, or a patch is not finite.
    """
    layout, weights, box = _laid_out(positions, weights, shape)
    whole = layout.whole
    equations: Equations | None = None
    for chosen, patches in _checked(blocks(), len(positions), whole):
        if equations is None:
            equations = Equations(layout, weights, ramps, threads, patches)
        equations.add(_cropped(patches, box), chosen)
    if equations is None:
        raise ValueError("there are no patches to stitch")
    rounds = equations.solve(tolerance, most_rounds)
    for chosen, patches in _checked(blocks(), len(positions), whole):
        equations.judge(_cropped(patches, box), chosen)
    return equations.result(rounds)


def patch_sums(patches: Array, positions: np.ndarray, weights: np.ndarray) -> PatchSums:
    """Add up what some patches say of the image, each known up to a constant.

    Parameters
    ----------
    patches : (patches, height, width) float32
        Where they live, the work is done.
    positions, weights
        As in ``stitch_blocks``, of these patches alone.

    Returns
    -------
    PatchSums
        As large as the patches reach, whatever their number.

    Raises
    ------
    ValueError
        As ``stitch_blocks``.
    """
    layout, weights, box = _laid_out(positions, weights, (1, 1))
    basis, _ = orthonormal_basis(weights, ramps=False)
    sampled = sampled_on(patches, layout, weights, basis)
    ((chosen, own),) = _checked([(slice(None), patches)], len(positions), layout.whole)
    low = int(layout.low[0]), int(layout.low[1])
    return PatchSums(low, sampled.spread(_cropped(own, box), chosen))


def stitch_sums(
    sums: Iterable[PatchSums],
    positions: np.ndarray,
    weights: np.ndarray,
    shape: tuple[int, int],
    *,
    like: Array,
    origin: tuple[int, int] = (0, 0),
    tolerance: float = 3e-4,
    most_rounds: int = 200,
) -> Stitched:
    """Stitch patches of which only their sums are here.

    Parameters
    ----------
    sums : iterable of PatchSums
        Of all patches together, each once.
    positions, weights, shape, tolerance, most_rounds
        As in ``stitch_blocks``.
    like : array
        Where it lives, the work is done.
    origin : (row, col)
        Of the image's first pixel, among those of the positions.

    Returns
    -------
    Stitched
        That of ``stitch_blocks`` to its tolerance, without what only patches can tell: how far they
        miss the image (nothing), and their offsets (none).

    Raises
    ------
    ValueError
        As ``stitch_blocks``, and if sums reach where no position does.
    """
    layout, weights, _ = _laid_out(positions, weights, shape, origin)
    equations = Equations(layout, weights, False, 1, like)
    for part in sums:
        equations.add_sum(part.values, part.corner)
    rounds = equations.solve(tolerance, most_rounds)
    return equations.result(rounds)._replace(factors=np.zeros((0, 1)))


def _laid_out(
    positions: np.ndarray,
    weights: np.ndarray,
    shape: tuple[int, int],
    origin: tuple[int, int] = (0, 0),
) -> tuple[Layout, np.ndarray, tuple[slice, slice]]:
    """Where patches lie, with the weights of the box in which any pixel has some."""
    positions, weights = np.asarray(positions, float), np.asarray(weights, float)
    _check(positions, weights, shape)
    whole = weights.shape[-2], weights.shape[-1]
    if weights.ndim == 2:
        weights = weights[None]
    box = _seen_box(weights)
    weights = weights[(slice(None), *box)]
    return Layout(positions, whole, box, weights.shape[1:], shape, origin), weights, box


def _seen_box(weights: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a patch in which any pixel has weight."""
    seen: np.ndarray = np.any(weights > 0, axis=0)
    sides = []
    for axis in (1, 0):
        lines = np.flatnonzero(np.any(seen, axis=axis))
        sides.append(slice(int(lines[0]), int(lines[-1]) + 1))
    return sides[0], sides[1]


def _cropped(patches: Array, box: tuple[slice, slice]) -> Array:
    return patches[(slice(None), *box)]


def _checked(blocks: Iterable, count: int, whole: tuple[int, int]):
    came = np.zeros(count, bool)
    for which, patches in blocks:
        chosen = np.arange(count)[which] if isinstance(which, slice) else np.asarray(which)
        if tuple(patches.shape) != (chosen.size, *whole):
            raise ValueError(
                f"a block of patches of shape {tuple(patches.shape)} for {chosen.size} positions "
                f"and weights of {whole[0]} x {whole[1]} pixels"
            )
        if came[chosen].any():
            raise ValueError(f"the patch of position {chosen[came[chosen]][0]} came twice")
        came[chosen] = True
        if isinstance(patches, np.ndarray) and not np.isfinite(patches.sum(dtype=np.float64)):
            bad = chosen[~np.isfinite(patches).all(axis=(1, 2))]
            raise ValueError(
                f"{bad.size} of {chosen.size} patches hold values that are not finite, the first "
                f"that of position {bad[0]}; leave such positions out"
            )
        yield chosen, patches
    if not came.all():
        raise ValueError(
            f"{count - came.sum()} of {count} positions have no patch, the first is "
            f"{np.flatnonzero(~came)[0]}"
        )


def _check(positions: np.ndarray, weights: np.ndarray, shape: tuple[int, int]) -> None:
    if positions.ndim != 2 or positions.shape[1] != 2 or not np.isfinite(positions).all():
        raise ValueError(
            f"positions of shape {positions.shape}; expected (patches, 2) finite numbers, (y, x)"
        )
    if not len(positions):
        raise ValueError("there are no patches to stitch")
    if weights.ndim not in (2, 3) or (weights.ndim == 3 and len(weights) != len(positions)):
        raise ValueError(
            f"weights of shape {weights.shape} for {len(positions)} patches; expected (height, "
            "width), or one such for each patch"
        )
    total = weights.sum(axis=(-2, -1))
    if not (np.isfinite(weights).all() and weights.min() >= 0 and np.all(total > 0)):
        raise ValueError("weights must be finite and not negative, and each patch must have some")
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"an image of {shape} pixels cannot be made")
