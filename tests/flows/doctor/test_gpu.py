"""The doctor finds the first broken link between a GPU and the kernels."""

from dataclasses import replace

import pytest

from flows.doctor.gpu import GpuFacts, gpu, look

WHOLE = GpuFacts(devices=1, driver=(13, 0), cupy=("cupy-cuda13x",), runtime=13, numba_cuda=True)
NONE = GpuFacts(devices=0, driver=None, cupy=(), runtime=None, numba_cuda=False)


@pytest.mark.parametrize(
    ("facts", "level", "said", "mend"),
    [
        (WHOLE, "ok", "CUDA 13.0, cupy-cuda13x", ""),
        (NONE, "ok", "CPU forms", ""),
        (replace(WHOLE, driver=None), "warn", "driver does not answer", "nvidia-smi"),
        (replace(WHOLE, devices=0, driver=None), "warn", "no NVIDIA device", "extra gpu"),
        (
            replace(WHOLE, driver=(12, 4)),
            "bad",
            "needs CUDA 13, the driver supports 12.4",
            "update",
        ),
        (replace(WHOLE, cupy=(), runtime=None), "warn", "no CuPy", ".[gpu]"),
        (replace(WHOLE, numba_cuda=False), "warn", "no numba-cuda", ".[gpu]"),
        (
            replace(WHOLE, cupy=("cupy-cuda12x", "cupy-cuda13x"), runtime=None),
            "bad",
            "several builds",
            "pip uninstall cupy-cuda12x cupy-cuda13x",
        ),
    ],
)
def test_broken_link_is_named_with_its_cure(facts, level, said, mend):
    (found,) = gpu(facts)
    assert found.level == level
    assert said in found.found
    assert mend in found.mend
    assert bool(found.mend) == (level != "ok")


def test_this_machine_can_be_looked_at():
    facts = look()
    assert facts.devices >= 0
    assert facts.runtime is None or len(facts.cupy) == 1
