"""Rotation, mirror and aberrations come back from nothing but counted electrons."""

import re
from dataclasses import replace
from math import pi, radians

import numpy as np
import pytest

from models.aberrations import Aberrations
from tasks.calibration import evidence
from tasks.calibration.blind import calibrate

ROTATION = -14.0
TRUTH = Aberrations(C10=60, C12=20, phi12=0.5236, C21=900, phi21=-0.87)


def fit(scan, **keys):
    unknown = replace(scan.geometry, rotation=0.0, flip=False)
    return calibrate(scan.dense, scan.rows, scan.cols, 1.0, unknown, com=scan.com, **keys)


def degrees_off(found, turned=0.0):
    return np.rad2deg((found.rotation.value - radians(ROTATION) - turned + pi) % (2 * pi) - pi)


@pytest.mark.parametrize("dose", [1e5, 1e4])
@pytest.mark.parametrize("case", ["plain", "mirrored"])
def test_everything_is_found_from_the_data_alone(request, case, dose):
    scan = request.getfixturevalue(case).counted(dose)
    found = fit(scan)
    assert found.flip.value == (case == "mirrored")
    assert abs(degrees_off(found)) < 1.0
    aberrations = found.aberrations
    assert pytest.approx(60, abs=3) == aberrations.C10
    assert pytest.approx(20, abs=3) == aberrations.C12
    assert aberrations.phi12 == pytest.approx(TRUTH.phi12, abs=0.1)
    assert pytest.approx(900, abs=150) == aberrations.C21
    assert found.polarity.by == "skewness"
    assert found.polarity.confidence > 3
    assert {flag.level for flag in found.flags} == {"ok"}


def test_uncertainties_cover_the_truth(plain):
    found = fit(plain.counted(3e4, seed=3))
    assert abs(radians(degrees_off(found))) < 4 * found.rotation.uncertainty
    for name in ("C10", "C12", "C21"):
        one = found.coefficients[name]
        assert one.origin == "fitted"
        assert abs(one.value - getattr(TRUTH, name)) < 4 * one.uncertainty


def test_given_values_stay_as_they_are_and_are_said_to_be_given(plain):
    found = fit(plain.counted(1e5), given={"rotation": radians(ROTATION + 3), "C10": 55.0})
    assert found.rotation.value == radians(ROTATION + 3)
    assert (found.rotation.origin, found.rotation.uncertainty) == ("given", None)
    assert found.coefficients["C10"].value == pytest.approx(55.0, rel=1e-12)
    assert found.coefficients["C10"].origin == "given"
    assert found.coefficients["C12"].origin == "fitted"
    assert found.polarity.by == "rotation"


def test_sign_of_a_given_defocus_chooses_the_half_turn(plain):
    scan = plain.counted(1e5)
    right, wrong = fit(scan, given={"C10": 60.0}), fit(scan, given={"C10": -60.0})
    assert abs(degrees_off(right)) < 1
    assert abs(degrees_off(wrong, turned=pi)) < 1
    warning = {flag.flag: flag for flag in wrong.flags}["contrast sign"]
    assert warning.level == "warn"
    assert "opposite sign" in warning.text


def test_missing_positions_do_not_harm(plain):
    scan = plain.counted(1e5)
    missing = np.random.default_rng(0).random(scan.dense.shape[1:]) < 0.03
    holed = replace(scan, dense=np.where(missing, 0, scan.dense))
    found = fit(holed, missing=missing)
    assert abs(degrees_off(found)) < 1
    assert pytest.approx(60, abs=3) == found.aberrations.C10


def test_noise_alone_gives_a_bad_flag(plain):
    level = plain.dense.mean(axis=(1, 2), keepdims=True)
    counts = np.random.default_rng(1).poisson(np.broadcast_to(200 * level, plain.dense.shape))
    found = fit(replace(plain, dense=counts))
    levels = {flag.flag: flag.level for flag in found.flags}
    assert "bad" in levels.values()
    assert levels["calibration signal"] != "ok"


