"""Discovery: the address of a live instance of a service.

The addresses of a service are put in a random order when they are read and given out in turn: single callers are spread at
random, and many calls evenly. What was read is used for less than a second (see `ledger.kept`), and an address no longer than
its lease by this process's own clock, counted from before the registry was asked: so none is given out whose lease has ended,
however the clocks of both stand. Where nothing of what is kept can be used, the registry is asked again; those who ask at the
same time ask once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import shuffle
from typing import Protocol

from service.concurrency.context import Context
from service.concurrency.primitives import monotonic
from service.errors import Unavailable
from service.events.registry import owner_of
from service.ledger.kept import Kept
from service.ledger.lookups import Lookups

MOST_ADDRESSES = 1000  # of one service; of more, those that were registered first
MOST_SERVICES = 1000  # that are kept

ServiceKey = tuple[int, str]  # the ledger that it belongs to, and its name


class AddressStore(Protocol):
    """What the repository does for this: each address once, with how many seconds are left of the longest lease on it."""

    def find_addresses(self, ctx: Context, ledger_id: int, service: str, *, limit: int) -> Sequence[tuple[str, float]]: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """The addresses of a service, each with the time at which its lease ends."""

    ends: Sequence[tuple[str, float]]
    turns: count[int] = field(default_factory=count)

    def choose(self, now: float, but_not: Collection[str]) -> str | None:
        """The next in turn whose lease goes on."""
        turn = next(self.turns)
        for step in range(len(self.ends)):
            address, end = self.ends[(turn + step) % len(self.ends)]
            if now < end and address not in but_not:
                return address
        return None


class Discovery:
    """See the module. For any number of threads."""

    def __init__(self, store: AddressStore, *, clock: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._clock = clock
        self._kept: Kept[ServiceKey, _Known] = Kept(
            most=MOST_SERVICES, proved_within=lambda _seconds: False, clock=clock
        )
        self._lookups: Lookups[ServiceKey, _Known] = Lookups(self._look_up, self._kept.begin)

    def choose(self, ctx: Context, ledger_id: int, service: str, *, but_not: Collection[str] = ()) -> str:
        """The address of an instance, as it was registered (see `address`); none of `but_not`.

        `ledger_id` is the ledger that asks; a name that begins with `ledgerd` is the host's. Raises Unavailable when there is
        none, and what the repository raises.
        """
        key = owner_of(service, ledger_id), service
        known = self._kept.find(key)
        address = None if known is None else known.choose(self._clock(), but_not)
        if address is None:
            lookup = self._lookups.find(ctx, key)
            self._kept.keep(key, lookup.found, lookup.begun)
            address = lookup.found.choose(self._clock(), but_not)
        if address is None:
            raise Unavailable(f"No instance of the service {service!r} is registered.", retry_after_s=1)
        return address

    def _look_up(self, ctx: Context, key: ServiceKey) -> _Known:
        asked_at = self._clock()
        found = list(self._store.find_addresses(ctx, *key, limit=MOST_ADDRESSES))
        shuffle(found)
        return _Known([(address, asked_at + left_s) for address, left_s in found])
