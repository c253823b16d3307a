"""Bulk requests to a real server: bodies of a megabyte by either framing, whole or not at all, and clients that leave."""

from __future__ import annotations

import http.client
import json
import socket

import psycopg
import pytest

from service.api.schemas import MOST_IN_BULK
from service.ledger.bulk import MOST_IN_A_CHUNK
from tests.invariants import check_invariants
from tests.serving import Serve, wait_until

PATH = "/api/transfers/bulk"


def body(number: int) -> bytes:
    """So many transfers."""
    items = [{"from_account_id": 1, "to_account_id": 2, "amount": n + 1, "reference": "r" * 60} for n in range(number)]
    return json.dumps({"transfers": items}).encode()


def begin(served: Serve, key: str, framing: str) -> socket.socket:
    """The head of a request."""
    sock = socket.create_connection(("127.0.0.1", served.port), timeout=60)
    fields = ("Host: x", f"Authorization: Bearer {key}", "Content-Type: application/json", "Idempotency-Key: k", framing)
    sock.sendall(f"POST {PATH} HTTP/1.1\r\n".encode() + "".join(f"{field}\r\n" for field in fields).encode() + b"\r\n")
    return sock


def answer(sock: socket.socket) -> tuple[int, dict[str, object]]:
    """Status and body."""
    reply = http.client.HTTPResponse(sock)
    reply.begin()
    return reply.status, json.loads(reply.read())


def posted(database_url: str) -> int:
    """How many transfers there are."""
    with psycopg.connect(database_url) as conn:
        return int(conn.execute("SELECT count(*) FROM transfers").fetchone()[0])


def test_ten_thousand_come_in_either_framing(served: Serve, payer_key: str, database_url: str) -> None:
    """With a length and in chunks; the same key makes it the same request."""
    whole = body(MOST_IN_BULK)
    assert len(whole) > 1 << 20
    with begin(served, payer_key, f"Content-Length: {len(whole)}") as sock:
        sock.sendall(whole)
        status, first = answer(sock)
    assert (status, first["posted"], first["replayed"]) == (200, MOST_IN_BULK, 0)
    with begin(served, payer_key, "Transfer-Encoding: chunked") as sock:
        for at in range(0, len(whole), 100_000):
            piece = whole[at : at + 100_000]
            sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")
        status, again = answer(sock)
    assert (status, again["posted"], again["replayed"]) == (200, 0, MOST_IN_BULK)
    assert posted(database_url) == MOST_IN_BULK


@pytest.mark.parametrize("number", [100, MOST_IN_BULK])
def test_half_a_body_posts_nothing(served: Serve, payer_key: str, database_url: str, number: int) -> None:
    """By either loop of the server; where there is an answer it is 400."""
    whole = body(number)
    with begin(served, payer_key, f"Content-Length: {len(whole)}") as sock:
        sock.sendall(whole[: len(whole) // 2])
        sock.shutdown(socket.SHUT_WR)
        rest = sock.recv(65536)
    assert rest == b"" or rest.startswith(b"HTTP/1.1 400 ")
    assert posted(database_url) == 0


def test_a_client_that_leaves_can_come_back(served: Serve, payer_key: str, database_url: str) -> None:
    """What was posted is a beginning in whole chunks; the same again has all, and nothing twice."""
    whole = body(MOST_IN_BULK)
    with begin(served, payer_key, f"Content-Length: {len(whole)}") as sock:
        sock.sendall(whole)
        wait_until(lambda: posted(database_url) > 0, 30, every_s=0.01)
    running = (
        "SELECT FROM pg_stat_activity WHERE query LIKE '%post_bulk%' AND state = 'active' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(database_url, autocommit=True) as conn:
        wait_until(lambda: conn.execute(running).fetchone() is None, 30)
    assert posted(database_url) % MOST_IN_A_CHUNK == 0
    with begin(served, payer_key, f"Content-Length: {len(whole)}") as sock:
        sock.sendall(whole)
        status, again = answer(sock)
    assert (status, again["refused"], len(again["results"])) == (200, 0, MOST_IN_BULK)
    assert check_invariants(database_url) == MOST_IN_BULK
