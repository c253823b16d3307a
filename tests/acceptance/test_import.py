"""Imports into a real server: of any length in flat memory, ended with their client, and gone on with afterwards."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator

import psycopg
import pytest

from service.api.importing import AHEAD, LINES_IN_A_CHUNK
from service.api.imports import AT_ONCE
from tests.acceptance.test_export import resident_kib
from tests.client import HttpClient
from tests.invariants import check_invariants
from tests.serving import Serve, wait_until

MANY = 120_000  # lines, 40 MB


def lines(number: int) -> bytes:
    """So many transfers."""
    return b"".join(
        json.dumps({"from_account_id": 1, "to_account_id": 2, "amount": n + 1, "reference": "r" * 250}).encode() + b"\n"
        for n in range(number)
    )


def posted(database_url: str) -> int:
    """How many transfers there are."""
    with psycopg.connect(database_url) as conn:
        return int(conn.execute("SELECT count(*) FROM transfers").fetchone()[0])


class Upload:
    """An import that is sent piece by piece, chunked, or with its length if that is told."""

    def __init__(self, served: Serve, key: str, length: int | None = None, name: str = "n") -> None:
        self._sock = socket.create_connection(("127.0.0.1", served.port), timeout=60)
        self._is_chunked = length is None
        how = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        fields = f"Host: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/x-ndjson\r\n{how}"
        head = f"POST /api/transfers/import?name={name} HTTP/1.1\r\n{fields}\r\n"
        self._sock.sendall(head.encode() + b"\r\n")

    def send(self, piece: bytes) -> None:
        """The next piece."""
        self._sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if self._is_chunked else piece)

    def end(self) -> None:
        """There is no more, though more may have been promised."""
        self._sock.sendall(b"0\r\n\r\n") if self._is_chunked else self._sock.shutdown(socket.SHUT_WR)

    def answer(self) -> tuple[int, dict[str, object]]:
        """Status and body."""
        answer = http.client.HTTPResponse(self._sock)
        answer.begin()
        return answer.status, json.loads(answer.read())

    def close(self) -> None:
        """Leave."""
        self._sock.close()


@pytest.fixture
def upload(served: Serve, payer_key: str) -> Iterator[Upload]:
    """A chunked one that has begun."""
    upload = Upload(served, payer_key)
    yield upload
    upload.close()


def test_an_import_is_whole_and_never_in_memory(served: Serve, payer_key: str, database_url: str) -> None:
    """Every line of it, while no worker grows beyond what a short one takes; meanwhile the server answers others."""
    body, client = lines(MANY), HttpClient(served.port, payer_key)
    short = Upload(served, payer_key, name="short")
    short.send(lines(MANY // 2))
    short.end()
    assert short.answer()[0] == 200
    short.close()
    before, upload = resident_kib(served), Upload(served, payer_key)
    for at in range(0, len(body), 1 << 16):
        upload.send(body[at : at + (1 << 16)])
        if at % (1 << 20) == 0:
            assert client.call("GET", "/api/accounts/2").status == 200
    upload.end()
    status, report = upload.answer()
    assert (status, report["posted"], report["refused"]) == (200, MANY, 0)
    assert posted(database_url) == MANY + MANY // 2
    assert resident_kib(served) - before < len(body) / 3 / 1024
    upload.close()
    client.close()


@pytest.mark.parametrize("cut", ["end", "close"])
@pytest.mark.parametrize("chunked", [True, False])
def test_an_import_that_is_cut_off_can_go_on(
    served: Serve, payer_key: str, database_url: str, cut: str, chunked: bool
) -> None:
    """In the middle of a line: whole chunks are posted, none of what is torn; the same again does the rest."""
    body = lines(LINES_IN_A_CHUNK * 10)
    upload = Upload(served, payer_key, None if chunked else len(body))
    upload.send(body[: len(body) // 2])
    if cut == "close":
        wait_until(lambda: posted(database_url) > 0, 30)
        upload.close()
    elif chunked:
        upload._sock.shutdown(socket.SHUT_WR)
        assert upload.answer()[0] == 400
    else:
        upload.end()
        assert upload.answer()[0] == 400
    upload.close()
    client = HttpClient(served.port, payer_key)
    there = posted_in_the_end(database_url)
    assert there % LINES_IN_A_CHUNK == 0
    assert there <= LINES_IN_A_CHUNK * 5
    again = Upload(served, payer_key, len(body))
    again.send(body)
    status, report = again.answer()
    assert (status, report["posted"], report["replayed"]) == (200, LINES_IN_A_CHUNK * 10 - there, there)
    assert check_invariants(database_url) == LINES_IN_A_CHUNK * 10
    again.close()
    client.close()


def posted_in_the_end(database_url: str) -> int:
    """How many, when for a second none has been added: between two chunks nothing runs either."""
    seen = [-1]

    def is_over() -> bool:
        seen.append(posted(database_url))
        return seen[-1] == seen[-2] and not running(database_url)

    wait_until(is_over, 30, every_s=1.0)
    return seen[-1]


def running(database_url: str) -> bool:
    """Whether something is being posted."""
    with psycopg.connect(database_url) as conn:
        query = "SELECT FROM pg_stat_activity WHERE query LIKE '%post_bulk%' AND state = 'active' AND pid <> pg_backend_pid()"
        return conn.execute(query).fetchone() is not None


def test_a_fault_ends_an_import_whose_client_is_silent(served: Serve, payer_key: str, upload: Upload) -> None:
    """Nobody waits for more of a body that is no longer wanted, and the places come free again."""
    body = lines(LINES_IN_A_CHUNK * (AHEAD + 2))
    first = Upload(served, payer_key)
    first.send(b'{"from_account_id": 1, "to_account_id": 2, "amount": 7}\n' + body)
    first.end()
    assert first.answer()[0] == 200  # and its name is spent
    first.close()
    for _ in range(2 * AT_ONCE):
        other = Upload(served, payer_key)
        other.send(body)  # and no more: it waits for the answer
        status, problem = other.answer()
        assert (status, problem["code"]) == (422, "idempotency_key_reused")
        other.close()
    upload.end()
    assert upload.answer()[0] == 200


def test_a_client_that_leaves_ends_what_is_under_way(served: Serve, payer_key: str, upload: Upload, database_url: str) -> None:
    """The statement too, though it waits for a lock that nobody gives."""
    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT FROM accounts FOR UPDATE")
        upload.send(lines(LINES_IN_A_CHUNK))
        upload.end()
        wait_until(lambda: running(database_url), 30)
        upload.close()
        wait_until(lambda: not running(database_url), 30)
    assert posted(database_url) == 0
