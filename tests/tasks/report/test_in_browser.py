"""Reports and the night's page as a browser lays them out, on a phone, a screen and on paper."""

import pytest

from tasks.report.night import write_night
from tasks.report.page import write_report

PHONE, SCREEN = 390, 1280
PAPERS = {"a4": 695, "letter": 718}
"""Width between the margins, at 96 px an inch [px]."""
OUTSIDE = """() => [...document.querySelectorAll('body *')].filter(one =>
    one.getBoundingClientRect().right > document.documentElement.clientWidth + 1
    && !one.closest('svg') && !one.closest('.over') && !SCROLLED).map(one => one.outerHTML)"""
SMALL = """() => [...document.querySelectorAll('body *')].filter(one =>
    [...one.childNodes].some(node => node.nodeType == 3 && node.textContent.trim())
    && !one.closest('svg') && parseFloat(getComputedStyle(one).fontSize) < 9).length"""


@pytest.fixture
def pages(tmp_path, written, results, frc):
    """A report, and the page of a night in which another dataset failed."""
    report = write_report(written(results, frc=frc))
    failed = {"name": "lost", "status": "failed", "reason": "/data/" + 30 * "long_" + ": no file",
              "report": None, "seconds": 0.1, "flags": []}  # fmt: skip
    done = failed | {"name": "a" * 100, "status": "ok", "reason": None, "report": str(report)}
    return report, write_night(tmp_path, [done, failed])


def opened(chromium, path, width, **how):
    page = chromium.new_page(viewport={"width": width, "height": 900})
    page.emulate_media(**how)
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize("width", [PHONE, SCREEN])
def test_nothing_is_wider_than_a_screen(chromium, pages, width):
    for path in pages:
        page = opened(chromium, path, width)
        # Long lines of code, and tables of numbers, may be moved sideways in a place of their own.
        assert page.evaluate(OUTSIDE.replace("SCROLLED", "one.closest('.scroll, pre')")) == []


@pytest.mark.parametrize("width", PAPERS.values(), ids=PAPERS)
def test_paper_is_white_and_nothing_on_it_is_cut_or_tiny(chromium, pages, width):
    for path in pages:
        page = opened(chromium, path, width, media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        assert page.evaluate(OUTSIDE.replace("SCROLLED", "false")) == []
        assert page.evaluate(SMALL) == 0


def test_every_link_of_a_night_leads_to_a_file(chromium, pages):
    page = opened(chromium, pages[1], SCREEN)
    page.get_by_role("link").first.click()
    assert page.title() == "lattice · Phasemill"
