-- Money that is set aside and later moved or given back; transfers that are posted together, all or none.
--
-- post_transfers gets more arguments, so the one with fewer stays beside it, for the version that runs on during the release.

ALTER TABLE transfers
    ADD COLUMN linked_id bigint,  -- the first row of those that were posted together
    DROP CONSTRAINT transfers_kind_known,
    ADD CONSTRAINT transfers_kind_known
        CHECK (kind IN ('transfer', 'hold', 'capture', 'release', 'expiry', 'reversal')),
    DROP CONSTRAINT transfers_resolves_one,
    ADD CONSTRAINT transfers_resolves_one
        CHECK ((kind IN ('capture', 'release', 'expiry', 'reversal')) = (resolves_id IS NOT NULL));
CREATE INDEX transfers_linked ON transfers (ledger_id, linked_id, id) WHERE linked_id IS NOT NULL;

ALTER TABLE accounts
    ADD CONSTRAINT accounts_held_range CHECK (held <= 9007199254740991);

-- The holds that nothing has resolved yet. What is held of an account is the sum of its rows here, which is the sum of its
-- holds in the log without a row that resolves them; this table is how they are found.
CREATE TABLE open_holds (
    ledger_id        bigint NOT NULL,
    transfer_id      bigint NOT NULL,
    from_account_id  bigint NOT NULL,
    to_account_id    bigint NOT NULL,
    amount           bigint NOT NULL,
    expires_at       timestamptz,
    CONSTRAINT open_holds_pkey PRIMARY KEY (ledger_id, transfer_id)
);
CREATE INDEX open_holds_by_expiry ON open_holds (expires_at) WHERE expires_at IS NOT NULL;

-- As in 0008, with what holds brought. What is held of an account changes only by rows that name it as the debited one.
CREATE OR REPLACE VIEW account_entries AS
SELECT ledger_id, from_account_id AS account_id, from_version AS version, 'debit' AS direction, from_balance AS balance,
       to_account_id AS other_account_id, id, from_account_id, to_account_id, amount, asset, reference, metadata,
       from_version, to_version, from_balance, to_balance, created_at,
       kind, from_held, resolves_id, expires_at, linked_id
FROM transfers
UNION ALL
SELECT ledger_id, to_account_id, to_version, 'credit', to_balance,
       from_account_id, id, from_account_id, to_account_id, amount, asset, reference, metadata,
       from_version, to_version, from_balance, to_balance, created_at,
       kind, from_held, resolves_id, expires_at, linked_id
FROM transfers;
