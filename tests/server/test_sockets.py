"""A listener that systemd owns: it outlives the server, and what waits in it is for whoever listens next."""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.server.exit_status import ExitStatus
from tests.server.load import Load, exchange, receive, send
from tests.server.web import Web, activated
from tests.serving import LEDGERD, clean_env, wait_until


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket as a socket unit makes it; this process holds it as systemd would."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as made:
        yield made


def test_a_restart_on_a_socket_of_systemd_loses_nobody(
    start: Callable[..., Web], load: Callable[..., Load], listener: socket.socket
) -> None:
    """Stop, and start a second instance, under load: nobody is refused, and every request is answered."""
    first = start(listener=listener).wait_ready()
    with load(first.port) as clients:
        wait_until(lambda: clients.posted > 100, 30)
        assert first.signal(signal.SIGTERM).wait_end() == ExitStatus.STOPPED
        second = start(listener=listener).wait_ready(2)
        seen = clients.posted
        wait_until(lambda: clients.posted > seen + 100, 30)
    assert clients.failures == []
    assert clients.refused == 0
    assert second.signal(signal.SIGTERM).wait_end() == ExitStatus.STOPPED


def test_clients_that_come_between_two_instances_are_answered_by_the_second(
    start: Callable[..., Web], listener: socket.socket
) -> None:
    """The socket is neither shut down nor closed: 30 clients connect and ask while nobody serves, and wait."""
    first = start(listener=listener).wait_ready()
    assert first.signal(signal.SIGTERM).wait_end() == ExitStatus.STOPPED
    assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    with ExitStack() as stack:
        connections = [stack.enter_context(first.connect()) for _ in range(30)]
        for connection in connections:
            send(connection, "GET", "/readyz")
        start(listener=listener).wait_ready(2)
        assert [receive(connection) for connection in connections] == [(200, False)] * 30


def test_a_second_instance_takes_over_while_the_first_goes(
    start: Callable[..., Web], load: Callable[..., Load], listener: socket.socket
) -> None:
    """Two instances on one socket, as a release without a pause: start, ready, stop the old one, and back, under load."""
    current = start(listener=listener).wait_ready()
    with load(current.port, keeping=8, opening=8) as clients:
        for number in range(2, 5):
            following = start(listener=listener).wait_ready(number)
            assert current.signal(signal.SIGTERM).wait_end() == ExitStatus.STOPPED
            current = following
        seen = clients.posted
        wait_until(lambda: clients.posted > seen + 100, 30)
    assert clients.failures == []
    assert clients.refused == 0


def test_a_unix_socket_of_systemd_stays_where_it_is(start: Callable[..., Web]) -> None:
    """It serves there, and leaves the path behind for the next instance."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/http")
        listener.listen()
        for number in (1, 2):
            web = start(listener=listener).wait_ready(number)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(f"{folder}/http")
                assert exchange(connection, "GET", "/readyz") == (200, False)
                assert web.signal(signal.SIGTERM).wait_end() == ExitStatus.STOPPED


def test_serve_takes_no_socket_of_systemd(listener: socket.socket, tmp_path: Path) -> None:
    """It says which command does."""
    command = [*activated(listener), *LEDGERD, "serve"]
    done = subprocess.run(
        command, env=clean_env(LEDGERD_DATA_DIR=str(tmp_path)), pass_fds=[listener.fileno()], capture_output=True, text=True,
        check=False, timeout=30,
    )
    assert (done.returncode, done.stderr) == (
        ExitStatus.PROBLEM, "ledgerd: `ledgerd serve` does not take a socket of systemd: `ledgerd web` does\n",
    )
