"""The known specimens: reproducible, weak enough, and with something at every frequency."""

import numpy as np
import pytest

from models.specimens import SPECIMENS, build_specimen

SIZE = (32.0, 30.0)


def image(name, seed=0, step=0.2, **options):
    specimen = build_specimen(name, SIZE, 80e3, np.random.default_rng(seed), **options)
    return specimen.phase((160, 150), (step, step))


@pytest.mark.parametrize("name", SPECIMENS)
def test_same_seed_same_specimen_and_another_seed_another(name):
    np.testing.assert_array_equal(image(name), image(name))
    assert np.abs(image(name) - image(name, seed=1)).max() > 0.02


@pytest.mark.parametrize("name", SPECIMENS)
def test_phase_is_that_of_a_thin_specimen_with_bright_atoms(name):
    phase = image(name)
    assert 0.1 < np.ptp(phase) < 1.4
    assert ((phase - phase.mean()) ** 3).mean() / phase.std() ** 3 > 0.05 or name == "hbn"


@pytest.mark.parametrize("name", SPECIMENS)
def test_every_ring_up_to_twice_the_aperture_is_filled(name):
    phase = image(name)
    window = np.hanning(160)[:, None] * np.hanning(150)
    power = np.abs(np.fft.fft2((phase - phase.mean()) * window)) ** 2
    q = np.hypot(np.fft.fftfreq(160, 0.2)[:, None], np.fft.fftfreq(150, 0.2))
    ring = (q * 32).astype(int)
    means = np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())
    # Of the whole range 1/32 Å to 1.2 1/Å none is weaker than a 5 mrad wiggle over the field.
    noise = 0.005**2 * (window**2).sum()
    assert (means[1 : int(1.2 * 32)] > 0.1 * noise).all()


@pytest.mark.parametrize("name", SPECIMENS)
def test_periodic_form_has_no_seam(name):
    phase = image(name, periodic=True)
    for axis in (0, 1):
        steps = np.abs(np.diff(phase, axis=axis, append=phase.take([0], axis)))
        seam = steps.take(-1, axis)
        assert seam.mean() < 1.5 * steps.mean()


@pytest.mark.parametrize("name", SPECIMENS)
def test_crystal_goes_on_beyond_the_field(name):
    specimen = build_specimen(name, SIZE, 80e3, np.random.default_rng(0), margin=20.0)
    outside = specimen.phase((60, 300), (0.2, 0.2), (-14.0, -14.0))
    assert outside.std() > 0.3 * image(name).std()


def test_molybdenum_disulfide_scatters_like_its_planes():
    # (10-10) of MoS2: d = 3.16 √3/2 Å; both grains have it, 24° apart.
    phase = image("mos2")
    window = np.hanning(160)[:, None] * np.hanning(150)
    power = np.abs(np.fft.fft2((phase - phase.mean()) * window)) ** 2
    q = np.hypot(np.fft.fftfreq(160, 0.2)[:, None], np.fft.fftfreq(150, 0.2))
    on = power[np.abs(q - 2 / (3.16 * np.sqrt(3))) < 0.02].max()
    off = power[np.abs(q - 0.28) < 0.02].max()
    assert on > 3 * off


def test_unknown_specimen_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match="'moss2'; there are mos2, hbn, graphene, gold"):
        build_specimen("moss2", SIZE, 80e3, np.random.default_rng(0))


def test_field_without_size_is_refused():
    with pytest.raises(ValueError, match="has no size"):
        build_specimen("gold", (0.0, 3.0), 80e3, np.random.default_rng(0))
