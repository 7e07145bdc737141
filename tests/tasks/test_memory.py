"""What cannot fit is refused before it starts, with its numbers; slabs fit the workers."""

from types import SimpleNamespace

import pytest

from flows.clusters import cluster
from flows.worker_options import WorkerOptions
from tasks import memory
from tasks.ingest import EVENTS_PER_SLAB, slab_rows_for
from tasks.memory import Demand, MemoryPlanError, demands, refuse_what_cannot_fit, room_of_unit

GIB = 1 << 30


def recording(per_position, scan=(100, 200)):
    return SimpleNamespace(path="a.h5", scan_shape=scan, events_per_position_estimate=per_position)


def test_slab_has_as_many_rows_as_fit():
    many = recording(1000.0, (500, 200))
    assert slab_rows_for(many) == EVENTS_PER_SLAB // 200_000
    room = 10 * 200_000 * memory.INGEST_PER_EVENT
    assert slab_rows_for(many, room) == 10
    assert slab_rows_for(recording(0.01), room) == 100


def test_row_that_does_not_fit_is_refused_with_its_numbers():
    with pytest.raises(MemoryPlanError, match=r"a.h5: .* 2e\+09 electrons.*22.35 GiB.* 1.00 GiB"):
        slab_rows_for(recording(1e7), GIB)


def test_demand_grows_with_the_scan_and_names_the_steps_that_were_asked_for():
    small = demands(512**2, 20_000, 8e6, 784, ("virtual", "ssb"))
    large = demands(4096**2, 20_000, 8e6, 784, ("virtual", "ssb"))
    assert [one.step for one in small] == ["reduce", "calibrate", "ssb"]
    assert large[2].unit == 64 * small[2].unit
    assert small[1].unit < large[1].unit < 64 * small[1].unit
    assert large[0] == small[0]


def test_room_of_a_unit_is_a_threads_part_of_the_smallest_worker():
    workers = {"a": {"memory_limit": 16 * GIB, "nthreads": 2},
               "b": {"memory_limit": 4 * GIB, "nthreads": 2}}  # fmt: skip
    client = SimpleNamespace(
        scheduler_info=lambda n_workers: {"workers": workers},
        submit=lambda function, pure: SimpleNamespace(result=function),
    )
    assert room_of_unit(client) == (3 * GIB - memory.WORKER_ITSELF) // 2
    refuse_what_cannot_fit([Demand("ssb", GIB, 1)], client)
    with pytest.raises(MemoryPlanError, match=r"ssb needs 2.00 GiB .* worker has 1.30 GiB"):
        refuse_what_cannot_fit([Demand("ssb", 2 * GIB)], client)


def test_what_the_flow_gathers_is_held_against_its_own_process(monkeypatch):
    monkeypatch.setattr(memory, "MEMORY_LIMIT", memory.psutil.Process().memory_info().rss + GIB)
    with pytest.raises(MemoryPlanError, match=r"dpc gathers 3.00 GiB .* (0.9|1.0)\d GiB are"):
        refuse_what_cannot_fit([Demand("dpc", 0, 3 * GIB)], None)


def test_what_does_not_fit_on_a_gpu_is_refused_with_its_numbers(monkeypatch):
    needed = demands(4096**2, 20_000, 8e6, 784, ("ssb",))
    monkeypatch.setattr(memory, "device_room", lambda: 16 * GIB)
    refuse_what_cannot_fit([Demand(one.step, 0, device=one.device) for one in needed], None)
    monkeypatch.setattr(memory, "device_room", lambda: GIB)
    with pytest.raises(MemoryPlanError, match=r"ssb needs 2.12 GiB on a GPU .* 1.00 GiB are free"):
        refuse_what_cannot_fit([Demand("ssb", 0, device=needed[2].device)], None)


def room_of_unit_there():
    return memory.room_of_this_unit()


def test_unit_that_runs_knows_what_its_worker_has_left():
    with cluster("local", WorkerOptions(count=1, memory_gib=0.5)) as client:
        room = client.submit(room_of_unit_there).result()
    assert 0 < room < 0.75 * 0.5 * GIB
    assert memory.room_of_this_unit() == pytest.approx(memory.room_here(), abs=GIB / 4)
