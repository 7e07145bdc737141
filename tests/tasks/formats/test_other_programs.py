"""Recordings that hyperspy and emdfile write themselves are read as they are."""

import numpy as np
import pytest
import zarr

from tasks.formats.detect import open_recording

SCAN, DETECTOR = (3, 4), (5, 6)


def counts():
    return np.random.default_rng(0).poisson(1.5, (*SCAN, *DETECTOR)).astype(np.uint16)


def expected():
    return [np.repeat(np.arange(30), row).tolist() for row in counts().reshape(12, -1)]


@pytest.mark.filterwarnings("ignore")  # what the other program warns of is its own affair
def test_signal_of_hyperspy_is_read(tmp_path, events_of):
    hs = pytest.importorskip("hyperspy.api", reason="needs phasemill[ecosystem]")
    path = tmp_path / "scan.hspy"
    hs.signals.Signal2D(counts()).save(path)
    recording = open_recording(path)
    assert (recording.scan_shape, recording.detector_shape) == (SCAN, DETECTOR)
    assert events_of(recording) == expected()


def test_tree_of_zspy_is_read(tmp_path, events_of):
    # Laid out by hand: hyperspy 2.5 cannot write its own format beside Zarr 3.
    group = zarr.open_group(str(tmp_path / "scan.zspy"), mode="w", zarr_format=2)
    group.require_group("Experiments/scan").create_array("data", data=counts())
    assert events_of(open_recording(tmp_path / "scan.zspy")) == expected()


@pytest.mark.filterwarnings("ignore")
def test_array_of_emdfile_is_read(tmp_path, events_of):
    emdfile = pytest.importorskip("emdfile", reason="needs phasemill[ecosystem]")
    path = tmp_path / "scan.emd"
    emdfile.save(str(path), emdfile.Array(counts(), name="datacube"))
    assert events_of(open_recording(path)) == expected()
