"""A real streaming replica of a PostgreSQL that the tests run."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from service.repository.binaries import packaged_binaries
from service.repository.embedded import EmbeddedPostgres
from tests.serving import wait_until


@contextmanager
def streaming_standby(primary: EmbeddedPostgres, *, max_connections: int = 200) -> Iterator[EmbeddedPostgres]:
    """A standby that streams from `primary`, made by pg_basebackup; both it and its folder are gone afterwards."""
    assert primary.pid is not None
    user = pwd.getpwuid(os.stat(f"/proc/{primary.pid}").st_uid)
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-standby-"))
    folder.chmod(0o755)
    cluster = folder / "postgres"
    cluster.mkdir(mode=0o700)
    shutil.chown(cluster, user.pw_uid, user.pw_gid)
    source = str(primary.data_dir / "socket")
    bin_dir = Path(os.environ.get("LEDGERD_POSTGRES_BIN") or packaged_binaries())
    as_user = {} if user.pw_uid == os.geteuid() else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    command = [bin_dir / "pg_basebackup", "-h", source, "-U", "postgres", "-D", str(cluster), "-R", "-c", "fast"]
    subprocess.run(command, check=True, cwd="/", capture_output=True, **as_user)
    standby = EmbeddedPostgres(folder, bin_dir=bin_dir, max_connections=max_connections)
    try:
        standby.start()
        with psycopg.connect(superuser(primary), autocommit=True) as conn:
            streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
            wait_until(lambda: conn.execute(streaming).fetchone() != (0,), 20)
        yield standby
    finally:
        standby.stop()
        shutil.rmtree(folder)


def superuser(postgres: EmbeddedPostgres, database: str = "postgres") -> str:
    """The address of a database on it, as its superuser."""
    return f"postgresql://postgres@/{database}?host={postgres.data_dir / 'socket'}"


def keep_recovering(postgres: EmbeddedPostgres) -> None:
    """Stop a running server such that its next start recovers without an end, and takes no connections meanwhile."""
    with psycopg.connect(superuser(postgres), autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET hot_standby = off")
    postgres.stop()
    cluster = postgres.data_dir / "postgres"
    (cluster / "standby.signal").touch()
    shutil.chown(cluster / "standby.signal", cluster.stat().st_uid, cluster.stat().st_gid)
