"""Groups: what is waited for together, and how errors are told."""

from __future__ import annotations

import threading
from random import Random

import pytest

from service.concurrency import group as group_module
from service.concurrency.context import Context, background, with_cancel, with_timeout
from service.concurrency.group import Group, WaitGroup
from service.errors import ClientClosedRequest, DeadlineExceeded, NotFound
from tests.core.calls import Call
from tests.core.clock import ManualClock
from tests.core.scheduler import Scheduler
from tests.serving import wait_until


def until_cancelled(ctx: Context) -> None:
    """Wait for the end, and report it as an error."""
    ctx.done.wait()
    ctx.check()


def failing(_: Context, error: BaseException) -> None:
    """Raise `error`."""
    raise error


def test_a_wait_group_waits_for_all() -> None:
    """For as many as were counted, whoever waits."""
    group = WaitGroup()
    group.wait(background())
    group.add(2)
    calls = [Call(group.wait, background()) for _ in range(2)]
    wait_until(lambda: len(group._waiting) == 2, 10)
    group.done()
    assert not any(call.ended for call in calls)
    group.done()
    for call in calls:
        call.result()
    assert not group._waiting


def test_a_wait_group_never_counts_below_zero() -> None:
    """One `done` too many is an error and changes nothing."""
    group = WaitGroup()
    group.add()
    group.done()
    with pytest.raises(ValueError, match="below zero"):
        group.done()
    group.add()
    with pytest.raises(ValueError, match="below zero: 1 and -2"):
        group.add(-2)
    group.done()


def test_a_wait_for_a_group_ends_with_its_context_or_time() -> None:
    """And leaves nothing behind."""
    clock, group = ManualClock(), WaitGroup()
    group.add()
    call = Call(group.wait, with_timeout(background(clock), 1))
    clock.wait_for_pending(1)
    clock.advance(1)
    with pytest.raises(DeadlineExceeded):
        call.result()
    call = Call(group.wait, background(clock), timeout_s=1)
    clock.wait_for_pending(1)
    clock.advance(1)
    with pytest.raises(TimeoutError, match="1 were not done within 1 s"):
        call.result()
    assert not group._waiting


def test_a_block_ends_when_every_task_has() -> None:
    """With what they were given, in threads of their own."""
    done: list[tuple[int, str]] = []
    with Group(background()) as group:
        for n in range(3):
            group.spawn(lambda _, n, name: done.append((n, name)), n, name="x")
    assert sorted(done) == [(0, "x"), (1, "x"), (2, "x")]
    assert group.errors == []


def test_the_first_error_cancels_the_rest_and_is_raised() -> None:
    """Tasks that only report the cancellation add nothing to it."""
    group = Group(background())
    for _ in range(2):
        group.spawn(until_cancelled)
    group.spawn(failing, ValueError("first"))
    with pytest.raises(ValueError, match="first") as raised:
        group.wait()
    assert group.errors == [raised.value]
    assert group.ctx.cause() is raised.value


def test_other_errors_are_attached_to_the_first() -> None:
    """As notes, and whole in `errors`."""
    group = Group(background())

    def clean_up(ctx: Context) -> None:
        ctx.done.wait()
        raise KeyError("second")

    group.spawn(clean_up)
    group.spawn(failing, NotFound("first"))
    with pytest.raises(NotFound) as raised:
        group.wait()
    assert raised.value.__notes__ == ["and then, in the same group: KeyError: 'second'"]
    assert [type(error) for error in group.errors] == [NotFound, KeyError]


def test_an_error_in_the_block_cancels_the_tasks() -> None:
    """They are waited for, and the block's error is raised."""
    with pytest.raises(ValueError, match="the block"), Group(background()) as group:
        group.spawn(until_cancelled)
        raise ValueError("the block")
    assert len(group.errors) == 1


def test_the_end_of_the_context_is_told_only_where_it_cut_something_short() -> None:
    """A group whose tasks all ended well has ended well."""
    ctx = with_cancel(background())
    with Group(ctx) as group:
        group.spawn(lambda ctx: ctx.done.wait())
        ctx.cancel(NotFound("over"))
    with pytest.raises(NotFound, match="over"), Group(with_cancel(background())) as group:
        group.spawn(until_cancelled)
        group.cancel(NotFound("over"))


def test_what_ends_a_thread_is_an_error_too() -> None:
    """SystemExit in a task is not lost."""
    with pytest.raises(SystemExit), Group(background()) as group:
        group.spawn(failing, SystemExit(3))


def test_after_its_end_a_group_takes_nothing() -> None:
    """The error says that it was cancelled."""
    with Group(background()) as group:
        pass
    with pytest.raises(Exception, match="cancelled"):
        group.spawn(until_cancelled)


