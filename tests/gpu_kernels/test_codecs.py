"""Encodings lose no event, agree with another decoder, and refuse what they cannot hold."""

from itertools import pairwise

import numpy as np
import pytest

from gpu_kernels.backend import to_host
from gpu_kernels.codecs import (
    CodecError,
    RunLength,
    decode_bitmap,
    decode_linear,
    decode_run_length,
    encode_bitmap,
    encode_linear,
    encode_run_length,
    finer_indices,
)

SHAPE = (6, 23)
PIXELS = SHAPE[0] * SHAPE[1]
CODES = [
    RunLength(7, 2, 2),
    RunLength(8, 2, 2),
    RunLength(7, 0, 0),
    RunLength(8, 0, 0),
    RunLength(7, 1, 1),
    RunLength(11, 0, 0),
    RunLength(3, 4, 3),
    RunLength(1, 0, 2),
    RunLength(16, 4, 4),
]


def names(code):
    return "+".join(map(str, code))


def frames_of_all_kinds(pixels=PIXELS):
    """An empty frame, a full one, first and last pixel, gaps of one skip exactly, and chance."""
    rng = np.random.default_rng(0)
    chosen = [[], range(pixels), [0], [pixels - 1], [127], [128], [126, 127], [0, pixels - 1]]
    chosen += [np.flatnonzero(rng.random(pixels) < p) for p in (0.01, 0.1, 0.5)]
    chosen = [np.array(c, np.uint32) for c in chosen]
    indptr = np.concatenate([[0], np.cumsum([c.size for c in chosen])])
    return indptr, np.concatenate(chosen)


def places_for(code, events):
    rng = np.random.default_rng(1)
    ends = [1 << code.row_bits, 1 << code.col_bits]
    return rng.integers(0, ends, (events, 2)).astype(np.uint8)


