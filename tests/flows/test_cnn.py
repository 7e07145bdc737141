"""A night with the network: from a simulated recording to its phase in the results."""

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import tasks.cnn_stitch
from flows.job import JobError, check_job
from flows.overnight import run_night
from flows.progress import stderr_console
from flows.simulate import job_of
from tasks.simulate import simulate, truth_path
from tasks.simulation import Simulation

SETTINGS = Simulation(scan_shape=(28, 24), electrons=8000.0, missing_fraction=0.002)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("cnn") / "scan.h5"
    simulate(SETTINGS, path)
    return path


def job(recording, output, steps=("cnn",), epie=None, **keys):
    wanted = job_of(SETTINGS, recording, output, "scan")
    wanted["cluster"] = "threads"
    wanted["datasets"][0] |= {
        "steps": list(steps), "epie": epie or {},
        "center_px": list(SETTINGS.center), "semiangle_px": SETTINGS.radius,
        "scan_rotation_deg": float(np.degrees(SETTINGS.rotation)), "flip": SETTINGS.flip,
        "aberrations": SETTINGS.aberrations.nonzero(), "cnn": {"train": "never"} | keys,
    }  # fmt: skip
    return check_job(wanted, "job", recording.parent)


def night(job):
    return run_night(job, [], False, stderr_console(), True)["datasets"][0]


def test_the_network_sees_the_specimen(recording, tmp_path):
    wanted = job(recording, tmp_path / "out")
    row = night(wanted)
    assert row["status"] == "ok", row["reason"]
    folder = tmp_path / "out" / "scan"
    results = xr.open_zarr(folder / "results.zarr", chunks=None)
    phase = results["cnn_phase"]
    assert phase.attrs["units"] == "rad"
    with np.load(truth_path(recording)) as known:
        truth, step = known["phase"], known["scan_step"]
    at = np.meshgrid(phase["y_cnn"] / step[0], phase["x_cnn"] / step[1], indexing="ij")
    blurred = ndimage.gaussian_filter(truth, 1.5)
    true = ndimage.map_coordinates(blurred, at, order=3, mode="nearest")[4:-4, 4:-4]
    found = phase.values[4:-4, 4:-4]
    assert np.corrcoef(true.ravel(), found.ravel())[0, 1] > 0.8
    # The wrong way round it is something else.
    assert np.corrcoef(true.ravel(), found[::-1].ravel())[0, 1] < 0.5
    misfit = results["cnn_misfit"].values
    assert (
        np.isnan(misfit).sum()
        == (results["frames_present"].values == 0).sum()
        + (results["sector_mask"].values != 0).sum()
    )
    assert 0.9 < np.nanmedian(misfit) < 1.5
    # All patterns together explain themselves better than each alone.
    assert results["cnn_phase_stitched"].dims == phase.dims
    assert explains(results)["level"] == "ok"
    assert "rounds of fitting" in (folder / "report.html").read_text()
    assert "neural network" in (folder / "report.html").read_text()
    assert (folder / "images" / "cnn_phase.tif").exists()

    again = night(wanted)
    assert again["status"] == "unchanged"
    assert again["data"] == row["data"]


def test_a_wrong_probe_is_told_by_what_it_leaves_unexplained(recording, tmp_path):
    wanted = job(recording, tmp_path / "out")
    wrong = wanted.datasets[0].model_copy(update={"aberrations": {"C10": 55.0}})
    row = night(wanted.model_copy(update={"datasets": [wrong]}))
    assert row["status"] == "ok", row["reason"]
    results = xr.open_zarr(tmp_path / "out" / "scan" / "results.zarr", chunks=None)
    # No single pattern says so: the misfit of each is within what the other warning takes.
    assert np.nanmean(results["cnn_misfit"] > 1.5) < 0.05
    said = explains(results)
    assert said["level"] == "warn", said
    assert "unexplained" in said["text"], said


def explains(results):
    (found,) = (f for f in results.attrs["quality"] if f["flag"] == "network explains")
    return found


