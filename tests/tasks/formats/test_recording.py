"""What makes a frame missing, and what a scan must be."""

import numpy as np
import pytest

from tasks.formats.recording import (
    STRETCH,
    RecordingError,
    check_frame_count,
    check_scan_shape,
    frames_missing,
)


@pytest.mark.parametrize(("mean", "missing"), [(13, False), (15, True), (2000, True)])
def test_empty_frame_is_missing_where_its_neighbours_all_but_exclude_it(mean, missing):
    # exp(-13) = 2e-6 and exp(-15) = 3e-7, on the two sides of one in a million.
    lengths = np.full(300, mean)
    lengths[[5, 170]] = 0
    assert frames_missing(lengths).tolist() == [missing and n in (5, 170) for n in range(300)]


def test_dim_part_of_a_scan_does_not_hide_what_is_missing_elsewhere():
    lengths = np.concatenate([np.full(STRETCH, 3), np.full(STRETCH, 500)])
    lengths[[7, STRETCH + 7]] = 0
    assert np.flatnonzero(frames_missing(lengths)).tolist() == [STRETCH + 7]


def test_long_gap_is_missing_by_the_dose_of_the_whole_recording():
    lengths = np.full(6 * STRETCH, 100)
    lengths[STRETCH : 4 * STRETCH] = 0
    assert frames_missing(lengths).sum() == 3 * STRETCH


def test_recording_without_any_electron_holds_no_data():
    assert frames_missing(np.zeros(10, int)).all()
    assert frames_missing(np.zeros(0, int)).size == 0


def test_low_dose_frames_are_rarely_called_missing_by_chance():
    lengths = np.random.default_rng(0).poisson(4, 200_000)
    assert (lengths == 0).sum() > 1000
    assert not frames_missing(lengths).any()


def test_scan_shapes_are_compared_with_what_the_file_holds():
    check_scan_shape("a", None, (2, 3))
    check_scan_shape("a", [2, 3], (2, 3))
    with pytest.raises(RecordingError, match="a: .* 2 x 3 positions, scan_shape says 3 x 2"):
        check_scan_shape("a", (3, 2), (2, 3))
    assert check_frame_count("a", 6, [3, 2]) == (3, 2)
    for shape in [(0, 0), (-2, -3), (2, 4)]:
        with pytest.raises(RecordingError, match="a: 6 frames do not make a scan"):
            check_frame_count("a", 6, shape)
