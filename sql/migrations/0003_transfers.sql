-- The log of money. A row is never changed or removed; what happens to it later (capture, release, reversal) is another row.

CREATE SEQUENCE transfers_id_seq AS bigint;

CREATE TABLE transfers (
    ledger_id        bigint NOT NULL,
    id               bigint NOT NULL DEFAULT nextval('transfers_id_seq'),
    from_account_id  bigint NOT NULL,
    to_account_id    bigint NOT NULL,
    amount           bigint NOT NULL,
    from_version     bigint NOT NULL,
    to_version       bigint NOT NULL,
    from_balance     bigint NOT NULL,
    to_balance       bigint NOT NULL,
    from_held        bigint NOT NULL DEFAULT 0,
    xid              xid8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at       timestamptz NOT NULL,
    resolves_id      bigint,
    expires_at       timestamptz,
    kind             text NOT NULL DEFAULT 'transfer',
    asset            text NOT NULL,
    reference        text,
    metadata         jsonb,
    CONSTRAINT transfers_pkey PRIMARY KEY (ledger_id, id),
    CONSTRAINT transfers_amount_range CHECK (amount BETWEEN 1 AND 9007199254740991),
    CONSTRAINT transfers_two_accounts CHECK (from_account_id <> to_account_id),
    CONSTRAINT transfers_kind_known CHECK (kind IN ('transfer', 'hold', 'capture', 'release', 'reversal')),
    CONSTRAINT transfers_resolves_one CHECK ((kind IN ('capture', 'release', 'reversal')) = (resolves_id IS NOT NULL)),
    CONSTRAINT transfers_expiring_is_hold CHECK (expires_at IS NULL OR kind = 'hold')
);
ALTER SEQUENCE transfers_id_seq OWNED BY transfers.id;

-- An account's entries in order, one index probe each: its statement, and its balance at any time.
CREATE UNIQUE INDEX transfers_from_version_key ON transfers (ledger_id, from_account_id, from_version);
CREATE UNIQUE INDEX transfers_to_version_key ON transfers (ledger_id, to_account_id, to_version);
-- A hold is resolved once, a transfer reversed once.
CREATE UNIQUE INDEX transfers_resolves_key ON transfers (ledger_id, resolves_id) WHERE resolves_id IS NOT NULL;

-- What became of each idempotency key, for ever: a transfer or a refusal. One unique key over both is what makes a refusal
-- as final as a transfer.
CREATE TABLE idempotency_keys (
    ledger_id    bigint NOT NULL,
    transfer_id  bigint,
    fingerprint  bytea NOT NULL,
    key          text NOT NULL,
    refusal      text,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (ledger_id, key),
    CONSTRAINT idempotency_keys_length CHECK (length(key) BETWEEN 1 AND 255),
    CONSTRAINT idempotency_keys_one_outcome CHECK ((transfer_id IS NULL) <> (refusal IS NULL))
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the log is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER transfers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER idempotency_keys_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON idempotency_keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
