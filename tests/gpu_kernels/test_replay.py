"""Work is recorded once and played again; a recording that fails leaves its stream usable."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from gpu_kernels import replay


class Stream:
    """A stream of CuPy's, as far as recordings need it."""

    ptr = 0

    def __init__(self, non_blocking=True):
        self.recording, self.played = False, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def record(self):
        return SimpleNamespace(synchronize=lambda: None)

    def wait_event(self, event):
        pass

    def synchronize(self):
        assert not self.recording

    def begin_capture(self):
        self.recording = True

    def end_capture(self):
        self.recording = False
        return SimpleNamespace(launch=Stream.play)

    def play(self):
        self.played += 1


@pytest.fixture
def streams(monkeypatch):
    made = []

    def stream(non_blocking=True):
        made.append(Stream())
        return made[-1]

    working = Stream()
    cuda = SimpleNamespace(
        Stream=stream, get_current_stream=lambda: working, using_allocator=nullcontext,
        MemoryPool=lambda: SimpleNamespace(malloc=None),
    )  # fmt: skip
    monkeypatch.setattr(replay, "cupy", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(replay.cuda, "external_stream", lambda ptr: "queue", raising=False)
    return made


def test_work_is_recorded_once_and_then_played(streams):
    ran = []
    recorded = replay.Replay(lambda queue: ran.append(streams[0].recording) or "found")
    assert ran == [False] * replay.WARM_UPS + [True]
    assert [recorded(), recorded()] == ["found", "found"]
    assert (len(ran), streams[0].played) == (replay.WARM_UPS + 1, 2)


def test_recording_that_fails_is_ended(streams):
    def work(queue):
        if streams[0].recording:
            raise MemoryError("full")

    with pytest.raises(MemoryError, match="full"):
        replay.Replay(work)
    assert not streams[0].recording
