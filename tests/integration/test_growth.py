"""What the growth benchmark measures on is a ledger like any other."""

from __future__ import annotations

import psycopg

from tests.bench.growth.filling import bytes_needed, fill
from tests.bench.growth.month import CHANGES, Stretch, judge
from tests.bench.growth.sizes import OF_A_TRANSFER, sizes
from tests.invariants import check_invariants
from tests.serving import ledgerd

ACCOUNTS = 300  # the hundredth part of which, the busy ones, are more than two


def test_a_filled_ledger_is_in_order_and_goes_on_from_where_it_was(database_url: str) -> None:
    """After each step the books balance, everything is sealed, and `ledgerd verify` finds nothing."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        for wanted in (0, 1_500, 4_000):
            assert fill(conn, database_url, accounts=ACCOUNTS, transfers=wanted, tell=lambda _: None) == wanted
            assert check_invariants(database_url) == wanted
        assert conn.execute("SELECT sum(transfers) FROM seals").fetchone() == (4_000,)
        assert fill(conn, database_url, accounts=ACCOUNTS, transfers=2_000, tell=lambda _: None) == 4_000
    verified = ledgerd("verify", DATABASE_URL=database_url)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_each_index_of_a_transfer_is_counted_once(database_url: str) -> None:
    """Together they are what PostgreSQL says of the whole table."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        fill(conn, database_url, accounts=ACCOUNTS, transfers=1_000, tell=lambda _: None)
        counted = sum(sizes(conn, OF_A_TRANSFER)["transfers"].values())
        assert conn.execute("SELECT pg_total_relation_size('transfers')").fetchone() == (counted,)
        assert counted < bytes_needed(0, 10_000)


def test_a_month_fails_when_the_accounts_grow_or_it_was_too_short() -> None:
    """What is not changed often enough says nothing."""
    enough = CHANGES * 10_000
    steady = [Stretch(n * enough // 4, 2_000, 50, 3.0, 300, n, 1.0) for n in range(1, 5)]
    grown = [*steady[:3], Stretch(enough, 2_000, 50, 4.0, 300, 4, 0.5)]
    assert judge(steady) == []
    assert judge(grown) == ["the accounts grew from 3.0 MiB in the middle to 4.0"]
    assert judge(steady[:1])[0].startswith("each account was changed 26 times only")
