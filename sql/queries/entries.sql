-- name: await_holders
-- The time at which nobody held the account. A statement of its own: the next one sees what those have committed who did.
WITH held AS MATERIALIZED (SELECT FROM accounts WHERE ledger_id = %(ledger_id)s AND id = %(account_id)s FOR SHARE)
SELECT clock_timestamp() FROM held;

-- name: find_balance_at
-- The last entry that is not younger than the moment: times have microseconds, so it is older than the next one. What is held
-- changes only by rows that name the account as the debited one: the last of those tells it.
SELECT account.asset, coalesce(entry.version, 0), coalesce(entry.balance, 0), coalesce(debit.from_held, 0),
       %(at)s::timestamptz >= coalesce(%(known_until)s::timestamptz, clock_timestamp())
FROM accounts AS account
CROSS JOIN LATERAL (SELECT entries_before(account.ledger_id, account.id, %(at)s::timestamptz + interval '1 microsecond')
                           AS version OFFSET 0) AS last
LEFT JOIN account_entries AS entry
       ON entry.ledger_id = account.ledger_id AND entry.account_id = account.id AND entry.version = last.version
LEFT JOIN LATERAL (SELECT from_held FROM transfers
                   WHERE ledger_id = account.ledger_id AND from_account_id = account.id AND from_version <= last.version
                   ORDER BY from_version DESC LIMIT 1) AS debit ON true
WHERE account.ledger_id = %(ledger_id)s AND account.id = %(account_id)s;

-- name: list_entries
-- Newest first; oldest first it is the same text without DESC, see the repository.
WITH bounds AS MATERIALIZED (
    SELECT greatest(%(after)s, coalesce(entries_before(%(ledger_id)s, %(account_id)s, %(since)s::timestamptz), 0)) AS low,
           least(%(before)s - 1, entries_before(%(ledger_id)s, %(account_id)s, %(until)s::timestamptz)) AS high
)
SELECT version, id, direction, amount, balance, other_account_id, asset, reference, coalesce(metadata, '{}'), created_at, kind,
       coalesce(debit.held, 0)
FROM account_entries AS entry
LEFT JOIN LATERAL (SELECT from_held AS held FROM transfers
                   WHERE ledger_id = entry.ledger_id AND from_account_id = entry.account_id AND from_version <= entry.version
                   ORDER BY from_version DESC LIMIT 1) AS debit ON true
WHERE ledger_id = %(ledger_id)s AND account_id = %(account_id)s
  AND version > (SELECT low FROM bounds) AND version <= (SELECT high FROM bounds)
  AND (direction = %(direction)s OR %(direction)s::text IS NULL)
ORDER BY entry.version DESC LIMIT %(limit)s;

-- name: account_exists
SELECT 1 FROM accounts WHERE ledger_id = %(ledger_id)s AND id = %(account_id)s;
