"""The pool under lost connections, deadlines and cancelled statements."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import subprocess
import sys
import threading

import psycopg
import pytest

from service.concurrency.clock import SYSTEM_CLOCK
from service.concurrency.context import background, with_timeout
from service.errors import DeadlineExceeded, Internal, Unavailable
from service.repository import canceller
from service.repository import pool as pool_module
from service.repository.pool import PgConnection, Pool
from tests.conftest import TestServer
from tests.integration.conftest import open_pool
from tests.proxy import Proxy
from tests.serving import ROOT, stopped, wait_until


def backend(pool: Pool) -> int:
    """The server process behind the connection that the pool gives now."""
    with pool.connection(background()) as conn:
        return conn.info.backend_pid


def end_backends(db: psycopg.Connection) -> None:
    """End every other session of this database, as a restart of the server would."""
    db.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def test_a_connection_lost_while_idle_is_never_handed_out(pool: Pool, db: psycopg.Connection) -> None:
    """After the server has ended the idle connection, the next caller gets a fresh one and notices nothing."""
    first = backend(pool)
    end_backends(db)
    assert backend(pool) != first


def test_a_connection_lost_in_use_is_unavailable_and_replaced(pool: Pool, db: psycopg.Connection) -> None:
    """The caller whose connection breaks is told so; the pool goes on."""
    with pytest.raises(Unavailable), pool.connection(background()) as conn:
        end_backends(db)
        conn.execute("SELECT 1")
    assert backend(pool)


def test_the_connection_that_came_back_last_is_given_first(pool: Pool) -> None:
    """Alone, a caller meets the same server process each time, whatever others have used before."""
    with pool.connection(background()) as longest, pool.connection(background()) as shortest:
        pids = shortest.info.backend_pid, longest.info.backend_pid
        assert len(set(pids)) == 2
    assert [backend(pool) for _ in range(3)] == [pids[1]] * 3
    with pool.connection(background()) as first, pool.connection(background()) as second:
        assert (second.info.backend_pid, first.info.backend_pid) == pids


def test_a_wait_for_a_connection_ends_with_the_context(pool: Pool) -> None:
    """With every connection taken, the deadline ends the wait, and nothing is lost."""
    holding, release = threading.Barrier(5), threading.Event()

    def hold() -> None:
        with pool.connection(background()):
            holding.wait(10)
            release.wait(10)

    holders = [threading.Thread(target=hold) for _ in range(4)]
    for thread in holders:
        thread.start()
    holding.wait(10)
    with pytest.raises(DeadlineExceeded), pool.connection(with_timeout(background(), 0.05)):
        pass
    release.set()
    for thread in holders:
        thread.join()
    assert backend(pool)


def test_a_statement_is_ended_at_the_servers_limit(database_url: str) -> None:
    """No statement outlives the configured time; its caller gets deadline_exceeded."""
    with (
        open_pool(database_url, timeout_s=0.1) as pool, pytest.raises(DeadlineExceeded),
        pool.connection(background()) as conn,
    ):
        conn.execute("SELECT pg_sleep(30)")


def test_the_pool_comes_back_by_itself(database_url: str) -> None:
    """While the database is away it tries again and again, not ever more seldom, and is full again without any request."""
    with Proxy(database_url) as proxy, open_pool(proxy.url, min_idle=2) as pool:
        wait_until(lambda: pool.statistics()["pool_available"] == 2, 10)
        proxy.refusing = True
        proxy.cut_all()
        with pytest.raises(DeadlineExceeded), pool.connection(with_timeout(background(), 0.5)):
            pass
        wait_until(lambda: pool.statistics()["connections_errors"] >= 20, 20)
        proxy.refusing = False
        wait_until(lambda: pool.statistics()["pool_available"] >= 2, 10)
        with pool.connection(background()) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_login_without_an_answer_after_it_is_given_up(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds up none of those that connect for the pool for ever, and when answers come again the pool is full."""
    monkeypatch.setattr(pool_module, "LONGEST_CONFIGURE_S", 0.1)
    with Proxy(database_url) as proxy:
        proxy.mute = True
        with open_pool(proxy.url, min_idle=4) as pool:
            wait_until(lambda: pool.statistics().get("connections_num", 0) >= 8, 20)  # the first ones were given up
            proxy.mute = False
            wait_until(lambda: pool.statistics()["pool_available"] >= 4, 20)


