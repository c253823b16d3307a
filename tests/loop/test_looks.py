"""Clients that leave are noticed, whatever it costs to look: which is bounded."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from service.server.connection import LEFT_AFTER_S, LOOKS_PER_S, WATCH_S, Connection, Connections

MANY = 400  # more than are looked at in a round


@pytest.fixture
def clients() -> Iterator[tuple[Connections, list[socket.socket], list[int]]]:
    """Connections whose requests are under way, their clients, and the numbers of those that were found to have left."""
    connections, others, made, left = Connections(), [], [], []
    for number in range(MANY):
        ours, theirs = socket.socketpair()
        conn = Connection(ours)
        conn.call_application()
        conn.when_client_leaves(lambda number=number: left.append(number))
        connections.add(conn)
        made.append(conn)
        others.append(theirs)
    yield connections, others, left
    for conn, theirs in zip(made, others, strict=True):
        conn.close()
        theirs.close()


def test_of_many_requests_under_way_each_is_looked_at_in_its_turn(
    clients: tuple[Connections, list[socket.socket], list[int]],
) -> None:
    """No more than LOOKS_PER_S over some time, and none is forgotten."""
    connections, others, left = clients
    began = next(iter(connections._all)).began + 10 * LEFT_AFTER_S
    rounds = [connections.look_after_clients(began + n * WATCH_S) for n in range(40)]
    assert MANY <= sum(rounds) <= MANY + 40 * WATCH_S * LOOKS_PER_S * 1.2
    assert left == []
    others[7].shutdown(socket.SHUT_WR)
    for n in range(40, 40 + round(MANY / LOOKS_PER_S / WATCH_S) + 1):
        connections.look_after_clients(began + n * WATCH_S)
    assert left == [7]


def test_few_are_looked_at_every_time(clients: tuple[Connections, list[socket.socket], list[int]]) -> None:
    """A client that leaves then waits for nobody."""
    connections, _, _ = clients
    for conn in list(connections._all)[50:]:
        connections.discard(conn)
    began = next(iter(connections._all)).began + 10 * LEFT_AFTER_S
    assert [connections.look_after_clients(began + n * WATCH_S) for n in range(5)] == [50] * 5


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET], ids=["unix", "tcp"])
@pytest.mark.parametrize("unread", [b"", b"\r\n"], ids=["nothing unread", "a line unread"])
def test_one_that_leaves_is_noticed(family: socket.AddressFamily, unread: bytes) -> None:
    """Over either kind of socket; and one that only sends ahead has not left."""
    with socket.socket(family) as listener:
        listener.bind("" if family is socket.AF_UNIX else ("127.0.0.1", 0))
        listener.listen()
        theirs = socket.socket(family)
        theirs.connect(listener.getsockname())
        conn, left = Connection(listener.accept()[0]), []
    conn.call_application()
    conn.when_client_leaves(lambda: left.append(True))
    theirs.sendall(unread)
    conn.look_after_client()
    assert left == []
    theirs.close()
    for _ in range(2):
        conn.look_after_client()
    assert left == [True]
    conn.close()
