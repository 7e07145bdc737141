"""What is exported opens in the programs that it is for, with its values, axes and units."""

import json

import h5py
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from typer.testing import CliRunner

from flows.cli import app
from tasks.export.export import FORMATS, ExportError, export

STEP = (0.4, 0.35)


@pytest.fixture(scope="module")
def results(night):
    return xr.open_zarr(night / "results.zarr", chunks=None)


@pytest.fixture(scope="module")
def counts(night):
    return xr.open_zarr(night / "dense.zarr", chunks=None)["counts"]


def test_ome_tiff_has_every_image_as_a_channel_in_angstrom(night, results, tmp_path):
    facts = export(night, tmp_path / "all.ome.tif")
    with tifffile.TiffFile(tmp_path / "all.ome.tif") as file:
        assert file.is_ome
        assert file.series[0].axes == "CYX"
        stack = file.asarray()
        (pixels,) = (tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Pixels"],)
        assert file.pages[0].predictor == 1  # those of floating point few programs can undo
    for image, name in zip(stack, facts["holds"], strict=True):
        np.testing.assert_array_equal(image, results[name].values.astype(np.float32))
    assert {"ssb_phase", "dpc_phase", "virtual_bf"} <= set(facts["holds"])
    assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeX"]) == pytest.approx(STEP)
    assert pixels["PhysicalSizeXUnit"] == "Å"
    names = [channel["Name"] for channel in pixels["Channel"]]
    assert f"{facts['holds'][0]} [rad]" == names[0]


def test_ome_zarr_opens_in_ome_zarr_py(night, results, tmp_path):
    io, reader = pytest.importorskip("ome_zarr.io"), pytest.importorskip("ome_zarr.reader")
    facts = export(night, tmp_path / "all.ome.zarr")
    (node,) = reader.Reader(io.parse_url(str(tmp_path / "all.ome.zarr")))()
    np.testing.assert_array_equal(
        np.asarray(node.data[0][facts["holds"].index("ssb_phase")]), results.ssb_phase.values
    )
    assert [axis["name"] for axis in node.metadata["axes"]] == ["c", "y", "x"]
    assert [axis.get("unit") for axis in node.metadata["axes"]] == [None, "angstrom", "angstrom"]
    scale = node.metadata["coordinateTransformations"][0][0]["scale"]
    assert scale[1:] == pytest.approx(STEP)


def test_levels_of_the_pyramid_lie_on_one_another(night, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.export.ome.SMALLEST_LEVEL", 6)
    export(night, tmp_path / "all.ome.zarr")
    group = zarr.open_group(str(tmp_path / "all.ome.zarr"), mode="r")
    levels = [group[str(n)] for n in range(3)]
    assert [level.shape[1:] for level in levels] == [(24, 20), (12, 10), (6, 5)]
    np.testing.assert_allclose(levels[1][0, 0, 0], levels[0][0, :2, :2].mean(), rtol=1e-5)
    told = group.attrs["ome"]["multiscales"][0]["datasets"]
    middles = [
        (shift["translation"][1] + scale["scale"][1] * (shape.shape[1] - 1) / 2)
        for (scale, shift), shape in zip(
            (level["coordinateTransformations"] for level in told), levels, strict=True
        )
    ]
    np.testing.assert_allclose(middles, middles[0])  # the field's centre stays where it is


@pytest.mark.parametrize("suffix", ["zspy", "hspy"])
def test_hyperspy_opens_an_image_with_its_axes(night, results, tmp_path, suffix):
    hs = pytest.importorskip("hyperspy.api")
    export(night, tmp_path / f"one.{suffix}", "ssb_phase")
    signal = hs.load(str(tmp_path / f"one.{suffix}"))
    np.testing.assert_array_equal(signal.data, results.ssb_phase.values)
    axes = {axis.name: axis for axis in signal.axes_manager._axes}
    assert (axes["y"].scale, axes["x"].scale) == pytest.approx(STEP)
    assert {axis.units for axis in axes.values()} == {"Å"}
    assert not any(axis.navigate for axis in axes.values())
    assert signal.metadata.Acquisition_instrument.TEM.beam_energy == 80
    assert signal.metadata.Signal.quantity.endswith("(rad)")


@pytest.mark.parametrize("suffix", ["zspy", "hspy"])
def test_hyperspy_navigates_the_scan_of_dense_patterns(night, counts, tmp_path, suffix):
    hs = pytest.importorskip("hyperspy.api")
    export(night, tmp_path / f"dense.{suffix}", "dense")
    signal = hs.load(str(tmp_path / f"dense.{suffix}"))
    np.testing.assert_array_equal(signal.data, counts.values)
    assert signal.data.dtype == counts.dtype
    for axis, dim in zip(signal.axes_manager._axes, ("y", "x", "ky", "kx"), strict=True):
        assert axis.navigate == (dim in "yx")
        np.testing.assert_allclose(axis.axis, counts[dim].values, rtol=1e-9)
        assert axis.units == counts[dim].attrs["units"]


def test_zspy_is_a_tree_of_zarr_2(night, results, tmp_path):
    export(night, tmp_path / "one.zspy", "dpc_phase")
    root = zarr.open_group(str(tmp_path / "one.zspy"), mode="r", zarr_format=2)
    assert root.attrs["file_format"] == "ZSpy"
    (signal,) = root["Experiments"].groups()
    assert dict(signal[1]["axis-0"].attrs)["units"] == "Å"
    np.testing.assert_array_equal(signal[1]["data"][...], results.dpc_phase.values)


def test_emd_opens_in_emdfile(night, results, tmp_path):
    emdfile = pytest.importorskip("emdfile")
    facts = export(night, tmp_path / "all.emd")
    root = emdfile.read(str(tmp_path / "all.emd"))
    for name in facts["holds"]:
        array = root.tree(name)
        np.testing.assert_array_equal(array.data, results[name].values.astype(np.float32))
        assert array.units == results[name].attrs["units"]
        for number, dim in enumerate("yx"):
            np.testing.assert_allclose(array.dims[number], results[dim].values)
            assert array.dim_units[number] == "A"
    assert root.metadata["phasemill"]["calibration voltage_kv value"] == 80


def test_emd_of_patterns_is_laid_out_as_py4dstem_does(night, counts, tmp_path):
    export(night, tmp_path / "dense.emd", "dense")
    with h5py.File(tmp_path / "dense.emd") as file:
        cube = file["scan/datacube"]
        assert (cube.attrs["emd_group_type"], cube.attrs["python_class"]) == ("array", "DataCube")
        np.testing.assert_array_equal(cube["data"][...], counts.values)
        for number, dim in enumerate(("y", "x", "ky", "kx")):
            np.testing.assert_allclose(cube[f"dim{number}"][...], counts[dim].values, atol=1e-9)
        found = file["scan/metadatabundle/calibration"]
        assert found["R_pixel_size"][()] == pytest.approx(STEP[0])
        assert found["Q_pixel_units"][()] == b"A^-1"
        assert found["convergence_semiangle_mrad"][()] == 25
        assert found["_target_paths/0"][()] == b"/datacube"


def test_py4dstem_opens_patterns(night, counts, tmp_path):
    py4dstem = pytest.importorskip("py4DSTEM")
    export(night, tmp_path / "dense.emd", "dense")
    cube = py4dstem.read(str(tmp_path / "dense.emd"))
    np.testing.assert_array_equal(cube.data, counts.values)
    assert cube.calibration.get_R_pixel_size() == pytest.approx(STEP[0])
    steps = [float(dim[1] - dim[0]) for dim in cube.dims]
    assert steps == pytest.approx([STEP[0]] * 2 + [float(counts.ky[1] - counts.ky[0])] * 2)
    assert cube.dim_units == ("A", "A", "A^-1", "A^-1")


def test_nexus_leads_a_reader_to_the_image_and_holds_all_of_them(night, results, tmp_path):
    facts = export(night, tmp_path / "all.nxs")
    with h5py.File(tmp_path / "all.nxs") as file:
        place = file
        while "default" in place.attrs:  # as NeXus tells a reader to find what to plot
            place = place[place.attrs["default"]]
        assert place.attrs["NX_class"] == "NXdata"
        assert place.name == f"/entry/{facts['holds'][0]}"
        assert list(place.attrs["axes"]) == ["y", "x"]
        assert place["y"].attrs["units"] == "angstrom"
        assert file["entry/instrument/beam/incident_energy"][()] == pytest.approx(80e3)
        for name in facts["holds"]:
            group = file["entry"][name]
            image = group[group.attrs["signal"]][...]
            np.testing.assert_array_equal(image, results[name].values.astype(np.float32))
            np.testing.assert_allclose(group["x"], results.x, atol=1e-9)
        about = json.loads(file["entry/process/note/data"].asstr()[()])
        assert about["calibration"] == results.attrs["calibration"]


def test_nexus_opens_in_nexusformat(night, results, counts, tmp_path):
    nexus = pytest.importorskip("nexusformat.nexus")
    export(night, tmp_path / "one.nxs", "ssb_phase")
    export(night, tmp_path / "dense.nxs", "dense")
    image = nexus.nxload(str(tmp_path / "one.nxs")).plottable_data
    np.testing.assert_array_equal(np.asarray(image.nxsignal), results.ssb_phase.values)
    assert [axis.nxname for axis in image.nxaxes] == ["y", "x"]
    assert [axis.attrs["units"] for axis in image.nxaxes] == ["angstrom", "angstrom"]
    patterns = nexus.nxload(str(tmp_path / "dense.nxs")).plottable_data
    np.testing.assert_array_equal(np.asarray(patterns.nxsignal), counts.values)
    np.testing.assert_allclose(np.asarray(patterns.nxaxes[2]), counts.ky, atol=1e-9)
    assert patterns.nxaxes[3].attrs["units"] == "1/angstrom"


@pytest.mark.parametrize("name", ["a.ome.tif", "a.zspy", "a.ome.zarr", "a.emd", "a.nxs", "a.h5"])
def test_same_results_give_the_same_bytes(night, tmp_path, name):
    contents = []
    for run in ("one", "two"):
        export(night, tmp_path / run / name)
        files = sorted((tmp_path / run).rglob("*"))
        contents.append([(f.relative_to(tmp_path / run), f.read_bytes()) for f in files
                         if f.is_file()])  # fmt: skip
    assert contents[0] == contents[1]


def test_what_is_there_is_kept_unless_it_may_be_replaced(night, tmp_path):
    for name in ("a.zspy", "a.ome.tif"):
        export(night, tmp_path / name, None)
        with pytest.raises(ExportError, match="--overwrite"):
            export(night, tmp_path / name)
        export(night, tmp_path / name, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ome.tif", "a.zspy"]


def test_a_failed_export_leaves_what_was_there(night, tmp_path, monkeypatch):
    export(night, tmp_path / "a.emd")
    before = (tmp_path / "a.emd").read_bytes()
    monkeypatch.setattr("tasks.export.emd._axes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(night, tmp_path / "a.emd", overwrite=True)
    assert (tmp_path / "a.emd").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.emd"]


@pytest.mark.parametrize(
    ("target", "take", "said"),
    [
        ("a.png", None, "suffix is that of no known format; there are .zspy"),
        ("a.zspy", "images", "holds one signal, and"),
        ("a.zspy", "phase", "no image 'phase'; it has"),
        ("a.ome.tif", "dense", "patterns go into one of .zspy, .hspy, .emd, .nxs"),
        ("a.emd", "events", "holds no events; formats that do: .h5, .eer"),
        ("a.eer", "ssb_phase", "EER holds events"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(night, tmp_path, target, take, said):
    with pytest.raises(ExportError) as caught:
        export(night, tmp_path / target, take)
    assert said in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_what_is_no_dataset_is_named(tmp_path):
    for name in ("a.emd", "a.h5"):
        with pytest.raises(ExportError, match=str(tmp_path)):
            export(tmp_path, tmp_path / name)


def test_command_says_what_it_wrote(night, tmp_path):
    run = CliRunner().invoke(app, ["export", str(night), str(tmp_path / "a.emd"), "--json"])
    assert run.exit_code == 0
    assert '"opens": "py4DSTEM"' in run.stdout
    run = CliRunner().invoke(app, ["export", str(night), str(tmp_path / "a.png")])
    assert run.exit_code == 2
    help_text = CliRunner().invoke(app, ["export", "--help"], env={"COLUMNS": "200"}).stdout
    assert all(suffix in help_text for form in FORMATS for suffix in form.suffixes[:1])
