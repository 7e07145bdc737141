import pytest
import yaml

from tasks.report import tables


def test_worst_flags_come_first_and_unknown_levels_are_warnings():
    flags = tables.flags_of(
        [{"flag": "a", "level": "ok"}, {"flag": "b", "level": "odd"}, {"level": "bad"}, "free text"]
    )
    assert [f.level for f in flags] == ["bad", "warn", "warn", "ok"]
    assert tables.worst_level(flags) == "bad"


@pytest.mark.parametrize(
    ("levels", "line"),
    [
        ([], "Not judged: no quality checks were recorded"),
        (["ok", "ok"], "No objections"),
        (["warn", "ok"], "Usable, with 1 warning"),
        (["warn", "warn", "bad"], "Check before use: 1 problem and 2 warnings"),
        (["bad", "bad"], "Check before use: 2 problems"),
    ],
)
def test_verdict_counts_what_was_found(levels, line):
    assert tables.verdict(tables.flags_of([{"flag": "x", "level": v} for v in levels])) == line


def test_calibration_says_what_was_given_and_what_was_fitted(results):
    rows = {r["name"]: r for r in tables.calibration_rows(results.attrs["calibration"])}
    assert rows["Radius of the disk"] == {
        "name": "Radius of the disk", "value": "14.50 ± 0.12", "unit": "px", "origin": "fitted",
    }  # fmt: skip
    assert rows["Scan step (y, x)"]["value"] == "0.3, 0.25"
    assert rows["Mirror"]["value"] == "no"
    assert rows["Aberration C10"]["value"] == "−131.7 ± 2.3"


@pytest.mark.parametrize("entry", [None, 3.5, "x", {}, {"value": None, "unit": None}])
def test_calibration_of_any_form_is_a_row(entry):
    (row,) = tables.calibration_rows({"voltage_kv": entry})
    assert row["name"] == "Accelerating voltage"


def test_throughput_is_electrons_by_time_and_reused_steps_have_no_share():
    steps = [
        {"name": "ingest", "seconds": 30.0, "reused": True},
        {"name": "ssb", "seconds": 4.0},
        {"name": "dpc", "seconds": 12.0},
        {"name": "odd"},
    ]
    rows = tables.timing_rows(steps, {"electrons_total": 8_000_000, "positions": 4000})
    assert [r["share"] for r in rows] == [0.0, 0.25, 0.75, 0.0]
    assert rows[1]["rate"].replace("\u202f", " ") == "2 000 000 e/s"
    assert rows[1]["positions"].replace("\u202f", " ") == "1 000 positions/s"
    assert rows[3]["rate"] == "—"


def test_job_becomes_yaml_that_reads_back():
    job = {"path": "/a: b.h5", "steps": ("dpc", "ssb"), "step": [0.3, 0.25], "flip": None}
    assert yaml.safe_load(tables.yaml_of(job)) == job | {"steps": ["dpc", "ssb"]}
