-- name: find_ledger
SELECT id, name, created_at FROM ledgers WHERE id = %(ledger_id)s;

-- name: find_ledger_by_name
SELECT id, name, created_at FROM ledgers WHERE name = %(name)s;

-- name: list_ledgers
SELECT id, name, created_at FROM ledgers WHERE id > %(after_id)s ORDER BY id LIMIT %(limit)s;

-- name: create_ledger
INSERT INTO ledgers (name) VALUES (%(name)s) RETURNING id, name, created_at;

-- name: make_ledger
INSERT INTO ledgers (name) VALUES (%(name)s)
ON CONFLICT ON CONSTRAINT ledgers_name_key DO NOTHING
RETURNING id;
