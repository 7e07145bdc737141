"""Whoever follows the tutorial word by word gets the pictures that it shows."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def tutorial(script):
    return script("figures/tutorial.py")


@pytest.fixture(scope="module")
def followed(tutorial, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tutorial")
    tutorial.follow(folder)
    return folder


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=float) / 255


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_words_of_the_tutorial_give_its_pictures(tutorial, followed):
    shown = set(re.findall(r"images/tutorial_(\w+)\.png", tutorial.PAGE.read_text("utf-8")))
    assert shown == {*tutorial.PICTURES, "report"}
    for name in tutorial.PICTURES:
        made, kept = (
            pixels(path)
            for path in (followed / f"{name}.png", DOCS / "images" / f"tutorial_{name}.png")
        )
        assert made.shape == kept.shape, name
        assert np.abs(made - kept).mean() < 0.005, name


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_files_and_numbers_that_the_tutorial_names_are_there(tutorial, followed):
    page = tutorial.PAGE.read_text(encoding="utf-8")
    for name in (
        "scan_truth.npz",
        "stores/scan/events.zarr",
        "results/scan/report.html",
        "scan.ome.tif",
    ):
        assert name.rpartition("/")[2] in page
        assert (followed / name).exists(), name
    (job,) = re.findall(r"```yaml\n(output: results\n.*?)```", page, re.DOTALL)
    given, written = (yaml.safe_load(text) for text in (job, (followed / "scan.yaml").read_text()))
    given["output"], given["datasets"][0]["path"] = (
        str(followed / "results"),
        str(followed / "scan.h5"),
    )
    assert given == written
    report = (followed / "results" / "scan" / "report.html").read_text(encoding="utf-8")
    assert "Usable, with 2 warnings" in report
    best = max(map(float, re.findall(r"specimen (\S+)", (followed / "judged.txt").read_text())))
    (said,) = re.findall(r"specimen by (0\.\d+)", page.replace("\n", " "))
    assert best == pytest.approx(float(said), abs=0.005)
