"""GPU, driver, CuPy and numba-cuda: each there, and of versions that suit each other."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from flows.doctor.finding import Finding


@dataclass(frozen=True)
class GpuFacts:
    """What of a GPU's chain is there."""

    devices: int
    """Device files of the driver's kernel module."""
    driver: tuple[int, int] | None
    """Newest CUDA that the driver supports; None where no driver answers."""
    cupy: tuple[str, ...]
    """Distributions of CuPy that are installed."""
    runtime: int | None
    """CUDA's major version that CuPy is built for."""
    numba_cuda: bool
    """Whether the compiler of the kernels is installed."""


def gpu(facts: GpuFacts | None = None) -> Iterator[Finding]:
    """Follow the chain from the device to CuPy, and stop at the first link that is broken."""
    facts = facts or look()
    yield Finding("GPU", *_judged(facts))


def look() -> GpuFacts:
    """Ask the system, numba and the installed distributions; CuPy itself is not imported."""
    from numba import cuda

    installed = {(one.metadata["Name"] or "").lower() for one in distributions()}
    cupy = tuple(sorted(name for name in installed if re.fullmatch(r"cupy(-cuda\d+x?)?", name)))
    built = re.search(r"cuda(\d+)", cupy[0]) if len(cupy) == 1 else None
    driver = cuda.cudadrv.driver.driver.get_version() if cuda.is_available() else None
    return GpuFacts(
        devices=len(list(Path("/dev").glob("nvidia[0-9]*"))),
        driver=driver and tuple(driver[:2]),
        cupy=cupy,
        runtime=int(built[1]) if built else None,
        numba_cuda="numba-cuda" in installed,
    )


def _judged(facts: GpuFacts) -> tuple:
    install = 'pip install -c constraints.txt -e ".[gpu]"'
    if len(facts.cupy) > 1:
        return (
            "bad",
            f"several builds of CuPy: {', '.join(facts.cupy)}",
            f"pip uninstall {' '.join(facts.cupy)}, then {install}",
        )
    if facts.driver is None and facts.devices:
        return (
            "warn",
            f"{facts.devices} NVIDIA device(s), but the driver does not answer; the CPU is used",
            "look at nvidia-smi; after an update of the driver, restart the machine; a container "
            "needs --gpus all and NVIDIA's container toolkit",
        )
    if facts.driver is None and facts.cupy:
        return (
            "warn",
            f"{facts.cupy[0]}, but no NVIDIA device; the CPU is used",
            "look at nvidia-smi; on a machine without a GPU, leave out the extra gpu",
        )
    if facts.driver is None:
        return ("ok", "none; the CPU forms are used")
    if facts.runtime is not None and facts.driver[0] < facts.runtime:
        return (
            "bad",
            f"{facts.cupy[0]} needs CUDA {facts.runtime}, the driver supports "
            f"{facts.driver[0]}.{facts.driver[1]}",
            f"update the driver to one for CUDA {facts.runtime} (nvidia-smi shows which it is)",
        )
    if not (facts.cupy and facts.numba_cuda):
        missing = "CuPy" if not facts.cupy else "numba-cuda"
        return ("warn", f"a CUDA device, but no {missing}; the CPU is used", install)
    return ("ok", f"CUDA {facts.driver[0]}.{facts.driver[1]}, {facts.cupy[0]}")
