"""Electrons inside a circle of pixels, found by arithmetic on eight at once, not by look-ups.

The moments of the bright-field disk need the row and column of each electron anyhow. Where the disk
is a circle, one comparison more tells whether it lies inside; to look each of them up takes three
times as long.
"""

import numpy as np
from numba import njit

MOST_PIXELS = 1 << 21
"""A row is found by a product in single precision, which is certain for detectors up to this."""
EXACT = 1 << 24
"""Whole numbers up to this add up in single precision without rounding, in any order."""
ROUNDS = 1000
GAP = 0.05
"""Between the squares of the distances of pixels inside and outside [px²] that is aimed at."""
ERROR = 2.0**-21
"""More than single precision gets wrong of the square of a distance, relative to the radius'."""


def circle_of(mask: np.ndarray) -> np.ndarray | None:
    """Find a circle that tells the pixels of a mask from all others.

    A relaxation of linear inequalities on the pixels along the edge (S. Agmon, Can. J. Math. 6,
    382, 1954): while the farthest pixel inside is not nearer than the nearest outside, the centre
    moves by what these two ask for.

    Parameters
    ----------
    mask : (rows, cols) bool
        Pixels of a disk.

    Returns
    -------
    (3,) float32 or None
        Row and column of the centre and square of the radius [px]; None where no circle was found
        that single precision can tell all pixels by.
    """
    if mask.size > MOST_PIXELS or not mask.any() or mask.all():
        return None
    edge = np.zeros(mask.shape, bool)
    for turned, here in ((edge, mask), (edge.T, mask.T)):
        change = here[1:] != here[:-1]
        turned[1:] |= change
        turned[:-1] |= change
    within, beyond = (np.argwhere(edge & side).astype(float) for side in (mask, ~mask))
    center = np.argwhere(mask).mean(axis=0)
    for _ in range(ROUNDS):
        near, far = (((pixels - center) ** 2).sum(axis=1) for pixels in (within, beyond))
        excess = near.max() - far.min() + GAP
        if excess <= 0:
            break
        slope = 2 * (beyond[far.argmin()] - within[near.argmax()])
        center -= excess * slope / (slope @ slope)
    circle = np.array([*center, (near.max() + far.min()) / 2], np.float32)
    row, col, square = map(float, circle)
    rows, cols = np.ogrid[: mask.shape[0], : mask.shape[1]]
    squares = (rows - row) ** 2 + (cols - col) ** 2
    if not np.array_equal(squares < square, mask):
        return None
    return circle if np.abs(squares - square).min() > ERROR * square else None


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def moments_in_circle(events, cols, circle, moments, p):
    """Electrons inside a circle, and their sums of row and column, of a frame's ``events``."""
    row_of, col_of, square = circle[0], circle[1], circle[2]
    width, by = np.float32(cols), np.float32(1 / cols)
    half, one, none = np.float32(0.5), np.float32(1), np.float32(0)
    stretch = EXACT // max(cols, np.int64(row_of + np.sqrt(square)) + 2)
    electrons, rows, columns = 0, 0, 0
    for begin in range(0, events.size, stretch):
        part = events[begin : begin + stretch]
        count, row_sum, col_sum = none, none, none
        for event in range(part.size):
            pixel = np.float32(np.int32(part[event]))
            row = np.floor((pixel + half) * by)
            col = pixel - row * width
            down, right = row - row_of, col - col_of
            inside = one if down * down + right * right < square else none
            count += inside
            row_sum += row * inside
            col_sum += col * inside
        electrons += np.int64(count)
        rows += np.int64(row_sum)
        columns += np.int64(col_sum)
    moments[p, 0] = electrons
    moments[p, 1] = rows
    moments[p, 2] = columns
