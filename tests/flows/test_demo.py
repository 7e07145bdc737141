"""The demo ends with what was found beside the truth."""

import pytest
from rich.console import Console

from flows.demo import beside_truth, demo_job, truth_table
from flows.overnight import run_night
from tasks.simulation import small_simulation

SMALL = small_simulation(
    scan_shape=(48, 48), scan_step=(0.3, 0.3), detector_shape=(48, 48), radius=11.3,
    center=(23.4, 24.8), electrons=4000.0,
)  # fmt: skip
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo")
    job = demo_job(output, QUIET, True, SMALL).model_copy(update={"cluster": "threads"})
    return output, run_night(job, [], False, QUIET, True), job


def test_job_gives_only_what_an_operator_knows(demo):
    _, _, job = demo
    (dataset,) = job.datasets
    given = {name for name in type(dataset).model_fields if getattr(dataset, name) is not None}
    assert not given & {"scan_rotation_deg", "flip", "center_px", "semiangle_px", "aberrations"}
    assert (dataset.voltage_kv, dataset.semiangle_mrad, dataset.scan_step_angstrom) == (
        80, pytest.approx(25), (0.3, 0.3),
    )  # fmt: skip


def test_microscope_and_specimen_are_found_without_being_told(demo):
    output, night, _ = demo
    assert [row["status"] for row in night["datasets"]] == ["ok"]
    comparison, page = beside_truth(output)
    rows = {row.name: row for row in comparison.quantities}
    for name, margin in (("disk centre, row", 0.2), ("disk radius", 0.2), ("scan rotation", 4),
                         ("mirror", 0), ("C10", 8), ("C12", 8)):  # fmt: skip
        assert rows[name].fitted == pytest.approx(rows[name].truth, abs=margin), name
    assert comparison.wavefront < 0.3
    assert max(image.correlation for image in comparison.images) > 0.85
    assert page == output / "truth.html"


def test_table_shows_every_quantity_and_image(demo):
    output, _, _ = demo
    comparison, _ = beside_truth(output)
    table = truth_table(comparison)
    assert table.row_count == len(comparison.quantities) + len(comparison.images)


def test_page_is_one_file_with_the_truth_first_and_a_link_to_the_report(demo):
    output, _, _ = demo
    text = beside_truth(output).page.read_text(encoding="utf-8")
    assert 'href="demo/report.html"' in text
    assert text.count("data:image/png") >= 2 * 4
    assert text.index("true_phase") < text.index("ssb_phase")
    assert "<script" not in text
    assert 'src="http' not in text


def test_recording_is_made_again_only_where_the_settings_differ(tmp_path):
    tiny = small_simulation(scan_shape=(4, 4))
    recording = tmp_path / "demo_electrons.h5"
    demo_job(tmp_path, QUIET, True, tiny)
    first = recording.stat()
    demo_job(tmp_path, QUIET, True, tiny)
    assert recording.stat().st_mtime_ns == first.st_mtime_ns
    demo_job(tmp_path, QUIET, True, small_simulation(scan_shape=(4, 4), seed=2))
    assert recording.stat().st_mtime_ns != first.st_mtime_ns
