"""A single connection for start-up work: migrations, checks, the first key. Requests use the pool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection

from service.config import mask_password
from service.errors import ConfigurationError


@contextmanager
def connect(conninfo: str) -> Iterator[Connection[tuple[Any, ...]]]:
    """A connection in autocommit mode, closed at the end. Raises ConfigurationError with one line that says why not."""
    try:
        conn = psycopg.connect(conninfo, autocommit=True, connect_timeout=5, application_name="ledgerd")
    except psycopg.Error as exc:
        reason = " ".join(str(exc).split())
        raise ConfigurationError(f"cannot connect to {mask_password(conninfo)}: {reason}") from None
    try:
        yield conn
    finally:
        conn.close()


def server_limits(conninfo: str) -> tuple[int, int]:
    """The server's major version, and how many connections it grants to ordinary users. Raises ConfigurationError."""
    with connect(conninfo) as conn:
        row = conn.execute(
            "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        ).fetchone()
        assert row is not None, "a SELECT of one row gives it"
        return conn.info.server_version // 10_000, int(row[0])
