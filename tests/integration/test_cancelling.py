"""A statement ends at the server when its context does, and the connection is as good as before."""

from __future__ import annotations

import os
import signal
import threading
from random import Random

import psycopg
import pytest

from service.concurrency.context import background, with_cancel, with_timeout
from service.concurrency.group import Group
from service.errors import ClientClosedRequest, DeadlineExceeded, LedgerdError, OutcomeUnknown
from service.repository.pool import Pool
from tests.integration.conftest import open_pool
from tests.proxy import Proxy
from tests.serving import wait_until

RUNNING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND state = 'active' AND query LIKE '%%pg_sleep(%%'"
)


def running(db: psycopg.Connection) -> int:
    """How many sleeping statements the server has."""
    return db.execute(RUNNING).fetchone()[0]


def test_a_deadline_ends_the_statement_at_the_server(pool: Pool, db: psycopg.Connection) -> None:
    """The caller gets DeadlineExceeded, nothing runs on, and its connection stays."""
    with with_timeout(background(), 0.1) as ctx, pytest.raises(DeadlineExceeded), pool.connection(ctx) as conn:
        pid = conn.info.backend_pid
        conn.execute("SELECT pg_sleep(60)")
    assert running(db) == 0
    assert db.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() == ("idle",)
    with pool.connection(background()) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_client_that_leaves_ends_the_statement_at_the_server(pool: Pool, db: psycopg.Connection) -> None:
    """Cancelling the context raises its cause in the one that waits."""
    ctx, told = with_cancel(background()), []

    def read() -> None:
        try:
            with pool.connection(ctx) as conn:
                conn.execute("SELECT pg_sleep(60)")
        except LedgerdError as error:
            told.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: running(db) == 1, 10)
    ctx.cancel(ClientClosedRequest("gone"))
    reader.join(10)
    assert [str(error) for error in told] == ["gone"]
    assert running(db) == 0


def test_a_cancelling_that_comes_before_its_statement_is_not_lost(pool: Pool, db: psycopg.Connection) -> None:
    """The server ignores it, for the connection does nothing yet; it is sent again, and the connection is not cut."""
    for _ in range(10):
        ctx = with_cancel(background())
        with pytest.raises(ClientClosedRequest), pool.connection(ctx) as conn:
            pid = conn.info.backend_pid
            ctx.cancel()
            conn.execute("SELECT 1")  # time for the first cancelling to come and go; it may hit this
            conn.execute("SELECT pg_sleep(60)")
        assert db.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() == ("idle",)


def test_a_transaction_that_is_cancelled_changes_nothing(pool: Pool, db: psycopg.Connection) -> None:
    """It is rolled back as a whole, and certainly so."""
    db.execute("CREATE TABLE marks (n int)")
    with (
        with_timeout(background(), 0.1) as ctx, pytest.raises(DeadlineExceeded),
        pool.connection(ctx, writes=True) as conn, conn.transaction(),
    ):
        conn.execute("INSERT INTO marks VALUES (1)")
        conn.execute("SELECT pg_sleep(60)")
    assert db.execute("SELECT count(*) FROM marks").fetchone() == (0,)


@pytest.mark.parametrize(("writes", "error"), [(False, DeadlineExceeded), (True, OutcomeUnknown)])
def test_a_server_that_does_not_answer_is_cut_off(pool: Pool, *, writes: bool, error: type[LedgerdError]) -> None:
    """A backend that is stopped answers no cancelling either: the caller is told, and the pool replaces the connection."""
    with pool.connection(background()) as conn:
        pid = conn.info.backend_pid
    try:
        with with_timeout(background(), 0.1) as ctx, pytest.raises(error), pool.connection(ctx, writes=writes) as conn:
            pid = conn.info.backend_pid
            os.kill(pid, signal.SIGSTOP)
            conn.execute("SELECT 1")
        with pool.connection(background()) as conn:
            assert conn.info.backend_pid != pid
    finally:
        os.kill(pid, signal.SIGCONT)


def test_one_connection_that_is_cut_makes_the_idle_ones_suspect(database_url: str) -> None:
    """After a fail-over that tells nobody, one statement waits in vain, and the next ones get fresh connections."""
    with Proxy(database_url) as proxy, open_pool(proxy.url, min_idle=4) as pool:
        wait_until(lambda: pool.statistics()["pool_available"] == 4, 10)
        proxy.freeze()
        with with_timeout(background(), 0.1) as ctx, pytest.raises(DeadlineExceeded), pool.connection(ctx) as conn:
            conn.execute("SELECT 1")
        for _ in range(4):
            with with_timeout(background(), 10) as ctx, pool.connection(ctx) as conn:
                assert conn.execute("SELECT 1").fetchone() == (1,)


def test_cancelling_never_hits_the_next_user(pool: Pool, db: psycopg.Connection) -> None:
    """Statements end at the same moment as their contexts, hundreds of times; those that nobody cancels all succeed."""
    rounds = 60 * int(os.environ.get("LEDGERD_STRESS", "1"))

    def use(_: object, seed: int) -> None:
        random = Random(seed)
        for _ in range(rounds):
            duration_s = random.uniform(0.0005, 0.004)
            try:
                with with_timeout(background(), duration_s) as ctx, pool.connection(ctx) as conn:
                    conn.execute("SELECT pg_sleep(%s)", (duration_s * random.uniform(0.5, 1.1),))
            except DeadlineExceeded:
                pass
            with pool.connection(background()) as conn:
                assert conn.execute("SELECT 1").fetchone() == (1,)

    with Group(background()) as group:
        for seed in range(4):
            group.spawn(use, seed)
    assert running(db) == 0
    assert pool.statistics()["pool_size"] <= 4
