import io

import numpy as np
import pytest
import tifffile
import xarray as xr
from PIL import Image

from tasks.report.images import write_images


def page_of(path):
    with tifffile.TiffFile(path) as file:
        (page,) = file.pages
        resolution = [
            page.tags[t].value[1] / page.tags[t].value[0] for t in ("YResolution", "XResolution")
        ]
        tags = {tag.name: tag.value for tag in page.tags}
        return page.asarray(), resolution, file.imagej_metadata, tags


def test_tiff_holds_the_values_as_float32_with_gaps_as_nan(results, tmp_path):
    results["ssb_phase"][3, 4] = np.nan
    write_images(results, tmp_path)
    for name in ("ssb_phase", "frames_present", "pacbed"):
        values = page_of(tmp_path / f"{name}.tif")[0]
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, results[name].values.astype(np.float32))


def test_imagej_finds_the_pixel_size_in_angstrom(results, tmp_path):
    write_images(results, tmp_path)
    _, size, imagej, tags = page_of(tmp_path / "ssb_phase.tif")
    assert size == pytest.approx([0.3, 0.25], rel=1e-9)
    assert tags["ResolutionUnit"] == 1  # none: the unit is in ImageJ's own description
    # ImageJ reads its description as Java properties, in which this is how Å is written.
    assert imagej["unit"].encode().decode("unicode_escape") == "Å"
    assert imagej["vunit"] == "rad"
    assert "variable: ssb_phase" in imagej["Info"]


@pytest.mark.parametrize("step", [1e-3, 0.316, np.pi, 31.25, 9999.7])
def test_pixel_size_is_exact_and_its_terms_are_signed_integers(tmp_path, step):
    along = np.arange(5) * step
    image = xr.Dataset({"a": (("y", "x"), np.eye(5))}, coords={"y": along, "x": along})
    write_images(image, tmp_path)
    _, size, _, tags = page_of(tmp_path / "a.tif")
    assert size == pytest.approx([step, step], rel=1e-8)
    assert max(tags["XResolution"]) < 2**31


def test_patterns_are_calibrated_from_the_centre_of_the_disk(results, tmp_path):
    write_images(results, tmp_path)
    _, size, imagej, _ = page_of(tmp_path / "pacbed.tif")
    assert size == pytest.approx([0.04, 0.04], rel=1e-8)
    assert imagej["unit"].encode().decode("unicode_escape") == "1/Å"
    assert (imagej["yorigin"], imagej["xorigin"]) == (31.2, 31.2)


def test_images_without_coordinates_are_in_pixels(tmp_path):
    write_images(xr.Dataset({"a": (("y", "x"), np.eye(5))}), tmp_path)
    _, size, imagej, _ = page_of(tmp_path / "a.tif")
    assert size == [1, 1]
    assert imagej["unit"] == "pixel"


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (4, 7), (300, 1), (1, 40)])
def test_every_shape_stays_a_single_grey_image(make_results, tmp_path, shape):
    results = make_results(shape)
    write_images(results, tmp_path)
    values, _, _, _ = page_of(tmp_path / "ssb_phase.tif")
    assert values.shape == shape  # three columns are not red, green and blue
    Image.open(tmp_path / "ssb_phase.png").verify()


def test_another_reader_finds_the_same_image(results, tmp_path):
    write_images(results, tmp_path)
    with Image.open(tmp_path / "dpc_phase.tif") as image:
        np.testing.assert_array_equal(np.asarray(image), results["dpc_phase"].astype(np.float32))


def test_png_has_the_shape_of_the_specimen(make_results, tmp_path):
    results = make_results((100, 200))  # 30 Å x 50 Å
    write_images(results, tmp_path)
    width, height = Image.open(tmp_path / "ssb_phase.png").size
    assert width / (height - 52) == pytest.approx(50 / 30, rel=0.01)


def test_files_repeat_to_the_byte_and_hold_no_date(results, tmp_path):
    first = write_images(results, tmp_path / "1")
    second = write_images(results.copy(deep=True), tmp_path / "2")
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
    tags = page_of(tmp_path / "1" / "ssb_phase.tif")[3]
    assert not {"DateTime", "Software"} & tags.keys()
    assert set(Image.open(io.BytesIO((tmp_path / "1" / "com_y.png").read_bytes())).info) == set()


def test_only_images_are_written_and_never_outside_the_folder(results, tmp_path):
    results = results[["ssb_phase", "radial"]].rename(ssb_phase="../up/<b>")
    files = write_images(results, tmp_path / "images")
    assert {f.name for f in files} == {"_up__b_.tif", "_up__b_.png"}
    assert {p.name for p in tmp_path.iterdir()} == {"images"}
