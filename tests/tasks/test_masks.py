"""A mask is read whole and as it was, or refused with what is wrong with it."""

import numpy as np
import pytest
import tifffile

from tasks.masks import MaskError, MaskFile


def saved(path, mask):
    np.save(path, mask)
    return MaskFile.at(str(path))


BAD_MASKS = {
    "three values": (np.arange(9).reshape(3, 3) % 3, "has 3 values: 0, 1, 2"),
    "weights": (np.linspace(0, 1, 9).reshape(3, 3), "has 9 values.*…. Weights are not"),
    "not a number": (np.array([[0, np.nan]]), "has 2 values"),
    "two values without zero": (np.array([[1, 2]]), "has 2 values: 1, 2"),
    "empty": (np.zeros((3, 3)), "0 everywhere"),
    "a stack": (np.ones((2, 3, 3)), r"has the shape \(2, 3, 3\)"),
    "complex": (np.ones((2, 2), complex), "holds complex128"),
    "text": (np.array([["a"]]), "holds <U1"),
}


@pytest.mark.parametrize("case", BAD_MASKS)
def test_array_that_is_no_mask_is_refused(tmp_path, case):
    array, message = BAD_MASKS[case]
    np.save(tmp_path / "m.npy", array)
    with pytest.raises(MaskError, match=message) as caught:
        MaskFile.at(str(tmp_path / "m.npy"))
    assert "m.npy" in str(caught.value)


BAD_FILES = {
    "absent": (None, "there is no such file"),
    "no bytes": (b"", "begins with b''"),
    "text": (b"hello world", r"is an \.npy or TIFF file"),
    "npy cut short": (b"\x93NUMPY\x01\x00v\x00{'descr'", "cannot be read"),
    "tiff cut short": (b"II*\0\x08\0\0\0", "cannot be read|this has 0"),
    "pickle": (b"\x80\x04\x95", r"is an \.npy or TIFF file"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_file_that_is_no_mask_is_refused(tmp_path, case):
    content, message = BAD_FILES[case]
    if content is not None:
        (tmp_path / "m").write_bytes(content)
    with pytest.raises(MaskError, match=message):
        MaskFile.at(str(tmp_path / "m"))


def test_npy_of_objects_is_not_unpacked(tmp_path):
    np.save(tmp_path / "m.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(MaskError, match="Python objects"):
        MaskFile.at(str(tmp_path / "m.npy"))


def test_several_pages_are_no_mask(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", np.ones((2, 4, 4), np.uint8), photometric="minisblack")
    with pytest.raises(MaskError, match="a mask is one image; this has 2"):
        MaskFile.at(str(tmp_path / "m.tif"))


def test_mask_that_changed_since_the_work_began_is_noticed(tmp_path):
    file = saved(tmp_path / "m.npy", np.eye(3, dtype=bool))
    saved(tmp_path / "m.npy", ~np.eye(3, dtype=bool))
    with pytest.raises(MaskError, match="has changed since the work began"):
        file.read((3, 3))


def test_mask_of_another_shape_is_refused_with_both(tmp_path):
    file = saved(tmp_path / "m.npy", np.eye(3, 4, dtype=bool))
    with pytest.raises(MaskError, match="3 x 4 pixels, 12 x 18 are needed"):
        file.read((12, 18))
