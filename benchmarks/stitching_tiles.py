"""A large scan stitched in tiles beside the same scan at once: time, memory, and what differs.

    python benchmarks/stitching_tiles.py PROBE.npy [--side 1024] [--most 262144]

Patches are cut from a twisted h-BN bilayer as in ``stitching.py``, slab after slab of 16 rows, with
offsets, slopes and noise by chance, and are gone when they were added up, as in the step ``cnn``.
Times are seconds of CPU: of a slab's sums, of a tile's solve and of the merge, without making
patches; a worker does one slab or one tile at a time. Memory is the peak of what was allocated in
any of these.
"""

import argparse
import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter

from benchmarks.stitching import MARGIN, PIXEL, STEP
from gpu_kernels.frc import fourier_ring_correlation
from gpu_kernels.merge_tiles import Tile, merge_images
from gpu_kernels.stitch import PatchSums, patch_sums, stitch_sums
from models.specimens import build_specimen
from tasks.scan_tiles import in_tile, tile_edges, tiles_for

SLAB = 16
FINER = 4
BORDER = 16
CROP = slice(10, 22)
"""Of the probe's window: the pixels that can have weight, the centre still in the middle."""
NOISE, SLOPE = 0.02, 0.004
"""Of a patch's pixels [rad] and of the patch [rad/px], about those of a network."""


