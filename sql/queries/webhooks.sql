-- name: lock_ledger_for_webhooks
-- Webhooks of a ledger are made one after another, so that they can be counted.
SELECT pg_advisory_xact_lock(hashtextextended('webhooks', %(ledger_id)s));

-- name: count_webhooks
SELECT count(*) FROM webhooks WHERE ledger_id = %(ledger_id)s;

-- name: create_webhook
-- From now on: after the last id that was drawn by now. What is asked for after this has been answered has a greater one.
INSERT INTO webhooks (ledger_id, url, types, account_ids, description, secret, cursor)
VALUES (%(ledger_id)s, %(url)s, %(types)s, %(account_ids)s, %(description)s, %(secret)s,
        coalesce(%(cursor)s, (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM transfers_id_seq)))
RETURNING id;

-- name: find_webhook
SELECT w.ledger_id, w.id, w.url, w.types, w.account_ids, w.description, w.status, w.disabled_because,
    CASE WHEN w.old_secret_until > clock_timestamp() THEN w.old_secret_until END, w.created_at, w.updated_at, w.cursor,
    (SELECT count(*) FROM webhook_deliveries d WHERE d.ledger_id = w.ledger_id AND d.webhook_id = w.id AND d.status = 'waiting'),
    (SELECT count(*) FROM webhook_deliveries d WHERE d.ledger_id = w.ledger_id AND d.webhook_id = w.id AND d.status = 'dead')
FROM webhooks w WHERE w.ledger_id = %(ledger_id)s AND w.id = %(webhook_id)s;

-- name: list_webhooks
SELECT w.ledger_id, w.id, w.url, w.types, w.account_ids, w.description, w.status, w.disabled_because,
    CASE WHEN w.old_secret_until > clock_timestamp() THEN w.old_secret_until END, w.created_at, w.updated_at, w.cursor,
    (SELECT count(*) FROM webhook_deliveries d WHERE d.ledger_id = w.ledger_id AND d.webhook_id = w.id AND d.status = 'waiting'),
    (SELECT count(*) FROM webhook_deliveries d WHERE d.ledger_id = w.ledger_id AND d.webhook_id = w.id AND d.status = 'dead')
FROM webhooks w WHERE w.ledger_id = %(ledger_id)s AND w.id > %(after)s ORDER BY w.id LIMIT %(limit)s;

-- name: change_webhook
-- What `named` has is set; null is a value. To enable one that is enabled, or disable one that is not, changes no reason.
UPDATE webhooks SET
    url = CASE WHEN 'url' = ANY(%(named)s) THEN %(url)s ELSE url END,
    types = CASE WHEN 'types' = ANY(%(named)s) THEN %(types)s::text[] ELSE types END,
    account_ids = CASE WHEN 'account_ids' = ANY(%(named)s) THEN %(account_ids)s::bigint[] ELSE account_ids END,
    description = CASE WHEN 'description' = ANY(%(named)s) THEN %(description)s ELSE description END,
    status = CASE WHEN 'status' = ANY(%(named)s) THEN %(status)s ELSE status END,
    disabled_because = CASE WHEN NOT 'status' = ANY(%(named)s) THEN disabled_because
                            WHEN %(status)s = 'disabled' THEN coalesce(disabled_because, 'asked') END,
    updated_at = clock_timestamp(), revision = revision + 1
WHERE ledger_id = %(ledger_id)s AND id = %(webhook_id)s
RETURNING id;

-- name: hurry_deliveries
-- Another receiver, or the same after a pause: nobody shall wait for what the one before has earned.
UPDATE webhook_deliveries SET next_attempt_at = clock_timestamp()
WHERE ledger_id = %(ledger_id)s AND webhook_id = %(webhook_id)s AND status = 'waiting' AND next_attempt_at > clock_timestamp();

-- name: delete_webhook
DELETE FROM webhooks WHERE ledger_id = %(ledger_id)s AND id = %(webhook_id)s RETURNING id;

-- name: rotate_webhook_secret
UPDATE webhooks SET secret = %(secret)s,
    old_secret = CASE WHEN %(overlap_s)s > 0 THEN secret END,
    old_secret_until = CASE WHEN %(overlap_s)s > 0 THEN clock_timestamp() + make_interval(secs => %(overlap_s)s) END,
    updated_at = clock_timestamp(), revision = revision + 1
WHERE ledger_id = %(ledger_id)s AND id = %(webhook_id)s
RETURNING id;

-- name: list_webhook_deliveries
SELECT event_id, event_type, account_ids, status, attempts, next_attempt_at, last_attempt_at, last_problem, died_at
FROM webhook_deliveries
WHERE ledger_id = %(ledger_id)s AND webhook_id = %(webhook_id)s AND event_id > %(after)s
    AND status = coalesce(%(status)s, status)
ORDER BY event_id LIMIT %(limit)s;

-- name: redeliver_dead
-- How many. The webhook's row is locked first, as whoever writes progress does; its dispatcher hears of it by the revision.
WITH webhook AS (
    SELECT ledger_id, id FROM webhooks WHERE ledger_id = %(ledger_id)s AND id = %(webhook_id)s FOR NO KEY UPDATE
), again AS (
    UPDATE webhook_deliveries d SET status = 'waiting', attempts = 0, next_attempt_at = clock_timestamp(), died_at = NULL
    FROM webhook w
    WHERE d.ledger_id = w.ledger_id AND d.webhook_id = w.id AND d.event_id = coalesce(%(event_id)s, d.event_id)
        AND d.status = 'dead'
    RETURNING d.event_id
)
UPDATE webhooks w SET revision = revision + 1
FROM (SELECT count(*) AS number FROM again) AS found
WHERE w.ledger_id = %(ledger_id)s AND w.id = %(webhook_id)s AND found.number > 0
RETURNING found.number;
