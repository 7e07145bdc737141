"""The CUDA simulator's blocks of threads, in an order that forgives no missing barrier.

Threads run one by one, every other time from the last to the first, until they wait for each other;
what nobody has written yet is no number. numba's own polls its threads, and takes longer.
"""

import sys
import threading

import numpy as np
from numba import types
from numba.cuda.simulator import kernel as simulated
from numba.cuda.simulator.kernelapi import Dim3, FakeCUDALocal, FakeCUDAShared
from numba.np.numpy_support import as_dtype


def nothing(dtype):
    """What nobody should see: of what is not worked out yet."""
    kind = np.dtype(dtype).kind
    return np.nan if kind in "fc" else np.iinfo(dtype).max if kind in "iu" else True


class Turn(simulated.BlockThread):
    """A thread of a block that runs while the others stand still, until it is to wait for them."""

    def __init__(self, work, manager, block, point):
        super().__init__(work, manager, block, point, False)
        self.mine, self.others = threading.Semaphore(0), threading.Semaphore(0)
        self.ended = False

    def run(self):
        """Run when it is told to."""
        self.mine.acquire()
        super().run()
        self.ended = True
        self.others.release()

    def go_on(self):
        """Let it run until it waits or ends."""
        self.mine.release()
        self.others.acquire()
        if self.exception:
            raise self.exception[0].with_traceback(self.exception[1])

    def syncthreads(self):
        """Wait for the others."""
        self.others.release()
        self.mine.acquire()


class Blocks(simulated.BlockManager):
    """Threads of a block one by one, every other time from the last to the first."""

    def run(self, grid_point, *given):
        """Run the threads of a block."""
        for left in simulated._get_kernel_context().shared._allocations.values():
            left.fill(nothing(left.dtype))  # by the block before
        points = list(np.ndindex(*self._block_dim))
        if _waits(self._f, set()):
            live = [Turn(lambda: self._f(*given), self, grid_point, one) for one in points]
        else:  # one thread of the host can be all of them
            live = [Turn(lambda: in_turn(), self, grid_point, points[0])]

        def in_turn():
            one, across = live[0], self._block_dim
            for point in points:
                one.threadIdx = Dim3(*point)
                one.thread_id = point[0] + across[0] * (point[1] + across[1] * point[2])
                self._f(*given)

        for one in live:
            one.start()
        while live:
            for one in live:
                one.go_on()
            live = [one for one in live[::-1] if not one.ended]


def _shared(memory, shape, dtype):
    """Shared memory, the same for each thread that comes by that line."""
    caller = sys._getframe(1)
    at = (caller.f_code, caller.f_lineno)
    if at not in memory._allocations:
        memory._allocations[at] = _local(None, shape, dtype)
    return memory._allocations[at]


def _local(_, shape, dtype):
    dtype = as_dtype(dtype) if isinstance(dtype, types.Type) else dtype
    return np.full(shape, nothing(dtype), dtype)


def _waits(function, seen):
    """Whether a function, or one that it calls, lets threads wait for each other."""
    function = getattr(function, "fn", function)
    if function in seen or not hasattr(function, "__code__"):
        return False
    seen.add(function)
    names, known = function.__code__.co_names, function.__globals__
    return any(name.startswith(("sync", "shfl", "cg")) for name in names) or any(
        _waits(known[name], seen) for name in names if callable(known.get(name))
    )


def install():
    """Let the simulator's kernels run so."""
    simulated.BlockManager = Blocks
    FakeCUDAShared.array, FakeCUDALocal.array = _shared, _local
