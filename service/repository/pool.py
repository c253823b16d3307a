"""The connection pool, one a worker: bounded in number, idle time and lifetime, and never waited for past a deadline.

When the context of a block ends, what it does is cancelled at the server (`canceller`). When nobody is left to cancel it, the
server ends it by itself: a second after the process is gone, else by `statement_timeout`.

A connection that the server has dropped is noticed when it is taken, without asking the server: nothing may be readable on
an idle connection, so one peek at its socket tells. A connection that had to be cut, since the server answered nothing, makes
all others suspect: those that are idle are replaced.

The pool of psycopg tries to connect after 1, 2, 4 … seconds, up to minutes, so an outage would go on for as long again. Here
an attempt is given up after RECONNECT_EVERY_S, and `check` then begins the next, for as long as the outage lasts.

The connection that came back last is given first. psycopg's pool takes them in turns; then each statement would meet a server
process whose plans and memory have meanwhile been displaced from the processor by those of all the others.
"""

from __future__ import annotations

import _socket
import logging
import select
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg import Connection, capabilities, waiting
from psycopg.errors import QueryCanceled
from psycopg_pool import ConnectionPool, PoolTimeout

from service.concurrency.context import Context, background, with_timeout
from service.concurrency.primitives import monotonic
from service.errors import ConfigurationError, OutcomeUnknown
from service.repository.canceller import Canceller, Watch
from service.repository.connect import DEFAULTS, PromptConnection, with_defaults
from service.repository.errors import translate

log = logging.getLogger(__name__)

LONGEST_ACQUIRE_S = 5.0
LONGEST_CONFIGURE_S = 5.0  # of a new connection: a pooler may accept it and have no server for it
MOST_WAITING = 4096
RECONNECT_EVERY_S = 0.25  # while the database cannot be reached
CLIENT_CHECK_MS = 1000  # how often the server looks whether the client of a running statement is still there
_PEEK = _socket.MSG_PEEK | _socket.MSG_DONTWAIT

PgConnection = Connection[tuple[Any, ...]]


class Pool:
    """Connections to one database. Nothing is opened before `open`."""

    def __init__(
        self, conninfo: str, *, max_open: int, min_idle: int, max_lifetime_s: float, max_idle_s: float, timeout_s: float
    ) -> None:
        self._timeout_s = timeout_s
        self._canceller = Canceller()
        self._opened_at: WeakKeyDictionary[PgConnection, float] = WeakKeyDictionary()
        self._renewed_at = 0.0
        self._pool: ConnectionPool[PgConnection] = ConnectionPool(
            with_defaults(conninfo),
            connection_class=PromptConnection,
            kwargs={"autocommit": True},
            min_size=min_idle,
            max_size=max_open,
            max_lifetime=max_lifetime_s,
            max_idle=max_idle_s,
            max_waiting=MOST_WAITING,
            reconnect_timeout=RECONNECT_EVERY_S,
            reconnect_failed=ConnectionPool.check,
            configure=self._configure,
            open=False,
            name="ledgerd",
        )
        self._pool._pool = _LastInFirstOut()

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
    def connection(
        self, ctx: Context, *, writes: bool = False, within_s: float = LONGEST_ACQUIRE_S
    ) -> Iterator[PgConnection]:
        """A connection for the block, in autocommit mode; `writes` says that the block changes something.

        Raises the error of `ctx` when that ends first, and of psycopg's errors what `translate` makes of them: Unavailable
        when none is to be had `within_s`; OutcomeUnknown when the connection breaks while the block writes. Nothing is raised
        for a block that has ended well.
        """
        ctx.check()
        remaining_s = ctx.remaining()
        wait_s = within_s if remaining_s is None else min(remaining_s, within_s)
        try:
            conn = self._take(wait_s)
        except PoolTimeout as exc:
            ctx.check()
            raise translate(exc) from exc
        except psycopg.Error as exc:
            raise translate(exc) from exc
        watch = Watch(conn)
        try:
            self._canceller.watch(ctx, watch)
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
            self._give_back(conn, watch)

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

    def _give_back(self, conn: PgConnection, watch: Watch) -> None:
        """Whatever happens, the pool gets its connection back, and a block that has committed hears of no fault here."""
        try:
            watch.end()
        except Exception:
            log.exception("a connection could not be brought to rest, and is closed")
            conn.close()
        except BaseException:  # the greenlet is killed
            conn.close()
            raise
        finally:
            self._pool.putconn(conn)
        if watch.was_cut and self._opened_at.get(conn, 0.0) > self._renewed_at:
            self._renewed_at = monotonic()
            self._pool.drain()

    def _configure(self, conn: PgConnection) -> None:
        """The session's settings, in one round trip: how the server bounds what this process may have no chance to end."""
        milliseconds = str(int(self._timeout_s * 1000))
        settings = {
            "statement_timeout": milliseconds,
            "lock_timeout": milliseconds,
            "idle_in_transaction_session_timeout": milliseconds,
            "client_connection_check_interval": str(CLIENT_CHECK_MS),
            "tcp_keepalives_idle": str(DEFAULTS["keepalives_idle"]),  # a host that is gone frees its sessions
            "tcp_keepalives_interval": str(DEFAULTS["keepalives_interval"]),
            "tcp_keepalives_count": str(DEFAULTS["keepalives_count"]),
            "tcp_user_timeout": str(DEFAULTS["tcp_user_timeout"]),
            "timezone": "UTC",
            "default_transaction_isolation": "read committed",
        }
        with with_timeout(background(), LONGEST_CONFIGURE_S) as ctx:
            watch = Watch(conn)
            try:
                self._canceller.watch(ctx, watch)
                conn.execute(
                    "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS setting (name, value)",
                    [list(settings), list(settings.values())],
                )
            finally:
                watch.end()
        self._opened_at[conn] = monotonic()


class _LastInFirstOut(deque[PgConnection]):
    """The idle connections, for psycopg's pool, which appends to the right and takes from the left."""

    append = deque.appendleft


def refuse_blocking_waits() -> None:
    """Raise ConfigurationError when the driver would stop every greenlet of this process while it waits.

    psycopg decides at its import how to wait: patched first it waits with poll(), which gevent replaces; else in C. The check
    needs no gevent: a patched `select.poll` is no longer the built-in one. Cancelling waits for the network too: only from
    libpq 17 on that can be done step by step.
    """
    patched = getattr(select, "poll", None) is not None and type(select.poll).__name__ != "builtin_function_or_method"
    if patched and waiting.wait is getattr(waiting, "wait_c", None):
        raise ConfigurationError("psycopg was imported before gevent patched the process: it would block the worker")
    if not capabilities.has_cancel_safe():
        raise ConfigurationError(
            "psycopg works with a libpq older than 17, which cannot cancel without blocking: install psycopg[binary]"
        )


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
