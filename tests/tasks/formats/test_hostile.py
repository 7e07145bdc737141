"""Damage of any kind to any file is refused in one sentence, or leaves events on the detector.

No crash, no hang, no flood of memory: the bytes of small good files are flipped, overwritten and
cut off by chance, and each is opened and read whole.
"""

import importlib.util
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tasks.formats.detect import open_recording
from tasks.formats.recording import RecordingError
from tests.tasks.formats import arrays

pytestmark = pytest.mark.filterwarnings(
    # Libraries that fail in the middle of a file leave it to Python to close it.
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::ResourceWarning",
)
MOST_MEMORY = 300 << 20


def makers(name):
    """The functions of a test beside this one that write its files."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"makers_in_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def counted(version):
    def write(folder, write_counted):
        rng = np.random.default_rng(0)
        frames = [np.sort(rng.choice(64, 20, replace=False)) for _ in range(20)]
        return write_counted(frames, scan=(4, 5), version=version), {}

    return write


def dense(kind, name):
    def write(folder, write_counted):
        return arrays.save(kind, folder / name, arrays.counts()), {}

    return write


def eer(folder, write_counted):
    maker = makers("test_eer")
    pages = [(65001, maker.coded(frame)) for frame in maker.frames()]
    return maker.write_eer(folder / "a.eer", pages), {"scan_shape": (2, 3)}


def merlin(folder, write_counted):
    maker = makers("test_rosetta")
    data = maker.counts((8, 8))
    return maker.write_merlin(folder / "a.mib", data), {"scan_shape": (3, 4)}


def block(folder, write_counted):
    return makers("test_blockfile").write_block_file(folder / "a.blo"), {}


FORMATS = {
    "layout 1": counted(None),
    "layout 2": counted(2),
    "layout 3": counted(3),
    "hdf5": dense("hdf5", "a.h5"),
    "gzip": dense("gzip", "a.h5"),
    "bitshuffle": dense("bitshuffle", "a.h5"),
    "npy": dense("npy", "a.npy"),
    "eer": eer,
    "block": block,
    "merlin": merlin,
}


def damaged(data, rng):
    """One good file, damaged in one of five ways."""
    data, at = bytearray(data), int(rng.integers(0, len(data)))
    kind = rng.integers(0, 5)
    if kind == 0:
        data[at] ^= 1 << int(rng.integers(0, 8))
    elif kind == 1:
        data[at : at + 8] = b"\xff" * len(data[at : at + 8])
    elif kind == 2:
        data[at : at + 16] = bytes(len(data[at : at + 16]))
    elif kind == 3:
        for place in rng.integers(0, len(data), 8):
            data[place] = int(rng.integers(0, 256))
    else:
        data = data[: max(1, at)]
    return bytes(data)


def read_or_be_refused(path, options):
    """Whether it was read; what was read is sound, and a refusal is one sentence with the path."""
    try:
        recording = open_recording(path, **options)
        block = recording.read_rows(0, recording.scan_shape[0])
    except RecordingError as error:
        message = str(error)
    else:
        message = None
    if message is not None:
        assert str(path) in message
        assert "\n" not in message
        return False
    assert block.indptr[-1] == block.indices.size
    assert (np.diff(block.indptr) >= 0).all()
    assert block.indices.max(initial=0) < recording.pixels
    return True


def mutate(name, count, seed, folder, write_counted):
    path, options = FORMATS[name](folder, write_counted)
    good, rng = path.read_bytes(), np.random.default_rng(seed)
    assert read_or_be_refused(path, options)
    other = path.with_name("damaged" + path.suffix)
    refused = 0
    tracemalloc.start()
    try:
        for _ in range(count):
            other.write_bytes(damaged(good, rng))
            refused += not read_or_be_refused(other, options)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
    assert count / 10 < refused


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "merlin"])
def test_damaged_file_is_refused_or_its_events_are_sound(name, tmp_path, write_counted):
    mutate(name, 100, 0, tmp_path, write_counted)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_much_damage_is_refused_or_its_events_are_sound(name, tmp_path, write_counted):
    mutate(name, 200 if name == "merlin" else 1000, 1, tmp_path, write_counted)


def test_zarr_with_damaged_metadata_or_chunks_is_refused_or_sound(tmp_path):
    path = arrays.save("zarr 3", tmp_path / "a.zarr", arrays.counts())
    rng = np.random.default_rng(0)
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        good = file.read_bytes()
        for _ in range(30):
            file.write_bytes(damaged(good, rng))
            read_or_be_refused(path, {})
        file.write_bytes(good)
    assert read_or_be_refused(path, {})
