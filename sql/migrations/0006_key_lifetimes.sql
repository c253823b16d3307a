-- Keys that end by themselves, follow each other, and may do less: an expiry, the accounts that may be debited, a rate.

ALTER TABLE api_keys
    ADD COLUMN number          bigint GENERATED ALWAYS AS IDENTITY,  -- in the order of making, for lists
    ADD COLUMN expires_at      timestamptz,
    ADD COLUMN last_used_at    timestamptz,
    ADD COLUMN replaced_by     text,
    ADD COLUMN debit_accounts  bigint[],  -- null: all of the ledger's
    ADD COLUMN rate_per_s      int,       -- null: what the server gives every key
    ADD COLUMN burst           int,
    ADD CONSTRAINT api_keys_debit_accounts_bounds CHECK (cardinality(debit_accounts) BETWEEN 1 AND 100),
    ADD CONSTRAINT api_keys_rate_positive CHECK (rate_per_s > 0 AND burst > 0),
    DROP CONSTRAINT api_keys_scopes_known,
    ADD CONSTRAINT api_keys_scopes_known CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY[
        'read', 'write', 'admin', 'operator',
        'users:read', 'users:write', 'accounts:read', 'accounts:write', 'transfers:read', 'transfers:write',
        'webhooks:read', 'webhooks:write', 'keys:read', 'keys:write'
    ]);
CREATE UNIQUE INDEX api_keys_number_key ON api_keys (ledger_id, number);

-- Every worker keeps keys, and hears of each change of one here. last_used_at is no change.
CREATE FUNCTION tell_of_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('ledgerd_keys', CASE WHEN TG_OP = 'INSERT' THEN NEW.id ELSE OLD.id END);
    RETURN NULL;
END $$;
CREATE TRIGGER api_keys_tell
    AFTER INSERT OR DELETE OR UPDATE OF id, secret_hash, scopes, revoked_at, expires_at, debit_accounts, rate_per_s, burst
    ON api_keys FOR EACH ROW EXECUTE FUNCTION tell_of_key();
