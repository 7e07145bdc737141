"""Files that know their microscope say voltage, convergence and step; others say nothing."""

import h5py
import numpy as np
import pytest
import zarr
from rsciio import hspy

from tasks.formats.own_metadata import own_metadata

SHAPE = (3, 4, 5, 6)
SCALES, UNITS = (0.02, 0.03, 0.5, 0.5), ("nm", "nm", "mrad", "mrad")
TEM = {"beam_energy": 80.0, "convergence_angle": 21.4}
TOLD = {"voltage_kv": 80.0, "semiangle_mrad": 21.4, "scan_step_angstrom": (0.2, 0.3)}


def axes():
    return [
        {"name": "yxkl"[n], "size": SHAPE[n], "scale": SCALES[n], "offset": 0.0, "units": UNITS[n],
         "navigate": n < 2, "_type": "UniformDataAxis", "is_binned": False}
        for n in range(4)
    ]  # fmt: skip


def write_hspy(path):
    signal = {
        "data": np.zeros(SHAPE, "u2"), "axes": axes(), "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False}, "learning_results": {},
        "metadata": {"General": {"title": "scan"}, "Acquisition_instrument": {"TEM": TEM}},
        "package_info": {}, "models": {}, "tmp_parameters": {},
    }  # fmt: skip
    hspy.file_writer(str(path), signal, show_progressbar=False)


def write_zspy(path):
    root = zarr.open_group(str(path), mode="w", zarr_format=2)
    root.create_array("Experiments/small/data", data=np.zeros((2, 2)))
    signal = root.require_group("Experiments/scan")
    signal.create_array("data", data=np.zeros(SHAPE, "u2"))
    for number, axis in enumerate(axes()):
        signal.create_group(f"axis-{number}").attrs.update(axis)
    signal.create_group("metadata/Acquisition_instrument/TEM").attrs.update(TEM)


def write_emd(path, units="nm"):
    with h5py.File(path, "w") as file:
        file["scan/datacube/data"] = np.zeros(SHAPE, "u2")
        group = file.create_group("scan/metadatabundle/calibration")
        group.attrs["python_class"] = "Calibration"
        group["R_pixel_size"], group["R_pixel_units"] = 0.02, units.encode()
        group["probe_convergence_semiangle_mrad"] = 21.4


@pytest.mark.parametrize(("write", "suffix"), [(write_hspy, "hspy"), (write_zspy, "zspy")])
def test_signal_of_hyperspy_says_all_in_the_units_of_a_job(tmp_path, write, suffix):
    write(tmp_path / f"scan.{suffix}")
    assert own_metadata(str(tmp_path / f"scan.{suffix}")).keys == TOLD


def test_calibration_of_py4dstem_says_step_and_convergence(tmp_path):
    write_emd(tmp_path / "scan.emd")
    found = own_metadata(str(tmp_path / "scan.emd"))
    assert found.keys == {"semiangle_mrad": 21.4, "scan_step_angstrom": pytest.approx((0.2, 0.2))}


def test_pixels_without_a_length_give_no_step(tmp_path):
    write_emd(tmp_path / "scan.emd", "pixels")
    assert own_metadata(str(tmp_path / "scan.emd")).keys == {"semiangle_mrad": 21.4}


def test_frames_of_digital_micrograph_say_voltage_and_step(tmp_path, write_dm4):
    axes = list(zip(SHAPE, SCALES, UNITS, strict=True))
    found = own_metadata(str(write_dm4(tmp_path / "scan.dm4", axes)))
    assert found.keys == {"voltage_kv": 300.0, "scan_step_angstrom": pytest.approx((0.2, 0.3))}


def plain_hdf5(path):
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(SHAPE)


def plain_npy(path):
    with open(path, "wb") as file:
        np.save(file, np.zeros(SHAPE))


def damaged(path):
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))


def cut_dm4(path):
    path.write_bytes(b"\0\0\0\4" + bytes(60))


@pytest.mark.parametrize("write", [plain_hdf5, plain_npy, damaged, cut_dm4, lambda path: None])
def test_a_file_that_says_nothing_or_cannot_be_read_gives_nothing(tmp_path, write):
    write(tmp_path / "scan")
    assert own_metadata(str(tmp_path / "scan")) is None


def test_a_folder_of_other_things_gives_nothing(tmp_path):
    assert own_metadata(str(tmp_path)) is None
