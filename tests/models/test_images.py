"""Crops without end: seeded, of the range that they were asked for, from every picture."""

from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

from models.images import (
    HELD_OUT_PHOTOGRAPHS,
    PHOTOGRAPHS,
    Atlas,
    check_photographs,
    grey,
    held_out_atlas,
    photograph,
    training_atlas,
)
from models.procedural import KINDS, procedural_images


@pytest.fixture(scope="module")
def atlas():
    return Atlas.of(procedural_images(8, np.random.default_rng(0)))


def test_crops_follow_the_seed_and_never_repeat(atlas):
    one = atlas.phases(500, 16, np.random.default_rng(1))
    np.testing.assert_array_equal(one, atlas.phases(500, 16, np.random.default_rng(1)))
    drawn = one[np.ptp(one, axis=(1, 2)) > 0].reshape(-1, 256)
    assert len(drawn) > 480  # the inside of a large leaf has nothing on it
    assert np.unique(drawn, axis=0).shape == drawn.shape
    assert np.abs(one - atlas.phases(500, 16, np.random.default_rng(2))).max() > 0.1


def test_crops_have_the_ranges_that_were_asked_for(atlas):
    crops = atlas.phases(2000, 16, np.random.default_rng(3), (0.2, 1.6))
    ranges = np.ptp(crops, axis=(1, 2))
    ranges = ranges[ranges > 0]
    assert ranges.min() >= 0.2 * 0.999
    assert ranges.max() <= 1.6 * 1.001
    # Even in its logarithm: half of the crops lie below the geometric mean.
    assert abs(np.mean(ranges < np.sqrt(0.2 * 1.6)) - 0.5) < 0.05


def test_an_unturned_crop_is_the_picture_itself(monkeypatch):
    monkeypatch.setattr("models.images.ZOOM", (1.0, 1.0))
    y, x = np.indices((80, 80)).astype(float)
    crops = Atlas.of([3 * y + 5 * x]).phases(50, 16, np.random.default_rng(4), (1.0, 1.0))
    # A plane stays a plane, however it is turned, mirrored and moved.
    second = np.diff(crops, n=2, axis=1), np.diff(crops, n=2, axis=2)
    assert max(np.abs(one).max() for one in second) < 1e-4


def test_every_kind_of_drawing_has_something_on_it():
    for kind in KINDS:
        picture = kind(np.random.default_rng(5))
        assert picture.shape == (160, 160)
        assert np.isfinite(picture).all()
        assert picture.std() > 0.01 * np.abs(picture).max()


def test_photographs_come_with_the_library_and_validation_has_its_own():
    assert not set(PHOTOGRAPHS["scikit-image"]) & set(HELD_OUT_PHOTOGRAPHS)
    picture = photograph("camera")
    assert picture.ndim == 2
    assert max(picture.shape) <= 512
    assert len(held_out_atlas().starts) >= len(HELD_OUT_PHOTOGRAPHS)


@pytest.mark.parametrize("library", sorted(PHOTOGRAPHS))
def test_every_library_gives_its_photographs(library):
    pytest.importorskip(
        {"scikit-learn": "sklearn", "scikit-image": "skimage"}.get(library, library)
    )
    for name in PHOTOGRAPHS[library]:
        picture = photograph(name, library)
        assert picture.ndim == 2
        assert 255 < max(picture.shape) <= 512
        assert picture.std() > 10 or name in ("horse", "cell", "logo")
    alone = training_atlas(0, procedural=1, photographs=(library,))
    assert len(alone.starts) > len(PHOTOGRAPHS[library])


def test_photographs_are_those_asked_for_whatever_is_installed():
    usual = training_atlas(0, procedural=1)
    told = training_atlas(0, procedural=1, photographs=("scikit-image",))
    np.testing.assert_array_equal(usual.pixels, told.pixels)
    both = training_atlas(0, procedural=1, photographs=("scikit-image", "matplotlib"))
    assert both.pixels.size > usual.pixels.size
    assert set(check_photographs(("matplotlib",))) == {"matplotlib"}


def test_photographs_of_a_library_that_is_not_there_are_refused(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("models.images.version", absent)
    with pytest.raises(ValueError, match="'scikit-learn': it is not installed; pip install"):
        training_atlas(0, photographs=("scikit-learn",))
    monkeypatch.undo()
    for wrong in (("holiday",), ("matplotlib", "matplotlib")):
        with pytest.raises(ValueError, match="each library once, of scikit-image, matplotlib"):
            training_atlas(0, photographs=wrong)


def test_colours_become_grey_and_transparency_is_left_out():
    colours = np.zeros((100, 100, 4), np.uint8)
    colours[..., 0], colours[..., 3] = 90, 255
    np.testing.assert_allclose(grey(colours), 30)


@pytest.mark.parametrize("pictures", [[], [np.zeros((20, 100))], [np.zeros((100, 100, 3))]])
def test_what_is_no_picture_is_refused(pictures):
    with pytest.raises(ValueError, match="picture"):
        Atlas.of(pictures)
