"""What the loop makes of an application's answers, where gunicorn is no model."""

from __future__ import annotations

import http.client
import socket

import pytest

from tests.loop.conftest import Server
from tests.loop.exchange import PROBE, exchange

REQUEST = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


def test_an_answer_of_one_piece_is_one_segment(ours: Server) -> None:
    """Head and body are sent together."""
    with socket.create_connection(("127.0.0.1", ours.port), timeout=10) as sock:
        sock.sendall(REQUEST % b"/leave-body")
        assert sock.recv(65536).endswith(b"\r\n\r\n{}")


def test_a_header_cannot_split_an_answer(ours: Server) -> None:
    """It is the application's error, and nothing of it is sent."""
    (reply,) = exchange(ours.port, [REQUEST % b"/bad-header" + PROBE])
    assert (reply.status, "set-cookie" in reply.fields) == (500, False)


def test_a_body_without_a_status_is_an_error(ours: Server) -> None:
    """The client learns that something is wrong here."""
    (reply,) = exchange(ours.port, [REQUEST % b"/unbegun"])
    assert reply.status == 500


@pytest.mark.parametrize("path", ["/fail-midway", "/too-short"])
def test_an_answer_that_breaks_off_ends_its_connection(ours: Server, path: str) -> None:
    """No client may take the next answer for the rest of this one."""
    (reply,) = exchange(ours.port, [REQUEST % path.encode() + PROBE])
    assert not reply.whole


def test_a_large_answer_comes_whole(ours: Server) -> None:
    """More than the socket takes at once, to a client that reads slowly at first."""
    conn = http.client.HTTPConnection("127.0.0.1", ours.port, timeout=20)
    conn.request("GET", "/large")
    answer = conn.getresponse()
    assert answer.read(1) == b" "
    assert len(answer.read()) == (16 << 20) - 1
    conn.request("GET", "/")
    assert conn.getresponse().status == 200
    conn.close()


def test_a_refusal_reaches_a_client_that_still_sends(ours: Server) -> None:
    """The connection is not reset while the client can have an answer to read."""
    for _ in range(20):
        (reply,) = exchange(ours.port, [b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n" + b"x" * 200_000])
        assert reply.status == 400
