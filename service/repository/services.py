"""The instances of services in PostgreSQL, always at the primary: leases end by its clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.rows import args_row
from psycopg.types.json import Jsonb

from service.concurrency.context import Context
from service.errors import LimitExceeded
from service.events.registry import Instance, Registration, Service
from service.repository.pool import PgConnection, Pool
from service.repository.queries import Queries

MOST_SWEPT = 1000  # in a statement


class ServiceRepository:
    """Implements `events.registry.InstanceStore`, `events.presence.PresenceStore` and `events.discovery.AddressStore`."""

    def __init__(self, pool: Pool, queries: Queries) -> None:
        self._pool = pool
        self._renew = queries.take("renew_instance")
        self._heartbeat = queries.take("heartbeat_instance")
        self._lock = queries.take("lock_services")
        self._count = queries.take("count_instances")
        self._create = queries.take("create_instance")
        self._delete = queries.take("delete_instance")
        self._delete_expired = queries.take("delete_expired_instances")
        self._find = queries.take("find_instance")
        self._list = queries.take("list_instances")
        self._list_services = queries.take("list_services")
        self._addresses = queries.take("find_addresses")

    def register(self, ctx: Context, ledger_id: int, given: Registration, *, most: int) -> tuple[Instance, bool]:
        """Renew the instance, else make it; tells whether it was made. Raises LimitExceeded where the ledger has `most`.

        To renew takes no lock but its row's. Rows are never more than `most`, those that have expired included: when it comes
        to that, these are removed first.
        """
        values = {
            "ledger_id": ledger_id, "service": given.service, "instance_id": given.instance_id, "address": given.address,
            "lease_s": given.lease_s, "metadata": Jsonb(given.metadata),
        }
        with self._pool.connection(ctx, writes=True) as conn:
            if renewed := _instance(conn, self._renew, values):
                return renewed, False
            with conn.transaction():
                conn.execute(self._lock, values)
                if renewed := _instance(conn, self._renew, values):  # somebody else has made it meanwhile
                    return renewed, False
                if self._has(conn, ledger_id, most):
                    conn.execute(self._delete_expired, {"ledger_id": ledger_id, "limit": most})
                    if self._has(conn, ledger_id, most):
                        raise LimitExceeded(f"This ledger has {most} instances of services, and can have no more.")
                made = _instance(conn, self._create, values)
        assert made is not None, "INSERT … RETURNING gives its row"
        return made, True

    def heartbeat(self, ctx: Context, ledger_id: int, service: str, instance_id: str) -> Instance | None:
        """Renew it for as long again; None where it is not live."""
        with self._pool.connection(ctx, writes=True) as conn:
            return _instance(conn, self._heartbeat, _key(ledger_id, service, instance_id))

    def deregister(self, ctx: Context, ledger_id: int, service: str, instance_id: str) -> bool:
        """Remove it; False where it is not live."""
        with self._pool.connection(ctx, writes=True) as conn:
            return conn.execute(self._delete, _key(ledger_id, service, instance_id), prepare=True).fetchone() is not None

    def find_instance(self, ctx: Context, ledger_id: int, service: str, instance_id: str) -> Instance | None:
        """It, or None where it is not live."""
        with self._pool.connection(ctx) as conn:
            return _instance(conn, self._find, _key(ledger_id, service, instance_id))

    def list_instances(self, ctx: Context, ledger_id: int, service: str, *, after: int, limit: int) -> Sequence[Instance]:
        """A page of those that are live, in the order of registration."""
        page = {"ledger_id": ledger_id, "service": service, "after": after, "limit": limit}
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(Instance)) as cursor:
            return cursor.execute(self._list, page, prepare=True).fetchall()

    def list_services(self, ctx: Context, ledger_id: int, *, after: int, limit: int) -> Sequence[Service]:
        """A page of names that have live instances, by the oldest of them."""
        page = {"ledger_id": ledger_id, "after": after, "limit": limit}
        with self._pool.connection(ctx) as conn, conn.cursor(row_factory=args_row(Service)) as cursor:
            return cursor.execute(self._list_services, page).fetchall()

    def find_addresses(self, ctx: Context, ledger_id: int, service: str, *, limit: int) -> Sequence[tuple[str, float]]:
        """Each address of the service once, with the seconds that are left of the longest lease on it."""
        where = {"ledger_id": ledger_id, "service": service, "limit": limit}
        with self._pool.connection(ctx) as conn:
            rows = conn.execute(self._addresses, where, prepare=True).fetchall()
        return [(address, left_s) for address, left_s in rows]

    def delete_expired(self, ctx: Context) -> int:
        """Remove the rows of all ledgers that have expired; how many that were."""
        removed = 0
        with self._pool.connection(ctx, writes=True) as conn:
            while (swept := conn.execute(self._delete_expired, {"ledger_id": None, "limit": MOST_SWEPT}).rowcount) > 0:
                removed += swept
                if swept < MOST_SWEPT:
                    break
        return removed

    def _has(self, conn: PgConnection, ledger_id: int, most: int) -> bool:
        row = conn.execute(self._count, {"ledger_id": ledger_id}).fetchone()
        assert row is not None, "an aggregate gives one row"
        return int(row[0]) >= most


def _key(ledger_id: int, service: str, instance_id: str) -> dict[str, Any]:
    return {"ledger_id": ledger_id, "service": service, "instance_id": instance_id}


def _instance(conn: PgConnection, query: str, values: dict[str, Any]) -> Instance | None:
    with conn.cursor(row_factory=args_row(Instance)) as cursor:
        return cursor.execute(query, values, prepare=True).fetchone()
