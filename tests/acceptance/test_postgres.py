"""`ledgerd postgres` as systemd runs it: it tells its state on the socket of NOTIFY_SOCKET."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from service.repository.embedded import EmbeddedPostgres
from tests.serving import LEDGERD, children, clean_env, descendants, ledgerd, wait_until


class Systemd:
    """Listens to what a service says."""

    def __init__(self, folder: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.address = str(folder / "notify")
        self._socket.bind(self.address)
        self._socket.settimeout(60)

    def wait_for(self, line: str) -> None:
        """Return when it has been said. Raises TimeoutError after a minute."""
        while line not in self._socket.recv(4096).decode().splitlines():
            pass

    def hears_nothing_for(self, seconds: float) -> bool:
        """Forget what has been said, then listen for so long."""
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self._socket.recv(4096)
        self._socket.settimeout(seconds)
        try:
            return not self._socket.recv(4096)
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(60)

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """One to listen."""
    listening = Systemd(tmp_path)
    yield listening
    listening.close()


@contextmanager
def postgres(data_dir: Path, systemd: Systemd) -> Iterator[subprocess.Popen[bytes]]:
    """The command, ready; whatever it leaves behind is killed."""
    told = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "3000000"}
    env = clean_env(LEDGERD_DATA_DIR=str(data_dir), LEDGERD_WORKERS="2", LEDGERD_DB_MAX_OPEN="10", **told)
    with subprocess.Popen([*LEDGERD, "postgres"], env=env, stderr=subprocess.PIPE) as process:
        try:
            systemd.wait_for("READY=1")
            yield process
        finally:
            for pid in descendants(process.pid):
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.kill(pid, signal.SIGKILL)
            process.kill()


def test_it_is_ready_when_it_takes_connections(data_dir: Path, systemd: Systemd) -> None:
    """READY, then WATCHDOG; other commands use it; SIGTERM ends it with 0; PostgreSQL's own log is on standard error."""
    with postgres(data_dir, systemd) as process:
        assert EmbeddedPostgres(data_dir).is_running()
        done = ledgerd("migrate", LEDGERD_DATA_DIR=str(data_dir))
        assert done.returncode == 0, done.stderr
        systemd.wait_for("WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        systemd.wait_for("STOPPING=1")
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"database system is ready to accept connections" in said
    assert not (data_dir / "postgres.log").exists()
    assert not EmbeddedPostgres(data_dir).is_running()


def test_it_has_room_for_two_instances(data_dir: Path, systemd: Systemd) -> None:
    """Two instances of two workers with ten connections, as during a release, are four workers: `check` finds them right."""
    with postgres(data_dir, systemd):
        url = EmbeddedPostgres(data_dir).url
        assert ledgerd("migrate", DATABASE_URL=url).returncode == 0
        done = ledgerd("check", DATABASE_URL=url, LEDGERD_WORKERS="4", LEDGERD_DB_MAX_OPEN="10")
    assert done.returncode == 0, done.stderr


def test_it_ends_when_postgresql_ends(data_dir: Path, systemd: Systemd) -> None:
    """A PostgreSQL that is killed: status 1, so that systemd starts both again."""
    with postgres(data_dir, systemd) as process:
        (postmaster,) = children(process.pid, "/postgres")
        os.kill(postmaster, signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"PostgreSQL ended by itself" in said


@pytest.mark.slow
def test_a_hanging_postgresql_gives_no_sign_of_life(data_dir: Path, systemd: Systemd) -> None:
    """SIGSTOP of PostgreSQL: no further WATCHDOG for longer than systemd waits; after SIGCONT they come again."""
    with postgres(data_dir, systemd) as process:
        (postmaster,) = children(process.pid, "/postgres")
        systemd.wait_for("WATCHDOG=1")
        os.kill(postmaster, signal.SIGSTOP)
        wait_until(lambda: not EmbeddedPostgres(data_dir).responds(), 30)
        assert systemd.hears_nothing_for(3)
        os.kill(postmaster, signal.SIGCONT)
        systemd.wait_for("WATCHDOG=1")
