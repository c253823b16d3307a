"""The settled horizon: up to which id the log of transfers will gain no row any more.

Ids are drawn in order, but transactions commit in any: a row with a lower id may appear after one with a higher. Whoever goes
through the log once, to seal it or to tell of it, must not pass an id whose transaction still runs, or it skips that row.

A row's id is drawn by a transaction that has its own number (xid) by then, for it has locked the accounts. So: read the last
id that was drawn; then, in a later statement, draw a transaction number. Whoever has drawn an id up to that one got a lower
number. Once every transaction with a lower number has ended, each of these ids has a row that can be seen, or never will.

The order of the three statements is all of it. Each is a transaction of its own, at the primary.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.repository.pool import PgConnection
from service.repository.queries import Queries


class Horizon:
    """See the module. It is for one task at a time; what it knows only grows, unless the database was set back."""

    def __init__(self, queries: Queries) -> None:
        self._last_drawn = queries.take("last_drawn_id")
        self._draw = queries.take("draw_transaction")
        self._have_ended = queries.take("all_have_ended")
        self._mark: _Mark | None = None
        self.settled_id = 0

    def advance(self, conn: PgConnection) -> int:
        """Look again, on a connection in autocommit mode: the greatest id of which it is now known that it is settled.

        A mark that is not reached yet is kept for the next call: with a new one each time, transactions that overlap would
        put it off for ever.
        """
        last_id = int(_value(conn, self._last_drawn))
        if last_id < max(self.settled_id, self._mark.id if self._mark else 0):  # restored to an earlier state
            self._mark, self.settled_id = None, 0
        if self._mark is not None:
            self._reach(conn, self._mark)
        if self._mark is None and last_id > self.settled_id:
            self._mark = _Mark(last_id, _value(conn, self._draw))
            self._reach(conn, self._mark)
        return self.settled_id

    def _reach(self, conn: PgConnection, mark: _Mark) -> None:
        if _value(conn, self._have_ended, transaction=mark.transaction):
            self._mark, self.settled_id = None, mark.id


@dataclass(frozen=True, slots=True)
class _Mark:
    """Ids up to `id` are settled once all transactions before `transaction` have ended."""

    id: int
    transaction: str


def _value(conn: PgConnection, query: str, **parameters: str) -> str:
    row = conn.execute(query, parameters, prepare=True).fetchone()
    assert row is not None, "these queries give one row"
    value: str = row[0]
    return value
