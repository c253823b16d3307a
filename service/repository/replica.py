"""One server to read from that follows the primary: its connections, how far behind it is, and how fast it answers.

A breaker keeps reads away from a replica that fails.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from math import inf
from typing import TypeVar

from service.concurrency.breaker import Breaker, State
from service.concurrency.context import Context, background, with_cancel
from service.concurrency.primitives import Lock, monotonic
from service.errors import Internal, LedgerdError, Unavailable
from service.repository.pool import PgConnection, Pool

log = logging.getLogger(__name__)

T = TypeVar("T")

FAILURES, WINDOW_S, OPEN_S = 3, 10.0, 2.0
WEIGHT = 0.3  # of the newest read in the mean
ACQUIRE_S = 0.25  # a dead one has no connection to give, and another server may be asked
MOST_POSITIONS = 256  # of the primary, two a second


class Behind(Exception):
    """The replica has not reached a position that the read must see."""


class Progress:
    """Where the primary was when: what the lag of its replicas is reckoned by, in seconds."""

    def __init__(self) -> None:
        self._known: deque[tuple[float, int]] = deque(maxlen=MOST_POSITIONS)

    def note(self, moment: float, written: int) -> None:
        """At `moment` the primary had written so many bytes of log."""
        self._known.append((moment, written))

    def lag_s(self, moment: float, replayed: int) -> float:
        """How old, at `moment`, what a replica shows is that has replayed so many bytes; infinite if older than is known."""
        known = list(self._known)
        if known and replayed >= known[-1][1]:
            return 0.0
        return next((moment - then for then, written in reversed(known) if written <= replayed), inf)


class Replica:
    """See the module. `name` is its place in DATABASE_REPLICA_URLS, from 1."""

    def __init__(self, name: str, pool: Pool) -> None:
        self.name = name
        self.pool = pool
        self.lag_s = inf
        self.mean_s = 0.0  # how long a read takes
        self.breaker = Breaker(
            failures=FAILURES, window_s=WINDOW_S, open_s=OPEN_S, counts=_is_failure, on_change=self._tell
        )
        self._lock = Lock()
        self._answering = with_cancel(background())  # ends when it is found not to answer, and with it what waits for it

    def read(self, ctx: Context, work: Callable[[PgConnection], T], *, acquire_s: float = ACQUIRE_S) -> T:
        """`work(conn)` on one of its connections. Raises BreakerOpen, and Unavailable when it fails, stops answering or has no
        connection within `acquire_s`.
        """
        return self.breaker.call(self._read, ctx, work, acquire_s)

    def _read(self, ctx: Context, work: Callable[[PgConnection], T], acquire_s: float) -> T:
        began = monotonic()
        with self._lock:
            answering = self._answering
        with with_cancel(ctx) as bounded:
            forget = answering.on_done(lambda: bounded.cancel(Unavailable("The replica does not answer.")))
            try:
                with self.pool.connection(bounded, within_s=acquire_s) as conn:
                    found = work(conn)
            except LedgerdError:  # such as that another server was faster: it would have taken longer still
                self.note_took(max(monotonic() - began, self.mean_s))
                raise
            finally:
                forget()
        self.note_took(monotonic() - began)
        return found

    def note_took(self, seconds: float) -> None:
        """A read, or an examination, took so long."""
        self.mean_s += WEIGHT * (seconds - self.mean_s) if self.mean_s else seconds

    def stop_waiting(self) -> None:
        """It does not answer: nobody is to wait for it any longer."""
        with self._lock:
            given_up, self._answering = self._answering, with_cancel(background())
        given_up.cancel()
        self.lag_s = inf

    def _tell(self, _old: State, new: State) -> None:
        log.warning("replica %s: the breaker is %s", self.name, new.value)


def _is_failure(error: Exception) -> bool:
    return isinstance(error, (Unavailable, Internal))

