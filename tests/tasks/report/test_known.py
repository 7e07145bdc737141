import numpy as np
import xarray as xr

from tasks.report import known


def test_known_images_come_first_and_unknown_ones_are_still_shown(results):
    results["zeta"] = results["ssb_phase"] * 2
    names = known.image_names(results)
    assert names.index("ssb_phase") < names.index("virtual_bf") < names.index("zeta")
    assert names[-1] == "zeta"
    assert "pacbed" not in names
    assert "radial" not in names


def test_object_grids_are_images_and_complex_ones_are_not():
    real, wave = (xr.DataArray(np.eye(4) * unit, dims=("y_obj", "x_obj")) for unit in (1, 1j))
    found = xr.Dataset({"epie_phase": real, "object": wave, "none": real})
    assert known.image_names(found) == ["epie_phase", "none"]


def test_a_probe_that_was_found_is_shown_and_its_landscape_is_no_image():
    real = xr.DataArray(np.eye(4), dims=("y_found", "x_found"))
    lines = xr.DataArray(np.eye(4), dims=("probe_aberration", "probe_point"))
    found = xr.Dataset({"found_probe_amplitude": real, "probe_misfit": lines})
    assert known.image_names(found) == ["found_probe_amplitude"]


def test_a_detector_of_the_job_is_a_virtual_detector(results):
    kind = known.kind_of("virtual_haadf", results["virtual_bf"])
    assert kind.section == known.VIRTUAL
    assert kind.counted


def test_unknown_phases_are_recognised_by_their_unit(results):
    assert known.kind_of("guess", results["ssb_phase"]).section == known.PHASES


def test_best_image_is_a_phase_where_there_is_one(results):
    assert known.best_image(results) == "ssb_phase"
    assert known.best_image(results[["dpc_phase", "virtual_bf"]]) == "dpc_phase"
    assert known.best_image(results[["electrons", "virtual_bf"]]) == "virtual_bf"
    assert known.best_image(results[["pacbed"]]) is None
