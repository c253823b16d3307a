-- Seals: what the log was. Each covers the rows of a ledger after the last row of the seal before, and holds that seal's hash
-- (docs/api.md, Seals, says how it is computed). marks has, for each row, its id and the first eight bytes of its digest: no
-- part of the proof, but what names the row that is not as it was.

CREATE TABLE seals (
    ledger_id  bigint NOT NULL CONSTRAINT seals_ledger_fkey REFERENCES ledgers (id),
    number     bigint NOT NULL,
    first_id   bigint NOT NULL,
    last_id    bigint NOT NULL,
    transfers  bigint NOT NULL,
    sealed_at  timestamptz NOT NULL,
    rows_hash  bytea NOT NULL,
    hash       bytea NOT NULL,
    marks      bytea NOT NULL,
    CONSTRAINT seals_pkey PRIMARY KEY (ledger_id, number),
    CONSTRAINT seals_numbered CHECK (number > 0),
    CONSTRAINT seals_range CHECK (first_id <= last_id AND transfers BETWEEN 1 AND last_id - first_id + 1),
    CONSTRAINT seals_hash_length CHECK (octet_length(rows_hash) = 32 AND octet_length(hash) = 32),
    CONSTRAINT seals_marks_length CHECK (octet_length(marks) = 16 * transfers)
);
ALTER TABLE seals ALTER COLUMN marks SET STORAGE EXTERNAL;  -- digests cannot be compressed

CREATE TRIGGER seals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON seals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE api_keys
    DROP CONSTRAINT api_keys_scopes_known,
    ADD CONSTRAINT api_keys_scopes_known CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY[
        'read', 'write', 'admin', 'operator',
        'users:read', 'users:write', 'accounts:read', 'accounts:write', 'transfers:read', 'transfers:write',
        'webhooks:read', 'webhooks:write', 'keys:read', 'keys:write', 'audit:read'
    ]);
