-- entries_before: how many entries of an account are older than a moment, which is also the version of the last of them.
--
-- An account's entries are numbered without a gap, and a later one never has an earlier time (post_transfers sees to both). So
-- the moment is found by bisection over the versions: each step is one probe of each of the two unique indexes that posting
-- needs anyway, twenty steps for a million entries. An index by time would make every posting dearer for this one reader.
CREATE OR REPLACE FUNCTION entries_before(p_ledger bigint, p_account bigint, p_at timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE STRICT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    older  bigint := 0;  -- the greatest version known to be older; 0 stands before all
    newer  bigint;       -- the least version known not to be
    middle bigint;
    moment timestamptz;
BEGIN
    SELECT version + 1 INTO newer FROM accounts WHERE ledger_id = p_ledger AND id = p_account;
    WHILE newer - older > 1 LOOP
        middle := older + (newer - older) / 2;
        SELECT created_at INTO STRICT moment FROM account_entries
        WHERE ledger_id = p_ledger AND account_id = p_account AND version = middle;
        IF moment < p_at THEN
            older := middle;
        ELSE
            newer := middle;
        END IF;
    END LOOP;
    RETURN older;
END $$;
