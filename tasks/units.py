"""Units of work: the same function over many slabs or blocks, each alone, on a Dask cluster.

A unit writes whole chunks and returns small facts; its caller keeps the records. Without a client
the units run one after another in this process, which is what tests and notebooks want.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol
from uuid import uuid4

from distributed import Client, Future, KilledWorker, as_completed, get_worker

from tasks.device import device_errors_told, device_name, note_device

IN_FLIGHT_PER_THREAD = 3
"""Units handed out ahead of time: enough to keep workers busy, few enough to stop soon."""
TOGETHER = 8
"""Short units that travel as one, at most: each journey takes some 5 ms of the night's own CPU, and
what is lost with a worker has to be done again."""
RETRIES = 2
FETCH_WITHIN = 3.0
FETCH_ANEW_WITHIN = 60.0
"""Seconds after which an answer is fetched anew: at first, and at most, for it doubles."""


class Reporter(Protocol):
    """Is told how many units of a step are done, as they finish."""

    def __call__(self, step: str, done: int, total: int, note: str = "") -> None:
        """``note`` says more about the last one."""


Tell = Callable[[int, str], None]

_reporter: ContextVar[Reporter | None] = ContextVar("reporter", default=None)
_tell: ContextVar[Tell | None] = ContextVar("tell", default=None)


class UnitError(RuntimeError):
    """Units of a step that failed for a reason that is not the user's input."""


class LostSchedulerError(UnitError):
    """The scheduler went away with the units; they can be run again by another."""


@contextmanager
def reporting(reporter: Reporter | None) -> Iterator[None]:
    """Tell a reporter how far the steps inside are."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Report the units of the steps inside as those of a stage of another step."""
    outer = _reporter.get()
    if outer is None:
        yield
        return
    with reporting(lambda step, *told: outer(f"{name}: {step}", *told)):
        yield


def report(step: str, done: int, total: int, note: str = "") -> None:
    """Tell the reporter, if there is one, how many units of a step are done."""
    if (reporter := _reporter.get()) is not None:
        reporter(step, done, total, note)


def part_done(done: int, note: str = "") -> None:
    """Say inside a long unit how many of its parts are done, wherever it runs."""
    if (tell := _tell.get()) is not None:
        tell(done, note)


def run_units(
    step: str,
    function: Callable[..., Any],
    units: Sequence[tuple[Any, ...]],
    client: Client | None = None,
    on_done: Callable[[int, Any], None] | None = None,
    parts: int = 1,
    meanwhile: Callable[[], Any] | None = None,
    short: bool = False,
) -> list[Any]:
    """Run a function over units and return its answers in their order.

    Parameters
    ----------
    step : str
        Name for progress and errors.
    function : callable
        Called as ``function(*unit)``; must be importable on the workers.
    units : sequence of tuples
        The arguments of each unit; small, because they travel.
    client : distributed.Client, optional
        Where to run; without it, in this process. What it runs on is told to ``devices_noted``.
    on_done : callable, optional
        Is told the number and answer of each unit as soon as it is done.
    parts : int
        Parts that each unit is counted as; it tells of them with ``part_done``.
    meanwhile : callable, optional
        Is called when the first units are handed out, for work that needs them no more than they
        need it; without a client, after all of them.
    short : bool
        Each unit takes a moment, so several of them are handed out together, fewer towards the end.

    Returns
    -------
    list
        One answer a unit.

    Raises
    ------
    UnitError
        If a unit lost its worker again and again; it names the unit. An error raised by the
        function itself passes through as it is.
    """
    counted = _Parts(step, len(units), parts)
    answers: list[Any] = [None] * len(units)
    with _heard(counted, client) as told:
        if parts > 1:
            units = [(told, number, function, *unit) for number, unit in enumerate(units)]
            function = _telling
        for number, answer in _finished(step, function, units, client, meanwhile, short):
            answers[number] = answer
            if on_done is not None:
                on_done(number, answer)
            counted.tell(number, parts)
    return answers


class _Parts:
    """Counts the parts of all units that are done, and reports them."""

    def __init__(self, step: str, units: int, parts: int) -> None:
        self._step, self._parts, self._done = step, parts, [0] * units
        self._reporter = _reporter.get()  # who tells is on threads that do not know it
        if self._reporter is not None:
            self._reporter(step, 0, units * parts)

    def tell(self, number: int, done: int, note: str = "") -> None:
        if done <= self._done[number] and not note:
            return
        self._done[number] = max(done, self._done[number])
        if self._reporter is not None:
            self._reporter(self._step, sum(self._done), len(self._done) * self._parts, note)


