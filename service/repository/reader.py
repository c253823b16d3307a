"""Reads: from a replica first, from the next one when that is slow or fails, from the primary in the end.

The first answer counts, and what others are at is cancelled at their servers. A second attempt beside one that still runs (a
hedge) starts after the time that nineteen of twenty reads take, and for no more than one read in twenty. A read that brings
positions is only answered by a server that has reached them. Without replicas all this is one connection to the primary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from service.concurrency.breaker import BreakerOpen
from service.concurrency.context import Context, background
from service.concurrency.group import WaitGroup
from service.concurrency.primitives import Parking, monotonic
from service.concurrency.race import race
from service.errors import DeadlineExceeded, LedgerdError, Unavailable
from service.ledger.position import POSITIONS
from service.repository.hedging import Hedging
from service.repository.pool import PgConnection, Pool
from service.repository.queries import Queries
from service.repository.replica import Behind
from service.repository.replicas import Replicas

T = TypeVar("T")
Work = Callable[[PgConnection], T]

LOOK_AGAIN_S = 0.05  # whether the primary has reached a position


class Reader:
    """See the module."""

    def __init__(
        self, primary: Pool, queries: Queries, replicas: Replicas | None = None, hedging: Hedging | None = None
    ) -> None:
        self._primary = primary
        self._has_reached = queries.take("has_reached")
        self._replicas = replicas
        self._hedging = hedging or Hedging()
        self._left = WaitGroup()  # attempts that have lost and are being cancelled

    def read(self, ctx: Context, work: Work[T]) -> T:
        """`work(conn)`, on whichever server answers first. It may run more than once at a time, and must only read.

        Raises what `Pool.connection` does, and Unavailable where no server reaches the positions in time.
        """
        candidates = self._replicas.candidates() if self._replicas is not None else ()
        if not candidates:
            return self.read_primary(ctx, work)
        began = monotonic()
        self._hedging.note_read()
        reads = [*(replica.read for replica in candidates), self._read_primary_at_once]
        failed: list[Exception] = []
        attempts = [self._attempt(number, read, work, failed) for number, read in enumerate(reads)]
        try:
            found = race(ctx, *attempts, hedge_after_s=self._hedging.delay_s, left=self._left)
        except ExceptionGroup as group:
            if isinstance(group.exceptions[-1], (_Enough, Behind, BreakerOpen)) or len(failed) < len(attempts):
                return self.read_primary(ctx, work)
            raise _worst(group) from group
        self._hedging.note_took(monotonic() - began)
        return found

    def read_primary(self, ctx: Context, work: Work[T]) -> T:
        """`work(conn)` on the primary, as soon as that has reached the positions that `ctx` holds."""
        while True:
            try:
                return self._read_primary_at_once(ctx, work)
            except Behind:  # a position of the future: of another primary, or of before a restore
                try:
                    ctx.park(Parking(), LOOK_AGAIN_S)
                    ctx.check()
                except DeadlineExceeded:
                    message = "No server has reached the Ledger-Position that was asked for."
                    raise Unavailable(message, retry_after_s=1) from None

    def close(self, timeout_s: float) -> bool:
        """Wait for what is being cancelled; whether all of it ended in time."""
        try:
            self._left.wait(background(), timeout_s)
        except TimeoutError:
            return False
        return True

    def _attempt(
        self, number: int, read: Callable[[Context, Work[T]], T], work: Work[T], failed: list[Exception]
    ) -> Callable[[Context], T]:
        def attempt(ctx: Context) -> T:
            if number > len(failed) and not self._hedging.take():
                raise _Enough
            try:
                return read(ctx, self._reaching(ctx, work))
            except Exception as error:
                failed.append(error)
                raise

        return attempt

    def _read_primary_at_once(self, ctx: Context, work: Work[T]) -> T:
        with self._primary.connection(ctx) as conn:
            return self._reaching(ctx, work)(conn)

    def _reaching(self, ctx: Context, work: Work[T]) -> Work[T]:
        positions = ctx.value(POSITIONS)
        if positions is None:
            return work

        def check_first(conn: PgConnection) -> T:
            row = conn.execute(self._has_reached, {"positions": list(map(str, positions))}, prepare=True).fetchone()
            if row is None or not row[0]:
                raise Behind
            return work(conn)

        return check_first


class _Enough(Exception):
    """There have been as many hedges as there may be."""


def _worst(group: ExceptionGroup[Exception]) -> Exception:
    """What to tell: the last error that says something of the database or the request."""
    return next((error for error in reversed(group.exceptions) if isinstance(error, LedgerdError)), group)
