"""Which instances there are, and which one is asked next: in turn, those first that this call has not tried and that work.

Each instance has a circuit breaker of its own. What opens it are FAILURES in a row: connections that fail or break, proxies
that have no answer, and answers that do not come though they had time to. What an instance answers, be it an error, is an
answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from itertools import count
from typing import Protocol

from service.client.exchange import Broken, Connections
from service.client.request import Reply, Request
from service.concurrency.breaker import Breaker, State
from service.concurrency.context import Context, with_cancel, with_timeout
from service.concurrency.primitives import Lock
from service.concurrency.semaphore import Semaphore
from service.errors import LedgerdError, Unavailable

log = logging.getLogger(__name__)

FAILURES = 5  # in a row open a breaker
OPEN_S = 2.0
KNOWN_FOR_S = 2.0  # what the registry told
ASK_TIMEOUT_S = 1.0  # of a call that could go on with what is known
TRY_AGAIN_S = 0.5  # after it could not be asked


class Source(Protocol):
    """Where base URLs come from. Raises Unavailable when there is none."""

    def find(self, ctx: Context) -> Sequence[str]: ...


class Fixed:
    """Base URLs that are given once."""

    def __init__(self, bases: Sequence[str]) -> None:
        if not bases:
            raise ValueError("expected the URL of at least one server")
        self._bases = tuple(dict.fromkeys(base.rstrip("/") for base in bases))

    def find(self, ctx: Context) -> Sequence[str]:
        """All of them."""
        return self._bases


class Registered:
    """What the registry tells of a service: `ask` gives addresses, each with the seconds that its lease goes on.

    It is asked every KNOWN_FOR_S seconds at most. While it cannot be, what it told is used for as long as the leases go on.
    """

    def __init__(self, ask: Callable[[Context], Sequence[tuple[str, float]]], service: str) -> None:
        self._ask = ask
        self._service = service
        self._asking = Semaphore(1)
        self._ends: dict[str, float] = {}
        self._until = float("-inf")

    def find(self, ctx: Context) -> Sequence[str]:
        """Those whose leases go on by our own clock, counted from before the registry was asked."""
        live = self._live(ctx)
        if not live or ctx.clock.now() >= self._until:
            self._refresh(ctx, has_some=bool(live))
            live = self._live(ctx)
        if not live:
            raise Unavailable(f"No instance of the service {self._service!r} is registered.")
        return live

    def _live(self, ctx: Context) -> Sequence[str]:
        now = ctx.clock.now()
        return [base for base, end in self._ends.items() if now < end]

    def _refresh(self, ctx: Context, *, has_some: bool) -> None:
        """One asks; the others wait for its answer only where they have nothing to go on with."""
        before = self._until
        if not has_some:
            self._asking.acquire(ctx)
        elif not self._asking.acquire_nowait():
            return
        try:
            if self._until != before:  # somebody has asked meanwhile
                return
            asked_at = ctx.clock.now()
            with with_timeout(ctx, ASK_TIMEOUT_S) if has_some else with_cancel(ctx) as bounded:
                told = self._ask(bounded)
            self._ends = {base_url(address): asked_at + left_s for address, left_s in told}
            self._until = asked_at + KNOWN_FOR_S
        except LedgerdError as error:
            if not has_some:
                raise
            log.info("the registry cannot be asked for %r, and what it told before is used: %s", self._service, error.message)
            self._until = ctx.clock.now() + TRY_AGAIN_S
        finally:
            self._asking.release()


class Instance:
    """A server: its connections, its breaker, and what opened that."""

    def __init__(self, base: str, *, connections: int) -> None:
        self.connections = Connections(base, most=connections)
        self.breaker = Breaker(failures=1, window_s=OPEN_S, open_s=OPEN_S, counts=self._counts)
        self.last_fault = ""
        self._in_a_row = 0  # two threads at once may miscount it by one, which does no harm

    def exchange(self, ctx: Context, request: Request, timeout: str) -> Reply:
        """As `Connections.exchange`. Raises BreakerOpen too."""
        reply = self.breaker.call(self.connections.exchange, ctx, request, timeout)
        self._in_a_row = 0
        return reply

    def _counts(self, error: Exception) -> bool:
        if not isinstance(error, Broken) or not error.to_blame:
            return False
        self.last_fault = str(error)
        self._in_a_row += 1
        return self._in_a_row >= FAILURES


class Instances:
    """The instances that `source` tells, made as they are needed and closed when they are told no more."""

    def __init__(self, source: Source, *, connections: int) -> None:
        self._source = source
        self._connections = connections
        self._lock = Lock()
        self._made: dict[str, Instance] = {}
        self._turns = count()

    def choose(self, ctx: Context, tried: Collection[Instance], *, may_probe: bool = True) -> Instance:
        """The next in turn; an untried one whose breaker is not open, where there is such. Raises Unavailable.

        `may_probe`: it may be the call that finds out whether a server works again, where others do.
        """
        rank = {State.CLOSED: 0, State.HALF_OPEN: 0 if may_probe else 1, State.OPEN: 2}
        every = self._update(self._source.find(ctx))
        turn = next(self._turns)
        in_turn = [every[(turn + step) % len(every)] for step in range(len(every))]
        return min(in_turn, key=lambda each: (rank[each.breaker.state], each in tried))

    def has_other(self, tried: Collection[Instance]) -> bool:
        """Whether there is one, as far as is known, that is not tried yet and whose breaker is not open."""
        with self._lock:
            every = list(self._made.values())
        return any(each not in tried and each.breaker.state is not State.OPEN for each in every)

    def close(self) -> None:
        """Close the connections."""
        self._update(())

    def _update(self, bases: Sequence[str]) -> Sequence[Instance]:
        with self._lock:
            gone = [self._made.pop(base) for base in self._made.keys() - set(bases)]
            for base in bases:
                if base not in self._made:
                    self._made[base] = Instance(base, connections=self._connections)
            every = [self._made[base] for base in bases]
        for instance in gone:
            instance.connections.close()
        return every


def base_url(address: str) -> str:
    """The URL that requests to `address` begin with, without a slash at its end: of HOST:PORT plain HTTP's."""
    return (address if "://" in address else f"http://{address}").rstrip("/")
