"""A night under Prefect's record of it: the same answers, in the same few words."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tasks.simulate import simulate
from tasks.simulation import small_simulation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_night_of_a_good_and_a_cut_file_says_two_lines_and_no_traceback(tmp_path):
    simulate(small_simulation(scan_shape=(24, 24), detector_shape=(32, 32)), tmp_path / "good.h5")
    data = (tmp_path / "good.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    known = {"voltage_kv": 80, "semiangle_mrad": 25, "scan_step_angstrom": 0.3}
    job = {
        "output": "out",
        "cluster": "threads",
        "defaults": known | {"scan_rotation_deg": 0, "flip": False, "aberrations": {}},
        "datasets": [{"path": "cut.h5"}, {"path": "good.h5"}],
    }
    (tmp_path / "night.yaml").write_text(yaml.safe_dump(job))
    command = [Path(sys.executable).with_name("phasemill"), "run", "night.yaml", "--quiet"]
    state = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}

    done = subprocess.run(
        command, cwd=tmp_path, env=state, capture_output=True, text=True, timeout=500
    )

    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "out" / "index.html")]
    said = done.stderr.splitlines()
    assert len(said) == 2, done.stderr
    assert said[0].strip().startswith(f"failed cut: {tmp_path / 'cut.h5'}: the file is cut short")
    assert said[1].strip() == "ok good: done"
    rows = json.loads((tmp_path / "out" / "night.json").read_text())["datasets"]
    assert [(row["name"], row["status"]) for row in rows] == [("cut", "failed"), ("good", "ok")]
