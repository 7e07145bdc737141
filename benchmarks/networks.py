"""Patches a second of every network in one run, on one core: the paper's beside the default.

Run as: .venv/bin/python benchmarks/networks.py PROBE.npy
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from models.forward import counted_roots, intensity, unit_probe
from models.retrieval import retrieve
from models.weights import NETWORKS

ELECTRONS, PATTERNS, REPEATS = 27_882.0, 512, 3


def main() -> None:
    """Print one line for each network: the least time of some runs."""
    torch.set_num_threads(1)
    probe = unit_probe(np.load(Path(sys.argv[1])))
    empty = intensity(torch.zeros(PATTERNS, *probe.shape), torch.from_numpy(probe))
    dose = torch.full((PATTERNS,), ELECTRONS)
    roots = counted_roots(empty, dose, torch.Generator().manual_seed(0)).numpy()
    networks = {name: kind(probe, ELECTRONS).eval() for name, kind in NETWORKS.items()}
    times: dict[str, list[float]] = {name: [] for name in networks}
    # In turn, so that other work on the machine slows all of them.
    for _ in range(REPEATS):
        for name, network in networks.items():
            start = time.process_time()
            retrieve(network, roots, ELECTRONS)
            times[name].append(time.process_time() - start)
    for name, network in networks.items():
        parameters = sum(p.numel() for p in network.parameters())
        print(f"{name:8} {parameters:9,d} parameters {PATTERNS / min(times[name]):10.0f} patches/s")


if __name__ == "__main__":
    main()
