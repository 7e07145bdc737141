import json
import re
from datetime import datetime, timedelta, timezone
from html import unescape
from urllib.parse import unquote

import pytest

from tasks.report.night import write_night
from tasks.report.page import write_report

EVIL = "<script>alert(1)</script>\"'>"


def row(name, status="ok", **more):
    return {"name": name, "status": status, "report": None, "seconds": 1.0, "flags": []} | more


def flag(level):
    return {"flag": "dose", "level": level, "text": f"is {level}"}


def names(path):
    cells = re.findall(r'<th class="name".*?</th>', path.read_text(encoding="utf-8"))
    return [re.search(r"<[ab][^>]*>(.*?)</[ab]>", cell)[1] for cell in cells]


@pytest.fixture
def done(written, results, frc):
    folder = written(results, frc=frc)
    return write_report(folder)


def test_those_to_look_at_first_are_on_top(tmp_path, done):
    rows = [
        row("good", report=str(done), flags=[flag("ok")]),
        row("left_out", "skipped", reason="stopped"),
        row("doubtful", report=str(done), flags=[flag("ok"), flag("warn")]),
        row("broken", "failed", reason="cut off"),
        row("wrong", report=str(done), flags=[flag("bad")]),
    ]
    assert names(write_night(tmp_path, rows)) == ["broken", "wrong", "doubtful", "left_out", "good"]


def test_failed_datasets_say_why(tmp_path):
    page = write_night(tmp_path, [row("a", "failed", reason="events 3 of 9; copy it again")])
    assert "events 3 of 9; copy it again" in page.read_text(encoding="utf-8")
    assert "1 failed" in page.read_text(encoding="utf-8")


def test_dose_resolution_flags_and_thumbnail_come_from_the_results(tmp_path, done, results):
    page = write_night(tmp_path, [row("lattice", report=str(done))])
    text = page.read_text(encoding="utf-8")
    assert "0.78 Å" in text
    assert "flyback: Column 0" in text
    assert text.count("data:image/png;base64,") == 1
    (told,) = json.loads((tmp_path / "night.json").read_text())["datasets"]
    assert told["dose"] == pytest.approx(results.attrs["dose"]["electrons_per_angstrom2"])
    assert told["resolution_angstrom"] == 0.78
    assert told["level"] == "warn"
    assert told["report"] == "lattice/report.html"


def test_what_a_row_says_wins_over_the_results(tmp_path, done):
    told = row("a", report=str(done), dose=12.0, resolution_angstrom=3.25, flags=[flag("bad")])
    text = write_night(tmp_path, [told]).read_text(encoding="utf-8")
    assert "3.25 Å" in text
    assert "12 e/Å²" in text
    assert "dose: is bad" in text


def test_links_are_relative_and_lead_to_the_reports(tmp_path, written, results):
    folder = written(results, name="50% of #1 & <b>")
    text = write_night(tmp_path, [row("x", report=str(write_report(folder)))]).read_text("utf-8")
    (link,) = re.findall(r'href="([^"]*)"', text)
    assert (tmp_path / unquote(unescape(link))).is_file()
    assert "#" not in link
    assert "?" not in link


def test_nothing_that_a_row_says_becomes_html(tmp_path):
    evil = row(EVIL, EVIL, reason=EVIL, flags=[{"flag": EVIL, "level": EVIL, "text": EVIL}])
    text = write_night(tmp_path, [evil | {"report": f"{tmp_path}/{EVIL}/report.html"}]).read_text()
    assert "<script" not in text
    assert json.loads((tmp_path / "night.json").read_text())["datasets"][0]["name"] == EVIL


def test_a_report_that_is_gone_costs_its_row_only(tmp_path, done):
    rows = [row("gone", report=str(tmp_path / "gone" / "report.html")), row("a", report=str(done))]
    page = write_night(tmp_path, rows)
    assert names(page) == ["gone", "a"]
    assert "not readable" in page.read_text(encoding="utf-8")


def test_page_says_when_the_night_ended(tmp_path):
    ended = datetime(2026, 11, 27, 6, 30, tzinfo=timezone(timedelta(hours=1)))
    page = write_night(tmp_path, [], ended).read_text(encoding="utf-8")
    assert "ended Friday 27 November 2026, 06:30" in page
    assert json.loads((tmp_path / "night.json").read_text())["ended"] == "2026-11-27T06:30:00+01:00"


def test_an_empty_night_has_a_page(tmp_path):
    assert "0 datasets" in write_night(tmp_path, []).read_text(encoding="utf-8")


def test_same_night_gives_the_same_bytes(tmp_path, done):
    rows = [row("a", report=str(done)), row("b", "failed", reason="x")]
    first = write_night(tmp_path, rows).read_bytes(), (tmp_path / "night.json").read_bytes()
    assert first == (
        write_night(tmp_path, rows).read_bytes(),
        (tmp_path / "night.json").read_bytes(),
    )
