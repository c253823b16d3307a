"""Background tasks: they recover, are known by name, and are joined."""

from __future__ import annotations

import logging
import threading
from random import Random

import pytest

from service.concurrency import spawn
from service.concurrency.context import Context, background
from service.concurrency.spawn import Tasks
from tests.core.clock import ManualClock
from tests.core.scheduler import Scheduler
from tests.serving import wait_until


def until_cancelled(ctx: Context) -> None:
    """Wait for the end of the context."""
    ctx.done.wait(20)


def test_tasks_are_named_and_joined() -> None:
    """`names` tells what runs; `stop` leaves nothing, and nothing can be started after it."""
    tasks = Tasks(background())
    tasks.spawn("one", until_cancelled)
    tasks.spawn("two", until_cancelled)
    assert tasks.names() == ["one", "two"]
    with pytest.raises(ValueError, match="a task named one is running"):
        tasks.spawn("one", until_cancelled)
    assert tasks.stop(10) == []
    with pytest.raises(RuntimeError, match="the tasks are stopped"):
        tasks.spawn("three", until_cancelled)


def test_a_task_that_fails_is_logged_and_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With its traceback, until it ends by itself."""
    monkeypatch.setattr(spawn, "FIRST_PAUSE_S", 0.001)
    runs, ended = [], threading.Event()

    def task(_: Context) -> None:
        runs.append(1)
        if len(runs) < 3:
            raise RuntimeError("again")
        ended.set()

    tasks = Tasks(background())
    with caplog.at_level(logging.ERROR):
        tasks.spawn("flaky", task)
        assert ended.wait(10)
        assert tasks.stop(10) == []
    assert len(runs) == 3
    assert [record.getMessage()[:36] for record in caplog.records] == ["background task flaky failed; it sta"] * 2
    assert all(record.exc_info for record in caplog.records)


def test_a_task_that_calls_exit_is_started_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """No way out of a task goes unseen."""
    monkeypatch.setattr(spawn, "FIRST_PAUSE_S", 0.001)
    exits, ended = iter([SystemExit(1)]), threading.Event()

    def task(_: Context) -> None:
        for error in exits:
            raise error
        ended.set()

    tasks = Tasks(background())
    with caplog.at_level(logging.ERROR):
        tasks.spawn("leaving", task)
        assert ended.wait(10)
        assert tasks.stop(10) == []
    assert [record.getMessage()[:30] for record in caplog.records] == ["background task leaving failed"]


def test_a_task_that_does_not_end_is_told() -> None:
    """`stop` waits as long as it may and names what is left."""
    release = threading.Event()
    tasks = Tasks(background())
    tasks.spawn("stubborn", lambda _: (release.wait(20), None)[1])
    assert tasks.stop(0.01) == ["stubborn"]
    release.set()
    assert tasks.stop(10) == []


def test_a_pause_ends_when_the_tasks_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that waits to be started again does not hold up the end."""
    monkeypatch.setattr(spawn, "FIRST_PAUSE_S", 60.0)
    failed = threading.Event()

    def task(_: Context) -> None:
        failed.set()
        raise RuntimeError("once")

    tasks = Tasks(background())
    tasks.spawn("failing", task)
    assert failed.wait(10)
    assert tasks.stop(10) == []


def turn_through(clock: ManualClock, pauses: int) -> list[float]:
    """Let `pauses` pauses between two runs pass, each as soon as it has begun; how long each was."""
    told = []
    for _ in range(pauses):
        clock.wait_for_pending(1)
        (when,) = [when for when, _, call in clock._calls if call]
        told.append(when - clock.now())
        clock.advance(told[-1])
    return told


def test_pauses_double_up_to_the_longest() -> None:
    """From 0.1 s to 5 s, and no further; the status counts the failures."""
    clock = ManualClock()

    def task(_: Context) -> None:
        raise RuntimeError("always")

    tasks = Tasks(background(clock))
    tasks.spawn("failing", task)
    assert turn_through(clock, 8) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    clock.wait_for_pending(1)
    (status,) = tasks.statuses()
    assert (status.name, status.failures) == ("failing", 9)
    assert tasks.stop(10) == []


