import numpy as np
import xarray as xr

from tasks.report.curves import electrons_chart, landscape_chart, profile_chart


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


def test_profile_names_its_axis_and_unit(results):
    assert ">radius [px]<" in profile_chart("radial", results["radial"]).svg


def test_landscape_has_a_curve_for_each_component_and_a_key_for_each_aberration(results):
    assert landscape_chart(results) is None
    away = np.linspace(-1, 1, 9)
    names = ["C10", "C12a", "C12b", "C21a", "C21b", "C23a", "C23b"]
    dims = ("probe_aberration", "probe_point")
    landscape = xr.Dataset(
        {
            "probe_misfit": (dims, np.stack([away**2] * 7), {"aberrations": names}),
            "probe_tried": (dims, np.stack([away] * 7)),
        }
    )
    chart = landscape_chart(results.merge(landscape))
    assert chart.svg.count('class="line') == 7
    assert [label for _, label in chart.legend] == [
        "defocus", "twofold astigmatism", "coma", "threefold",
    ]  # fmt: skip
