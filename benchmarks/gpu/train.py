"""Training on a GPU: the default network for one probe, 250,000 patterns, twenty times over.

    python -m benchmarks.gpu.train [--tiny]

Five million patterns in all, none twice: each is drawn and counted as it is needed. Patches are
compared with the true phases of pictures that no lesson shows, at 1,000 electrons, as the shipped
network's are, which was trained for many probes: a training that does not beat it is refused.
"""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from benchmarks.gpu import bench
from benchmarks.gpu.cnn import ELECTRONS, probe
from models import weights
from models.images import held_out_atlas, training_atlas
from models.lessons import VALIDATION_SEED, Lessons, score
from models.probe_family import OneProbe
from models.retrieval import for_probe
from models.training import Recipe, begin, train
from models.unrolled import UnrolledPatch

SHIPPED = Path(weights.__file__).parent / "shipped" / "any_probe.safetensors"
PATTERNS, BATCH = (32, 16) if bench.tiny() else (20 * 250_000, 1024)
DOSES = (1000.0, 30_000.0)


def main() -> None:
    """Print the figure."""
    bench.figures(partial(training, bench.open_device()))


def training(device: bench.Device) -> None:
    """All steps, by the clock: what the processor draws is part of it."""
    where = "cpu" if device.flops is None else "cuda"
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False
    lessons = Lessons(training_atlas(0), OneProbe(probe()), DOSES)
    tests = Lessons(held_out_atlas(), OneProbe(probe()), (ELECTRONS, ELECTRONS))
    steps = -(-PATTERNS // BATCH)
    recipe = replace(
        Recipe(steps=steps, groups=1, patterns=BATCH, patience=100),
        validations=min(steps, 20), validation_patterns=BATCH,
    )  # fmt: skip
    state = begin(UnrolledPatch(probe(), float(ELECTRONS)).to(where).train(), recipe)
    start = time.monotonic()
    state = train(state, lessons, tests, recipe, device=where)
    took = time.monotonic() - start
    lesson = tests.lesson(VALIDATION_SEED, 1, BATCH, where)
    shipped = for_probe(weights.load_network(SHIPPED)[0], probe(), float(ELECTRONS)).to(where)
    found, known = score(state.network, lesson), score(shipped, lesson)
    if not (bench.tiny() or found.l1 < known.l1):
        raise ValueError(f"{found} is no better than the shipped network's {known}")
    width, stages, pixels = (
        state.network.width, len(state.network.corrections), state.network.head**2
    )  # fmt: skip
    convolved = 2 * 9 * (6 * width + 2 * width * width + width) * pixels * stages
    bench.show(
        device, f"training, {steps * BATCH} patterns", took, "300 s", "none",
        0.0, 3.0 * convolved * steps * BATCH, 1 - found.correlation,
        f"L1 {found.l1:.4f} rad, correlation {found.correlation:.4f}, what it lacks is the error; "
        f"the shipped network {known.l1:.4f} rad, {known.correlation:.4f}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
