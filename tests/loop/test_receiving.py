"""A connection waits for its client without asking the kernel each time, and without turning round when nobody waits."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import gevent
import pytest

from service.server.connection import Connection

MOST = 100


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection, and its client."""
    ours, theirs = socket.socketpair()
    conn = Connection(ours)
    yield conn, theirs
    conn.close()
    theirs.close()


def test_what_comes_while_nobody_waits_is_looked_at_once(ends: tuple[Connection, socket.socket]) -> None:
    """Requests that a client sends ahead are read when it is their turn; until then the hub is left in peace."""
    conn, client = ends
    client.send(b"first")
    assert conn.receive(MOST) == b"first"
    looks = []
    look = conn._on_readable
    conn._readable.stop()
    conn._readable.start(lambda: (looks.append(1), look()))
    client.send(b"second")
    for _ in range(20):
        gevent.sleep(0.001)
    assert looks == [1]
    assert conn.receive(MOST) == b"second"


def test_the_same_watcher_serves_request_after_request(ends: tuple[Connection, socket.socket]) -> None:
    """It is not stopped between them, so the kernel is not told anew."""
    conn, client = ends
    receiver = gevent.spawn(lambda: [conn.receive(MOST) for _ in range(3)])
    for number in range(3):
        gevent.sleep(0.001)
        assert conn._readable.active
        client.send(b"%d" % number)
    assert receiver.get(timeout=5) == [b"0", b"1", b"2"]


def test_whoever_is_ended_while_it_waits_leaves_nothing_behind(ends: tuple[Connection, socket.socket]) -> None:
    """The next one who waits is woken, and nobody else."""
    conn, client = ends
    ended = gevent.spawn(conn.receive, MOST)
    gevent.sleep(0.001)
    ended.kill()
    waits = gevent.spawn(conn.receive, MOST)
    gevent.sleep(0.001)
    client.send(b"for the second")
    assert waits.get(timeout=5) == b"for the second"
