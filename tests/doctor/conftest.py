"""Servers that may be broken: one of these tests' own, a standby of it, and pgbouncer in front of the run's."""

from __future__ import annotations

import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from service.concurrency.context import background, with_timeout
from service.config import Config
from service.doctor.examine import Verdicts
from service.doctor.subject import Subject
from service.doctor.verdict import State, Verdict
from service.repository.embedded import EmbeddedPostgres
from service.repository.inspection import Inspection
from service.repository.migrate import migrate
from service.repository.queries import sql_folder
from tests.conftest import TestServer
from tests.serving import free_port, wait_until
from tests.standby import streaming_standby

Look = Callable[..., list[Verdict]]


def ask(examination: Callable[..., Verdicts], subject: Subject) -> list[Verdict]:
    """What one examination says."""
    with with_timeout(background(), 20) as ctx:
        verdicts = examination(ctx, subject)
    return verdicts if isinstance(verdicts, list) else [verdicts]


def states(verdicts: list[Verdict]) -> list[State]:
    """How grave each is."""
    return [verdict.state for verdict in verdicts]


@pytest.fixture
def look() -> Look:
    """Ask one examination about the database at an address, with fields of the subject set otherwise."""

    def look(examination: Callable[..., Verdicts], url: str, *, settings: Any = None, **fields: Any) -> list[Verdict]:
        inspection = Inspection(url, sql_folder())
        try:
            inspection.connect()
            config = Config(database_url=url, **(settings or {}))
            return ask(examination, Subject(config=config, inspection=inspection, **fields))
        finally:
            inspection.close()

    return look


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path fits a Unix socket, open to the system user that runs PostgreSQL for root."""
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-check-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class Breakable:
    """A migrated server of these tests' own."""

    def __init__(self, postgres: EmbeddedPostgres, folder: Path) -> None:
        self.postgres = postgres
        self.folder = folder
        self.url = postgres.url
        self.superuser_url = postgres.url.replace("ledgerd@", "postgres@", 1)

    def execute(self, statement: str) -> Any:
        """Run a statement as superuser; its first row, if it has any."""
        with psycopg.connect(self.superuser_url, autocommit=True) as conn:
            cursor = conn.execute(statement)
            return cursor.fetchone() if cursor.description else None

    @contextmanager
    def setting(self, name: str, value: str) -> Iterator[None]:
        """The server runs with that setting in the block."""
        before = self._change(f"ALTER SYSTEM SET {name} = '{value}'", name)
        try:
            wait_until(lambda: self.execute(f"SHOW {name}") != before, 10)
            yield
        finally:
            self._change(f"ALTER SYSTEM RESET {name}", name)
            wait_until(lambda: self.execute(f"SHOW {name}") == before, 10)

    def _change(self, statement: str, name: str) -> Any:
        before = self.execute(f"SHOW {name}")
        self.execute(statement)
        self.execute("SELECT pg_reload_conf()")
        return before


@pytest.fixture(scope="session")
def breakable() -> Iterator[Breakable]:
    """Started once, with prepared transactions, which need a start."""
    with short_folder() as folder:
        postgres = EmbeddedPostgres(folder)
        try:
            postgres.start()
            server = Breakable(postgres, folder)
            server.execute("ALTER SYSTEM SET max_prepared_transactions = 5")
            postgres.stop()
            postgres.start()
            migrate(postgres.url, sql_folder(), lambda _: None)
            yield server
        finally:
            postgres.stop()


def system_user(postgres: EmbeddedPostgres) -> pwd.struct_passwd:
    """Who runs that server."""
    return pwd.getpwuid(Path(f"/proc/{postgres.pid}").stat().st_uid)


@pytest.fixture
def standby(breakable: Breakable) -> Iterator[EmbeddedPostgres]:
    """A streaming standby of the breakable server."""
    with streaming_standby(breakable.postgres) as postgres:
        yield postgres


Bouncer = Callable[..., Any]


@pytest.fixture
def bouncer(test_server: TestServer) -> Iterator[Bouncer]:
    """Starts pgbouncer in front of a database of the run's server; returns its address."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    running: list[subprocess.Popen[bytes]] = []
    user = system_user(test_server.postgres)
    with short_folder() as folder:

        def start(database_url: str, mode: str, **settings: str) -> str:
            name = database_url.partition("?")[0].rpartition("/")[2]
            lines = {
                "listen_addr": "127.0.0.1", "listen_port": str(free_port()), "unix_socket_dir": "", "auth_type": "any",
                "pool_mode": mode, "default_pool_size": "5", "ignore_startup_parameters": "extra_float_digits", **settings,
            }
            ini = folder / f"bouncer-{len(running)}.ini"
            database = f"[databases]\n{name} = host={test_server.folder / 'socket'} user=ledgerd\n"
            ini.write_text(database + "[pgbouncer]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items()))
            process = subprocess.Popen(
                [program, ini], user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd="/",
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            running.append(process)
            tls = "require" if "client_tls_sslmode" in settings else "disable"
            url = f"postgresql://ledgerd@127.0.0.1:{lines['listen_port']}/{name}?sslmode={tls}"
            wait_until(lambda: process.poll() is None and answers(url), 20)
            return url

        yield start
        for process in running:
            process.kill()
            process.wait(10)


def answers(url: str) -> bool:
    """Whether one can connect there."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
