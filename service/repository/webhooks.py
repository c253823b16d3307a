"""Webhooks in PostgreSQL, for those who manage them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.rows import args_row

from service.concurrency.context import Context
from service.events.subscriptions import Delivery, NewWebhook, Webhook
from service.repository.pool import PgConnection, Pool
from service.repository.queries import Queries


class WebhookRepository:
    """Implements `events.subscriptions.WebhookStore`."""

    def __init__(self, pool: Pool, queries: Queries) -> None:
        self._pool = pool
        self._lock_ledger = queries.take("lock_ledger_for_webhooks")
        self._count = queries.take("count_webhooks")
        self._create = queries.take("create_webhook")
        self._find = queries.take("find_webhook")
        self._list = queries.take("list_webhooks")
        self._change = queries.take("change_webhook")
        self._hurry = queries.take("hurry_deliveries")
        self._delete = queries.take("delete_webhook")
        self._rotate = queries.take("rotate_webhook_secret")
        self._deliveries = queries.take("list_webhook_deliveries")
        self._redeliver = queries.take("redeliver_dead")

    def create_webhook(self, ctx: Context, ledger_id: int, made: NewWebhook, *, most: int) -> Webhook | None:
        """The webhook; None where the ledger has `most` of them."""
        values = {
            "ledger_id": ledger_id, "url": made.url, "types": _array(made.types), "account_ids": _array(made.account_ids),
            "description": made.description, "secret": made.secret, "cursor": made.cursor,
        }
        with self._pool.connection(ctx, writes=True) as conn, conn.transaction():
            conn.execute(self._lock_ledger, values)
            count = conn.execute(self._count, values).fetchone()
            if count is None or count[0] >= most:
                return None
            row = conn.execute(self._create, values).fetchone()
            assert row is not None, "INSERT … RETURNING gives its row"
            return self._webhook(conn, ledger_id, row[0])

    def find_webhook(self, ctx: Context, ledger_id: int, webhook_id: int) -> Webhook | None:
        """The webhook, or None."""
        with self._pool.connection(ctx) as conn:
            return self._webhook(conn, ledger_id, webhook_id)

    def list_webhooks(self, ctx: Context, ledger_id: int, *, after: int, limit: int) -> Sequence[Webhook]:
        """A page in id order."""
        page = {"ledger_id": ledger_id, "after": after, "limit": limit}
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(Webhook)) as cursor:
            return cursor.execute(self._list, page).fetchall()

    def change_webhook(self, ctx: Context, ledger_id: int, webhook_id: int, changes: Mapping[str, Any]) -> Webhook | None:
        """The webhook with its changes, or None."""
        values = {
            "url": changes.get("url"), "types": _array(changes.get("types")), "description": changes.get("description"),
            "account_ids": _array(changes.get("account_ids")), "status": changes.get("status"), "named": list(changes),
        }
        hurries = "url" in changes or changes.get("status") == "enabled"
        return self._change_one(ctx, ledger_id, webhook_id, self._change, values, hurries=hurries)

    def delete_webhook(self, ctx: Context, ledger_id: int, webhook_id: int) -> bool:
        """Whether there was one."""
        with self._pool.connection(ctx, writes=True) as conn:
            return conn.execute(self._delete, {"ledger_id": ledger_id, "webhook_id": webhook_id}).fetchone() is not None

    def rotate_secret(
        self, ctx: Context, ledger_id: int, webhook_id: int, secret: bytes, *, overlap_s: int
    ) -> Webhook | None:
        """The webhook, or None."""
        return self._change_one(ctx, ledger_id, webhook_id, self._rotate, {"secret": secret, "overlap_s": overlap_s})

    def list_deliveries(
        self, ctx: Context, ledger_id: int, webhook_id: int, *, status: str | None, after: int, limit: int
    ) -> Sequence[Delivery]:
        """A page in the order of events."""
        page = {"ledger_id": ledger_id, "webhook_id": webhook_id, "status": status, "after": after, "limit": limit}
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(Delivery)) as cursor:
            return cursor.execute(self._deliveries, page).fetchall()

    def redeliver(self, ctx: Context, ledger_id: int, webhook_id: int, event_id: int | None) -> int:
        """How many were dead."""
        where = {"ledger_id": ledger_id, "webhook_id": webhook_id, "event_id": event_id}
        with self._pool.connection(ctx, writes=True) as conn:
            row = conn.execute(self._redeliver, where).fetchone()
        return 0 if row is None else int(row[0])

    def _change_one(
        self, ctx: Context, ledger_id: int, webhook_id: int, query: str, values: Mapping[str, Any], *, hurries: bool = False
    ) -> Webhook | None:
        with self._pool.connection(ctx, writes=True) as conn, conn.transaction():
            where = {"ledger_id": ledger_id, "webhook_id": webhook_id, **values}
            if conn.execute(query, where).fetchone() is None:
                return None
            if hurries:
                conn.execute(self._hurry, where)
            return self._webhook(conn, ledger_id, webhook_id)

    def _webhook(self, conn: PgConnection, ledger_id: int, webhook_id: int) -> Webhook | None:
        with conn.cursor(row_factory=args_row(Webhook)) as cursor:
            return cursor.execute(self._find, {"ledger_id": ledger_id, "webhook_id": webhook_id}).fetchone()


def _array(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)
