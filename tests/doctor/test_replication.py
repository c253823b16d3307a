"""A real standby: streaming, late, seen without the right to look, and missing where commits wait for it."""

from __future__ import annotations

import psycopg

from service.doctor import replication
from service.doctor.verdict import State
from service.repository.embedded import EmbeddedPostgres
from tests.doctor.conftest import Breakable, Look
from tests.serving import wait_until

RECORDS = 3
RECORD_BYTES = 30_000_000


def test_a_server_without_standbys_is_ok(look: Look, breakable: Breakable) -> None:
    """Nothing lags, no commit waits, no slot keeps the log."""
    for examination in replication.GROUP.examinations:
        (verdict,) = look(examination.ask, breakable.url)
        assert verdict.state is State.OK, examination.name


def test_a_standby_that_keeps_up_is_ok(look: Look, breakable: Breakable, standby: EmbeddedPostgres) -> None:
    """With its name, state and lag."""
    (verdict,) = look(replication.standbys, breakable.superuser_url)
    assert (verdict.state, verdict.about) == (State.OK, "walreceiver")
    assert verdict.detail.startswith("streaming, async, ")


def test_without_the_right_to_look_it_is_said_what_is_missing(
    look: Look, breakable: Breakable, standby: EmbeddedPostgres
) -> None:
    """The role of the service sees that there is a standby, and no more, until it is granted pg_monitor."""
    (verdict,) = look(replication.standbys, breakable.url)
    assert (verdict.state, verdict.hint) == (State.WARNING, "GRANT pg_monitor TO ledgerd")
    breakable.execute("GRANT pg_monitor TO ledgerd")
    try:
        assert look(replication.standbys, breakable.url)[0].detail.startswith("streaming")
    finally:
        breakable.execute("REVOKE pg_monitor FROM ledgerd")


def test_a_standby_that_is_late_is_a_warning(look: Look, breakable: Breakable, standby: EmbeddedPostgres) -> None:
    """Its replay is paused while the primary writes ninety megabytes of log."""
    with psycopg.connect(standby.url.replace("ledgerd@", "postgres@", 1), autocommit=True) as there:
        there.execute("SELECT pg_wal_replay_pause()")
        paused = "SELECT pg_get_wal_replay_pause_state()"
        wait_until(lambda: there.execute(paused).fetchone() == ("paused",), 20)
        for _ in range(RECORDS):
            breakable.execute(f"SELECT pg_logical_emit_message(false, 'test', repeat('x', {RECORD_BYTES}))")
        wait_until(lambda: look(replication.standbys, breakable.superuser_url)[0].state is State.WARNING, 20)
        there.execute("SELECT pg_wal_replay_resume()")
        wait_until(lambda: look(replication.standbys, breakable.superuser_url)[0].state is State.OK, 30)


def test_commits_that_wait_for_a_standby_that_is_away_are_a_problem(look: Look, breakable: Breakable) -> None:
    """Every transfer would hang."""
    with breakable.setting("synchronous_standby_names", "elsewhere"):
        (verdict,) = look(replication.synchronous, breakable.superuser_url)
        assert verdict.state is State.PROBLEM
        assert "elsewhere" in verdict.detail
        assert look(replication.synchronous, breakable.url)[0].hint == "GRANT pg_monitor TO ledgerd"


def test_commits_that_wait_for_a_standby_that_is_there_are_ok(
    look: Look, breakable: Breakable, standby: EmbeddedPostgres
) -> None:
    """It is named."""
    with breakable.setting("synchronous_standby_names", "walreceiver"):
        wait_until(lambda: look(replication.synchronous, breakable.superuser_url)[0].state is State.OK, 20)
        (verdict,) = look(replication.synchronous, breakable.superuser_url)
    assert verdict.detail == "commits wait for walreceiver"


def test_a_slot_that_nobody_reads_is_a_warning(look: Look, breakable: Breakable) -> None:
    """It keeps the log on this disk."""
    breakable.execute("SELECT pg_create_physical_replication_slot('left_behind', true)")
    try:
        (verdict,) = look(replication.slots, breakable.url)
    finally:
        breakable.execute("SELECT pg_drop_replication_slot('left_behind')")
    assert (verdict.state, verdict.about) == (State.WARNING, "left_behind")


def test_a_slot_whose_log_is_gone_is_a_problem(look: Look, breakable: Breakable) -> None:
    """The bound on what is kept was passed."""
    breakable.execute("SELECT pg_create_physical_replication_slot('lost', true)")
    try:
        with breakable.setting("max_slot_wal_keep_size", "1MB"), breakable.setting("max_wal_size", "32MB"):
            for _ in range(RECORDS):
                breakable.execute(f"SELECT pg_logical_emit_message(false, 'test', repeat('x', {RECORD_BYTES}))")
                breakable.execute("SELECT pg_switch_wal()")
                breakable.execute("CHECKPOINT")
            (verdict,) = look(replication.slots, breakable.url)
    finally:
        breakable.execute("SELECT pg_drop_replication_slot('lost')")
    assert verdict.state is State.PROBLEM


def test_a_replica_to_read_from_that_keeps_up_is_ok(look: Look, breakable: Breakable, standby: EmbeddedPostgres) -> None:
    """It follows this primary."""
    (verdict,) = look(replication.replicas, breakable.url, settings={"replica_urls": (standby.url,)})
    assert (verdict.state, verdict.about) == (State.OK, "1")


def test_a_replica_to_read_from_that_is_late_is_a_warning(
    look: Look, breakable: Breakable, standby: EmbeddedPostgres
) -> None:
    """By more than the setting allows; it is not read from."""
    settings = {"replica_urls": (standby.url,), "replica_max_lag_s": 0.2}
    with psycopg.connect(standby.url.replace("ledgerd@", "postgres@", 1), autocommit=True) as there:
        breakable.execute("CREATE TABLE IF NOT EXISTS earlier (id int)")
        replayed = "SELECT pg_last_xact_replay_timestamp() IS NOT NULL"
        wait_until(lambda: there.execute(replayed).fetchone() == (True,), 20)
        there.execute("SELECT pg_wal_replay_pause()")
        breakable.execute("CREATE TABLE IF NOT EXISTS later (id int)")
        found = lambda: look(replication.replicas, breakable.url, settings=settings)[0]  # noqa: E731  # asked again
        wait_until(lambda: found().state is State.WARNING, 20)
        assert "LEDGERD_REPLICA_MAX_LAG_S" in found().hint
        there.execute("SELECT pg_wal_replay_resume()")
    breakable.execute("DROP TABLE earlier, later")


def test_a_replica_that_is_none_is_a_problem(look: Look, breakable: Breakable, database_url: str) -> None:
    """The primary itself, another server, and one that cannot be reached: each in its place."""
    nowhere = "postgresql://u:hunter2@127.0.0.1:1/x"
    verdicts = look(
        replication.replicas, breakable.url, settings={"replica_urls": (breakable.url, database_url, nowhere)}
    )
    assert [verdict.state for verdict in verdicts] == [State.PROBLEM] * 3
    assert ["primary itself" in verdicts[0].detail, "no copy" in verdicts[1].detail] == [True, True]
    assert "cannot connect to postgresql://u:***@127.0.0.1:1/x" in verdicts[2].detail
