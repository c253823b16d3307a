"""Seals in PostgreSQL: making them, and reading them."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import args_row

from service.audit.seal import BEFORE_THE_FIRST, Seal, Standing, seal_hash
from service.concurrency.context import Context
from service.repository.horizon import Horizon
from service.repository.pool import PgConnection, Pool
from service.repository.queries import Queries
from service.repository.reader import Reader


class SealRepository:
    """Implements `audit.seal.SealStore` and `audit.sealing.SealingStore`; `seal_due` is for one task at a time."""

    def __init__(self, pool: Pool, reader: Reader, queries: Queries) -> None:
        self._pool = pool
        self._reader = reader
        self._horizon = Horizon(queries)
        self._lock = queries.take("lock_sealing")
        self._due = queries.take("find_due")
        self._digest = queries.take("digest_rows")
        self._create = queries.take("create_seal")
        self._list = queries.take("list_seals")
        self._sealing = queries.take("find_sealing")
        self._age = queries.take("find_unsealed_age")

    def list_seals(self, ctx: Context, ledger_id: int, *, before: int, limit: int) -> tuple[Sequence[Seal], Standing]:
        """A page, newest first, and how far sealing is."""
        where = {"ledger_id": ledger_id, "before": before, "limit": limit}

        def read(conn: PgConnection) -> tuple[Sequence[Seal], Standing]:
            found = conn.cursor(row_factory=args_row(Seal)).execute(self._list, where, prepare=True).fetchall()
            standing = conn.cursor(row_factory=args_row(Standing)).execute(self._sealing, where, prepare=True).fetchone()
            assert standing is not None, "the query gives one row"
            return found, standing

        return self._reader.read(ctx, read)

    def find_unsealed_age_s(self, ctx: Context) -> float:
        """How old the oldest row without a seal is, in seconds; 0 without any."""
        with self._pool.connection(ctx) as conn:
            row = conn.execute(self._age, prepare=True).fetchone()
        assert row is not None, "an aggregate gives one row"
        return float(row[0])

    def seal_due(self, ctx: Context, *, interval_s: float, most_rows: int, most_seals: int) -> int:
        """Make the seals that are due, each in a transaction of its own; how many were made.

        None while somebody else is making one. A row without a settled id is never sealed: see `horizon`.
        """
        made = 0
        with self._pool.connection(ctx, writes=True) as conn:
            where = {"settled": self._horizon.advance(conn), "interval_s": interval_s, "most_rows": most_rows}
            while made < most_seals and self._seal_next(conn, where):
                made += 1
        return made

    def _seal_next(self, conn: PgConnection, where: dict[str, float]) -> bool:
        with conn.transaction():
            is_mine = conn.execute(self._lock).fetchone()
            due = conn.execute(self._due, where).fetchone() if is_mine == (True,) else None
            if due is None:
                return False
            ledger_id, number, sealed_to, hash_before = due
            span = {"ledger_id": ledger_id, "after_id": sealed_to, "until_id": where["settled"]}
            digested = conn.execute(self._digest, where | span).fetchone()
            assert digested is not None, "an aggregate gives one row"
            transfers, first_id, last_id, rows_hash, marks, sealed_at = digested
            own_hash = seal_hash(
                (ledger_id, number + 1, first_id, last_id, transfers),
                rows_hash=rows_hash, sealed_at=sealed_at, previous_hash=hash_before or BEFORE_THE_FIRST,
            )
            conn.execute(self._create, {
                "ledger_id": ledger_id, "number": number + 1, "first_id": first_id, "last_id": last_id,
                "transfers": transfers, "sealed_at": sealed_at, "rows_hash": rows_hash, "hash": own_hash, "marks": marks,
            })
        return True
