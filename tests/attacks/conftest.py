"""One real `ledgerd serve` for all tests of this folder that need the wire, and what must not change under attack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.attacks.world import World
from tests.conftest import TestServer, config_for, fresh_database, opened
from tests.loop.exchange import Reply, exchange
from tests.serving import Serve

TABLES = (
    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'schema\\_%'"
    " AND tablename <> 'seals' ORDER BY tablename"  # those are made at any time
)
KEY = b"ldg_KKKKKKKKKKKK_" + b"K" * 64  # as long as a real one: requests tell lengths
SECRETS = ("Traceback", "File \"", ".py", "psycopg", "SELECT", "INSERT", "relation", "site-packages", "Python/", "PostgreSQL")


@dataclass(frozen=True)
class Target:
    """A running server with its key and its database."""

    port: int
    key: str
    database_url: str
    log: Path

    def send(self, request: bytes) -> list[Reply]:
        """Send bytes, KEY standing for the key, and return every answer."""
        assert len(KEY) == len(self.key)
        return list(exchange(self.port, [request.replace(KEY, self.key.encode())]))


@pytest.fixture(scope="session")
def target(test_server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Started once."""
    for url in fresh_database(test_server, "template"):
        settings = {"DATABASE_URL": url, "LEDGERD_WORKERS": "1", "LEDGERD_DB_MAX_OPEN": "5", "LEDGERD_LOG_LEVEL": "info"}
        with Serve(tmp_path_factory.mktemp("target"), **settings) as server:
            server.wait_ready()
            yield Target(server.port, server.key("write"), url, server.log)


@pytest.fixture(scope="module")
def world(test_server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One application for the tests of a file."""
    for url in fresh_database(test_server, "template"):
        for application in opened(config_for(url, tmp_path_factory.mktemp("world"))):
            yield World(application, url)


def contents(database_url: str) -> dict[str, list[Any]]:
    """Every row of every table that a request could change; the ledger 0 is the host's own, and renews itself at any time."""
    with psycopg.connect(database_url) as conn:
        names = [name for (name,) in conn.execute(TABLES).fetchall()]
        query = (  # a key's last use is noted at any time
            "SELECT (to_jsonb(t) - 'last_used_at')::text FROM {} t"
            " WHERE to_jsonb(t)->>'ledger_id' IS DISTINCT FROM '0' ORDER BY 1"
        )
        return {name: conn.execute(query.format(name)).fetchall() for name in names}


def assert_tells_nothing(headers: dict[str, str], body: bytes) -> None:
    """No trace, path, statement or version in an answer."""
    told = body.decode("utf-8", "replace") + "\n".join(f"{name}: {value}" for name, value in headers.items())
    assert not [word for word in SECRETS if word in told], told
    server = next((value for name, value in headers.items() if name.lower() == "server"), "")
    assert not any(character.isdigit() for character in server), server
    assert not {name for name in headers if name.lower().startswith(("x-powered", "x-debug", "x-aspnet"))}