def test_epie_starts_from_the_phase_of_the_network(recording, tmp_path):
    epie = {"iterations": 2, "probe_step": 0, "batch_size": 1000}
    rows, cols = np.indices(SETTINGS.scan_shape)
    places = np.stack([rows * SETTINGS.scan_step[0], cols * SETTINGS.scan_step[1]], axis=-1)
    np.save(tmp_path / "raster.npy", places.reshape(-1, 2))
    same = str(tmp_path / "raster.npy")
    found = {}
    for name, keys in (
        ("near", {"epie": epie, "positions": same}),
        ("far", {"epie": epie | {"start": "flat"}}),
    ):
        row = night(job(recording, tmp_path / name, ("cnn", "epie"), **keys))
        assert row["status"] == "ok", row["reason"]
        found[name] = xr.open_zarr(tmp_path / name / "scan" / "results.zarr", chunks=None)
    noise = found["near"]["epie_residual"].attrs["noise"]
    near, far = (found[name]["epie_residual"].values[0] - noise for name in ("near", "far"))
    assert abs(near) < 0.3 * far
    # Positions from a file that are those of the raster are the raster.
    np.testing.assert_allclose(found["near"]["cnn_phase"], found["far"]["cnn_phase"], atol=1e-5)
    refused = {"epie": {"start": "cnn"}}
    with pytest.raises(JobError, match="no step cnn to start from"):
        job(recording, tmp_path, ("epie",), **refused)


def test_a_phase_that_explains_less_than_none_is_begun_anew(recording, tmp_path, monkeypatch):
    stitch_sums = tasks.cnn_stitch.stitch_sums

    def wrong(*given, **more):
        found = stitch_sums(*given, **more)
        return found._replace(image=-6 * found.image)

    monkeypatch.setattr("tasks.cnn_stitch.stitch_sums", wrong)
    row = night(job(recording, tmp_path / "out"))
    assert row["status"] == "ok", row["reason"]
    results = xr.open_zarr(tmp_path / "out" / "scan" / "results.zarr", chunks=None)
    own, fitted = (results[name].values.ravel() for name in ("cnn_phase_stitched", "cnn_phase"))
    assert np.corrcoef(own, fitted)[0, 1] < 0
    assert np.nanmedian(results["cnn_misfit"]) < 1.5
    assert "They began from no phase" in (tmp_path / "out" / "scan" / "report.html").read_text()


def test_a_refinement_that_explains_less_is_not_kept(recording, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.cnn_refine.improved", lambda phase, *_: (3 * phase).astype("f4"))
    row = night(job(recording, tmp_path / "out"))
    assert row["status"] == "ok", row["reason"]
    folder = tmp_path / "out" / "scan"
    results = xr.open_zarr(folder / "results.zarr", chunks=None)
    np.testing.assert_array_equal(results["cnn_phase"], results["cnn_phase_stitched"])
    assert "it stands as stitched" in (folder / "report.html").read_text()


def test_an_echo_that_explains_less_is_not_taken_off(recording, tmp_path, monkeypatch):
    found = {}
    for name, factor in (("kept", 1.0), ("worse", 4.0)):
        monkeypatch.setattr("tasks.cnn.without_echo", lambda image, echo, f=factor: f * image)
        row = night(job(recording, tmp_path / name, refine=0))
        assert row["status"] == "ok", row["reason"]
        found[name] = xr.open_zarr(tmp_path / name / "scan" / "results.zarr", chunks=None)
    for name in ("cnn_phase", "cnn_misfit"):
        np.testing.assert_array_equal(found["worse"][name], found["kept"][name])


def test_a_scan_in_tiles_is_the_scan_at_once(recording, tmp_path, monkeypatch):
    found = {}
    for name, most in (("one", 1 << 18), ("four", 200)):
        monkeypatch.setattr("tasks.cnn_stitch.TILE_POSITIONS", most)
        row = night(job(recording, tmp_path / name, refine=0))
        assert row["status"] == "ok", row["reason"]
        folder = tmp_path / name / "scan"
        found[name] = xr.open_zarr(folder / "results.zarr", chunks=None)
        told = "stitched in 4 tiles" in (folder / "report.html").read_text()
        assert told == (name == "four")
    one, four = (found[name]["cnn_phase"] for name in ("one", "four"))
    np.testing.assert_array_equal(one["x_cnn"], four["x_cnn"])
    away = (four - one).values[3:-3, 3:-3]
    assert (away - away.mean()).std() < 0.1 * one.values.std()


def test_a_machine_without_torch_refuses_before_any_work(recording, tmp_path, monkeypatch):
    monkeypatch.setattr("flows.job.find_spec", lambda name: None)
    with pytest.raises(JobError, match=r"needs torch; install phasemill\[deep\]"):
        job(recording, tmp_path)


def test_a_network_that_is_not_there_is_refused_before_any_work(recording, tmp_path):
    with pytest.raises(JobError, match="no such file"):
        job(recording, tmp_path, network="absent.safetensors")
