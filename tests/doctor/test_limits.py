"""What may run out, brought about where this machine allows it."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from service.config import Config
from service.control_group import usable_memory
from service.doctor import limits, transactions
from service.doctor.subject import Subject
from service.doctor.verdict import State
from tests.conftest import TestServer
from tests.doctor.conftest import Breakable, Look, ask
from tests.serving import wait_until

GIBIBYTE = 1 << 30


@pytest.mark.parametrize(
    ("workers", "state", "words"),
    [
        (2, State.OK, "58 wanted, 197 granted"),
        (5, State.WARNING, "not enough for two instances"),
        (100, State.PROBLEM, "=25 + 1), and 6 for webhooks, is 2606 connections, but the server grants 197"),
    ],
)
def test_connections(look: Look, database_url: str, workers: int, state: State, words: str) -> None:
    """All pools must fit; twice as many, for a release, should."""
    (verdict,) = look(limits.connections, database_url, settings={"workers": workers})
    assert verdict.state is state
    assert words in verdict.detail


def test_a_limit_of_the_role_counts(look: Look, test_server: TestServer, database_url: str) -> None:
    """What the server grants to others is of no use."""
    test_server.execute("ALTER ROLE ledgerd CONNECTION LIMIT 30")
    try:
        (verdict,) = look(limits.connections, database_url, settings={"workers": 2})
    finally:
        test_server.execute("ALTER ROLE ledgerd CONNECTION LIMIT -1")
    assert verdict.state is State.PROBLEM
    assert "grants 30" in verdict.detail


def test_connections_of_others_count(look: Look, test_server: TestServer, database_url: str) -> None:
    """Only what they leave is free; ledgerd's own are not counted twice."""
    opened = [psycopg.connect(database_url, application_name=name) for name in ("psql", "psql", "ledgerd", "ledgerd listener")]
    (verdict,) = look(limits.connections, database_url, settings={"workers": 2})
    assert "2 taken by others" in verdict.detail
    for conn in opened:
        conn.close()


