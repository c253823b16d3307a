-- name: where_primary_is
SELECT (pg_control_system()).system_identifier::text, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint;

-- name: where_replica_is
SELECT (pg_control_system()).system_identifier::text, pg_is_in_recovery(),
       pg_wal_lsn_diff(coalesce(pg_last_wal_replay_lsn(), '0/0'), '0/0')::bigint;

-- name: has_reached
-- A transaction that has begun here and is not in progress any more was committed: none but these have told a position. One so
-- old that its fate is forgotten is long visible. (pg_current_snapshot knows no running transactions on a replica.)
SELECT bool_and(
    CASE WHEN position >= pg_snapshot_xmax(pg_current_snapshot()) THEN false
         ELSE coalesce(pg_xact_status(position) = 'committed', true) END)
FROM unnest(%(positions)s::text[]::xid8[]) AS position;
