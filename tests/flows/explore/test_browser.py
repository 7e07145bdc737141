"""The explorer in a browser, as an operator uses it, on a scan of known defocus."""

import io
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
import yaml
from PIL import Image
from rich.console import Console
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from flows.job import read_job
from flows.overnight import run_night

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def served(job, explorer):
    with explorer(job) as found:
        yield found


@pytest.fixture(scope="module")
def tab(opened, served):
    with opened(served[0]) as tab:
        yield tab


def test_defocus_refocuses_the_image_and_flattens_the_trotters(tab, simulation):
    focus = np.arange(-20, 221, 20)
    contrast, flatness = tab.sweep(focus)
    true = simulation.aberrations.C10
    assert tab.peak(focus, contrast) == pytest.approx(true, rel=0.1)
    assert tab.peak(focus, flatness) == pytest.approx(true, rel=0.1)
    assert flatness.max() > 2 * flatness[0]
    assert contrast.max() > 1.5 * contrast[0]


def test_slider_moves_the_number_and_the_image(tab):
    tab.focus(0.0)
    handle = tab.page.locator(".slider-C10 .noUi-handle")
    handle.focus()
    for _ in range(5):
        handle.press("ArrowRight")
    tab.page.wait_for_function(  # five stops of 2 Å
        "() => Bokeh.documents[0].get_model_by_name('main-pixels').data.C10[0] == 10"
    )
    assert tab.page.locator(".box-C10 input").input_value() == "10"


def test_virtual_detectors_follow_their_sliders(tab):
    before, inner = tab.readout("detectorA"), tab.model("rings", "m.data.outer[0]")
    handle = tab.page.locator(".detector-A .noUi-handle-upper")
    handle.focus()
    for _ in range(20):
        handle.press("ArrowLeft")
    tab.page.wait_for_function(
        f"() => Bokeh.documents[0].get_model_by_name('rings').data.outer[0] < {0.7 * inner}"
    )

    def evenly_lit():
        outer = tab.model("rings", "m.data.outer[0]")
        return tab.readout("detectorA") / before == pytest.approx((outer / inner) ** 2, abs=0.12)

    tab.until(evenly_lit)


def test_parts_of_an_aberration_stand_for_its_size_and_azimuth(tab):
    tab.page.get_by_role("button", name="a, b parts", exact=True).click()
    tab.press("Reset")
    a = tab.page.locator(".box-C12a input")
    a.wait_for()
    assert float(a.input_value()) == pytest.approx(20 * np.cos(0.8), rel=1e-3)
    tab.type("C12a", "0")
    tab.page.get_by_role("button", name="size, azimuth", exact=True).click()
    size = tab.page.locator(".box-C12 input")
    size.wait_for()
    assert float(size.input_value()) == pytest.approx(20 * np.sin(0.8), rel=1e-3)


def test_a_region_tells_phase_and_dose(tab, simulation):
    box = tab.box_of(".bk-Canvas")
    x, y = box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3
    tab.page.locator("[title^='Box Select'], .bk-tool-icon-box-select").first.click(force=True)
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x + 120, y + 120, steps=5)
    tab.page.mouse.up()
    region = tab.page.locator("#region")
    tab.until(lambda: "electrons, " in region.inner_text())
    words = region.inner_text()
    dose = simulation.electrons / 0.3**2
    found = float(words.split("electrons, ")[1].split(" e/")[0].replace("\u202f", ""))
    assert found == pytest.approx(dose, rel=0.02)
    assert " ± " in words


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("C10", "in focus", "C10: “in focus” is not a number in Å"),
        ("C10", "1e9", r"C10 = 1e+09 Å is out of range"),
        ("C10", "nan", "“nan” is not a number"),
    ],
)
def test_bad_input_gives_a_message_and_changes_nothing(tab, key, text, words):
    tab.focus(50.0)
    tab.type(key, text)
    tab.message(words)
    tab.until(lambda: float(tab.page.locator(f".box-{key} input").input_value()) == 50)
    assert tab.model("main-pixels", "m.data.C10[0]") == 50


