"""From the event on a slider to the new image on the page, in a browser without a window.

    python benchmarks/explorer.py [256 | 1024] [--folder FOLDER] [--prepare]

A scan is simulated once (of 256 x 256 positions; the large one is that, four by four), ingested and
opened with ``phasemill explore``. A key moves the slider of C10 by one stop; the clock runs from
that event in the browser to the frame after the one in which the image of the new C10 was painted.
Beside it are the part that the sum over detector pixels takes, and the floor: the same way through
browser, web socket and server for a message that needs no image.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from models.aberrations import Aberrations
from tasks.ingest import ReaderOptions, ingest
from tasks.simulate import simulate
from tasks.simulation import Simulation
from tasks.store import layout
from tasks.store.events import open_store
from tasks.store.source import fingerprint

STEPS = 10
SCANS = {256: (32, 11.94, 1), 1024: (18, 8.6, 4)}
"""Detector pixels along a side, disk radius [px], and how often the scan is repeated a side."""
WATCH = """
const source = Bokeh.documents[0].get_model_by_name("main-pixels");
const words = Bokeh.documents[0].get_model_by_name("message");
window.found = null;
window.began = null;
const painted = () => requestAnimationFrame(() => setTimeout(() => {
    if (window.began !== null) window.found = performance.now() - window.began;
    window.began = null;
}, 0));
document.addEventListener("keydown", (e) => { window.found = null; window.began = e.timeStamp; },
                          true);
source.properties.data.change.connect(() => { if (!window.bare) painted(); });
words.properties.text.change.connect(() => { if (window.bare) painted(); });
"""


def main() -> None:
    """Print a line for each scan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", nargs="?", type=int, choices=SCANS)
    parser.add_argument("--folder", type=Path, help="where the scans stay for the next run")
    parser.add_argument("--prepare", action="store_true", help="make the scans only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for one in [options.side] if options.side else SCANS:
            work = prepare((options.folder or Path(folder)) / str(one), one)
            if not options.prepare:
                print(json.dumps({"scan": one} | measure(work), ensure_ascii=False), flush=True)


def prepare(folder: Path, side: int) -> Path:
    """Make the event store of a scan; returns its folder."""
    detector, radius, times = SCANS[side]
    settings = Simulation(
        scan_shape=(256, 256), scan_step=(0.2, 0.2), electrons=300.0, radius=radius,
        detector_shape=(detector, detector), center=((detector - 1) / 2,) * 2,
        aberrations=Aberrations(C10=60.0), missing_fraction=0.0, lost_sectors=0,
    )  # fmt: skip
    recording, work, many = folder / "scan.h5", folder / "one", folder / "many"
    last = work if times == 1 else many
    if layout.event_store(last).is_dir():
        return last
    folder.mkdir(parents=True, exist_ok=True)
    simulate(settings, recording)
    ingest(fingerprint(recording, work / "source.json"), work, ReaderOptions())
    if times == 1:
        return work
    store = open_store(layout.event_store(work))
    counts = np.zeros((256, 256, detector * detector), np.uint8)
    for slab in range(store.slabs):
        first, last = store.rows(slab)
        indptr, indices = store.read(slab)
        flat = counts[first:last].reshape(-1, detector * detector)
        np.add.at(flat, (np.repeat(np.arange(len(flat)), np.diff(indptr)), indices), 1)
    dense = folder / "dense.npy"
    np.save(dense, np.tile(counts, (times, times, 1)).reshape(side, side, detector, detector))
    ingest(fingerprint(dense, many / "source.json"), many, ReaderOptions())
    return many


def measure(work: Path) -> dict[str, Any]:
    """Times [ms] of one scan."""
    program = Path(sys.executable).with_name("phasemill")
    command = [
        program, "explore", work, "--voltage-kv", "80", "--semiangle-mrad", "25",
        "--scan-step-angstrom", "0.2", "--no-browser", "--json",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["address"]
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                return _times(browser.new_page(viewport={"width": 1500, "height": 1150}), address)
        finally:
            process.terminate()


def _times(page: Page, address: str) -> dict[str, Any]:
    page.set_default_timeout(300_000)
    page.goto(address)
    page.get_by_text("the whole scan").wait_for()
    page.locator("#flatness").wait_for()
    page.wait_for_timeout(4000)
    page.evaluate(WATCH)
    handle = page.locator(".slider-C10 .noUi-handle")
    handle.focus()
    images = [_one(page, lambda: handle.press("ArrowRight")) for _ in range(STEPS)]
    computed = float(page.locator("#time").inner_text().split()[0])
    page.evaluate("window.bare = true")
    box = page.locator(".box-C10 input")
    box.focus()
    floor = []
    for number in range(STEPS):
        box.fill(f"none {number}")
        floor.append(_one(page, lambda: box.press("Enter")))
    return {
        "image_median_ms": round(float(np.median(images)), 1),
        "image_95_percent_ms": round(float(np.percentile(images, 95)), 1),
        "phase_computed_ms": computed,
        "floor_median_ms": round(float(np.median(floor)), 1),
        "pixels_held": page.locator("#held").inner_text(),
    }


def _one(page: Page, act: Any) -> float:
    page.evaluate("window.found = null")
    act()
    page.wait_for_function("() => window.found !== null", polling=20)
    page.wait_for_timeout(700)  # the rest of the page is drawn, as between two moves of a hand
    return float(page.evaluate("window.found"))


if __name__ == "__main__":
    main()
