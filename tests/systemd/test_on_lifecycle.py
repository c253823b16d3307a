"""A real systemd starts, stops, reloads and restarts ledgerd, and notices when it hangs or dies."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from tests.serving import http_status
from tests.systemd.conftest import ROUNDS
from tests.systemd.installed import Installed
from tests.systemd.load import Load
from tests.systemd.machine import when

RATE = 500.0


def test_it_starts_in_order(ledgerd: Installed) -> None:
    """PostgreSQL takes connections before the migrations begin, and they are done before the web server starts."""
    machine = ledgerd.machine
    machine.run("systemctl", "stop", "ledgerd.target")
    when(lambda: not machine.is_active("ledgerd-postgres.service"), 60, "PostgreSQL stopped with the target")
    machine.run("systemctl", "start", "ledgerd.target")
    ledgerd.wait_ready()
    migrate = f"ledgerd-migrate@{ledgerd.live}.service"
    database_ready = int(machine.show("ledgerd-postgres.service", "ActiveEnterTimestampMonotonic"))
    migrating = int(machine.show(migrate, "ExecMainStartTimestampMonotonic"))
    migrated = int(machine.show(migrate, "ActiveEnterTimestampMonotonic"))
    serving = int(machine.show(ledgerd.web, "ExecMainStartTimestampMonotonic"))
    assert 0 < database_ready <= migrating < migrated <= serving


def test_it_comes_back_with_the_machine(ledgerd: Installed) -> None:
    """What the target wants at boot is the socket, the database and the live instance, and not the other one."""
    wanted = ledgerd.machine.run("systemctl", "show", "--property=Wants", "--value", "ledgerd.target").stdout.split()
    assert sorted(wanted) == sorted(["ledgerd.socket", "ledgerd-postgres.service", "ledgerd-dispatcher.service", ledgerd.web])
    assert ledgerd.machine.run("systemctl", "is-enabled", "ledgerd.target").stdout.strip() == "enabled"


def test_a_killed_main_process_is_started_again(ledgerd: Installed) -> None:
    """kill -9 of the arbiter: systemd starts another, and ends the workers that were left."""
    machine, before, workers = ledgerd.machine, ledgerd.machine.main_pid(ledgerd.web), ledgerd.workers()
    machine.kill(signal.SIGKILL, before)
    when(lambda: machine.main_pid(ledgerd.web) not in (0, before), 30, "another main process")
    ledgerd.wait_ready()
    assert not set(workers) & set(ledgerd.workers())


def test_a_killed_worker_is_replaced(ledgerd: Installed) -> None:
    """kill -9 of a worker: the arbiter starts another, and systemd has nothing to do."""
    machine, before, (victim, _) = ledgerd.machine, ledgerd.machine.main_pid(ledgerd.web), ledgerd.workers()
    machine.kill(signal.SIGKILL, victim)
    when(lambda: len(ledgerd.workers()) == 2 and victim not in ledgerd.workers(), 30, "another worker")
    assert machine.main_pid(ledgerd.web) == before


def test_the_rate_limits_outlive_a_restart(ledgerd: Installed) -> None:
    """One file, of ledgerd alone, which the next processes take up; so a restart gives nobody a new burst."""
    machine = ledgerd.machine
    file = ("stat", "--format=%i %U %a", "/run/ledgerd/limits")
    before = machine.run(*file).stdout.split()
    assert before[1:] == ["ledgerd", "600"]
    assert machine.run("stat", "--format=%U %a", "/run/ledgerd").stdout.split() == ["ledgerd", "700"]
    machine.run("systemctl", "stop", ledgerd.web)
    assert machine.run(*file).stdout.split() == before
    machine.run("systemctl", "start", ledgerd.web)
    ledgerd.wait_ready()
    assert machine.run(*file).stdout.split() == before


@pytest.mark.slow
def test_a_hanging_main_process_is_noticed(ledgerd: Installed) -> None:
    """SIGSTOP of the arbiter: no sign of life, so systemd ends it and starts another."""
    machine, before = ledgerd.machine, ledgerd.machine.main_pid(ledgerd.web)
    machine.kill(signal.SIGSTOP, before)
    when(lambda: machine.main_pid(ledgerd.web) not in (0, before), 60, "another main process")
    ledgerd.wait_ready()
    assert "watchdog" in machine.journal(ledgerd.web).lower()


@pytest.mark.slow
def test_a_hanging_worker_is_replaced(ledgerd: Installed) -> None:
    """SIGSTOP of a worker: the arbiter ends it and starts another, and stays itself."""
    machine, before, (victim, _) = ledgerd.machine, ledgerd.machine.main_pid(ledgerd.web), ledgerd.workers()
    machine.kill(signal.SIGSTOP, victim)
    when(lambda: len(ledgerd.workers()) == 2 and victim not in ledgerd.workers(), 90, "another worker")
    assert machine.main_pid(ledgerd.web) == before
    assert ledgerd.is_ready()


def test_a_killed_database_comes_back(ledgerd: Installed) -> None:
    """kill -9 of the database's main process: systemd starts it again, and the web server goes on by itself."""
    machine, web = ledgerd.machine, ledgerd.machine.main_pid(ledgerd.web)
    before = machine.main_pid("ledgerd-postgres.service")
    machine.kill(signal.SIGKILL, before)
    when(lambda: machine.main_pid("ledgerd-postgres.service") not in (0, before), 30, "another main process")
    ledgerd.wait_ready()
    assert machine.main_pid(ledgerd.web) == web


