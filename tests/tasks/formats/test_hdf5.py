"""One sentence for each way in which an HDF5 file cannot be read."""

import json

import h5py
import numpy as np
import pytest

from tasks.formats.hdf5 import attributes, open_hdf5
from tasks.formats.recording import RecordingError


def refuse(path, message):
    with pytest.raises(RecordingError, match=message) as caught, open_hdf5(str(path)):
        pass
    assert "\n" not in str(caught.value)


def test_causes_are_told_apart(tmp_path):
    refuse(tmp_path / "none.h5", "there is no such file")
    (tmp_path / "text.h5").write_text("not at all")
    refuse(tmp_path / "text.h5", "not an HDF5 file")
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["data"] = np.arange(5000)
    data = (tmp_path / "whole.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[:-100])
    refuse(tmp_path / "cut.h5", "cut short")


def test_file_that_a_writer_left_open_says_what_removes_the_mark(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["data"] = [1]
        file.swmr_mode = True
        file.flush()
        left = path.read_bytes()
    path.write_bytes(left)
    refuse(path, "still being written.*h5clear")


def test_damage_that_shows_while_reading_is_one_sentence(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.arange(10)
    with pytest.raises(RecordingError, match="damaged; HDF5 says"), open_hdf5(str(path)) as file:
        file["nothing"]


def test_attributes_are_flat_json_and_no_more_than_a_thousand(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("metadata/inner")
        group.attrs["list"] = [1.5, np.inf]
        group.attrs["complex"] = 1j
        file["metadata"].attrs["text"] = "µm"
        found = attributes(file["metadata"])
        assert found == {"inner/list": [1.5, "inf"], "inner/complex": "1j", "text": "µm"}
        json.dumps(found, allow_nan=False)
        for n in range(1100):
            file.create_group(f"many/{n}").attrs["a"] = n
        assert len(attributes(file["many"])) == 1000
    assert attributes(None) == {}
