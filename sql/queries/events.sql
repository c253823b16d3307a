-- name: list_transfer_events
-- As they were posted: what became of them later is an event of its own.
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at, kind, from_held, resolves_id, expires_at, linked_id
FROM transfers WHERE ledger_id = %(ledger_id)s AND id > %(after)s AND id <= %(until)s
ORDER BY id LIMIT %(limit)s;

-- name: list_account_events
SELECT id, account_id, user_id, asset, status, min_balance, max_balance, metadata, settings_version, changed_at, opened
FROM account_changes WHERE ledger_id = %(ledger_id)s AND id > %(after)s AND id <= %(until)s
ORDER BY id LIMIT %(limit)s;

-- name: find_event
SELECT EXISTS (SELECT FROM transfers WHERE ledger_id = %(ledger_id)s AND id = %(event_id)s)
    OR EXISTS (SELECT FROM account_changes WHERE ledger_id = %(ledger_id)s AND id = %(event_id)s);

-- name: ledgers_with_events
-- Of these ledgers, each with a position, those with an event after it.
SELECT asked.ledger_id FROM unnest(%(ledger_ids)s::bigint[], %(positions)s::bigint[]) AS asked (ledger_id, position)
WHERE EXISTS (SELECT FROM transfers AS t WHERE t.ledger_id = asked.ledger_id AND t.id > asked.position AND t.id <= %(until)s)
   OR EXISTS (SELECT FROM account_changes AS c
              WHERE c.ledger_id = asked.ledger_id AND c.id > asked.position AND c.id <= %(until)s);
