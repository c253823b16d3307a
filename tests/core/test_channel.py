"""Channels: order, bound, closing, waiting, and what a wait leaves behind."""

from __future__ import annotations

from random import Random

import pytest

from service.concurrency.channel import Channel, ChannelClosed, ChannelStatistics, WouldBlock
from service.concurrency.context import background, with_cancel, with_timeout
from service.errors import ClientClosedRequest, DeadlineExceeded
from tests.core.calls import Call
from tests.core.clock import ManualClock
from tests.core.scheduler import Scheduler
from tests.serving import wait_until


def waiting(channel: Channel[int], *, senders: int = 0, receivers: int = 0) -> None:
    """Until so many calls are parked."""

    def there() -> bool:
        now = channel.statistics()
        return (now.senders_waiting, now.receivers_waiting) == (senders, receivers)

    wait_until(there, 10)


def test_values_come_out_in_order_and_no_more_than_fit() -> None:
    """Full is told at once, empty as well."""
    channel: Channel[int] = Channel(2)
    channel.send_nowait(1)
    channel.send(background(), 2)
    with pytest.raises(WouldBlock, match="full"):
        channel.send_nowait(3)
    assert [channel.receive(background()), channel.receive_nowait()] == [1, 2]
    with pytest.raises(WouldBlock, match="empty"):
        channel.receive_nowait()


def test_unbuffered_a_send_returns_when_its_value_is_received() -> None:
    """And without a receiver nothing can be sent at once."""
    channel: Channel[int] = Channel()
    with pytest.raises(WouldBlock, match="nobody is waiting"):
        channel.send_nowait(1)
    sender = Call(channel.send, background(), 1)
    waiting(channel, senders=1)
    assert not sender.ended
    assert channel.receive_nowait() == 1
    sender.result()


def test_a_receiver_that_waits_is_given_the_value_directly() -> None:
    """One that comes later cannot take what was given to another."""
    channel: Channel[int] = Channel()
    receiver = Call(channel.receive, background())
    waiting(channel, receivers=1)
    channel.send_nowait(7)
    with pytest.raises(WouldBlock):
        channel.receive_nowait()
    assert receiver.result() == 7


def test_first_come_first_served_on_both_sides() -> None:
    """Parked receivers and parked senders have their turn in the order in which they came."""
    channel: Channel[int] = Channel()
    receivers = []
    for n in range(3):
        receivers.append(Call(channel.receive, background()))
        waiting(channel, receivers=n + 1)
    for value in range(3):
        channel.send_nowait(value)
    assert [receiver.result() for receiver in receivers] == [0, 1, 2]
    senders = []
    for n in range(3):
        senders.append(Call(channel.send, background(), n))
        waiting(channel, senders=n + 1)
    assert [channel.receive_nowait() for _ in senders] == [0, 1, 2]
    for sender in senders:
        sender.result()


def test_a_parked_sender_takes_the_room_that_is_made() -> None:
    """Its value comes after those that were there, and no later sender passes it."""
    channel: Channel[int] = Channel(1)
    channel.send_nowait(1)
    sender = Call(channel.send, background(), 2)
    waiting(channel, senders=1)
    assert channel.receive_nowait() == 1
    sender.result()
    with pytest.raises(WouldBlock):
        channel.send_nowait(3)
    assert channel.receive_nowait() == 2


def test_closing_drains_and_then_ends() -> None:
    """What is buffered is still received, then ChannelClosed, with and without waiting."""
    channel: Channel[int] = Channel(2)
    channel.send_nowait(1)
    channel.close()
    assert channel.receive(background()) == 1
    with pytest.raises(ChannelClosed, match="drained"):
        channel.receive(background())
    with pytest.raises(ChannelClosed, match="drained"):
        channel.receive_nowait()


