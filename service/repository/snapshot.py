"""One view of the database for several processes: what is posted meanwhile is in none, so what they find fits together.

A transaction exports its snapshot (pg_export_snapshot) and stays open; others take that over. Nothing is locked, so posting
goes on. As long as it lasts, the server keeps old versions of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection
from psycopg import errors as pg

from service.errors import ConfigurationError, Unavailable
from service.repository.connect import connect

APPLICATION = "ledgerd verify"
_SETTINGS = {
    "statement_timeout": "0", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "0",
    "client_connection_check_interval": "1000",  # whoever is gone, is not worked for
    "max_parallel_workers_per_gather": "0", "jit": "off",  # a process of ours has one core
    "work_mem": "64MB", "timezone": "UTC", "row_security": "off",  # which makes hidden rows an error
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where it is, and by which name the server knows it."""

    conninfo: str
    name: str


@contextmanager
def export_snapshot(conninfo: str) -> Iterator[tuple[Connection[Any], Snapshot]]:
    """A transaction that only reads, and its snapshot for others while the block lasts. Raises Unavailable."""
    with _reading(conninfo) as conn:
        row = conn.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None, "a SELECT of one row gives it"
        yield conn, Snapshot(conninfo, row[0])


@contextmanager
def take_snapshot(snapshot: Snapshot) -> Iterator[Connection[Any]]:
    """A transaction that sees what the one sees that has exported `snapshot`. Raises Unavailable."""
    with _reading(snapshot.conninfo, snapshot.name) as conn:
        yield conn


@contextmanager
def _reading(conninfo: str, snapshot: str | None = None) -> Iterator[Connection[Any]]:
    try:
        with connect(conninfo, application_name=APPLICATION) as conn, conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if snapshot is not None:
                conn.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
            for name, value in _SETTINGS.items():
                conn.execute("SELECT set_config(%s, %s, true)", (name, value))
            yield conn
    except pg.InsufficientPrivilege as exc:
        raise Unavailable(f"{exc.diag.message_primary}: it reads every table of ledgerd, so GRANT it SELECT") from None
    except psycopg.Error as exc:
        reason = exc.diag.message_primary or " ".join(str(exc).split())
        raise Unavailable(f"the database says: {reason}") from None
    except ConfigurationError as exc:
        raise Unavailable("; ".join(exc.problems)) from None
