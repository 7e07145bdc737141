import base64
import io

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from tasks.report.circles import Optics
from tasks.report.figures import (
    deflection_figure,
    image_figure,
    pattern_figure,
    spectrum_figure,
)


def raster(uri: str) -> np.ndarray:
    png = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def lattice(shape, step, period):
    y, x = (np.arange(n) * s for n, s in zip(shape, step, strict=True))
    values = np.cos(2 * np.pi * y[:, None] / period[0]) + np.cos(2 * np.pi * x[None, :] / period[1])
    return xr.Dataset(
        {"ssb_phase": (("y", "x"), values, {"units": "rad"})}, coords={"y": y, "x": x}
    )  # fmt: skip


def test_image_keeps_the_shape_of_the_specimen_where_steps_differ(results):
    figure = image_figure(results, "ssb_phase")
    assert figure.aspect == pytest.approx(48 * 0.25 / (40 * 0.3))
    assert figure.bar.label == "2 Å"
    assert figure.bar.fraction == pytest.approx(2 / 12)
    assert figure.high.endswith("rad")


def test_transposed_variables_are_shown_with_rows_along_y(results):
    turned = results.assign(ssb_phase=results["ssb_phase"].transpose("x", "y"))
    assert image_figure(turned, "ssb_phase") == image_figure(results, "ssb_phase")


def test_positions_without_a_frame_are_hatched_in_counts_but_not_in_phases(results):
    results["frames_present"][2, 3:6] = 0
    assert "hatched: 3 without value" in image_figure(results, "virtual_bf").note
    assert "hatched" not in image_figure(results, "ssb_phase").note


@pytest.mark.parametrize(
    ("fill", "text"), [(np.nan, "no value anywhere"), (0.5, "every pixel has the same value, 0.5")]
)
def test_empty_and_constant_images_are_called_odd(results, fill, text):
    results["ssb_phase"][:] = fill
    assert text in image_figure(results, "ssb_phase").note


def test_huge_scan_is_averaged_and_says_so(make_results):
    huge = make_results((1300, 1250))
    figure = image_figure(huge, "ssb_phase")
    assert max(raster(figure.uri).shape) <= 1200
    assert "averaged 2 × 2 for display" in figure.note


def test_line_scan_is_stretched_without_a_scale_bar_and_says_so(make_results):
    figure = image_figure(make_results((300, 1)), "virtual_bf")
    assert figure.bar is None
    assert figure.aspect == pytest.approx(1 / 5)
    assert "stretched for display: 9" in figure.note


def test_spectrum_has_its_spots_at_the_lattice_frequencies():
    figure = spectrum_figure(lattice((80, 120), (0.5, 0.25), (4.0, 2.5)), "ssb_phase", Optics())
    shown = raster(figure.uri).sum(axis=2)
    scale = shown.shape[0] // 80
    small = shown[scale // 2 :: scale, scale // 2 :: scale]
    spots = {(40 - 10, 60), (40 + 10, 60), (40, 60 - 12), (40, 60 + 12)}
    brightest = np.argsort(small.ravel())[::-1][:40]
    assert spots <= {tuple(int(i) for i in np.unravel_index(p, small.shape)) for p in brightest}


def test_spectrum_ignores_missing_positions_and_needs_eight_pixels(results, make_results):
    results["ssb_phase"][3, 4] = np.nan
    optics = Optics.of(results.attrs["calibration"])
    assert len(spectrum_figure(results, "ssb_phase", optics).circles) == 2
    assert spectrum_figure(make_results((7, 40)), "ssb_phase", optics) is None
    results["ssb_phase"][:] = np.nan
    assert spectrum_figure(results, "ssb_phase", optics) is None


def test_constant_phase_has_an_empty_spectrum(results):
    results["ssb_phase"][:] = 0.3
    assert spectrum_figure(results, "ssb_phase", Optics()) is not None


def test_vectors_are_told_in_milliradian_too(results):
    figure = deflection_figure(results, Optics.of(results.attrs["calibration"]))
    assert "mrad" in figure.wheel_label
    assert "taken away" in figure.note
    assert deflection_figure(results.drop_vars("com_x"), Optics()) is None


def test_pattern_carries_its_circles_and_unit(results):
    figure = pattern_figure(results, "pacbed", Optics.of(results.attrs["calibration"]))
    assert len(figure.circles) == 3
    assert figure.bar.label == "0.5 Å⁻¹"
    assert figure.note.startswith("Logarithmic scale")


def test_every_caption_is_one_sentence_that_says_what_is_good(results):
    for name in ("ssb_phase", "dpc_phase", "virtual_bf", "electrons", "ssb_amplitude"):
        caption = image_figure(results, name).caption
        assert caption.startswith("Good: ")
        assert caption.count(". ") == 0
        assert caption.endswith(".")
