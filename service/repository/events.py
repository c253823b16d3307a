"""Events in PostgreSQL: two tables, whose ids are of one sequence, read as one log."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from heapq import merge
from itertools import islice

from psycopg.rows import args_row

from service.concurrency.context import Context
from service.events.event import AccountChange, Event
from service.ledger.transfers import Transfer
from service.repository.horizon import Horizon
from service.repository.pool import Pool
from service.repository.queries import Queries


class EventRepository:
    """Implements `events.log.EventStore`, at the primary."""

    def __init__(self, pool: Pool, queries: Queries) -> None:
        self._pool = pool
        self._horizon = Horizon(queries)
        self._transfers = queries.take("list_transfer_events")
        self._changes = queries.take("list_account_events")
        self._news = queries.take("ledgers_with_events")
        self._find = queries.take("find_event")

    def advance(self, ctx: Context) -> int:
        """The greatest id of which it is now known that the logs of all ledgers are settled up to it."""
        with self._pool.connection(ctx) as conn:
            return self._horizon.advance(conn)

    def read(self, ctx: Context, ledger_id: int, *, after: int, until: int, limit: int) -> Sequence[Event]:
        """Up to `limit` events after `after`, up to `until`, in order."""
        page = {"ledger_id": ledger_id, "after": after, "until": until, "limit": limit}
        with self._pool.connection(ctx) as conn:
            transfers = conn.cursor(row_factory=args_row(Transfer)).execute(self._transfers, page, prepare=True).fetchall()
            changes = conn.cursor(row_factory=args_row(AccountChange)).execute(self._changes, page, prepare=True).fetchall()
        rows: tuple[Sequence[Transfer | AccountChange], ...] = (transfers, changes)
        return [Event(ledger_id, subject) for subject in islice(merge(*rows, key=_id), limit)]

    def news(self, ctx: Context, positions: Mapping[int, int], *, until: int) -> Collection[int]:
        """The ledgers that have events after their position, up to `until`."""
        asked = {"ledger_ids": list(positions), "positions": list(positions.values()), "until": until}
        with self._pool.connection(ctx) as conn:
            return {ledger_id for (ledger_id,) in conn.execute(self._news, asked, prepare=True).fetchall()}

    def has(self, ctx: Context, ledger_id: int, event_id: int) -> bool:
        """Whether the ledger has an event of this id; it need not be settled."""
        with self._pool.connection(ctx) as conn:
            row = conn.execute(self._find, {"ledger_id": ledger_id, "event_id": event_id}, prepare=True).fetchone()
        return row == (True,)


def _id(subject: Transfer | AccountChange) -> int:
    return subject.id
