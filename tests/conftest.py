"""One real PostgreSQL a run, a fresh database a test (cloned from a migrated template), and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

from service.app import Application
from service.concurrency.context import background
from service.config import Config
from service.database import open_keys
from service.ledger.grants import Grant
from service.repository.embedded import EmbeddedPostgres
from service.repository.migrate import migrate
from service.repository.queries import sql_folder
from tests.client import ApiClient

_numbers = count(1)
settings.register_profile("ledgerd", deadline=None)  # no test asserts a time
settings.load_profile("ledgerd")
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, as in a script's background, it would be so in commands


class TestServer:
    """The PostgreSQL of the run, seen as its superuser."""

    __test__ = False

    def __init__(self, postgres: EmbeddedPostgres, folder: Path) -> None:
        self.postgres = postgres
        self.folder = folder

    def url(self, database: str, role: str = "ledgerd") -> str:
        """The address of a database on it."""
        return f"postgresql://{role}@/{database}?host={self.folder / 'socket'}"

    def execute(self, statement: str) -> None:
        """Run a statement as superuser."""
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as conn:
            conn.execute(statement)


@pytest.fixture(scope="session")
def test_server() -> Iterator[TestServer]:
    """Started once; LEDGERD_POSTGRES_BIN chooses another PostgreSQL than the packaged one."""
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-test-"))
    folder.chmod(0o755)
    bin_dir = os.environ.get("LEDGERD_POSTGRES_BIN")
    postgres = EmbeddedPostgres(folder, bin_dir=Path(bin_dir) if bin_dir else None, max_connections=200)
    try:
        postgres.start()
        server = TestServer(postgres, folder)
        server.execute("CREATE DATABASE template OWNER ledgerd")
        migrate(server.url("template"), sql_folder(), lambda _: None)
        yield server
    finally:
        postgres.stop()
        shutil.rmtree(folder)


@pytest.fixture
def empty_database_url(test_server: TestServer) -> Iterator[str]:
    """A database without any table."""
    yield from fresh_database(test_server, "template0")


@pytest.fixture
def database_url(test_server: TestServer) -> Iterator[str]:
    """A migrated database without any row."""
    yield from fresh_database(test_server, "template")


def fresh_database(server: TestServer, template: str) -> Iterator[str]:
    """The address of a new database, which is dropped afterwards."""
    name = f"test_{next(_numbers)}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER ledgerd")
    yield server.url(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def config(database_url: str, tmp_path: Path) -> Config:
    """A configuration on the test's database."""
    return config_for(database_url, tmp_path)


def config_for(database_url: str, folder: Path) -> Config:
    """A configuration for a single process, which writes into `folder`."""
    folders = {"data_dir": folder, "run_dir": folder / "run"}
    return Config(database_url=database_url, **folders, db_min_idle=1, db_max_open=8, log_level="warning")


@pytest.fixture
def application(config: Config) -> Iterator[Application]:
    """The whole application, in this process, on threads."""
    yield from opened(config)


def opened(config: Config) -> Iterator[Application]:
    """An application, closed afterwards."""
    app = Application(config).open()
    yield app
    assert app.close(10) == [], "background tasks that did not end"


@pytest.fixture
def key(database_url: str) -> str:
    """An admin key of ledger `main`."""
    return make_key(database_url)


@pytest.fixture
def api(application: Application, key: str) -> ApiClient:
    """A client of the application with an admin key."""
    return ApiClient(application, key)


def make_key(database_url: str, ledger: str = "main", *scopes: str) -> str:
    """A key of `ledger`, admin unless told otherwise."""
    with open_keys(database_url) as keys:
        return keys.create(background(), Grant(scopes=scopes or ("admin",)), ledger=ledger).token
