"""Two real streaming replicas of the run's PostgreSQL, each behind a proxy that can slow, cut and silence it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest

from service.app import Application
from service.config import Config
from service.repository.embedded import EmbeddedPostgres
from tests.client import ApiClient
from tests.conftest import TestServer
from tests.proxy import Proxy
from tests.serving import wait_until
from tests.standby import streaming_standby, superuser


@dataclass
class Standby:
    """A replica as ledgerd sees it (`proxy`), and as its superuser does."""

    postgres: EmbeddedPostgres
    proxy: Proxy

    def execute(self, statement: str) -> Any:
        """Run a statement as superuser; its first row."""
        with psycopg.connect(superuser(self.postgres), autocommit=True) as conn:
            cursor = conn.execute(statement)
            return cursor.fetchone() if cursor.description else None

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """In the block it replays nothing of what the primary writes."""
        self.execute("SELECT pg_wal_replay_pause()")
        wait_until(lambda: self.execute("SELECT pg_get_wal_replay_pause_state()") == ("paused",), 20)
        try:
            yield
        finally:
            self.execute("SELECT pg_wal_replay_resume()")


@contextmanager
def behind_proxies(servers: list[EmbeddedPostgres], name: str) -> Iterator[list[Standby]]:
    """Both servers with the database of that name, which has come to them, each behind a proxy of its own."""
    urls = [f"postgresql://ledgerd@/{name}?host={postgres.data_dir / 'socket'}" for postgres in servers]
    with Proxy(urls[0]) as first, Proxy(urls[1]) as second:
        found = [Standby(postgres, proxy) for postgres, proxy in zip(servers, (first, second), strict=True)]
        for standby in found:
            wait_until(lambda s=standby: s.execute(f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == (1,), 20)
        yield found


@pytest.fixture(scope="package")
def servers(test_server: TestServer) -> Iterator[list[EmbeddedPostgres]]:
    """The two standbys, made once."""
    with streaming_standby(test_server.postgres) as first, streaming_standby(test_server.postgres) as second:
        yield [first, second]


@pytest.fixture
def standbys(servers: list[EmbeddedPostgres], database_url: str) -> Iterator[list[Standby]]:
    """Both, with the test's database on them."""
    with behind_proxies(servers, database_url.partition("?")[0].rpartition("/")[2]) as found:
        yield found


@pytest.fixture
def application(config: Config, standbys: list[Standby]) -> Iterator[Application]:
    """The whole application with both replicas, of which it reads."""
    app = Application(replace(config, replica_urls=tuple(standby.proxy.url for standby in standbys))).open()
    wait_until(lambda: len(app.database.replicas.candidates()) == 2, 20)
    yield app
    for standby in standbys:
        standby.proxy.mute = standby.proxy.refusing = False
    assert app.close(10) == [], "background tasks that did not end"


@pytest.fixture
def api(application: Application, key: str) -> ApiClient:
    """A client of that application with an admin key."""
    return ApiClient(application, key)
