"""A scan in raw sector files, with the electrons that are truly in its frames."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tasks.formats.sector_files import BAND, RECORD, SECTORS

Lost = frozenset[tuple[int, int]]


def write_sector_files(
    folder: Path,
    frames: Iterable[np.ndarray],
    scan_shape: tuple[int, int],
    *,
    layout: int = 5,
    files: int = 2,
    frames_at: int = 1,
    lost: Lost = frozenset(),
    scan: int = 147,
) -> Path:
    """Write raw frames as the camera's receivers do, spread over some files for each sector.

    Parameters
    ----------
    folder : Path
        For the files.
    frames : iterable of (576, 576) uint16
        In the order of the scan.
    scan_shape : (rows, columns)
        Of the scan.
    layout : int
        5 or 4.
    files : int
        Files for each sector; frames go to them in turn.
    frames_at : int
        Frames at each position.
    lost : set of (frame, sector)
        Sectors that are not written.
    scan : int
        Number of the scan.

    Returns
    -------
    Path
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [
        [folder / f"data_scan{scan:010d}_module{sector}_dst0_file{n}.data" for n in range(files)]
        for sector in range(SECTORS)
    ]
    for name in (one for several in names for one in several):
        name.write_bytes(b"")
    for number, frame in enumerate(frames):
        at = divmod(number // frames_at, scan_shape[1])
        for sector, record in enumerate(_records(frame, number, at, scan, scan_shape, layout)):
            if (number, sector) not in lost:
                with names[sector][number % files].open("ab") as file:
                    file.write(record)
    return folder


def _records(
    frame: np.ndarray,
    number: int,
    at: tuple[int, int],
    scan: int,
    scan_shape: tuple[int, int],
    layout: int,
) -> Iterator[bytes]:
    for sector in range(SECTORS):
        band = slice(sector * BAND, (sector + 1) * BAND)
        record = np.zeros((), RECORD)
        record["scan"], record["frame"] = scan, number + 1
        record["size"], record["at"] = scan_shape[::-1], at[::-1]
        record["data"] = (frame[band] if layout == 5 else frame[:, band]).ravel()
        yield record.tobytes()