def test_a_long_calm_makes_the_pause_short_again() -> None:
    """A task that ran for more than CALM_AFTER_S before it failed starts again with the first pause."""
    clock = ManualClock()
    runs: list[int] = []

    def task(_: Context) -> None:
        runs.append(1)
        clock.turn(spawn.CALM_AFTER_S + 1 if len(runs) == 4 else 0)
        raise RuntimeError("again")

    tasks = Tasks(background(clock))
    tasks.spawn("failing", task)
    assert turn_through(clock, 5) == pytest.approx([0.1, 0.2, 0.4, 0.1, 0.2])
    assert tasks.stop(10) == []


def test_a_task_that_is_not_to_be_restarted_ends_with_its_error(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, and its name is free."""
    tasks = Tasks(background())

    def task(_: Context) -> None:
        raise RuntimeError("once")

    tasks.spawn("once", task, restart=False)
    wait_until(lambda: tasks.names() == [], 10)
    assert [record.getMessage() for record in caplog.records] == ["background task once failed"]
    assert tasks.stop(10) == []


def test_a_task_without_a_thread_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told, the name is free, and stopping waits for nobody."""

    class Refused(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    tasks = Tasks(background())
    with monkeypatch.context() as patched:
        patched.setattr(spawn, "Thread", Refused)
        with pytest.raises(RuntimeError, match="new thread"):
            tasks.spawn("one", until_cancelled)
    tasks.spawn("one", until_cancelled)
    assert tasks.stop(10) == []


def test_names_are_unique_in_any_interleaving() -> None:
    """Of two that start the same name at the same time one is told that it is running."""
    for seed in range(100):
        with Scheduler(Random(seed).randrange) as run:
            tasks = Tasks(run.ctx)
            starts = [run.spawn(tasks.spawn, "one", until_cancelled) for _ in range(2)]
            run.until_parked()
            assert sorted(type(start.error).__name__ for start in starts) == ["NoneType", "ValueError"]
            stopping = run.spawn(tasks.stop, 10)
            run.until_done()
            assert stopping.result() == []


def test_a_name_is_free_again_when_its_task_has_ended() -> None:
    """Only a running task keeps its name."""
    tasks = Tasks(background())
    tasks.spawn("short", lambda _: None)
    wait_until(lambda: tasks.names() == [], 10)
    tasks.spawn("short", until_cancelled)
    assert tasks.names() == ["short"]
    assert tasks.stop(10) == []


def test_an_error_at_the_end_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A task that raises because it was cancelled is neither logged nor started again."""
    runs: list[int] = []

    def task(ctx: Context) -> None:
        runs.append(1)
        until_cancelled(ctx)
        ctx.check()

    tasks = Tasks(background())
    tasks.spawn("obedient", task)
    wait_until(lambda: runs, 10)
    assert tasks.stop(10) == []
    assert (len(runs), caplog.records) == (1, [])


def test_stopping_twice_does_nothing() -> None:
    """The second time there is nothing to join."""
    tasks = Tasks(background())
    tasks.spawn("one", until_cancelled)
    assert tasks.stop(10) == tasks.stop(10) == []


def test_an_error_after_the_stop_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The task is not started again; only the error of its context is quiet."""
    tasks = Tasks(background())

    def task(ctx: Context) -> None:
        until_cancelled(ctx)
        raise OSError("the last batch was not posted")

    tasks.spawn("lane", task)
    assert tasks.stop(10) == []
    assert [record.getMessage() for record in caplog.records] == ["background task lane failed"]
    assert "the last batch was not posted" in caplog.text


def test_a_task_that_is_killed_is_logged_and_gone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It does not come back, and what killed it goes on."""

    class Killed(BaseException):
        pass

    def task(_: Context) -> None:
        raise Killed

    unhandled: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: unhandled.append(args.exc_type))
    tasks = Tasks(background())
    tasks.spawn("lane", task)
    wait_until(lambda: tasks.names() == [] and unhandled, 10)
    assert [record.getMessage() for record in caplog.records] == ["background task lane was killed"]
    assert unhandled == [Killed]
    assert tasks.stop(10) == []


def test_a_spawn_that_is_broken_off_leaves_no_task_unlisted() -> None:
    """Killed while its thread begins: the task that runs is listed, and stopped with the others."""

    class Interrupted(threading.Thread):
        def start(self) -> None:
            super().start()
            raise KeyboardInterrupt

    tasks, running = Tasks(background()), threading.Event()

    def task(ctx: Context) -> None:
        running.set()
        until_cancelled(ctx)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(spawn, "Thread", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            tasks.spawn("lane", task)
    assert running.wait(10)
    assert tasks.names() == ["lane"]
    assert tasks.stop(10) == []
