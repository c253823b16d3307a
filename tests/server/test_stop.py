"""The order of docs/operations.md ("How it stops"), step by step, and under load: what was accepted is answered."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest

from service.server.exit_status import ExitStatus
from tests.invariants import check_invariants
from tests.server.load import Load, exchange, receive, send
from tests.server.web import Web
from tests.serving import wait_until


@contextmanager
def locked(database_url: str, account: int) -> Iterator[Callable[[int], None]]:
    """An account that is locked until the end of the block; the value waits until so many transactions wait for it."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(database_url) as blocker, psycopg.connect(database_url, autocommit=True) as watch:
        blocker.execute("SELECT 1 FROM accounts WHERE id = %s FOR UPDATE", (account,))
        yield lambda number: wait_until(lambda: watch.execute(waiting).fetchone() == (number,), 30)
        blocker.rollback()


def transfer(clients: Load) -> dict[str, int]:
    """The body of a transfer between its accounts."""
    return {"from_account_id": clients.accounts[0], "to_account_id": clients.accounts[1], "amount": 1}


def refused(web: Web) -> bool:
    """Whether new connections are."""
    try:
        web.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_it_stops_in_the_order_that_is_written_down(
    start: Callable[..., Web], load: Callable[..., Load], database_url: str
) -> None:
    """Nobody new; 503 at /readyz; a request in flight finishes with `Connection: close`; idle connections end; status 0."""
    web = start().wait_ready()
    clients = load(web.port)
    with ExitStack() as stack:
        idle, used, busy = (stack.enter_context(web.connect()) for _ in range(3))
        assert exchange(idle, "GET", "/healthz") == (200, False)
        with locked(database_url, clients.accounts[0]) as wait_for_waiters:
            send(busy, "POST", "/api/transfers", clients.key, transfer(clients))
            wait_for_waiters(1)
            assert exchange(used, "GET", "/readyz") == (200, False)
            web.signal(signal.SIGTERM)
            wait_until(lambda: web.notify.states == ["READY", "STOPPING"], 30)
            wait_until(lambda: refused(web), 30)
            assert exchange(used, "GET", "/readyz") == (503, True)
            assert used.recv(1) == b""
            assert idle.recv(1) == b""
            wait_until(lambda: "1 draining" in web.notify.status, 30)
        assert receive(busy) == (201, True)
    assert web.wait_end() == ExitStatus.STOPPED
    assert web.notify.states == ["READY", "STOPPING"]
    check_invariants(database_url)


def test_a_stop_under_load_cuts_nobody(start: Callable[..., Web], load: Callable[..., Load], database_url: str) -> None:
    """Old and new connections: what was accepted is answered 201, what comes later is refused, and the books agree."""
    web = start().wait_ready()
    with load(web.port, keeping=8, opening=8) as clients:
        wait_until(lambda: clients.posted > 200, 30)
        assert web.signal(signal.SIGTERM).wait_end() == ExitStatus.STOPPED
        wait_until(lambda: clients.refused > 20, 30)
    assert clients.failures == []
    assert check_invariants(database_url) == clients.posted + 1


def test_what_is_in_the_queue_of_its_own_listener_is_answered(start: Callable[..., Web]) -> None:
    """The workers stand still while 50 clients connect and ask; then it stops: nobody new gets in, and these are answered."""
    web = start().wait_ready()
    workers = web.wait_workers(2)
    with ExitStack() as stack:
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        connections = [stack.enter_context(web.connect()) for _ in range(50)]
        for connection in connections:
            send(connection, "GET", "/healthz")
        web.signal(signal.SIGTERM)
        wait_until(lambda: "draining" in web.notify.status, 30)
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.1", web.port), timeout=0.5)
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        assert [receive(connection) for connection in connections] == [(200, True)] * 50
    assert web.wait_end() == ExitStatus.STOPPED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_second_signal_stops_at_once(
    start: Callable[..., Web], load: Callable[..., Load], database_url: str, number: signal.Signals
) -> None:
    """A request that would take longer is cut, the status says so, and no worker is left."""
    web = start().wait_ready()
    workers, clients = web.wait_workers(2), load(web.port)
    with locked(database_url, clients.accounts[0]) as wait_for_waiters, web.connect() as busy:
        send(busy, "POST", "/api/transfers", clients.key, transfer(clients))
        wait_for_waiters(1)
        web.signal(signal.SIGTERM)
        wait_until(lambda: len(web.workers) == 1, 30)

        def again() -> bool:
            web.signal(number)
            return web.process.poll() is not None

        wait_until(again, 30)
        assert web.process.returncode == ExitStatus.CUT
        assert not any(os.path.exists(f"/proc/{worker}") for worker in workers)


def test_the_deadline_stops_at_once(start: Callable[..., Web], load: Callable[..., Load], database_url: str) -> None:
    """After LEDGERD_SHUTDOWN_TIMEOUT_S a request in flight is cut, logged, and told by the status."""
    web = start(LEDGERD_SHUTDOWN_TIMEOUT_S="1").wait_ready()
    clients = load(web.port)
    with locked(database_url, clients.accounts[0]) as wait_for_waiters, web.connect() as busy:
        send(busy, "POST", "/api/transfers", clients.key, transfer(clients))
        wait_for_waiters(1)
        assert web.signal(signal.SIGTERM).wait_end() == ExitStatus.CUT
    assert "1 connections are cut: LEDGERD_SHUTDOWN_TIMEOUT_S is over" in web.log


def test_a_stop_while_workers_start_is_quick(start: Callable[..., Web], faults: Path) -> None:
    """A worker that hangs at its start has nothing to lose: the stop does not wait for it, and the status is 0."""
    (faults / "hangs").touch()
    web = start(LEDGERD_SHUTDOWN_TIMEOUT_S="60")
    wait_until(lambda: len(web.workers) == 2, 30)
    assert web.signal(signal.SIGTERM).wait_end(10) == ExitStatus.STOPPED


def test_one_worker_told_to_end_is_replaced_and_loses_nothing(start: Callable[..., Web], load: Callable[..., Load]) -> None:
    """SIGTERM to a worker alone, as systemd's KillMode=control-group would do, drains it."""
    web = start().wait_ready()
    before = web.wait_workers(2)
    with load(web.port) as clients:
        for worker in before:
            wait_until(lambda: clients.posted > 50, 30)
            os.kill(worker, signal.SIGTERM)
            wait_until(lambda worker=worker: worker not in web.workers and len(web.wait_workers(2)) == 2, 30)
    assert clients.failures == []


def test_workers_end_without_their_arbiter(start: Callable[..., Web], load: Callable[..., Load]) -> None:
    """kill -9 of the arbiter: they notice, answer what they have, and the port is free."""
    web = start().wait_ready()
    workers = web.wait_workers(2)
    with load(web.port) as clients:
        wait_until(lambda: clients.posted > 50, 30)
        web.signal(signal.SIGKILL)
        web.process.wait(10)
        wait_until(lambda: not any(os.path.exists(f"/proc/{worker}") for worker in workers), 20)
        wait_until(lambda: clients.refused > 0, 30)
    assert [failure for failure in clients.failures if "kept" in failure] == []
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", web.port))
        listener.listen()
