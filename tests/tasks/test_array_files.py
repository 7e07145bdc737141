"""Files with a probe or with positions: what does not hold them is refused by name."""

import numpy as np
import pytest

from tasks.array_files import ArrayFile, ArrayFileError, read_positions, read_probe

PROBE = np.ones((32, 32), complex)


def spoilt(array, value):
    array = array.copy()
    array.flat[5] = value
    return array


def test_probe_is_read_in_double_precision(tmp_path):
    np.save(tmp_path / "p.npy", (1 + 2j) * PROBE.astype(np.complex64))
    probe = read_probe(str(tmp_path / "p.npy"))
    assert probe.dtype == np.complex128
    np.testing.assert_array_equal(probe, (1 + 2j) * PROBE)


@pytest.mark.parametrize(
    ("read", "array", "reason"),
    [
        (read_probe, PROBE.real, "square complex array; this holds float64"),
        (read_probe, PROBE[:20], r"square complex array; .*\(20, 32\)"),
        (read_probe, np.ones((20, 20), complex), "20 x 20 pixels has no transform"),
        (read_probe, 0 * PROBE, "zero everywhere"),
        (read_probe, np.pad([[1 + 1j]], (0, 31)), r"lies about \(0.0, 0.0\) px; .*fftshift"),
        (read_probe, spoilt(PROBE, np.nan), "not finite"),
        (read_positions, np.zeros((4, 3)), r"positions are numbers .*\(4, 3\)"),
        (read_positions, np.zeros(4), r"positions are numbers .*\(4,\)"),
        (read_positions, np.zeros((4, 4, 2), complex), "positions are numbers"),
        (read_positions, spoilt(np.zeros((4, 4, 2)), np.inf), "not finite"),
        (read_probe, np.array([{}], object), "no .npy file of numbers"),
    ],
)
def test_what_is_no_probe_or_no_positions_is_refused(tmp_path, read, array, reason):
    path = tmp_path / "a.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(ArrayFileError, match=reason) as error:
        read(str(path))
    assert "a.npy" in str(error.value)


def test_several_arrays_in_a_file_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", PROBE, PROBE)
    with pytest.raises(ArrayFileError, match="several arrays"):
        read_probe(str(tmp_path / "a.npz"))


def test_file_counts_by_what_is_in_it_and_may_not_change(tmp_path):
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, PROBE)
    a, b = (ArrayFile.at(str(tmp_path / name), read_probe) for name in ("a.npy", "b.npy"))
    assert a.sha256 == b.sha256
    np.save(tmp_path / "a.npy", 2 * PROBE)
    with pytest.raises(ArrayFileError, match="has changed"):
        a.read(read_probe)
