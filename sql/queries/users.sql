-- name: find_user
SELECT id, name, email, metadata, version, created_at, updated_at
FROM users WHERE ledger_id = %(ledger_id)s AND id = %(user_id)s;

-- name: find_users
-- OFFSET 0 leaves one plan only: a probe of the primary key for each.
SELECT wanted.ledger_id, found.*
FROM unnest(%(ledgers)s::bigint[], %(users)s::bigint[]) AS wanted (ledger_id, id),
     LATERAL (SELECT id, name, email, metadata, version, created_at, updated_at FROM users
              WHERE ledger_id = wanted.ledger_id AND id = wanted.id OFFSET 0) AS found;

-- name: lock_user
SELECT version FROM users WHERE ledger_id = %(ledger_id)s AND id = %(user_id)s FOR UPDATE;

-- name: list_users
SELECT id, name, email, metadata, version, created_at, updated_at
FROM users WHERE ledger_id = %(ledger_id)s AND id > %(after_id)s
ORDER BY id LIMIT %(limit)s;

-- name: list_users_by_email
SELECT id, name, email, metadata, version, created_at, updated_at
FROM users WHERE ledger_id = %(ledger_id)s AND lower(email) = lower(%(email)s) AND id > %(after_id)s
ORDER BY id LIMIT %(limit)s;

-- name: create_user
INSERT INTO users (ledger_id, name, email, metadata)
VALUES (%(ledger_id)s, %(name)s, %(email)s, %(metadata)s)
RETURNING id, name, email, metadata, version, created_at, updated_at, pg_current_xact_id()::text::bigint;

-- name: update_user
UPDATE users SET name = %(name)s, email = %(email)s, metadata = %(metadata)s, version = version + 1, updated_at = now()
WHERE ledger_id = %(ledger_id)s AND id = %(user_id)s
RETURNING id, name, email, metadata, version, created_at, updated_at, pg_current_xact_id()::text::bigint;

-- name: has_open_accounts
SELECT EXISTS (
    SELECT FROM accounts WHERE ledger_id = %(ledger_id)s AND user_id = %(user_id)s AND status <> 'closed'
);

-- name: delete_user
DELETE FROM users WHERE ledger_id = %(ledger_id)s AND id = %(user_id)s
RETURNING pg_current_xact_id()::text::bigint;
