"""Work on a device that is the same each time, recorded once and played again.

The host takes longer to start many short kernels than the device to do them; of a recording, a CUDA
graph, it starts one thing.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import cuda

from gpu_kernels.backend import Array, cupy

WARM_UPS = 2
"""Runs before the recording: kernels are compiled, and memory is held ready."""


class Replay:
    """Recorded work.

    Parameters
    ----------
    work : callable
        Queues everything on the stream of numba that it is given, and on CuPy's current one, and
        returns an array on the device. Its inputs and its outputs stay where they are. Without
        CuPy, in the simulator, it is done anew each time.
    """

    def __init__(self, work: Callable[[Any], Array]) -> None:
        self._work, self._graph = work, None
        self._done: Any = None
        if cupy is None:
            return
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self._after()
        queue = cuda.external_stream(self.stream.ptr)
        # What is recorded uses its scratch memory for ever: nobody else is to be given it.
        self._pool = cupy.cuda.MemoryPool()
        with cupy.cuda.using_allocator(self._pool.malloc), self.stream:
            for _ in range(WARM_UPS):
                work(queue)
            self.stream.synchronize()
            self.stream.begin_capture()
            try:
                self._found = work(queue)
            except BaseException:
                with suppress(Exception):  # the recording is spoilt, and says so as well
                    self.stream.end_capture()
                raise
            self._graph = self.stream.end_capture()

    def wait(self) -> None:
        """Let the host wait until what was asked for last is done."""
        if self._done is not None:
            self._done.synchronize()

    def __call__(self) -> Array:
        """Do the work.

        Returns
        -------
        array
            On the device, overwritten by the next call; whole before what is queued from now on.
        """
        if self._graph is None:
            return self._work(0)
        self._after()
        self._graph.launch(self.stream)
        self._done = self.stream.record()
        cupy.cuda.get_current_stream().wait_event(self._done)
        return self._found

    def _after(self) -> None:
        """What was queued elsewhere, such as the inputs, comes first."""
        self.stream.wait_event(cupy.cuda.get_current_stream().record())
