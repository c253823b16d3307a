"""The messages to systemd, on a real datagram socket."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.server.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def listening(request: pytest.FixtureRequest) -> Iterator[tuple[str, socket.socket]]:
    """An address as in NOTIFY_SOCKET, and the socket behind it."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        address = f"{folder}/notify" if request.param == "path" else f"@ledgerd-test-{os.getpid()}"
        listener.bind(address.replace("@", "\0"))
        listener.settimeout(10)
        yield address, listener


def test_a_message_is_one_datagram(listening: tuple[str, socket.socket]) -> None:
    """Its assignments are lines, and a value cannot begin another line."""
    address, listener = listening
    Notifier(address).send(READY=1, STATUS="two\nlines")
    assert listener.recv(4096) == b"READY=1\nSTATUS=two lines"


def test_the_variables_are_taken_out_of_the_environment() -> None:
    """No child speaks in our name; the watchdog counts only where it is meant for this process."""
    env = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    assert Notifier.take_from(env).watchdog_s == 30.0
    assert env == {"HOME": "/"}
    assert Notifier.take_from({"WATCHDOG_USEC": "30000000"}).watchdog_s == 30.0
    assert Notifier.take_from({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}).watchdog_s is None
    assert Notifier.take_from({"WATCHDOG_USEC": "soon"}).watchdog_s is None


def test_without_a_socket_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    """Not even a word in the log."""
    Notifier.take_from({}).send(READY=1)
    assert caplog.records == []


def test_a_socket_that_is_gone_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The service goes on, and the log says what systemd has not heard."""
    with caplog.at_level(logging.WARNING):
        Notifier(str(tmp_path / "nobody")).send(STOPPING=1, STATUS="x")
    assert "systemd cannot be told STOPPING, STATUS: [Errno 2]" in caplog.text
