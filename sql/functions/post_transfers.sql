-- post_transfers: the rules of money, and the only code that moves it.
--
-- One call is one transaction over a batch of requests. It locks the accounts, applies the requests in order, each on its own
-- (a refused one changes nothing and harms no neighbour), and writes balances and rows set-wise.
--
-- The caller names each account once, in (ledger, id) order, each idempotency key once, and once each transfer that a request
-- captures, releases, lets expire or reverses (its "original"); requests refer to them by position ("slot"), so what is a join
-- elsewhere is an array subscript here. Every p_ array from p_from on has one element a request; those that no request uses may
-- be NULL as a whole.
--
-- Neighbours with one number in p_group are a group, posted all or none: at the first refusal what the group did is undone. A
-- dry run is undone too, at its end; it is a group, of one request if need be. All of a group have one key, or none.
--
-- An outcome is 'posted', or the code of a refusal with the field it blames behind a space: 'not_found to_account_id'. In a
-- group the number of the request follows that is refused, from 0 on: all of the group have this outcome.
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
    p_metadata     text[],     --           JSON
    p_kind         text[],     --           as in the table; NULL as a whole: all are transfers
    p_original_ledgers bigint[],  -- original slots: the ledger
    p_originals    bigint[],   --                 and the transfer
    p_resolves     int[],      -- requests: original slot, for all kinds but transfer and hold
    p_expires_in_s int[],      --           of a hold: seconds from now, or NULL for ever
    p_group        int[],      --           the number of its group, or NULL
    p_dry_run      boolean[]   --           tell what would happen, and undo it
) RETURNS TABLE (
    outcome text, replayed boolean, id bigint, asset text, from_version bigint, to_version bigint,
    from_balance bigint, to_balance bigint, created_at timestamptz,
    from_held bigint, expires_at timestamptz, linked_id bigint, resolved_by_id bigint, resolved_as text
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
    stored      record;
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
    a_version_before bigint[];
    a_touched   boolean[] := array_fill(false, ARRAY[cardinality(p_accounts)]);
    -- keys, by slot: what is known of each, from the table or from earlier in this batch (filled with nothing first: an array
    -- with a gap before its first element would be shifted against the others)
    key_count   CONSTANT int := coalesce(cardinality(p_keys), 0);
    k_fingerprint bytea[] := array_fill(NULL::bytea, ARRAY[key_count]);
    k_outcome   text[]   := array_fill(NULL::text, ARRAY[key_count]);
    k_transfer  bigint[] := array_fill(NULL::bigint, ARRAY[key_count]);
    k_row       int[]    := array_fill(NULL::int, ARRAY[key_count]);
    k_is_new    boolean[] := array_fill(false, ARRAY[key_count]);
    is_replay   boolean := false;
    -- originals, by slot
    o_address   tid[];     -- of its row among the open holds
    o_kind      text[];
    o_amount    bigint[];
    o_from      bigint[];
    o_to        bigint[];
    o_expires   timestamptz[];
    o_resolved  boolean[];  -- by a row of before, or of this batch
    o_freed     boolean[];  -- a hold, resolved by this batch
    -- transfers, stored ones that are replayed first, then new ones; those that are undone stay here without a request
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
    t_moved     bigint[];  -- in groups, for undoing: how the balances changed
    t_set_aside bigint[];  --                         and what is held
    t_expires   timestamptz[];  -- these may have gaps, and are read by subscript only
    t_linked    bigint[];
    t_resolved_by bigint[];
    t_resolved_as text[];
    -- answers, by request
    r_outcome   text[] := '{}';
    r_replayed  boolean[] := '{}';
    r_row       int[] := '{}';
    -- the request at hand
    f int; t int; k int; amount bigint; verdict text; written bigint;
    is_special  CONSTANT boolean := p_kind IS NOT NULL OR p_group IS NOT NULL;  -- not transfers on their own alone
    early       text;               -- a refusal before the accounts are looked at
    kind        text;
    moved       bigint;             -- from one balance to the other
    set_aside   bigint := 0;        -- more is held of the debited account; less, if negative
    needs_open  boolean := true;    -- both accounts
    o           int;
    g           int;
    leg         int := 0;           -- its number in the group
    group_row   int;                -- where the group's rows begin
    group_refusal text;
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
            k_transfer[found.slot] := found.transfer_id;
            is_replay := is_replay OR found.transfer_id IS NOT NULL;
        END LOOP;
    END IF;
    IF is_replay THEN  -- one plan for them all; of a group all rows, next to each other
        FOR stored IN EXECUTE
            'SELECT slot.n AS slot, transfer.*, later.id AS resolved_by, later.kind AS resolved_as
             FROM unnest($1, $2) WITH ORDINALITY AS slot (ledger_id, id, n)
             CROSS JOIN LATERAL (SELECT * FROM transfers WHERE ledger_id = slot.ledger_id AND id = slot.id
                                 UNION ALL
                                 SELECT * FROM transfers
                                 WHERE ledger_id = slot.ledger_id AND linked_id = slot.id AND id > slot.id
                                 OFFSET 0) AS transfer
             LEFT JOIN LATERAL (SELECT id, kind FROM transfers
                                WHERE ledger_id = slot.ledger_id AND resolves_id = transfer.id OFFSET 0) AS later ON true
             ORDER BY slot.n, transfer.id'
            USING p_key_ledgers, k_transfer
        LOOP
            n := n + 1;
            k_row[stored.slot] := coalesce(k_row[stored.slot], n);
            t_id[n] := stored.id;
            t_asset[n] := stored.asset;
            t_from_ver[n] := stored.from_version;
            t_to_ver[n] := stored.to_version;
            t_from_bal[n] := stored.from_balance;
            t_to_bal[n] := stored.to_balance;
            t_from_held[n] := stored.from_held;
            t_at[n] := stored.created_at;
            t_request[n] := NULL;
            t_expires[n] := stored.expires_at;
            t_linked[n] := stored.linked_id;
            t_resolved_by[n] := stored.resolved_by;
            t_resolved_as[n] := stored.resolved_as;
        END LOOP;
    END IF;

    -- 3. Look up the originals. What resolves one does so under the locks of both its accounts, which are held here where a
    --    request names them as it should; so nobody else can resolve it meanwhile, nor its row among the open holds move.
    IF p_originals IS NOT NULL THEN
        EXECUTE
            'SELECT array_agg(open.ctid), array_agg(original.kind), array_agg(original.amount),
                    array_agg(original.from_account_id), array_agg(original.to_account_id), array_agg(original.expires_at),
                    array_agg(later.id IS NOT NULL), array_agg(false)
             FROM unnest($1, $2) AS slot (ledger_id, id)
             LEFT JOIN LATERAL (SELECT * FROM transfers WHERE ledger_id = slot.ledger_id AND id = slot.id OFFSET 0)
                       AS original ON true
             LEFT JOIN LATERAL (SELECT id FROM transfers WHERE ledger_id = slot.ledger_id AND resolves_id = slot.id OFFSET 0)
                       AS later ON true
             LEFT JOIN LATERAL (SELECT ctid FROM open_holds WHERE ledger_id = slot.ledger_id AND transfer_id = slot.id OFFSET 0)
                       AS open ON true'
            INTO o_address, o_kind, o_amount, o_from, o_to, o_expires, o_resolved, o_freed
            USING p_original_ledgers, p_originals;
    END IF;
    IF p_group IS NOT NULL THEN
        a_version_before := a_version;
    END IF;

    -- 4. Apply the requests in order.
    FOR i IN 1 .. cardinality(p_from) LOOP
        f := p_from[i];
        t := p_to[i];
        k := p_key[i];
        amount := p_amount[i];
        IF p_group IS NOT NULL THEN
            g := p_group[i];
            leg := CASE WHEN g = p_group[i - 1] THEN leg + 1 ELSE 0 END;
            IF leg = 0 THEN
                group_row := n + 1;
                group_refusal := NULL;
            END IF;
        END IF;
        IF k_fingerprint[k] IS NOT NULL THEN  -- the key is spent: the same request gets the same answer again
            IF k_fingerprint[k] = p_fingerprint[i] THEN
                r_outcome[i] := k_outcome[k];
                r_row[i] := k_row[k] + leg;
            ELSE
                r_outcome[i] := 'idempotency_key_reused Idempotency-Key';
                r_row[i] := NULL;
            END IF;
            r_replayed[i] := r_row[i] IS NOT NULL;
            CONTINUE;
        END IF;

        -- What it would do, and what it does that to.
        moved := amount;
        IF is_special THEN
            early := group_refusal;
            kind := coalesce(p_kind[i], 'transfer');
            o := p_resolves[i];
            moved := CASE WHEN kind IN ('hold', 'release', 'expiry') THEN 0 ELSE amount END;
            set_aside := CASE WHEN kind = 'hold' THEN amount WHEN kind IN ('transfer', 'reversal') THEN 0 ELSE -o_amount[o] END;
            needs_open := kind NOT IN ('release', 'expiry');
            IF o IS NOT NULL AND early IS NULL THEN
                early := CASE
                    WHEN o_from[o] IS DISTINCT FROM p_accounts[CASE WHEN kind = 'reversal' THEN t ELSE f END]
                      OR o_to[o] IS DISTINCT FROM p_accounts[CASE WHEN kind = 'reversal' THEN f ELSE t END]
                      OR (kind <> 'capture' AND amount <> o_amount[o])
                    THEN CASE WHEN kind = 'reversal' THEN 'not_found transfer_id' ELSE 'not_found hold_id' END
                    WHEN kind <> 'reversal' AND o_kind[o] <> 'hold'                     THEN 'not_a_hold hold_id'
                    WHEN kind = 'reversal' AND o_kind[o] NOT IN ('transfer', 'capture') THEN 'not_reversible transfer_id'
                    WHEN kind = 'reversal' AND o_resolved[o]                            THEN 'already_reversed transfer_id'
                    WHEN o_resolved[o]                                                  THEN 'hold_resolved hold_id'
                    WHEN kind = 'expiry' AND coalesce(o_expires[o] > v_now, true)       THEN 'conflict hold_id'
                    WHEN kind <> 'expiry' AND o_expires[o] <= v_now                     THEN 'hold_resolved hold_id'
                    WHEN kind = 'capture' AND amount > o_amount[o]                      THEN 'limit_exceeded amount'
                END;
            END IF;
        END IF;

        -- The rules. The first that applies decides; this order is the documented order of precedence.
        verdict := CASE
            WHEN early IS NOT NULL                                      THEN early
            WHEN f = t                                                  THEN 'same_account to_account_id'
            WHEN a_version[f] IS NULL                                   THEN 'not_found from_account_id'
            WHEN a_version[t] IS NULL                                   THEN 'not_found to_account_id'
            WHEN a_asset[f] <> a_asset[t]                               THEN 'asset_mismatch to_account_id'
            WHEN a_asset[f] <> p_asset[i]                               THEN 'asset_mismatch asset'
            WHEN a_status[f] = 'closed' AND needs_open                  THEN 'account_closed from_account_id'
            WHEN a_status[t] = 'closed' AND needs_open                  THEN 'account_closed to_account_id'
            WHEN a_status[f] = 'frozen' AND needs_open                  THEN 'account_frozen from_account_id'
            WHEN a_status[t] = 'frozen' AND needs_open                  THEN 'account_frozen to_account_id'
            WHEN a_version[f] <> p_if_version[i]                        THEN 'version_mismatch if_from_version'
            WHEN a_available[f] - moved - set_aside < a_floor[f]        THEN 'insufficient_funds amount'
            WHEN a_balance[f] - moved < -greatest_balance               THEN 'limit_exceeded from_account_id'
            WHEN a_held[f] + set_aside > greatest_balance               THEN 'limit_exceeded from_account_id'
            WHEN a_balance[t] + moved > least(a_ceiling[t], greatest_balance) THEN 'limit_exceeded to_account_id'
            ELSE 'posted'
        END;
        r_outcome[i] := verdict;
        r_replayed[i] := false;
        r_row[i] := NULL;
        IF verdict = 'posted' THEN
            a_balance[f] := a_balance[f] - moved;
            a_available[f] := a_available[f] - moved - set_aside;
            a_version[f] := a_version[f] + 1;
            a_touched[f] := true;
            a_balance[t] := a_balance[t] + moved;
            a_available[t] := a_available[t] + moved;
            a_version[t] := a_version[t] + 1;
            a_touched[t] := true;
            n := n + 1;
            r_row[i] := n;
            t_id[n] := CASE WHEN p_dry_run[i] THEN NULL ELSE nextval('transfers_id_seq') END;
            t_request[n] := i;
            t_asset[n] := a_asset[f];
            t_from_ver[n] := a_version[f];
            t_to_ver[n] := a_version[t];
            t_from_bal[n] := a_balance[f];
            t_to_bal[n] := a_balance[t];
            t_from_held[n] := a_held[f] + set_aside;
            t_at[n] := v_now;
            IF is_special THEN
                a_held[f] := t_from_held[n];
                t_expires[n] := v_now + make_interval(secs => p_expires_in_s[i]);
                t_moved[n] := moved;
                t_set_aside[n] := set_aside;
                IF o IS NOT NULL THEN
                    o_resolved[o] := true;
                    o_freed[o] := set_aside < 0;
                END IF;
                IF g IS NOT NULL THEN
                    t_linked[n] := t_id[group_row];
                END IF;
            END IF;
        ELSIF g IS NOT NULL AND group_refusal IS NULL THEN
            group_refusal := verdict || ' ' || leg;
        END IF;

        -- The end of a group: where a request of it was refused, or it is but tried, walk back over what it did.
        IF g IS NOT NULL THEN
            CONTINUE WHEN g = p_group[i + 1];
            IF group_refusal IS NOT NULL OR p_dry_run[i] THEN
                FOR undone IN REVERSE n .. group_row LOOP
                    f := p_from[t_request[undone]];
                    t := p_to[t_request[undone]];
                    o := p_resolves[t_request[undone]];
                    a_balance[f] := a_balance[f] + t_moved[undone];
                    a_held[f] := a_held[f] - t_set_aside[undone];
                    a_available[f] := a_balance[f] - a_held[f];
                    a_version[f] := a_version[f] - 1;
                    a_touched[f] := a_version[f] <> a_version_before[f];
                    a_balance[t] := a_balance[t] - t_moved[undone];
                    a_available[t] := a_balance[t] - a_held[t];
                    a_version[t] := a_version[t] - 1;
                    a_touched[t] := a_version[t] <> a_version_before[t];
                    IF o IS NOT NULL THEN
                        o_resolved[o] := false;
                        o_freed[o] := false;
                    END IF;
                    t_request[undone] := NULL;
                END LOOP;
            END IF;
            IF group_refusal IS NOT NULL THEN
                FOR request IN i - leg .. i LOOP
                    r_outcome[request] := group_refusal;
                    r_row[request] := NULL;
                END LOOP;
                verdict := group_refusal;
            END IF;
            CONTINUE WHEN p_dry_run[i];
        END IF;
        IF k IS NOT NULL THEN
            k_fingerprint[k] := p_fingerprint[i];
            k_outcome[k] := verdict;
            k_row[k] := r_row[i] - leg;
            k_is_new[k] := true;
        END IF;
    END LOOP;

    -- 5. Write what changed.
    IF true = ANY (a_touched) THEN
        UPDATE accounts AS account
        SET balance = new.balance, held = new.held, version = new.version, updated_at = v_now
        FROM unnest(a_address, a_balance, a_held, a_version, a_touched) AS new (address, balance, held, version, touched)
        WHERE account.ctid = new.address AND new.touched;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> cardinality(array_positions(a_touched, true)) THEN
            RAISE EXCEPTION 'post_transfers changed % accounts of %', written, cardinality(array_positions(a_touched, true));
        END IF;

        INSERT INTO transfers (ledger_id, id, from_account_id, to_account_id, amount, from_version, to_version,
                               from_balance, to_balance, from_held, created_at, asset, reference, metadata,
                               kind, resolves_id, expires_at, linked_id)
        SELECT p_ledgers[p_from[new.i]], new.id, p_accounts[p_from[new.i]], p_accounts[p_to[new.i]], p_amount[new.i],
               new.from_ver, new.to_ver, new.from_bal, new.to_bal, new.from_held, v_now, new.asset,
               p_reference[new.i], p_metadata[new.i]::jsonb, coalesce(p_kind[new.i], 'transfer'),
               p_originals[p_resolves[new.i]], t_expires[r_row[new.i]], t_linked[r_row[new.i]]
        FROM unnest(t_id, t_request, t_from_ver, t_to_ver, t_from_bal, t_to_bal, t_from_held, t_asset)
             AS new (id, i, from_ver, to_ver, from_bal, to_bal, from_held, asset)
        WHERE new.i IS NOT NULL;
    END IF;
    IF p_kind IS NOT NULL THEN
        INSERT INTO open_holds (ledger_id, transfer_id, from_account_id, to_account_id, amount, expires_at)
        SELECT p_ledgers[p_from[new.i]], new.id, p_accounts[p_from[new.i]], p_accounts[p_to[new.i]], p_amount[new.i],
               t_expires[r_row[new.i]]
        FROM unnest(t_id, t_request) AS new (id, i)
        WHERE p_kind[new.i] = 'hold';
    END IF;
    IF true = ANY (o_freed) THEN
        DELETE FROM open_holds AS open USING unnest(o_address, o_freed) AS old (address, freed)
        WHERE open.ctid = old.address AND old.freed;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> cardinality(array_positions(o_freed, true)) THEN
            RAISE EXCEPTION 'post_transfers closed % holds of %', written, cardinality(array_positions(o_freed, true));
        END IF;
    END IF;
    IF true = ANY (k_is_new) THEN
        INSERT INTO idempotency_keys (ledger_id, key, fingerprint, transfer_id, refusal)
        SELECT p_key_ledgers[new.slot], p_keys[new.slot], new.fingerprint, t_id[new.row], nullif(new.outcome, 'posted')
        FROM unnest(k_fingerprint, k_outcome, k_row, k_is_new) WITH ORDINALITY
             AS new (fingerprint, outcome, row, is_new, slot)
        WHERE new.is_new;
    END IF;

    -- 6. Answer each request, in order.
    RETURN QUERY
        SELECT r.outcome, r.replayed, t_id[r.row], t_asset[r.row], t_from_ver[r.row], t_to_ver[r.row],
               t_from_bal[r.row], t_to_bal[r.row], t_at[r.row], t_from_held[r.row], t_expires[r.row], t_linked[r.row],
               t_resolved_by[r.row], t_resolved_as[r.row]
        FROM unnest(r_outcome, r_replayed, r_row) AS r (outcome, replayed, row);
END $$;
