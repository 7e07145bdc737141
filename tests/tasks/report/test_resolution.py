import numpy as np
import pytest
import xarray as xr

from tasks.report.resolution import (
    at_limit,
    frc_charts,
    resolution_label,
    resolution_of,
    resolution_table,
    stated_curve,
)


def test_charts_show_each_image_with_its_resolution_and_the_thresholds(frc):
    phases, others, ratio = frc_charts(frc)
    assert [label for _, label in phases.legend] == [
        "Phase, single sideband: 0.78 Å",
        "Phase, differential phase contrast: ≤ 0.5 Å",
        "thresholds 0.5, 0.143, half-bit",
    ]
    assert [label for _, label in others.legend][:2] == [
        "Bright field: 1.3 Å, with gaps",
        "Annular dark field: —",
    ]
    assert phases.note.startswith("79 rings of 7 to 475 frequencies; noise alone would spread by")
    assert ("s0", "Phase, single sideband") in ratio.legend


def test_table_says_what_a_limit_and_a_gap_mean(frc):
    table = resolution_table(frc)
    assert table.columns == ("0.143", "half-bit", "0.5")
    assert ("Phase, single sideband", ("0.78 Å", "0.8 Å", "0.91 Å")) in table.rows
    assert [note.split(":")[0] for note in table.notes] == ["≤", "With gaps"]
    assert resolution_table(frc[["ssb_phase"]]).notes == ()


def test_brackets_say_what_counting_noise_leaves_open(frc):
    curve = frc["ssb_phase"]
    for spread, said in (([0.74, 0.8123], "0.78 Å (0.74–0.812)"), ([0.74, None], "0.78 Å (0.74–∞)"),
                         ([0.78, 0.78], "0.78 Å"), ("x", "0.78 Å")):  # fmt: skip
        curve.attrs["spread_angstrom"] = {"0.143": spread}
        assert resolution_label(curve) == said
    curve.attrs["spread_angstrom"] = {"0.143": [0.74, 0.8123]}
    assert any(note.startswith("In brackets") for note in resolution_table(frc).notes)


def test_the_image_that_stands_for_the_dataset_states_its_resolution(frc):
    assert stated_curve(frc) == "ssb_phase"  # and not the finest, which is that of DPC
    assert resolution_of(frc) == 0.78
    assert not at_limit(frc)
    assert at_limit(frc[["dpc_phase"]])
    assert resolution_of(frc[["virtual_adf"]]) is None
    assert resolution_label(frc["virtual_adf"]) == "—"


def test_nothing_measured_shows_nothing(frc):
    for empty in (frc[["threshold_half_bit"]], xr.Dataset()):
        assert frc_charts(empty) == []
        assert resolution_table(empty) is None
        assert resolution_of(empty) is None
    assert resolution_table(None) is None


def test_curves_of_nothing_but_nan_are_drawn_empty(frc):
    with xr.set_options(keep_attrs=True):
        charts = frc_charts(frc * np.nan)
    assert charts
    assert not any("nan" in chart.svg for chart in charts)


@pytest.mark.parametrize("stated", [None, "0.78", float("nan"), {"0.143": 1}])
def test_what_is_no_number_is_no_resolution(frc, stated):
    curve = frc[["ssb_phase"]]
    curve["ssb_phase"].attrs["resolution_angstrom"] = stated
    curve["ssb_phase"].attrs["resolutions_angstrom"] = {"0.143": stated}
    assert resolution_of(curve) is None
    assert resolution_label(curve["ssb_phase"]) == "—"
