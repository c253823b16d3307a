"""The live feed of a process: one task reads the log while somebody listens, and tells all who do.

Guarantees, for each listener (`subscription.Subscription`):

- It is told every event of its ledger that it wants, after the one that it began after, once and in order: none is left out
  where the database's part of the log ends and the feed's begins.
- A listener that does not read holds up nobody: what may wait for it is bounded, and then it is let go.
- It holds no connection of the database. Those who are behind read by the page, and few at a time.

What was told lately is kept for a while. Whoever was cut off comes back to it, and after a restart the first who comes back
sets where the feed begins: the others find there what they missed, and the database is read once for all of them.

**Joining.** For each ledger that has listeners the feed has a position: up to it, they have been told. It is moved, and those
who are to be told of what lies between are chosen, under one lock. A listener joins under the same lock, with what is kept up
to the position. So what is told later is told to it, and what was told before is in what it was given.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from service.concurrency.channel import Channel, ChannelClosed, WouldBlock
from service.concurrency.context import Context, background, with_timeout
from service.concurrency.primitives import Lock, give_way, monotonic
from service.concurrency.select import Receive, select
from service.concurrency.semaphore import Semaphore
from service.errors import LedgerdError, Overloaded, Unavailable
from service.events.batch import Batch
from service.events.event import Event, Filter
from service.events.log import EventStore
from service.events.subscription import Ending, Subscription

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.02
REST_S = 50e-6  # longer for each listener that was told: sending to it costs about that, and others need the processor too
PAUSE_S = 0.5  # after the log could not be read
LONGEST_LOOK_S = 5.0
PAGE = 200  # events, of a read and of a batch
PAGES_AT_ONCE = 10  # of a ledger in one look
KEPT = 8192  # events, of all ledgers together
MOST_KEPT = 2048  # of one
FURTHER_BEHIND = 512  # ids before the first who comes back
TOLD_AT_ONCE = 64  # listeners; then others get the processor
READ_AT_ONCE = 2  # pages for those who are behind
STOPPING = "This process is about to stop. Ask again: another one answers."


class _Told:
    """What the feed knows of one ledger."""

    def __init__(self, position: int) -> None:
        self.position = position  # up to it, all listeners have been told
        self.base = position  # what is kept begins after it
        self.kept: deque[Batch] = deque()
        self.number = 0  # of the events that are kept
        self.listeners: dict[Subscription, None] = {}

    def keep(self, batch: Batch, most: int) -> None:
        self.kept.append(batch)
        self.number += len(batch.events)
        while self.number > most:
            oldest = self.kept.popleft()
            self.number -= len(oldest.events)
            self.base = oldest.last_id


class _Look:
    """One look at the log, for those who wait until it is over."""

    def __init__(self) -> None:
        self._over: Channel[None] = Channel()
        self._error: LedgerdError | None = None

    def end(self, error: LedgerdError | None = None) -> None:
        self._error = error
        self._over.close()

    def wait(self, ctx: Context) -> None:
        """Raises the error of the look, or that of `ctx`."""
        try:
            self._over.receive(ctx)
        except ChannelClosed:
            if self._error is not None:
                raise self._error.again() from None


class Feed:
    """See the module. At most `most` listen at once. `run` is for a background task."""

    def __init__(
        self, store: EventStore, *, most: int, on_told: Callable[[Event, int], object] = lambda _event, _listeners: None
    ) -> None:
        """`on_told` hears the last event of each batch, and how many it is told to."""
        self._on_told = on_told
        self._store = store
        self._lock = Lock()
        self._free = Semaphore(most)
        self._pages = Semaphore(READ_AT_ONCE)
        self._open: dict[Subscription, None] = {}
        self._waiting = 0  # those who are about to listen
        self._told: dict[int, _Told] = {}
        self._settled = 0
        self._next_look = _Look()
        self._asked: Channel[None] = Channel(1)  # somebody is about to listen
        self._draining = False
        self._complained = False
        self._looked_at = monotonic()
        self.ended = dict.fromkeys(Ending, 0)  # how many were let go, by why
        self._woken = 0  # listeners that were told in the present look
        self.sent = 0  # events, to all listeners together

    def subscribe(
        self, ctx: Context, ledger_id: int, wanted: Filter, after: int | None, *, follow: bool = True
    ) -> Subscription:
        """A listener from `after` on, which is the id of an event of that ledger, or 0; None is from now on.

        Without `follow` it ends with what there is now.

        Raises Overloaded when as many as there may be listen, Unavailable while the log cannot be read or the process is
        about to stop, and the error of `ctx`.
        """
        if self._draining:
            raise Unavailable(STOPPING, retry_after_s=1)
        if not self._free.acquire_nowait():
            raise Overloaded("As many clients as this process tells of events at once are connected.", retry_after_s=5)
        with self._lock:
            self._waiting += 1
            look = self._next_look
        with suppress(WouldBlock):  # it was told already
            self._asked.send_nowait(None)
        try:
            look.wait(ctx)  # it begins after this call: what was settled before is not told as new
            with self._lock:
                if self._draining:
                    raise Unavailable(STOPPING, retry_after_s=1)
                now = self._settled
                listener = Subscription(
                    self, ledger_id, wanted, now if after is None else after, until=None if follow else now
                )
                self._open[listener] = None
        except BaseException:
            self._free.release()
            raise
        finally:
            with self._lock:
                self._waiting -= 1
        return listener

    def read_before(self, ctx: Context, listener: Subscription) -> tuple[Sequence[Event], int]:
        """For one that is behind: the events after its position, and up to which id these are all there are.

        Raises Unavailable, Overloaded, or the error of `ctx`.
        """
        with self._pages.held(ctx):
            with self._lock:
                told = self._told.get(listener.ledger_id)
                until = listener.until or (self._settled if told is None else told.base)
            events = self._store.read(ctx, listener.ledger_id, after=listener.position, until=until, limit=PAGE)
            return events, events[-1].id if len(events) == PAGE else until

    def join(self, listener: Subscription) -> bool:
        """Tell `listener` from now on, and first what is kept; False where what is kept begins after its position."""
        with self._lock:
            told = self._told.get(listener.ledger_id)
            if told is None:
                if self._settled - listener.position > MOST_KEPT:
                    return False
                begin = min(listener.position, self._settled)
                if begin < self._settled:  # it comes back: others do so too, some of them from a little further behind
                    begin = max(begin - FURTHER_BEHIND, 0)
                told = self._told[listener.ledger_id] = _Told(begin)
            elif listener.position < told.base:
                return False
            told.listeners[listener] = None
            listener.kept_before(told.kept, told.position)
            return True

    def leave(self, listener: Subscription) -> None:
        """Tell it no more, and give its place to another."""
        with self._lock:
            if listener not in self._open:
                return
            del self._open[listener]
            self._forget(listener)
        self._free.release()

    def drain(self) -> None:
        """The process is to stop: let all go, and take no more."""
        self._draining = True
        self._end_all(Ending.DRAINING)

    @property
    def clients(self) -> int:
        """How many listen."""
        return len(self._open)

    @property
    def lag_s(self) -> float:
        """How long ago all who listen to the feed had been told of everything; 0 while nobody does."""
        return monotonic() - self._looked_at if self._open else 0.0

    def run(self, ctx: Context) -> None:
        """As a background task: look again and again while somebody listens."""
        stop, asked, pause_s = ctx.done, Receive(self._asked), 0.0
        while True:
            if self._open or self._waiting:
                done = select(background(), stop, timeout_s=pause_s)
            else:
                done = select(background(), stop, asked)
                self._looked_at = monotonic()
            if done.case == stop:
                return
            self._woken = 0
            could_read = self.look(ctx)
            pause_s = LOOK_EVERY_S + self._woken * REST_S if could_read else PAUSE_S

    def look(self, ctx: Context) -> bool:
        """Read what is new, and tell those who listen; False where the log cannot be read. Raises the error of `ctx`."""
        with self._lock:
            look, self._next_look = self._next_look, _Look()
        error: LedgerdError | None = Unavailable("The log of events cannot be read.", retry_after_s=1)
        try:
            with with_timeout(ctx, LONGEST_LOOK_S) as bounded:
                self._look(bounded)
            error = None
        except LedgerdError as failed:
            ctx.check()
            if not self._complained:
                log.warning("the log of events cannot be read: %s", failed.message)
        finally:
            look.end(error)
        self._complained = error is not None
        return error is None

    def _look(self, ctx: Context) -> None:
        settled = self._store.advance(ctx)
        with self._lock:
            set_back = settled < self._settled
            self._settled = settled
            behind = {ledger_id: told for ledger_id, told in self._told.items() if told.position < settled}
        if set_back:
            self._end_all(Ending.RESET)
            return
        news: Collection[int] = behind.keys()
        if len(behind) > 1:
            news = self._store.news(ctx, {ledger_id: told.position for ledger_id, told in behind.items()}, until=settled)
        for ledger_id, told in behind.items():
            if ledger_id in news:
                self._tell_of(ctx, ledger_id, told, settled)
            else:
                self._move(ledger_id, told, settled, [])
        if all(told.position >= settled for told in behind.values()):
            self._looked_at = monotonic()

    def _tell_of(self, ctx: Context, ledger_id: int, told: _Told, settled: int) -> None:
        """What there is of one ledger up to `settled`, but so much at a time that other ledgers have their turn."""
        for _ in range(PAGES_AT_ONCE):
            events = self._store.read(ctx, ledger_id, after=told.position, until=settled, limit=PAGE)
            position = events[-1].id if len(events) == PAGE else settled
            if not self._move(ledger_id, told, position, events) or position == settled:
                return

    def _move(self, ledger_id: int, told: _Told, position: int, events: Sequence[Event]) -> bool:
        """Tell `events`, all there are up to `position`; False where nobody of the ledger has listened all the time."""
        with self._lock:
            if self._told.get(ledger_id) is not told:
                return False
            told.position = position
            if not events:
                return True
            batch = Batch(events)
            told.keep(batch, min(MOST_KEPT, KEPT // len(self._told)))
            listeners = tuple(told.listeners)
        self._on_told(events[-1], len(listeners))
        for number, listener in enumerate(listeners, 1):
            done = listener.tell(batch)
            if done is False:
                self.let_go(listener, Ending.SLOW)
            self._woken += done is True
            if number % TOLD_AT_ONCE == 0:
                give_way()
        return True

    def _end_all(self, ending: Ending) -> None:
        with self._lock:
            listeners = tuple(self._open)
            self._told.clear()
        for listener in listeners:
            self.let_go(listener, ending)

    def let_go(self, listener: Subscription, ending: Ending) -> None:
        """Tell `listener` no more than why."""
        with self._lock:
            self._forget(listener)
            if listener.ending is None:
                self.ended[ending] += 1
        listener.end(ending)

    def _forget(self, listener: Subscription) -> None:
        """Under the lock: it is told no more, and what is kept of a ledger goes with the last of its listeners."""
        told = self._told.get(listener.ledger_id)
        if told is not None:
            told.listeners.pop(listener, None)
            if not told.listeners:
                del self._told[listener.ledger_id]
