"""Exports from a real server: of any length in flat memory, and ended when nobody reads them any more."""

from __future__ import annotations

import socket
from pathlib import Path

import psycopg
import pytest

from tests.big_ledger import fill
from tests.client import HttpClient
from tests.serving import Serve, children, descendants, wait_until

MANY = 60_000  # transfers, 20 MB of JSON


@pytest.fixture
def filled(served: Serve, database_url: str) -> str:
    """A key of a ledger of many transfers on the server."""
    key = served.key()
    with psycopg.connect(database_url, autocommit=True) as conn:
        fill(conn, transfers=MANY, accounts=1_000)
    return key


def resident_kib(served: Serve) -> int:
    """The memory of the largest process of the server."""
    sizes = []
    for pid in descendants(served.process.pid):
        status = Path(f"/proc/{pid}/status").read_text()
        sizes += [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")]
    return max(sizes)


def test_an_export_is_whole_and_never_in_memory(served: Serve, filled: str) -> None:
    """Every line of it, by either loop, while the workers grow by less than a quarter of it."""
    client = HttpClient(served.port, filled)
    assert client.call("GET", "/api/transfers?limit=100").status == 200
    before = resident_kib(served)
    reply = client.call("GET", "/api/transfers/export")
    assert (reply.status, reply.headers["Transfer-Encoding"]) == (200, "chunked")
    assert reply.body.count(b"\n") == MANY
    assert resident_kib(served) - before < len(reply.body) / 1024 / 4
    client.close()
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as sock, sock.makefile("rb") as answer:
        sock.sendall(
            f"GET /api/transfers/export?format=csv HTTP/1.0\r\nHost: a\r\nAuthorization: Bearer {filled}\r\n\r\n".encode()
        )
        assert answer.read().partition(b"\r\n\r\n")[2].count(b"\r\n") == MANY + 1


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_half_an_export_does_not_look_whole(served: Serve, filled: str, database_url: str, version: str) -> None:
    """Where the database is lost in the middle, the answer has no end that a client could take for one; the log says so."""
    rest = b""
    with (
        socket.create_connection(("127.0.0.1", served.port), timeout=60) as sock,
        psycopg.connect(database_url, autocommit=True) as db,
    ):
        sock.sendall(f"GET /api/transfers/export {version}\r\nHost: a\r\nAuthorization: Bearer {filled}\r\n\r\n".encode())
        assert sock.recv(17, socket.MSG_WAITALL) == f"{version} 200 OK\r\n".encode()
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'ledgerd' AND pid <> pg_backend_pid()"
        )
        with pytest.raises(ConnectionResetError):
            while part := sock.recv(1 << 20):
                rest += part
    assert b"created_at" in rest
    assert not rest.endswith(b"0\r\n\r\n")
    assert rest.count(b"created_at") < MANY
    log = served.log.read_text()
    assert "an answer broke off" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("rest", ["", "X_Y: 1\r\n"], ids=["plain", "handed on"])
def test_head_tells_no_length(served: Serve, rest: str) -> None:
    """None is known before it is made; and the connection goes on."""
    request = f"HEAD /api/transfers/export HTTP/1.1\r\nHost: a\r\n{rest}Authorization: Bearer {served.key()}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock:
        for _ in range(2):
            sock.sendall(request)
            head = sock.recv(65536).lower()
            assert head.startswith(b"http/1.1 200 ")
            assert head.endswith(b"\r\n\r\n")
            assert b"application/x-ndjson" in head
            assert b"content-length" not in head
            assert b"connection: keep-alive" in head


def test_an_export_ends_when_its_client_leaves(served: Serve, filled: str, database_url: str) -> None:
    """Its cursor is closed at the database, and its place is free."""
    with psycopg.connect(database_url, autocommit=True) as watcher:

        def exporting() -> int:
            row = watcher.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ledgerd'"
                " AND state LIKE '%in transaction%' OR query LIKE 'FETCH%' AND state = 'active'"
            ).fetchone()
            assert row is not None
            return int(row[0])

        for _ in range(6):  # more than there are places
            with socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock:
                sock.sendall(
                    f"GET /api/transfers/export HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {filled}\r\n\r\n".encode()
                )
                assert sock.recv(12) == b"HTTP/1.1 200"
                wait_until(lambda: exporting() == 1, 10)
            wait_until(lambda: exporting() == 0, 10)
    assert len(children(served.process.pid)) >= 1
