"""What a job gives and the data deny is said, and what it asks for in vain is refused."""

import errno

import pytest

from flows import overnight
from tests.flows.test_bad_input import KNOWN, counted, run


def flags(folder, **keys):
    """Flags of a scan that is milled with some keys, by name."""
    counted(folder / "scan.h5")
    code, answer, _ = run(folder, [{"path": "scan.h5", **KNOWN, "steps": ["virtual"], **keys}])
    assert code == 0, answer
    return {flag["flag"]: flag for flag in answer["datasets"][0]["flags"]}


def test_given_disk_that_is_that_of_the_data_is_not_remarked_on(tmp_path):
    assert "disk" not in flags(tmp_path)
    assert "disk" not in flags(tmp_path, center_px=[12.2, 11.1], semiangle_px=8.6)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"semiangle_px": 6}, "semiangle_px is 6, and the disk's radius is 8"),
        ({"semiangle_px": None, "center_px": [7, 11.5]}, "center_px lies 4.5 px from the disk's"),
        ({"center_px": [7, 11.5]}, "center_px lies 4.5 px from the disk's centre at (11.5, 11.5)"),
    ],
)
def test_given_disk_that_is_another_is_warned_of(tmp_path, keys, said):
    found = flags(tmp_path, **keys)["disk"]
    assert found["level"] == "warn"
    assert said in found["text"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_full_disk_is_said_to_be_that_of_the_output(tmp_path, number):
    said = overnight._reason(OSError(number, "no room"), "/raw/a.h5", tmp_path, "/night/out")
    assert said == "/raw/a.h5: the disk of the output /night/out: no room"
    there = overnight._reason(OSError(number, "no room", "/night/out/x"), "/raw/a.h5", tmp_path,
                              "/night/out")  # fmt: skip
    assert there == "/raw/a.h5: /night/out/x: no room"
