"""A look at a database from outside, for `ledgerd check`: one connection, on which nothing is changed.

Its statements are those of sql/doctor. When the context of a call ends, what the call does is cancelled at the server, as for
requests (`canceller`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import namedtuple_row

from service.concurrency.context import Context, with_timeout
from service.concurrency.primitives import monotonic
from service.errors import ConfigurationError, LedgerdError, Unavailable
from service.repository.canceller import Canceller, Watch
from service.repository.connect import connect
from service.repository.migrate import Standing, standing
from service.repository.queries import Queries

SESSION_TEST_S = 3.0  # a pooler with a single connection makes the second of two wait for the first
APPLICATION = "ledgerd check"


class Inspection:
    """See the module. Everything but `close` raises Unavailable with one line that says why it cannot be done."""

    def __init__(self, conninfo: str, sql: Path) -> None:
        self._conninfo = conninfo
        self._sql = sql
        self._queries = Queries(sql / "doctor")
        self._stack = ExitStack()
        self._conn: Connection[Any] | None = None
        self._canceller = Canceller()
        self._canceller.open()

    def connect(self) -> float:
        """Connect; how many seconds it took. Bounded by the address's `connect_timeout`, 5 seconds unless it has one."""
        began = monotonic()
        self._conn = None
        try:
            self._conn = self._stack.enter_context(connect(self._conninfo, application_name=APPLICATION))
        except ConfigurationError as exc:
            raise Unavailable("; ".join(exc.problems)) from exc
        return monotonic() - began

    def close(self) -> None:
        """Close the connection."""
        self._conn = None
        self._stack.close()
        self._canceller.close()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to ask on."""
        return self._conn is not None

    @property
    def server_version(self) -> tuple[int, int]:
        """Major and minor, as the server (or a pooler for it) said at the beginning."""
        version = self._present().info.server_version
        return version // 10_000, version % 10_000

    @property
    def host(self) -> str:
        """The host's name or address, or the folder of a Unix socket."""
        return self._present().info.host

    @property
    def uses_tls(self) -> bool:
        """Whether what goes over the network is encrypted."""
        return bool(self._present().pgconn.ssl_in_use)

    @property
    def verifies_server(self) -> bool:
        """Whether the address asks that the server's certificate be checked."""
        return self._present().info.get_parameters().get("sslmode", "") in ("verify-ca", "verify-full")

    def rows(self, ctx: Context, name: str, **values: Any) -> list[Any]:
        """The rows of the query `name` of sql/doctor, with its columns as attributes."""
        with self._use(ctx) as conn:
            return self._run(conn, name, **values)

    def row(self, ctx: Context, name: str, **values: Any) -> Any:
        """Its one row."""
        (row,) = self.rows(ctx, name, **values)
        return row

    def standing(self, ctx: Context) -> Standing:
        """Which migrations and functions the database has."""
        with self._use(ctx) as conn:
            return standing(conn, self._sql)

    def round_trips(self, ctx: Context, count: int) -> list[float]:
        """How long each of `count` empty statements took, in seconds."""
        took = []
        with self._use(ctx) as conn:
            for _ in range(count):
                began = monotonic()
                conn.execute("")
                took.append(monotonic() - began)
        return took

    def clock_readings(self, ctx: Context, clock: Callable[[], float], count: int) -> list[tuple[float, float, float]]:
        """`count` times: `clock` before, the server's time (seconds since 1970), `clock` after."""
        with self._use(ctx) as conn:
            return [(clock(), float(self._run(conn, "now")[0].epoch_s), clock()) for _ in range(count)]

    def keeps_session(self, ctx: Context) -> bool:
        """Whether statements stay on one connection of the server while another client is busy there."""
        try:
            with with_timeout(ctx, SESSION_TEST_S) as brief, self._use(brief) as conn:
                mine = self._run(conn, "backend")
                with self._another() as other, other.transaction():
                    self._run(other, "backend")
                    return self._run(conn, "backend") == mine
        except LedgerdError:
            ctx.check()
            return False

    def keeps_prepared_statements(self, ctx: Context) -> bool:
        """Whether a statement prepared on the server is known there later, while another client is busy."""
        try:
            with with_timeout(ctx, SESSION_TEST_S) as brief, self._use(brief) as conn:
                self._run(conn, "prepared", prepare=True, number=1)
                with self._another() as other, other.transaction():
                    self._run(other, "backend")
                    return bool(self._run(conn, "prepared", prepare=True, number=2)[0].number == 2)
        except LedgerdError:
            ctx.check()
            return False

    def hears_notifications(self, ctx: Context, wait_s: float) -> bool:
        """Whether a NOTIFY of another client reaches this connection within `wait_s`."""
        channel = f"ledgerd_check_{os.urandom(8).hex()}"  # nobody else listens there
        with self._use(ctx) as conn, self._another() as other:
            conn.execute(f"LISTEN {channel}")
            self._run(other, "notify", channel=channel)
            heard = any(True for _ in conn.notifies(timeout=wait_s, stop_after=1))
            conn.execute(f"UNLISTEN {channel}")
        return heard

    def _present(self) -> Connection[Any]:
        if self._conn is None:
            raise Unavailable("there is no connection to the database")
        return self._conn

    def _run(self, conn: Connection[Any], name: str, *, prepare: bool = False, **values: Any) -> list[Any]:
        with conn.cursor(row_factory=namedtuple_row) as cursor:
            return cursor.execute(self._queries.take(name), values, prepare=prepare).fetchall()

    @contextmanager
    def _another(self) -> Iterator[Connection[Any]]:
        with connect(self._conninfo, application_name=APPLICATION) as other:
            yield other

    @contextmanager
    def _use(self, ctx: Context) -> Iterator[Connection[Any]]:
        """The connection, made anew where it was lost; what is done on it ends with `ctx`."""
        ctx.check()
        if self._present().closed:
            self.connect()
        conn = self._present()
        watch = Watch(conn)
        self._canceller.watch(ctx, watch)
        try:
            yield conn
        except psycopg.Error as exc:
            ctx.check()
            reason = exc.diag.message_primary or " ".join(str(exc).split())
            raise Unavailable(f"the database says: {reason}") from exc
        except ConfigurationError as exc:
            raise Unavailable("; ".join(exc.problems)) from exc
        finally:
            watch.end()
