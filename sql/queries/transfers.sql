-- name: post_transfers
SELECT * FROM post_transfers(
    %(ledgers)s::bigint[], %(accounts)s::bigint[], %(key_ledgers)s::bigint[], %(keys)s::text[],
    %(from)s::int[], %(to)s::int[], %(amount)s::bigint[], %(asset)s::text[], %(if_version)s::bigint[],
    %(key)s::int[], %(fingerprint)s::bytea[], %(reference)s::text[], %(metadata)s::text[]
);

-- name: find_transfer
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at
FROM transfers WHERE ledger_id = %(ledger_id)s AND id = %(transfer_id)s;

-- name: list_transfers
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at
FROM transfers WHERE ledger_id = %(ledger_id)s AND id < %(before_id)s
ORDER BY id DESC LIMIT %(limit)s;

-- name: list_account_transfers
-- Each side is read along its own index, newest first, and the two are merged by the account's version.
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at
FROM (
    (SELECT from_version AS version, * FROM transfers
     WHERE ledger_id = %(ledger_id)s AND from_account_id = %(account_id)s AND from_version < %(before_version)s
     ORDER BY from_version DESC LIMIT %(limit)s)
    UNION ALL
    (SELECT to_version AS version, * FROM transfers
     WHERE ledger_id = %(ledger_id)s AND to_account_id = %(account_id)s AND to_version < %(before_version)s
     ORDER BY to_version DESC LIMIT %(limit)s)
) AS entry
ORDER BY version DESC LIMIT %(limit)s;
