import numpy as np
import pytest

from models.electron import wavelength
from tasks.report.circles import Optics, aperture_circles, detector_circles


def test_disk_is_drawn_around_its_centre(results):
    optics = Optics.of(results.attrs["calibration"])
    disk = detector_circles(results, (64, 64), optics)[0]
    # A pixel's coordinate is that of its centre, half a pixel from its edge in the picture.
    assert (disk.y * 64, disk.x * 64) == pytest.approx((31.7, 34.2))
    assert (disk.ry * 64, disk.rx * 64) == pytest.approx((14.5, 14.5))
    assert "14.5 px, 25 mrad" in disk.label


def test_edges_that_fall_together_share_a_circle_and_hidden_ones_have_none(results):
    labels = [c.label for c in detector_circles(results, (64, 64), Optics.of(results.calibration))]
    assert len(labels) == 3  # the disk with both outer edges, and two inner ones
    assert labels[0].startswith("Disk, bright field (outer), annular bright field (outer)")
    assert not any("90" in label for label in labels)


def test_aperture_is_an_ellipse_where_the_axes_have_different_steps():
    optics = Optics(semiangle=20.0, wavelength=wavelength(80e3))
    (alpha, twice), beyond = aperture_circles((100, 200), (0.05, 0.02), optics)
    k0 = 0.020 / 0.041757
    assert alpha.ry * 100 * 0.05 == pytest.approx(k0, rel=1e-4)
    assert alpha.rx * 200 * 0.02 == pytest.approx(k0, rel=1e-4)
    assert twice.rx == pytest.approx(2 * alpha.rx)
    assert (alpha.y, alpha.x) == pytest.approx((50.5 / 100, 100.5 / 200))
    assert beyond == ""


def test_aperture_beyond_the_spectrum_is_said_and_not_drawn():
    optics = Optics(semiangle=1.03, wavelength=wavelength(300e3))
    circles, beyond = aperture_circles((127, 127), (1 / 3969, 1 / 3969), optics)
    assert [c.style for c in circles] == []
    assert beyond.startswith("α and 2α beyond")


@pytest.mark.parametrize(
    "calibration",
    [{}, {"center_px": None}, {"center_px": {"value": [np.nan, 1]}, "semiangle_px": {"value": 0}}],
)
def test_unknown_optics_draw_nothing(results, calibration):
    optics = Optics.of(calibration)
    assert detector_circles(results, (64, 64), optics) == ()
    assert aperture_circles((64, 64), (0.1, 0.1), optics) == ((), "")