@contextmanager
def _heard(counted: _Parts, client: Client | None) -> Iterator[str | _Parts]:
    """Hear what running units say of their parts; gives where they are to say it."""
    if client is None:
        yield counted
        return
    topic = f"parts-{uuid4().hex[:8]}"
    client.subscribe_topic(topic, lambda event: counted.tell(*event[1]))
    try:
        yield topic
    finally:
        client.unsubscribe_topic(topic)


def _telling(told: str | _Parts, number: int, function: Callable[..., Any], *unit: Any) -> Any:
    """Run a unit that tells of its parts."""

    def tell(done: int, note: str) -> None:
        if isinstance(told, _Parts):
            told.tell(number, done, note)
        else:
            get_worker().log_event(told, (number, done, note))

    token = _tell.set(tell)
    try:
        return function(*unit)
    finally:
        _tell.reset(token)


def _bounded(function: Callable[..., Any], units: Sequence[tuple[Any, ...]]) -> tuple[Any, str]:
    """Run units, whose error must be one that reaches the client; names where they ran as well.

    The thousand frames of an endless recursion do not: Dask's client fails to unpack them, never
    learns that the unit is done, and would be waited for for ever.
    """
    try:
        with device_errors_told():
            return [function(*unit) for unit in units], device_name()
    except RecursionError as error:
        said = f"{getattr(function, '__qualname__', function)}: {error}"
    raise RecursionError(said)


def _finished(
    step: str,
    function: Callable[..., Any],
    units: Sequence[tuple[Any, ...]],
    client: Client | None,
    meanwhile: Callable[[], Any] | None,
    short: bool,
) -> Iterator[tuple[int, Any]]:
    if client is None:
        for number, unit in enumerate(units):
            with device_errors_told():
                answer = function(*unit)
            yield number, answer
            note_device(device_name())
        if meanwhile is not None:
            meanwhile()
        return
    run, waiting = uuid4().hex[:8], deque(range(len(units)))
    ahead = max(2, IN_FLIGHT_PER_THREAD * sum(client.nthreads().values()))
    most = TOGETHER if short else 1
    handed_out: dict[str, tuple[list[int], Future]] = {}
    suspects: list[int] = []

    def submit(some: list[int], how: str = "") -> Future:
        # Keys of their own, because Dask would otherwise take an equal call for the same result.
        key, sent = f"{step}-{some[0]}{how}-{run}", [units[number] for number in some]
        future = client.submit(_bounded, function, sent, key=key, retries=RETRIES, pure=False)
        handed_out[key] = some, future
        return future

    def hand_out(count: int) -> list[Future]:
        started: list[Future] = []
        while waiting and len(started) < count:
            together = max(1, min(most, len(waiting) // ahead))
            started.append(submit([waiting.popleft() for _ in range(together)]))
        return started

    def answers_of(future: Future) -> Iterator[tuple[int, Any]]:
        some, _ = handed_out.pop(future.key)
        answers, device = _answer(future, f"{step}: unit {some[0]} of {len(units)}")
        note_device(device)
        return zip(some, answers, strict=True)

    ready = as_completed(hand_out(ahead), loop=client.loop)
    try:
        if meanwhile is not None:
            meanwhile()
        for future in ready:
            if (len(units) > 1 or meanwhile is not None) and _killed(future):
                suspects += handed_out.pop(future.key)[0]
            else:
                yield from answers_of(future)
            if not suspects:
                ready.update(hand_out(1))
            elif not handed_out:
                # Dask blames all that a dead worker had before it: which one kills shows alone.
                for number in suspects:
                    yield from answers_of(submit([number], "-alone"))
                suspects.clear()
                ready.update(hand_out(ahead))
    finally:
        client.cancel([future for _, future in handed_out.values()])


def _killed(future: Future) -> bool:
    return future.status == "error" and isinstance(future.exception(), KilledWorker)


def _answer(future: Future, unit: str) -> tuple[Any, str]:
    try:
        return _fetched(future)
    except KilledWorker as error:
        raise UnitError(
            f"{unit} killed several workers one after another and was given up; the likely cause "
            "is too little memory for it, see the workers' logs."
        ) from error
    except CancelledError as error:
        raise LostSchedulerError(
            f"{unit}: the connection to the Dask scheduler was lost; run the job again, it goes on "
            "from what is finished."
        ) from error


def _fetched(future: Future) -> Any:
    """Fetch an answer, and anew where that takes long.

    Whoever fetches from a worker that has just died tries to reach it for minutes. In that time
    the unit is run by another worker, from which a second attempt has the answer at once.
    """
    patience = FETCH_WITHIN
    while True:
        try:
            return future.result(timeout=patience)
        except TimeoutError:
            if future.status == "error":  # the unit's own
                raise
        patience = min(2 * patience, FETCH_ANEW_WITHIN)
