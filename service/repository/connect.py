"""How to connect, and a single connection for start-up work: migrations, checks, the first key. Requests use the pool.

A network that swallows packets, or a database that has moved, tells nobody: without bounds of its own a connection would wait
for hours. So data that is not acknowledged in time ends it, and an idle one is probed.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from service.errors import ConfigurationError
from service.settings import mask_password

DEFAULTS: dict[str, str | int] = {
    "application_name": "ledgerd",
    "connect_timeout": 5,  # seconds
    "keepalives_idle": 10,  # seconds until an idle connection is probed
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds that sent data may stay unacknowledged
}


def with_defaults(conninfo: str) -> str:
    """`conninfo` with what it leaves open set to DEFAULTS. Raises ConfigurationError for what cannot be read."""
    try:
        return make_conninfo("", **(DEFAULTS | conninfo_to_dict(conninfo)))
    except psycopg.Error as exc:
        reason = " ".join(str(exc).split())
        raise ConfigurationError(f"DATABASE_URL={mask_password(conninfo)} cannot be read: {reason}") from None


class PromptConnection(Connection[tuple[Any, ...]]):
    """For the pool: an attempt to connect that fails is over at once.

    The exception of psycopg's `connect` refers to a frame that refers to the exception and to the half-made connection. So a
    socket whose attempt timed out, and later its session at the server, would last until the garbage collector comes by.
    """

    @classmethod
    def connect(cls, *args: Any, **kwargs: Any) -> Self:
        """See psycopg.Connection.connect."""
        try:
            return super().connect(*args, **kwargs)
        except psycopg.Error as exc:
            raise exc.with_traceback(None)  # noqa: B904  # the same error, without its frames


@contextmanager
def connect(conninfo: str, **parameters: str) -> Iterator[Connection[tuple[Any, ...]]]:
    """A connection in autocommit mode, closed at the end; `parameters` are libpq's and win over those in `conninfo`.

    Raises ConfigurationError with one line that says why not.
    """
    whole = make_conninfo(with_defaults(conninfo), **parameters)
    try:
        conn = psycopg.connect(whole, autocommit=True)
    except psycopg.Error as exc:
        reason = " ".join(str(exc).split())
        raise ConfigurationError(f"cannot connect to {mask_password(conninfo)}: {reason}") from None
    try:
        yield conn
    finally:
        conn.close()


def shut(conn: Connection[Any]) -> bool:
    """End a connection under its user's hands, who waits for an answer that does not come; False if it was broken already."""
    end = socket.socket(fileno=conn.pgconn.socket)
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return False
    finally:
        end.detach()
    return True


def server_limits(conninfo: str) -> tuple[int, int]:
    """The server's major version, and how many connections it grants to ordinary users. Raises ConfigurationError."""
    with connect(conninfo) as conn:
        row = conn.execute(
            "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
            " - coalesce(current_setting('reserved_connections', true)::int, 0)"  # from PostgreSQL 16 on
        ).fetchone()
        assert row is not None, "a SELECT of one row gives it"
        return conn.info.server_version // 10_000, int(row[0])
