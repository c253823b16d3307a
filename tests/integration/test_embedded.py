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

from service.control_group import usable_memory
from service.errors import ConfigurationError
from service.repository import embedded
from service.repository.embedded import EmbeddedPostgres, StartAbandoned
from service.repository.sizing import max_wal_size_mib, shared_buffers_mib
from tests.serving import descendants, is_there, stopped, wait_until
from tests.standby import keep_recovering


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


def test_a_long_recovery_is_told_and_can_be_given_up(
    postgres: EmbeddedPostgres, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server takes no connections yet the start goes on, says why, and ends when it is told to."""
    keep_recovering(postgres)
    monkeypatch.setattr(embedded, "TELL_AFTER_S", 0.2)
    told: list[str] = []
    with pytest.raises(StartAbandoned):
        postgres.start(told.append, give_up=lambda: bool(told))
    assert told == ["PostgreSQL recovers from its log; this takes as long as the log is"]
    assert postgres.poll() is None
    assert not postgres.is_running()
    monkeypatch.setattr(embedded, "START_TIMEOUT_S", 0.2)
    with pytest.raises(ConfigurationError, match="PostgreSQL did not start"):
        postgres.start()


def test_it_takes_its_part_of_the_host(postgres: EmbeddedPostgres, folder: Path) -> None:
    """Buffers by the memory, and room for the log by the disk; what `ALTER SYSTEM` says outlives a start."""
    buffers, log = shared_buffers_mib(usable_memory()), max_wal_size_mib(shutil.disk_usage(folder).total)
    with psycopg.connect(postgres.url.replace("ledgerd@", "postgres@"), autocommit=True) as conn:
        sizes = "SELECT pg_size_bytes(current_setting('shared_buffers')), pg_size_bytes(current_setting('max_wal_size'))"
        assert conn.execute(sizes).fetchone() == (buffers << 20, log << 20)
        conn.execute("ALTER SYSTEM SET max_wal_size = '3GB'")
    postgres.stop()
    postgres.start()
    with psycopg.connect(postgres.url) as conn:
        assert conn.execute(sizes).fetchone() == (buffers << 20, 3 << 30)


@pytest.mark.parametrize(
    ("memory_mib", "buffers"), [(256, 128), (1024, 128), (2048, 256), (24_000, 3000), (32_768, 4096), (1 << 20, 4096)]
)
def test_an_eighth_of_the_memory(memory_mib: int, buffers: int) -> None:
    """Within bounds."""
    assert shared_buffers_mib(memory_mib << 20) == buffers


@pytest.mark.parametrize(("disk_gib", "log_mib"), [(1, 2048), (32, 2048), (64, 4096), (256, 16_384), (4096, 16_384)])
def test_a_sixteenth_of_the_disk(disk_gib: int, log_mib: int) -> None:
    """Within bounds."""
    assert max_wal_size_mib(disk_gib << 30) == log_mib


def test_a_start_that_never_answers_is_given_up(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a recovery, which answers, may take long."""
    postgres.stop()
    monkeypatch.setattr(postgres, "_is_ready", lambda _bin_dir: 2)
    monkeypatch.setattr(embedded, "SILENCE_TIMEOUT_S", 0.2)
    with pytest.raises(ConfigurationError, match="PostgreSQL did not start"):
        postgres.start()
    assert not postgres.is_running()
