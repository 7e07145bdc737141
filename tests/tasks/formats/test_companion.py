"""A file beside the recording says voltage, convergence and step, in the units of the job."""

import numpy as np
import pytest
from rsciio import hspy

from tasks.formats.companion import read_companion
from tasks.formats.recording import RecordingError

IMAGE = [(6, 0.031, "nm"), (8, 0.032, "nm")]


def write_hspy(path, units="µm", scale=1e-4, energy=80.0, semiangle=21.4, **instrument):
    axes = [
        {"name": name, "size": size, "scale": scale, "offset": 0.0, "units": units,
         "navigate": False, "_type": "UniformDataAxis", "is_binned": False}
        for name, size in (("y", 5), ("x", 7))
    ]  # fmt: skip
    tem = {"beam_energy": energy, "convergence_angle": semiangle} | instrument
    hspy.file_writer(
        str(path),
        {
            "data": np.zeros((5, 7)), "axes": axes, "original_metadata": {},
            "attributes": {"_lazy": False, "ragged": False},
            "metadata": {"General": {"title": "HAADF"}, "Acquisition_instrument": {"TEM": tem}},
            "learning_results": {}, "package_info": {}, "models": {}, "tmp_parameters": {},
        },
    )  # fmt: skip
    return path


def test_dm4_gives_voltage_and_step(tmp_path, write_dm4):
    found = read_companion(str(write_dm4(tmp_path / "HAADF.dm4", IMAGE)))
    assert found.keys == {"voltage_kv": 300.0, "scan_step_angstrom": pytest.approx((0.31, 0.32))}
    assert found.shape == (6, 8)


def test_other_formats_give_the_convergence_too(tmp_path):
    found = read_companion(str(write_hspy(tmp_path / "image.hspy")))
    assert found.keys == {
        "voltage_kv": 80.0, "semiangle_mrad": 21.4, "scan_step_angstrom": (1.0, 1.0),
    }  # fmt: skip


def test_pixels_without_a_length_give_no_step(tmp_path):
    found = read_companion(str(write_hspy(tmp_path / "image.hspy", units="px")))
    assert "scan_step_angstrom" not in found.keys


def test_image_of_another_size_is_no_scan(tmp_path, write_dm4):
    found = read_companion(str(write_dm4(tmp_path / "HAADF.dm4", IMAGE)))
    found.check_scan((6, 8))
    found.check_scan((6, 7))  # a flyback column was dropped
    found.check_scan((2, 2), scan_bin=3)
    with pytest.raises(RecordingError, match=r"each of 2 x 2, so"):
        found.check_scan((2, 4), scan_bin=2)
    with pytest.raises(RecordingError, match=r"6 x 8 pixels and the scan 12 x 16 positions"):
        found.check_scan((12, 16))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.dm4", None, "there is no such file"),
        ("a.xyz", b"text", "no file with the suffix .xyz is read as metadata"),
        ("a.nc", b"CDF\1", "no file with the suffix .nc is read as metadata"),
        ("cut.dm4", b"\0\0\0\4" + bytes(60), "cannot be read as metadata (DigitalMicrograph"),
        ("empty.dm4", b"", "cannot be read as metadata"),
    ],
)
def test_what_is_no_companion_is_named(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError) as caught:
        read_companion(str(tmp_path / name))
    assert name in str(caught.value)
    assert said in str(caught.value)


def test_a_file_that_says_nothing_is_refused(tmp_path):
    path = write_hspy(tmp_path / "bare.hspy", units="px", energy=0.0, semiangle=float("nan"))
    with pytest.raises(RecordingError, match="says neither voltage nor convergence"):
        read_companion(str(path))
