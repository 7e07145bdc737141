"""Options of the command line become the settings that they name, in the units of a job."""

import io
import json
from math import radians

import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from flows import cli, cli_night, cli_simulate
from flows.job import read_job
from flows.simulate import job_of, settings_of
from models.aberrations import Aberrations
from tasks.formats.stempy_hdf5 import StempyRecording
from tasks.simulate import truth_path
from tasks.simulation import Simulation, SimulationError

TINY = ["--scan-shape", "4", "6", "--detector-shape", "32", "32", "--electrons", "50"]


def simulated(*arguments):
    return CliRunner().invoke(cli.app, ["simulate", *map(str, arguments)])


@pytest.fixture
def said(monkeypatch):
    """What is told to the eye."""
    text = io.StringIO()
    for module in (cli, cli_night, cli_simulate):
        monkeypatch.setattr(module, "console", Console(file=text, width=60))
    return text


def test_without_options_it_is_the_demonstration():
    assert settings_of({}) == Simulation()
    assert settings_of({"specimen": None, "overwrite": True}) == Simulation()


def test_every_option_reaches_its_setting_in_its_unit():
    made = settings_of({
        "specimen": "gold", "scan_shape": (10, 20), "scan_step_angstrom": 0.5, "voltage_kv": 300.0,
        "semiangle_mrad": 10.0, "dose": 400.0, "aberration": ["C10=30,C12=5", "phi12=0.2"],
        "scan_rotation_deg": 90.0, "flip": True, "detector_shape": (64, 72),
        "center_px": (31.0, 36.5), "semiangle_px": 12.0, "missing_frames": 3, "lost_sectors": 2,
        "flyback": True, "seed": 7, "pixel_points": 3,
    })  # fmt: skip
    assert made == Simulation(
        specimen="gold", scan_shape=(10, 20), scan_step=(0.5, 0.5), energy=300e3, semiangle=0.010,
        electrons=100.0, aberrations=Aberrations(C10=30.0, C12=5.0, phi12=0.2),
        rotation=radians(90), flip=True, detector_shape=(64, 72), center=(31.0, 36.5), radius=12.0,
        missing_fraction=3 / 200, lost_sectors=2, flyback=True, seed=7,
        pixel_points=3,
    )  # fmt: skip


def test_disk_keeps_its_part_of_another_detector():
    made = settings_of({"detector_shape": (256, 192)})
    assert made.center == pytest.approx((124.6, 97.8))
    assert made.radius == pytest.approx(36)


def test_defocus_is_minus_C10_and_no_other_aberration():  # noqa: N802  its name
    assert settings_of({"defocus_angstrom": 80.0}).aberrations == Aberrations(C10=-80.0)
    assert settings_of({"aberration": ["C10=0"]}).aberrations == Aberrations()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"electrons": 10.0, "dose": 10.0}, "not both"),
        ({"aberration": ["C10=3"], "defocus_angstrom": 1.0}, "C10 or the defocus"),
        ({"aberration": ["C11=3"]}, "'C11' is not one of C10, C12"),
        ({"aberration": ["C10"]}, "'C10' is not NAME=VALUE"),
        ({"aberration": ["C10=much"]}, "'C10=much' is not NAME=VALUE"),
        ({"specimen": "cheese"}, "there are mos2, hbn"),
        ({"missing_frames": -1}, "missing fraction"),
        ({"defocus_angstrom": 8000.0}, "a probe 400 Å wide"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(SimulationError, match=message):
        settings_of(options)


def test_help_names_the_defaults_of_the_demonstration():
    # As they are kept, because how lines are broken depends on where the test runs.
    options = typer.main.get_command(cli.app).commands["simulate"].params
    told = {one.name: getattr(one, "show_default", None) for one in options}
    demo = Simulation()
    rows, cols = demo.scan_shape
    assert told | {
        "specimen": demo.specimen, "scan_shape": f"{rows} {cols}",
        "scan_step_angstrom": f"{demo.scan_step[0]}", "electrons": f"{demo.electrons:g}",
        "voltage_kv": f"{demo.energy / 1e3:g}", "semiangle_mrad": f"{demo.semiangle * 1e3:g}",
        "scan_rotation_deg": f"{np.rad2deg(demo.rotation):g}",
        "center_px": "{} {}".format(*demo.center), "semiangle_px": f"{demo.radius:g}",
        "lost_sectors": f"{demo.lost_sectors}",
        "missing_frames": f"{100 * demo.missing_fraction:g} %", "seed": f"{demo.seed}",
    } == told  # fmt: skip


def test_recording_truth_and_job_are_written_and_fit_together(tmp_path):
    path, job = tmp_path / "scan.h5", tmp_path / "scan.yaml"
    answer = simulated(path, *TINY, "--flyback", "--job", job, "--json")
    assert answer.exit_code == 0, answer.output
    summary = json.loads(answer.stdout)
    assert (summary["path"], summary["scan_shape"]) == (str(path), [4, 7])
    (dataset,) = read_job(job).datasets
    assert (dataset.path, dataset.voltage_kv, dataset.drop_flyback) == (str(path), 80, True)
    recording = StempyRecording(dataset.path, drop_flyback=dataset.drop_flyback)
    with np.load(truth_path(path), allow_pickle=False) as truth:
        assert recording.scan_shape == truth["phase"].shape == (4, 6)


def test_detector_that_is_not_square_is_named_in_the_job():
    wanted = job_of(settings_of({"detector_shape": (96, 128)}), "scan.h5", "out")
    assert wanted["datasets"][0]["detector_shape"] == [96, 128]


def test_path_alone_goes_to_standard_output(tmp_path, said):
    answer = simulated(tmp_path / "scan.h5", *TINY)
    assert answer.stdout.strip() == str(tmp_path / "scan.h5")
    assert "electrons_per_frame" in said.getvalue()
    assert "scan_truth.npz" in "".join(said.getvalue().split())  # however it was wrapped


def test_file_that_is_there_is_left_as_it_is_unless_told(tmp_path, said):
    path = tmp_path / "scan.h5"
    path.write_text("last week's only recording")
    answer = simulated(path, *TINY)
    assert answer.exit_code == 2
    assert "--overwrite" in said.getvalue()
    assert path.read_text() == "last week's only recording"
    assert simulated(path, *TINY, "--overwrite").exit_code == 0


def test_wrong_request_ends_with_2_and_its_reason(tmp_path):
    answer = simulated(tmp_path / "scan.h5", "--specimen", "cheese", "--json")
    assert answer.exit_code == 2
    assert "'cheese'" in json.loads(answer.stdout)["error"]
    assert list(tmp_path.iterdir()) == []
