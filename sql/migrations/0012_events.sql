-- What is told of a ledger besides its transfers: each account that was opened, and each change of an account's settings or
-- owner, as it was then. The ids are drawn from the sequence of the transfers, so both logs are one, in the order of the ids.
--
-- Triggers write the rows, whoever changes an account. The one for changes names its columns, so a change of a balance does
-- not even call it.

CREATE TABLE account_changes (
    ledger_id         bigint NOT NULL,
    id                bigint NOT NULL DEFAULT nextval('transfers_id_seq'),
    account_id        bigint NOT NULL,
    user_id           bigint,
    min_balance       bigint,
    max_balance       bigint,
    settings_version  bigint NOT NULL,
    changed_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    opened            boolean NOT NULL,
    status            text NOT NULL,
    asset             text NOT NULL,
    metadata          jsonb NOT NULL,
    CONSTRAINT account_changes_pkey PRIMARY KEY (ledger_id, id)
);
CREATE TRIGGER account_changes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON account_changes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION tell_of_new_accounts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO account_changes (ledger_id, account_id, user_id, min_balance, max_balance, settings_version, opened, status,
                                 asset, metadata)
    SELECT ledger_id, id, user_id, min_balance, max_balance, settings_version, true, status, asset, metadata
    FROM made ORDER BY ledger_id, id;
    RETURN NULL;
END $$;
CREATE TRIGGER accounts_tell_of_new AFTER INSERT ON accounts REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION tell_of_new_accounts();

CREATE FUNCTION tell_of_changed_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO account_changes (ledger_id, account_id, user_id, min_balance, max_balance, settings_version, opened, status,
                                 asset, metadata)
    VALUES (NEW.ledger_id, NEW.id, NEW.user_id, NEW.min_balance, NEW.max_balance, NEW.settings_version, false, NEW.status,
            NEW.asset, NEW.metadata);
    RETURN NULL;
END $$;
CREATE TRIGGER accounts_tell_of_change
    AFTER UPDATE OF user_id, min_balance, max_balance, settings_version, status, metadata ON accounts
    FOR EACH ROW EXECUTE FUNCTION tell_of_changed_account();

ALTER TABLE api_keys
    DROP CONSTRAINT api_keys_scopes_known,
    ADD CONSTRAINT api_keys_scopes_known CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY[
        'read', 'write', 'admin', 'operator',
        'users:read', 'users:write', 'accounts:read', 'accounts:write', 'transfers:read', 'transfers:write',
        'webhooks:read', 'webhooks:write', 'services:read', 'services:write', 'events:read',
        'keys:read', 'keys:write', 'audit:read'
    ]);
