"""A real server reads from two replicas, one of which is slow, dies or is behind: what must be 0 is."""

from __future__ import annotations

import psycopg
import pytest

from tests.big_ledger import fill
from tests.replicas.cases import CASES, run
from tests.replicas.conftest import Standby

ACCOUNTS = 50


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case != CASES["both are well"]])
def test_reads_are_answered_fresh_and_leave_nothing(name: str, database_url: str, standbys: list[Standby]) -> None:
    """None fails, none misses the write whose position it brings, none runs on, and hedges keep their bound."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        fill(conn, transfers=2_000, accounts=ACCOUNTS)
    row = run(name, database_url, standbys, hedging=True, accounts=ACCOUNTS, seconds=2, reads=100)
    assert row.is_right, row
    assert min(row.of_replicas, row.writes) > 0
