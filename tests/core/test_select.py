"""Select: one case is done, fairly, and the others leave nothing behind."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from service.concurrency.channel import Channel, ChannelClosed
from service.concurrency.context import background, with_cancel, with_timeout
from service.concurrency.select import Receive, Selected, Send, select
from service.errors import ClientClosedRequest, DeadlineExceeded
from tests.core.calls import Call
from tests.core.clock import ManualClock
from tests.core.scheduler import Scheduler
from tests.serving import wait_until


def parked(channel: Channel[Any], *, senders: int = 0, receivers: int = 0) -> bool:
    """Whether so many offers are in the channel."""
    now = channel.statistics()
    return (now.senders_waiting, now.receivers_waiting) == (senders, receivers)


def test_the_case_that_can_be_done_is_done() -> None:
    """A receive gives its value, a send its success; the other channels are not touched."""
    empty: Channel[int] = Channel(1)
    full: Channel[int] = Channel(1)
    full.send_nowait(3)
    receive = Receive(full)
    assert select(background(), Receive(empty), receive) == Selected(receive, 3)
    send = Send(empty, 4)
    assert select(background(), send, Receive(full)).case is send
    assert empty.receive_nowait() == 4


def test_without_waiting_nothing_is_done_where_nothing_can_be() -> None:
    """`timeout_s=0` is the default branch: no case, and nothing left in the channels."""
    channel: Channel[int] = Channel()
    selected = select(background(), Receive(channel), Send(channel, 1), timeout_s=0)
    assert (selected.case, selected.ok) == (None, False)
    assert parked(channel)


def test_it_waits_for_the_first_case() -> None:
    """Whichever side comes: the one case is completed, the other offers are taken back."""
    one: Channel[int] = Channel()
    two: Channel[int] = Channel()
    receive, send = Receive(one), Send(two, 5)
    for meet, case in ((lambda: one.send_nowait(1), receive), (two.receive_nowait, send)):
        call = Call(select, background(), receive, send)
        wait_until(lambda: parked(one, receivers=1) and parked(two, senders=1), 10)
        meet()
        assert call.result().case is case
        assert parked(one)
        assert parked(two)


def test_a_timeout_is_no_case() -> None:
    """After it nothing is left behind."""
    clock, channel = ManualClock(), Channel[int]()
    call = Call(select, background(clock), Receive(channel), timeout_s=3)
    clock.wait_for_pending(1)
    clock.advance(3)
    assert call.result().case is None
    assert parked(channel)


def test_its_own_context_ends_it_with_an_error() -> None:
    """Before it began, or while it waits."""
    clock, channel = ManualClock(), Channel[int](1)
    call = Call(select, with_timeout(background(clock), 3), Receive(channel))
    clock.wait_for_pending(1)
    clock.advance(3)
    with pytest.raises(DeadlineExceeded):
        call.result()
    ctx = with_cancel(background())
    ctx.cancel()
    channel.send_nowait(1)
    with pytest.raises(ClientClosedRequest):
        select(ctx, Receive(channel))
    assert channel.statistics().buffered == 1


def test_the_end_of_another_context_is_a_case() -> None:
    """Whether it has ended, is cancelled later, or its deadline passes."""
    clock, channel = ManualClock(), Channel[int]()
    ended = with_cancel(background(clock))
    ended.cancel()
    assert select(background(clock), Receive(channel), ended.done).case == ended.done
    for end in (lambda other: other.cancel(), lambda _: clock.advance(3)):
        other = with_timeout(background(clock), 3)
        call = Call(select, background(clock), Receive(channel), other.done)
        wait_until(lambda other=other: parked(channel, receivers=1) and bool(other._callbacks), 10)
        end(other)
        assert call.result().case == other.done
        assert parked(channel)


def test_a_select_leaves_nothing_in_the_contexts_that_lost() -> None:
    """A context that lives long gathers no callbacks."""
    other, channel = with_cancel(background()), Channel[int]()
    call = Call(select, background(), Receive(channel), other.done)
    wait_until(lambda: parked(channel, receivers=1) and bool(other._callbacks), 10)
    channel.send_nowait(1)
    assert call.result().value == 1
    assert not other._callbacks


def test_a_closed_channel_can_be_received_from_and_not_sent_to() -> None:
    """Receiving is not ok, sending is an error; also where the close comes while it waits."""
    closed: Channel[int] = Channel()
    closed.close()
    assert not select(background(), Receive(closed)).ok
    with pytest.raises(ChannelClosed):
        select(background(), Send(closed, 1))
    one: Channel[int] = Channel()
    call = Call(select, background(), Receive(one))
    wait_until(lambda: parked(one, receivers=1), 10)
    one.close()
    assert not call.result().ok
    two: Channel[int] = Channel()
    call = Call(select, background(), Send(two, 1))
    wait_until(lambda: parked(two, senders=1), 10)
    two.close()
    with pytest.raises(ChannelClosed, match="while the sender waited"):
        call.result()


def test_a_closed_channel_is_drained_first() -> None:
    """Its values are received like any others."""
    channel: Channel[int] = Channel(1)
    channel.send_nowait(1)
    channel.close()
    assert select(background(), Receive(channel)).value == 1
    assert not select(background(), Receive(channel)).ok


def test_cases_that_can_be_done_have_the_same_chance() -> None:
    """Two neighbours among many that cannot be done as well: over 3,000 times each has its third."""
    ready = [Channel[int](3_000) for _ in range(3)]
    idle = [Channel[int]() for _ in range(5)]
    for channel in ready:
        for n in range(3_000):
            channel.send_nowait(n)
    cases = [Receive(channel) for channel in (ready[0], ready[1], *idle, ready[2])]
    counts = Counter(cases.index(select(background(), *cases).case) for _ in range(3_000))
    assert set(counts) == {0, 1, 7}
    assert min(counts.values()) > 850


def test_two_selects_meet() -> None:
    """One sends and one receives on the same unbuffered channels: exactly one value passes."""
    one: Channel[int] = Channel()
    two: Channel[int] = Channel()
    call = Call(select, background(), Send(one, 1), Send(two, 2))
    wait_until(lambda: parked(one, senders=1) and parked(two, senders=1), 10)
    got = select(background(), Receive(one), Receive(two))
    assert (got.case.channel is one, got.value) in ((True, 1), (False, 2))
    assert call.result().case.channel is got.case.channel
    assert parked(one)
    assert parked(two)


def test_it_does_not_meet_itself() -> None:
    """A send and a receive on one unbuffered channel in one select wait for somebody else."""
    channel: Channel[int] = Channel()
    send, receive = Send(channel, 1), Receive(channel)
    call = Call(select, background(), send, receive)
    wait_until(lambda: parked(channel, senders=1, receivers=1), 10)
    assert channel.receive_nowait() == 1
    assert call.result().case is send
    assert parked(channel)


def test_no_case_is_a_mistake() -> None:
    """It would wait for nothing."""
    with pytest.raises(ValueError, match="at least one case"):
        select(background())


def test_selects_over_shared_channels_complete_in_any_interleaving() -> None:
    """Selecting senders and receivers in different orders over two channels: each value once, nothing left, no deadlock."""
    for seed in range(400):
        with Scheduler(Random(seed).randrange) as run:
            one: Channel[int] = Channel(0)
            two: Channel[int] = Channel(seed % 2)
            got: list[int] = []

            def send(base: int, first: Channel[int], second: Channel[int]) -> None:
                for n in range(3):
                    select(run.ctx, Send(first, base + n), Send(second, base + n))

            def receive(first: Channel[int], second: Channel[int], got: list[int] = got) -> None:
                for _ in range(3):
                    got.append(select(run.ctx, Receive(first), Receive(second)).value)

            tasks = [
                run.spawn(send, 0, one, two), run.spawn(send, 10, two, one),
                run.spawn(receive, two, one), run.spawn(receive, one, two),
            ]
            run.until_done()
            for task in tasks:
                task.result()
            assert sorted(got) == [0, 1, 2, 10, 11, 12]
            assert parked(one)
            assert parked(two)
            assert (len(one.values), len(two.values)) == (0, 0)


def test_a_value_meets_a_timeout_in_any_interleaving() -> None:
    """It is received or it stays: a select that gives up has taken nothing."""
    outcomes = set()
    for seed in range(300):
        with Scheduler(Random(seed).randrange) as run:
            one, two = Channel[int](1), Channel[int](1)
            ctx = with_cancel(run.ctx)
            selecting = run.spawn(select, ctx, Receive(one), Receive(two))
            run.spawn(one.send, run.ctx, 1)
            run.spawn(two.send, run.ctx, 2)
            run.spawn(ctx.cancel)
            run.until_done()
            taken = selecting.error is None
            outcomes.add(taken)
            assert one.statistics().buffered + two.statistics().buffered == (1 if taken else 2)
            assert parked(one)
            assert parked(two)
    assert outcomes == {True, False}


def test_a_killed_greenlet_loses_no_value() -> None:
    """A wait that is broken off from outside after it was given a value puts that back, in order."""
    for wait in (lambda ctx, one, _: one.receive(ctx), lambda ctx, one, two: select(ctx, Receive(one), Receive(two))):
        with Scheduler(lambda n: 0) as run:
            one, two = Channel[int](2), Channel[int]()
            task = run.spawn(wait, run.ctx, one, two)
            run.until_parked()
            one.send_nowait(1)
            one.send_nowait(2)
            run.kill(task)
            assert isinstance(task.error, SystemExit)
            assert [one.receive_nowait(), one.receive_nowait()] == [1, 2]
            assert parked(two)



class Value:
    """Something that can be seen to be gone."""


def sends(channel: Channel[Value], value: Value) -> Call:
    """A parked send."""
    call = Call(channel.send, background(), value)
    wait_until(lambda: parked(channel, senders=1), 10)
    channel.receive_nowait()
    return call


def receives(channel: Channel[Value], value: Value) -> Call:
    """A parked receive."""
    call = Call(channel.receive, background())
    wait_until(lambda: parked(channel, receivers=1), 10)
    channel.send_nowait(value)
    return call


def selects(channel: Channel[Value], value: Value) -> Call:
    """A parked select."""
    call = Call(select, background(), Receive(channel), Receive(Channel()))
    wait_until(lambda: parked(channel, receivers=1), 10)
    channel.send_nowait(value)
    return call


@pytest.mark.parametrize("hand_over", [sends, receives, selects])
def test_what_was_handed_over_is_not_kept(hand_over: Callable[[Channel[Value], Value], Call]) -> None:
    """Once both sides have let go of a value it is gone; nobody has to wait for the garbage collector."""
    value = Value()
    seen = weakref.ref(value)
    gc.disable()
    try:
        call = hand_over(Channel(), value)
        call.result()
        del call, value
        assert seen() is None
    finally:
        gc.enable()
