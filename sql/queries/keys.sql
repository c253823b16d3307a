-- name: find_credentials
-- An unknown id gives a row as well, whose hash no secret has: to refuse it takes the same work as any other refusal.
SELECT coalesce(k.ledger_id, 0) AS ledger_id, asked.id AS key_id,
    coalesce(k.secret_hash, '\x0000000000000000000000000000000000000000000000000000000000000000') AS secret_hash,
    coalesce(k.scopes, ARRAY['read']) AS scopes, k.debit_accounts, k.expires_at,
    extract(epoch FROM k.expires_at - now())::float8 AS expires_in_s, k.revoked_at IS NOT NULL AS revoked, k.rate_per_s, k.burst
FROM (VALUES (%(key_id)s::text)) AS asked (id) LEFT JOIN api_keys k ON k.id = asked.id;

-- name: find_key
SELECT k.ledger_id, l.name AS ledger, k.id, k.number, k.name, k.scopes, k.debit_accounts, k.rate_per_s, k.burst,
    k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.replaced_by
FROM api_keys k JOIN ledgers l ON l.id = k.ledger_id
WHERE k.id = %(key_id)s AND k.ledger_id = coalesce(%(ledger_id)s, k.ledger_id)
ORDER BY k.ledger_id LIMIT 1;

-- name: list_keys
SELECT k.ledger_id, l.name AS ledger, k.id, k.number, k.name, k.scopes, k.debit_accounts, k.rate_per_s, k.burst,
    k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.replaced_by
FROM api_keys k JOIN ledgers l ON l.id = k.ledger_id
WHERE k.ledger_id = %(ledger_id)s AND k.number > %(after)s
ORDER BY k.number LIMIT %(limit)s;

-- name: list_all_keys
SELECT k.ledger_id, l.name AS ledger, k.id, k.number, k.name, k.scopes, k.debit_accounts, k.rate_per_s, k.burst,
    k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.replaced_by
FROM api_keys k JOIN ledgers l ON l.id = k.ledger_id
WHERE l.id = coalesce(%(ledger_id)s, l.id)
ORDER BY l.name, k.number;

-- name: create_key
INSERT INTO api_keys (ledger_id, id, name, secret_hash, scopes, debit_accounts, expires_at, rate_per_s, burst)
VALUES (
    %(ledger_id)s, %(key_id)s, %(name)s, %(secret_hash)s, %(scopes)s, %(debit_accounts)s, %(expires_at)s, %(rate_per_s)s,
    %(burst)s
);

-- name: find_missing_accounts
SELECT asked.id FROM unnest(%(account_ids)s::bigint[]) AS asked (id)
WHERE NOT EXISTS (SELECT FROM accounts a WHERE a.ledger_id = %(ledger_id)s AND a.id = asked.id)
ORDER BY asked.id;

-- name: replace_key
UPDATE api_keys SET replaced_by = %(key_id)s, expires_at = least(expires_at, now() + make_interval(secs => %(overlap_s)s))
WHERE ledger_id = %(ledger_id)s AND id = %(old_id)s
    AND revoked_at IS NULL AND replaced_by IS NULL AND (expires_at IS NULL OR expires_at > now())
RETURNING id;

-- name: revoke_key
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now())
WHERE id = %(key_id)s AND ledger_id = coalesce(%(ledger_id)s, ledger_id)
RETURNING id;

-- name: note_key_uses
-- The rows are locked in one order, since every worker does this. One that was noted a moment ago is left as it is.
WITH used AS (
    SELECT k.ledger_id, k.id, now() - make_interval(secs => u.age_s) AS used_at
    FROM unnest(%(ledger_ids)s::bigint[], %(key_ids)s::text[], %(ages_s)s::float8[]) AS u (ledger_id, id, age_s)
    JOIN api_keys k ON k.ledger_id = u.ledger_id AND k.id = u.id
    WHERE k.last_used_at IS NULL OR k.last_used_at < now() - make_interval(secs => u.age_s + %(not_within_s)s)
    ORDER BY k.ledger_id, k.id FOR NO KEY UPDATE OF k
)
UPDATE api_keys k SET last_used_at = greatest(k.last_used_at, used.used_at)
FROM used WHERE k.ledger_id = used.ledger_id AND k.id = used.id;

-- name: find_time
SELECT now();

-- name: find_secret
SELECT value FROM secrets WHERE name = %(name)s;
