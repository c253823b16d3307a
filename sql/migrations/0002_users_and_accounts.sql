-- Users and their accounts. ledger_id leads every key, so rows of two ledgers can never meet.

CREATE TABLE users (
    ledger_id   bigint NOT NULL CONSTRAINT users_ledger_fkey REFERENCES ledgers (id),
    id          bigint GENERATED ALWAYS AS IDENTITY,
    version     bigint NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    name        text NOT NULL,
    email       text NOT NULL,
    metadata    jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT users_pkey PRIMARY KEY (ledger_id, id)
);
CREATE UNIQUE INDEX users_email_key ON users (ledger_id, lower(email));

-- version counts the account's transfers, so its entries have no gap; settings_version counts changes of its settings.
-- Half of each page stays free: a balance changes often, and a row that finds room on its own page needs no new index entry.
CREATE TABLE accounts (
    ledger_id         bigint NOT NULL CONSTRAINT accounts_ledger_fkey REFERENCES ledgers (id),
    id                bigint GENERATED ALWAYS AS IDENTITY,
    user_id           bigint,
    balance           bigint NOT NULL DEFAULT 0,
    held              bigint NOT NULL DEFAULT 0,
    min_balance       bigint DEFAULT 0,
    max_balance       bigint,
    version           bigint NOT NULL DEFAULT 0,
    settings_version  bigint NOT NULL DEFAULT 1,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    status            text NOT NULL DEFAULT 'open',
    asset             text NOT NULL,
    metadata          jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT accounts_pkey PRIMARY KEY (ledger_id, id),
    CONSTRAINT accounts_user_fkey FOREIGN KEY (ledger_id, user_id) REFERENCES users (ledger_id, id)
        ON DELETE SET NULL (user_id),
    CONSTRAINT accounts_status_known CHECK (status IN ('open', 'frozen', 'closed')),
    CONSTRAINT accounts_asset_shape CHECK (asset ~ '^[A-Z][A-Z0-9]{0,15}/(0|[1-9]|1[0-8])$'),
    CONSTRAINT accounts_held_not_negative CHECK (held >= 0),
    CONSTRAINT accounts_floor CHECK (balance - held >= min_balance),
    CONSTRAINT accounts_ceiling CHECK (balance <= max_balance),
    CONSTRAINT accounts_balance_range CHECK (balance BETWEEN -9007199254740991 AND 9007199254740991),
    CONSTRAINT accounts_closed_is_empty CHECK (status <> 'closed' OR (balance = 0 AND held = 0))
) WITH (fillfactor = 50);
CREATE INDEX accounts_user ON accounts (ledger_id, user_id, id) WHERE user_id IS NOT NULL;

-- Transfers name accounts for ever, without a foreign key that would be checked row by row: so no account may go.
CREATE FUNCTION refuse_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: rows here are never removed', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER accounts_are_kept BEFORE DELETE OR TRUNCATE ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_removal();
