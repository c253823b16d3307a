"""Process pools: CPU work in processes that end with their parent; refused where gevent has patched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from service.concurrency.context import background, with_cancel
from service.concurrency.processes import ProcessPool, _result
from service.errors import ClientClosedRequest
from tests.serving import ROOT, children, descendants, wait_until

PATCHED = "gevent.monkey" in sys.modules

BUSY_PARENT = """
from service.concurrency.context import background
from service.concurrency.processes import ProcessPool
from tests.core.test_processes import loop
if __name__ == "__main__":
    with ProcessPool(2) as pool:
        list(pool.map(background(), loop, [1, 2, 3, 4]))
"""


@pytest.fixture(autouse=True, scope="module")
def _tracker() -> Iterator[None]:
    """multiprocessing keeps a process for its books from its first use to the end of this one: it is no leak of a pool."""
    resource_tracker.ensure_running()
    return


@pytest.fixture
def pool() -> Iterator[ProcessPool | None]:
    """Two processes; None where gevent has patched, which `refused` then asserts."""
    if PATCHED:
        yield None
        return
    with ProcessPool(2) as made:
        yield made


def refused(pool: ProcessPool | None) -> bool:
    """On greenlets every test of the pool is this one: it says why there is none."""
    if pool is None:
        with pytest.raises(RuntimeError, match="gevent has patched: use a command"):
            ProcessPool(2)
    return pool is None


def square(n: int) -> int:
    """A job."""
    return n * n


def fail_at_three(n: int) -> int:
    """A job that fails once."""
    if n == 3:
        raise ValueError("three")
    return n


def die(_: int) -> None:
    """A job whose process is killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def loop(_: int) -> None:
    """A job that never ends, in Python alone."""
    while True:
        pass


def test_results_come_in_order_from_other_processes(pool: ProcessPool | None) -> None:
    """However many items there are."""
    if refused(pool):
        return
    assert list(pool.map(background(), square, range(50))) == [n * n for n in range(50)]
    assert os.getpid() not in set(pool.map(background(), _pid, range(4)))


def _pid(_: int) -> int:
    return os.getpid()


