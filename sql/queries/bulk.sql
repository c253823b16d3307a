-- name: post_bulk
-- The last column, looked at once at the end: whether somebody waits for this transaction, and so for accounts that it has locked.
SELECT *, pg_current_xact_id()::text::bigint,
       (SELECT count(*) > 0 FROM pg_locks
        WHERE locktype = 'transactionid' AND NOT granted AND transactionid = pg_current_xact_id()::xid)
FROM post_bulk(
    %(ledger_id)s::bigint, %(source)s::text, %(name)s::text, %(chunk)s::bigint, %(digest)s::bytea,
    %(ledgers)s::bigint[], %(accounts)s::bigint[], %(key_ledgers)s::bigint[], %(keys)s::text[],
    %(from)s::int[], %(to)s::int[], %(amount)s::bigint[], %(asset)s::text[], %(if_version)s::bigint[],
    %(key)s::int[], %(fingerprint)s::bytea[], %(reference)s::text[], %(metadata)s::text[],
    %(kind)s::text[], %(original_ledgers)s::bigint[], %(originals)s::bigint[], %(resolves)s::int[],
    %(expires_in_s)s::int[], %(group)s::int[], %(dry_run)s::boolean[]
);
