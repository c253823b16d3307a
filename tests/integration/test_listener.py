"""Notifications arrive, that is proved all the time, and whatever breaks them ends the proof."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from service.concurrency.context import background
from service.concurrency.spawn import Tasks
from service.repository.listener import Listener
from service.repository.pool import Pool
from service.repository.queries import Queries, sql_folder
from tests.conftest import TestServer
from tests.core.leaks import snapshot
from tests.integration.conftest import open_pool
from tests.proxy import Proxy
from tests.serving import stopped, wait_until

ROOT = Path(__file__).resolve().parents[2]
LISTENERS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ledgerd listener'"


class Heard:
    """What a listener has told."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.payloads: list[str] = []
        self.losses = 0

    def lose(self) -> None:
        """Called when something may have been missed."""
        self.losses += 1

    def wait_proved(self) -> None:
        """Return when notifications are proved to arrive."""
        wait_until(lambda: self.listener.proved_within(1), 30, lambda: "nothing is proved", every_s=0.01)

    def wait_unproved(self) -> None:
        """Return when the proof has ended."""
        wait_until(lambda: not self.listener.proved_within(1), 30, lambda: "the proof does not end", every_s=0.01)


@contextmanager
def listening(url: str, pool: Pool) -> Iterator[Heard]:
    """A listener on `url` in the background, whose beats are sent by `pool`; it ends at once, whatever state it is in."""
    listener = Listener(url, pool, Queries(sql_folder() / "queries"))
    heard = Heard(listener)
    listener.on("things", heard.payloads.append)
    listener.on_lost(heard.lose)
    tasks = Tasks(background())
    tasks.spawn("listener", listener.run)
    try:
        yield heard
    finally:
        assert tasks.stop(8) == []
        assert not listener.proved_within(3600)


def notify(url: str, payload: str) -> None:
    """Tell everybody who listens."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SELECT pg_notify('things', %s)", (payload,))


def test_notifications_arrive_in_order(database_url: str, pool: Pool) -> None:
    """With their payloads, and only those of a channel that somebody wants."""
    with listening(database_url, pool) as heard:
        heard.wait_proved()
        for number in range(20):
            notify(database_url, str(number))
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute("NOTIFY other")
        wait_until(lambda: len(heard.payloads) == 20, 10)
        assert heard.payloads == [str(number) for number in range(20)]


def test_a_proof_covers_what_was_committed_before_its_beat(database_url: str, pool: Pool) -> None:
    """Whenever it is proved for the time since a commit, that commit has been told."""
    with listening(database_url, pool) as heard:
        heard.wait_proved()
        for number in range(8):
            notify(database_url, str(number))
            committed_at = time.monotonic()
            wait_until(lambda: heard.listener.proved_within(time.monotonic() - committed_at), 10, every_s=0.001)  # noqa: B023
            assert heard.payloads[-1] == str(number)


def test_what_came_before_it_listened_counts_as_missed(database_url: str, pool: Pool) -> None:
    """So nothing that was kept before outlasts the first proof."""
    with listening(database_url, pool) as heard:
        heard.wait_proved()
        assert heard.losses >= 1


def test_a_killed_connection_is_a_loss_and_comes_again(
    database_url: str, pool: Pool, db: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """What is kept goes at once; it is said once that nothing is heard, and once that it is again."""
    caplog.set_level(logging.INFO, logger="service.repository.listener")
    with listening(database_url, pool) as heard:
        heard.wait_proved()
        losses = heard.losses
        for _ in range(2):
            db.execute(f"SELECT pg_terminate_backend(pid, 10000) {LISTENERS}")
            wait_until(lambda: heard.losses >= losses + 2, 10)  # noqa: B023  # at the loss, and when it listens again
            heard.wait_proved()
            losses = heard.losses
        notify(database_url, "after")
        wait_until(lambda: heard.payloads == ["after"], 10)
    said = [record.message.split(":")[0] for record in caplog.records]
    assert said == ["no notifications of the database", "notifications of the database arrive again"] * 2


@pytest.mark.parametrize(
    "break_it",
    [Proxy.freeze, Proxy.cut_all, lambda proxy: (setattr(proxy, "refusing", True), proxy.cut_all())],
    ids=["half-open", "cut", "outage"],
)
def test_no_network_fault_leaves_a_proof(database_url: str, pool: Pool, break_it: Callable[[Proxy], object]) -> None:
    """The proof ends, what was kept goes, and when the network works again everything does."""
    with Proxy(database_url) as proxy, listening(proxy.url, pool) as heard:
        heard.wait_proved()
        losses = heard.losses
        break_it(proxy)
        if proxy.refusing:
            heard.wait_unproved()
        wait_until(lambda: heard.losses > losses, 30)
        proxy.refusing = False
        heard.wait_proved()
        notify(database_url, "after")
        wait_until(lambda: heard.payloads == ["after"], 10)


def test_a_pooler_in_transaction_mode_proves_nothing(
    database_url: str, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """LISTEN succeeds there, and statements work, but nothing that was told between them comes through."""
    with Proxy(database_url) as proxy:
        proxy.deaf = True
        with listening(proxy.url, pool) as heard:
            wait_until(lambda: any("pooler" in record.message for record in caplog.records), 30)
            assert not heard.listener.proved_within(3600)
            assert heard.payloads == []


@pytest.mark.slow
def test_a_server_that_stands_still_ends_the_proof_and_bounds_the_stop(test_server: TestServer, database_url: str) -> None:
    """Neither the connection that listens nor the pool's gets an answer; the task ends all the same."""
    with open_pool(database_url) as pool, stopped_later(test_server) as stop, listening(database_url, pool) as heard:
        heard.wait_proved()
        stop()
        heard.wait_unproved()


