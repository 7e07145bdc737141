"""Recordings for the side-by-side figures of direct phase retrieval, and the peers' answers.

``mos2`` is a scan of a MoS2 monolayer at 80 kV and 25 mrad, simulated by the definition: 0.9 rad at
the metal, rotation −14°, C10 60 Å, C12 20 Å, C21 900 Å. ``counted_scan`` holds Poisson counts of no
object, for times alone.
"""

import json
import subprocess
from dataclasses import dataclass
from math import radians
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.simulated_scan import Scan, mos2_phase, simulate
from models.aberrations import Aberrations
from models.geometry import Geometry

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".venv-peers-phase" / "bin" / "python"
LENS = Aberrations(C10=60, C12=20, phi12=0.5236, C21=900, phi21=-0.87)
ROTATION = -14.0
DOSES = (None, 1e5, 1e4, 1e3)
"""[e/Å²]; None is without noise."""


@dataclass(frozen=True)
class SpeedCase:
    """A recording of one size."""

    side: int
    detector: int
    step: float
    """[Å]"""
    radius: float
    """Of the disk [px]."""


SPEED = (SpeedCase(256, 32, 0.18, 11.94), SpeedCase(512, 18, 0.31, 8.6))
"""448 and 232 pixels in the disk."""


def mos2(canvas: int = 128, peak: float = 0.9) -> Scan:
    """128 x 128 positions of 0.18 Å; a canvas that is larger than the scan does not repeat."""
    geometry = Geometry(80e3, 0.025, (0.18, 0.18), (15.3, 14.8), 11.4, radians(ROTATION))
    return simulate(mos2_phase((canvas, canvas), 0.18, peak), (128, 128), geometry, LENS)


def counted_scan(case: SpeedCase, electrons: float = 2.0) -> Scan:
    """Poisson counts in the disk, nothing outside it."""
    middle = (case.detector - 1) / 2
    geometry = Geometry(
        80e3, 0.025, (case.step, case.step), (middle, middle), case.radius, radians(ROTATION)
    )  # fmt: skip
    row, col = (at.ravel() for at in np.indices((case.detector, case.detector)))
    disk = np.hypot(row - middle, col - middle) < case.radius
    rng = np.random.default_rng(0)
    dense = rng.poisson(electrons, (int(disk.sum()), case.side, case.side)).astype(np.uint8)
    return Scan(dense, row[disk], col[disk], geometry, LENS, np.zeros((case.side, case.side)))


def frames(scan: Scan, side: int) -> np.ndarray:
    """The same counts as (scan_y, scan_x, side, side), which the peers read."""
    out = np.zeros((*scan.dense.shape[1:], side, side), scan.dense.dtype)
    out[:, :, scan.rows, scan.cols] = scan.dense.transpose(1, 2, 0)
    return out


def ask_peer(
    peer: str, folder: Path, scan: Scan, side: int, repeats: int = 3
) -> dict[str, Any] | str:
    """Let a peer work on a recording; a text says why there is no answer."""
    if not PEERS.exists():
        return f"no {PEERS.relative_to(ROOT)}"
    geometry = scan.geometry
    np.save(folder / "counts.npy", frames(scan, side))
    facts = {
        "energy": geometry.energy, "semiangle": geometry.semiangle, "step": geometry.scan_step,
        "wavelength": geometry.wavelength, "center": geometry.center, "radius": geometry.radius,
        "rotation_deg": ROTATION, "aberrations": scan.aberrations.nonzero(), "threads": 2,
        "object": bool(scan.phase.any()),
    }  # fmt: skip
    (folder / "scan.json").write_text(json.dumps(facts))
    done = subprocess.run(
        [str(PEERS), str(ROOT / "benchmarks" / "phase_peers.py"), str(folder), peer, "--repeats",
         str(repeats)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return json.loads(done.stdout)
