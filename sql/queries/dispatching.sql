-- name: claim_webhooks
-- Those that nobody has a lease on. Whoever comes at the same time takes others, or none.
UPDATE webhooks w SET lease_token = w.lease_token + 1,
    lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
FROM (
    SELECT ledger_id, id FROM webhooks WHERE status = 'enabled' AND lease_until <= clock_timestamp()
    ORDER BY lease_until LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
) AS free
WHERE w.ledger_id = free.ledger_id AND w.id = free.id
RETURNING w.ledger_id, w.id, w.lease_token;

-- name: find_claimed
SELECT ledger_id, id, lease_token, revision, url, types, account_ids, secret, old_secret,
    extract(epoch FROM old_secret_until - clock_timestamp())::float8, cursor
FROM webhooks
WHERE ledger_id = %(ledger_id)s AND id = %(webhook_id)s AND lease_token = %(token)s AND status = 'enabled';

-- name: list_outstanding
SELECT event_id, event_type, account_ids, attempts,
    greatest(extract(epoch FROM next_attempt_at - clock_timestamp()), 0)::float8
FROM webhook_deliveries WHERE ledger_id = %(ledger_id)s AND webhook_id = %(webhook_id)s AND status = 'waiting';

-- name: list_dead_after
SELECT event_id FROM webhook_deliveries
WHERE ledger_id = %(ledger_id)s AND webhook_id = %(webhook_id)s AND status = 'dead' AND event_id > %(after)s;

-- name: renew_leases
-- What is still this dispatcher's, with the revision to compare; a webhook that was disabled or removed is not.
UPDATE webhooks w SET lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s)
FROM unnest(%(ledger_ids)s::bigint[], %(webhook_ids)s::bigint[], %(tokens)s::bigint[]) AS mine (ledger_id, id, token)
WHERE w.ledger_id = mine.ledger_id AND w.id = mine.id AND w.lease_token = mine.token AND w.status = 'enabled'
RETURNING w.ledger_id, w.id, w.revision;

-- name: look_at_leases
-- The same, and nothing is written.
SELECT w.ledger_id, w.id, w.revision
FROM unnest(%(ledger_ids)s::bigint[], %(webhook_ids)s::bigint[], %(tokens)s::bigint[]) AS mine (ledger_id, id, token)
JOIN webhooks w ON w.ledger_id = mine.ledger_id AND w.id = mine.id AND w.lease_token = mine.token AND w.status = 'enabled';

-- name: release_leases
UPDATE webhooks w SET lease_until = '-infinity'
FROM unnest(%(ledger_ids)s::bigint[], %(webhook_ids)s::bigint[], %(tokens)s::bigint[]) AS mine (ledger_id, id, token)
WHERE w.ledger_id = mine.ledger_id AND w.id = mine.id AND w.lease_token = mine.token;

-- name: fence_webhooks
-- Those whose lease nobody else has taken over. Until the end of the transaction nobody can.
SELECT w.ledger_id, w.id
FROM unnest(%(ledger_ids)s::bigint[], %(webhook_ids)s::bigint[], %(tokens)s::bigint[]) AS mine (ledger_id, id, token)
JOIN webhooks w ON w.ledger_id = mine.ledger_id AND w.id = mine.id AND w.lease_token = mine.token
ORDER BY w.ledger_id, w.id FOR NO KEY UPDATE OF w;

-- name: advance_webhooks
UPDATE webhooks w SET cursor = greatest(w.cursor, n.cursor),
    status = CASE WHEN n.gone THEN 'disabled' ELSE w.status END,
    disabled_because = CASE WHEN n.gone AND w.status = 'enabled' THEN 'gone' ELSE w.disabled_because END,
    revision = w.revision + n.gone::int
FROM unnest(%(ledger_ids)s::bigint[], %(webhook_ids)s::bigint[], %(cursors)s::bigint[], %(gone)s::boolean[])
    AS n (ledger_id, id, cursor, gone)
WHERE w.ledger_id = n.ledger_id AND w.id = n.id;

-- name: forget_deliveries
DELETE FROM webhook_deliveries d
USING unnest(%(ledger_ids)s::bigint[], %(webhook_ids)s::bigint[], %(event_ids)s::bigint[]) AS n (ledger_id, webhook_id, event_id)
WHERE d.ledger_id = n.ledger_id AND d.webhook_id = n.webhook_id AND d.event_id = n.event_id;

-- name: keep_deliveries
INSERT INTO webhook_deliveries AS d (ledger_id, webhook_id, event_id, event_type, account_ids, status, attempts, next_attempt_at,
    last_attempt_at, last_problem, died_at)
SELECT n.ledger_id, n.webhook_id, n.event_id, n.event_type, n.account_ids::bigint[],
    CASE WHEN n.wait_s IS NULL THEN 'dead' ELSE 'waiting' END, n.attempts, clock_timestamp() + make_interval(secs => n.wait_s),
    CASE WHEN n.attempted THEN clock_timestamp() END, n.problem, CASE WHEN n.wait_s IS NULL THEN clock_timestamp() END
FROM unnest(%(ledger_ids)s::bigint[], %(webhook_ids)s::bigint[], %(event_ids)s::bigint[], %(event_types)s::text[],
    %(account_ids)s::text[], %(attempts)s::int[], %(waits_s)s::float8[], %(attempted)s::boolean[], %(problems)s::text[])
    AS n (ledger_id, webhook_id, event_id, event_type, account_ids, attempts, wait_s, attempted, problem)
ON CONFLICT (ledger_id, webhook_id, event_id) DO UPDATE SET status = excluded.status, attempts = excluded.attempts,
    next_attempt_at = excluded.next_attempt_at, last_attempt_at = coalesce(excluded.last_attempt_at, d.last_attempt_at),
    last_problem = excluded.last_problem, died_at = excluded.died_at;

-- name: prune_dead
-- What was given up long ago, and the oldest of too many. A row above the cursor says that its event has been dealt with, so
-- it stays.
WITH old AS MATERIALIZED (
    SELECT w.ledger_id, w.id, w.cursor, edge.event_id AS surplus
    FROM unnest(%(ledger_ids)s::bigint[], %(webhook_ids)s::bigint[], %(tokens)s::bigint[]) AS mine (ledger_id, id, token)
    JOIN webhooks w ON w.ledger_id = mine.ledger_id AND w.id = mine.id AND w.lease_token = mine.token
    LEFT JOIN LATERAL (
        SELECT event_id FROM webhook_deliveries
        WHERE ledger_id = w.ledger_id AND webhook_id = w.id AND status = 'dead'
        ORDER BY event_id DESC OFFSET %(most)s LIMIT 1
    ) AS edge ON true
)
DELETE FROM webhook_deliveries d USING old
WHERE d.ledger_id = old.ledger_id AND d.webhook_id = old.id AND d.status = 'dead' AND d.event_id <= old.cursor
    AND (d.died_at < clock_timestamp() - make_interval(secs => %(keep_s)s) OR d.event_id <= old.surplus);
