"""RWLock: who is let in when, and that nobody waits for itself."""

from __future__ import annotations

from random import Random

import pytest

from service.concurrency.context import Context, background, origin, with_cancel, with_timeout
from service.concurrency.rwlock import RWLock
from service.errors import ClientClosedRequest, DeadlineExceeded
from tests.core.calls import Call
from tests.core.clock import ManualClock
from tests.core.scheduler import Scheduler


def test_readers_read_together_and_a_writer_is_alone() -> None:
    """In 300 interleavings of three readers and two writers."""
    together = 0
    for seed in range(300):
        with Scheduler(Random(seed).randrange) as run:
            lock, inside = RWLock(), []

            def read(lock: RWLock = lock, inside: list[str] = inside) -> int:
                with lock.reading():
                    assert "w" not in inside
                    inside.append("r")
                    run.step()
                    most = len(inside)
                    inside.remove("r")
                return most

            def write(lock: RWLock = lock, inside: list[str] = inside) -> None:
                with lock.writing():
                    assert inside == []
                    inside.append("w")
                    run.step()
                    inside.remove("w")

            readers = [run.spawn(read) for _ in range(3)]
            writers = [run.spawn(write) for _ in range(2)]
            run.until_done()
            together = max(together, *(task.result() for task in readers))
            for task in writers:
                task.result()
            assert (lock._readers, lock._writer, len(lock._queue)) == ({}, None, 0)
    assert together == 3


def test_a_brief_read_sees_nothing_half_written() -> None:
    """In 300 interleavings of three of them and two writers."""
    for seed in range(300):
        with Scheduler(Random(seed).randrange) as run:
            lock, pair = RWLock(), {"left": 0, "right": 0}

            def read(lock: RWLock = lock, pair: dict[str, int] = pair) -> None:
                left, right = lock.read_briefly(lambda pair: tuple(pair.values()), pair)
                assert left == right

            def write(lock: RWLock = lock, pair: dict[str, int] = pair) -> None:
                with lock.writing():
                    pair["left"] += 1
                    run.step()
                    pair["right"] += 1

            tasks = [run.spawn(each) for each in (read, write, read, write, read)]
            run.until_done()
            for task in tasks:
                task.result()
            assert pair == {"left": 2, "right": 2}
            assert (lock._readers, lock._writer, len(lock._queue)) == ({}, None, 0)


def test_a_brief_read_passes_a_writer_that_waits() -> None:
    """It would be over before the writer could begin; inside writing it is an error, as every reading is."""
    lock, kept = RWLock(), {"key": "value"}
    with lock.reading():
        writer = Call(lock.acquire_write, with_timeout(background(), 60))
        assert lock.read_briefly(kept.get, "key") == "value"
        assert not writer.ended
    writer.result()
    lock = RWLock()
    with lock.writing(), pytest.raises(RuntimeError, match="reading inside writing"):
        lock.read_briefly(kept.get, "key")


def test_a_waiting_writer_stops_new_readers() -> None:
    """A stream of readers does not starve it; the readers behind it come in together after it."""
    with Scheduler(lambda n: 0) as run:
        lock, order = RWLock(), []
        lock.acquire_read(run.ctx)

        def write() -> None:
            lock.acquire_write(run.ctx)
            order.append("writer")

        def read() -> None:
            lock.acquire_read(run.ctx)
            order.append("reader")

        writer = run.spawn(write)
        run.until_parked()
        readers = [run.spawn(read) for _ in range(2)]
        run.until_parked()
        assert order == []
        lock.release_read()
        run.until_parked()
        assert order == ["writer"]
        assert writer.ended
        assert not any(reader.ended for reader in readers)


def test_a_writer_that_gives_up_lets_the_readers_behind_it_in() -> None:
    """Its place in the queue is gone."""
    with Scheduler(lambda n: 0) as run:
        lock, ctx = RWLock(), with_cancel(run.ctx)
        lock.acquire_read(run.ctx)
        writer = run.spawn(lock.acquire_write, ctx)
        run.until_parked()
        reader = run.spawn(lock.acquire_read, run.ctx)
        run.until_parked()
        assert not reader.ended
        ctx.cancel()
        run.until_parked()
        assert origin(writer.error) is ctx.error()
        assert reader.ended


def test_an_upgrade_is_an_error() -> None:
    """It would wait for itself; the read lock is still held afterwards."""
    lock = RWLock()
    with lock.reading():
        with pytest.raises(RuntimeError, match="upgrade"):
            lock.acquire_write(background())
        assert len(lock._readers) == 1
    with lock.writing():
        pass


