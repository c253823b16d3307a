-- What became of each chunk of a bulk request or of an import, for ever. One row answers a whole chunk again; a row in
-- idempotency_keys for each transfer in it would cost as much as the transfers.

CREATE TABLE bulk_chunks (
    ledger_id     bigint NOT NULL,
    chunk         bigint NOT NULL,    -- the position of its first item, or the number of its first line
    created_at    timestamptz NOT NULL DEFAULT now(),
    source        text NOT NULL,
    name          text NOT NULL,      -- the Idempotency-Key of the request, or the name of the import
    fingerprint   bytea NOT NULL,
    transfer_ids  bigint[] NOT NULL,  -- null for one that was refused
    refusals      text[],             -- null for one that was posted; null as a whole where all were
    CONSTRAINT bulk_chunks_pkey PRIMARY KEY (ledger_id, source, name, chunk),
    CONSTRAINT bulk_chunks_source_known CHECK (source IN ('bulk', 'import')),
    CONSTRAINT bulk_chunks_name_length CHECK (length(name) BETWEEN 1 AND 255),
    CONSTRAINT bulk_chunks_chunk_not_negative CHECK (chunk >= 0)
);
CREATE TRIGGER bulk_chunks_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bulk_chunks
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
