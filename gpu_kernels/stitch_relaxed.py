"""Stitching by relaxation, for comparison: each patch in turn pulls the image towards itself.

The method of the paper on deep-learning diffractive imaging (Chang et al., Phys. Rev. Lett. 130,
016101 (2023)): patches without their mean are laid on a four times finer grid at rounded places,
in a random order, three times; a tenth of what is missing is added each time. Long waves of the
phase travel by a patch in a visit, so most of them never arrive. ``stitch`` is the one to use.
"""

import numpy as np
from numba import njit

FINER = 4


def stitch_relaxed(
    patches: np.ndarray,
    positions: np.ndarray,
    weights: np.ndarray,
    shape: tuple[int, int],
    *,
    passes: int = 3,
    pull: float = 0.1,
    seed: int = 0,
) -> np.ndarray:
    """Stitch patches by relaxation.

    Parameters
    ----------
    patches : (patches, height, width) float32
        See ``stitch.stitch``.
    positions : (patches, 2) float64
        (y, x) of pixel (height // 2, width // 2) [px].
    weights : (height, width)
        Pixels above 0 are laid on.
    shape : (rows, cols)
        Of the image, which all patches must lie on.
    passes : int
        Visits to each patch.
    pull : float
        Part of the difference that a visit adds.
    seed : int
        Of the order of the visits.

    Returns
    -------
    (rows, cols) float64
        In the units of the patches; 0 where none was laid.

    Raises
    ------
    ValueError
        If a patch reaches out of the image.
    """
    y, x = (at.astype(np.int64) for at in np.nonzero(np.asarray(weights) > 0))
    middle = np.array(weights.shape) // 2
    corners = np.floor((positions - middle) * FINER + 0.5).astype(np.int64)
    last = corners + FINER * np.array([y.max() + 1, x.max() + 1])
    first = corners + FINER * np.array([y.min(), x.min()])
    if (first < 0).any() or (last > FINER * np.array(shape)).any():
        raise ValueError(
            f"patches reach from {first.min(axis=0) / FINER} to {last.max(axis=0) / FINER} px; the "
            f"image has {shape[0]} x {shape[1]}"
        )
    image = np.zeros((FINER * shape[0], FINER * shape[1]))
    order = np.random.default_rng(seed).permutation(len(positions))
    for _ in range(passes):
        _pull(image, patches, corners, y, x, order, pull)
    return image.reshape(shape[0], FINER, shape[1], FINER).mean(axis=(1, 3))


@njit(nogil=True, cache=True)
def _pull(image, patches, corners, y, x, order, pull):
    count = y.size
    for p in order:
        mean_patch = mean_image = 0.0
        for n in range(count):
            mean_patch += patches[p, y[n], x[n]] / count
            top, left = corners[p, 0] + FINER * y[n], corners[p, 1] + FINER * x[n]
            mean_image += image[top : top + FINER, left : left + FINER].mean() / count
        for n in range(count):
            goal = patches[p, y[n], x[n]] - mean_patch + mean_image
            top, left = corners[p, 0] + FINER * y[n], corners[p, 1] + FINER * x[n]
            for i in range(top, top + FINER):
                for j in range(left, left + FINER):
                    image[i, j] += pull * (goal - image[i, j])
