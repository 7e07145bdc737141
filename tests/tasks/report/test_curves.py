import numpy as np
import pytest
import xarray as xr

from tasks.report.curves import electrons_chart, frc_chart, profile_chart, resolution_of


def test_histogram_leaves_out_positions_without_a_frame(results):
    results["electrons"][:] = 100.0
    results["electrons"][0] = 0.0
    results["frames_present"][0] = 0
    assert (
        "Mean 100 e, standard deviation 0 e; chance alone gives 10 e"
        in electrons_chart(results).note
    )


def test_no_electrons_no_chart(results):
    assert electrons_chart(results.drop_vars("electrons")) is None
    results["frames_present"][:] = 0
    assert electrons_chart(results) is None


def test_frc_shows_each_image_with_its_resolution_and_the_thresholds(frc):
    labels = [label for _, label in frc_chart(frc).legend]
    assert labels == [
        "Phase, single sideband: 0.78 Å",
        "Phase, differential phase contrast",
        "thresholds 0.5, 0.143, half bit",
    ]


def test_frc_without_curves_has_no_chart(frc):
    assert frc_chart(frc[["threshold_half_bit"]]) is None
    assert frc_chart(xr.Dataset()) is None


def test_frc_of_nothing_but_nan_is_drawn_empty(frc):
    assert "nan" not in frc_chart(frc * np.nan).svg


@pytest.mark.parametrize(
    ("stated", "resolution"),
    [
        (1.2, 1.2),
        ({"0.5": 2.0, "0.143": 1.5}, 1.5),
        ({"half_bit": 1.7}, 1.7),
        ({}, None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_resolution_is_read_as_number_or_by_threshold(stated, resolution):
    curve = xr.DataArray([1.0], attrs={} if stated is None else {"resolution_angstrom": stated})
    assert resolution_of(curve) == resolution


def test_profile_names_its_axis_and_unit(results):
    assert ">radius [px]<" in profile_chart("radial", results["radial"]).svg