def test_no_more_than_the_limit_run_at_once() -> None:
    """The next one waits for its turn, in any interleaving, and all have one."""
    for seed in range(100):
        with Scheduler(Random(seed).randrange) as run:
            running: list[int] = []
            most: list[int] = []

            def task(ctx: Context, n: int, running: list[int] = running, most: list[int] = most) -> None:
                running.append(n)
                most.append(len(running))
                ctx.done.wait(0.1)
                running.remove(n)

            def spawn_all(task: object = task) -> None:
                with Group(run.ctx, limit=2) as group:
                    for n in range(5):
                        group.spawn(task, n)

            spawning = run.spawn(spawn_all)
            run.until_done()
            spawning.result()
            assert (len(most), max(most)) == (5, 2)


def test_a_spawn_that_waits_for_its_turn_ends_with_the_group() -> None:
    """The first error is then what the block raises."""
    with pytest.raises(ValueError, match="first"), Group(background(), limit=1) as group:
        started = threading.Event()

        def fail_when_told(_: Context) -> None:
            started.wait(10)
            raise ValueError("first")

        group.spawn(fail_when_told)
        waiting = Call(group.spawn, until_cancelled)
        wait_until(lambda: group._room._free.statistics().receivers_waiting == 1, 10)
        started.set()
        with pytest.raises(Exception, match="cancelled"):
            waiting.result()


def test_without_a_thread_a_spawn_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told, and the group does not wait for what never began."""
    group = Group(background(), limit=1)

    class Refused(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(group_module, "Thread", Refused)
        with pytest.raises(RuntimeError, match="new thread"):
            group.spawn(until_cancelled)
    group.spawn(lambda _: None)
    group.wait()


def test_one_first_error_in_any_interleaving() -> None:
    """Three tasks fail: one error is raised, the other two are attached, and nobody is left."""
    for seed in range(200):
        with Scheduler(Random(seed).randrange) as run:
            group = Group(run.ctx)
            for n in range(3):
                group.spawn(failing, ValueError(n))
            waiting = run.spawn(group.wait)
            run.until_done()
            assert waiting.error is group.errors[0]
            assert len(group.errors) == 3
            assert len(waiting.error.__notes__) == 2


def test_a_time_that_was_up_is_no_further_error() -> None:
    """Tasks that notice the deadline by a context of their own say no more than the group's does."""
    clock = ManualClock()
    noticed = threading.Barrier(3)

    def task(_: Context) -> None:
        with with_timeout(parent, 5) as mine:
            noticed.wait(10)
            clock.turn(5)
            mine.check()

    parent = with_timeout(background(clock), 5)
    with pytest.raises(DeadlineExceeded) as raised, Group(parent) as group:
        for _ in range(3):
            group.spawn(task)
    assert not getattr(raised.value, "__notes__", [])
    assert len(group.errors) <= 1


def test_waiting_in_the_block_tells_the_error_once() -> None:
    """What `wait` raised there is what the block raises, and it is counted once."""
    with pytest.raises(ValueError, match="first") as raised, Group(background()) as group:
        group.spawn(failing, ValueError("first"))
        group.wait()
    assert group.errors == [raised.value]
    assert not getattr(raised.value, "__notes__", [])
    with pytest.raises(NotFound, match="over") as cut, Group(background()) as group:
        group.spawn(until_cancelled)
        group.cancel(NotFound("over"))
        group.wait()
    assert group.errors == []
    assert cut.value.__context__ is None


def test_a_spawn_meets_the_end_in_any_interleaving() -> None:
    """It is refused, or its task has ended when the block is left."""
    outcomes = set()
    for seed in range(300):
        with Scheduler(Random(seed).randrange) as run:
            group, left, late = Group(run.ctx), [], []

            def task(_: Context, run: Scheduler = run, left: list[int] = left, late: list[bool] = late) -> None:
                run.ctx.done.wait(0.1)
                late.append(bool(left))

            def block(group: Group = group, left: list[int] = left) -> None:
                with group:
                    pass
                left.append(1)

            run.spawn(block)
            spawning = run.spawn(group.spawn, task)
            run.until_done()
            outcomes.add(spawning.error is None)
            assert late == ([False] if spawning.error is None else [])
            assert spawning.error is None or "cancelled" in str(spawning.error)
    assert outcomes == {True, False}


def test_an_ended_context_waits_for_no_group() -> None:
    """Not even for one that has nothing to be done."""
    ctx = with_cancel(background())
    ctx.cancel()
    with pytest.raises(ClientClosedRequest):
        WaitGroup().wait(ctx)


def test_an_error_like_the_cancellation_is_an_error() -> None:
    """Quiet is only the context's own: a task that fails with one of the same kind is told."""
    own = NotFound("its own")

    def fails(ctx: Context) -> None:
        ctx.done.wait()
        raise own

    with pytest.raises(NotFound, match="its own") as raised, Group(background()) as group:
        group.spawn(fails)
        group.cancel(NotFound("over"))
    assert group.errors == [raised.value] == [own]
    late = DeadlineExceeded("the task's own")

    def is_late(ctx: Context) -> None:
        ctx.done.wait()
        raise late

    with pytest.raises(DeadlineExceeded, match="the task's own"), Group(background()) as group:
        group.spawn(is_late)
        group.cancel(NotFound("over"))
    assert group.errors == [late]
