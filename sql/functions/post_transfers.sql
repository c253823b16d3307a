-- post_transfers: the rules of money, and the only code that moves it.
--
-- One call is one transaction over a batch of requests. It locks the accounts, applies the requests in order, each on its own
-- (a refused one changes nothing and harms no neighbour), and writes balances and rows set-wise.
--
-- The caller names each account once, in (ledger, id) order, and each idempotency key once; requests refer to them by
-- position ("slot"), so what is a join elsewhere is an array subscript here. Every p_ array from p_from on has one element a
-- request; those that no request uses may be NULL as a whole.
--
-- An outcome is 'posted', or the code of a refusal with the field it blames behind a space: 'not_found to_account_id'.
-- service/ledger/model.py states the same rules in plain Python; a generated test holds one against the other.
CREATE OR REPLACE FUNCTION post_transfers(
    p_ledgers      bigint[],   -- account slots: the ledger
    p_accounts     bigint[],   --                and the account
    p_key_ledgers  bigint[],   -- key slots: the ledger
    p_keys         text[],     --            and the key
    p_from         int[],      -- requests: account slot debited
    p_to           int[],      --           account slot credited
    p_amount       bigint[],   --           minor units, 1 to 2^53-1
    p_asset        text[],     --           the asset the client expects, or NULL
    p_if_version   bigint[],   --           the debited account's version the client expects, or NULL
    p_key          int[],      --           key slot, or NULL
    p_fingerprint  bytea[],    --           digest of the request, where there is a key
    p_reference    text[],
    p_metadata     text[]      --           JSON
) RETURNS TABLE (
    outcome text, replayed boolean, id bigint, asset text, from_version bigint, to_version bigint,
    from_balance bigint, to_balance bigint, created_at timestamptz
)
LANGUAGE plpgsql
-- Plans are made once a connection and must fit a table of any size, also when made while it was empty. So each access
-- below is written such that a lookup is the only plan there is: LATERAL with OFFSET 0 fixes that the slots lead the join, and
-- the update goes by the physical address (ctid) of rows that this transaction has locked, so that they cannot move.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    greatest_balance CONSTANT bigint := 9007199254740991;  -- 2^53-1: what every JSON reader holds exactly
    found       record;
    stored_transfer record;
    v_now       timestamptz;
    -- accounts, by slot
    a_address   tid[];
    a_asset     text[];
    a_status    text[];
    a_balance   bigint[];
    a_held      bigint[];
    a_available bigint[];
    a_floor     bigint[];
    a_ceiling   bigint[];
    a_version   bigint[];
    a_touched   boolean[] := array_fill(false, ARRAY[cardinality(p_accounts)]);
    -- keys, by slot: what is known of each, from the table or from earlier in this batch (filled with nothing first: an array
    -- with a gap before its first element would be shifted against the others)
    key_count   CONSTANT int := coalesce(cardinality(p_keys), 0);
    k_fingerprint bytea[] := array_fill(NULL::bytea, ARRAY[key_count]);
    k_outcome   text[]   := array_fill(NULL::text, ARRAY[key_count]);
    k_row       int[]    := array_fill(NULL::int, ARRAY[key_count]);
    k_is_new    boolean[] := array_fill(false, ARRAY[key_count]);
    -- transfers, stored ones that are replayed first, then new ones
    stored      int := 0;
    n           int := 0;
    t_id        bigint[] := '{}';
    t_request   int[]    := '{}';
    t_asset     text[]   := '{}';
    t_from_ver  bigint[] := '{}';
    t_to_ver    bigint[] := '{}';
    t_from_bal  bigint[] := '{}';
    t_to_bal    bigint[] := '{}';
    t_from_held bigint[] := '{}';
    t_at        timestamptz[] := '{}';
    -- answers, by request
    r_outcome   text[] := '{}';
    r_replayed  boolean[] := '{}';
    r_row       int[] := '{}';
    f int; t int; k int; amount bigint; verdict text; written bigint;
