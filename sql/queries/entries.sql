-- name: find_balance_at
-- The last entry that is not younger than the moment: times have microseconds, so it is older than the next one.
SELECT account.asset, coalesce(entry.version, 0), coalesce(entry.balance, 0), %(at)s::timestamptz > clock_timestamp()
FROM accounts AS account
CROSS JOIN LATERAL (SELECT entries_before(account.ledger_id, account.id, %(at)s::timestamptz + interval '1 microsecond')
                           AS version OFFSET 0) AS last
LEFT JOIN account_entries AS entry
       ON entry.ledger_id = account.ledger_id AND entry.account_id = account.id AND entry.version = last.version
WHERE account.ledger_id = %(ledger_id)s AND account.id = %(account_id)s;

-- name: list_entries
-- Newest first; oldest first it is the same text without DESC, see the repository.
WITH bounds AS MATERIALIZED (
    SELECT greatest(%(after)s, coalesce(entries_before(%(ledger_id)s, %(account_id)s, %(since)s::timestamptz), 0)) AS low,
           least(%(before)s - 1, entries_before(%(ledger_id)s, %(account_id)s, %(until)s::timestamptz)) AS high
)
SELECT version, id, direction, amount, balance, other_account_id, asset, reference, coalesce(metadata, '{}'), created_at
FROM account_entries
WHERE ledger_id = %(ledger_id)s AND account_id = %(account_id)s
  AND version > (SELECT low FROM bounds) AND version <= (SELECT high FROM bounds)
  AND (direction = %(direction)s OR %(direction)s::text IS NULL)
ORDER BY version DESC LIMIT %(limit)s;

-- name: account_exists
SELECT 1 FROM accounts WHERE ledger_id = %(ledger_id)s AND id = %(account_id)s;
