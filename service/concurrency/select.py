"""Select: wait for several things at once, and do exactly one of them.

The cases are sends and receives on any channels and the ends of contexts (`ctx.done`). Guarantees:

- One case is done, or none. Of several that can be done at once each has the same chance.
- No case is tried again and again: the call sleeps until somebody completes one of them, and that costs as much for sixty-four
  cases as for two, but for leaving and taking back one offer a case.
- A case that was not done leaves nothing behind in its channel.
- `timeout_s=0` never waits: Go's `default`.

    stop, work = ctx.done, Receive(jobs)
    done = select(background(), work, stop, timeout_s=5)
    if done.case is work: handle(done.value)
"""

from __future__ import annotations

from dataclasses import dataclass
from random import random
from typing import Any

from service.concurrency.channel import Channel, ChannelClosed
from service.concurrency.context import Context, Done
from service.concurrency.handover import NOTHING, Handover, Offer, Waiter, all_locked


@dataclass(frozen=True, slots=True, eq=False)
class Receive:
    """Take a value. On a channel that is closed and drained this can be done at once: `ok` is then False."""

    channel: Channel[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Send:
    """Send `value`. On a closed channel this can be done at once: select then raises ChannelClosed."""

    channel: Channel[Any]
    value: Any


Case = Receive | Send | Done


@dataclass(frozen=True, slots=True)
class Selected:
    """What select did. `case`: the one that is done, None if none could be in time. `value`: what was received."""

    case: Case | None
    value: Any = None
    ok: bool = True


_NONE = Selected(None, ok=False)


def select(ctx: Context, *cases: Case, timeout_s: float | None = None) -> Selected:
    """Do one of `cases`, waiting up to `timeout_s` for one that can be done.

    Raises the error of `ctx` when that ends first, ChannelClosed for a send on a closed channel, ValueError without cases.
    """
    if not cases:
        raise ValueError("select needs at least one case")
    ctx.check()
    ended = [case for case in cases if isinstance(case, Done) and case.ctx.error() is not None]  # runs callbacks: not locked
    channels: list[Handover] = sorted(
        {case.channel for case in cases if not isinstance(case, Done)}, key=lambda channel: channel.number
    )
    with all_locked(channels):
        selected = _do_one([case for case in cases if case in ended or _can_be_done(case)])
        if selected is not None or timeout_s == 0:
            return selected or _NONE
        waiter = Waiter()
        offers = {_leave_offer(case, waiter): case for case in cases}
    return _wait(ctx, waiter, offers, timeout_s)


def _do_one(ready: list[Case]) -> Selected | None:
    """Under the locks: do one of those that can be done, any with the same chance; None if none can after all."""
    while ready:
        case = ready.pop(int(random() * len(ready)))  # noqa: S311  # fairness, not secrecy
        if (selected := _try(case)) is not None:
            return selected
    return None


def _can_be_done(case: Case) -> bool:
    if isinstance(case, Receive):
        return case.channel.has_value() or case.channel.closed
    return isinstance(case, Send) and (case.channel.closed or case.channel.has_room())


def _try(case: Case) -> Selected | None:
    if isinstance(case, Receive):
        value = case.channel.take()
        if value is not NOTHING:
            return Selected(case, value)
        return Selected(case, ok=False) if case.channel.closed else None
    if isinstance(case, Send):
        if case.channel.closed:
            raise ChannelClosed("send on a closed channel")
        return Selected(case) if case.channel.put(case.value) else None
    return Selected(case)


def _leave_offer(case: Case, waiter: Waiter) -> Offer:
    if isinstance(case, Receive):
        offer = Offer(waiter)
        case.channel.receivers[offer] = None
    elif isinstance(case, Send):
        offer = Offer(waiter, case.value)
        case.channel.senders[offer] = None
    else:
        offer = Offer(waiter)
    return offer


def _wait(ctx: Context, waiter: Waiter, offers: dict[Offer, Case], timeout_s: float | None) -> Selected:
    forget = [
        case.ctx.on_done(lambda offer=offer: _complete(offer))  # type: ignore[misc]  # the default binds it now
        for offer, case in offers.items()
        if isinstance(case, Done)
    ]
    try:
        ctx.park(waiter, timeout_s)
    except BaseException:
        done = waiter.completed
        if done is not None and isinstance(case := offers.get(done), Receive) and not done.closed:
            case.channel.put_back(done.value)
        raise
    finally:
        waiter.give_up()
        for unregister in forget:
            unregister()
        for offer, case in offers.items():
            if offer is not waiter.completed and not isinstance(case, Done):
                case.channel.withdraw(offer)
    done = waiter.completed
    if done not in offers:
        ctx.check()
        return _NONE
    case = offers[done]
    if done.closed and isinstance(case, Send):
        raise ChannelClosed("send on a closed channel: it was closed while the sender waited")
    return Selected(case, done.value if isinstance(case, Receive) else None, ok=not done.closed)


def _complete(offer: Offer) -> None:
    if offer.waiter.claim(offer):
        offer.waiter.wake()
