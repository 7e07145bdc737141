"""DPC of simulated patterns is the phase smoothed by the probe's intensity, exactly.

The sum of k·|ψ(k)|² is that of |P|²∇φ for a phase object of any strength, so nothing here is
approximate. The scan's axes stand at the angle of a triangle with sides 3, 4 and 5 to the
detector's, and its waves are multiples of 5: turned, they still fall on detector pixels.
"""

import numpy as np
import pytest

from gpu_kernels import dpc

SIDE, PIXEL = 120, 0.045  # of the detector [px], of one pixel [1/Å]
K0, WAVELENGTH = 12.3 * PIXEL, 0.0418
CENTER = (59.7, 61.4)  # where the detector has k = 0: nothing depends on it
SCAN = (12, 14)
SPACING = (5, 10)  # of the object's waves along the scan's axes [px]
STEP = tuple(1 / (spacing * PIXEL * n) for spacing, n in zip(SPACING, SCAN, strict=True))
WAVES = [(1, 0, 0.11), (0, 1, 0.14), (2, 1, 0.06), (1, -1, 0.08), (-2, 1, 0.05), (3, 0, 0.04)]


def aperture(k_y, k_x):
    """C10 = 90 Å, C12 = 40 Å at 0.4 rad, C21 = 1500 Å at −0.9 rad, with a hard edge."""
    theta, phi = WAVELENGTH * np.hypot(k_y, k_x), np.arctan2(k_y, k_x)
    chi = theta**2 / 2 * (90 + 40 * np.cos(2 * (phi - 0.4)))
    chi += theta**3 / 3 * 1500 * np.cos(phi + 0.9)
    return (np.hypot(k_y, k_x) < K0) * np.exp(-2j * np.pi / WAVELENGTH * chi)


@pytest.mark.parametrize("flip", [False, True], ids=["plain", "mirrored detector"])
@pytest.mark.parametrize("turn", [1, -1], ids=["36.9 degrees", "-36.9 degrees"])
def test_dpc_of_patterns_is_the_phase_smoothed_by_the_probe(turn, flip):
    rotation = turn * np.arctan2(3, 4)
    c, s = np.cos(rotation), np.sin(rotation)
    k = np.fft.fftfreq(SIDE, 1 / SIDE) * PIXEL
    k_y, k_x = k[:, None], k[None]
    r = np.arange(SIDE) / (SIDE * PIXEL)
    # The object, on axes along the detector's; its waves are given along the scan's.
    phase = np.zeros((SIDE, SIDE))
    for at, (m, n, size) in enumerate(WAVES):
        q_y, q_x = m * SPACING[0] * PIXEL, n * SPACING[1] * PIXEL
        u, v = c * q_y + s * q_x, -s * q_y + c * q_x
        phase += size * np.cos(2 * np.pi * (u * r[:, None] + v * r) + at)
    lens = aperture(k_y, k_x)
    smoothed, sums, electrons = np.zeros(SCAN), np.zeros((*SCAN, 2)), np.zeros(SCAN)
    for y, x in np.ndindex(*SCAN):
        # The probe's place, turned from the scan's axes to the detector's.
        r_y = c * y * STEP[0] + s * x * STEP[1]
        r_x = -s * y * STEP[0] + c * x * STEP[1]
        probe = np.fft.ifft2(lens * np.exp(-2j * np.pi * (k_y * r_y + k_x * r_x)))
        pattern = np.abs(np.fft.fft2(probe * np.exp(1j * phase))) ** 2
        intensity = np.abs(probe) ** 2
        smoothed[y, x] = (intensity * phase).sum() / intensity.sum()
        moments = [(pattern * (k_y + 0 * k_x)).sum(), (pattern * (k_x + 0 * k_y)).sum()]
        electrons[y, x] = pattern.sum()
        # The axes that the detector reads out; a mirrored one exchanges them.
        sums[y, x] = np.array(moments[::-1] if flip else moments) / PIXEL
        sums[y, x] += electrons[y, x] * np.array(CENTER)

    com = dpc.deflection(sums, electrons, CENTER, PIXEL, rotation, flip)
    found = dpc.integrate(*com, STEP, "periodic")

    smoothed -= smoothed.mean()
    size = np.linalg.norm(smoothed)
    assert size > 0.2
    assert np.linalg.norm(found - smoothed) < 1e-6 * size
