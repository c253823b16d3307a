-- name: lock_sealing
-- For the transaction: one seal is made at a time, on whatever host.
SELECT pg_try_advisory_xact_lock(7310575014);

-- name: find_due
-- The ledger furthest behind of those that have a settled row without a seal, and whose last seal is old or that have many.
SELECT ledger.id, coalesce(last.number, 0), coalesce(last.last_id, 0), last.hash
FROM ledgers AS ledger
LEFT JOIN LATERAL (SELECT number, last_id, hash, sealed_at FROM seals
                   WHERE ledger_id = ledger.id ORDER BY number DESC LIMIT 1) AS last ON true
CROSS JOIN LATERAL (SELECT id FROM transfers
                    WHERE ledger_id = ledger.id AND id > coalesce(last.last_id, 0) AND id <= %(settled)s
                    ORDER BY id LIMIT 1) AS first
WHERE coalesce(last.sealed_at, '-infinity') <= clock_timestamp() - %(interval_s)s * interval '1 second'
   OR (SELECT true FROM transfers WHERE ledger_id = ledger.id AND id > coalesce(last.last_id, 0) AND id <= %(settled)s
       ORDER BY id OFFSET %(most_rows)s - 1 LIMIT 1)
ORDER BY coalesce(last.last_id, 0), ledger.id
LIMIT 1;

-- name: digest_rows
-- Up to a number of rows after one id, up to another: how many, the first and the last, the hash over all of them, and what
-- goes into marks. The text of a row is specified in docs/api.md, Seals; what is missing in it is null.
SELECT count(*), coalesce(min(id), 0), coalesce(max(id), 0),
       sha256(coalesce(string_agg(digest, '' ORDER BY id), '')),
       coalesce(string_agg(int8send(id) || substr(digest, 1, 8), '' ORDER BY id), ''),
       clock_timestamp()
FROM (
    SELECT id, sha256(convert_to(
        '[' || ledger_id || ',' || id || ',"' || kind || '",' || from_account_id || ',' || to_account_id || ',' || amount
        || ',"' || asset || '",' || from_version || ',' || to_version || ',' || from_balance || ',' || to_balance
        || ',' || from_held || ',"' || to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || '",' || coalesce('"' || to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"', 'null')
        || ',' || coalesce(resolves_id::text, 'null') || ',' || coalesce(linked_id::text, 'null')
        || ',' || coalesce(to_json(reference)::text, 'null') || ',' || coalesce(metadata, '{}')::text || ']', 'UTF8'
    )) AS digest
    FROM transfers
    WHERE ledger_id = %(ledger_id)s AND id > %(after_id)s AND id <= %(until_id)s
    ORDER BY id LIMIT %(most_rows)s
) AS row;

-- name: create_seal
INSERT INTO seals (ledger_id, number, first_id, last_id, transfers, sealed_at, rows_hash, hash, marks)
VALUES (%(ledger_id)s, %(number)s, %(first_id)s, %(last_id)s, %(transfers)s, %(sealed_at)s, %(rows_hash)s, %(hash)s, %(marks)s);

-- name: list_seals
-- Newest first. A seal whose predecessor is gone has no previous hash; the first one follows 32 zero bytes.
SELECT seal.ledger_id, seal.number, seal.first_id, seal.last_id, seal.transfers, seal.sealed_at, seal.rows_hash, seal.hash,
       CASE WHEN seal.number = 1 THEN decode(repeat('00', 32), 'hex') ELSE before.hash END
FROM seals AS seal
LEFT JOIN seals AS before ON before.ledger_id = seal.ledger_id AND before.number = seal.number - 1
WHERE seal.ledger_id = %(ledger_id)s AND seal.number < %(before)s
ORDER BY seal.number DESC LIMIT %(limit)s;

-- name: find_sealing
-- How far a ledger is sealed, and since when it has a row that is not.
SELECT coalesce(last.last_id, 0), first.created_at
FROM (SELECT) AS one
LEFT JOIN LATERAL (SELECT last_id FROM seals WHERE ledger_id = %(ledger_id)s ORDER BY number DESC LIMIT 1) AS last ON true
LEFT JOIN LATERAL (SELECT created_at FROM transfers WHERE ledger_id = %(ledger_id)s AND id > coalesce(last.last_id, 0)
                   ORDER BY id LIMIT 1) AS first ON true;

-- name: find_unsealed_age
-- In seconds, of the oldest row in any ledger that has no seal; 0 when all have.
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(first.created_at)), 0)::float8
FROM ledgers AS ledger
LEFT JOIN LATERAL (SELECT last_id FROM seals WHERE ledger_id = ledger.id ORDER BY number DESC LIMIT 1) AS last ON true
CROSS JOIN LATERAL (SELECT created_at FROM transfers WHERE ledger_id = ledger.id AND id > coalesce(last.last_id, 0)
                    ORDER BY id LIMIT 1) AS first;
