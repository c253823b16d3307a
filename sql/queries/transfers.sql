-- name: post_transfers
SELECT *, pg_current_xact_id()::text::bigint FROM post_transfers(
    %(ledgers)s::bigint[], %(accounts)s::bigint[], %(key_ledgers)s::bigint[], %(keys)s::text[],
    %(from)s::int[], %(to)s::int[], %(amount)s::bigint[], %(asset)s::text[], %(if_version)s::bigint[],
    %(key)s::int[], %(fingerprint)s::bytea[], %(reference)s::text[], %(metadata)s::text[],
    %(kind)s::text[], %(original_ledgers)s::bigint[], %(originals)s::bigint[], %(resolves)s::int[],
    %(expires_in_s)s::int[], %(group)s::int[], %(dry_run)s::boolean[]
);

-- name: find_transfer
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at, kind, from_held, resolves_id, expires_at, linked_id, resolved_by_id, resolved_as
FROM transfers AS told
LEFT JOIN LATERAL (SELECT id AS resolved_by_id, kind AS resolved_as FROM transfers
                   WHERE ledger_id = told.ledger_id AND resolves_id = told.id OFFSET 0) AS later ON true
WHERE ledger_id = %(ledger_id)s AND id = %(transfer_id)s;

-- name: list_transfers
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at, kind, from_held, resolves_id, expires_at, linked_id, resolved_by_id, resolved_as
FROM transfers AS told
LEFT JOIN LATERAL (SELECT id AS resolved_by_id, kind AS resolved_as FROM transfers
                   WHERE ledger_id = told.ledger_id AND resolves_id = told.id OFFSET 0) AS later ON true
WHERE ledger_id = %(ledger_id)s AND id < %(before)s
ORDER BY id DESC LIMIT %(limit)s;

-- name: list_transfers_by_time
-- Newest first by time; before the transfer that the page before ended with, if there is one.
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at, kind, from_held, resolves_id, expires_at, linked_id, resolved_by_id, resolved_as
FROM transfers AS told
LEFT JOIN LATERAL (SELECT id AS resolved_by_id, kind AS resolved_as FROM transfers
                   WHERE ledger_id = told.ledger_id AND resolves_id = told.id OFFSET 0) AS later ON true
WHERE ledger_id = %(ledger_id)s
  AND created_at >= coalesce(%(since)s::timestamptz, '-infinity') AND created_at < coalesce(%(until)s::timestamptz, 'infinity')
  AND (created_at, id) < (coalesce((SELECT created_at FROM transfers WHERE ledger_id = %(ledger_id)s AND id = %(before)s),
                                   'infinity'), %(before)s)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s;

-- name: list_transfers_by_reference
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at, kind, from_held, resolves_id, expires_at, linked_id, resolved_by_id, resolved_as
FROM transfers AS told
LEFT JOIN LATERAL (SELECT id AS resolved_by_id, kind AS resolved_as FROM transfers
                   WHERE ledger_id = told.ledger_id AND resolves_id = told.id OFFSET 0) AS later ON true
WHERE ledger_id = %(ledger_id)s AND lower(reference) = lower(%(reference)s) AND reference = %(reference)s
  AND id < %(before)s
  AND (%(account_id)s::bigint IS NULL OR %(account_id)s IN (from_account_id, to_account_id))
  AND created_at >= coalesce(%(since)s::timestamptz, '-infinity') AND created_at < coalesce(%(until)s::timestamptz, 'infinity')
ORDER BY id DESC LIMIT %(limit)s;

-- name: list_transfers_of_account
WITH bounds AS MATERIALIZED (
    SELECT coalesce(entries_before(%(ledger_id)s, %(account_id)s, %(since)s::timestamptz), 0) AS low,
           least(%(before)s - 1, entries_before(%(ledger_id)s, %(account_id)s, %(until)s::timestamptz)) AS high
)
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at, kind, from_held, resolves_id, expires_at, linked_id, resolved_by_id, resolved_as
FROM account_entries AS told
LEFT JOIN LATERAL (SELECT id AS resolved_by_id, kind AS resolved_as FROM transfers
                   WHERE ledger_id = told.ledger_id AND resolves_id = told.id OFFSET 0) AS later ON true
WHERE ledger_id = %(ledger_id)s AND account_id = %(account_id)s
  AND version > (SELECT low FROM bounds) AND version <= (SELECT high FROM bounds)
ORDER BY version DESC LIMIT %(limit)s;

-- name: export_transfers
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at, kind, from_held, resolves_id, expires_at, linked_id, resolved_by_id, resolved_as
FROM transfers AS told
LEFT JOIN LATERAL (SELECT id AS resolved_by_id, kind AS resolved_as FROM transfers
                   WHERE ledger_id = told.ledger_id AND resolves_id = told.id OFFSET 0) AS later ON true
WHERE ledger_id = %(ledger_id)s
ORDER BY id;

-- name: export_transfers_by_time
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at, kind, from_held, resolves_id, expires_at, linked_id, resolved_by_id, resolved_as
FROM transfers AS told
LEFT JOIN LATERAL (SELECT id AS resolved_by_id, kind AS resolved_as FROM transfers
                   WHERE ledger_id = told.ledger_id AND resolves_id = told.id OFFSET 0) AS later ON true
WHERE ledger_id = %(ledger_id)s
  AND created_at >= coalesce(%(since)s::timestamptz, '-infinity') AND created_at < coalesce(%(until)s::timestamptz, 'infinity')
ORDER BY created_at, id;

-- name: export_transfers_by_reference
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at, kind, from_held, resolves_id, expires_at, linked_id, resolved_by_id, resolved_as
FROM transfers AS told
LEFT JOIN LATERAL (SELECT id AS resolved_by_id, kind AS resolved_as FROM transfers
                   WHERE ledger_id = told.ledger_id AND resolves_id = told.id OFFSET 0) AS later ON true
WHERE ledger_id = %(ledger_id)s AND lower(reference) = lower(%(reference)s) AND reference = %(reference)s
  AND (%(account_id)s::bigint IS NULL OR %(account_id)s IN (from_account_id, to_account_id))
  AND created_at >= coalesce(%(since)s::timestamptz, '-infinity') AND created_at < coalesce(%(until)s::timestamptz, 'infinity')
ORDER BY id;

-- name: export_transfers_of_account
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at, kind, from_held, resolves_id, expires_at, linked_id, resolved_by_id, resolved_as
FROM account_entries AS told
LEFT JOIN LATERAL (SELECT id AS resolved_by_id, kind AS resolved_as FROM transfers
                   WHERE ledger_id = told.ledger_id AND resolves_id = told.id OFFSET 0) AS later ON true
WHERE ledger_id = %(ledger_id)s AND account_id = %(account_id)s
  AND version > coalesce(entries_before(%(ledger_id)s, %(account_id)s, %(since)s::timestamptz), 0)
  AND version <= coalesce(entries_before(%(ledger_id)s, %(account_id)s, %(until)s::timestamptz), 9223372036854775807)
ORDER BY version;

-- name: list_expired_holds
SELECT ledger_id, transfer_id, from_account_id, to_account_id, amount
FROM open_holds WHERE expires_at <= now() ORDER BY expires_at LIMIT %(limit)s;
