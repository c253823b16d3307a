"""Processes are killed and stopped under load: nothing acknowledged is lost, nothing is posted twice, service comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.chaos.conftest import FULL, SETTINGS, WORKERS, Ledger
from tests.chaos.figures import Figures
from tests.serving import Serve, children, descendants, is_there, stopped, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

WORKER_KILLS = 20 if FULL else 2
KILL_EVERY_S = 2.0
BACKEND_KILLS = 10 if FULL else 1
RESTARTS = 5 if FULL else 1
ARBITER_KILLS = 5 if FULL else 1
FREEZES = 3 if FULL else 1
FROZEN_S = 10.0 if FULL else 3.0

Table = Callable[[str, Figures], None]


def test_killed_workers_lose_nothing(embedded_ledger: Ledger, table: Table) -> None:
    """A worker is killed every 2 s; another takes its place, and the answers agree with the books."""
    server = embedded_ledger.server
    with embedded_ledger.load() as load:
        for turn in range(WORKER_KILLS):
            wait_until(lambda: len(server.workers()) == WORKERS, 10)
            with load.fault():
                os.kill(server.workers()[turn % WORKERS], signal.SIGKILL)
            load.pause(KILL_EVERY_S - 1)
        wait_until(lambda: len(server.workers()) == WORKERS, 10)
        load.wait_good()
    table("kill -9 of a worker, every 2 s", embedded_ledger.check(load))


def test_a_killed_backend_loses_nothing(embedded_ledger: Ledger, table: Table) -> None:
    """PostgreSQL then ends every session and recovers; the workers come back by themselves."""
    with embedded_ledger.load() as load:
        for _ in range(BACKEND_KILLS):
            backends = children(postmaster_of(embedded_ledger), "postgres: ledgerd ledgerd")
            with load.fault():
                os.kill(backends[0], signal.SIGKILL)
    table("kill -9 of a backend", embedded_ledger.check(load))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("PostgreSQL, fast restart", signal.SIGINT),
        ("PostgreSQL, immediate restart", signal.SIGQUIT),
        ("kill -9 of the postmaster", signal.SIGKILL),
    ],
)
def test_a_restart_of_postgresql_loses_nothing(
    embedded_ledger: Ledger, table: Table, name: str, number: signal.Signals
) -> None:
    """Shut down fast, at once, or killed: it is started again, and the workers come back by themselves."""
    serve = embedded_ledger.server.process.pid
    with embedded_ledger.load() as load:
        for _ in range(RESTARTS):
            with load.fault(recover=False):
                os.kill(old := postmaster_of(embedded_ledger), number)
            wait_until(lambda old=old: children(serve, "/postgres") not in ([], [old]), 30)
            load.wait_good()
    table(name, embedded_ledger.check(load))


def test_a_stopped_postgresql_loses_nothing(embedded_ledger: Ledger, table: Table) -> None:
    """Every process of it stands still for seconds: callers are told in time, and afterwards all goes on."""
    with embedded_ledger.load() as load:
        for _ in range(FREEZES):
            with load.fault(), stopped(postmaster_of(embedded_ledger)):
                load.pause(FROZEN_S)
    table(f"PostgreSQL stopped for {FROZEN_S:.0f} s", embedded_ledger.check(load))


def test_a_killed_arbiter_leaves_nothing_behind(embedded_ledger: Ledger, table: Table) -> None:
    """gunicorn's first process is killed: `serve` ends with status 1 and says why, all below it ends, the next has it all."""
    with embedded_ledger.load() as load:
        for _ in range(ARBITER_KILLS):
            server = embedded_ledger.server
            below = descendants(server.process.pid)
            (arbiter,) = children(server.process.pid, "service.server")
            with load.fault():
                os.kill(arbiter, signal.SIGKILL)
                assert server.process.wait(60) == 1
                assert "the web server ended by itself with status -9" in server.log.read_text()
                wait_until(lambda below=below: not any(map(is_there, below)), 20)
                embedded_ledger.server = Serve(server.log.parent, port=server.port, **SETTINGS)
                embedded_ledger.server.wait_ready()
    table("kill -9 of the arbiter, and a new start", embedded_ledger.check(load))


def postmaster_of(ledger: Ledger) -> int:
    """The first process of the embedded PostgreSQL."""
    (postmaster,) = children(ledger.server.process.pid, "/postgres")
    return postmaster
