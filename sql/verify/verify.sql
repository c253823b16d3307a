-- name: list_ledgers
SELECT id, name FROM ledgers WHERE %(name)s::text IS NULL OR name = %(name)s ORDER BY id;

-- name: find_size
-- What there is to examine in a ledger, and its last seal.
SELECT (SELECT count(*) FROM seals WHERE ledger_id = %(ledger_id)s),
       (SELECT coalesce(sum(transfers), 0)::bigint FROM seals WHERE ledger_id = %(ledger_id)s),
       (SELECT count(*) FROM transfers WHERE ledger_id = %(ledger_id)s AND id > coalesce(last.last_id, 0)),
       (SELECT coalesce(sum(version), 0)::bigint FROM accounts WHERE ledger_id = %(ledger_id)s),
       last.number, last.last_id, last.hash
FROM (SELECT) AS one
LEFT JOIN LATERAL (SELECT number, last_id, hash FROM seals WHERE ledger_id = %(ledger_id)s
                   ORDER BY number DESC LIMIT 1) AS last ON true;

-- name: read_seals
SELECT number, first_id, last_id, transfers, sealed_at, rows_hash, hash
FROM seals WHERE ledger_id = %(ledger_id)s ORDER BY number;

-- name: read_accounts
SELECT id, version FROM accounts WHERE ledger_id = %(ledger_id)s ORDER BY id;

-- name: find_bound
-- The last of the next rows after an id.
SELECT id FROM transfers WHERE ledger_id = %(ledger_id)s AND id > %(after_id)s ORDER BY id OFFSET %(rows)s - 1 LIMIT 1;

-- name: find_marks
SELECT marks FROM seals WHERE ledger_id = %(ledger_id)s AND number = %(number)s;

-- name: find_row
SELECT to_jsonb(transfer) - 'xid' FROM transfers AS transfer WHERE ledger_id = %(ledger_id)s AND id = %(id)s;

-- name: find_strays
-- The first row of each ledger that is none; the index is probed once for each ledger there is.
WITH RECURSIVE present AS (
    (SELECT ledger_id, id FROM transfers ORDER BY ledger_id, id LIMIT 1)
    UNION ALL
    SELECT next.* FROM present, LATERAL (SELECT ledger_id, id FROM transfers WHERE ledger_id > present.ledger_id
                                         ORDER BY ledger_id, id LIMIT 1) AS next
)
SELECT ledger_id, id FROM present WHERE ledger_id NOT IN (SELECT id FROM ledgers);