def test_reading_in_blocks_is_all_that_is_asked_of_the_data(plain):
    scan = plain.counted(1e5)

    class Blocks:
        shape, largest = scan.dense.shape, 0

        def __getitem__(self, part):
            out = scan.dense[part]
            self.largest = max(self.largest, len(out))
            return out

    blocks = Blocks()
    whole = fit(scan)
    unknown = replace(scan.geometry, rotation=0.0, flip=False)
    parts = calibrate(blocks, scan.rows, scan.cols, 1.0, unknown, com=scan.com)
    assert parts.aberrations == whole.aberrations
    assert blocks.largest <= 32


@pytest.mark.parametrize(
    ("given", "words"),
    [({"C11": 3}, "C11"), ({"phi12": 0.3}, "phi12 is given without C12")],
)
def test_given_values_that_make_no_sense_are_refused(plain, given, words):
    with pytest.raises(ValueError, match=words):
        fit(plain, given=given)


def test_too_few_pixels_are_refused_with_the_disk(plain):
    some = slice(0, 40)
    with pytest.raises(ValueError, match=r"40 are|at least 60 are needed"):
        calibrate(plain.dense[some], plain.rows[some], plain.cols[some], 1.0, plain.geometry)


def test_truth_explains_more_than_no_aberrations(plain):
    scan = plain.counted(1e5)
    turned = {"rotation": radians(ROTATION), "flip": False}
    names = {"C10": 0, "C12": 0, "C21": 0, "C23": 0, "C30": 0, "C32": 0, "C34": 0}
    right = fit(scan, given=turned | names | TRUTH.nonzero())
    bare = fit(scan, given=turned | names)
    assert right.explained > 1.5 * bare.explained
    assert right.aberrations.nonzero() == pytest.approx(Aberrations.nonzero(TRUTH))


def test_a_calibration_that_is_given_whole_is_compared_with_arbitrary_ones(plain):
    scan = plain.counted(1e5)
    names = {"C10": 0, "C12": 0, "C21": 0, "C23": 0, "C30": 0, "C32": 0, "C34": 0}
    given = names | {"rotation": radians(ROTATION), "flip": False} | TRUTH.nonzero()
    wrong = given | {"rotation": radians(ROTATION + 90)}
    right, wrong = (
        {flag.flag: flag for flag in fit(scan, given=one).flags} for one in (given, wrong)
    )
    assert {flag.level for flag in right.values()} == {"ok"}
    assert wrong["calibration signal"].level != "ok"
    assert "given calibration" in wrong["calibration signal"].text


def test_large_scans_are_read_in_pieces_and_their_middle_gives_the_shifts(plain, monkeypatch):
    scan = plain.counted(1e5)
    whole = fit(scan)
    monkeypatch.setattr(evidence, "POSITIONS_AT_ONCE", 3 * scan.dense[0].size)
    pieces = fit(scan)
    np.testing.assert_allclose(
        pieces.aberrations.cartesian(), whole.aberrations.cartesian(), rtol=1e-6
    )
    monkeypatch.setattr(evidence, "LONGEST_SIDE", 56)
    middle = fit(scan)
    assert middle.by_shifts.C10 != whole.by_shifts.C10
    np.testing.assert_allclose(middle.aberrations.C10, whole.aberrations.C10, rtol=1e-6)
    missing = np.zeros(scan.dense.shape[1:], bool)
    missing[4:-4, 8:-8] = True
    assert evidence._middle(missing.shape, missing) == (slice(None), slice(None))


@pytest.mark.parametrize("off", [-90, 35, 180])
def test_given_rotation_that_another_beats_is_warned_of(plain, off):
    """The half turn with the aberrations that are given, for with their opposite it is as good."""
    scan, known = plain.counted(1e5), TRUTH.nonzero() | {"flip": False}
    right, wrong = (
        {flag.flag: flag for flag in fit(scan, given=known | {"rotation": radians(turn)}).flags}
        for turn in (ROTATION, ROTATION + off)
    )
    assert "given rotation" not in right
    found = wrong["given rotation"]
    assert found.level == "warn"
    told = int(re.search(r"([+-]\d+)°", found.text)[1])
    assert abs((told + off + 180) % 360 - 180) <= 5
    assert "calibration unique" not in wrong  # nothing was compared


def test_given_mirror_that_the_other_beats_is_warned_of(plain):
    known = TRUTH.nonzero() | {"rotation": radians(ROTATION), "flip": True}
    found = {flag.flag: flag for flag in fit(plain.counted(1e5), given=known).flags}
    assert "and the other mirror" in found["given rotation"].text
