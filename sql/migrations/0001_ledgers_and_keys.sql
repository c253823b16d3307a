-- The tenants, who may speak for them, and the secret that signs list cursors.

CREATE TABLE ledgers (
    id          bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT ledgers_pkey PRIMARY KEY,
    name        text NOT NULL CONSTRAINT ledgers_name_key UNIQUE,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ledgers_name_shape CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$')
);

-- A key is found by its id alone, since the ledger is what it tells. The id is 48 random bits; should two ever meet,
-- both rows are found and the secret decides.
CREATE TABLE api_keys (
    ledger_id    bigint NOT NULL CONSTRAINT api_keys_ledger_fkey REFERENCES ledgers (id),
    id           text NOT NULL,
    name         text NOT NULL DEFAULT '',
    secret_hash  bytea NOT NULL,
    scopes       text[] NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    revoked_at   timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (ledger_id, id),
    CONSTRAINT api_keys_hash_length CHECK (octet_length(secret_hash) = 32),
    CONSTRAINT api_keys_scopes_known CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'write', 'admin'])
);
CREATE INDEX api_keys_id ON api_keys (id);

CREATE TABLE secrets (
    name   text CONSTRAINT secrets_pkey PRIMARY KEY,
    value  bytea NOT NULL
);
INSERT INTO secrets (name, value)
VALUES ('cursor', sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));
