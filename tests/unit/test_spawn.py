"""Background tasks: they recover, are known by name, and are joined."""

from __future__ import annotations

import logging
import threading

import pytest

from service.concurrency import spawn
from service.concurrency.context import Context, background
from service.concurrency.primitives import Parking
from service.concurrency.spawn import Tasks


def until_cancelled(ctx: Context) -> None:
    """Wait for the end of the context."""
    parking = Parking()
    ctx.on_done(parking.wake)
    parking.wait(20)


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
