"""One night over bad files of every kind: each fails alone, with one message, and leaves nothing.

A healthy recording stands among them and is milled as if they were not there.
"""

import json
import os
import re
import shutil

import h5py
import numpy as np
import pytest
import tifffile
import yaml
import zarr
from typer.testing import CliRunner

from flows import clusters, lock
from flows.cli import app
from tasks.store import layout

SCAN, DETECTOR = (8, 8), (24, 24)
Y, X = np.indices(DETECTOR)
R = np.hypot(Y - 11.5, X - 11.5)
KNOWN = {
    "voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.3, "center_px": [11.5, 11.5],
    "semiangle_px": 8, "scan_rotation_deg": 0, "flip": False, "aberrations": {}, "disk_bins": 8,
}  # fmt: skip
"""Nothing is left to be fitted: the night is about what cannot be read."""


def counts(scan=SCAN):
    rng = np.random.default_rng(5)
    return rng.poisson(np.where(R < 8, 0.6, 0.02), (*scan, *DETECTOR)).astype(np.uint8)


def npy(path, data):
    with open(path, "wb") as file:
        np.save(file, data, allow_pickle=True)


def counted(path, frames=None, scan=SCAN, detector=DETECTOR, version=3, kind="u4", positions=None):
    """An electron-counted file as stempy lays it out, by plain h5py."""
    if frames is None:
        flat = counts(scan).reshape(scan[0] * scan[1], -1)
        frames = [np.repeat(np.arange(row.size), row) for row in flat]
    with h5py.File(path, "w") as file:
        if version is not None:
            file.attrs["version"] = version
        rows = file.create_dataset("electron_events/frames", (len(frames),),
                                   h5py.vlen_dtype(np.dtype(kind)))  # fmt: skip
        for number, frame in enumerate(frames):
            rows[number] = np.asarray(frame, kind)
        rows.attrs["Nx"], rows.attrs["Ny"] = detector[1], detector[0]
        at = np.arange(scan[0] * scan[1]) if positions is None else positions
        where = file.create_dataset("electron_events/scan_positions", data=at)
        where.attrs["Nx"], where.attrs["Ny"] = scan[1], scan[0]


def written(content):
    return lambda path: path.write_bytes(content)


def cut(make, keep):
    def write(path):
        make(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])

    return write


def changed(path, change):
    counted(path)
    with h5py.File(path, "r+") as file:
        change(file)


def without(name):
    return lambda path: changed(path, lambda file: file.__delitem__(name))


def outside(path):
    frames = [[1, 2]] * 63 + [[3, 576]]
    counted(path, frames)


def broken_heap(path):
    """Pointers of the rows lead out of the file."""
    counted(path)
    with h5py.File(path) as file:
        at = file["electron_events/frames"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[at + 16 * 10 + 4 : at + 16 * 10 + 12] = b"\xff\xff\xff\x7f\0\0\0\0"
    path.write_bytes(data)


def two_arrays(path):
    with h5py.File(path, "w") as file:
        file["one"], file["two"] = counts(), counts()


def damaged_zarr(path):
    zarr.create_array(str(path), data=counts(), chunks=(1, 8, 24, 24))
    chunk = path / "c" / "3" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])


def pairs(path):
    pair = h5py.vlen_dtype(np.dtype([("x", "u4"), ("y", "u4")]))
    with h5py.File(path, "w") as file:
        file.create_dataset("electron_events/frames", (64,), pair)
        file.create_dataset("electron_events/scan_positions", data=np.arange(64))


def float_counts(change):
    def write(path):
        data = counts().astype(np.float32)
        change(data)
        npy(path, data)

    return write


def put(data, value):
    data[3, 4, 5, 6] = value


def stripes(path):
    npy(path, np.where(X % 2, 2, 2).astype(np.uint8) * np.ones((*SCAN, 1, 1), np.uint8))