def test_nothing_but_reading_can_be_nested() -> None:
    """Reading in reading is counted, also past a writer that waits; all else is an error."""
    lock = RWLock()
    with lock.reading():
        writer = Call(lock.acquire_write, with_timeout(background(), 60))
        with lock.reading():
            pass
        assert not writer.ended
        with pytest.raises(RuntimeError, match="upgrade"):
            lock.acquire_write(background())
    with pytest.raises(RuntimeError, match="does not hold"):
        lock.release_write()
    writer.result()


def test_nesting_in_writing_is_an_error() -> None:
    """Reading and writing both."""
    lock = RWLock()
    with lock.writing():
        with pytest.raises(RuntimeError, match="reading inside writing"):
            lock.acquire_read(background())
        with pytest.raises(RuntimeError, match="writing inside writing"):
            lock.acquire_write(background())
    with lock.reading():
        pass


def test_releasing_what_is_not_held_is_an_error() -> None:
    """Whoever else holds it."""
    lock = RWLock()
    with pytest.raises(RuntimeError, match="read lock that the caller does not hold"):
        lock.release_read()
    with pytest.raises(RuntimeError, match="write lock that the caller does not hold"):
        lock.release_write()
    with lock.writing(), pytest.raises(RuntimeError, match="does not hold"):
        Call(lock.release_write).result()


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_wait_ends_with_its_context_or_time(kind: str) -> None:
    """And is no longer in the queue."""
    clock, lock = ManualClock(), RWLock()
    lock.acquire_write(background())
    acquire = lock.acquire_read if kind == "read" else lock.acquire_write
    call = Call(acquire, with_timeout(background(clock), 2))
    clock.wait_for_pending(1)
    clock.advance(2)
    with pytest.raises(DeadlineExceeded):
        call.result()
    call = Call(acquire, background(clock), timeout_s=2)
    clock.wait_for_pending(1)
    clock.advance(2)
    with pytest.raises(TimeoutError, match="not free within 2 s"):
        call.result()
    assert not lock._queue
    lock.release_write()


def test_a_grant_meets_a_cancellation_in_any_interleaving() -> None:
    """The lock is held, or it is not: after both it can be had again."""
    outcomes = set()
    for seed in range(300):
        with Scheduler(Random(seed).randrange) as run:
            lock, ctx = RWLock(), with_cancel(run.ctx)

            def hold(lock: RWLock = lock) -> None:
                with lock.writing():
                    run.step()

            def wait(ctx: Context = ctx, lock: RWLock = lock) -> None:
                lock.acquire_write(ctx)
                lock.release_write()

            run.spawn(hold)
            waiting = run.spawn(wait)
            run.spawn(ctx.cancel)
            run.until_done()
            outcomes.add(waiting.error is None)
            assert (lock._writer, len(lock._queue)) == (None, 0)
    assert outcomes == {True, False}


def test_who_is_killed_while_waiting_holds_nothing() -> None:
    """Not even when the lock had just been granted."""
    for kill_first in (True, False):
        with Scheduler(lambda n: 0) as run:
            lock = RWLock()
            holder = run.spawn(lambda lock=lock: (lock.acquire_write(run.ctx), run.ctx.done.wait(5), lock.release_write()))
            run.until_parked()
            waiting = run.spawn(lock.acquire_write, run.ctx)
            run.until_parked()
            if kill_first:
                run.kill(waiting)
            run.pass_time()
            run.until_parked()
            if not kill_first:
                assert lock._writer == waiting.number
                continue
            assert isinstance(waiting.error, SystemExit)
            assert holder.ended
            assert (lock._writer, len(lock._queue)) == (None, 0)


def test_an_ended_context_takes_no_lock() -> None:
    """Not even a free one."""
    lock, ctx = RWLock(), with_cancel(background())
    ctx.cancel()
    for acquire in (lock.acquire_read, lock.acquire_write):
        with pytest.raises(ClientClosedRequest):
            acquire(ctx)
    assert (lock._readers, lock._writer) == ({}, None)


@pytest.mark.parametrize("kind", ["read", "write"])
def test_who_is_killed_with_the_lock_just_granted_gives_it_back(kind: str) -> None:
    """The grant had come, and the holder did not live to have it."""
    with Scheduler(lambda n: 0) as run:
        lock = RWLock()
        lock.acquire_write(run.ctx)
        waiting = run.spawn(lock.acquire_read if kind == "read" else lock.acquire_write, run.ctx)
        run.until_parked()
        lock.release_write()
        assert (lock._writer, list(lock._readers)) == ((None, [waiting.number]) if kind == "read" else (waiting.number, []))
        run.kill(waiting)
        assert isinstance(waiting.error, SystemExit)
        assert (lock._readers, lock._writer, len(lock._queue)) == ({}, None, 0)
