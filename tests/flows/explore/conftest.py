"""The explorer as its own process, and a page of it in a browser."""

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from flows.simulate import job_of
from models.aberrations import Aberrations
from tasks.ingest import ReaderOptions, ingest
from tasks.simulate import simulate
from tasks.simulation import Simulation
from tasks.store import layout
from tasks.store.source import fingerprint

WAIT = 180_000
"""Of a busy machine [ms]."""


@pytest.fixture(scope="session")
def simulation():
    return Simulation(
        scan_shape=(64, 64), scan_step=(0.3, 0.3), electrons=4000.0, detector_shape=(64, 64),
        aberrations=Aberrations(C10=90.0, C12=20.0, phi12=0.4), center=(31.2, 32.6),
        radius=16.0, missing_fraction=0.0, lost_sectors=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def job(simulation, tmp_path_factory):
    """A job with a simulated scan whose event store is there already; only C10 is left wrong."""
    folder = tmp_path_factory.mktemp("night")
    recording = folder / "scan.h5"
    simulate(simulation, recording)
    wanted = job_of(simulation, recording, folder / "results", "scan")
    wanted["cluster"] = "threads"
    wanted["datasets"][0] |= {
        "scan_rotation_deg": -9.0, "flip": False, "center_px": list(simulation.center),
        "semiangle_px": simulation.radius, "aberrations": {"C12": 20.0, "phi12": 0.4},
    }  # fmt: skip
    path = folder / "night.yaml"
    path.write_text("# The night of a test.\n" + yaml.safe_dump(wanted, sort_keys=False))
    work = layout.work_folder(folder / "results", "scan")
    ingest(fingerprint(recording, work / "source.json"), work, ReaderOptions())
    return path


@pytest.fixture(scope="session")
def explorer():
    """Runs the explorer with some arguments while a block runs."""
    return _explorer


@contextmanager
def _explorer(*arguments):
    """``phasemill explore`` as a process; gives its address and the process."""
    program = Path(sys.executable).with_name("phasemill")
    process = subprocess.Popen(
        [program, "explore", *map(str, arguments), "--no-browser", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield json.loads(line)["address"], psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=180)
    assert not errors, errors
    assert process.returncode == 0


@dataclass
class Tab:
    """A page of the explorer, with what a person does on it."""

    page: object
    faults: list = field(default_factory=list)

    def model(self, name, attribute):
        return self.page.evaluate(
            f"() => {{ const m = Bokeh.documents[0].get_model_by_name('{name}'); "
            f"return {attribute}; }}"
        )

    def type(self, key, text):
        box = self.page.locator(f".box-{key} input")
        box.fill(text)
        box.press("Enter")

    def focus(self, value):
        """Set C10, wait for its image, and answer with contrast and flatness as they are shown."""
        self.type("C10", f"{value}")
        self.page.wait_for_function(
            "(c) => { const named = (n) => Bokeh.documents[0].get_model_by_name(n).data.C10; "
            "return named('main-pixels')[0] == c && named('after-pixels')[0] == c; }",
            arg=value, timeout=WAIT,
        )  # fmt: skip
        spread = self.model(
            "main",
            "(() => { const a = Bokeh.documents[0].get_model_by_name('main-pixels').data.image[0];"
            " let s = 0, q = 0; for (const v of a) { s += v; q += v * v; }"
            " return Math.sqrt(q / a.length - (s / a.length) ** 2); })()",
        )
        return spread, self.readout("flatness")

    def sweep(self, focus):
        """Contrast and flatness at each of some C10."""
        return np.array([self.focus(float(c)) for c in focus]).T

    @staticmethod
    def peak(values, found):
        """Where a curve is highest, by the parabola through its three highest points."""
        n = int(np.clip(np.argmax(found), 1, len(found) - 2))
        left, top, right = found[n - 1 : n + 2]
        step = values[1] - values[0]
        return values[n] + step * 0.5 * (left - right) / (left - 2 * top + right)

    def readout(self, key):
        text = self.page.locator(f"#{key}").inner_text(timeout=WAIT)
        return float(re.sub(r"[^0-9.\-]", "", text.replace("−", "-").split("e a")[0]))

    def message(self, words):
        """Wait for a message that has some words."""
        found = self.page.locator("[role=alert]").filter(has_text=words)
        found.wait_for(timeout=WAIT)
        return found.inner_text()

    def until(self, holds):
        """Wait until a condition holds; what is moved reaches the server and comes back."""
        end = time.monotonic() + WAIT / 1000
        while not holds():
            assert time.monotonic() < end
            self.page.wait_for_timeout(50)

    def box_of(self, selector):
        """Where something is, once it no longer moves."""
        found = self.page.locator(selector).first
        seen = [found.bounding_box()]
        self.until(lambda: seen.append(found.bounding_box()) or seen[-4:] == seen[-1:] * 4)
        return seen[-1]

    def press(self, label):
        self.page.get_by_role("button", name=label, exact=True).click()


@pytest.fixture(scope="session")
def opened(chromium):
    """Opens a tab with the page while a block runs."""
    return lambda address: _opened(chromium, address)


@contextmanager
def _opened(browser, address):
    """A tab with the page; at its end the console must hold no error."""
    context = browser.new_context(viewport={"width": 1500, "height": 1150}, accept_downloads=True)
    tab = Tab(context.new_page())
    tab.page.set_default_timeout(WAIT)
    tab.page.on("pageerror", lambda error: tab.faults.append(str(error)))
    tab.page.on("console", lambda m: m.type in ("error", "warning") and tab.faults.append(m.text))
    tab.page.goto(address)
    tab.page.locator("#flatness").wait_for(timeout=WAIT)
    tab.page.locator("#detectorA").wait_for(timeout=WAIT)
    yield tab
    context.close()
    assert tab.faults == []
