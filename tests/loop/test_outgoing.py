"""Answers of one turn of the hub are sent at its end, each to its client, whole, and in no other order than they were made."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from time import monotonic

import gevent
import pytest

from service.server.connection import Connection, Phase
from service.server.outgoing import MOST_BYTES, MOST_TOGETHER, Outgoing

MOST = 1 << 20


class Ends:
    """Connections with their clients."""

    def __init__(self) -> None:
        self.all: list[tuple[Connection, socket.socket]] = []

    def make(self) -> tuple[Connection, socket.socket]:
        """One more."""
        ours, theirs = socket.socketpair()
        self.all.append((Connection(ours), theirs))
        return self.all[-1]

    def make_full(self) -> tuple[Connection, socket.socket, int]:
        """One whose client has not read for so long that nothing more can be sent; and how many bytes that are."""
        conn, client = self.make()
        filled = 0
        while len(rest := conn.send_some(b"-" * 4096)) < 4096:
            filled += 4096 - len(rest)
        return conn, client, filled


@pytest.fixture
def ends() -> Iterator[Ends]:
    """None to begin with."""
    made = Ends()
    yield made
    for conn, client in made.all:
        conn.close()
        client.close()


def there(client: socket.socket) -> bytes:
    """What a client has been sent, without waiting for more."""
    try:
        return client.recv(MOST, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


def read(client: socket.socket, number: int) -> bytes:
    """So many bytes, within five seconds."""
    data, end = b"", monotonic() + 5
    while len(data) < number:
        data += there(client)
        assert monotonic() < end, f"only {len(data)} bytes of {number}"
        gevent.sleep(0)
    return data


def test_all_are_sent_when_the_turn_ends(ends: Ends) -> None:
    """And not before, so that no client runs while others are still to be answered."""
    outgoing, pairs = Outgoing(), [ends.make() for _ in range(5)]
    for number, (conn, _) in enumerate(pairs):
        outgoing.add(conn, b"answer %d" % number)
    assert [there(client) for _, client in pairs] == [b""] * 5
    gevent.sleep(0)
    assert [there(client) for _, client in pairs] == [b"answer %d" % number for number in range(5)]


def test_each_turn_has_its_own(ends: Ends) -> None:
    """One after the other, also to the same client."""
    outgoing, (conn, client) = Outgoing(), ends.make()
    for number in range(3):
        outgoing.add(conn, b"%d" % number)
        gevent.sleep(0)
        assert there(client) == b"%d" % number


def test_the_first_of_very_many_does_not_wait_for_all(ends: Ends) -> None:
    """What comes together is bounded."""
    outgoing, pairs = Outgoing(), [ends.make() for _ in range(MOST_TOGETHER + 1)]
    for conn, _ in pairs:
        outgoing.add(conn, b"answer")
    assert [there(client) for _, client in pairs] == [b"answer"] * MOST_TOGETHER + [b""]
    gevent.sleep(0)
    assert there(pairs[-1][1]) == b"answer"


def test_a_large_one_is_sent_at_once(ends: Ends) -> None:
    """Only its own greenlet can wait for its client."""
    conn, client = ends.make()
    Outgoing().add(conn, b"x" * (MOST_BYTES + 1))
    assert len(there(client)) == MOST_BYTES + 1


@pytest.mark.parametrize("others", [0, MOST_TOGETHER - 1], ids=["at the end of the turn", "as one of many"])
def test_a_client_that_does_not_read_has_its_answer_later_and_first(ends: Ends, others: int) -> None:
    """The greenlet that waits for its next request sends the rest, with the bound on slow readers; nobody else waits."""
    outgoing, (conn, client, filled) = Outgoing(), ends.make_full()

    def serve() -> bytes:
        outgoing.add(conn, b"the answer")
        for _ in range(others):
            outgoing.add(ends.make()[0], b"another")
        conn.wait_for_request()
        return conn.receive(MOST)

    served = gevent.spawn(serve)
    client.send(b"the next request")
    gevent.sleep(0.01)
    assert conn.phase is Phase.SENDING
    assert not served.ready()
    assert [there(theirs) for _, theirs in ends.all[1:]] == [b"another"] * others
    assert read(client, filled + 10)[filled:] == b"the answer"
    assert served.get(timeout=5) == b"the next request"
    assert conn.phase is Phase.IDLE


def test_a_client_that_has_left_harms_no_other(ends: Ends) -> None:
    """Whoever waits for its next request finds its end."""
    outgoing, (gone, its_client), (conn, client) = Outgoing(), ends.make(), ends.make()
    waits = gevent.spawn(gone.receive, MOST)
    gevent.sleep(0)
    its_client.close()
    outgoing.add(gone, b"to nobody")
    outgoing.add(conn, b"to somebody")
    gevent.sleep(0)
    assert there(client) == b"to somebody"
    assert waits.get(timeout=5) == b""


def test_a_connection_that_was_closed_meanwhile_harms_no_other(ends: Ends) -> None:
    """As when its greenlet is killed at the end of a worker."""
    outgoing, (closed, _), (conn, client) = Outgoing(), ends.make(), ends.make()
    outgoing.add(closed, b"too late")
    outgoing.add(conn, b"in time")
    closed.close()
    gevent.sleep(0)
    assert there(client) == b"in time"
