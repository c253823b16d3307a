"""What must hold in a ledger whatever happens to it: read from the tables, not from ledgerd."""

from __future__ import annotations

import psycopg


def check_invariants(database_url: str) -> int:
    """Assert that the books balance; returns the number of transfers.

    Balances sum to zero in each ledger and asset, each is the sum of its account's rows, none is below its floor, versions
    have no gap, no key has two outcomes, what is held is what the open holds set aside, and nothing is resolved twice.
    """
    with psycopg.connect(database_url) as conn:
        assert rows(conn, "SELECT ledger_id, asset, sum(balance) FROM accounts GROUP BY 1, 2 HAVING sum(balance) <> 0") == []
        assert rows(conn, "SELECT id FROM accounts WHERE balance - held < min_balance OR balance > max_balance") == []
        assert rows(conn, _WRONG_BALANCE) == []
        assert rows(conn, _WRONG_VERSIONS) == []
        assert rows(conn, _WRONG_STEP) == []
        assert rows(conn, _WRONG_ORDER) == []
        assert rows(conn, _WRONG_HELD) == []
        assert rows(conn, _WRONG_OPEN_HOLDS) == []
        assert rows(conn, _WRONG_RESOLUTIONS) == []
        assert rows(conn, _WRONG_LINKS) == []
        assert rows(conn, _KEYS_IN_DOUBT) == []
        assert rows(conn, _CHUNKS_IN_DOUBT) == []
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
_CHUNKS_IN_DOUBT = """
    SELECT c.name, c.chunk FROM bulk_chunks c CROSS JOIN LATERAL unnest(c.transfer_ids) WITH ORDINALITY AS made (id, n)
    LEFT JOIN transfers t ON t.ledger_id = c.ledger_id AND t.id = made.id
    WHERE (made.id IS NULL) = (c.refusals IS NULL OR c.refusals[made.n] IS NULL) OR (made.id IS NOT NULL AND t.id IS NULL)
"""
_MOVED = "CASE WHEN kind IN ('transfer', 'capture', 'reversal') THEN amount ELSE 0 END"
_ENTRIES = f"""
    SELECT ledger_id, from_account_id AS id, -{_MOVED} AS change, from_version AS version, from_balance AS balance,
           id AS transfer_id
    FROM transfers
    UNION ALL
    SELECT ledger_id, to_account_id, {_MOVED}, to_version, to_balance, id FROM transfers
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
_WRONG_ORDER = f"""
    SELECT * FROM (SELECT id, transfer_id, lag(transfer_id) OVER (PARTITION BY ledger_id, id ORDER BY version) AS before
                   FROM ({_ENTRIES}) e) steps
    WHERE transfer_id <= before
"""
_WRONG_HELD = """
    SELECT a.id, a.held, h.amount, last.from_held
    FROM accounts a
    LEFT JOIN (SELECT ledger_id, from_account_id AS id, sum(amount) AS amount FROM open_holds GROUP BY 1, 2) h
           USING (ledger_id, id)
    LEFT JOIN LATERAL (SELECT from_held FROM transfers WHERE ledger_id = a.ledger_id AND from_account_id = a.id
                       ORDER BY from_version DESC LIMIT 1) last ON true
    WHERE a.held <> coalesce(h.amount, 0) OR a.held <> coalesce(last.from_held, 0)
"""
_WRONG_OPEN_HOLDS = """
    SELECT t.id, h.transfer_id
    FROM (SELECT * FROM transfers t WHERE kind = 'hold' AND NOT EXISTS (
              SELECT 1 FROM transfers r WHERE r.ledger_id = t.ledger_id AND r.resolves_id = t.id)) t
    FULL JOIN open_holds h ON h.ledger_id = t.ledger_id AND h.transfer_id = t.id
         AND (h.from_account_id, h.to_account_id, h.amount) = (t.from_account_id, t.to_account_id, t.amount)
         AND h.expires_at IS NOT DISTINCT FROM t.expires_at
    WHERE t.id IS NULL OR h.transfer_id IS NULL
"""
_WRONG_RESOLUTIONS = """
    SELECT r.id FROM transfers r LEFT JOIN transfers o ON o.ledger_id = r.ledger_id AND o.id = r.resolves_id
    WHERE r.resolves_id IS NOT NULL AND NOT coalesce(
        CASE r.kind WHEN 'reversal' THEN o.kind IN ('transfer', 'capture') AND r.amount = o.amount
                         AND (r.from_account_id, r.to_account_id) = (o.to_account_id, o.from_account_id)
             ELSE o.kind = 'hold' AND (r.from_account_id, r.to_account_id) = (o.from_account_id, o.to_account_id)
                  AND CASE r.kind WHEN 'capture' THEN r.amount <= o.amount ELSE r.amount = o.amount END
                  AND CASE r.kind WHEN 'expiry' THEN o.expires_at <= r.created_at
                           ELSE coalesce(o.expires_at > r.created_at, true) END END, false)
"""
_WRONG_LINKS = """
    SELECT linked_id FROM transfers WHERE linked_id IS NOT NULL GROUP BY ledger_id, linked_id
    HAVING min(id) <> linked_id OR count(DISTINCT xid) <> 1
"""