@contextmanager
def stopped_later(server: TestServer) -> Iterator[Callable[[], None]]:
    """A function that has the server stand still, to the end of the block."""
    standing = []

    def stop() -> None:
        standing.append(stopped(server.postgres.pid))
        standing[0].__enter__()

    try:
        yield stop
    finally:
        for still in standing:
            still.__exit__(None, None, None)


def test_the_end_is_prompt_and_leaves_no_session(database_url: str, pool: Pool, db: psycopg.Connection) -> None:
    """It waits for no time-out: the connection is broken under its hands."""
    with listening(database_url, pool) as heard:
        heard.wait_proved()
        assert db.execute(f"SELECT count(*) {LISTENERS}").fetchone() == (1,)
    wait_until(lambda: db.execute(f"SELECT count(*) {LISTENERS}").fetchone() == (0,), 10)


def test_an_outage_leaves_nothing_behind(database_url: str) -> None:
    """Neither a thread nor a socket of an attempt, of a connection that was cut, or of one that could not listen."""
    with open_pool(database_url, max_open=1) as pool, Proxy(database_url) as proxy:
        with pool.connection(background()):
            pass
        before = snapshot()
        with listening(proxy.url, pool) as heard:
            heard.wait_proved()
            for fault in ("refusing", "mute"):
                losses = heard.losses
                setattr(proxy, fault, True)
                proxy.cut_all()
                wait_until(lambda: heard.losses >= losses + 3, 30)  # noqa: B023
                setattr(proxy, fault, False)
            heard.wait_proved()
        proxy.cut_all()
        assert before.left_behind() == []


def test_beats_without_a_connection_of_the_pool_prove_nothing(database_url: str) -> None:
    """Where all are taken, there is no proof until one is free; the connection that listens stays."""
    with open_pool(database_url, max_open=1) as pool, listening(database_url, pool) as heard:
        heard.wait_proved()
        losses = heard.losses
        with pool.connection(background()):
            heard.wait_unproved()
        heard.wait_proved()
        assert heard.losses == losses


def test_all_of_this_on_greenlets() -> None:
    """The same tests in a process that gevent has patched, as a worker is."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.patched", "tests/integration/test_listener.py", "-q", "-k", "not greenlets"],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-5_000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
