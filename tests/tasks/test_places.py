"""Places of the scan's positions: the raster's, or those of a file that fits the scan."""

from types import SimpleNamespace

import numpy as np
import pytest

from models.geometry import Geometry
from tasks.array_files import ArrayFile, ArrayFileError, read_positions
from tasks.places import scan_places

EVENTS = SimpleNamespace(scan_shape=(3, 4))
GEOMETRY = Geometry(80e3, 0.025, (0.5, 0.25), (15.0, 15.0), 7.0)


def test_raster_has_the_steps_of_the_scan():
    y, x = scan_places(EVENTS, GEOMETRY)
    np.testing.assert_array_equal(y[:, 0], [0, 0.5, 1])
    np.testing.assert_array_equal(x[0], [0, 0.25, 0.5, 0.75])


@pytest.mark.parametrize("shape", [(3, 4, 2), (12, 2)])
def test_places_of_a_file_come_in_the_order_of_the_scan(tmp_path, shape):
    places = np.arange(24.0).reshape(shape)
    np.save(tmp_path / "p.npy", places)
    y, x = scan_places(EVENTS, GEOMETRY, ArrayFile.at(str(tmp_path / "p.npy"), read_positions))
    assert (y[1, 2], x[1, 2]) == (12, 13)
    assert y.shape == x.shape == (3, 4)


@pytest.mark.parametrize(("shape", "said"), [((4, 3, 2), "4 x 3"), ((11, 2), "of 11")])
def test_places_of_another_scan_are_refused(tmp_path, shape, said):
    np.save(tmp_path / "p.npy", np.zeros(shape))
    given = ArrayFile.at(str(tmp_path / "p.npy"), read_positions)
    with pytest.raises(ArrayFileError, match=f"positions .*{said}.* the scan has 3 x 4"):
        scan_places(EVENTS, GEOMETRY, given)
