"""What comes in the middle: finalisers that the collector runs, signal handlers, KeyboardInterrupt, and killed greenlets."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from itertools import count
from random import Random
from typing import Any

import pytest

from service.concurrency.channel import Channel
from service.concurrency.context import Context, background, with_cancel, with_timeout
from service.concurrency.group import Group
from service.concurrency.pipeline import Pipeline
from service.concurrency.pool import WorkerPool
from service.concurrency.race import race
from service.concurrency.select import Receive, select
from service.concurrency.semaphore import Semaphore
from tests.core.calls import Call
from tests.core.scheduler import Scheduler, Task


def collected_in_the_middle(made: Callable[[], Iterator[object]], use: Callable[[], object], times: int) -> None:
    """Again and again: leave a generator that has begun in an unreachable cycle, to be collected while `use` runs."""
    random, before = Random(1), gc.get_threshold()
    gc.freeze()  # nothing else is looked at
    try:
        for _ in range(times):
            gc.disable()
            gc.collect()
            generator = made()
            next(generator)
            cell: list[object] = [generator]
            cell.append(cell)
            del generator, cell
            gc.set_threshold(gc.get_count()[0] + random.randrange(1, 25))
            gc.enable()
            use()
    finally:
        gc.set_threshold(*before)
        gc.enable()
        gc.unfreeze()


@pytest.mark.parametrize("timeout_s", [None, 60])
def test_a_finaliser_may_cancel_in_the_middle_of_anything(timeout_s: float | None) -> None:
    """An abandoned generator that holds a context is closed while others are made, asked for their end, and ended."""
    root = with_cancel(background())

    def derived() -> Context:
        return with_cancel(root) if timeout_s is None else with_timeout(root, timeout_s)

    def hold() -> Iterator[None]:
        with derived() as ctx:
            ctx.on_done(lambda: None)
            yield

    def use() -> None:
        with derived() as ctx:
            ctx.on_done(lambda: None)()
            ctx.on_done(lambda: None)
            with_cancel(ctx)

    Call(collected_in_the_middle, hold, use, 3_000).result()
    assert not root._children


def test_a_finaliser_may_give_a_permit_back() -> None:
    """What a wait needs is made outside of the lock, so the collector does not come under it."""
    semaphore = Semaphore(1)

    def hold() -> Iterator[None]:
        with semaphore.held(background()):
            yield

    def use() -> None:
        try:
            semaphore.acquire(background(), timeout_s=1e-4)
        except TimeoutError:
            gc.collect()
            semaphore.acquire(background(), timeout_s=20)
        semaphore.release()

    Call(collected_in_the_middle, hold, use, 3_000).result()


def test_a_signal_handler_may_derive_and_cancel() -> None:
    """Whatever it interrupts."""
    root, handled = with_cancel(background()), count()

    def handle(*_: object) -> None:
        next(handled)
        with_cancel(root).cancel()

    before = signal.signal(signal.SIGVTALRM, handle)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.0002, 0.0002)
    try:
        for _ in range(30_000):
            with with_cancel(root) as ctx:
                ctx.on_done(lambda: None)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert next(handled) > 0
    assert not root._children


@pytest.mark.parametrize("ends", ["parent", "child"])
def test_what_is_derived_in_the_middle_of_an_end_has_ended(ends: str) -> None:
    """By a finaliser that runs while the tree is gone through: it is either told, or has its end from the start."""
    parent = with_cancel(background())
    child, made = with_cancel(parent), []

    class Meddling(dict[Any, Any]):
        def __iter__(self) -> Iterator[Any]:
            made.append(with_cancel(parent if ends == "parent" else child))
            if ends == "child":
                child.cancel(ValueError("first"))
            return iter(list(self.keys()))

    parent._children = Meddling(parent._children or {})
    call = Call(parent.cancel)
    call.result()
    assert made[0].error() is not None
    assert (made[0].error() is parent.error()) == (ends == "parent")
    assert child.error() is not None


def test_an_end_in_the_middle_of_an_end_agrees_with_it() -> None:
    """A finaliser cancels what is just being ended: error and cause are those of one of the two."""
    parent = with_cancel(background())
    child, given, once = with_cancel(parent), ValueError("first"), iter([KeyError("in the middle")])

    class Meddling(dict[Any, Any]):
        def __iter__(self) -> Iterator[Any]:
            for cause in once:
                child.cancel(cause)
            return iter(list(self.keys()))

    child._children = Meddling({with_cancel(child): None})
    Call(parent.cancel, given).result()
    assert child.error() is parent.error()
    assert child.cause() is parent.cause() is given


def test_a_callback_that_is_broken_off_keeps_nobody_from_being_told() -> None:
    """All are called; what is no error is raised afterwards, by whoever ended the context."""
    ctx, called = with_cancel(background()), []

    def interrupted() -> None:
        raise KeyboardInterrupt

    ctx.on_done(interrupted)
    ctx.on_done(lambda: called.append("told"))
    waiting = Call(ctx.done.wait)
    with pytest.raises(KeyboardInterrupt):
        ctx.cancel()
    assert called == ["told"]
    assert waiting.result() is True


def until_cancelled(ctx: Context, ended: list[bool]) -> None:
    """A task that obeys its context, and says when it has ended."""
    try:
        ctx.done.wait()
        ctx.done.ctx.check()
    finally:
        ended.append(True)


def in_a_group(ctx: Context, ended: list[bool]) -> None:
    """Two tasks."""
    with Group(ctx) as group:
        group.spawn(until_cancelled, ended)
        group.spawn(until_cancelled, ended)


def in_a_pool(ctx: Context, ended: list[bool]) -> None:
    """Two jobs."""
    with WorkerPool(ctx, workers=2, capacity=2) as pool:
        pool.submit(ctx, until_cancelled, ended)
        pool.submit(ctx, until_cancelled, ended)


def in_a_race(ctx: Context, ended: list[bool]) -> None:
    """Two attempts."""
    race(ctx, lambda ctx: until_cancelled(ctx, ended), lambda ctx: until_cancelled(ctx, ended))


def in_a_pipeline(ctx: Context, ended: list[bool]) -> None:
    """Two stages that never end by themselves."""
    with Pipeline(ctx) as line:
        for _ in range(2):
            line.sink(line.generate([1]), lambda _: until_cancelled(line.ctx, ended))


@pytest.mark.parametrize("wait", [in_a_group, in_a_pool, in_a_race, in_a_pipeline])
def test_a_wait_that_is_broken_off_leaves_nothing_running(wait: Callable[[Context, list[bool]], None]) -> None:
    """What was waited for is cancelled and has ended before KeyboardInterrupt goes on."""
    for seed in range(20):
        with Scheduler(Random(seed).randrange) as run:
            ended: list[bool] = []
            waiting = run.spawn(wait, run.ctx, ended)
            run.until_parked()
            assert ended == []
            run.kill(waiting, KeyboardInterrupt)
            assert isinstance(waiting.error, KeyboardInterrupt)
            assert ended == [True, True]
            assert all(task.ended for task in run.tasks)


def killed_while_sending(seed: int, wait: Callable[[Scheduler, Channel[int]], Task]) -> tuple[bool, int]:
    """A send meets a kill of the parked receiver at some step: was that one killed, and how many values are there."""
    random = Random(seed)
    with Scheduler(random.randrange) as run:
        channel: Channel[int] = Channel(1)
        receiver = wait(run, channel)
        run.until_parked()
        sender = run.spawn(channel.send, run.ctx, 1)
        for _ in range(random.randrange(12)):
            if not sender.ended:
                sender.greenlet.switch()
        run.kill(receiver)
        sender.result()
        return isinstance(receiver.error, SystemExit), channel.statistics().buffered


@pytest.mark.parametrize("kind", ["receive", "select", "semaphore"])
def test_a_kill_meets_a_hand_over_in_any_interleaving(kind: str) -> None:
    """A value, or a permit, for somebody who was killed is there for the next."""

    def wait(run: Scheduler, channel: Channel[int]) -> Task:
        if kind == "select":
            return run.spawn(select, run.ctx, Receive(channel), Receive(Channel()))
        if kind == "semaphore":
            semaphore = Semaphore(1)
            semaphore._free = channel  # type: ignore[assignment]
            return run.spawn(semaphore.acquire, run.ctx)
        return run.spawn(channel.receive, run.ctx)

    outcomes = {killed_while_sending(seed, wait) for seed in range(300)}
    assert outcomes <= {(True, 1), (False, 0)}
    assert (True, 1) in outcomes


def test_a_permit_that_was_granted_to_a_killed_waiter_is_free() -> None:
    """It had been given the permit, and did not live to have it."""
    with Scheduler(lambda n: 0) as run:
        semaphore = Semaphore(1)
        assert semaphore.acquire_nowait()
        waiting = run.spawn(semaphore.acquire, run.ctx)
        run.until_parked()
        semaphore.release()
        run.kill(waiting)
        assert isinstance(waiting.error, SystemExit)
        assert [semaphore.acquire_nowait() for _ in range(2)] == [True, False]
        semaphore.release()
        with pytest.raises(RuntimeError, match="no permit is taken"):
            semaphore.release()


@pytest.mark.parametrize("kind", ["receive", "select", "loop"])
def test_a_value_that_comes_back_after_the_close_is_still_received(kind: str) -> None:
    """By a receiver that was told of the close and has not gone on yet, or by the next one."""
    waits: dict[str, Callable[[Scheduler, Channel[int]], Any]] = {
        "receive": lambda run, channel: channel.receive(run.ctx),
        "select": lambda run, channel: select(run.ctx, Receive(channel)).value,
        "loop": lambda run, channel: list(channel.values_until_closed(run.ctx)).pop(),
    }
    with Scheduler(lambda n: 0) as run:
        channel: Channel[int] = Channel(1)
        killed = run.spawn(channel.receive, run.ctx)
        run.until_parked()
        other = run.spawn(waits[kind], run, channel)
        run.until_parked()
        channel.send_nowait(1)
        channel.close()
        run.kill(killed)
        assert other.result() == 1
        assert channel.statistics().buffered == 0


def test_a_sender_that_waits_comes_after_what_was_put_back() -> None:
    """A value that was put back may exceed the capacity; the order is kept, and no sender is let in before there is room."""
    with Scheduler(lambda n: 0) as run:
        channel: Channel[int] = Channel(1)
        killed = run.spawn(channel.receive, run.ctx)
        run.until_parked()
        for value in (1, 2):
            channel.send_nowait(value)
        sender = run.spawn(channel.send, run.ctx, 3)
        while sender.waits_for is None:
            sender.greenlet.switch()
        run.kill(killed)
        assert channel.statistics().buffered == 2
        assert channel.receive_nowait() == 1
        assert channel.statistics().buffered == 1
        assert not sender.ended
        assert [channel.receive_nowait(), channel.receive_nowait()] == [2, 3]
        run.until_parked()
        sender.result()
