"""Write ``stempy_reference.json``: what stempy makes of the small electron-counted recordings.

    PYTHONPATH=. .venv-peers-events/bin/python tests/tasks/make_stempy_reference.py DATA

DATA holds ``stempy_small/``. Whole numbers are kept as the SHA-256 of their int64 bytes; the centre
of mass at every 37th position, to the last digit of its 32 bits, and its mean over the scan.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import stempy
from stempy.image import com_sparse, create_stem_images
from stempy.io import SparseArray

FILES = ["64x64_v3", "64x64_2frames_v3", "64x64_v2", "64x64_v1", "64x65_flyback_v3"]
CENTER, RADIUS = (300, 270), 121
"""Of the centre of mass, for a disk of 110 pixels."""
ANNULI = [(0, 60), (60, 100), (100, 150), (150, 250)]


def main() -> None:
    """Read every file with stempy and write what it finds."""
    found: dict[str, object] = {"stempy": stempy.__version__}
    for name in FILES:
        events = SparseArray.from_hdf5(str(Path(sys.argv[1], "stempy_small", f"small_{name}.h5")))
        inner, outer = zip(*ANNULI, strict=True)
        images = create_stem_images(events, inner, outer, center=CENTER[::-1])
        com = com_sparse(events, crop_to=RADIUS, init_center=CENTER, replace_nans=False)
        col, row = com.reshape(2, -1).astype(np.float64)
        found[name] = {
            "scan_shape": [int(n) for n in events.scan_shape],
            "frame_sum": digest(events.sum(axis=(0, 1))),
            "electrons": digest(events.sum(axis=(2, 3))),
            "virtual": [digest(image / 65535) for image in images],
            "com_row": [None if np.isnan(one) else one for one in row[::37]],
            "com_col": [None if np.isnan(one) else one for one in col[::37]],
            "com_mean": [float(np.nanmean(row)), float(np.nanmean(col))],
        }
    path = Path(__file__).with_name("stempy_reference.json")
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def digest(numbers: np.ndarray) -> str:
    """SHA-256 of whole numbers."""
    whole = np.asarray(numbers).astype(np.int64)
    if not np.array_equal(whole, numbers):
        raise SystemExit("these are no whole numbers")
    return hashlib.sha256(np.ascontiguousarray(whole).tobytes()).hexdigest()


if __name__ == "__main__":
    main()
