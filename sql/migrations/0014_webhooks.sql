-- Webhooks: who is told of a ledger's events, how far each has been told, and what is left to tell.
--
-- cursor: every event up to this id has been delivered or given up or is of no interest to the webhook, but for those that
-- have a row in webhook_deliveries. So nothing is written for an event that arrives at the first attempt.
-- lease_token rises whenever another dispatcher takes the webhook over, and whoever writes progress shows the token that it was
-- given: one that comes late, with an old token, changes nothing. revision rises with what a dispatcher must hear of.

CREATE TABLE webhooks (
    ledger_id        bigint NOT NULL CONSTRAINT webhooks_ledger_fkey REFERENCES ledgers (id),
    id               bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    url              text NOT NULL,
    types            text[],    -- null: all
    account_ids      bigint[],  -- null: all
    description      text NOT NULL,
    status           text NOT NULL DEFAULT 'enabled',
    disabled_because text,      -- null while enabled
    secret           bytea NOT NULL,
    old_secret       bytea,
    old_secret_until timestamptz,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    revision         bigint NOT NULL DEFAULT 1,
    cursor           bigint NOT NULL,
    lease_token      bigint NOT NULL DEFAULT 0,
    lease_until      timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT webhooks_pkey PRIMARY KEY (ledger_id, id),
    CONSTRAINT webhooks_status_known CHECK (status IN ('enabled', 'disabled')),
    CONSTRAINT webhooks_disabled_has_reason CHECK ((status = 'disabled') = (disabled_because IS NOT NULL)),
    CONSTRAINT webhooks_disabled_because_known CHECK (disabled_because IN ('asked', 'gone')),
    CONSTRAINT webhooks_old_secret_ends CHECK ((old_secret IS NULL) = (old_secret_until IS NULL)),
    CONSTRAINT webhooks_cursor_from_0 CHECK (cursor >= 0)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);  -- few rows, changed often

CREATE TABLE webhook_deliveries (
    ledger_id       bigint NOT NULL,
    webhook_id      bigint NOT NULL,
    event_id        bigint NOT NULL,
    status          text NOT NULL,
    attempts        int NOT NULL,
    account_ids     bigint[] NOT NULL,
    event_type      text NOT NULL,
    next_attempt_at timestamptz,  -- null: dead
    last_attempt_at timestamptz,  -- null: it waits for an earlier event about the same account
    last_problem    text,
    died_at         timestamptz,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (ledger_id, webhook_id, event_id),
    CONSTRAINT webhook_deliveries_webhook_fkey FOREIGN KEY (ledger_id, webhook_id)
        REFERENCES webhooks (ledger_id, id) ON DELETE CASCADE,
    CONSTRAINT webhook_deliveries_status_known CHECK (status IN ('waiting', 'dead')),
    CONSTRAINT webhook_deliveries_dead_or_due CHECK ((status = 'dead') = (died_at IS NOT NULL)
        AND (status = 'dead') = (next_attempt_at IS NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