def open_files() -> set[str]:
    """What this process has open: files by their path, sockets by their number."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that listed them
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return found


def test_vain_attempts_leave_no_socket(database_url: str, test_server: TestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting and cancelling that time out are over at once, and not only when the garbage collector comes by."""
    monkeypatch.setattr(canceller, "CANCEL_TIMEOUT_S", 0.2)
    gc.collect()
    gc.disable()
    try:
        before = open_files()
        with open_pool(f"{database_url}&connect_timeout=2", max_open=2) as pool:
            assert backend(pool)
            with stopped(test_server.postgres.pid):
                with pytest.raises(DeadlineExceeded), pool.connection(with_timeout(background(), 0.1)) as conn:
                    conn.execute("SELECT 1")
                wait_until(lambda: pool.statistics().get("connections_errors", 0) >= 2, 30)
        del conn
        wait_until(lambda: open_files() <= before, 20, lambda: f"left: {open_files() - before}")
    finally:
        gc.enable()


def test_a_dead_network_is_noticed(database_url: str) -> None:
    """Data that is not acknowledged ends a TCP connection, and an idle one is probed; DATABASE_URL may say otherwise."""
    with Proxy(database_url) as proxy:
        for url, user_timeout in ((proxy.url, 15_000), (proxy.url + "&tcp_user_timeout=7000", 7_000)):
            with (
                open_pool(url) as pool, pool.connection(background()) as conn,
                socket.socket(fileno=os.dup(conn.fileno())) as link,
            ):
                assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == user_timeout
                assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10


def test_a_statement_ends_when_its_process_is_killed(database_url: str, db: psycopg.Connection) -> None:
    """Nobody is left to cancel it, and its time is not up for long: the server ends it by itself."""
    code = (
        "import sys; from service.concurrency.context import background; from service.repository.pool import Pool\n"
        "pool = Pool(sys.argv[1], max_open=1, min_idle=1, max_lifetime_s=300, max_idle_s=300, timeout_s=3600); pool.open()\n"
        "with pool.connection(background()) as conn: conn.execute('SELECT pg_sleep(3600)')"
    )
    running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(3600)' AND state = 'active'"
    with subprocess.Popen([sys.executable, "-c", code, database_url], cwd=ROOT) as process:
        wait_until(lambda: db.execute(running).fetchone() == (1,), 20)
        process.kill()
    wait_until(lambda: db.execute(running).fetchone() == (0,), 20)


def test_whatever_goes_wrong_the_connection_comes_back(pool: Pool) -> None:
    """Errors of the caller, of the server and of the end of the context, in and out of a transaction: none keeps one."""

    class Killed(BaseException):
        """As gevent ends a greenlet."""

    def caller(conn: PgConnection) -> None:
        raise ValueError("ours")

    def killed(conn: PgConnection) -> None:
        raise Killed

    def server(conn: PgConnection) -> None:
        conn.execute("SELECT 1/0")

    def in_transaction(conn: PgConnection) -> None:
        conn.execute("BEGIN")
        raise ValueError("in a transaction")

    def in_the_middle(conn: PgConnection) -> None:
        conn.pgconn.send_query(b"SELECT 1")
        raise Killed

    def closed(conn: PgConnection) -> None:
        conn.close()

    for fault in (caller, killed, server, in_transaction, in_the_middle, closed):
        for _ in range(5):  # more than there are connections
            with contextlib.suppress(ValueError, Killed, Internal), pool.connection(background()) as conn:
                fault(conn)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            conn = stack.enter_context(pool.connection(with_timeout(background(), 10)))
            assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_connection_that_cannot_be_watched_comes_back(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the system gives no thread for the timer."""
    assert backend(pool)
    for _ in range(5):
        with monkeypatch.context() as patched:
            patched.setattr(SYSTEM_CLOCK, "call_at", failing)
            with pytest.raises(RuntimeError), pool.connection(with_timeout(background(), 10)):
                pass
    assert backend(pool)


def failing(*_: object) -> None:
    """As `Thread.start` fails."""
    raise RuntimeError("can't start new thread")


def test_closing_leaves_no_session_behind(database_url: str, db: psycopg.Connection) -> None:
    """After close the server knows of no connection of the pool."""
    with open_pool(database_url, min_idle=3) as pool:
        assert backend(pool)
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    wait_until(lambda: db.execute(others).fetchone() == (0,), 10)