class Scan:
    """A specimen, and the patches of a raster of positions as they are asked for."""

    def __init__(self, probe: np.ndarray, side: int) -> None:
        field = np.abs(probe[CROP, CROP]) ** 2
        self.weights = np.where(field > 0.05 * field.max(), field, 0)
        self.side = side
        pixels = int((side - 1) * STEP) + 2 * BORDER + 2
        specimen = build_specimen("hbn", (pixels * PIXEL,) * 2, 80e3, np.random.default_rng(0))
        fine = specimen.phase((FINER * pixels,) * 2, (PIXEL / FINER,) * 2)
        self.truth = fine[::FINER, ::FINER].astype(np.float32)
        self._spline = spline_filter(fine, order=3, output=np.float32)

    def places(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """(y, x) of the positions of some rows [px]."""
        along = np.arange(self.side) * STEP + BORDER
        y, x = np.broadcast_arrays(along[rows, None], along)
        return y.ravel(), x.ravel()

    def patches(self, slab: int) -> np.ndarray:
        """(positions, height, width) float32."""
        at = np.stack(self.places(self.rows(slab)), axis=1)
        y, x = np.nonzero(self.weights)
        rng, middle = np.random.default_rng([1, slab]), len(self.weights) // 2
        points = [FINER * (at[:, a, None] + (y, x)[a] - middle) for a in (0, 1)]
        values = map_coordinates(self._spline, points, order=3, prefilter=False)
        count = (len(at), 1)
        values += rng.normal(size=count) + NOISE * rng.normal(size=values.shape)
        for line in (y, x):
            values += SLOPE * rng.normal(size=count) * (line - middle)
        patches = np.zeros((len(at), *self.weights.shape), np.float32)
        patches[:, y, x] = values
        return patches

    def rows(self, slab: int) -> slice:
        """Of the scan."""
        return slice(slab * SLAB, min((slab + 1) * SLAB, self.side))


class Meter:
    """Seconds of CPU and peak memory of kinds of work."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.peak = 0

    def __call__(self, kind: str, work, *given, **more):
        """Run it, and note what it took."""
        tracemalloc.start()
        start = time.process_time()
        found = work(*given, **more)
        self.seconds.setdefault(kind, []).append(time.process_time() - start)
        self.peak = max(self.peak, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("probe", help="(32, 32) complex, the probe in real space")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--most", type=int, default=2**18, help="positions of a tile")
    options = parser.parse_args()
    scan = Scan(np.load(options.probe), options.side)
    count = options.side**2
    cuts = tiles_for(count, scan.places(slice(None)), options.most)
    print(f"{count} patches; CPU [s] of all slabs' sums, the longest tile, all tiles, the merge")
    print(
        f"{'tiles':8} {'sums':>6} {'a tile':>7} {'tiles':>6} {'merge':>6} {'memory [MB]':>12} "
        f"{'rms to truth [mrad]':>20} {'slope':>6} {'mean FRC':>9} {'to the whole [mrad]':>20}"
    )
    joint = None
    for tiles in [(1, 1), cuts]:
        meter = Meter()
        image = stitched(scan, tiles, meter)
        joint = image if joint is None else joint
        show(tiles, meter, image, scan.truth, joint)


def stitched(scan: Scan, tiles: tuple[int, int], meter: Meter) -> np.ndarray:
    """The image, on the pixels of the truth."""
    edges = tile_edges(scan.places(slice(None)), tiles)
    reach, sums = float(len(scan.weights)), {tile: [] for tile in np.ndindex(tiles)}
    for slab, patches in each_slab(scan):
        y, x = scan.places(scan.rows(slab))
        for tile, own in sums.items():
            inside = in_tile((y, x), edges, tile, reach)
            if inside.any():
                at = np.stack([y[inside], x[inside]], axis=1)
                own.append(meter("sums", patch_sums, patches[inside], at, scan.weights))
    images = [of_tile(scan, edges, tile, reach, own, meter) for tile, own in sums.items()]
    if len(images) == 1:
        return on_truth(images[0].obj, images[0].origin, scan.truth.shape)
    merged = meter("merge", merge_images, images)
    return on_truth(merged.image, merged.origin, scan.truth.shape)


def each_slab(scan: Scan) -> Iterator[tuple[int, np.ndarray]]:
    """Number and patches of each slab."""
    for slab in range(-(-scan.side // SLAB)):
        yield slab, scan.patches(slab)


def of_tile(scan, edges, tile, reach: float, sums: list[PatchSums], meter: Meter) -> Tile:
    """The image of one tile."""
    y, x = scan.places(slice(None))
    inside = in_tile((y, x), edges, tile, reach)
    at = np.stack([y[inside], x[inside]], axis=1)
    low = np.floor(at.min(axis=0)).astype(int) - BORDER
    high = np.ceil(at.max(axis=0)).astype(int) + BORDER
    origin = int(low[0]), int(low[1])
    found = meter(
        "tiles", stitch_sums, sums, at, scan.weights, tuple((high - low).tolist()),
        like=scan.weights, origin=origin,
    )  # fmt: skip
    return Tile(found.image, origin, found.weight)


def on_truth(image: np.ndarray, origin: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """The part of an image that lies on that of the truth; 0 elsewhere."""
    out = np.zeros(shape, np.float32)
    y, x = origin
    part = np.nan_to_num(image[max(-y, 0) :, max(-x, 0) :])
    y, x = max(y, 0), max(x, 0)
    part = part[: shape[0] - y, : shape[1] - x]
    out[y : y + part.shape[0], x : x + part.shape[1]] = part
    return out


def show(tiles, meter: Meter, image: np.ndarray, truth: np.ndarray, joint: np.ndarray) -> None:
    """Print a line."""
    edge = slice(BORDER + MARGIN, -BORDER - MARGIN)
    own, true, whole = (
        part[edge, edge] - part[edge, edge].mean() for part in (image, truth, joint)
    )
    frc = np.nanmean(fourier_ring_correlation(own, true).correlation)
    slope = float((own * true).sum() / (true * true).sum())
    took = {kind: sum(times) for kind, times in meter.seconds.items()}
    print(
        f"{tiles[0]} x {tiles[1]:<4} {took['sums']:6.1f} {max(meter.seconds['tiles']):7.1f} "
        f"{took['tiles']:6.1f} {took.get('merge', 0):6.1f} {meter.peak / 1e6:12.0f} "
        f"{1e3 * (own - true).std():20.2f} {slope:6.3f} {frc:9.4f} "
        f"{1e3 * (own - whole).std():20.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
