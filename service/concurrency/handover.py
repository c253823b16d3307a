"""What a channel decides under its lock: which values and which waiters meet. Nothing here ever waits.

A call that cannot be done at once leaves an `Offer` in one channel, or, as a `select`, one in each of several, all of one
`Waiter`. Whoever can complete an offer claims its waiter first; the claim succeeds once, so a select is done exactly once even
where two channels try at the same moment under two locks. Who claimed hands the value over, and wakes the waiter.

Locks are taken in one order: channels by their number. What can be made before a lock is taken is made before it: where the
garbage collector runs under a lock, a finaliser that came to the same channel would wait for its own thread.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

from service.concurrency.primitives import Lock, Parking

_numbers = count()

NOTHING: Final = object()  # what `take` returns when there is nothing


class Waiter(Parking):
    """A parked call: a send, a receive or a select."""

    __slots__ = ("_chosen",)

    def __init__(self) -> None:
        super().__init__()
        self._chosen: dict[None, Offer] = {}

    @property
    def completed(self) -> Offer | None:
        """The one that is done."""
        return self._chosen.get(None)

    def claim(self, offer: Offer) -> bool:
        """Choose `offer` as the one that is done; False if another was, or if the call has been given up."""
        return self._chosen.setdefault(None, offer) is offer  # one step, which needs no lock

    def give_up(self) -> bool:
        """Choose none of them; False if one is done already."""
        return self.claim(_GIVEN_UP)

    def forget(self) -> None:
        """Forget which one is done; nothing can be done any more.

        Else the waiter and the offer would keep each other, and the value, until the garbage collector comes by.
        """
        self._chosen[None] = _GIVEN_UP


class Offer:
    """One thing that a parked call would do: send `value`, or receive into it. `closed`: the channel was closed instead."""

    __slots__ = ("closed", "value", "waiter")

    def __init__(self, waiter: Waiter, value: object = None) -> None:
        self.waiter = waiter
        self.value = value
        self.closed = False


_GIVEN_UP = Offer(Waiter())


class Handover:
    """The state of one channel. Every method but `withdraw` is called under `lock`."""

    def __init__(self, capacity: int) -> None:
        self.number = next(_numbers)
        self.lock = Lock()
        self.capacity = capacity
        self.values: deque[object] = deque()
        self.senders: OrderedDict[Offer, None] = OrderedDict()  # first come, first served; removed in constant time
        self.receivers: OrderedDict[Offer, None] = OrderedDict()
        self.closed = False

    def put(self, value: object) -> bool:
        """Hand `value` to the first receiver, or keep it where there is room; False if neither can be."""
        if self.receivers and (offer := _claim_first(self.receivers)) is not None:
            offer.value = value
            offer.waiter.wake()
            return True
        if len(self.values) < self.capacity:
            self.values.append(value)
            return True
        return False

    def take(self) -> object:
        """The oldest value, NOTHING if there is none. The first sender that waits has its turn."""
        if self.values:
            value = self.values.popleft()
            if self.senders and len(self.values) < self.capacity and (offer := _claim_first(self.senders)) is not None:
                self.values.append(offer.value)
                offer.waiter.wake()
            return value
        if self.senders and (offer := _claim_first(self.senders)) is not None:
            offer.waiter.wake()
            return offer.value
        return NOTHING

    def shut(self) -> None:
        """Tell every waiter that the channel is closed."""
        self.closed = True
        for queue in (self.receivers, self.senders):
            while (offer := _claim_first(queue)) is not None:
                offer.closed = True
                offer.waiter.wake()

    def withdraw(self, offer: Offer) -> None:
        """Take an offer back, wherever it is queued."""
        with self.lock:
            self.senders.pop(offer, None)
            self.receivers.pop(offer, None)

    def put_back(self, value: object) -> None:
        """Return a value to the front, even beyond the capacity, for a receiver that was killed after it had been given it."""
        with self.lock:
            if (offer := _claim_first(self.receivers)) is not None:
                offer.value = value
                offer.waiter.wake()
            else:
                self.values.appendleft(value)


@contextmanager
def all_locked(channels: list[Handover]) -> Iterator[None]:
    """Hold the locks of `channels`, which are sorted by number and named once each."""
    taken = 0
    try:
        for channel in channels:
            channel.lock.acquire()
            taken += 1
        yield
    finally:
        while taken:
            taken -= 1
            channels[taken].lock.release()


def _claim_first(queue: OrderedDict[Offer, None]) -> Offer | None:
    """The first offer whose waiter is still to be had, claimed. Those that are done elsewhere are dropped on the way."""
    while queue:
        offer, _ = queue.popitem(last=False)
        if offer.waiter.claim(offer):
            return offer
    return None
