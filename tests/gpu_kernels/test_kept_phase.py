"""G that is kept on a device gives, for each calibration, the phase that the host gives."""

import os

import numpy as np
import pytest
from numba import cuda

from gpu_kernels.backend import to_device, to_host
from gpu_kernels.kept_phase import CountedPhase, KeptPhase
from gpu_kernels.ssb import ssb_partial, sums_of_parts
from gpu_kernels.ssb_finish import phase_spectrum, ssb_finish
from gpu_kernels.ssb_geometry import SsbGeometry

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
SCAN, STEP, APERTURE = (8, 9), (0.32, 0.3), 0.6


def lens(**changes):
    aberrations = np.zeros(12)
    aberrations[:3], aberrations[7] = changes.pop("second", (60.0, 20.0, -8.0)), 2e4
    values = {
        "scan_shape": SCAN, "scan_step": STEP, "rotation": -0.2, "aperture": APERTURE,
        "wavelength": 0.0418, "aberrations": aberrations,
    }  # fmt: skip
    return SsbGeometry(**(values | changes))


@pytest.mark.gpu
@pytest.mark.parametrize("integers", [False, True])
def test_each_calibration_gives_what_the_host_gives(integers):
    if not (SIMULATED or cuda.is_available()):
        pytest.skip("no CUDA device, and NUMBA_ENABLE_CUDASIM is not 1")
    rng, rows = np.random.default_rng(0), np.array([0, 1, 2, 6, 7])
    pixels, columns = 40, lens().columns
    k_y, k_x = rng.uniform(-1, 1, (2, pixels)) * APERTURE  # some outside the disk
    parts = rng.integers(-30_000, 30_000, (pixels, rows.size, columns, 2)).astype(np.int16)
    scale = rng.uniform(1e-5, 1e-4, (2, rows.size, columns)).astype(np.float32)
    values = parts * np.repeat(scale, 32, axis=0)[:pixels, ..., None]
    if integers:
        kept = KeptPhase(to_device(parts), rows, SCAN, STEP, to_device(scale))
    else:
        kept = KeptPhase(to_device(values), rows, SCAN, STEP)
    lenses = [lens(), lens(second=(-40.0, 0.0, 3.0)), lens(aperture=0.5, rotation=0.4), lens()]
    found = [to_host(kept(k_y, k_x, one, 3.7)).copy() for one in lenses]
    q_y = np.fft.fftfreq(SCAN[0], STEP[0])[rows]
    for image, one in zip(found, lenses, strict=True):
        fields = sums_of_parts(values.astype(np.float64), k_y, k_x, q_y, one, everything=False)
        half = np.zeros((SCAN[0], SCAN[1] // 2 + 1), complex)
        half[rows, :columns] = phase_spectrum(fields, 3.7)[0]
        exact = np.fft.irfft2(half, SCAN)
        np.testing.assert_allclose(image, exact, rtol=0, atol=1e-5 * np.abs(exact).max())
    assert found[0].tobytes() == found[3].tobytes()
    assert np.abs(found[0] - found[1]).max() > 0.1 * np.abs(found[0]).max()


@pytest.mark.gpu
@pytest.mark.parametrize(("scan", "at_once"), [(SCAN, 3), (SCAN, 64), ((3, 16), 5)])
def test_counts_give_what_the_host_gives_and_other_counts_theirs(scan, at_once):
    if not (SIMULATED or cuda.is_available()):
        pytest.skip("no CUDA device, and NUMBA_ENABLE_CUDASIM is not 1")
    rng, geometry = np.random.default_rng(1), lens(scan_shape=scan)
    k_y, k_x = rng.uniform(-0.7, 0.7, (2, 5)) * APERTURE
    counts = rng.poisson(3.0, (2, 5, *scan)).astype(np.uint8)
    there = to_device(counts[0])
    phase = CountedPhase(there, k_y, k_x, geometry, at_once)
    found = [to_host(phase()).copy()]
    there.set(counts[1])
    found.append(to_host(phase()).copy())
    for image, block in zip(found, counts, strict=True):
        sums = ssb_partial(block, k_y, k_x, geometry, np.float64)
        exact = ssb_finish(sums, float(block.mean()), geometry).phase
        np.testing.assert_allclose(image, exact, rtol=0, atol=1e-5 * np.abs(exact).max())
