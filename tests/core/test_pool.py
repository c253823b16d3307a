"""Worker pools: every job ends, whatever happens to the pool."""

from __future__ import annotations

import sys
import threading
from random import Random

import pytest

from service.concurrency import pool as pool_module
from service.concurrency.channel import WouldBlock
from service.concurrency.context import Context, background, with_cancel, with_timeout
from service.concurrency.pool import WorkerPool
from service.errors import ClientClosedRequest, DeadlineExceeded
from tests.core.calls import Call
from tests.core.clock import ManualClock
from tests.core.scheduler import Scheduler
from tests.serving import wait_until


def test_jobs_run_in_the_workers_and_give_their_values() -> None:
    """With their arguments; an error is its job's own, and the worker goes on."""
    with WorkerPool(background(), workers=2, capacity=4, name="test") as pool:
        sums = [pool.submit(background(), lambda _, a, b: a + b, n, b=1) for n in range(3)]
        failed = pool.submit(background(), lambda _: {}[0])
        name = pool.submit(background(), lambda _: threading.current_thread().name)
        assert [promise.get(background()) for promise in sums] == [1, 2, 3]
        with pytest.raises(KeyError):
            failed.get(background())
        assert name.get(background()).startswith("test-")


def test_a_full_pool_makes_the_submitter_wait_or_tells_it() -> None:
    """With one worker busy and one job waiting there is no room."""
    clock, gate, started = ManualClock(), threading.Event(), threading.Event()
    with WorkerPool(background(), workers=1, capacity=1) as pool:
        pool.submit(background(), lambda _: (started.set(), gate.wait(20)))
        assert started.wait(10)
        pool.submit(background(), lambda _: None)
        with pytest.raises(WouldBlock):
            pool.submit_nowait(lambda _: None)
        call = Call(pool.submit, with_timeout(background(clock), 1), lambda _: None)
        clock.wait_for_pending(1)
        clock.advance(1)
        with pytest.raises(DeadlineExceeded):
            call.result()
        gate.set()


def test_closing_lets_every_job_end() -> None:
    """Those that wait as well; then nothing is taken any more, and closing again does nothing."""
    done: list[int] = []
    pool = WorkerPool(background(), workers=1, capacity=8)
    for n in range(8):
        pool.submit(background(), lambda _, n: done.append(n), n)
    pool.close()
    pool.close()
    assert done == list(range(8))
    for submit in (lambda: pool.submit(background(), lambda _: None), lambda: pool.submit_nowait(lambda _: None)):
        with pytest.raises(RuntimeError, match="closed"):
            submit()


def test_cancelling_ends_what_runs_and_drops_what_waits() -> None:
    """Each promise is told; so does an error in the block, and the end of the pool's context."""
    for end in ("cancel", "error", "context"):
        ctx, started = with_cancel(background()), threading.Event()

        def job(ctx: Context, started: threading.Event = started) -> None:
            started.set()
            ctx.done.wait(20)
            ctx.check()

        try:
            with WorkerPool(ctx, workers=1, capacity=4) as pool:
                running = pool.submit(background(), job)
                waiting = pool.submit(background(), lambda _: None)
                assert started.wait(10)
                if end == "error":
                    raise ValueError("in the block")
                (ctx if end == "context" else pool).cancel()
        except ValueError:
            assert end == "error"
        for promise in (running, waiting):
            with pytest.raises(ClientClosedRequest):
                promise.get(background())


def test_a_withdrawn_job_does_not_run() -> None:
    """Whoever submitted it may change their mind while it waits."""
    gate, started, ran = threading.Event(), threading.Event(), []
    with WorkerPool(background(), workers=1, capacity=2) as pool:
        pool.submit(background(), lambda _: (started.set(), gate.wait(20)))
        assert started.wait(10)
        promise = pool.submit(background(), lambda _: ran.append(1))
        assert promise.withdraw()
        gate.set()
    assert ran == []


def test_a_job_that_calls_exit_ends_alone() -> None:
    """Whoever submitted it is told, and the worker goes on."""
    with WorkerPool(background(), workers=1, capacity=2) as pool:
        promise = pool.submit(background(), lambda _: sys.exit(3))
        with pytest.raises(RuntimeError, match=r"the job was ended by SystemExit\(3\)"):
            promise.get(background())
        assert pool.submit(background(), lambda _: 1).get(background()) == 1


def test_a_pool_of_nobody_is_a_mistake() -> None:
    """And so is one without room."""
    for workers, capacity in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least one"):
            WorkerPool(background(), workers=workers, capacity=capacity)


def test_without_threads_there_is_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers that had begun are ended."""
    begun: list[int] = []

    class Scarce(threading.Thread):
        def start(self) -> None:
            if len(begun) == 2:
                raise RuntimeError("can't start new thread")
            begun.append(1)
            super().start()

    with monkeypatch.context() as patched:
        patched.setattr(pool_module, "Thread", Scarce)
        with pytest.raises(RuntimeError, match="new thread"):
            WorkerPool(background(), workers=4, capacity=1)
    wait_until(lambda: not [t for t in threading.enumerate() if t.name.startswith("worker-")], 10)


def test_every_job_ends_once_in_any_interleaving() -> None:
    """However submitting, cancelling and closing fall together: each promise that was given is kept or failed."""
    for seed in range(200):
        with Scheduler(Random(seed).randrange) as run:
            pool = WorkerPool(run.ctx, workers=2, capacity=2)
            ran: list[int] = []

            def submit(n: int, pool: WorkerPool = pool, ran: list[int] = ran) -> object:
                try:
                    return pool.submit(run.ctx, lambda _, n: ran.append(n), n).get(run.ctx)
                except (RuntimeError, ClientClosedRequest) as error:
                    return error

            tasks = [run.spawn(submit, n) for n in range(5)]
            if seed % 2:
                run.spawn(pool.cancel)
            run.spawn(pool.close)
            run.until_done()
            ended = [task.result() for task in tasks]
            assert ended.count(None) == len(ran) == len(set(ran))


def test_a_job_that_waits_when_the_pool_is_cancelled_does_not_run() -> None:
    """In any interleaving, also where a worker takes it just then."""
    for seed in range(200):
        with Scheduler(Random(seed).randrange) as run:
            late: list[object] = []

            def use(late: list[object] = late, run: Scheduler = run) -> None:
                pool = WorkerPool(run.ctx, workers=1, capacity=2)
                pool.submit(run.ctx, lambda ctx: with_timeout(ctx, 50).done.wait())
                waiting = pool.submit(run.ctx, lambda ctx: late.append(ctx.error()))
                run.ctx.done.wait(1)
                pool.cancel()
                pool.close()
                with pytest.raises(ClientClosedRequest, match="before the job had its turn"):
                    waiting.result()

            using = run.spawn(use)
            run.until_done()
            using.result()
            assert late == []