FILES = {
    # name: (suffix, how it is written, keys of the dataset, what its reason says)
    "empty": ("h5", written(b""), {}, "the file is empty"),
    "text": ("h5", written(b"not a recording at all"), {}, "no reader knows this file"),
    "noise": ("h5", written(np.random.default_rng(0).bytes(5000)), {}, "no reader knows this file"),
    "picture": ("h5", written(b"\x89PNG\r\n\x1a\n" + bytes(500)), {}, "no reader knows this file"),
    "cut_in_half": ("h5", cut(counted, 0.5), {}, "cut short|truncated"),
    "cut_at_once": ("h5", cut(counted, 0.01), {}, "cut short|truncated|damaged"),
    "no_groups": ("h5", lambda path: h5py.File(path, "w").close(), {}, "no .*array"),
    "no_frames": ("h5", without("electron_events/frames"), {}, "frames is not there"),
    "no_positions": ("h5", without("electron_events/scan_positions"), {}, "scan_positions is not"),
    "no_width": (
        "h5",
        lambda path: changed(path, lambda f: f["electron_events/frames"].attrs.__delitem__("Nx")),
        {}, "needs a whole number Nx",
    ),
    "outside": ("h5", outside, {}, "1 events lie outside.*24 x 24.*575.*frame 63 has 576"),
    "new_layout": ("h5", lambda path: counted(path, version=7), {}, "its version is.*7"),
    "too_few_rows": ("h5", lambda path: counted(path, [[1]] * 60), {}, "60 frames for a scan of"),
    "reordered": (
        "h5", lambda path: counted(path, positions=np.arange(64)[::-1]), {}, "not 0 to 63 in order",
    ),
    "beyond_the_scan": (
        "h5", lambda path: counted(path, version=2, positions=np.arange(1, 65)), {}, "first is 64",
    ),
    "not_square": (
        "h5", lambda path: counted(path, [[1]] * 64, detector=(24, 12)), {}, "detector_shape",
    ),
    "pairs_of_2019": ("h5", pairs, {}, "April 2019"),
    "too_narrow": (
        "h5", lambda path: counted(path, [[1]] * 64, detector=(576, 576), kind="u2"), {},
        "uint16, which ends at 65535",
    ),
    "broken_heap": ("h5", broken_heap, {}, "damaged|cannot be read|outside"),
    "no_electron": ("h5", lambda path: counted(path, [[]] * 64), {}, "has no electron"),
    "counted_with_threshold": ("h5", counted, {"threshold": 2}, "leave threshold out"),
    "other_scan": ("h5", counted, {"scan_shape": [4, 16]}, "8 x 8 .*scan_shape says 4 x 16"),
    "other_detector": ("h5", counted, {"detector_shape": [12, 48]}, "of another detector"),
    "two_arrays": ("h5", two_arrays, {}, "one.*two.*array|array.*one.*two"),
    "other_array": ("h5", two_arrays, {"array": "three"}, "no array.*three|three.*not"),
    "npy_cut": ("npy", cut(lambda path: npy(path, counts()), 0.7), {}, "cut short|bytes"),
    "fractions": ("npy", float_counts(lambda d: put(d, 0.5)), {}, "threshold"),
    "negative": ("npy", float_counts(lambda d: put(d, -1)), {}, "-1|negative"),
    "not_a_number": ("npy", float_counts(lambda d: put(d, np.nan)), {}, "nan|NaN|finite"),
    "infinite": ("npy", float_counts(lambda d: put(d, np.inf)), {}, "inf|finite"),
    "flat": ("npy", lambda path: npy(path, np.ones((64, 64), np.uint8)), {}, "64 x 64|dimension"),
    "list_of_frames": (
        "npy", lambda path: npy(path, counts().reshape(64, *DETECTOR)), {}, "give scan_shape",
    ),
    "other_frames": (
        "npy", lambda path: npy(path, counts().reshape(64, *DETECTOR)), {"scan_shape": [7, 9]},
        "64 frames do not make a scan of 7 x 9",
    ),
    "objects": ("npy", lambda path: npy(path, np.array([{}, []], object)), {}, "object"),
    "complex": ("npy", lambda path: npy(path, counts().astype(complex)), {}, "complex"),
    "damaged_zarr": ("zarr", damaged_zarr, {}, "damaged|cannot be read|decompress"),
    "bare_folder": ("zarr", lambda path: path.mkdir(), {}, "this is a folder, and no Zarr"),
    "pipe": ("h5", os.mkfifo, {}, "no regular file"),
    "tiff_cut": (
        "eer", cut(lambda path: tifffile.imwrite(path, counts()[0]), 0.001), {}, "TIFF|tiff",
    ),
    "mib_cut": ("mib", written(b"MQ1,000001,00384,01,0256,0256,U08" + bytes(400)), {}, "mib_cut"),
    "dm4_of_zeros": ("dm4", written(b"\0\0\0\x04" + bytes(200)), {}, "dm4_of_zeros"),
    "no_disk": ("npy", stripes, {"center_px": None, "semiangle_px": None}, "no .*disk|center_px"),
    "too_dark": (
        "h5", lambda path: counted(path, [[300]] * 3 + [[]] * 61),
        {"center_px": None, "semiangle_px": None}, "at least 500 are needed",
    ),
    "disk_elsewhere": ("h5", counted, {"center_px": [900, 900]},
        r"disk of radius 8 px .*about \(900, 900\) px .*none of the \d+ electrons .*24 x 24",
    ),
    "wide_bin": ("h5", counted, {"scan_bin": 9}, "scan_bin 9 is larger than the scan of 8 x 8"),
    "other_mask": (
        "h5", counted, {"detectors": [{"name": "m", "mask": "small.npy"}]},
        "small.npy: the mask has 3 x 4 pixels, 24 x 24 are needed",
    ),
    "detector_beyond": (
        "h5", counted, {"detectors": [{"name": "far", "inner_mrad": 60, "outer_mrad": 90}]},
        "'far' from 60 to 90 mrad holds no pixel of the camera, which ends at 50.82 mrad",
    ),
    "region_beyond": (
        "h5", counted, {"regions": [{"name": "r", "window": [0, 9, 0, 8]}]}, "region 'r'.*8 x 8",
    ),
    "other_region_mask": (
        "h5", counted, {"regions": [{"name": "r", "mask": "small.npy"}]}, "3 x 4 pixels, 8 x 8 are",
    ),
    "vacuum_beyond": ("h5", counted, {"vacuum": {"window": [0, 1, 5, 99]}}, "'vacuum'.*column 99"),
    "wide_crop": ("h5", counted, {"dense": {"bin": 2, "crop_px": 64}}, "crop_px 64 x 64 is larger"),
    "wide_dense_bin": ("h5", counted, {"dense": {"bin": 30}}, "a bin of 30 x 30 is larger"),
    "dense_overflow": (
        "npy", lambda path: npy(path, 9 * counts()), {"dense": {"bin": 24, "dtype": "uint8"}},
        "uint8 holds 255.*dtype: uint32",
    ),
    "many_rings": ("h5", counted, {"radial": {"width_mrad": 1e-4}}, "give a greater width_mrad"),
}  # fmt: skip


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Folder of one night over all the files and a healthy one; its answer by the command line."""
    folder = tmp_path_factory.mktemp("bad")
    np.save(folder / "small.npy", np.eye(3, 4))
    datasets = []
    for number, (name, (suffix, write, keys, _)) in enumerate(FILES.items()):
        path = folder / f"{name}.{suffix}"
        write(path)
        datasets.append({"path": path.name, **KNOWN, **keys})
        if number == len(FILES) // 2:
            counted(folder / "healthy.h5")
            datasets.append({"path": "healthy.h5", **KNOWN})
    return folder, *run(folder, datasets)


def run(folder, datasets, **more):
    """Run a job through the command line; its exit code, its night and what it said."""
    job = {"output": "out", "cluster": "threads", "datasets": datasets, **more}
    (folder / "night.yaml").write_text(yaml.safe_dump(job))
    answer = CliRunner().invoke(app, ["run", str(folder / "night.yaml"), "--no-prefect", "--json"])
    assert answer.exception is None or isinstance(answer.exception, SystemExit)
    return answer.exit_code, json.loads(answer.stdout), answer.output


def test_at_least_forty_bad_files_are_planted():
    assert len(FILES) >= 40


@pytest.mark.parametrize("name", FILES)
def test_bad_file_fails_alone_with_one_message(night, name):
    folder, code, answer, _ = night
    row = next(row for row in answer["datasets"] if row["name"] == name)
    assert code == 1
    assert row["status"] == "failed"
    assert re.search(FILES[name][3], row["reason"]), row["reason"]
    assert "Traceback" not in row["reason"]
    assert len(row["reason"]) < 700
    assert not (folder / "out" / name).exists()
    assert layout.error_log(folder / "out", name).is_file()


@pytest.mark.parametrize("name", FILES)
def test_reason_names_the_file(night, name):
    folder, _, answer, _ = night
    row = next(row for row in answer["datasets"] if row["name"] == name)
    assert str(folder / f"{name}.{FILES[name][0]}") in row["reason"]


def test_healthy_recording_among_them_is_milled_whole(night):
    folder, _, answer, said = night
    row = next(row for row in answer["datasets"] if row["name"] == "healthy")
    assert row["status"] == "ok"
    assert "Traceback" not in said
    found = CliRunner().invoke(app, ["verify", str(folder / "out"), "--json"])
    assert found.exit_code == 0
    assert list(json.loads(found.stdout)["digests"]) == [str(folder / "out" / "healthy")]
    page = (folder / "out" / "index.html").read_text(encoding="utf-8")
    assert all(name in page for name in FILES)


def test_mended_file_is_milled_the_next_night_and_its_error_is_forgotten(night, tmp_path):
    shutil.copytree(night[0] / "out", tmp_path / "out")
    counted(tmp_path / "empty.h5")
    shutil.copy2(night[0] / "healthy.h5", tmp_path)
    names = ("empty.h5", "healthy.h5")
    code, answer, _ = run(tmp_path, [{"path": name, **KNOWN} for name in names])
    assert code == 0
    assert [row["status"] for row in answer["datasets"]] == ["ok", "ok"]
    assert not layout.error_log(tmp_path / "out", "empty").exists()
    code, answer, _ = run(tmp_path, [{"path": name, **KNOWN} for name in names])
    assert [row["status"] for row in answer["datasets"]] == ["unchanged", "unchanged"]


def refused(folder, arguments=(), **more):
    counted(folder / "healthy.h5")
    job = {"output": "out", "cluster": "threads", "datasets": [{"path": "healthy.h5", **KNOWN}]}
    (folder / "night.yaml").write_text(yaml.safe_dump(job | more))
    command = ["run", str(folder / "night.yaml"), "--no-prefect", "--json", *arguments]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 2
    assert not (folder / "out" / "healthy").exists()
    return json.loads(answer.stdout)["error"]


def test_unknown_step_to_force_is_refused(tmp_path):
    assert "there is no such step; steps are ingest" in refused(tmp_path, ["--force", "sbb"])


def test_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    assert "out cannot be written (Not a directory)" in refused(tmp_path)


def test_output_that_another_night_holds_is_refused(tmp_path):
    with lock.locked_output(tmp_path / "out"):
        assert "another night is writing" in refused(tmp_path)


def test_output_on_a_full_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "LEAST_FREE_DISK", 1 << 62)
    assert "make room" in refused(tmp_path)


def test_scheduler_that_does_not_answer_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "CONNECT_WITHIN", 0.3)
    error = refused(tmp_path, cluster="tcp://127.0.0.1:9")
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in error
