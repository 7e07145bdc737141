"""Blocks arrive whole and in order, while the next is already on its way."""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from gpu_kernels import streamed


class Queue:
    """A stream whose copies happen as late as they may."""

    def __init__(self, non_blocking=True):
        self.todo, self.waited_for = [], []

    def record(self):
        """An event: all copies so far; the host may wait for it."""
        upto = len(self.todo)
        return SimpleNamespace(synchronize=lambda: self.copy(upto))

    def wait_event(self, event):
        """Later work of this stream waits, and the host does not."""
        self.waited_for.append(event)

    def synchronize(self):
        self.copy(len(self.todo))

    def copy(self, upto):
        for at, (there, host) in enumerate(self.todo[:upto]):
            there[...] = host
            self.todo[at] = (there, there)


class Copies(Queue):
    """The stream that blocks travel on."""

    made: ClassVar[list["Copies"]] = []

    def __init__(self, non_blocking=True):
        super().__init__()
        self.made.append(self)

    def left(self):
        """Copies that would still read from the host."""
        return sum(there is not host for there, host in self.todo)


class There(np.ndarray):
    """An array on the device."""

    def set(self, host, stream):
        stream.todo.append((self, host))


@pytest.fixture
def device(monkeypatch):
    working = Queue()
    cuda = SimpleNamespace(Stream=Copies, get_current_stream=lambda: working)

    def empty(shape, dtype):
        return np.zeros(shape, dtype).view(There)

    fake = SimpleNamespace(is_available=lambda: True, cuda=cuda, empty=empty)
    monkeypatch.setattr(streamed, "cupy", fake)
    monkeypatch.setattr(streamed, "cupyx", SimpleNamespace(empty_pinned=np.empty))
    return working


def test_blocks_of_any_shape_arrive_whole_and_in_order(device):
    rng = np.random.default_rng(0)
    shapes = [(2, 3, 4), (1, 3, 4), (5, 3, 4), (0, 3, 4), (5, 3, 4), (4, 3, 4)]
    blocks = [rng.integers(1, 1000, shape).astype(np.uint16) for shape in shapes]
    arrived = list(streamed.streamed(iter(blocks)))
    for event in device.waited_for:  # before work that is queued after it
        event.synchronize()
    assert len(arrived) == len(blocks)
    for block, there in zip(blocks, arrived, strict=True):
        np.testing.assert_array_equal(there, block)
        assert there.dtype == block.dtype


def test_next_block_is_read_before_the_last_is_worked_on(device):
    read = []

    def blocks():
        for number in range(4):
            read.append(number)
            yield np.full((2, 2), number)

    ahead = [len(read) - number - 1 for number, _ in enumerate(streamed.streamed(blocks()))]
    assert ahead == [1, 1, 1, 0]


@pytest.mark.parametrize("looked_at", [1, 2, 4])
def test_nothing_is_on_its_way_from_buffers_that_are_let_go(device, looked_at):
    blocks = streamed.streamed(np.full((2, 2), number) for number in range(4))
    for _ in range(looked_at):
        next(blocks)
    assert Copies.made[-1].left() > 0
    blocks.close()
    assert Copies.made[-1].left() == 0


def test_no_blocks_give_none(device):
    assert list(streamed.streamed([])) == []
