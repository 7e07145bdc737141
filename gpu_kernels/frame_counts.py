"""One frame's electrons counted: by class, in virtual detectors, in the disk, by dense bin.

Counts go into several histograms in turn, since neighbouring events often hit the same class, and a
counter that has just been written is not there for some cycles.
"""

import numpy as np
from numba import njit

EIGHT = np.uint64(8)


@njit(nogil=True, cache=True)
def count_classes(indptr, begin, end, pixels, table, a, b, c, d, counts, first):
    """Count the electrons of frames ``begin`` to ``end`` by class into rows from ``first`` on.

    ``pixels`` are those of these frames; without a ``table`` they are classes already. The four
    histograms are added up where there are four, and left clear. One call for many frames: to
    hand over so many arrays takes as long as to count some tens of electrons.
    """
    one, none, start = a.dtype.type(1), a.dtype.type(0), indptr[begin]
    for p in range(begin, end):
        events, row = pixels[indptr[p] - start : indptr[p + 1] - start], counts[p - first]
        if b.size != a.size:
            for event in range(events.size):
                a[_class_of(table, events[event])] += one
            for k in range(row.size):
                row[k] = a[k]
            a[:] = none
            continue
        quarter = events.size // 4
        for event in range(quarter):
            a[_class_of(table, events[event])] += one
            b[_class_of(table, events[event + quarter])] += one
            c[_class_of(table, events[event + 2 * quarter])] += one
            d[_class_of(table, events[event + 3 * quarter])] += one
        for event in range(4 * quarter, events.size):
            a[_class_of(table, events[event])] += one
        for k in range(row.size):
            row[k] = np.uint32(a[k]) + np.uint32(b[k]) + np.uint32(c[k]) + np.uint32(d[k])
        a[:] = none
        b[:] = none
        c[:] = none
        d[:] = none


@njit(nogil=True, cache=True)
def count_packed(events, label, words, word, virtual, p):
    """Count a frame's events in eight virtual detectors at once, each in 8 bits of a number.

    Four numbers for the four quarters of a stretch, so that no addition waits for another, and the
    compiler does not gather from the table, which takes longer.
    """
    row, field, masks = words[word], np.uint64(0xFF), range(8 * word, 8 * word + 8)
    for mask in masks:
        virtual[p, mask] = 0
    for begin in range(0, events.size, 4 * 255):
        part = events[begin : begin + 4 * 255]
        quarter = part.size // 4
        a, b, c, d = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
        for event in range(quarter):
            a += row[label[part[event]]]
            b += row[label[part[event + quarter]]]
            c += row[label[part[event + 2 * quarter]]]
            d += row[label[part[event + 3 * quarter]]]
        for mask in masks:
            virtual[p, mask] += (a & field) + (b & field) + (c & field) + (d & field)
            a, b, c, d = a >> EIGHT, b >> EIGHT, c >> EIGHT, d >> EIGHT
        for event in range(4 * quarter, part.size):
            a += row[label[part[event]]]
        for mask in masks:
            virtual[p, mask] += a & field
            a >>= EIGHT


@njit(nogil=True, cache=True)
def count_inside(events, label):
    """Count a frame's events in a virtual detector that is the only one."""
    quarter = events.size // 4
    a, b, c, d = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    for event in range(quarter):
        a += np.uint64(label[events[event]])
        b += np.uint64(label[events[event + quarter]])
        c += np.uint64(label[events[event + 2 * quarter]])
        d += np.uint64(label[events[event + 3 * quarter]])
    for event in range(4 * quarter, events.size):
        a += np.uint64(label[events[event]])
    return a + b + c + d


@njit(nogil=True, cache=True)
def moments_in_mask(events, disk, cols, by, moments, p):
    """Electrons in a mask, and their sums of row and column, of a frame's ``events``."""
    # A division is a product and a shift: exact for all pixels of a detector below 65,535 a side.
    # Two sums of each kind, since an addition waits for the one before it. Written out, because
    # the compiler would else gather from the table, which is slower than looking up one by one.
    shift, none = np.uint64(48), np.uint64(0)
    electrons, others, pixels, pixels_2, rows, rows_2 = none, none, none, none, none, none
    pairs = events.size // 2 * 2
    for event in range(0, pairs, 2):
        pixel, inside = np.uint64(events[event]), np.uint64(disk[events[event]])
        electrons += inside
        mask = none - inside
        rows += ((pixel * by) >> shift) & mask
        pixels += pixel & mask
        pixel, inside = np.uint64(events[event + 1]), np.uint64(disk[events[event + 1]])
        others += inside
        mask = none - inside
        rows_2 += ((pixel * by) >> shift) & mask
        pixels_2 += pixel & mask
    for event in range(pairs, events.size):
        pixel, inside = np.uint64(events[event]), np.uint64(disk[events[event]])
        electrons += inside
        rows += ((pixel * by) >> shift) * inside
        pixels += pixel * inside
    rows += rows_2
    moments[p, 0] = electrons + others
    moments[p, 1] = rows
    moments[p, 2] = pixels + pixels_2 - rows * np.uint64(cols)


@njit(nogil=True, cache=True)
def count_bins(indptr, begin, end, pixels, table, tile, first):
    """Count the electrons of frames ``begin`` to ``end`` by bin into columns from ``first`` on.

    ``pixels`` are those of these frames; without a ``table`` they are bins already. The four
    quarters of a frame go by turns: neighbours in one of them hit the same bin, or the next.
    """
    one, start = tile.dtype.type(1), indptr[begin]
    for p in range(begin, end):
        events, column = pixels[indptr[p] - start : indptr[p + 1] - start], p - first
        quarter = events.size // 4
        for event in range(quarter):
            tile[_class_of(table, events[event]), column] += one
            tile[_class_of(table, events[event + quarter]), column] += one
            tile[_class_of(table, events[event + 2 * quarter]), column] += one
            tile[_class_of(table, events[event + 3 * quarter]), column] += one
        for event in range(4 * quarter, events.size):
            tile[_class_of(table, events[event]), column] += one


@njit(nogil=True, cache=True)
def _class_of(table, pixel):
    """What a pixel belongs to; without a table, it is that already."""
    if table is None:
        return pixel
    return table[pixel]
