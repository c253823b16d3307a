"""Channels: order, bound, closing, and receivers that give up."""

from __future__ import annotations

import threading

import pytest

from service.concurrency.channel import Channel, ChannelClosed, WouldBlock
from service.concurrency.context import Context, background, with_cancel, with_timeout
from service.errors import ClientClosedRequest, DeadlineExceeded, LedgerdError


class Receiver:
    """A thread that receives one value."""

    def __init__(self, channel: Channel[int], ctx: Context) -> None:
        self.result: object = None
        self._thread = threading.Thread(target=self._receive, args=(channel, ctx))
        waiting = channel.statistics().receivers_waiting
        self._thread.start()
        while channel.statistics().receivers_waiting == waiting:
            threading.Event().wait(0.001)

    def _receive(self, channel: Channel[int], ctx: Context) -> None:
        try:
            self.result = channel.receive(ctx)
        except (ChannelClosed, LedgerdError) as exc:
            self.result = exc

    def done(self) -> object:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.result


def test_values_come_out_in_order_and_no_more_than_fit() -> None:
    """Full is told at once, empty as well."""
    channel: Channel[int] = Channel(2)
    channel.send_nowait(1)
    channel.send_nowait(2)
    with pytest.raises(WouldBlock, match="full"):
        channel.send_nowait(3)
    assert [channel.receive(background()), channel.receive_nowait()] == [1, 2]
    with pytest.raises(WouldBlock, match="empty"):
        channel.receive_nowait()


def test_receivers_are_served_in_the_order_they_came() -> None:
    """And one that comes later cannot take what was given to another."""
    channel: Channel[int] = Channel(1)
    receivers = [Receiver(channel, background()) for _ in range(3)]
    for value in range(3):
        channel.send_nowait(value)
        with pytest.raises(WouldBlock):
            channel.receive_nowait()
    assert [receiver.done() for receiver in receivers] == [0, 1, 2]


def test_closing_drains_and_then_ends() -> None:
    """What is buffered is still received; then, and for those who wait, ChannelClosed."""
    channel: Channel[int] = Channel(2)
    channel.send_nowait(1)
    channel.close()
    assert channel.receive(background()) == 1
    with pytest.raises(ChannelClosed, match="drained"):
        channel.receive(background())
    waiting: Channel[int] = Channel(1)
    receiver = Receiver(waiting, background())
    waiting.close()
    assert isinstance(receiver.done(), ChannelClosed)


def test_wrong_use_is_a_clear_error() -> None:
    """A send on a closed channel, a second close, and a channel without room."""
    channel: Channel[int] = Channel(1)
    channel.close()
    with pytest.raises(ChannelClosed, match="send on a closed channel"):
        channel.send_nowait(1)
    with pytest.raises(ChannelClosed, match="close of a closed channel"):
        channel.close()
    with pytest.raises(ValueError, match="at least 1"):
        Channel(0)


def test_a_receiver_that_gives_up_leaves_nothing_behind() -> None:
    """By its deadline or by being cancelled; the next value goes to the next receiver."""
    channel: Channel[int] = Channel(1)
    with pytest.raises(DeadlineExceeded):
        channel.receive(with_timeout(background(), 0.01))
    ctx = with_cancel(background())
    receiver = Receiver(channel, ctx)
    ctx.cancel()
    assert isinstance(receiver.done(), ClientClosedRequest)
    assert channel.statistics().receivers_waiting == 0
    last = Receiver(channel, background())
    channel.send_nowait(5)
    assert last.done() == 5


def test_no_value_is_lost_or_doubled_between_many() -> None:
    """Four senders, four receivers that keep giving up: every value arrives once."""
    channel: Channel[int] = Channel(3)
    received: list[int] = []

    def send(start: int) -> None:
        for value in range(start, start + 500):
            while True:
                try:
                    channel.send_nowait(value)
                    break
                except WouldBlock:
                    threading.Event().wait(0.0001)

    def receive() -> None:
        while True:
            try:
                received.append(channel.receive(with_timeout(background(), 0.0005)))
            except DeadlineExceeded:
                continue
            except ChannelClosed:
                return

    receivers = [threading.Thread(target=receive) for _ in range(4)]
    senders = [threading.Thread(target=send, args=(start,)) for start in (0, 500, 1000, 1500)]
    for thread in (*receivers, *senders):
        thread.start()
    for thread in senders:
        thread.join()
    channel.close()
    for thread in receivers:
        thread.join()
    assert sorted(received) == list(range(2000))
