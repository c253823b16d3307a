"""What must hold in a ledger whatever happens to it: read from the tables, not from ledgerd."""

from __future__ import annotations

import psycopg


def check_invariants(database_url: str) -> int:
    """Assert that the books balance; returns the number of transfers.

    Balances sum to zero in each ledger and asset, each is the sum of its account's rows, none is below its floor, versions
    have no gap, and no key has two outcomes.
    """
    with psycopg.connect(database_url) as conn:
        assert rows(conn, "SELECT ledger_id, asset, sum(balance) FROM accounts GROUP BY 1, 2 HAVING sum(balance) <> 0") == []
        assert rows(conn, "SELECT id FROM accounts WHERE balance - held < min_balance OR balance > max_balance") == []
        assert rows(conn, _WRONG_BALANCE) == []
        assert rows(conn, _WRONG_VERSIONS) == []
        assert rows(conn, _WRONG_STEP) == []
        assert rows(conn, _KEYS_IN_DOUBT) == []
        return int(rows(conn, "SELECT count(*) FROM transfers")[0][0])


def rows(conn: psycopg.Connection, query: str) -> list[tuple]:
    """All rows of a query."""
    return conn.execute(query).fetchall()


_KEYS_IN_DOUBT = """
    SELECT transfer_id FROM idempotency_keys WHERE transfer_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1
    UNION ALL
    SELECT k.transfer_id FROM idempotency_keys k LEFT JOIN transfers t ON t.ledger_id = k.ledger_id AND t.id = k.transfer_id
    WHERE k.transfer_id IS NOT NULL AND t.id IS NULL
"""
_ENTRIES = """
    SELECT ledger_id, from_account_id AS id, -amount AS change, from_version AS version, from_balance AS balance FROM transfers
    UNION ALL
    SELECT ledger_id, to_account_id, amount, to_version, to_balance FROM transfers
"""
_WRONG_BALANCE = f"""
    SELECT a.id, a.balance, sum(e.change) FROM accounts a LEFT JOIN ({_ENTRIES}) e USING (ledger_id, id)
    GROUP BY a.ledger_id, a.id HAVING a.balance <> coalesce(sum(e.change), 0)
"""
_WRONG_VERSIONS = f"""
    SELECT a.id FROM accounts a LEFT JOIN ({_ENTRIES}) e USING (ledger_id, id) GROUP BY a.ledger_id, a.id
    HAVING a.version <> count(e.version) OR (count(e.version) > 0 AND (min(e.version) <> 1 OR max(e.version) <> a.version
           OR count(DISTINCT e.version) <> a.version))
"""
_WRONG_STEP = f"""
    SELECT * FROM (SELECT id, balance, change,
                          lag(balance, 1, 0::bigint) OVER (PARTITION BY ledger_id, id ORDER BY version) AS before
                   FROM ({_ENTRIES}) e) steps
    WHERE balance <> before + change
"""
