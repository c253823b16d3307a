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

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
_CLOSED = object()


def select(ctx: Context, *cases: Case, timeout_s: float | None = None) -> Selected:
    """Do one of `cases`, waiting up to `timeout_s` for one that can be done.

    Raises the error of `ctx` when that ends first, ChannelClosed for a send on a closed channel, ValueError without cases.
    """
    if not cases:
        raise ValueError("select needs at least one case")
    ctx.check()
    channels: list[Handover] = sorted(
        {case.channel for case in cases if not isinstance(case, Done)}, key=lambda channel: channel.number
    )
    # every end of a context that has come, among the channels, in random order: the first that can be done is any of them
    order = sorted(
        (case for case in cases if not isinstance(case, Done) or case.ctx.error() is not None),
        key=lambda _: random(),  # noqa: S311  # nosec B311  # fairness, not secrecy
    )
    selected = _do_first(channels, order, {})
    if selected is not None or timeout_s == 0:
        return selected or _NONE
    waiter = Waiter()
    offers = {Offer(waiter, case.value if isinstance(case, Send) else None): case for case in cases}
    return _do_first(channels, order, offers) or _wait(ctx, waiter, offers, timeout_s)


def _do_first(channels: list[Handover], order: list[Case], otherwise: dict[Offer, Case]) -> Selected | None:
    """Do the first in `order` that can be done; if none can, leave the offers `otherwise` and return None."""
    attempts, offers = iter(order), iter(otherwise.items())
    value: object = NOTHING
    case: Case | None
    with all_locked(channels):
        for case in attempts:
            value = _try(case)
            if value is not NOTHING:
                break
        else:
            case = None  # none of them
            for offer, left in offers:
                if isinstance(left, Receive):
                    left.channel.receivers[offer] = None
                elif isinstance(left, Send):
                    left.channel.senders[offer] = None
    if case is None:
        return None
    return Selected(case, ok=False) if value is _CLOSED else Selected(case, value)


def _try(case: Case) -> object:
    """Under the locks: what came of it, NOTHING if it cannot be done."""
    if isinstance(case, Receive):
        value = case.channel.take()
        return _CLOSED if value is NOTHING and case.channel.closed else value
    if isinstance(case, Send):
        if case.channel.closed:
            raise ChannelClosed("send on a closed channel")
        return None if case.channel.put(case.value) else NOTHING
    return None


def _wait(ctx: Context, waiter: Waiter, offers: dict[Offer, Case], timeout_s: float | None) -> Selected:
    forget: list[Callable[[], None]] = []
    try:
        for offer, case in offers.items():
            if isinstance(case, Done):
                forget.append(case.ctx.on_done(partial(_complete, offer)))
        ctx.park(waiter, timeout_s)
    except BaseException:
        waiter.give_up()  # first: nobody completes it any more
        done = waiter.completed
        given_to = None if done is None or done.closed else offers.get(done)
        if done is not None and isinstance(given_to, Receive):
            given_to.channel.put_back(done.value)
        raise
    finally:
        waiter.give_up()
        for unregister in forget:
            unregister()
        for offer, case in offers.items():
            if offer is not waiter.completed and not isinstance(case, Done):
                case.channel.withdraw(offer)
    done = waiter.completed
    waiter.forget()
    return _outcome(ctx, offers, done)  # type: ignore[arg-type]  # completed now, or given up


def _outcome(ctx: Context, offers: dict[Offer, Case], done: Offer) -> Selected:
    if (case := offers.get(done)) is None:  # it was given up
        ctx.check()
        return _NONE
    if not done.closed:
        return Selected(case, done.value if isinstance(case, Receive) else None)
    if isinstance(case, Send):
        raise ChannelClosed("send on a closed channel: it was closed while the sender waited")
    # closed meanwhile, it may yet have a value: one that had been given to a receiver who was killed
    return _do_first([case.channel], [case], {}) or _NONE  # type: ignore[union-attr]  # a Done is never closed


def _complete(offer: Offer) -> None:
    if offer.waiter.claim(offer):
        offer.waiter.wake()
