import numpy as np
import pytest

from tasks.report.circles import Optics
from tasks.report.sections import missing_line, sections_of


def test_every_image_stands_in_exactly_one_place(results):
    results["zeta"] = results["ssb_phase"]
    names = [
        f.name
        for section in sections_of(results, None, Optics())
        if section.title != "Spectra and resolution"
        for f in section.figures
    ]
    expected = set(results.data_vars) - {"frames_present", "sector_mask", "radial"} | {"com"}
    assert sorted(names) == sorted(expected)


def test_sections_without_anything_to_show_are_left_out(results):
    titles = [s.title for s in sections_of(results[["dpc_phase"]], None, Optics())]
    assert titles == ["Phase images", "Spectra and resolution", "Electrons and frames"]


def test_maps_of_frames_are_shown_where_they_differ(results):
    results["frames_present"][0, 0] = 2
    results["sector_mask"][1, 1] = 4
    figures = sections_of(results, None, Optics())[-1].figures
    assert [f.name for f in figures] == ["electrons", "frames_present", "sector_mask"]


@pytest.mark.parametrize(
    ("frames", "dose", "line"),
    [
        (1, {}, "Every position has 1 frame."),
        (2, {"frames_partial": 0},
         "Every position has 2 frames. No frame lost a part of the detector."),
        (0, {"frames_missing": 1920}, "1 920 positions have no frame."),
        (None, {"frames_missing": 1, "frames_partial": 1},
         "1 position has no frame. 1 frame lost a part of the detector."),
        (None, {}, ""),
    ],
)  # fmt: skip
def test_frames_are_told_in_sentences(results, frames, dose, line):
    if frames is None:
        results = results.drop_vars("frames_present")
    else:
        results["frames_present"][:] = np.uint16(frames)
    assert missing_line(results, dose).replace("\u202f", " ") == line
