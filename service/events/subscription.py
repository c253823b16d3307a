"""One listener of the feed: where it stands in the log, and what waits for it.

It begins anywhere in the log, goes through the database by the page until it comes to what the feed still keeps, and is then
told by the feed (`feed.Feed.join`). A listener that does not keep up is let go, and may come back to where it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from typing import Protocol

from service.concurrency.channel import Channel, ChannelClosed, WouldBlock
from service.concurrency.context import Context
from service.concurrency.primitives import Parking
from service.errors import Overloaded, Unavailable
from service.events.batch import Batch
from service.events.event import Event, Filter

WAITING = 256  # batches that may wait for a listener; then it is too slow
AT_ONCE = 32  # batches that are taken together
AGAIN_S = 0.5  # after the database could not be read


class Ending(Enum):
    """Why a listener is told no more."""

    SLOW = "slow"  # it does not read as fast as events happen
    DRAINING = "draining"  # this process is to stop
    KEY = "key"  # its key is not valid any more, or may not read events
    RESET = "reset"  # the database was set back to an earlier state
    COMPLETE = "complete"  # it wanted no more than there was when it began


class Ended(Exception):
    """A listener is told no more."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.value)
        self.ending = ending


class Feeding(Protocol):
    """What a listener asks of its feed, and what it tells it."""

    sent: int

    def read_before(self, ctx: Context, listener: Subscription) -> tuple[Sequence[Event], int]:
        """The next events from the database, and how far they go; see Feed."""
        ...

    def join(self, listener: Subscription) -> bool:
        """Be told from now on; see Feed."""
        ...

    def leave(self, listener: Subscription) -> None:
        """Be told no more; see Feed."""
        ...


class Subscription:
    """See the module. Made by `Feed.subscribe`; whoever has it calls `next` again and again, and `close` at the end.

    `position` is where it stands: what is wanted up to it has been returned by `next`, or waits for that.
    With `until` it ends there, and does not join the feed.
    """

    def __init__(self, feed: Feeding, ledger_id: int, wanted: Filter, position: int, until: int | None) -> None:
        self.ledger_id = ledger_id
        self.wanted = wanted
        self.position = position
        self.until = until
        self.ending: Ending | None = None
        self._feed = feed
        self._joined = False
        self._behind: deque[Batch] = deque()  # what the feed had kept when this one joined
        self._channel: Channel[Batch] = Channel(WAITING)
        self._on_end: Callable[[], None] | None = None

    def next(self, ctx: Context, timeout_s: float) -> Sequence[Batch]:
        """What comes next, in order, at least one batch.

        Raises TimeoutError when there was nothing for `timeout_s`, Ended, or the error of `ctx`.
        """
        batches = self._next(ctx, timeout_s)
        self._feed.sent += sum(len(batch.events) for batch in batches)
        return batches

    def _next(self, ctx: Context, timeout_s: float) -> Sequence[Batch]:
        until = ctx.clock.now() + timeout_s
        while not self._joined:
            self._check()
            if (batch := self._read(ctx)) is not None:
                return [batch]
            if not self._joined and ctx.clock.now() >= until:
                raise TimeoutError(f"no event for {timeout_s} s")
        if self._behind and self.ending is not Ending.SLOW:
            return [self._behind.popleft() for _ in range(min(len(self._behind), AT_ONCE))]
        try:
            batches = self._channel.receive_batch(ctx, AT_ONCE, max(until - ctx.clock.now(), 0.0))
        except ChannelClosed:
            self._check()
            raise
        self.position = batches[-1].last_id
        return batches

    def kept_before(self, batches: Sequence[Batch], position: int) -> None:
        """The feed's: this one has joined when it had told up to `position`, of which it still has these."""
        for batch in batches:
            later = batch.after(self.position)
            chosen = None if later is None else later.choose(self.wanted)
            if chosen is not None:
                self._behind.append(chosen)
        self.position = max(self.position, position)
        self._joined = True

    def tell(self, batch: Batch) -> bool | None:
        """The feed's: something has happened; False where too much waits already, None where nothing of it is wanted."""
        later = batch.after(self.position) if batch.events[0].id <= self.position else batch
        chosen = None if later is None else later.choose(self.wanted)
        if chosen is None:
            return None
        try:
            self._channel.send_nowait(chosen)
        except WouldBlock:
            return False
        except ChannelClosed:
            return None
        return True

    def end(self, ending: Ending) -> None:
        """Have `next` raise Ended; where nobody takes what waits, that is dropped."""
        if self.ending is not None:
            return
        self.ending = ending
        if ending is Ending.SLOW:
            self._drop()
        with suppress(ChannelClosed):
            self._channel.close()
        if self._on_end is not None:
            self._on_end()

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Have `callback`, which must not wait, called by `end`."""
        self._on_end = callback

    def close(self) -> None:
        """Be told no more, and let go of all that waits."""
        self._on_end = None
        self._feed.leave(self)
        with suppress(ChannelClosed):
            self._channel.close()
        self._drop()

    def _check(self) -> None:
        if self.ending is not None:
            raise Ended(self.ending)

    def _read(self, ctx: Context) -> Batch | None:
        """What is wanted of the next page, or None; joins when there is no page left that the feed does not keep."""
        if self.until is not None and self.position >= self.until:
            raise Ended(Ending.COMPLETE)
        if self.until is None and self._feed.join(self):
            return None
        try:
            events, until = self._feed.read_before(ctx, self)
        except (Unavailable, Overloaded):
            ctx.check()
            ctx.park(Parking(), AGAIN_S)
            return None
        self.position = max(self.position, until)
        return Batch(events).choose(self.wanted) if events else None

    def _drop(self) -> None:
        self._behind.clear()
        with suppress(WouldBlock, ChannelClosed):
            while True:
                self._channel.receive_nowait()