def test_closing_ends_every_wait() -> None:
    """Receivers learn that nothing comes, senders that their value was not sent."""
    receiving: Channel[int] = Channel()
    receivers = [Call(receiving.receive, background()) for _ in range(3)]
    waiting(receiving, receivers=3)
    receiving.close()
    sending: Channel[int] = Channel()
    senders = [Call(sending.send, background(), 1) for _ in range(3)]
    waiting(sending, senders=3)
    sending.close()
    for call in receivers + senders:
        with pytest.raises(ChannelClosed):
            call.result()
    assert sending.statistics() == ChannelStatistics(0, 0, 0, 0, True)


def test_sending_on_a_closed_channel_and_closing_twice_are_errors() -> None:
    """Each says which it was."""
    channel: Channel[int] = Channel(1)
    channel.close()
    with pytest.raises(ChannelClosed, match="send on a closed channel"):
        channel.send(background(), 1)
    with pytest.raises(ChannelClosed, match="send on a closed channel"):
        channel.send_nowait(1)
    with pytest.raises(ChannelClosed, match="close of a closed channel"):
        channel.close()


def test_iteration_ends_when_the_channel_is_closed_and_drained() -> None:
    """With a context or without."""
    for values in (lambda channel: channel, lambda channel: channel.values_until_closed(with_cancel(background()))):
        channel: Channel[int] = Channel(3)
        for value in range(3):
            channel.send_nowait(value)
        channel.close()
        assert list(values(channel)) == [0, 1, 2]


def test_a_batch_is_what_is_there_up_to_a_bound() -> None:
    """At least one, also from senders that wait; none is left out or out of order."""
    channel: Channel[int] = Channel(2)
    senders = []
    for value in range(4):
        senders.append(Call(channel.send, background(), value))
        waiting(channel, senders=max(0, value - 1))
        wait_until(lambda value=value: sum(call.ended for call in senders) == min(value + 1, 2), 10)
    assert channel.receive_batch(background(), 3) == [0, 1, 2]
    assert channel.receive_batch(background(), 3) == [3]
    for sender in senders:
        sender.result()


@pytest.mark.parametrize("capacity", [0, 1])
def test_a_wait_ends_with_its_context(capacity: int) -> None:
    """By its deadline or by being cancelled, with that error, leaving nothing behind and having done nothing."""
    clock = ManualClock()
    channel: Channel[int] = Channel(capacity)
    receiver = Call(channel.receive, with_timeout(background(clock), 5))
    clock.wait_for_pending(1)
    clock.advance(5)
    with pytest.raises(DeadlineExceeded):
        receiver.result()
    for value in range(capacity):
        channel.send_nowait(value)
    ctx = with_cancel(background())
    sender = Call(channel.send, ctx, 9)
    waiting(channel, senders=1)
    ctx.cancel(ClientClosedRequest("gone"))
    with pytest.raises(ClientClosedRequest, match="gone"):
        sender.result()
    assert channel.statistics() == ChannelStatistics(capacity, capacity, 0, 0, False)


def test_a_timeout_is_a_timeout_error() -> None:
    """Of the call, not of its context, which goes on."""
    clock = ManualClock()
    ctx = background(clock)
    channel: Channel[int] = Channel()
    for begin in (lambda: Call(channel.receive, ctx, timeout_s=2), lambda: Call(channel.send, ctx, 1, timeout_s=2)):
        call = begin()
        clock.wait_for_pending(1)
        clock.advance(2)
        with pytest.raises(TimeoutError, match="within 2 s"):
            call.result()
    assert channel.statistics() == ChannelStatistics(0, 0, 0, 0, False)


def test_the_earlier_of_timeout_and_deadline_counts() -> None:
    """And decides which error it is."""
    clock = ManualClock()
    channel: Channel[int] = Channel()
    call = Call(channel.receive, with_timeout(background(clock), 1), timeout_s=2)
    clock.wait_for_pending(1)
    clock.advance(1)
    with pytest.raises(DeadlineExceeded):
        call.result()


