"""Whether the database answers and has every migration that this code knows."""

from __future__ import annotations

from service.concurrency.context import Context, with_timeout
from service.errors import DeadlineExceeded, Unavailable
from service.repository.migrate import Migration
from service.repository.pool import Pool
from service.repository.queries import Queries

LONGEST_CHECK_S = 2.0  # a probe wants a plain no, not a wait; and what the database does not answer, the pool replaces


class HealthRepository:
    """Implements what `/readyz` asks of the database."""

    def __init__(self, pool: Pool, queries: Queries, known: list[Migration]) -> None:
        self._pool = pool
        self._is_migrated = queries.take("is_migrated")
        self._applied = queries.take("applied_migrations")
        self._known = {migration.version for migration in known}

    def check(self, ctx: Context) -> None:
        """Raises Unavailable when the database does not answer, or lacks a migration."""
        try:
            with with_timeout(ctx, LONGEST_CHECK_S) as check, self._pool.connection(check) as conn:
                (any_applied,) = conn.execute(self._is_migrated).fetchone() or (False,)
                applied = {version for (version,) in conn.execute(self._applied).fetchall()} if any_applied else set()
        except DeadlineExceeded as exc:
            raise Unavailable("The database does not answer.", retry_after_s=1) from exc
        if missing := sorted(self._known - applied):
            raise Unavailable(f"The database lacks migrations {missing}: run `ledgerd migrate`.", retry_after_s=5)
