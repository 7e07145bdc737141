"""Rings and bins of electrons, computed sixteen at a time instead of looked up one by one.

A table of a detector's pixels is larger than the first cache, which is waited for at each electron.
Row and column of a pixel, its distance from a centre and its bin are some twenty instructions that
a core does for sixteen electrons at once. A rule is used only where it gives what the table has at
every pixel; it neither fuses nor reorders additions, so that each electron gets the same.
"""

from typing import Any

import numpy as np
from numba import njit

MOST_PIXELS = 1 << 24
"""Single precision tells all whole numbers up to this apart."""
PIXELS_AT_ONCE = 1 << 18
PLAIN, CORRECTED = np.float32(0), np.float32(1)
ABOVE = np.float32(1e-3)
"""Added to a ring's number before it is cut off, so that it is right or one too high [rings]."""


def ring_rule(
    label: np.ndarray, shape: tuple[int, int], about: tuple[float, float, float]
) -> np.ndarray | None:
    """Find how to compute the rings that a table holds.

    Parameters
    ----------
    label : (pixels,) uint8 or uint16
        Ring of each pixel, the last one open.
    shape : (rows, cols)
        Of the detector.
    about : (row, col, width)
        Centre and width of the rings [px].

    Returns
    -------
    (7,) float32 or None
        For ``rings_of``: whether to correct, whole and rest of the centre's row, of its column,
        the width and the last ring. None where it would not be right everywhere.
    """
    row, col, width = about
    last = float(label.max(initial=0))
    down, right = float(round(row)), float(round(col))
    for how in (PLAIN, CORRECTED):
        rule = np.array([how, down, row - down, right, col - right, width, last], np.float32)
        if _same(rings_of, label, shape, rule):
            return rule
    return None


def bin_rule(table: np.ndarray, shape: tuple[int, int], outside: int) -> np.ndarray | None:
    """Find how to compute the bins that a table holds, if they are those of a window.

    Parameters
    ----------
    table : (pixels,) uint16
        Bin of each pixel; ``outside`` beyond the window.
    shape : (rows, cols)
        Of the detector.
    outside : int
        Number of bins.

    Returns
    -------
    (10,) float32 or None
        For ``bins_of``: bins per pixel, where they begin, the first and last of them, along rows
        and along columns; how many lie in a row, and in all. None where it is no such window.
    """
    bins = table.reshape(shape)
    rows, cols = (np.flatnonzero((bins < outside).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    corner = int(bins[rows[0], cols[0]])
    down = bins[rows[0] : rows[-1] + 1, cols[0]].astype(np.int64)
    right = bins[rows[0], cols[0] : cols[-1] + 1].astype(np.int64)
    across = int(np.diff(down)[np.diff(down) != 0].min(initial=outside))
    if across < 1:
        return None
    first_row, first_col = divmod(corner, across)
    along = *_along(rows[0], down, first_row), *_along(cols[0], right, first_col)
    rule = np.array([*along, across, outside], np.float32)
    return rule if _same(bins_of, table, shape, rule) else None


def _along(first: int, bins: np.ndarray, number: int) -> tuple[float, float, float, float]:
    """Bins per pixel, number of pixel 0's upper edge in bins, first and last bin along one axis."""
    jumps = np.flatnonzero(np.diff(bins)) + 1
    edges = np.concatenate([[0], jumps, [bins.size]])
    size = int(np.diff(edges)[1:-1].max()) if jumps.size > 1 else int(np.diff(edges).max())
    # The first bin may be cut off by the detector's edge, the second begins where it ends.
    begin = first + (jumps[0] - size if jumps.size else 0)
    return 1 / size, number + (0.5 - begin) / size, number, number + jumps.size


def _same(kernel: Any, table: np.ndarray, shape: tuple[int, int], rule: np.ndarray) -> bool:
    """Whether a rule gives a table's number at every pixel."""
    if table.size > MOST_PIXELS or not table.size:
        return False
    found = np.empty(PIXELS_AT_ONCE, np.uint16)
    for begin in range(0, table.size, PIXELS_AT_ONCE):
        part = table[begin : begin + PIXELS_AT_ONCE]
        kernel(np.arange(begin, begin + part.size, dtype=np.uint32), shape[1], rule, found)
        if not np.array_equal(found[: part.size], part):
            return False
    return True


@njit(nogil=True, cache=True)
def rings_of(events, cols, rule, found):
    """Ring of each event into ``found`` (uint16); returns the highest event.

    Events beyond the detector get a ring like any other.
    """
    down, row_rest, right, col_rest = rule[1], rule[2], rule[3], rule[4]
    width, last = rule[5], rule[6]
    center_row, center_col = down + row_rest, right + col_rest
    columns, by, half = np.float32(cols), np.float32(1 / cols), np.float32(0.5)
    per_width, none, one = np.float32(1) / width, np.float32(0), np.float32(1)
    most = np.uint32(0)
    if rule[0] == PLAIN:
        for event in range(events.size):
            most = max(most, np.uint32(events[event]))
            pixel = np.float32(np.int32(events[event]))
            row = np.floor((pixel + half) * by)
            y, x = row - center_row, pixel - row * columns - center_col
            found[event] = np.int32(min(np.sqrt(y * y + x * x) * per_width, last))
        return most
    # The square of the distance from the pixel nearest to the centre is a whole number, and exact;
    # what the rest of the centre adds is small, and so are its errors.
    twice_row, twice_col = row_rest + row_rest, col_rest + col_rest
    square = row_rest * row_rest + col_rest * col_rest
    for event in range(events.size):
        most = max(most, np.uint32(events[event]))
        pixel = np.float32(np.int32(events[event]))
        row = np.floor((pixel + half) * by)
        y, x = row - down, pixel - row * columns - right
        whole, rest = y * y + x * x, y * twice_row + x * twice_col - square
        ring = np.floor(np.sqrt(abs(whole - rest)) * per_width + ABOVE)
        ring = min(ring, last)
        edge = ring * width
        if whole - edge * edge < rest:
            ring -= one
        found[event] = np.int32(max(ring, none))
    return most


@njit(nogil=True, cache=True)
def bins_of(events, cols, rule, found):
    """Bin of each event into ``found`` (uint16); returns the highest event.

    Events beyond the detector are outside the window, or in a bin like any other.
    """
    per_row, row_begin, row_first, row_last = rule[0], rule[1], rule[2], rule[3]
    per_col, col_begin, col_first, col_last = rule[4], rule[5], rule[6], rule[7]
    across, outside = rule[8], rule[9]
    columns, by, half = np.float32(cols), np.float32(1 / cols), np.float32(0.5)
    most = np.uint32(0)
    for event in range(events.size):
        most = max(most, np.uint32(events[event]))
        pixel = np.float32(np.int32(events[event]))
        row = np.floor((pixel + half) * by)
        down = np.floor(row * per_row + row_begin)
        right = np.floor((pixel - row * columns) * per_col + col_begin)
        inside = (
            (down >= row_first) & (down <= row_last) & (right >= col_first) & (right <= col_last)
        )
        found[event] = np.int32(down * across + right if inside else outside)
    return most
