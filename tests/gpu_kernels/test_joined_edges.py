"""A scan whose edges are joined has no step where the transform wraps, and shows more."""

from math import radians

import numpy as np
import pytest

from benchmarks.simulated_scan import mos2_phase, simulate
from benchmarks.ssb import likeness
from gpu_kernels.backend import to_host
from gpu_kernels.joined_edges import STRIP, join_edges, joined_shape
from gpu_kernels.ssb import ssb_partial
from gpu_kernels.ssb_finish import ssb_finish
from gpu_kernels.ssb_geometry import SsbGeometry
from models.aberrations import Aberrations
from models.geometry import Geometry


def test_joined_scan_keeps_the_counts_and_has_no_step(twin):
    y, x = np.indices((11, 14))
    slope = (2.0 * y + 3.0 * x + 1)[None].repeat(3, axis=0)  # between the edges it jumps by 20, 39
    shape = joined_shape((11, 14))
    joined = to_host(join_edges(twin(slope), shape))
    assert min(shape[0] - 11, shape[1] - 14) >= STRIP
    np.testing.assert_array_equal(joined[:, :11, :14], slope)
    for axis, rise in ((1, 20.0), (2, 39.0)):
        step = np.abs(np.roll(joined, -1, axis) - joined)
        assert step.max() <= max(rise / (STRIP + 1), 3.0) + 1e-4


def test_flat_scan_stays_flat():
    joined = join_edges(np.full((2, 9, 10), 7, np.uint16), (18, 20))
    assert joined.dtype == np.float32
    np.testing.assert_allclose(joined, 7, rtol=1e-6)


@pytest.mark.parametrize(("dose", "better"), [(None, 0.005), (1e4, 0.002)])
def test_object_that_does_not_repeat_is_seen_better(dose, better):
    lens = Aberrations(C10=60, C12=20, phi12=0.5236, C21=900, phi21=-0.87)
    optics = Geometry(80e3, 0.025, (0.24, 0.24), (7.3, 7.8), 6.4, radians(-14.0))
    scan = simulate(mos2_phase((96, 96), 0.24), (72, 64), optics, lens, sub_pixels=1)
    counted = scan if dose is None else scan.counted(dose)
    k = optics.wavevectors(scan.rows, scan.cols)
    inside = np.hypot(*k) < optics.aperture
    likenesses = []
    for shape in ((72, 64), joined_shape((72, 64))):
        geometry = SsbGeometry(shape, optics.scan_step, optics.rotation, optics.aperture,
                               optics.wavelength, lens.cartesian())  # fmt: skip
        block = join_edges(counted.dense, shape)
        images = ssb_finish(
            ssb_partial(block, *k, geometry), counted.dense[inside].mean(), geometry
        )  # fmt: skip
        likenesses.append(likeness(images.phase[:72, :64], scan))
    assert likenesses[1] > likenesses[0] + better
