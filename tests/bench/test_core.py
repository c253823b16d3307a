"""The concurrency core measured beside what else there is (`make bench`): on threads, and once more on greenlets.

In the everyday run each runs once, with little to do, to see that it works.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

import gevent.queue
import pytest

from service.concurrency.channel import Channel
from service.concurrency.context import background, with_cancel, with_timeout
from service.concurrency.pipeline import Pipeline
from service.concurrency.rwlock import RWLock
from service.concurrency.select import Receive, select
from tests.serving import wait_until

BG = background()


def standard_queue() -> type:
    """queue.Queue; where gevent has put its own compiled class in its place, still the standard one, on gevent's locks."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original("queue", "Queue") if monkey and monkey.is_module_patched("queue") else queue.Queue


class OfChannel:
    """A channel with the words of a queue."""

    def __init__(self, capacity: int) -> None:
        self._channel: Channel[int] = Channel(capacity)

    def put(self, value: int) -> None:
        self._channel.send(BG, value)

    def get(self) -> int:
        return self._channel.receive(BG)


MADE: dict[str, Callable[[int], Any]] = {
    "Channel": OfChannel,
    "queue.Queue": standard_queue(),
    "gevent.queue.Queue": gevent.queue.Queue,
}


def size(benchmark: Any, full: int) -> int:
    """`full`, or little where nothing is measured."""
    return 20 if benchmark.disabled else full


@pytest.mark.benchmark(group="buffered: one send and one receive, in one thread")
@pytest.mark.parametrize("kind", ["Channel", "queue.Queue", "gevent.queue.Queue"])
def test_send_and_receive(benchmark: Any, kind: str) -> None:
    """No waiting, nobody else: the cost of the operations."""
    if kind == "Channel":
        channel: Channel[int] = Channel(16)

        def once() -> int:
            channel.send(BG, 1)
            return channel.receive(BG)
    else:
        made = MADE[kind](16)

        def once() -> int:
            made.put(1)
            return made.get()

    assert benchmark(once) == 1


@pytest.mark.benchmark(group="handed from one thread to another: 5,000 values")
@pytest.mark.parametrize(
    ("kind", "capacity"), [("Channel", 128), ("queue.Queue", 128), ("Channel", 1), ("queue.Queue", 1), ("Channel", 0)]
)
def test_from_thread_to_thread(benchmark: Any, kind: str, capacity: int) -> None:
    """A producer and a consumer; with room for one they meet at each value, with none each send waits for its receive."""
    number = size(benchmark, 5_000)

    def transfer() -> None:
        made = MADE[kind](capacity)
        producer = threading.Thread(target=lambda: [made.put(n) for n in range(number)])
        producer.start()
        for _ in range(number):
            made.get()
        producer.join()

    benchmark(transfer)


@pytest.mark.benchmark(group="select: one case is ready")
@pytest.mark.parametrize("number", [2, 64])
def test_select_ready(benchmark: Any, number: int) -> None:
    """Of so many receives, the last can be done at once."""
    channels = [Channel[int](1) for _ in range(number)]
    cases = [Receive(channel) for channel in channels]

    def once() -> int:
        channels[-1].send_nowait(1)
        return int(select(BG, *cases).value)

    assert benchmark(once) == 1


@pytest.mark.benchmark(group="select: registering all cases and taking them back")
@pytest.mark.parametrize("number", [2, 64])
def test_select_registering(benchmark: Any, number: int) -> None:
    """It parks, and its time is up at once."""
    cases = [Receive(Channel[int](1)) for _ in range(number)]
    assert benchmark(lambda: select(BG, *cases, timeout_s=1e-9)).case is None


@pytest.mark.benchmark(group="select: the send that wakes a parked one")
@pytest.mark.parametrize("number", [2, 64])
def test_select_wake_up(benchmark: Any, number: int) -> None:
    """What the waker pays, whatever the number of cases that it does not fire."""
    channels = [Channel[int](0) for _ in range(number)]
    cases = [Receive(channel) for channel in channels]
    threads: list[threading.Thread] = []

    def park() -> None:
        if threads:
            threads.pop().join()
        threads.append(threading.Thread(target=select, args=(BG, *cases)))
        threads[0].start()
        wait_until(lambda: channels[-1].statistics().receivers_waiting == 1, 10)

    benchmark.pedantic(lambda: channels[-1].send_nowait(1), setup=park, rounds=size(benchmark, 50))
    threads[0].join()


@pytest.mark.benchmark(group="a lock for a moment")
@pytest.mark.parametrize("kind", ["Lock", "RWLock, to read"])
def test_read_lock(benchmark: Any, kind: str) -> None:
    """Nobody else there."""
    lock: Any = threading.Lock() if kind == "Lock" else RWLock()
    inside = (lambda: lock) if kind == "Lock" else lock.reading

    def once() -> None:
        with inside():
            pass

    benchmark(once)


@pytest.mark.benchmark(group="10,000 contexts with deadlines")
@pytest.mark.parametrize("announced", [False, True], ids=["noticed", "announced"])
def test_contexts(benchmark: Any, announced: bool) -> None:
    """Made, and all cancelled through their parent; announced: with a function to be called at each deadline."""
    number = size(benchmark, 10_000)

    def grow_and_cancel() -> None:
        with with_cancel(BG) as parent:
            for n in range(number):
                ctx = with_timeout(parent, 60 + n)
                if announced:
                    ctx.on_done(int)

    benchmark(grow_and_cancel)


@pytest.mark.benchmark(group="a pipeline of three stages: 1,000,000 values")
def test_pipeline(benchmark: Any) -> None:
    """A source, two stages and a sink in the caller, each in a thread of its own."""
    number = 1_000 if benchmark.disabled else 1_000_000

    def flow() -> int:
        with Pipeline(BG) as line:
            rows = line.stage(line.stage(line.generate(range(number)), lambda n: n + 1), lambda n: n * 2)
            return sum(line.results(rows))

    assert benchmark.pedantic(flow, rounds=1 if benchmark.disabled else 3) == number * (number + 1)
