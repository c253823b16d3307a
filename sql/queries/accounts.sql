-- name: find_account
SELECT id, user_id, asset, balance, held, min_balance, max_balance, status, version, settings_version, metadata,
       created_at, updated_at
FROM accounts WHERE ledger_id = %(ledger_id)s AND id = %(account_id)s;

-- name: lock_account
SELECT id, user_id, asset, balance, held, min_balance, max_balance, status, version, settings_version, metadata,
       created_at, updated_at
FROM accounts WHERE ledger_id = %(ledger_id)s AND id = %(account_id)s FOR NO KEY UPDATE;

-- name: list_accounts
SELECT id, user_id, asset, balance, held, min_balance, max_balance, status, version, settings_version, metadata,
       created_at, updated_at
FROM accounts WHERE ledger_id = %(ledger_id)s AND id > %(after_id)s
ORDER BY id LIMIT %(limit)s;

-- name: list_accounts_of_user
SELECT id, user_id, asset, balance, held, min_balance, max_balance, status, version, settings_version, metadata,
       created_at, updated_at
FROM accounts WHERE ledger_id = %(ledger_id)s AND user_id = %(user_id)s AND id > %(after_id)s
ORDER BY id LIMIT %(limit)s;

-- name: create_account
INSERT INTO accounts (ledger_id, user_id, asset, min_balance, max_balance, metadata)
VALUES (%(ledger_id)s, %(user_id)s, %(asset)s, %(min_balance)s, %(max_balance)s, %(metadata)s)
RETURNING id, user_id, asset, balance, held, min_balance, max_balance, status, version, settings_version, metadata,
          created_at, updated_at, pg_current_xact_id()::text::bigint;

-- name: update_account
UPDATE accounts
SET status = %(status)s, min_balance = %(min_balance)s, max_balance = %(max_balance)s, metadata = %(metadata)s,
    settings_version = settings_version + 1, updated_at = greatest(updated_at, clock_timestamp())
WHERE ledger_id = %(ledger_id)s AND id = %(account_id)s
RETURNING id, user_id, asset, balance, held, min_balance, max_balance, status, version, settings_version, metadata,
          created_at, updated_at, pg_current_xact_id()::text::bigint;
