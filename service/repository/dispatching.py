"""Webhooks in PostgreSQL, for those who dispatch: leases with fencing, and progress, written set by set."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from service.concurrency.context import Context
from service.events.dispatching import Claimed, Key, Lease, Written
from service.events.event import Filter
from service.events.outbox import Entry
from service.repository.pool import PgConnection, Pool
from service.repository.queries import Queries


class DispatchRepository:
    """Implements `events.dispatching.DispatchStore`."""

    def __init__(self, pool: Pool, queries: Queries) -> None:
        self._pool = pool
        self._claim = queries.take("claim_webhooks")
        self._find = queries.take("find_claimed")
        self._outstanding = queries.take("list_outstanding")
        self._dead = queries.take("list_dead_after")
        self._renew = queries.take("renew_leases")
        self._look = queries.take("look_at_leases")
        self._release = queries.take("release_leases")
        self._fence = queries.take("fence_webhooks")
        self._advance = queries.take("advance_webhooks")
        self._forget = queries.take("forget_deliveries")
        self._keep = queries.take("keep_deliveries")
        self._prune = queries.take("prune_dead")

    def claim(self, ctx: Context, *, lease_s: float, limit: int) -> Sequence[Lease]:
        """New leases."""
        with self._pool.connection(ctx, writes=True) as conn:
            rows = conn.execute(self._claim, {"lease_s": lease_s, "limit": limit}, prepare=True).fetchall()
        return [Lease(*row) for row in rows]

    def find_claimed(self, ctx: Context, lease: Lease) -> Claimed | None:
        """The webhook, or None."""
        where = {"ledger_id": lease.ledger_id, "webhook_id": lease.webhook_id, "token": lease.token}
        with self._pool.connection(ctx) as conn:
            row = conn.execute(self._find, where, prepare=True).fetchone()
        if row is None:
            return None
        ledger_id, number, token, revision, url, types, account_ids, secret, old_secret, left_s, cursor = row
        wanted = Filter(
            None if types is None else frozenset(types), None if account_ids is None else frozenset(account_ids)
        )
        return Claimed(
            Lease(ledger_id, number, token), revision, url, wanted, bytes(secret),
            None if old_secret is None else bytes(old_secret), left_s or 0.0, cursor,
        )

    def list_outstanding(self, ctx: Context, key: Key, *, now: float) -> Sequence[Entry]:
        """Entries that are due when their rows say so."""
        with self._pool.connection(ctx) as conn:
            rows = conn.execute(self._outstanding, {"ledger_id": key[0], "webhook_id": key[1]}, prepare=True).fetchall()
        return [
            Entry(event_id, event_type, tuple(account_ids), attempts, now + wait_s, since=now)
            for event_id, event_type, account_ids, attempts, wait_s in rows
        ]

    def list_dead_after(self, ctx: Context, key: Key, event_id: int) -> Collection[int]:
        """Their ids."""
        with self._pool.connection(ctx) as conn:
            where = {"ledger_id": key[0], "webhook_id": key[1], "after": event_id}
            return {number for (number,) in conn.execute(self._dead, where, prepare=True).fetchall()}

    def look(self, ctx: Context, leases: Sequence[Lease], *, renew_for_s: float | None) -> Mapping[Key, int]:
        """Revisions."""
        if not leases:
            return {}
        query = self._look if renew_for_s is None else self._renew
        with self._pool.connection(ctx, writes=renew_for_s is not None) as conn:
            rows = conn.execute(query, {**_columns(leases), "lease_s": renew_for_s}, prepare=True).fetchall()
        return {(ledger_id, number): revision for ledger_id, number, revision in rows}

    def release(self, ctx: Context, leases: Sequence[Lease]) -> None:
        """Let them go."""
        with self._pool.connection(ctx, writes=True) as conn:
            conn.execute(self._release, _columns(leases))

    def write(self, ctx: Context, written: Sequence[Written]) -> Collection[Key]:
        """One transaction, whose locks are the webhooks' rows in the order of their keys."""
        with self._pool.connection(ctx, writes=True) as conn, conn.transaction():
            rows = conn.execute(self._fence, _columns([each.lease for each in written]), prepare=True).fetchall()
            keys = {(ledger_id, number) for ledger_id, number in rows}
            mine = [each for each in written if each.lease.key in keys]
            self._write_rows(conn, mine)
            conn.execute(self._advance, {
                **_columns([each.lease for each in mine]),
                "cursors": [each.progress.cursor for each in mine], "gone": [each.gone for each in mine],
            }, prepare=True)
        return keys

    def _write_rows(self, conn: PgConnection, mine: Sequence[Written]) -> None:
        delivered = [(*each.lease.key, event_id) for each in mine for event_id in each.progress.delivered]
        if delivered:
            conn.execute(self._forget, _transposed(("ledger_ids", "webhook_ids", "event_ids"), delivered), prepare=True)
        kept = [
            (*each.lease.key, row.event_id, row.event_type, _array(row.account_ids), row.attempts,
             row.wait_s, row.attempted, row.problem)
            for each in mine for row in each.progress.rows
        ]
        if kept:
            names = ("ledger_ids", "webhook_ids", "event_ids", "event_types", "account_ids", "attempts", "waits_s",
                     "attempted", "problems")
            conn.execute(self._keep, _transposed(names, kept), prepare=True)

    def prune(self, ctx: Context, leases: Sequence[Lease], *, keep_s: float, most: int) -> None:
        """Remove old dead rows."""
        with self._pool.connection(ctx, writes=True) as conn:
            conn.execute(self._prune, {**_columns(leases), "keep_s": keep_s, "most": most})


def _array(numbers: Sequence[int]) -> str:
    """As PostgreSQL writes an array: one of arrays of several lengths there is not."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _columns(leases: Sequence[Lease]) -> dict[str, Any]:
    return {
        "ledger_ids": [lease.ledger_id for lease in leases], "webhook_ids": [lease.webhook_id for lease in leases],
        "tokens": [lease.token for lease in leases],
    }


def _transposed(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
