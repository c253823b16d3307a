"""The pool under lost connections, deadlines and cancelled statements."""

from __future__ import annotations

import threading

import psycopg
import pytest

from service.concurrency.context import background, with_timeout
from service.errors import DeadlineExceeded, Unavailable
from service.repository.pool import Pool
from tests.serving import wait_until


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
    pool = Pool(database_url, max_open=1, min_idle=1, max_lifetime_s=300, max_idle_s=300, timeout_s=0.1)
    pool.open()
    with pytest.raises(DeadlineExceeded), pool.connection(background()) as conn:
        conn.execute("SELECT pg_sleep(30)")
    pool.close(10)


def test_closing_leaves_no_session_behind(database_url: str, db: psycopg.Connection) -> None:
    """After close the server knows of no connection of the pool."""
    pool = Pool(database_url, max_open=3, min_idle=3, max_lifetime_s=300, max_idle_s=300, timeout_s=10)
    pool.open()
    assert backend(pool)
    pool.close(10)
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    wait_until(lambda: db.execute(others).fetchone() == (0,), 10)
