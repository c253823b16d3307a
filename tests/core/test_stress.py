"""Many at once, with real threads or greenlets: what no interleaving of a few lock operations would show."""

from __future__ import annotations

import os
from itertools import count
from random import Random

import pytest

from service.concurrency.channel import Channel, ChannelClosed
from service.concurrency.context import Context, background, with_cancel, with_timeout
from service.concurrency.group import Group, WaitGroup
from service.concurrency.pipeline import Pipeline
from service.concurrency.pool import WorkerPool
from service.concurrency.race import race
from service.concurrency.rwlock import RWLock
from service.concurrency.select import Receive, Send, select
from service.errors import ClientClosedRequest, DeadlineExceeded, LedgerdError

pytestmark = pytest.mark.stress
SIZE = int(os.environ.get("LEDGERD_STRESS", "1"))


@pytest.mark.parametrize("capacity", [0, 1, 16])
def test_channel(capacity: int) -> None:
    """Four senders, four receivers: each value once, those of one sender in order at each receiver."""
    channel: Channel[tuple[int, int]] = Channel(capacity)
    got: list[list[tuple[int, int]]] = [[] for _ in range(4)]
    sending = WaitGroup()
    sending.add(4)

    def send(ctx: Context, sender: int) -> None:
        for n in range(500 * SIZE):
            channel.send(ctx, (sender, n))
        sending.done()

    with Group(background()) as group:
        for n in range(4):
            group.spawn(send, n)
            group.spawn(lambda ctx, mine: mine.extend(channel.values_until_closed(ctx)), got[n])
        sending.wait(background())
        channel.close()
    assert sorted(value for mine in got for value in mine) == [(s, n) for s in range(4) for n in range(500 * SIZE)]
    for mine in got:
        for sender in range(4):
            numbers = [n for s, n in mine if s == sender]
            assert numbers == sorted(numbers)


def test_select_with_cancellations() -> None:
    """Selects over three channels whose contexts end at random moments: what was sent is what was received or is there."""
    channels = [Channel[int](capacity) for capacity in (0, 1, 4)]
    numbers, sent, received = count(), [], []

    def use(_: Context, seed: int) -> None:
        random = Random(seed)
        for _ in range(200 * SIZE):
            with with_timeout(background(), random.uniform(0, 0.002)) as ctx:
                value = next(numbers)
                chosen = random.sample(channels, 2)
                try:
                    if seed % 2:
                        if select(ctx, Send(chosen[0], value), Send(chosen[1], value)).case is not None:
                            sent.append(value)
                    else:
                        received.append(select(ctx, Receive(chosen[0]), Receive(chosen[1])).value)
                except DeadlineExceeded:
                    pass

    with Group(background()) as group:
        for seed in range(6):
            group.spawn(use, seed)
    left = [value for channel in channels for value in channel.values]
    assert sorted(received + left) == sorted(sent)
    for channel in channels:
        assert (len(channel.senders), len(channel.receivers)) == (0, 0)


def test_closing_under_load() -> None:
    """Senders that meet the close are told; what they were told was sent is received."""
    for _ in range(20 * SIZE):
        channel: Channel[int] = Channel(2)
        sent, got = [], []

        def send(ctx: Context, base: int, channel: Channel[int] = channel, sent: list[int] = sent) -> None:
            for n in range(50):
                try:
                    channel.send(ctx, base + n)
                except ChannelClosed:
                    return
                sent.append(base + n)

        with Group(background()) as group:
            for n in range(3):
                group.spawn(send, n * 1000)
            group.spawn(lambda ctx, channel=channel, got=got: got.extend(channel.values_until_closed(ctx)))
            for _ in range(30):
                channel.statistics()
            channel.close()
        assert sorted(sent) == sorted(got)


def test_contexts() -> None:
    """Trees that are grown, waited in and cancelled at once: nobody sleeps on, and nothing stays registered."""
    for _ in range(10 * SIZE):
        root = with_cancel(background())

        def grow(_: Context, seed: int, root: Context = root) -> None:
            random, ctx = Random(seed), root
            for _ in range(20):
                ctx = with_cancel(random.choice([root, ctx]))
                ctx.on_done(lambda: None)
            ctx.done.wait()

        with Group(background()) as group:
            for seed in range(6):
                group.spawn(grow, seed)
            root.done.wait(0.001)
            root.cancel()
        assert (root._children, root._callbacks) == (None, None)


def test_rwlock() -> None:
    """Readers see whole writes only, and writers are alone, with some of both giving up."""
    lock, state = RWLock(), [0, 0]

    def use(_: Context, seed: int) -> None:
        random = Random(seed)
        for _ in range(200 * SIZE):
            with with_timeout(background(), random.choice([0.0005, 10])) as ctx:
                try:
                    if random.random() < 0.3:
                        lock.acquire_write(ctx)
                        state[0] += 1
                        state[1] += 1
                        lock.release_write()
                    else:
                        lock.acquire_read(ctx)
                        assert state[0] == state[1]
                        lock.release_read()
                except DeadlineExceeded:
                    pass

    with Group(background()) as group:
        for seed in range(6):
            group.spawn(use, seed)
    assert (lock._readers, lock._writer, len(lock._queue)) == ({}, None, 0)


def test_pool_that_is_cancelled() -> None:
    """Jobs that were taken in all end, though the pool is cancelled while many submit."""
    for _ in range(10 * SIZE):
        with WorkerPool(background(), workers=3, capacity=2) as pool, Group(background()) as group:

            def submit(ctx: Context, pool: WorkerPool = pool) -> None:
                try:
                    for n in range(20):
                        assert pool.submit(ctx, lambda _, n: n, n).get(ctx) == n
                except (RuntimeError, ClientClosedRequest):
                    return

            for _ in range(4):
                group.spawn(submit)
            pool.submit(background(), lambda _: None).get(background())
            pool.cancel()


def test_pipelines_and_races() -> None:
    """Fan-outs that are left early or fail, and races that are lost, again and again."""

    def fail_at(n: int) -> int:
        if n == 150:
            raise ValueError("150")
        return n

    for turn in range(6 * SIZE):
        ordered = turn % 2 == 0
        with Pipeline(background(), capacity=8) as line:
            out = line.results(line.stage(line.generate(count()), lambda n: n, workers=3, ordered=ordered))
            assert len([next(out) for _ in range(100)]) == 100
        with pytest.raises(ValueError, match="150"), Pipeline(background(), capacity=8) as line:
            line.sink(line.stage(line.generate(count()), fail_at, workers=3, ordered=ordered), lambda _: None)
        assert race(background(), lambda ctx: ctx.done.wait() and ctx.check(), lambda _, turn=turn: turn + 1) == turn + 1
        with pytest.raises(LedgerdError):
            race(with_timeout(background(), 0.001), lambda ctx: ctx.done.wait() and ctx.check())