@contextmanager
def open_files(number: int) -> Iterator[None]:
    """This process may have so many open files in the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_few_open_files_are_a_warning() -> None:
    """1024, as most shells have it."""
    with open_files(1024):
        (verdict,) = ask(limits.descriptors, Subject(config=Config()))
    assert verdict.state is State.WARNING
    assert "1024 open files" in verdict.detail
    assert "ulimit -n" in verdict.hint


@pytest.mark.parametrize(
    ("free", "whole", "state"),
    [
        (50 * GIBIBYTE, 100 * GIBIBYTE, State.OK), (10 * GIBIBYTE, 100 * GIBIBYTE, State.WARNING),
        (4 * GIBIBYTE, 100 * GIBIBYTE, State.PROBLEM), (GIBIBYTE // 4, GIBIBYTE, State.PROBLEM),
    ],
)  # fmt: skip
def test_a_disk_that_fills(free: int, whole: int, state: State) -> None:
    """By its share and by what is left."""
    assert limits.judge_disk(Path("/x"), free, whole).state is state


def test_the_disk_of_the_data_is_looked_at(tmp_path: Path) -> None:
    """Also where the folder is not made yet."""
    (verdict,) = ask(limits.disk, Subject(config=Config(data_dir=tmp_path / "later")))
    assert f"free at {tmp_path}" in verdict.detail


def test_shared_memory_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    """A container may have none."""
    (missing,) = ask(limits.shared_memory, Subject(config=Config(), shared_memory=tmp_path / "shm"))
    assert missing.state is State.WARNING
    (there,) = ask(limits.shared_memory, Subject(config=Config(), shared_memory=tmp_path))
    assert there.detail.endswith(f"free at {tmp_path}")


def control_groups(folder: Path, version: int, **values: str) -> Subject:
    """A process in a control group with these limits, and with a wider one above it."""
    cgroup, processes = folder / "cgroup", folder / "proc"
    processes.joinpath("self").mkdir(parents=True)
    if version == 2:
        processes.joinpath("self/cgroup").write_text("0::/system.slice/ledgerd\n")
        files = {"pids.max": values["tasks"], "memory.max": values["memory"]}
        groups = dict.fromkeys(files, cgroup)
    else:
        lines = "8:pids:/system.slice/ledgerd\n4:cpu,memory:/system.slice/ledgerd\n1:name=systemd:/\n"
        processes.joinpath("self/cgroup").write_text(lines)
        files = {"pids.max": values["tasks"], "memory.limit_in_bytes": values["memory"]}
        groups = {"pids.max": cgroup / "pids", "memory.limit_in_bytes": cgroup / "memory"}
    for name, value in files.items():
        own = groups[name] / "system.slice/ledgerd"
        own.mkdir(parents=True, exist_ok=True)
        own.joinpath(name).write_text(value + "\n")
        own.parent.joinpath(name).write_text("max\n" if version == 2 else "9223372036854771712\n")
    config = Config(database_url="postgresql://x", workers=4)
    return Subject(config=config, processes=processes, control_groups=cgroup)


@pytest.mark.parametrize("version", [1, 2])
def test_the_limits_of_the_control_group(tmp_path: Path, version: int) -> None:
    """Enough, and too little, in both versions of control groups."""
    enough = control_groups(tmp_path / "enough", version, tasks="256", memory=str(GIBIBYTE))
    little = control_groups(tmp_path / "little", version, tasks="20", memory=str(GIBIBYTE // 8))
    for examination, word in ((limits.tasks, "TasksMax="), (limits.memory, "MemoryMax=")):
        assert ask(examination, enough)[0].state is State.OK
        (verdict,) = ask(examination, little)
        assert verdict.state is State.WARNING
        assert word in verdict.hint


@pytest.mark.parametrize("version", [1, 2])
def test_the_memory_that_may_be_used(tmp_path: Path, version: int) -> None:
    """The least of the host's and the control group's; where nothing says so, the host's."""
    group = control_groups(tmp_path, version, tasks="256", memory=str(GIBIBYTE // 8))
    assert usable_memory(group.processes, group.control_groups) == GIBIBYTE // 8
    assert usable_memory(tmp_path / "nowhere", tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_no_control_group_is_no_limit(tmp_path: Path) -> None:
    """Files that cannot be read say nothing; the real ones of this process are read too."""
    tmp_path.joinpath("self").mkdir()
    tmp_path.joinpath("self/cgroup").write_text("0::/nowhere\n")
    assert "no limit" in ask(limits.memory, Subject(config=Config(), processes=tmp_path, control_groups=tmp_path))[0].detail
    assert ask(limits.memory, Subject(config=Config(workers=1)))[0].detail


@pytest.mark.parametrize(
    ("transactions_old", "state"), [(5_000, State.OK), (1_200_000_000, State.WARNING), (2_000_000_000, State.PROBLEM)]
)
def test_the_age_of_transactions(transactions_old: int, state: State) -> None:
    """Half of the ids used is a warning, three quarters are a problem."""
    assert transactions.judge_age("ledgerd", transactions_old).state is state


def test_the_age_is_the_servers(look: Look, database_url: str) -> None:
    """Of its oldest database."""
    (verdict,) = look(transactions.age, database_url)
    assert verdict.state is State.OK
    assert "transactions old, database " in verdict.detail


def test_autovacuum_that_is_off_is_a_warning(look: Look, breakable: Breakable) -> None:
    """Nothing else freezes rows."""
    assert look(transactions.autovacuum, breakable.url)[0].state is State.OK
    with breakable.setting("autovacuum", "off"):
        assert look(transactions.autovacuum, breakable.url)[0].state is State.WARNING


def test_a_transaction_that_is_left_open_is_a_warning(look: Look, database_url: str) -> None:
    """With the process that holds it."""
    with psycopg.connect(database_url, application_name="forgotten") as conn:
        conn.execute("SELECT 1")
        pid = conn.info.backend_pid

        def found() -> list:
            return look(transactions.long_sessions, database_url, longest_transaction_s=0.2)

        wait_until(lambda: found()[0].state is State.WARNING, 10)
        (verdict,) = found()
        assert f"process {pid} of ledgerd (forgotten) is idle in transaction" in verdict.detail
        assert f"pg_terminate_backend({pid})" in verdict.hint
    assert look(transactions.long_sessions, database_url)[0].state is State.OK


def test_a_prepared_transaction_that_is_forgotten_is_a_warning(look: Look, breakable: Breakable) -> None:
    """It outlives its session, and every restart."""
    with psycopg.connect(breakable.url) as conn:
        conn.execute("SELECT 1")
        conn.execute("PREPARE TRANSACTION 'forgotten'")
    try:

        def found() -> list:
            return look(transactions.long_sessions, breakable.url, longest_transaction_s=0.2)

        wait_until(lambda: found()[0].state is State.WARNING, 10)
        assert "'forgotten'" in found()[0].detail
    finally:
        with psycopg.connect(breakable.url, autocommit=True) as conn:
            conn.execute("ROLLBACK PREPARED 'forgotten'")
