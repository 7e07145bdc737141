"""A file beside the recording says voltage, convergence and step, in the units of the job."""

import struct

import numpy as np
import pytest
from rsciio import hspy

from tasks.formats.companion import read_companion
from tasks.formats.recording import RecordingError


def dm4_tag(name, value):
    """A tag of Gatan's DM4: a mapping is a group, everything else data with its type."""
    head = struct.pack(">bh", 20 if isinstance(value, dict) else 21, len(name)) + name.encode()
    if isinstance(value, dict):
        body = dm4_group(value)
    elif isinstance(value, str):
        body = dm4_data([20, 4, len(value)], value.encode("utf-16-le"))
    elif isinstance(value, np.ndarray):
        body = dm4_data([20, 6, value.size], value.astype("<f4").tobytes())
    elif isinstance(value, int):
        body = dm4_data([5], struct.pack("<I", value))
    else:
        body = dm4_data([6], struct.pack("<f", value))
    return head + struct.pack(">q", len(body)) + body


def dm4_data(info, data):
    return b"%%%%" + struct.pack(f">{len(info) + 1}q", len(info), *info) + data


def dm4_group(values):
    tags = b"".join(dm4_tag(name, value) for name, value in values.items())
    return struct.pack(">bbq", 1, 0, len(values)) + tags


def write_dm4(path, shape=(6, 8), step=(0.031, 0.032), unit="nm", volts=300e3):
    """An image as Digital Micrograph writes it, with the microscope's voltage."""
    axis = {"Origin": 0.0, "Units": unit}
    image = {
        "ImageData": {
            "Calibrations": {
                "Brightness": {"Origin": 0.0, "Scale": 1.0, "Units": ""},
                "Dimension": {"a": axis | {"Scale": step[1]}, "b": axis | {"Scale": step[0]}},
            },
            "Data": np.zeros(shape),
            "DataType": 2,
            "Dimensions": {"a": shape[1], "b": shape[0]},
            "PixelDepth": 4,
        },
        "ImageTags": {
            "Microscope Info": {"Voltage": volts, "Illumination Mode": "STEM NANOPROBE"},
            "DigiScan": {"Rotation": 90.0},
        },
        "Name": "HAADF",
    }
    body = dm4_group({"ImageList": {"TagGroup0": image}, "InImageMode": 1})
    path.write_bytes(struct.pack(">iqi", 4, len(body), 1) + body + bytes(8))
    return path


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


def test_dm4_gives_voltage_and_step(tmp_path):
    found = read_companion(str(write_dm4(tmp_path / "HAADF.dm4")))
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


def test_image_of_another_size_is_no_scan(tmp_path):
    found = read_companion(str(write_dm4(tmp_path / "HAADF.dm4")))
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
        ("a.xyz", b"text", "reads no file with the suffix .xyz"),
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
