-- name: find_balance_at
-- The last entry that is not younger than the moment: times have microseconds, so it is older than the next one.
SELECT account.asset, coalesce(entry.version, 0), coalesce(entry.balance, 0), %(at)s::timestamptz > clock_timestamp()
FROM accounts AS account
CROSS JOIN LATERAL (SELECT entries_before(account.ledger_id, account.id, %(at)s::timestamptz + interval '1 microsecond')
                           AS version OFFSET 0) AS last
LEFT JOIN LATERAL (
    SELECT from_version AS version, from_balance AS balance FROM transfers
    WHERE ledger_id = account.ledger_id AND from_account_id = account.id AND from_version = last.version
    UNION ALL
    SELECT to_version, to_balance FROM transfers
    WHERE ledger_id = account.ledger_id AND to_account_id = account.id AND to_version = last.version
) AS entry ON true
WHERE account.ledger_id = %(ledger_id)s AND account.id = %(account_id)s;

-- name: list_entries_down
-- Each side is read along its own index, newest first, and the two are merged by the account's version.
WITH bounds AS MATERIALIZED (
    SELECT greatest(%(after)s, coalesce(entries_before(%(ledger_id)s, %(account_id)s, %(since)s::timestamptz), 0)) AS low,
           least(%(before)s - 1, entries_before(%(ledger_id)s, %(account_id)s, %(until)s::timestamptz)) AS high
)
SELECT * FROM (
    (SELECT from_version AS version, id, 'debit' AS direction, amount, from_balance AS balance, to_account_id, asset,
            reference, coalesce(metadata, '{}'), created_at
     FROM transfers
     WHERE %(debits)s AND ledger_id = %(ledger_id)s AND from_account_id = %(account_id)s
       AND from_version > (SELECT low FROM bounds) AND from_version <= (SELECT high FROM bounds)
     ORDER BY from_version DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT to_version, id, 'credit', amount, to_balance, from_account_id, asset,
            reference, coalesce(metadata, '{}'), created_at
     FROM transfers
     WHERE %(credits)s AND ledger_id = %(ledger_id)s AND to_account_id = %(account_id)s
       AND to_version > (SELECT low FROM bounds) AND to_version <= (SELECT high FROM bounds)
     ORDER BY to_version DESC LIMIT %(limit)s)
) AS entry
ORDER BY version DESC LIMIT %(limit)s;

-- name: list_entries_up
-- The same, oldest first.
WITH bounds AS MATERIALIZED (
    SELECT greatest(%(after)s, coalesce(entries_before(%(ledger_id)s, %(account_id)s, %(since)s::timestamptz), 0)) AS low,
           least(%(before)s - 1, entries_before(%(ledger_id)s, %(account_id)s, %(until)s::timestamptz)) AS high
)
SELECT * FROM (
    (SELECT from_version AS version, id, 'debit' AS direction, amount, from_balance AS balance, to_account_id, asset,
            reference, coalesce(metadata, '{}'), created_at
     FROM transfers
     WHERE %(debits)s AND ledger_id = %(ledger_id)s AND from_account_id = %(account_id)s
       AND from_version > (SELECT low FROM bounds) AND from_version <= (SELECT high FROM bounds)
     ORDER BY from_version LIMIT %(limit)s)
    UNION ALL
    (SELECT to_version, id, 'credit', amount, to_balance, from_account_id, asset,
            reference, coalesce(metadata, '{}'), created_at
     FROM transfers
     WHERE %(credits)s AND ledger_id = %(ledger_id)s AND to_account_id = %(account_id)s
       AND to_version > (SELECT low FROM bounds) AND to_version <= (SELECT high FROM bounds)
     ORDER BY to_version LIMIT %(limit)s)
) AS entry
ORDER BY version LIMIT %(limit)s;

-- name: account_exists
SELECT 1 FROM accounts WHERE ledger_id = %(ledger_id)s AND id = %(account_id)s;
