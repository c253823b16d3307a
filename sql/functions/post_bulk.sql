-- post_bulk: a chunk of many transfers, posted once for ever.
--
-- It is post_transfers with a record of the chunk in the same transaction: whoever sends the same chunk again gets the same
-- answer, and nothing is posted twice. A chunk without a name (p_name NULL) leaves no record.
--
-- The first outcome is 'chunk_reused', and the only one, when the name is spent: for another chunk, or as the Idempotency-Key of
-- a single transfer. For the other way round the first chunk of a bulk request also takes its name in idempotency_keys, with a
-- fingerprint that no transfer has; so no transfer is posted by the key of a bulk request.
CREATE OR REPLACE FUNCTION post_bulk(
    p_ledger       bigint,
    p_source       text,       -- 'bulk' or 'import'
    p_name         text,
    p_chunk        bigint,
    p_digest       bytea,      -- of all that the chunk is part of
    p_ledgers      bigint[],   -- from here on the arguments of post_transfers, all of ledger p_ledger
    p_accounts     bigint[],
    p_key_ledgers  bigint[],
    p_keys         text[],
    p_from         int[],
    p_to           int[],
    p_amount       bigint[],
    p_asset        text[],
    p_if_version   bigint[],
    p_key          int[],
    p_fingerprint  bytea[],
    p_reference    text[],
    p_metadata     text[],
    p_kind         text[],
    p_original_ledgers bigint[],
    p_originals    bigint[],
    p_resolves     int[],
    p_expires_in_s int[],
    p_group        int[],
    p_dry_run      boolean[]
) RETURNS TABLE (
    outcome text, replayed boolean, id bigint, asset text, from_version bigint, to_version bigint,
    from_balance bigint, to_balance bigint, created_at timestamptz,
    from_held bigint, expires_at timestamptz, linked_id bigint, resolved_by_id bigint, resolved_as text
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    is_first_use boolean := true;
    kept         record;
    answers      record;
BEGIN
    -- 1. Whoever takes the same name at the same time waits here until the first one has committed.
    IF p_source = 'bulk' AND p_chunk = 0 AND p_name IS NOT NULL THEN
        INSERT INTO idempotency_keys (ledger_id, key, fingerprint, refusal)
        VALUES (p_ledger, p_name, sha256('bulk'), 'idempotency_key_reused Idempotency-Key')
        ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO NOTHING;
        is_first_use := FOUND;
    END IF;
    SELECT * INTO kept FROM bulk_chunks AS spent
    WHERE spent.ledger_id = p_ledger AND spent.source = p_source AND spent.name = p_name AND spent.chunk = p_chunk;

    -- 2. The same again, or something else under a name that is spent.
    IF FOUND AND kept.fingerprint = p_digest THEN
        RETURN QUERY
            SELECT coalesce(kept.refusals[made.n], 'posted'), made.id IS NOT NULL, made.id, transfer.asset,
                   transfer.from_version, transfer.to_version, transfer.from_balance, transfer.to_balance,
                   transfer.created_at, transfer.from_held, transfer.expires_at, transfer.linked_id, NULL::bigint, NULL
            FROM unnest(kept.transfer_ids) WITH ORDINALITY AS made (id, n)
            LEFT JOIN LATERAL (SELECT * FROM transfers WHERE ledger_id = p_ledger AND id = made.id OFFSET 0) AS transfer ON true;
        RETURN;
    ELSIF FOUND OR NOT is_first_use THEN
        RETURN QUERY SELECT 'chunk_reused', false, NULL::bigint, NULL, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
                            NULL::timestamptz, NULL::bigint, NULL::timestamptz, NULL::bigint, NULL::bigint, NULL;
        RETURN;
    END IF;

    -- 3. Post it, and note what became of it. What became of its transfers later is not asked: new ones have no later.
    SELECT array_agg(made.outcome) AS outcome, array_agg(made.replayed) AS replayed, array_agg(made.id) AS id,
           array_agg(made.asset) AS asset, array_agg(made.from_version) AS from_version,
           array_agg(made.to_version) AS to_version, array_agg(made.from_balance) AS from_balance,
           array_agg(made.to_balance) AS to_balance, array_agg(made.created_at) AS created_at,
           array_agg(made.from_held) AS from_held, array_agg(made.expires_at) AS expires_at,
           array_agg(made.linked_id) AS linked_id,
           array_agg(nullif(made.outcome, 'posted')) AS refusal, bool_or(made.outcome <> 'posted') AS is_any_refused
    INTO answers
    FROM post_transfers(p_ledgers, p_accounts, p_key_ledgers, p_keys, p_from, p_to, p_amount, p_asset, p_if_version, p_key,
                        p_fingerprint, p_reference, p_metadata, p_kind, p_original_ledgers, p_originals, p_resolves,
                        p_expires_in_s, p_group, p_dry_run) AS made;
    IF p_name IS NOT NULL THEN
        INSERT INTO bulk_chunks (ledger_id, source, name, chunk, fingerprint, transfer_ids, refusals)
        VALUES (p_ledger, p_source, p_name, p_chunk, p_digest, coalesce(answers.id, '{}'),
                CASE WHEN answers.is_any_refused THEN answers.refusal END);
    END IF;
    RETURN QUERY
        SELECT new.*, NULL::bigint, NULL
        FROM unnest(answers.outcome, answers.replayed, answers.id, answers.asset, answers.from_version, answers.to_version,
                    answers.from_balance, answers.to_balance, answers.created_at, answers.from_held, answers.expires_at,
                    answers.linked_id) AS new;
END $$;
