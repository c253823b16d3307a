"""The replicas, examined twice a second: what reads would find out too late.

A replica that does not answer at all is given up at once, with all that wait for it. One that lags by more than `max_lag_s`
seconds, or that does not follow this primary, is left out. Lag is reckoned by where the primary was when, so it is right for a
primary that has nothing to write as well.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import inf

from service.concurrency.breaker import BreakerOpen, State
from service.concurrency.context import Context, with_timeout
from service.concurrency.group import Group
from service.concurrency.primitives import Parking, monotonic
from service.errors import LedgerdError
from service.repository.pool import PgConnection, Pool
from service.repository.queries import Queries
from service.repository.replica import Progress, Replica

log = logging.getLogger(__name__)

EXAMINE_EVERY_S = 0.5
ANSWER_WITHIN_S = 1.0
MUCH_SLOWER = 3.0  # than the fastest: such a replica is asked last
SLOW_S = 0.005  # below it, no difference matters


class Replicas:
    """See the module."""

    def __init__(self, primary: Pool, replicas: Sequence[Replica], queries: Queries, *, max_lag_s: float) -> None:
        self.all = tuple(replicas)
        self._primary = primary
        self._max_lag_s = max_lag_s
        self._where_primary = queries.take("where_primary_is")
        self._where_replica = queries.take("where_replica_is")
        self._progress = Progress()
        self._system: str | None = None
        self._turn = 0
        self._left_out: dict[str, str] = {}

    def run(self, ctx: Context) -> None:
        """As a background task: examine them until `ctx` ends."""
        while ctx.error() is None:
            self._note_primary(ctx)
            with Group(ctx, name="examine replicas") as group:
                for replica in self.all:
                    group.spawn(self._examine, replica)
            ctx.park(Parking(), EXAMINE_EVERY_S)

    def candidates(self) -> list[Replica]:
        """Those to ask, in the order to ask them: in turn, and much slower ones last."""
        usable = [
            replica for replica in self.all if replica.lag_s <= self._max_lag_s and replica.breaker.state is not State.OPEN
        ]
        if len(usable) < 2:
            return usable
        self._turn += 1
        first = self._turn % len(usable)
        slow_s = max(min(replica.mean_s for replica in usable) * MUCH_SLOWER, SLOW_S)
        return sorted(usable[first:] + usable[:first], key=lambda replica: replica.mean_s > slow_s)

    def _note_primary(self, ctx: Context) -> None:
        try:
            with with_timeout(ctx, ANSWER_WITHIN_S) as bounded, self._primary.connection(bounded) as conn:
                self._system, written = conn.execute(self._where_primary, prepare=True).fetchone() or (None, 0)
        except LedgerdError:
            return  # without it the replicas seem to lag more and more, and that is what they may do
        self._progress.note(monotonic(), written)

    def _examine(self, ctx: Context, replica: Replica) -> None:
        began = monotonic()

        def look(conn: PgConnection) -> tuple[str, bool, int]:
            row = conn.execute(self._where_replica, prepare=True).fetchone()
            assert row is not None, "a SELECT of one row gives it"
            return row[0], row[1], row[2]

        try:
            with with_timeout(ctx, ANSWER_WITHIN_S) as bounded:
                system, in_recovery, replayed = replica.read(bounded, look, acquire_s=ANSWER_WITHIN_S)
        except (LedgerdError, BreakerOpen):
            if ctx.error() is None:
                replica.stop_waiting()
                self._tell(replica, "it does not answer")
            return
        follows = in_recovery and system == self._system
        replica.lag_s = self._progress.lag_s(began, replayed) if follows else inf
        if not follows:
            self._tell(replica, "it is no replica of this primary")
        else:
            self._tell(replica, "" if replica.lag_s <= self._max_lag_s else "it lags")

    def _tell(self, replica: Replica, why: str) -> None:
        """Log it once, and once more when that is over."""
        if self._left_out.get(replica.name, "") != why:
            self._left_out[replica.name] = why
            if why:
                log.warning("replica %s is not read from: %s", replica.name, why)
            else:
                log.info("replica %s is read from", replica.name)
