import json
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

from tasks.report.page import ReportError, write_report

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Elements and their attributes, headings and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.text)).replace("\u202f", " ")


def read(path) -> Page:
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


def test_report_tells_the_whole_story(written, results, frc):
    words = read(write_report(written(results, frc=frc))).words
    for told in (
        "Usable, with 1 warning", "Column 0 has 4 % more electrons.", "holds 65",
        "Phase, single sideband", "Spectrum: phase, single sideband", "Mean diffraction pattern",
        "Fourier ring correlation", "0.78 Å", "Centre of mass, as vectors", "Annular dark field",
        "Every position has 1 frame.", "No frame lost a part of the detector.",
        "31.200 ± 0.040, 33.700 ± 0.050", "Aberration C10", "reused", "ab" * 32, "numpy 2.4.6",
        'xarray.open_zarr("results.zarr"', "sidebands: both", "voltage_kv: 80",
    ):  # fmt: skip
        assert told in words, told


def test_verdict_comes_before_everything_else(written, results):
    words = read(write_report(written(results))).words
    assert words.index("Usable, with") < words.index("Phase images")


def test_page_needs_nothing_from_outside_and_runs_nothing(written, results, frc):
    page = read(write_report(written(results, frc=frc)))
    for tag, attrs in page.elements:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}
        assert not any(name.startswith("on") for name in attrs)
        for name in ("src", "href", "data", "xlink:href", "action", "srcset"):
            assert attrs.get(name, "data:").startswith("data:")
    assert "url(" not in "".join(str(a) for _, a in page.elements)
    policies = [a["content"] for t, a in page.elements if "http-equiv" in a and t == "meta"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_nothing_that_a_file_says_becomes_html(written, results, frc, provenance):
    results.attrs["title"] = EVIL
    results.attrs["notes"] = [EVIL]
    results.attrs["quality"] = [{"flag": EVIL, "level": EVIL, "text": EVIL}]
    results.attrs["calibration"][EVIL] = {"value": EVIL, "origin": EVIL, "unit": EVIL}
    results.attrs["calibration"]["aberrations"][EVIL] = {"value": EVIL}
    results.attrs["dose"][EVIL] = EVIL
    results["ssb_phase"].attrs |= {"units": EVIL, "long_name": EVIL}
    results["mine"] = results["ssb_phase"].assign_attrs(long_name=EVIL)
    results["radial"].attrs["long_name"] = EVIL
    results["y"].attrs["units"] = EVIL
    frc["mine"] = frc["ssb_phase"].assign_attrs(long_name=EVIL)
    provenance["input"]["path"] = f"/data/{EVIL}.h5"
    provenance["job"][EVIL] = EVIL
    provenance["packages"][EVIL] = EVIL
    provenance["steps"][0] |= {"name": EVIL, "identity": EVIL, "parameters": {EVIL: EVIL}}
    page = read(write_report(written(results, provenance=provenance, frc=frc)))
    assert not {"script"} & {tag for tag, _ in page.elements}
    assert not any("onerror" in attrs for _, attrs in page.elements)
    assert all(a["src"].startswith("data:") for t, a in page.elements if t == "img")
    assert page.words.count("<script>alert(1)</script>") > 10


def test_same_results_give_the_same_page_on_any_thread(written, results, frc):
    orders = [results[names] for names in (sorted(results.data_vars), list(results.data_vars))]
    folders = [written(orders[i % 2], name=f"n{i}", frc=frc) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        pages = {path.read_bytes() for path in pool.map(write_report, folders)}
    assert len(pages) == 1


@pytest.mark.parametrize(
    "kept",
    [
        [],
        ["electrons"],
        ["pacbed"],
        ["radial"],
        ["ssb_phase"],
        ["com_y"],
        ["virtual_bf", "frames_present"],
    ],
)
def test_a_job_that_asked_for_little_still_has_its_report(written, results, kept):
    page = read(write_report(written(results[kept])))
    assert "Usable, with 1 warning" in page.words


def test_results_that_say_nothing_about_themselves_have_a_report(written):
    bare = xr.Dataset({"ssb_phase": (("y", "x"), np.eye(9))})
    words = read(write_report(written(bare, provenance={}))).words
    assert "Unnamed dataset" in words
    assert "Not judged" in words
    assert "9 × 9 px" in words


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (1, 200), (700, 1), (1300, 40)])
def test_every_size_of_scan_has_a_report(written, make_results, shape):
    assert "Electrons and frames" in read(write_report(written(make_results(shape)))).words


def test_gaps_and_lost_parts_are_told(written, results):
    results["frames_present"][0, :5] = 0
    results["ssb_phase"][0, :5] = np.nan
    results["dpc_phase"][:] = np.nan
    results.attrs["dose"] |= {"frames_missing": 5, "frames_partial": 2}
    words = read(write_report(written(results))).words
    assert "5 positions have no frame. 2 frames lost a part of the detector." in words
    assert "hatched: 5 without value" in words
    assert "Odd: there is no value anywhere" in words


def test_absent_results_are_named(tmp_path):
    with pytest.raises(ReportError, match=r"results\.zarr: there are no results here"):
        write_report(tmp_path)


@pytest.mark.parametrize("text", [None, "{", json.dumps([1])])
def test_unreadable_provenance_is_named(written, results, text):
    folder = written(results)
    path = folder / "provenance.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ReportError, match=r"provenance\.json"):
        write_report(folder)
