"""NanoMEGAS block files (.blo): a header, a picture, then one byte a pixel for each frame.

Each frame is preceded by the mark 55AA and its number, so that a frame out of place is found.
The layout is that of ``rsciio.blockfile``, whose own reader would bring an image library along.
"""

from typing import Any

import numpy as np

from tasks.formats.dense import DenseRecording
from tasks.formats.recording import RecordingError

MAGIC, FRAME_MARK = 0x0102, 0x55AA
HEADER = np.dtype(
    [
        ("id", "S6"),
        ("magic", "<u2"),
        ("picture_offset", "<u4"),
        ("frames_offset", "<u4"),
        ("flags", "<u4"),
        ("size", "<u2"),
        ("pattern_rotation", "<u2"),
        ("cols", "<u2"),
        ("rows", "<u2"),
        ("scan_rotation_centidegrees", "<u2"),
        ("scan_step_x_nm", "<f8"),
        ("scan_step_y_nm", "<f8"),
        ("beam_energy_v", "<u4"),
        ("pixel_size", "<u2"),
        ("camera_length", "<u4"),
    ]
)
KEPT = ("scan_rotation_centidegrees", "scan_step_x_nm", "scan_step_y_nm", "beam_energy_v",
        "camera_length")  # fmt: skip


class BlockFileRecording(DenseRecording):
    """Frames of a block file, read through a memory map."""

    def __init__(self, path: str, **options: Any) -> None:
        self._opened(path)
        header = np.fromfile(path, HEADER, count=1)
        if header.size != 1 or header["magic"][0] != MAGIC:
            raise RecordingError(f"{path}: it begins as a block file, but its header is damaged.")
        values = {name: header[name][0].item() for name in HEADER.names or ()}
        self.metadata = {name: values[name] for name in KEPT}
        self._offset, self._size = values["frames_offset"], values["size"]
        shape = (values["rows"], values["cols"], self._size, self._size)
        need = self._offset + shape[0] * shape[1] * (6 + self._size**2)
        if need > self._state[0]:
            raise RecordingError(
                f"{path}: a scan of {shape[0]} x {shape[1]} frames needs {need} bytes, the file "
                f"has {self._state[0]}; its copy or writing did not finish."
            )
        self.format = "NanoMEGAS block file"
        super().__init__(path, shape, np.uint8, **options)

    def _frames(self, first: int, last: int) -> np.ndarray:
        frame = np.dtype(
            [("mark", "<u2"), ("number", "<u4"), ("data", "u1", (self._size, self._size))]
        )
        offset = self._offset + first * frame.itemsize
        stored = np.memmap(self.path, frame, "r", offset=offset, shape=(last - first,))
        wrong = stored["mark"] != FRAME_MARK
        if wrong.any():
            number = first + int(np.argmax(wrong))
            raise RecordingError(
                f"{self.path}: frame {number} begins with {int(stored['mark'][number - first]):04X}"
                f", not with the mark {FRAME_MARK:04X}; the file is damaged."
            )
        return np.array(stored["data"])
