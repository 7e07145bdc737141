"""Units of work run alone, in any order, and answer in theirs."""

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from distributed import get_worker, scheduler

from flows.clusters import cluster
from flows.worker_options import WorkerOptions
from tasks import units
from tasks.device import devices_noted
from tasks.units import UnitError, part_done, reporting, run_units


def double(number):
    return 2 * number


def fail_at_three(number):
    if number == 3:
        raise ValueError("slab 3 of scan.h5 is bad")
    return number


def in_three_parts(number):
    for part in (1, 2):
        part_done(part, f"unit {number}, part {part}")
    return number


def wait_until(happened, seconds=120):
    """Messages from workers arrive when they do."""
    last = time.monotonic() + seconds
    while not happened() and time.monotonic() < last:
        time.sleep(0.01)


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(number, marks):
    mark = Path(marks) / str(number)
    if number % 4 == 0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.fixture(scope="module")
def client():
    with cluster("local", WorkerOptions(count=2)) as client:
        yield client


@pytest.fixture(params=["here", "cluster"])
def place(request):
    return None if request.param == "here" else request.getfixturevalue("client")


def test_answers_come_in_the_order_of_the_units(place):
    units = [(n,) for n in range(20)]
    assert run_units("s", double, units, place) == [2 * n for n in range(20)]


def pretend_gpu():
    import tasks.units

    tasks.units.device_name = lambda: "a GPU"


def test_what_units_ran_on_is_noted(place, monkeypatch):
    with devices_noted() as here:
        run_units("s", double, [(n,) for n in range(3)], place)
    assert [name for name in here if "cores" in name] == list(here)
    assert len(here) == 1
    if place is None:
        monkeypatch.setattr("tasks.units.device_name", lambda: "a GPU")
    else:
        place.run(pretend_gpu)
    with devices_noted() as there:
        run_units("s", double, [(n,) for n in range(3)], place)
    assert there == {"a GPU"}


def test_no_units_give_no_answers(place):
    assert run_units("s", double, [], place) == []


def test_error_of_a_unit_passes_through(place):
    with pytest.raises(ValueError, match="slab 3 of scan.h5"):
        run_units("s", fail_at_three, [(n,) for n in range(6)], place)


def test_other_work_is_done_while_the_first_units_run(place):
    told = []
    done = run_units("s", double, [(1,), (2,)], place, meanwhile=lambda: told.append("done"))
    assert (done, told) == ([2, 4], ["done"])


def test_error_of_the_other_work_ends_the_units(place):
    def fails():
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        run_units("s", double, [(1,)], place, meanwhile=fails)
    assert run_units("s", double, [(1,)], place) == [2]


def endless(number):
    return endless(number + 1)


def test_endless_recursion_of_a_unit_is_an_error_and_no_endless_wait(place):
    with pytest.raises(RecursionError):
        run_units("s", endless, [(1,)], place)


def test_progress_is_told_from_none_to_all(place):
    told = []
    with reporting(lambda *facts: told.append(facts)):
        run_units("s", double, [(1,), (2,)], place)
    assert [facts[:3] for facts in told] == [("s", 0, 2), ("s", 1, 2), ("s", 2, 2)]


def test_units_tell_of_their_parts(place):
    told = []
    with reporting(lambda *facts: told.append(facts)):
        assert run_units("s", in_three_parts, [(1,), (2,)], place, parts=3) == [1, 2]
        wait_until(lambda: len([facts for facts in told if facts[3:] > ("",)]) == 4)
    assert told[0] == ("s", 0, 6)
    assert max(done for _, done, *_ in told) == 6
    assert {facts[3] for facts in told[1:]} >= {"unit 1, part 1", "unit 2, part 2"}


def test_killed_worker_costs_only_its_unit(client, tmp_path):
    units = [(n, str(tmp_path)) for n in range(8)]
    assert run_units("s", die_once, units, client) == list(range(8))


def test_unit_that_always_kills_its_worker_is_named_and_the_next_ones_run(client):
    for _ in range(4):
        with pytest.raises(UnitError, match="s: unit 0 of 1 killed several workers"):
            run_units("s", die, [(0,)], client)
    assert run_units("s", double, [(n,) for n in range(6)], client) == [2 * n for n in range(6)]


def ran_as(number):
    return number, get_worker().get_current_task()


def test_short_units_are_handed_out_together_and_the_last_of_them_alone(client):
    answers = run_units("s", ran_as, [(n,) for n in range(40)], client, short=True)
    assert [number for number, _ in answers] == list(range(40))
    together = Counter(key for _, key in answers)
    assert 1 < max(together.values()) <= units.TOGETHER
    assert together[answers[-1][1]] == 1
    alone = run_units("s", ran_as, [(n,) for n in range(40)], client)
    assert len({key for _, key in alone}) == 40


def die_at_nine(number):
    return die(number) if number == 9 else number


@pytest.mark.parametrize("short", [True, False])
def test_unit_that_kills_its_worker_is_named_and_not_those_that_were_with_it(client, short):
    with pytest.raises(UnitError, match="s: unit 9 of 40 killed several workers"):
        run_units("s", die_at_nine, [(n,) for n in range(40)], client, short=short)


def test_answer_is_fetched_anew_from_the_worker_that_has_it(client, monkeypatch):
    fetch, asked = scheduler.gather_from_workers, []

    async def never_at_first(who_has, **others):
        asked.append(who_has)
        if len(asked) == 1:  # as from a worker that died a moment ago: tried for minutes
            await asyncio.Event().wait()
        return await fetch(who_has, **others)

    monkeypatch.setattr(scheduler, "gather_from_workers", never_at_first)
    monkeypatch.setattr(units, "FETCH_WITHIN", 0.2)
    assert run_units("s", double, [(3,)], client) == [6]
    assert len(asked) >= 2  # or more, where two tenths of a second are little


def out_of_time(number):
    raise TimeoutError("the detector does not answer")


def test_units_may_run_out_of_time(place):
    with pytest.raises(TimeoutError, match="detector"):
        run_units("s", out_of_time, [(1,)], place)
