"""A signal stops the night wherever it finds it, and once."""

import os
import signal
import sys
import time
import weakref

import pytest

from flows.stop import StoppedError, stoppable


class Thing:
    """Something that the garbage collector takes."""


def forget(_):
    """A callback of the garbage collector's, in which the signal comes."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0)


@pytest.fixture(autouse=True)
def as_before():
    before = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    yield
    assert (signal.getsignal(signal.SIGTERM), sys.unraisablehook) == before


def let_go():
    thing = Thing()
    here = weakref.ref(thing, forget)
    del thing
    assert here() is None


def test_signal_stops_the_block_and_not_its_closing():
    closed = []

    @stoppable()
    def work():
        try:
            forget(None)
        finally:
            forget(None)
            closed.append(True)

    with pytest.raises(StoppedError, match="SIGTERM"):
        work()
    assert closed


@pytest.mark.parametrize("times", [1, 3])
def test_signal_that_comes_amid_a_callback_of_the_collector_is_heard(times):
    turns = []

    @stoppable()
    def work():
        for _ in range(times):
            let_go()
        while len(turns) < 1000:
            turns.append(time.sleep(0.01))

    with pytest.raises(StoppedError):
        work()
    assert len(turns) < 1000


def test_signal_that_comes_amid_the_last_callback_is_heard():
    with pytest.raises(StoppedError):
        stoppable()(let_go)()


def test_other_errors_that_go_no_further_are_told_as_before(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with stoppable():
        thing = Thing()
        here = weakref.ref(thing, lambda _: 1 / 0)
        del thing
        assert here() is None
    assert [type(one.exc_value) for one in told] == [ZeroDivisionError]
