"""Blocks of a host's memory on their way to a device: the next travels while one is worked on.

Copies from pinned memory run beside kernels, those from other memory wait for them. Two pinned
buffers take turns, so that no more than two blocks are on their way, and the host reads or unpacks
the block after the next meanwhile.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gpu_kernels.backend import Array, cupy, cupyx, to_device


def streamed(blocks: Iterable[np.ndarray]) -> Iterator[Array]:
    """Blocks on the device, in order; each is whole before work that is queued after it.

    Parameters
    ----------
    blocks : iterable of arrays
        On the host, of any shapes.

    Yields
    ------
    array
        The block on the device.
    """
    if cupy is None or not cupy.is_available():  # the simulator, whose copies take no time
        yield from (to_device(np.ascontiguousarray(block)) for block in blocks)
        return
    copies, buffers = cupy.cuda.Stream(non_blocking=True), [_Pinned(), _Pinned()]
    ahead: tuple[Array, Any] | None = None
    try:
        for number, block in enumerate(blocks):
            sent = buffers[number % 2].send(block, copies)
            if ahead is not None:
                yield _arrived(*ahead)
            ahead = sent
        if ahead is not None:
            yield _arrived(*ahead)
    finally:
        copies.synchronize()  # from here on others may write to the buffers


def _arrived(there: Array, copied: Any) -> Array:
    cupy.cuda.get_current_stream().wait_event(copied)
    return there


class _Pinned:
    """A buffer of pinned memory, as large as the largest block so far."""

    def __init__(self) -> None:
        self._memory: np.ndarray | None = None
        self._copied: Any = None

    def send(self, block: np.ndarray, stream: Any) -> tuple[Array, Any]:
        """Start to copy a block, once the last from this buffer has arrived."""
        if self._copied is not None:
            self._copied.synchronize()
        if self._memory is None or self._memory.size < block.nbytes:
            self._memory = cupyx.empty_pinned(max(block.nbytes, 1), np.uint8)
        host = self._memory[: block.nbytes].view(block.dtype).reshape(block.shape)
        host[...] = block
        # Taken on the working stream, since memory that its kernels still read may be reused there.
        there = cupy.empty(block.shape, block.dtype)
        stream.wait_event(cupy.cuda.get_current_stream().record())
        there.set(host, stream=stream)
        self._copied = stream.record()
        return there, self._copied
