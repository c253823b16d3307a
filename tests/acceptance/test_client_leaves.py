"""A client that leaves takes its query with it, down to the database."""

from __future__ import annotations

import socket

import psycopg
import pytest

from tests.client import HttpClient
from tests.serving import Serve, wait_until

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ledgerd' AND wait_event_type = 'Lock'"


@pytest.mark.parametrize(
    "version", ["HTTP/1.1", "HTTP/1.0\r\nConnection: keep-alive"], ids=["plain", "handed on"]
)
def test_a_query_ends_when_its_client_leaves(served: Serve, database_url: str, version: str) -> None:
    """Long before its deadline; and the connection goes back to the pool."""
    key = served.key()
    client = HttpClient(served.port, key)
    assert client.call("GET", "/api/users/1").status == 404
    with psycopg.connect(database_url) as locker, psycopg.connect(database_url, autocommit=True) as watcher:

        def waiting() -> int:
            row = watcher.execute(WAITING).fetchone()
            assert row is not None
            return int(row[0])

        locker.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock:
            sock.sendall(f"GET /api/users/1 {version}\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
            wait_until(lambda: waiting() == 1, 10)
        wait_until(lambda: waiting() == 0, 10)
        locker.rollback()
    assert client.call("GET", "/api/users/1").status == 404
    client.close()