@pytest.mark.slow
def test_a_hanging_database_is_noticed(ledgerd: Installed) -> None:
    """SIGSTOP of PostgreSQL itself: it answers nobody, so no sign of life reaches systemd, which starts it again."""
    machine, before = ledgerd.machine, ledgerd.machine.main_pid("ledgerd-postgres.service")
    (postmaster,) = machine.run("pgrep", "-P", str(before), "-x", "postgres").stdout.split()
    machine.kill(signal.SIGSTOP, int(postmaster))
    when(lambda: machine.main_pid("ledgerd-postgres.service") not in (0, before), 120, "another main process")
    ledgerd.wait_ready()


def test_a_request_waits_while_nothing_runs(ledgerd: Installed) -> None:
    """systemd holds the socket: a request that comes while no instance runs is answered by the next one."""
    ledgerd.machine.run("systemctl", "stop", ledgerd.web)
    answers: list[int | None] = []
    thread = threading.Thread(target=lambda: answers.append(http_status(f"http://127.0.0.1:{ledgerd.port}/healthz")))
    thread.start()
    when(lambda: waiting(ledgerd) == 1, 10, "the connection in the queue")
    assert not ledgerd.machine.is_active(ledgerd.web), "traffic must start nothing"
    assert answers == []
    ledgerd.machine.run("systemctl", "start", ledgerd.web)
    thread.join(30)
    assert answers == [200]


def waiting(ledgerd: Installed) -> int:
    """How many connections wait on the listening socket, as the kernel counts them."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{ledgerd.port:04X}") and fields[3] == "0A":  # LISTEN
            return int(fields[4].partition(":")[2], 16)
    raise AssertionError("nothing listens")


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["restart", "reload"])
def test_no_request_is_lost(ledgerd: Installed, verb: str) -> None:
    """`systemctl restart` and `systemctl reload` under load, again and again: every request is answered."""
    accounts = ledgerd.open_accounts(20)
    with Load(ledgerd.port, ledgerd.token, accounts, RATE, f"{verb}-{time.monotonic_ns()}") as load:
        for _ in range(ROUNDS):
            before = set(ledgerd.workers())
            ledgerd.machine.run("systemctl", verb, ledgerd.web)
            when(lambda: len(ledgerd.workers()) == 2 and not before & set(ledgerd.workers()), 60, "new workers")  # noqa: B023
            load.settle()
    print(f"\n{ROUNDS} x {verb}: {load}")
    assert load.seen.failed == [], ledgerd.machine.journal(ledgerd.web, 200)
