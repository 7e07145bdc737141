"""Only the newest wish is served, and the page's thread never waits."""

import threading
import time

from flows.explore.latest import Latest, work


def test_overtaken_wishes_are_never_begun_and_the_last_is():
    begun, free, done = [], threading.Event(), threading.Event()

    def serve(wish, overtaken):
        begun.append(wish)
        free.wait(10)
        if wish == 9:
            assert not overtaken(0.1)
            done.set()
        else:
            assert overtaken(0.0)

    latest = Latest(serve)
    latest.ask(0)
    while not begun:
        pass
    for wish in range(1, 10):
        latest.ask(wish)
    free.set()
    assert done.wait(10)
    assert begun == [0, 9]
    latest.close()


def test_a_closed_worker_ends():
    latest = Latest(lambda wish, overtaken: None)
    latest.ask(1)
    latest.close()
    latest._thread.join(10)
    assert not latest._thread.is_alive()


def test_the_end_waits_for_what_runs_and_lets_nothing_else_begin():
    begun, go, done = threading.Event(), threading.Event(), []

    def serve(wish, overtaken):
        begun.set()
        go.wait()
        done.append(wish)

    latest = Latest(serve)
    latest.ask(1)
    assert begun.wait(60)
    latest.ask(2)
    assert not work.finish(0.05)
    ended = []
    ending = threading.Thread(target=lambda: ended.append(work.finish(60)))
    ending.start()
    while not work._over:
        time.sleep(0.01)
    go.set()
    ending.join()
    assert ended == [True]
    assert done == [1]
    latest.close()