-- name: wrong_entries
-- Entries of a range of accounts (or of a range of one account's versions) that do not continue the one before: in version, in
-- id, in balance. The entry before the range comes along, and is judged by its own range.
SELECT 'entry_out_of_order', id, account_id,
       format('version %%s, balance %%s', version, balance),
       CASE WHEN version_before IS NULL THEN format('version %%s first', greatest(%(after_version)s, 1))
            WHEN version <> version_before + 1 THEN format('version %%s', version_before + 1)
            WHEN id <= id_before THEN format('an id above %%s', id_before)
            ELSE format('balance %%s', balance_before + change) END
FROM (
    SELECT account_id, version, id, balance, change,
           lag(version) OVER entries AS version_before, lag(id) OVER entries AS id_before,
           lag(balance) OVER entries AS balance_before
    FROM (
        SELECT from_account_id AS account_id, from_version AS version, id, from_balance AS balance,
               CASE WHEN kind IN ('transfer', 'capture', 'reversal') THEN -amount ELSE 0 END AS change
        FROM transfers
        WHERE ledger_id = %(ledger_id)s AND from_account_id > %(after)s AND from_account_id <= %(until)s
          AND from_version >= %(after_version)s AND from_version <= %(until_version)s
        UNION ALL
        SELECT to_account_id, to_version, id, to_balance,
               CASE WHEN kind IN ('transfer', 'capture', 'reversal') THEN amount ELSE 0 END
        FROM transfers
        WHERE ledger_id = %(ledger_id)s AND to_account_id > %(after)s AND to_account_id <= %(until)s
          AND to_version >= %(after_version)s AND to_version <= %(until_version)s
    ) AS entry
    WINDOW entries AS (PARTITION BY account_id ORDER BY version)
) AS step
WHERE CASE WHEN version_before IS NULL
           THEN version <> greatest(%(after_version)s, 1) OR (%(after_version)s < 1 AND balance <> change)
           ELSE version <> version_before + 1 OR id <= id_before OR balance <> balance_before + change END
ORDER BY id LIMIT %(most)s;

-- name: wrong_held
-- Rows whose debited account has not the amount held that follows from the row before.
SELECT 'held_out_of_order', id, from_account_id, format('held %%s', from_held), format('held %%s', expected)
FROM (
    SELECT id, from_account_id, from_held,
           coalesce(lag(from_held) OVER (PARTITION BY from_account_id ORDER BY from_version),
                    (SELECT before.from_held FROM transfers AS before
                     WHERE before.ledger_id = %(ledger_id)s AND before.from_account_id = entry.from_account_id
                       AND before.from_version <= %(after_version)s
                     ORDER BY before.from_version DESC LIMIT 1), 0)
           + CASE kind WHEN 'hold' THEN amount WHEN 'release' THEN -amount WHEN 'expiry' THEN -amount
                       WHEN 'capture' THEN -(SELECT hold.amount FROM transfers AS hold
                                             WHERE hold.ledger_id = %(ledger_id)s AND hold.id = entry.resolves_id)
                       ELSE 0 END AS expected
    FROM transfers AS entry
    WHERE ledger_id = %(ledger_id)s AND from_account_id > %(after)s AND from_account_id <= %(until)s
      AND from_version > %(after_version)s AND from_version <= %(until_version)s
) AS step
WHERE from_held IS DISTINCT FROM expected
ORDER BY id LIMIT %(most)s;

-- name: wrong_accounts
-- Accounts that are not as their last entry left them.
SELECT 'account_changed', NULL::bigint, account.id,
       format('version %%s, balance %%s', account.version, account.balance),
       format('version %%s, balance %%s', coalesce(last.version, 0), coalesce(last.balance, 0))
FROM accounts AS account
LEFT JOIN LATERAL (
    SELECT version, balance FROM (
        (SELECT from_version AS version, from_balance AS balance FROM transfers
         WHERE ledger_id = %(ledger_id)s AND from_account_id = account.id ORDER BY from_version DESC LIMIT 1)
        UNION ALL
        (SELECT to_version, to_balance FROM transfers
         WHERE ledger_id = %(ledger_id)s AND to_account_id = account.id ORDER BY to_version DESC LIMIT 1)
    ) AS side ORDER BY version DESC LIMIT 1
) AS last ON true
WHERE account.ledger_id = %(ledger_id)s AND account.id > %(after)s AND account.id <= %(until)s
  AND (account.version, account.balance) IS DISTINCT FROM (coalesce(last.version, 0), coalesce(last.balance, 0))
ORDER BY account.id LIMIT %(most)s;

-- name: gone_accounts
SELECT 'account_gone', entry.id, entry.account_id, 'no such account', 'the account of this row'
FROM (
    SELECT id, from_account_id AS account_id FROM transfers
    WHERE ledger_id = %(ledger_id)s AND from_account_id > %(after)s AND from_account_id <= %(until)s AND from_version = 1
    UNION ALL
    SELECT id, to_account_id FROM transfers
    WHERE ledger_id = %(ledger_id)s AND to_account_id > %(after)s AND to_account_id <= %(until)s AND to_version = 1
) AS entry
WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE ledger_id = %(ledger_id)s AND id = entry.account_id OFFSET 0)
ORDER BY entry.id LIMIT %(most)s;

-- name: wrong_resolutions
-- Rows in a range of ids that resolve what they cannot, or are linked to what is no beginning of a group.
SELECT 'row_resolves_wrongly', row.id, row.from_account_id,
       format('a %%s of %%s that resolves %%s', row.kind, row.amount, row.resolves_id),
       coalesce(format('what a %%s of %%s between %%s and %%s allows', original.kind, original.amount,
                       original.from_account_id, original.to_account_id), 'that there is such a row')
FROM transfers AS row
LEFT JOIN transfers AS original ON original.ledger_id = %(ledger_id)s AND original.id = row.resolves_id
WHERE row.ledger_id = %(ledger_id)s AND row.id > %(after)s AND row.id <= %(until)s AND row.resolves_id IS NOT NULL
  AND NOT coalesce(
      CASE row.kind
          WHEN 'reversal' THEN original.kind IN ('transfer', 'capture') AND row.amount = original.amount
                               AND (row.from_account_id, row.to_account_id) = (original.to_account_id, original.from_account_id)
          ELSE original.kind = 'hold'
               AND (row.from_account_id, row.to_account_id) = (original.from_account_id, original.to_account_id)
               AND CASE row.kind WHEN 'capture' THEN row.amount <= original.amount ELSE row.amount = original.amount END
      END, false)
