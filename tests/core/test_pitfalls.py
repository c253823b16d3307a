"""The pitfalls of concurrent code: the right way works; the wrong way ends in a clear error, or the leak check names it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random

import pytest

from service.concurrency import primitives
from service.concurrency.channel import Channel, ChannelClosed
from service.concurrency.context import Context, background, with_timeout
from service.concurrency.group import Group
from service.concurrency.rwlock import RWLock
from service.errors import DeadlineExceeded
from tests.core.clock import ManualClock
from tests.core.leaks import snapshot
from tests.core.scheduler import Deadlock, Scheduler


def registered(run: Scheduler, register: Callable[[dict[str, int]], None]) -> int:
    """What four tasks that each count up one entry of a map have counted."""
    counts = {"service": 0}
    for _ in range(4):
        run.spawn(register, counts)
    run.until_done()
    for task in run.tasks:
        task.result()
    return counts["service"]


@pytest.mark.parametrize("guard", ["Lock", "RWLock"])
def test_a_guarded_map_counts_right(guard: str) -> None:
    """In every interleaving."""
    for seed in range(100):
        with Scheduler(Random(seed).randrange) as run:
            lock, rwlock = primitives.Lock() if guard == "Lock" else None, RWLock()

            def register(counts: dict[str, int], lock: object = lock, rwlock: RWLock = rwlock) -> None:
                with lock or rwlock.writing():  # type: ignore[attr-defined]
                    before = counts["service"]
                    run.step()
                    counts["service"] = before + 1

            assert registered(run, register) == 4


def test_an_unguarded_map_is_caught_by_the_scheduler() -> None:
    """A race on a map loses updates in some interleaving, which its seed brings back."""
    results = set()
    for seed in range(100):
        with Scheduler(Random(seed).randrange) as run:

            def register(counts: dict[str, int]) -> None:
                before = counts["service"]
                run.step()
                counts["service"] = before + 1

            results.add(registered(run, register))
    assert min(results) < 4


def test_a_result_that_nobody_takes_needs_room() -> None:
    """With a buffer of one the producer ends though its consumer has left."""
    results: Channel[int] = Channel(1)
    producer = threading.Thread(target=results.send, args=(background(), 1))
    producer.start()
    producer.join(10)
    assert not producer.is_alive()


def test_a_producer_that_nobody_receives_from_is_a_leak() -> None:
    """Without a buffer it waits for ever, and the leak check says which it is."""
    before = snapshot()
    results: Channel[int] = Channel()
    producer = threading.Thread(target=lambda: results.send(background(), 1), name="forgotten producer", daemon=True)
    producer.start()
    assert "thread forgotten producer" in before.left_behind(patience_s=0.05)
    assert results.receive(background()) == 1
    producer.join(10)


def test_a_channel_that_is_closed_ends_its_receivers() -> None:
    """The loop over it comes to its end."""
    with Group(background()) as group:
        numbers: Channel[int] = Channel()

        def generate(ctx: Context) -> None:
            for n in range(3):
                numbers.send(ctx, n)
            numbers.close()

        group.spawn(generate)
        assert list(numbers) == [0, 1, 2]


def test_a_channel_that_is_not_closed_ends_with_the_context() -> None:
    """The loop over it is told that its time is up, and the scheduler calls a wait without an end a deadlock."""
    clock = ManualClock()
    numbers: Channel[int] = Channel(1)
    numbers.send_nowait(1)
    with with_timeout(background(clock), 5) as ctx:
        received = []
        with pytest.raises(DeadlineExceeded):
            for n in numbers.values_until_closed(ctx):
                received.append(n)
                clock.turn(5)
    assert received == [1]
    with Scheduler(lambda n: 0) as run:
        run.spawn(lambda: list(numbers.values_until_closed(run.ctx)))
        with pytest.raises(Deadlock):
            run.until_done()


def test_an_unbuffered_send_needs_a_receiver() -> None:
    """In a task of its own it has one."""
    values: Channel[int] = Channel()
    with Group(background()) as group:
        group.spawn(values.send, 1)
        assert values.receive(background()) == 1


def test_an_unbuffered_send_without_a_receiver_is_told() -> None:
    """By a timeout that says what was missing, by its context, or by the scheduler: in no case does it hang."""
    values: Channel[int] = Channel()
    with pytest.raises(TimeoutError, match="nobody received the value within 0 s"):
        values.send(background(), 1, timeout_s=0)
    with pytest.raises(DeadlineExceeded):
        values.send(with_timeout(background(ManualClock()), 0), 1)
    with Scheduler(lambda n: 0) as run:
        run.spawn(lambda: (values.send(run.ctx, 1), values.receive(run.ctx)))
        with pytest.raises(Deadlock, match="wait for each other"):
            run.until_done()


def test_the_sender_closes_after_its_last_value() -> None:
    """In every interleaving the receiver has all of them."""
    for seed in range(100):
        with Scheduler(Random(seed).randrange) as run:
            done: Channel[int] = Channel()
            run.spawn(lambda done=done: (done.send(run.ctx, 1), done.close()))
            receiver = run.spawn(lambda done=done: list(done.values_until_closed(run.ctx)))
            run.until_done()
            assert receiver.result() == [1]


def test_an_unsynchronised_close_is_an_error_of_the_sender() -> None:
    """Whoever comes first: the value was received, or ChannelClosed says that it was not; nobody hangs."""
    outcomes = set()
    for seed in range(100):
        with Scheduler(Random(seed).randrange) as run:
            done: Channel[int] = Channel()
            sender = run.spawn(done.send, run.ctx, 1)
            run.spawn(done.close)
            run.until_done()
            assert isinstance(sender.error, ChannelClosed)
            outcomes.add(str(sender.error))
    assert len(outcomes) == 2  # it came too late, or the close came while it waited


def test_arguments_are_bound_when_a_task_is_spawned() -> None:
    """Each task has the value of its own turn of the loop."""
    seen: list[int] = []
    with Group(background()) as group:
        for n in range(5):
            group.spawn(lambda _, value: seen.append(value), n)
    assert sorted(seen) == [0, 1, 2, 3, 4]


def test_a_variable_of_the_loop_is_bound_too_late() -> None:
    """A closure sees what the variable is when it runs: here the last value, five times. (ruff's B023 refuses it.)"""
    with Scheduler(lambda n: 0) as run:
        seen: list[int] = []
        for n in range(5):
            run.spawn(lambda: seen.append(n))  # noqa: B023  # the pitfall itself
        run.until_done()
    assert seen == [4, 4, 4, 4, 4]