BEGIN
    -- 1. Lock the accounts in the order of their slots, which is that of (ledger, id): two batches can wait for each other,
    --    never in a circle. An account that does not exist is all NULL.
    SELECT array_agg(account.ctid), array_agg(account.asset), array_agg(account.status), array_agg(account.balance),
           array_agg(account.held), array_agg(account.balance - account.held), array_agg(account.min_balance),
           array_agg(account.max_balance), array_agg(account.version), max(account.updated_at)
    INTO a_address, a_asset, a_status, a_balance, a_held, a_available, a_floor, a_ceiling, a_version, v_now
    FROM unnest(p_ledgers, p_accounts) AS slot (ledger_id, id)
    LEFT JOIN LATERAL (SELECT ctid, * FROM accounts WHERE ledger_id = slot.ledger_id AND id = slot.id OFFSET 0
                       FOR NO KEY UPDATE) AS account ON true;
    -- An account's entries must not go back in time, though this batch may have waited, or the clock been set.
    v_now := greatest(v_now, clock_timestamp());

    -- 2. Look up the keys, now that whoever held these accounts has committed.
    IF key_count > 0 THEN
        FOR found IN
            SELECT slot.n AS slot, spent.*
            FROM unnest(p_key_ledgers, p_keys) WITH ORDINALITY AS slot (ledger_id, key, n),
                 LATERAL (SELECT * FROM idempotency_keys AS spent
                          WHERE spent.ledger_id = slot.ledger_id AND spent.key = slot.key OFFSET 0) AS spent
        LOOP
            k_fingerprint[found.slot] := found.fingerprint;
            k_outcome[found.slot] := coalesce(found.refusal, 'posted');
            IF found.transfer_id IS NOT NULL THEN
                EXECUTE 'SELECT * FROM transfers WHERE ledger_id = $1 AND id = $2' INTO STRICT stored_transfer
                    USING found.ledger_id, found.transfer_id;
                n := n + 1;
                k_row[found.slot] := n;
                t_id[n] := stored_transfer.id;
                t_asset[n] := stored_transfer.asset;
                t_from_ver[n] := stored_transfer.from_version;
                t_to_ver[n] := stored_transfer.to_version;
                t_from_bal[n] := stored_transfer.from_balance;
                t_to_bal[n] := stored_transfer.to_balance;
                t_at[n] := stored_transfer.created_at;
                t_request[n] := NULL;
                t_from_held[n] := NULL;
            END IF;
        END LOOP;
        stored := n;
    END IF;

    -- 3. Apply the requests in order.
    FOR i IN 1 .. cardinality(p_from) LOOP
        f := p_from[i];
        t := p_to[i];
        k := p_key[i];
        amount := p_amount[i];
        IF k_fingerprint[k] IS NOT NULL THEN  -- the key is spent: the same request gets the same answer again
            IF k_fingerprint[k] = p_fingerprint[i] THEN
                r_outcome[i] := k_outcome[k];
                r_row[i] := k_row[k];
            ELSE
                r_outcome[i] := 'idempotency_key_reused Idempotency-Key';
                r_row[i] := NULL;
            END IF;
            r_replayed[i] := r_row[i] IS NOT NULL;
            CONTINUE;
        END IF;

        -- The rules. The first that applies decides; this order is the documented order of precedence.
        verdict := CASE
            WHEN f = t                                                  THEN 'same_account to_account_id'
            WHEN a_version[f] IS NULL                                   THEN 'not_found from_account_id'
            WHEN a_version[t] IS NULL                                   THEN 'not_found to_account_id'
            WHEN a_asset[f] <> a_asset[t]                               THEN 'asset_mismatch to_account_id'
            WHEN a_asset[f] <> p_asset[i]                               THEN 'asset_mismatch asset'
            WHEN a_status[f] = 'closed'                                 THEN 'account_closed from_account_id'
            WHEN a_status[t] = 'closed'                                 THEN 'account_closed to_account_id'
            WHEN a_status[f] = 'frozen'                                 THEN 'account_frozen from_account_id'
            WHEN a_status[t] = 'frozen'                                 THEN 'account_frozen to_account_id'
            WHEN a_version[f] <> p_if_version[i]                        THEN 'version_mismatch if_from_version'
            WHEN a_available[f] - amount < a_floor[f]                   THEN 'insufficient_funds amount'
            WHEN a_balance[f] - amount < -greatest_balance              THEN 'limit_exceeded from_account_id'
            WHEN a_balance[t] + amount > least(a_ceiling[t], greatest_balance) THEN 'limit_exceeded to_account_id'
            ELSE 'posted'
        END;
        r_outcome[i] := verdict;
        r_replayed[i] := false;
        r_row[i] := NULL;
        IF verdict = 'posted' THEN
            a_balance[f] := a_balance[f] - amount;
            a_available[f] := a_available[f] - amount;
            a_version[f] := a_version[f] + 1;
            a_touched[f] := true;
            a_balance[t] := a_balance[t] + amount;
            a_available[t] := a_available[t] + amount;
            a_version[t] := a_version[t] + 1;
            a_touched[t] := true;
            n := n + 1;
            r_row[i] := n;
            t_id[n] := nextval('transfers_id_seq');
            t_request[n] := i;
            t_asset[n] := a_asset[f];
            t_from_ver[n] := a_version[f];
            t_to_ver[n] := a_version[t];
            t_from_bal[n] := a_balance[f];
            t_to_bal[n] := a_balance[t];
            t_from_held[n] := a_held[f];
            t_at[n] := v_now;
        END IF;
        IF k IS NOT NULL THEN
            k_fingerprint[k] := p_fingerprint[i];
            k_outcome[k] := verdict;
            k_row[k] := r_row[i];
            k_is_new[k] := true;
        END IF;
    END LOOP;

    -- 4. Write what changed.
    IF n > stored THEN
        UPDATE accounts AS account
        SET balance = new.balance, version = new.version, updated_at = v_now
        FROM unnest(a_address, a_balance, a_version, a_touched) AS new (address, balance, version, touched)
        WHERE account.ctid = new.address AND new.touched;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> cardinality(array_positions(a_touched, true)) THEN
            RAISE EXCEPTION 'post_transfers changed % accounts of %', written, cardinality(array_positions(a_touched, true));
        END IF;

        INSERT INTO transfers (ledger_id, id, from_account_id, to_account_id, amount, from_version, to_version,
                               from_balance, to_balance, from_held, created_at, asset, reference, metadata)
        SELECT p_ledgers[p_from[new.i]], new.id, p_accounts[p_from[new.i]], p_accounts[p_to[new.i]], p_amount[new.i],
               new.from_ver, new.to_ver, new.from_bal, new.to_bal, new.from_held, v_now, new.asset,
               p_reference[new.i], p_metadata[new.i]::jsonb
        FROM unnest(t_id, t_request, t_from_ver, t_to_ver, t_from_bal, t_to_bal, t_from_held, t_asset)
             AS new (id, i, from_ver, to_ver, from_bal, to_bal, from_held, asset)
        WHERE new.i IS NOT NULL;
    END IF;
    IF true = ANY (k_is_new) THEN
        INSERT INTO idempotency_keys (ledger_id, key, fingerprint, transfer_id, refusal)
        SELECT p_key_ledgers[new.slot], p_keys[new.slot], new.fingerprint, t_id[new.row], nullif(new.outcome, 'posted')
        FROM unnest(k_fingerprint, k_outcome, k_row, k_is_new) WITH ORDINALITY
             AS new (fingerprint, outcome, row, is_new, slot)
        WHERE new.is_new;
    END IF;

    -- 5. Answer each request, in order.
    RETURN QUERY
        SELECT r.outcome, r.replayed, t_id[r.row], t_asset[r.row], t_from_ver[r.row], t_to_ver[r.row],
               t_from_bal[r.row], t_to_bal[r.row], t_at[r.row]
        FROM unnest(r_outcome, r_replayed, r_row) AS r (outcome, replayed, row);
END $$;