UNION ALL
SELECT 'row_linked_wrongly', row.id, row.from_account_id, format('linked to %%s', row.linked_id), 'the first row of its group'
FROM transfers AS row
LEFT JOIN transfers AS first ON first.ledger_id = %(ledger_id)s AND first.id = row.linked_id AND first.linked_id = first.id
WHERE row.ledger_id = %(ledger_id)s AND row.id > %(after)s AND row.id <= %(until)s AND row.linked_id IS NOT NULL
  AND first.id IS NULL
ORDER BY 2 LIMIT %(most)s;

-- name: wrong_holds
-- Open holds that are no holds, or not as their rows say, and holds without a row that resolves them that are not open.
SELECT 'hold_not_as_posted', open.transfer_id, open.from_account_id,
       format('an open hold of %%s from %%s to %%s, until %%s', open.amount, open.from_account_id, open.to_account_id,
              coalesce(open.expires_at::text, 'ever')),
       CASE WHEN row.id IS NULL THEN 'no such row' WHEN row.kind <> 'hold' THEN format('a %%s', row.kind)
            WHEN resolved.id IS NOT NULL THEN format('none: row %%s resolved it', resolved.id)
            ELSE format('a hold of %%s from %%s to %%s, until %%s', row.amount, row.from_account_id, row.to_account_id,
                        coalesce(row.expires_at::text, 'ever')) END
FROM open_holds AS open
LEFT JOIN transfers AS row ON row.ledger_id = %(ledger_id)s AND row.id = open.transfer_id
LEFT JOIN transfers AS resolved ON resolved.ledger_id = %(ledger_id)s AND resolved.resolves_id = open.transfer_id
WHERE open.ledger_id = %(ledger_id)s AND open.transfer_id > %(after)s AND open.transfer_id <= %(until)s
  AND (resolved.id IS NOT NULL OR row.kind IS DISTINCT FROM 'hold'
       OR (open.from_account_id, open.to_account_id, open.amount, open.expires_at)
          IS DISTINCT FROM (row.from_account_id, row.to_account_id, row.amount, row.expires_at))
UNION ALL
SELECT 'hold_not_open', row.id, row.from_account_id, 'no open hold',
       format('one of %%s: no row resolves it', row.amount)
FROM transfers AS row
WHERE row.ledger_id = %(ledger_id)s AND row.id > %(after)s AND row.id <= %(until)s AND row.kind = 'hold'
  AND NOT EXISTS (SELECT 1 FROM transfers WHERE ledger_id = %(ledger_id)s AND resolves_id = row.id OFFSET 0)
  AND NOT EXISTS (SELECT 1 FROM open_holds WHERE ledger_id = %(ledger_id)s AND transfer_id = row.id OFFSET 0)
ORDER BY 2 LIMIT %(most)s;

-- name: wrong_sums
SELECT 'balances_do_not_cancel', NULL::bigint, NULL::bigint, format('a sum of %%s in %%s', sum(balance), asset), '0'
FROM accounts WHERE ledger_id = %(ledger_id)s GROUP BY asset HAVING sum(balance) <> 0 ORDER BY asset LIMIT %(most)s;

-- name: wrong_held_sums
-- Accounts of which another amount is held than their open holds set aside; aggregates alone, since there is no index for a join.
SELECT 'held_is_not_open_holds', NULL::bigint, account_id, format('held %%s', sum(held)), format('held %%s', sum(open))
FROM (
    SELECT id AS account_id, held, 0 AS open FROM accounts WHERE ledger_id = %(ledger_id)s AND held <> 0
    UNION ALL
    SELECT from_account_id, 0, amount FROM open_holds WHERE ledger_id = %(ledger_id)s
) AS part
GROUP BY account_id HAVING sum(held) <> sum(open) ORDER BY account_id LIMIT %(most)s;

-- name: wrong_keys
SELECT 'key_without_row', key.transfer_id, NULL::bigint, format('the idempotency key %%L for it', key.key), 'such a row'
FROM idempotency_keys AS key
LEFT JOIN transfers AS row ON row.ledger_id = %(ledger_id)s AND row.id = key.transfer_id
WHERE key.ledger_id = %(ledger_id)s AND key.transfer_id IS NOT NULL AND row.id IS NULL
ORDER BY key.transfer_id LIMIT %(most)s;