def test_an_error_of_a_job_is_raised_in_its_place(pool: ProcessPool | None) -> None:
    """After the results before it; the pool can be used again."""
    if refused(pool):
        return
    results = pool.map(background(), fail_at_three, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert list(pool.map(background(), square, [2])) == [4]


def test_few_items_are_taken_ahead(pool: ProcessPool | None) -> None:
    """An endless source is read as far as the results are taken, and a little more."""
    if refused(pool):
        return
    read: list[int] = []

    def source() -> Iterator[int]:
        n = 0
        while True:
            read.append(n)
            yield n
            n += 1

    results = pool.map(background(), square, source())
    assert [next(results) for _ in range(10)] == [n * n for n in range(10)]
    assert len(read) <= 10 + 2 * 2
    results.close()


def test_the_end_of_the_context_ends_the_results(pool: ProcessPool | None) -> None:
    """With its error."""
    if refused(pool):
        return
    ctx = with_cancel(background())
    results = pool.map(ctx, square, range(100))
    assert next(results) == 0
    ctx.cancel()
    with pytest.raises(ClientClosedRequest):
        list(results)


def test_a_process_that_dies_is_an_error(pool: ProcessPool | None) -> None:
    """Not a wait without an end."""
    if refused(pool):
        return
    with pytest.raises(BrokenProcessPool):
        list(pool.map(background(), die, [1]))


def test_no_process_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    """kill -9 while every worker is busy: they end by themselves."""
    script = tmp_path / "parent.py"
    script.write_text(BUSY_PARENT)
    parent = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        wait_until(lambda: len(children(parent.pid, "spawn_main")) == 2, 20)
        wait_until(lambda: all(_cpu_ticks(pid) > 20 for pid in children(parent.pid, "spawn_main")), 20)
        family = descendants(parent.pid)
    finally:
        parent.kill()
        parent.wait(10)
    wait_until(lambda: not any(_runs(pid) for pid in family), 20)


def test_killed_processes_are_not_waited_for() -> None:
    """Jobs that never end are ended with their processes."""
    if PATCHED:
        refused(None)
        return
    with ProcessPool(2) as pool, ThreadPoolExecutor() as threads:
        busy = threads.submit(list, pool.map(background(), loop, [1, 2, 3]))
        wait_until(lambda: len(children(os.getpid(), "spawn_main")) == 2, 20)
        wait_until(lambda: all(_cpu_ticks(pid) > 20 for pid in children(os.getpid(), "spawn_main")), 20)
        pool.kill()
        with pytest.raises(BrokenProcessPool):
            busy.result(20)
    assert children(os.getpid(), "spawn_main") == []


def test_killing_fails_on_no_cancelled_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that are left early, and then the end of the processes: nothing is raised in a thread that nobody asked."""
    if PATCHED:
        refused(None)
        return
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    with ProcessPool(1) as pool, ThreadPoolExecutor() as threads, with_cancel(background()) as ctx:
        busy = threads.submit(list, pool.map(background(), loop, [1, 2]))
        wait_until(lambda: len(pool._executor._pending_work_items) == 2, 30)
        left = threads.submit(list, pool.map(ctx, loop, [3, 4]))
        wait_until(lambda: len(pool._executor._pending_work_items) == 4, 30)
        ctx.cancel()
        with pytest.raises(ClientClosedRequest):
            left.result(30)
        pool.kill()
        with pytest.raises(BrokenProcessPool):
            busy.result(30)
    assert raised == []


def test_an_interrupt_is_the_parents_alone(pool: ProcessPool | None) -> None:
    """What a terminal sends to all of them ends no job, whenever it comes."""
    if refused(pool):
        return
    assert pool is not None
    assert list(pool.map(background(), interrupt_oneself, range(4))) == [0, 1, 2, 3]


def interrupt_oneself(n: int) -> int:
    """A job to whose process Ctrl-C is sent."""
    os.kill(os.getpid(), signal.SIGINT)
    return n


def _cpu_ticks(pid: int) -> int:
    """The time a process has used, in hundredths of a second."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_pool_of_no_process_is_a_mistake() -> None:
    """It says so; not given, it is the number of cores."""
    if PATCHED:
        refused(None)
        return
    for processes in (0, -1):
        with pytest.raises(ValueError, match=f"at least one process, not {processes}"):
            ProcessPool(processes)


def test_a_result_that_comes_as_the_context_ends_is_a_result() -> None:
    """What is there counts, as with every wait of the core."""
    ctx = with_cancel(background())
    ctx.cancel()
    done: Future[int] = Future()
    done.set_result(7)
    assert _result(ctx, done) == 7
    failed: Future[int] = Future()
    failed.set_exception(TimeoutError("the job's own"))
    with pytest.raises(TimeoutError, match="the job's own"):
        _result(ctx, failed)
    with pytest.raises(ClientClosedRequest):
        _result(ctx, Future())


def wait_for_file(paths: tuple[Path, Path]) -> None:
    """A job that says that it has begun, and ends when it is told."""
    began, go_on = paths
    began.touch()
    wait_until(go_on.exists, 30)


def test_what_is_not_on_its_way_is_dropped(tmp_path: Path) -> None:
    """Results that are left early: of the jobs under way the last, for which the process has no place yet, never begins."""
    if PATCHED:
        refused(None)
        return
    go_on = tmp_path / "go on"
    with ProcessPool(1) as pool, ThreadPoolExecutor() as threads, with_cancel(background()) as ctx:
        jobs = [(tmp_path / name, go_on) for name in ("first 0", "first 1", "left 0", "left 1")]
        first = threads.submit(list, pool.map(background(), wait_for_file, jobs[:2]))
        wait_until((tmp_path / "first 0").exists, 30)
        left = threads.submit(list, pool.map(ctx, wait_for_file, jobs[2:]))
        wait_until(lambda: len(pool._executor._pending_work_items) == 4, 30)
        ctx.cancel()
        with pytest.raises(ClientClosedRequest):
            left.result(30)
        go_on.touch()
        first.result(30)
        list(pool.map(background(), square, [1]))
        assert not (tmp_path / "left 1").exists()
