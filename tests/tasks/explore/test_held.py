"""What is held is the recording: every electron, and the phase that a night would find."""

from dataclasses import replace

import numpy as np
import pytest

from gpu_kernels.dpc import radius_of_com
from gpu_kernels.pixel_plan import radii
from tasks.explore import held as module
from tasks.explore.held import HeldError, Window, hold, largest_window


def frames(store):
    """Dense frames of a store, (scan_y, scan_x, rows, cols)."""
    rows, cols = store.detector_shape
    out = np.zeros((*store.scan_shape, rows * cols), int)
    for slab in range(store.slabs):
        first, last = store.rows(slab)
        indptr, indices = store.read(slab)
        at = np.repeat(np.arange(indptr.size - 1), np.diff(indptr))
        part = np.zeros((indptr.size - 1, rows * cols), int)
        np.add.at(part, (at, indices), 1)
        out[first:last] = part.reshape(last - first, store.scan_shape[1], -1)
    return out.reshape(*store.scan_shape, rows, cols)


def test_a_window_holds_the_counts_of_its_frames(store, truth):
    window = Window(9, 40, 3, 60)
    found = hold(store, truth.geometry, window)
    expected = window.of(frames(store))
    np.testing.assert_array_equal(found.frame_electrons, expected.sum(axis=(2, 3)))
    assert found.coarse.sum() == expected.sum()
    about = radius_of_com(truth.geometry.radius)
    inside = radii(store.detector_shape, truth.geometry.center) < about
    np.testing.assert_array_equal(found.com_electrons, expected[:, :, inside].sum(axis=-1))
    pixel = int(np.argmax(found.counts.sum(axis=(1, 2), dtype=int)))
    corner = np.array([found.rows[pixel], found.cols[pixel]]) - (found.bin - 1) / 2
    y, x = corner.astype(int)
    binned = expected[:, :, y : y + found.bin, x : x + found.bin].sum(axis=(2, 3))
    np.testing.assert_array_equal(found.counts[pixel], binned)


def test_the_disk_may_move_a_little_within_what_is_held(held, truth):
    assert held.covers(truth.geometry)
    assert held.covers(replace(truth.geometry, radius=truth.geometry.radius + 1))
    row, col = truth.geometry.center
    assert not held.covers(replace(truth.geometry, center=(row + 8, col)))
    assert not held.covers(replace(truth.geometry, semiangle=2 * truth.geometry.semiangle))


def test_a_scan_that_memory_cannot_hold_is_cropped(store, truth, monkeypatch):
    needed = module.projected_bytes(truth.geometry, Window(0, 64, 0, 64))

    class Memory:
        available = 0.4 * needed / module.SHARE_OF_MEMORY

    monkeypatch.setattr(module.psutil, "virtual_memory", Memory)
    window = largest_window(store, truth.geometry)
    assert 32 <= window.shape[0] < 64
    assert module.projected_bytes(truth.geometry, window) <= 0.4 * needed
    assert window.y0 + window.y1 == 64


def test_a_disk_off_the_detector_is_refused(store, truth):
    off = replace(truth.geometry, center=(500.0, 500.0))
    with pytest.raises(HeldError, match=r"no detector pixel lies in the disk .* \(500.0, 500.0\)"):
        hold(store, off, Window(0, 64, 0, 64))
