"""What a recording links to belongs to it, and must lie where it may lie itself."""

import h5py
import numpy as np
import pytest

from tasks.formats.companion import read_companion
from tasks.formats.detect import open_recording
from tasks.formats.linked import linked_files
from tasks.formats.own_metadata import own_metadata
from tasks.formats.recording import RecordingError
from tasks.store.source import fingerprint

SHAPE = (2, 2, 16, 16)
FRAMES = np.full(SHAPE, 7, np.uint8)


def external_link(path, other):
    with h5py.File(other, "w") as file:
        file["data"] = FRAMES
    with h5py.File(path, "w") as file:
        file["data"] = h5py.ExternalLink(str(other), "/data")


def virtual(path, other):
    with h5py.File(other, "w") as file:
        file["data"] = FRAMES
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout(SHAPE, np.uint8)
        layout[...] = h5py.VirtualSource(str(other), "data", SHAPE)
        file.create_virtual_dataset("data", layout)


def external_storage(path, other):
    other.write_bytes(FRAMES.tobytes())
    with h5py.File(path, "w") as file:
        file.create_dataset("data", SHAPE, np.uint8, external=[(str(other), 0, FRAMES.nbytes)])


def link_of_a_link(path, other):
    between = path.with_name("between.h5")
    virtual(between, other)
    with h5py.File(path, "w") as file:
        file["data"] = h5py.ExternalLink(between.name, "/data")


def empad(path, other):
    other.write_bytes(bytes(4 * 130 * 128))
    path.write_text(f'<root><raw_file filename="{other}"/><pix_x>1</pix_x></root>')


WAYS = [
    (external_link, "a.h5"),
    (virtual, "a.h5"),
    (external_storage, "a.h5"),
    (link_of_a_link, "a.h5"),
    (empad, "a.xml"),
]


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder that jobs may use, and one that they may not."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    monkeypatch.setenv("PHASEMILL_ROOTS", str(inside))
    return inside, outside


@pytest.mark.parametrize(("write", "name"), WAYS)
def test_link_out_of_the_roots_is_not_followed(places, write, name):
    inside, outside = places
    write(inside / name, outside / "other.h5")
    with pytest.raises(RecordingError, match=r"a\.\w+: it links to .*outside/other\.h5 is out"):
        open_recording(inside / name, array=None if name == "a.xml" else "/data")
    assert own_metadata(str(inside / name)) is None


@pytest.mark.parametrize("write", [external_link, virtual, external_storage, link_of_a_link])
def test_link_within_the_roots_is_read(places, write):
    inside, _ = places
    write(inside / "a.h5", inside / "other.h5")
    recording = open_recording(inside / "a.h5", array="/data")
    assert recording.scan_shape == SHAPE[:2]


def test_symbolic_link_inside_of_a_zarr_is_not_followed(places):
    import zarr

    inside, outside = places
    (outside / "secret").write_bytes(bytes(1024))
    data = zarr.create_array(str(inside / "a.zarr"), shape=SHAPE, dtype="u1", compressors=None)
    data[...] = 1
    chunk = inside / "a.zarr" / "c" / "0" / "0" / "0" / "0"
    chunk.unlink()
    chunk.symlink_to(outside / "secret")
    with pytest.raises(RecordingError, match="it links to a file that is not to be read"):
        open_recording(inside / "a.zarr")


def test_companion_that_links_out_of_the_roots_is_not_read(places):
    inside, outside = places
    external_link(inside / "a.emd", outside / "other.h5")
    with pytest.raises(RecordingError, match="it links to a file that is not to be read"):
        read_companion(str(inside / "a.emd"))


@pytest.mark.parametrize(("write", "name"), WAYS)
def test_change_of_what_is_linked_changes_the_recording(tmp_path, write, name):
    path, other = tmp_path / name, tmp_path / "other.h5"
    write(path, other)
    assert other in linked_files(path)
    before = fingerprint(path, tmp_path / "before.json")
    changed = bytearray(other.read_bytes())
    changed[-1] ^= 1
    other.write_bytes(changed)
    assert fingerprint(path, tmp_path / "after.json").sha256 != before.sha256


def test_file_that_hides_its_links_by_damage_is_refused(places):
    inside, outside = places
    external_link(inside / "a.h5", outside / "other.h5")
    with h5py.File(inside / "a.h5", "a") as file:
        file.create_group("bad_name")
    data = (inside / "a.h5").read_bytes()
    (inside / "a.h5").write_bytes(data.replace(b"TREE", b"TREX"))
    with pytest.raises(RecordingError, match=r"a\.h5: the files that it links to cannot be told"):
        open_recording(inside / "a.h5", array="/data")
    (inside / "b.h5").write_bytes(data.replace(b"bad_name", b"bad\xff\xfeame"))
    with pytest.raises(RecordingError, match=r"b\.h5: .*(it links to|cannot be told)"):
        open_recording(inside / "b.h5", array="/data")


def test_file_that_is_cut_short_is_called_so(places):
    inside, _ = places
    external_link(inside / "a.h5", inside / "other.h5")
    (inside / "a.h5").write_bytes((inside / "a.h5").read_bytes()[:-100])
    with pytest.raises(RecordingError, match=r"a\.h5: the file is cut short"):
        open_recording(inside / "a.h5", array="/data")


def test_files_that_link_to_each_other_come_to_an_end(tmp_path):
    for one, two in (("a", "b"), ("b", "a")):
        with h5py.File(tmp_path / f"{one}.h5", "w") as file:
            file["other"] = h5py.ExternalLink(f"{two}.h5", "/")
            file["itself"] = h5py.SoftLink("/")
    assert linked_files(tmp_path / "a.h5") == [tmp_path / "b.h5"]


def test_file_alone_and_damaged_file_have_none(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = FRAMES
    assert linked_files(tmp_path / "a.h5") == []
    (tmp_path / "b.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:600])
    assert linked_files(tmp_path / "b.h5") == []
    assert linked_files(tmp_path / "none.h5") == []