def test_auto_finds_the_true_defocus_and_reset_goes_back(tab, simulation):
    tab.focus(0.0)
    tab.press("Auto")
    tab.message("of the signal explained")
    found, true = tab.page.locator(".box-C10 input"), simulation.aberrations.C10
    tab.until(lambda: abs(float(found.input_value())) == pytest.approx(true, rel=0.05))
    tab.press("Reset")
    tab.page.wait_for_function(
        "() => Bokeh.documents[0].get_model_by_name('main-pixels').data.C10[0] == 0"
    )


@pytest.mark.parametrize(
    ("label", "kind"),
    [("figure of all (PNG)", "figure.png"), ("figure of all (SVG)", "figure.svg"),
     ("phase (TIFF)", "main.tif")],
)  # fmt: skip
def test_export_gives_what_is_seen(tab, label, kind):
    tab.page.locator("select").select_option(label=label)
    with tab.page.expect_download() as download:
        tab.press("Export")
    data = Path(download.value.path()).read_bytes()
    assert download.value.suggested_filename == f"scan-{kind}"
    if kind.endswith("png"):
        assert min(Image.open(io.BytesIO(data)).size) > 500
    elif kind.endswith("svg"):
        assert b"trotters, corrected" in data
    else:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            assert file.pages[0].shape == (64, 64)
            assert file.pages[0].asarray().std() > 0
            assert file.imagej_metadata["unit"] == "\\u00c5"


def test_what_is_saved_is_what_the_night_uses(tab, job, tmp_path):
    tab.press("Reset")
    tab.focus(88.0)
    saved = tmp_path / "tuned.yaml"
    saved.write_text(job.read_text())
    tab.page.get_by_label("job file").fill(str(saved))
    tab.page.get_by_label("saved by").fill("ana")
    tab.press("Save to job")
    assert "aberrations" in tab.message("Saved to")
    assert saved.read_text().startswith("# The night of a test.\n")
    dataset = read_job(saved).datasets[0]
    assert dataset.aberrations == pytest.approx({"C10": 88, "C12": 20, "phi12": 0.4})
    (entry,) = dataset.tuned
    assert entry.by == "ana"
    assert "C10" not in entry.before["aberrations"]
    night = run_night(read_job(saved), [], False, Console(quiet=True), True)
    assert night["datasets"][0]["status"] == "ok"
    with xr.open_zarr(job.parent / "results" / "scan" / "results.zarr", chunks=None) as found:
        used = found.attrs["calibration"]["aberrations"]["C10"]
    assert used["value"] == pytest.approx(88)
    assert used["origin"] == "given"


def test_a_file_that_would_be_no_job_is_left_as_it_was(tab, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("output: out\ndatasets: [{path: elsewhere.h5}]\n")
    tab.page.get_by_label("job file").fill(str(other))
    tab.press("Save to job")
    tab.message("no dataset of it is named scan")
    assert other.read_text() == "output: out\ndatasets: [{path: elsewhere.h5}]\n"
    tab.page.get_by_label("saved by").fill(" ")
    tab.press("Save to job")
    tab.message("Who saves this?")


def test_who_has_no_token_is_refused(served):
    address, process = served
    bare = address.partition("?")[0]
    for path in ("", "?token=wrong", "autoload.js?bokeh-autoload-element=a", "metadata"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(bare + path)
        assert refused.value.code == 403, path
        refused.value.close()
    with pytest.raises((ConnectionClosed, InvalidStatus)):  # noqa: SIM117
        with connect(bare.replace("http", "ws") + "ws", subprotocols=["bokeh", "a"]) as socket:
            socket.recv(timeout=180)
    heard = {c.laddr.ip for c in process.net_connections("tcp") if c.status == "LISTEN"}
    assert heard == {"127.0.0.1"}


def test_a_store_that_is_deleted_meanwhile_is_told(job, explorer, opened, tmp_path):
    folder = tmp_path / "night"
    shutil.copytree(job.parent, folder)
    moved = folder / "night.yaml"
    wanted = yaml.safe_load(moved.read_text())
    wanted["output"] = str(folder / "results")
    moved.write_text(yaml.safe_dump(wanted))
    with explorer(moved) as (address, _), opened(address) as tab:
        shutil.rmtree(folder / "results")
        tab.message("is gone")
        tab.press("Save to store")
        tab.message("save to a job instead")
        assert tab.focus(90.0)[0] > 0  # what is held can still be explored