def bits_of_a_frame(skips, code, pixels):
    """The code of one frame, built from the definition as one large whole number."""
    value = at = 0
    for number, width in skips:
        value |= number << at
        at += width
    size = -(-at // 8)
    return np.frombuffer(value.to_bytes(size + size % 2, "little"), np.uint8)


@pytest.mark.parametrize("code", CODES, ids=names)
def test_run_lengths_give_back_every_event_and_its_place(twin, code):
    indptr, indices = frames_of_all_kinds()
    places = places_for(code, indices.size)
    offsets, stream = encode_run_length(indptr, indices, PIXELS, code, places)
    back = decode_run_length(twin(offsets), twin(stream), PIXELS, code)
    for found, expected in zip(back, (indptr, indices, places), strict=True):
        np.testing.assert_array_equal(to_host(found), expected)
    assert not (offsets % 2).any()


def test_hand_made_bits_decode_to_the_pixels_that_they_spell(twin):
    # 3 pixels skipped; sub-pixel codes 1 and 0; 127 ("so many, and go on"), 2 more; the end.
    code = RunLength(7, 2, 2)
    spelled = [(3, 7), (1, 2), (0, 2), (127, 7), (2, 7), (3, 2), (2, 2), (4, 7)]
    stream = bits_of_a_frame(spelled, code, PIXELS)
    offsets = np.array([0, stream.size])
    indptr, indices, places = decode_run_length(twin(offsets), twin(stream), PIXELS, code)
    assert to_host(indptr).tolist() == [0, 2]
    assert to_host(indices).tolist() == [3, 4 + 127 + 2]
    # Codes 0, 1, 2, 3 mean places 2, 3, 0, 1; the column comes first in the bits.
    assert to_host(places).tolist() == [[2, 3], [0, 1]]


@pytest.mark.parametrize("code", [c for c in CODES if c.col_bits in (1, 2) and c[1] == c[2]],
                         ids=names)  # fmt: skip
def test_run_lengths_mean_to_imagecodecs_what_they_mean_here(code):
    imagecodecs = pytest.importorskip("imagecodecs")
    indptr, indices = frames_of_all_kinds()
    places = places_for(code, indices.size)
    offsets, stream = encode_run_length(indptr, indices, PIXELS, code, places)
    factor = 1 << code.col_bits
    finer = finer_indices(indices, places, SHAPE[1], code, factor)
    for frame, (a, b) in enumerate(pairwise(indptr)):
        data = stream[offsets[frame] : offsets[frame + 1]].tobytes()
        whole = imagecodecs.eer_decode(data, SHAPE, *code)
        np.testing.assert_array_equal(np.flatnonzero(whole), indices[a:b])
        large = (SHAPE[0] * factor, SHAPE[1] * factor)
        fine = imagecodecs.eer_decode(data, large, *code, superres=factor)
        np.testing.assert_array_equal(np.flatnonzero(fine), np.sort(finer[a:b]))


def test_finer_pixels_fold_back_to_whole_ones():
    code, rng = RunLength(7, 2, 2), np.random.default_rng(2)
    indices = rng.integers(0, PIXELS, 200).astype(np.uint32)
    places = places_for(code, 200)
    for factor in (1, 2, 4):
        row, col = np.divmod(
            finer_indices(indices, places, SHAPE[1], code, factor), SHAPE[1] * factor
        )
        np.testing.assert_array_equal(row // factor * SHAPE[1] + col // factor, indices)
        np.testing.assert_array_equal(row % factor, places[:, 0] // (4 // factor))
    with pytest.raises(ValueError, match="factor 8"):
        finer_indices(indices, places, SHAPE[1], code, 8)


@pytest.mark.parametrize("pixels", [PIXELS, 128, 64 * 3, 1])
def test_bitmaps_give_back_every_event(twin, pixels):
    indptr, indices = frames_of_all_kinds() if pixels == PIXELS else frames_within(pixels)
    bitmap = encode_bitmap(indptr, indices, pixels)
    dense = np.zeros((indptr.size - 1, pixels), bool)
    dense[np.repeat(np.arange(indptr.size - 1), np.diff(indptr)), indices] = True
    np.testing.assert_array_equal(bitmap, np.packbits(dense, axis=1, bitorder="little"))
    back = decode_bitmap(twin(bitmap), pixels)
    np.testing.assert_array_equal(to_host(back[0]), indptr)
    np.testing.assert_array_equal(to_host(back[1]), indices)


def frames_within(pixels):
    chosen = [np.arange(0, pixels, step, np.uint32) for step in (1, 2, 5)]
    return np.concatenate([[0], np.cumsum([c.size for c in chosen])]), np.concatenate(chosen)


@pytest.mark.parametrize("pixels", [PIXELS, 576 * 576])
def test_linear_indices_give_back_every_event_repeats_included(twin, pixels):
    indptr = np.array([0, 4, 4, 6])
    indices = np.array([5, 5, pixels - 1, 3, 0, 0], np.uint32)
    stream = encode_linear(indptr, indices, pixels)
    assert stream.size == indices.size * (2 if pixels <= 65_536 else 4)
    back = decode_linear(twin(indptr), twin(stream), pixels)
    np.testing.assert_array_equal(to_host(back), indices)
    assert to_host(back).dtype == np.uint32


@pytest.mark.parametrize("encode", [encode_bitmap, encode_run_length])
@pytest.mark.parametrize("frame", [[3, 3], [5, 2]], ids=["twice", "unsorted"])
def test_what_an_encoding_cannot_hold_is_refused_with_its_frame(encode, frame):
    indptr, indices = np.array([0, 1, 3]), np.array([9, *frame], np.uint32)
    with pytest.raises(CodecError, match="one electron a pixel") as caught:
        encode(indptr, indices, PIXELS)
    assert caught.value.frame == 1


@pytest.mark.parametrize("encode", [encode_bitmap, encode_run_length, encode_linear])
def test_events_outside_the_detector_are_not_encoded(encode):
    with pytest.raises(CodecError, match=f"index {PIXELS} is not on the {PIXELS} pixels"):
        encode(np.array([0, 0, 1]), np.array([PIXELS], np.uint32), PIXELS)


@pytest.mark.parametrize("cut", [0, 2, 4])
def test_frame_that_ends_early_is_named(twin, cut):
    indptr, indices = np.array([0, 3, 8]), np.array([1, 2, 9, 0, 30, 60, 90, 137], np.uint32)
    offsets, stream = encode_run_length(indptr, indices, PIXELS)
    short = np.array([0, offsets[1], offsets[1] + cut])
    with pytest.raises(CodecError, match="end before its last pixel") as caught:
        decode_run_length(twin(short), twin(stream), PIXELS)
    assert caught.value.frame == 1


def test_frame_that_goes_beyond_its_last_pixel_is_named(twin):
    offsets, stream = encode_run_length(np.array([0, 1]), np.array([30], np.uint32), PIXELS)
    with pytest.raises(CodecError, match="beyond its last pixel") as caught:
        decode_run_length(twin(offsets), twin(stream), PIXELS - 7)
    assert caught.value.frame == 0


def test_bits_beyond_the_last_pixel_are_refused(twin):
    bitmap = np.zeros((2, 3), np.uint8)
    bitmap[1, 2] = 0x80
    with pytest.raises(CodecError, match="frame 1: its electrons reach beyond"):
        decode_bitmap(twin(bitmap), 20)


def test_linear_data_of_the_wrong_length_or_range_are_refused(twin):
    indptr, indices = np.array([0, 1, 2]), np.array([4, 7], np.uint32)
    stream = encode_linear(indptr, indices, PIXELS)
    with pytest.raises(CodecError, match="3 bytes are not 2 events"):
        decode_linear(twin(indptr), twin(stream[:3].copy()), PIXELS)
    with pytest.raises(CodecError, match="frame 1: event 1 is outside the 6 pixels"):
        decode_linear(twin(indptr), twin(stream), 6)


def test_no_frames_and_empty_frames_are_no_trouble(twin):
    for indptr in (np.array([0]), np.array([0, 0, 0])):
        none = np.zeros(0, np.uint32)
        offsets, stream = encode_run_length(indptr, none, PIXELS)
        assert to_host(decode_run_length(twin(offsets), twin(stream), PIXELS)[0]).tolist() == [
            0
        ] * len(indptr)
        bitmap = encode_bitmap(indptr, none, PIXELS)
        assert to_host(decode_bitmap(twin(bitmap), PIXELS)[0]).tolist() == [0] * len(indptr)


def test_damaged_bits_are_refused_or_stay_on_the_detector(twin):
    rng = np.random.default_rng(3)
    indptr, indices = frames_of_all_kinds()
    offsets, stream = encode_run_length(indptr, indices, PIXELS)
    refused = 0
    for _ in range(20):
        bad = stream.copy()
        bad[rng.integers(0, bad.size, 3)] ^= rng.integers(1, 256, 3).astype(np.uint8)
        try:
            found = to_host(decode_run_length(twin(offsets), twin(bad), PIXELS)[1])
        except CodecError:
            refused += 1
        else:
            assert found.max(initial=0) < PIXELS
    assert refused > 10


def test_codes_of_impossible_widths_are_refused():
    with pytest.raises(ValueError, match="1 to 16 bits"):
        encode_run_length(np.array([0]), np.zeros(0, np.uint32), PIXELS, RunLength(0, 2, 2))
    with pytest.raises(ValueError, match="no bits for that"):
        encode_run_length(
            np.array([0, 1]), np.array([1], np.uint32), PIXELS, places=np.array([[4, 0]], np.uint8)
        )


def test_frames_of_the_largest_camera_are_coded_from_corner_to_corner():
    pixels = 4096 * 4096
    indptr, indices = np.array([0, 2]), np.array([0, pixels - 1], np.uint32)
    offsets, stream = encode_run_length(indptr, indices, pixels)
    assert decode_run_length(offsets, stream, pixels)[1].tolist() == [0, pixels - 1]
