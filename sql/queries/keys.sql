-- name: find_keys
SELECT k.ledger_id, l.name AS ledger, k.id, k.name, k.secret_hash, k.scopes, k.created_at, k.revoked_at
FROM api_keys k JOIN ledgers l ON l.id = k.ledger_id
WHERE k.id = %(key_id)s;

-- name: list_keys
SELECT k.ledger_id, l.name AS ledger, k.id, k.name, k.secret_hash, k.scopes, k.created_at, k.revoked_at
FROM api_keys k JOIN ledgers l ON l.id = k.ledger_id
ORDER BY l.name, k.created_at, k.id;

-- name: create_ledger
INSERT INTO ledgers (name) VALUES (%(name)s)
ON CONFLICT ON CONSTRAINT ledgers_name_key DO NOTHING
RETURNING id;

-- name: create_key
INSERT INTO api_keys (ledger_id, id, name, secret_hash, scopes)
SELECT id, %(key_id)s, %(name)s, %(secret_hash)s, %(scopes)s FROM ledgers WHERE ledgers.name = %(ledger)s;

-- name: revoke_key
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = %(key_id)s RETURNING id;

-- name: count_keys
SELECT count(*) FROM api_keys;

-- name: find_secret
SELECT value FROM secrets WHERE name = %(name)s;