def test_an_ended_context_does_nothing_even_where_it_could() -> None:
    """No value is taken or sent, so what follows a cancellation is the same every time."""
    ctx = with_cancel(background())
    ctx.cancel()
    channel: Channel[int] = Channel(2)
    channel.send_nowait(1)
    with pytest.raises(ClientClosedRequest):
        channel.receive(ctx)
    with pytest.raises(ClientClosedRequest):
        channel.send(ctx, 2)
    assert channel.statistics().buffered == 1


def test_a_capacity_below_zero_is_a_mistake() -> None:
    """And named."""
    with pytest.raises(ValueError, match="at least 0, not -1"):
        Channel(-1)


def test_none_is_a_value_like_any_other() -> None:
    """It is received, not taken for nothing."""
    channel: Channel[None] = Channel(1)
    channel.send_nowait(None)
    assert channel.receive(background()) is None
    with pytest.raises(WouldBlock):
        channel.receive_nowait()


@pytest.mark.parametrize("capacity", [0, 1, 2])
def test_nothing_is_lost_doubled_or_disordered_in_any_interleaving(capacity: int) -> None:
    """Senders, receivers and a close, in 300 interleavings: each value once, those of one sender in order, bound kept."""
    for seed in range(300):
        with Scheduler(Random(seed).randrange) as run:
            channel: Channel[tuple[int, int]] = Channel(capacity)
            got: list[tuple[int, int]] = []

            def send(sender: int, channel: Channel[tuple[int, int]] = channel) -> None:
                for n in range(3):
                    channel.send(run.ctx, (sender, n))
                    assert len(channel.values) <= channel.capacity

            def receive(channel: Channel[tuple[int, int]] = channel, got: list[tuple[int, int]] = got) -> None:
                for value in channel.values_until_closed(run.ctx):
                    got.append(value)

            senders = [run.spawn(send, sender) for sender in range(3)]
            receivers = [run.spawn(receive) for _ in range(2)]
            run.until_parked()
            assert all(task.ended for task in senders)
            run.spawn(channel.close)
            run.until_done()
            for task in senders + receivers:
                task.result()
            assert sorted(got) == [(sender, n) for sender in range(3) for n in range(3)]
            assert channel.statistics() == ChannelStatistics(capacity, 0, 0, 0, True)


def test_a_value_meets_a_cancellation_in_any_interleaving() -> None:
    """Either the receiver has it or it is there for the next; never both, never neither."""
    outcomes = set()
    for seed in range(300):
        with Scheduler(Random(seed).randrange) as run:
            channel: Channel[int] = Channel(1)
            ctx = with_cancel(run.ctx)
            receiver = run.spawn(channel.receive, ctx)
            run.spawn(channel.send, run.ctx, 5)
            run.spawn(ctx.cancel)
            run.until_done()
            received = receiver.error is None
            outcomes.add(received)
            assert channel.statistics().buffered == (0 if received else 1)
            assert channel.statistics().receivers_waiting == 0
    assert outcomes == {True, False}


def test_a_close_meets_a_send_in_any_interleaving() -> None:
    """The send succeeds and its value is received, or it is a ChannelClosed error and is not."""
    outcomes = set()
    for seed in range(300):
        with Scheduler(Random(seed).randrange) as run:
            channel: Channel[int] = Channel(0)
            sender = run.spawn(channel.send, run.ctx, 5)
            receiver = run.spawn(lambda channel=channel: list(channel.values_until_closed(run.ctx)))
            run.spawn(channel.close)
            run.until_done()
            sent = sender.error is None
            outcomes.add(sent)
            assert sent or isinstance(sender.error, ChannelClosed)
            assert receiver.result() == ([5] if sent else [])
    assert outcomes == {True, False}


def test_a_glance_tells_how_much_it_holds() -> None:
    """As `statistics` would."""
    channel: Channel[int] = Channel(2)
    seen = [channel.depth]
    for value in (1, 2):
        channel.send_nowait(value)
        seen.append(channel.depth)
    channel.receive_nowait()
    assert [*seen, channel.depth] == [0, 1, 2, 1]
