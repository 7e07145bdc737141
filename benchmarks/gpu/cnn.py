"""The network on a GPU: 65,536 patterns from their events to the stitched image.

    python -m benchmarks.gpu.cnn [--tiny]

256 x 256 positions, patterns of 32 x 32 pixels with 1,000 electrons, the default network. Timed
with the network in single precision, as the step ``cnn`` has it, and in bfloat16; each batch is
replayed from one CUDA graph. The reference is the network in double precision on the host.
"""

from functools import partial

import numpy as np
import torch

from benchmarks.gpu import bench
from gpu_kernels.backend import Array, as_library, beside, cupy, to_device, to_host
from gpu_kernels.fourier import libraries
from gpu_kernels.pixel_plan import plan_pixels
from gpu_kernels.reduction_gpu import Tables, reduce_on_device
from gpu_kernels.stitch import stitch
from models.answers import Answers
from models.retrieval import patch_weights
from models.unrolled import UnrolledPatch

SIDE = 32
ROWS, ELECTRONS = (3, 40) if bench.tiny() else (256, 1000)
STEP_PX = 0.9
BATCH = 8 if bench.tiny() else 4096
COMPARED = 8 if bench.tiny() else 512


def main() -> None:
    """Print a figure for each precision."""
    device, scan = bench.open_device(), Recording()
    bench.figures(
        partial(to_an_image, device, scan, "single precision"),
        partial(to_an_image, device, scan, "bfloat16"),
    )


class Recording:
    """Events on the device, a network, and what it finds in double precision."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.network = UnrolledPatch(probe(), float(ELECTRONS)).eval()
        with torch.no_grad():  # an untrained one corrects nothing
            for parameter in self.network.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        indptr, indices = events(np.random.default_rng(0))
        self.there, self.nbytes = bench.moved_there(indptr, indices), indices.nbytes
        bins = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
        self.plan = plan_pixels((SIDE, SIDE), dense_bin=bins, dense_size=SIDE * SIDE)
        self.tables = Tables.of(self.plan)
        self.exact = exact_patches(self.network, to_host(self.roots())[:COMPARED])

    def roots(self) -> Array:
        """(patterns, 32, 32) float32: √counts, on the device."""
        found = reduce_on_device(*self.there, self.plan, self.tables, frame_sum=False)
        dense = as_library(found.dense)
        xp, _ = libraries(dense)
        roots = xp.sqrt(dense[: self.plan.dense_size].T.astype(np.float32))
        return beside(xp.ascontiguousarray(roots).reshape(-1, SIDE, SIDE), self.there[1])


def to_an_image(device: bench.Device, scan: Recording, precision: str) -> None:
    """Events to patterns, to patches, to the stitched image."""
    half, network = precision == "bfloat16", scan.network
    answers = Answers(
        network.to("cpu" if device.flops is None else "cuda"), float(ELECTRONS), BATCH, half=half
    )
    found = patches_of(answers, scan.roots())[:COMPARED]
    error = bench.off(to_host(found), scan.exact, 0.1 if half else 1e-4)
    took = bench.seconds(lambda: image_of(answers, scan.roots(), network), repeats=5)
    count = ROWS * ROWS
    # Each convolution of each pixel of a patch, and three transforms of each step.
    width, stages, pixels = network.width, len(network.corrections), network.head**2
    convolved = 2 * 9 * (6 * width + 2 * width * width + width) * pixels * stages
    steps = (stages + 1) * (2 * 5 * SIDE**2 * 2 * np.log2(SIDE) + 2 * pixels**2)
    bench.show(
        device, f"{count} patterns to an image, {precision}", took, "1 s", "none",
        scan.nbytes + count * 4 * (2 * SIDE**2 + 2 * pixels), count * (convolved + steps), error,
    )  # fmt: skip


def probe() -> np.ndarray:
    """(32, 32) complex: a disk of 7.5 pixels, a little out of focus."""
    k = np.fft.fftfreq(SIDE, 1 / SIDE)
    far = k[:, None] ** 2 + k**2
    wave = np.where(far < 7.5**2, np.exp(-0.02j * far), 0)
    return np.fft.fftshift(np.fft.ifft2(wave)).astype(np.complex64)


def events(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Electrons of patterns of the empty beam, zero frequency in the middle."""
    mean = np.abs(np.fft.fftshift(np.fft.fft2(probe()))).ravel() ** 2
    counts = rng.poisson(ELECTRONS * mean / mean.sum(), (ROWS * ROWS, SIDE * SIDE))
    indptr = np.concatenate([[0], np.cumsum(counts.sum(axis=1))])
    pixels = np.broadcast_to(np.arange(SIDE * SIDE, dtype=np.uint16), counts.shape)
    return indptr, np.repeat(pixels.ravel(), counts.ravel())


def patches_of(answers: Answers, roots: Array) -> Array:
    """Patches on the device; arrays pass to torch and back without a copy."""
    on_torch = torch.as_tensor(as_library(roots), device=answers.device)
    found = torch.cat([
        answers(on_torch[first : first + BATCH]).clone()
        for first in range(0, len(on_torch), BATCH)
    ])  # fmt: skip
    if answers.device.type == "cpu":
        return to_device(found.numpy())
    return cupy.asarray(found)


def image_of(answers: Answers, roots: Array, network: UnrolledPatch) -> np.ndarray:
    """The stitched phase [rad]."""
    at = np.arange(ROWS) * STEP_PX + network.head
    places = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1).reshape(-1, 2)
    side = int(at[-1]) + network.head
    return stitch(patches_of(answers, roots), places, patch_weights(network), (side, side)).image


def exact_patches(network: UnrolledPatch, roots: np.ndarray) -> np.ndarray:
    """The first patches by the host in double precision."""
    double = UnrolledPatch(probe(), float(ELECTRONS)).eval()
    double.load_state_dict(network.state_dict())
    double = double.double()
    double.probe = double.probe.to(torch.complex128)
    with torch.no_grad():
        dose = torch.tensor([float(ELECTRONS)], dtype=torch.float64)
        sight = double.sight(double.probe[None], dose)
        sight = sight._replace(inverse=sight.inverse.double())
        return double.stages(torch.from_numpy(roots.astype(np.float64))[None], sight)[-1][0].numpy()


if __name__ == "__main__":
    main()
