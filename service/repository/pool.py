"""The connection pool, one a worker: bounded in number, idle time and lifetime, and never waited for past a deadline.

When the context of a block ends, what it does is cancelled at the server (`canceller`).

A connection that the server has dropped is noticed when it is taken, without asking the server: nothing may be readable on
an idle connection, so one peek at its socket tells.
"""

from __future__ import annotations

import _socket
import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection, waiting
from psycopg.errors import QueryCanceled
from psycopg_pool import ConnectionPool, PoolTimeout

from service.concurrency.context import Context
from service.concurrency.primitives import monotonic
from service.errors import ConfigurationError, OutcomeUnknown
from service.repository.canceller import Canceller
from service.repository.errors import translate

LONGEST_ACQUIRE_S = 5.0
MOST_WAITING = 4096
RECONNECT_FOR_S = 2.0  # then the pool gives up, and the next request starts a new attempt at once
_PEEK = _socket.MSG_PEEK | _socket.MSG_DONTWAIT

PgConnection = Connection[tuple[Any, ...]]


class Pool:
    """Connections to one database. Nothing is opened before `open`."""

    def __init__(
        self, conninfo: str, *, max_open: int, min_idle: int, max_lifetime_s: float, max_idle_s: float, timeout_s: float
    ) -> None:
        self._timeout_s = timeout_s
        self._canceller = Canceller()
        self._pool: ConnectionPool[PgConnection] = ConnectionPool(
            conninfo,
            kwargs={"autocommit": True, "application_name": "ledgerd", "connect_timeout": 5},
            min_size=min_idle,
            max_size=max_open,
            max_lifetime=max_lifetime_s,
            max_idle=max_idle_s,
            max_waiting=MOST_WAITING,
            reconnect_timeout=RECONNECT_FOR_S,
            configure=self._configure,
            open=False,
            name="ledgerd",
        )

    def open(self) -> None:
        """Begin to connect, in the background: a database that is down now may be there later."""
        refuse_blocking_waits()
        self._canceller.open()
        self._pool.open(wait=False)

    def close(self, timeout_s: float) -> None:
        """Close every connection, waiting up to `timeout_s` for the pool's own tasks."""
        self._pool.close(timeout_s)
        self._canceller.close()

    @contextmanager
    def connection(self, ctx: Context, *, writes: bool = False) -> Iterator[PgConnection]:
        """A connection for the block, in autocommit mode; `writes` says that the block changes something.

        Raises the error of `ctx` when that ends first, and of psycopg's errors what `translate` makes of them; OutcomeUnknown
        when the connection breaks while the block writes.
        """
        ctx.check()
        remaining_s = ctx.remaining()
        wait_s = LONGEST_ACQUIRE_S if remaining_s is None else min(remaining_s, LONGEST_ACQUIRE_S)
        try:
            conn = self._take(wait_s)
        except PoolTimeout as exc:
            ctx.check()
            raise translate(exc) from exc
        except psycopg.Error as exc:
            raise translate(exc) from exc
        watch = self._canceller.watch(ctx, conn)
        try:
            yield conn
        except psycopg.Error as exc:
            if isinstance(exc, QueryCanceled):
                ctx.check()
            if writes and conn.closed:
                raise OutcomeUnknown("The change may have been made, or not: read it back before you repeat it.") from exc
            if conn.closed:
                ctx.check()  # it was cut, for the server did not answer
            raise translate(exc) from exc
        finally:
            watch.end()
            self._pool.putconn(conn)

    def statistics(self) -> dict[str, int]:
        """The pool's own counters, by name."""
        return self._pool.get_stats()

    def _take(self, wait_s: float) -> PgConnection:
        """A connection that is not lost. Lost ones go back, to be replaced, and the next is taken at once.

        (The pool's own `check` pauses for longer and longer between two of them: five seconds for five lost connections.)
        """
        end = monotonic() + wait_s
        while True:
            conn = self._pool.getconn(end - monotonic())
            if not _is_lost(conn):
                return conn
            conn.close()
            self._pool.putconn(conn)

    def _configure(self, conn: PgConnection) -> None:
        milliseconds = str(int(self._timeout_s * 1000))
        conn.execute(
            "SELECT set_config('statement_timeout', %(ms)s, false), set_config('lock_timeout', %(ms)s, false),"
            " set_config('idle_in_transaction_session_timeout', %(ms)s, false), set_config('timezone', 'UTC', false),"
            " set_config('default_transaction_isolation', 'read committed', false)",
            {"ms": milliseconds},
        )


def refuse_blocking_waits() -> None:
    """Raise ConfigurationError when gevent has patched this process after psycopg chose how to wait.

    psycopg decides at its import: patched first it waits with poll(), which gevent replaces; else in C, which stops every
    greenlet of the worker. The check needs no gevent: a patched `select.poll` is no longer the built-in one.
    """
    patched = getattr(select, "poll", None) is not None and type(select.poll).__name__ != "builtin_function_or_method"
    if patched and waiting.wait is getattr(waiting, "wait_c", None):
        raise ConfigurationError("psycopg was imported before gevent patched the process: it would block the worker")


def _is_lost(conn: PgConnection) -> bool:
    """Whether the idle `conn` is readable, or broken: the server has closed it or is about to."""
    if conn.closed:
        return True
    peek = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fileno=conn.pgconn.socket)
    try:
        peek.recv(1, _PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        peek.detach()
    return True


