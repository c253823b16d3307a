"""Statements and balances in the past, out of the log, held against the entries one by one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.concurrency.context import background
from service.errors import InvalidInput, NotFound
from service.ledger.entries import BalanceAt, Entries, Entry, Stretch
from service.repository.entries import EntryRepository
from service.repository.pool import Pool
from service.repository.queries import Queries, sql_folder
from service.repository.reader import Reader
from tests.serving import wait_until

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
COUNT = 40


@pytest.fixture
def entries(pool: Pool, db: psycopg.Connection) -> Entries:
    """Account 1 with 40 entries, the odd ones debits of 3, the even ones credits of 5, five at a time every ten seconds."""
    db.execute("INSERT INTO accounts (ledger_id, asset, min_balance) SELECT 1, 'USD/2', NULL FROM generate_series(1, 3)")
    db.execute(
        "INSERT INTO transfers (ledger_id, from_account_id, to_account_id, amount, from_version, to_version, from_balance,"
        " to_balance, created_at, asset)"
        " SELECT 1, CASE WHEN odd THEN 1 ELSE 2 END, CASE WHEN odd THEN 2 ELSE 1 END, CASE WHEN odd THEN 3 ELSE 5 END, n, n,"
        "  CASE WHEN odd THEN balance ELSE -balance END, CASE WHEN odd THEN -balance ELSE balance END,"
        "  %s::timestamptz + (n / 5) * interval '10 seconds', 'USD/2'"
        " FROM (SELECT n, n %% 2 = 1 AS odd, (n / 2) * 5 - ((n + 1) / 2) * 3 AS balance FROM generate_series(1, %s) n) AS e",
        (BEGAN, COUNT),
    )
    db.execute("UPDATE accounts SET version = %s WHERE id < 3", (COUNT,))
    queries = Queries(sql_folder() / "queries")
    return Entries(EntryRepository(Reader(pool, queries), queries, final_after_s=30))


def stored(entries: Entries) -> list[Entry]:
    """All of account 1, oldest first."""
    return list(entries.list(background(), 1, 1, Stretch(), newest_first=False, limit=1000))


def test_a_statement_is_the_log_as_the_account_saw_it(entries: Entries) -> None:
    """Numbered without a gap, and every balance is the one before with the amount."""
    found = stored(entries)
    assert [entry.version for entry in found] == list(range(1, COUNT + 1))
    balance = 0
    for entry in found:
        balance += entry.amount if entry.direction == "credit" else -entry.amount
        assert (entry.balance, entry.other_account_id) == (balance, 2)


moments = st.integers(-5, 95).map(lambda s: BEGAN + timedelta(seconds=s)) | st.none()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stretch=st.builds(
        Stretch, after=st.integers(0, COUNT), before=st.integers(1, COUNT + 2), since=moments, until=moments,
        direction=st.sampled_from([None, "debit", "credit"]),
    ),
    newest_first=st.booleans(), limit=st.integers(1, COUNT + 1),
)
def test_every_stretch_is_what_a_plain_filter_gives(
    entries: Entries, stretch: Stretch, newest_first: bool, limit: int
) -> None:
    """Bounds by number and by time, either direction, from either end."""
    wanted = [
        entry for entry in stored(entries)
        if stretch.after < entry.version < stretch.before
        and (stretch.since is None or entry.created_at >= stretch.since)
        and (stretch.until is None or entry.created_at < stretch.until)
        and stretch.direction in (None, entry.direction)
    ]
    found = entries.list(background(), 1, 1, stretch, newest_first=newest_first, limit=limit)
    assert list(found) == (wanted[::-1] if newest_first else wanted)[:limit]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(-5_000, 95_000).map(lambda ms: BEGAN + timedelta(milliseconds=ms)))
def test_the_balance_at_a_time_is_that_of_the_last_entry_until_then(entries: Entries, at: datetime) -> None:
    """An entry of that very moment counts; before the first the balance is 0."""
    last = [entry for entry in stored(entries) if entry.created_at <= at][-1:]
    wanted = BalanceAt("USD/2", last[0].version, last[0].balance, last[0].held) if last else BalanceAt("USD/2", 0, 0, 0)
    assert entries.balance_at(background(), 1, 1, at) == wanted


def test_an_account_without_entries(entries: Entries) -> None:
    """An empty statement and a balance of 0."""
    assert entries.list(background(), 1, 3, Stretch(since=BEGAN, until=BEGAN)) == []
    assert entries.balance_at(background(), 1, 3, BEGAN) == BalanceAt("USD/2", 0, 0, 0)


def test_an_account_of_another_ledger_is_not_found(entries: Entries) -> None:
    """Neither its statement nor its balance."""
    for ledger_id, account_id in ((2, 1), (1, 9)):
        with pytest.raises(NotFound):
            entries.list(background(), ledger_id, account_id, Stretch())
        with pytest.raises(NotFound):
            entries.balance_at(background(), ledger_id, account_id, BEGAN)


def test_a_moment_that_is_still_to_come_is_refused(entries: Entries) -> None:
    """By the clock of the database; and the error names the parameter."""
    with pytest.raises(InvalidInput) as caught:
        entries.balance_at(background(), 1, 1, datetime.now(UTC) + timedelta(hours=1))
    assert caught.value.fields[0].field == "at"


@pytest.mark.parametrize("what", ["balance", "statement"])
def test_what_has_passed_is_final(entries: Entries, db: psycopg.Connection, database_url: str, what: str) -> None:
    """A transfer that has its time and is not committed yet is waited for, and is in what is told."""
    with psycopg.connect(database_url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("UPDATE accounts SET version = 41 WHERE id < 3")
        (at,) = other.execute(
            "INSERT INTO transfers (ledger_id, from_account_id, to_account_id, amount, from_version, to_version, from_balance,"
            " to_balance, created_at, asset) VALUES (1, 1, 2, 3, 41, 41, -3, 3, clock_timestamp(), 'USD/2')"
            " RETURNING created_at"
        ).fetchone()
        until = at + timedelta(microseconds=1)
        if what == "balance":
            found = pool.submit(lambda: entries.balance_at(background(), 1, 1, at).version)
        else:
            found = pool.submit(lambda: entries.list(background(), 1, 1, Stretch(until=until))[0].version)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        wait_until(lambda: db.execute(waiting).fetchone() == (1,), 20)
        other.commit()
        assert found.result(20) == 41
