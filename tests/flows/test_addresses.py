"""A job whose recording is at an address."""

import fsspec
import numpy as np
import pytest

from flows.job import JobError, check_job
from flows.reprocess import reprocess
from flows.step import unrecorded

KEYS = {
    "voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.3,
    "scan_rotation_deg": 0, "flip": False, "aberrations": {},
}  # fmt: skip


def job(path, folder, mirror=None, **options):
    raw = {"output": str(folder / "out"), "mirror": mirror, "datasets": [{"path": path, **KEYS}]}
    return check_job(raw, "job", folder, **options)


def test_recording_at_an_address_is_fetched_and_milled(tmp_path):
    y, x = np.indices((32, 32)) - 15.5
    disk = (np.hypot(y, x) < 10) * 3.0
    counts = np.random.default_rng(0).poisson(disk, (8, 8, 32, 32)).astype(np.uint8)
    np.save(tmp_path / "scan.npy", counts)
    fsspec.filesystem("memory").pipe_file("/night/scan.npy", (tmp_path / "scan.npy").read_bytes())
    (dataset,) = job("memory://night/scan.npy", tmp_path).datasets
    assert dataset.name == "scan"
    with unrecorded():
        row = reprocess.fn(
            dataset.model_copy(update={"steps": ("virtual",)}), str(tmp_path / "out")
        )
    assert row["status"] == "ok"
    assert (tmp_path / "out" / "scan" / "report.html").is_file()


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("https://host/a.h5?key=SECRET", "https://host/a.h5?…"),
        ("s3://user:SECRET@bucket/a.h5", "s3://…@bucket/a.h5"),
        ("s3://user:SEC/SECRET@bucket/a.h5", "s3://…@bucket/a.h5"),
        ("simplecache::s3://user:SECRET@bucket/a.h5", "no such file"),
    ],
)
def test_address_with_a_secret_in_it_is_refused_and_not_repeated(tmp_path, path, shown):
    with pytest.raises(JobError) as refused:
        job(path, tmp_path)
    assert shown in str(refused.value)
    assert "SECRET" not in str(refused.value)


def test_address_is_no_place_to_watch(tmp_path):
    with pytest.raises(JobError, match="--watch looks at files"):
        job("s3://bucket/a.h5", tmp_path, awaited=True)


def test_address_leaves_the_roots_of_a_facility(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHASEMILL_ROOTS", str(tmp_path))
    with pytest.raises(JobError, match="is outside of the folders that jobs may use"):
        job("s3://bucket/a.h5", tmp_path)


def test_mirror_tells_no_secret(tmp_path):
    with pytest.raises(JobError, match=r"s3://…@bucket/x' is no address") as refused:
        job("a.h5", tmp_path, mirror="s3://user:SEC/SECRET@bucket/x")
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize("kind", ["generic", "zip", "dir", "reference"])
def test_mirror_leads_to_no_file_of_a_facility(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("PHASEMILL_ROOTS", str(tmp_path))
    (tmp_path / "a.h5").touch()
    with pytest.raises(JobError, match=f"mirror: {kind} may lead to files of this machine"):
        job("a.h5", tmp_path, mirror=f"{kind}:///tmp/out")
