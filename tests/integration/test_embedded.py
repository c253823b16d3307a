"""The embedded PostgreSQL: who may enter, who is kept out, and what survives."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service.errors import ConfigurationError
from service.repository import embedded
from service.repository.embedded import EmbeddedPostgres
from tests.serving import descendants, is_there, stopped, wait_until


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, open to the system user that runs PostgreSQL for root."""
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-pg-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A running server."""
    bin_dir = os.environ.get("LEDGERD_POSTGRES_BIN")
    postgres = EmbeddedPostgres(folder, bin_dir=Path(bin_dir) if bin_dir else None)
    postgres.start()
    yield postgres
    postgres.stop()


def test_only_its_user_can_reach_it(postgres: EmbeddedPostgres, folder: Path) -> None:
    """The socket's folder and the data are closed to others, nothing listens on TCP, and ledgerd is no superuser."""
    assert stat.S_IMODE((folder / "socket").stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "postgres").stat().st_mode) == 0o700
    with psycopg.connect(postgres.url) as conn:
        assert conn.execute("SHOW listen_addresses").fetchone() == ("",)
        assert conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
        assert conn.execute("SHOW fsync").fetchone() == conn.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_it_does_not_run_as_root(postgres: EmbeddedPostgres) -> None:
    """Whoever starts it, the server's user is an ordinary one."""
    assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0


def test_a_second_one_on_the_same_folder_is_refused(postgres: EmbeddedPostgres, folder: Path) -> None:
    """The message names the process that has it and what to do; the first runs on."""
    second = EmbeddedPostgres(folder)
    with pytest.raises(ConfigurationError, match=rf"another ledgerd \(process {os.getpid()}\) serves .* set LEDGERD_DATA_DIR"):
        second.start()
    assert second.is_running()
    with psycopg.connect(postgres.url) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)


def test_data_outlives_a_stop(folder: Path, postgres: EmbeddedPostgres) -> None:
    """A table made before a stop is there after the next start."""
    with psycopg.connect(postgres.url) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 7 AS n")
    postgres.stop()
    assert not postgres.is_running()
    postgres.start()
    with psycopg.connect(postgres.url) as conn:
        assert conn.execute("SELECT n FROM kept").fetchone() == (7,)


def test_it_recovers_after_kill_9(postgres: EmbeddedPostgres) -> None:
    """What was committed before the server was killed is there after it is launched again."""
    with psycopg.connect(postgres.url) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 7 AS n")
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    wait_until(lambda: postgres.poll() is not None, 10)
    postgres.relaunch()
    with psycopg.connect(postgres.url) as conn:
        assert conn.execute("SELECT n FROM kept").fetchone() == (7,)


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    """The error names the setting and the path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"LEDGERD_DATA_DIR=.*file/inside: Not a directory"):
        EmbeddedPostgres(tmp_path / "file" / "inside").start()


def test_a_long_path_gets_a_short_socket(folder: Path) -> None:
    """Where the path is too long for a Unix socket, the socket is in a closed folder of /tmp."""
    deep = folder / ("d" * 60) / ("e" * 60)
    postgres = EmbeddedPostgres(deep)
    try:
        postgres.start()
        with psycopg.connect(postgres.url) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
            directory = Path(conn.info.host)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    finally:
        postgres.stop()
    directory.rmdir()


def test_a_server_that_stands_still_does_not_hold_up_the_stop(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed in the end, and recovers at the next start."""
    monkeypatch.setattr(embedded, "STOP_TIMEOUT_S", 0.3)
    monkeypatch.setattr(embedded, "QUIT_TIMEOUT_S", 0.3)
    with psycopg.connect(postgres.url) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 1 AS n")
    assert postgres.pid is not None
    below = descendants(postgres.pid)
    with stopped(postgres.pid):
        postgres.stop()
    monkeypatch.undo()
    wait_until(lambda: not any(map(is_there, below)), 10)
    postgres.start()
    with psycopg.connect(postgres.url) as conn:
        assert conn.execute("SELECT n FROM kept").fetchone() == (1,)
